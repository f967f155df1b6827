"""``zfjax data import`` of the ILSVRC2012 tars: nothing is unpacked to disk, many processes,
resumable.

The train tar is a tar of class tars. Their headers are listed once; then every process makes whole
shards, reading its images where they lie in the tar. A finished shard stays when the import is
killed, and the same command goes on from there. Records are sorted by a hash of their file name, as
in any import, for any number of processes.

A label follows from a file's name alone (imagenet_labels.py); the position in the tar says nothing.
EXIF orientation is ignored, as in everyone's numbers on this set.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from zfjax.data import writing
from zfjax.data.class_names import check_naming, decode_table, partial_note
from zfjax.data.converting import Account, ImportSummary, check_absent, merged
from zfjax.data.imagenet_labels import class_wnids
from zfjax.data.imagenet_plan import TARS, Settings, Shard, plan
from zfjax.data.imagenet_shards import Target, make_shards
from zfjax.data.import_options import ILSVRC2012, Stored
from zfjax.data.import_workers import start_workers, usable_cores
from zfjax.data.set_names import check_name
from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.files import data_folder, exclusive_lock, local_path, read_json, write_json
from zfjax.progress import Progress

EXPECTED = {"train": 1_281_167, "validation": 50_000}
VALIDATION_IMAGES = 50
"""Of each class."""
READABLE_NAMES = "LOC_synset_mapping.txt"
"""Optional, beside the tars: a line "wnid name, other name" a class, as the set's Kaggle edition
brings it."""
SHARD_IMAGES = {True: 4096, False: 2560}
"""Images a shard, resized or not: about 320 or 500 shards, each a file that a reader keeps open."""


def is_imagenet(source: Path) -> bool:
    """Whether ``source`` is a folder with one of the ILSVRC2012 tars. Raises ZfjaxError for such a
    tar itself.
    """
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
    stored: Stored = ILSVRC2012,
    workers: int | None = None,
    shard_images: int | None = None,
    progress: Progress | None = None,
) -> ImportSummary:
    """Writes DATA_DIR/NAME/1.0.0 from SOURCE/ILSVRC2012_img_train.tar and
    SOURCE/ILSVRC2012_img_val.tar.

    ``stored``: of what size and quality; kept in the data set's metadata. ``workers``: processes,
    default one a core. ``progress(stage, done, total)`` counts first class tars, then images.

    Raises ZfjaxError for a missing or damaged tar, a full disk, a worker that dies, an import that
    was begun with other settings; finished shards stay, and the same call goes on from there.
    """
    check_name(name)
    if workers is not None and workers < 1:
        raise ZfjaxError("An import needs at least one worker.")
    source, root = local_path(source), data_folder(data_dir)
    settings = _settings(source, stored, shard_images or SHARD_IMAGES[stored.size is not None])
    with exclusive_lock(
        root / f".{name}.lock", f"Another import into {root / name} is running; wait for its end."
    ):
        _remove_leaves(root / name)  # of a process that was killed at the very end
        check_absent(root, name)
        names, notes = _readable(source, class_wnids())
        target = Target(
            source, _begun(root / f".{name}.partial" / writing.VERSION, settings), name, settings
        )
        with start_workers(workers or usable_cores()) as started:
            shards, skipped = plan(source, settings, target.folder, started, progress)
            done = make_shards(shards, target, started, progress)
        summary = _summary(root, name, done, skipped)
        try:
            _write_metadata(target, done, names)
            target.folder.parent.rename(root / name)
        except OSError as error:
            raise explain_os_error(error, f"write {name} in {root}:") from error
        _remove_leaves(root / name)  # last: until here a killed import can go on
    return replace(summary, notes=(*summary.notes, *notes))


def _settings(source: Path, stored: Stored, shard_images: int) -> Settings:
    """Raises ZfjaxError where a tar is missing."""
    for tar in TARS.values():
        if not (source / tar).is_file():
            raise ZfjaxError(
                f"There is no {tar} in {source}; both tars are needed: {', '.join(TARS.values())}."
            )
    stats = {split: (source / tar).stat() for split, tar in TARS.items()}
    return Settings(
        stored.size,
        stored.quality,
        stored.max_pixels,
        shard_images,
        {split: [stat.st_size, stat.st_mtime_ns] for split, stat in stats.items()},
    )


def _remove_leaves(folder: Path) -> None:
    """What an import under way keeps beside its shards."""
    for leaf in (folder / writing.VERSION).glob("*.part"):
        leaf.unlink()


def _write_metadata(
    target: Target, done: Sequence[tuple[Shard, dict[str, Any]]], names: Sequence[str]
) -> None:
    accounts = {
        split: [account for shard, account in done if shard.split == split] for split in TARS
    }
    lengths = {
        split: (
            [account["images"] for account in of_split],
            sum(account["bytes"] for account in of_split),
        )
        for split, of_split in accounts.items()
    }
    stored = target.settings.stored
    about = writing.About(
        names,
        class_wnids(),
        description="ILSVRC2012, imported by zfjax.",
        metadata={
            "stored_size": stored.size or "original",
            "stored_quality": stored.quality,
            "max_pixels": stored.max_pixels,
        },
    )
    features = writing.image_features(about)
    writing.write_metadata(target.folder, target.name, features, lengths, about)


def _begun(folder: Path, settings: Settings) -> Path:
    """The folder of an import under way: a killed one's, or a new one. Raises ZfjaxError where its
    settings differ.
    """
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


def _readable(source: Path, wnids: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The classes' first readable names, where a list of them lies beside the tars, else their
    wnids; and notes. Where two classes share it (crane the bird, crane the machine), a further name
    or the wnid is added. Raises ZfjaxError for a list that cannot be read or names no class.
    """
    path = source / READABLE_NAMES
    words: dict[str, list[str]] = {}
    notes: list[str] = []
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
    for shard, account in done:
        for label, times in account["labels"].items():
            counts[shard.split][wnids[int(label)]] += times
        files.add(account)
    totals = {split: sum(classes.values()) for split, classes in counts.items()}
    notes = files.notes() + tuple(
        f"attention: ILSVRC2012 has {EXPECTED[split]:,} images for {split}, not {count:,}; is"
        f" {TARS[split]} whole?"
        for split, count in totals.items()
        if count != EXPECTED[split]
    )
    empty = [wnid for wnid, times in counts["train"].items() if not times]
    uneven = [wnid for wnid, times in counts["validation"].items() if times != VALIDATION_IMAGES]
    lacking = f"have not the {VALIDATION_IMAGES} validation images that each should"
    for classes, what in ((empty, "have no training image"), (uneven, lacking)):
        if classes:
            few = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
            notes += (f"attention: {len(classes)} of {len(wnids):,} classes {what} ({few})",)
    return ImportSummary(
        name,
        root / name / writing.VERSION,
        counts,
        merged(files.converted),
        merged(files.skipped),
        files.resized,
        notes,
    )
