"""The weights of a layer's maps side by side: under the layer's name, as ours are kept, or where a
traced network's convolution has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zfjax.subject import Network


def path_in(parameters: Mapping[str, Any], layer: str) -> tuple[str, ...] | None:
    """The names that lead to a layer's parameters ("/" between the parts of a nested one's), below
    "params" in a Linen module's variables; None where there is no such.
    """
    for root in ((), ("params",)):
        path = (*root, *layer.split("/"))
        if at_path(parameters, path) is not None:
            return path
    return None


def at_path(parameters: Any, path: tuple[str, ...]) -> Any:
    """What stands there; None where nothing does."""
    for name in path:
        parameters = parameters.get(name) if isinstance(parameters, Mapping) else None
    return parameters


def kernel_in(
    parameters: Mapping[str, Any], layer: str, network: Network | None = None
) -> np.ndarray | None:
    """A layer's kernel: [..., maps]. None where the parameters have none of that name, nor the
    ``network`` any that it knows, as one that is not made of our layers may not.
    """
    kernel = at_path(parameters, (*(path_in(parameters, layer) or ()), "kernel"))
    if np.ndim(kernel) < 2 and network is not None:
        kernel = network.kernel(parameters, layer)
    return None if np.ndim(kernel) < 2 else np.asarray(kernel)


def map_weights(
    parameters: Mapping[str, Any], layer: str, network: Network | None = None
) -> np.ndarray | None:
    """A layer's kernel as float64 [weights, maps]; None as in ``kernel_in``."""
    kernel = kernel_in(parameters, layer, network)
    return None if kernel is None else kernel.astype(np.float64).reshape(-1, kernel.shape[-1])


def rms(weights: np.ndarray) -> np.ndarray:
    """Root mean square of each map's weights [weights, maps]: float64 [maps]."""
    return np.asarray(np.sqrt((weights**2).mean(axis=0)))


def column_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of every column of ``first`` with every one of ``second`` [weights, maps]: float64
    [maps, maps]; NaN where one is zero.
    """
    norms = np.outer(np.linalg.norm(first, axis=0), np.linalg.norm(second, axis=0))
    undefined = np.full(norms.shape, np.nan)
    return np.divide(first.T @ second, norms, out=undefined, where=norms > 0)
