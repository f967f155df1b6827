"""How each number of the paper's statements is read from a run's measures and its evolution. No
JAX.

A reader takes ``Saved`` and gives a ``Reading``; it raises ``Lacking`` where the run has not what
it reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pyarrow.compute as pc

from zfjax.errors import ZfjaxError
from zfjax.measures.verdicts import Ends
from zfjax.run.evolution import Evolution
from zfjax.run.measured import Measured
from zfjax.studies.paper_numbers import OF_CORRELATIONS, OF_SHARES, Reading, of_two, of_values

EVOLUTION = "evolution"
NEEDED = {"rotation_gap": ": it is of the true class, so it needs class scores and labelled images"}
"""By quantity, what of the network or the images it stands or falls with."""
Reader = Callable[["Saved"], Reading]


class Lacking(ZfjaxError):
    """A run has not what a statement needs; the text says why."""


@dataclass(frozen=True)
class Saved:
    """What one run has, and why not the rest."""

    measures: Mapping[str, Measured] = field(default_factory=dict)
    evolution: Evolution | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    """By measure that was tried, or EVOLUTION."""

    def measured(self, name: str) -> Measured:
        """That measure. Raises Lacking."""
        if name not in self.measures:
            raise Lacking(self.errors.get(name, ""))
        return self.measures[name]

    def evolved(self) -> Evolution:
        """The evolution. Raises Lacking."""
        if self.evolution is None:
            raise Lacking(self.errors.get(EVOLUTION, ""))
        return self.evolution


def layers_of(measured: Measured, quantity: str) -> list[str]:
    """The layers that have it, from the image up, fully connected ones last: as the table has
    them.
    """
    table = measured.table.filter(pc.equal(measured.table["quantity"], quantity))
    return [name for name in dict.fromkeys(table["layer"].to_pylist()) if name is not None]


def quantity(
    measure: str,
    name: str,
    where: str | None = None,
    over: str = "images",
    limits: Ends = (-math.inf, math.inf),
) -> Reader:
    """A reader of a quantity at the last step. ``where``: "deepest" convolution, "top" layer of
    all, "first"; None: the whole network's. ``limits``: between which it lies.
    """

    def read(saved: Saved) -> Reading:
        measured = saved.measured(measure)
        layer = layer_at(measured, name, where)
        note = "" if layer is None else f"Of {layer}."
        return replace(last_row(measured, name, layer, over, note), limits=limits)

    return read


def _in(layer: str, note: str) -> str:
    return f"Of {layer}. {note}".strip()


def layer_at(measured: Measured, name: str, where: str | None) -> str | None:
    """The layer that ``where`` means for that quantity, as in ``quantity``. Raises Lacking where no
    layer has it.
    """
    if where is None:
        return None
    layers = layers_of(measured, name)
    if not layers:
        raise Lacking(f"{measured.name} says nothing of {name}.")
    if where == "deepest":
        deepest = [layer for layer in layers if layer in measured.layers]
        return (deepest or layers)[-1]
    return layers[0 if where == "first" else -1]


def last_row(
    measured: Measured, name: str, layer: str | None, over: str, note: str = ""
) -> Reading:
    """A quantity of a layer (None: of the whole network) at the last step. Raises Lacking."""
    table = measured.table
    mask = pc.and_(pc.equal(table["quantity"], name), pc.is_null(table["map"]))
    of_layer = pc.is_null(table["layer"]) if layer is None else pc.equal(table["layer"], layer)
    rows: list[dict[str, Any]] = table.filter(pc.and_(mask, of_layer)).to_pylist()
    if not rows:
        raise Lacking(f"{measured.name} says nothing of {name}{NEEDED.get(name, '')}.")
    row = max(rows, key=lambda item: item["step"])
    if row["value"] is None:
        return Reading(
            math.nan, n=row["n"], over=over, note=f"{note} It is undefined here.".strip()
        )
    return Reading(row["value"], row["low"], row["high"], row["n"], over, note)


def _of_maps(measured: Measured, name: str, layer: str) -> np.ndarray:
    by_step = measured.of_maps(name, layer)
    if not by_step:
        raise Lacking(f"{measured.name} says nothing of {name}.")
    return by_step[max(by_step)]


HALF = 0.5
"""The bar for "another picture" and for "undoes": a cosine is never above 1, and the least of many
never above the first, so that against these nothing could fail.
"""
LESS_A_COSINE = (HALF - 1, HALF + 1)
"""Limits of HALF minus a cosine."""


def switches_matter(saved: Saved) -> Reading:
    """HALF minus the likeness of a projection to the same unit's by another image's switches."""
    controls = saved.measured("controls")
    layer = str(layer_at(controls, "cosine_switches", "deepest"))
    likeness = _of_maps(controls, "cosine_switches", layer)
    note = f"The cosine is {np.nanmean(likeness):.2f} in the mean over maps."
    return of_values(HALF - likeness, note=_in(layer, note), limits=LESS_A_COSINE)


def unit_matters(saved: Saved) -> Reading:
    """HALF minus the likeness to another unit's projection on the same image."""
    controls = saved.measured("controls")
    layer = str(layer_at(controls, "image_share", "deepest"))
    share = _of_maps(controls, "image_share", layer)
    note = (
        f"The cosine is {np.nanmean(share):.2f} in the mean over maps,"
        f" {np.nanmedian(share):.2f} in the median."
    )
    return of_values(HALF - share, note=_in(layer, note), limits=LESS_A_COSINE)


