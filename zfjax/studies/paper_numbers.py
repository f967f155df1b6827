"""What a run says to one statement of the paper: a number with its interval, and the verdict that
is read from it. No JAX.

The rule is one: a statement holds where the 95% interval lies on its side of no effect, does not
hold where it lies on the other, else nobody can tell, and about how many more would be needed is
said. One run's images, maps or folds say nothing of other runs: then it holds "for this run".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from zfjax.measures.verdicts import (
    FAILS,
    HOLDS,
    LEVEL,
    OUT_OF_REACH,
    UNKNOWN,
    Ends,
    interval_of_seeds,
    within,
)
from zfjax.report.kit.wording import rough_count

SEEDS, FOLDS = "seeds", "folds"
OF_SHARES, OF_CORRELATIONS = (-1.0, 1.0), (-2.0, 2.0)
"""Limits of differences."""
THIS_RUN = "for this run"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Reading:
    """A number of a run, or of several; the effect that a statement is about, 0 for none."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    over: str = "images"
    """What was resampled: "images", "maps", "pairs", "folds", "seeds"."""
    note: str = ""
    """What else is to be said, in a sentence."""
    parts: Mapping[str, Reading] = field(default_factory=dict)
    """Kinds of evidence that have to agree, where there are several; the number is the first's."""
    limits: Ends = (-math.inf, math.inf)
    """Between which the number itself lies, whatever the images."""
    degrees: float | None = None
    """Of freedom, where the interval is Student's t and each one more adds one."""

    @property
    def half(self) -> float:
        """Half the interval's width; NaN where there is none."""
        return math.nan if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        ends = (self.low, self.high)
        return all(end is not None and math.isfinite(end) for end in (self.value, *ends))

    @property
    def cut(self) -> Reading:
        """As it is shown: an interval that leaves the limits ends there, and the note says so. The
        verdict, and how many more would be needed, are read from the whole one.
        """
        if self.low is None or self.high is None:
            return self
        low, high = within((self.low, self.high), self.limits)
        if (low, high) == (self.low, self.high) or not self.known:
            return self
        note = "The interval is cut where the number itself ends."
        return replace(self, low=low, high=high, note=f"{self.note} {note}".strip())


def of_values(
    values: Sequence[float] | np.ndarray,
    over: str = "maps",
    note: str = "",
    limits: Ends = (-math.inf, math.inf),
) -> Reading:
    """The mean of ``values``, NaN left out, with Student's t: for maps, pairs and their like."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    n = len(known)
    mean = float(known.mean()) if n else math.nan
    if n < 2:
        return Reading(mean, n=n, over=over, note=note, limits=limits)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1) * known.std(ddof=1) / math.sqrt(n))
    return Reading(mean, mean - half, mean + half, n, over, note, limits=limits, degrees=n - 1)


def of_two(first: np.ndarray, second: np.ndarray, over: str = "maps") -> Reading:
    """The mean of ``first`` minus that of ``second``, not paired: Welch's interval."""
    groups = [values[np.isfinite(values)] for values in (np.asarray(first), np.asarray(second))]
    counts = [len(values) for values in groups]
    if min(counts) < 2:
        value = float(groups[0].mean() - groups[1].mean()) if min(counts) else math.nan
        return Reading(value, n=sum(counts), over=over)
    value = float(groups[0].mean() - groups[1].mean())
    squares = [values.var(ddof=1) / len(values) for values in groups]
    error = math.sqrt(sum(squares))
    if error == 0:
        return Reading(value, value, value, sum(counts), over)
    degrees = sum(squares) ** 2 / sum(
        square**2 / (count - 1) for square, count in zip(squares, counts, strict=True)
    )
    half = float(stats.t.ppf(0.5 + LEVEL / 2, degrees)) * error
    return Reading(value, value - half, value + half, sum(counts), over, degrees=degrees)


