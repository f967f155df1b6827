"""Evolution: what excited each feature map at each epoch, as a table, and its pictures, read when
asked for. No JAX.

The table (``units.parquet``) is the truth; the tiles are a cache that can be drawn again from it.
"""

from __future__ import annotations

import zipfile
import zlib
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
from zfjax.files import read_json, write_arrays, write_atomic
from zfjax.run.evolution_record import EvolutionRecord, record_from
from zfjax.run.showing import Showing
from zfjax.values import real_number, text, truth, whole_number

UNITS_SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("epoch", pa.float64()),
        ("layer", pa.string()),
        ("map", pa.int32()),
        ("rank", pa.int32()),
        ("activation", pa.float32()),
        ("image_id", pa.int64()),
        ("file_name", pa.string()),
        ("label", pa.int32()),
        ("label_name", pa.string()),
        ("split", pa.string()),
        ("y", pa.int32()),
        ("x", pa.int32()),
        ("box_y0", pa.int32()),
        ("box_x0", pa.int32()),
        ("box_y1", pa.int32()),
        ("box_x1", pa.int32()),
        ("selection", pa.string()),
        ("rule", pa.string()),
        ("jumped", pa.bool_()),
        ("margin", pa.float32()),
    ]
)


@dataclass(frozen=True)
class Tile:
    """One drawn unit: the projection (float32 [height, width, 3], signed, in units of the
    activation) and the patch of the image it came from (uint8 [height, width, 3]; mid-grey outside
    the image).
    """

    selection: str
    map: int
    rank: int
    projection: np.ndarray
    patch: np.ndarray


@dataclass(frozen=True)
class Evolution(Showing):
    """A finished evolution folder; ``film`` and ``show`` are ``Showing``'s."""

    folder: Path
    record: EvolutionRecord

    @property
    def meta(self) -> dict[str, Any]:
        """What meta.json says, by its keys."""
        return self.record.as_json()

    @cached_property
    def units(self) -> pa.Table:
        """The table: one row a (step, layer, map, selection, rank). Columns in UNITS_SCHEMA;
        undefined is null.
        """
        path = self.folder / "units.parquet"
        try:
            return pq.read_table(path, schema=UNITS_SCHEMA)
        except (OSError, pa.ArrowException) as error:
            raise ZfjaxError(_unreadable(path, error)) from None

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps searched, ascending."""
        return self.record.steps

    @property
    def epochs(self) -> tuple[float, ...]:
        """Epochs of ``steps``."""
        return self.record.epochs

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers searched, from the image up."""
        return self.record.layers

    @property
    def every_rank(self) -> bool:
        """Whether all the strongest images are drawn at every step, not at the last one alone."""
        return self.record.every_rank

    def maps(self, layer: str) -> tuple[int, ...]:
        """The maps drawn of a layer: a seeded uniform draw, dead ones included."""
        self._check(layer)
        return self.record.maps[layer]

    def rows(self, **equal: Any) -> list[dict[str, Any]]:
        """Rows whose columns equal the given values: ``rows(layer="conv5", step=0, selection="top",
        rank=0)``.

        Raises ZfjaxError for a column or a layer that is not there.
        """
        table = self.units
        for name, value in equal.items():
            if name not in UNITS_SCHEMA.names:
                raise ZfjaxError(
                    f"The table has no column {name!r}; it has {', '.join(UNITS_SCHEMA.names)}."
                )
            if name == "layer":
                self._check(value)
            table = table.filter(pc.equal(table[name], _sought(name, value)))
        return table.to_pylist()

    def tiles(self, layer: str, step: int) -> dict[tuple[str, int, int], Tile]:
        """Drawn units of one layer and step by (selection, map, rank); dead maps have none.

        Raises ZfjaxError for a layer or step that was not searched.
        """
        self._check(layer)
        step = whole_number(step, "step")
        if step not in self.steps:
            raise ZfjaxError(
                f"{self.folder} has no step {step}; its steps are"
                f" {', '.join(map(str, self.steps))}."
            )
        arrays = _read_arrays(self.folder / "tiles" / layer / f"{step}.npz")
        return {
            (str(selection), int(map_), int(rank)): Tile(
                str(selection), int(map_), int(rank), projection.astype(np.float32) * scale, patch
            )
            for selection, map_, rank, projection, scale, patch in zip(
                *(
                    arrays[name]
                    for name in ("selection", "map", "rank", "projection", "scale", "patch")
                ),
                strict=True,
            )
        }

    @cached_property
    def filters(self) -> dict[int, np.ndarray]:
        """The first layer's kernels (float32 [height, width, channels, maps]) by step."""
        stored = _read_arrays(self.folder / "filters.npz")
        return {
            int(step): kernel for step, kernel in zip(stored["step"], stored["kernel"], strict=True)
        }

    def histogram(self, layer: str) -> np.ndarray:
        """How many images' maxima fell into each bin: int64 [steps, maps of the layer, bins]. Bin i
        holds ``bin_edges[i]`` <= maximum < ``bin_edges[i + 1]``; bin 0 those that leave the map
        silent.

        Raises ZfjaxError where there are none: an evolution made before they were kept.
        """
        self._check(layer)
        stored = self._histograms
        index = stored["layer"].tolist().index(layer)
        start = int(stored["start"][index])
        return stored["histogram"][:, start : start + self.record.map_count[layer]]

    @property
    def bin_edges(self) -> np.ndarray:
        """float32 [bins + 1], ascending from 0 to infinity. Raises as ``histogram``."""
        return self._histograms["edges"]

    @cached_property
    def _histograms(self) -> dict[str, np.ndarray]:
        return _read_arrays(self.folder / "histograms.npz")

    def settled(self, layer: str) -> dict[int, float | None]:
        """By step, the share (0..1) of maps alive at the last step whose strongest image is already
        the last step's.

        None where no map is alive at the last step. Covers every map searched, not only those
        drawn.
        """
        self._check(layer)
        winners: dict[int, dict[int, int]] = {step: {} for step in self.steps}
        table = self.units
        for column, value in (("layer", layer), ("selection", "top"), ("rank", 0)):
            table = table.filter(pc.equal(table[column], value))
        for step, map_, image in zip(
            *(table[name].to_pylist() for name in ("step", "map", "image_id")), strict=True
        ):
            winners[step][map_] = image
        final = winners[self.steps[-1]]
        return {
            step: (
                sum(winner.get(map_) == image for map_, image in final.items()) / len(final)
                if final
                else None
            )
            for step, winner in winners.items()
        }

    def _check(self, layer: str) -> None:
        if text(layer, "layer") not in self.layers:
            raise ZfjaxError(
                f"{self.folder} has no layer {layer!r}; it has {', '.join(self.layers)}."
            )


