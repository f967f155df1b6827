"""Sheets of features: pictures lie where they are said to, as sharp and as strong as they are said
to be, with what is missing left out.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.measured_run import write_controls
from tests.synthetic_run import SMALL, make_run
from zfjax.report.board import LINE
from zfjax.report.sheets import EDGE, MARGIN, WIDTH, controls_sheet, features_sheet, strong_bytes
from zfjax.run.measured import measures_folder, open_measured


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    shape = replace(SMALL, epochs=2, maps=3, layers=("conv1", "conv2"))
    return make_run(tmp_path_factory.mktemp("sheets") / "run", shape)


def pixels_of(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def square(pixels, y, x, picture):
    """The middle of the square at (y, x), as large as ``picture`` enlarged a whole number of times,
    and ``picture`` so enlarged.
    """
    times = EDGE // max(picture.shape[:2])
    large = np.kron(picture, np.ones((times, times, 1), np.uint8))
    top, left = y + (EDGE - large.shape[0]) // 2, x + (EDGE - large.shape[1]) // 2
    return pixels[top : top + large.shape[0], left : left + large.shape[1]], large


def test_the_strongest_images_lie_in_a_square_beside_their_patches(run):
    evolution = run.evolution()
    pixels = pixels_of(features_sheet(evolution, "net"))
    assert pixels.shape[1] == WIDTH
    tiles = evolution.tiles("conv1", evolution.steps[-1])
    first = next(map_ for map_ in evolution.maps("conv1") if ("top", map_, 0) in tiles)
    for rank in (0, 5, 8):
        tile = tiles["top", first, rank]
        y, x = LINE + 6 + rank // 3 * (EDGE + 2), MARGIN + rank % 3 * (EDGE + 2)
        np.testing.assert_array_equal(*square(pixels, y, x, strong_bytes(tile.projection)))
        beside = x + 3 * (EDGE + 2) + 8
        np.testing.assert_array_equal(*square(pixels, y, beside, tile.patch))


def test_a_projection_is_white_and_black_beyond_its_98th_percentile():
    magnitudes = np.arange(1, 101, dtype=np.float32)
    signed = (magnitudes * np.where(np.arange(100) % 2, 1, -1)).reshape(10, 10, 1)
    shown = strong_bytes(signed).reshape(100, 3)[:, 0]
    assert sorted(np.flatnonzero((shown == 0) | (shown == 255))) == [97, 98, 99]
    assert set(np.unique(strong_bytes(np.zeros((4, 4, 3), np.float32)))) == {128}


def test_controls_stand_beside_the_projection_with_what_was_kept_of_them(run):
    write_controls(run, run.evolution().steps[-1:], ("conv1", "conv2"))
    controls = open_measured(measures_folder(run.folder), "controls")
    pixels = pixels_of(controls_sheet(controls, run.evolution()))
    [(maps, kept)] = controls.pictures("conv2").values()
    assert maps.tolist() == [3, 5] and pixels.shape[1] == WIDTH
    # The unit's own is kept first, and stands second: after the patch.
    across = (WIDTH // 2 - 2 * MARGIN - 16) // 5
    y, x = 2 * LINE + 12 + LINE + 6, MARGIN + across
    np.testing.assert_array_equal(*square(pixels, y, x, strong_bytes(kept[0][:, :9])))
    without = pixels_of(controls_sheet(controls, None))
    np.testing.assert_array_equal(without[:, x:], pixels[:, x:])
    (measures_folder(run.folder) / "controls.npz").unlink()
    assert controls_sheet(controls, run.evolution()) is None
