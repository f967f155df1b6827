"""Linear classifiers on features: trained on one half of some images, tested on the other, their C
chosen inside the training half. No JAX.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.features.statistics import priorities_of

LOT = 1
"""Seed of the halves."""
JUDGED = 4
"""Every fourth image of a class's training half is what C is chosen on."""
MOST_STEPS = 5000
"""Of a solver; a fit that needs more is counted as not converged."""
SVM, SOFTMAX = "svm", "softmax"


@dataclass(frozen=True, eq=False)
class Halves:
    """Rows of images: to train on, to choose C on within them, to test on; int64 each."""

    train: np.ndarray
    judge: np.ndarray
    test: np.ndarray

    @property
    def fit(self) -> np.ndarray:
        """The training rows that C is not chosen on."""
        return np.setdiff1d(self.train, self.judge)


def halves_of(ids: np.ndarray, labels: np.ndarray) -> Halves:
    """The halves of labelled images (int64 [n] each), of each class as many in both, by lot: a pure
    function of the ids. A class of one image is left out. Raises ZfjaxError where fewer than two
    classes remain.
    """
    ranks = priorities_of(ids.astype(np.uint32), LOT)
    train: list[int] = []
    judge: list[int] = []
    test: list[int] = []
    classes = 0
    for label in np.unique(labels).tolist():
        rows = np.flatnonzero(labels == label)
        ordered = rows[np.argsort(ranks[rows], kind="stable")].tolist()
        if len(ordered) < 2:
            continue
        classes += 1
        half = (len(ordered) + 1) // 2
        train += ordered[:half]
        judge += ordered[JUDGED - 1 : half : JUDGED]
        test += ordered[half:]
    if classes < 2:
        raise ZfjaxError(
            "A linear probe needs two classes or more with two images each, and those looked at"
            f" have {classes}: ask for more images, or another split."
        )
    return Halves(*(np.sort(np.array(rows, np.int64)) for rows in (train, judge, test)))


def standardised(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """float64 [n, features]: mean 0 and deviation 1 over the training rows; a feature that is the
    same on all of them is 0 there.
    """
    values = values.astype(np.float64)
    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    return (values - mean) / np.where(deviation > 1e-12, deviation, 1.0)


def rotated(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The same in the space that the training rows span, where that has fewer axes: a linear
    classifier with an L2 penalty puts no weight outside of it, and what is fitted is the same.
    """
    if values.shape[1] <= len(train):
        return values
    _, sizes, axes = np.linalg.svd(values[train], full_matrices=False)
    return np.asarray(values @ axes[sizes > 1e-9 * max(sizes[0], 1e-30)].T)


@dataclass(frozen=True, eq=False)
class Probed:
    """What one classifier on one layer gives."""

    correct: np.ndarray
    """bool [test images]."""
    c: float
    unconverged: int
    """Fits that had not converged after MOST_STEPS, of those for every C and the last."""


def probe_layer(
    kind: str, values: np.ndarray, labels: np.ndarray, halves: Halves, cs: Sequence[float]
) -> Probed:
    """A ``kind`` of classifier on standardised features float64 [n, features]. C: that of the
    highest accuracy on ``halves.judge``, of equal ones the smallest; then trained on the whole
    training half.
    """
    make, unconverged, accuracies = _makers()[kind], 0, []
    cs = sorted(cs)
    for c in cs if len(cs) > 1 and len(halves.judge) else ():
        model, missed = _fitted(make(c), values[halves.fit], labels[halves.fit])
        unconverged += missed
        predicted = model.predict(values[halves.judge])
        accuracies.append(float((predicted == labels[halves.judge]).mean()))
    c = cs[int(np.argmax(accuracies))] if accuracies else cs[len(cs) // 2]
    model, missed = _fitted(make(c), values[halves.train], labels[halves.train])
    correct = model.predict(values[halves.test]) == labels[halves.test]
    return Probed(correct, c, unconverged + missed)


def _makers() -> Mapping[str, Callable[[float], Any]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    def svm(c: float) -> Any:
        return LinearSVC(C=c, dual="auto", max_iter=MOST_STEPS, random_state=0)

    def softmax(c: float) -> Any:
        return LogisticRegression(C=c, max_iter=MOST_STEPS)

    return {SVM: svm, SOFTMAX: softmax}


def _fitted(model: Any, values: np.ndarray, labels: np.ndarray) -> tuple[Any, int]:
    """(fitted, 1 where it has not converged)."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(values, labels)
    missed = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return model, int(missed)


@dataclass(frozen=True, eq=False)
class Depth:
    """How accuracy goes with depth. Each a number and the ends of its 95% interval over the test
    images, which are drawn anew; pairs of layers are of the same images.
    """

    gains: tuple[tuple[float, float, float], ...]
    """Of each layer but the first, minus the layer below."""
    slope: tuple[float, float, float]
    """Accuracy a layer, by least squares."""

    @property
    def least(self) -> tuple[float, float, float]:
        """The smallest gain, lowest of the low ends and lowest of the high ones: accuracy grows at
        every layer where all are above zero.
        """
        value, low, high = (min(numbers) for numbers in zip(*self.gains, strict=True))
        return value, low, high

    @property
    def rises(self) -> float:
        """The share of gains above zero."""
        return sum(value > 0 for value, _, _ in self.gains) / len(self.gains)


def depth_of(correct: np.ndarray, draws: int = 2000) -> Depth:
    """``correct``: bool [layers, test images], two layers or more in forward order."""
    layers, count = correct.shape
    generator = np.random.default_rng(0)
    weights = generator.multinomial(count, np.full(count, 1 / count), size=draws)
    drawn = weights @ correct.T / count  # [draws, layers]
    own = correct.mean(axis=1)
    places = np.arange(layers) - (layers - 1) / 2
    slopes = places / (places**2).sum()

    def with_ends(value: float, others: np.ndarray) -> tuple[float, float, float]:
        low, high = np.quantile(others, (0.025, 0.975))
        return float(value), float(low), float(high)

    gains = [
        with_ends(own[k] - own[k - 1], drawn[:, k] - drawn[:, k - 1]) for k in range(1, layers)
    ]
    return Depth(tuple(gains), with_ends(own @ slopes, drawn @ slopes))
