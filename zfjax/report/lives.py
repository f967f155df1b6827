"""What the measures know of each map, for the page's script: when it settled, what it is about, its
nearest relative, its strongest inputs. No JAX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.report.control_words import CHANCE, OTHERS, another_of, spread_of
from zfjax.report.inputs import Inputs
from zfjax.report.kit.wording import first_name, plain
from zfjax.report.payload import single
from zfjax.run.evolution import Evolution
from zfjax.run.measured import Measured

FLAGS = ("almost_dead", "dominant", "duplicate", "aliased", "clipped")
"""Of the census at its last epoch, said of a map where they hold."""
EVENTS = ("born", "died", "revived")
"""Of the census, with their epochs."""
MAJORITY = 0.5
"""Of a map's strongest images: a class that no more of them share is leant to, which is weak."""
OF_SETTLING = ("settled_epoch", "emergence")
OF_LABELS = ("top_class", "about", "purity", "adjusted_p", "selectivity", "selective_class")
OF_CENSUS = (*FLAGS, "firing", "relative", "likeness")

OF_CONTROLS = ("image_share", "swapped_map")
"""By their names in the page; a likeness to several other units takes the place of that to one."""

Facts = dict[str, Any]
"""Of one map, JSON values by name; only those that were measured."""


def layer_facts(
    measures: Mapping[str, Measured],
    inputs: Mapping[str, Inputs],
    evolution: Evolution,
    layer: str,
    maps: Sequence[int],
) -> list[Facts]:
    """Facts of each of the ``maps`` of a layer."""
    facts: list[Facts] = [{} for _ in maps]
    if "settling" in measures:
        numbers = _last(measures["settling"], OF_SETTLING, layer)
        for map_, of_map in zip(maps, facts, strict=True):
            settled, emerged = (_number(numbers[name], map_) for name in OF_SETTLING)
            of_map |= {"settled": settled, "emerged": emerged}
    if "census" in measures:
        census = measures["census"]
        numbers, events = _last(census, OF_CENSUS, layer), layer_events(census, layer)
        for map_, of_map in zip(maps, facts, strict=True):
            own = [[name, epoch] for name, epoch, of in events if of == map_]
            of_map |= {"events": own, **_counted(numbers, map_)}
    if "labels" in measures:
        labels = measures["labels"]
        numbers, counts = _last(labels, OF_LABELS, layer), counted(labels, layer, labels.steps[-1])
        strongest = strongest_labels(labels, evolution, layer)
        for map_, of_map in zip(maps, facts, strict=True):
            of_map["about"] = {**_about(labels, numbers, map_), "count": counts.words(map_)}
            label = strongest.get(map_)
            other = label is not None and label != _number(numbers["top_class"], map_)
            of_map["about"]["strongest"] = class_name(labels, label) if other else None
    if "controls" in measures:
        controls = measures["controls"]
        partners = controls.of_layer("partners", layer).get(controls.steps[-1])
        numbers = _last(controls, (*OF_CONTROLS, OTHERS), layer)
        for map_, of_map in zip(maps, facts, strict=True):
            of_map |= {name: _number(numbers[name], map_) for name in OF_CONTROLS}
            if partners is not None and of_map["image_share"] is not None:
                several = {"image_share": _number(numbers[OTHERS], map_), "partners": int(partners)}
                of_map |= several
    for map_, of_map in zip(maps, facts, strict=True):
        if layer in inputs:
            of_map["inputs"] = [
                [feed.map, round(feed.share, 4), round(feed.balance, 3)]
                for feed in inputs[layer].strongest.get(map_, ())
            ]
    return facts


def layer_likeness(measures: Mapping[str, Measured], layer: str) -> str:
    """What stands beside a map's likeness to another unit's picture: its layer's, and chance; ""
    where that is not known.
    """
    if "controls" not in measures:
        return ""
    another, chance = (
        spread_of(measures["controls"], name, layer)
        for name in (another_of(measures["controls"]), CHANCE)
    )
    words = ""
    if another is not None:
        quartiles = f"quartiles {another.low:.2f} to {another.high:.2f}"
        words += f"; the layer's median {another.median:.2f}, {quartiles}"
    return words + (f"; chance {chance.median:.2f}" if chance is not None else "")


