"""One decoder for every door: an import, a reading of the set, and a user's own picture."""

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import encoded, jpeg, make_tree
from tests.odd_files import UPRIGHT, chunk, png, short, with_exif
from tests.small import make_config
from zfjax.data.converting import stored_form
from zfjax.data.dataset import open_dataset
from zfjax.data.images import view, view_of_file
from zfjax.data.importing import import_images
from zfjax.features.projecting import Source, view_of


def halves(left, right):
    """Samples (16, 16, n): two flat halves, which JPEG keeps."""
    return np.stack([np.stack([left] * 8 + [right] * 8)] * 16)


def with_alpha(kind, left, right, alpha, **options):
    pixels = np.concatenate([halves(left, right), halves([255], [alpha])], axis=2).astype(np.uint8)
    return encoded(Image.fromarray(pixels), kind, **options)


def over_white(colour, alpha):
    return [round((value * alpha + 255 * (255 - alpha)) / 255) for value in colour]


def palette(*colours):
    return chunk(b"PLTE", bytes(sum(colours, [])))


RED, BLUE, WHITE = [200, 20, 30], [10, 40, 220], [255] * 3
SHOWN = {
    "RGBA": (with_alpha("PNG", RED, BLUE, 0), RED, WHITE),
    "RGBA, half clear": (with_alpha("PNG", RED, BLUE, 128), RED, over_white(BLUE, 128)),
    "LA": (
        png(np.concatenate([halves([90], [30]), halves([255], [64])], 2), 8, 4),
        [90] * 3,
        over_white([30] * 3, 64),
    ),
    "16-bit RGBA": (
        png(halves([51456, 5376, 7936, 65535], [1, 2, 3, 0]), 16, 6),
        [201, 21, 31],
        WHITE,
    ),
    "16-bit LA": (png(halves([0x5AFF, 65535], [7, 0]), 16, 4), [0x5A] * 3, WHITE),
    "grey": (png(halves([90], [0]), 8, 0, chunk(b"tRNS", b"\0\0")), [90] * 3, WHITE),
    "grey, 1 bit": (png(halves([1], [0]), 1, 0, chunk(b"tRNS", b"\0\0")), WHITE, WHITE),
    "grey, 1 bit, white clear": (
        png(halves([1], [0]), 1, 0, chunk(b"tRNS", b"\0\1")),
        WHITE,
        [0] * 3,
    ),
    "grey, 2 bits": (png(halves([2], [1]), 2, 0, chunk(b"tRNS", b"\0\1")), [170] * 3, WHITE),
    "grey, 4 bits": (png(halves([3], [5]), 4, 0, chunk(b"tRNS", b"\0\5")), [51] * 3, WHITE),
    "grey, 16 bits": (
        png(halves([0x1234], [0x1235]), 16, 0, chunk(b"tRNS", b"\x12\x35")),
        [0x12] * 3,
        WHITE,
    ),
    "grey, 16 bits, opaque": (png(halves([0x1234], [0xFFFF]), 16, 0), [0x12] * 3, WHITE),
    "colour": (
        png(halves(RED, BLUE), 8, 2, chunk(b"tRNS", bytes([0, 10, 0, 40, 0, 220]))),
        RED,
        WHITE,
    ),
    "colour, 16 bits": (
        png(halves([0x1234] * 3, [0x5678] * 3), 16, 2, chunk(b"tRNS", b"\x56\x78" * 3)),
        [0x12] * 3,
        WHITE,
    ),
    "palette": (
        png(halves([0], [1]), 8, 3, palette(RED, BLUE) + chunk(b"tRNS", b"\xff\0")),
        RED,
        WHITE,
    ),
    "palette, half clear": (
        png(halves([0], [1]), 2, 3, palette(RED, BLUE) + chunk(b"tRNS", b"\xff\x80")),
        RED,
        over_white(BLUE, 128),
    ),
    "palette, opaque": (png(halves([0], [1]), 1, 3, palette(RED, BLUE)), RED, BLUE),
    "GIF": (
        encoded(Image.fromarray(halves([0], [1])[..., 0].astype(np.uint8)), "GIF", transparency=1),
        [0] * 3,
        WHITE,
    ),
    "WEBP": (with_alpha("WEBP", RED, BLUE, 0, lossless=True, exact=True), RED, WHITE),
    "BMP": (encoded(Image.fromarray(halves(RED, BLUE).astype(np.uint8)), "BMP"), RED, BLUE),
    "CMYK": (
        encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100),
        [254, 0, 0],
        [254, 0, 0],
    ),
}


@pytest.fixture(scope="module")
def as_imported(tmp_path_factory):
    """{kind: pixels read from the data set} of one import of all, and where their files are."""
    folder = tmp_path_factory.mktemp("shown")
    files = {f"a/{kind}.png": data for kind, (data, _, _) in SHOWN.items()}
    for way in UPRIGHT:
        files[f"a/way {way}.png"] = with_exif(jpeg(7, 30, 50), [(0x0112, 3, 1, short(way))])
    summary = import_images(make_tree(folder / "in", files), "shown", folder / "data")
    assert summary.skipped == {}
    dataset = open_dataset("shown", folder / "data")
    examples = dataset.read("train", range(len(files)), (16, 16))
    return {example.file_name[2:-4]: example.image for example in examples}, folder / "in" / "a"


@pytest.mark.parametrize("kind", SHOWN)
def test_every_door_shows_the_same_colours(as_imported, kind):
    stored, folder = as_imported
    _, left, right = SHOWN[kind]
    expected = halves(left, right)
    project = view_of_file(folder / f"{kind}.png", (16, 16))
    assert np.abs(project.astype(int) - expected).max() <= 1, "by hand"
    assert np.abs(stored[kind].astype(int) - expected).max() <= 4, "through a JPEG"


@pytest.mark.parametrize("way", UPRIGHT)
def test_every_door_turns_a_photo_upright(as_imported, way):
    stored, folder = as_imported
    path, data = folder / f"way {way}.png", (folder / f"way {way}.png").read_bytes()
    lies = view(jpeg(7, 30, 50), (30, 50))
    expected = UPRIGHT[way](lies)
    assert np.array_equal(view_of_file(path, expected.shape[:2]), expected)
    assert np.array_equal(view(data, (30, 50)), lies), "stored images lie as they lie"
    assert np.array_equal(view(stored_form(data, upright=False)[0], (30, 50)), lies), (
        "and so do ILSVRC2012's"
    )
    seen = view_of_file(path, (16, 16)).astype(int)
    assert np.abs(seen - stored[f"way {way}"]).mean() < 2
    assert way != 1 or np.array_equal(seen, stored["way 1"])


def test_project_shows_what_an_import_shows(tmp_path, data_dir):
    turned = with_exif(jpeg(7, 30, 50), [(0x0112, 3, 1, short(6)), (0x011A, 2, 6, b"large\0")])
    for name, data in (
        ("turned.jpg", turned),
        ("clean.jpg", jpeg(8, 30, 50)),
        ("clear.png", SHOWN["grey"][0]),
    ):
        (tmp_path / name).write_bytes(data)
        stored = view(stored_form(data, quality=100)[0], (18, 18))
        seen = view_of(tmp_path / name, make_config(data_dir), Source())
        assert np.abs(seen.astype(int) - stored).mean() < 2 and (
            name != "clean.jpg" or np.array_equal(seen, stored)
        )
