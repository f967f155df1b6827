"""The weights of a layer's maps side by side, where a network keeps them as ours do. No JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def map_weights(parameters: Mapping[str, Any], layer: str) -> np.ndarray | None:
    """A layer's kernel as float64 [weights, maps] (a nested layer's name has "/" between its
    parts); None where the parameters have none of that name, as those of a network that is not made
    of our layers may.
    """
    holder: Any = parameters.get("params", parameters)
    for name in layer.split("/"):
        holder = holder.get(name) if isinstance(holder, Mapping) else None
    kernel = holder.get("kernel") if isinstance(holder, Mapping) else None
    if kernel is None or np.ndim(kernel) < 2:
        return None
    flat = np.asarray(kernel, np.float64)
    return flat.reshape(-1, flat.shape[-1])


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
