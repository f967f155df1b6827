"""units.parquet from what the search has gathered and the projection has located: one row a unit
selected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zfjax.data.dataset import NO_LABEL, Dataset
from zfjax.features import strongest, units
from zfjax.features.strongest import Statistics
from zfjax.run.evolution import UNITS_SCHEMA, write_units
from zfjax.run.folder import Run


@dataclass(frozen=True)
class Request:
    """What an evolution was asked to show; another request never overwrites a finished one."""

    steps: tuple[int, ...]
    layers: tuple[str, ...]
    maps: int | None
    top: int
    split: str
    images: int
    rule: str
    every_rank: bool = False
    seed: int = 0


def write_table(
    run: Run,
    dataset: Dataset,
    request: Request,
    statistics: Statistics,
    located: dict[tuple[int, str, str, int, int], tuple[float, int, int]],
    folder: Path,
) -> np.ndarray:
    """Writes units.parquet; returns labels by image id (int64, NO_LABEL where none is known, or no
    row needs it).

    ``located``: (activation, y, x) of each drawn unit by (step index, layer, selection, map, rank).
    The label and its name are null where the data set does not know it."""
    architecture = run.config.model
    places = units.layer_columns(architecture, request.layers)
    columns = units.Columns({name: [] for name in UNITS_SCHEMA.names})
    seen = {unit: place for unit, (_, *place) in located.items()}
    rows: list[tuple] = []
    for index in range(len(request.steps)):
        quantiles = [
            (f"quantile:{q:g}", *strongest.quantile_samples(statistics, index, q, request.seed))
            for q in units.QUANTILES
        ]
        for layer in request.layers:
            part = places[layer]
            width = architecture.fact(layer).shape[1]
            tops = [
                getattr(statistics, name)[index][:, part]
                for name in ("top_value", "top_id", "top_place")
            ]
            for rank, map_ in zip(*np.nonzero(tops[0] > 0), strict=True):
                seen[index, layer, "top", int(map_), int(rank)] = divmod(
                    int(tops[2][rank, map_]), width
                )
            chosen = [
                ("top", *tops[:2]),
                ("low", statistics.low_value[index][:, part], statistics.low_id[index][:, part]),
                *((name, values[None, part], ids[None, part]) for name, values, ids in quantiles),
            ]
            for selection, values, ids in chosen:
                rows += [
                    (index, layer, selection, *row)
                    for row in units.selection_rows(selection, values, ids)
                ]
            last_top = statistics.top_id[-1][0, part]
            rows += [
                (index, layer, "fixed", map_, 0, value, int(last_top[map_]))
                for (at, of, selection, map_, _), (value, _, _) in located.items()
                if at == index and of == layer and selection == "fixed"
            ]
    needed = sorted({row[6] for row in rows})
    described = dict(zip(needed, dataset.describe(request.split, needed), strict=True))
    for index, layer, selection, map_, rank, activation, image_id in rows:
        part = places[layer]
        y, x = seen.get((index, layer, selection, map_, rank), (None, None))
        box = (None,) * 4 if y is None else architecture.window(layer).box(y, x)
        strongest_row = selection == "top" and rank == 0
        tops = statistics.top_value[..., part], statistics.top_id[..., part]
        label, file_name = described[image_id]
        columns.add(
            step=request.steps[index],
            epoch=run.epoch(request.steps[index]),
            layer=layer,
            map=map_,
            rank=rank,
            activation=activation,
            image_id=image_id,
            file_name=file_name,
            label=None if label == NO_LABEL else label,
            label_name=None if label == NO_LABEL else run.class_names[label],
            split=request.split,
            y=y,
            x=x,
            box_y0=box[0],
            box_x0=box[1],
            box_y1=box[2],
            box_x1=box[3],
            selection=selection,
            rule=request.rule,
            jumped=units.jumped(*tops, index, map_) if strongest_row else None,
            margin=units.margin(tops[0][index, :, map_]) if strongest_row else None,
        )
    write_units(folder, columns.values)
    labels = np.full(max(needed, default=-1) + 2, NO_LABEL, np.int64)
    for image_id, (label, _) in described.items():
        labels[image_id] = label
    return labels
