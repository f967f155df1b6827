"""Images in memory, or behind ``len`` and ``[i]``, as one split to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from zfjax.data.boxes import Parts
from zfjax.data.dataset import NO_LABEL
from zfjax.data.images import fitted
from zfjax.data.labels import within
from zfjax.data.reading import Batch, Share, empty_batch
from zfjax.data.views import most_kept
from zfjax.errors import ZfjaxError

DIGESTED = 64
"""Images that the fingerprint is made of, and labels are looked for in: the first, the last, and
others evenly between.
"""


@dataclass(frozen=True, eq=False)
class HeldImages:
    """What ``data.views.Images`` is for a data set. An image's id is its index."""

    images: Any
    """uint8 [n, h, w, c], or anything with ``len`` and ``[i]`` -> uint8 [h, w, c] or (image,
    label)."""
    view_size: tuple[int, int]
    """(height, width) of the views."""
    split: str = "all"
    name: str = "images"
    share: Share = Share()
    """Of the batches: this process's."""
    _labels: dict[int, int] = field(default_factory=dict, repr=False)
    _kept: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    """Views by id: behind ``[i]`` may be files, to be decoded once. None makes way for another."""

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
        """Pixels uint8 [h, w, 3] and label; the view and the label are kept. Raises ZfjaxError
        naming an image that is none.
        """
        example = self.images[self._there(image_id)]
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
        pixels = np.ascontiguousarray(np.repeat(pixels, 3 // pixels.shape[2], axis=2))
        if image_id not in self._kept and len(self._kept) < most_kept(self.view_size):
            self._kept[image_id] = fitted(Image.fromarray(pixels), self.view_size)
        return pixels, label

    def _there(self, image_id: int) -> int:
        if not 0 <= image_id < self.count:
            raise ZfjaxError(f"There is no image {image_id}; there are 0 to {self.count - 1}.")
        return image_id

    def batches(
        self, batch_size: int, *, start: int = 0, limit: int | None = None, keep: bool = False
    ) -> Iterator[Batch]:
        """This process's share of images ``start`` to ``start + limit``, as ``Images.batches``
        gives them; kept while there is room, asked for or not.
        """
        end = self.count if limit is None else min(self.count, start + limit)
        return self.batches_of(batch_size, range(start, end))

    def batches_of(self, batch_size: int, ids: Sequence[int]) -> Iterator[Batch]:
        """This process's share of the images of these ids, as ``batches`` gives them: as many
        batches as every other's.
        """
        every = batch_size * self.share.count
        for first in range(0, len(ids), every):
            start = first + self.share.index * batch_size
            batch = empty_batch(batch_size, self.view_size)
            for row, image_id in enumerate(map(int, ids[start : start + batch_size])):
                batch["image"][row], batch["image_id"][row] = self.view(image_id), image_id
                batch["label"][row] = self._label(image_id)
            yield {**batch, "weight": (batch["image_id"] >= 0).astype(np.float32)}

    def views(self, image_ids: Sequence[int]) -> np.ndarray:
        """The views of these images, in this order: uint8 [n, h, w, 3]."""
        return np.stack([self.view(int(image_id)) for image_id in image_ids])

    def view(self, image_id: int) -> np.ndarray:
        """One image's view: uint8 [h, w, 3]."""
        if image_id in self._kept:
            return self._kept[image_id]
        pixels, _ = self._example(image_id)
        kept = self._kept.get(image_id)
        return fitted(Image.fromarray(pixels), self.view_size) if kept is None else kept

    def _label(self, image_id: int) -> int:
        return self._labels[image_id] if image_id in self._labels else self._example(image_id)[1]

    def describe(self, image_ids: Sequence[int]) -> list[tuple[int, str]]:
        """(label, file name) of each image; "" where it has none."""
        described = getattr(self.images, "described", None)
        if described is not None:
            return [described(self._there(int(image_id))) for image_id in image_ids]
        return [(self._label(int(image_id)), "") for image_id in image_ids]

    def parts_of(self, image_ids: Sequence[int]) -> list[Parts]:
        """(): of images in memory no parts are known."""
        return [() for _ in image_ids]

    def stored_size(self, image_id: int) -> tuple[int, int]:
        """(height, width) of an image as it is."""
        height, width = self._example(image_id)[0].shape[:2]
        return height, width

    def check_labelled(self, purpose: str) -> None:
        """Raises ZfjaxError where none of the images looked at, spread over all, has a label."""
        spread = np.unique(np.linspace(0, self.count - 1, DIGESTED).astype(int))
        if all(label == NO_LABEL for label, _ in self.describe(spread.tolist())):
            raise ZfjaxError(
                f"The images have no labels, and {within(purpose)} needs them: give (image, label)"
                " pairs, or a folder of class folders."
            )

    def of_split(self, split: str) -> HeldImages:
        """These, of which each process reads all: there is no other split. Raises ZfjaxError for
        the name of one.
        """
        if split != self.split:
            raise ZfjaxError(f"There is no split {split!r}; these images are of {self.split!r}.")
        return self if self.share == Share() else replace(self, share=Share())

    def first_readable(self, limit: int) -> int:
        """0: an image in memory can be read."""
        return 0
