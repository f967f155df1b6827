"""Has a layer settled? The last network's accuracy with one layer put back to an earlier epoch, and
with it drawn anew.

Concept: a layer has settled at the epoch from which on the rest of the last network cannot tell its
weights from those that they were trained with: *top1* of the network whose one layer (kernel and
bias) is taken from each epoch, the others from the last. This is causal, where curves of similarity
are not. *top1_anew*: the same with the layer drawn anew from the initialiser, with seeds that are
not the run's; it stands at the last epoch, the mean over draws, low and high the least and the most
of them. *loss* beside both, nats. *top1* without a layer is the last network's own. Low and high of
*top1*: 95% for other images like these (Wilson). *top1_without_0* and so on: of all images but
one of up to ten groups drawn by lot, the same ones for every layer and epoch, from which
``settling`` tells what other images would say.
Source: Zhang, Bengio and Singer 2022, "Are all layers created equal?".
Cost: an evaluation of every layer at every epoch, layers x (epochs - 1 + draws) + 1 in all, each of
--rewind.images images; no epoch's can share another's forward pass.
What can mislead: a layer that never needed to move looks settled from the start, so *top1_anew*
stands beside it: where that is near the own accuracy, the layer's weights hardly matter. A layer is
put back alone, into a network that has gone on with it: that it hurts shows that they have grown
together, not that it was worse. Of anyone's network a layer is all that its value needs and
no earlier layer's does: its convolution with its norm, statistics too, and a shortcut that ends
there. Only the layers that can be looked at are put back, not the fully connected ones. The last
epoch defines what is right: name it, and the schedule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from zfjax.errors import ZfjaxError
from zfjax.measures.judging import Judged, SomeImages, batching_as_run, judge_of, some_images
from zfjax.measures.kernels import at_path
from zfjax.measures.protocol import Looked, Measure, Quantity, Told, plain_table, shown
from zfjax.measures.settling_times import NEAR
from zfjax.report.kit.charts import Chart, Line, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import epoch_name
from zfjax.report.words import choose
from zfjax.run.measured import Measured

WITHOUT = "top1_without_"
"""Before the number of a group of images."""


@dataclass(frozen=True)
class Options:
    """What may be asked otherwise."""

    images: int = 2000
    """Images that accuracies are of, evenly spread over the split; all of a smaller one."""
    split: str | None = None
    """The split they are of; none: the run's validation split, unless --split names another."""
    draws: int = 3
    """How often each layer is drawn anew; 0: not at all."""

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ZfjaxError(f"--rewind.images {self.images} must be 1 or more.")
        if self.draws < 0:
            raise ZfjaxError(f"--rewind.draws {self.draws} must be 0 or more.")


def rows(looked: Looked, options: Options) -> Iterator[Quantity]:
    """The accuracies of the last network, whole and with each layer put back or drawn anew."""
    last_step = looked.steps[-1]
    last = looked.subject.parameters(last_step, whole=True)
    network = looked.subject.network
    paths = {name: network.own_parameters(name) for name in looked.layers}
    for name, own_paths in paths.items():
        if not own_paths or any(at_path(last, path) is None for path in own_paths):
            raise ZfjaxError(
                "rewind puts back a layer by its name, and the parameters of"
                f" {network.name} have no {name}; leave it out."
            )
    judge = judge_of(looked.subject, images_for(looked, options), batching_as_run(looked.run))
    seeds = _seeds(looked, options.draws)
    total = _evaluations(looked, options)
    done = 0

    def with_layer(name: str, source: Mapping[str, Any]) -> Judged:
        return rates(_put_back(last, source, paths[name]))

    def rates(parameters: Mapping[str, Any]) -> Judged:
        nonlocal done
        judged = judge.judged(parameters)
        done += 1
        if looked.progress is not None:
            looked.progress("rewinding", done, total)
        return judged

    own = rates(last)
    if math.isnan(own.top1):
        raise ZfjaxError(
            f"Step {last_step} gives scores that are not finite, so there is no accuracy to rewind"
            " from; end at an earlier epoch with --at."
        )
    yield from _quantities(last_step, None, own)
    for step in looked.steps[:-1]:
        # Of a run's own layers no more is read than is put back; anyone's come as the tree that the
        # last one is.
        earlier = looked.subject.parameters(step, whole=looked.subject.foreign is not None)
        for name in looked.layers:
            yield from _quantities(step, name, with_layer(name, earlier))
    for name in looked.layers:
        yield from _quantities(last_step, name, own)
    if seeds:
        anew: dict[str, list[Judged]] = {name: [] for name in looked.layers}
        for seed in seeds:
            drawn = looked.subject.need("initial", "A layer drawn anew")(seed)
            for name in looked.layers:
                anew[name].append(with_layer(name, drawn))
        for name, draws in anew.items():
            yield from _of_draws(last_step, name, draws)


def _put_back(tree: Any, source: Any, paths: tuple[tuple[str, ...], ...]) -> Any:
    for path in paths:
        tree = _exchanged(tree, source, path)
    return tree


def _exchanged(tree: Any, source: Any, path: tuple[str, ...]) -> Any:
    """``tree`` with what stands at ``path`` taken from ``source``."""
    if not path:
        return source
    return {**tree, path[0]: _exchanged(tree[path[0]], source[path[0]], path[1:])}


