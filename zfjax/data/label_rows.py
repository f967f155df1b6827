"""The rows of a label file, whatever separates its columns: lines of cells, or of JSON. Pure.

A separator is known by what it yields: under the right one a cell names an image of the source.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zfjax.data.class_names import decode_table
from zfjax.errors import ZfjaxError

_LOOKED_AT = 100
"""Lines at the beginning in which separators and quotes are looked for."""
_COUNTED = 10_000
"""Lines at the beginning by which ways to cut them are compared."""
Row = tuple[int, tuple[str, ...]]
"""The line where it ends, counted from 1, and its cells."""


@dataclass(frozen=True)
class Table:
    """The rows of a label file, all as long; ``header`` is None where its first line is a row."""

    header: tuple[str, ...] | None
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """What its columns are called: by the header, else by number from 1."""
        if self.header is not None:
            return self.header
        return tuple(
            str(number) for number in range(1, len(self.rows[0][1]) + 1 if self.rows else 1)
        )

    def column(self, index: int) -> list[str]:
        """One column's cells."""
        return [cells[index] for _, cells in self.rows]


def read_table(
    data: bytes, where: str, names_image: Callable[[str], bool], is_name: Callable[[str], bool]
) -> Table:
    """The table in a file's bytes. ``names_image``: whether a cell names an image of the source;
    ``is_name``: whether it is what a column may be called.

    Raises ZfjaxError, which names the file by ``where``, for another encoding than those of class
    tables, and for a damaged line of JSON.
    """
    lines = decode_table(data, where)
    if where.casefold().endswith((".jsonl", ".ndjson")):
        return _json_table(lines, where)

    def any_named(rows: Sequence[Row]) -> bool:
        return any(names_image(cell) for _, cells in rows for cell in cells)

    def counted(rows: Sequence[Row]) -> int:
        count = sum(any(map(names_image, cells)) for _, cells in rows[:_COUNTED])
        return count or any_named(rows[_COUNTED:])

    separated = [
        [_equally_long(list(read(lines))) for read in reads] for reads in _separations(where, lines)
    ]
    # A quote that nothing closes swallows lines, and with them names of images.
    best = next((max(ways, key=counted) for ways in separated if any(map(any_named, ways))), [])
    best = best or max(map(_equally_long, _spacings(lines)), key=counted)
    best = best if any_named(best) or not separated else separated[0][0]
    if not best:
        return Table(None, ())
    first = best[0][1]
    if sum(map(is_name, first)) > 1:  # an image may well be called image.jpg
        return Table(first, tuple(best[1:]))
    if any(map(names_image, first)):
        return Table(None, tuple(best))
    others = any(names_image(cell) for _, cells in best[1:] for cell in cells)
    if others or any(map(is_name, first)):
        return Table(first, tuple(best[1:]))
    return Table(None, tuple(best))


Read = Callable[[Sequence[str]], Iterator[Row]]


def _separations(where: str, lines: Sequence[str]) -> Iterator[list[Read]]:
    """The separators that lines have, those first that a file's name makes likely; of each the ways
    to cut there, with quotes and, where there are any, without.
    """
    beginning = "".join(lines[:_LOOKED_AT])
    quotings = [csv.QUOTE_MINIMAL, csv.QUOTE_NONE] if '"' in beginning else [csv.QUOTE_MINIMAL]
    for separator in ",\t;|" if where.casefold().endswith(".csv") else "\t,;|":
        if separator in beginning:
            yield [_separated(separator, quoting) for quoting in quotings]


def _spacings(lines: Sequence[str]) -> Iterator[list[Row]]:
    """The ways to cut lines at spaces: at all where a class is one word, beside numbers alone; at
    the last, where names of files have some; at the first, where those of classes have.
    """
    cut = [
        (number, line.split())
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if len({len(cells) for _, cells in cut}) == 1 and all(
        re.fullmatch(r"[-+.\d]+", cell) for _, cells in cut for cell in cells[2:]
    ):
        yield [(number, tuple(cells)) for number, cells in cut]
    yield [(number, tuple(lines[number - 1].rsplit(maxsplit=1))) for number, _ in cut]
    yield [(number, tuple(lines[number - 1].split(maxsplit=1))) for number, _ in cut]


def _separated(separator: str, quoting: Any) -> Read:
    def read(lines: Sequence[str]) -> Iterator[Row]:
        # A quoted cell may hold ends of lines.
        reader = csv.reader(
            (line + "\n" for line in lines),
            delimiter=separator,
            quoting=quoting,
            skipinitialspace=True,
        )
        try:
            for cells in reader:
                if any(map(str.strip, cells)) and not (
                    reader.line_num == 1 and re.fullmatch(r"sep=.?", "".join(cells))
                ):
                    yield reader.line_num, tuple(map(str.strip, cells))
        except csv.Error:  # a cell of more than 128 KiB: a quote that nothing closes
            return

    return read


def _equally_long(rows: list[Row]) -> list[Row]:
    width = max((len(cells) for _, cells in rows), default=0)
    return [(line, cells + ("",) * (width - len(cells))) for line, cells in rows]


def _json_table(lines: Sequence[str], where: str) -> Table:
    records: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise ZfjaxError(
                f'Line {number} of {where} is no JSON object such as {{"file_name": "a.jpg",'
                ' "label": "cat"}: mend it.'
            )
        records.append((number, record))
    header = tuple(dict.fromkeys(key for _, record in records for key in record))
    rows = ((line, tuple(_text(record.get(key)) for key in header)) for line, record in records)
    return Table(header, tuple(rows))


def _text(value: Any) -> str:
    """A value as a cell; what is no single value is none."""
    return str(value).strip() if isinstance(value, str | int | float) else ""
