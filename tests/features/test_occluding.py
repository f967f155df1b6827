"""Occlusion: cells run anew against whole passes over images that were occluded by hand."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests import oracle
from tests.small import ARCHITECTURE
from zfjax.features.occluding import Sliding, map_projections, occlude, places_along
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool
from zfjax.network.model import class_scores, feature_maps, initial_parameters
from zfjax.network.ops import RULES
from zfjax.network.patching import reruns_of
from zfjax.subject import ArchitectureScores, network_of

DEEP = Architecture(
    "deep",
    (45, 38),
    (
        Conv("conv1", 5, 5, 2, (1, 2)),
        Norm("norm1", alpha=0.3),
        Pool("pool1", 3, 2, (1, 0)),
        Conv("conv2", 7, 3, 1, (0, 2)),
        Conv("conv3", 6, 2, 2, (0, 0)),
        Pool("pool3", 2, 2, (0, 1)),
        Dense("fc", 9),
        Dense("scores", 4),
    ),
)
FINE = Architecture(
    "fine",
    (33, 41),
    (
        Conv("conv1", 4, 3, 1, (1, 1)),
        Conv("conv2", 4, 3, 1, (2, 0)),
        Pool("pool2", 4, 3, (2, 1)),
        Norm("norm2", alpha=0.3),
        Conv("conv3", 5, 3, 2, (1, 1)),
        Dense("scores", 3),
    ),
)
SKIPPING = Architecture(
    "skipping",
    (40, 40),
    (Conv("conv1", 4, 3, 1, (1, 1)), Conv("conv2", 4, 1, 2), Conv("conv3", 4, 3, 1, (1, 1))),
)


def made(architecture, seed=0):
    """(parameters with biases, image): padding cells that are not zero must not be seen."""
    parameters = initial_parameters(architecture, "modern", seed)
    generator = np.random.default_rng(seed)
    parameters = {
        name: {
            "kernel": 2 * layer["kernel"],
            "bias": generator.normal(0, 0.3, layer["bias"].shape).astype(np.float32),
        }
        for name, layer in parameters.items()
    }
    image = generator.normal(size=(*architecture.input_size, 3)).astype(np.float32)
    return parameters, image


def sliding_of(architecture, size, stride, **more):
    network = network_of(architecture)
    scores = ArchitectureScores(architecture) if architecture.classes else None
    return Sliding(network, scores, tuple(network.layers), size, stride, **more)


@functools.partial(jax.jit, static_argnums=0)
def whole_passes(architecture, parameters, images):
    """(sums of maps by layer, scores) of images [n, h, w, 3], each run whole."""
    maps = feature_maps(architecture, parameters, images)
    scores = None
    if architecture.classes:
        scores = class_scores(architecture, parameters, images, precision=jax.lax.Precision.HIGHEST)
    return {name: maps[name].sum((1, 2)) for name in architecture.conv_names}, scores


def occluded_by_hand(image, fill, rows, columns, size):
    """Every occluded image, row by row: [n, h, w, 3]."""
    images = []
    for y in rows:
        for x in columns:
            images.append(np.array(image))
            images[-1][y : y + size, x : x + size] = fill[y : y + size, x : x + size]
    return np.stack(images)


@pytest.mark.parametrize(
    ("architecture", "size", "stride"),
    [
        (DEEP, 7, 9),
        (DEEP, 1, 11),
        (FINE, 6, 7),
        (FINE, 3, 13),
        (ARCHITECTURE, 4, 3),
        (SKIPPING, 5, 11),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_cells_run_anew_are_those_of_the_whole_image(architecture, size, stride):
    parameters, image = made(architecture)
    fill = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    sliding = sliding_of(architecture, size, stride)
    assert any(not rerun.whole for rerun in sliding.reruns), "something is run locally"
    occluded = occlude(sliding, parameters, image, fill, batch=8)
    height, width = architecture.input_size
    assert occluded.rows[-1] == height - size and occluded.columns[-1] == width - size
    images = occluded_by_hand(image, fill, occluded.rows, occluded.columns, size)
    sums, scores = whole_passes(architecture, parameters, images)
    for name, expected in sums.items():
        expected = np.asarray(expected).reshape(occluded.sums[name].shape)
        np.testing.assert_allclose(
            occluded.sums[name], expected, rtol=1e-5, atol=1e-5 * abs(expected).max()
        )
    if scores is not None:
        expected = np.asarray(scores).reshape(occluded.scores.shape)
        largest = abs(expected).max()
        np.testing.assert_allclose(occluded.scores, expected, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("size", [1, 5, 8, 16, 38])
def test_what_a_square_reaches_is_where_the_maps_change(size):
    """The cells that are said to change hold all that do, and no row or column more than the
    stride makes necessary: found by changing pixels and looking."""
    parameters, image = made(DEEP)
    by_layer = {rerun.name: rerun for rerun in reruns_of(DEEP, size)}
    changed = np.stack([image] * (45 - size + 2))
    for y in range(45 - size + 1):
        noise = np.random.default_rng(y).normal(size=(size, size, 3))
        changed[y + 1, y : y + size, :size] += 5 * noise
    maps = jax.jit(functools.partial(feature_maps, DEEP))(parameters, changed)
    most = {}
    for name in by_layer:
        differs = (maps[name][1:] != maps[name][:1]).any((2, 3))
        ends = [np.flatnonzero(rows) for rows in np.asarray(differs)]
        most[name] = max((int(rows[-1] - rows[0]) + 1 for rows in ends if len(rows)), default=0)
    for name, rerun in by_layer.items():
        assert most[name] <= rerun.cells[0] <= DEEP.fact(name).shape[0] + 8
        if not rerun.whole and name != "pool3":
            assert rerun.cells[0] - most[name] <= 1, name


def test_the_plain_way_is_the_same_and_costs_more():
    parameters, image = made(FINE)
    fill = np.zeros_like(image)
    local, plain = sliding_of(FINE, 8, 9), sliding_of(FINE, 8, 9, plainly=True)
    assert local.multiply_adds < plain.multiply_adds
    ours, whole = (occlude(way, parameters, image, fill) for way in (local, plain))
    for name in FINE.conv_names:
        np.testing.assert_allclose(ours.sums[name], whole.sums[name], rtol=1e-5)
    np.testing.assert_allclose(ours.scores, whole.scores, rtol=1e-4, atol=1e-5)
    alone = dataclasses.replace(local, scores=None, layers=("conv1",))
    np.testing.assert_allclose(
        occlude(alone, parameters, image, fill).sums["conv1"], whole.sums["conv1"], rtol=1e-5
    )
    assert occlude(alone, parameters, image, fill).scores is None


def test_occluding_nothing_changes_nothing_and_all_leaves_the_fill():
    parameters, image = made(ARCHITECTURE)
    same = occlude(sliding_of(ARCHITECTURE, 5, 4), parameters, image, image)
    for name, sums in same.sums.items():
        expected = np.broadcast_to(same.whole[name], sums.shape)
        np.testing.assert_allclose(sums, expected, rtol=2e-6, atol=1e-5)
    expected = np.broadcast_to(same.whole_scores, same.scores.shape)
    np.testing.assert_allclose(same.scores, expected, rtol=1e-5, atol=1e-6)
    mean = np.zeros_like(image)
    everything = occlude(sliding_of(ARCHITECTURE, 16, 1), parameters, image, mean)
    assert everything.scores.shape[:2] == (1, 1)
    expected = class_scores(
        ARCHITECTURE, parameters, mean[None], precision=jax.lax.Precision.HIGHEST
    )[0]
    np.testing.assert_allclose(everything.scores[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_batches_of_any_size_give_the_same():
    parameters, image = made(ARCHITECTURE)
    fill = np.zeros_like(image)
    sliding = sliding_of(ARCHITECTURE, 6, 5)
    expected = occlude(sliding, parameters, image, fill)
    for batch in (1, 4, 1000):
        other = occlude(sliding, parameters, image, fill, batch=batch)
        np.testing.assert_allclose(other.scores, expected.scores, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(other.sums["conv2"], expected.sums["conv2"], rtol=1e-5)


def test_places_cover_the_axis():
    assert places_along(10, 4, 3).tolist() == [0, 3, 6]
    assert places_along(11, 4, 3).tolist() == [0, 3, 6, 7]
    assert places_along(4, 4, 9).tolist() == [0]
    assert places_along(5, 1, 1).tolist() == [0, 1, 2, 3, 4]


def test_a_maps_projection_is_the_explicit_deconvnet_of_all_its_activations():
    parameters, image = made(ARCHITECTURE)
    values, memory = oracle.climb(ARCHITECTURE, parameters, np.float64(image), "conv2")
    maps = np.argsort(-values.sum((0, 1)))[:2]
    tiles = map_projections(network_of(ARCHITECTURE), parameters, image, "conv2", maps)
    way = RULES["deconvnet"]
    for tile, map_ in zip(tiles, maps, strict=True):
        seed = np.zeros_like(values)
        seed[..., map_] = values[..., map_]
        expected = oracle.descend(parameters, memory, seed, way.relu, way.norm)
        np.testing.assert_allclose(tile, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())
