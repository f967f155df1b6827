"""How a run of a grid stands, and whether what lies in its folder is its own: folders are copied
between machines, and restored from copies, by people. No JAX.
"""

from __future__ import annotations

from dataclasses import replace

from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.fields import with_fields
from zfjax.run.folder import Run, load_run
from zfjax.studies.cells import Cell
from zfjax.studies.plans import Plan, differing_fields
from zfjax.studies.standings import (
    CORRECT,
    FAILED,
    FINISHED,
    OUTCOME,
    Outcome,
    Standing,
    read_correct,
    standing,
)

SLACK = 0.005
"""Share of the images by which a network counted twice may differ: devices round otherwise."""


def run_standing(plan: Plan, cell: Cell, seed: int) -> Standing:
    """Of one run of a grid. A finished one whose config.json is damaged or another cell's, or whose
    metrics or hits are another run's, has failed, and says so.
    """
    folder = plan.run_folder(cell, seed)
    item = standing(folder)
    outcome = item.outcome
    if item.status != FINISHED or outcome is None or not (folder / "config.json").exists():
        return item
    try:
        run = load_run(folder)
        _check_config(plan, replace(cell.config, seed=seed), run, outcome)
        _check_metrics(run, outcome)
        _check_hits(run, outcome)
    except ZfjaxError as error:
        return Standing(FAILED, Outcome(FAILED, outcome.when, str(error), outcome.tries))
    return item


def _check_config(plan: Plan, asked: Config, run: Run, outcome: Outcome) -> None:
    if plan.tuning is not None and outcome.tuned is not None:
        asked = with_fields(asked, {plan.tuning.path: outcome.tuned})
    if fields := differing_fields(asked, run.config):
        raise ZfjaxError(
            f"{run.folder} holds a run of another config ({fields}): restore it from a copy, or"
            " delete it, and the same command trains it anew."
        )


def _check_metrics(run: Run, outcome: Outcome) -> None:
    lines = [line for line in run.validation_lines if line.get("step") == run.last_step]
    top1 = lines[-1].get("top1") if lines else None
    if top1 is None or outcome.top1 is None or not outcome.images:
        return
    if abs(top1 - outcome.top1) > max(SLACK, 1.5 / outcome.images):
        raise ZfjaxError(
            f"{run.folder / 'metrics.jsonl'} is another run's: it ends at top-1 {top1:.1%}, and"
            f" {OUTCOME} beside it says {outcome.top1:.1%}; restore it from a copy."
        )


def _check_hits(run: Run, outcome: Outcome) -> None:
    try:
        hits, counted = read_correct(run.folder)
    except (OSError, KeyError, ValueError):  # said where they are needed
        return
    share = float(hits[counted].mean()) if counted.any() else None
    if share is not None and outcome.top1 is not None and abs(share - outcome.top1) > 1e-6:
        raise ZfjaxError(
            f"{run.folder / CORRECT} is another run's: of its images {share:.1%} are hits, and"
            f" {OUTCOME} beside it says {outcome.top1:.1%}; delete {OUTCOME}, and the same command"
            " makes both again."
        )
