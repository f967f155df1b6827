"""How much later one layer settles than another, as the table of the measure settling has it. No
JAX.
"""

from __future__ import annotations

import math

from zfjax.run.measured import Measured


def gap_name(family: str, upper: str) -> str:
    """The quantity, of a lower layer, that says how much later ``upper`` settles by a family."""
    return f"{family}_gap_{upper}"


def time_of(measured: Measured, family: str, layer: str) -> float:
    """A layer's settling time by a family; NaN where it is undefined."""
    return measured.of_layer(f"{family}_time", layer).get(measured.steps[-1], math.nan)


def gap_of(measured: Measured, family: str, lower: str, upper: str) -> tuple[float, float] | None:
    """The ends of the interval of how much later ``upper`` settles than ``lower``, in epochs; None
    where the table does not say it.
    """
    ends = measured.bounds(gap_name(family, upper), lower).get(measured.steps[-1])
    return ends if ends is not None and math.isfinite(sum(ends)) else None


def gap_by_bounds(
    measured: Measured, family: str, lower: str, upper: str
) -> tuple[float, float] | None:
    """The same of a table made before differences were kept: how far the intervals of the two
    layers lie apart at least, and at most. None where one is unknown.
    """
    unknown, last = (math.nan, math.nan), measured.steps[-1]
    (low, high), (upper_low, upper_high) = (
        measured.bounds(f"{family}_time", layer).get(last, unknown) for layer in (lower, upper)
    )
    ends = upper_low - high, upper_high - low
    return ends if math.isfinite(sum(ends)) else None
