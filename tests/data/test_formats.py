"""Every format that is read shows what was drawn, and every other is called by its name, beside the
names of those that are read."""

import os
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import encoded, jpeg, make_tree, picture
from tests.odd_files import UPRIGHT, chunk, png, tiff
from zfjax.commands.cli import main
from zfjax.data.annotations import orientation
from zfjax.data.converting import stored_form
from zfjax.data.formats import READ_WORDS, format_of
from zfjax.data.images import (
    ImageError,
    TooManyPixels,
    open_image,
    read_picture,
    view,
    view_of_file,
)
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError

HEIGHT, WIDTH = 37, 53
PHOTO = picture(3, HEIGHT, WIDTH)
COLOURS = np.asarray(PHOTO)
GREY = np.asarray(PHOTO.convert("L"))
BITS = GREY > 127


def seen(data: bytes) -> np.ndarray:
    """What a file shows, as numbers that may be subtracted."""
    return view(data, (HEIGHT, WIDTH), upright=True).astype(int)


def in_colours(expected: np.ndarray) -> np.ndarray:
    return expected.astype(int) if expected.ndim == 3 else np.stack([expected.astype(int)] * 3, -1)


def words(samples: np.ndarray) -> bytes:
    return b"\n".join(b" ".join(b"%d" % value for value in row.ravel()) for row in samples)


def netpbm() -> dict[str, tuple[bytes, np.ndarray]]:
    """Files of all six kinds, of several depths, with comments where they may be."""
    size, packed = b"%d %d" % (WIDTH, HEIGHT), np.packbits(~BITS, axis=1).tobytes()
    whole = b"P6 " + size + b" 255\n" + COLOURS.tobytes()
    cases = {
        "P4": (b"P4\n# a comment\n" + size + b"\n" + packed, 255 * BITS),
        "P1": (b"P1 " + size + b"\n" + words(~BITS).replace(b" ", b""), 255 * BITS),
        "P1, spaced": (b"P1\n" + size + b" #\n" + words(~BITS), 255 * BITS),
        "P5": (b"P5 " + size + b"\n#c\n255\n" + GREY.tobytes(), GREY),
        "P6": (b"P6\n" + size + b" 255\n" + COLOURS.tobytes(), COLOURS),
        "P6, another after it": (whole + b"P6 1 1 255\nabc", COLOURS),
        "P2": (b"P2\n#\n" + size + b"\n255\n# c\n" + words(GREY) + b" # end", GREY),
        "P3": (b"P3 " + size + b"\r\n255\r\n" + words(COLOURS), COLOURS),
    }
    for largest in (7, 100, 1023, 4095, 50_000, 65_535):
        samples = np.round(COLOURS / 255 * largest).astype(int)
        depth = "u1" if largest < 256 else ">u2"
        head = size + b" %d\n" % largest
        shown = np.round(samples * 255 / largest).astype(int)
        cases[f"P6 to {largest}"] = (b"P6 " + head + samples.astype(depth).tobytes(), shown)
        grey = samples[..., 0]
        cases[f"P5 to {largest}"] = (b"P5 " + head + grey.astype(depth).tobytes(), shown[..., 0])
        cases[f"P2 to {largest}"] = (b"P2 " + head + words(grey), shown[..., 0])
    return cases


