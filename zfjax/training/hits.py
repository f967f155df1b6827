"""Which images a network gets right, one by one: what a paired comparison of two networks needs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.data.views import LookedAt
from zfjax.devices import one_behind, place, replicated
from zfjax.inputs import Preparation
from zfjax.network.model import Parameters
from zfjax.subject import Scores, Subject
from zfjax.training.evaluation import Batching, correct

PROBE = 10_000
"""Training images at most whose accuracy is asked for."""


@dataclass(frozen=True)
class Hits:
    """Of images 0 to n - 1 of a split, or of a probe of it."""

    top1: np.ndarray
    """bool [n]: the highest score is the label's."""
    top5: np.ndarray
    counted: np.ndarray
    """bool [n]: it could be read and has a label; no other is a hit."""

    def share(self, hits: np.ndarray) -> float:
        """Of what counts, 0..1."""
        return float(hits[self.counted].mean()) if self.counted.any() else float("nan")


def hits_of(
    subject: Subject, parameters: Parameters, batching: Batching, ids: Sequence[int] | None = None
) -> Hits:
    """Whether each of the subject's images, or of these ``ids``, is a hit of ``parameters``:
    central crop, precision HIGHEST, as ``evaluate`` counts them. For one process.
    """
    images: LookedAt = subject.need("images", "Accuracy")
    parameters = jax.device_put(parameters, replicated(batching.mesh))
    mean = subject.mean_image
    mean = None if mean is None else jax.device_put(mean, replicated(batching.mesh))
    scored = _Scored(subject.need("scores", "Accuracy"), subject.preparation)
    batches = (
        images.batches(batching.size) if ids is None else images.batches_of(batching.size, ids)
    )
    counted: list[np.ndarray] = []

    def dispatched() -> Iterator[jax.Array]:
        for batch in batches:
            counted.append((batch["weight"] > 0) & (batch["label"] != NO_LABEL))
            rows = place(batching.mesh, (batch["image"], np.maximum(batch["label"], 0)))
            yield _hits(parameters, *rows, mean, scored=scored)

    count = images.count if ids is None else len(ids)
    hits = np.concatenate([np.asarray(pair) for pair in one_behind(dispatched())], axis=1)
    counts = np.concatenate(counted)[:count]
    top1, top5 = (row[:count].astype(bool) & counts for row in hits)
    return Hits(top1, top5, counts)


@dataclass(frozen=True)
class _Scored:
    """What is compiled into ``_hits``."""

    scores: Scores
    preparation: Preparation


@functools.partial(jax.jit, static_argnames="scored")
def _hits(
    parameters: Parameters,
    views: jax.Array,
    labels: jax.Array,
    mean_image: jax.Array | None,
    *,
    scored: _Scored,
) -> jax.Array:
    """float32 [2, n]: top-1 and top-5."""
    inputs = scored.preparation.inputs(views, mean_image)
    return jax.numpy.stack(correct(scored.scores(parameters, inputs), labels))


def probe_ids(count: int) -> Sequence[int] | None:
    """The same images of a split of ``count`` for everyone, spread over it; None: all."""
    if count <= PROBE:
        return None
    chosen = np.random.default_rng(0).choice(count, PROBE, replace=False)
    return tuple(int(index) for index in np.sort(chosen))
