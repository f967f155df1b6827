"""Images in the view that analyses look at, each decoded once and kept while it fits: what all may
ask of them, and those of one split of a data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from zfjax.data.boxes import Parts, parts_of, stored_size
from zfjax.data.dataset import Dataset, UnreadableImage
from zfjax.data.labels import check_labelled
from zfjax.data.pipeline import batches_of, evaluation_batches
from zfjax.data.reading import Batch, Reading, Share
from zfjax.errors import ZfjaxError

KEPT_BYTES = 2**28
"""Of decoded views held in memory: a winner often wins for several epochs and maps."""


def most_kept(view_size: tuple[int, int]) -> int:
    """Views of (height, width) to keep."""
    height, width = view_size
    return max(64, KEPT_BYTES // (height * width * 3))


class Evaluated(Protocol):
    """Images that an evaluation asks for: all of a split, or some."""

    @property
    def name(self) -> str:
        """Of the data set, in sentences."""

    @property
    def split(self) -> str:
        """Its name."""

    @property
    def count(self) -> int:
        """How many they are."""

    def batches(
        self, batch_size: int, *, start: int = 0, limit: int | None = None, keep: bool = False
    ) -> Iterator[Batch]:
        """All, or some in a row, ``batch_size`` at a time."""

    def check_labelled(self, purpose: str) -> None:
        """Raises ZfjaxError where none has a label, and ``purpose`` needs them."""


class LookedAt(Evaluated, Protocol):
    """Images that all else asks for too: of a data set (``Images``), of an array or a sequence
    (``held.HeldImages``).
    """

    @property
    def view_size(self) -> tuple[int, int]:
        """(height, width) of the views, in pixels."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells whether a table was made from these very images."""

    def batches_of(self, batch_size: int, ids: Sequence[int]) -> Iterator[Batch]:
        """Those of these ids."""

    def views(self, image_ids: Sequence[int]) -> np.ndarray:
        """uint8 [n, h, w, 3] of these ids."""

    def view(self, image_id: int) -> np.ndarray:
        """One image's view: uint8 [h, w, 3]."""

    def describe(self, image_ids: Sequence[int]) -> list[tuple[int, str]]:
        """(label, file name) of each."""

    def parts_of(self, image_ids: Sequence[int]) -> list[Parts]:
        """The parts of each, in pixels of its view; () where none are known."""

    def stored_size(self, image_id: int) -> tuple[int, int]:
        """(height, width) of an image before it is made a view."""

    def first_readable(self, limit: int) -> int:
        """The id of one that receptive fields are drawn on."""

    def of_split(self, split: str) -> LookedAt:
        """A split of the same set, of which each process reads all."""


