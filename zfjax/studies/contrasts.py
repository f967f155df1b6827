"""What differs between networks of a grid, on the same images and the same seeds: hits of its runs,
weighted and summed. No JAX.

A difference of two cells has the weights 1 and -1; an effect of one factor over the levels of
another has halves; an interaction has four of one size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.studies.cells import Cell
from zfjax.studies.intervals import Comparison, comparison
from zfjax.studies.plans import Plan
from zfjax.studies.standings import Outcome, read_correct


class Finished(Protocol):
    """A cell and its runs that have finished, by seed."""

    @property
    def cell(self) -> Cell:
        """Its plan."""

    @property
    def finished(self) -> Mapping[int, Outcome]:
        """{seed: outcome}."""


@dataclass(frozen=True)
class Term:
    """The hits of one cell, times ``weight``."""

    runs: Finished
    weight: float


class Hits:
    """Each run's hits, read once."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._read: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, cell: Cell, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """(hits, which images count), bool [images] each. Raises ZfjaxError for a damaged file."""
        if (cell.name, seed) not in self._read:
            folder = self._plan.run_folder(cell, seed)
            try:
                self._read[cell.name, seed] = read_correct(folder)
            except (OSError, KeyError, ValueError) as error:
                absent = isinstance(error, FileNotFoundError)
                raise ZfjaxError(
                    f"{folder / 'correct.npz'} is {'missing' if absent else f'damaged ({error})'};"
                    " delete cell.json beside it, and the same command makes both again."
                ) from None
        return self._read[cell.name, seed]


def contrast(
    plan: Plan, hits: Hits, terms: Sequence[Term], comparisons: int = 1
) -> Comparison | None:
    """The weighted sum of the cells' hits, on the seeds that all have finished and the images that
    count in all; None where there are none. ``comparisons``: as ``intervals.comparison`` has them.

    Raises ZfjaxError where two cells were validated on different images, or have other hits.
    """
    rows, counted = [], None
    for seed in plan.seeds:
        if any(seed not in term.runs.finished for term in terms):
            continue
        for former, latter in pairwise(terms):
            _check_images(former.runs, latter.runs, seed, hits)
        kept = [hits(term.runs.cell, seed) for term in terms]
        shared = np.logical_and.reduce([counts for _, counts in kept])
        counted = shared if counted is None else counted & shared
        weighted = [term.weight * hit for term, (hit, _) in zip(terms, kept, strict=True)]
        rows.append(np.sum(weighted, axis=0))
    if counted is None or counted.sum() < 2:
        return None
    return comparison(np.stack(rows)[:, counted], comparisons)


def _check_images(former: Finished, latter: Finished, seed: int, hits: Hits) -> None:
    names = f"{former.cell.name} and {latter.cell.name}"
    if former.finished[seed].digest != latter.finished[seed].digest:
        raise ZfjaxError(
            f"Cells {names} were validated on different images (seed {seed}): they cannot be"
            " compared."
        )
    if len(hits(former.cell, seed)[0]) != len(hits(latter.cell, seed)[0]):
        raise ZfjaxError(
            f"correct.npz of cells {names} (seed {seed}) are of different images: delete cell.json"
            " beside the one that is not its run's."
        )
