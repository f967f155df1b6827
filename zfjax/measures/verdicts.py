"""How sure: intervals, an exact test of order, corrections for many tests, and the rule that makes
a verdict of an interval. No JAX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from zfjax.report.kit.wording import rough_count

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot tell"
LEVEL = 0.95
OUT_OF_REACH = 10**12
"""So many that nobody has them: a value that is a sum's rounding would need more."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval at ``level``, symmetric, by Student's t."""

    value: float
    low: float
    high: float
    n: int
    """How many images or seeds it stands on."""
    over: Literal["images", "seeds"]
    """What another sample would draw anew: other images (then it is about these runs only), or
    other seeds.
    """
    degrees: int
    """Of freedom."""
    level: float = LEVEL

    def needed(self) -> int | None:
        """About how many images or seeds would bring an interval around the same value off 0; None
        where no number in reach would.
        """
        half = (self.high - self.low) / 2
        if not (math.isfinite(half) and self.value):
            return None
        if half**2 * self.n > OUT_OF_REACH * self.value**2:
            return None
        quantile = 0.5 + self.level / 2
        error = half / stats.t.ppf(quantile, self.degrees) * math.sqrt(self.n)
        if self.over == "images":
            return max(self.n, math.ceil((half / self.value) ** 2 * self.n))
        count = max(2, math.ceil((stats.norm.ppf(quantile) * error / self.value) ** 2))
        while stats.t.ppf(quantile, count - 1) * error / math.sqrt(count) >= abs(self.value):
            count += 1
        return max(self.n, count)


Ends = tuple[float, float]


def within(ends: Ends, limits: Ends) -> Ends:
    """The ends of an interval, cut where the number itself cannot lie: Student's t knows nothing of
    that, and over few images it reaches beyond. Ends that are NaN stay.
    """
    low, high = (float(np.clip(end, *limits)) for end in ends)
    return low, high


def reaches_beyond(ends: Ends, limits: Ends) -> bool:
    """Whether ``within`` cuts an interval; never where its ends are NaN."""
    return ends[0] < limits[0] or ends[1] > limits[1]


def interval_of_seeds(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Mean over runs of different seeds, with Student's t. None for fewer than two, or where one is
    NaN: a seed is never left out in silence.
    """
    array = np.asarray(values, np.float64)
    if len(array) < 2 or not np.isfinite(array).all():
        return None
    error = float(array.std(ddof=1)) / math.sqrt(len(array))
    return _around(float(array.mean()), error, (len(array), "seeds", len(array) - 1), level)


def interval_of_images(
    whole: float, without: Sequence[float], images: int, level: float = LEVEL
) -> Interval | None:
    """What one run gives on all ``images``, with the jackknife's interval over groups of them.

    ``without``: the same statistic with each group of about equally many images left out. Not a
    bootstrap: images drawn twice make responses look alike. None for fewer than two groups or a
    NaN.
    """
    array = np.asarray(without, np.float64)
    groups = len(array)
    if groups < 2 or not np.isfinite([whole, *array]).all():
        return None
    error = math.sqrt((groups - 1) / groups * float(((array - array.mean()) ** 2).sum()))
    return _around(float(whole), error, (images, "images", groups - 1), level)


def _around(
    value: float, error: float, sample: tuple[int, Literal["images", "seeds"], int], level: float
) -> Interval:
    n, over, degrees = sample
    half = float(stats.t.ppf(0.5 + level / 2, degrees)) * error
    return Interval(value, value - half, value + half, n, over, degrees, level)


def order_of_layers(times: Sequence[float]) -> tuple[float, float] | None:
    """(tau-b, p) of settling times with depth; layers that are NaN are left out.

    ``p`` is exact and one-sided: the share of all orders of these times, ties among them, that
    agree with depth as well or better. None for fewer than two layers and where all are equal.
    """
    values = np.asarray([time for time in times if not math.isnan(time)], np.float64)
    n = len(values)
    sizes = np.unique(values, return_counts=True)[1]
    if n < 2 or len(sizes) < 2:
        return None
    signs = np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)]
    untied = int((signs != 0).sum())
    tau = float(signs.sum() / math.sqrt(untied * n * (n - 1) / 2))
    orders = _orders_by_inversions([int(size) for size in sizes])
    inversions = int((signs < 0).sum())
    return tau, sum(orders[: inversions + 1]) / sum(orders)


def _orders_by_inversions(sizes: Sequence[int]) -> list[int]:
    """How many orders of items in groups of equal ones have 0, 1, 2, ... inversions: coefficients
    of the q-multinomial, the product of (1 - q^k) up to n over the same of each group.
    """
    n = sum(sizes)
    most = (n * n - sum(size * size for size in sizes)) // 2
    counts = [1] + [0] * most
    for k in range(1, n + 1):
        for power in range(most, k - 1, -1):
            counts[power] -= counts[power - k]
    for size in sizes:
        for k in range(1, size + 1):
            for power in range(k, most + 1):
                counts[power] += counts[power - k]
    return counts


def adjusted_p(p_values: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg: p values [...] as the rates of false discoveries at which each would just
    be one. NaN (no test was made) stays NaN and counts for nothing.
    """
    p_values = np.asarray(p_values, np.float64)
    adjusted, tested = np.full(p_values.shape, np.nan), ~np.isnan(p_values)
    if tested.any():
        adjusted[tested] = stats.false_discovery_control(p_values[tested], method="bh")
    return adjusted


@dataclass(frozen=True)
class Verdict:
    """``word``: HOLDS, FAILS or UNKNOWN."""

    word: str
    needed: int | None = None
    """For UNKNOWN: about how many would be needed; None where that cannot be said."""
    over: str = "seeds"
    """Of what."""

    def __str__(self) -> str:
        if self.needed is None:
            return self.word
        return f"{self.word} (about {rough_count(self.needed)} {self.over} would be needed)"


def verdict(interval: Interval | None, side: Literal[1, -1] = 1) -> Verdict:
    """Holds where the interval lies on the claim's side of 0, does not where it lies on the other.

    ``side``: 1 for a claim that the value is above 0, -1 below. None: nothing was measured.
    """
    if interval is None:
        return Verdict(UNKNOWN)
    low, high = sorted((side * interval.low, side * interval.high))
    if low > 0:
        return Verdict(HOLDS)
    if high < 0:
        return Verdict(FAILS)
    return Verdict(UNKNOWN, interval.needed(), interval.over)


def joint_verdict(verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict of a claim that needs all of several families to agree: theirs where they do,
    else "cannot tell", with the largest number that one of them lacks.
    """
    words = {each.word for each in verdicts.values()}
    if len(words) == 1 and words <= {HOLDS, FAILS}:
        return Verdict(words.pop())
    lacking = [each for each in verdicts.values() if each.word == UNKNOWN]
    at_odds = {HOLDS, FAILS} <= words  # which more of them would not mend
    if not lacking or at_odds or any(each.needed is None for each in lacking):
        return Verdict(UNKNOWN)
    return max(lacking, key=_needed)


def _needed(each: Verdict) -> int:
    return each.needed or 0
