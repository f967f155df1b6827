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

from zfjax.data.folders import LABEL_FILE, Folder, few, is_text, nfc_parts, refusal, said
from zfjax.data.image_folders import ImageFolders, masks_among, tells_a_split
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
    splits_in_names,
    unread_label_files,
)
from zfjax.data.split_names import SPLITS, split_of
from zfjax.errors import ZfjaxError

NO_COLUMN = "none"
"""The column of classes where label files do not count."""


@dataclass(frozen=True)
class Labels:
    """``folders``: {path: the folders above its class} and ``classes``: {path: class} of images
    that lie in no class folder. ``tables`` are the label files that gave them. ``skipped`` names
    what is left out by reason; ``notes`` are sentences; ``unused`` says why label files gave
    nothing.
    """

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
    class folders, and for a ``column`` that none has.
    """
    paths = sorted(files)
    images = [path for path in paths if not is_text(path)]
    called_so = [path for path in images if path.rpartition(".")[2].casefold() in IMAGE_ENDINGS]
    images = called_so or images
    masks = set(masks_among(images))
    images = [path for path in images if path not in masks]
    lie = ImageFolders.of(images, {step for folder in splits or () for step in nfc_parts(folder)})
    asked = Asked(column, splits is None)
    read_files = [] if column == NO_COLUMN else _read(paths, read, lie, asked)
    of_no_use = [*read_files, *unread_label_files(paths)]
    unused = [file.why_not for file in of_no_use if file.why_not]
    within = [_within_splits(file, splits) for file in read_files]
    givers = _givers(_of_use(within, lie, column))
    named = _named_by_ilsvrc(images, lie, givers)
    classless = lie.says_nothing and not givers and not named
    if classless and column is None and (unused or (splits is None and lie.in_splits_alone)):
        raise refusal(
            f"No image has a class ({len(images):,}, such as {images[0]}), as"
            f" {'; '.join(unused[:3]) or 'no label file is there'}: mend that, arrange them as"
            f" CLASS/IMAGE or train/CLASS/IMAGE, add {LABEL_FILE}, or say"
            f" --label-column {NO_COLUMN} where the folders are classes."
        )
    skipped = _without_a_line(images, givers)
    if masks:
        skipped["mask or annotation of an image"] = sorted(masks)
    notes = _ilsvrc_notes(givers, named)
    givers = {path: file for path, file in givers.items() if path not in named}
    notes += _counts(givers)
    if not all(lie.holders.values()):
        notes += [f"attention: {file.why_not}" for file in read_files if file.is_faulty]
    return Labels(
        _folders([*givers, *named], givers, lie, splits),
        {path: file.classes[path] for path, file in givers.items()} | named,
        tuple(sorted({file.path for file in givers.values()})),
        skipped,
        tuple(notes),
        tuple(unused),
    )


def _read(
    paths: Sequence[str], read: Callable[[str, int], bytes], lie: ImageFolders, asked: Asked
) -> list[LabelFile]:
    """Every label file. What is wrong with one ends the import only where images need it."""
    scopes = Scopes(tuple(lie.holders))
    needed = asked.column is not None or lie.needs_labels
    read_files = []
    likely = likely_label_files(paths)
    hints = splits_in_names(likely)
    for path in likely:
        try:
            data, names, hint = read(path, LABEL_BYTES), scopes.of(path), hints.get(path)
            file = read_label_file(path, data, names, lie.class_folders, asked, hint)
            file = replace(file, classes=_as_folders(file.classes, lie.class_folders))
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


def _as_folders(classes: Mapping[str, str], folders: Collection[str]) -> dict[str, str]:
    """``classes`` with a number written as the one class folder of that number is (7 as 00007)."""
    numbered: dict[int, list[str]] = defaultdict(list)
    for folder in filter(str.isdecimal, folders):
        numbered[int(folder)].append(folder)
    same = {number: names[0] for number, names in numbered.items() if len(names) == 1}
    return {
        path: same.get(int(label), label) if label.isdecimal() else label
        for path, label in classes.items()
    }


def _of_use(
    read_files: Sequence[LabelFile], lie: ImageFolders, column: str | None
) -> list[LabelFile]:
    """The label files that give classes, with those that class folders do not. Raises ZfjaxError
    where none has the ``column`` that the user names.
    """
    useful = [file for file in read_files if file.classes]
    if column not in (None, NO_COLUMN) and not useful:
        why = "; ".join(file.why_not for file in read_files) or "there is no label file"
        raise refusal(f"--label-column {column}: {why}.")
    return [_beside_folders(file, lie) for file in useful] if column is None else useful


def _within_splits(file: LabelFile, splits: Collection[str] | None) -> LabelFile:
    """``file`` without images outside the folders that the user calls ``splits``."""
    names = [f"/{'/'.join(nfc_parts(folder))}/" for folder in splits or ()]
    kept = {
        path: label
        for path, label in file.classes.items()
        if any(name in f"/{'/'.join(nfc_parts(path))}" for name in names)
    }
    return replace(file, classes=kept) if names else file


def _beside_folders(file: LabelFile, lie: ImageFolders) -> LabelFile:
    """``file`` without what class folders say already. Raises ZfjaxError where they say
    otherwise.
    """
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
            f" {NO_COLUMN} where the folders are{_beside_splits(lie, at_odds)}."
        )
    kept = {
        path: label
        for path, label in file.classes.items()
        if lie.holders[path] is None and within[folder := nfc_parts(path)[:-1]] != set(folder[-1:])
    }
    return replace(file, classes=kept)


def _beside_splits(lie: ImageFolders, folders: Collection[Folder]) -> str:
    """How ``folders`` are left out where they lie beside known splits, "" where they do not."""
    depth = len(lie.common)
    known = _known_splits(lie, depth)
    if "train" not in known.values() or all(folder[depth] in known for folder in folders):
        return ""
    return f", or leave folders beside splits out, as with {said({(s,): known[s] for s in known})}"


def _known_splits(lie: ImageFolders, depth: int) -> dict[str, str]:
    """{folder at ``depth``: the split that its name means}, that for training first."""
    steps = {parts[depth] for path in lie.holders if len(parts := nfc_parts(path)) > depth + 1}
    order = [(SPLITS.index(split), step) for step in steps if (split := split_of(step))]
    return {step: SPLITS[rank] for rank, step in sorted(order)}


def _givers(files: Sequence[LabelFile]) -> dict[str, LabelFile]:
    """{path: the label file that gives its class}, of several one that is called like a split
    (test.txt beside list.txt). Raises ZfjaxError where two disagree.
    """
    givers: dict[str, LabelFile] = {}
    for file in files:
        for path, label in file.classes.items():
            before = givers.setdefault(path, file)
            if before.classes[path] != label:
                raise refusal(
                    f"{before.path} says that {path} is of class {before.classes[path]}, and"
                    f" {file.path} that it is of {label}: take one of the files away."
                )
            if file.split and not before.split and path not in before.splits:
                givers[path] = file
    return givers


def _named_by_ilsvrc(
    images: Sequence[str], lie: ImageFolders, givers: Mapping[str, LabelFile]
) -> dict[str, str]:
    """{path: wnid} of images in no class folder that are called as ILSVRC2012's are, where no label
    file gives a class or one that no class folder has, while the wnid's is there.
    """
    own = {path: wnid for path in images if not lie.holders[path] and (wnid := _wnid(path))}
    folders = lie.class_folders
    if folders and folders.isdisjoint(own.values()):
        return {}
    return {
        path: wnid
        for path, wnid in own.items()
        if path not in givers or (wnid in folders and givers[path].classes[path] not in folders)
    }


def _wnid(path: str) -> str | None:
    """The class that the name of an image of ILSVRC2012 says."""
    label = named_label(path.rpartition("/")[2])
    return None if label is None else class_wnids()[label]


def _ilsvrc_notes(givers: Mapping[str, LabelFile], named: Mapping[str, str]) -> list[str]:
    """What there is to say of the names of ILSVRC2012's images."""
    notes = []
    other = [
        path
        for path, file in givers.items()
        if path not in named
        and (wnid := _wnid(path))
        and wnid != file.classes[path]
        and file.classes[path] in class_wnids()
    ]
    if other:
        notes.append(
            f"attention: {len(other):,} images have another class in their label file than"
            f" ILSVRC2012 gives to images of their names ({few(other, 3)})"
        )
    if named:
        notes.append(f"ILSVRC2012's file names give the classes of {len(named):,} images")
    return notes


