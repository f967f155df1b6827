"""Place code and rate code: numbers of how maxima of maps move and change as the image moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zfjax.measures.jackknife import Estimate, mean_of


@dataclass(frozen=True)
class Codes:
    """Of one layer at one step."""

    estimates: Mapping[str, Estimate]
    """By quantity; over images."""
    of_maps: Mapping[str, np.ndarray]
    """By quantity, float64 [maps]: the mean over the images for which a map counts; NaN: none."""
    of_images: Mapping[str, np.ndarray]
    """Likewise [images], over the maps that count."""


def codes_of(
    values: np.ndarray | None, places: np.ndarray | None, shifts: np.ndarray, half_cell: float
) -> Codes:
    """``values``: [images, shifts + 1, maps], the last that of the empty frame. ``places``:
    likewise, in pixels of the input; None where a layer has no places. ``shifts``: pixels, 0 among
    them. ``half_cell``: pixels.
    """
    assert values is not None
    values = np.asarray(values, np.float64)
    unmoved, none = int(np.flatnonzero(shifts == 0)[0]), len(shifts)
    base, empty = values[:, unmoved], values[:, none]
    counts = (base > 0) & (base > empty)  # [images, maps]; NaN counts nowhere
    moved = shifts != 0
    estimates: dict[str, Estimate] = {"counted": mean_of(counts.mean(axis=1))}
    each: dict[str, np.ndarray] = {}  # [images, maps]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(counts[:, None], np.abs(values[:, :none] - base[:, None]), np.nan)
        change = change / values[:, :none].mean(axis=1, keepdims=True)
    each["rate_change"] = change[:, moved].mean(axis=1)
    each["rate_linear"] = np.where(counts, _share_of_line(values[:, :none], shifts), np.nan)
    by_shift = {"changed": change}
    if places is not None:
        distance = np.asarray(places, np.float64)[:, :none] - places[:, unmoved, None]
        slope = (distance * shifts[:, None]).sum(axis=1) / (shifts**2).sum()
        each["place_slope"] = np.where(counts, slope, np.nan)
        near = np.abs(distance - shifts[:, None]) <= half_cell
        each["within_half_cell"] = np.where(counts, near[:, moved].mean(axis=1), np.nan)
        stays = float((np.abs(shifts[moved]) <= half_cell).mean())
        estimates["within_half_cell_unmoved"] = Estimate(stays)
        by_shift["moved"] = np.where(counts[:, None], distance, np.nan)
    of_images = {name: _mean(numbers, 1) for name, numbers in each.items()}
    estimates |= {name: mean_of(numbers) for name, numbers in of_images.items()}
    for name, numbers in by_shift.items():
        for index, shift in enumerate(shifts.tolist()):
            estimates[f"{name}_{shift}"] = mean_of(_mean(numbers[:, index], 1))
    kept = ("place_slope", "rate_change")
    of_maps = {name: _mean(each[name], 0) for name in kept if name in each}
    return Codes(estimates, of_maps, of_images)


def gap_of(name: str, one_layer: Codes, other: Codes) -> Estimate:
    """A layer's number minus another's, on the same images."""
    return mean_of(one_layer.of_images[name] - other.of_images[name])


def _share_of_line(values: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """R2 of a straight line of values [images, shifts, maps] over the shifts; NaN where they are
    all the same but for rounding.
    """
    centred = values - values.mean(axis=1, keepdims=True)
    along = (shifts - shifts.mean())[:, None]
    squares = (centred**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = (centred * along).sum(axis=1) ** 2 / (along**2).sum()
        varies = squares > len(shifts) * (1e-6 * np.abs(values).max(axis=1)) ** 2
        return np.asarray(np.where(varies, explained / squares, np.nan))


def _mean(numbers: np.ndarray, axis: int) -> np.ndarray:
    """The mean over what is not NaN; NaN where all is."""
    known = np.isfinite(numbers)
    total, count = np.where(known, numbers, 0).sum(axis=axis), known.sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
