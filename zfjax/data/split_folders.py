"""Which folders of a source are its splits: as their names say, or as the user does. Pure.

Folders are compared in Unicode's NFC form. What is not certain is asked about, in one sentence that
names the folders and the flag that answers it.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zfjax.data.split_names import how_to_say, read_name, read_names, says_nothing, split_of
from zfjax.errors import ZfjaxError, escaped

Folder = tuple[str, ...]
"""The parts of a path from the top of the source, in NFC form."""


def nfc_parts(path: str) -> Folder:
    """A path's folders and file in NFC form."""
    return tuple(unicodedata.normalize("NFC", path).split("/"))


@dataclass
class _Head:
    """What a folder holds: files of its own, and by folder below (files directly there, files
    deeper).
    """

    files: int = 0
    below: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    @property
    def inside(self) -> int:
        """Files that lie in folders below."""
        return sum(map(sum, self.below.values()))

    @property
    def holds_folders(self) -> bool:
        """Whether it is rather a folder of folders than one of files, and so may be a split."""
        return self.inside > 0 and self.inside >= self.files


def _heads(paths: Iterable[Folder], depth: int) -> dict[str, _Head]:
    """The folders at ``depth``, by name."""
    heads: dict[str, _Head] = defaultdict(_Head)
    for parts in paths:
        if len(parts) == depth + 2:
            heads[parts[depth]].files += 1
        elif len(parts) > depth + 2:
            heads[parts[depth]].below[parts[depth + 1]][len(parts) > depth + 3] += 1
    return heads


def _split_folders_below(head: _Head) -> dict[str, str]:
    """The folders in ``head`` that hold class folders and are called like splits."""
    deep = [name for name, (_, deeper) in head.below.items() if deeper]
    return read_names(deep)[0]


def split_folders_by_name(paths: Sequence[Folder], guess: bool) -> tuple[Folder, dict[Folder, str]]:
    """(the folder above splits or classes, {split folder: split}); without split folders the root
    itself is train.
    """
    depth, heads = 0, _heads(paths, 0)
    while len(heads) == 1:
        [(name, head)] = heads.items()
        is_split = guess and split_of(name) and len(_split_folders_below(head)) < 2
        if is_split or not head.below:
            break
        depth, heads = depth + 1, _heads(paths, depth + 1)
    root = next((parts[:depth] for parts in paths if len(parts) > depth + 1), ())
    splits = _splits_among(heads, paths, root) if guess else {}
    if not splits:
        return root, {root: "train"}
    return root, {
        _looked_through((*root, name), split, heads[name], paths): split
        for name, split in splits.items()
    }


def _splits_among(
    heads: Mapping[str, _Head], paths: Sequence[Folder], root: Folder
) -> dict[str, str]:
    """{folder: split} of folders beside each other; {} where they are classes. Raises ZfjaxError
    where it asks.
    """
    deep = {name: head for name, head in heads.items() if head.holds_folders}
    beside = sum(
        head.files
        for name, head in heads.items()
        if name not in deep and not read_name(name).splits
    )
    splits, asked = read_names(
        deep, all_there_is=beside < sum(head.inside for head in deep.values())
    )
    if asked:
        raise _question(
            f"These folders may be splits or classes: {', '.join(asked)}", asked, splits
        )
    _check_no_splits_below(paths, root, deep, splits)
    if splits:
        left_out = [
            name
            for name in heads.keys() - deep.keys()
            if read_name(name).like_a_split and not read_name(name).known
        ]
        if left_out:
            raise _question(
                f"{few(left_out)} may be splits but hold no class folders, and would be left out",
                [],
                splits,
            )
        if beside > sum(heads[name].inside for name in splits):
            raise _question(
                f"Most files lie outside {', '.join(splits)}, in {few(heads.keys() - splits)}",
                [],
                splits,
            )
        return splits
    readings = {name: read_name(name) for name in heads}
    named = {split for reading in readings.values() if (split := reading.known)}
    if len(named) > 1 or (
        heads and all(reading.known or reading.like_a_split for reading in readings.values())
    ):
        like = sorted(
            name for name, reading in readings.items() if reading.known or reading.like_a_split
        )
        raise _refusal(
            f"{', '.join(like)} are called like splits but hold images, not class folders: a split"
            " needs a folder for each class (train/CLASS/IMAGE); where they are classes, say"
            " --splits none."
        )
    same = (
        set.intersection(*(set(head.below) for head in deep.values())) if len(deep) > 1 else set()
    )
    if len({name for name in same if not says_nothing(name)}) > 1 and 2 * len(deep) > len(heads):
        raise _question(
            f"{few(deep)} hold folders of the same names ({few(same)}) and may be splits or"
            " classes",
            sorted(deep),
            {},
        )
    return {}


