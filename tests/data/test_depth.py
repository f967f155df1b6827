"""10 and 12 bits in files of 16: as light as they were taken, and said where the file does not say
it."""

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import encoded, make_tree, picture
from tests.odd_files import chunk, png, tiff
from zfjax.data.converting import stored_form
from zfjax.data.images import read_picture, view
from zfjax.data.importing import import_images

COLOURS = np.asarray(picture(3, 30, 40))
COLOURS = np.maximum(COLOURS, np.array([[[255]], [[0]]] + [[[0]]] * 28, np.uint8))
GREY = COLOURS[..., :1]
"""One row is white, so that a picture has the whole range of its depth."""


def of_depth(samples: np.ndarray, bits: int) -> np.ndarray:
    return np.round(samples / 255 * ((1 << bits) - 1)).astype(int)


def opaque(samples: np.ndarray, alpha: int) -> np.ndarray:
    return np.concatenate([samples, np.full_like(samples[..., :1], alpha)], axis=-1)


def sixteen(kind: str, bits: int, told: bool) -> tuple[bytes, np.ndarray]:
    """A file whose samples have ``bits``, and what it shows; ``told``: the file says so."""
    grey, colours = of_depth(GREY, bits), of_depth(COLOURS, bits)
    says = {"before": chunk(b"sBIT", bytes([bits] * 3))} if told else {}
    one = {"before": chunk(b"sBIT", bytes([bits]))} if told else {}
    four = {"before": chunk(b"sBIT", bytes([bits] * 4))} if told else {}
    largest = {"t281": int(grey.max())} if told else {}
    white = (1 << bits) - 1 if told else 65_535
    head = b" 40 30 %d\n" % white
    return {
        "PNG, grey": (png(grey, 16, 0, **one), GREY),
        "PNG, colour": (png(colours, 16, 2, **says), COLOURS),
        "PNG, RGBA": (png(opaque(colours, 65_535), 16, 6, **four), COLOURS),
        "PNG, RGBA of one depth": (png(opaque(colours, (1 << bits) - 1), 16, 6, **four), COLOURS),
        "PNG, LA": (png(opaque(grey, 65_535), 16, 4, **one), GREY),
        "TIFF, grey": (tiff(grey, 16, **largest), GREY),
        "TIFF, grey, big-endian": (tiff(grey, 16, order=">", **largest), GREY),
        "TIFF, colour": (tiff(colours, 16, 2, **largest), COLOURS),
        "TIFF, colour, big-endian": (tiff(colours, 16, 2, order=">", **largest), COLOURS),
        "PGM": (b"P5" + head + grey.astype(">u2").tobytes(), GREY),
        "PPM": (b"P6" + head + colours.astype(">u2").tobytes(), COLOURS),
    }[kind]


KINDS = (
    "PNG, grey",
    "PNG, colour",
    "PNG, RGBA",
    "PNG, RGBA of one depth",
    "PNG, LA",
    "TIFF, grey",
    "TIFF, grey, big-endian",
    "TIFF, colour",
    "TIFF, colour, big-endian",
    "PGM",
    "PPM",
)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_and_twelve_bits_are_as_light_as_they_were_taken(kind):
    for bits in (10, 12):
        for told in (True, False):
            data, expected = sixteen(kind, bits, told)
            shown = view(data, (30, 40)).astype(int)
            assert np.abs(shown - expected).max() <= 1, (bits, told)
            said = stored_form(data)[1][1:]
            guess = f"16 bits that hold no more than {bits}, read as {bits}"
            assert said == (() if told else (guess,))


@pytest.mark.parametrize("kind", KINDS)
def test_whole_sixteen_bits_keep_their_high_byte(kind):
    data, expected = sixteen(kind, 16, told=False)
    wide = of_depth(expected, 16)
    assert np.array_equal(view(data, (30, 40)), np.broadcast_to(wide >> 8, (30, 40, 3)))
    assert read_picture(data).depth is None


@pytest.mark.parametrize("kind", ["PNG, grey", "PNG, colour", "TIFF, grey", "TIFF, colour"])
def test_fourteen_bits_are_read_where_they_are_told_and_else_said(kind):
    data, expected = sixteen(kind, 14, told=True)
    assert np.abs(view(data, (30, 40)).astype(int) - expected).max() <= 1
    data, expected = sixteen(kind, 14, told=False)
    dark = of_depth(expected, 14) >> 8
    assert np.array_equal(view(data, (30, 40)), np.broadcast_to(dark, (30, 40, 3)))
    assert read_picture(data).depth == (
        "16 bits of which no sample reaches a quarter of white, kept as dark"
    )


@pytest.mark.parametrize("largest", [4096, 5000])
def test_a_picture_just_above_twelve_bits_is_dark(largest):
    grey = np.minimum(of_depth(GREY, 16), largest)
    assert np.array_equal(view(png(grey, 16, 0), (30, 40))[..., 0], (grey >> 8)[..., 0])


@pytest.mark.parametrize("widened", [256, 257])
def test_a_dark_picture_of_eight_bits_made_wider_stays_dark(widened):
    dark = (GREY >> 4).astype(int)
    data = png(dark * widened, 16, 0)
    assert np.array_equal(view(data, (30, 40))[..., 0], dark[..., 0])
    assert read_picture(data).depth is None
    assert read_picture(png(np.zeros((30, 40, 1), int), 16, 0)).depth is None


def test_a_tiff_packed_to_twelve_bits():
    data = tiff(of_depth(GREY, 12), 12)
    assert np.abs(view(data, (30, 40)).astype(int) - GREY).max() <= 1
    assert read_picture(data).depth is None


def test_what_is_transparent_stays_white_and_what_is_inverted_stays_so():
    samples = of_depth(GREY, 12)
    clear = int(samples[5, 5, 0])
    shown = view(png(samples, 16, 0, chunk(b"tRNS", clear.to_bytes(2, "big"))), (30, 40))
    assert (shown[samples[..., 0] == clear] == 255).all()
    inverted = view(tiff(4095 - samples, 16, photometric=0), (30, 40)).astype(int)
    assert np.abs(inverted - GREY).max() <= 1


def test_an_import_says_what_it_took_them_for(tmp_path):
    twelve = Image.fromarray(of_depth(GREY, 12)[..., 0].astype(np.uint16))
    files = {
        "a/ten.png": png(of_depth(GREY, 10), 16, 0),
        "a/twelve.tif": encoded(twelve, "TIFF"),
        "a/told.png": png(of_depth(GREY, 12), 16, 0, chunk(b"sBIT", b"\x0c")),
    }
    summary = import_images(make_tree(tmp_path / "in", files), "deep", tmp_path / "data")
    said = {reason: names for reason, names in summary.converted.items() if "16 bits" in reason}
    assert said == {
        "16 bits that hold no more than 10, read as 10": ("a/ten.png",),
        "16 bits that hold no more than 12, read as 12": ("a/twelve.tif",),
    }
