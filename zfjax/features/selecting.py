"""The units of weaker images: which are drawn of the selections asked for beside the strongest, and
where each map is strongest on them.

The search keeps no place of these images, so that an evolution without them costs nothing more:
they are looked at a second time, step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import jax
import numpy as np

from zfjax.devices import one_behind
from zfjax.features import strongest
from zfjax.features.asking import Request
from zfjax.features.selections import LOW, is_quantile, quantile_of
from zfjax.features.statistics import Statistics, quantile_samples
from zfjax.features.units import Unit, layer_columns
from zfjax.subject import Subject

_NOWHERE = -1


def selected_units(
    subject: Subject, request: Request, statistics: Statistics, maps: Mapping[str, Sequence[int]]
) -> list[dict[str, list[Unit]]]:
    """By step and layer, the units of ``request.selections`` of these maps, by selection, map and
    rank; [] where none are asked for. A map has none where its images of a selection do not excite
    it. Activations are the search's.
    """
    if not request.selections:
        return []
    everywhere = []
    for step_index, step in enumerate(request.steps):
        wanted = {
            name: _unplaced(request, statistics, step_index, span, maps[name])
            for name, span in layer_columns(subject.layers, request.layers).items()
        }
        everywhere.append(_placed(subject, request, step, wanted))
    return everywhere


def _unplaced(
    request: Request, statistics: Statistics, step_index: int, span: slice, maps: Sequence[int]
) -> list[Unit]:
    """A layer's units at a step, without their places."""
    units = []
    for selection in request.selections:
        if is_quantile(selection):
            quantile = quantile_of(selection)
            values, ids = quantile_samples(statistics, step_index, quantile, request.seed)
            values, ids = values[None, span], ids[None, span]
        else:
            assert selection == LOW
            values = statistics.low_value[step_index][:, span]
            ids = statistics.low_id[step_index][:, span]
        ranks = min(len(values), request.ranks(step_index, selection))
        for map_ in maps:
            for rank in range(ranks):
                value, image_id = float(values[rank, map_]), int(ids[rank, map_])
                if image_id >= 0 and np.isfinite(value) and value > 0:
                    units.append(Unit(selection, map_, rank, image_id, value, _NOWHERE, _NOWHERE))
    return units


def _placed(
    subject: Subject, request: Request, step: int, wanted: Mapping[str, Sequence[Unit]]
) -> dict[str, list[Unit]]:
    """The same units where each map is strongest on its image; first place wins."""
    images = subject.need("images", "Drawing")
    ids = sorted({unit.image_id for of_layer in wanted.values() for unit in of_layer})
    batch_size = strongest.search_batch(subject.network)

    def dispatched() -> Iterator[tuple[list[int], jax.Array]]:
        for start in range(0, len(ids), batch_size):
            batch_ids = ids[start : start + batch_size]
            padded = batch_ids + [batch_ids[-1]] * (batch_size - len(batch_ids))
            _, places = strongest.image_maxima(
                subject.parameters(step),
                subject.prepare(images.views(padded)),
                network=subject.network,
                layers=request.layers,
            )
            yield batch_ids, places

    flat = {
        image_id: row
        for batch_ids, places in one_behind(dispatched())
        for image_id, row in zip(batch_ids, np.asarray(places), strict=False)
    }
    columns = layer_columns(subject.layers, request.layers)
    placed: dict[str, list[Unit]] = {}
    for name, of_layer in wanted.items():
        placed[name] = []
        for unit in of_layer:
            cell = int(flat[unit.image_id][columns[name].start + unit.map])
            y, x = subject.layer(name).place(cell)
            placed[name].append(replace(unit, y=y, x=x))
    return placed
