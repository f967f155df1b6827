"""Filters of any layer as pixels, without an image.

What a unit sees through linear convolutions alone: rectification and contrast normalisation are
left out, and of each pooling window only the middle cell is looked at. That is what weights alone
can tell: which of these patterns an image really brings out depends on what is left out here, the
more so the deeper the layer, so a deep filter in pixels is a hint, not its feature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.measures.kernels import kernel_in
from zfjax.network.architecture import Architecture, Conv, Pool
from zfjax.subject import Network


def architecture_in(network: Network) -> Architecture | None:
    """The layers that the network's kernels stand in; None where it is not made of zfjax's own."""
    architecture = getattr(network.forward, "architecture", None)
    return architecture if isinstance(architecture, Architecture) else None


def need_architecture(network: Network, measure: str) -> Architecture:
    """The same. Raises ZfjaxError where there is none, naming the ``measure``."""
    architecture = architecture_in(network)
    if architecture is None:
        raise ZfjaxError(
            f"{measure} reads what stands below each layer, which it knows of networks made of"
            f" zfjax's own layers only; leave it out for {network.name}."
        )
    return architecture


def filters_in(
    parameters: Mapping[str, Any], layer: str, network: Network | None = None
) -> np.ndarray | None:
    """A convolution's kernel, float64 [k, k, inputs, maps]; None as in ``kernel_in``. Raises
    ZfjaxError where a weight is not finite.
    """
    kernel = kernel_in(parameters, layer, network)
    if kernel is None or np.ndim(kernel) != 4:
        return None
    kernel = kernel.astype(np.float64)
    if not np.isfinite(kernel).all():
        raise ZfjaxError(
            f"{layer} has weights that are not finite: its parameters have diverged; leave this"
            " step out with --at."
        )
    return kernel


def kernels_of(
    network: Network, parameters: Mapping[str, Any], layers: Iterable[str], measure: str
) -> dict[str, np.ndarray]:
    """The kernels of those layers that have one. Raises ZfjaxError where none has, naming the
    ``measure``.
    """
    kernels = {name: filters_in(parameters, name, network) for name in layers}
    there = {name: kernel for name, kernel in kernels.items() if kernel is not None}
    if not there:
        raise ZfjaxError(
            f"{measure} reads the kernels of convolutions by the names of their layers, and the"
            f" parameters of {network.name} have none of {', '.join(kernels)}; leave it out."
        )
    return there


def _own_kernel(parameters: Mapping[str, Any], layer: str) -> np.ndarray:
    kernel = filters_in(parameters, layer)
    assert kernel is not None, layer
    return kernel


def to_pixels(
    architecture: Architecture,
    parameters: Mapping[str, Any],
    layer: str,
    maps: Sequence[int] | None = None,
    *,
    without_pools: bool = False,
) -> np.ndarray:
    """The linear filters of a layer's maps (None: all) as pixels: float64 [size, size, channels,
    maps], ``size`` the layer's window.

    A unit's value would be its sum with the image under the window, were there no rectification
    and no normalisation, and did each pool pass its window's middle cell (of an even window, the
    one before the middle). ``without_pools``: as if there were none, units of a layer standing next
    to each other on the map below.
    """
    below = architecture.below(layer)
    pattern = _own_kernel(parameters, layer)
    pattern = pattern if maps is None else pattern[..., list(maps)]
    for fact in reversed(below[:-1]):
        if isinstance(fact.layer, Conv):
            pattern = _through_convolution(
                pattern, _own_kernel(parameters, fact.layer.name), fact.layer
            )
        elif isinstance(fact.layer, Pool) and not without_pools:
            pattern = _through_pool(pattern, fact.layer)
    return pattern


def _through_convolution(pattern: np.ndarray, kernel: np.ndarray, layer: Conv) -> np.ndarray:
    """What a pattern [h, w, maps of the layer, n] is on the layer's input: [h', w', inputs, n]."""
    rows, columns = (
        np.flatnonzero(pattern.any(axis=axes)) for axes in ((1, 2, 3), (0, 2, 3))
    )  # below a pool most are empty
    cells = pattern[np.ix_(rows, columns)].transpose(0, 1, 3, 2)
    height, width = ((extent - 1) * layer.stride + layer.kernel for extent in pattern.shape[:2])
    inputs, count = kernel.shape[2], pattern.shape[3]
    below = np.zeros((height, width, count, inputs))
    for y, of_row in enumerate(kernel):  # a row of the kernel at a time, in one product
        weights = of_row.reshape(-1, kernel.shape[3]).T
        parts = (cells @ weights).reshape(*cells.shape[:3], layer.kernel, inputs)
        for x in range(layer.kernel):
            places = np.ix_(rows * layer.stride + y, columns * layer.stride + x)
            below[places] += parts[..., x, :]
    return below.transpose(0, 1, 3, 2)


def _through_pool(pattern: np.ndarray, layer: Pool) -> np.ndarray:
    """Each cell of a pattern at the middle of its pooling window, zero elsewhere."""
    height, width = ((extent - 1) * layer.stride + layer.window for extent in pattern.shape[:2])
    below = np.zeros((height, width, *pattern.shape[2:]))
    middle = (layer.window - 1) // 2
    rows, columns = (
        slice(middle, middle + (extent - 1) * layer.stride + 1, layer.stride)
        for extent in pattern.shape[:2]
    )
    below[rows, columns] = pattern
    return below


def radius_of(filters: np.ndarray) -> np.ndarray:
    """How far from its own centre each map's filter [h, w, channels, maps] reaches: the root mean
    square distance under its energy, pixels, float64 [maps]. NaN for a filter that is zero.
    """
    energy = (filters**2).sum(axis=2)
    total = energy.sum(axis=(0, 1))
    undefined = np.full(total.shape, np.nan)
    square = np.zeros(total.shape)
    for axis in (0, 1):
        along = energy.sum(axis=1 - axis)
        places = np.arange(len(along), dtype=np.float64)[:, None]
        centre = np.divide(
            (places * along).sum(axis=0), total, out=undefined.copy(), where=total > 0
        )
        square += ((places - centre) ** 2 * along).sum(axis=0)
    return np.sqrt(np.divide(square, total, out=undefined, where=total > 0))
