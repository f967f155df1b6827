"""Projection against the step-by-step deconvnet of oracle.py, at every border, by both methods and
all rules."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.projected import project
from zfjax import presets
from zfjax.features import deconvnet
from zfjax.network import ops
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool
from zfjax.network.layers import layers_of, window_cells
from zfjax.network.model import feature_maps, kernel_shapes
from zfjax.network.named import ALEXNET, ZFNET
from zfjax.subject import network_of

pytestmark = pytest.mark.slow

# Norm before pool, then pool before norm; overlapping pools, odd paddings, strides that leave
# pixels over, non-square.
NET = Architecture(
    "odd",
    (27, 34),
    (
        Conv("conv1", 5, 5, 2, (1, 2)),
        Norm("norm1", 3, alpha=0.7),
        Pool("pool1", 3, 1, (1, 0)),
        Conv("conv2", 6, 4, 2, (0, 3)),
        Pool("pool2", 3, 2, (0, 2)),
        Norm("norm2", 5, k=1.0, alpha=0.2, beta=0.5),
        Conv("conv3", 4, 3, 1, (2, 1)),
        Dense("fc4", 2),
    ),
)
LAYERS = ("conv1", "conv2", "conv3")


def random_parameters(architecture, seed):
    generator = np.random.default_rng(seed)
    shapes = kernel_shapes(architecture)
    return {
        name: {
            "kernel": (
                generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
            ),
            "bias": generator.normal(-0.2, 0.2, shape[-1]).astype(np.float32),
        }
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def parameters():
    return random_parameters(NET, 5)


@pytest.fixture(scope="module")
def image():
    pixels = 4 * np.random.default_rng(6).normal(size=(*NET.input_size, 3)).astype(np.float32)
    pixels[5:20, 3:17] = 1  # constant: ties between the places of a window
    pixels[18:, 20:] = -9  # dark: windows in which every map is silent
    return pixels


@pytest.fixture(scope="module")
def climbed(parameters, image):
    return {layer: oracle.climb(NET, parameters, image, layer) for layer in LAYERS}


def units_everywhere(values):
    """The strongest map at four corners, four edges and the centre: maps, rows, columns."""
    height, width, _ = values.shape
    places = [(y, x) for y in (0, height // 2, height - 1) for x in (0, width // 2, width - 1)]
    ys, xs = np.array(places).T
    return values[ys, xs].argmax(axis=1), ys, xs


def test_the_image_has_ties_and_silent_windows(climbed):
    _, memory = climbed["conv3"]
    tied = silent = 0
    for spec, below, _ in memory:
        if isinstance(spec, Pool):
            for i, j, m in np.ndindex(below.shape[0] - 2, below.shape[1] - 2, below.shape[2]):
                window = below[i : i + 3, j : j + 3, m]
                silent += not window.any()
                tied += bool(window.max() > 0 and (window == window.max()).sum() > 1)
    assert tied > 20 and silent > 20


@pytest.mark.parametrize("layer", LAYERS)
def test_the_way_up_equals_the_oracle(parameters, image, climbed, layer):
    found = np.asarray(feature_maps(NET, parameters, image[None], until=layer)[layer])[0]
    np.testing.assert_allclose(found, climbed[layer][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", list(ops.RULES))
@pytest.mark.parametrize("method", ["window", "image"])
def test_projection_equals_the_oracle_everywhere(parameters, image, climbed, rule, method):
    for layer in ("conv2", "conv3") if rule in ("deconvnet", "guided+norm") else ("conv3",):
        values, memory = climbed[layer]
        maps, ys, xs = units_everywhere(values)
        assert (values[ys, xs, maps] > 0).sum() >= 6
        found = project(
            NET,
            parameters,
            image[None].repeat(9, 0),
            layer,
            maps,
            ys,
            xs,
            rule=ops.RULES[rule],
            method=method,
            batch_size=9,
        )
        np.testing.assert_allclose(found.activations, values[ys, xs, maps], rtol=1e-4, atol=1e-5)
        relu, norm = ops.RULES[rule].relu, ops.RULES[rule].norm
        for map_, y, x, tile in zip(maps, ys, xs, found.tiles, strict=True):
            whole = oracle.descend(
                parameters, memory, oracle.one_hot(values, y, x, map_), relu, norm
            )
            expected = oracle.cut(whole, NET.window(layer).box(y, x), NET.input_size)
            np.testing.assert_allclose(tile, expected, atol=2e-5 * np.abs(expected).max() + 1e-12)
            assert np.abs(whole).sum() == pytest.approx(
                np.abs(expected).sum()
            )  # all of it lies in the tile


def narrow(architecture, divisor, **fields):
    """The same layers with fewer maps."""
    layers = tuple(
        (
            dataclasses.replace(layer, maps=layer.maps // divisor)
            if isinstance(layer, Conv)
            else dataclasses.replace(layer, features=8)
            if isinstance(layer, Dense)
            else layer
        )
        for layer in architecture.layers
    )
    return dataclasses.replace(architecture, layers=layers, **fields)


@pytest.mark.parametrize(
    "architecture",
    [narrow(ZFNET, 24), narrow(ALEXNET, 24, input_size=(160, 200))],
    ids=["zfnet", "alexnet-non-square"],
)
def test_window_equals_whole_image_everywhere(architecture):
    parameters = random_parameters(architecture, 0)
    image = (
        np.random.default_rng(0).normal(size=(1, *architecture.input_size, 3)).astype(np.float32)
        * 3
    )
    features = jax.jit(lambda pixels: feature_maps(architecture, parameters, pixels))(image)
    for layer in architecture.conv_names:
        values = np.asarray(features[layer])[0]
        maps, ys, xs = units_everywhere(values)
        window, whole = (
            project(
                architecture,
                parameters,
                image,
                layer,
                maps,
                ys,
                xs,
                rows=np.zeros(9, int),
                method=method,
                batch_size=9,
            )
            for method in ("window", "image")
        )
        scale = np.abs(whole.tiles).max()
        assert scale > 0
        np.testing.assert_allclose(window.tiles, whole.tiles, atol=1e-5 * scale)
        np.testing.assert_allclose(window.activations, values[ys, xs, maps], rtol=1e-5, atol=1e-6)


def test_the_rules_differ(parameters, climbed):
    values, memory = climbed["conv3"]
    maps, ys, xs = (part[4] for part in units_everywhere(values))
    seed = oracle.one_hot(values, ys, xs, maps)
    tiles = [
        oracle.descend(parameters, memory, seed, rule.relu, rule.norm)
        for rule in ops.RULES.values()
    ]
    for index, one in enumerate(tiles):
        for other in tiles[:index]:
            assert np.abs(one - other).max() > 0.01 * np.abs(one).max()


@pytest.mark.parametrize("method", ["window", "image"])
def test_first_layer_is_the_part_of_the_filter_inside_times_the_activation(
    parameters, image, method
):
    values = np.asarray(feature_maps(NET, parameters, image[None], until="conv1")["conv1"])[0]
    height, width, _ = values.shape
    window = NET.window("conv1")
    corners = (0, 0), (height - 1, width - 1), (0, width - 1), (height - 1, 0)
    for y, x in (*corners, (height // 2, width // 2)):
        map_ = values[y, x].argmax()
        tile = project(
            NET,
            parameters,
            image[None],
            "conv1",
            np.array([map_]),
            np.array([y]),
            np.array([x]),
            method=method,
            batch_size=1,
        ).tiles[0]
        y0, x0, y1, x1 = window.box(y, x)
        inside = np.zeros((5, 5, 1))
        inside[max(-y0, 0) : 5 - max(y1 - 27, 0), max(-x0, 0) : 5 - max(x1 - 34, 0)] = 1
        expected = values[y, x, map_] * parameters["conv1"]["kernel"][..., map_] * inside
        assert values[y, x, map_] > 0 and inside.all() == ((y, x) not in corners)
        np.testing.assert_allclose(tile, expected, rtol=1e-5)


def test_dead_units_are_empty_and_any_batch_size_gives_the_same(parameters, image, climbed):
    values, _ = climbed["conv2"]
    dead, live = np.argwhere(values == 0)[:3], np.argwhere(values > 0.1)[:4]
    units = np.concatenate([dead, live])
    ys, xs, maps = units.T
    images = np.stack([image] * len(units))
    whole = project(NET, parameters, images, "conv2", maps, ys, xs, batch_size=7)
    parts = project(NET, parameters, jnp.asarray(images), "conv2", maps, ys, xs, batch_size=9)
    one = project(NET, parameters, images, "conv2", maps, ys, xs, batch_size=3)
    assert not whole.tiles[:3].any() and not whole.activations[:3].any()
    assert all(np.abs(tile).max() > 0 for tile in whole.tiles[3:])
    for other in (parts, one):
        assert other.tiles.shape == whole.tiles.shape == (7, *NET.tile_size("conv2"), 3)
        np.testing.assert_allclose(other.tiles, whole.tiles, atol=1e-6)
        np.testing.assert_allclose(other.activations, whole.activations, rtol=1e-6)
    empty = np.zeros(0, int)
    nothing = project(NET, parameters, images[:0], "conv2", empty, empty, empty)
    assert nothing.tiles.shape == (0, *NET.tile_size("conv2"), 3) and nothing.activations.shape == (
        0,
    )


def test_pixels_outside_the_window_change_nothing(parameters, image, climbed):
    values, _ = climbed["conv2"]
    height, width, _ = values.shape
    y, x = height // 2, width // 2
    map_ = int(values[y, x].argmax())
    y0, x0, y1, x1 = NET.window("conv2").box(y, x)
    other = np.full_like(image, 100)
    other[max(y0, 0) : y1, max(x0, 0) : x1] = image[max(y0, 0) : y1, max(x0, 0) : x1]
    assert (other != image).any()
    found = project(
        NET,
        parameters,
        np.stack([image, other, image]),
        "conv2",
        np.full(3, map_),
        np.full(3, y),
        np.full(3, x),
        method="image",
        batch_size=9,
    )
    assert found.activations[0] > 0
    np.testing.assert_allclose(found.activations[1], found.activations[0], rtol=1e-5)
    np.testing.assert_allclose(
        found.tiles[1], found.tiles[0], atol=1e-5 * np.abs(found.tiles[0]).max()
    )


def test_patches_equal_pixel_by_pixel_copies_for_every_layer():
    pixels = np.random.default_rng(0).integers(0, 128, (*NET.input_size, 3), np.uint8)
    for layer in LAYERS:
        way = deconvnet.way_of(network_of(NET), layer)
        height, width, _ = NET.fact(layer).shape
        ys, xs = np.array(
            [(y, x) for y in (0, height // 2, height - 1) for x in (0, width // 2, width - 1)]
        ).T
        for outside, options in (
            (200, {"outside": 200}),
            (128, {}),
        ):  # mid-grey unless told otherwise
            found = deconvnet.patches(
                way, np.stack([pixels] * 9), deconvnet.Places(None, ys, xs), **options
            )
            for y, x, patch in zip(ys, xs, found, strict=True):
                expected = oracle.cut(pixels + 1, NET.window(layer).box(y, x), NET.input_size)
                np.testing.assert_array_equal(patch, np.where(expected == 0, outside, expected - 1))


def cheaper_method(architecture, layer):
    return deconvnet.cheaper_method(layers_of(architecture)[layer])


def test_the_cheaper_method_is_the_cheaper_one():
    demo = presets.preset("demo").model
    for architecture in (ZFNET, ALEXNET, NET, demo):
        for layer in architecture.conv_names:
            costs = {"window": 0, "image": 0}
            cells = {}
            for method in costs:
                size = (
                    (architecture.window(layer).size,) * 2
                    if method == "window"
                    else architecture.input_size
                )
                for fact in architecture.facts():
                    spec = fact.layer
                    if isinstance(spec, Conv | Pool):
                        taps = spec.kernel if isinstance(spec, Conv) else spec.window
                        pad = 0 if method == "window" else sum(spec.padding)
                        size = tuple(
                            len(range(0, extent + pad - taps + 1, spec.stride)) for extent in size
                        )
                    if isinstance(spec, Conv):
                        costs[method] += (
                            size[0] * size[1] * np.prod(kernel_shapes(architecture)[spec.name])
                        )
                    cells[method, spec.name] = size
                    if spec.name == layer:
                        break
            assert cells["window", layer] == (1, 1)
            cheaper = (
                "window" if costs["window"] * 4 / 3 < costs["image"] else "image"
            )  # a third for masks
            assert cheaper_method(architecture, layer) == cheaper, (architecture, layer)
            assert window_cells(architecture, layer, "conv1") == cells["window", "conv1"][0]
    assert cheaper_method(ZFNET, "conv1") == cheaper_method(ZFNET, "conv3") == "window"
    assert cheaper_method(demo, "conv5") == "image"