def tiffs() -> dict[str, tuple[bytes, np.ndarray]]:
    """Files of many layouts: Pillow's, and some that it does not write."""
    pages = {"save_all": True, "append_images": [picture(9)]}
    cases = {
        **{
            f"{packing}": (encoded(PHOTO, "TIFF", compression=packing), COLOURS)
            for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
        },
        "pages": (encoded(PHOTO, "TIFF", **pages), COLOURS),
        "packed pages": (encoded(PHOTO, "TIFF", compression="tiff_lzw", **pages), COLOURS),
        "BigTIFF": (encoded(PHOTO, "TIFF", big_tiff=True), COLOURS),
        "CMYK": (encoded(PHOTO.convert("CMYK"), "TIFF"), COLOURS),
        "alpha": (encoded(PHOTO.convert("RGBA"), "TIFF"), COLOURS),
        "grey": (encoded(PHOTO.convert("L"), "TIFF"), GREY),
        "fax": (encoded(Image.fromarray(BITS), "TIFF", compression="group4"), 255 * BITS),
        "white is 0": (tiff(255 - GREY[..., None], photometric=0), GREY),
        "big-endian": (tiff(COLOURS, photometric=2, order=">"), COLOURS),
        "tiles": (tiff(COLOURS, photometric=2, tile=16), COLOURS),
        "tiles of grey": (tiff(GREY[..., None], tile=32), GREY),
        "planes": (tiff(COLOURS, photometric=2, t284=2), COLOURS),
    }
    wide = COLOURS.astype(int) * 257
    for order in "<>":
        cases[f"16 bits {order}"] = (tiff(wide, 16, 2, order), COLOURS)
        cases[f"16 bits of grey {order}"] = (tiff(wide[..., :1], 16, 1, order), COLOURS[..., 0])
    cases["16 bits, tiles"] = (tiff(wide, 16, 2, tile=16), COLOURS)
    cases["16 bits, white is 0"] = (tiff(65_535 - wide[..., :1], 16, 0), COLOURS[..., 0])
    return cases


FILES = {**netpbm(), **{f"TIFF, {name}": case for name, case in tiffs().items()}}


@pytest.mark.parametrize("name", FILES)
def test_netpbm_and_tiff_show_what_was_drawn(name):
    data, expected = FILES[name]
    assert np.abs(seen(data) - in_colours(expected)).max() <= 1
    assert np.abs(seen(stored_form(data, quality=100)[0]) - in_colours(expected)).mean() < 3


def test_all_doors_read_them(tmp_path):
    files = {f"a/{name}.tif": data for name, (data, _) in FILES.items()}
    source = make_tree(tmp_path / "in", files)
    summary = import_images(source, "photos", tmp_path / "data")
    assert not summary.skipped and summary.counts["train"]["a"] == len(FILES)
    kinds = {reason for reason in summary.converted if reason.endswith("stored as JPEG")}
    assert kinds == {f"{kind}, stored as JPEG" for kind in ("TIFF", "PPM", "PGM", "PBM")}
    for name, (_, expected) in FILES.items():
        shown = view_of_file(source / f"a/{name}.tif", (HEIGHT, WIDTH)).astype(int)
        assert np.abs(shown - in_colours(expected)).max() <= 1


@pytest.mark.parametrize("way", UPRIGHT)
def test_a_tiff_lies_as_it_lies_until_it_is_turned(way):
    for how in ({}, {"compression": "tiff_lzw"}, {"big_tiff": True}):
        data = encoded(PHOTO, "TIFF", tiffinfo={274: way}, **how)
        assert orientation(data) == way
        assert np.array_equal(read_picture(data).image, COLOURS)
        assert np.array_equal(read_picture(data, upright=True).image, UPRIGHT[way](COLOURS))


COMPRESSED = zlib.compress(b"a" * (5 << 20))
TEXTS = {
    "zTXt": chunk(b"zTXt", b"parameters\0\0" + COMPRESSED),
    "iTXt": chunk(b"iTXt", b"parameters\0\1\0\0\0" + COMPRESSED),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + COMPRESSED),
    "tEXt": chunk(b"tEXt", b"prompt\0" + b"x" * (3 << 20)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + COMPRESSED),
    "EXIF": chunk(b"zTXt", b"Raw profile type exif\0\0" + COMPRESSED),
    "many": 300 * chunk(b"zTXt", b"k\0\0" + zlib.compress(b"b" * 1_000_000)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_png_is_read_whatever_text_lies_in_it(tmp_path, name):
    for where in ("before", "after"):
        data = png(COLOURS, 8, 2, **{where: TEXTS[name]})
        assert np.array_equal(seen(data), COLOURS)
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(view_of_file(tmp_path / "a.png", (HEIGHT, WIDTH)), COLOURS)
    assert stored_form(data)[1] == ("PNG, stored as JPEG",)


def test_texts_that_would_fill_memory_are_not_unpacked():
    """Each of the texts looked for is a thousandth of what it unpacks to."""
    packed = zlib.compress(bytes(64 << 20))
    texts = 200 * chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed)
    data = png(COLOURS, 8, 2, texts)
    tracemalloc.start()
    clock = time.monotonic()
    assert np.array_equal(seen(data), COLOURS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 128 << 20 and time.monotonic() - clock < 10


def media(brand: bytes, *compatible: bytes) -> bytes:
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">L", 4 + len(content)) + content + bytes(60)


