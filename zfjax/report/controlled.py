"""The section on controls: how much of a projection is the unit's, in numbers and as pictures. No
JAX.
"""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from zfjax.report.board import enlarge
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import number, plain
from zfjax.report.pictures import Store, webp
from zfjax.run.colours import MID_GREY, to_bytes
from zfjax.run.measured import Measured

EDGE, GAP = 84, 6
"""Pixels of a picture's height at least, and between two rows."""


def controls_contents(controls: Measured, store: Store) -> list[Piece | Markup | str]:
    """Every number that the measure gives of a layer at its last epoch, with its interval, and the
    pictures that it keeps. Raises ZfjaxError where those are damaged.
    """
    last = controls.steps[-1]
    names = [
        name
        for name in controls.quantities()
        if any(last in controls.of_layer(name, layer) for layer in controls.layers)
    ]
    rows = [
        Row(
            plain(name.replace("_", " "), 60),
            [_cell(controls, name, layer) for layer in controls.layers],
        )
        for name in names
    ]
    columns = [Column("at the last epoch"), *(Column(plain(layer)) for layer in controls.layers)]
    words = plain(str(controls.meta.get("sentence", "")), 2000)
    return [
        Markup('<p class="said">{}</p>').format(words),
        data_table(columns, rows),
        Markup(
            '<p class="note">In brackets the quartiles over the layer\'s maps, or the interval that'
            " the measure gives.</p>"
        ),
        _pictures(controls, store),
    ]


def _cell(controls: Measured, name: str, layer: str) -> str | None:
    last = controls.steps[-1]
    value = controls.of_layer(name, layer).get(last, math.nan)
    low, high = controls.bounds(name, layer).get(last, (math.nan, math.nan))
    if not math.isfinite(value):
        return None
    between = f" ({number(low)} to {number(high)})" if math.isfinite(low + high) else ""
    return f"{number(value)}{between}"


def _pictures(controls: Measured, store: Store) -> Piece:
    """A picture a layer: a row for each map, its projection at the left, its controls beside it."""
    figures = []
    for layer in controls.layers:
        by_step = controls.pictures(layer)
        if not by_step:
            continue
        maps, pixels = by_step[max(by_step)]
        board = board_of_rows(pixels)
        uri = store(webp(board, 80), "webp")
        listed = ", ".join(map(str, maps.tolist()))
        figures.append(
            Markup(
                '<figure><figcaption>{}: maps {}, from above</figcaption><img class="controls"'
                ' src="{}" width="{}" height="{}" alt="Projections of {} beside their controls">'
                "</figure>"
            ).format(plain(layer), listed, uri, board.shape[1], board.shape[0], plain(layer))
        )
    if not figures:
        return Piece(Markup())
    words = Markup(
        '<p class="note">From the left: the unit\'s own projection; another unit at the same place;'
        " the same unit down the switches of another image; the network before training; the layer"
        " drawn anew; all layers drawn anew. Each on its own scale, zero is mid-grey; what is not"
        " there is grey. What stays in the second column is the image's, not the unit's.</p>"
    )
    html = words + Markup('<div class="controlled">{}</div>').format(Markup("").join(figures))
    return join_pieces([Piece(html)])


def board_of_rows(pixels: np.ndarray) -> np.ndarray:
    """Signed pictures in -1..1, float [n, height, width, 1 or 3], one below the other: uint8."""
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    shown = to_bytes(pixels, 1.0)
    height, width = shown.shape[1:3]
    edge = max(height, width, round(EDGE / height) * width)
    rows = [enlarge(picture, edge) for picture in shown]
    if not rows:
        return np.zeros((1, 1, 3), np.uint8)
    gap = np.full((GAP, rows[0].shape[1], 3), MID_GREY, np.uint8)
    stacked = [each for row in rows for each in (gap, row)][1:]
    return np.concatenate(stacked)
