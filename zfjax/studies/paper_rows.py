"""The rows of the paper's table: each statement with what was found of it, from saved files. No
JAX.

A row that cannot be answered says why, and the command that would fill it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zfjax.files import write_atomic
from zfjax.measures.verdicts import FAILS, HOLDS, UNKNOWN
from zfjax.studies.paper_numbers import NOT_MEASURED, Reading, judge, over_seeds
from zfjax.studies.paper_readings import Lacking, Saved
from zfjax.studies.paper_statements import EVOLUTION, STATEMENTS, Statement

CLAIMS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "figure", "claim", "published")),
        *((name, pa.float64()) for name in ("value", "low", "high")),
        ("n", pa.int64()),
        *((name, pa.string()) for name in ("over", "verdict", "command", "picture")),
    ]
)
"""Of claims.parquet: one row a statement. Undefined is null; ``verdict`` begins with "holds", "does
not hold", "cannot tell" or "not measured".
"""


COUNTED = {
    HOLDS: "hold",
    FAILS: "do not hold",
    UNKNOWN: "cannot be told",
    NOT_MEASURED: "not measured",
}
"""What a verdict begins with, and how many of it are counted."""


@dataclass(frozen=True)
class ClaimRow:
    """One statement and what was found."""

    id: str
    figure: str
    claim: str
    published: str
    number: str
    """What the number is, in words."""
    reading: Reading | None
    verdict: str
    command: str
    """That gives the number, or would."""
    picture: str = ""
    """Of the number, below RUN; "" for none."""
    why: str = ""
    """Why there is no number."""
    unit: str = ""
    """Of the number on the page; of "points" the number is a share, times 100 there."""

    @property
    def word(self) -> str:
        """The verdict without what follows it: "holds", "cannot tell", ..."""
        return next(word for word in COUNTED if self.verdict.startswith(word))

    @property
    def short(self) -> str:
        """The verdict without how many more would be needed."""
        return self.verdict.split(" (")[0]

    def record(self) -> dict[str, Any]:
        """The row of claims.parquet."""
        reading = self.reading
        numbers = {name: None for name in ("value", "low", "high", "n", "over")}
        if reading is not None:
            numbers = {name: getattr(reading, name) for name in numbers}
        texts = ("id", "figure", "claim", "published", "verdict", "command")
        record = {name: getattr(self, name) for name in texts}
        return {**record, **numbers, "picture": self.picture or None}


def missing_row(statement: Any, command: str, why: str = "") -> ClaimRow:
    """A row that cannot be answered; ``statement`` has id, figure, claim, published, number."""
    return ClaimRow(
        statement.id,
        statement.figure,
        statement.claim,
        statement.published,
        statement.number,
        None,
        NOT_MEASURED,
        command,
        why=why,
    )


def rows_of_run(
    saved: Sequence[Saved], command: Callable[[str], str], figures: Path, sheets: Path
) -> Iterator[ClaimRow]:
    """A row for each statement on a single run; several are of other seeds, the first is shown.
    ``command``: what makes a measure; ``figures``: the folder of the evolution's; ``sheets``: that
    of the pictures drawn for the page.
    """
    for statement in STATEMENTS:
        command_line = command(statement.needs)
        readings, why = [], ""
        for number, each in enumerate(saved):
            try:
                readings.append(statement.read(each))
            except Lacking as error:
                other = f"of seed run {number + 1}: " if number else ""
                why = f"{other}{error}"
        if why or len(readings) < len(saved):
            yield missing_row(statement, command_line, why)
            continue
        reading = over_seeds(readings)
        yield ClaimRow(
            statement.id,
            statement.figure,
            statement.claim,
            statement.published,
            statement.number,
            reading.cut,
            str(judge(reading, statement.side)),
            command_line,
            picture_of(statement, saved[0], figures, sheets),
            unit=statement.unit,
        )


def picture_of(statement: Statement, saved: Saved, figures: Path, sheets: Path) -> str:
    """The picture of a statement's number, below RUN, where it is there; else ""."""
    if statement.sheet and (sheets / statement.sheet).is_file():
        return f"{sheets.name}/{statement.sheet}"
    if statement.needs == EVOLUTION:
        layers = () if saved.evolution is None else saved.evolution.layers
        path = figures / statement.picture.replace("{deepest}", layers[-1] if layers else "")
    else:
        path = saved.measured(statement.needs).folder / statement.picture
    return f"{path.parent.name}/{path.name}" if statement.picture and path.is_file() else ""


def write_claims(path: Path, rows: Sequence[ClaimRow]) -> None:
    """Writes claims.parquet, whole or not at all."""
    records = [row.record() for row in rows]
    table = pa.table(
        {
            field.name: pa.array(
                [record[field.name] for record in records], field.type, from_pandas=True
            )
            for field in CLAIMS_SCHEMA
        }
    )
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def counts_of(rows: Sequence[ClaimRow]) -> Mapping[str, int]:
    """How many rows have which verdict, in words: {"hold": 4, "cannot be told": 12, ...}; none
    where it is 0.
    """
    counts = {words: sum(row.word == word for row in rows) for word, words in COUNTED.items()}
    return {words: count for words, count in counts.items() if count}
