"""The classes of images that lie in no class folder: from label files beside or above them, and
from the file names of ILSVRC2012.

Class folders come first: where every folder holds one class of a label file, the file is not
needed, and where one holds several, it is asked which counts. An image keeps its place in the
source; what is added is the class folder in which it would lie, so that splits are found as in any
tree (arranging.py).
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zfjax.data.folders import Folder, few, is_text, nfc_parts, refusal
from zfjax.data.image_names import IMAGE_ENDINGS
from zfjax.data.imagenet_labels import class_wnids, named_label
from zfjax.data.images import ImageError
from zfjax.data.label_columns import Asked
from zfjax.data.label_files import (
    LABEL_BYTES,
    LabelFile,
    Scopes,
    likely_label_files,
    read_label_file,
    unread_label_files,
)
from zfjax.data.split_names import read_name, says_nothing
from zfjax.errors import ZfjaxError

NO_COLUMN = "none"
"""The column of classes where label files do not count."""


@dataclass(frozen=True)
class Labels:
    """``folders``: {path: the folders above its class} and ``classes``: {path: class} of images
    that lie in no class folder. ``tables`` are the label files that gave them. ``skipped`` names
    what is left out by reason; ``notes`` are sentences; ``unused`` says why label files gave
    nothing."""

    folders: Mapping[str, Folder] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    skipped: Mapping[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


NO_LABELS = Labels()


def labels_of(
    files: Iterable[str],
    read: Callable[[str, int], bytes],
    splits: Mapping[str, str] | None = None,
    column: str | None = None,
) -> Labels:
    """The labels of a source's ``files`` that do not lie in class folders. ``read(path, limit)``
    gives a file's bytes.

    ``splits``: the folders that the user says are splits, {} for none. ``column``: the column of
    classes, or "none" where label files do not count.

    Raises ZfjaxError for a label file that cannot be read or contradicts itself, another or the
    class folders, and for a ``column`` that none has."""
    paths = sorted(files)
    images = [path for path in paths if not is_text(path)]
    called_so = [path for path in images if path.rpartition(".")[2].casefold() in IMAGE_ENDINGS]
    images = called_so or images
    lie = _Lie.of(images, {step for folder in splits or () for step in nfc_parts(folder)})
    read_files = (
        [] if column == NO_COLUMN else _read(paths, read, lie, Asked(column, splits is None))
    )
    useful = [file for file in read_files if file.classes]
    if column not in (None, NO_COLUMN) and not useful:
        why = "; ".join(file.why_not for file in read_files) or "there is no label file"
        raise refusal(f"--label-column {column}: {why}.")
    useful = [_beside_folders(file, lie, column is not None) for file in useful]
    classes, giver = _together(useful)
    if not classes and column is None and lie.says_nothing:
        _refuse_unlabelled(read_files)
    named = _named_by_ilsvrc(images, lie, classes)
    notes = _ilsvrc_notes(classes, named, lie)
    skipped = _without_a_line(images, lie, classes, giver)
    classes = {**classes, **named}
    used = {path: file for path, file in giver.items() if path not in named}
    tables = tuple(sorted({file.path for file in used.values()}))
    times = Counter(file.path for file in used.values())
    notes += [note for file in useful if file.path in tables for note in _counts(file, times)]
    if named:
        notes.append(f"ILSVRC2012's file names give the classes of {len(named):,} images")
    if not all(lie.holders.values()):
        notes += [f"attention: {file.why_not}" for file in read_files if file.is_faulty]
    return Labels(
        _folders(classes, used, lie, splits),
        classes,
        tables,
        skipped,
        tuple(notes),
        tuple(file.why_not for file in (*read_files, *unread_label_files(paths)) if file.why_not),
    )


@dataclass(frozen=True)
class _Lie:
    """How images lie: ``common`` are the folders that all lie in, ``holders`` gives the class
    folder of each image as names alone tell it, None where it lies in none."""

    common: Folder
    holders: Mapping[str, Folder | None]

    @classmethod
    def of(cls, images: Sequence[str], said: Collection[str] = ()) -> _Lie:
        """``said``: folders that the user calls splits."""
        folders = {path: nfc_parts(path)[:-1] for path in images}
        different = sorted(set(folders.values()))
        depth = 0
        while different and len(different[0]) > depth:
            if any(folder[: depth + 1] != different[0][: depth + 1] for folder in different):
                break
            depth += 1
        common = different[0][:depth] if different else ()
        holders = {folder: _class_folder(folder, depth, said) for folder in different}
        return cls(common, {path: holders[folder] for path, folder in folders.items()})

    @property
    def class_folders(self) -> set[str]:
        """What the class folders are called."""
        return {holder[-1] for holder in self.holders.values() if holder}

    @property
    def says_nothing(self) -> bool:
        """Whether no folder at all may be that of a class."""
        names = self.common[-1:]
        unsaying = all(_tells_a_split(name) or says_nothing(name) for name in names)
        return unsaying and bool(self.holders) and not any(self.holders.values())

    @property
    def needs_labels(self) -> bool:
        """Whether images lie in no class folder that are neither for testing nor lie about beside
        class folders."""
        beside = any(self.holders.values())
        folders = {nfc_parts(path)[:-1] for path, holder in self.holders.items() if not holder}
        return any(
            not (beside and folder == self.common)
            and not any("test" in read_name(step).splits for step in folder)
            for folder in folders
        )


def _class_folder(folder: Folder, depth: int, said: Collection[str]) -> Folder | None:
    """``folder`` down to the first name below ``depth`` that is neither a split's nor a word like
    "images", None where there is none."""
    for end, name in enumerate(folder[depth:], depth + 1):
        if name not in said and not _tells_a_split(name) and not says_nothing(name):
            return folder[:end]
    return None


def _read(
    paths: Sequence[str], read: Callable[[str, int], bytes], lie: _Lie, asked: Asked
) -> list[LabelFile]:
    """Every label file. What is wrong with one ends the import only where images need it."""
    scopes = Scopes(tuple(lie.holders))
    needed = asked.column is not None or lie.needs_labels
    read_files = []
    for path in likely_label_files(paths):
        try:
            data = read(path, LABEL_BYTES)
            file = read_label_file(path, data, scopes.of(path), lie.class_folders, asked)
        except ImageError as error:
            why = f"{path} cannot be read: {error}"
            file = LabelFile(path, {}, {}, why_not=why, is_faulty=True)
        except ZfjaxError as error:
            if needed:
                raise
            why = str(error).removesuffix(".")
            file = LabelFile(path, {}, {}, why_not=why, is_faulty=True)
        read_files.append(file)
    return read_files


def _refuse_unlabelled(read_files: Sequence[LabelFile]) -> None:
    """Raises ZfjaxError where there are label files, none of use, and no folder tells a class."""
    if why := [file.why_not for file in read_files if file.why_not]:
        raise refusal(
            f"No image has a class, as {'; '.join(why[:3])}: mend that, or say --label-column"
            f" {NO_COLUMN} where the folders are classes."
        )


def _beside_folders(file: LabelFile, lie: _Lie, wanted: bool) -> LabelFile:
    """``file`` without what class folders say already. Raises ZfjaxError where they say otherwise
    and the user has not said which counts."""
    if wanted:
        return file
    within: dict[Folder, set[str]] = defaultdict(set)
    for path, label in file.classes.items():
        within[lie.holders[path] or nfc_parts(path)[:-1]].add(label)
    mixed = [holder for holder, labels in within.items() if len(labels) > 1]
    foldered = {holder for holder in lie.holders.values() if holder}
    at_odds = [holder for holder in mixed if holder in foldered]
    if at_odds and file.by_name and len(foldered) == 1:
        return file  # one folder tells no classes apart
    if at_odds and file.by_name:
        names = few("/".join(holder) for holder in at_odds)
        raise refusal(
            f"{file.path} gives images of one folder several classes ({names}: "
            f"{few(within[min(at_odds)])}): say --label-column"
            f" {shlex.quote(file.column)} where the file has the classes, or --label-column"
            f" {NO_COLUMN} where the folders are."
        )
    kept = {
        path: label
        for path, label in file.classes.items()
        if lie.holders[path] is None and within[folder := nfc_parts(path)[:-1]] != set(folder[-1:])
    }
    return replace(file, classes=kept)


def _together(files: Sequence[LabelFile]) -> tuple[dict[str, str], dict[str, LabelFile]]:
    """({path: class}, {path: the file that says so}). Raises ZfjaxError where two disagree."""
    classes: dict[str, str] = {}
    giver: dict[str, LabelFile] = {}
    for file in files:
        for path, label in file.classes.items():
            if classes.setdefault(path, label) != label:
                raise refusal(
                    f"{giver[path].path} says that {path} is of class {classes[path]}, and"
                    f" {file.path} that it is of {label}: take one of the files away."
                )
            giver.setdefault(path, file)
    return classes, giver


def _named_by_ilsvrc(
    images: Sequence[str], lie: _Lie, classes: Mapping[str, str]
) -> dict[str, str]:
    """{path: wnid} of images in no class folder that are called as ILSVRC2012's are, where no label
    file gives a class or one that no class folder has, while the wnid's is there."""
    flat = [path for path in images if lie.holders[path] is None]
    labels = {path: named_label(path.rpartition("/")[2]) for path in flat if "_" in path}
    wnids = class_wnids() if any(label is not None for label in labels.values()) else ()
    own = {path: wnids[label] for path, label in labels.items() if label is not None}
    folders = lie.class_folders
    if folders and folders.isdisjoint(own.values()):
        return {}
    return {
        path: wnid
        for path, wnid in own.items()
        if path not in classes or (wnid in folders and classes[path] not in folders)
    }


