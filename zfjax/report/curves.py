"""What a run and an evolution have to say over the epochs, picked once: for the page's charts and
for the figures beside it. No JAX.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zfjax.report.kit.charts import Chart, Line, Panel, figure_files, ordered_lines
from zfjax.report.words import by_step, validation_images, validation_split
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run

Points = tuple[tuple[float, float], ...]


def accuracies(lines: Iterable[Mapping[str, Any]]) -> Points:
    """Top-1 accuracy 0..1 over the epochs, of lines of metrics that have it."""
    return _pick(lines, "top1")


def training_charts(run: Run) -> tuple[Chart, ...]:
    """Loss, top-1 and top-5 error in per cent, and learning rate, of training batches and on the
    validation split.
    """
    train, validation = run.training_lines, run.validation_lines
    split = validation_split(run)

    def both(title: str, trained: Points, validated: Points, highest: float | None = None) -> Chart:
        lines = (Line("train", "quiet", trained), Line(split, "main", validated))
        return Chart(title, lines, highest)

    def errors(title: str, key: str) -> Chart:
        return both(title, _wrong(_pick(train, key)), _wrong(_pick(validation, key)), 100.0)

    rate = Line("", "ink", _pick(train or validation, "learning_rate"))
    return (
        both("Loss", _pick(train, "loss"), _pick(validation, "loss")),
        errors("Top-1 error, %", "top1"),
        errors("Top-5 error, %", "top5"),
        Chart("Learning rate", (rate,)),
    )


def settling_charts(evolution: Evolution) -> tuple[Chart, ...]:
    """By layer, in per cent: live maps whose strongest image is already the last epoch's, and maps
    that no image excites.
    """
    epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))

    def by_layer(shares: Mapping[str, Mapping[int, float | None]]) -> tuple[Line, ...]:
        points = {
            layer: [
                (epochs[step], 100 * share) for step, share in known.items() if share is not None
            ]
            for layer, known in shares.items()
        }
        return ordered_lines(points, marked=True)

    settled = {layer: evolution.settled(layer) for layer in evolution.layers}
    dead = {layer: by_step(evolution, "dead_share", layer) for layer in evolution.layers}
    return (
        Chart("Maps with their final image, %", by_layer(settled), 100.0),
        Chart("Dead maps, %", by_layer(dead)),
    )


def training_figure(run: Run, network: str) -> dict[str, bytes]:
    """Loss, error rates and learning rate over the epochs, training against validation. {} without
    metrics.
    """
    if not run.metrics:
        return {}
    loss, top1, top5, rate = training_charts(run)
    words = (
        f"Training of {network}: loss, share of images classified wrongly (top-1, and dashed"
        f" top-5) and learning rate, on training batches (grey) and on {validation_images(run)}"
        " (red)."
    )
    top5 = replace(top5, lines=tuple(replace(line, dashed=True) for line in top5.lines))
    panels = (
        Panel("loss", (loss,), 3),
        Panel("error, %", (_ended(top1, "top-1"), _ended(top5, "top-5")), 3),
        Panel("learning rate", (rate,), 1.4),
    )
    return figure_files("training", panels, words)


def settled_figure(evolution: Evolution, network: str) -> dict[str, bytes]:
    """How many maps already show the image that they end with, and how many are dead, by layer over
    the epochs.
    """
    settled, dead = settling_charts(evolution)
    words = (
        f"Final images of {network}: above, the share of live maps whose strongest image is already"
        " the last epoch's, which is not yet when their features settle; below, the share of maps"
        " that no image excites."
    )
    panels = (
        Panel("final image, %", (settled,), 3, legend=True),
        Panel("dead, %", (replace(dead, highest=_at_least(dead, 5.0)),), 1.6),
    )
    return figure_files("settled", panels, words)


def _pick(lines: Iterable[Mapping[str, Any]], key: str) -> Points:
    return tuple((line["epoch"], float(line[key])) for line in lines if line.get(key) is not None)


def _wrong(points: Points) -> Points:
    return tuple((epoch, 100 * (1 - share)) for epoch, share in points)


def _ended(chart: Chart, name: str) -> Chart:
    """With name and last value at the end of the validation line."""
    *others, line = chart.lines
    end = f"{name} {line.points[-1][1]:.1f}" if line.points else ""
    return replace(chart, lines=(*others, replace(line, end=end)))


def _at_least(chart: Chart, least: float) -> float:
    values: Sequence[float] = [value for line in chart.lines for _, value in line.points]
    return max(least, 1.1 * max(values, default=0.0))
