"""From signed projections to bytes: around mid-grey, divided by a symmetric scale. No JAX.

A projection has no natural range. By default each tile is shown by its own 99.5th percentile of
magnitudes, which stands for the paper's "contrast is artificially enhanced" (Zeiler & Fergus 2013,
Fig. 4).
"""

from __future__ import annotations

import numpy as np

PERCENTILE = 99.5
"""Of the magnitudes of one tile, all pixels and colours together."""
MID_GREY = 128
"""The byte that zero becomes."""
INK, QUIET = "#1b1b1b", "#6f6f6f"
"""Of words beside the pictures."""


def colour_scale(projection: np.ndarray, percentile: float = PERCENTILE) -> float:
    """The magnitude that becomes black or white: the 99.5th percentile of ``|projection|``, or
    another.

    The largest magnitude where that percentile is zero (a nearly empty tile); 0 for an all-zero
    tile.
    """
    magnitudes = np.abs(projection)
    return float(np.percentile(magnitudes, percentile)) or float(magnitudes.max(initial=0.0))


def to_bytes(projection: np.ndarray, scale: float) -> np.ndarray:
    """uint8 of the same shape: -scale is 0, zero is 128, +scale is 255; beyond is clipped."""
    if scale <= 0:
        return np.full(projection.shape, MID_GREY, np.uint8)
    return np.rint(np.clip(127.5 + projection * (127.5 / scale), 0, 255)).astype(np.uint8)
