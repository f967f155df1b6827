"""What the measures of a grid's runs say of each layer at the last epoch. Nothing is computed here.
No JAX.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError

MEASURED = {
    "dead_share": "census",
    "dominance": "census",
    "aliasing": "spectrum",
    "coverage": "spectrum",
    "settled": "settling",
}
"""{quantity of a layer: the measure that has it}."""


def measured_columns(folder: Path, layers: tuple[str, ...]) -> dict[str, float | None]:
    """{"conv1.dead_share": value} from RUN/measures/NAME.parquet, whose rows have step, layer, map
    (null: the layer's), quantity and value; None where a measure was not made, or says nothing of a
    layer. Raises ZfjaxError for a damaged file.
    """
    last: dict[tuple[str, str], tuple[int, float | None]] = {}
    for measure in dict.fromkeys(MEASURED.values()):
        for row in _rows(folder / "measures" / f"{measure}.parquet"):
            key = str(row["layer"]), str(row["quantity"])
            if row["map"] is None and MEASURED.get(key[1]) == measure:
                if key not in last or row["step"] > last[key][0]:
                    last[key] = row["step"], row["value"]
    return {
        f"{layer}.{quantity}": last.get((layer, quantity), (0, None))[1]
        for layer in layers
        for quantity in MEASURED
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = ["step", "layer", "map", "quantity", "value"]
        return pq.read_table(path, columns=columns).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ZfjaxError(f"{path} is damaged ({error}); measure that run again.") from None
