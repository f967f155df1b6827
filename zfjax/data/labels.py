"""Splits whose labels are not known (TFDS's -1): what needs labels says so before it begins."""

from __future__ import annotations

import contextlib

import numpy as np

from zfjax.data.dataset import NO_LABEL, Dataset, UnreadableImage
from zfjax.errors import ZfjaxError

LOOKED_AT = 1024
"""Images of a split, evenly spread, of which one at least must have a label; the first such ends
the look."""


def check_labelled(dataset: Dataset, split: str, purpose: str) -> None:
    """Raises ZfjaxError when no image of ``split`` has a label, and ``purpose`` ("training") needs
    them.

    A split in which some have passes: evaluation does not count the others, training treats them as
    images that cannot be read. Damaged records are left to whoever reads them.
    """
    count = dataset.count(split)
    looked_at = np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(int)
    unlabelled = 0
    for image_id in looked_at:
        with contextlib.suppress(UnreadableImage):
            if dataset.describe(split, [image_id])[0][0] != NO_LABEL:
                return
            unlabelled += 1
    if unlabelled:
        which = "its images" if count <= LOOKED_AT else f"the {LOOKED_AT:,} images looked at"
        raise ZfjaxError(
            f"Split {split!r} of {dataset.name} has no labels (all {which} are marked -1, not"
            f" known), and {within(purpose)} needs them: choose another split; `zfjax evolve"
            f" --split {split}` and `zfjax project` need none."
        )


def within(purpose: str) -> str:
    """ "The measure probes" as it stands within a sentence."""
    return f"{purpose[:1].lower()}{purpose[1:]}"


def without_label(dataset: Dataset, split: str, image_id: int) -> str:
    """Why training cannot use an image, in a sentence."""
    _, file_name = dataset.describe(split, [image_id])[0]
    return (
        f"Image {image_id} of split '{split}' of {dataset.name} ({file_name}) has no label (-1, not"
        " known), and training needs one; --data.on-error skip takes the next image instead."
    )
