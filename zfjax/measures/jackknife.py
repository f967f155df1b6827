"""Intervals over images: by leaving out each in turn, where numbers are of pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zfjax.measures.protocol import Quantity


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval over ``n`` images; NaN where undefined."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0

    def named(self, step: int, layer: str | None, name: str, unit: str = "") -> Quantity:
        """As a number of a layer at a step."""
        return Quantity(step, layer, name, self.value, self.low, self.high, self.n, unit)


def jackknifed(value: float, without: np.ndarray) -> Estimate:
    """A number of ``n`` images, ``without`` [n]: the same of all but one. The interval is Student's
    t, n - 1 degrees of freedom. For a mean it is the usual one.
    """
    return jackknifed_in_groups(value, [without])


def jackknifed_in_groups(value: float, without: Sequence[np.ndarray]) -> Estimate:
    """Likewise of images drawn group by group: ``without``: for each group, the number without each
    of its images. The degrees of freedom are what is left of all images after a mean each.
    """
    groups = [np.asarray(group, np.float64) for group in without if len(group) > 1]
    n = sum(len(group) for group in without)
    variance = sum(
        (len(group) - 1) / len(group) * ((group - group.mean()) ** 2).sum() for group in groups
    )
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom or not np.isfinite([value, variance]).all():
        return Estimate(_finite(value), n=n)
    reach = float(stats.t.ppf(0.975, freedom) * np.sqrt(variance))
    return Estimate(float(value), float(value) - reach, float(value) + reach, n)


def mean_of(values: np.ndarray) -> Estimate:
    """The mean of one number an image; those that are NaN are left out."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return Estimate(float("nan"))
    return jackknifed(float(known.mean()), means_without(known))


def means_without(values: np.ndarray) -> np.ndarray:
    """The means of [n, ...] without each of the n: as many."""
    if len(values) < 2:
        return np.full_like(values, np.nan, dtype=np.float64)
    return (values.sum(axis=0, keepdims=True) - values) / (len(values) - 1)


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else float("nan")
