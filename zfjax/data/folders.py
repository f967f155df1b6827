"""The folders of a source as paths tell them: what each holds, which lie below, and how a refusal
speaks of them. Pure.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zfjax.data.image_names import IMAGE_ENDINGS
from zfjax.data.split_names import how_to_say, read_name, says_nothing, split_of
from zfjax.errors import ZfjaxError, escaped

Folder = tuple[str, ...]
"""The parts of a path from the top of the source, in NFC form."""


LABEL_FILE = "a label file (labels.csv with lines IMAGE,CLASS, metadata.csv, metadata.jsonl)"
"""What labels images that lie in no class folders, as refusals say it."""


def nfc_parts(path: str) -> Folder:
    """A path's folders and file in NFC form."""
    return tuple(unicodedata.normalize("NFC", path).split("/"))


_TEXTS = (".csv", ".json", ".jsonl", ".mat", ".md", ".npy", ".parquet", ".tsv", ".txt", ".xml")


def is_text(name: str) -> bool:
    """Whether a file is called like a text, a list or a table, and so is no image."""
    return name.casefold().endswith(_TEXTS)


@dataclass
class Head:
    """What a folder holds: files of its own, how many of them are not called like texts, and by
    folder below (files directly there, files deeper).
    """

    files: int = 0
    images: int = 0
    below: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    @property
    def inside(self) -> int:
        """Files that lie in folders below."""
        return sum(map(sum, self.below.values()))

    @property
    def holds_folders(self) -> bool:
        """Whether it is rather a folder of folders than one of files, and so may be a split."""
        return self.inside > 0 and self.inside >= self.files


def heads_at(paths: Iterable[Folder], depth: int) -> dict[str, Head]:
    """The folders at ``depth``, by name."""
    heads: dict[str, Head] = defaultdict(Head)
    for parts in paths:
        if len(parts) == depth + 2:
            heads[parts[depth]].files += 1
            heads[parts[depth]].images += not is_text(parts[-1])
        elif len(parts) > depth + 2:
            heads[parts[depth]].below[parts[depth + 1]][len(parts) > depth + 3] += 1
    return heads


def without_lists(paths: Sequence[Folder]) -> Sequence[Folder]:
    """``paths`` without folders on top that hold texts alone, where what is beside them leads to
    folders called like splits (as Annotations and ImageSets lie beside Data) or is called like
    "images" and holds folders (as meta does beside it); else ``paths``. Folders without images
    go where their own folders are called as those of images are (Annotations/cat, Images/cat).
    """
    kept, depth, says = paths, 0, False
    while True:
        if annotations := _annotations(kept, depth):
            paths, kept = (
                [parts for parts in whole if parts[: depth + 1] not in annotations]
                for whole in (paths, kept)
            )
        names = {parts[depth] for parts in kept if len(parts) > depth + 1}
        pictured = {
            parts[depth] for parts in kept if len(parts) > depth + 1 and not is_text(parts[-1])
        }
        if any(map(split_of, pictured)):
            return kept
        if len(pictured) != 1:
            return kept if pictured and not says else paths
        if pictured != names:
            kept = [parts for parts in kept if len(parts) <= depth + 1 or parts[depth] in pictured]
            says = says or not all(map(says_nothing, pictured))
        depth += 1


def _is_called_an_image(name: str) -> bool:
    return name.rpartition(".")[2].casefold() in IMAGE_ENDINGS


def _annotations(paths: Iterable[Folder], depth: int) -> set[Folder]:
    """The folders at ``depth`` that hold nothing called like an image, and at least two folders of
    the names of those in one that does, at any depth; none that may be a split.
    """
    below: dict[Folder, set[str]] = defaultdict(set)
    pictured: set[Folder] = set()
    folders: set[Folder] = set()
    for parts in paths:
        if len(parts) < depth + 2:
            continue
        if parts[:-1] not in folders:
            folders.add(parts[:-1])
            below[parts[: depth + 1]].update(parts[depth + 1 : -1])
        if parts[: depth + 1] not in pictured and _is_called_an_image(parts[-1]):
            pictured.add(parts[: depth + 1])
    return {
        folder
        for folder in below.keys() - pictured
        if not read_name(folder[-1]).splits
        and any(len(below[folder] & below[other]) > 1 for other in pictured)
    }


def paths_below(folder: Folder, paths: Iterable[Folder]) -> list[Folder]:
    """The paths that lie in ``folder``, at any depth."""
    return [parts for parts in paths if parts[: len(folder)] == folder]


def class_folders(folder: Folder, split: str, paths: Iterable[Folder]) -> set[str]:
    """What the class folders are called that ``folder`` holds, those of words like "images" apart;
    a folder between is looked through.
    """
    inside = paths_below(folder, paths)
    folder = looked_through(folder, split, inside)
    names = {parts[len(folder)] for parts in inside if len(parts) > len(folder) + 1}
    return {name for name in names if not says_nothing(name)}


def looked_through(folder: Folder, split: str, paths: Iterable[Folder]) -> Folder:
    """``folder``, or the one in it that all its class folders lie in (seg_train/seg_train,
    train/images).
    """
    inside = paths_below(folder, paths)
    while len(below := heads_at(inside, len(folder) - 1)[folder[-1]].below) == 1:
        [(name, (_, deeper))] = below.items()
        if not deeper or not (name == folder[-1] or says_nothing(name) or split_of(name) == split):
            break
        folder = (*folder, name)
        inside = paths_below(folder, inside)
    return folder


def question(what: str, folders: Sequence[str], read: Mapping[str, str]) -> ZfjaxError:
    """``what`` is not certain, and the flags that would answer it: for ``folders``, beside those
    that are ``read`` as splits already.
    """
    return refusal(f"{what}: {how_to_say(folders, read)}.")


def refusal(sentence: str) -> ZfjaxError:
    """The error that says it, with letters that a terminal would obey escaped."""
    return ZfjaxError(escaped(sentence))


def no_training(roles: Mapping[Folder, str]) -> ZfjaxError:
    """That none of the split folders is for training."""
    there = ", ".join(f"{'/'.join(folder)} ({split})" for folder, split in sorted(roles.items()))
    return refusal(
        f"There are no class folders for training in {there}: say which folder holds them, as in "
        "--splits train=FOLDER, or --splits none where all folders are classes."
    )


def without_labels(folder: Folder, count: int, roles: Mapping[Folder, str]) -> ZfjaxError:
    """That ``count`` files of a split lie in no class folder; ``roles`` are the splits that
    stay.
    """
    path = "/".join(folder)
    return refusal(
        f"{path} holds {count:,} files and no class folders, and no label file names them: arrange"
        f" them as {path}/CLASS/IMAGE, add {LABEL_FILE}, or leave them out with {said(roles)}."
    )


def said(roles: Mapping[Folder, str]) -> str:
    """The flag that says these splits."""
    words = (shlex.quote(f"{split}={'/'.join(folder)}") for folder, split in roles.items())
    return f"--splits {' '.join(words)}"


def few(names: Iterable[str], shown: int = 4) -> str:
    """The first names, in order, and whether there are more."""
    names = sorted(names)
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
