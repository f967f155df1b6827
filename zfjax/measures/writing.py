"""From a measure's numbers to RUN/measures: the table, what it says, and its picture."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zfjax.errors import ZfjaxError
from zfjax.files import write_arrays, write_atomic, write_json, write_text
from zfjax.measures.blas import one_blas_thread
from zfjax.measures.choosing import BUILT_IN
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

SUFFIXES = ("json", "parquet", "txt", "png", "npz")
"""Of the files of every measure."""


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
        items = _of_layers(chosen.measure.rows(looked, chosen.options), chosen.name, looked)
        table = measures_table(columns_of(_apart(items, pictures, noted), looked))
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
    # What stands there is of other settings: with these numbers beside it, it would speak of them.
    (folder / f"{chosen.name}.json").unlink(missing_ok=True)
    (folder / f"{chosen.name}.npz").unlink(missing_ok=True)
    if pictures:
        write_arrays(folder / f"{chosen.name}.npz", pictures)
    write_measures_table(folder / f"{chosen.name}.parquet", table)
    write_told(measured, told_of(chosen, measured, others))
    return open_measured(folder, chosen.name)


def _of_layers(items: Any, name: str, looked: Looked) -> Iterator[Quantity | Pictures | Noted]:
    """A measure's items. Raises ZfjaxError for what is none, for a layer that there is not, and for
    pictures of another shape or of a step that was not looked at.
    """
    if not isinstance(items, Iterable):
        raise ZfjaxError(
            f"The measure's rows are Quantity or Pictures, and it gives {items!r:.60}."
        )
    layers = (*looked.subject.layers, *looked.subject.network.hidden)
    for item in items:
        if isinstance(item, Noted):
            yield item
            continue
        if not isinstance(item, Quantity | Pictures):
            raise ZfjaxError(
                f"The measure's rows are Quantity or Pictures, and it gives {item!r:.60}."
            )
        what = item.name if isinstance(item, Quantity) else "pictures"
        if not (isinstance(what, str) and isinstance(getattr(item, "unit", ""), str)):
            raise ZfjaxError(
                f"The measure {name} gives a name or a unit that is no text: {item!r:.90}."
            )
        # Pictures of ours are also of what is no layer: a panel, a kind of change.
        free = item.layer is None if isinstance(item, Quantity) else name in BUILT_IN
        if not free and item.layer not in layers:
            raise ZfjaxError(
                f"The measure {name} gives {what} of layer {item.layer!r:.60}, and there are"
                f" {', '.join(layers)}."
            )
        if isinstance(item, Pictures):
            _check_pictures(item, name, looked)
        yield item


def _check_pictures(item: Pictures, name: str, looked: Looked) -> None:
    """Raises ZfjaxError for pictures that are not as ``Pictures`` says."""
    where = f"The measure {name} gives pictures of {item.layer} at step {item.step}"
    if item.step not in looked.steps:
        raise ZfjaxError(f"{where}, which was not asked for.")
    shapes = np.shape(item.maps), np.shape(item.pixels)
    if len(shapes[0]) != 1 or len(shapes[1]) != 4 or shapes[0][0] != shapes[1][0]:
        raise ZfjaxError(
            f"{where} with maps {shapes[0]} and pixels {shapes[1]}: they are [n] and [n, height,"
            " width, channels]."
        )


def _apart(
    items: Iterable[Quantity | Pictures | Noted],
    pictures: dict[str, np.ndarray],
    noted: dict[str, Any],
) -> Iterator[Quantity]:
    """The numbers among a measure's items; the arrays of the others come into ``pictures``, their
    words into ``noted``.
    """
    for item in items:
        if isinstance(item, Quantity):
            yield item
        elif isinstance(item, Noted):
            noted |= item.words
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
    if not all(isinstance(line, str) for line in (told.sentence, *told.lines)):
        raise ZfjaxError(f"The measure {chosen.name} tells a sentence and lines that are no text.")
    for file_name, content in told.files.items():
        _check_file(chosen.name, file_name, content)
    figures = {str(key): _plain_figure(value, chosen.name) for key, value in told.figures.items()}
    return replace(told, figures=figures)


def _check_file(measure: str, name: Any, content: Any) -> None:
    """Raises ZfjaxError for a file that would not stand beside the measure's own."""
    plain = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")
    if not plain:
        raise ZfjaxError(
            f"The measure {measure} tells a file {name!r:.60}: a file's name has no folder, for it"
            " stands beside the measure's own."
        )
    stem, _, suffix = name.rpartition(".")
    if suffix in SUFFIXES and stem in (measure, *BUILT_IN, "probe", "pass"):
        raise ZfjaxError(
            f"The measure {measure} tells a file {name!r}, which zfjax writes itself; give it"
            f" another name, such as '{measure}-{stem}.{suffix}'."
        )
    if not isinstance(content, bytes):
        raise ZfjaxError(
            f"The measure {measure} tells a file {name!r} of bytes, not {content!r:.60}."
        )


def _plain_figure(value: Any, measure: str) -> Any:
    """As JSON has it: numpy's numbers as Python's own, undefined as null. Raises ZfjaxError for
    what is no number, word, or list or mapping of these.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain_figure(each, measure) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_figure(each, measure) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise ZfjaxError(f"The measure {measure} tells an infinite figure: undefined is NaN.")
    if value is None or isinstance(value, str | int | float):
        return value
    raise ZfjaxError(
        f"The measure {measure} tells a figure that is no number or word: {value!r:.60}."
    )


def words_of(told: Told) -> str:
    """The sentence, and the table for people below it."""
    return "\n".join([told.sentence, "", *told.lines]).rstrip() + "\n"


def write_told(measured: Measured, told: Told) -> None:
    """Writes sentence, table for people, and chart."""
    folder, name = measured.folder, measured.name
    chart = None if told.chart is None else _png(told.chart)  # it may raise: nothing is written yet
    write_text(folder / f"{name}.txt", words_of(told))
    if chart is not None:
        write_atomic(folder / f"{name}.png", partial(Path.write_bytes, data=chart))
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
    try:
        numbers = np.asarray(np.nan if value is None else value, np.float64)
    except (TypeError, ValueError):
        raise ZfjaxError(
            f"The measure gives {where} as {value!r:.60}: a number or one a map."
        ) from None
    if numbers.ndim > 1:
        raise ZfjaxError(
            f"The measure gives {where} in the shape {numbers.shape}: a number or one a map."
        )
    if np.isinf(numbers).any():
        raise ZfjaxError(f"The measure gives {where} as infinite: undefined is NaN or None.")
    return numbers
