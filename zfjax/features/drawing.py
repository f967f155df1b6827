"""Units to tiles: decode the images they lie on, find the fixed ones, project, reproduce each
activation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Float32, Int, UInt8

from zfjax.devices import one_behind
from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet, sharing, strongest, units
from zfjax.features.asking import Request
from zfjax.features.deconvnet import Places, Way
from zfjax.features.selections import ALWAYS
from zfjax.features.units import Chosen, Top, Unit
from zfjax.inputs import Preparation
from zfjax.network.layers import Layer
from zfjax.network.model import Parameters
from zfjax.network.ops import rule_named
from zfjax.progress import Progress
from zfjax.run.evolution_files import Tile, tiles_folder, write_tiles
from zfjax.subject import Subject

TOLERANCE = 1e-5
"""Relative difference allowed between a recorded activation and its reproduction."""


def fixed_units(
    subject: Subject,
    request: Request,
    fixed: Mapping[str, Mapping[int, int]],
    seen: Mapping[str, Top],
) -> list[dict[str, list[Unit]]]:
    """The fixed units by step and layer, by map: where each map is strongest on its image; none
    where it is silent there. ``fixed``: {layer: {map: image id}}. ``seen``: what the search knows,
    whatever its ranks; what it does not know is looked at again.
    """
    units_of: list[dict[str, list[Unit]]] = []
    unknown: list[Wanted] = []
    for step_index in range(len(request.steps)):
        units_of.append({})
        unknown.append({})
        for name, chosen in fixed.items():
            known = {
                map_: unit
                for map_, image_id in chosen.items()
                if (unit := seen[name].unit_on(subject.layer(name), step_index, map_, image_id))
            }
            units_of[-1][name] = list(known.values())
            unknown[-1][name] = {m: i for m, i in chosen.items() if m not in known}
    for of_step, again in zip(units_of, look_again(subject, request, unknown), strict=True):
        for name, looked in again.items():
            both = (unit for unit in (*of_step[name], *looked) if unit.activation > 0)
            of_step[name] = sorted(both, key=lambda unit: unit.map)
    return units_of


Wanted = dict[str, dict[int, int]]
"""{layer: {map: image id}}."""


def look_again(
    subject: Subject, request: Request, wanted: Sequence[Wanted]
) -> list[dict[str, list[Unit]]]:
    """The fixed units that are ``wanted`` at each step, in any order.

    Every step of a batch of images, then the next batch: so that each image is decoded and sent to
    the device once, however many steps there are.
    """
    images = subject.need("images", "Drawing")
    ids_of = [{i for chosen in each.values() for i in chosen.values()} for each in wanted]
    ids = sorted(set().union(*ids_of))
    columns = units.layer_columns(subject.layers, request.layers)
    again: list[dict[str, list[Unit]]] = [
        {name: [] for name in request.layers} for _ in request.steps
    ]
    batch_size = strongest.search_batch(subject.network)

    def dispatched() -> Iterator[tuple[int, list[int], tuple[Array, Array]]]:
        for start in range(0, len(ids), batch_size):
            batch_ids = ids[start : start + batch_size]
            padded = batch_ids + [batch_ids[-1]] * (batch_size - len(batch_ids))
            inputs = subject.prepare(images.views(padded))
            for step_index, step in enumerate(request.steps):
                if ids_of[step_index].isdisjoint(batch_ids):
                    continue
                yield (
                    step_index,
                    batch_ids,
                    strongest.image_maxima(
                        subject.parameters(step),
                        inputs,
                        network=subject.network,
                        layers=request.layers,
                    ),
                )

    for step_index, batch_ids, (maxima, places) in one_behind(dispatched()):
        values, flat = np.asarray(maxima), np.asarray(places)
        rows = {image_id: row for row, image_id in enumerate(batch_ids)}
        for name, chosen in wanted[step_index].items():
            for map_, image_id in chosen.items():
                if image_id in rows:
                    where = rows[image_id], columns[name].start + map_
                    y, x = subject.layer(name).place(int(flat[where]))
                    value = float(values[where])
                    again[step_index][name].append(Unit("fixed", map_, 0, image_id, value, y, x))
    return again


@functools.partial(jax.jit, static_argnames="preparation")
def _normalise(
    pixels: UInt8[Array, "n h w c"],
    mean: Float32[Array, "n h w c"] | None,
    *,
    preparation: Preparation,
) -> Float32[Array, "n h w c"]:
    return preparation.normalise(pixels, mean)


def project_units(
    subject: Subject,
    parameters: Parameters,
    way: Way,
    chosen: Sequence[Unit],
    views: Mapping[int, UInt8[np.ndarray, "h w c"]] | None = None,
    seed: float | None = None,
) -> Iterator[tuple[Unit, Tile, float]]:
    """(unit, tile, activation as projection reproduces it) of each unit, in order. ``views``: by
    image id, where they are no images of the subject. ``seed``: as in ``deconvnet.project``.
    """
    preparation, mean_image = subject.preparation, subject.mean_image
    places = Places(
        *(
            np.array([getattr(unit, name) for unit in chosen], np.int32)
            for name in ("map", "y", "x")
        )
    )
    patches = np.empty((len(chosen), *way.layer.tile_size, 3), np.uint8)

    def pixels_of(ids: list[int]) -> UInt8[np.ndarray, "n h w c"]:
        if views is not None:
            whole = np.stack([views[image_id] for image_id in ids])
        else:
            whole = subject.need("images", "Drawing").views(ids)
        return preparation.crop(whole)

    def inputs_of(rows: Int[np.ndarray, " units"], batch: Places) -> Array:
        # Cut first, then normalised: a window is a small part of an image, and its bytes a quarter
        # of the numbers'. The mean image is cut alike.
        pixels = pixels_of([chosen[row].image_id for row in rows])
        patches[rows] = deconvnet.patches(way, pixels, batch)
        mean = None
        if mean_image is not None:
            whole = preparation.crop(np.asarray(mean_image))[None]
            mean = deconvnet.cut_inputs(way, whole, batch, np.zeros(len(rows), int))
        cut = deconvnet.cut_inputs(way, pixels, batch)
        return _normalise(cut, mean, preparation=preparation)

    ids = np.array([unit.image_id for unit in chosen], np.int64)
    waiting: dict[int, tuple[Float32[np.ndarray, "height width c"], float]] = {}
    row = 0
    for rows, tiles, activations in sharing.project(
        way, parameters, places, ids, inputs_of, seed=seed
    ):
        waiting.update(zip(rows.tolist(), zip(tiles, activations, strict=True), strict=True))
        while row in waiting:
            unit, (tile, activation) = chosen[row], waiting.pop(row)
            drawn = Tile(unit.selection, unit.map, unit.rank, tile, patches[row])
            yield unit, drawn, float(activation)
            row += 1


@dataclass(frozen=True)
class Checked:
    """How many recorded activations were reproduced, and their largest relative difference."""

    units: int
    worst: float


def draw(
    subject: Subject, request: Request, chosen: Chosen, folder: Path, progress: Progress
) -> Checked:
    """Projects all that is chosen by every rule, and writes the tiles of every layer and step; an
    activation is counted as checked once. Raises ZfjaxError where one is not reproduced.
    """
    rules = (request.rule, *request.rules)
    done, total = 0, len(request.steps) * len(request.layers) * len(rules)
    errors: list[float] = []
    ways = {
        (rule, name): deconvnet.way_of(subject.network, name, rule_named(rule))
        for rule in rules
        for name in request.layers
    }
    for step_index, step in enumerate(request.steps):
        parameters = jax.device_put(subject.parameters(step))
        for (rule, name), way in ways.items():
            all_units = _units_of(request, chosen, step_index, way.layer)
            drawn = _projected_once(subject, parameters, way, all_units)
            scale_of = functools.partial(_scale_of, top=chosen.top[name], step_index=step_index)
            where = f"{name} at step {step}", folder.name
            tiles = _reproduced(drawn, scale_of, where, errors if rule == request.rule else [])
            below = tiles_folder(folder, None if rule == request.rule else rule)
            write_tiles(below / name / f"{step}.npz", tiles)
            done += 1
            progress("projecting", done, total)
    return Checked(len(errors), max(errors, default=0.0))


def _reproduced(
    drawn: Iterator[tuple[Unit, Tile, float]],
    scale_of: Callable[[Unit], float],
    where: tuple[str, str],
    errors: list[float],
) -> Iterator[Tile]:
    """The tiles of what excites its map; to ``errors`` goes how far each activation is off.
    ``where``: layer and step, and the evolution's folder, for the sentence if it is too far.
    """
    for unit, tile, value in drawn:
        error = abs(value - unit.activation) / scale_of(unit)
        errors.append(error)
        if not error <= TOLERANCE:
            layer_and_step, folder = where
            raise ZfjaxError(
                f"Map {unit.map} of {layer_and_step}: the search recorded {unit.activation:.8g} on"
                f" image {unit.image_id}, projection gives {value:.8g}; the data or the checkpoint"
                f" changed since. Delete {folder} and evolve again."
            )
        if value > 0:  # a weakest image may be no more than rounding away from silence
            yield tile


def _projected_once(
    subject: Subject, parameters: Parameters, way: Way, chosen: Sequence[Unit]
) -> Iterator[tuple[Unit, Tile, float]]:
    """``project_units``, each unit once that several selections have chosen."""
    alike: dict[tuple[int, int, int, int], list[Unit]] = {}
    for unit in chosen:
        alike.setdefault((unit.map, unit.image_id, unit.y, unit.x), []).append(unit)
    once = [units_alike[0] for units_alike in alike.values()]
    for units_alike, (_, tile, value) in zip(
        alike.values(), project_units(subject, parameters, way, once), strict=True
    ):
        for unit in units_alike:
            yield unit, replace(tile, selection=unit.selection, rank=unit.rank), value


def _units_of(request: Request, chosen: Chosen, step_index: int, layer: Layer) -> list[Unit]:
    """All that is drawn of a layer at a step."""
    name = layer.name
    strongest_units = units.units_to_draw(
        chosen.top[name], layer, chosen.maps[name], step_index, request.ranks(step_index)
    )
    others = chosen.others[step_index][name] if chosen.others else []
    return strongest_units + chosen.fixed[step_index][name] + others


def _scale_of(unit: Unit, top: Top, step_index: int) -> float:
    """What an error in a unit's activation is relative to. A weak one is a small difference of
    large sums, which is reproduced no better than those: there it is the map's strongest.
    """
    if unit.selection in ALWAYS:
        return unit.activation
    return float(top.value[step_index, 0, unit.map])
