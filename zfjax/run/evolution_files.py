"""The files of an evolution's folder: how they are written, and what is said of a damaged one. No
JAX.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zfjax.errors import ZfjaxError
from zfjax.files import write_arrays, write_atomic

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


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz. Raises ZfjaxError when it is absent or damaged."""
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ZfjaxError(unreadable(path, error)) from None


def unreadable(path: Path, error: Exception) -> str:
    """What is said of a file that cannot be read, and what to do."""
    what = (
        "is missing"
        if isinstance(error, FileNotFoundError)
        else f"is damaged ({type(error).__name__})"
    )
    return (
        f"{path} {what}; delete the evolution folder and run `zfjax evolve` again, or restore it"
        " from a copy."
    )


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


def tiles_folder(folder: Path, rule: str | None) -> Path:
    """Where an evolution's pictures by a rule are; None: the main one."""
    return folder / ("tiles" if rule is None else f"tiles-{rule}")


def write_tiles(path: Path, tiles: Iterable[Tile]) -> None:
    """Writes one layer's tiles of one step: float16 over a float32 scale per tile (its largest
    magnitude). Each is made small as it comes.
    """
    small = [_small(tile) for tile in tiles]
    shape = small[0].patch.shape if small else (0, 0, 3)
    arrays = {
        "selection": np.array([tile.selection for tile in small], np.str_),
        "map": np.array([tile.map for tile in small], np.int32),
        "rank": np.array([tile.rank for tile in small], np.int32),
        "projection": _stacked([tile.projection for tile in small], np.float16, shape),
        "scale": np.array([tile.scale for tile in small], np.float32),
        "patch": _stacked([tile.patch for tile in small], np.uint8, shape),
    }
    write_arrays(path, arrays)


@dataclass(frozen=True)
class _SmallTile:
    selection: str
    map: int
    rank: int
    projection: np.ndarray
    """float16, over ``scale``."""
    scale: np.float32
    patch: np.ndarray


def _small(tile: Tile) -> _SmallTile:
    scale = np.float32(max(float(np.abs(tile.projection).max()), 1e-30))
    projection = (tile.projection / scale).astype(np.float16)
    return _SmallTile(tile.selection, tile.map, tile.rank, projection, scale, tile.patch)


def _stacked(arrays: list[np.ndarray], dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.array(arrays, dtype).reshape(len(arrays), *shape)
