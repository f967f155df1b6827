"""The control of a transfer: the run's network trained from its first weights on a few images of
another data set, with the run's recipe, its steps and rates those of the new heads.

It is trained as the run was, mirrored and shifted crops and dropout and all, which is what it would
be without the pretraining; the heads see unvaried views. That is in its favour.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.config import Config
from zfjax.data.views import LookedAt
from zfjax.network.model import Parameters
from zfjax.studies.folds import Fold, batches_of_rows, mean_class_accuracy, mixed
from zfjax.studies.new_heads import Scored, Training, chosen_rate, rows_of, unjudged_rate
from zfjax.subject import ArchitectureScores, Scores, Subject
from zfjax.training.step import compiled_config, initial_state, train_step

TESTED = 64
"""Images at a time."""


@dataclass(frozen=True, eq=False)
class FromScratch:
    """A network to train from scratch on some images."""

    config: Config
    """The run's, with as many scores as there are classes, and ``Training``'s optimiser."""
    subject: Subject
    images: LookedAt
    ids: np.ndarray
    """Of the usable images, ascending."""
    labels: np.ndarray
    """Of ``ids``, counted from 0 on."""
    tell: Callable[[], None]
    """Called at each step."""

    def network_on(
        self, fold: Fold, images_per_class: int, training: Training, base: float
    ) -> Scored:
        """A network trained on a fold's training part of a size, tested on its test images."""
        seed = mixed(fold.seed, images_per_class)
        rate, inner = unjudged_rate(training.rates, base), fold.inner(images_per_class)
        if inner is not None and len(training.rates) > 1:
            judged = []
            for candidate in training.rates:
                tree = self._trained(inner[0], training, candidate, mixed(seed, 1))
                judged.append(self._accuracy(tree, inner[1]))
            rate = chosen_rate(training.rates, judged, base)
        tree = self._trained(fold.training(images_per_class), training, rate, seed)
        return Scored(self._accuracy(tree, fold.test), rate)

    def _trained(self, ids: np.ndarray, training: Training, rate: float, seed: int) -> Parameters:
        config = replace(self.config, seed=seed)
        state = initial_state(config)
        state = replace(state, plateau={**state.plateau, "scale": jnp.float32(rate)})
        key, program = jax.random.key(seed), compiled_config(config)
        batches = batches_of_rows(len(ids), training.steps, training.batch_size, seed)
        labels = self.labels[rows_of(self.ids, ids)]
        for rows in batches:
            views = self.images.views(ids[rows].tolist())
            state = train_step(
                state,
                jnp.asarray(views),
                jnp.asarray(labels[rows], jnp.int32),
                self.subject.mean_image,
                key,
                config=program,
                steps_per_epoch=training.steps,
            )
            self.tell()
        return state.parameters

    def _accuracy(self, parameters: Parameters, ids: np.ndarray) -> float:
        scores = ArchitectureScores(self.config.model)
        predicted = []
        for start in range(0, len(ids), TESTED):
            of_batch = ids[start : start + TESTED]
            views = self.images.views(of_batch.tolist())
            missing = TESTED - len(views)  # one shape, one program
            views = np.concatenate([views, np.zeros((missing, *views.shape[1:]), np.uint8)])
            inputs = self.subject.prepare(jnp.asarray(views))
            predicted.append(np.asarray(_best(parameters, inputs, scores=scores))[: len(of_batch)])
        return mean_class_accuracy(self.labels[rows_of(self.ids, ids)], np.concatenate(predicted))


@functools.partial(jax.jit, static_argnames="scores")
def _best(parameters: Parameters, inputs: jax.Array, *, scores: Scores) -> jax.Array:
    return scores(parameters, inputs).argmax(axis=1)


def config_for(config: Config, classes: int, training: Training) -> Config:
    """The run's config as its network is trained anew: one epoch of ``training.steps`` steps."""
    return replace(
        config,
        model=config.model.with_classes(classes),
        optimizer=training.optimizer,
        epochs=1,
        batch_size=training.batch_size,
    )


def trainings_of(sizes: Sequence[int], folds: int, rates: int) -> int:
    """How many trainings all folds and sizes take: one for each rate where a rate can be judged,
    and one more.
    """
    return folds * sum(1 + (rates if size > 1 and rates > 1 else 0) for size in sizes)