def _sought(column: str, value: Any) -> pa.Scalar:
    """A value to look for in a column. Raises ZfjaxError for one of another kind."""
    kind = UNITS_SCHEMA.field(column).type
    plain = (
        truth
        if pa.types.is_boolean(kind)
        else text
        if pa.types.is_string(kind)
        else real_number
        if pa.types.is_floating(kind)
        else whole_number
    )
    try:
        return pa.scalar(plain(value, column), type=kind)
    except pa.ArrowInvalid:
        raise ZfjaxError(f"{column} = {value!r} is too large: no row can have it.") from None


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz. Raises ZfjaxError when it is absent or damaged."""
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ZfjaxError(_unreadable(path, error)) from None


def _unreadable(path: Path, error: Exception) -> str:
    what = (
        "is missing"
        if isinstance(error, FileNotFoundError)
        else f"is damaged ({type(error).__name__})"
    )
    return (
        f"{path} {what}; delete the evolution folder and run `zfjax evolve` again, or restore it"
        " from a copy."
    )


def open_evolution(folder: Path) -> Evolution:
    """Opens a finished evolution folder. Raises ZfjaxError when it is absent, unfinished or
    damaged.
    """
    path = folder / "meta.json"
    if not path.exists():
        named = (
            f" --name {folder.name.removeprefix('evolution-')}"
            if folder.name.startswith("evolution-")
            else ""
        )
        raise ZfjaxError(
            f"There is no evolution in {folder}; run `zfjax evolve --workdir"
            f" {quoted(folder.parent)}{named}` first."
        )
    stored = read_json(path)
    if isinstance(stored, dict) and not stored.get("complete"):
        raise ZfjaxError(
            f"The evolution in {folder} is not finished; run the same `zfjax evolve` again, it"
            " goes on."
        )
    return Evolution(folder, record_from(path, stored))


def write_units(folder: Path, columns: dict[str, Any]) -> None:
    """Writes units.parquet from one sequence a column."""
    table = pa.table(
        {
            name: pa.array(columns[name], type=UNITS_SCHEMA.field(name).type)
            for name in UNITS_SCHEMA.names
        }
    )
    write_atomic(
        folder / "units.parquet",
        lambda temporary: pq.write_table(table, temporary, compression="zstd"),
    )


def write_histograms(
    folder: Path, steps: Sequence[int], counts: Mapping[str, np.ndarray], edges: np.ndarray
) -> None:
    """Writes histograms.npz. ``counts``: int64 [steps, maps, bins] by layer; ``edges``: float32
    [bins + 1].

    In the file: ``histogram`` of all layers side by side, ``layer`` and ``start`` (where each one's
    maps begin), ``step``, ``edges``.
    """
    widths = [values.shape[1] for values in counts.values()]
    arrays: dict[str, Any] = {
        "step": np.array(steps, np.int32),
        "layer": np.array(list(counts), np.str_),
        "start": np.array([sum(widths[:index]) for index in range(len(widths))], np.int32),
        "histogram": np.concatenate(list(counts.values()), axis=1).astype(np.int64),
        "edges": np.asarray(edges, np.float32),
    }

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as handle:  # mostly zeros: of a hundred MB some are left
            np.savez_compressed(handle, **arrays)

    write_atomic(folder / "histograms.npz", write)


def write_tiles(path: Path, tiles: list[Tile]) -> None:
    """Writes one layer's tiles of one step: float16 over a float32 scale per tile (its largest
    magnitude).
    """
    shape = tiles[0].projection.shape if tiles else (0, 0, 3)
    scales = np.array(
        [max(float(np.abs(tile.projection).max()), 1e-30) for tile in tiles], np.float32
    )
    projections = np.array(
        [tile.projection / scale for tile, scale in zip(tiles, scales, strict=True)], np.float16
    )
    arrays = {
        "selection": np.array([tile.selection for tile in tiles], np.str_),
        "map": np.array([tile.map for tile in tiles], np.int32),
        "rank": np.array([tile.rank for tile in tiles], np.int32),
        "projection": projections.reshape(len(tiles), *shape),
        "scale": scales,
        "patch": np.array([tile.patch for tile in tiles], np.uint8).reshape(len(tiles), *shape),
    }
    write_arrays(path, arrays)
