"""Projection against captum's, on a net without contrast normalisation and with the same
weights."""

import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden.make_captum import UNITS, captum_numbers, weights_and_image
from tests.projected import project
from zfjax.network import ops
from zfjax.network.architecture import Architecture, Conv, Pool
from zfjax.network.model import feature_maps, parameters_from_torch

pytestmark = pytest.mark.slow

ARCHITECTURE = Architecture(
    "captum",
    (35, 35),
    (
        Conv("conv1", 6, 5, 2, (2, 2)),
        Pool("pool1", 3, 2),
        Conv("conv2", 8, 3, 1, (1, 1)),
        Pool("pool2", 3, 1, (1, 1)),
        Conv("conv3", 6, 3, 2, (2, 2)),
    ),
)


def check_against(found):
    arrays = weights_and_image()
    parameters = parameters_from_torch(ARCHITECTURE, arrays)
    images = jnp.asarray(arrays["image"].transpose(1, 2, 0))[None]
    values = np.asarray(feature_maps(ARCHITECTURE, parameters, images)["conv3"])[0]
    ours = np.array([values[y, x, map_] for map_, y, x in UNITS])
    np.testing.assert_allclose(ours, found["activation"], rtol=1e-4, atol=1e-5)
    live = [index for index, value in enumerate(ours) if value > 0]
    assert len(live) >= 3
    maps, ys, xs = np.array(UNITS)[live].T
    for rule in ("deconvnet", "guided"):
        tiles = project(
            ARCHITECTURE,
            parameters,
            np.repeat(images, len(live), 0),
            "conv3",
            maps,
            ys,
            xs,
            rule=ops.RULES[rule],
            batch_size=8,
        ).tiles
        for tile, index, y, x in zip(tiles, live, ys, xs, strict=True):
            whole = np.pad(found[rule][index].transpose(1, 2, 0), ((60, 60), (60, 60), (0, 0)))
            top, left = ARCHITECTURE.tile_origin("conv3", y, x)
            expected = whole[
                top + 60 : top + 60 + tile.shape[0], left + 60 : left + 60 + tile.shape[1]
            ]
            assert np.abs(expected).max() > 0
            np.testing.assert_allclose(
                tile / ours[index], expected, atol=1e-5 * np.abs(expected).max()
            )


def test_projection_equals_captums_recorded_numbers():
    with np.load(Path(__file__).parents[1] / "golden" / "captum.npz") as stored:
        check_against(dict(stored))


def test_projection_equals_captum_live():
    pytest.importorskip(
        "captum",
        reason="torch and captum are not installed; the recorded numbers are compared above",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns that it sets hooks
        found = captum_numbers(weights_and_image())
    check_against(found)
