"""A folder of images as it lies, without an import: class folders, or images alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.data.finding import newest_version
from zfjax.data.image_folders import tells_a_split
from zfjax.data.images import view_of_file
from zfjax.errors import ZfjaxError, quoted
from zfjax.files import local_path

ENDINGS = frozenset(".jpg .jpeg .jpe .png .gif .webp .bmp .tif .tiff .ppm .pgm .pbm .pnm".split())
"""Of files that are taken for images; others are left out."""


@dataclass(frozen=True)
class FolderFiles:
    """The images of a folder in the order of their paths: views and labels by index."""

    folder: Path
    paths: tuple[str, ...]
    """Below ``folder``, ascending, with "/"."""
    class_names: tuple[str, ...]
    """Ascending; () where no image lies in a class folder. A label counts these."""
    view_size: tuple[int, int]
    """(height, width)."""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        """(view uint8 [h, w, 3], label). Raises ZfjaxError naming a file that cannot be read."""
        return view_of_file(self.folder / self.paths[index], self.view_size), self.described(index)[
            0
        ]

    def described(self, index: int) -> tuple[int, str]:
        """(label, path below the folder); NO_LABEL of an image in no class folder."""
        path = self.paths[index]
        head, _, below = path.partition("/")
        return (self.class_names.index(head) if below else NO_LABEL), path


def folder_meant(images: str | os.PathLike[str], data_dir: Path) -> Path | None:
    """The folder of images that is meant; None for the name of a data set. A set of that name in
    ``data_dir`` goes before a folder. Raises ZfjaxError for a URL.
    """
    path = local_path(os.fspath(images)).absolute()
    if not isinstance(images, str) or images.startswith(("/", ".", "~")):
        return path
    try:
        newest_version(images, data_dir)
    except ZfjaxError:
        return path if images and path.is_dir() else None
    return None


def files_in(
    folder: Path, split: str | None, view_size: tuple[int, int], labels: Sequence[str] | None
) -> FolderFiles:
    """The images below ``folder``, or below its folder ``split`` where it has one of that name.

    The folders that they lie in are their classes: in the order of ``labels``, the names of the
    network's own classes, where all are among these, else in that of their names. Raises ZfjaxError
    for a folder of none, or of several splits.
    """
    if not folder.is_dir():
        raise ZfjaxError(f"{folder} is no folder of images, and no data set has that name.")
    below = folder / split if split else folder
    if split and not below.is_dir():
        if split != "all":
            raise ZfjaxError(f"--split {split}: {folder} has no folder of that name.")
        below = folder
    paths: list[str] = []
    for home, homes, names in os.walk(below, followlinks=True):
        homes[:] = [name for name in homes if not name.startswith(".")]
        paths += [
            (Path(home) / name).relative_to(below).as_posix()
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS
        ]
    if not paths:
        raise ZfjaxError(
            f"{below} holds no image: none of its files ends in {', '.join(sorted(ENDINGS))}."
        )
    names = sorted({path.partition("/")[0] for path in paths if "/" in path})
    if names and all(tells_a_split(name) for name in names):
        raise ZfjaxError(
            f"{below} holds the folders of splits ({', '.join(names)}): choose one with --split, or"
            f" give one of them, as in {quoted(below / names[0])}."
        )
    if labels is not None and set(names) <= set(labels):
        names = list(labels)
    return FolderFiles(below, tuple(sorted(paths)), tuple(names), view_size)
