"""Any two cells' evolutions side by side, under the page's one slider. No JAX.

Of each layer a few maps, drawn maps of that cell's own evolution: maps of one number are not the
same feature in two cells. All their pictures stay within a share of the page's budget: first their
quality goes down, then layers go, evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image

from zfjax.report.budget import BUDGET, LEAST_BYTES_A_PIXEL
from zfjax.report.kit.films import Film, film_data, film_now
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.slider import Choice
from zfjax.report.pictures import LayerPictures, make_sheet, read_layer
from zfjax.report.words import spread
from zfjax.run.evolution import Evolution
from zfjax.studies.claims import shown_name

MAPS = 6
"""Of each layer."""
EDGE, GAP = 72, 4
"""Pixels of a tile, and between two."""
QUALITIES = (75, 58, 45, 30)
"""Of the WebP sheets: the first that fits."""
SHARE = 0.25
"""Of the page's budget, before base64."""
WIDTH = 560
"""CSS pixels of one cell's row of maps, at most."""
MOST_CELLS = 8
"""Cells that may be chosen among: a page is to open at once."""
SCRIPT = """draws.push(() => document.querySelectorAll(".side > [data-cell]").forEach((row) => {
  const { cell, layer } = row.dataset, side = row.parentNode.dataset.side;
  row.hidden = cell !== state[side] || layer !== state.layer;
}));
"""


@dataclass(frozen=True)
class Evolved:
    """A cell that has an evolution: its number on the page, its name, and the evolution."""

    number: int
    name: str
    evolution: Evolution


def cell_choices(cells: Sequence[Evolved], stop_count: int) -> tuple[Choice, ...]:
    """Which two cells and which layer, for the slider; () for fewer than two cells."""
    cells = cells[:MOST_CELLS]
    if len(cells) < 2:
        return ()
    values = tuple((str(cell.number), f"{cell.number}") for cell in cells)
    return (
        Choice("left", "Left side", values),
        Choice("right", "Right side", (*values[1:], values[0])),
        Choice("layer", "Layer", tuple((layer, layer) for layer in layers_of(cells, stop_count))),
    )


def layers_of(cells: Sequence[Evolved], stop_count: int) -> tuple[str, ...]:
    """The layers that are shown, from the image up: all, or as many as the budget has room for at
    the lowest quality, evenly spaced, at least one.
    """
    cells = cells[:MOST_CELLS]
    layers = tuple(dict.fromkeys(layer for cell in cells for layer in cell.evolution.layers))
    pixels = sum(_board_pixels(cell, layer) for cell in cells for layer in cell.evolution.layers)
    least = max(1.0, stop_count * pixels * LEAST_BYTES_A_PIXEL)
    return spread(layers, max(1, int(len(layers) * min(1.0, SHARE * BUDGET / least))))


def _board_pixels(cell: Evolved, layer: str) -> int:
    height, width = cell.evolution.record.tile_size[layer]
    return (2 * max(1, round(EDGE * height / width)) + GAP) * (MAPS * (EDGE + GAP) - GAP)


def evolutions_side_by_side(
    cells: Sequence[Evolved], stops: Sequence[float], first_sheet: int
) -> Piece:
    """Both sides; each film's sheet has a number from ``first_sheet`` on. The page needs a slider
    with ``cell_choices``. Raises ZfjaxError for an evolution that is damaged.
    """
    shown = layers_of(cells, len(stops))
    quality = _quality(cells[:MOST_CELLS], shown, stops)
    films = [
        (cell, layer, film)
        for cell in cells[:MOST_CELLS]
        for layer in cell.evolution.layers
        if layer in shown and (film := _film(cell, layer, stops, quality)) is not None
    ]
    numbered = [
        (cell, layer, Film(**{**vars(film), "number": first_sheet + index}))
        for index, (cell, layer, film) in enumerate(films)
    ]
    data = [film_data(film) for _, _, film in numbered]
    rules = "".join(
        f".{film.css_class} .tile{{width:100%;max-width:{WIDTH}px;height:auto;"
        f"aspect-ratio:{film.sheet.tile[1]}/{film.sheet.tile[0]}}}"
        for _, _, film in numbered
    )
    rows = [_row(cell, layer, film) for cell, layer, film in numbered]
    there = {(cell.number, layer) for cell, layer, _ in numbered}
    layers = dict.fromkeys(layer for _, layer, _ in numbered)
    rows += [
        _absent(cell, layer)
        for cell in cells[:MOST_CELLS]
        for layer in layers
        if (cell.number, layer) not in there
    ]
    sides = Markup("").join(
        Markup('<div class="side" data-side="{}">{}</div>').format(side, Markup("").join(rows))
        for side in ("left", "right")
    )
    html = Markup('<div class="sides">{}</div>').format(sides)
    return join_pieces([*data, Piece(html, sheets=rules, script=SCRIPT)], html)


