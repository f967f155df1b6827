"""Measured: what an analysis found over a run's epochs, as a table, read from RUN/measures. No JAX.

``RUN/measures/<name>.parquet`` holds the numbers, ``<name>.json`` what was asked and the sentence,
``<name>.txt`` and ``<name>.png`` the same for people, and ``<name>.npz`` pictures where a measure
makes some.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zfjax.errors import ZfjaxError, quoted
from zfjax.files import read_json, write_atomic
from zfjax.run.folder import checked_name
from zfjax.run.showing import measured_table
from zfjax.run.tabled import lines_of
from zfjax.values import Text

MEASURES_SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("epoch", pa.float64()),
        ("layer", pa.string()),
        ("map", pa.int32()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("unit", pa.string()),
    ]
)
"""One row a number. ``map`` is null where the number is a layer's, ``layer`` where it is the whole
network's; ``low`` and ``high`` are the ends of an interval; ``n`` is over how many. Undefined is
null, never NaN.
"""


@dataclass(frozen=True)
class Measured:
    """A finished measure of a run."""

    folder: Path
    """RUN/measures."""
    name: str
    meta: Mapping[str, Any]
    """"asked", "sentence", "seconds", "steps", "epochs", "layers", and figures of the measure's
    own."""
    table: pa.Table
    """Columns in MEASURES_SCHEMA."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps measured, ascending."""
        return tuple(self.meta["steps"])

    @property
    def epochs(self) -> tuple[float, ...]:
        """Epochs of ``steps``."""
        return tuple(self.meta["epochs"])

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers measured, from the image up."""
        return tuple(self.meta["layers"])

    @cached_property
    def _index(self) -> dict[tuple[str, str | None, bool], np.ndarray]:
        """Row numbers by (quantity, layer, whether they are of single maps)."""
        keys = zip(
            self.table["quantity"].to_pylist(),
            self.table["layer"].to_pylist(),
            pc.is_valid(self.table["map"]).to_pylist(),
            strict=True,
        )
        places: dict[tuple[str, str | None, bool], list[int]] = {}
        for row, key in enumerate(keys):
            places.setdefault(key, []).append(row)
        return {key: np.array(rows) for key, rows in places.items()}

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """float64 of the numbers, NaN where null; int64 of step and map (-1 where null)."""
        columns = {
            name: self.table[name].to_numpy().astype(np.float64)
            for name in ("epoch", "value", "low", "high")
        }
        for name in ("step", "map", "n"):
            columns[name] = pc.fill_null(self.table[name], -1).to_numpy().astype(np.int64)
        return columns

    def of_layer(self, quantity: str, layer: str | None) -> dict[int, float]:
        """A layer's number by step (None: the whole network's); NaN where it is undefined. Empty
        where the measure does not say it.
        """
        rows = self._index.get((quantity, layer, False), np.zeros(0, np.int64))
        steps, values = self._columns["step"][rows], self._columns["value"][rows]
        return dict(zip(steps.tolist(), values.tolist(), strict=True))

    def curves(
        self, quantity: str, times: float = 1.0
    ) -> dict[str, tuple[tuple[float, float], ...]]:
        """Each layer's number, ``times`` as large, as points (epoch, value), where it is finite."""
        epochs = dict(zip(self.steps, self.epochs, strict=True))
        return {
            layer: tuple(
                (epochs[step], times * value)
                for step, value in self.of_layer(quantity, layer).items()
                if math.isfinite(value)
            )
            for layer in self.layers
        }

    def bounds(self, quantity: str, layer: str | None) -> dict[int, tuple[float, float]]:
        """(low, high) of a layer's number by step; NaN where there is none."""
        rows = self._index.get((quantity, layer, False), np.zeros(0, np.int64))
        steps, low, high = (self._columns[name][rows] for name in ("step", "low", "high"))
        pairs = zip(low.tolist(), high.tolist(), strict=True)
        return dict(zip(steps.tolist(), pairs, strict=True))

    def counts(self, quantity: str) -> int:
        """Over how many a layer's number is (the fewest); 0 where it is not said."""
        rows = [
            places
            for (name, _, of_maps), places in self._index.items()
            if name == quantity and not of_maps
        ]
        numbers = self._columns["n"][np.concatenate(rows)] if rows else np.zeros(0, np.int64)
        return int(numbers[numbers > 0].min()) if (numbers > 0).any() else 0

    def of_maps(self, quantity: str, layer: str) -> dict[int, np.ndarray]:
        """The numbers of a layer's maps by step: float64 [maps], NaN where one is undefined."""
        rows = self._index.get((quantity, layer, True), np.zeros(0, np.int64))
        steps, maps = self._columns["step"][rows], self._columns["map"][rows]
        values, count = self._columns["value"][rows], int(maps.max(initial=-1)) + 1
        by_step = {}
        for step in np.unique(steps).tolist():
            chosen = steps == step
            by_step[step] = np.full(count, np.nan)
            by_step[step][maps[chosen]] = values[chosen]
        return by_step

    def pictures(self, layer: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """(which maps int64 [n], float32 [n, height, width, channels]) by step, where the measure
        keeps pictures of that layer; else empty. Raises ZfjaxError for a damaged file.
        """
        path = self.folder / f"{self.name}.npz"
        try:
            with np.load(path, allow_pickle=False) as stored:
                steps = [step for step in self.steps if _picture_key(layer, step, "maps") in stored]
                keys = {
                    step: [_picture_key(layer, step, what) for what in ("maps", "pixels", "scale")]
                    for step in steps
                }
                arrays = {step: [stored[key] for key in keys[step]] for step in steps}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            raise ZfjaxError(
                f"{path} is damaged; delete it and {self.name}.json there, and measure again."
            ) from None
        return {
            step: (maps, pixels.astype(np.float32) * scale[:, None, None, None])
            for step, (maps, pixels, scale) in arrays.items()
        }

    def __repr__(self) -> str:
        return lines_of(lambda: measured_table(self))

    def _repr_html_(self) -> str:
        return measured_table(self).html()

    def quantities(self) -> tuple[str, ...]:
        """The names of its numbers, in the order in which they come."""
        return tuple(dict.fromkeys(name for name, _, _ in self._index))


def picture_arrays(
    layer: str, step: int, maps: np.ndarray, pixels: np.ndarray
) -> dict[str, np.ndarray]:
    """What <name>.npz holds of pictures float [n, height, width, channels], by key: float16 over a
    float32 scale for each.
    """
    scale = np.abs(pixels).max(axis=(1, 2, 3), initial=0).astype(np.float32)
    scale[scale == 0] = 1
    arrays = {
        "maps": np.asarray(maps, np.int64),
        "pixels": (pixels / scale[:, None, None, None]).astype(np.float16),
        "scale": scale,
    }
    return {_picture_key(layer, step, what): array for what, array in arrays.items()}


def _picture_key(layer: str, step: int, what: str) -> str:
    return f"{layer}-{step}-{what}"


def measures_folder(run_folder: Path, name: Text | None = None) -> Path:
    """RUN/measures, or RUN/measures-NAME. Raises ZfjaxError for a name that is none."""
    name = checked_name(name)
    return run_folder / ("measures" if name is None else f"measures-{name}")


def is_measured(folder: Path, name: str) -> bool:
    """Whether ``folder`` (RUN/measures) holds that measure, finished."""
    return (folder / f"{name}.json").exists()


def measure_record(folder: Path, name: str) -> dict[str, Any]:
    """What <name>.json holds of a finished measure. Raises ZfjaxError where it is damaged."""
    path = folder / f"{name}.json"
    try:
        record = read_json(path)
    except ZfjaxError as error:
        if not isinstance(error.__context__, ValueError | RecursionError):  # not its contents
            raise
        record = None
    if not isinstance(record, dict) or not {"steps", "epochs", "layers"} <= set(record):
        raise ZfjaxError(
            f"{path} is no record of a measure; delete it and run `{_command(folder, name)}` again,"
            " or restore it from a copy."
        )
    return record


def _command(folder: Path, name: str) -> str:
    """What measures it into ``folder``."""
    words = f"zfjax measure --workdir {quoted(folder.parent)} {name}"
    of_name = folder.name.removeprefix("measures").removeprefix("-")
    return f"{words} --name {of_name}" if of_name else words


def open_measured(folder: Path, name: str) -> Measured:
    """A measure of ``folder`` (RUN/measures). Raises ZfjaxError when it is absent or damaged."""
    if not is_measured(folder, name):
        raise ZfjaxError(
            f"There is no measure {name!r} in {folder}; run `{_command(folder, name)}` first."
        )
    path = folder / f"{name}.parquet"
    try:
        table = pq.read_table(path, schema=MEASURES_SCHEMA)
    except (OSError, pa.ArrowException) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else "damaged"
        raise ZfjaxError(
            f"{path} is {what}; run `{_command(folder, name)}` again without {name}.json, or"
            " restore it from a copy."
        ) from None
    return Measured(folder, name, measure_record(folder, name), table)


def measures_table(columns: Mapping[str, Sequence[Any] | np.ndarray]) -> pa.Table:
    """A table of these columns; NaN becomes null."""
    return pa.table(
        {
            field.name: pa.array(
                columns[field.name],
                type=field.type,
                from_pandas=True,  # NaN is null
            )
            for field in MEASURES_SCHEMA
        }
    )


def write_measures_table(path: Path, table: pa.Table) -> None:
    """Writes a measure's table, whole or not at all."""
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
