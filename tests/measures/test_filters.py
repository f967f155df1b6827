"""Filters taken to pixels, against nets written out by hand and against the linear forward pass."""

import dataclasses

import numpy as np
import pytest

from tests.small import ARCHITECTURE
from zfjax.errors import ZfjaxError
from zfjax.measures.filters import architecture_in, filters_in, kernels_of, radius_of, to_pixels
from zfjax.network.architecture import Architecture, Conv, Norm, Pool
from zfjax.network.model import kernel_shapes
from zfjax.subject import network_of


def drawn(architecture, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: {"kernel": rng.normal(size=shape).astype(np.float32)}
        for name, shape in kernel_shapes(architecture).items()
    }


def seen(architecture, parameters, layer, image):
    """A unit's value, every layer linear and unpadded, written out cell by cell."""
    x = image
    for fact in architecture.below(layer):
        spec = fact.layer
        if isinstance(spec, Norm):
            continue
        cells = (x.shape[0] - spec.extent) // spec.stride + 1
        if isinstance(spec, Pool):
            middle = (spec.window - 1) // 2
            x = x[middle :: spec.stride, middle :: spec.stride][:cells, :cells]
            continue
        kernel = np.asarray(parameters[spec.name]["kernel"], np.float64)
        out = np.zeros((cells, cells, kernel.shape[3]))
        for row in range(cells):
            for column in range(cells):
                y, x0 = row * spec.stride, column * spec.stride
                window = x[y : y + spec.kernel, x0 : x0 + spec.kernel]
                out[row, column] = np.tensordot(window, kernel, 3)
        x = out
    [[value]] = x
    return value


DEEP = Architecture(
    "deep",
    (64, 64),
    (
        Conv("a", 3, 4, 3, (1, 1)),
        Pool("p", 2, 2),
        Conv("b", 4, 3, 2),
        Norm("n"),
        Pool("q", 3, 1, (1, 1)),
        Conv("c", 5, 2, 1),
    ),
)


@pytest.mark.parametrize(
    "architecture, layer",
    [(ARCHITECTURE, "conv1"), (ARCHITECTURE, "conv2"), (DEEP, "b"), (DEEP, "c")],
)
def test_a_unit_is_the_sum_of_its_pixels_with_the_image(architecture, layer):
    parameters = drawn(architecture)
    pixels = to_pixels(architecture, parameters, layer)
    size = architecture.window(layer).size
    assert pixels.shape == (size, size, 3, architecture.conv(layer).maps)
    image = np.random.default_rng(1).normal(size=(size, size, 3))
    expected = seen(architecture, parameters, layer, image)
    assert np.tensordot(image, pixels, 3) == pytest.approx(expected, rel=1e-9)
    few = to_pixels(architecture, parameters, layer, [2, 0])
    assert few == pytest.approx(pixels[..., [2, 0]], rel=1e-12)


def test_a_net_of_two_layers_by_hand():
    net = Architecture("two", (10, 10), (Conv("one", 2, 2, 2), Pool("p", 3, 2), Conv("two", 1, 2)))
    one = np.zeros((2, 2, 3, 2))
    one[:, :, 0, 0] = [[1, 2], [3, 4]]
    one[:, :, 2, 1] = [[0, -1], [0, 0]]
    two = np.zeros((2, 2, 2, 1))
    two[0, 0, 0], two[1, 1, 1], two[0, 1, 1] = 10, 5, 7
    parameters = {"one": {"kernel": one}, "two": {"kernel": two}}
    near = to_pixels(net, parameters, "two", without_pools=True)[..., 0]
    assert near[..., 0].tolist() == [[10, 20, 0, 0], [30, 40, 0, 0], [0] * 4, [0] * 4]
    assert near[..., 2].tolist() == [[0, 0, 0, -7], [0] * 4, [0, 0, 0, -5], [0] * 4]
    pooled = to_pixels(net, parameters, "two")[..., 0]
    assert pooled.shape == (10, 10, 3) and np.count_nonzero(pooled) == 6
    assert pooled[2:4, 2:4, 0].tolist() == [[10, 20], [30, 40]]
    assert (pooled[2, 7, 2], pooled[6, 7, 2]) == (-7, -5)


def test_radius():
    filters = np.zeros((9, 9, 3, 3))
    filters[4, 4, 1, 0] = -2
    filters[[1, 7], 3, 0, 1] = 5
    assert radius_of(filters)[:2] == pytest.approx([0, 3]) and np.isnan(radius_of(filters)[2])


def test_kernels_are_found_by_the_names_of_layers():
    network = network_of(ARCHITECTURE)
    assert architecture_in(network) is ARCHITECTURE
    assert architecture_in(dataclasses.replace(network, forward=len)) is None
    kernel = np.ones((1, 1, 3, 2), np.float32)
    nested = {"params": {"Block_0": {"Conv_1": {"kernel": kernel, "bias": np.zeros(2)}}}}
    assert filters_in(nested, "Block_0/Conv_1").dtype == np.float64
    for other in ("Block_0", "Conv_1", "Block_0/Conv_1/bias", "Block_0/Conv_1/kernel"):
        assert filters_in(nested, other) is None
    found = kernels_of(network, nested, ["Block_0", "Block_0/Conv_1"], "spectrum")
    assert list(found) == ["Block_0/Conv_1"]
    with pytest.raises(ZfjaxError, match="spectrum reads the kernels .* tiny have none of a, b;"):
        kernels_of(network, nested, ["a", "b"], "spectrum")
    with pytest.raises(ZfjaxError, match="conv1 has weights that are not finite"):
        filters_in({"conv1": {"kernel": np.full((1, 1, 1, 1), np.nan)}}, "conv1")
