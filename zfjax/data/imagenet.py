"""``zfjax data import`` of the ILSVRC2012 tars: nothing is unpacked to disk, many processes,
resumable.

The train tar is a tar of class tars. Their headers are listed once; then every process makes whole
shards, reading its images where they lie in the tar. A finished shard stays when the import is
killed, and the same command goes on from there. Records are sorted by a hash of their file name, as
in any import, for any number of processes.

A label follows from a file's name alone (imagenet_labels.py); the position in the tar says nothing.
EXIF orientation is ignored, as in everyone's numbers on this set. Each shard's images lie all over
the tar, so that a shard is a fair sample: keep the tars on an SSD or a network store, not on a
spinning disk."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.data import writing
from zfjax.data.class_names import check_naming, decode_table, partial_note
from zfjax.data.converting import (
    Account,
    ImportSummary,
    check_absent,
    check_numbers,
    merged,
    stored_form,
)
from zfjax.data.dataset import check_shard
from zfjax.data.imagenet_labels import class_wnids, validation_label
from zfjax.data.images import MAX_PIXELS, byte_limit
from zfjax.data.import_options import ILSVRC2012
from zfjax.data.set_names import check_name
from zfjax.data.sources import TarInside, read_place, tar_places
from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.files import atomic_path, exclusive_lock, read_json, write_json

TARS = {"train": "ILSVRC2012_img_train.tar", "validation": "ILSVRC2012_img_val.tar"}
EXPECTED = {"train": 1_281_167, "validation": 50_000}
VALIDATION_IMAGES = 50
"""Of each class."""
READABLE_NAMES = "LOC_synset_mapping.txt"
"""Optional, beside the tars: a line "wnid name, other name" a class, as the set's Kaggle edition
brings it."""
SHARD_IMAGES = {True: 4096, False: 2560}
"""Images a shard, resized or not: about 320 or 500 shards, each a file that a reader keeps open."""


@dataclass(frozen=True)
class Settings:
    """What decides the stored bytes; an import goes on only under equal ones."""

    size: int | None
    quality: int
    max_pixels: int
    shard_images: int
    tars: dict[str, list[int]]
    """{split: [bytes, modification time in ns] of its tar}."""


@dataclass(frozen=True)
class Shard:
    """One unit of work: which images make shard ``index`` of ``count``, in the order of the
    records."""

    split: str
    index: int
    count: int
    names: tuple[str, ...]
    labels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray


def is_imagenet(source: Path) -> bool:
    """Whether ``source`` is a folder with one of the ILSVRC2012 tars. Raises ZfjaxError for such a
    tar itself."""
    if source.name in TARS.values() and source.is_file():
        raise ZfjaxError(
            f"{source} is one of ILSVRC2012's two tars; give the folder that holds both."
        )
    return source.is_dir() and any((source / tar).is_file() for tar in TARS.values())


def import_imagenet(
    source: Path | str,
    name: str,
    data_dir: Path | str,
    *,
    size: int | None = ILSVRC2012.size,
    quality: int = ILSVRC2012.quality,
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    shard_images: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ImportSummary:
    """Writes DATA_DIR/NAME/1.0.0 from SOURCE/ILSVRC2012_img_train.tar and
    SOURCE/ILSVRC2012_img_val.tar.

    ``size``: pixels of the shorter side, to which larger images are resized once (None: as they
    are); ``quality`` of those stored anew (JPEG, with halved colour up to 90). Both are kept in the
    data set's metadata. ``workers``: processes, default one a core. ``progress(stage, done,
    total)`` counts first class tars, then images.

    Raises ZfjaxError for a missing or damaged tar, a full disk, a worker that dies, an import that
    was begun with other settings; finished shards stay, and the same call goes on from there."""
    check_name(name)
    check_numbers(size, quality, max_pixels)
    if workers is not None and workers < 1:
        raise ZfjaxError("An import needs at least one worker.")
    source, root = Path(source).expanduser(), Path(data_dir).expanduser()
    for tar in TARS.values():
        if not (source / tar).is_file():
            raise ZfjaxError(
                f"There is no {tar} in {source}; both tars are needed: {', '.join(TARS.values())}."
            )
    stats = {split: (source / tar).stat() for split, tar in TARS.items()}
    settings = Settings(
        size,
        quality,
        max_pixels,
        shard_images or SHARD_IMAGES[size is not None],
        {split: [stat.st_size, stat.st_mtime_ns] for split, stat in stats.items()},
    )
    with exclusive_lock(
        root / f".{name}.lock", f"Another import into {root / name} is running; wait for its end."
    ):
        for leaf in (root / name / writing.VERSION).glob(
            "*.part"
        ):  # of a process that was killed at the very end
            leaf.unlink()
        check_absent(root, name)
        wnids = class_wnids()
        names, notes = _readable(source, wnids)
        folder = _begun(root / f".{name}.partial" / writing.VERSION, settings)
        with _pool(workers or _cores()) as (pool, counter):
            shards, skipped = _plan(source, settings, folder, pool, progress)
            done = _make(shards, source, folder, name, settings, pool, counter, progress)
        summary = _summary(root, name, done, skipped)
        summary = replace(summary, notes=(*summary.notes, *notes))
        lengths = {split: ([], 0) for split in TARS}
        for shard, found in done:
            held, total = lengths[shard.split]
            lengths[shard.split] = [*held, found["images"]], total + found["bytes"]
        try:
            writing.write_metadata(
                folder,
                name,
                writing.image_features(wnids),
                lengths,
                names,
                "ILSVRC2012, imported by zfjax.",
                stored_size=size or "original",
                stored_quality=quality,
                max_pixels=max_pixels,
            )
            folder.parent.rename(root / name)
        except OSError as error:
            raise explain_os_error(error, f"write {name} in {root}:") from error
        for leaf in (root / name / writing.VERSION).glob(
            "*.part"
        ):  # last: until here a killed import can go on
            leaf.unlink()
    return summary


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begun(folder: Path, settings: Settings) -> Path:
    """The folder of an import under way: a killed one's, or a new one. Raises ZfjaxError where its
    settings differ."""
    record, wanted = folder / "settings.part", json.loads(json.dumps(asdict(settings)))
    try:
        if record.is_file():
            before = read_json(record)
            before = before if isinstance(before, dict) else {}
            other = [
                f"{key.replace('tars', 'the tars')} {before.get(key)} -> {now}"
                for key, now in wanted.items()
                if before.get(key) != now
            ]
            if other:
                raise ZfjaxError(
                    f"{folder.parent} holds an unfinished import with other settings"
                    f" ({'; '.join(other)}): import with the same to go on, or delete that folder"
                    " to begin anew."
                )
        else:
            shutil.rmtree(folder.parent, ignore_errors=True)
            folder.mkdir(parents=True)
            write_json(record, wanted)
        for stale in folder.glob(".*.tmp"):
            stale.unlink()
    except OSError as error:
        raise explain_os_error(error, f"write {folder.name} in {folder.parent}:") from error
    return folder


def _plan(
    source: Path,
    settings: Settings,
    folder: Path,
    pool: ProcessPoolExecutor,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[list[Shard], dict[str, list[str]]]:
    """All shards, and what is left out by reason. The list of the tars is kept beside the shards:
    making it reads 1.3 million headers, which takes long where the tars are far away."""
    index = folder / "index.part"
    if not index.is_file():
        skipped: dict[str, list[str]] = {}
        train = _list_train(source, pool, skipped, progress)
        entries = {"train": train, "validation": _list_validation(source, skipped)}
        write_json(index, {"entries": entries, "skipped": skipped})
    kept = read_json(index)
    shards = [
        one for split in TARS for one in _shards(split, kept["entries"][split], settings, source)
    ]
    return shards, kept["skipped"]


Entry = tuple[str, int, int, int]
"""Name, label, offset in the tar, bytes."""


def _list_train(
    source: Path,
    pool: ProcessPoolExecutor,
    skipped: dict[str, list[str]],
    progress: Callable[[str, int, int], None] | None,
) -> list[Entry]:
    labels = {wnid: label for label, wnid in enumerate(class_wnids())}
    train, listed, entries = source / TARS["train"], [], []
    with open(train, "rb") as handle:
        tars, _, left_out = tar_places(train, handle)
    _gather(skipped, left_out)
    for inside, (offset, size) in tars.items():
        wnid = Path(inside).name.removesuffix(".tar")
        if wnid in labels and inside.endswith(".tar"):
            listed.append(
                (labels[wnid], pool.submit(_list_class, train, inside, wnid, offset, size))
            )
        else:
            skipped.setdefault("not a class tar of ILSVRC2012", []).append(inside)
    for done, (label, future) in enumerate(listed, 1):
        places, left_out = _result(future)
        _gather(skipped, left_out)
        entries += [(name, label, *place) for name, place in places]
        if progress is not None:
            progress("listing class tars", done, len(listed))
    return entries


def _list_validation(source: Path, skipped: dict[str, list[str]]) -> list[Entry]:
    entries, validation = [], source / TARS["validation"]
    with open(validation, "rb") as handle:
        places, _, left_out = tar_places(validation, handle)
    _gather(skipped, left_out)
    for inside, place in places.items():
        name = Path(inside).name
        label = validation_label(name)
        if label is None:
            skipped.setdefault("not the name of a validation image", []).append(inside)
        else:
            entries.append((name, label, *place))
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
    for index, some in enumerate(np.array_split(np.arange(len(entries)), count)):
        rows = slice(int(some[0]), int(some[-1]) + 1)
        yield Shard(split, index, count, tuple(names[rows]), *numbers[rows].T)


def _list_class(
    path: Path, inside: str, wnid: str, offset: int, size: int
) -> tuple[list[tuple[str, Any]], dict]:
    """(file name, (offset in the whole tar, size)) of one class tar's own images, and what is left
    out."""
    with open(path, "rb") as handle:
        places, _, skipped = tar_places(path / inside, TarInside(handle, offset, size))
    found = []
    for name, (start, length) in places.items():
        if Path(name).name.startswith(f"{wnid}_"):
            found.append((Path(name).name, (offset + start, length)))
        else:
            skipped.setdefault("in the tar of another class, by its name", []).append(name)
    return found, {
        reason: [f"{inside}/{name}" for name in names] for reason, names in skipped.items()
    }


def _make(
    shards: list[Shard],
    source: Path,
    folder: Path,
    name: str,
    settings: Settings,
    pool: ProcessPoolExecutor,
    counter: Any,
    progress: Callable[[str, int, int], None] | None,
) -> list[tuple[Shard, dict[str, Any]]]:
    """Every shard with its account, those that are there already taken as they are."""
    total = sum(len(shard.names) for shard in shards)
    done, running = {}, {}
    for number, shard in enumerate(shards):
        account = folder / f"{shard.split}-{shard.index:05d}.json.part"
        if account.is_file():
            done[number] = read_json(account)
        else:
            path = folder / writing.shard_name(name, shard.split, shard.index, shard.count)
            running[
                pool.submit(_make_shard, source / TARS[shard.split], shard, path, account, settings)
            ] = number
    before = sum(len(shards[number].names) for number in done)
    while running:
        finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in finished:
            done[running.pop(future)] = _result(future)
        if progress is not None:
            progress("importing", min(total, before + counter.value), total)
    return [(shard, done[number]) for number, shard in enumerate(shards)]


def _make_shard(
    tar: Path, shard: Shard, path: Path, account: Path, settings: Settings
) -> dict[str, Any]:
    """Writes one shard and its account. Images are read in the order of the tar, written in that of
    the plan."""
    wnids = class_wnids()
    features = writing.image_features(wnids)
    records: list[bytes | None] = [None] * len(shard.names)
    form = functools.partial(
        stored_form,
        size=settings.size,
        quality=settings.quality,
        max_pixels=settings.max_pixels,
        upright=False,
    )
    files, limit = Account(), byte_limit(settings.max_pixels)
    with open(tar, "rb") as handle:
        for row in np.argsort(shard.offsets):
            name, label = shard.names[row], int(shard.labels[row])
            lies = tar, handle, name, int(shard.offsets[row]), int(shard.sizes[row]), limit
            stored = files.convert(name, functools.partial(read_place, *lies), form)
            if stored is not None:
                example = {"image": stored, "label": label, "file_name": name}
                records[row] = writing.record(features, example)
            if _finished is not None:
                with _finished.get_lock():
                    _finished.value += 1
    kept = [one for one in records if one is not None]
    if not kept:
        raise ZfjaxError(
            f"No image of shard {shard.index} of the {shard.split} split of {tar} can be read."
        )
    with atomic_path(path) as temporary:
        writing.write_shard(temporary, kept)
        check_shard(temporary, len(kept))
    labels = [
        int(label) for label, one in zip(shard.labels, records, strict=True) if one is not None
    ]
    found = {
        "images": len(kept),
        "bytes": sum(map(len, kept)),
        **asdict(files),
        "labels": {str(label): times for label, times in Counter(labels).items()},
    }
    write_json(account, found)
    return found


_finished: Any = None


def _start_worker(counter: Any) -> None:
    """A worker leaves signals, which a whole group may get, to its parent, and ends when that is
    gone, however it went."""
    global _finished
    _finished = counter
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _pool(workers: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """Processes that are stopped at once when the block fails, and the number of images that they
    have finished."""
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(counter,)
    )
    try:
        yield pool, counter
        pool.shutdown()
    except BaseException:
        # One that a signal has met half-way into the pool is in no list of the pool's; Python would
        # wait for its end.
        for process in {
            *multiprocessing.active_children(),
            *(pool._processes or {}).values(),
        } - before:
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def _result(future: Future) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise ZfjaxError(
            "A worker process of the import died (was memory short?); the same command goes on from"
            " the finished shards, --workers sets how many run at once."
        ) from None


def _readable(source: Path, wnids: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The classes' first readable names, where a list of them lies beside the tars, else their
    wnids; and notes. Where two classes share it (crane the bird, crane the machine), a further name
    or the wnid is added. Raises ZfjaxError for a list that cannot be read or names no class."""
    path, words, notes = source / READABLE_NAMES, {}, []
    if path.is_file():
        try:
            data = path.read_bytes()
        except OSError as error:
            raise explain_os_error(error, "read") from error
        for line in decode_table(data, path):
            wnid, *names = line.split(maxsplit=1) or [""]
            words[wnid] = [name.strip() for name in "".join(names).split(",") if name.strip()]
        known = {wnid: words[wnid][0] for wnid in wnids if words.get(wnid)}
        check_naming(
            path, [wnid for wnid in words if wnid], known, wnids, "wnid SPACE name, other name"
        )
        notes = partial_note(READABLE_NAMES, known, wnids)
    named = [words.get(wnid) or [wnid] for wnid in wnids]
    times = Counter(names[0] for names in named)
    further = [names[0] if times[names[0]] == 1 else ", ".join(names[:2]) for names in named]
    times = Counter(further)
    told = [
        name if times[name] == 1 else f"{name} ({wnid})"
        for name, wnid in zip(further, wnids, strict=True)
    ]
    return told, notes


