"""No single file ends an import: it is kept, turned, converted, or skipped and named with the true
reason."""

import errno
import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests import odd_files
from tests.data_helpers import encoded, jpeg, make_tree, picture
from tests.odd_files import UPRIGHT, chunk, segment, short, with_exif, with_segments
from zfjax.data import converting, images, writing
from zfjax.data.annotations import orientation
from zfjax.data.converting import Account, Stored, stored_form
from zfjax.data.dataset import open_dataset
from zfjax.data.images import ImageError, view
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError

RESOLUTION, UNIT, MAKER, ORIENTATION, COPYRIGHT = 0x011A, 0x0128, 0x010F, 0x0112, 0x8298
ODD_TAGS = {
    "a resolution in words": (RESOLUTION, 2, 12, b"high quality"),
    "a resolution of nothing": (RESOLUTION, 5, 1, struct.pack("<LL", 72, 0)),
    "a unit in words": (UNIT, 2, 5, b"inch\0"),
    "a maker in numbers": (MAKER, 12, 2, struct.pack("<dd", 1.5, float("nan"))),
    "a copyright in no encoding": (COPYRIGHT, 2, 6, b"\xff\xfe\xff\0\x80\0"),
    "a type that there is not": (MAKER, 99, 7, b"1234"),
    "more values than bytes": (MAKER, 4, 1 << 30, struct.pack("<L", 26)),
    "an EXIF directory nowhere": (0x8769, 4, 1, struct.pack("<L", 1 << 31)),
    "a place in signed bytes": (0x8825, 6, 1, b"\xff"),
}


def imported(tmp_path, files, **settings):
    """(summary, {file name: stored pixels}) of an import of ``files``."""
    summary = import_images(make_tree(tmp_path / "in", files), "odd", tmp_path / "out", **settings)
    dataset = open_dataset("odd", tmp_path / "out")
    records = [dataset._record("train", number) for number in range(dataset.count("train"))]
    return summary, {
        record.file_name: np.asarray(Image.open(io.BytesIO(record.image)).convert("RGB"))
        for record in records
    }


def near(stored, expected):
    assert stored.shape == expected.shape
    return np.abs(stored.astype(float) - expected).mean() < 4


def test_a_rotated_photo_is_turned_whatever_else_its_exif_holds(tmp_path):
    lies = np.asarray(picture(7, 30, 50))
    files, expected = {}, {}
    for number, (what, tag) in enumerate(ODD_TAGS.items()):
        way = 2 + number % 7
        files[f"a/{what}.jpg"] = with_exif(jpeg(7, 30, 50), [(ORIENTATION, 3, 1, short(way)), tag])
        files[f"b/{what}.jpg"] = with_exif(jpeg(7, 30, 50), [tag, (ORIENTATION, 3, 1, short(way))])
        expected |= {f"{folder}/{what}.jpg": UPRIGHT[way](lies) for folder in "ab"}
    summary, stored = imported(tmp_path, files)
    assert summary.skipped == {} and summary.converted == {
        "turned upright as its EXIF says": tuple(sorted(files))
    }
    assert stored.keys() == expected.keys()
    for name, pixels in expected.items():
        assert near(stored[name], pixels), name


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("way", range(1, 9))
def test_orientation_in_every_place_and_number_type(way, order):
    asked = [(ORIENTATION, 3, 1, short(way, order))]
    plain = odd_files.exif(asked, order)
    clean, photo = picture(1), jpeg(1)
    xmp = f'<x tiff:Orientation="{way}"/>'.encode()
    raw_profile = f"\nexif\n    {len(plain)}\n{plain.hex()}\n"
    for data in (
        with_exif(photo, asked, order),
        encoded(clean, "PNG", exif=plain),
        encoded(clean, "WEBP", exif=plain),
        with_segments(photo, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)),
        encoded(clean, "WEBP", xmp=xmp),
        odd_files.png(
            np.zeros((2, 2, 3), int),
            8,
            2,
            before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        ),
        odd_files.png(
            np.zeros((2, 2, 3), int),
            8,
            2,
            after=chunk(
                b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile.encode())
            ),
        ),
        *(
            with_exif(photo, [(ORIENTATION, kind, 1, struct.pack(order + code, *values))], order)
            for kind, code, values in (
                (4, "L", [way]),
                (5, "LL", [2 * way, 2]),
                (11, "f", [way]),
                (12, "d", [way]),
            )
        ),
    ):
        assert orientation(data) == way
        assert orientation(data) == Image.open(io.BytesIO(data)).getexif().get(ORIENTATION, 1)
        assert np.array_equal(view(data, (40, 40)), view(photo, (40, 40))) or data[:2] != photo[:2]


