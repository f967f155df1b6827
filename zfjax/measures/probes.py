"""How much of the classes a linear classifier reads from each layer, epoch by epoch.

Concept: a layer is worth to a classifier what a linear one on its features gets right. Here a
linear SVM and a softmax stand on each layer: convolutions averaged to at most 4 x 4 cells, hidden
fully connected layers of our own networks as they are. The images are of the validation split (or
of --probes.split), 2,000 evenly spread; half of each class trains the classifiers, half tests
them, drawn by lot, the same at every layer and epoch. Features are standardised on the training
half; C is chosen on a quarter of it, then all of it is trained on. *svm_top1*, *softmax_top1*:
accuracy on the test half, low and high 95% for other images (Wilson); *svm_gain*: minus the layer
below, on the same images (bootstrap); *svm_slope*: accuracy gained a layer of depth;
*svm_least_gain*: the smallest gain, above zero where accuracy grows at every layer. All saved
epochs would take long: where --at asks for all, epochs 0, 1, the middle and the last are probed;
--probes.every true for all.
Source: Zeiler and Fergus 2014, section 5.3, Table 7 ("an increase in classification performance as
we ascend the model layers"); Alain and Bengio 2016.
Cost: a forward pass of the images an epoch, and 2 x (number of C + 1) fits a layer and epoch: for
1,000 training images about a second each.
What can mislead: the number of features differs from layer to layer, and with few images a wide
layer is read worse than it could be; averaging to 4 x 4 cells hides what a finer layer knows of
places. The untrained network (epoch 0) is the floor: random features carry classes too. Intervals
are over images, of this one network and these halves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from zfjax.errors import ZfjaxError
from zfjax.measures.blas import one_blas_thread
from zfjax.measures.judging import SomeImages, some_images
from zfjax.measures.layer_features import features_of, own_architecture
from zfjax.measures.linear_probes import (
    SOFTMAX,
    SVM,
    depth_of,
    halves_of,
    probe_layer,
    rotated,
    standardised,
)
from zfjax.measures.protocol import Looked, Measure, Quantity, Told, plain_table, shown
from zfjax.measures.verdicts import within
from zfjax.network.hidden import hidden_dense
from zfjax.report.kit.charts import Chart, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import epoch_name
from zfjax.run.measured import Measured

KINDS = {SVM: "linear SVM", SOFTMAX: "softmax"}
SCALES = {SVM: 1.0, SOFTMAX: 10.0}
"""Of C: the softmax's loss rises less steeply."""


@dataclass(frozen=True)
class Options:
    """What may be asked otherwise."""

    images: int = 2000
    """Images, evenly spread over the split; all of a smaller one."""
    split: str | None = None
    """The split they are of; none: the run's validation split, unless --split names another."""
    cs: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    """C of the SVM to choose from, the inverse of the penalty's weight; of the softmax ten times
    these."""
    dense: bool = True
    """Whether hidden fully connected layers are probed too."""
    every: bool = False
    """Whether every epoch that is looked at is probed, however many."""

    def __post_init__(self) -> None:
        if self.images < 4:
            raise ZfjaxError(f"--probes.images {self.images} must be 4 or more.")
        if not self.cs or min(self.cs) <= 0:
            raise ZfjaxError("--probes.cs must be numbers above 0, joined by commas.")


