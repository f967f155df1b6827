"""Whether a cell that is right less often on new images fits less, or generalises less. No JAX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfjax.report.curves import Points
from zfjax.studies.claims import points
from zfjax.studies.grid_view import CellView
from zfjax.studies.standings import Outcome

MOSTLY = 0.5
"""Of the difference on new images: a difference on training images of that much or more is what
most of it comes from."""
LAST_EPOCHS = 2.0


def gap_words(cell: CellView, base: CellView, tuned: bool) -> str:
    """The difference in training top-1 beside that in validation top-1, over the seeds that both
    have finished: the cell fits less (or more) where the first has the second's sign and at least
    MOSTLY of its size. Then how much the curves rose at the end. "" where either is not known.
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
    rate = "" if tuned else " at this learning rate, which was tuned for no configuration"
    words = f" Training top-1 differs by {points(trained)} points"
    if trained * validated > 0 and abs(trained) >= MOSTLY * abs(validated):
        more = "more" if trained > 0 else "less"
        words += f" too: it fits {more} in {epochs} epochs{rate}."
    elif trained * validated > 0:
        more = "better" if trained > 0 else "less"
        words += f", less than half of that: for the most part it generalises {more}."
    else:
        words += ", not the way of validation: no difference in fitting explains it."
    return words + _rise_words(cell.mean_curve, base.mean_curve)


def _training(outcome: Outcome) -> float:
    return np.nan if outcome.train_top1 is None else outcome.train_top1


def _validation(outcome: Outcome) -> float:
    return np.nan if outcome.top1 is None else outcome.top1


def _rise_words(own: Points, base: Points) -> str:
    rises = [rise for curve in (own, base) if (rise := last_rise(curve)) is not None]
    if len(rises) < 2:
        return ""
    return (
        f" Over the last {LAST_EPOCHS:g} epochs its validation top-1 still changed by"
        f" {points(rises[0])} points, the base's by {points(rises[1])}."
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
