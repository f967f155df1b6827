"""Whether a cell that is right less often on new images fits less, or generalises less. No JAX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfjax.report.curves import Points
from zfjax.studies.claims import interval_words, points
from zfjax.studies.grid_view import CellView
from zfjax.studies.intervals import CONFIDENCE, over_values
from zfjax.studies.standings import Outcome

MOSTLY = 0.5
"""Of the difference on new images: a difference on training images of that much or more is what
most of it comes from."""
LAST_EPOCHS = 2.0


def gap_words(cell: CellView, base: CellView) -> str:
    """The difference in training top-1, with its interval over seeds, beside that in validation
    top-1, over the seeds that both have finished: in these the cell fits less (or more) where the
    first has the second's sign and at least MOSTLY of its size. Then how much the curves rose at
    the end. "" where either is not known.
    """
    pairs = [
        (_training(ours) - _training(theirs), _validation(ours) - _validation(theirs))
        for seed, ours in cell.runs.finished.items()
        if (theirs := base.runs.finished.get(seed)) is not None
    ]
    pairs = [pair for pair in pairs if not np.isnan(pair).any()]
    if not pairs:
        return ""
    trained, validated = (float(value) for value in np.mean(pairs, axis=0))
    epochs = cell.cell.config.epochs
    seeds = f"in {'this seed' if len(pairs) == 1 else f'these {len(pairs)} seeds'}"
    words = f" Training top-1 differs by {points(trained)} points ({_seeds_words(pairs)})"
    if trained * validated > 0 and abs(trained) >= MOSTLY * abs(validated):
        more = "more" if trained > 0 else "less"
        words += f" too: {seeds} it fits {more} within {epochs} epochs."
    elif trained * validated > 0:
        more = "better" if trained > 0 else "less"
        words += f", less than half of that: {seeds} it mostly generalises {more}."
    elif points(validated) == points(0.0):
        words += "."
    else:
        words += ", not the way of validation: no difference in fitting explains it."
    return words + _rise_words(cell.mean_curve, base.mean_curve)


def _seeds_words(pairs: Sequence[tuple[float, float]]) -> str:
    """The interval of the training difference, over other seeds alone."""
    interval = over_values(np.array([trained for trained, _ in pairs]), CONFIDENCE)
    if interval is None:
        return "one seed: no interval"
    return f"over other seeds {interval_words(interval)}, 95%"


def _training(outcome: Outcome) -> float:
    return np.nan if outcome.train_top1 is None else outcome.train_top1


def _validation(outcome: Outcome) -> float:
    return np.nan if outcome.top1 is None else outcome.top1


def _rise_words(own: Points, base: Points) -> str:
    """How the gap between the curves changed at their end, where both end together."""
    rises = [rise for curve in (own, base) if (rise := last_rise(curve)) is not None]
    if len(rises) < 2 or own[-1][0] != base[-1][0]:
        return ""
    gap, grown = own[-1][1] - base[-1][1], rises[0] - rises[1]
    before = gap - grown
    size = points(abs(abs(gap) - abs(before)), signed=False)
    if gap * before < 0:
        change = "the difference changed sides; a longer run may show more of that"
    elif size == points(0.0):
        change = "the gap stayed"
    elif abs(gap) < abs(before):
        change = f"the gap shrank by {size}; a longer run may show less"
    else:
        change = f"the gap grew by {size}; a longer run may show more"
    return (
        f" In the last {LAST_EPOCHS:g} epochs its validation top-1 changed by {points(rises[0])}"
        f" points, the base's by {points(rises[1])}: {change}."
    )


def last_rise(curve: Sequence[tuple[float, float]]) -> float | None:
    """How much a curve (epoch, share) rose over its last LAST_EPOCHS; None where it has no point
    that long before its end.
    """
    if not curve:
        return None
    end, last = curve[-1]
    before = [share for epoch, share in curve if epoch <= end - LAST_EPOCHS + 1e-9]
    return last - before[-1] if before else None
