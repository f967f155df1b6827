"""The picture of the measure ``equivariance``. No JAX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfjax.measures.wide_figure import WideFigure, layer_colour, title
from zfjax.report.kit.style import FAINT, QUIET
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.run.measured import Measured


def figure_of_codes(measured: Measured, layers: Sequence[str]) -> Figure:
    """How far maxima move and how much they change over the shifts, at the last epoch, and both
    over the epochs. The caller has entered ``quiet_style``.
    """
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    wide = WideFigure(
        2.6,
        f"An image moved within its frame, at epoch {epoch_name(measured.epochs[-1])}. Left: how"
        " far the places of the maps' maxima move; dashed: as far as the image (a place code)."
        " Middle: how much their values change, fully connected units too (a rate code). Right:"
        f" both over the epochs. Means of {measured.counts('rate_change')} images.",
    )
    figure = wide.figure
    grid = figure.add_gridspec(2, 3, hspace=0.5, wspace=0.3, left=0.06, right=0.985, **wide.edges)
    moved, changed = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[:, 1])
    slopes, changes = figure.add_subplot(grid[0, 2]), figure.add_subplot(grid[1, 2])
    for index, layer in enumerate(layers):
        colour = layer_colour(index, len(layers))
        for axes, name, times in ((moved, "moved", 1), (changed, "changed", 100)):
            if points := _over_shifts(measured, layer, name):
                shifts, values = zip(*points, strict=True)
                line = [times * value for value in values]
                axes.plot(shifts, line, color=colour, lw=1.1, label=plain(layer, 16))
        for axes, name, times in ((slopes, "place_slope", 1), (changes, "rate_change", 100)):
            _over_epochs(axes, measured.of_layer(name, layer), epochs, times, colour)
    reach = max((abs(x) for axes in (moved,) for x in axes.get_xlim()), default=1)
    moved.plot([-reach, reach], [-reach, reach], color=QUIET, lw=0.8, ls=(0, (3, 2)), zorder=0)
    moved.set_xlabel("shift of the image, px")
    changed.set_xlabel("shift of the image, px")
    title(moved, "movement of maxima, px")
    title(changed, "change of their values, %")
    title(slopes, "movement, px a px")
    title(changes, "change, %")
    changes.set_xlabel("epoch")
    changed.set_ylim(bottom=0)
    changes.set_ylim(bottom=0)
    for axes in (moved, changed, slopes, changes):
        axes.grid(axis="y", color=FAINT, lw=0.3, alpha=0.5)
    handles, words = changed.get_legend_handles_labels()
    return wide.finished(handles, words)


def _over_shifts(measured: Measured, layer: str, name: str) -> list[tuple[int, float]]:
    """(shift, value) at the last step."""
    points = []
    for quantity in measured.quantities():
        if matched := re.fullmatch(rf"{name}_(-?\d+)", quantity):
            value = measured.of_layer(quantity, layer).get(measured.steps[-1], math.nan)
            if math.isfinite(value):
                points.append((int(matched[1]), value))
    return sorted(points)


def _over_epochs(
    axes: Axes, curve: dict[int, float], epochs: dict[int, float], times: float, colour: str
) -> None:
    known = [(epochs[s], times * value) for s, value in curve.items() if math.isfinite(value)]
    if known:
        axes.plot(*zip(*known, strict=True), color=colour, lw=1.1, marker="o", ms=1.8)
