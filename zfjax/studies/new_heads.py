"""A new softmax on frozen features: trained with the optimiser that trained the network, for so
many steps, at a learning rate chosen inside the training part.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from zfjax.config import Optimizer
from zfjax.network.model import Parameters
from zfjax.studies.folds import Fold, batches_of_rows, mean_class_accuracy, mixed
from zfjax.training.optimiser import gradient_transform, learning_rate

WARMUP = 0.1
"""Of the steps: the rate rises to its peak, then falls to zero along a cosine."""


@dataclass(frozen=True)
class Training:
    """How both arms are trained. ``optimizer``: the run's, with a peak rate of 1 that
    ``rates`` multiply: a rate is a number of the program, not another program.
    """

    optimizer: Optimizer
    rates: tuple[float, ...]
    """Peak learning rates to choose from, ascending."""
    steps: int = 500
    batch_size: int = 32


def settled(optimizer: Optimizer) -> Optimizer:
    """``optimizer`` as both arms use it: a peak rate of 1, warm-up, cosine, one part a batch."""
    return replace(
        optimizer, learning_rate=1.0, schedule="cosine", warmup_epochs=WARMUP, accumulate=1
    )


@dataclass(frozen=True)
class Scored:
    """What one training gives: mean per-class accuracy 0..1 on the fold's test images, and the rate
    that was chosen.
    """

    accuracy: float
    rate: float


def rows_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where ``wanted`` stand in ``ids``, which is ascending."""
    return np.searchsorted(ids, wanted)


def chosen_rate(rates: Sequence[float], accuracies: Sequence[float], base: float) -> float:
    """The rate of the highest accuracy, of equal ones the nearest to ``base``."""
    best = max(accuracies)
    equal = [rate for rate, value in zip(rates, accuracies, strict=True) if value == best]
    return min(equal, key=lambda rate: abs(np.log(rate / base)))


def unjudged_rate(rates: Sequence[float], base: float) -> float:
    """The rate where the training part is too small to judge any: the nearest to the run's own."""
    return min(rates, key=lambda rate: abs(np.log(rate / base)))


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """Features that heads stand on: rows by ascending image id; ``labels`` count the classes from
    0 on.
    """

    ids: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    classes: int

    def head_on(self, fold: Fold, images_per_class: int, training: Training, base: float) -> Scored:
        """A head trained on a fold's training part of a size, tested on its test images."""
        seed = mixed(fold.seed, images_per_class)
        rate, inner = unjudged_rate(training.rates, base), fold.inner(images_per_class)
        if inner is not None and len(training.rates) > 1:
            trees = self._trained(inner[0], training, training.rates, mixed(seed, 1))
            judged = [self._accuracy(tree, inner[1]) for tree in trees]
            rate = chosen_rate(training.rates, judged, base)
        [tree] = self._trained(fold.training(images_per_class), training, (rate,), seed)
        return Scored(self._accuracy(tree, fold.test), rate)

    def _trained(
        self, ids: np.ndarray, training: Training, rates: Sequence[float], seed: int
    ) -> list[Parameters]:
        batches = batches_of_rows(len(ids), training.steps, training.batch_size, seed)
        rows = rows_of(self.ids, ids)[batches]
        trees = _train_heads(
            jnp.asarray(self.values),
            jnp.asarray(self.labels, jnp.int32),
            jnp.asarray(rows, jnp.int32),
            jnp.asarray(rates, jnp.float32),
            classes=self.classes,
            optimizer=training.optimizer,
        )
        trees = jax.device_get(trees)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], trees) for i in range(len(rates))]

    def _accuracy(self, head: Parameters, ids: np.ndarray) -> float:
        rows = rows_of(self.ids, ids)
        scores = self.values[rows].astype(np.float64) @ head["kernel"] + head["bias"]
        return mean_class_accuracy(self.labels[rows], scores.argmax(axis=1))


@functools.partial(jax.jit, static_argnames=("classes", "optimizer"))
def _train_heads(
    features: jax.Array,
    labels: jax.Array,
    rows: jax.Array,
    rates: jax.Array,
    *,
    classes: int,
    optimizer: Optimizer,
) -> Parameters:
    """Heads {"kernel": [rates, features, classes], "bias": [rates, classes]} of each peak rate, all
    on the same batches ``rows`` int32 [steps, batch]. They begin at zero: what a softmax on frozen
    features comes to does not depend on where it began.
    """
    transform, steps = gradient_transform(optimizer), len(rows)

    def loss(head: Parameters, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        scores = jnp.dot(inputs, head["kernel"], precision=lax.Precision.HIGHEST)
        scores = scores + head["bias"][None, :]
        wanted = optax.smooth_labels(jax.nn.one_hot(targets, classes), optimizer.label_smoothing)
        return optax.softmax_cross_entropy(scores, wanted).mean()

    def train(peak: jax.Array) -> Parameters:
        head = {
            "kernel": jnp.zeros((features.shape[1], classes), jnp.float32),
            "bias": jnp.zeros(classes, jnp.float32),
        }

        def step(state: tuple, index: jax.Array) -> tuple[tuple, None]:
            head, momentum = state
            batch = rows[index]
            gradient = jax.grad(loss)(head, features[batch], labels[batch])
            updates, momentum = transform.update(gradient, momentum, head)
            rate = peak * learning_rate(optimizer, index, steps, 1)
            return (jax.tree.map(lambda a, b: a - rate * b, head, updates), momentum), None

        (head, _), _ = lax.scan(step, (head, transform.init(head)), jnp.arange(steps))
        return head

    return jax.vmap(train)(rates)
