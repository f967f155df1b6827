"""How the images of a split are read into batches, and what stands for one that cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from zfjax.data.dataset import NO_LABEL, Dataset, Example, UnreadableImage
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


def empty_batch(batch_size: int, view_size: tuple[int, int]) -> Batch:
    """Rows without an image: black, label 0, image_id -1."""
    return {
        "image": np.zeros((batch_size, *view_size, 3), np.uint8),
        "label": np.zeros(batch_size, np.int32),
        "image_id": np.full(batch_size, -1, np.int64),
    }


def name_once(dataset: Dataset, why: str) -> None:
    """Says on standard error why an image is skipped, once in a process."""
    named: set[str] = dataset.kept("named as skipped", set)
    if why not in named:  # every epoch meets it again
        named.add(why)
        print(f"zfjax: skipped. {why}", file=sys.stderr)


def next_readable(
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
            name_once(dataset, str(error))
    many = (
        f"A hundred images of split '{split}' of {dataset.name} from number {image_id} on cannot be"
        " read or have no label"
    )
    none = (
        f"None of the {count} images of split '{split}' of {dataset.name} can be read and has a"
        " label"
    )
    raise ZfjaxError(f"{none if count <= 100 else many}; prepare the data set again.")
