"""Folds of a data set for a few training images a class, and intervals over them. No JAX.

The paper's protocol (section 5.2, Tables 4 and 5): a number of training images of each class, at
most 50 others of each to test, the mean of the classes' accuracies, over five such draws. Here an
image's place in a fold is a pure function of (seed, fold, its id): smaller training parts are some
of larger ones, and all sizes of a fold are tested on the same images, so that the curve over sizes
is of one thing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zfjax.errors import ZfjaxError, shortened
from zfjax.features.statistics import priorities_of
from zfjax.values import several, whole_number

CONFIDENCE = 0.95
INNER_SHARE = 0.2
"""Of the training images of a class that a learning rate is judged on."""


@dataclass(frozen=True)
class Protocol:
    """How folds are drawn. Raises ZfjaxError for numbers that make none."""

    images_per_class: tuple[int, ...] = (15, 30)
    """To train on, ascending."""
    folds: int = 5
    test_per_class: int = 50
    """At most so many of each class are tested on."""
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [whole_number(n, "--images-per-class") for n in several(self.images_per_class)]
        object.__setattr__(self, "images_per_class", tuple(sorted(set(counts))))
        for name in ("folds", "test_per_class", "seed"):
            value = whole_number(getattr(self, name), f"--{name.replace('_', '-')}")
            object.__setattr__(self, name, value)
        if not counts or min(counts) < 1:
            shown = " ".join(map(str, counts))
            raise ZfjaxError(
                f"--images-per-class {shown} must be one or more numbers of 1 or more."
            )
        if self.folds < 2:
            raise ZfjaxError(
                f"--folds {self.folds} must be 2 or more: a spread over folds needs two."
            )
        if self.test_per_class < 1:
            raise ZfjaxError(f"--test-per-class {self.test_per_class} must be 1 or more.")
        if not 0 <= self.seed < 2**31:
            raise ZfjaxError(f"--seed {self.seed} must be 0 or more, and below 2^31.")

    @property
    def most(self) -> int:
        """Training images of a class in the largest part."""
        return self.images_per_class[-1]


@dataclass(frozen=True)
class Fold:
    """One draw. ``order``: each class's training images, int64 [most], by label, ascending;
    ``test``: int64, the images that no size is trained on; ``seed``: of what is trained on it.
    """

    index: int
    seed: int
    order: Mapping[int, np.ndarray]
    test: np.ndarray

    def training(self, images_per_class: int) -> np.ndarray:
        """The training images of a size: int64 [classes * images_per_class]."""
        return np.concatenate([ids[:images_per_class] for ids in self.order.values()])

    def inner(self, images_per_class: int) -> tuple[np.ndarray, np.ndarray] | None:
        """(to train on, to judge on) within the training part, every class in both; None where a
        class has one image.
        """
        if images_per_class < 2:
            return None
        judged = max(1, round(INNER_SHARE * images_per_class))
        size = images_per_class - judged
        parts = [(ids[:size], ids[size:images_per_class]) for ids in self.order.values()]
        train, judge = zip(*parts, strict=True)
        return np.concatenate(train), np.concatenate(judge)


def check_enough(
    labels: np.ndarray, class_names: Sequence[str], protocol: Protocol, left_out: str = ""
) -> None:
    """Raises ZfjaxError where fewer than two classes are there, or a class has too few images to
    train on and to leave one to test on. ``labels``: of the usable images; ``left_out``: which
    others there were, in words.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    without = f" ({left_out} left out)" if left_out else ""
    if np.count_nonzero(counts) < 2:
        raise ZfjaxError(
            f"The data set has images of {np.count_nonzero(counts)} class{without}, and a"
            " classifier needs two or more: choose another with --to."
        )
    short = [
        f"{class_names[label]!r:.40} has {counts[label]}"
        for label in np.argsort(counts, kind="stable")
        if counts[label] <= protocol.most
    ]
    if short:
        fewest = int(counts.min())
        advice = (
            f"ask for {fewest - 1} or fewer"
            if fewest > 1
            else "import the data set again without such classes"
        )
        raise ZfjaxError(
            f"--images-per-class {protocol.most} needs {protocol.most + 1} images or more of every"
            f" class, one of them to test on; {shortened(short, 3)}{without}: {advice}."
        )


def folds_of(ids: np.ndarray, labels: np.ndarray, protocol: Protocol) -> tuple[Fold, ...]:
    """The folds of these images (int64 [n] each, ``check_enough`` passed): a class's images in the
    order that seed and fold give their ids, the first to train on, the next to test on.
    """
    folds = []
    for index in range(protocol.folds):
        seed = mixed(protocol.seed, index)
        ranks = priorities_of(ids.astype(np.uint32), seed)
        order, test = {}, []
        for label in np.unique(labels).tolist():
            of_class = ids[labels == label]
            ordered = of_class[np.argsort(ranks[labels == label], kind="stable")]
            order[label] = ordered[: protocol.most]
            test.append(ordered[protocol.most : protocol.most + protocol.test_per_class])
        folds.append(Fold(index, seed, order, np.sort(np.concatenate(test))))
    return tuple(folds)


def mixed(*numbers: int) -> int:
    """One seed below 2**31 of several numbers, the same everywhere."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)


def batches_of_rows(rows: int, steps: int, batch_size: int, seed: int) -> np.ndarray:
    """int32 [steps, batch_size]: which of ``rows`` training images each step sees: all in an order
    drawn anew each time around, one after the other.
    """
    generator = np.random.default_rng(seed)
    rounds = -(-steps * batch_size // rows)
    stream = np.concatenate([generator.permutation(rows) for _ in range(rounds)])
    return stream[: steps * batch_size].reshape(steps, batch_size).astype(np.int32)


def mean_class_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of the classes' accuracies, 0..1, over the classes among ``labels``."""
    of_classes = [float((predicted[labels == label] == label).mean()) for label in set(labels)]
    return math.fsum(of_classes) / len(of_classes)


@dataclass(frozen=True)
class Summary:
    """A mean over folds. NaN where it is not known."""

    mean: float
    sd: float
    """Over folds, with folds - 1: what the paper prints after its "+-"."""
    low: float
    high: float
    folds: int


def summary_of(values: Sequence[float], train_images: float, test_images: float) -> Summary:
    """The mean of a number over folds, with the 95% interval that allows for folds sharing images:
    variance (1/J + test/train) s^2, t with J - 1 degrees (Nadeau and Bengio 2003). It is meant for
    test parts smaller than the training part, and wide where there is more to test on.
    """
    numbers = np.asarray(values, np.float64)
    count = len(numbers)
    if count < 2:
        mean = float(numbers.mean()) if count else math.nan
        return Summary(mean, math.nan, math.nan, math.nan, count)
    sd = float(numbers.std(ddof=1))
    error = math.sqrt(1 / count + test_images / train_images) * sd
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    mean = float(numbers.mean())
    return Summary(mean, sd, mean - half, mean + half, count)
