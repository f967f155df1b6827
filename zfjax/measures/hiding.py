"""What is hidden where: parts of images, and for each as large a place of the same image that does
not touch it.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.data.images import Box
from zfjax.data.views import LookedAt
from zfjax.errors import ZfjaxError, shortened
from zfjax.measures.part_files import Frame, PartBox, boxes_in_file
from zfjax.measures.picked_images import readable, split_of
from zfjax.measures.protocol import Looked

LEAST = 5
"""Images with a part, as in the paper."""
SCANNED = 5000
"""Images whose own boxes are read, at most, evenly spread over the split."""
MOST_ALIKE = 3
"""Parts of one name in an image, beyond which none of them is the same as another image's."""
VISIBLE = 0.5
"""Share of a box that the network's input must hold."""


@dataclass(frozen=True)
class Hidden:
    """One part, where it is hidden in each of its images, and the places of the same size."""

    name: str
    ids: tuple[int, ...]
    """Ascending."""
    boxes: np.ndarray
    """int64 [n, 4]: y0, x0, y1, x1 in pixels of the network's input, half open."""
    elsewhere: np.ndarray
    """Likewise."""


@dataclass(frozen=True, eq=False)
class Hidings:
    """All that is hidden."""

    images: LookedAt
    parts: tuple[Hidden, ...]
    groups: tuple[tuple[int, ...], ...]
    """Ids of all images, by class where the data set's own parts are of classes."""
    left_out: tuple[str, ...]
    """Parts that fewer than LEAST images have."""


@dataclass(frozen=True)
class Wish:
    """What of the parts is asked for."""

    file: Path | None
    frame: Frame
    images: int
    only: tuple[str, ...]
    split: str | None
    seed: int


def hidings_of(looked: Looked, wish: Wish) -> Hidings:
    """Which parts of which images are hidden. Raises ZfjaxError where no boxes are known, and where
    no part is in LEAST images.
    """
    subject = looked.subject
    split = split_of(looked, wish.split)
    images = subject.need("images", "The measure correspondence").of_split(split)
    own = wish.file is None
    boxes = _own_boxes(images, subject.labels) if own else _of_file(images, wish)
    numbered, usable = _numbered(boxes), defaultdict[str, dict[int, tuple[Box, Box]]](dict)
    _check_names(wish, [item.name for item in numbered])
    for item in numbered:
        of_part = usable[item.name]
        pair = _places(item, subject, wish.seed)
        if pair is not None:
            of_part[item.image_id] = pair
    parts, few = [], []
    for name, by_image in sorted(usable.items()):
        if wish.only and not _is_asked(name, wish.only):
            continue
        ids = readable(images, _spread(sorted(by_image), wish.images))
        if len(ids) < LEAST:
            few.append(f"{name!r} in {len(ids)}")
            continue
        pairs = np.array([by_image[image_id] for image_id in ids], np.int64)
        parts.append(Hidden(name, ids, pairs[:, 0], pairs[:, 1]))
    if not boxes:  # those of a file that lie beside what the view shows are not read on
        raise ZfjaxError(
            f"{wish.file} has no box that the view of {images.name} shows, the middle of each image"
            f" at {images.view_size[0]} x {images.view_size[1]} pixels: give boxes nearer to the"
            " middle."
        )
    if not parts:
        said = shortened(few, 4) if few else f"an image has more than {MOST_ALIKE} of each name"
        raise ZfjaxError(
            f"No part is in {LEAST} or more images of split {split!r} of {images.name} that can be"
            f" hidden, which the network's input shows and leaves room for as large a place beside:"
            f" {said}; give boxes of more images, or smaller ones."
        )
    every = sorted({image_id for hidden in parts for image_id in hidden.ids})
    return Hidings(images, tuple(parts), _groups(images, every, own), tuple(few))


def _of_file(images: LookedAt, wish: Wish) -> list[PartBox]:
    assert wish.file is not None
    return boxes_in_file(wish.file, images, wish.frame)


