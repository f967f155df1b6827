"""All that a grid's page shows, read once from its folder. No JAX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.report.curves import Points, accuracies
from zfjax.run.evolution import Evolution, open_evolution
from zfjax.run.folder import Run, load_run
from zfjax.studies.cell_labels import labels_of
from zfjax.studies.cells import Cell
from zfjax.studies.claims import CellClaim, claims_of
from zfjax.studies.intervals import Comparison
from zfjax.studies.measured import ON_PAGE, Filters, read_filters, read_measured
from zfjax.studies.plans import Plan
from zfjax.studies.results import CellRuns, Results, flops, table_rows


@dataclass(frozen=True)
class Spread:
    """A number of several seeds."""

    mean: float
    low: float
    high: float
    count: int
    values: tuple[float, ...] = ()
    """Of each seed."""


@dataclass(frozen=True)
class CellView:
    """One cell as the page shows it."""

    number: int
    """On the page, from 1; the base is 1."""
    label: str
    """What readers call it: "7x7, stride 2 (base)"."""
    runs: CellRuns
    row: Mapping[str, Any]
    """Of table.csv."""
    claim: CellClaim | None
    """None for the base."""
    comparison: Comparison | None
    measured: Mapping[int, Mapping[str, float | None]]
    """By finished seed, "conv1.dead_share" and the like."""
    untrained: Mapping[int, Mapping[str, float | None]]
    """Likewise, before training."""
    curves: Mapping[int, Points]
    """Top-1 on the validation split over the epochs, by seed, of runs that were begun."""
    filters: Filters | None
    """Of the first finished seed that has them."""
    evolution: Evolution | None
    """Likewise."""

    @property
    def cell(self) -> Cell:
        """Its plan."""
        return self.runs.cell

    @property
    def name(self) -> str:
        """The cell's."""
        return self.cell.name

    @property
    def layers(self) -> tuple[str, ...]:
        """Convolutions, from the image up."""
        return self.cell.config.model.conv_names

    @property
    def megaflops(self) -> float:
        """Of one forward pass of one image."""
        return flops(self.cell) / 1e6

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Top-1 in per cent of the seeds that finished."""
        known = (outcome.top1 for outcome in self.runs.finished.values())
        return tuple(100 * top1 for top1 in known if top1 is not None)

    def spread(self, layer: str, quantity: str) -> Spread | None:
        """Of a layer's number at the last epoch, over the finished seeds that have it."""
        return spread_of([values.get(f"{layer}.{quantity}") for values in self.measured.values()])

    def untrained_mean(self, layer: str, quantity: str) -> float | None:
        """Of a layer's number before training, over the finished seeds that have it."""
        before = [values.get(f"{layer}.{quantity}") for values in self.untrained.values()]
        spread = spread_of(before)
        return None if spread is None else spread.mean

    @property
    def finished_curves(self) -> tuple[int, ...]:
        """The finished seeds that have a curve."""
        return tuple(seed for seed in self.curves if seed in self.measured)

    @property
    def mean_curve(self) -> Points:
        """Over the finished seeds, at epochs that all have."""
        curves = [dict(self.curves[seed]) for seed in self.finished_curves]
        if not curves:
            return ()
        shared = set.intersection(*map(set, curves))
        return tuple(
            (epoch, sum(curve[epoch] for curve in curves) / len(curves)) for epoch in sorted(shared)
        )


@dataclass(frozen=True)
class GridView:
    """A grid as the page shows it."""

    plan: Plan
    results: Results
    cells: tuple[CellView, ...]
    """The base first."""
    base_run: Run | None
    """The base's first run, once begun."""


def view_of(results: Results) -> GridView:
    """From the saved files of the grid. Raises ZfjaxError for a damaged one."""
    plan = results.plan
    rows, claims = table_rows(results), (None, *claims_of(results))
    labels = labels_of(plan)
    cells = tuple(
        replace(
            _cell_view(plan, runs, rows[index], claims[index], results.compared),
            number=index + 1,
            label=labels[runs.cell.name],
        )
        for index, runs in enumerate(results.cells)
    )
    begun = (_begun(plan, plan.cells[0], seed) for seed in plan.seeds)
    return GridView(plan, results, cells, next(filter(None, begun), None))


def spread_of(values: Sequence[float | None]) -> Spread | None:
    """Of those that are known; None for none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    return Spread(sum(known) / len(known), min(known), max(known), len(known), tuple(known))


def _cell_view(
    plan: Plan,
    runs: CellRuns,
    row: Mapping[str, Any],
    claim: CellClaim | None,
    compared: Mapping[str, Comparison],
) -> CellView:
    cell, layers = runs.cell, runs.cell.config.model.conv_names
    finished = {seed: plan.run_folder(cell, seed) for seed in sorted(runs.finished)}
    curves = {seed: _curve(plan, cell, seed) for seed in plan.seeds}
    kept = (read_filters(folder) for folder in finished.values())
    measures = {seed: read_measured(folder, layers, ON_PAGE) for seed, folder in finished.items()}
    return CellView(
        number=0,
        label=cell.name,
        runs=runs,
        row=row,
        claim=claim,
        comparison=compared.get(cell.name),
        measured={seed: values.last for seed, values in measures.items()},
        untrained={seed: values.untrained for seed, values in measures.items()},
        curves={seed: points for seed, points in curves.items() if points is not None},
        filters=next(filter(None, kept), None),
        evolution=next((item for item in map(_evolution, finished.values()) if item), None),
    )


def _evolution(folder: Path) -> Evolution | None:
    """Of a run; None where it has none that is finished."""
    path = folder / "evolution"
    return open_evolution(path) if (path / "meta.json").exists() else None


def _begun(plan: Plan, cell: Cell, seed: int) -> Run | None:
    """None too for a damaged one: its standing says so, and the page shows the others."""
    with suppress(ZfjaxError):
        return load_run(plan.run_folder(cell, seed))
    return None


def _curve(plan: Plan, cell: Cell, seed: int) -> Points | None:
    """None likewise."""
    run = _begun(plan, cell, seed)
    with suppress(ZfjaxError):
        return None if run is None else accuracies(run.validation_lines)
    return None
