"""The way of one unit down to pixels, drawn: a row an operation, the whole signal and its strongest
maps. No JAX but in what is drawn.
"""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure

from zfjax.report.kit.style import QUIET, quiet_style
from zfjax.report.rowed import signed_bytes
from zfjax.run.colours import colour_scale
from zfjax.studies.demonstrations import Demonstration

MAPS = 6
"""Drawn of each step, the strongest first."""
WORDS = {
    "seeded": "the unit alone",
    "rectified": "rectified",
    "filtered": "filtered, transposed",
    "unpooled": "unpooled by its switches",
    "contrast norm": "passed through",
}
WORDS_WIDTH = 2.7
"""Of the column of words, in pictures."""


@quiet_style()
def step_figure(shown: Demonstration) -> bytes:
    """PNG, 1400 pixels wide."""
    # The seed is one positive number: its own rectification changes nothing.
    steps = [step for index, step in enumerate(shown.steps) if index != 1]
    rows, columns = len(steps), MAPS + 2
    figure = Figure(figsize=(10, 1.08 * rows + 0.5), dpi=140)
    grid = figure.add_gridspec(
        *(rows, columns), left=0.005, right=0.995, top=1 - 0.34 / (1.08 * rows + 0.5), bottom=0.01,
        width_ratios=(WORDS_WIDTH, *[1] * (columns - 1)), hspace=0.12, wspace=0.08,
    )  # fmt: skip
    for left, right, words in ((0, 1, "all maps"), (1, columns - 1, "its strongest maps")):
        middle = (WORDS_WIDTH + (left + right) / 2) / (WORDS_WIDTH + columns - 1)
        figure.text(middle, 1 - 0.2 / (1.08 * rows + 0.5), words, ha="center", color=QUIET, size=10)
    for row, step in enumerate(steps):
        beside = figure.add_subplot(grid[row, 0])
        beside.axis("off")
        size = float(np.sqrt((step.signal**2).sum()))
        taken = f", {step.cut:.0%} taken" if step.cut else ""
        height, width, maps = step.signal.shape
        beside.text(0, 0.62, f"{step.layer}: {WORDS[step.operation]}", va="center", fontsize=11)
        beside.text(
            0, 0.3, f"{height} × {width} × {maps}, size {size:.3g}{taken}", va="center",
            fontsize=10, color=QUIET,
        )  # fmt: skip
        last = row == rows - 1
        whole = step.signal if last else np.abs(step.signal).sum(axis=-1, keepdims=True)
        pictures = [whole] if last else [whole, *_strongest(step.signal)]
        if last:
            pictures.append(shown.patch)
        for column, picture in enumerate(pictures, start=1):
            axes = figure.add_subplot(grid[row, column])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.imshow(_bytes(picture), interpolation="nearest")
            if last:
                axes.set_xlabel("projection" if column == 1 else "the image", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _strongest(signal: np.ndarray) -> list[np.ndarray]:
    sizes = (signal.astype(np.float64) ** 2).sum(axis=(0, 1))
    order = np.argsort(-sizes, kind="stable")[:MAPS]
    return [signal[..., index : index + 1] for index in order if sizes[index] > 0]


def _bytes(picture: np.ndarray) -> np.ndarray:
    if picture.dtype == np.uint8:
        return picture
    return signed_bytes(picture, colour_scale(picture))
