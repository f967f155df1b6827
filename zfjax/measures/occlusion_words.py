"""What the measure ``occlusion`` says of its numbers, and its chart. No JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zfjax.measures.occlusion_figure import occlusion_files
from zfjax.measures.protocol import Told, plain_table, shown
from zfjax.measures.verdicts import reaches_beyond, within
from zfjax.report.kit.charts import ramp_role
from zfjax.report.kit.style import INK, QUIET, RAMP, TEXT_SIZE, wrap
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.run.measured import Measured

EXCESS = "spearman_excess"
"""The paper's sentence as a number: of the deepest layer, it should be above 0."""
LIMITS = (-2.0, 2.0)
"""Of a difference of two correlations."""


def tell(measured: Measured, others: Sequence[Measured], options: Any) -> Told:
    """The agreement and the probabilities at the last epoch measured, a table of all layers, the
    agreement over the epochs, and the panels.
    """
    noted = measured.meta["noted"]
    steps = tuple(sorted(map(int, noted["steps"])))
    last, layer = steps[-1], noted["layer"]
    epochs = dict(zip(measured.steps, map(float, measured.epochs), strict=True))
    at = f"At epoch {epoch_name(epochs[last])}"
    names = [name for name in measured.layers if measured.of_layer(EXCESS, name)]
    deepest = layer if layer in names else names[-1]
    images, own = noted["images"], noted["steps"][str(last)]
    right = sum(
        image["label"] >= 0 and image["label"] == seen["class"]
        for image, seen in zip(images, own, strict=True)
    )
    labelled = sum(image["label"] >= 0 for image in images)
    about = f"{len(images)} images" if len(images) > 1 else "one image"
    about += f" ({right} of them classified rightly)" if labelled else " (without labels)"
    sentence = (
        f"{at}, a square of {noted['size']} pixel{'s' * (noted['size'] > 1)} moved by"
        f" {noted['stride']} over {about}:"
        f" {_agreement(measured, deepest, last)}"
    )
    probability = measured.of_layer("probability", None)[last]
    if not np.isnan(probability):
        drop = measured.of_layer("probability_drop", None)[last]
        sentence += (
            f" The true class has a probability of {shown(probability)}, at the worst position"
            f" {shown(probability - drop)};"
        )
    changes = measured.of_layer("class_changes", None)[last]
    ends = " Another class" if np.isnan(probability) else " another class"
    sentence += f"{ends} is the most probable at {changes:.0%} of the positions."
    if len(steps) < len(measured.steps):
        sentence += (
            f" Only epoch {epoch_name(epochs[last])} of {len(measured.steps)} was measured:"
            " --occlusion.epochs all measures all of them."
        )
    if others:
        values = [_last(run, deepest) for run in (measured, *others)]
        span = f"{shown(min(values))} to {shown(max(values))}"
        sentence += f" Over {len(values)} seeds the excess is {span}."
    table = []
    for name in names:
        low, high = measured.bounds(EXCESS, name)[last]
        values = [
            measured.of_layer(f"{kind}_{side}", name)[last]
            for kind in ("spearman", "pearson")
            for side in ("own", "swapped", "excess")
        ]
        table.append(
            (
                name,
                *map(shown, values[:3]),
                *map(shown, within((low, high), LIMITS)),
                *map(shown, values[3:]),
            )
        )
    head = ("layer", "own map", "other map", "excess", "low", "high", "Pearson: own", "other")
    lines = plain_table((*head, "excess"), table)
    figures = {"excess": measured.of_layer(EXCESS, deepest)[last], "layer": deepest}
    chart = _chart(measured, names, epochs) if len(steps) > 1 else _bars(measured, names, last)
    files = occlusion_files(measured, epochs)
    return Told(sentence, lines, chart, _finite(figures), files)


def _finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in figures.items()
    }


def _value(measured: Measured, quantity: str, layer: str, step: int) -> str:
    return shown(measured.of_layer(quantity, layer)[step])