def _without_a_line(images: Sequence[str], givers: Mapping[str, LabelFile]) -> dict[str, list[str]]:
    """Images that no label file names, though one names others of their folder, by reason."""
    files: dict[str, set[str]] = defaultdict(set)
    for path, file in givers.items():
        files[path.rpartition("/")[0]].add(file.path)
    skipped: dict[str, list[str]] = defaultdict(list)
    for path in images:
        folder = path.rpartition("/")[0]
        if path not in givers and folder in files:
            skipped[f"no class in {few(files[folder])}"].append(path)
    return dict(skipped)


def _counts(givers: Mapping[str, LabelFile]) -> list[str]:
    """How many classes come from which label file, and how many of its lines give none."""
    times = Counter(file.path for file in givers.values())
    files = {file.path: file for file in givers.values()}
    notes = []
    for path, file in sorted(files.items()):
        notes.append(f"{path} gives the classes of {times[path]:,} images")
        lacks = ((file.absent, "name an image that is not there"), (file.blank, "give no class"))
        notes += [
            f"{count:,} of {file.lines:,} lines of {path} {why}" for count, why in lacks if count
        ]
    return notes


def _folders(
    images: Sequence[str],
    givers: Mapping[str, LabelFile],
    lie: ImageFolders,
    splits: Mapping[str, str] | None,
) -> dict[str, Folder]:
    """{path: the folders above its class}: its own where they tell a split or the user names them,
    else one of the split that a label file says, else of that for training.
    """
    folders = {}
    told_in = next((at for at, step in enumerate(lie.common) if tells_a_split(step)), None)
    above = lie.common[:told_in]
    own_folders = {nfc_parts(path)[:-1] for path in images}
    tells = {folder: any(map(tells_a_split, folder)) for folder in own_folders}
    spelled = {split: step for step, split in _known_splits(lie, len(above)).items()}
    for path in images:
        own = nfc_parts(path)[:-1]
        file = givers.get(path)
        told = None if file is None else file.splits.get(path)
        if splits is not None:
            folders[path] = own if splits else lie.common
        elif told is None and tells[own]:
            folders[path] = own
        else:
            by_name = None if file is None else file.split
            split = told or by_name or "train"
            folders[path] = (*above, spelled.get(split, split))
    return folders
