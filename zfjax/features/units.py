"""From the pass's statistics to the table: which units are drawn, and one row for each unit
selected. No JAX.

Selections: "top" (rank 0 is the strongest image), "fixed" (the last step's winner, at every step),
"low" (the weakest positive images) and "quantile:q". Rows of units that are not drawn have no
place: y, x and box are null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zfjax.network.architecture import Architecture

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


@dataclass
class Columns:
    """The table's columns as they grow."""

    values: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **row: Any) -> None:
        """Adds a row."""
        for name, value in row.items():
            self.values.setdefault(name, []).append(value)


def draw_maps(
    architecture: Architecture, layers: Sequence[str], count: int | None, seed: int
) -> dict[str, list[int]]:
    """A seeded uniform draw of ``count`` maps of each layer (None: all), ascending; dead ones as
    likely as others."""
    drawn = {}
    for layer in layers:
        maps = architecture.conv(layer).maps
        generator = np.random.default_rng([seed, architecture.conv_names.index(layer)])
        chosen = np.arange(maps) if count is None else generator.choice(maps, count, replace=False)
        drawn[layer] = sorted(int(index) for index in chosen)
    return drawn


def layer_columns(architecture: Architecture, layers: Sequence[str]) -> dict[str, slice]:
    """Where each layer's maps stand among the statistics' columns."""
    places, start = {}, 0
    for layer in layers:
        places[layer] = slice(start, start + architecture.conv(layer).maps)
        start += architecture.conv(layer).maps
    return places


def units_to_draw(
    top_value: np.ndarray,
    top_id: np.ndarray,
    top_place: np.ndarray,
    maps: Sequence[int],
    step: int,
    width: int,
    every_rank: bool = False,
) -> list[Unit]:
    """Units of one layer drawn at step index ``step``: rank 0; all ranks at the last step, or
    ``every_rank``.

    ``top_value``, ``top_id``, ``top_place``: [steps, k, maps of the layer], the layer's map
    ``width`` cells wide. Dead maps have none."""
    units = []
    for map_ in maps:
        for rank in range(top_value.shape[1] if every_rank or step == len(top_value) - 1 else 1):
            value = top_value[step, rank, map_]
            if value > 0:
                y, x = divmod(int(top_place[step, rank, map_]), width)
                units.append(
                    Unit("top", map_, rank, int(top_id[step, rank, map_]), float(value), y, x)
                )
    return units


def fixed_images(top_value: np.ndarray, top_id: np.ndarray, maps: Sequence[int]) -> dict[int, int]:
    """{map: image id} of the last step's winners, which are looked at again at every step."""
    return {map_: int(top_id[-1, 0, map_]) for map_ in maps if top_value[-1, 0, map_] > 0}


def selection_rows(
    selection: str, values: np.ndarray, ids: np.ndarray
) -> list[tuple[int, int, float, int]]:
    """(map, rank, activation, image id) of all entries with a positive activation; arrays are
    [ranks, maps]."""
    maps, ranks = np.nonzero((np.isfinite(values) & (values > 0) & (ids >= 0)).T)
    return [
        (int(map_), int(rank), float(values[rank, map_]), int(ids[rank, map_]))
        for map_, rank in zip(maps, ranks, strict=True)
    ]


def margin(values: np.ndarray) -> float | None:
    """(a1 - a2) / a1 of one map's descending activations [k]; None without a second positive
    one."""
    if len(values) < 2 or not values[1] > 0:
        return None
    return float((values[0] - values[1]) / values[0])


def jumped(top_value: np.ndarray, top_id: np.ndarray, step: int, map_: int) -> bool | None:
    """Whether the strongest image differs from the step before; None at the first step or after a
    dead one."""
    if step == 0 or not top_value[step - 1, 0, map_] > 0:
        return None
    return bool(top_id[step, 0, map_] != top_id[step - 1, 0, map_])


def purity(top_value: np.ndarray, labels: np.ndarray) -> float | None:
    """Share of the commonest label among a map's strongest images, averaged over live maps; None
    when all are dead.

    ``top_value``, ``labels``: [k, maps]. Images whose label is not known (negative) are left out,
    and so are maps that have no others; None when no label is known."""
    shares = []
    for map_ in range(top_value.shape[1]):
        known = labels[(top_value[:, map_] > 0) & (labels[:, map_] >= 0), map_]
        if len(known):
            shares.append(np.bincount(known).max() / len(known))
    return float(np.mean(shares)) if shares else None


def dead_share(top_value: np.ndarray) -> float:
    """Share of maps that no image excites; ``top_value``: [k, maps]."""
    return float(np.mean(~(top_value[0] > 0)))
