"""How far do features move when the image is moved, enlarged or turned? At every layer and epoch,
and what the class probabilities make of it (Fig. 5).

Concept: a fixed set of images is translated, enlarged and rotated; at each layer, fully connected
ones too (rectified; scores are no features), the distance of the changed image's features from the
unchanged one's: *l2_* (Euclidean), *relative_* (that over the length of the features), *cosine_* (1
minus the cosine), and *normalised_*: l2 over the mean distance of two random images of the same set
(*pair_l2*), by which layers compare: 1 is as far as another image. Names end in kind and amount:
*l2_translation_-5* (pixels of a 224-pixel input; the same share of another), *_scale_1.1*,
*_rotation_10* (degrees, anticlockwise). Of a curve: *small_* is normalised at the smallest change,
*mean_* over all changes, *linearity_* the share of its variance that a straight line from the
unchanged image explains (R2: 1 is straight; below 0, worse than no line). Of the network:
*probability_* of the true class, *same_class_* (share of images whose most probable class stays),
*drop_* (probability before minus after, mean over all changes); *small_gap_* is small_ of the first
layer minus that of the last, *linearity_gap_* linearity of the last minus that of the first,
*rotation_gap* drop_rotation minus drop_translation, all on the same images. Low and high: 95% over
images, by leaving out each in turn (those that it is a random pair with, too).
Source: Zeiler and Fergus 2014, section 4.1 and Fig. 5, whose normalisation, fill and number of
random images (five are shown) are not said: here 50 are measured and five drawn.
Cost: images x (changes + 3) forward passes an epoch, 3,650 by default.
What can mislead: images are resampled bilinearly, which blurs what moves by a fraction of a pixel
and leaves pixels out of what shrinks below a half; the first layer sees that too. What comes in
from beyond the view is the data's mean (or a mirror image, --invariance.fill reflect): an edge that
large translations and rotations show and enlargements do not. A network trained on mirrored or
shifted crops has been taught some of it. How far two random images are apart depends on the data
set: layers of one run compare, runs on other data do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.errors import ZfjaxError
from zfjax.measures.curves_of_changes import of_layer, of_output
from zfjax.measures.distances import Compared, Comparison, How, compare, seen
from zfjax.measures.invariance_figure import figure_of_layers, figure_of_paper
from zfjax.measures.invariance_words import layers_in, lines_of, sentence_of
from zfjax.measures.picked_images import Picked, picked
from zfjax.measures.protocol import Looked, Measure, Pictures, Quantity, Told
from zfjax.measures.warping import (
    KINDS,
    ROTATION,
    SCALE,
    TRANSLATION,
    Axis,
    Change,
    Fill,
    changes_of,
    mean_view,
)
from zfjax.run.measured import Measured


@dataclass(frozen=True)
class Options:
    """Images and changes."""

    images: int = 50
    """Images measured, evenly spread over the split; all of a smaller one."""
    drawn: int = 5
    """How many of them are drawn."""
    split: str | None = None
    """The split they are of; none: the run's validation split, unless --split names another."""
    axis: Axis = "vertical"
    """Of translations: vertical or horizontal."""
    fill: Fill = "mean"
    """What comes in from beyond the view: mean (of the data) or reflect."""
    translation: float = 60.0
    """The largest to either side, in pixels of a 224-pixel input."""
    scale: float = 1.8
    """The largest enlargement; below 1 the smallest, of an image that shrinks."""
    rotation: float = 350.0
    """The largest, in degrees; beyond 360 it turns again."""
    translation_points: int = 25
    """How many translations, an odd number: none is the middle one."""
    scale_points: int = 9
    """How many enlargements, none among them."""
    rotation_points: int = 36
    """How many rotations, none among them."""

    def __post_init__(self) -> None:
        for name, least in (("images", 3), ("drawn", 1)):
            if getattr(self, name) < least:
                raise ZfjaxError(
                    f"--invariance.{name} {getattr(self, name)} must be {least} or more."
                )
        for name, high in (("translation", 224), ("rotation", 720)):
            if not 0 < getattr(self, name) <= high:
                raise ZfjaxError(
                    f"--invariance.{name} {getattr(self, name)} must be above 0 and at most {high}."
                )
        if not 0.01 <= self.scale <= 100 or self.scale == 1:
            raise ZfjaxError(
                f"--invariance.scale {self.scale} must be from 0.01 to 100, and not 1, which leaves"
                " an image as it is."
            )
        for name in KINDS:
            points = getattr(self, f"{name}_points")
            if points < 3 or (name == TRANSLATION and points % 2 == 0):
                kind = "an odd number from 3 on" if name == TRANSLATION else "3 or more"
                raise ZfjaxError(f"--invariance.{name}-points {points} must be {kind}.")

    @property
    def changes(self) -> tuple[Change, ...]:
        """All, kind by kind."""
        return tuple(
            change
            for kind in KINDS
            for change in changes_of(kind, getattr(self, kind), getattr(self, f"{kind}_points"))
        )


