"""Quotients and means of numbers some of which are undefined (NaN). No JAX."""

from __future__ import annotations

import numpy as np


def quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """float64 of the denominator's shape; NaN where that is not above 0."""
    above = np.asarray(denominator) > 0
    return np.divide(numerator, denominator, out=np.full(above.shape, np.nan), where=above)


def mean_of_known(values: np.ndarray) -> float:
    """The mean of what is defined; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