def _agreement(measured: Measured, layer: str, step: int) -> str:
    noted = measured.meta["noted"]
    if np.isnan(measured.of_layer(EXCESS, layer)[step]):
        positions = len(noted["rows"]) * len(noted["columns"])
        of = "one position" if positions == 1 else f"{positions} positions"
        return (
            f"whether it lowers the strongest maps of {layer} where their projections lie cannot be"
            f" told of {of}, where nothing differs."
        )
    return (
        f"where it lowers the strongest maps of {layer} agrees with where their projections lie by"
        f" {_value(measured, 'spearman_own', layer, step)} (rank correlation), with other maps'"
        f" projections by {_value(measured, 'spearman_swapped', layer, step)}; the excess is"
        f" {_value(measured, EXCESS, layer, step)}{_interval(measured, layer, step)}."
    )


def _last(measured: Measured, layer: str) -> float:
    return list(measured.of_layer(EXCESS, layer).values())[-1]


def _interval(measured: Measured, layer: str, step: int) -> str:
    low, high = measured.bounds(EXCESS, layer)[step]
    if np.isnan(low):
        return ""
    beyond, ends = reaches_beyond((low, high), LIMITS), within((low, high), LIMITS)
    cut = ", cut where a difference of correlations ends" if beyond else ""
    count = measured.counts(EXCESS)
    return f" ({shown(ends[0])} to {shown(ends[1])}, 95% over {count} images{cut})"


def _chart(measured: Measured, names: Sequence[str], epochs: Mapping[int, float]) -> Figure:
    """The excess over the epochs, a line a layer; the last layer's interval shaded."""
    figure, axes = _axes(
        "How much better where a square lowers a map agrees with the map's own projection than with"
        " those of other maps of the image (difference of rank correlations, mean over images);"
        f" shaded: 95% over images, {names[-1]}."
    )
    for index, name in enumerate(names):
        values = measured.of_layer(EXCESS, name)
        points = [(epochs[step], value) for step, value in values.items() if not np.isnan(value)]
        if points:
            colour = RAMP[int(ramp_role(index, len(names))[-1])]
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, color=colour, lw=1.2, marker="o", ms=1.8, label=plain(name, 14))
    if axes.lines[1:]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, handlelength=1)
    bounds = measured.bounds(EXCESS, names[-1])
    known = [step for step, (low, _) in bounds.items() if not np.isnan(low)]
    if known:
        low, high = zip(*(within(bounds[step], LIMITS) for step in known), strict=True)
        axes.fill_between(
            [epochs[step] for step in known], low, high, color=RAMP[-1], alpha=0.12, lw=0
        )
    axes.set_xlabel("epoch")
    return figure


def _bars(measured: Measured, names: Sequence[str], step: int) -> Figure:
    """The excess of each layer at one epoch, with its interval."""
    figure, axes = _axes(
        "How much better where a square lowers a map agrees with the map's own projection than with"
        " those of other maps of the image (difference of rank correlations, mean over images and"
        " 95% over images)."
    )
    for index, name in enumerate(names):
        value = measured.of_layer(EXCESS, name)[step]
        low, high = within(measured.bounds(EXCESS, name)[step], LIMITS)
        colour = RAMP[int(ramp_role(index, len(names))[-1])]
        axes.plot([index, index], [low, high], color=colour, lw=1.2)
        axes.plot([index], [value], color=colour, marker="o", ms=3)
    axes.set_xticks(range(len(names)), [plain(name, 12) for name in names])
    return figure


def _axes(words: str) -> tuple[Figure, Any]:
    caption = wrap(words, 1352)
    foot = 0.42 + 0.12 * len(caption)
    total = 0.1 + 1.9 + foot
    figure = Figure(figsize=(3.5, total))
    axes = figure.add_axes((0.16, foot / total, 0.6, 1.9 / total))
    axes.axhline(0, color=QUIET, lw=0.6, ls=(0, (3, 2)))
    axes.set_ylabel("excess agreement")
    figure.text(
        0.017,
        (foot - 0.38) / total,
        "\n".join(caption),
        va="top",
        linespacing=1.35,
        color=INK,
        size=TEXT_SIZE,
    )
    return figure, axes
