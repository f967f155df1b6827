"""Changes of images against loops over pixels, and against NumPy's own turns and shifts."""

import math

import numpy as np
import pytest
from scipy import ndimage

from zfjax.inputs import CHANNEL_MEAN, Preparation
from zfjax.measures.warping import KINDS, Change, changes_of, mean_view, warped

OUTSIDE = np.full((9, 8, 3), 100, np.float32)
VIEW = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
NOTHING = [Change("translation", 0), Change("scale", 1), Change("rotation", 0)]


def changed(change, fill="mean", axis="vertical", view=VIEW, outside=OUTSIDE, size=(224, 224)):
    matrix = change.matrix(size, axis)
    return np.asarray(warped(view[None], matrix[None], outside, fill))[0]


def by_loops(view, change, fill, size=(224, 224)):
    """Each pixel looked up where it comes from, in double precision."""
    height, width, _ = view.shape
    out, middle = np.zeros(view.shape), ((height - 1) / 2, (width - 1) / 2)

    def at(i, j, y, x):
        if fill == "reflect":
            while not 0 <= i < height:
                i = -i if i < 0 else 2 * (height - 1) - i
            while not 0 <= j < width:
                j = -j if j < 0 else 2 * (width - 1) - j
        elif not (0 <= i < height and 0 <= j < width):
            return OUTSIDE[y, x]
        return view[i, j].astype(float)

    for y in range(height):
        for x in range(width):
            v, u = y - middle[0], x - middle[1]
            if change.kind == "translation":
                v -= change.amount * size[0] / 224
            elif change.kind == "scale":
                v, u = v / change.amount, u / change.amount
            else:
                turn = math.radians(change.amount)
                # Anticlockwise with y downwards: what stands at the right goes to the top.
                v, u = (
                    u * math.sin(turn) + v * math.cos(turn),
                    u * math.cos(turn) - v * math.sin(turn),
                )
            v, u = v + middle[0], u + middle[1]
            i, j = math.floor(v), math.floor(u)
            for di in (0, 1):
                for dj in (0, 1):
                    weight = (1 - abs(v - i - di)) * (1 - abs(u - j - dj))
                    out[y, x] += weight * at(i + di, j + dj, y, x)
    return out


@pytest.mark.parametrize("change", NOTHING, ids=lambda change: change.kind)
@pytest.mark.parametrize("fill", ["mean", "reflect"])
def test_nothing_changes_nothing_exactly(change, fill):
    assert change.extent == 0
    np.testing.assert_array_equal(changed(change, fill), VIEW)


@pytest.mark.parametrize("fill", ["mean", "reflect"])
@pytest.mark.parametrize(
    "change",
    [
        *(Change("translation", amount) for amount in (2.25, -3, 20)),
        *(Change("scale", amount) for amount in (1.3, 0.6)),
        *(Change("rotation", amount) for amount in (10, 135.5, 350)),
    ],
    ids=lambda change: change.name,
)
def test_each_pixel_is_looked_up_where_it_comes_from(change, fill):
    np.testing.assert_allclose(changed(change, fill), by_loops(VIEW, change, fill), atol=2e-2)


@pytest.mark.parametrize("fill", ["mean", "reflect"])
@pytest.mark.parametrize(
    "change",
    [
        *(Change("translation", amount) for amount in (113, -150.3, 224)),
        *(Change("scale", amount) for amount in (0.1, 0.33, 4, 100)),
        *(Change("rotation", amount) for amount in (-370, 450, 719.9)),
    ],
    ids=lambda change: change.name,
)
def test_wide_changes_are_scipys(change, fill):
    for height, width in ((33, 48), (9, 8), (2, 2), (1, 5)):
        view = np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)
        outside, middle = np.full(view.shape, 77, np.float32), np.array([height - 1, width - 1]) / 2
        matrix = change.matrix((height, width), "vertical").astype(float)
        theirs = [
            ndimage.affine_transform(
                *(view[..., channel].astype(float), matrix[:, :2]),
                offset=middle + matrix[:, 2] - matrix[:, :2] @ middle,
                order=1,
                mode="mirror" if fill == "reflect" else "grid-constant",
                cval=77,
            )
            for channel in range(3)
        ]
        ours = changed(change, fill, view=view, outside=outside, size=(height, width))
        np.testing.assert_allclose(ours, np.stack(theirs, axis=-1), atol=2e-2)


def test_whole_turns_are_none_and_whole_pixels_and_quarter_turns_are_numpys():
    down = changed(Change("translation", 2))
    np.testing.assert_array_equal(down[2:], VIEW[:-2])
    np.testing.assert_array_equal(down[:2], OUTSIDE[:2])
    left = changed(Change("translation", -3), axis="horizontal")
    np.testing.assert_array_equal(left[:, :-3], VIEW[:, 3:])
    for turns in (1, 2, -1):
        np.testing.assert_array_equal(changed(Change("rotation", 360 * turns)), VIEW)
    square = VIEW[:8]
    for times in (1, 2, 3):
        turned = changed(Change("rotation", 90 * times), view=square, outside=OUTSIDE[:8])
        np.testing.assert_allclose(turned, np.rot90(square, times), atol=0.05)
    # Half of a 448-pixel input's translation is that of one of 224.
    np.testing.assert_array_equal(changed(Change("translation", 1), size=(448, 112)), down)


def test_grids_and_names():
    assert [change.amount for change in changes_of("translation", 60, 5)] == [-60, -30, 0, 30, 60]
    assert [change.name for change in changes_of("scale", 1.8, 3)] == [
        *("scale_1", "scale_1.4", "scale_1.8")
    ]
    assert [change.amount for change in changes_of("rotation", 350, 3)] == [0, 175, 350]
    for kind in KINDS:
        assert sum(change.extent == 0 for change in changes_of(kind, 1.5, 5)) == 1


def test_what_lies_outside_becomes_zero():
    modern = Preparation("modern", 6, (4, 4))
    theirs = Preparation("modern", 6, (4, 4), mean=(10.0, 20.0, 30.0), std=(2.0, 2.0, 2.0))
    faithful = Preparation("faithful", 6, (4, 4))
    image = np.random.default_rng(1).uniform(0, 255, (6, 6, 3)).astype(np.float32)
    for preparation, mean in ((modern, None), (theirs, None), (faithful, image)):
        outside = mean_view(preparation, mean)
        inputs = preparation.inputs(outside[None], mean)
        np.testing.assert_allclose(inputs, 0, atol=1e-6)
    np.testing.assert_allclose(mean_view(modern, None)[0, 0], CHANNEL_MEAN)
