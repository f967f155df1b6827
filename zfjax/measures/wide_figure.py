"""What figures two columns of a paper wide share: caption and legend below, layers in one hue. No
JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure

from zfjax.report.kit.style import DPI, INK, RAMP, TEXT_SIZE, wrap

WIDTH = 7.0
"""Inches."""
_LINE = 0.12
_HUE = LinearSegmentedColormap.from_list("layers", RAMP)


def layer_colour(index: int, count: int) -> str:
    """Of layer ``index`` of ``count``, from light to dark."""
    return to_hex(_HUE(index / max(1, count - 1)))


class WideFigure:
    """A figure of ``height`` inches above its caption: ``figure``, and the edges of its field."""

    def __init__(self, height: float, words: str) -> None:
        self.caption = wrap(words, (WIDTH - 0.3) * DPI)
        self.height = height + 0.5 + _LINE * len(self.caption)
        self.figure = Figure(figsize=(WIDTH, self.height))

    @property
    def edges(self) -> dict[str, float]:
        """Top and bottom of the field, for ``add_gridspec``."""
        bottom = (0.52 + _LINE * len(self.caption)) / self.height
        return {"top": 1 - 0.22 / self.height, "bottom": bottom}

    def finished(self, handles: Sequence[Any], names: Sequence[str]) -> Figure:
        """The figure with a legend of these lines, and its caption."""
        text = _LINE * len(self.caption) / self.height
        if names:
            self.figure.legend(
                handles,
                names,
                loc="lower left",
                ncols=8,
                frameon=False,
                borderaxespad=0,
                bbox_to_anchor=(0.012, text + 0.02 / self.height),
            )
        words = "\n".join(self.caption)
        self.figure.text(0.02, text, words, va="top", linespacing=1.35, color=INK)
        return self.figure


def title(axes: Axes, words: str) -> None:
    """Above a field."""
    axes.set_title(words, size=TEXT_SIZE + 0.6, weight="bold")
