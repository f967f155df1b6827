"""``zfjax data import``: a tree of class folders, or a tar of one, becomes a TFDS data set in ArrayRecord.

What decides the result is names and bytes alone, never the order of a folder or a tar: records are sorted by a hash of
their file name, so that any stretch of image ids is a fair sample of the classes, and a tree and its tar give the same
digest. One image is in memory at a time. An odd file never stops an import: it is converted or skipped, and named.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from zfjax.data import writing
from zfjax.data.arranging import Layout, arrange
from zfjax.data.class_names import tabled_names
from zfjax.data.holding_out import hold_out
from zfjax.data.images import MAX_PIXELS, ImageError, decode, open_image, to_rgb
from zfjax.data.set_names import check_name
from zfjax.data.sources import Source, open_source
from zfjax.data.split_names import SPLITS
from zfjax.files import ZfjaxError, exclusive_lock

GRAYSCALE = "grayscale, kept"

_ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True)
class ImportSummary:
    """What an import did. ``counts`` are images by split and class, labels in order. A class is called by its readable
    name, with its folder where several share that; by its wnid in ILSVRC2012.

    ``converted`` and ``skipped`` name files (or class folders) by reason; ``resized`` counts images made smaller;
    ``notes`` are sentences about the whole.
    """

    name: str
    directory: Path
    counts: dict[str, dict[str, int]]
    converted: dict[str, tuple[str, ...]]
    skipped: dict[str, tuple[str, ...]]
    resized: int
    notes: tuple[str, ...] = ()

    def lines(self, shown: int = 3) -> list[str]:
        """The summary as plain text, ``shown`` names a reason; letters that a terminal would obey are escaped."""
        text = [f"{split}: {sum(classes.values())} images in {sum(map(bool, classes.values()))} classes"
                for split, classes in self.counts.items()]
        if self.resized:
            text.append(f"made smaller: {self.resized}")
        for verb, reasons in (("converted", self.converted), ("skipped", self.skipped)):
            for reason, names in sorted(reasons.items()):
                some = ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
                told = reason if reason == GRAYSCALE else f"{verb}, {reason}"
                text.append(f"{told}: {len(names)} ({some})")
        text.extend(self.notes)
        return ["".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line) for line in text]


def import_images(
    source: Path | str,
    name: str,
    data_dir: Path | str,
    *,
    holdout: float = 0.0,
    splits: Mapping[str, str] | None = None,
    size: int | None = None,
    quality: int = 95,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> ImportSummary:
    """Writes DATA_DIR/NAME/1.0.0 from SOURCE and says what it did.

    ``holdout`` is the share of the images that become the split ``validation`` where SOURCE has none, chosen by a hash
    of their bytes (holding_out.py). ``splits`` says which folders are splits: {folder: "train", "validation" or
    "test"}, {} where all are classes, None where their names say it (arranging.py). ``size`` makes the shorter side of
    larger images that many pixels, once (None: as they are). Clean RGB or grayscale JPEGs of the right size keep their
    bytes; all else is stored as JPEG of ``quality``. An image whose header announces more than ``max_pixels`` is
    skipped undecoded. ``progress(done, total)`` counts files, with a holdout twice: hashed, then converted.

    Raises ZfjaxError, and leaves nothing behind, when the name is unfit or taken, SOURCE is absent, damaged, holds
    no image for training or folders that may be splits or classes, a table of class names cannot be used, or the disk
    is full.
    """
    check_name(name)
    if not 0 <= holdout < 1:
        raise ZfjaxError(f"The holdout is a share of the images, at least 0 and below 1, not {holdout}.")
    check_numbers(size, quality, max_pixels)
    tell = progress or (lambda done, total: None)
    source, root = Path(source).expanduser(), Path(data_dir).expanduser()
    if not source.exists():
        raise ZfjaxError(f"There is no {source}; give a folder of class folders, or a tar of one.")
    with exclusive_lock(root / f".{name}.lock", f"Another import into {root / name} is running; wait for its end."):
        check_absent(root, name)
        with writing.new_folder(root, name) as folder, open_source(source, folder) as opened:
            layout = arrange(opened.files, opened.folders, splits)
            if not layout.items:
                raise ZfjaxError(f"{source} holds no class folders with images; expected CLASS/IMAGE or "
                                 "train/CLASS/IMAGE.")
            readable, notes = tabled_names(layout.class_tables, opened.read, layout.classes)
            if holdout:
                layout = _held_out(layout, holdout, lambda path: opened.read(path, 4 * max_pixels),
                                   lambda data: stored_form(data, size, quality, max_pixels), tell)
            before = len(layout.items) if holdout else 0
            converter = _Converter(opened, layout, size, quality, max_pixels,
                                   lambda done, total: tell(before + done, before + total))
            written = writing.write_dataset(
                folder, name, {split: converter.examples(split) for split in SPLITS}, readable, labels=layout.classes,
                description="Imported by zfjax from class folders.",
            )
            if not written:
                reasons = ", ".join(f"{len(names)} {reason}" for reason, names in sorted(converter.skipped.items()))
                raise ZfjaxError(f"{source} holds no readable image ({reasons}).")
            if holdout:
                _check_both(written, holdout)
            if "train" not in written:
                raise ZfjaxError(f"{source} holds no readable image for training, only for {', '.join(written)}.")
    counts = {split: {readable[label]: converter.counts[split, label] for label in range(len(readable))}
              for split in written}
    reasons = _merged(opened.skipped, layout.skipped, converter.skipped)
    unseen = [folder for label, folder in enumerate(layout.classes)
              if not any(converter.counts[split, label] for split in written)]
    if unseen:
        reasons["class without a readable image (its label stays)"] = tuple(unseen)
    converted = _merged({"nested folder, taken into its class": list(layout.nested)} if layout.nested else {},
                        converter.converted)
    notes = [*layout.notes, *notes]
    if holdout:
        notes += _without_validation(counts)
    if "validation" not in written:
        notes.append("there is no validation split, which training needs: to have one, delete "
                     f"{root / name} and import with --holdout 0.1")
    return ImportSummary(
        name, root / name / writing.VERSION, counts, converted, reasons, converter.resized, tuple(notes)
    )


def _without_validation(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A note where the holdout left classes that train has without an image in validation."""
    present = [name for name, count in counts["train"].items() if count]
    lacking = [name for name in present if not counts["validation"][name]]
    few = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
    return [f"attention: {len(lacking)} of {len(present)} classes have no image in validation ({few}); they have few "
            "images, all kept for training"] if lacking else []  # fmt: skip


