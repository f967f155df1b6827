"""DIR/ablation.json: the cells, seeds and comparisons of a grid, written down before anything is
trained. No JAX.

A plan only grows: the same command with more values or seeds adds cells; another base is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.errors import ZfjaxError, quoted, shortened
from zfjax.files import check_path, read_json, write_json
from zfjax.run.grid_folders import CELLS, PLAN, check_outside_grids
from zfjax.run.starts import current_commit, current_versions
from zfjax.studies.cells import BASE, Cell

FORMAT_VERSION = 1
MEASURE = {"name": "top1", "epoch": "last"}
"""What is compared: never the best epoch's, which a longer search would flatter."""


@dataclass(frozen=True)
class Tuning:
    """``--tune``: a field whose best value is sought for each cell."""

    path: str
    values: tuple[str, ...]
    seed: int
    """Of the trials; none of the grid's."""


@dataclass(frozen=True)
class Plan:
    """A grid of runs in a folder."""

    folder: Path
    cells: tuple[Cell, ...]
    """The base first."""
    seeds: tuple[int, ...]
    tuning: Tuning | None = None
    declared: tuple[dict[str, Any], ...] = ()
    """Each time that the grid was begun or grew: when, seeds and comparisons."""

    @property
    def base(self) -> Config:
        """What every cell is compared with."""
        return self.cells[0].config

    @property
    def comparisons(self) -> int:
        """How many are declared: each cell with the base."""
        return len(self.cells) - 1

    def runs(self) -> Iterator[tuple[Cell, int]]:
        """(cell, seed) of each run, seeds outermost: a first table is there early."""
        for seed in self.seeds:
            for cell in self.cells:
                yield cell, seed

    def run_folder(self, cell: Cell, seed: int) -> Path:
        """DIR/cells/NAME/seed-N: a run folder like any other."""
        return self.folder / CELLS / cell.name / f"seed-{seed}"

    def cell(self, name: str) -> Cell:
        """The cell of that name. Raises ZfjaxError naming those there are."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        names = ", ".join(cell.name for cell in self.cells)
        raise ZfjaxError(f"There is no cell {name!r}; there are {names}.")


def check_plan_folder(folder: Path | str) -> Path:
    """``folder`` as a path. Raises ZfjaxError for a run's, for one among the runs of an ablation,
    and for what libraries misread.
    """
    folder = check_path(folder, "an ablation")
    if (folder / "config.json").exists():
        raise ZfjaxError(
            f"{folder} is a run; an ablation is a folder of many: use another --workdir."
        )
    check_outside_grids(folder, "an ablation of its own")
    return folder


def load_plan(folder: Path) -> Plan | None:
    """The plan in ``folder``; None where there is none. Raises ZfjaxError for a damaged one and one
    of a newer zfjax.
    """
    path = folder / PLAN
    if not path.exists():
        return None
    record = read_json(path)
    try:
        if record["format_version"] > FORMAT_VERSION:
            raise ZfjaxError(
                f"{path} was written by a newer zfjax (format {record['format_version']}); update"
                " zfjax."
            )
        tuning = record["tuning"]
        return Plan(
            folder=folder,
            cells=tuple(_cell_from(cell, path) for cell in record["cells"]),
            seeds=tuple(int(seed) for seed in record["seeds"]),
            tuning=None
            if tuning is None
            else Tuning(tuning["path"], tuple(tuning["values"]), int(tuning["seed"])),
            declared=tuple(dict(item) for item in record["declared"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ZfjaxError(f"{path} is damaged: {error!r}; restore it from a copy.") from None


def save_plan(plan: Plan) -> Plan:
    """Writes ablation.json, noting what is declared now; returns the plan with the note."""
    note = {"seeds": list(plan.seeds), "comparisons": plan.comparisons}
    before = [{key: item[key] for key in note} for item in plan.declared[-1:]]
    if before != [note]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        note = {"when": now, **note, "versions": current_versions(), "git_commit": current_commit()}
        plan = replace(plan, declared=(*plan.declared, note))
    tuning = plan.tuning
    record = {
        "format_version": FORMAT_VERSION,
        "measure": MEASURE,
        "base": BASE,
        "comparisons": [[cell.name, BASE] for cell in plan.cells[1:]],
        "seeds": list(plan.seeds),
        "tuning": None
        if tuning is None
        else {"path": tuning.path, "values": list(tuning.values), "seed": tuning.seed},
        "cells": [_record_of(cell) for cell in plan.cells],
        "declared": list(plan.declared),
    }
    write_json(plan.folder / PLAN, record)
    return plan


def _record_of(cell: Cell) -> dict[str, Any]:
    return {
        "name": cell.name,
        "fields": dict(cell.fields),
        "without": list(cell.without),
        "also": list(cell.also),
        "config": configs.to_json(cell.config),
    }


def _cell_from(record: dict[str, Any], path: Path) -> Cell:
    """Raises ZfjaxError for a config that cannot be, naming the cell and the plan's ``path``."""
    try:
        config = configs.from_json(record["config"])
    except ZfjaxError as error:
        raise ZfjaxError(
            f"{path} is damaged, or was edited: cell {record['name']}: {error}"
        ) from None
    fields = tuple(
        (path, tuple(value) if isinstance(value, list) else value)
        for path, value in record["fields"].items()
    )
    return Cell(
        name=str(record["name"]),
        config=config,
        fields=fields,
        without=tuple(record["without"]),
        also=tuple(record["also"]),
    )


