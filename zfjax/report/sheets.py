"""Features at a size at which they are seen: what excites maps of every layer (paper, Fig. 2), and
a projection beside what changes it (Fig. 1). For the paper's page and the gallery. No JAX.

A deep projection is strong in a few pixels: divided by the 99.5th percentile of its magnitudes, as
elsewhere, all but these is grey. Here it is divided by the 98th, which the sheet says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfjax.report.board import LINE, Board
from zfjax.report.kit.style import QUIET, TEXT_SIZE, quiet_style, text_width, wrap
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.report.pictures import label_of
from zfjax.report.rowed import signed_bytes
from zfjax.report.words import searched, spread
from zfjax.run.colours import colour_scale
from zfjax.run.evolution import Evolution
from zfjax.run.measured import Measured

PERCENTILE = 98.0
"""Of the magnitudes of one projection: what becomes black or white."""
WIDTH, MARGIN, EDGE = 1600, 8, 128
"""Pixels of a sheet across, of its rim, and of a picture: twice 64, so that these stay sharp."""
MOST_LAYERS, MAPS, CONTROLLED = 6, 2, 3
"""Layers of a sheet; maps of each that are shown with their strongest images, and with controls."""
WAYS = ("patch", "projection", "another\nunit", "another\nimage", "before\ntraining")
"""The columns of ``controls_sheet``; all but the first as the measure keeps them, side by side."""
SMALL = TEXT_SIZE - 0.8


@dataclass(frozen=True)
class _Corner:
    y: int
    x: int


@quiet_style()
def features_sheet(evolution: Evolution, network: str) -> bytes:
    """A PNG, WIDTH across: the strongest images of MAPS maps a layer at the last epoch, projections
    at the left, patches at the right; of many layers MOST_LAYERS.
    """
    layers = spread(evolution.layers, MOST_LAYERS)
    side = max(1, int(np.ceil(evolution.record.top**0.5)))
    edge = EDGE * 3 // max(3, side)
    across = (WIDTH - 2 * MARGIN + 24) // MAPS
    words = (
        f"What excites maps of {network} most at epoch {epoch_name(evolution.epochs[-1])}:"
        f" {MAPS} maps a layer, the first of those drawn at random, each with the"
        f" {plain(evolution.record.rule)} projections of its {evolution.record.top} strongest"
        f" images of {searched(evolution)}, and with the patches they came from.{_scale_words()}"
    )
    block = LINE + 6 + side * (edge + 2) + 22
    lines = wrap(words, WIDTH - 2 * MARGIN)
    board = Board(len(layers) * block + LINE * len(lines) + 24, width=WIDTH)
    for row, layer in enumerate(layers):
        tiles = evolution.tiles(layer, evolution.steps[-1])
        alive = [map_ for map_ in evolution.maps(layer) if ("top", map_, 0) in tiles]
        if not alive:
            board.write(plain(layer, 24), row * block + 6, MARGIN, weight="bold")
            board.dead(row * block + LINE + 6, MARGIN, edge, across - 24)
        for index, map_ in enumerate(alive[:MAPS]):
            y, x = row * block, MARGIN + index * across
            _title(
                board, _Corner(y + 6, x), layer if index == 0 else "", _said(evolution, layer, map_)
            )
            for rank in range(evolution.record.top):
                tile = tiles.get(("top", map_, rank))
                if tile is not None:
                    down = y + LINE + 6 + rank // side * (edge + 2)
                    right = x + rank % side * (edge + 2)
                    _lay(board, strong_bytes(tile.projection), _Corner(down, right), edge)
                    beside = _Corner(down, right + side * (edge + 2) + 8)
                    _lay(board, tile.patch, beside, edge)
    board.caption(words, len(layers) * block + 4, MARGIN, MARGIN)
    return board.files("sheet", ("png",))["sheet.png"]


@quiet_style()
def controls_sheet(controls: Measured, evolution: Evolution | None) -> bytes | None:
    """A PNG, WIDTH across: of CONTROLLED maps a layer the projection of a unit at the last epoch
    beside WAYS, two layers side by side. ``evolution``: where the patches are from; None: without
    them. None where the measure has kept no pictures.
    """
    kept = {layer: controls.pictures(layer) for layer in controls.layers}
    layers = spread(tuple(layer for layer, by_step in kept.items() if by_step), MOST_LAYERS)
    if not layers:
        return None
    step = max(kept[layers[0]])
    epoch = epoch_name(dict(zip(controls.steps, controls.epochs, strict=True))[step])
    caption = (
        f"One unit's projection at epoch {epoch} and what changes it: another unit of the layer at"
        " the same place of the same image; the same unit down the switches of another image; the"
        " network before training. Under each its cosine with the projection."
        f"{_scale_words()}"
    )
    header, row, between = 2 * LINE + 12, EDGE + LINE - 6, LINE + 14
    block = between + CONTROLLED * row
    blocks, across = -(-len(layers) // 2), WIDTH // 2
    lines = wrap(caption, WIDTH - 2 * MARGIN)
    board = Board(header + blocks * block + LINE * len(lines) + 24, width=WIDTH)
    step_across = (across - 2 * MARGIN - 16) // len(WAYS)
    for index, layer in enumerate(layers):
        y, x = header + index // 2 * block, MARGIN + index % 2 * (across + 16)
        if index < 2:
            for column, word in enumerate(WAYS):
                middle = x + column * step_across + EDGE / 2
                for up, text in enumerate(reversed(word.split("\n"))):
                    style = {"ha": "center", "va": "baseline", "size": SMALL, "color": QUIET}
                    board.write(text, 2 * LINE - 14 - 38 * up, middle, **style)
        board.write(plain(layer, 24), y, x, weight="bold")
        maps, pixels = kept[layer].get(step, ((), ()))
        for down, (map_, joined) in enumerate(list(zip(maps, pixels, strict=True))[:CONTROLLED]):
            corner = _Corner(y + between - 8 + down * row, x)
            patch = _patch_of(evolution, layer, step, int(map_))
            if patch is not None:
                _lay(board, patch, corner, EDGE)
            width = joined.shape[1] // KEPT
            for column in range(1, len(WAYS)):
                picture = joined[:, (column - 1) * width : column * width]
                at = _Corner(corner.y, x + column * step_across)
                if not picture.any():
                    board.dead(at.y, at.x, EDGE, EDGE, "none")
                    continue
                _lay(board, strong_bytes(picture), at, EDGE)
                if column > 1:
                    values = controls.of_maps(LIKENESS[column - 2], layer).get(step)
                    if values is not None and np.isfinite(values[int(map_)]):
                        words = f"{values[int(map_)]:.2f}".replace("-", "−")
                        below = at.y + EDGE + 1
                        board.write(words, below, at.x, color=QUIET, size=TEXT_SIZE - 1.4)
    board.caption(caption, header + blocks * block + 4, MARGIN, MARGIN)
    return board.files("sheet", ("png",))["sheet.png"]


KEPT = 6
"""Pictures that the measure controls keeps of a map, side by side."""
LIKENESS = ("cosine_swapped", "cosine_switches", "cosine_initial")
"""By column of WAYS, from the third."""


def strong_bytes(projection: np.ndarray) -> np.ndarray:
    """uint8 [height, width, 3] of a signed projection, over its own PERCENTILE."""
    return signed_bytes(projection, colour_scale(projection, PERCENTILE))


def _scale_words() -> str:
    return (
        f" Zero is mid-grey; each projection has its own scale, the {PERCENTILE:g}th percentile of"
        " its magnitudes."
    )


def _patch_of(evolution: Evolution | None, layer: str, step: int, map_: int) -> np.ndarray | None:
    if evolution is None or layer not in evolution.layers or step not in evolution.steps:
        return None
    tile = evolution.tiles(layer, step).get(("top", map_, 0))
    return None if tile is None else tile.patch


def _lay(board: Board, picture: np.ndarray, corner: _Corner, edge: int) -> None:
    """In the middle of a square: enlarged a whole number of times where it is smaller."""
    times = edge // max(picture.shape[:2])
    if times < 1:
        board.tile(picture, corner.y, corner.x, edge)
        return
    large = picture.repeat(times, axis=0).repeat(times, axis=1)
    top, left = ((edge - extent) // 2 for extent in large.shape[:2])
    board.place(large, corner.y + top, corner.x + left)


def _title(board: Board, corner: _Corner, layer: str, said: Sequence[str]) -> None:
    x = float(corner.x)
    name = plain(layer, 24) if layer else ""
    for text, style in ((name, "bold"), (said[0], "bold"), (said[1], "normal")):
        if text:
            colour = {"color": QUIET} if style == "normal" else {}
            board.write(text, corner.y, x, weight=style, size=SMALL, **colour)
            x += text_width(text, SMALL, style) + 18


def _said(evolution: Evolution, layer: str, map_: int) -> tuple[str, str]:
    """ "map 3" and "flower 8 of 9"."""
    rows = evolution.rows(layer=layer, step=evolution.steps[-1], map=map_, selection="top")
    known = [label for label in (label_of(row) for row in rows) if label is not None]
    if not known:
        return f"map {map_}", ""
    label, count = Counter(known).most_common(1)[0]
    return f"map {map_}", f"{plain(label, 16)} {count} of {len(known)}"
