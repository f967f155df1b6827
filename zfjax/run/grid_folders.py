"""Whether a folder that is no run belongs to an ablation, whose runs lie in GRID/cells/NAME/seed-N,
or lies within a run: what is said of it, and by which command it is trained. No JAX.
"""

from __future__ import annotations

from pathlib import Path

from zfjax.errors import ZfjaxError, quoted, shortened
from zfjax.files import read_json

PLAN, CELLS = "ablation.json", "cells"
"""Of an ablation's folder: the plan, and above all cells."""
MOST_NAMES = 12
_DEEPEST = 3
"""Folders between a file of a run and the run, such as RUN/checkpoints/100/params."""


def training_command(folder: Path) -> str:
    """What trains the run of that folder: ``zfjax ablate`` where it is one of a grid's."""
    grid = _grid_of(folder.parent)
    if grid is not None:
        return f"`zfjax ablate --workdir {quoted(grid)}`"
    return f"`zfjax train --workdir {quoted(folder)}`"


def check_outside_grids(folder: Path, what: str) -> None:
    """Raises ZfjaxError for a folder in which ``what`` would be mixed up with an ablation's runs:
    GRID/cells and all in it.
    """
    for above in (folder.absolute(), *folder.absolute().parents):
        if above.name == CELLS and is_grid(above.parent):
            raise ZfjaxError(
                f"{folder} lies among the runs of the ablation {above.parent}: use --workdir"
                f" {quoted(above.parent)} to go on with it, or another for {what}."
            )


def check_no_grid(folder: Path) -> None:
    """Raises ZfjaxError for a folder where a new run would stand in the way of an ablation's: its
    own, that of its cells, and a cell's.
    """
    if is_grid(folder):
        raise ZfjaxError(
            f"{folder} is an ablation, a folder of many runs: `zfjax ablate --workdir"
            f" {quoted(folder)}` trains them; use another --workdir for a run of its own."
        )
    if folder.absolute().name == CELLS or _grid_of(folder) is not None:
        check_outside_grids(folder, "a run of its own")


def not_a_run(folder: Path) -> ZfjaxError:
    """Why ``folder``, which has no config.json, is no run, and which folder may have been meant."""
    return ZfjaxError(_words(folder))


def grid_words(grid: Path) -> str:
    """A run of an ablation that may be named in its place, or how one is."""
    begun = _begun(grid / CELLS, "*/seed-*")
    return f"like {begun[0] if begun else grid / CELLS / 'NAME' / 'seed-0'}"


def _words(folder: Path) -> str:
    if is_grid(folder) or (folder.name == CELLS and is_grid(folder.parent)):
        grid = folder if is_grid(folder) else folder.parent
        return (
            f"{folder} is an ablation, a folder of many runs: name one of them, {grid_words(grid)}."
        )
    if (grid_of_cell := _grid_of(folder)) is not None:
        return _cell_words(folder, grid_of_cell)
    if (grid_of_run := _grid_of(folder.parent)) is not None:
        if not folder.parent.is_dir():
            return _cell_words(folder.parent, grid_of_run)
        return _run_words(folder, grid_of_run)
    if folder.exists():
        for above in folder.absolute().parents[:_DEEPEST]:
            if (above / "config.json").exists():
                return f"{folder} is not a run, but lies within one: name {above}."
    return (
        f"{folder} is not a run: it has no config.json; train with `zfjax train --workdir"
        f" {quoted(folder)}`."
    )


def _cell_words(cell: Path, grid: Path) -> str:
    begun = _begun(cell, "seed-*")
    if begun:
        return (
            f"{cell} is a cell of an ablation, a folder of seeds: name one of its runs, like"
            f" {begun[0]} (it has {_names(begun)})."
        )
    if cell.is_dir():
        return (
            f"{cell} is a cell of an ablation of which no run has begun; `zfjax ablate --workdir"
            f" {quoted(grid)}` trains them."
        )
    cells = sorted(path for path in (grid / CELLS).glob("*") if path.is_dir())
    return f"The ablation {grid} has no cell {cell.name!r}; it has {_names(cells)}."


def _run_words(folder: Path, grid: Path) -> str:
    begun = _begun(folder.parent, "seed-*")
    has = f"; {folder.parent.name} has {_names(begun)}" if begun else ""
    number = folder.name.removeprefix("seed-")
    seeds = _seeds(grid)
    if number.isdecimal() and int(number) in seeds:
        return (
            f"{folder} is a run of an ablation that has not begun; {training_command(folder)}"
            f" trains it{has}."
        )
    return f"{folder} is no run of the ablation {grid}, whose seeds are {_names(seeds)}{has}."


def _grid_of(cell: Path) -> Path | None:
    """The ablation that a cell's folder, or one that would be, lies in."""
    above = cell.absolute().parents
    return above[1] if len(above) > 1 and above[0].name == CELLS and is_grid(above[1]) else None


def is_grid(folder: Path) -> bool:
    """Whether it is an ablation's."""
    return (folder / PLAN).is_file()


def _begun(above: Path, pattern: str) -> list[Path]:
    """The runs below ``above`` of that pattern, in the order of their seeds."""
    runs = (path for path in above.glob(pattern) if (path / "config.json").exists())
    return sorted(runs, key=lambda path: (len(path.name), path))


def _seeds(grid: Path) -> list[int]:
    try:
        return [int(seed) for seed in read_json(grid / PLAN)["seeds"]]
    except (ZfjaxError, KeyError, TypeError, ValueError):
        return []


def _names(items: list[Path] | list[int]) -> str:
    return shortened((getattr(item, "name", item) for item in items), MOST_NAMES) or "none"