def over_seeds(readings: Sequence[Reading]) -> Reading:
    """What several runs say together: Student's t over their numbers, of each part apart. That of
    the first alone where there is no other.
    """
    first = readings[0]
    if len(readings) == 1:
        return first
    interval = interval_of_seeds([reading.value for reading in readings])
    parts = {
        name: over_seeds([reading.parts[name] for reading in readings])
        for name in first.parts
        if all(name in reading.parts for reading in readings)
    }
    note = f"Of the first run: {first.note}" if first.note else ""
    if interval is None:
        return Reading(math.nan, n=len(readings), over=SEEDS, note=note, parts=parts)
    whole = Reading(interval.value, interval.low, interval.high, interval.n, SEEDS)
    return replace(whole, note=note, parts=parts, limits=first.limits)


@dataclass(frozen=True)
class Judged:
    """``word``: HOLDS, FAILS or UNKNOWN."""

    word: str
    over: str = SEEDS
    needed: int | None = None
    """Of ``over``, about; for UNKNOWN."""

    def __str__(self) -> str:
        if self.word == UNKNOWN:
            if self.needed is None:
                return UNKNOWN
            return f"{UNKNOWN} (about {rough_count(self.needed)} {self.over} would be needed)"
        return self.word if self.over == SEEDS else f"{self.word} {THIS_RUN}"


def judge(reading: Reading, side: int) -> Judged:
    """The verdict of a statement that the number is above 0 (``side`` 1) or below it (-1)."""
    if reading.parts:
        return _of_parts([judge(each, side) for each in reading.parts.values()], reading.over)
    if not reading.known:
        return Judged(UNKNOWN, reading.over)
    assert reading.low is not None and reading.high is not None
    low, high = sorted((side * reading.low, side * reading.high))
    if low > 0:
        return Judged(HOLDS, reading.over)
    if high < 0:
        return Judged(FAILS, reading.over)
    return Judged(UNKNOWN, reading.over, needed(reading))


def needed(reading: Reading) -> int | None:
    """About how many would bring an interval around the same value off 0; None where no number
    in reach would, or nothing is known of the interval. Of folds it cannot be said: they share
    images, and what that adds to the variance more folds do not take away.
    """
    if not reading.known or not reading.value or not reading.n or reading.over == FOLDS:
        return None
    assert reading.low is not None and reading.high is not None
    if reading.half**2 * reading.n > OUT_OF_REACH * reading.value**2:
        return None
    if reading.over == SEEDS and reading.n > 1:
        return _needed_of_t(reading, reading.n - 1)
    if reading.degrees is not None:
        return _needed_of_t(reading, reading.degrees)
    # The end that is nearer to 0 counts: intervals of shares are not symmetric.
    half = reading.value - reading.low if reading.value > 0 else reading.high - reading.value
    return max(reading.n + 1, math.ceil((half / reading.value) ** 2 * reading.n))


def _needed_of_t(reading: Reading, degrees: float) -> int:
    """The same by Student's t, whose quantile falls with the count: of few by a factor of six."""
    assert reading.n is not None
    quantile, lacking = 0.5 + LEVEL / 2, degrees - reading.n
    error = reading.half / float(stats.t.ppf(quantile, degrees)) * math.sqrt(reading.n)
    spread = error / abs(reading.value)
    count = max(reading.n + 1, math.ceil((float(stats.norm.ppf(quantile)) * spread) ** 2))
    while stats.t.ppf(quantile, count + lacking) * spread >= math.sqrt(count):
        count += 1
    return count


def _of_parts(judged: Sequence[Judged], over: str) -> Judged:
    words = {each.word for each in judged}
    if len(words) == 1:
        word = words.pop()
        lacking = [each.needed for each in judged]
        most = max((count for count in lacking if count), default=None)
        complete = word == UNKNOWN and all(count is not None for count in lacking)
        return Judged(word, over, most if complete else None)
    lacking = [each.needed for each in judged if each.word == UNKNOWN]
    if {HOLDS, FAILS} <= words or None in lacking:
        return Judged(UNKNOWN, over)
    return Judged(UNKNOWN, over, max((count for count in lacking if count), default=None))
