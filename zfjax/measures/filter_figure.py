"""Filters of every layer as pixels, over the epochs: the picture of the measure ``weights``. No
JAX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfjax.report.board import LINE, WIDTH, Board
from zfjax.report.kit.style import QUIET, TEXT_SIZE, quiet_style, text_width, wrap
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.run.colours import colour_scale, to_bytes
from zfjax.run.measured import Measured

MARGIN, GAP = 24, 14
NAME: dict[str, Any] = {"size": TEXT_SIZE + 0.6, "weight": "bold"}
"""Of a layer."""
SIZE = TEXT_SIZE - 1.8
"""Of the line below it."""


@quiet_style()
def figure_of_filters(measured: Measured) -> dict[str, bytes]:
    """weights-pixels.png: a row a layer, a column an epoch, the same maps in each; {}
    where no filters were taken to pixels.
    """
    pictures = {name: measured.pictures(name) for name in measured.layers}
    pictures = {name: by_step for name, by_step in pictures.items() if by_step}
    if not pictures:
        return {}
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    columns = sorted({step for by_step in pictures.values() for step in by_step})
    labels = {name: _labels(name, by_step) for name, by_step in pictures.items()}
    left = MARGIN + label_width(list(labels.values())) + 2 * GAP
    cell = min(250, (WIDTH - left - MARGIN) // len(columns) - GAP)
    edge = (cell - 4) // 2
    words = (
        "Filters as pixels, without an image: what a map sums of what is under it if nothing is"
        " rectified or normalised and of each pool the middle cell is seen; maps drawn by seed, the"
        " same at every epoch, each tile on its own scale, zero mid-grey. A hint of the feature,"
        " the weaker the deeper the layer."
    )
    header, row = LINE + 28, cell + 26
    top = header + row * len(pictures)
    height = top + LINE * (len(wrap(words, WIDTH - 2 * MARGIN)) + 1)
    board = Board(height)
    board.write("epoch", 20, left - 2 * GAP, ha="right", color=QUIET)
    for column, step in enumerate(columns):
        x = left + column * (cell + GAP)
        board.write(epoch_name(epochs[step]), 20, x + cell / 2, ha="center", weight="bold")
    for index, (name, by_step) in enumerate(pictures.items()):
        y = header + index * row
        words_of_layer, words_of_size = labels[name]
        board.write(words_of_layer, y, MARGIN, **NAME)
        board.write(words_of_size, y + LINE, MARGIN, color=QUIET, size=SIZE)
        for column, step in enumerate(columns):
            for corner, pixels in enumerate(by_step[step][1][:4]):
                down, right = divmod(corner, 2)
                x = left + column * (cell + GAP)
                board.tile(_shown(pixels), y + down * (edge + 4), x + right * (edge + 4), edge)
    board.caption(words, top + 14, MARGIN, MARGIN)
    name = "weights-pixels"
    return {f"{name}.png": board.files(name)[f"{name}.png"]}


def _labels(layer: str, by_step: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> tuple[str, str]:
    """What stands beside a layer's row."""
    return plain(layer, 12), f"{next(iter(by_step.values()))[1].shape[1]} px wide"


def label_width(labels: Sequence[tuple[str, str]]) -> int:
    """Pixels that the labels beside the rows, and "epoch" above them, take. Within
    ``quiet_style``.
    """
    widths = [text_width("epoch")]
    for layer, size in labels:
        widths += [text_width(layer, NAME["size"], NAME["weight"]), text_width(size, SIZE)]
    return math.ceil(max(widths))


def _shown(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] != 3:
        pixels = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return to_bytes(pixels, colour_scale(pixels))
