"""Which image of the ILSVRC2012 tars makes which record of which shard.

The train tar is a tar of class tars; their headers are listed once, by all workers together. A
label follows from a file's name alone (imagenet_labels.py); the position in the tar says nothing.
Records are sorted by a hash of their file name, as in any import, for any number of processes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zfjax.data.imagenet_labels import class_wnids, validation_label
from zfjax.data.import_options import Stored
from zfjax.data.import_workers import Workers, result_of
from zfjax.data.sources import TarInside, tar_places
from zfjax.errors import ZfjaxError
from zfjax.files import read_json, write_json
from zfjax.progress import Progress

TARS = {"train": "ILSVRC2012_img_train.tar", "validation": "ILSVRC2012_img_val.tar"}
Entry = tuple[str, int, int, int]
"""Name, label, offset in the tar, bytes."""


@dataclass(frozen=True)
class Settings:
    """What decides the stored bytes; an import goes on only under equal ones."""

    size: int | None
    quality: int
    max_pixels: int
    shard_images: int
    tars: dict[str, list[int]]
    """{split: [bytes, modification time in ns] of its tar}."""

    @property
    def stored(self) -> Stored:
        """What is stored of every image."""
        return Stored(self.size, self.quality, self.max_pixels)


@dataclass(frozen=True)
class Shard:
    """One unit of work: which images make shard ``index`` of ``count``, in the order of the
    records.
    """

    split: str
    index: int
    count: int
    names: tuple[str, ...]
    labels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def plan(
    source: Path, settings: Settings, folder: Path, workers: Workers, progress: Progress | None
) -> tuple[list[Shard], dict[str, list[str]]]:
    """All shards, and what is left out by reason. The list of the tars is kept beside the shards:
    making it reads 1.3 million headers, which takes long where the tars are far away.
    """
    index = folder / "index.part"
    if not index.is_file():
        skipped: dict[str, list[str]] = {}
        train = _list_train(source, workers, skipped, progress)
        entries = {"train": train, "validation": _list_validation(source, skipped)}
        write_json(index, {"entries": entries, "skipped": skipped})
    kept = read_json(index)
    shards = [
        shard
        for split in TARS
        for shard in _shards(split, kept["entries"][split], settings, source)
    ]
    return shards, kept["skipped"]


def _list_train(
    source: Path, workers: Workers, skipped: dict[str, list[str]], progress: Progress | None
) -> list[Entry]:
    labels = {wnid: label for label, wnid in enumerate(class_wnids())}
    train, listed = source / TARS["train"], []
    entries: list[Entry] = []
    with open(train, "rb") as handle:
        tars, _, left_out = tar_places(train, handle)
    _gather(skipped, left_out)
    for inside, (offset, size) in tars.items():
        wnid = Path(inside).name.removesuffix(".tar")
        if wnid in labels and inside.endswith(".tar"):
            listed.append(
                (labels[wnid], workers.pool.submit(_list_class, train, inside, wnid, offset, size))
            )
        else:
            skipped.setdefault("not a class tar of ILSVRC2012", []).append(inside)
    for done, (label, future) in enumerate(listed, 1):
        places, left_out = result_of(future)
        _gather(skipped, left_out)
        entries += [(name, label, *offset_and_size) for name, offset_and_size in places]
        if progress is not None:
            progress("listing class tars", done, len(listed))
    return entries


def _list_validation(source: Path, skipped: dict[str, list[str]]) -> list[Entry]:
    validation = source / TARS["validation"]
    entries: list[Entry] = []
    with open(validation, "rb") as handle:
        places, _, left_out = tar_places(validation, handle)
    _gather(skipped, left_out)
    for inside, (offset, size) in places.items():
        name = Path(inside).name
        label = validation_label(name)
        if label is None:
            skipped.setdefault("not the name of a validation image", []).append(inside)
        else:
            entries.append((name, label, offset, size))
    return entries


def _gather(total: dict[str, list[str]], more: dict[str, list[str]]) -> None:
    for reason, names in more.items():
        total.setdefault(reason, []).extend(names)


def _shards(split: str, entries: list[Entry], settings: Settings, source: Path) -> Iterator[Shard]:
    if not entries:
        raise ZfjaxError(f"{source / TARS[split]} holds no image of ILSVRC2012 in its own layout.")
    entries.sort(key=lambda entry: hashlib.sha256(entry[0].encode()).digest())
    names = [entry[0] for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise ZfjaxError(
            f"{source / TARS[split]} holds {twice} more than once; copy or download it again."
        )
    numbers = np.array([entry[1:] for entry in entries], np.int64)
    count = -(-len(entries) // settings.shard_images)
    for index, members in enumerate(np.array_split(np.arange(len(entries)), count)):
        rows = slice(int(members[0]), int(members[-1]) + 1)
        yield Shard(split, index, count, tuple(names[rows]), *numbers[rows].T)


def _list_class(
    path: Path, inside: str, wnid: str, offset: int, size: int
) -> tuple[list[tuple[str, tuple[int, int]]], dict[str, list[str]]]:
    """(file name, (offset in the whole tar, size)) of one class tar's own images, and what is left
    out.
    """
    with open(path, "rb") as handle:
        places, _, skipped = tar_places(path / inside, TarInside(handle, offset, size))
    own = []
    for name, (start, length) in places.items():
        if Path(name).name.startswith(f"{wnid}_"):
            own.append((Path(name).name, (offset + start, length)))
        else:
            skipped.setdefault("in the tar of another class, by its name", []).append(name)
    return own, {
        reason: [f"{inside}/{name}" for name in names] for reason, names in skipped.items()
    }
