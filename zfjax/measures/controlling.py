"""The controls of projections: which units are asked instead, by which parameters, and how alike
two projections are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet, drawing
from zfjax.features.asking import changed_steps
from zfjax.features.statistics import priorities_of
from zfjax.features.units import Unit
from zfjax.measures.protocol import Looked
from zfjax.measures.similarity import standard_ranks
from zfjax.network.layers import Layer
from zfjax.network.model import Parameters
from zfjax.network.ops import rule_named
from zfjax.run.evolution import Evolution, open_evolution
from zfjax.run.folder import evolution_folder
from zfjax.subject import Subject


def cosine_within(own: np.ndarray, other: np.ndarray, box: np.ndarray) -> float:
    """Cosine of two tiles [height, width, 3] over the pixels of ``box`` (bool [height, width]); NaN
    where one is zero.
    """
    a, b = (np.asarray(tile, np.float64)[box].ravel() for tile in (own, other))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.clip(a @ b / lengths, -1, 1)) if lengths else float("nan")


def spearman_within(own: np.ndarray, other: np.ndarray, box: np.ndarray) -> float:
    """Spearman's correlation of the magnitudes of two tiles, likewise; NaN where one is the same
    everywhere.
    """
    magnitudes = np.stack([np.abs(tile)[box].ravel() for tile in (own, other)], axis=1)
    ranks = standard_ranks(magnitudes)
    return float(ranks[:, 0] @ ranks[:, 1])


def box_within(layer: Layer, unit: Unit, input_size: tuple[int, int]) -> np.ndarray:
    """Which pixels of a unit's tile lie in its receptive field and in the image: bool [height,
    width].
    """
    if layer.window is None:
        return np.ones(layer.tile_size, bool)
    y0, x0, y1, x1 = layer.window.box(unit.y, unit.x)
    inside = []
    for tile, extent, begin, end in zip(
        layer.tile_size, input_size, (y0, x0), (y1, x1), strict=True
    ):
        pixels = np.arange(tile) + (begin if tile < extent else 0)
        inside.append((pixels >= max(begin, 0)) & (pixels < min(end, extent)))
    return inside[0][:, None] & inside[1]


@dataclass(frozen=True)
class ControlledUnits:
    """Strongest units of one layer at one step, with their controls."""

    maps: np.ndarray
    """int [n]."""
    tiles: Mapping[str, np.ndarray]
    """Float32 [n, height, width, 3] by control; "own" is the unit's projection itself. A signal of
    1 each.
    """
    boxes: tuple[np.ndarray, ...]
    """As ``box_within``."""
    swapped: np.ndarray | None = None
    """int [n]: which map is asked in the place of each; None where no two are alive."""
    others: Iterable[np.ndarray] = ()
    """Tiles likewise of further maps asked there: as many of each as ``Controls.partners`` says, or
    all that live; projected as they are asked for, once.
    """


@dataclass(frozen=True)
class Controls:
    """What the controls of a run are made of; see ``controls_of``."""

    subject: Subject
    evolution: Evolution
    layers: tuple[str, ...]
    """That have some, in forward order."""
    maps: int
    seed: int
    partners: int
    """Other maps asked in the place of each."""
    initial: Parameters | None
    """Of the network before training; None where that is not known."""
    anew: Parameters | None
    """Drawn from the initialiser with another seed; None likewise."""

    def at(self, step: int, layer: str) -> ControlledUnits:
        """The units of that layer and step, projected with all controls."""
        return _controlled(self, step, layer)


def controls_of(
    looked: Looked, evolution_name: str | None, maps: int, seed: int, partners: int
) -> Controls:
    """The controls of a finished evolution's units. Raises ZfjaxError where there is none, and
    where it is of other images or checkpoints than are looked at.
    """
    if looked.home is None:
        raise ZfjaxError("The measure controls reads an evolution, and no folder is known here.")
    evolution = open_evolution(evolution_folder(looked.home, evolution_name))
    subject, record = looked.subject, evolution.record
    images = subject.need("images", "The measure controls").of_split(record.split)
    subject = replace(subject, images=images)
    steps = [step for step in looked.steps if step in evolution.steps]
    if not steps:
        raise ZfjaxError(
            f"{evolution.folder} shows none of the epochs that are asked for; evolve them first, or"
            " ask for others with --at."
        )
    checkpoints = {"checkpoints": subject.checkpoints(steps)}
    if record.fingerprint["digest"] != subject.fingerprint["digest"] or changed_steps(
        record.asked, checkpoints
    ):
        raise ZfjaxError(
            f"{evolution.folder} is of other images or checkpoints than are there now; evolve again"
            " under another --name, and name it with --controls.evolution."
        )
    first = subject.network.sequence[0].name
    layers = tuple(name for name in looked.layers if name in evolution.layers and name != first)
    return Controls(subject, evolution, layers, maps, seed, partners, *_untrained(looked))


def _untrained(looked: Looked) -> tuple[Parameters | None, Parameters | None]:
    """Parameters before training, and others drawn anew."""
    subject = looked.subject
    own = None if looked.run is None else looked.run.config.seed
    before = None
    if subject.steps[0] == 0:
        before = subject.parameters(0)
    elif own is not None and subject.initial is not None:
        before = subject.initial(own)
    other = 1 if own == 0 else 0
    return before, None if subject.initial is None else subject.initial(other)


def _controlled(controls: Controls, step: int, name: str) -> ControlledUnits:
    subject, evolution = controls.subject, controls.evolution
    layer = subject.layer(name)
    rows = evolution.rows(step=step, layer=name, selection="top", rank=0)
    chosen = evolution.maps(name)[: controls.maps]
    own = [
        Unit("own", row["map"], 0, row["image_id"], row["activation"], row["y"], row["x"])
        for row in rows
        if row["map"] in chosen
    ]
    own.sort(key=lambda unit: unit.map)
    maps = np.array([unit.map for unit in own], np.int64)
    boxes = tuple(box_within(layer, unit, subject.network.input_size) for unit in own)
    if not own:
        return ControlledUnits(maps, {"own": np.zeros((0, *layer.tile_size, 3))}, boxes)
    way = deconvnet.way_of(subject.network, name, rule_named(evolution.record.rule))
    parameters = jax.device_put(subject.parameters(step))

    def project(tree: Any, units: Sequence[Unit]) -> np.ndarray:
        drawn = drawing.project_units(subject, tree, way, units, seed=1.0)
        return np.stack([tile.projection for _, tile, _ in drawn])

    live = [row["map"] for row in rows]
    every = sorted({row["image_id"] for row in evolution.rows(step=step, layer=name)})
    choose = _Choice(controls.seed, list(subject.layers).index(name))
    partners = [choose.others(unit, live, "map")[: controls.partners] for unit in own]
    swapped = [replace(unit, map=choose.other(unit, live, "map")) for unit in own]
    elsewhere = [replace(unit, image_id=choose.other(unit, every, "image_id")) for unit in own]
    tiles = {"own": project(parameters, own)}
    if len(live) > 1:
        tiles["swapped"] = project(parameters, swapped)
    if len(every) > 1:
        tiles["switches"] = project(parameters, elsewhere)
    if len(live) > 1 and len(every) > 1:
        both = [
            replace(unit, image_id=other.image_id)
            for unit, other in zip(swapped, elsewhere, strict=True)
        ]
        tiles["two_images"] = project(parameters, both)
    if controls.initial is not None:
        tiles["initial"] = project(controls.initial, own)
    if controls.anew is not None:
        downwards = list(subject.layers)[: list(subject.layers).index(name) + 1][::-1]
        mixed = dict(parameters)
        for depth, below in enumerate(downwards, start=1):
            mixed = {**mixed, below: controls.anew[below]}
            tiles[f"randomised_{depth}"] = project(mixed, own)
    if len(live) < 2:
        return ControlledUnits(maps, tiles, boxes)
    further = (
        project(parameters, [replace(unit, map=map_) for unit, map_ in zip(own, each, strict=True)])
        for each in list(zip(*partners, strict=True))[1:]  # the first is the one swapped
    )
    return ControlledUnits(maps, tiles, boxes, np.array([unit.map for unit in swapped]), further)


@dataclass(frozen=True)
class _Choice:
    """Seeded choices that stay the same from epoch to epoch as far as what is chosen from does: of
    all that there is to choose, what a scrambling puts first.
    """

    seed: int
    layer: int

    def other(self, unit: Unit, among: Sequence[int], what: str) -> int:
        """One of ``among`` that is not the unit's own map or image ("map", "image_id"); its own
        where there is no other.
        """
        return next(iter(self.others(unit, among, what)), int(getattr(unit, what)))

    def others(self, unit: Unit, among: Sequence[int], what: str) -> list[int]:
        """All of them, the first to be chosen first."""
        own = getattr(unit, what)
        others = np.array(sorted(set(among) - {own}), np.uint32)
        seed = (self.seed * 1009 + self.layer) * 65537 + unit.map
        return [
            int(each) for each in others[np.argsort(priorities_of(others, seed), kind="stable")]
        ]