def answer_undone(saved: Saved) -> Reading:
    """What the true class's probability loses under the worst square, less HALF."""
    row = last_row(saved.measured("occlusion"), "probability_drop", None, "images")
    low, high = (None if end is None else end - HALF for end in (row.low, row.high))
    note = f"The probability falls by {row.value:.2f}; {HALF:g} is the bar. {row.note}".strip()
    return Reading(row.value - HALF, low, high, row.n, note=note, limits=(-HALF, 1 - HALF))


def grouping(saved: Saved) -> Reading:
    """Purity of the maps' strongest images above that of random ones, in the deepest layer."""
    labels = saved.measured("labels")
    layer = labels.layers[-1]
    chance = last_row(labels, "chance_purity", None, "maps").value
    purity = _of_maps(labels, "purity", layer)
    note = f"Purity {np.nanmean(purity):.0%} beside {chance:.0%} by chance."
    return of_values(purity - chance, note=_in(layer, note), limits=(-chance, 1 - chance))


def class_specific(saved: Saved) -> Reading:
    """Purity in the deepest layer minus that in the first."""
    labels = saved.measured("labels")
    first, last = labels.layers[0], labels.layers[-1]
    if first == last:
        raise Lacking("The measure labels has one layer alone.")
    reading = of_two(_of_maps(labels, "purity", last), _of_maps(labels, "purity", first))
    purities = [np.nanmean(_of_maps(labels, "purity", layer)) for layer in (last, first)]
    note = f"{last} {purities[0]:.0%}, {first} {purities[1]:.0%}."
    return replace(reading, note=note, limits=OF_SHARES)


def patches_vary(saved: Saved) -> Reading:
    """How alike a map's strongest patches are in the first layer minus the same in the deepest."""
    evolution = saved.evolved()
    first, last = evolution.layers[0], evolution.layers[-1]
    if first == last:
        raise Lacking("The evolution has one layer alone.")
    alike = {layer: _likeness(evolution, layer) for layer in (first, last)}
    reading = of_two(alike[first][1], alike[last][1])
    means = [np.nanmean(alike[layer][1]) for layer in (first, last)]
    words = f"Mean correlation of pixels: {first} {means[0]:.2f}, {last} {means[1]:.2f}."
    return replace(reading, note=words, limits=OF_CORRELATIONS)


def projections_agree(saved: Saved) -> Reading:
    """How alike a map's projections are minus how alike its patches are, in the deepest layer."""
    evolution = saved.evolved()
    layer = evolution.layers[-1]
    projections, patches = _likeness(evolution, layer)
    note = f"Correlation {np.nanmean(projections):.2f} beside {np.nanmean(patches):.2f}."
    return of_values(projections - patches, note=_in(layer, note), limits=OF_CORRELATIONS)


