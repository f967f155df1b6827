"""What a data set stores of an image beside its pixels' view: its size, and boxes of parts. No
pixels are decoded for the size.
"""

from __future__ import annotations

from collections.abc import Sequence

from zfjax.data.dataset import Dataset
from zfjax.data.images import Box, ImageError, open_image
from zfjax.errors import ZfjaxError

Parts = tuple[tuple[str, Box], ...]
"""(name, (y0, x0, y1, x1)) of each part of an image's object, in pixels of its view, clipped."""


def stored_size(dataset: Dataset, split: str, image_id: int) -> tuple[int, int]:
    """(height, width) of an image as the data set stores it. Raises ZfjaxError for one that is not
    there or cannot be read.
    """
    record = dataset._record(split, image_id)
    try:
        width, height = open_image(record.image, dataset.max_pixels).size
    except ImageError as error:
        raise ZfjaxError(
            f"Image {image_id} of split '{split}' of {dataset.name} cannot be read: {error}."
        ) from error
    return height, width


def parts_of(
    dataset: Dataset, split: str, image_ids: Sequence[int], view_size: tuple[int, int]
) -> list[Parts]:
    """The parts of each image; () where the data set knows none."""
    if "parts" not in dataset._builder.info.features:
        return [() for _ in image_ids]
    return [example.parts for example in dataset.read(split, image_ids, view_size)]
