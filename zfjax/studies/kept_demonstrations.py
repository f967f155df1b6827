"""RUN/paper/demonstrations.npz: what was computed for the readers' questions, for the page to be
written again without computing (``zfjax paper --saved-only``).

The way of a unit is kept as it is drawn, for its signals are as large as the network's maps.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.files import write_arrays
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.studies.demonstrations import Demonstration, Edges, RuleNumbers, demonstrate, shown_units
from zfjax.studies.drawn_steps import step_figure
from zfjax.values import Place

FILE = "demonstrations.npz"
NOT_KEPT = (
    "--saved-only computes nothing, and of this evolution nothing lies in RUN/paper; zfjax paper"
    " --workdir RUN computes it"
)


@dataclass(frozen=True)
class Told:
    """A demonstration as the page has it."""

    unit: dict[str, Any]
    """The row of units.parquet whose way is drawn."""
    figure: bytes
    """PNG of its way down."""
    rules: dict[str, RuleNumbers]
    edges: Edges | None


def demonstrations_of(
    run: Run, evolution: Evolution, *, compute: bool, data_dir: Place | None = None
) -> tuple[Told | None, str]:
    """(what is demonstrated, computed and kept in RUN/paper or only read there; why not)."""
    folder = run.folder / "paper"
    if not compute:
        told = read_demonstrations(folder, evolution)
        return told, "" if told is not None else NOT_KEPT
    try:
        told = told_of(demonstrate(run, evolution, data_dir))
    except ZfjaxError as error:
        return None, str(error)
    keep_demonstrations(folder, told)
    return told, ""


def told_of(shown: Demonstration) -> Told:
    """With the way drawn."""
    return Told(shown.unit, step_figure(shown), shown.rules, shown.edges)


def keep_demonstrations(folder: Path, told: Told) -> None:
    """Writes FILE into ``folder``, whole or not at all."""
    record = {
        "unit": told.unit,
        "rules": {
            name: {key: values.tolist() for key, values in vars(numbers).items()}
            for name, numbers in told.rules.items()
        },
        "edges": None if told.edges is None else asdict(told.edges),
    }
    figure = np.frombuffer(told.figure, np.uint8)
    write_arrays(folder / FILE, {"figure": figure, "record": np.array(json.dumps(record))})


def read_demonstrations(folder: Path, evolution: Evolution) -> Told | None:
    """What ``folder`` keeps of this evolution; None where there is nothing, or only what was
    computed for another one, whose unit is not the same.
    """
    try:
        with open(folder / FILE, "rb") as handle, np.load(handle) as arrays:
            figure, record = arrays["figure"].tobytes(), json.loads(str(arrays["record"]))
        edges = record["edges"]
        told = Told(
            record["unit"],
            figure,
            {
                name: RuleNumbers(**{key: np.array(values) for key, values in numbers.items()})
                for name, numbers in record["rules"].items()
            },
            None if edges is None else _edges(edges),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        return None  # absent or damaged: computed anew
    units = shown_units(evolution)
    # As JSON has them: a name's float32 is not the table's.
    return told if units and json.loads(json.dumps(units[0])) == told.unit else None


def _edges(record: dict[str, Any]) -> Edges:
    answers, down, swapped = (tuple(record[name]) for name in ("answers", "down", "swapped"))
    return Edges(answers, down, swapped, float(record["adjoint"]))
