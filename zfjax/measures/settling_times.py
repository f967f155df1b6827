"""From curves of likeness to settling times: shares of the way, intervals over images. No JAX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfjax.measures.likeness import Curve
from zfjax.measures.trends import settled_share
from zfjax.measures.verdicts import Interval, interval_of_images, interval_of_seeds

NEAR = 0.05
"""A layer that costs no more accuracy than this, put back or drawn anew, hardly matters."""


@dataclass(frozen=True)
class Settled:
    """A curve as its share of the way from floor to ceiling."""

    share: np.ndarray
    """float64 [steps]."""
    groups: np.ndarray
    """float64 [groups, steps]."""
    halves: np.ndarray
    """float64 [2, steps], or none."""
    jackknifed: bool = False
    """Whether ``groups`` are of all images but a group's."""


def settled_of(curve: Curve, *, jackknifed: bool = False) -> Settled:
    """Between floor and ceiling, on all images and on each group."""
    share = settled_share(curve.layer, curve.floor, _ceiling(curve.layer))
    groups = [settled_share(each, curve.floor, _ceiling(each)) for each in curve.groups]
    halves = [settled_share(each, curve.floor, _ceiling(each)) for each in curve.halves]
    tables = [np.array(each).reshape(-1, len(share)) for each in (groups, halves)]
    return Settled(share, tables[0], tables[1], jackknifed)


def _ceiling(curve: np.ndarray) -> float:
    """What the last two epochs show."""
    return float(curve[-2])


def share_of(curve: np.ndarray) -> np.ndarray:
    """Of a curve whose floor is its first value."""
    return settled_share(curve, float(curve[0]), _ceiling(curve))


def both_of(first: Settled, other: Settled) -> Settled:
    """The mean of two members of a family; of one where the other is undefined."""
    return Settled(
        _mean_pair(first.share, other.share),
        _mean_pair(first.groups, other.groups),
        _mean_pair(first.halves, other.halves),
    )


def _mean_pair(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    mean = (first + other) / 2
    return np.where(np.isnan(first), other, np.where(np.isnan(other), first, mean))


def interval_of(whole: float, groups: np.ndarray, jackknifed: bool, images: int) -> Interval | None:
    """The interval of what one run gives on all images: by the jackknife where ``groups`` are of
    all images but a group's, else by what the groups give each on its own.
    """
    if jackknifed:
        return interval_of_images(whole, groups.tolist(), images)
    apart = interval_of_seeds(groups.tolist()) if np.isfinite(whole) else None
    if apart is None:
        return None
    half = (apart.high - apart.low) / 2
    return Interval(whole, whole - half, whole + half, images, "images", apart.degrees)


def never_needed(accuracies: np.ndarray, own: float, anew: float) -> bool:
    """Whether a layer never needed to move: neither put back to any step, whose accuracies are
    [steps], nor drawn anew does it cost the network's own accuracy more than 0.05. Not so where
    that is unknown (NaN). Source: "ambient" layers of Zhang, Bengio and Singer 2022.
    """
    return bool(own - np.min([*accuracies, anew]) <= NEAR)  # not so of NaN


def rewind_shares(
    accuracies: np.ndarray, without: Sequence[np.ndarray], *, needed: bool = True
) -> Settled:
    """Accuracies [steps] with a layer put back, and the same without each group of images, as
    shares of the way. Undefined without a group as well where they are of all images, and for a
    layer that was never ``needed`` to move: it has not settled first.
    """
    share = share_of(accuracies) if needed else np.full(len(accuracies), np.nan)
    groups = [np.where(np.isnan(share), np.nan, share_of(each)) for each in without]
    table, halves = np.array(groups).reshape(-1, len(share)), np.zeros((0, len(share)))
    return Settled(share, table, halves, jackknifed=True)
