"""Images into the rows of a batch, and what stands for one that cannot be read."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from zfjax.data.dataset import NO_LABEL, Dataset, Example, UnreadableImage
from zfjax.data.labels import without_label
from zfjax.data.workers import pool_of
from zfjax.errors import ZfjaxError

Batch = dict[str, np.ndarray]
"""image uint8 (b, h, w, 3), label int32 (b,), image_id int64 (b,)."""


@dataclass(frozen=True)
class Share:
    """This process's part of every batch: one of ``count`` that read together."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ZfjaxError(f"There is no process {self.index} among {self.count}.")


@dataclass(frozen=True)
class Reading:
    """How the images of a split are read. Raises ZfjaxError for numbers that make no sense.

    ``view_size``: (height, width) of the views. ``threads``: how many decode, where the data set
    has no processes to do it; 0 decodes in the caller's thread. ``on_error``: "fail" at a record or
    an image that cannot be read, or "skip" it. ``known``: views by id that are in memory already:
    whoever evaluates does not decode these.
    """

    view_size: tuple[int, int]
    threads: int = 2
    on_error: Literal["fail", "skip"] = "fail"
    share: Share = Share()
    known: Mapping[int, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.view_size) < 1 or self.threads < 0:
            raise ZfjaxError("The view must be at least 1, and threads at least 0.")


Read = Callable[[Sequence[int], Batch], None]
"""Fills the first rows of a batch with the images of these ids."""


def empty_batch(batch_size: int, view_size: tuple[int, int]) -> Batch:
    """Rows without an image: black, label 0, image_id -1."""
    return {
        "image": np.zeros((batch_size, *view_size, 3), np.uint8),
        "label": np.zeros(batch_size, np.int32),
        "image_id": np.full(batch_size, -1, np.int64),
    }


def reader_for_training(dataset: Dataset, split: str, reading: Reading) -> Read:
    """With "skip" the next readable image of the split stands for one that cannot be read, or that
    has no label.
    """
    instead = functools.partial(_next_readable, dataset, split, reading.view_size)
    read = _Reader(dataset, split, reading, instead, labelled=True)
    return read.fill


def reader_for_evaluation(dataset: Dataset, split: str, reading: Reading) -> Read:
    """With "skip" the row of an image that cannot be read stays as it is in ``empty_batch``."""
    nothing = Example(
        np.zeros((*reading.view_size, 3), np.uint8), label=0, file_name="", image_id=-1
    )
    return _Reader(dataset, split, reading, lambda image_id: nothing, labelled=False).fill


@dataclass(frozen=True)
class _Reader:
    """``instead`` gives what stands for an image that cannot be read; ``labelled``: one without a
    label counts as such.
    """

    dataset: Dataset
    split: str
    reading: Reading
    instead: Callable[[int], Example]
    labelled: bool

    def fill(self, image_ids: Sequence[int], batch: Batch) -> None:
        """Reads in this thread or, where the data set has some, in one of its processes."""
        count = len(image_ids)
        images, labels, ids = (batch[name][:count] for name in ("image", "label", "image_id"))
        ids[:] = image_ids
        unreadable = self._read(image_ids, images, labels)
        if self.labelled:
            without = [row for row, label in enumerate(labels) if label == NO_LABEL]
            for row in without:
                if row not in unreadable:
                    unreadable[row] = without_label(self.dataset, self.split, image_ids[row])
        for row, why in unreadable.items():
            if self.reading.on_error == "fail":
                raise UnreadableImage(why)
            _name_once(self.dataset, why)
            example = self.instead(image_ids[row])
            images[row], labels[row], ids[row] = example.image, example.label, example.image_id

    def _read(
        self, image_ids: Sequence[int], images: np.ndarray, labels: np.ndarray
    ) -> dict[int, str]:
        """Why a row cannot be read, by row."""
        views = {} if self.labelled else self._known(image_ids)
        if self.dataset.processes and not views:
            pool = pool_of(self.dataset, self.reading.view_size)
            return pool.read(self.split, image_ids, images, labels)
        unreadable = {}
        for row, image_id in enumerate(image_ids):
            try:
                if image_id in views:
                    images[row] = views[image_id]
                    [(labels[row], _)] = self.dataset.describe(self.split, [image_id])
                    continue
                [example] = self.dataset.read(
                    self.split, [image_id], self.reading.view_size, with_parts=False
                )
                images[row], labels[row] = example.image, example.label
            except UnreadableImage as error:
                unreadable[row] = str(error)
        return unreadable

    def _known(self, image_ids: Sequence[int]) -> dict[int, np.ndarray]:
        """The views of these images that are in memory, by id. They may make way meanwhile."""
        views = ((image_id, self.reading.known.get(image_id)) for image_id in image_ids)
        return {image_id: view for image_id, view in views if view is not None}


def _name_once(dataset: Dataset, why: str) -> None:
    named: set[str] = dataset.kept("named as skipped", set)
    if why not in named:  # every epoch meets it again
        named.add(why)
        print(f"zfjax: skipped. {why}", file=sys.stderr)


def _next_readable(
    dataset: Dataset, split: str, view_size: tuple[int, int], image_id: int
) -> Example:
    """The first image after this one that can be read and has a label: a function of the image and
    the data set alone.
    """
    count = dataset.count(split)
    for further in range(1, min(count, 100)):
        try:
            [example] = dataset.read(
                split, [(image_id + further) % count], view_size, with_parts=False
            )
            if example.label != NO_LABEL:
                return example
        except (
            UnreadableImage
        ) as error:  # not a fault of the disk, which would leave out image after image
            _name_once(dataset, str(error))
    many = (
        f"A hundred images of split '{split}' of {dataset.name} from number {image_id} on cannot be"
        " read or have no label"
    )
    none = (
        f"None of the {count} images of split '{split}' of {dataset.name} can be read and has a"
        " label"
    )
    raise ZfjaxError(f"{none if count <= 100 else many}; prepare the data set again.")
