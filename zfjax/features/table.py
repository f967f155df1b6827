"""units.parquet from what the search has gathered: one row a unit selected, column by column.

A row's place, margin and jump are computed for all maps of a step and layer at once: with every
rank of every map at 71 epochs the table has millions of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.ma as ma
from jaxtyping import Float32, Int64, Shaped

from zfjax.data.dataset import NO_LABEL
from zfjax.features.asking import Request
from zfjax.features.selections import quantile_name, quantiles_in_table
from zfjax.features.statistics import Statistics, quantile_samples
from zfjax.features.units import Chosen, Top, Unit, jumped, layer_columns, margins
from zfjax.network.layers import Layer
from zfjax.run.evolution import UNITS_SCHEMA, write_units
from zfjax.subject import Subject

Columns = dict[str, ma.MaskedArray | np.ndarray]
"""Arrays of equal length; masked is null."""

BOX = ("box_y0", "box_x0", "box_y1", "box_x1")


def write_table(
    subject: Subject, request: Request, statistics: Statistics, chosen: Chosen, folder: Path
) -> Int64[np.ndarray, " ids"]:
    """Writes units.parquet; returns labels by image id (int64, NO_LABEL where none is known, or no
    row needs it).

    The label and its name are null where the data set does not know it.
    """
    blocks = []
    spans = layer_columns(subject.layers, request.layers)
    for step_index, step in enumerate(request.steps):
        samples = [
            (quantile_name(q), *quantile_samples(statistics, step_index, q, request.seed))
            for q in quantiles_in_table(request.selections)
        ]
        others = chosen.others[step_index] if chosen.others else {}
        for name, span in spans.items():
            weaker = [
                _selected(
                    "low",
                    statistics.low_value[step_index][:, span],
                    statistics.low_id[step_index][:, span],
                ),
                *(
                    _selected(kind, values[None, span], ids[None, span])
                    for kind, values, ids in samples
                ),
            ]
            block = _joined(
                [
                    _strongest(chosen.top[name], step_index, subject.layer(name)),
                    *(_placed(rows, others.get(name, ())) for rows in weaker),
                    _fixed(chosen.fixed[step_index][name]),
                ]
            )
            count = len(block["map"])
            block |= {
                "step": np.full(count, step, np.int32),
                "epoch": np.full(count, subject.epoch(step)),
                "layer": np.full(count, name, object),
                "split": np.full(count, request.split, object),
                "rule": np.full(count, request.rule, object),
                **_boxes(subject.layer(name), block["y"], block["x"]),
            }
            blocks.append(block)
    table = _joined(blocks)
    described, labels = _described(subject, table["image_id"])
    write_units(folder, {name: {**table, **described}[name] for name in UNITS_SCHEMA.names})
    return labels


def _selected(
    selection: str, values: Float32[np.ndarray, "ranks maps"], ids: Int64[np.ndarray, "ranks maps"]
) -> Columns:
    """Rows of all entries with a positive activation, by map, then rank."""
    maps, ranks = np.nonzero((np.isfinite(values) & (values > 0) & (ids >= 0)).T)
    nowhere = ma.masked_all(len(maps), np.int32)
    return {
        "selection": np.full(len(maps), selection, object),
        "map": maps.astype(np.int32),
        "rank": ranks.astype(np.int32),
        "activation": values[ranks, maps].astype(np.float32),
        "image_id": ids[ranks, maps].astype(np.int64),
        "y": nowhere,
        "x": nowhere,
        "jumped": ma.masked_all(len(maps), bool),
        "margin": ma.masked_all(len(maps), np.float32),
    }


def _placed(rows: Columns, units: Sequence[Unit]) -> Columns:
    """The same rows with the places of those of ``units`` that are among them."""
    if not units or not len(rows["map"]):
        return rows
    selection = rows["selection"][0]
    keys = zip(rows["map"].tolist(), rows["rank"].tolist(), strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    drawn = [unit for unit in units if unit.selection == selection]
    at = [row_of[unit.map, unit.rank] for unit in drawn]
    ys, xs = rows["y"].copy(), rows["x"].copy()
    ys[at], xs[at] = [unit.y for unit in drawn], [unit.x for unit in drawn]
    return {**rows, "y": ys, "x": xs}


def _strongest(top: Top, step_index: int, layer: Layer) -> Columns:
    """The rows of selection "top": they have places, and rank 0 says more."""
    rows = _selected("top", top.value[step_index], top.id[step_index])
    maps, ranks = rows["map"], rows["rank"]
    places = top.flat[step_index][ranks, maps]
    rows["y"], rows["x"] = np.divmod(places, np.int32(layer.shape[1]))
    best = ranks == 0
    for name, values in (
        ("jumped", jumped(top, step_index)),
        ("margin", margins(top.value[step_index])),
    ):
        rows[name] = ma.array(values[maps], mask=ma.getmaskarray(values)[maps] | ~best)
    return rows


def _fixed(units: Sequence[Unit]) -> Columns:
    """The rows of selection "fixed", in the order they are given."""

    def column(name: str, dtype: Any) -> Shaped[np.ndarray, " units"]:
        return np.array([getattr(unit, name) for unit in units], dtype)

    return {
        "selection": np.full(len(units), "fixed", object),
        **{name: column(name, np.int32) for name in ("map", "rank", "y", "x")},
        "activation": column("activation", np.float32),
        "image_id": column("image_id", np.int64),
        "jumped": ma.masked_all(len(units), bool),
        "margin": ma.masked_all(len(units), np.float32),
    }


def _boxes(layer: Layer, ys: Any, xs: Any) -> Columns:
    """Each unit's receptive field in pixels of the input; null where it has no place."""
    if layer.window is None:
        return {name: ma.masked_all(len(ys), np.int32) for name in BOX}
    y0, x0 = (layer.window.start + layer.window.jump * cells for cells in (ys, xs))
    return dict(zip(BOX, (y0, x0, y0 + layer.window.size, x0 + layer.window.size), strict=True))


def _joined(blocks: Iterable[Columns]) -> Columns:
    """The rows of all, one below the other."""
    blocks = list(blocks)
    return {
        name: (ma if any(ma.isMaskedArray(block[name]) for block in blocks) else np).concatenate(
            [block[name] for block in blocks]
        )
        for name in blocks[0]
    }


def _described(
    subject: Subject, ids: Int64[np.ndarray, " rows"]
) -> tuple[Columns, Int64[np.ndarray, " ids"]]:
    """What the data set says of each row's image, and labels by image id."""
    needed, rows = np.unique(ids, return_inverse=True)
    facts = subject.need("images", "A table").describe(needed)
    labels = np.array([label for label, _ in facts], np.int64)
    classes = dict(enumerate(subject.labels or ()))
    names = np.array([classes.get(label) for label in labels.tolist()], object)
    files = np.array([file_name for _, file_name in facts], object)
    by_id = np.full(int(needed.max(initial=-1)) + 2, NO_LABEL, np.int64)
    by_id[needed] = labels
    columns = {
        "file_name": files[rows],
        "label": ma.array(labels.astype(np.int32), mask=labels == NO_LABEL)[rows],
        "label_name": names[rows],
    }
    return columns, by_id