def images_for(looked: Looked, options: Options) -> SomeImages:
    """The images that accuracies are of. Raises ZfjaxError for a split that is not there."""
    images = looked.subject.need("images", "The measure rewind")
    split = options.split or images.split
    if options.split is None and looked.run and images.split == looked.subject.train_split:
        split = looked.run.config.data.validation_split
    return some_images(images, split, options.images)


def _evaluations(looked: Looked, options: Options) -> int:
    draws = len(_seeds(looked, options.draws))
    return len(looked.layers) * (len(looked.steps) - 1 + draws) + 1


def cost(looked: Looked, options: Options) -> tuple[int, int]:
    """(evaluations, images of each). Raises ZfjaxError as ``images_for``."""
    return _evaluations(looked, options), images_for(looked, options).count


def check(looked: Looked, options: Options) -> None:
    """Raises ZfjaxError for a split that is not there."""
    images_for(looked, options)


def _seeds(looked: Looked, draws: int) -> list[int]:
    """Seeds of initial parameters, none of them the run's own."""
    if looked.subject.initial is None:
        return []
    own = None if looked.run is None else looked.run.config.seed
    return [seed for seed in range(draws + 1) if seed != own][:draws]


def _quantities(step: int, layer: str | None, judged: Judged) -> Iterator[Quantity]:
    count = judged.images
    low = high = float("nan")
    if not math.isnan(judged.top1):
        bounds = stats.binomtest(round(judged.top1 * count), count).proportion_ci(method="wilson")
        low, high = float(bounds.low), float(bounds.high)
    yield Quantity(step, layer, "top1", judged.top1, low, high, n=count, unit="share")
    yield Quantity(step, layer, "loss", judged.loss, n=count, unit="nats")
    for group, top1 in enumerate(judged.without):
        yield Quantity(step, layer, f"{WITHOUT}{group}", top1, unit="share")


def _of_draws(step: int, layer: str, draws: Sequence[Judged]) -> Iterator[Quantity]:
    for name in ("top1", "loss"):
        values = np.array([getattr(judged, name) for judged in draws])
        spread = float(values.mean()), float(values.min()), float(values.max())
        unit = "share" if name == "top1" else "nats"
        yield Quantity(step, layer, f"{name}_anew", *spread, n=len(draws), unit=unit)


def tell(measured: Measured, others: Sequence[Measured], options: Options) -> Told:
    """What it costs to put each layer back, and to draw it anew."""
    last = measured.steps[-1]
    own = measured.of_layer("top1", None)[last]
    images = measured.table["n"][0].as_py()
    curves = {name: measured.of_layer("top1", name) for name in measured.layers}
    anew = {
        name: measured.of_layer("top1_anew", name).get(last, math.nan) for name in measured.layers
    }
    sentence = (
        f"The network of epoch {epoch_name(measured.epochs[-1])} is right on {own:.1%} of"
        f" {images:,} images."
    )
    if len(measured.steps) > 1:
        step = measured.steps[min(1, len(measured.steps) - 2)]
        epoch = measured.epochs[measured.steps.index(step)]
        each = ", ".join(f"{name} {_percent(curve[step])}" for name, curve in curves.items())
        sentence += f" With one layer put back to epoch {epoch_name(epoch)}: {each}."
    if any(not math.isnan(value) for value in anew.values()):
        each = ", ".join(f"{name} {_percent(value)}" for name, value in anew.items())
        sentence += f" With it drawn anew: {each}."
        idle = [name for name, value in anew.items() if own - value <= NEAR]
        if idle:
            sentence += (
                f" What {' and '.join(idle)} learnt hardly matters to the rest:"
                f" {'it looks' if len(idle) == 1 else 'they look'} settled from the start."
            )
    if others:
        sentence += " Over seeds the accuracy is " + _span(
            [run.of_layer("top1", None)[run.steps[-1]] for run in (measured, *others)]
        )
    shown_at = [measured.steps[index] for index in choose(measured.epochs, 8)]
    names = dict(zip(measured.steps, map(epoch_name, measured.epochs), strict=True))
    head = ("top-1, %", "anew", *(names[step] for step in shown_at))
    lines = plain_table(
        head,
        (
            (name, *(shown(100 * value, "{:.1f}") for value in (anew[name], *at)))
            for name, curve in curves.items()
            for at in [[curve[step] for step in shown_at]]
        ),
    )
    evaluations = len(measured.layers) * (len(measured.steps) - 1 + options.draws) + 1
    return Told(sentence, lines, _chart(measured, own), {"top1": own, "evaluations": evaluations})


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.1%} to {max(values):.1%} ({len(values)} runs)."


def _chart(measured: Measured, own: float) -> Figure:
    lines = ordered_lines(measured.curves("top1", 100), marked=True)
    ends = (measured.epochs[0], measured.epochs[-1])
    whole = Line("as it is", "quiet", tuple((epoch, 100 * own) for epoch in ends), dashed=True)
    panels = (Panel("top-1, %", (Chart("Top-1", (*lines, whole), 100.0),), 4, legend=True),)
    return figure_of(
        panels,
        f"Accuracy of the network of epoch {epoch_name(measured.epochs[-1])} with one layer put"
        " back to an earlier epoch; dashed: as it is.",
    )


MEASURE = Measure(
    "rewind",
    rows,
    tell,
    options=Options(),
    needs=("images", "labels", "scores"),
    checks=check,
    evaluates=cost,
)
