"""Which file of a source belongs to which split and class: from relative paths alone, whatever
their order. Pure.

Folders are compared in Unicode's NFC form, so that a name typed on a Mac and the same name typed
elsewhere are one class; files keep the names that they have. What is not certain is asked about, in
one sentence that names the folders and the flag that answers it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zfjax.data.class_names import is_table, unread_note
from zfjax.data.folders import (
    Folder,
    few,
    is_text,
    nfc_parts,
    no_training,
    refusal,
    said,
    without_labels,
    without_lists,
)
from zfjax.data.labelling import NO_LABELS, Labels
from zfjax.data.split_folders import split_folders_as_said, split_folders_by_name
from zfjax.data.split_names import read_name, says_nothing, split_of


@dataclass(frozen=True)
class Layout:
    """Which file belongs where: ``items`` are (path in the source, file name, split, class folder).

    ``classes`` are the class folders' names in NFC form, sorted; ``class_tables`` and ``nested``
    are paths; ``skipped`` names what is left out by reason; ``notes`` are sentences about the
    whole.
    """

    items: tuple[tuple[str, str, str, str], ...]
    classes: tuple[str, ...]
    class_tables: tuple[str, ...]
    nested: tuple[str, ...]
    skipped: dict[str, list[str]]
    notes: tuple[str, ...] = ()


def arrange(
    files: Iterable[str],
    folders: Iterable[str] = (),
    splits: Mapping[str, str] | None = None,
    labels: Labels = NO_LABELS,
) -> Layout:
    """Finds splits and classes in relative paths.

    Single folders on top are looked through. A folder that holds folders and is called like a split
    (split_names.py) is one; without any, everything is ``train``. The class is the first folder
    below, however deep the file; a folder between a split and its classes that only repeats the
    split or is called like "images" is looked through. Items come sorted by a hash of the file
    name, which is the path below the looked-through folders.

    ``splits``: {folder: split} says which folders are splits, {} that all are classes, None that
    their names decide. A folder is a path in the source, or below the folders that are looked
    through. ``labels``: the classes of files that lie in no class folder (labelling.py).

    Raises ZfjaxError, and says how to answer with --splits, for folders that may be splits or
    classes, two folders that mean one split, splits of which none is for training, a folder in
    ``splits`` that is not there, and a split for validation that nothing labels, or whose classes
    are all unknown to the training split.
    """
    left_out = {*labels.tables, *(path for names in labels.skipped.values() for path in names)}
    classes_of = _Classes.of(labels)
    paths = [(path, classes_of.parts(path)) for path in sorted(files) if path not in left_out]
    below = without_lists([parts for _, parts in paths])
    lists_lie_apart = len(below) < len(paths)
    if splits:
        root, roles = split_folders_as_said(below, splits)
    else:
        root, roles = split_folders_by_name(below, guess=splits is None)
    tables = tuple(
        path
        for path, parts in paths
        if is_table(parts[-1])
        and (len(parts) <= len(root) + 1 or _lies_above_classes(parts, roles))
    )
    depths = sorted({len(role) for role in roles}, reverse=True)
    skipped: dict[str, list[str]] = {}
    placed: list[tuple[str, str, str, str]] = []
    nested: list[str] = []
    spellings: dict[str, set[str]] = defaultdict(set)
    class_folders: set[Folder] = set()
    outside: dict[str, int] = defaultdict(int)
    for path, parts in paths:
        if path in tables:
            continue
        role = next((parts[:depth] for depth in depths if parts[:depth] in roles), None)
        if role is not None:
            class_folders.add(parts[: len(role) + 1])
        if role is None or len(parts) < len(role) + 2:
            if role is None and lists_lie_apart and is_text(parts[-1]):
                skipped.setdefault("list or annotation beside the images", []).append(path)
                continue
            reason = "not in a class folder"
            top = len(root) if parts[: len(root)] == root else 0
            if role is None and len(parts) > top + 1:
                outside[parts[top]] += 1
                if split_of(parts[top]) is None:
                    reason = "outside the split folders"
            skipped.setdefault(reason, []).append(path)
            continue
        own = path.split("/")
        label = classes_of.name(parts[len(role)])
        placed.append((path, "/".join(own[len(root) :]), roles[role], label))
        if path not in labels.classes:
            spellings[label].add(own[len(role)])
        if len(parts) > len(role) + 2:
            nested.append(path)
    placed, classes = _with_training_classes(placed, skipped)
    if labels.classes and all(map(str.isdecimal, classes)):
        classes = tuple(sorted(classes, key=lambda number: (int(number), number)))
    if (
        placed
        and not any(split == "train" for _, _, split, _ in placed)
        or (not placed and any(len(role) > len(root) for role in roles))
    ):
        raise no_training(roles)
    unlabelled = _check_splits_stay(paths, placed, skipped, roles)
    empty = _empty_classes(set(folders) - _folders_above(labels.classes), roles, class_folders)
    if empty:
        skipped["class folder without files"] = empty
    placed.sort(key=lambda item: hashlib.sha256(item[1].encode()).digest())
    notes = [
        *_outside_note(outside),
        *unlabelled,
        *_spelling_notes(classes, spellings),
        *(
            []
            if tables or labels.classes
            else unread_note(skipped.get("not in a class folder", []))
        ),
    ]
    return Layout(tuple(placed), classes, tables, tuple(nested), skipped, tuple(notes))


@dataclass(frozen=True)
class _Classes:
    """The paths that images would have in class folders. A class that would be misread as a split
    stands there as a number.
    """

    labels: Labels
    steps: Mapping[str, str]
    names: Mapping[str, str]

    @classmethod
    def of(cls, labels: Labels) -> _Classes:
        steps = {}
        for number, label in enumerate(sorted(set(labels.classes.values()))):
            reading = read_name(label)
            odd = reading.splits or reading.short or reading.like_a_split or says_nothing(label)
            steps[label] = f"\0{number}" if odd else label
        return cls(labels, steps, {step: label for label, step in steps.items()})

    def parts(self, path: str) -> Folder:
        """A path's folders and file, with its class folder."""
        own = nfc_parts(path)
        if path not in self.labels.classes:
            return own
        return (*self.labels.folders[path], self.steps[self.labels.classes[path]], own[-1])

    def name(self, step: str) -> str:
        """The class that a class folder stands for."""
        return self.names.get(step, step)


