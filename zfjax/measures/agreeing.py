"""Do projection and occlusion agree? Where a map's projection lies, against where a square lowers
the map; minus the same with the projections of other maps. No JAX.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from zfjax.measures.similarity import standard_ranks


@dataclass(frozen=True)
class Agreement:
    """Of one image, the mean over its maps; NaN where no map has one."""

    own: float
    """Correlation of each map's projection with what the square takes from the map."""
    swapped: float
    """The same with the projections of the other maps, each map's mean over them."""

    @property
    def excess(self) -> float:
        """What is the map's own."""
        return self.own - self.swapped


def pooled(projections: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """How much of each projection lies under the square at each position: magnitudes summed over
    channels, their mean over the square. float64 [maps, rows, columns] of [maps, h, w, channels].
    """
    energy = np.abs(projections.astype(np.float64)).sum(axis=3)
    sums = np.pad(energy.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))

    def corners(row: int, column: int) -> np.ndarray:
        return sums[:, (rows + row)[:, None], (columns + column)[None, :]]

    under = corners(size, size) - corners(0, size) - corners(size, 0) + corners(0, 0)
    return np.asarray(under / size**2)


def agreements(energies: np.ndarray, drops: np.ndarray) -> dict[str, Agreement]:
    """ "spearman" and "pearson" of ``pooled`` projections with what the square takes from the maps'
    sums, both [maps, rows, columns], positive where it takes.

    A map that no position changes has no correlation and stays out of the means; so does, in
    "swapped" as in "own", one that has no other map beside it.
    """
    flat_energies, flat_drops = (
        np.asarray(values, np.float64).reshape(len(values), -1).T for values in (energies, drops)
    )
    return {
        "spearman": _agreement(standard_ranks(flat_energies), standard_ranks(flat_drops)),
        "pearson": _agreement(_standard(flat_energies), _standard(flat_drops)),
    }


def _standard(values: np.ndarray) -> np.ndarray:
    """Columns centred and of norm 1; NaN where one is the same everywhere."""
    centred = values - values.mean(axis=0)
    constant = values.max(axis=0) == values.min(axis=0)
    norms = np.where(constant, np.nan, np.linalg.norm(centred, axis=0))
    return np.asarray(centred / norms)


def _agreement(energies: np.ndarray, drops: np.ndarray) -> Agreement:
    table = energies.T @ drops  # [projection of, drop of]
    count = len(table)
    own = np.diag(table)
    columns = [np.delete(table[:, map_], map_) for map_ in range(count)]
    others = np.reshape(columns, (count, count - 1)).T
    known = np.isfinite(others)
    counts = known.sum(axis=0)
    sums = np.where(known, others, 0).sum(axis=0)
    swapped = np.divide(sums, counts, out=np.full(len(own), np.nan), where=counts > 0)
    both = np.isfinite(own) & np.isfinite(swapped)
    if not both.any():
        return Agreement(float("nan"), float("nan"))
    return Agreement(float(own[both].mean()), float(swapped[both].mean()))


def interval_over_images(values: np.ndarray) -> tuple[float, float, float, int]:
    """(mean, low, high, n): 95% by Student's t, over the images that have a value; ends are NaN for
    fewer than two, all for none.
    """
    known = np.asarray(values, np.float64)[np.isfinite(values)]
    nan = float("nan")
    if not len(known):
        return nan, nan, nan, 0
    mean = float(known.mean())
    if len(known) < 2:
        return mean, nan, nan, 1
    half = float(stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return mean, mean - half, mean + half, len(known)
