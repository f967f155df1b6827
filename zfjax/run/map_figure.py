"""One map over the epochs as a matplotlib figure, which shows itself in a notebook. No JAX."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from zfjax.run.colours import INK, QUIET

DPI = 100
CELL, GAP, SIDE, HEAD = 84, 4, 110, 46
"""Pixels: of a tile's edge, between two, at the left for the rows' names, above for the title."""
CAPTION = 32
"""Pixels of the two lines above a column: its epoch, and its activation."""


class _Frame(Protocol):
    """``run.showing.Frame``, which builds on this file."""

    @property
    def caption(self) -> str: ...
    @property
    def pictures(self) -> tuple[np.ndarray, ...]: ...


Rows = Sequence[tuple[str, Sequence[_Frame]]]
"""Each with its name."""


class MapFigure(Figure):
    """A figure that a notebook shows whether or not pyplot has been imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        encoded = base64.b64encode(self._repr_png_()).decode()
        return f'<img alt="" src="data:image/png;base64,{encoded}">'


def figure_of_rows(title: str, rows: Rows, most: int) -> MapFigure:
    """The rows of a film with their words, equally many frames in each; of more than ``most``
    columns as many, evenly spaced, the first and the last among them.
    """
    count = max(len(frames) for _, frames in rows)
    kept = [round(index) for index in np.linspace(0, count - 1, min(count, most)).tolist()]
    highs = [_high([frames[index] for index in kept]) for _, frames in rows]
    width = SIDE + len(kept) * (CELL + GAP)
    height = HEAD + sum(highs) + CAPTION * len(rows)
    figure = MapFigure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")

    def write(text: str, x: float, y: float, colour: str = INK, size: float = 8) -> None:
        printable = text.encode("ascii", "replace").decode()
        where = x / width, 1 - y / height
        figure.text(*where, printable, color=colour, size=size, va="top", parse_math=False)

    left_out = f", {len(kept)} of {count} epochs" if len(kept) < count else ""
    write(f"{title}{left_out}", 8, 8, size=10)
    top = HEAD
    for (name, frames), high in zip(rows, highs, strict=True):
        write(name, 8, top + CAPTION, QUIET)
        for column, index in enumerate(kept):
            x, frame = SIDE + column * (CELL + GAP), frames[index]
            write(frame.caption.replace(": ", "\n"), x, top)
            for row, picture in enumerate(frame.pictures):
                down = top + CAPTION + row * (CELL + GAP)
                deep, wide = (CELL * edge / max(picture.shape[:2]) for edge in picture.shape[:2])
                box = (x / width, 1 - (down + deep) / height, wide / width, deep / height)
                axes = figure.add_axes(box)
                axes.imshow(picture, interpolation="nearest", aspect="auto")
                axes.set_axis_off()
        top += high + CAPTION
    return figure


def _high(frames: Sequence[_Frame]) -> int:
    """Pixels of a row's pictures."""
    return max(1, max(len(frame.pictures) for frame in frames)) * (CELL + GAP)
