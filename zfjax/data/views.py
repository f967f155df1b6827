"""The images of one split in the view that analyses look at, each decoded once and kept while it
fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from zfjax.data.dataset import Dataset, UnreadableImage
from zfjax.data.pipeline import batches_of, evaluation_batches
from zfjax.data.reading import Batch, Reading
from zfjax.errors import ZfjaxError

KEPT_BYTES = 2**28
"""Of decoded views held in memory: a winner often wins for several epochs and maps."""


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
            if len(self._kept) >= self._capacity:
                break
            self._kept[int(batch["image_id"][row])] = batch["image"][row]
        return batch

    @property
    def _capacity(self) -> int:
        height, width = self.reading.view_size
        return max(64, KEPT_BYTES // (height * width * 3))

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
        while len(self._kept) > self._capacity:  # those that were used longest ago make way
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
