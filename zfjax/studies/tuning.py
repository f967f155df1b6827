"""``--tune``: the best value of one field for each cell, so that none is judged at what suits
another. No JAX.

Trials are plain runs in DIR/tuning, on one seed that is not counted, on nine tenths of the training
images, judged on the last tenth: the validation split, on which cells are compared, is not looked
at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from zfjax.config import Config
from zfjax.data.slices import divided
from zfjax.errors import ZfjaxError
from zfjax.fields import with_fields
from zfjax.studies.cells import Cell
from zfjax.studies.plans import Plan

SHARE = 90
"""Percent of the training images that a trial is trained on."""


def trials(plan: Plan, cell: Cell) -> Iterator[tuple[str, Config, Path]]:
    """(value, config, run folder) of each trial of a cell. Raises ZfjaxError for a training split
    that cannot be divided.
    """
    assert plan.tuning is not None
    kept, held_out = divided(cell.config.data.train_split, SHARE)
    data = replace(cell.config.data, train_split=kept, validation_split=held_out)
    for value in plan.tuning.values:
        config = with_fields(cell.config, {plan.tuning.path: value})
        folder = plan.folder / "tuning" / cell.name / value
        yield value, replace(config, data=data, seed=plan.tuning.seed), folder


def best_of(plan: Plan, cell: Cell, tops: Mapping[str, float]) -> tuple[Config, str]:
    """The cell's config with the value of the highest accuracy, the first of equal ones, and the
    value. Raises ZfjaxError where every trial diverged.
    """
    assert plan.tuning is not None
    if not tops:
        raise ZfjaxError(
            f"With every value of --tune {plan.tuning.path} the trials of {cell.name} diverged."
        )
    value = max(tops, key=lambda name: tops[name])
    return with_fields(cell.config, {plan.tuning.path: value}), value
