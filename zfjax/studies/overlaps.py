"""Which images two data sets share, and which one holds twice: by what the network would see of
them.

The paper looks for images of ImageNet in Caltech by normalised correlation, removes them, and
trains again. Here two images are the same where their views are, byte for byte: copies are found,
whatever they are called and however they are stored without loss, and re-compressed or resized ones
are not. Beyond any doubt only two images of 2**64 would be taken for one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.data.views import LookedAt
from zfjax.errors import ZfjaxError
from zfjax.files import write_arrays
from zfjax.progress import Progress

BATCH = 256
"""Images read at a time."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The images of a split that can be read, by ascending id."""

    ids: np.ndarray
    """int64 [n]."""
    labels: np.ndarray
    """int64 [n]; NO_LABEL where an image has none."""
    digests: np.ndarray
    """uint64 [n], of their views."""

    def without(self, dropped: np.ndarray) -> Seen:
        """Those that are not ``dropped`` (bool [n])."""
        return Seen(self.ids[~dropped], self.labels[~dropped], self.digests[~dropped])

    @property
    def copies(self) -> np.ndarray:
        """bool [n]: those whose view an image before them has too."""
        _, firsts = np.unique(self.digests, return_index=True)
        copies = np.ones(len(self.digests), bool)
        copies[firsts] = False
        return copies

    @property
    def unlabelled(self) -> np.ndarray:
        """bool [n]: those without a class."""
        return self.labels == NO_LABEL

    def shared_with(self, digests: np.ndarray) -> np.ndarray:
        """bool [n]: those whose view is among ``digests``."""
        return np.isin(self.digests, digests)


def seen_in(images: LookedAt, stage: str, progress: Progress) -> Seen:
    """Reads all images once; ``stage``: what ``progress`` calls that."""
    ids, labels, digests = [], [], []
    done = 0
    for batch in images.batches(BATCH, keep=True):
        for row in np.flatnonzero(batch["weight"] > 0):
            view = np.ascontiguousarray(batch["image"][row])
            digest = hashlib.blake2b(view.tobytes(), digest_size=8).digest()
            digests.append(int.from_bytes(digest, "little"))
            ids.append(int(batch["image_id"][row]))
            labels.append(int(batch["label"][row]))
        done = min(done + BATCH, images.count)
        progress(stage, done, images.count)
    return Seen(np.array(ids, np.int64), np.array(labels, np.int64), np.array(digests, np.uint64))


def training_digests(images: LookedAt, kept: Path, progress: Progress) -> np.ndarray:
    """Digests of the images that a run was trained on, in its own view: uint64. ``kept``: where
    they are kept, as long as the images are the same.
    """
    about = f"{images.fingerprint['digest']} {images.view_size}"
    try:
        with np.load(kept, allow_pickle=False) as stored:
            if str(stored["about"]) == about:
                return np.asarray(stored["digests"], np.uint64)
    except (OSError, ValueError, KeyError, EOFError):
        pass
    digests = seen_in(images, "the run's own images", progress).digests
    write_arrays(kept, {"digests": digests, "about": np.array(about)})
    return digests


def usable_images(
    seen: Seen, own: np.ndarray | None, remove: bool, name: str
) -> tuple[Seen, dict[str, int | None]]:
    """(the images that folds are drawn from, how many were left out and why). ``own``: digests of
    the run's own images; None: they could not be read. Raises ZfjaxError where none is left.
    """
    labelled = seen.without(seen.unlabelled)
    once = labelled.without(labelled.copies)
    shared = None if own is None else once.shared_with(own)
    counts: dict[str, int | None] = {
        "unlabelled": int(seen.unlabelled.sum()),
        "copies": int(labelled.copies.sum()),
        "shared": None if shared is None else int(shared.sum()),
        "removed": 0,
    }
    if remove and shared is None:
        raise ZfjaxError(
            "--remove-overlaps: what the network was trained on cannot be read here, so that what"
            " it shares is not known; give its folder with --data.dir, or leave this out."
        )
    if remove and shared is not None:
        once, counts["removed"] = once.without(shared), int(shared.sum())
    if not len(once.ids):
        why = "all are the run's own" if counts["removed"] else "none that can be read has a label"
        raise ZfjaxError(f"Nothing of {name} is left to draw folds from: {why}.")
    return once, counts


def left_out_words(counts: dict[str, int | None]) -> str:
    """Which images folds are not drawn from: "3 copies and 2 of the run's own"; "" for none."""
    kinds = {"unlabelled": "without a label", "copies": "copies of others"}
    kinds["removed"] = "of the run's own"
    words = [f"{counts[name]:,} {kind}" for name, kind in kinds.items() if counts[name]]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def overlap_words(counts: dict[str, int | None], usable: int, name: str) -> str | None:
    """What is to be said of the images shared, and of copies; None where there is nothing."""
    words = []
    shared, removed = counts["shared"], counts["removed"]
    if shared is None:
        words.append(
            f"whether {name} shares images with what the network was trained on was not checked:"
            " that is not to be had here"
        )
    elif removed:
        words.append(f"{removed:,} images of {name} are the run's own and were left out")
    elif shared:
        words.append(
            f"{shared:,} of {usable:,} images of {name} are among those that the run was trained"
            " on, so that its features know them (--remove-overlaps leaves them out)"
        )
    if counts["copies"]:
        words.append(f"{counts['copies']:,} copies of other images of {name} were left out")
    return None if not words else "; ".join(words)[0].upper() + "; ".join(words)[1:] + "."
