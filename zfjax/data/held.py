"""Images in memory, or behind ``len`` and ``[i]``, as one split to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from zfjax.data.dataset import NO_LABEL, Example
from zfjax.data.images import fitted
from zfjax.data.reading import Batch, Reading, empty_batch
from zfjax.errors import ZfjaxError

DIGESTED = 64
"""Images that the fingerprint is made of: the first, the last, and others evenly between."""


@dataclass(frozen=True, eq=False)
class HeldImages:
    """What ``data.views.Images`` is for a data set. An image's id is its index. One process."""

    images: Any
    """uint8 [n, h, w, c], or anything with ``len`` and ``[i]`` -> uint8 [h, w, c] or (image,
    label)."""
    view_size: tuple[int, int]
    """(height, width) of the views."""
    split: str = "all"
    name: str = "images"
    _labels: dict[int, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not len(self.images):
            raise ZfjaxError("There are no images to look at: the array or sequence is empty.")
        self.view(0)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.images)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """As ``Dataset.fingerprint``; the digest is of some of the images, spread over all."""
        digest = hashlib.sha256(f"{self.count}\n".encode())
        for image_id in np.unique(np.linspace(0, self.count - 1, DIGESTED).astype(int)):
            pixels, label = self._example(int(image_id))
            digest.update(f"{pixels.shape} {label}\n".encode() + pixels.tobytes())
        return {
            "name": self.name,
            "version": "",
            "split": self.split,
            "count": self.count,
            "digest": digest.hexdigest(),
        }

    def _example(self, image_id: int) -> tuple[np.ndarray, int]:
        """Pixels uint8 [h, w, 3] and label. Raises ZfjaxError naming an image that is none."""
        if not 0 <= image_id < self.count:
            raise ZfjaxError(f"There is no image {image_id}; there are 0 to {self.count - 1}.")
        example = self.images[image_id]
        label = NO_LABEL
        if isinstance(example, tuple | list) and len(example) == 2:
            example, label = example[0], int(example[1])
        pixels = np.asarray(example)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
            raise ZfjaxError(
                f"Image {image_id} is {pixels.dtype} of shape {pixels.shape}; images are uint8"
                " [height, width, 3], or 1 for grey."
            )
        self._labels[image_id] = label
        return np.ascontiguousarray(np.repeat(pixels, 3 // pixels.shape[2], axis=2)), label

    def batches(
        self, batch_size: int, *, start: int = 0, limit: int | None = None, keep: bool = False
    ) -> Iterator[Batch]:
        """Images ``start`` to ``start + limit``, as ``Images.batches`` gives them."""
        end = self.count if limit is None else min(self.count, start + limit)
        return self.batches_of(batch_size, range(start, end))

    def batches_of(self, batch_size: int, ids: Sequence[int]) -> Iterator[Batch]:
        """The images of these ids, likewise."""
        for first in range(0, len(ids), batch_size):
            batch = empty_batch(batch_size, self.view_size)
            for row, image_id in enumerate(map(int, ids[first : first + batch_size])):
                batch["image"][row], batch["image_id"][row] = self.view(image_id), image_id
                batch["label"][row] = self._labels[image_id]
            yield {**batch, "weight": (batch["image_id"] >= 0).astype(np.float32)}

    def views(self, image_ids: Sequence[int]) -> np.ndarray:
        """The views of these images, in this order: uint8 [n, h, w, 3]."""
        return np.stack([self.view(int(image_id)) for image_id in image_ids])

    def view(self, image_id: int) -> np.ndarray:
        """One image's view: uint8 [h, w, 3]."""
        return fitted(Image.fromarray(self._example(image_id)[0]), self.view_size)

    def describe(self, image_ids: Sequence[int]) -> list[tuple[int, str]]:
        """(label, file name) of each image; "" where it has none."""
        described = getattr(self.images, "described", None)
        if described is not None:
            return [described(int(image_id)) for image_id in image_ids]
        return [(self._example(int(image_id))[1], "") for image_id in image_ids]

    @property
    def dataset(self) -> HeldSet:
        """The same as a data set of one split."""
        return HeldSet(self)

    @property
    def reading(self) -> Reading:
        """One image after the other: what is behind ``[i]`` may not bear more at a time."""
        return Reading(self.view_size, threads=0)

    def first_readable(self, limit: int) -> int:
        """0: an image in memory can be read."""
        return 0


@dataclass(frozen=True, eq=False)
class HeldSet:
    """What ``data.dataset.Dataset`` is for a prepared set, as far as who looks needs it."""

    images: HeldImages
    processes: int = 0

    @property
    def name(self) -> str:
        """Of the images."""
        return self.images.name

    def count(self, split: str) -> int:
        """How many there are. Raises ZfjaxError for another split than theirs."""
        if split != self.images.split:
            raise ZfjaxError(f"{self.name} has no split {split!r}; it has {self.images.split}.")
        return self.images.count

    def fingerprint(self, split: str) -> dict[str, Any]:
        """As ``HeldImages.fingerprint``."""
        self.count(split)
        return self.images.fingerprint

    def describe(self, split: str, image_ids: Sequence[int]) -> list[tuple[int, str]]:
        """(label, file name) of each image."""
        self.count(split)
        return self.images.describe(image_ids)

    def read(
        self,
        split: str,
        image_ids: Sequence[int],
        view_size: tuple[int, int],
        *,
        with_parts: bool = True,
    ) -> list[Example]:
        """The examples with these ids; their views are of one size."""
        assert view_size == self.images.view_size
        told = zip(image_ids, self.describe(split, image_ids), strict=True)
        return [Example(self.images.view(i), label, name, int(i)) for i, (label, name) in told]
