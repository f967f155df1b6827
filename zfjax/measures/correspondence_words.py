"""What the measure ``correspondence`` says and shows of its numbers. No JAX."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfjax.errors import shortened
from zfjax.measures.invariance_words import layers_in
from zfjax.measures.protocol import plain_table, shown
from zfjax.measures.verdicts import within
from zfjax.measures.wide_figure import WideFigure, layer_colour, title
from zfjax.report.kit.style import ACCENT, FAINT, QUIET
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.report.words import spread
from zfjax.run.measured import Measured

CHANGE = "change_of_"
OF_GAPS = (-1.0, 1.0)
"""Limits of a difference of two shares."""
MOST_ROWS = 40
"""Parts in the picture: of more, these many evenly spread over their order, none chosen."""


def parts_in(measured: Measured) -> list[str]:
    """The parts, in the order of their gap at the first layer and the last epoch, the lowest
    first.
    """
    parts = [name.removeprefix(CHANGE) for name in measured.quantities() if name.startswith(CHANGE)]
    layer, last = layers_in(measured)[0], measured.steps[-1]
    gaps = {name: measured.of_layer(f"gap_of_{name}", layer).get(last, math.nan) for name in parts}
    return sorted(parts, key=lambda name: (math.isnan(gaps[name]), gaps[name]))


def _layers(measured: Measured) -> list[str]:
    """The paper's two: the last convolution, and the last hidden fully connected layer."""
    layers = layers_in(measured)
    convolutions = [name for name in layers if name in measured.layers]
    hidden = [name for name in layers if name not in measured.layers]
    return [*convolutions[-1:], *hidden[-1:]]


def sentence_of(measured: Measured, others: Sequence[Measured]) -> str:
    """All parts at the last epoch, layer by layer."""
    last, layers = measured.steps[-1], _layers(measured)
    parts = parts_in(measured)
    clauses = []
    for layer in layers:
        low, high = within(measured.bounds("gap", layer)[last], OF_GAPS)
        nonzero = measured.of_layer("gap_nonzero", layer).get(last)
        clauses.append(
            f"at {layer} {shown(measured.of_layer('change', layer)[last], '{:.3f}')} of the"
            f" features change otherwise in another image where the same part is hidden, and"
            f" {shown(measured.of_layer('random', layer)[last], '{:.3f}')} where a random place is:"
            f" {shown(measured.of_layer('gap', layer)[last], '{:+.3f}')}"
            f" [{shown(low, '{:+.3f}')}, {shown(high, '{:+.3f}')}],"
            f" p {shown(measured.of_layer('p', layer)[last], '{:.2g}')}"
            f" ({shown(nonzero, '{:+.3f}')} of those that change in both{_before(measured, layer)})"
        )
    count = measured.counts("gap")
    words = (
        f"At epoch {epoch_name(measured.epochs[-1])}, of {len(parts)}"
        f" part{'' if len(parts) == 1 else 's'} in {count} images (mean over pairs of images; 95%"
        f" over images): {'; '.join(clauses)}. Below 0: the part is the same to the network from"
        " image to image."
    )
    if others:
        layer = layers[0]
        gaps = [
            run.of_layer("gap", layer).get(run.steps[-1], math.nan) for run in (measured, *others)
        ]
        words += (
            f" Over {len(gaps)} seeds the difference at {layer} is {shown(min(gaps), '{:+.3f}')} to"
            f" {shown(max(gaps), '{:+.3f}')}."
        )
    return words


def _before(measured: Measured, layer: str) -> str:
    """The same two differences before training, where that was looked at too."""
    if measured.epochs[0] != 0 or len(measured.steps) == 1:
        return ""
    first = [
        shown(measured.of_layer(name, layer).get(measured.steps[0]), "{:+.3f}")
        for name in ("gap", "gap_nonzero")
    ]
    return f"; before training {first[0]} and {first[1]}"