def _folders_above(paths: Iterable[str]) -> set[str]:
    """The folders in which files lie, at any depth."""
    inside = {path.rpartition("/")[0] for path in paths}
    return {
        "/".join(steps[:depth])
        for steps in (folder.split("/") for folder in inside)
        for depth in range(1, len(steps) + 1)
    }


def _lies_above_classes(parts: Folder, roles: Mapping[Folder, str]) -> bool:
    """Whether a file lies in a split folder, or in one above it, and in no class folder."""
    return any(role[: len(parts) - 1] == parts[:-1] for role in roles)


def _with_training_classes(
    placed: list[tuple[str, str, str, str]], skipped: dict[str, list[str]]
) -> tuple[list[tuple[str, str, str, str]], tuple[str, ...]]:
    """Drops what has a class that train does not know, such as a test folder without labels;
    classes come sorted.
    """
    classes = {folder for _, _, split, folder in placed if split == "train"} or {
        folder for *_, folder in placed
    }
    for path, _, _, folder in placed:
        if folder not in classes:
            skipped.setdefault("class absent from train", []).append(path)
    return [item for item in placed if item[3] in classes], tuple(sorted(classes))


def _check_splits_stay(
    paths: Sequence[tuple[str, Folder]],
    placed: Sequence[tuple[str, str, str, str]],
    skipped: Mapping[str, list[str]],
    roles: Mapping[Folder, str],
) -> list[str]:
    """A note for a test split that has images and no labels, which is left out. Raises ZfjaxError
    where another split would be, or one whose classes all have other names than train's.
    """
    staying = {split for _, _, split, _ in placed}
    stays = {role: split for role, split in roles.items() if split in staying}
    training = sorted({folder for _, _, split, folder in placed if split == "train"})
    dropped = set(skipped.get("class absent from train", ()))
    notes = []
    for role, split in sorted(roles.items()):
        if split in staying or not placed:
            continue
        inside = [parts for _, parts in paths if parts[: len(role)] == role]
        classes = {
            parts[len(role)]
            for path, parts in paths
            if path in dropped and parts[: len(role)] == role
        }
        # "images", or one folder that is called like no class, holds what has no label.
        if not all(map(says_nothing, classes)) and (
            split != "test" or len(classes) > 1 or _folded(classes) & _folded(training)
        ):
            raise refusal(
                f"The {split} split in {'/'.join(role)} has no class of the training split: its"
                f" class folders are {few(classes)}, those for training {few(training)}; give a"
                f" class one name in both, or leave {'/'.join(role)} out with {said(stays)}."
            )
        if split != "test":
            raise without_labels(role, len(inside), stays)
        notes.append(
            f"attention: there is no test split, as {'/'.join(role)} has {len(inside):,} files and"
            " none in a class folder of the training split"
        )
    return notes


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}


def _empty_classes(
    folders: Iterable[str], roles: Mapping[Folder, str], full: set[Folder]
) -> list[str]:
    return sorted(
        folder
        for folder in folders
        if (parts := nfc_parts(folder))[:-1] in roles and parts not in full and parts not in roles
    )


def _outside_note(outside: Mapping[str, int]) -> list[str]:
    if not outside:
        return []
    counts = [f"{folder} ({count:,})" for folder, count in sorted(outside.items())]
    return [
        f"attention: {sum(outside.values()):,} files are left out, which lie outside the split"
        f" folders' classes, in {few(counts, 10)}"
    ]


def _spelling_notes(classes: Iterable[str], spellings: Mapping[str, set[str]]) -> list[str]:
    return [
        f"the class {name} has {len(spellings[name])} folders, whose names differ in their Unicode"
        " form alone"
        for name in classes
        if len(spellings[name]) > 1
    ]
