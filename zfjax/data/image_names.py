"""Which image of a source a label file means by a name: with or without folders above it and its
ending. Pure.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from zfjax.data.split_names import says_nothing, split_of

IMAGE_ENDINGS = frozenset(
    "jpg jpeg jpe jfif png gif bmp webp ppm pgm pbm pnm tif tiff heic avif".split()
)


class ImageNames:
    """The images of a source by name, letters' case and Unicode form apart.

    A name without an ending means the image of that name with any ending. Folders before it must be
    those in which the image lies, as far as the source shows them: names of splits may be spelled
    otherwise, and folders called like "images" do not count. Where all images lie in one folder,
    that may be called anything.
    """

    def __init__(self, paths: Iterable[str]):
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        folders = set()
        for path in paths:
            folder, _, name = path.rpartition("/")
            folders.add(folder)
            self._by_stem[_stem(_folded(name))].append(path)
        self._in_one_folder = len(folders) == 1
        self._steps: dict[str, tuple[str, ...]] = {}

    def matches(self, name: str) -> list[str]:
        """The paths of the images that ``name`` may mean: of one or none, unless several folders
        have that name.
        """
        above, _, last = _folded(name).replace("\\", "/").rpartition("/")
        paths = self._of_name(last)
        if above and paths:
            own = self._folders(above)
            shared = {path: self._shared(own, path) for path in paths}
            most = max(shared.values())
            paths = [path for path in paths if shared[path] == most] if most >= 0 else []
        if len(paths) > 1:
            as_written = name.strip().replace("\\", "/").rpartition("/")[2]
            return [path for path in paths if path.rpartition("/")[2] == as_written] or paths
        return paths

    def _of_name(self, name: str) -> list[str]:
        """The images called ``name``, else those that differ in their ending alone."""
        stem = _stem(name)
        paths = self._by_stem.get(stem, [])
        if stem == name:
            return paths
        exact = [path for path in paths if _folded(path).endswith(name)]
        if exact:
            return exact
        is_ending = name.rpartition(".")[2] in IMAGE_ENDINGS
        return paths if is_ending else self._by_stem.get(name, [])

    def _shared(self, above: tuple[str, ...], path: str) -> int:
        """How many folders above a name are those of ``path``, counted from below; -1 where the
        lowest already is another.
        """
        own = self._folders(_folded(path.rpartition("/")[0]))
        count = 0
        for left, right in zip(reversed(above), reversed(own), strict=False):
            if left != right:
                break
            count += 1
        return -1 if not count and above and own and not self._in_one_folder else count

    def _folders(self, path: str) -> tuple[str, ...]:
        """The folders of a path that say something, each split by its name."""
        if path not in self._steps:
            steps = (step for step in path.split("/") if step not in ("", ".", ".."))
            self._steps[path] = tuple(
                split_of(step) or step for step in steps if not says_nothing(step)
            )
        return self._steps[path]


def _folded(text: str) -> str:
    normal = text if text.isascii() else unicodedata.normalize("NFC", text)
    return normal.casefold().strip()


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name
