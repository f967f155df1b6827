"""``zfjax ablate``: a grid of runs, trained by any number of equal workers.

Each worker takes the next run whose lock it gets, skips what is finished, and goes on with what has
stopped; there is no coordinator and no queue. Every run of a grid is a plain run folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfjax.config import Config
from zfjax.devices import data_mesh, explain_fault
from zfjax.errors import Busy, ZfjaxError, first_line
from zfjax.files import exclusive_lock
from zfjax.inputs import open_data
from zfjax.progress import Progress, tell_nobody
from zfjax.studies.cells import Cell, Wanted
from zfjax.studies.claiming import Claim, LocksDoNotHold, claimed
from zfjax.studies.planning import Request, plan_of, seeds_from, wanted_from
from zfjax.studies.plans import Plan, save_plan
from zfjax.studies.results import write_results
from zfjax.studies.standings import FAILED, FINISHED, Outcome, read_outcome, save_outcome
from zfjax.studies.training_cells import train_run
from zfjax.studies.tuning import best_of, trials
from zfjax.training.interrupts import Interrupted
from zfjax.training.opening import check_data


@dataclass(frozen=True)
class Work:
    """How a worker works."""

    part: tuple[int, int] | None = None
    """(2, 8): every eighth run from the second, without locks; None: whatever is free."""
    stop_on_failure: bool = False
    devices: int | None = None
    progress: Progress = tell_nobody
    say: Callable[[str], None] = tell_nobody
    """Called with a line when a run has ended."""


def ablate(
    workdir: Path | str,
    base: Config | None = None,
    wanted: Wanted | Mapping[str, Any] | None = None,
    *,
    seeds: int | str | Sequence[int] = (),
    tune: str | None = None,
    work: Work = Work(),
) -> Plan:
    """Trains what of the grid in ``workdir`` is not finished, and writes its tables.

    ``base`` None: of the grid that is there; ``wanted`` ({"vary": {"model.conv1.kernel": [9, 11]},
    "drop": ["fc7"], "grids": ["stems"], "cells": {"name": config}}) and ``seeds`` (3, or a list)
    let it grow. Raises ZfjaxError for what cannot be, before anything is trained or written; for
    runs that failed, when all others have ended; Interrupted on a signal.
    """
    asked = seeds_from(seeds) if seeds != () else ()
    request = Request(base, wanted_from(wanted), asked, tune)
    plan = begin_plan(workdir, request, work.progress)
    work_through(plan, work)
    return plan


def begin_plan(workdir: Path | str, request: Request, progress: Progress = tell_nobody) -> Plan:
    """The plan with what is asked for, written down. Raises ZfjaxError as ``plan_of``, and for a
    data set that is not there.
    """
    asked = plan_of(workdir, request)  # refused before data are looked for or drawn
    dataset = open_data(asked.base, progress)
    classes = len(dataset.class_names)
    for cell in plan_of(workdir, request, classes).cells:  # and before a folder is made
        with errors_of(cell):
            check_data(cell.config, dataset)
    with exclusive_lock(asked.folder / ".lock", None):  # two workers may begin at once
        return save_plan(plan_of(workdir, request, classes))


def work_through(plan: Plan, work: Work = Work()) -> None:
    """Trains until nothing is left that this worker may take. Raises as ``ablate``."""
    for cell in plan.cells:
        with errors_of(cell):
            data_mesh(cell.config.batch_size, work.devices)
    _Worker(plan, work).work_through()


class _Worker:
    """One of any number that work through a plan."""

    def __init__(self, plan: Plan, work: Work):
        self.plan, self.work, self._began = plan, work, time.time()

    def work_through(self) -> None:
        """Until nothing is left to take, then says what failed."""
        while self._pass():
            pass
        self._write_results()
        failed = [
            (self.plan.run_folder(cell, seed), outcome)
            for cell, seed in self.plan.runs()
            if (outcome := read_outcome(self.plan.run_folder(cell, seed))) is not None
            and outcome.status == FAILED
        ]
        if failed:
            lines = [
                f"{_short(self.plan, folder)}: {outcome.message}" for folder, outcome in failed
            ]
            raise ZfjaxError(
                f"{len(failed)} of {len(self.plan.cells) * len(self.plan.seeds)} runs failed; the"
                " same command tries them once more:\n" + "\n".join(lines)
            )

    def _pass(self) -> bool:
        """Goes once over all runs; whether any was trained."""
        count = 0
        for cell, seed in self._mine():
            folder = self.plan.run_folder(cell, seed)
            try:
                if self._is_due(folder):
                    with self._claim(folder) as claim:
                        if self._is_due(folder):  # nobody else has ended it since
                            self._train(cell, seed, claim)
                            count += 1
            except Busy:
                continue
        return count > 0

    def _claim(self, folder: Path) -> AbstractContextManager[Claim]:
        return claimed(folder, locked=self.work.part is None)

    def _mine(self) -> Iterator[tuple[Cell, int]]:
        """The runs that this worker may take."""
        first, count = self.work.part or (1, 1)
        for index, (cell, seed) in enumerate(self.plan.runs()):
            if index % count == first - 1:
                yield cell, seed

    def _is_due(self, folder: Path) -> bool:
        """Whether the run is to be trained: it has not ended, or has failed before this start."""
        outcome = read_outcome(folder)
        if outcome is None:
            return True
        return outcome.status == FAILED and outcome.when < self._began

    def _train(self, cell: Cell, seed: int, claim: Claim) -> None:
        """Trains one run and notes how it has ended. Raises what ends the worker: a signal, locks
        that do not hold, a failure where one shall stop all.
        """
        folder = self.plan.run_folder(cell, seed)
        before = read_outcome(folder)
        name = _short(self.plan, folder)
        try:
            config, value = self._tuned(cell, claim)
            outcome = self._run(replace(config, seed=seed), folder, claim)
            outcome = replace(outcome, tuned=value)
        except (Interrupted, LocksDoNotHold, Busy):
            raise
        except Exception as error:
            message = _sentence(error)
            outcome = Outcome(FAILED, time.time(), message, 1 + (before.tries if before else 0))
            self.work.say(f"{name}: {FAILED}: {message}")
            _note(folder, outcome)
            if self.work.stop_on_failure:
                raise ZfjaxError(f"{name}: {message}") from None
            return
        save_outcome(folder, outcome)
        self._write_results()
        done = sum(
            (ended := read_outcome(self.plan.run_folder(*run))) is not None
            and ended.status != FAILED
            for run in self.plan.runs()
        )
        words = f"top-1 {outcome.top1:.1%}" if outcome.status == FINISHED else outcome.status
        total = len(self.plan.cells) * len(self.plan.seeds)
        self.work.say(f"{name}: {words} ({done} of {total})")

    def _run(self, config: Config, folder: Path, claim: Claim) -> Outcome:
        return train_run(
            config,
            folder,
            check=claim.check,
            progress=self.work.progress,
            devices=self.work.devices,
        )

    def _tuned(self, cell: Cell, claim: Claim) -> tuple[Config, str | None]:
        """A cell's config with the best of the values that ``--tune`` names, and that value.
        Trains the trials that are missing. Raises Busy where another worker is at one.
        """
        if self.plan.tuning is None:
            return cell.config, None
        tops: dict[str, float] = {}
        for value, config, folder in trials(self.plan, cell):
            with self._claim(folder) as trial:
                outcome = read_outcome(folder)
                if outcome is None or outcome.status == FAILED:
                    claim.check()
                    outcome = self._run(config, folder, trial)
                    save_outcome(folder, outcome)
            if outcome.top1 is not None:
                tops[value] = outcome.top1
        return best_of(self.plan, cell, tops)

    def _write_results(self) -> None:
        with exclusive_lock(self.plan.folder / ".lock", None):
            write_results(self.plan)


@contextmanager
def errors_of(cell: Cell) -> Iterator[None]:
    """What is refused within names the cell."""
    try:
        yield
    except ZfjaxError as error:
        raise ZfjaxError(f"Cell {cell.name}: {error}") from None


def _note(folder: Path, outcome: Outcome) -> None:
    """Writes the outcome where the disk lets it be written: what failed was perhaps the disk."""
    try:
        save_outcome(folder, outcome)
    except ZfjaxError:
        return


def _short(plan: Plan, folder: Path) -> str:
    return folder.relative_to(plan.folder / "cells").as_posix()


def _sentence(error: Exception) -> str:
    """What went wrong, on one line."""
    if isinstance(error, ZfjaxError):
        return " ".join(str(error).split())
    known = explain_fault(error)
    return str(known) if known else f"{type(error).__name__}: {first_line(error)}"