def rows(looked: Looked, options: Options) -> Iterator[Quantity]:
    """Accuracies of every layer at every epoch that is probed."""
    images, layers = images_to_probe(looked, options), layers_to_probe(looked, options)
    steps = steps_to_probe(looked, options)
    for index, step in enumerate(steps):
        features = features_of(looked.subject, step, images, layers).labelled
        halves = halves_of(features.ids, features.labels)
        correct: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
        for depth, layer in enumerate(layers):
            values = rotated(standardised(features.layers[layer], halves.train), halves.train)
            yield Quantity(step, layer, "features", features.layers[layer].shape[1])
            unconverged = 0
            for kind in KINDS:
                cs = [c * SCALES[kind] for c in options.cs]
                with one_blas_thread():
                    probed = probe_layer(kind, values, features.labels, halves, cs)
                correct[kind].append(probed.correct)
                unconverged += probed.unconverged
                yield _accuracy(step, layer, kind, probed.correct)
                yield Quantity(step, layer, f"{kind}_c", probed.c)
            yield Quantity(step, layer, "unconverged", unconverged, unit="fits")
            if looked.progress is not None:
                done = index * len(layers) + depth + 1
                looked.progress("probing layers", done, len(steps) * len(layers))
        for kind, of_layers in correct.items():
            yield from _depth(step, layers, kind, np.array(of_layers))


def _accuracy(step: int, layer: str, kind: str, correct: np.ndarray) -> Quantity:
    hits, count = int(correct.sum()), len(correct)
    ends = stats.binomtest(hits, count).proportion_ci(method="wilson")
    low, high = float(ends.low), float(ends.high)
    return Quantity(step, layer, f"{kind}_top1", hits / count, low, high, n=count, unit="share")


def _depth(step: int, layers: Sequence[str], kind: str, correct: np.ndarray) -> Iterator[Quantity]:
    if len(layers) < 2:
        return
    depth, count = depth_of(correct), correct.shape[1]
    for layer, gain in zip(layers[1:], depth.gains, strict=True):
        yield Quantity(step, layer, f"{kind}_gain", *gain, n=count, unit="share")
    yield Quantity(step, None, f"{kind}_slope", *depth.slope, n=count, unit="share a layer")
    yield Quantity(step, None, f"{kind}_least_gain", *depth.least, n=count, unit="share")
    yield Quantity(step, None, f"{kind}_rises", depth.rises, n=len(layers) - 1, unit="share")


def images_to_probe(looked: Looked, options: Options) -> SomeImages:
    """The images, as rewind takes them. Raises ZfjaxError for a split that is not there."""
    images = looked.subject.need("images", "The measure probes")
    split = options.split or images.split
    if options.split is None and looked.run and images.split == looked.subject.train_split:
        split = looked.run.config.data.validation_split
    return some_images(images, split, options.images)


def check(looked: Looked, options: Options) -> None:
    """Raises ZfjaxError for a split that is not there, and for too few images of two classes."""
    chosen = images_to_probe(looked, options)
    labels = np.array([label for label, _ in chosen.images.describe(chosen.ids)], np.int64)
    halves_of(np.array(chosen.ids, np.int64)[labels >= 0], labels[labels >= 0])


def layers_to_probe(looked: Looked, options: Options) -> tuple[str, ...]:
    """In forward order: fully connected ones where all convolutions are looked at."""
    architecture = own_architecture(looked.subject.network)
    whole = options.dense and set(looked.layers) == set(looked.subject.layers)
    dense = () if architecture is None or not whole else hidden_dense(architecture)
    return (*looked.layers, *dense)


def steps_to_probe(looked: Looked, options: Options) -> tuple[int, ...]:
    """Those asked for; where that is all there are, the nearest to epochs 0, 1, the middle and the
    last.
    """
    steps, subject = looked.steps, looked.subject
    if options.every or steps != subject.steps:
        return steps
    wanted = (0.0, 1.0, subject.epochs[-1] / 2, subject.epochs[-1])
    nearest = {min(steps, key=lambda s: abs(subject.epoch(s) - epoch)) for epoch in wanted}
    return tuple(sorted(nearest))


def cost(looked: Looked, options: Options) -> tuple[int, int]:
    """(evaluations, images of each)."""
    return len(steps_to_probe(looked, options)), images_to_probe(looked, options).count


def _layers(measured: Measured) -> list[str]:
    """Layers probed, in forward order."""
    names = zip(
        measured.table["layer"].to_pylist(), measured.table["quantity"].to_pylist(), strict=True
    )
    return list(dict.fromkeys(layer for layer, quantity in names if quantity == "svm_top1"))