def rows(looked: Looked, options: Options) -> Iterator[Quantity | Pictures]:
    """Distances of every layer and what becomes of the classes, step by step."""
    chosen = images_for(looked, options)
    comparison = comparison_of(looked, chosen, options)
    for done, step in enumerate(looked.steps):
        if looked.progress is not None:
            looked.progress("invariance", done, len(looked.steps))
        compared = compare(comparison, looked.subject.parameters(step, whole=True))
        names = [name for name in compared.l2 if name not in looked.subject.layers]
        layers = [*looked.layers, *names]
        curves = {name: of_layer(compared, name, options.changes) for name in layers}
        for name, curve in curves.items():
            for quantity, estimate in curve.estimates.items():
                yield estimate.named(step, name, quantity)
        truth = chosen.labels if (chosen.labels != NO_LABEL).any() else None
        output = of_output(compared.classes, truth, options.changes)
        gaps = curves[layers[0]].gaps_to(curves[layers[-1]])
        for quantity, estimate in {**output.estimates, **gaps}.items():
            yield estimate.named(step, None, quantity)
        if step == looked.steps[-1]:
            yield from _drawn(looked, chosen, options, compared, layers)
            yield from _pictured(looked, comparison, chosen, options)


def images_for(looked: Looked, options: Options) -> Picked:
    """The images that are changed. Raises ZfjaxError for a split that is not there or has fewer
    than 3.
    """
    return picked(looked, options.split, options.images, 3, "--invariance.images")


def comparison_of(looked: Looked, chosen: Picked, options: Options) -> Comparison:
    """What is asked at every step."""
    subject = looked.subject
    size = subject.network.input_size
    return Comparison(
        How(subject.network, subject.scores, subject.preparation, options.fill),
        subject.mean_image,
        mean_view(subject.preparation, subject.mean_image),
        chosen.views(),
        np.stack([change.matrix(size, options.axis) for change in options.changes]),
    )


def _drawn(
    looked: Looked, chosen: Picked, options: Options, compared: Compared, layers: Sequence[str]
) -> Iterator[Quantity]:
    """The curves of single images, for the figure: at the last step, of the first layer and the
    last, and of the output.
    """
    step, names = looked.steps[-1], looked.subject.labels
    for row, image_id in enumerate(chosen.ids[: options.drawn]):
        label = int(chosen.labels[row])
        named = names is not None and 0 <= label < len(names)
        words = names[label] if names is not None and named else ""
        known = None if label == NO_LABEL else float(label)
        yield Quantity(step, None, f"label_of_image_{image_id}", known, unit=words)
        for column, change in enumerate(options.changes):
            for layer in dict.fromkeys((layers[0], layers[-1])):
                value = compared.l2[layer][row, column]
                name = f"l2_{change.name}_of_image_{image_id}"
                yield Quantity(step, layer, name, value if np.isfinite(value) else None)
            if compared.classes is not None and named and label < compared.classes.shape[2]:
                value = compared.classes[row, 1 + column, label]
                name = f"probability_{change.name}_of_image_{image_id}"
                yield Quantity(step, None, name, value, unit="share")


def _pictured(
    looked: Looked, comparison: Comparison, chosen: Picked, options: Options
) -> Iterator[Pictures]:
    """The drawn images changed a little and much, side by side; -1..1, under the kind's name."""
    count = min(options.drawn, len(chosen.ids))
    for kind in KINDS:
        ours = [change for change in options.changes if change.kind == kind]
        places = np.linspace(0, len(ours) - (2 if kind == ROTATION else 1), 3).round().astype(int)
        changes = [ours[index] for index in places]
        shown = seen(comparison, np.arange(count), changes, options.axis)
        beside = np.concatenate([shown[:, index] for index in range(shown.shape[1])], axis=2)
        ids = np.array(chosen.ids[:count])
        yield Pictures(looked.steps[-1], kind, ids, beside / 127.5 - 1)


def tell(measured: Measured, others: Sequence[Measured], options: Options) -> Told:
    """How far the first and the last layer move, what the output does, and the paper's figure."""
    layers = layers_in(measured)
    files: Mapping[str, bytes] = figure_of_layers(measured, layers, options.changes)
    return Told(
        sentence_of(measured, others, layers, options.changes),
        lines_of(measured, layers),
        figure_of_paper(measured, layers, options.changes),
        figures={
            "changes": {
                kind: [change.amount for change in options.changes if change.kind == kind]
                for kind in (TRANSLATION, SCALE, ROTATION)
            }
        },
        files=files,
    )


def check(looked: Looked, options: Options) -> None:
    """Raises ZfjaxError where there are too few images."""
    images_for(looked, options)


def cost(looked: Looked, options: Options) -> tuple[int, int]:
    """(epochs, images that the network is run on at each)."""
    chosen = images_for(looked, options)
    return len(looked.steps), len(chosen.ids) * (len(options.changes) + 3)


MEASURE = Measure(
    "invariance", rows, tell, options=Options(), needs=("images",), checks=check, evaluates=cost
)
