"""A table of numbers as a picture, for the gallery: darker where a number is higher."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from zfjax.report.kit.style import ACCENT, FAINT, INK, QUIET, quiet_style

ROW, NAMES, LETTER = 0.22, 1.35, 0.055
"""Inches: a row's height, the width of the names at the left, and of a letter."""


def drawn_table(
    head: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str], Sequence[float]]],
    words: Sequence[str],
) -> Figure:
    """A row is (name, texts, shares): shares 0..1 say how dark a cell is, NaN leaves it white.

    ``head``: of the columns after the names; ``words``: lines below.
    """
    longest = max(len(text) for texts in [head, *(row[1] for row in rows)] for text in texts)
    column_width = max(0.6, LETTER * longest + 0.12)
    with quiet_style():
        width = NAMES + column_width * len(head) + 0.1
        height = ROW * (len(rows) + 1.3) + 0.13 * len(words) + 0.12
        figure = Figure(figsize=(width, height), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        for column, text in enumerate(head):
            middle = NAMES + column_width * (column + 0.5)
            axes.text(middle, 0.6 * ROW, text, ha="center", va="center", color=QUIET)
        axes.plot([0.08, width - 0.08], [1.15 * ROW] * 2, color=FAINT, lw=0.6)
        for index, (name, texts, shares) in enumerate(rows):
            top = ROW * (index + 1.25)
            axes.text(0.08, top + ROW / 2, name, va="center", color=INK)
            for column, (text, share) in enumerate(zip(texts, shares, strict=True)):
                left = NAMES + column_width * column
                right = left + column_width - 0.03
                if not math.isnan(share):
                    alpha = 0.06 + 0.5 * min(max(share, 0.0), 1.0)
                    axes.fill(
                        [left + 0.03, right, right, left + 0.03],
                        [top + 0.015] * 2 + [top + ROW - 0.015] * 2,
                        color=ACCENT, alpha=alpha, lw=0,
                    )  # fmt: skip
                axes.text(left + column_width / 2, top + ROW / 2, text, ha="center", va="center")
        below = ROW * (len(rows) + 1.25) + 0.1
        axes.text(0.08, below, "\n".join(words), va="top", color=QUIET, linespacing=1.35)
        return figure