def raw(make: str, **tags: int) -> bytes:
    """A camera's raw file as a reader of TIFF meets it: a sound thumbnail first."""
    return encoded(picture(1), "TIFF", tiffinfo={254: 1, 330: 0, 271: make, **tags})


OTHERS = {
    "HEIC": media(b"heic"),
    "HEIC by a compatible brand": media(b"mif1", b"mif1", b"heic"),
    "HEIF": media(b"mif1"),
    "AVIF": media(b"avif"),
    "AVIF by a compatible brand": media(b"mif1", b"avif"),
    "CR3": media(b"crx "),
    "video (MP4)": media(b"isom", b"mp41"),
    "QuickTime": media(b"qt  "),
    "JPEG XL": b"\xff\x0a" + bytes(40),
    "JPEG XL in a box": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
    "JPEG 2000": encoded(PHOTO, "JPEG2000"),
    "JPEG 2000, bare": encoded(PHOTO, "JPEG2000", no_jp2=True),
    "PSD": b"8BPS\0\1" + bytes(40),
    "PDF": b"%PDF-1.7\n",
    "TGA": encoded(PHOTO, "TGA"),
    "QOI": encoded(PHOTO, "QOI"),
    "MPEG": (b"G" + bytes(187)) * 4,
    "MATLAB": b"MATLAB 5.0 MAT-file, Platform" + bytes(99),
    "PNG whose first bytes are damaged": png(COLOURS, 8, 2).replace(b"\r\n", b"\n"),
    "icon": encoded(PHOTO.resize((32, 32)), "ICO"),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(99),
    "NEF": raw("NIKON CORPORATION"),
    "ARW": raw("SONY"),
    "PEF": encoded(picture(1), "TIFF", tiffinfo={271: "PENTAX", 262: 32803}),
    "RAW": raw("Somebody"),
    "ORF": b"IIRO\x08\0\0\0" + bytes(40),
    "RW2": b"IIU\0\x08\0\0\0" + bytes(40),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(40),
    "WebM": b"\x1a\x45\xdf\xa3" + bytes(40),
    "AVI": b"RIFF\x24\0\0\0AVI LIST",
    "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
    "ZIP": b"PK\3\4" + bytes(40),
    "DICOM": bytes(128) + b"DICM" + bytes(40),
    "NumPy": b"\x93NUMPY\1\0" + bytes(40),
    "PFM": b"PF\n2 2\n-1.0\n" + bytes(48),
    "PAM": b"P7\nWIDTH 1\n",
    "HTML": b"\xef\xbb\xbf\n<!DOCTYPE html>\n<title>Not found</title>",
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "text": "Ceci n'est pas une image: Ōsaka\n".encode(),
    "text of another kind": "Zugriff verweigert für Sie\r\n".encode("utf-16"),
    "empty text": b"\n\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_read_is_named_beside_what_is(tmp_path, name):
    data = OTHERS[name]
    with pytest.raises(ImageError) as refused:
        open_image(data)
    word = name.split(" by ")[0].split(" in ")[0].split(",")[0].split(" of ")[0]
    assert word in str(refused.value) and READ_WORDS in str(refused.value)
    assert READ_WORDS not in refused.value.reason and word in refused.value.reason
    (tmp_path / "photo.jpg").write_bytes(data)
    with pytest.raises(ZfjaxError, match=r"photo\.jpg is (not an image but )?(an? )?\S+"):
        view_of_file(tmp_path / "photo.jpg", (8, 8))


def test_bytes_that_tell_nothing_and_files_without_any():
    noise = os.urandom(2000).replace(b"\xff", b"\0")
    assert format_of(b"\x80" + noise) is None
    with pytest.raises(ImageError, match="^not an image: JPEG"):
        open_image(b"\x80\x01" + noise)
    with pytest.raises(ImageError, match="^empty file$"):
        open_image(b"")


def test_an_import_and_the_help_name_the_formats(tmp_path, capsys):
    files = {"a/phone.heic": OTHERS["HEIC"], "a/x.jpg": OTHERS["git-lfs"], "a/one.jpg": jpeg(1)}
    summary = import_images(make_tree(tmp_path / "in", files), "few", tmp_path / "data")
    assert summary.skipped == {
        "HEIC, which zfjax does not read": ("a/phone.heic",),
        "not an image but a git-lfs pointer to one (`git lfs pull` fetches it)": ("a/x.jpg",),
    }
    assert any(READ_WORDS in line for line in summary.lines())
    (tmp_path / "in" / "a" / "one.jpg").unlink()
    with pytest.raises(ZfjaxError, match="1 HEIC, which zfjax does not read") as refused:
        import_images(tmp_path / "in", "none", tmp_path / "data")
    assert READ_WORDS in str(refused.value)
    with pytest.raises(SystemExit):
        main(["data", "import", "--help"])
    assert READ_WORDS in " ".join(capsys.readouterr().out.split())


def test_damaged_and_hostile_files_are_refused():
    whole = encoded(PHOTO, "TIFF", compression="tiff_lzw")
    shorter = [FILES[kind][0][:-9] for kind in ("P1", "P2 to 7", "P3", "P4", "P5", "P6 to 4095")]
    for data in (whole[: len(whole) // 2], whole[:100], *shorter):
        with pytest.raises(ImageError, match="truncated or damaged"):
            seen(data)
    for head in (b"P6 0 9 255\n", b"P6 9 9 0\n", b"P6 9 9 70000\n", b"P6 x\n"):
        with pytest.raises(ImageError):
            seen(head + b"1 " * 99)
    with pytest.raises(TooManyPixels):
        open_image(b"P6 9999999 9999999 255\n")
    with pytest.raises(TooManyPixels):
        open_image(tiff(np.zeros((2, 2, 1), int), tile=2, t256=70_000, t257=70_000))
    bomb = tiff(np.zeros((16, 16, 1), int), tile=16).replace(
        struct.pack("<HHLL", 322, 4, 1, 16), struct.pack("<HHLL", 322, 4, 1, 1 << 30)
    )
    with pytest.raises(TooManyPixels):
        open_image(bomb)


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_samples_that_nothing_explains_are_refused(mode):
    data = encoded(Image.new(mode, (8, 8)), "TIFF")
    with pytest.raises(ImageError, match="nothing tells what is black|does not read .LAB."):
        open_image(data)


@pytest.mark.parametrize("bands", [5, 6, 8, 13])
def test_satellites_bands_are_named_and_never_guessed(bands, capfd):
    for bits, planes in ((8, 1), (16, 1), (16, 2)):
        data = tiff(np.zeros((8, 8, bands), int), bits, t284=planes)
        says = f"TIFF of {bands} bands" if bands > 6 else "TIFF of a kind that"
        with pytest.raises(ImageError, match=says):
            open_image(data)
    assert capfd.readouterr() == ("", "")


def test_any_first_directory_is_a_picture_or_an_image_error():
    whole = tiff(COLOURS, photometric=2)
    generator = np.random.default_rng(0)
    at = whole.index(struct.pack("<HHLL", 256, 4, 1, WIDTH))
    outcomes = {"picture": 0, "refused": 0}
    for _ in range(300):
        odd = bytearray(whole)
        for _ in range(3):
            odd[generator.integers(at - 2, len(odd))] = generator.integers(256)
        try:
            picture = read_picture(bytes(odd), 1 << 20)
        except ImageError:
            outcomes["refused"] += 1
        else:
            assert min(picture.image.size) > 0
            outcomes["picture"] += 1
    assert min(outcomes.values()) > 10, "both happen"