def check_numbers(size: int | None, quality: int, max_pixels: int) -> None:
    """Raises ZfjaxError for numbers that no import can have."""
    if (size is not None and size < 1) or not 1 <= quality <= 100 or max_pixels < 1:
        raise ZfjaxError("The size and the pixel limit must be at least 1, and the quality between 1 and 100.")


def check_absent(root: Path, name: str) -> None:
    """Raises ZfjaxError when there is a data set ``name`` in ``root``."""
    if (root / name).exists():
        raise ZfjaxError(f"There is already a data set '{name}' in {root}; choose another name or delete it first.")


def _held_out(
    layout: Layout, holdout: float, read: Callable[[str], bytes], convert: Callable[[bytes], Any],
    progress: Callable[[int, int], None],
) -> Layout:  # fmt: skip
    """``layout`` with a validation split. Raises ZfjaxError where there is one, or nothing can be held out."""
    if any(split == "validation" for _, _, split, _ in layout.items):
        raise ZfjaxError("The source has a validation split of its own; import it without a holdout.")

    def is_image(data: bytes) -> bool:
        try:
            convert(data)
        except ImageError:
            return False
        return True

    total = 2 * len(layout.items)
    layout = hold_out(layout, holdout, read, is_image, lambda done: progress(done, total))
    _check_both({split for _, _, split, _ in layout.items}, holdout)
    return layout


def _check_both(splits: Collection[str], holdout: float) -> None:
    if not {"train", "validation"} <= set(splits):
        raise ZfjaxError(f"A holdout of {holdout} leaves a split without images (of each class, at least one stays for "
                         "training); choose another share.")  # fmt: skip


def _merged(*groups: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    reasons = sorted({reason for group in groups for reason in group})
    return {reason: tuple(sorted(name for group in groups for name in group.get(reason, ()))) for reason in reasons}


class _Converter:
    """Turns the files of a layout into examples, keeping account of what was converted and skipped."""

    def __init__(
        self,
        opened: Source,
        layout: Layout,
        size: int | None,
        quality: int,
        max_pixels: int,
        progress: Callable[[int, int], None] | None,
    ):
        self._opened, self._layout, self._progress = opened, layout, progress
        self._size, self._quality, self._max_pixels = size, quality, max_pixels
        self._labels = {folder: label for label, folder in enumerate(layout.classes)}
        self._done = 0
        self.counts: Counter[tuple[str, int]] = Counter()
        self.converted: dict[str, list[str]] = {}
        self.skipped: dict[str, list[str]] = {}
        self.resized = 0

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        """The examples of one split, in order."""
        for path, file_name, its_split, folder in self._layout.items:
            if its_split != split:
                continue
            try:
                data = self._opened.read(path, 4 * self._max_pixels)  # no sound file is larger than its raw pixels
                stored, reasons, resized = stored_form(data, self._size, self._quality, self._max_pixels)
            except ImageError as error:
                self.skipped.setdefault(str(error), []).append(path)
            else:
                for reason in reasons:
                    self.converted.setdefault(reason, []).append(path)
                self.resized += resized
                self.counts[split, self._labels[folder]] += 1
                yield {"image": stored, "label": self._labels[folder], "file_name": file_name}
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, len(self._layout.items))


def stored_form(
    data: bytes, size: int | None = None, quality: int = 95, max_pixels: int = MAX_PIXELS, *, upright: bool = True
) -> tuple[bytes, tuple[str, ...], bool]:
    """(JPEG bytes to store, what was odd about the file, whether it was made smaller).

    ``upright``: turn the picture as its EXIF says. Colour is kept at full resolution above quality 90.

    The picture is decoded whole, so that what is stored is known to be readable. Raises ImageError for what is not an
    image, is damaged, or is too large. Not for threads: it changes the process's warning filters while it runs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF and the like, which is no user's business
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = open_image(data, max_pixels)
        kind = image.format
        image = decode(image)
        reasons = []
        try:
            turned = upright and image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        except Exception:  # EXIF is a format of its own, as easily damaged; without it the picture is as it lies
            turned = False
        if kind != "JPEG":
            reasons.append(f"{kind}, stored as JPEG")
        elif image.mode not in ("RGB", "L"):
            reasons.append(f"{image.mode}, stored as RGB")
        elif image.mode == "L":
            reasons.append(GRAYSCALE)
        if turned:
            reasons.append("turned upright as its EXIF says")
            image = ImageOps.exif_transpose(image)
        resized = size is not None and min(image.size) > size
        if kind == "JPEG" and image.mode in ("RGB", "L") and not turned and not resized:
            return data, tuple(reasons), False
        image = image if image.mode == "L" else to_rgb(image)
        if resized:
            scale = size / min(image.size)
            image = image.resize(tuple(max(size, round(side * scale)) for side in image.size),
                                 Image.Resampling.BILINEAR)
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=quality, subsampling=0 if quality > 90 else 2)
        return encoded.getvalue(), tuple(reasons), resized
