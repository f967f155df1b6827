"""From a measure's numbers to RUN/measures: the table, what it says, and its picture."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zfjax.errors import ZfjaxError
from zfjax.files import write_arrays, write_atomic, write_json, write_text
from zfjax.measures.blas import one_blas_thread
from zfjax.measures.planning import Chosen
from zfjax.measures.protocol import Looked, Noted, Pictures, Quantity, Told
from zfjax.report.kit.style import DPI, quiet_style
from zfjax.run.measured import (
    Measured,
    measures_table,
    open_measured,
    picture_arrays,
    write_measures_table,
)


def write_measure(
    folder: Path,
    chosen: Chosen,
    looked: Looked,
    meta: Mapping[str, Any],
    others: Sequence[Measured] = (),
) -> Measured:
    """Computes a measure and writes its files, <name>.json last: while that is not there, nothing
    is taken for finished. Raises what the measure raises, and ZfjaxError for what is no number.
    """
    began = time.monotonic()
    pictures: dict[str, np.ndarray] = {}
    noted: dict[str, Any] = {}
    with one_blas_thread():
        numbers = _apart(chosen.measure.rows(looked, chosen.options), pictures, noted)
        table = measures_table(columns_of(numbers, looked))
    computed = time.monotonic() - began
    about = {
        "format_version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": list(looked.steps),
        "epochs": list(looked.epochs),
        "layers": list(looked.layers),
        **meta,
        **({"noted": noted} if noted else {}),
        "seconds": {**meta.get("seconds", {}), "measure": round(computed, 2)},
    }
    measured = Measured(folder, chosen.name, about, table)
    if pictures:
        write_arrays(folder / f"{chosen.name}.npz", pictures)
    write_measures_table(folder / f"{chosen.name}.parquet", table)
    write_told(measured, told_of(chosen, measured, others))
    return open_measured(folder, chosen.name)


def _apart(
    items: Iterable[Quantity | Pictures | Noted],
    pictures: dict[str, np.ndarray],
    noted: dict[str, Any],
) -> Iterator[Quantity]:
    """The numbers among a measure's items; the arrays of the others come into ``pictures``, their
    words into ``noted``.
    """
    if not isinstance(items, Iterable):
        raise ZfjaxError(
            f"The measure's rows are Quantity or Pictures, and it gives {items!r:.60}."
        )
    for item in items:
        if isinstance(item, Quantity):
            yield item
        elif isinstance(item, Noted):
            noted |= item.words
        elif not isinstance(item, Pictures):
            raise ZfjaxError(
                f"The measure's rows are Quantity or Pictures, and it gives {item!r:.60}."
            )
        else:
            pictures |= picture_arrays(item.layer, item.step, item.maps, item.pixels)


def told_of(chosen: Chosen, measured: Measured, others: Sequence[Measured]) -> Told:
    """What the measure says of its numbers, drawn in the style of all figures."""
    with quiet_style():
        told = chosen.measure.tell(measured, others, chosen.options)
    if not isinstance(told, Told):
        raise ZfjaxError(
            f"The measure {chosen.name} tells a Told, and its tell gives {told!r:.60}."
        )
    return told


def words_of(told: Told) -> str:
    """The sentence, and the table for people below it."""
    return "\n".join([told.sentence, "", *told.lines]).rstrip() + "\n"


def write_told(measured: Measured, told: Told) -> None:
    """Writes sentence, table for people, and chart."""
    folder, name = measured.folder, measured.name
    write_text(folder / f"{name}.txt", words_of(told))
    if told.chart is not None:
        chart = told.chart
        write_atomic(folder / f"{name}.png", lambda path: path.write_bytes(_png(chart)))
    for file_name, content in told.files.items():
        write_atomic(folder / file_name, partial(Path.write_bytes, data=content))
    record = {**measured.meta, "sentence": told.sentence, "figures": dict(told.figures)}
    write_json(folder / f"{name}.json", record)


def _png(chart: Figure) -> bytes:
    buffer = io.BytesIO()
    with quiet_style():
        chart.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def columns_of(quantities: Iterable[Quantity], looked: Looked) -> dict[str, Any]:
    """A measure's numbers as the columns of its table."""
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "step",
            "epoch",
            "layer",
            "map",
            "quantity",
            "value",
            "low",
            "high",
            "n",
            "unit",
        )
    }
    for quantity in quantities:
        where = f"{quantity.name} of {quantity.layer or 'the network'} at step {quantity.step}"
        if quantity.step not in looked.steps:
            raise ZfjaxError(f"The measure gives {where}, which was not asked for.")
        value = _numbers(quantity.value, where)
        if value.ndim and quantity.layer in looked.layers:
            maps = looked.layer(quantity.layer).maps
            if len(value) != maps:
                raise ZfjaxError(
                    f"The measure gives {where} for {len(value)} maps, and there are {maps}:"
                    " give one number a map, NaN where it is undefined."
                )
        count = value.size
        of_maps = value.ndim == 1
        columns["step"] += [quantity.step] * count
        columns["epoch"] += [looked.subject.epoch(quantity.step)] * count
        columns["layer"] += [quantity.layer] * count
        columns["map"] += range(count) if of_maps else [None]
        columns["quantity"] += [quantity.name] * count
        columns["value"] += value.ravel().tolist()
        for name in ("low", "high"):
            ends = _numbers(getattr(quantity, name), where)
            if ends.ndim and ends.shape != value.shape:
                raise ZfjaxError(
                    f"The measure gives {where} with {len(ends)} ends ({name}) for {count} values."
                )
            columns[name] += np.broadcast_to(ends, value.shape).ravel().tolist()
        columns["n"] += [quantity.n] * count
        columns["unit"] += [quantity.unit] * count
    return columns


def _numbers(value: Any, where: str) -> np.ndarray:
    """float64, of no axis or one; NaN for None. Infinite is an error: the table has no such."""
    if isinstance(value, np.ma.MaskedArray):
        value = np.where(np.ma.getmaskarray(value), np.nan, value.data)
    numbers = np.asarray(np.nan if value is None else value, np.float64)
    if numbers.ndim > 1:
        raise ZfjaxError(
            f"The measure gives {where} in the shape {numbers.shape}: a number or one a map."
        )
    if np.isinf(numbers).any():
        raise ZfjaxError(f"The measure gives {where} as infinite: undefined is NaN or None.")
    return numbers
