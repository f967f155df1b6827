"""A title, a sentence and a table: what runs, evolutions and measures show of themselves, as HTML
in a notebook and as plain lines in a terminal. No JAX.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from zfjax.errors import ZfjaxError

WIDTH = 100
"""Letters of a line of words in a terminal; a table is as wide as it is."""


@dataclass(frozen=True)
class Tabled:
    """What is shown."""

    title: str
    words: str
    heads: Sequence[str]
    """Of the columns; none for a table of two that says them itself."""
    rows: Sequence[Sequence[Any]]

    def html(self) -> str:
        """All texts are escaped."""
        head = Markup("").join(Markup("<th>{}</th>").format(each) for each in self.heads)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(
                Markup("").join(Markup("<td>{}</td>").format(str(cell)) for cell in row)
            )
            for row in self.rows
        )
        return str(
            Markup(
                "<div><b>{}</b><p>{}</p><table><thead><tr>{}</tr></thead>"
                "<tbody>{}</tbody></table></div>"
            ).format(self.title, self.words, head, body)
        )

    def lines(self) -> str:
        """The first column to the left, the others to the right of theirs; nothing that a terminal
        would obey.
        """
        said = textwrap.fill(f"{_printable(self.title)}. {_printable(self.words)}", WIDTH)
        rows = [self.heads, *self.rows] if self.heads else list(self.rows)
        cells = [[_printable(str(cell)) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        right = bool(self.heads)
        lined = (
            "  ".join(
                cell.rjust(width) if right and index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        )
        return "\n".join([said, *(line.rstrip() for line in lined)])


def lines_of(make: Callable[[], Tabled]) -> str:
    """``make().lines()``; of what cannot be read the reason: a debugger's repr must not raise."""
    try:
        return make().lines()
    except ZfjaxError as error:
        return f"<{_printable(str(error))}>"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
