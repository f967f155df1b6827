"""The shards of ILSVRC2012, each made whole by one process out of images that lie all over a tar.

Keep the tars on an SSD or a network store, not on a spinning disk.
"""

from __future__ import annotations

import functools
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.data import writing
from zfjax.data.converting import Account, form_of
from zfjax.data.imagenet_labels import class_wnids
from zfjax.data.imagenet_plan import TARS, Settings, Shard
from zfjax.data.images import byte_limit
from zfjax.data.import_workers import Workers, count_one_image, result_of
from zfjax.data.metadata import check_shard
from zfjax.data.sources import read_place
from zfjax.errors import ZfjaxError
from zfjax.files import atomic_path, read_json, write_json
from zfjax.progress import Progress


@dataclass(frozen=True)
class Target:
    """From which tars into which folder, under which name and settings."""

    source: Path
    folder: Path
    name: str
    settings: Settings


def make_shards(
    shards: list[Shard], target: Target, workers: Workers, progress: Progress | None
) -> list[tuple[Shard, dict[str, Any]]]:
    """Every shard with its account, those that are there already taken as they are."""
    total = sum(len(shard.names) for shard in shards)
    done: dict[int, dict[str, Any]] = {}
    running: dict[Future[dict[str, Any]], int] = {}
    for number, shard in enumerate(shards):
        account = target.folder / f"{shard.split}-{shard.index:05d}.json.part"
        if account.is_file():
            done[number] = read_json(account)
        else:
            path = target.folder / writing.shard_name(
                target.name, shard.split, shard.index, shard.count
            )
            tar = target.source / TARS[shard.split]
            task = workers.pool.submit(make_shard, tar, shard, path, account, target.settings)
            running[task] = number
    before = sum(len(shards[number].names) for number in done)
    while running:
        finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in finished:
            done[running.pop(future)] = result_of(future)
        if progress is not None:
            progress("importing", min(total, before + workers.images_done), total)
    return [(shard, done[number]) for number, shard in enumerate(shards)]


def make_shard(
    tar: Path, shard: Shard, path: Path, account: Path, settings: Settings
) -> dict[str, Any]:
    """Writes one shard and its account. Images are read in the order of the tar, written in that of
    the plan.
    """
    wnids = class_wnids()
    features = writing.image_features(writing.About(wnids))
    records: list[bytes | None] = [None] * len(shard.names)
    # EXIF is ignored, as in everyone's numbers on this set.
    form = form_of(settings.stored, upright=False)
    files, limit = Account(), byte_limit(settings.max_pixels)
    with open(tar, "rb") as handle:
        for row in np.argsort(shard.offsets):
            name, label = shard.names[row], int(shard.labels[row])
            lies = tar, handle, name, int(shard.offsets[row]), int(shard.sizes[row]), limit
            stored = files.convert(name, functools.partial(read_place, *lies), form)
            if stored is not None:
                example = {"image": stored, "label": label, "file_name": name}
                records[row] = writing.record(features, example)
            count_one_image()
    kept = [record for record in records if record is not None]
    if not kept:
        raise ZfjaxError(
            f"No image of shard {shard.index} of the {shard.split} split of {tar} can be read."
        )
    with atomic_path(path) as temporary:
        writing.write_shard(temporary, kept)
        check_shard(temporary, len(kept))
    labels = [
        int(label)
        for label, record in zip(shard.labels, records, strict=True)
        if record is not None
    ]
    account_of_shard = {
        "images": len(kept),
        "bytes": sum(map(len, kept)),
        **asdict(files),
        "labels": {str(label): times for label, times in Counter(labels).items()},
    }
    write_json(account, account_of_shard)
    return account_of_shard
