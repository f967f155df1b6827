"""What the importers share: how one file becomes stored bytes, the account of all files, and what
is said at the end.

No single file ends an import. It is kept, converted, turned, or skipped and named with the true
reason; only what is no fault of one file goes further: a signal, a full disk, a damaged tar.
"""

from __future__ import annotations

import functools
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from zfjax.data.formats import READ_WORDS, is_other
from zfjax.data.headers import JPEG_SIDE, MOST_PIXELS, TOO_LONG, byte_limit
from zfjax.data.images import MAX_PIXELS, ImageError, TooManyPixels, as_image_errors, read_picture
from zfjax.data.import_options import FOLDERS, Stored
from zfjax.errors import ZfjaxError, escaped
from zfjax.progress import Progress

GRAYSCALE = "grayscale, kept"

Form = Callable[[bytes], tuple[bytes, tuple[str, ...], bool]]
"""A file's bytes to what is stored of it, as ``stored_form`` says it."""

_COMMENT_BYTES = 65_533  # the most that a JPEG holds


@dataclass(frozen=True)
class ImportSummary:
    """What an import did. ``counts`` are images by split and class, labels in order. A class is
    called by its readable name, with its folder where several share that; by its wnid in
    ILSVRC2012.

    ``converted`` and ``skipped`` name files (or class folders) by reason; ``resized`` counts images
    made smaller; ``notes`` are sentences about the whole.
    """

    name: str
    directory: Path
    counts: dict[str, dict[str, int]]
    converted: dict[str, tuple[str, ...]]
    skipped: dict[str, tuple[str, ...]]
    resized: int
    notes: tuple[str, ...] = ()

    def lines(self, shown: int = 3) -> list[str]:
        """The summary as plain text, ``shown`` names a reason; letters that a terminal would obey
        are escaped.
        """
        text = [
            f"{split}: {sum(classes.values())} images in {sum(map(bool, classes.values()))} classes"
            for split, classes in self.counts.items()
        ]
        if self.resized:
            text.append(f"made smaller: {self.resized}")
        for verb, reasons in (("converted", self.converted), ("skipped", self.skipped)):
            for reason, names in sorted(reasons.items()):
                few = ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
                told = reason if reason == GRAYSCALE else f"{verb}, {reason}"
                text.append(f"{told}: {len(names)} ({few})")
        text.extend(self.notes)
        return [escaped(line) for line in text]


def check_absent(root: Path, name: str) -> None:
    """Raises ZfjaxError when there is a data set ``name`` in ``root``."""
    if (root / name).exists():
        raise ZfjaxError(
            f"There is already a data set '{name}' in {root}; choose another name or delete it "
            "first."
        )


