"""From the pass's statistics to what is drawn and said: units, margins, jumps, purity. No JAX.

Selections: "top" (rank 0 is the strongest image), "fixed" (the last step's winner, at every step),
"low" (the weakest positive images) and "quantile:q". Of the last two, rows of units that are not
drawn have no place: y, x and box are null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from zfjax.features.statistics import Statistics
from zfjax.network.layers import Layer

QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Unit:
    """A unit to draw: its selection and rank in (step, layer, map), on one image."""

    selection: str
    map: int
    rank: int
    image_id: int
    activation: float
    """The map's maximum over the image, as the search found it."""
    y: int
    x: int


@dataclass(frozen=True)
class Top:
    """The strongest images of one layer's maps, at every step: arrays [steps, k, maps]."""

    value: Float32[np.ndarray, "steps k maps"]
    id: Int64[np.ndarray, "steps k maps"]
    flat: Int32[np.ndarray, "steps k maps"]
    """y * width + x."""

    def unit_on(self, layer: Layer, step_index: int, map_: int, image_id: int) -> Unit | None:
        """A map's fixed unit on this image, silent or not, where the image is one of these."""
        ranks = np.flatnonzero(self.id[step_index, :, map_] == image_id)
        if not len(ranks):
            return None
        where = step_index, ranks[0], map_
        y, x = layer.place(int(self.flat[where]))
        return Unit("fixed", map_, 0, image_id, float(self.value[where]), y, x)


@dataclass(frozen=True)
class Chosen:
    """What is drawn of a search's results."""

    top: Mapping[str, Top]
    """By layer, all maps."""
    maps: Mapping[str, list[int]]
    """The drawn maps of each layer."""
    fixed: Sequence[Mapping[str, list[Unit]]]
    """The fixed units by step and layer."""
    others: Sequence[Mapping[str, list[Unit]]] = ()
    """By step and layer, the units of the selections that were asked for besides; empty for none.
    """


def draw_maps(
    layers: Mapping[str, Layer], names: Sequence[str], count: int | None, seed: int
) -> dict[str, list[int]]:
    """A seeded uniform draw of ``count`` maps of each named layer, ascending; dead ones as likely
    as others. None, or more than a layer has: all. ``layers``: all that there are, in forward
    order: a layer's maps do not depend on which others are asked for.
    """
    drawn = {}
    for name in names:
        maps = layers[name].maps
        generator = np.random.default_rng([seed, list(layers).index(name)])
        every = count is None or count >= maps
        chosen = np.arange(maps) if every else generator.choice(maps, count, replace=False)
        drawn[name] = sorted(int(index) for index in chosen)
    return drawn


def layer_columns(layers: Mapping[str, Layer], names: Sequence[str]) -> dict[str, slice]:
    """Where each named layer's maps stand among the statistics' columns."""
    columns, start = {}, 0
    for name in names:
        columns[name] = slice(start, start + layers[name].maps)
        start += layers[name].maps
    return columns


def strongest_of(statistics: Statistics, spans: Mapping[str, slice]) -> dict[str, Top]:
    """By layer, its strongest images. ``spans``: as ``layer_columns`` gives them."""
    arrays = statistics.top_value, statistics.top_id, statistics.top_place
    return {name: Top(*(array[..., span] for array in arrays)) for name, span in spans.items()}


def placed_of(statistics: Statistics, spans: Mapping[str, slice]) -> dict[str, Top]:
    """By layer, all images where the search knows a map's place: the strongest, then the one that
    it has followed, which may be one of them.
    """
    fixed = statistics.fixed_value, statistics.fixed_id, statistics.fixed_place
    return {
        name: Top(
            *(
                np.concatenate([ranked, followed[:, None, spans[name]]], axis=1)
                for ranked, followed in zip((top.value, top.id, top.flat), fixed, strict=True)
            )
        )
        for name, top in strongest_of(statistics, spans).items()
    }


def units_to_draw(
    top: Top, layer: Layer, maps: Sequence[int], step_index: int, ranks: int
) -> list[Unit]:
    """The ``ranks`` strongest units of these maps at one step. Dead maps have none."""
    units = []
    for map_ in maps:
        for rank in range(ranks):
            value = top.value[step_index, rank, map_]
            if value > 0:
                y, x = layer.place(int(top.flat[step_index, rank, map_]))
                image_id = int(top.id[step_index, rank, map_])
                units.append(Unit("top", map_, rank, image_id, float(value), y, x))
    return units


def fixed_images(top: Top, maps: Sequence[int]) -> dict[int, int]:
    """{map: image id} of the last step's winners, which are looked at again at every step."""
    return {map_: int(top.id[-1, 0, map_]) for map_ in maps if top.value[-1, 0, map_] > 0}


def margins(values: Float32[np.ndarray, "k maps"]) -> np.ma.MaskedArray:
    """(a1 - a2) / a1 of each map's descending activations, float32 [maps]; masked without a second
    positive one.
    """
    if len(values) < 2:
        return np.ma.masked_all(values.shape[1], np.float32)
    known = values[1] > 0
    first, second = np.where(known, values[0], 1), np.where(known, values[1], 0)
    return np.ma.array((first - second) / first, np.float32, mask=~known)


def jumped(top: Top, step_index: int) -> np.ma.MaskedArray:
    """Whether each map's strongest image differs from the step before, bool [maps]; masked at the
    first step and after a dead one.
    """
    if step_index == 0:
        return np.ma.masked_all(top.id.shape[2], bool)
    known: Bool[np.ndarray, " maps"] = top.value[step_index - 1, 0] > 0
    return np.ma.array(top.id[step_index, 0] != top.id[step_index - 1, 0], bool, mask=~known)


def purity(
    top_value: Float32[np.ndarray, "k maps"], labels: Int64[np.ndarray, "k maps"]
) -> float | None:
    """Share of the commonest label among a map's strongest images, averaged over live maps; None
    when all are dead.

    Images whose label is not known (negative) are left out,
    and so are maps that have no others; None when no label is known.
    """
    shares = []
    for map_ in range(top_value.shape[1]):
        known = labels[(top_value[:, map_] > 0) & (labels[:, map_] >= 0), map_]
        if len(known):
            shares.append(np.bincount(known).max() / len(known))
    return float(np.mean(shares)) if shares else None


def dead_share(top_value: Float32[np.ndarray, "k maps"]) -> float:
    """Share of maps that no image excites."""
    return float(np.mean(~(top_value[0] > 0)))