def lines_of(measured: Measured) -> tuple[str, ...]:
    """Table 1: a row a part, mean and standard deviation over pairs, as the paper prints them."""
    last, layers = measured.steps[-1], _layers(measured)
    head = ["sign change", "images"]
    for layer in layers:
        head += [layer, f"{layer} random", "p"]
    table = []
    for name in parts_in(measured):
        count = measured.counts(f"p_of_{name}")
        row = [name, str(count)]
        for layer in layers:
            for kind, plus_minus in (("change", "spread"), ("random", "random_spread")):
                value = measured.of_layer(f"{kind}_of_{name}", layer).get(last)
                beside = measured.of_layer(f"{plus_minus}_of_{name}", layer).get(last)
                row.append(f"{shown(value, '{:.3f}')} +- {shown(beside, '{:.3f}')}")
            row.append(shown(measured.of_layer(f"p_of_{name}", layer).get(last), "{:.3f}"))
        table.append(row)
    few = measured.meta.get("noted", {}).get("left_out", [])
    rest = (f"left out, in too few images: {plain(shortened(few, 8), 600)}",) if few else ()
    return (*plain_table(head, table), *rest)


def figure_of_parts(measured: Measured) -> Figure:
    """A row a part: the hidden part's mean sign change beside the random places', with intervals
    over images, at both layers of the last epoch; their difference over the epochs. The caller has
    entered ``quiet_style``.
    """
    every, layers = parts_in(measured), _layers(measured)
    parts = spread(tuple(every), MOST_ROWS)
    which = f"{len(parts)} of {len(every)} parts, evenly spread over their order"
    wide = WideFigure(
        max(1.9, 0.35 + 0.115 * len(parts)),
        "Mean feature sign change where the same part is hidden in several images (red), and where"
        f" as large a random place is (grey), at epoch {epoch_name(measured.epochs[-1])}; bars: 95%"
        " over images. Lower: the features change alike."
        f" {f'Shown: {which}. ' if len(parts) < len(every) else ''}Right: all parts minus random"
        " places over the epochs, and of the features alone that change in both images; below 0,"
        " parts correspond.",
    )
    grid = wide.figure.add_gridspec(
        2, len(layers) + 1, wspace=0.14, hspace=0.35, left=0.17, right=0.93, **wide.edges
    )
    for column, layer in enumerate(layers):
        axes = wide.figure.add_subplot(grid[:, column])
        _dots(axes, measured, layer, parts)
        axes.set_yticks(
            range(len(parts)), [plain(name, 26) for name in parts] if not column else []
        )
        title(axes, f"sign change at {plain(layer, 16)}")
    for row, (name, words) in enumerate(
        (("gap", "part minus random"), ("gap_nonzero", "without unchanged features"))
    ):
        axes = wide.figure.add_subplot(grid[row, len(layers)])
        _over_epochs(axes, measured, layers, name)
        title(axes, words)
    axes.set_xlabel("epoch")
    return wide.finished([], [])


def _dots(axes: Axes, measured: Measured, layer: str, parts: Sequence[str]) -> None:
    last = measured.steps[-1]
    for kind, colour, offset in (("random", QUIET, 0.16), ("change", ACCENT, -0.16)):
        for row, name in enumerate(parts):
            quantity = f"{kind}_of_{name}"
            value = measured.of_layer(quantity, layer).get(last, math.nan)
            if math.isfinite(value):
                low, high = within(measured.bounds(quantity, layer)[last], (0.0, 1.0))
                y = row + offset
                if math.isfinite(low):
                    axes.plot([low, high], [y, y], color=colour, lw=0.8, alpha=0.7)
                axes.plot([value], [y], color=colour, marker="o", ms=2.4)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=FAINT, lw=0.3, alpha=0.5)
    axes.tick_params(axis="y", length=0)


def _over_epochs(axes: Axes, measured: Measured, layers: Sequence[str], name: str) -> None:
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    for index, layer in enumerate(layers):
        curve, bounds = measured.of_layer(name, layer), measured.bounds(name, layer)
        known = [
            (epochs[s], v, *within(bounds[s], OF_GAPS))
            for s, v in curve.items()
            if math.isfinite(v)
        ]
        if known:
            at, values, low, high = zip(*known, strict=True)
            colour = layer_colour(index + 1, len(layers) + 1)
            if len(at) > 1:
                axes.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
            elif math.isfinite(low[0]):
                axes.plot(at * 2, [low[0], high[0]], color=colour, lw=0.8, alpha=0.7)
            axes.plot(at, values, color=colour, lw=1.2, marker="o", ms=1.8, label=plain(layer, 16))
    if len(epochs) == 1:  # ticks of an epoch that was not looked at would say nothing
        axes.set_xticks(list(epochs.values()), [epoch_name(each) for each in epochs.values()])
    axes.axhline(0, color=QUIET, lw=0.7, ls=(0, (3, 2)))
    axes.yaxis.tick_right()
    axes.spines["right"].set_visible(True)
    axes.spines["left"].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
