"""The paper's pictures of features, as PNG and PDF: Fig. 4, Fig. 2 and the first layer's filters.
No JAX.

Every function returns the files by name; nothing is written here. Projections are shown around
mid-grey, each with its own scale (``pictures.colour_scale``); a dead map is an empty frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfjax.report.board import LINE, WIDTH, Board
from zfjax.report.kit.style import QUIET, TEXT_SIZE, quiet_style, text_width, wrap
from zfjax.report.kit.wording import epoch_name, number, plain
from zfjax.report.pictures import LayerPictures, MapPictures, Shot, filter_grid
from zfjax.report.words import choose, file_stem, searched, spread
from zfjax.run.evolution import Evolution

FIGURE4_COLUMNS = 8
FIGURE4_MAPS = 6
FILTER_COLUMNS = 5
MARGIN = 24
SMALL, TINY = TEXT_SIZE - 1.2, TEXT_SIZE - 1.8


@quiet_style()
def figure4_maps(layer: LayerPictures) -> tuple[MapPictures, ...]:
    """The maps of a layer that ``figure4`` shows."""
    return spread(layer.maps, FIGURE4_MAPS)


def figure4(
    evolution: Evolution, layers: Sequence[LayerPictures], network: str, photos: bool
) -> dict[str, bytes]:
    """Evolution of features through training (paper, Fig. 4): a block a layer, a row a map, a
    column an epoch.

    At most eight epochs, first and last among them, about evenly in log like the paper's; at most
    six maps a layer, several side by side for one or two epochs.
    """
    columns = choose(layers[0].epochs, FIGURE4_COLUMNS)
    # With few epochs, maps stand side by side in groups, or the paper would be mostly white.
    groups = max(1, min(3, FIGURE4_COLUMNS // (2 * len(columns))))
    chosen = [figure4_maps(layer) for layer in layers]
    left, gap, label = 216, 16, 60
    across = (WIDTH - left - MARGIN - label * (groups - 1)) // (groups * len(columns)) - gap
    edge = min(150, (across - 4) // 2 if photos else across)
    cell = 2 * edge + 4 if photos else edge
    header = LINE + 34
    block_heights = [max(-(-len(maps) // groups), 2) * (edge + 6) + 30 for maps in chosen]
    words = _figure4_caption(evolution, network, photos)
    caption_lines = len(wrap(words, WIDTH - 2 * MARGIN))
    board = Board(header + sum(block_heights) + 90 + caption_lines * LINE + MARGIN, _fine(layers))
    firsts = [left + group * (len(columns) * (cell + gap) + label) for group in range(groups)]
    board.write("epoch", 20, left - 22, ha="right", color=QUIET)
    for first in firsts:
        for index, column in enumerate(columns):
            start = first + index * (cell + gap)
            board.write(
                epoch_name(layers[0].epochs[column]),
                20,
                start + cell / 2,
                ha="center",
                weight="bold",
            )
    y = header
    for layer, maps, height in zip(layers, chosen, block_heights, strict=True):
        _layer_label(
            board, y, layer, [shot for map_ in maps for shot in map_.top if shot is not None]
        )
        for index, map_ in enumerate(maps):
            top, first = y + index // groups * (edge + 6), firsts[index % groups]
            board.write(
                f"{map_.map}",
                top + edge / 2,
                first - 22,
                va="center",
                ha="right",
                color=QUIET,
                size=TINY,
            )
            before = None
            for column_index, column in enumerate(columns):
                shot = map_.top[column]
                slot = _Slot(top, first + column_index * (cell + gap), edge, cell)
                _draw_unit(board, map_, shot, before, slot)
                before = shot
        y += height
    board.scale_bar(y + 8, MARGIN, "s = 99.5th percentile of each tile")
    board.caption(words, y + 90, MARGIN, MARGIN)
    return board.files("figure4")


@quiet_style()
def figure2(
    evolution: Evolution, layer: LayerPictures, network: str, photos: bool
) -> dict[str, bytes]:
    """The strongest images of each map at the last epoch (paper, Fig. 2): projections beside
    patches.
    """
    # A map's block is a line of words over a square of projections, side x side of them, with the
    # same square of patches at its right; without photos the first alone, so four blocks fit where
    # three did. The edge follows from the width of the paper: tiles as large as they can be.
    across = 3 if photos else 4
    side = max(1, int(np.ceil(evolution.record.top**0.5)))
    gap = 40
    width = (WIDTH - 2 * MARGIN - gap * (across - 1)) // across
    halves = 2 if photos else 1
    edge = (width - 10 * (halves - 1)) // (halves * side) - 2
    step = edge + 2
    block = side * step + LINE + 26
    rows = -(-len(layer.maps) // across)
    words = _figure2_caption(evolution, layer, network, photos)
    free = rows * across - len(layer.maps)
    # The last row is seldom full. Where it leaves two blocks or more, scale and caption stand in
    # that gap instead of below it: a figure of 16 maps is one row of blocks less tall.
    beside = free >= 2
    left = MARGIN + (across - free) * (width + gap) if beside else MARGIN
    bottom = LINE + 40 + (rows - beside) * block + 8
    lines = len(wrap(words, WIDTH - left - MARGIN))
    board = Board(
        max(LINE + 40 + rows * block, bottom + 84 + lines * LINE + MARGIN), _fine([layer])
    )
    epoch = epoch_name(evolution.epochs[-1])
    board.write(layer.layer, 16, MARGIN, weight="bold", size=TEXT_SIZE + 1.3)
    scales = [shot.scale for map_ in layer.maps for shot in map_.best]
    spans = f" · s {number(min(scales), 2)}–{number(max(scales), 2)}" if scales else ""
    facts = f"epoch {epoch} · {_field(layer)} · {searched(evolution)}{spans}"
    board.write(
        facts, 22, MARGIN + text_width(layer.layer, TEXT_SIZE + 1.3, "bold") + 26, color=QUIET
    )
    for index, map_ in enumerate(layer.maps):
        top, start = LINE + 40 + index // across * block, MARGIN + index % across * (width + gap)
        title = f"map {map_.map}"
        board.write(title, top, start, size=SMALL, weight="bold")
        if not map_.best:
            board.dead(top + 32, start, side * step - 2, width)
            continue
        beside_title = text_width(title, SMALL, "bold") + 18
        board.write(
            _common(map_, width - beside_title), top, start + beside_title, size=SMALL, color=QUIET
        )
        for rank, shot in enumerate(map_.best):
            y, x = top + 32 + rank // side * step, start + rank % side * step
            projection, patch = map_.pair(shot)
            board.tile(projection, y, x, edge)
            if patch is not None:
                board.tile(patch, y, x + side * step + 10, edge)
    board.scale_bar(bottom, left, "s = 99.5th percentile of each tile")
    board.caption(words, bottom + 84, left, MARGIN)
    return board.files(f"figure2-{file_stem(layer.layer, evolution.layers)}")


@quiet_style()
def filters_figure(evolution: Evolution, first_layer: str, network: str) -> dict[str, bytes]:
    """The filters of the network's first layer over the epochs, all of one epoch on one symmetric
    scale. {} where they are no parameter of the network as they stand.
    """
    kernels = evolution.filters
    steps = [step for step in evolution.steps if step in kernels]
    if not np.prod(kernels[steps[0]].shape):
        return {}
    epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))
    steps = [
        steps[index] for index in choose(tuple(epochs[step] for step in steps), FILTER_COLUMNS)
    ]
    gap = 36
    across = (WIDTH - 2 * MARGIN - gap * (len(steps) - 1)) // len(steps)
    grids = [filter_grid(kernels[step]) for step in steps]
    times = max(1, min(20, across // grids[0][0].shape[1]))
    height = grids[0][0].shape[0] * times
    shape = kernels[steps[0]].shape
    words = (
        f"The {shape[3]} filters of {first_layer} of {network}, {shape[0]} × {shape[1]} pixels"
        " each, from the first saved epoch to the last: zero is mid-grey, and all filters of one"
        " epoch share the scale s under it."
    )
    board = Board(
        LINE + 36 + height + 2 * LINE + len(wrap(words, WIDTH - 2 * MARGIN)) * LINE + MARGIN
    )
    for index, (step, (grid, scale)) in enumerate(zip(steps, grids, strict=True)):
        x = MARGIN + index * (across + gap)
        board.write(f"epoch {epoch_name(epochs[step])}", 16, x, weight="bold")
        board.place(grid.repeat(times, axis=0).repeat(times, axis=1), LINE + 30, x)
        board.write(f"s = {number(scale, 2)}", LINE + 40 + height, x, color=QUIET, size=SMALL)
    board.caption(words, 3 * LINE + 10 + height, MARGIN, MARGIN)
    return board.files("filters")


@dataclass(frozen=True)
class _Slot:
    """Where a unit's pictures lie, in pixels: the upper left corner, a picture's edge, and the
    width of projection and patch together.
    """

    y: int
    x: int
    edge: int
    width: int


def _draw_unit(
    board: Board, map_: MapPictures, shot: Shot | None, before: Shot | None, slot: _Slot
) -> None:
    if shot is None:
        board.dead(slot.y, slot.x, slot.edge, slot.width)
        return
    projection, patch = map_.pair(shot)
    board.tile(projection, slot.y, slot.x, slot.edge)
    if patch is not None:
        board.tile(patch, slot.y, slot.x + slot.edge + 4, slot.edge)
    if before is not None and before.row["image_id"] != shot.row["image_id"]:
        board.dot(slot.y + 5, slot.x - 7)


def _layer_label(board: Board, y: int, layer: LayerPictures, shots: list[Shot]) -> None:
    board.write(layer.layer, y, MARGIN, weight="bold", size=TEXT_SIZE + 0.6)
    board.write(_field(layer), y + LINE, MARGIN, color=QUIET, size=TINY)
    if shots:
        scales = [shot.scale for shot in shots]
        board.write(
            f"s {number(min(scales), 2)}\nto {number(max(scales), 2)}",
            y + LINE + 34,
            MARGIN,
            color=QUIET,
            size=TINY,
            linespacing=1.2,
        )


def _fine(layers: Sequence[LayerPictures]) -> int:
    return 2 if max(max(layer.tile_size) for layer in layers) > 64 else 1


def _field(layer: LayerPictures) -> str:
    return f"{layer.tile_size[0]} × {layer.tile_size[1]} px"


def _common(map_: MapPictures, width: float) -> str:
    """The commonest class of a map's strongest images and its count among those whose label is
    known, in at most ``width`` pixels.
    """
    known = [label for label in map_.labels[-1] if label is not None]
    if not known:
        return "no label" if text_width("no label", SMALL) <= width else ""
    label, count = Counter(known).most_common(1)[0]
    texts = [f"{plain(label, length)} {count} of {len(known)}" for length in range(14, 1, -1)]
    return next((text for text in texts if text_width(text, SMALL) <= width), texts[-1])


def _figure4_caption(evolution: Evolution, network: str, photos: bool) -> str:
    beside = (
        " (left) beside the image patch it came from (right)"
        if photos
        else " (image patches are left out)"
    )
    return (
        f"Evolution of features of {network}: for feature maps drawn at random, the"
        f" {plain(evolution.record.rule)} projection of the strongest activation among"
        f" {searched(evolution)} under the weights of each epoch{beside}; zero is mid-grey, and a"
        " dot marks a strongest image that is not that of the column before."
    )


def _figure2_caption(evolution: Evolution, layer: LayerPictures, network: str, photos: bool) -> str:
    beside = " beside the patches they came from" if photos else " (image patches are left out)"
    return (
        f"What excites {layer.layer} of {network} most: for feature maps drawn at random, the"
        f" {plain(evolution.record.rule)} projections of their {evolution.record.top} strongest"
        f" images of the {plain(evolution.record.split, 24)} split{beside}; zero is mid-grey."
    )
