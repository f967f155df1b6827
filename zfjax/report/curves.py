"""Curves over the epochs, as PNG and PDF: the training itself, and when each layer's features
settle. No JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zfjax.report.board import ACCENT, FAINT, INK, TEXT_SIZE, quiet_style, save, wrap
from zfjax.report.words import by_step, number, plain, validation_images
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run

RAMP = ("#e8b39c", "#dc8a68", "#c4451c", "#8c2f12", "#3f150a")
"""One hue from light (low layers) to dark (high layers)."""


def training_figure(run: Run, network: str) -> dict[str, bytes]:
    """Loss, error rates and learning rate over the epochs, training against validation. {} without
    metrics."""
    if not run.metrics:
        return {}
    train, validation = run.training_lines, run.validation_lines
    with quiet_style():
        words = (
            f"Training of {network}: loss, share of images classified wrongly (top-1, and dashed"
            f" top-5) and learning rate, on training batches (grey) and on {validation_images(run)}"
            " (red)."
        )
        figure, axes = _panels((3, 3, 1.4), ("loss", "error, %", "learning rate"), words)
        for lines, colour, width in ((train, FAINT, 0.9), (validation, ACCENT, 1.2)):
            _line(axes[0], lines, lambda line: line.get("loss"), colour, width)
            _line(axes[1], lines, _error("top1"), colour, width)
            _line(axes[1], lines, _error("top5"), colour, width, (0, (3, 2)))
        axes[0].set_ylim(bottom=0)
        axes[1].set_ylim(0, 100)
        _line(axes[2], train or validation, lambda line: line.get("learning_rate"), INK, 0.9)
        axes[2].set_ylim(bottom=0)
        if validation:
            lowest = 5.0  # of a label's middle: above the axis, and above the label below
            for key, name in (("top5", "top-5"), ("top1", "top-1")):
                if validation[-1].get(key) is not None:
                    error = 100 * (1 - validation[-1][key])
                    axes[1].annotate(
                        f" {name} {error:.1f}",
                        (validation[-1]["epoch"], max(error, lowest)),
                        color=ACCENT,
                        va="center",
                        annotation_clip=False,
                        size=TEXT_SIZE - 0.7,
                    )
                    lowest = max(error, lowest) + 9.0
        return save(figure, "training")


def settled_figure(evolution: Evolution, network: str) -> dict[str, bytes]:
    """How many maps already show the image that they end with, and how many are dead, by layer over
    the epochs."""
    with quiet_style():
        words = (
            f"When the features of {network} settle: above, the share of live maps whose strongest"
            " image is already the last epoch's; below, the share of maps that no image excites."
        )
        figure, axes = _panels((3, 1.6), ("settled, %", "dead, %"), words)
        highest = 0.0
        for colour, layer in zip(
            layer_colours(len(evolution.layers)), evolution.layers, strict=True
        ):
            settled = evolution.settled(layer)
            points = [
                (epoch, settled[step])
                for epoch, step in zip(evolution.epochs, evolution.steps, strict=True)
            ]
            _points(axes[0], points, colour, layer)
            dead = by_step(evolution, "dead_share", layer)
            highest = max(highest, *(share or 0 for share in dead.values()))
            _points(axes[1], list(zip(evolution.epochs, dead.values(), strict=True)), colour, layer)
        axes[0].set(ylim=(-2, 102), yticks=(0, 25, 50, 75, 100))
        axes[1].set_ylim(-0.3, max(5.0, 110 * highest))
        axes[0].legend(
            frameon=False, loc="lower right", handlelength=1.2, labelspacing=0.3, borderaxespad=0.2
        )
        return save(figure, "settled")


def layer_colours(count: int) -> tuple[str, ...]:
    """One colour a layer, from light to dark."""
    return tuple(RAMP[round(index * (len(RAMP) - 1) / max(1, count - 1))] for index in range(count))


def _panels(
    heights: tuple[float, ...], names: tuple[str, ...], words: str
) -> tuple[Figure, Sequence[Axes]]:
    lines = wrap(words, 1352)
    tall = 0.42 * sum(heights)
    foot = 0.42 + 0.12 * len(lines)
    total = 0.1 + tall + 0.16 * (len(heights) - 1) + foot
    figure = Figure(figsize=(3.5, total))
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=heights,
        hspace=0.22,
        left=0.135,
        right=0.885,
        top=1 - 0.1 / total,
        bottom=foot / total,
    )
    axes = grid.subplots(sharex=True, squeeze=False)[:, 0]
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylabel(name)
        axis.grid(axis="y", color=FAINT, lw=0.3, alpha=0.6)
        axis.set_axisbelow(True)
        axis.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axis.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axis.tick_params(labelsize=TEXT_SIZE - 0.7)
    axes[-1].set_xlabel("epoch")
    figure.align_ylabels(axes)
    figure.text(
        0.017, (foot - 0.38) / total, "\n".join(lines), va="top", linespacing=1.35, color=INK
    )
    return figure, axes


def _error(key: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda line: None if line.get(key) is None else 100 * (1 - line[key])


def _line(
    axis: Axes,
    lines: Sequence[dict[str, Any]],
    value: Callable[[dict[str, Any]], float | None],
    colour: str,
    width: float,
    style: Any = "-",
) -> None:
    points = [(line["epoch"], value(line)) for line in lines if value(line) is not None]
    if points:
        axis.plot(*zip(*points, strict=True), color=colour, lw=width, ls=style, clip_on=False)


def _points(axis: Axes, points: list[tuple[float, float | None]], colour: str, name: str) -> None:
    known = [(epoch, 100 * share) for epoch, share in points if share is not None]
    if known:
        style = {"lw": 1.2, "marker": "o", "ms": 1.8, "clip_on": False}
        axis.plot(*zip(*known, strict=True), color=colour, label=plain(name, 16), **style)
