"""Which training images become the validation split where a source has none. Decided by the bytes
of the files.

An image is held out when a hash of its bytes, as a share of all hashes, is below the holdout: so
copies of one file, in one class or two, under any name, go to one side; a tree and a tar of it are
split alike; and images that come later move none of the others.

At least one image of each class that has any stays for training. "Image" is what can be read: that
is found out by decoding until the first sound one in each class that stays anyway, so about one
image a class is decoded twice and the others are only hashed. Where there is none, the first sound
one that was held out, by its hash, stays, its copies with it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from zfjax.data.arranging import Layout
from zfjax.data.images import ImageError
from zfjax.progress import Progress


def hold_out(
    layout: Layout,
    holdout: float,
    read: Callable[[str], bytes],
    is_image: Callable[[bytes], bool],
    progress: Progress | None = None,
) -> Layout:
    """``layout`` with about the share ``holdout`` (0..1) of its training images in the split
    ``validation``.

    ``read(path)`` returns a file's bytes or raises ImageError for one that will be skipped, which
    stays in train. ``is_image(data)``: whether the importer will take them. ``progress(stage, done,
    total)`` counts files hashed. One file is in memory at a time, and 16 bytes of every other.
    """
    digests: dict[str, bytes] = {}
    by_class: dict[str, dict[bytes, str]] = defaultdict(dict)
    training = sorted((path, folder) for path, _, split, folder in layout.items if split == "train")
    for done, (path, folder) in enumerate(training, 1):
        try:
            digests[path] = hashlib.sha256(read(path)).digest()[:16]
            by_class[folder].setdefault(digests[path], path)
        except ImageError:
            pass  # named when it is converted
        if progress is not None:
            progress("hashing", done, len(training))

    def sound(path: str) -> bool:
        try:
            return is_image(read(path))
        except ImageError:
            return False

    leaving = {
        digest for digest in digests.values() if int.from_bytes(digest[:6], "big") / 2**48 < holdout
    }
    for folder in layout.classes:
        images = sorted(by_class[folder].items())
        if not any(sound(path) for digest, path in images if digest not in leaving):
            leaving -= {
                next((digest for digest, path in images if digest in leaving and sound(path)), b"")
            }
    items = (
        (path, name, "validation" if digests.get(path) in leaving else split, folder)
        for path, name, split, folder in layout.items
    )
    return replace(layout, items=tuple(items))