def tell(measured: Measured, others: Sequence[Measured], options: Options) -> Told:
    """What each layer is worth to a linear classifier, and whether that grows with depth."""
    layers = _layers(measured)
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    steps = list(measured.of_layer("svm_top1", layers[0]))
    last = steps[-1]
    top1 = {
        kind: {layer: measured.of_layer(f"{kind}_top1", layer)[last] for layer in layers}
        for kind in KINDS
    }
    count = measured.counts("svm_top1")
    each = ", ".join(f"{layer} {value:.1%}" for layer, value in top1[SVM].items())
    sentence = (
        f"A linear SVM on each layer of epoch {epoch_name(epochs[last])} is right on {each} of"
        f" {count:,} test images."
    )
    slope = None
    if len(layers) > 1:
        slope = _ends(measured, "svm_slope", last)
        least = _ends(measured, "svm_least_gain", last)
        rises = measured.of_layer("svm_rises", None)[last] * (len(layers) - 1)
        sentence += (
            f" A layer more is worth {_points(slope)} points, over images; {rises:.0f} of"
            f" {len(layers) - 1} steps up the layers gain, and the least gain is {_points(least)}."
        )
    missed = sum(sum(measured.of_layer("unconverged", layer).values()) for layer in layers)
    if missed:
        sentence += f" {missed:.0f} fits had not converged: their numbers are as they stood then."
    if others and slope is not None:
        sentence += _over_seeds([measured, *others])
    head = [
        "layer, %",
        *(f"{KINDS[kind]}, {epoch_name(epochs[s])}" for kind in KINDS for s in steps),
    ]
    lines = plain_table(
        head,
        (
            [
                layer,
                *(
                    shown(100 * measured.of_layer(f"{kind}_top1", layer)[step], "{:.1f}")
                    for kind in KINDS
                    for step in steps
                ),
            ]
            for layer in layers
        ),
    )
    figures = {**top1, "slope": slope, "test_images": count, "layers": layers}
    return Told(sentence, lines, _chart(measured, layers, epochs), figures)


def _ends(measured: Measured, quantity: str, step: int) -> list[float]:
    low, high = measured.bounds(quantity, None)[step]
    return [measured.of_layer(quantity, None)[step], low, high]


def _points(numbers: Sequence[float]) -> str:
    value, low, high = (100 * number for number in numbers)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _over_seeds(runs: Sequence[Measured]) -> str:
    """The slope's mean over runs, t with one degree less."""
    slopes = []
    for run in runs:
        of_run = run.of_layer("svm_slope", None)
        slopes.append(of_run[max(of_run)])
    mean, error = float(np.mean(slopes)), float(np.std(slopes, ddof=1)) / math.sqrt(len(slopes))
    half = float(stats.t.ppf(0.975, len(slopes) - 1)) * error
    ends = within((mean - half, mean + half), (-1.0, 1.0))
    return f" Over {len(runs)} seeds a layer more is worth {_points((mean, *ends))} points."


def _chart(measured: Measured, layers: Sequence[str], epochs: dict[int, float]) -> Figure:
    panels = []
    for kind, name in KINDS.items():
        points = {
            layer: [
                (epochs[step], 100 * value)
                for step, value in measured.of_layer(f"{kind}_top1", layer).items()
            ]
            for layer in layers
        }
        chart = Chart(name, ordered_lines(points, marked=True), 100.0)
        panels.append(Panel(f"{name}, %", (chart,), 4, legend=kind == SVM))
    return figure_of(
        panels,
        "Accuracy of a linear classifier on each layer's features, over the epochs of the network"
        " beneath it.",
    )


MEASURE = Measure(
    "probes",
    rows,
    tell,
    options=Options(),
    needs=("images", "labels"),
    checks=check,
    evaluates=cost,
)
