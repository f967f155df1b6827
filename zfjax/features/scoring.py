"""How often somebody else's network is right: what shows a wrong normalisation."""

from __future__ import annotations

import jax
import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.features.passing import search_batch
from zfjax.subject import Subject


def top1(subject: Subject, step: int, limit: int) -> float | None:
    """Share (0..1) of the first ``limit`` images whose label has the highest score at a step: what
    shows a wrong normalisation. None for a network without scores, images without labels, more
    classes among them than it has, or names of another number of classes.
    """
    if subject.scores is None:
        return None
    scores = jax.jit(subject.scores)
    parameters = jax.device_put(subject.parameters(step, whole=True))
    right = total = 0
    for batch in subject.need("images", "An accuracy").batches(
        search_batch(subject.network), limit=limit
    ):
        known = (batch["weight"] > 0) & (batch["label"] != NO_LABEL)
        found = np.asarray(scores(parameters, subject.prepare(batch["image"])))
        if known.any() and batch["label"][known].max() >= found.shape[1]:
            return None
        if subject.labels is not None and len(subject.labels) != found.shape[1]:
            return None
        right += int((found.argmax(1) == batch["label"])[known].sum())
        total += int(known.sum())
    return right / total if total else None