@dataclass(frozen=True, eq=False)
class Images:
    """One split of a data set; an image's id is its index there.

    ``batches`` reads it once from end to end; what is looked at twice comes from memory where it
    is still kept, else it is decoded anew, in threads.
    """

    dataset: Dataset
    split: str
    reading: Reading
    """The size of the views, and how they are read: with "skip" ``batches`` leaves out what cannot
    be read."""
    _kept: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    """Views by id, the latest used last."""

    @property
    def name(self) -> str:
        """The data set's."""
        return self.dataset.name

    @property
    def view_size(self) -> tuple[int, int]:
        """(height, width) of the views, in pixels."""
        return self.reading.view_size

    @property
    def count(self) -> int:
        """Images of the split. Raises ZfjaxError for a split that is not there."""
        return self.dataset.count(self.split)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What tells whether a table was made from these very images: ``Dataset.fingerprint``."""
        return self.dataset.fingerprint(self.split)

    def batches(
        self, batch_size: int, *, start: int = 0, limit: int | None = None, keep: bool = False
    ) -> Iterator[Batch]:
        """This process's share of images ``start`` to ``start + limit`` (to the end without a
        limit), ``batch_size`` at a time: as ``evaluation_batches`` gives them. ``keep``: some will
        be looked at again. What is kept already is not decoded anew.
        """
        reading = replace(self.reading, known=self._kept)
        batches = evaluation_batches(
            self.dataset, self.split, reading, batch_size=batch_size, start=start, limit=limit
        )
        return map(self._noted, batches) if keep else batches

    def batches_of(self, batch_size: int, ids: Sequence[int]) -> Iterator[Batch]:
        """This process's share of the images of these ids, as ``batches`` gives them."""
        return batches_of(self.dataset, self.split, self.reading, batch_size=batch_size, ids=ids)

    def _noted(self, batch: Batch) -> Batch:
        """Keeps a batch's views while there is room. None makes way for them: which will be looked
        at again is not known yet, so that one is as good as another.
        """
        for row in np.flatnonzero(batch["weight"] > 0):
            if len(self._kept) >= most_kept(self.view_size):
                break
            self._kept[int(batch["image_id"][row])] = batch["image"][row]
        return batch

    def views(self, image_ids: Sequence[int]) -> np.ndarray:
        """The views of these images, in this order: uint8 [n, h, w, 3]. Raises ZfjaxError for one
        that is not there, UnreadableImage for one that cannot be decoded.
        """
        wanted = dict.fromkeys(int(image_id) for image_id in image_ids)
        pixels = {
            image_id: self._kept.pop(image_id) for image_id in wanted if image_id in self._kept
        }
        missing = [image_id for image_id in wanted if image_id not in pixels]
        pixels |= zip(missing, self._decoded(missing), strict=True)
        for image_id in wanted:
            self._kept[image_id] = pixels[image_id]
        while len(self._kept) > most_kept(
            self.view_size
        ):  # those that were used longest ago make way
            del self._kept[next(iter(self._kept))]
        return np.stack([pixels[int(image_id)] for image_id in image_ids])

    def view(self, image_id: int) -> np.ndarray:
        """One image's view: uint8 [h, w, 3]."""
        return self.views([image_id])[0]

    def _decoded(self, image_ids: Sequence[int]) -> list[np.ndarray]:
        def decode(image_id: int) -> np.ndarray:
            size = self.reading.view_size
            [example] = self.dataset.read(self.split, [image_id], size, with_parts=False)
            return example.image

        if len(image_ids) < 2 or self.reading.threads < 2:
            return [decode(image_id) for image_id in image_ids]
        with ThreadPoolExecutor(self.reading.threads) as pool:
            return list(pool.map(decode, image_ids))

    def describe(self, image_ids: Sequence[int]) -> list[tuple[int, str]]:
        """(label, file name) of each image, without decoding its pixels."""
        return self.dataset.describe(self.split, image_ids)

    def parts_of(self, image_ids: Sequence[int]) -> list[Parts]:
        """The parts of each image, in pixels of its view; () where the data set knows none."""
        return parts_of(self.dataset, self.split, image_ids, self.view_size)

    def stored_size(self, image_id: int) -> tuple[int, int]:
        """(height, width) of an image as it is stored."""
        return stored_size(self.dataset, self.split, image_id)

    def check_labelled(self, purpose: str) -> None:
        """Raises ZfjaxError where no image has a label, and ``purpose`` needs them."""
        check_labelled(self.dataset, self.split, purpose)

    def of_split(self, split: str) -> Images:
        """Another split of the data set, or this one, of which each process reads all."""
        return Images(self.dataset, split, replace(self.reading, share=Share()))

    def first_readable(self, limit: int) -> int:
        """The id of the first of the first ``limit`` images that can be read: the example that
        receptive fields are drawn on. Raises ZfjaxError when none can; with ``on_error`` "fail",
        when the first cannot.
        """
        for image_id in range(limit):
            try:
                self.view(image_id)
            except UnreadableImage:
                if self.reading.on_error == "fail":
                    raise
            else:
                return image_id
        probe = limit < self.count
        which = (
            f"None of the {'first ' if probe else ''}{limit:,} images of split {self.split!r} of"
            f" {self.dataset.name} can be read"
        )
        advice = (
            "ask for more with --images"
            if probe
            else "prepare the data set again, or choose another --split"
        )
        raise ZfjaxError(f"{which}, so there is nothing to search: {advice}.")