def _own_boxes(images: LookedAt, class_names: Sequence[str] | None) -> list[PartBox]:
    """The data set's own, called by class and part: a car's wheel is not a train's."""
    count = images.count
    ids = readable(images, _spread(range(count), SCANNED))
    boxes = []
    described = images.describe(ids)
    for image_id, parts, (label, _) in zip(ids, images.parts_of(ids), described, strict=True):
        known = class_names is not None and 0 <= label < len(class_names)
        head = f"{class_names[label]} " if class_names is not None and known else ""
        boxes += [PartBox(image_id, f"{head}{name}", box) for name, box in parts]
    if not boxes:
        raise ZfjaxError(
            "The measure correspondence needs boxes of the parts that it hides, and split"
            f" {images.split!r} of {images.name} has none: give them with --correspondence.parts"
            " FILE.csv (columns file_name or image_id, part, y0, x0, y1, x1), or measure a run of"
            " the drawn scenes, which have some."
        )
    return boxes


def _numbered(boxes: Iterable[PartBox]) -> list[PartBox]:
    """Parts of one name in an image, counted from left to right: "eye 1 of 2". More than MOST_ALIKE
    are left out: the third petal is not the same in every flower.
    """
    by_image: dict[tuple[int, str], list[PartBox]] = defaultdict(list)
    for item in boxes:
        by_image[item.image_id, item.name].append(item)
    numbered = []
    for alike in by_image.values():
        if len(alike) == 1:
            numbered += alike
        elif len(alike) <= MOST_ALIKE:
            for number, item in enumerate(sorted(alike, key=_middle), start=1):
                name = f"{item.name} {number} of {len(alike)}"
                numbered.append(PartBox(item.image_id, name, item.box))
    return numbered


def _middle(item: PartBox) -> float:
    """Twice the column of its middle."""
    return item.box[1] + item.box[3]


def _places(item: PartBox, subject: Any, seed: int) -> tuple[Box, Box] | None:
    """The part's box in the network's input, and one as large elsewhere; None where the input does
    not show it, or leaves no room.
    """
    size, view = subject.network.input_size, subject.images.view_size
    begin = (view[0] - size[0]) // 2, (view[1] - size[1]) // 2
    edges = np.array(item.box).reshape(2, 2) - begin
    inside = np.stack([edges[0].clip(0, size), edges[1].clip(0, size)])
    area, whole = np.prod(inside[1] - inside[0]), np.prod(edges[1] - edges[0])
    if area <= 0 or area < VISIBLE * whole:
        return None
    (y0, x0), (y1, x1) = np.floor(inside[0]).astype(int), np.ceil(inside[1]).astype(int)
    height, width = y1 - y0, x1 - x0
    rows, columns = np.arange(size[0] - height + 1), np.arange(size[1] - width + 1)
    apart = (np.abs(rows - y0) >= height)[:, None] | (np.abs(columns - x0) >= width)[None, :]
    free = np.argwhere(apart)
    if not len(free):
        return None
    lot = np.random.default_rng((seed, item.image_id, zlib.crc32(item.name.encode())))
    row, column = free[lot.integers(len(free))].tolist()
    return (int(y0), int(x0), int(y1), int(x1)), (
        row,
        column,
        row + int(height),
        column + int(width),
    )


def _spread(ids: Sequence[int], count: int) -> list[int]:
    """``count`` of them, evenly spread; all of fewer."""
    if not len(ids):
        return []
    places = np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))
    return [ids[index] for index in places]


def _is_asked(name: str, only: Sequence[str]) -> bool:
    """By its whole name, or without its number."""
    return name in only or name.rsplit(" ", 3)[0] in only and name[-1:].isdigit()


def _check_names(wish: Wish, parts: Sequence[str]) -> None:
    for name in wish.only:
        if not any(_is_asked(known, (name,)) for known in parts):
            there = [known for known, _ in Counter(parts).most_common()]
            raise ZfjaxError(
                f"--correspondence.only {name!r}: there is no such part; there are"
                f" {shortened(map(repr, there), 8)}."
            )


def _groups(images: LookedAt, ids: Sequence[int], by_class: bool) -> tuple[tuple[int, ...], ...]:
    groups: Mapping[int, list[int]] = defaultdict(list)
    for image_id, (label, _) in zip(ids, images.describe(ids), strict=True):
        groups[label if by_class else NO_LABEL].append(image_id)
    return tuple(tuple(group) for _, group in sorted(groups.items()))