def merged(*groups: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Names by reason of all groups together, reasons and names sorted."""
    reasons = sorted({reason for group in groups for reason in group})
    return {
        reason: tuple(sorted(name for group in groups for name in group.get(reason, ())))
        for reason in reasons
    }


def stored_form(
    data: bytes,
    size: int | None = FOLDERS.size,
    quality: int = FOLDERS.quality,
    max_pixels: int = MAX_PIXELS,
    *,
    upright: bool = True,
) -> tuple[bytes, tuple[str, ...], bool]:
    """(JPEG bytes to store, what was odd about the file, whether it was made smaller).

    ``size``: pixels of the shorter side, to which a larger image is resized. ``upright``: turn the
    picture as its EXIF says. Colour is kept at full resolution above quality 90.

    The picture is decoded whole, so that what is stored is known to be readable under the same
    limit. Raises ImageError for what is not an image, is damaged, has too many pixels, or a side
    that no JPEG can have.
    """
    picture = read_picture(data, max_pixels, upright=upright)
    reasons = []
    if picture.kind != "JPEG":
        reasons.append(f"{picture.kind}, stored as JPEG")
    elif picture.mode not in ("RGB", "L"):
        reasons.append(f"{picture.mode}, stored as RGB")
    elif picture.mode == "L":
        reasons.append(GRAYSCALE)
    if picture.depth is not None:
        reasons.append(picture.depth)
    if picture.turned:
        reasons.append("turned upright as its EXIF says")
    image = picture.image
    width, height = image.size
    resized = size is not None and min(width, height) > size
    if (
        picture.kind == "JPEG"
        and picture.mode in ("RGB", "L")
        and not picture.turned
        and not resized
    ):
        return data, tuple(reasons), False
    if size is not None and resized:
        scale = size / min(width, height)
        width, height = (max(size, round(side * scale)) for side in (width, height))
    if max(width, height) > JPEG_SIDE:
        raise ImageError(TOO_LONG)
    with as_image_errors("cannot be stored as JPEG"):
        if resized:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        comment = image.info.get("comment", b"")
        kept = comment if isinstance(comment, bytes) and len(comment) <= _COMMENT_BYTES else b""
        encoded = io.BytesIO()
        image.save(
            encoded, "JPEG", quality=quality, subsampling=0 if quality > 90 else 2, comment=kept
        )
        return encoded.getvalue(), tuple(reasons), resized


def form_of(stored: Stored, *, upright: bool = True) -> Form:
    """``stored_form`` with these numbers."""
    return functools.partial(stored_form, **vars(stored), upright=upright)


@dataclass
class Account:
    """What became of the files so far: names by reason, images made smaller, and of those with too
    many pixels the largest that a machine could hold and the largest that none could, as (width,
    height, name).
    """

    converted: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    resized: int = 0
    largest: tuple[int, int, str] | None = None
    beyond: tuple[int, int, str] | None = None

    def convert(self, name: str, read: Callable[[], bytes], form: Form) -> bytes | None:
        """The bytes to store of one file, None where it is skipped. ``form``: ``stored_form`` with
        its settings.

        Raises what ``read`` raises for a fault that is not this file's own: ZfjaxError but
        ImageError, OSError.
        """
        try:
            stored, odd, smaller = form(_bytes_of(read))
        except ImageError as error:
            self.skipped.setdefault(error.reason, []).append(name)
            if isinstance(error, TooManyPixels):
                self._see_size(*error.size, name)
            return None
        for reason in odd:
            self.converted.setdefault(reason, []).append(name)
        self.resized += smaller
        return stored

    def add(self, other: Mapping[str, Any]) -> None:
        """Adds another account, as a mapping of its fields; those absent count nothing."""
        for mine, theirs in (
            (self.converted, other.get("converted", {})),
            (self.skipped, other.get("skipped", {})),
        ):
            for reason, names in theirs.items():
                mine.setdefault(reason, []).extend(names)
        self.resized += other.get("resized", 0)
        for size in (other.get("largest"), other.get("beyond")):
            if size:
                self._see_size(*size)

    def notes(self) -> tuple[str, ...]:
        """What there is to say about formats and about the pixel limit."""
        notes = []
        if any(map(is_other, self.skipped)):
            notes.append(f"attention: the formats that are read are {READ_WORDS}")
        if self.largest is not None:
            width, height, name = self.largest
            notes.append(
                f"the largest image left out for its pixels has {width:,} x {height:,} ({name}); "
                f"--max-pixels {width * height} takes it"
            )
        if self.beyond is not None:
            width, height, name = self.beyond
            notes.append(
                f"the header of {name} announces {width:,} x {height:,} pixels, too large to read"
                f" at all (above {MOST_PIXELS:,})"
            )
        return tuple(notes)

    def _see_size(self, width: int, height: int, name: str) -> None:
        which = "largest" if width * height <= MOST_PIXELS else "beyond"
        before = getattr(self, which) or (0, 0, "")
        if (width * height, name) > (before[0] * before[1], before[2]):
            setattr(self, which, (width, height, name))


def _bytes_of(read: Callable[[], bytes]) -> bytes:
    """``read()``. What it raises that is neither the disk's fault nor explained already becomes an
    ImageError.
    """
    try:
        return read()
    except OSError:
        raise
    except MemoryError:
        raise ImageError("too little memory to read it") from None
    except Exception as error:
        if isinstance(error, ZfjaxError):
            raise
        raise ImageError(f"cannot be read ({type(error).__name__})") from error


class Converter:
    """Turns the files of a source into examples, keeping account of what was converted and skipped.

    ``read(path, limit)`` gives a file's bytes, ``form`` is ``stored_form`` with its settings,
    ``progress(stage, done, total)`` counts files.
    """

    def __init__(
        self,
        read: Callable[[str, int], bytes],
        form: Form,
        *,
        max_pixels: int,
        total: int,
        progress: Progress | None = None,
    ):
        self._read, self._form, self._limit = read, form, byte_limit(max_pixels)
        self._total, self._progress, self._done = total, progress, 0
        self.account = Account()
        self.counts: Counter[tuple[str, int]] = Counter()

    def examples(
        self, split: str, files: Iterable[tuple[str, str, int]]
    ) -> Iterator[dict[str, Any]]:
        """The examples of one split, in the order of ``files``: (path in the source, file name,
        label).
        """
        for path, file_name, label in files:
            read = functools.partial(self._read, path, self._limit)
            stored = self.account.convert(path, read, self._form)
            if stored is not None:
                self.counts[split, label] += 1
                yield {"image": stored, "label": label, "file_name": file_name}
            self._done += 1
            if self._progress is not None:
                self._progress("importing", self._done, self._total)