def grown(before: Plan | None, now: Plan) -> Plan:
    """``before`` with the cells and seeds of ``now`` that it lacks. Raises ZfjaxError naming the
    fields in which the bases differ, and for one name of two cells.
    """
    if before is None:
        return now
    _check_base(before, now)
    if now.tuning != before.tuning:
        raise ZfjaxError(
            f"{before.folder} holds an ablation with"
            f" {_tuning_words(before.tuning)}, not {_tuning_words(now.tuning)}: use another"
            " --workdir."
        )
    # What does not touch what is learnt may have moved, such as the data's folder.
    cells = {cell.name: _moved(cell, now.base) for cell in before.cells}
    for cell in now.cells:
        known = cells.get(cell.name)
        if known is None:
            twin = next((other for other in cells.values() if other.config == cell.config), None)
            if twin is not None:
                raise ZfjaxError(
                    f"Cell {cell.name} is the same as {twin.name}, which {before.folder} has."
                )
        elif known.config != cell.config:
            raise ZfjaxError(
                f"{before.folder} has another cell {cell.name}"
                f" ({differing_fields(known.config, cell.config)}): give the new one another name."
            )
        also = dict.fromkeys((*(known.also if known else ()), *cell.also))
        cells[cell.name] = replace(known or cell, also=tuple(also))
    seeds = tuple(sorted({*before.seeds, *now.seeds}))
    return replace(before, cells=tuple(cells.values()), seeds=seeds)


def _moved(cell: Cell, base: Config) -> Cell:
    data = replace(
        cell.config.data,
        dir=base.data.dir,
        threads=base.data.threads,
        processes=base.data.processes,
        on_error=base.data.on_error,
    )
    config = replace(
        cell.config,
        data=data,
        preset=base.preset,
        save_minutes=base.save_minutes,
        keep=base.keep,
        tensorboard=base.tensorboard,
    )
    return replace(cell, config=config)


def _check_base(before: Plan, now: Plan) -> None:
    differing = differing_fields(before.base, now.base)
    if differing:
        raise ZfjaxError(
            f"{before.folder} holds an ablation of another base ({differing}). Use another"
            f" --workdir, or go on with `zfjax ablate --workdir {quoted(before.folder)}`."
        )


def differing_fields(before: Config, now: Config) -> str:
    """The fields in which two configs differ, but those that do not touch what is learnt; at most
    four of them.
    """
    old, new = configs.flatten(before), configs.flatten(now)
    names = [
        name
        for name in {**old, **new}
        if old.get(name) != new.get(name) and name not in configs.RESUMABLE_FIELDS
    ]
    return shortened((f"{n} {old.get(n)!r} -> {new.get(n)!r}" for n in names), 4, "; ")


def _tuning_words(tuning: Tuning | None) -> str:
    return "no tuning" if tuning is None else f"--tune {tuning.path}={','.join(tuning.values)}"
