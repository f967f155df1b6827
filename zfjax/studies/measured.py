"""What the measures of a grid's runs say of each layer at the last epoch. Nothing is computed here.
No JAX.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError

MEASURED = {
    "dead_share": "census",
    "dominance": "census",
    "aliasing": "spectrum",
    "coverage": "spectrum",
    "settled": "settling",
}
"""{quantity of a layer: the measure that has it}; columns of cells.parquet."""
ON_PAGE = {
    **MEASURED,
    "aliased_share": "census",
    **{band: "spectrum" for band in ("low", "mid", "high")},
}
"""Likewise, of the page."""
UNTRAINED = 0
"""The step before the first."""
FILTERS = "filters.npz"


@dataclass(frozen=True)
class Filters:
    """The first layer's kernels of a run."""

    kernels: np.ndarray
    """float32 [steps, height, width, inputs, maps]."""
    epochs: tuple[float, ...]


def lacking(folder: Path) -> tuple[str, ...]:
    """The measures that the run in ``folder`` has not, in the order of making, and FILTERS where it
    has none.
    """
    # The census reads the spectrum's aliasing, where that is there.
    measures = [
        name
        for name in ("spectrum", "census", "settling")
        if not (folder / "measures" / f"{name}.json").exists()
    ]
    return (*measures, *([] if (folder / FILTERS).exists() else [FILTERS]))


def read_filters(folder: Path) -> Filters | None:
    """Of the run in ``folder``; None where they were not kept. Raises ZfjaxError for a damaged
    file.
    """
    path = folder / FILTERS
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            kernels, epochs = stored["kernels"], stored["epochs"].tolist()
        if kernels.ndim != 5 or len(kernels) != len(epochs) or not epochs:
            raise ValueError("other arrays than filters")
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        raise ZfjaxError(
            f"{path} is damaged; delete it, and the same zfjax ablate makes it again."
        ) from None
    return Filters(kernels, tuple(epochs))


@dataclass(frozen=True)
class Measured:
    """What a run's measures say of its layers: {"conv1.dead_share": value}, None where a measure
    was not made, or says nothing of a layer.
    """

    last: Mapping[str, float | None]
    """At the last epoch."""
    untrained: Mapping[str, float | None]
    """Before training, where that was saved and measured and is not the last."""


def measured_columns(
    folder: Path, layers: tuple[str, ...], quantities: Mapping[str, str] = MEASURED
) -> dict[str, float | None]:
    """``read_measured(...).last``."""
    return dict(read_measured(folder, layers, quantities).last)


def read_measured(folder: Path, layers: tuple[str, ...], quantities: Mapping[str, str]) -> Measured:
    """From RUN/measures/NAME.parquet, whose rows have step, layer, map (null: the layer's),
    quantity and value. Raises ZfjaxError for a damaged file.
    """
    last: dict[tuple[str, str], tuple[int, float | None]] = {}
    untrained: dict[tuple[str, str], float | None] = {}
    for measure in dict.fromkeys(quantities.values()):
        for row in _rows(folder / "measures" / f"{measure}.parquet"):
            key = str(row["layer"]), str(row["quantity"])
            if row["map"] is None and quantities.get(key[1]) == measure:
                if key not in last or row["step"] > last[key][0]:
                    last[key] = row["step"], row["value"]
                if row["step"] == UNTRAINED:
                    untrained[key] = row["value"]
    keys = {f"{layer}.{name}": (layer, name) for layer in layers for name in quantities}
    return Measured(
        {name: last.get(key, (UNTRAINED, None))[1] for name, key in keys.items()},
        {
            name: untrained.get(key) if last.get(key, (UNTRAINED,))[0] > UNTRAINED else None
            for name, key in keys.items()
        },
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = ["step", "layer", "map", "quantity", "value"]
        return pq.read_table(path, columns=columns).to_pylist()
    except (OSError, pa.ArrowException):
        raise ZfjaxError(
            f"{path} is damaged; delete it and {path.stem}.json beside it, and the same zfjax"
            " ablate makes them again."
        ) from None