def _check_no_splits_below(
    paths: Sequence[Folder], root: Folder, deep: Mapping[str, _Head], splits: Mapping[str, str]
) -> None:
    """Raises ZfjaxError for split folders that lie lower than classes or splits do."""
    lower = {
        f"{name}/{below}": split
        for name in splits
        if len(inner := _split_folders_below(deep[name])) > 1
        for below, split in inner.items()
    }
    if not splits:
        holders = {
            parts[:depth] for parts in paths for depth in range(len(root) + 2, len(parts) - 1)
        }
        lower = {
            "/".join(folder): split for folder in sorted(holders) if (split := split_of(folder[-1]))
        }
    if lower:
        raise _question(f"The split folders {few(lower)} do not lie on top", [], lower)
    below = {name for head in deep.values() for name in head.below}
    named = {split for name in below if (split := split_of(name))}
    if not splits and (len(named) > 1 or (below and all(map(split_of, below)))):
        raise _refusal(
            f"The class folders {few(deep)} hold split folders ({few(below)}); arrange them as "
            "train/CLASS/IMAGE, or say --splits none to have all images in one split."
        )


def _looked_through(folder: Folder, split: str, head: _Head, paths: Sequence[Folder]) -> Folder:
    """``folder``, or the one in it that all its class folders lie in (seg_train/seg_train,
    train/images).
    """
    while len(head.below) == 1:
        [(name, (_, deeper))] = head.below.items()
        if not deeper or not (name == folder[-1] or says_nothing(name) or split_of(name) == split):
            break
        folder = (*folder, name)
        inner = [parts for parts in paths if parts[: len(folder)] == folder]
        head = _heads(inner, len(folder) - 1)[name]
    return folder


def split_folders_as_said(
    paths: Sequence[Folder], splits: Mapping[str, str]
) -> tuple[Folder, dict[Folder, str]]:
    """As ``split_folders_by_name``, for split folders that the user names."""
    tops: list[Folder] = [()]
    while len(heads := _heads(paths, len(tops[-1]))) == 1:
        tops.append((*tops[-1], next(iter(heads))))
    there = {parts[:depth] for parts in paths for depth in range(1, len(parts))}
    roles: dict[Folder, str] = {}
    for name, split in splits.items():
        folder = next(
            (top + nfc_parts(name) for top in tops if top + nfc_parts(name) in there), None
        )
        if folder is None:
            names = sorted(parts[0] for parts in there if len(parts) == 1) or ["none"]
            raise _refusal(
                f"--splits: there is no folder {name!r} with files in the source; on top it holds "
                f"{few(names, 10)}."
            )
        roles[folder] = split
    if "train" not in roles.values():
        raise no_training(roles)
    for folder in roles:
        above = next(
            (other for other in roles if other != folder and other == folder[: len(other)]), None
        )
        if above:
            raise _refusal(
                f"--splits: the folder {'/'.join(folder)} lies in {'/'.join(above)}; give folders"
                " that lie beside each other."
            )
    parents = [folder[:-1] for folder in roles]
    shared = next(
        n
        for n in range(min(map(len, parents)), -1, -1)
        if len({parent[:n] for parent in parents}) == 1
    )
    above_classes = {}
    for folder, split in roles.items():
        inner = [parts for parts in paths if parts[: len(folder)] == folder]
        head = _heads(inner, len(folder) - 1)[folder[-1]]
        above_classes[_looked_through(folder, split, head, inner)] = split
    return parents[0][:shared], above_classes


def _question(what: str, folders: Sequence[str], read: Mapping[str, str]) -> ZfjaxError:
    return _refusal(f"{what}: {how_to_say(folders, read)}.")


def _refusal(sentence: str) -> ZfjaxError:
    return ZfjaxError(escaped(sentence))


def no_training(roles: Mapping[Folder, str]) -> ZfjaxError:
    """That none of the split folders is for training."""
    there = ", ".join(f"{'/'.join(folder)} ({split})" for folder, split in sorted(roles.items()))
    return _refusal(
        f"There are no class folders for training in {there}: say which folder holds them, as in "
        "--splits train=FOLDER, or --splits none where all folders are classes."
    )


def few(names: Iterable[str], shown: int = 4) -> str:
    """The first names, in order, and whether there are more."""
    names = sorted(names)
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
