"""Films: pictures by stop of the slider, side by side, and the one of the stop that is shown.

All pictures of a film are one sheet, packed by whoever has them, so that they compress well and
follow the slider without loading anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from zfjax.report.kit.shell import Piece, join_pieces

LOSSLESS_BELOW = 32
"""Pixels: tiles with a shorter longest edge are stored without loss and shown pixelated."""
PRINTED_SHARE = 0.56
"""Of a tile's edge in a strip: how large it is on paper."""


@dataclass(frozen=True)
class Sheet:
    """Equal pictures in one image, row by row. ``cell`` (height, width) is a tile plus what keeps
    neighbours apart.
    """

    uri: str
    columns: int
    rows: int
    cell: tuple[int, int]
    tile: tuple[int, int]
    byte_count: int


@dataclass(frozen=True)
class Film:
    """Equal pictures, one a stop of the slider."""

    name: str
    """Letters, digits and "-": unique on the page."""
    sheet: Sheet
    number: int
    """Of the sheet: unique on the page."""
    frames: Sequence[int | None]
    """By stop, the index of its picture in the sheet; None where it has none."""
    captions: Sequence[str] = ()
    """By stop, what is said under the picture shown; () for nothing."""
    large: int = 176
    """CSS pixels of the width of the picture shown."""
    small: int = 110
    """CSS pixels of the width of the pictures in the strip."""

    @property
    def css_class(self) -> str:
        """Of the element that strip and picture are put in: it gives the tiles their size."""
        return f"film-{self.name}"


def whole_film(film: Film, words: str) -> Piece:
    """The picture of the stop shown, and the strip of all under it. ``words`` say to screen readers
    what is shown. The page needs a slider with as many stops as the film has frames.
    """
    pieces = (film_now(film, words), film_strip(film, f"{words}: every epoch"), film_data(film))
    inner = join_pieces(pieces)
    html = Markup('<div class="{}">\n{}\n</div>').format(film.css_class, inner.html)
    return join_pieces([inner], html)


def film_strip(film: Film, words: str) -> Piece:
    """Every picture of ``film`` side by side, with its epoch; a click moves the slider there. Put
    it in an element of ``film.css_class``, on a page that has ``film_data(film)``.
    """
    return Piece(
        Markup(
            '<div class="strip" data-film="{}" tabindex="0" role="group" aria-label="{}"></div>'
        ).format(film.name, words)
    )


def film_now(film: Film, words: str) -> Piece:
    """The picture of the stop shown, with its epoch and caption; likewise."""
    return Piece(
        Markup(
            '<div class="now" data-film="{}"><div class="tile s{}" role="img"'
            ' aria-label="{}"></div><p class="caption"></p></div>'
        ).format(film.name, film.number, words)
    )


def film_data(film: Film) -> Piece:
    """What scripts and styles need to know of ``film``: once a film."""
    height, width = film.sheet.tile
    whole = max(height, width) < LOSSLESS_BELOW or max(height, width) < film.small

    def size(wanted: int) -> tuple[int, int]:
        # Small pictures are shown a whole number of times as large: their pixels stay squares.
        times = max(1, wanted // width) if whole else wanted / width
        return round(width * times), round(height * times)

    (large, small), paper = (size(film.large), size(film.small)), size(film.small)
    if whole:
        paper = (width, height)
    else:
        paper = (round(paper[0] * PRINTED_SHARE), round(paper[1] * PRINTED_SHARE))
    rule = (
        f".{film.css_class}{{--w:{large[0]}px;--h:{large[1]}px;--sw:{small[0]}px;"
        f"--sh:{small[1]}px;--pw:{paper[0]}px;--ph:{paper[1]}px}}"
    )
    if whole:
        rule += f".{film.css_class} .tile{{image-rendering:pixelated}}"
    values = {
        "sheet": sheet_values(film.sheet, film.number),
        "frames": list(film.frames),
        "captions": list(film.captions) or [""] * len(film.frames),
    }
    return Piece(
        Markup(), {"films": {film.name: values}}, sheet_rule(film.number, film.sheet) + rule
    )


def sheet_values(sheet: Sheet, number: int) -> dict[str, Any]:
    """What scripts need to aim a tile at one picture of ``sheet``."""
    ratio = [sheet.cell[0] / sheet.tile[0], sheet.cell[1] / sheet.tile[1]]
    return {"number": number, "columns": sheet.columns, "rows": sheet.rows, "ratio": ratio}


def sheet_rule(number: int, sheet: Sheet) -> str:
    """The CSS rule that gives ``.sN`` its picture; positions are set by the script."""
    across = 100 * sheet.columns * sheet.cell[1] / sheet.tile[1]
    down = 100 * sheet.rows * sheet.cell[0] / sheet.tile[0]
    return (
        f".s{number}{{background-image:url({sheet.uri});background-size:{across:.4f}% {down:.4f}%}}"
    )