def _summary(
    root: Path, name: str, done: list[tuple[Shard, dict[str, Any]]], skipped: dict[str, list[str]]
) -> ImportSummary:
    wnids = class_wnids()
    counts = {split: dict.fromkeys(wnids, 0) for split in TARS}
    files = Account(skipped=skipped)
    for shard, found in done:
        for label, times in found["labels"].items():
            counts[shard.split][wnids[int(label)]] += times
        files.add(found)
    found = {split: sum(classes.values()) for split, classes in counts.items()}
    notes = files.notes() + tuple(
        f"attention: ILSVRC2012 has {EXPECTED[split]:,} images for {split}, not {count:,}; is"
        f" {TARS[split]} whole?"
        for split, count in found.items()
        if count != EXPECTED[split]
    )
    empty = [wnid for wnid, times in counts["train"].items() if not times]
    uneven = [wnid for wnid, times in counts["validation"].items() if times != VALIDATION_IMAGES]
    lacking = f"have not the {VALIDATION_IMAGES} validation images that each should"
    for classes, what in ((empty, "have no training image"), (uneven, lacking)):
        if classes:
            some = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
            notes += (f"attention: {len(classes)} of {len(wnids):,} classes {what} ({some})",)
    return ImportSummary(
        name,
        root / name / writing.VERSION,
        counts,
        merged(files.converted),
        merged(files.skipped),
        files.resized,
        notes,
    )
