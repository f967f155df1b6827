"""A frame of a film: a layer's maps at one epoch, with the words around them. No JAX."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from zfjax.report.board import enlarge
from zfjax.report.kit.style import ACCENT, FAINT, INK, QUIET
from zfjax.report.kit.wording import epoch_name, percent
from zfjax.report.pictures import LayerPictures, MapPictures

WIDTH, HEIGHT = 1280, 720
MARGIN, TOP, BOTTOM, GAP, LABEL = 36, 106, 100, 14, 22
"""Pixels: at the sides, above and below the maps, between them, and of a map's number."""
STRIP, FINE = 50, 3
"""Pixels that the time line is high, and how many times larger it is drawn."""


@dataclass(frozen=True)
class FilmWords:
    """What is written in every frame of a film."""

    layer: str
    network: str
    accuracies: tuple[float | None, ...]
    """Top-1, 0..1, by epoch; None where it was not measured."""
    on: str
    """"validation images"."""
    caption: str


@lru_cache
def _font(size: int, weight: str = "normal") -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    wanted = font_manager.FontProperties(family="DejaVu Sans", weight=weight)
    return ImageFont.truetype(font_manager.findfont(wanted), size)


def grid_of(count: int) -> tuple[int, int, int]:
    """(columns, rows, edge in pixels) of ``count`` square pictures: as large as they can be, or a
    twentieth smaller where that leaves fewer gaps in the last row.
    """
    width, height = WIDTH - 2 * MARGIN, HEIGHT - TOP - BOTTOM
    grids = []
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        edge = min((width + GAP) // columns - GAP, (height + GAP) // rows - GAP - LABEL)
        grids.append((columns, rows, edge))
    largest = max(edge for _, _, edge in grids)
    fitting = [grid for grid in grids if grid[2] >= 0.95 * largest]
    return min(fitting, key=lambda grid: (grid[0] * grid[1] - count, -grid[2]))


def draw_frame(pictures: LayerPictures, index: int, said: FilmWords) -> np.ndarray:
    """Epoch number ``index`` of a layer: uint8 [720, 1280, 3]."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(canvas)
    _head(pen, pictures, index, said)
    columns, rows, edge = grid_of(len(pictures.maps))
    left = (WIDTH - columns * (edge + GAP) + GAP) // 2
    high = rows * (edge + GAP + LABEL) - GAP
    top = TOP + (HEIGHT - TOP - BOTTOM - high) // 2
    for position, map_ in enumerate(pictures.maps):
        row, column = divmod(position, columns)
        corner = left + column * (edge + GAP), top + row * (edge + GAP + LABEL)
        _map(canvas, pen, map_, index, (*corner, edge))
    _timeline(canvas, pictures.epochs, index, said.accuracies)
    lines = _lines(pen, said.caption, WIDTH - 2 * MARGIN)
    for line, words in enumerate(lines[:2]):
        pen.text((MARGIN, HEIGHT - 48 + 20 * line), words, QUIET, _font(14))
    return np.asarray(canvas)


def _head(pen: ImageDraw.ImageDraw, pictures: LayerPictures, index: int, said: FilmWords) -> None:
    pen.text((MARGIN, 20), said.layer, INK, _font(34, "bold"))
    after = MARGIN + pen.textlength(said.layer, _font(34, "bold")) + 28
    epoch = f"epoch {epoch_name(pictures.epochs[index])}"
    pen.text((after, 20), epoch, ACCENT, _font(34, "bold"))
    accuracy = said.accuracies[index]
    if accuracy is not None:
        words = f"top-1 {percent(accuracy)}".replace("\u2009", " ")
        pen.text((WIDTH - MARGIN, 20), words, INK, _font(30), anchor="ra")
        pen.text((WIDTH - MARGIN, 64), f"of {said.on}", QUIET, _font(16), anchor="ra")
    network = _lines(pen, said.network, WIDTH - 2 * MARGIN - 340, 16)
    pen.text((MARGIN, 66), network[0] + ("…" if len(network) > 1 else ""), QUIET, _font(16))


def _map(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    map_: MapPictures,
    index: int,
    where: tuple[int, int, int],
) -> None:
    x, y, edge = where
    shot = map_.top[index]
    if shot is None:
        pen.rectangle((x, y, x + edge - 1, y + edge - 1), outline=FAINT)
        pen.text((x + edge / 2, y + edge / 2), "dead", QUIET, _font(16), anchor="mm")
    else:
        tile = enlarge(map_.stack[shot.projection], edge)
        height, width = tile.shape[:2]
        corner = x + (edge - width) // 2, y + (edge - height) // 2
        canvas.paste(Image.fromarray(np.ascontiguousarray(tile)), corner)
        # White ends of a filter would run into the paper.
        left, top = corner[0] - 1, corner[1] - 1
        pen.rectangle((left, top, left + width + 1, top + height + 1), outline=FAINT)
        before = map_.top[index - 1] if index else None
        if before is not None and before.row["image_id"] != shot.row["image_id"]:
            pen.ellipse((x + edge - 10, y + edge + 7, x + edge - 1, y + edge + 16), fill=ACCENT)
    pen.text((x, y + edge + 3), f"map {map_.map}", QUIET, _font(14))


def _timeline(
    canvas: Image.Image, epochs: tuple[float, ...], index: int, accuracies: tuple[float | None, ...]
) -> None:
    """A line from the first epoch to the last, the accuracy above it (the highest as high as there
    is room), and where this frame is.
    """
    span = max(epochs[-1] - epochs[0], 1e-9)
    left, right, base, tall = MARGIN, WIDTH - MARGIN, STRIP - 12, STRIP - 24
    known = [value for value in accuracies if value is not None]
    highest = max(known, default=0.0) or 1.0
    xs = [left + (right - left) * (epoch - epochs[0]) / span for epoch in epochs]
    ys = [base - tall * (value or 0.0) / highest for value in accuracies]
    # Drawn large and made small: the curve is flat, and Pillow's lines have steps.
    strip = Image.new("RGB", (WIDTH * FINE, STRIP * FINE), "white")
    pen = ImageDraw.Draw(strip)

    def line(points: list[tuple[float, float]], colour: str, width: int) -> None:
        fine = [(FINE * x, FINE * y) for x, y in points]
        pen.line(fine, fill=colour, width=FINE * width, joint="curve")

    line([(left, base), (right, base)], FAINT, 2)
    curve = zip(xs, ys, accuracies, strict=True)
    if len(known) > 1:
        line([(x, y) for x, y, value in curve if value is not None], QUIET, 2)
    line([(left, base), (xs[index], base)], ACCENT, 4)
    ends = [FINE * (each + side) for side in (-7, 7) for each in (xs[index], ys[index])]
    pen.ellipse(ends, fill=ACCENT)
    canvas.paste(strip.resize((WIDTH, STRIP), Image.Resampling.BOX), (0, HEIGHT - 50 - STRIP))


def _lines(pen: ImageDraw.ImageDraw, words: str, width: float, size: int = 14) -> list[str]:
    lines = [""]
    for word in words.split():
        candidate = f"{lines[-1]} {word}".strip()
        if pen.textlength(candidate, _font(size)) <= width or not lines[-1]:
            lines[-1] = candidate
        else:
            lines.append(word)
    return lines
