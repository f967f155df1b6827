"""How right any parameters are on always the same images: on all, and without each group of them,
so that whoever reads it knows what other images would say.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from zfjax.data.dataset import NO_LABEL
from zfjax.data.reading import Batch
from zfjax.data.views import LookedAt
from zfjax.run.folder import Run
from zfjax.subject import Subject
from zfjax.training.evaluation import Batching, evaluate

BATCH = 64
"""Images at a time, where no run says how many fit."""
HELD_BYTES = 2**30
"""Of decoded images: all evaluations are of the same."""
GROUPS = 10
"""At most so many groups of images, each of whole batches."""


@dataclass(frozen=True, eq=False)
class SomeImages:
    """Some images of a split, to evaluate on; read once where they fit in memory."""

    images: LookedAt
    ids: tuple[int, ...]
    hold: bool = True
    read: dict[int, list[Batch]] = field(default_factory=dict, repr=False)
    """By batch size."""

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.images.name

    @property
    def split(self) -> str:
        """Of which they are."""
        return self.images.split

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.ids)

    def check_labelled(self, purpose: str) -> None:
        """As of the whole split."""
        self.images.check_labelled(purpose)

    def batches(
        self, batch_size: int, *, start: int = 0, limit: int | None = None, keep: bool = False
    ) -> Iterator[Batch]:
        """These images, as ``Images.batches`` gives a split's."""
        chosen = self.ids[start : None if limit is None else start + limit]
        if chosen != self.ids or not self.hold:
            return self.images.batches_of(batch_size, chosen)
        if batch_size not in self.read:
            self.read[batch_size] = list(self.images.batches_of(batch_size, chosen))
        return iter(self.read[batch_size])


def some_images(images: LookedAt, split: str, count: int) -> SomeImages:
    """``count`` images of a split, evenly spread, or all of a smaller one; those without a label
    are left out where others have one. Raises ZfjaxError for a split that is not there.
    """
    alone = images.of_split(split)  # whoever asks does it alone
    spread = np.linspace(0, max(alone.count - 1, 0), min(count, alone.count)).round().astype(int)
    ids = tuple(np.unique(spread).tolist())
    labels = [label for label, _ in alone.describe(ids)]
    labelled = tuple(i for i, label in zip(ids, labels, strict=True) if label != NO_LABEL)
    height, width = alone.view_size
    return SomeImages(alone, labelled or ids, 3 * height * width * len(ids) <= HELD_BYTES)


def batching_as_run(run: Run | None) -> Batching:
    """As the run evaluates, on this process's own devices: as many as divide its batch."""
    size = BATCH if run is None else run.config.batch_size
    parts = 1 if run is None else run.config.optimizer.accumulate
    rows_each = max(1, size // jax.process_count())
    parts = parts if rows_each % parts == 0 else 1
    devices = jax.local_devices()
    count = max(k for k in range(1, len(devices) + 1) if rows_each // parts % k == 0)
    mesh = Mesh(np.array(devices[:count]), ("batch",), axis_types=(AxisType.Auto,))
    return Batching(mesh, rows_each * jax.process_count(), parts)


@dataclass(frozen=True)
class Judged:
    """What some parameters give. NaN where scores are not finite."""

    top1: float
    """0..1, of all images; exactly what ``evaluate`` gives of them."""
    loss: float
    """Nats, the mean."""
    images: int
    without: tuple[float, ...]
    """top1 of all images but one group's, group by group; empty where there is one only."""


@dataclass(frozen=True)
class Judge:
    """Judges any parameters of a subject on the same images; see ``judge_of``."""

    groups: tuple[Subject, ...]
    batching: Batching

    def judged(self, parameters: Mapping[str, Any]) -> Judged:
        """How right ``parameters`` are. Raises as ``evaluate`` does."""
        of_groups = [evaluate(group, parameters, self.batching) for group in self.groups]
        counts = np.array([figures["images"] for figures in of_groups])
        hits = np.round([figures["top1"] * figures["images"] for figures in of_groups])
        loss = float(sum(f["loss"] * f["images"] for f in of_groups) / counts.sum())
        if not math.isfinite(loss):
            hits, loss = np.full(len(hits), np.nan), float("nan")
        rest = counts.sum() - counts
        without = (hits.sum() - hits) / rest if len(hits) > 1 else np.zeros(0)
        total = int(counts.sum())
        return Judged(float(hits.sum() / total), loss, total, tuple(without.tolist()))


def judge_of(subject: Subject, images: SomeImages, batching: Batching) -> Judge:
    """A judge on these images. They are put into groups by lot, the same each time, so that a split
    in the order of its classes gives groups that are alike.
    """
    lot = np.random.default_rng(0).permutation(images.ids).tolist()
    in_batches = -(-max(1, len(lot)) // batching.size)
    size = -(-in_batches // GROUPS) * batching.size
    pieces = [tuple(lot[start : start + size]) for start in range(0, max(1, len(lot)), size)]
    groups = (dataclasses.replace(images, ids=piece, read={}) for piece in pieces)
    return Judge(tuple(dataclasses.replace(subject, images=group) for group in groups), batching)
