"""Which images the fixed probe is of. No JAX."""

from __future__ import annotations

import numpy as np

from zfjax.features.statistics import priorities_of

PROBE_IMAGES = 10_000
"""By default; of a smaller split all."""
PROBE_SEED = 0


def probe_ids(count: int, images: int, seed: int = PROBE_SEED) -> np.ndarray:
    """The ids of ``images`` of the first ``count`` images of a split: int64, ascending. A pure
    function of these numbers; fewer are some of more.
    """
    ranks = priorities_of(np.arange(count, dtype=np.uint32), seed)
    return np.sort(np.argsort(ranks, kind="stable")[:images]).astype(np.int64)
