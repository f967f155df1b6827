"""What curves over the epochs say: when a layer settles, whether that grows with depth, when a map
emerges. No JAX.

A curve is how alike a layer (or map) at each step is to itself at the last, float64 [..., steps];
what is not defined is NaN, and null in the tables. A settling time depends on the last epoch, which
defines "settled", and on the learning rate's schedule: whoever prints one names both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THRESHOLDS = (0.8, 0.9, 0.95)
"""Shares of the way from floor to ceiling, for who prefers a moment to an area."""
LEAST_ROOM = 0.05
"""A ceiling that stands no higher over its floor leaves nothing to settle."""
PERCENTILE = 0.99
"""Of what the other maps of a layer show, for a map to be itself."""


def settled_share(
    curve: np.ndarray, floor: np.ndarray | float, ceiling: np.ndarray | float
) -> np.ndarray:
    """How much of the way from floor to ceiling a curve has come, 0..1: float64 [..., steps].

    ``floor``: what the layer's other maps show at the same steps, or one number; ``ceiling``: what
    the last two epochs show. Both broadcast to the curve. NaN where the ceiling is less than 0.05
    above the floor.
    """
    span = np.asarray(ceiling, np.float64) - np.asarray(floor, np.float64)
    way = np.asarray(curve, np.float64) - floor
    span = np.broadcast_to(span, np.broadcast_shapes(span.shape, way.shape))
    undefined = np.full(span.shape, np.nan)
    return np.clip(np.divide(way, span, out=undefined, where=span >= LEAST_ROOM), 0, 1)


def settling_time(share: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """The area above a curve of ``settled_share`` [..., steps], in epochs: float64 [...].

    0 for what has settled from the start; e for a jump from 0 to 1 at epoch e; every step counts
    by the time it stands for, and no threshold is chosen. Points are joined by lines, over steps
    that are NaN too; NaN where the first or the last step is.
    """
    _check_epochs(share, epochs)
    return np.apply_along_axis(_area, -1, share, epochs)


def _area(share: np.ndarray, epochs: np.ndarray) -> float:
    known = ~np.isnan(share)
    if not (known[0] and known[-1]):
        return float("nan")
    return float(np.trapezoid(1 - share[known], epochs[known]))


def threshold_epochs(
    share: np.ndarray, epochs: np.ndarray, thresholds: tuple[float, ...] = THRESHOLDS
) -> np.ndarray:
    """The first epoch from which on to the end a curve of ``settled_share`` [..., steps] stays at
    each threshold or above: float64 [..., thresholds]. A NaN step is below; NaN where the last is.
    """
    _check_epochs(share, epochs)
    above = np.asarray(share)[..., None, :] >= np.asarray(thresholds)[:, None]
    return _from_then_on(above, epochs)


def _from_then_on(holds: np.ndarray, epochs: np.ndarray) -> np.ndarray:
    """The first epoch from which on bool [..., steps] holds to the end; NaN where it does not hold
    there.
    """
    steps = np.logical_and.accumulate(holds[..., ::-1], axis=-1).sum(axis=-1)
    first = np.asarray(epochs, np.float64)[np.minimum(len(epochs) - steps, len(epochs) - 1)]
    return np.where(steps > 0, first, np.nan)


def slope_on_depth(times: np.ndarray) -> np.ndarray:
    """Least-squares slope of settling times [..., layers] on depth 0, 1, 2, ...: epochs a layer,
    float64 [...]. Layers that are NaN are left out, their depths kept; NaN below two layers.
    """
    times = np.asarray(times, np.float64)
    known = ~np.isnan(times)
    count = known.sum(axis=-1, keepdims=True)
    depths = np.where(known, np.arange(times.shape[-1]), 0)
    depths = np.where(known, depths - depths.sum(axis=-1, keepdims=True) / np.maximum(count, 1), 0)
    spread = (depths**2).sum(axis=-1)
    product = (depths * np.where(known, times, 0)).sum(axis=-1)
    return np.divide(product, spread, out=np.full(np.shape(spread), np.nan), where=spread > 0)


@dataclass(frozen=True)
class Emergence:
    """When each map of a layer became itself."""

    epoch: np.ndarray
    """float64 [maps]; NaN for those that have not before the last step."""
    by_chance: float
    """How many maps would be counted if their identities meant nothing."""

    @property
    def count(self) -> int:
        """Maps that have emerged."""
        return int((~np.isnan(self.epoch)).sum())


def identity_bar(between: np.ndarray) -> tuple[float, float]:
    """(bar, chance) of one layer at one step: the 99th percentile of how alike its maps are to
    *other* maps at the last step, and the chance of one more such pair to lie above it.

    ``between``: float64 [maps, maps], maps at the step by maps at the last; its diagonal, each map
    with itself, does not count, nor does NaN. The percentile is one of the pairs, the next higher:
    with few maps the chance is above 1%. (NaN, 0) where there is no pair.
    """
    others = between[~np.eye(len(between), dtype=bool)]
    others = np.sort(others[~np.isnan(others)])
    if not len(others):
        return float("nan"), 0.0
    rank = int(np.ceil(PERCENTILE * (len(others) - 1)))
    return float(others[rank]), (len(others) - rank) / (len(others) + 1)


def emergence(own: np.ndarray, bars: np.ndarray, epochs: np.ndarray, chance: float) -> Emergence:
    """The first epoch *from which on to the end* each map is more like its last self than the
    layer's other maps are.

    ``own``: float64 [steps, maps], each map to itself at the last step; ``bars``: [steps], and
    ``chance`` that of the last step but one, of ``identity_bar``. At the last step every map is
    itself, whatever it has learnt, so that step does not count: who is first above the bar there
    has not emerged. Whoever learnt nothing must therefore stand above the bar at the last step but
    one, so ``chance`` of the maps that are alive there are expected by chance, or fewer.
    What misleads: a map that never moved is itself from step 0 on; look at its weights' travel.
    """
    _check_epochs(own.T, epochs)
    if len(own) < 2:
        return Emergence(np.full(own.shape[1:], np.nan), 0.0)
    above = own[:-1] > bars[:-1, None]
    alive = (~np.isnan(own[-2])).sum()
    return Emergence(_from_then_on(above.T, epochs[:-1]), float(chance * alive))


def _check_epochs(curve: np.ndarray, epochs: np.ndarray) -> None:
    if np.shape(curve)[-1] != len(epochs) or not len(epochs) or (np.diff(epochs) <= 0).any():
        raise ValueError(f"{np.shape(curve)[-1]} values at epochs {epochs}, which must ascend")
