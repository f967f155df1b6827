"""Images in memory, or behind ``len`` and ``[i]``, as one split to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from zfjax.data.dataset import NO_LABEL
from zfjax.data.images import fitted
from zfjax.data.reading import Batch, empty_batch
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
        for first in range(start, end, batch_size):
            batch = empty_batch(batch_size, self.view_size)
            for row, image_id in enumerate(range(first, min(first + batch_size, end))):
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
        """(label, "") of each image."""
        return [(self._example(int(image_id))[1], "") for image_id in image_ids]

    def first_readable(self, limit: int) -> int:
        """0: an image in memory can be read."""
        return 0