def _ilsvrc_notes(classes: Mapping[str, str], named: Mapping[str, str], lie: _Lie) -> list[str]:
    """A note where a label file contradicts the names of ILSVRC2012's images."""
    wnids = class_wnids()
    other = [
        path
        for path, label in classes.items()
        if path not in named
        and (true := named_label(path.rpartition("/")[2])) is not None
        and label in wnids
        and wnids[true] != label
    ]
    if not other:
        return []
    return [
        f"attention: {len(other):,} images have another class in their label file than ILSVRC2012"
        f" gives to images of their names ({few(other, 3)})"
    ]


def _without_a_line(
    images: Sequence[str], lie: _Lie, classes: Mapping[str, str], giver: Mapping[str, LabelFile]
) -> dict[str, list[str]]:
    """Images that no label file names, though one names others of their folder, by reason."""
    files: dict[str, set[str]] = defaultdict(set)
    for path, file in giver.items():
        files[path.rpartition("/")[0]].add(file.path)
    skipped: dict[str, list[str]] = defaultdict(list)
    for path in images:
        folder = path.rpartition("/")[0]
        if path not in classes and folder in files:
            skipped[f"no class in {few(files[folder])}"].append(path)
    return dict(skipped)


def _counts(file: LabelFile, times: Mapping[str, int]) -> list[str]:
    notes = [f"{file.path} gives the classes of {times[file.path]:,} images"]
    for count, what in (
        (file.absent, "name an image that is not there"),
        (file.blank, "give no class"),
    ):
        if count:
            notes.append(f"{count:,} of {file.lines:,} lines of {file.path} {what}")
    return notes


def _folders(
    classes: Collection[str],
    giver: Mapping[str, LabelFile],
    lie: _Lie,
    splits: Mapping[str, str] | None,
) -> dict[str, Folder]:
    """{path: the folders above its class}: its own where they tell a split or the user names them,
    else one of the split that a label file says, else of that for training."""
    folders = {}
    told_in = next((at for at, step in enumerate(lie.common) if _tells_a_split(step)), None)
    above = lie.common[:told_in]
    own_folders = {nfc_parts(path)[:-1] for path in classes}
    tells = {folder: any(map(_tells_a_split, folder)) for folder in own_folders}
    for path in classes:
        own = nfc_parts(path)[:-1]
        file = giver.get(path)
        told = None if file is None else file.splits.get(path)
        if splits is not None:
            folders[path] = own if splits else lie.common
        elif told is None and tells[own]:
            folders[path] = own
        else:
            by_name = None if file is None else file.split
            folders[path] = (*above, told or by_name or "train")
    return folders


def _tells_a_split(folder: str) -> bool:
    reading = read_name(folder)
    return bool(reading.splits) or reading.like_a_split
