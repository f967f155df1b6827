"""What a grid has found so far: DIR/cells.parquet, correct.npz, table.csv and table.tex, from saved
files only. No JAX.

Whatever has not ended is a row that says so; every table can be made again at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.fields import text_of
from zfjax.files import write_arrays, write_atomic, write_text
from zfjax.studies.belonging import run_standing
from zfjax.studies.cells import BASE, Cell
from zfjax.studies.contrasts import Hits, Term, contrast
from zfjax.studies.intervals import Comparison
from zfjax.studies.measured import MEASURED, measured_columns
from zfjax.studies.plans import Plan
from zfjax.studies.standings import DIVERGED, FINISHED, Outcome, Standing
from zfjax.studies.tables import csv_text, tex_text


@dataclass(frozen=True)
class CellRuns:
    """One cell: how each of its seeds stands, and its accuracies where they are known."""

    cell: Cell
    standings: dict[int, Standing]

    @property
    def finished(self) -> dict[int, Outcome]:
        """{seed: outcome} of those that finished."""
        return {
            seed: item.outcome
            for seed, item in self.standings.items()
            if item.status == FINISHED and item.outcome is not None
        }

    def count(self, status: str) -> int:
        """How many of its runs stand so."""
        return sum(item.status == status for item in self.standings.values())

    @property
    def top1(self) -> float | None:
        """The mean over the seeds that finished."""
        values = [outcome.top1 for outcome in self.finished.values() if outcome.top1 is not None]
        return float(np.mean(values)) if values else None


@dataclass(frozen=True)
class Results:
    """A plan and all that its folder says."""

    plan: Plan
    cells: tuple[CellRuns, ...]
    compared: dict[str, Comparison]
    """By cell, of those that share a finished seed with the base."""


def read_results(plan: Plan) -> Results:
    """From the runs' folders. Raises ZfjaxError for damaged hits, naming them."""
    cells = tuple(
        CellRuns(cell, {seed: run_standing(plan, cell, seed) for seed in plan.seeds})
        for cell in plan.cells
    )
    hits, base = Hits(plan), Term(cells[0], -1.0)
    compared = {
        runs.cell.name: result
        for runs in cells[1:]
        if (result := contrast(plan, hits, (base, Term(runs, 1.0)), plan.comparisons)) is not None
    }
    return Results(plan, cells, compared)


def write_results(plan: Plan) -> Results:
    """Writes all four files."""
    results = read_results(plan)
    _write_cells(results)
    _write_correct(results)
    lines = table_rows(results)
    write_text(plan.folder / "table.csv", csv_text(lines))
    write_text(plan.folder / "table.tex", tex_text(results.plan, lines))
    return results


def table_rows(results: Results) -> list[dict[str, Any]]:
    """A row a cell, as table.csv has it; None is what is not known."""
    rows = []
    base_flops = flops(results.plan.cells[0])
    for runs in results.cells:
        cell, said = runs.cell, results.compared.get(runs.cell.name)
        both = None if said is None else said.both
        rows.append(
            {
                "cell": cell.name,
                "changed": "; ".join(f"{path}={text_of(value)}" for path, value in cell.fields),
                "without": " ".join(cell.without),
                "tuned": next((item.tuned for item in runs.finished.values()), None),
                "finished": runs.count(FINISHED),
                "diverged": runs.count(DIVERGED),
                "runs": len(runs.standings),
                "parameters": cell.config.model.parameter_count,
                "flops": flops(cell),
                "flops_of_base": round(flops(cell) / base_flops, 4),
                "top1": runs.top1,
                "difference": None if said is None else said.difference,
                "low": None if both is None else float(both.low),
                "high": None if both is None else float(both.high),
                "verdict": BASE if cell.name == BASE else None if said is None else said.words,
                "detectable": None if both is None else float(both.detectable),
                **_ends("these_images", None if said is None else said.these_images),
                **_ends("these_networks", None if said is None else said.these_networks),
                "seeds": None if said is None else said.seed_count,
                "images": None if said is None else said.image_count,
            }
        )
    return rows


def _ends(name: str, interval: Any) -> dict[str, float | None]:
    return {
        f"{name}_{end}": None if interval is None else float(getattr(interval, end))
        for end in ("low", "high")
    }


def flops(cell: Cell) -> int:
    """Of one forward pass of one image: two for each multiply-add."""
    return 2 * sum(fact.multiply_adds for fact in cell.config.model.facts())


def _write_cells(results: Results) -> None:
    """DIR/cells.parquet: a row a run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plan = results.plan
    varied = dict.fromkeys(path for cell in plan.cells for path, _ in cell.fields)
    layers = dict.fromkeys(name for cell in plan.cells for name in cell.config.model.conv_names)
    rows = [
        _row(plan, runs, seed, tuple(varied), tuple(layers))
        for runs in results.cells
        for seed in plan.seeds
    ]
    types: dict[str, pa.DataType] = {
        "cell": pa.string(),
        "seed": pa.int32(),
        "status": pa.string(),
        "message": pa.string(),
        "without": pa.string(),
        **{path: _type([row[path] for row in rows]) for path in varied},
        "parameters": pa.int64(),
        "flops": pa.int64(),
        **{name: pa.float64() for name in ("top1", "top5", "train_top1", "seconds")},
        "tuned": pa.string(),
        **{f"{layer}.{name}": pa.float64() for layer in layers for name in MEASURED},
    }
    table = pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()}
    )
    write_atomic(plan.folder / "cells.parquet", lambda path: pq.write_table(table, path))


def _row(
    plan: Plan, runs: CellRuns, seed: int, varied: tuple[str, ...], layers: tuple[str, ...]
) -> dict[str, Any]:
    from zfjax import config as configs

    cell, item = runs.cell, runs.standings[seed]
    outcome = item.outcome
    flat = configs.flatten(cell.config)
    folder = plan.run_folder(cell, seed)
    own = {path: flat.get(path) for path in varied}
    return {
        "cell": cell.name,
        "seed": seed,
        "status": item.status,
        "message": None if outcome is None else outcome.message,
        "without": " ".join(cell.without),
        **{
            path: text_of(value) if isinstance(value, tuple) else value
            for path, value in own.items()
        },
        "parameters": cell.config.model.parameter_count,
        "flops": flops(cell),
        **{
            name: None if outcome is None else getattr(outcome, name)
            for name in ("top1", "top5", "train_top1", "seconds", "tuned")
        },
        **measured_columns(folder, layers),
    }


def _type(values: list[Any]) -> Any:
    """The column's type of these values: their own where they have one."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    known = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    if kinds <= {int, float} and len(kinds) == 2:
        return pa.float64()
    return known.get(kinds.pop(), pa.string()) if len(kinds) == 1 else pa.string()


def _write_correct(results: Results) -> None:
    """DIR/correct.npz: hit bool [runs, images], cell and seed [runs], counted bool [images]."""
    plan, hits = results.plan, Hits(results.plan)
    runs = [(item.cell, seed) for item in results.cells for seed in sorted(item.finished)]
    if not runs:
        return
    pairs = [hits(cell, seed) for cell, seed in runs]
    counted = np.logical_and.reduce([counts for _, counts in pairs])
    arrays = {
        "hit": np.stack([top1 for top1, _ in pairs]),
        "cell": np.array([cell.name for cell, _ in runs]),
        "seed": np.array([seed for _, seed in runs], np.int32),
        "image_id": np.arange(len(counted), dtype=np.int64),
        "counted": counted,
    }
    write_arrays(Path(plan.folder) / "correct.npz", arrays)