def test_an_odd_orientation_leaves_the_picture_as_it_lies():
    photo = jpeg(7, 30, 50)
    for kind, count, value in (
        (3, 1, short(0)),
        (3, 1, short(9)),
        (3, 1, short(65535)),
        (2, 2, b"6\0"),
        (3, 2, short(6) * 2),
        (11, 1, struct.pack("<f", float("nan"))),
        (3, 0, short(6)),
        (5, 1, struct.pack("<LL", 6, 0)),
        (5, 1, b"\xff\xff\xff\xff"),
    ):
        data = with_exif(photo, [(ORIENTATION, kind, count, value)])
        assert stored_form(data) == (data, (), False)
    for content in (
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08",
        b"nonsense",
        b"II*\0\x08\0\0\0\xff\xff",
    ):
        data = with_segments(photo, segment(0xE1, b"Exif\0\0" + content))
        assert stored_form(data) == (data, (), False)


def test_markers_that_matter_to_no_pixel_cost_no_picture():
    photo, colours = jpeg(7, 30, 50), encoded(picture(7).convert("CMYK"), "JPEG")
    pixels = view(photo, (30, 50))
    for odd in (
        segment(0xE0, b"JFIF\0"),
        segment(0xE0, b""),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\1"),
        segment(0xEE, b"Adobe"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
        segment(0xE2, b"MPF\0MM\0*"),
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0"),
        segment(0xFE, b"\xff" * 60000),
    ):
        data = with_segments(photo, odd)
        assert stored_form(data) == (data, (), False)
        assert np.array_equal(view(data, (30, 50)), pixels)
        assert np.array_equal(view(with_segments(colours, odd), (40, 40)), view(colours, (40, 40)))
    for transform in (0, 1, 2, 77):  # the last Adobe marker counts, for libjpeg
        odd = with_segments(
            colours, segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))
        )
        stored, reasons, _ = stored_form(odd)
        assert reasons == ("CMYK, stored as RGB",) and near(
            view(stored, (40, 40)), view(colours, (40, 40))
        )


def test_chunks_that_matter_to_no_pixel_cost_no_picture():
    samples = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    text = b"Comment\0" + b"word " * (1 << 18)
    for odd in (
        chunk(b"tEXt", b"Title\0sea", checksum=1),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2 << 20))),
        chunk(b"iCCP", b"name"),
        chunk(b"iCCP", b"name\0\7xx"),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text)),
        chunk(b"tEXt", b"transparency\0red"),
        chunk(b"tEXt", b"interlace\0yes"),
        chunk(b"tEXt", b"bbox\0all"),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", b"\0"),
        chunk(b"pHYs", b""),
        chunk(b"sRGB", b""),
        chunk(b"eXIf", b"?"),
        chunk(b"acTL", bytes(8)),
        chunk(b"acTL", b"\0"),
        chunk(b"fcTL", b"\0" * 26),
        chunk(b"fdAT", b"\0\0\0\1x"),
    ):
        for data in (
            odd_files.png(samples, 8, 2, before=odd),
            odd_files.png(samples, 8, 2, after=odd),
        ):
            assert np.array_equal(view(data, (6, 8)), samples), odd[:40]
            assert near(view(stored_form(data, quality=100)[0], (6, 8)), samples)
    with pytest.raises(
        ImageError, match="truncated or damaged"
    ):  # what does matter is not overlooked
        view(odd_files.png(samples, 8, 2, before=chunk(b"tRNS", bytes(6), checksum=1)), (6, 8))


def test_what_cannot_be_read_or_stored_is_named_with_the_true_reason(tmp_path):
    wide, photo = Image.new("L", (65_501, 2), 90), jpeg(1)
    frame = photo.index(b"\xff\xc0")
    twelve = photo[: frame + 4] + b"\x0c" + photo[frame + 5 :]
    flat = photo[: frame + 5] + b"\0\0" + photo[frame + 7 :]
    broad = photo[: frame + 7] + b"\xff\xff" + photo[frame + 9 :]
    long = "a side above 65,500 pixels, which JPEG cannot hold"
    cases = {
        "wide.png": (encoded(wide, "PNG"), long),
        "tall.png": (encoded(wide.transpose(5), "PNG"), long),
        "most.bmp": (encoded(Image.new("1", (70_000, 3)), "BMP"), long),
        "broad.jpg": (broad, long),
        "flat.jpg": (flat, "a side of 0 pixels"),
        "flat.png": (odd_files.png_header(0, 5), "a side of 0 pixels"),
        "twelve.jpg": (
            twelve,
            "JPEG of a kind that Pillow does not read (cannot handle 12-bit layers)",
        ),
        "memory.png": (odd_files.png_header(600_000_000, 1), "too little memory to decode it"),
        "scan.tif": (
            encoded(picture(1).convert("F"), "TIFF"),
            "TIFF of 32-bit floating-point numbers, of which nothing tells what is black and what"
            " is white",
        ),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC, which zfjax does not read"),
        "half.png": (encoded(picture(1), "PNG")[:200], "truncated or damaged"),
        "head.jpg": (photo[:60], "truncated or damaged"),
        "words.bmp": (b"BMW is a car maker", "not an image but text"),
    }
    files = {f"a/{name}": data for name, (data, _) in cases.items()}
    summary, stored = imported(
        tmp_path, files | {"a/sound.jpg": photo}, stored=Stored(max_pixels=1 << 30)
    )
    assert {name: reason for reason, names in summary.skipped.items() for name in names} == {
        f"a/{name}": reason for name, (_, reason) in cases.items()
    }
    assert list(stored) == ["a/sound.jpg"]
    smaller, _, resized = stored_form(
        encoded(wide, "PNG"), size=1
    )  # 32,750 pixels wide: that a JPEG can hold
    assert (
        resized
        and Image.open(io.BytesIO(smaller)).size == (32_750, 1)
        and set(view(smaller, (1, 9)).flat) == {90}
    )


