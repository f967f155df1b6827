"""Tables of texts and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from zfjax.report.kit.shell import Piece, join_pieces, templates


@dataclass(frozen=True)
class Column:
    """One column: its head, and how its cells are set."""

    head: str | Piece
    words: bool = False
    """Of several words: may break its lines."""
    right: bool = False
    """Numbers to be compared: flush right."""
    dots: bool = False
    """Of dots with bars (``dots.dot_cell``): takes the width that is left."""

    @property
    def css_class(self) -> str:
        """Of its cells."""
        kinds = {"words": self.words, "right": self.right, "interval": self.dots}
        return " ".join(kind for kind, holds in kinds.items() if holds)


@dataclass(frozen=True)
class Row:
    """One row: what it is about, then its cells; None is said to be missing ("n/a")."""

    head: str | Piece
    cells: Sequence[str | Piece | None]
    mark: bool = False
    """Set apart from the others: the base, the best."""


def data_table(columns: Sequence[Column], rows: Sequence[Row], caption: str = "") -> Piece:
    """A table; the first column is the rows' heads. Texts are escaped; a cell may be a piece (a
    dot with bars, a tile). Too wide for the window, it scrolls by itself, not the page.

    Raises ValueError where a row has not one cell for each column but the first.
    """
    for row in rows:
        if len(row.cells) != len(columns) - 1:
            raise ValueError(
                f"Row {row.head!r} has {len(row.cells)} cells, not {len(columns) - 1}."
            )
    cells = [column.head for column in columns]
    cells += [cell for row in rows for cell in (row.head, *row.cells) if cell is not None]
    pieces = [cell for cell in cells if isinstance(cell, Piece)]
    template = templates("kit").get_template("table.html.j2")
    html = Markup(template.render(columns=columns, rows=rows, caption=caption))
    return join_pieces(pieces, html)
