"""Accuracy against FLOPs: a dot a cell, its seeds beside it, drawn by matplotlib. No JAX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import offset_copy

from zfjax.report.kit.shell import Piece
from zfjax.report.kit.style import ACCENT, FAINT, INK, QUIET, quiet_style
from zfjax.report.kit.vector import svg_of
from zfjax.report.kit.wording import number

SIZE = (360, 240)
"""Points."""
WIDE = 4.0
"""Largest FLOPs over the smallest from which on the axis is logarithmic."""
ASIDE = 9.0
"""Points from a mean to its seeds, left of it: neither hides the other."""
PAPER = "#ffffff"
"""Round each mean, so that two that overlap are told apart."""
LABEL_GAP = 11.0
"""Points between two labels, at least."""


@dataclass(frozen=True)
class Spot:
    """One cell: its number on the page, what readers call it, MFLOPs of an image, top-1 in per cent
    by seed.
    """

    number: int
    name: str
    megaflops: float
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return sum(self.accuracies) / len(self.accuracies)


def tradeoff_chart(spots: Sequence[Spot]) -> Piece:
    """The chart, and which number is which cell; the first spot is the base. Those without
    accuracies are left out.
    """
    known = [spot for spot in spots if spot.accuracies]
    if not known:
        return Piece(Markup("<p>{}</p>").format("No run has finished yet."))
    drawing = _drawn(known)
    key = Markup("").join(
        Markup("<li><b>{}</b> {} <span>{}</span></li>").format(
            spot.number, spot.name, _figures(spot)
        )
        for spot in known
    )
    return Piece(
        Markup(
            '<div class="tradeoff"><figure><figcaption>Top-1, %; discs are means, the rings beside'
            " them single seeds, the line is the base{}</figcaption>{}</figure>"
            '<ul class="spots">{}</ul></div>'
        ).format(_range_words(known), drawing, key)
    )


def _figures(spot: Spot) -> str:
    return f"{spot.mean:.1f} % at {megaflop_words(spot.megaflops)} MFLOPs"


def megaflop_words(megaflops: float) -> str:
    """One decimal, as in a column of them; three digits below 1."""
    return f"{megaflops:,.1f}" if megaflops >= 1 else number(megaflops)


def _limits(spots: Sequence[Spot]) -> tuple[float, float]:
    """Of the axis of accuracies, per cent."""
    values = [value for spot in spots for value in spot.accuracies]
    margin = max(1.0, 0.12 * (max(values) - min(values)))
    return max(0.0, min(values) - margin), min(100.0, max(values) + margin)


def _range_words(spots: Sequence[Spot]) -> str:
    """That the axis is cut, so that heights are no measure of accuracies; "" where it is not."""
    return "" if _limits(spots)[0] == 0 else "; the scale does not begin at zero"


def _drawn(spots: Sequence[Spot]) -> Markup:
    width, height = SIZE
    with quiet_style(), rc_context({"font.size": 11}):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        axes = figure.add_axes((0.1, 0.19, 0.86, 0.78))
        costs = [spot.megaflops for spot in spots]
        axes.set_ylim(*_limits(spots))
        axes.set_xlabel("MFLOPs of one image's forward pass", color=QUIET, labelpad=5)
        _cost_axis(axes, min(costs), max(costs))
        axes.grid(axis="y", color=FAINT, lw=0.8, alpha=0.5)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=11, pad=6)
        axes.axhline(spots[0].mean, color=QUIET, lw=1.2)
        aside = offset_copy(axes.transData, figure, x=-ASIDE, units="points")
        for spot in spots:
            axes.plot(
                [spot.megaflops] * len(spot.accuracies),
                spot.accuracies,
                *("o",),
                ms=5.0,
                mfc="none",
                mec=QUIET,
                transform=aside,
            )
        for spot in spots[1:]:
            axes.plot(spot.megaflops, spot.mean, "o", ms=8.5, color=ACCENT, mec=PAPER)
        axes.plot(spots[0].megaflops, spots[0].mean, "o", ms=8.5, color=INK, mec=PAPER)
        _label(axes, spots)
        return svg_of(figure, "tradeoff", "Top-1 accuracy of each cell over its FLOPs")


def _cost_axis(axes: Axes, low: float, high: float) -> None:
    if high > WIDE * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.3, high * 1.3)
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.12 * (high - low) or 0.2 * high
        axes.set_xlim(max(0.0, low - margin), high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _label(axes: Axes, spots: Sequence[Spot]) -> None:
    """Numbers above and right of the dots, off the base's line; where dots are near each other,
    from the lowest up.
    """
    at = {spot.number: axes.transData.transform((spot.megaflops, spot.mean)) for spot in spots}
    set_down: list[tuple[float, float]] = []
    for spot in sorted(spots, key=lambda spot: spot.mean):
        across, up = (float(value) for value in at[spot.number])
        while any(
            abs(across - x) < 2.2 * LABEL_GAP and abs(up - y) < LABEL_GAP for x, y in set_down
        ):
            up += 1.0
        set_down.append((across, up))
        x, y = axes.transData.inverted().transform((across + 6, up + 7))
        axes.text(x, y, str(spot.number), va="center", color=INK, weight="bold")