@pytest.mark.parametrize(
    "marker, kind, unread",
    [
        (0xC3, "lossless", False),
        (0xC5, "hierarchical", True),
        (0xC6, "hierarchical, progressive", True),
        (0xC7, "hierarchical, lossless", True),
        (0xC9, "arithmetic", False),
        (0xCA, "arithmetic, progressive", False),
        (0xCB, "arithmetic, lossless", True),
        (0xCD, "arithmetic, hierarchical", True),
        (0xCE, "arithmetic, hierarchical, progressive", True),
        (0xCF, "arithmetic, hierarchical, lossless", True),
    ],
)
def test_kinds_of_jpeg_that_are_not_read_are_named(marker, kind, unread):
    photo = jpeg(1)
    frame = photo.index(b"\xff\xc0")
    head = photo[:frame] + bytes([0xFF, marker]) + photo[frame + 2 :]
    # As it is, libjpeg may take the pixels of one kind for those of another: cut, none is read.
    says = "does not read" if unread else "may not read"
    tail = "" if unread else ", or damaged"
    with pytest.raises(ImageError) as refused:
        view(head[: photo.index(b"\xff\xda") + 14], (8, 8))
    assert str(refused.value) == f"JPEG of a kind that Pillow {says} ({kind}){tail}"
    if unread:
        with pytest.raises(ImageError, match="^JPEG of a kind that Pillow does not read"):
            view(head, (8, 8))
    with_thumbnail = with_segments(photo, segment(0xE1, head[:200]))
    assert np.array_equal(view(with_thumbnail, (40, 40)), view(photo, (40, 40)))
    with pytest.raises(ImageError, match="^truncated or damaged$"):
        view(with_thumbnail[:-60], (8, 8))


def test_a_hierarchical_jpeg_is_named_by_its_first_marker():
    photo = jpeg(1)
    layers = with_segments(photo, segment(0xDE, struct.pack(">BHHB", 8, 40, 40, 1) + b"\1\x11\0"))
    with pytest.raises(ImageError, match="^JPEG of a kind that Pillow does not read .hierarchical"):
        view(layers[:-60], (8, 8))


def test_animations_and_comments_give_their_first_picture():
    first, second = picture(1), picture(2)
    frames = {"save_all": True, "append_images": [second], "duration": 100}
    for kind, how in (
        ("GIF", {"comment": b"x" * 70_000}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
    ):
        stored, reasons, _ = stored_form(encoded(first, kind, **frames, **how))
        assert reasons == (f"{kind}, stored as JPEG",)
        assert np.abs(view(stored, (40, 40)).astype(float) - np.asarray(first)).mean() < 6


@pytest.mark.parametrize("fault", [RecursionError, AssertionError, ZeroDivisionError])
def test_what_nobody_foresaw_of_one_file_skips_that_file(tmp_path, monkeypatch, fault):
    true_one, odd = images.orientation, jpeg(5)

    def orientation_of(data):
        if data == odd:
            raise fault
        return true_one(data)

    monkeypatch.setattr(images, "orientation", orientation_of)
    summary, stored = imported(tmp_path, {"a/odd.jpg": odd, "a/sound.jpg": jpeg(6)})
    assert summary.skipped == {f"cannot be decoded ({fault.__name__})": ("a/odd.jpg",)}
    assert near(stored["a/sound.jpg"], np.asarray(picture(6)))


def test_what_is_no_fault_of_one_file_goes_further(tmp_path, monkeypatch):
    def raising(error):
        def read(*arguments, **options):
            raise error

        return read

    account = Account()
    for error in (OSError(errno.EIO, "read"), ZfjaxError("a damaged tar"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            account.convert("x", raising(error), stored_form)
    for error, reason in (
        (MemoryError(), "too little memory to read it"),
        (ImageError("unreadable"), "unreadable"),
        (zlib.error(), "cannot be read (error)"),
    ):
        assert account.convert("x", raising(error), stored_form) is None and account.skipped.pop(
            reason
        ) == ["x"]
    assert not account.skipped
    source = make_tree(tmp_path / "in", {"a/1.jpg": jpeg(1), "a/2.jpg": jpeg(2)})
    full = SimpleNamespace(
        write=raising(RuntimeError("write: No space left on device")), close=lambda: None
    )
    for place, name, instead, seen in (
        (converting, "read_picture", raising(KeyboardInterrupt()), KeyboardInterrupt),
        (writing, "_open_writer", lambda path: full, ZfjaxError),
    ):
        with monkeypatch.context() as patched, pytest.raises(seen) as caught:
            patched.setattr(place, name, instead)
            import_images(source, "odd", tmp_path / "out")
    assert "the disk is full" in str(caught.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".odd.lock"]
