"""A finished transfer: what a run's features are worth on another data set, as a table, read from
RUN/transfer. No JAX.

``<name>.parquet`` holds the numbers, ``<name>.json`` what was asked and the sentence,
``<name>.txt`` and ``<name>.png`` the same for people; ``<name>.folds`` each fold as it was done.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zfjax.errors import ZfjaxError, quoted
from zfjax.files import read_json, write_atomic
from zfjax.run.folder import checked_name
from zfjax.studies.folds import Summary
from zfjax.values import Text, text

PRETRAINED, SCRATCH, DIFFERENCE = "pretrained", "scratch", "difference"

TRANSFER_SCHEMA = pa.schema(
    [
        ("arm", pa.string()),
        ("step", pa.int32()),
        ("epoch", pa.float64()),
        ("layer", pa.string()),
        ("images_per_class", pa.int32()),
        ("fold", pa.int32()),
        ("value", pa.float64()),
        ("sd", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int32()),
        ("classes", pa.int32()),
        ("train_images", pa.int32()),
        ("test_images", pa.int32()),
        ("learning_rate", pa.float64()),
    ]
)
"""One row a fold, size and arm, ``value`` its mean per-class accuracy 0..1; and where ``fold`` is
null their mean over ``n`` folds, its standard deviation, and the ends of its interval. ``step`` and
``epoch`` are null for "scratch"; "difference" is pretrained minus scratch, paired by fold.
Undefined is null, never NaN.
"""


@dataclass(frozen=True)
class Transferred:
    """A finished transfer of a run."""

    folder: Path
    """RUN/transfer."""
    name: str
    """Of its files."""
    meta: Mapping[str, Any]
    """"asked", "sentence", "figures", "overlap", "steps", "epochs", "seconds"."""
    table: pa.Table
    """Columns in TRANSFER_SCHEMA."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Saved steps whose features were tried, ascending."""
        return tuple(self.meta["steps"])

    @property
    def sizes(self) -> tuple[int, ...]:
        """Training images a class, ascending."""
        return tuple(self.meta["asked"]["images_per_class"])

    def summaries(self, arm: str, step: int | None = None) -> dict[int, Summary]:
        """The means over folds by training images a class; {} where the arm was not asked for.
        ``step``: None for "scratch".
        """
        return {
            row["images_per_class"]: _summary(row)
            for row in self._rows(arm, step)
            if row["fold"] is None
        }

    def values(self, arm: str, step: int | None = None) -> dict[int, tuple[float, ...]]:
        """Each fold's number, in their order, by training images a class."""
        values: dict[int, list[float]] = {}
        for row in self._rows(arm, step):
            if row["fold"] is not None:
                values.setdefault(row["images_per_class"], []).append(row["value"])
        return {size: tuple(numbers) for size, numbers in values.items()}

    def _rows(self, arm: str, step: int | None) -> list[dict[str, Any]]:
        rows = self.table.to_pylist()
        return [row for row in rows if row["arm"] == arm and row["step"] == step]


def _summary(row: Mapping[str, Any]) -> Summary:
    mean, sd, low, high = (
        math.nan if row[name] is None else float(row[name])
        for name in ("value", "sd", "low", "high")
    )
    return Summary(mean, sd, low, high, int(row["n"]))


def transfer_folder(run_folder: Path) -> Path:
    """RUN/transfer."""
    return run_folder / "transfer"


def stem_of(to: Text, name: Text | None = None) -> str:
    """What the files of a transfer are called: the data set's name, and NAME where one is given.
    Raises ZfjaxError for a name that is none.
    """
    name = checked_name(name)
    stem = text(to, "--to").replace("/", "-")
    return stem if name is None else f"{stem}-{name}"


def transferred_names(run_folder: Path) -> tuple[str, ...]:
    """The finished transfers of a run, by name."""
    folder = transfer_folder(run_folder)
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def open_transferred(run_folder: Path, name: str) -> Transferred:
    """A finished transfer. Raises ZfjaxError when it is absent or damaged."""
    folder = transfer_folder(run_folder)
    path = folder / f"{name}.json"
    if not path.exists():
        there = ", ".join(transferred_names(run_folder)) or "none"
        raise ZfjaxError(
            f"There is no transfer {name!r} in {folder} (there: {there}); run `zfjax transfer"
            f" --workdir {quoted(run_folder)} --to {name}` first."
        )
    meta = read_json(path)
    if not isinstance(meta, dict) or not {"asked", "steps", "epochs", "notes"} <= set(meta):
        raise ZfjaxError(
            f"{path} is no record of a transfer; delete it and run the same `zfjax transfer` again:"
            " finished folds are kept."
        )
    table_path = folder / f"{name}.parquet"
    try:
        table = pq.read_table(table_path, schema=TRANSFER_SCHEMA)
    except (OSError, pa.ArrowException):
        raise ZfjaxError(
            f"{table_path} is missing or damaged; delete {path.name} beside it and run the same"
            " `zfjax transfer` again: finished folds are kept."
        ) from None
    return Transferred(folder, name, meta, table)


def transfer_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table of these rows; what a row lacks, and NaN, is null."""
    return pa.table(
        {
            field.name: pa.array(
                [row.get(field.name) for row in rows], type=field.type, from_pandas=True
            )
            for field in TRANSFER_SCHEMA
        }
    )


def write_transfer_table(path: Path, table: pa.Table) -> None:
    """Writes the table, whole or not at all."""
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
