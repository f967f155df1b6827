"""Always the same images, as they are asked about by measures that change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.data.dataset import UnreadableImage
from zfjax.data.views import LookedAt
from zfjax.errors import ZfjaxError
from zfjax.measures.judging import some_images
from zfjax.measures.protocol import Looked


@dataclass(frozen=True, eq=False)
class Picked:
    """Images of a split, in the order of their ids."""

    images: LookedAt
    ids: tuple[int, ...]
    labels: np.ndarray
    """int64 [n]; NO_LABEL where there is none."""

    def views(self) -> np.ndarray:
        """uint8 [n, view, view, 3]."""
        return self.images.views(self.ids)


def split_of(looked: Looked, split: str | None) -> str:
    """The split that is meant: the one that is named; else the run's validation split, unless
    another than the training split is looked at already.
    """
    images = looked.subject.need("images", "A measure of images")
    if split is None and looked.run and images.split == looked.subject.train_split:
        return looked.run.config.data.validation_split
    return split or str(images.split)


def picked(looked: Looked, split: str | None, count: int, least: int, flag: str) -> Picked:
    """``count`` images of a split, evenly spread, or all of a smaller one; those without a label
    are left out where others have one, and so are those that cannot be read where the run skips
    them. Raises ZfjaxError for a split that is not there or has fewer than ``least``; ``flag``: of
    the number of images.
    """
    name = split_of(looked, split)
    chosen = some_images(looked.subject.need("images", flag), name, count)
    images = looked.subject.images.of_split(name)  # type: ignore[union-attr]
    ids = readable(images, chosen.ids)
    if len(ids) < least:
        raise ZfjaxError(
            f"{flag} {count}: split {name!r} of {images.name} has {len(ids)} images to take, and"
            f" {least} or more are needed; name another with --split."
        )
    labels = np.array([label for label, _ in images.describe(ids)], np.int64)
    return Picked(images, ids, labels)


def readable(images: LookedAt, ids: Sequence[int]) -> tuple[int, ...]:
    """Those that can be decoded, where reading skips the others; else all of them."""
    reading: Any = getattr(images, "reading", None)
    if reading is None or reading.on_error != "skip":
        return tuple(ids)
    kept = []
    for image_id in ids:
        try:
            images.view(image_id)
        except UnreadableImage:
            continue
        kept.append(image_id)
    return tuple(kept)
