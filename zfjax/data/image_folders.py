"""How the images of a source lie, by the names of their folders alone: in class folders, or flat,
in those of splits and of words like "images". Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from zfjax.data.folders import Folder, nfc_parts
from zfjax.data.split_names import read_name, says_nothing


@dataclass(frozen=True)
class ImageFolders:
    """How images lie: ``common`` are the folders that all lie in, ``holders`` gives the class
    folder of each image as names alone tell it, None where it lies in none.
    """

    common: Folder
    holders: Mapping[str, Folder | None]

    @classmethod
    def of(cls, images: Sequence[str], said: Collection[str] = ()) -> ImageFolders:
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
        unsaying = all(tells_a_split(name) or says_nothing(name) for name in names)
        return unsaying and bool(self.holders) and not any(self.holders.values())

    @property
    def in_splits_alone(self) -> bool:
        """Whether images lie in no class folder, but in one like "images" in a split."""
        return self.says_nothing and any(
            says_nothing(folder[-1]) and any(map(tells_a_split, folder))
            for folder in {nfc_parts(path)[:-1] for path in self.holders}
            if folder
        )

    @property
    def needs_labels(self) -> bool:
        """Whether images lie in no class folder that are neither for testing nor lie about beside
        class folders.
        """
        beside = any(self.holders.values())
        folders = {nfc_parts(path)[:-1] for path, holder in self.holders.items() if not holder}
        return any(
            not (beside and folder == self.common)
            and not any("test" in read_name(step).splits for step in folder)
            for folder in folders
        )


def _class_folder(folder: Folder, depth: int, said: Collection[str]) -> Folder | None:
    """``folder`` down to the first name below ``depth`` that is neither a split's nor a word like
    "images", None where there is none.
    """
    for end, name in enumerate(folder[depth:], depth + 1):
        if name not in said and not tells_a_split(name) and not says_nothing(name):
            return folder[:end]
    return None


_OF_MASKS = frozenset(
    "annotation annotations groundtruth masks segmentation segmentationclass segmentationobject"
    " segmentations trimap trimaps".split()
)


_HINT_OF_MASK = re.compile(r"_(?:mask|segmentation)(?:_\d+)?(?:\.\w+)?$", re.IGNORECASE)
_MASK_OF = re.compile(r"(.+)_(?:mask|segmentation)(?:_\d+)?")


def masks_among(images: Sequence[str]) -> list[str]:
    """Those of ``images`` that are masks of others, as they are called and lie.

    One is in a folder that is called so, while an image of its name with another ending lies
    elsewhere (annotations/trimaps/a.png of images/a.jpg), or any in a folder called like "images"
    beside it (COVID/masks/a.png of COVID/images/a.png); or it is called so (a_mask.png of a.png).
    """
    steps = {
        step
        for folder in {path.rpartition("/")[0] for path in images}
        for step in folder.casefold().split("/")
    }
    if _OF_MASKS.isdisjoint(steps) and not any(map(_HINT_OF_MASK.search, images)):
        return []
    named, elsewhere, beside = [], defaultdict(set), set()
    for path in images:
        *folders, name = path.casefold().split("/")
        stem, _, ending = name.rpartition(".")
        if _OF_MASKS.isdisjoint(folders):
            elsewhere[stem].add(ending)
        else:
            named.append(path)
        beside.add((*folders, stem))
        if folders and says_nothing(folders[-1]):
            beside.add((*folders[:-1], "", stem))
    masks, paired = [], []
    for path in images:
        *folders, name = path.casefold().split("/")
        stem, _, ending = name.rpartition(".")
        if (match := _MASK_OF.fullmatch(stem)) and (*folders, match[1]) in beside:
            masks.append(path)
        elif not _OF_MASKS.isdisjoint(folders) and (
            elsewhere[stem] - {ending}
            or (folders[-1] in _OF_MASKS and (*folders[:-1], "", stem) in beside)
        ):
            paired.append(path)
    return [*masks, *(paired if 2 * len(paired) > len(named) else [])]


def tells_a_split(folder: str) -> bool:
    """Whether a folder's name has a split in it, or hardly means anything else."""
    reading = read_name(folder)
    return bool(reading.splits) or reading.like_a_split