def _row(cell: Evolved, layer: str, film: Film) -> Markup:
    words = f"Maps of {layer} of {cell.name}"
    return Markup(
        '<div class="{}" data-cell="{}" data-layer="{}"><h3>{} {}, {}</h3>{}</div>'
    ).format(
        film.css_class,
        cell.number,
        layer,
        cell.number,
        shown_name(cell.name),
        layer,
        film_now(film, words).html,
    )


def _absent(cell: Evolved, layer: str) -> Markup:
    return Markup(
        '<div data-cell="{}" data-layer="{}"><h3>{} {}</h3><p class="note">Nothing of {} is drawn'
        " of it.</p></div>"
    ).format(cell.number, layer, cell.number, shown_name(cell.name), layer)


def _quality(cells: Sequence[Evolved], layers: Sequence[str], stops: Sequence[float]) -> int:
    """The best at which all sheets fit, reckoned from the first cell's: encoding all at each
    quality would take longer than the rest of the page.
    """
    for quality in QUALITIES[:-1]:
        films = [
            _film(cells[0], layer, stops, quality)
            for layer in cells[0].evolution.layers
            if layer in layers
        ]
        size = sum(film.sheet.byte_count for film in films if film is not None)
        if size * len(cells) <= SHARE * BUDGET:
            return quality
    return QUALITIES[-1]


def _film(cell: Evolved, layer: str, stops: Sequence[float], quality: int) -> Film | None:
    """Of one layer, with sheet number 0; None where nothing of it is drawn."""
    evolution = cell.evolution
    shown = steps_at(evolution, stops)
    steps = tuple(sorted({step for step in shown if step is not None}))
    maps = spread(evolution.maps(layer), MAPS)
    if not steps or not maps:
        return None
    # What is read ends with the last step searched, whether a stop shows it or not.
    pictures = read_layer(evolution, layer, tuple(sorted({*steps, evolution.steps[-1]})), maps)
    stack = np.stack([board_of(pictures, index) for index in range(len(steps))])
    index_of: Mapping[int, int] = {step: index for index, step in enumerate(steps)}
    frames = [None if step is None else index_of[step] for step in shown]
    sheet = make_sheet(stack, quality)
    captions = [f"maps {', '.join(map(str, maps))}"] * len(stops)
    return Film(f"maps-{cell.number}-{layer}", sheet, 0, frames, captions, large=WIDTH)


def steps_at(evolution: Evolution, stops: Sequence[float]) -> list[int | None]:
    """The last step searched up to each stop; None before the first."""
    epochs = list(zip(evolution.steps, evolution.epochs, strict=True))
    return [
        max((step for step, epoch in epochs if epoch <= stop + 1e-9), default=None)
        for stop in stops
    ]


def board_of(pictures: LayerPictures, index: int) -> np.ndarray:
    """Each map's strongest image at a step: projections above, patches below, uint8 [h, w, 3]; a
    map that is dead there, or beyond the last, is left white.
    """
    height, width = pictures.tile_size
    down = max(1, round(EDGE * height / width))
    board = np.full((2 * down + GAP, MAPS * (EDGE + GAP) - GAP, 3), 255, np.uint8)
    for column, map_ in enumerate(pictures.maps):
        shot = map_.top[index]
        if shot is None:
            continue
        left = column * (EDGE + GAP)
        for row, tile in enumerate(map_.pair(shot)):
            if tile is not None:
                top = row * (down + GAP)
                board[top : top + down, left : left + EDGE] = _resized(tile, (EDGE, down))
    return board


def _resized(tile: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``size``: width, height. Small tiles keep their pixels as squares."""
    small = max(tile.shape[:2]) * 2 <= max(size)
    kind = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(tile).resize(size, kind))
