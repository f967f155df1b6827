"""``zfjax ablate``: a grid of runs, trained by any number of equal workers.

Each worker takes the next run whose lock it gets, skips what is finished, and goes on with what has
stopped; there is no coordinator and no queue. Every run of a grid is a plain run folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfjax.config import Config
from zfjax.devices import data_mesh, explain_fault
from zfjax.errors import Busy, ZfjaxError, first_line
from zfjax.files import exclusive_lock
from zfjax.inputs import open_data
from zfjax.progress import Progress, tell_nobody
from zfjax.run.grid_folders import CELLS
from zfjax.studies.belonging import run_standing
from zfjax.studies.cells import Cell, Wanted
from zfjax.studies.claiming import CannotClaim, Claim, LocksDoNotHold, claimed
from zfjax.studies.grid_page import write_grid_page
from zfjax.studies.measured import lacking
from zfjax.studies.measuring_cells import measure_run
from zfjax.studies.planning import Request, plan_of, seeds_from, wanted_from
from zfjax.studies.plans import Plan, load_plan, save_plan
from zfjax.studies.results import Results, write_results
from zfjax.studies.standings import FAILED, FINISHED, Outcome, read_outcome, save_outcome
from zfjax.studies.training_cells import train_run
from zfjax.studies.tuning import best_of, trials
from zfjax.training.interrupts import Interrupted
from zfjax.training.opening import check_data
from zfjax.values import Place, Text, Whole, optional, text

MOST_LINES = 10
"""Failed runs that a command names."""


@dataclass(frozen=True)
class Work:
    """How a worker works."""

    turn: tuple[int, int] | None = None
    """(2, 8): every eighth run from the second, without locks; None: whatever is free."""
    stop_on_failure: bool = False
    devices: int | None = None
    measures: bool = True
    """Whether finished runs are measured, where they are not yet."""
    progress: Progress = tell_nobody
    say: Callable[[str], None] = tell_nobody
    """Called with a line when a run has ended."""


def ablate(
    workdir: Place,
    base: Config | None = None,
    wanted: Wanted | Mapping[str, Any] | None = None,
    *,
    seeds: Whole | str | Iterable[Whole] | None = None,
    tune: Text | None = None,
    work: Work = Work(),
) -> Plan:
    """Trains what of the grid in ``workdir`` is not finished, and writes its tables.

    ``base`` None: of the grid that is there; ``wanted`` ({"vary": {"model.conv1.kernel": [9, 11]},
    "drop": ["fc7"], "grids": ["stems"], "cells": {"name": config}}) and ``seeds`` (3, or a list)
    let it grow. Raises ZfjaxError for what cannot be, before anything is trained or written; for
    runs that failed, when all others have ended; Interrupted on a signal.
    """
    if not isinstance(work, Work):
        raise ZfjaxError(f"work must be a Work, not of type {type(work).__name__}.")
    asked = () if seeds is None else seeds_from(seeds)
    request = Request(base, wanted_from(wanted), asked, optional(text, tune, "tune"))
    plan = begin_plan(workdir, request, work.progress)
    work_through(plan, work)
    return plan


def begin_plan(workdir: Place, request: Request, progress: Progress = tell_nobody) -> Plan:
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
        self._failures: dict[Path, str] = {}
        """What this worker could not do, by run folder: a full disk may keep it from noting it."""
        self._measured: set[Path] = set()
        """Runs that it has measured or could not: once is enough."""

    def work_through(self) -> None:
        """Until nothing is left to take, then says what failed."""
        self._find_strangers()
        while self._pass():
            pass
        for cell, seed in self.plan.runs():
            folder = self.plan.run_folder(cell, seed)
            if folder not in self._failures and (outcome := self._outcome(folder)) is not None:
                if outcome.status == FAILED:
                    self._failures[folder] = outcome.message or FAILED
        try:
            write_grid_page(self._write_results())
        except ZfjaxError as error:
            if not self._failures:
                raise
            self.work.say(str(error))
        if self._failures:
            lines = [f"{self._name(folder)}: {said}" for folder, said in self._failures.items()]
            more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
            raise ZfjaxError(
                f"{len(lines)} of {self._total} runs failed; the same command tries them once"
                " more:\n" + "\n".join(lines[:MOST_LINES] + more)
            )

    def _pass(self) -> bool:
        """Goes once over all runs; whether any was trained."""
        count = 0
        for cell, seed in self._mine():
            folder = self.plan.run_folder(cell, seed)
            is_due = self._is_due(folder)
            if not is_due and not self._lacks_measures(folder):
                continue
            try:
                with self._claim(folder) as claim:
                    if not is_due:
                        self._measure(cell, folder, claim)
                    elif self._is_due(folder):  # nobody else has ended it since
                        self._train(cell, seed, claim)
                        count += 1
            except Busy:
                continue
            except CannotClaim as error:
                self._leave(folder, is_due, error)
        return count > 0

    def _find_strangers(self) -> None:
        """What lies in the folder of a finished run and is not its own is a failure of that run."""
        for cell, seed in self.plan.runs():
            folder = self.plan.run_folder(cell, seed)
            item, outcome = run_standing(self.plan, cell, seed), self._outcome(folder)
            if outcome is not None and outcome.status == FINISHED and item.status == FAILED:
                assert item.outcome is not None
                self._failures[folder] = item.outcome.message or FAILED

    def _leave(self, folder: Path, is_due: bool, error: CannotClaim) -> None:
        """A run that cannot be written to: the others go on, unless a failure shall stop all."""
        if is_due:
            self._note_failure(folder, _sentence(error), self._outcome(folder))
        else:  # it stays finished
            self._measured.add(folder)
            self.work.say(f"{self._name(folder)}: measures not measured: {_sentence(error)}")

    @property
    def _total(self) -> int:
        return len(self.plan.cells) * len(self.plan.seeds)

    def _name(self, folder: Path) -> str:
        """A run's, for people."""
        return folder.relative_to(self.plan.folder / CELLS).as_posix()

    def _claim(self, folder: Path) -> AbstractContextManager[Claim]:
        return claimed(folder, locked=self.work.turn is None)

    def _mine(self) -> Iterator[tuple[Cell, int]]:
        """The runs that this worker may take."""
        first, count = self.work.turn or (1, 1)
        for index, (cell, seed) in enumerate(self.plan.runs()):
            if index % count == first - 1:
                yield cell, seed

    def _outcome(self, folder: Path) -> Outcome | None:
        """A run's; one that is damaged is a failure of that run alone, and None."""
        try:
            return read_outcome(folder)
        except ZfjaxError as error:
            self._failures[folder] = str(error)
            return None

    def _is_due(self, folder: Path) -> bool:
        """Whether the run is to be trained: it has not ended, or has failed before this start."""
        outcome = self._outcome(folder)
        if folder in self._failures:
            return False
        return outcome is None or (outcome.status == FAILED and outcome.when < self._began)

    def _train(self, cell: Cell, seed: int, claim: Claim) -> None:
        """Trains one run and notes how it has ended. Raises what ends the worker: a signal, locks
        that do not hold, a failure where one shall stop all.
        """
        folder = self.plan.run_folder(cell, seed)
        before = read_outcome(folder)
        try:
            config, value = self._tuned(cell, claim)
            outcome = self._run(replace(config, seed=seed), folder, claim)
            save_outcome(folder, replace(outcome, tuned=value))
        except (Interrupted, LocksDoNotHold, Busy):
            raise
        except Exception as error:
            self._note_failure(folder, _sentence(error), before)
            return
        if self._lacks_measures(folder):
            self._measure(cell, folder, claim)
        with suppress(ZfjaxError):  # said in the end, when all else is trained
            self._write_results()
        ended = [self._outcome(self.plan.run_folder(*run)) for run in self.plan.runs()]
        done = sum(item is not None and item.status != FAILED for item in ended)
        words = f"top-1 {outcome.top1:.1%}" if outcome.status == FINISHED else outcome.status
        self.work.say(f"{self._name(folder)}: {words} ({done} of {self._total})")

    def _lacks_measures(self, folder: Path) -> bool:
        """Whether the run is finished and to be measured."""
        if not self.work.measures or folder in {*self._measured, *self._failures}:
            return False
        if not lacking(folder):
            return False
        outcome = self._outcome(folder)
        return outcome is not None and outcome.status == FINISHED

    def _measure(self, cell: Cell, folder: Path, claim: Claim) -> None:
        """Measures a finished run. What cannot be measured is said: the run stays finished."""
        self._measured.add(folder)
        try:
            failed = measure_run(
                folder, cell.config.data.dir, check=claim.check, progress=self.work.progress
            )
        except (Interrupted, LocksDoNotHold, Busy):
            raise
        except Exception as error:
            failed = {"measures": error}
        for name, reason in failed.items():
            self.work.say(f"{self._name(folder)}: {name} not measured: {_sentence(reason)}")

    def _note_failure(self, folder: Path, message: str, before: Outcome | None) -> None:
        """Keeps going, unless a failure shall stop all."""
        self._failures[folder] = message
        self.work.say(f"{self._name(folder)}: {FAILED}: {message}")
        tries = 1 + (before.tries if before is not None else 0)
        with suppress(ZfjaxError):  # it was perhaps the disk that failed
            save_outcome(folder, Outcome(FAILED, time.time(), message, tries))
        if self.work.stop_on_failure:
            raise ZfjaxError(f"{self._name(folder)}: {message}")

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

    def _write_results(self) -> Results:
        with exclusive_lock(self.plan.folder / ".lock", None):
            # Another command may have let the grid grow meanwhile.
            return write_results(load_plan(self.plan.folder) or self.plan)


@contextmanager
def errors_of(cell: Cell) -> Iterator[None]:
    """What is refused within names the cell."""
    try:
        yield
    except ZfjaxError as error:
        raise ZfjaxError(f"Cell {cell.name}: {error}") from None


def _sentence(error: Exception) -> str:
    """What went wrong, on one line."""
    if isinstance(error, ZfjaxError):
        return " ".join(str(error).split())
    known = explain_fault(error)
    return str(known) if known else f"{type(error).__name__}: {first_line(error)}"