def _likeness(evolution: Evolution, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean correlation among a map's strongest images at the last epoch: of the magnitudes of
    their projections, and of the contrast of their patches (distance from the patch's mean
    colour), so that both are maps of how much there is where; float64 [maps] each, NaN for maps
    with fewer than two.
    """
    tiles = evolution.tiles(layer, evolution.steps[-1])
    by_map: dict[int, list[Any]] = {}
    for (selection, map_, _), tile in sorted(tiles.items()):
        if selection == "top":
            by_map.setdefault(map_, []).append(tile)
    means = []
    for shown in by_map.values():
        projections = [np.abs(tile.projection).sum(axis=-1) for tile in shown]
        patches = [_contrast(tile.patch) for tile in shown]
        means.append([_mean_correlation(projections), _mean_correlation(patches)])
    array = np.asarray(means, np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _contrast(patch: np.ndarray) -> np.ndarray:
    pixels = patch.astype(np.float64)
    return np.abs(pixels - pixels.mean(axis=(0, 1))).sum(axis=-1)


def _mean_correlation(pictures: list[np.ndarray]) -> float:
    pairs = [correlation(*pair) for pair in combinations(pictures, 2)]
    known = [value for value in pairs if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's, over all numbers of both; NaN where one is constant."""
    x, y = (np.asarray(each, np.float64).ravel() for each in (first, second))
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size else math.nan


def jumps_are_images(saved: Saved) -> Reading:
    """How alike a map's projections of neighbouring epochs are where its strongest image stays,
    minus the same where it changes; a map's own difference, over the maps that have both.
    """
    evolution = saved.evolved()
    if len(evolution.steps) < 2:
        raise Lacking("A jump is from one epoch to the next, and the evolution has one alone.")
    differences = []
    for layer in evolution.layers:
        jumped = {
            (row["step"], row["map"]): row["jumped"]
            for row in evolution.rows(layer=layer, selection="top", rank=0)
        }
        pictures = {step: evolution.tiles(layer, step) for step in evolution.steps}
        for map_ in evolution.maps(layer):
            alike: dict[bool, list[float]] = {True: [], False: []}
            for before, step in pairwise(evolution.steps):
                two = [pictures[each].get(("top", map_, 0)) for each in (before, step)]
                changed = jumped.get((step, map_))
                if changed is not None and two[0] is not None and two[1] is not None:
                    value = correlation(two[0].projection, two[1].projection)
                    if math.isfinite(value):
                        alike[bool(changed)].append(value)
            if alike[True] and alike[False]:
                differences.append(float(np.mean(alike[False]) - np.mean(alike[True])))
    note = "Correlation of projections of neighbouring epochs."
    if not differences:
        note += " No map drawn has both an image that stays and one that changes."
    return of_values(differences, note=note, limits=OF_CORRELATIONS)


FAMILIES = ("responses", "representation", "rewind")


def lower_first(saved: Saved) -> Reading:
    """Slope of settling time on depth, by three kinds of evidence that have to agree."""
    settling = saved.measured("settling")
    parts = {}
    for family in FAMILIES:
        reading = last_row(settling, f"{family}_slope", None, "images")
        parts[family] = reading
    first = parts[FAMILIES[0]]
    said = "; ".join(f"by {name} {slope_words(each)}" for name, each in parts.items())
    note = "Epochs later for each layer of depth, by three kinds of evidence that have to agree:"
    note += f" {said}. The number is that of responses. A slope is of all layers: whether it stands"
    note += " without the first, and which pairs are turned, the evolution's page says."
    note += f" The learning rate: {settling.meta.get('schedule')}."
    return Reading(first.value, first.low, first.high, first.n, "images", note, parts)


def slope_words(reading: Reading) -> str:
    """ "+0.06 [−0.04, +0.16]"."""
    if not math.isfinite(reading.value):
        return "not measured"
    ends = f" [{reading.low:+.2f}, {reading.high:+.2f}]" if reading.known else ""
    return f"{reading.value:+.2f}{ends}".replace("-", "−")


def settles_beyond(where: str, share: float) -> Reader:
    """A reader of the settling time of a layer's responses ("first" or "deepest") less a share of
    the training, in epochs.
    """

    def read(saved: Saved) -> Reading:
        settling = saved.measured("settling")
        layer = str(layer_at(settling, "responses_time", where))
        whole, bar = settling.epochs[-1], share * settling.epochs[-1]
        row = last_row(settling, "responses_time", layer, "images")
        note = f"{layer} settles at {row.value:.2f} of {whole:g} epochs; {bar:g} is the bar."
        low, high = (None if end is None else end - bar for end in (row.low, row.high))
        limits = (-bar, whole - bar)
        return Reading(row.value - bar, low, high, row.n, note=note, limits=limits)

    return read


def gap_shrinks(saved: Saved) -> Reading:
    """What parts differ from random places in the top layer, less the same in the deepest maps."""
    correspondence = saved.measured("correspondence")
    layers = [str(layer_at(correspondence, "gap", where)) for where in ("top", "deepest")]
    if layers[0] == layers[1]:
        raise Lacking("The measure correspondence has no hidden layer above the feature maps.")
    top, deepest = (last_row(correspondence, "gap", layer, "images") for layer in layers)
    value, note = top.value - deepest.value, f"{layers[0]} {top.value:+.3f}, {layers[1]} "
    note = f"{note}{deepest.value:+.3f}".replace("-", "−")
    note += "; the interval takes the two for independent."
    if not (top.known and deepest.known):
        return Reading(value, n=top.n, note=note, limits=OF_CORRELATIONS)
    half = math.hypot(top.half, deepest.half)
    ends = value - half, value + half
    return Reading(value, *ends, top.n, note=note, limits=OF_CORRELATIONS)