def layer_events(census: Measured, layer: str) -> list[tuple[str, float, int]]:
    """(what happened, epoch, map) in a layer, by epoch, then map."""
    epochs = dict(zip(census.steps, census.epochs, strict=True))
    events = [
        (name, epochs[step], int(map_))
        for name in EVENTS
        for step, flags in census.of_maps(name, layer).items()
        for map_ in np.flatnonzero(flags == 1)
    ]
    return sorted(events, key=_when)


def _when(event: tuple[str, float, int]) -> tuple[float, int]:
    return event[1], event[2]


def class_name(labels: Measured, number: float | None) -> str | None:
    """The name of a class of the measure labels; its number where there are no names. Of a list of
    synonyms ("backpack, back pack, knapsack") the first alone, where no other class begins so.
    """
    if number is None or not math.isfinite(number):
        return None
    names = [str(name) for name in labels.meta.get("class_names") or ()]
    index = int(number)
    if not 0 <= index < len(names):
        return f"class {index}"
    return plain(first_name(names, index), 60)


@dataclass(frozen=True)
class Counted:
    """Of a layer's maps at one epoch: arrays [maps], NaN where a map is dead."""

    images: np.ndarray
    """Of the commonest class, among a map's strongest images."""
    among: np.ndarray
    """How many these are."""

    def words(self, map_: int) -> str:
        """ "5 of 9"; "" where it was not measured."""
        if map_ >= len(self.images) or not math.isfinite(self.images[map_] + self.among[map_]):
            return ""
        return f"{self.images[map_]:.0f} of {self.among[map_]:.0f}"

    def majority(self, map_: int) -> bool:
        """Whether more than half of them are of it."""
        return bool(self.images[map_] > MAJORITY * self.among[map_])


def counted(labels: Measured, layer: str, step: int) -> Counted:
    """How pure maps are, in images."""
    images = labels.of_maps("top_class_images", layer).get(step, np.zeros(0))
    purity = labels.of_maps("purity", layer).get(step, np.zeros(0))
    if len(images) != len(purity):
        return Counted(np.zeros(0), np.zeros(0))
    undefined = np.full(len(images), np.nan)
    return Counted(images, np.divide(images, purity, out=undefined, where=purity > 0))


def strongest_labels(labels: Measured, evolution: Evolution, layer: str) -> dict[int, int]:
    """By map, the label of its strongest image at the labels' last epoch, as the evolution has it,
    drawn or not. {} where that is of other data, or does not show that epoch.
    """
    asked: Mapping[str, object] = labels.meta.get("asked") or {}
    data = asked.get("fingerprint")
    ours = evolution.record.fingerprint
    if not isinstance(data, Mapping) or data.get("name") != ours.get("name"):
        return {}
    step = labels.steps[-1]
    if layer not in evolution.layers or step not in evolution.steps:
        return {}
    rows = evolution.rows(step=step, layer=layer, selection="top", rank=0)
    return {row["map"]: row["label"] for row in rows if row["label"] is not None}


def _counted(numbers: Mapping[str, np.ndarray], map_: int) -> Facts:
    relative = _number(numbers["relative"], map_)
    likeness = _number(numbers["likeness"], map_)
    flags = [name.replace("_", " ") for name in FLAGS if _number(numbers[name], map_) == 1]
    return {
        "flags": flags,
        "firing": _number(numbers["firing"], map_),
        "relative": None if relative is None else [int(relative), likeness],
    }


def _about(labels: Measured, numbers: Mapping[str, np.ndarray], map_: int) -> Facts:
    """Its commonest class, whether chance would give as much, and how sure that is."""
    return {
        "class": class_name(labels, _number(numbers["top_class"], map_)),
        "sure": _number(numbers["about"], map_) == 1,
        "purity": _number(numbers["purity"], map_),
        "p": _number(numbers["adjusted_p"], map_),
        "selectivity": _number(numbers["selectivity"], map_),
        "selective": class_name(labels, _number(numbers["selective_class"], map_)),
    }


def _last(measured: Measured, names: Sequence[str], layer: str) -> dict[str, np.ndarray]:
    """A layer's numbers by map at the last step measured, by quantity."""
    nothing = np.zeros(0)
    return {name: measured.of_maps(name, layer).get(measured.steps[-1], nothing) for name in names}


def _number(values: np.ndarray, map_: int) -> float | None:
    """None where it is undefined."""
    if map_ >= len(values) or not math.isfinite(values[map_]):
        return None
    return single(float(values[map_]))
