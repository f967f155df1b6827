"""``zfjax data import``: a tree of class folders, or a tar of one, becomes a TFDS data set in ArrayRecord.

What decides the result is names and bytes alone, never the order of a folder or a tar: records are sorted by a hash of
their file name, so that any stretch of image ids is a fair sample of the classes, and a tree and its tar give the same
digest. One image is in memory at a time. An odd file never stops an import: it is converted or skipped, and named.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from zfjax.data import writing
from zfjax.data.images import MAX_PIXELS, ImageError, decode, open_image, to_rgb
from zfjax.data.set_names import check_name
from zfjax.data.sources import Source, open_source
from zfjax.files import ZfjaxError, exclusive_lock

SPLIT_FOLDERS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation",
                 "test": "test"}
CLASS_TABLE = "classes.tsv"
GRAYSCALE = "grayscale, kept"

_CLASS_TABLE_BYTES = 16 << 20
_ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True)
class ImportSummary:
    """What an import did. ``counts`` are images by split and readable class name, labels in order.

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


@dataclass(frozen=True)
class Layout:
    """Which file belongs where: ``items`` are (path in the source, file name, split, class folder)."""

    items: tuple[tuple[str, str, str, str], ...]
    classes: tuple[str, ...]
    class_tables: tuple[str, ...]
    nested: tuple[str, ...]
    skipped: dict[str, list[str]]


def import_images(
    source: Path | str,
    name: str,
    data_dir: Path | str,
    *,
    holdout: float = 0.0,
    size: int | None = None,
    quality: int = 95,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> ImportSummary:
    """Writes DATA_DIR/NAME/1.0.0 from SOURCE and says what it did.

    ``holdout`` is the share of the images that become the split ``validation`` where SOURCE has none, chosen by a hash
    of the file name. ``size`` makes the shorter side of larger images that many pixels, once (None: as they are).
    Clean RGB or grayscale JPEGs of the right size keep their bytes; all else is stored as JPEG of ``quality``. An
    image whose header announces more than ``max_pixels`` is skipped undecoded. ``progress(done, total)`` counts files.

    Raises ZfjaxError, and leaves nothing behind, when the name is unfit or taken, SOURCE is absent, damaged or holds
    no image, or the disk is full.
    """
    check_name(name)
    if not 0 <= holdout < 1:
        raise ZfjaxError(f"The holdout is a share of the images, at least 0 and below 1, not {holdout}.")
    check_numbers(size, quality, max_pixels)
    source, root = Path(source).expanduser(), Path(data_dir).expanduser()
    if not source.exists():
        raise ZfjaxError(f"There is no {source}; give a folder of class folders, or a tar of one.")
    with exclusive_lock(root / f".{name}.lock", f"Another import into {root / name} is running; wait for its end."):
        check_absent(root, name)
        with writing.new_folder(root, name) as folder, open_source(source, folder) as opened:
            layout = arrange(opened.files, opened.folders, holdout)
            if not layout.items:
                raise ZfjaxError(f"{source} holds no class folders with images; expected CLASS/IMAGE or "
                                 "train/CLASS/IMAGE.")
            readable = _readable_names(opened, layout)
            converter = _Converter(opened, layout, size, quality, max_pixels, progress)
            splits = dict.fromkeys(SPLIT_FOLDERS.values())
            written = writing.write_dataset(
                folder, name, {split: converter.examples(split) for split in splits}, readable, labels=layout.classes,
                description="Imported by zfjax from class folders.",
            )
            if not written:
                reasons = ", ".join(f"{len(names)} {reason}" for reason, names in sorted(converter.skipped.items()))
                raise ZfjaxError(f"{source} holds no readable image ({reasons}).")
            if holdout and not {"train", "validation"} <= written.keys():
                raise ZfjaxError(f"A holdout of {holdout} leaves a split without images; choose another share.")
    counts = {split: {readable[label]: converter.counts[split, label] for label in range(len(readable))}
              for split in written}
    reasons = _merged(opened.skipped, layout.skipped, converter.skipped)
    unseen = [folder for label, folder in enumerate(layout.classes)
              if not any(converter.counts[split, label] for split in written)]
    if unseen:
        reasons["class without a readable image (its label stays)"] = tuple(unseen)
    converted = _merged({"nested folder, taken into its class": list(layout.nested)} if layout.nested else {},
                        converter.converted)
    notes = () if "validation" in written else (
        f"there is no validation split, which training needs: to have one, delete {root / name} and import with "
        "--holdout 0.1",
    )  # fmt: skip
    return ImportSummary(name, root / name / writing.VERSION, counts, converted, reasons, converter.resized, notes)


def check_numbers(size: int | None, quality: int, max_pixels: int) -> None:
    """Raises ZfjaxError for numbers that no import can have."""
    if (size is not None and size < 1) or not 1 <= quality <= 100 or max_pixels < 1:
        raise ZfjaxError("The size and the pixel limit must be at least 1, and the quality between 1 and 100.")


def check_absent(root: Path, name: str) -> None:
    """Raises ZfjaxError when there is a data set ``name`` in ``root``."""
    if (root / name).exists():
        raise ZfjaxError(f"There is already a data set '{name}' in {root}; choose another name or delete it first.")


def arrange(files: Iterable[str], folders: Iterable[str] = (), holdout: float = 0.0) -> Layout:
    """Finds splits and classes in relative paths. Pure; the result does not depend on the order of ``files``.

    Single folders on top are looked through. A folder named as in SPLIT_FOLDERS that holds folders is a split; without
    one, everything is ``train``. The class is the first folder below, however deep the file. Items come sorted by a
    hash of the file name. Raises ZfjaxError for a holdout where there is a validation split.
    """
    paths = sorted((tuple(path.split("/")) for path in files), key=lambda parts: "/".join(parts))
    skipped: dict[str, list[str]] = {}
    depth = _depth_of_root(paths)
    tables = tuple("/".join(parts) for parts in paths if parts[-1] == CLASS_TABLE and len(parts) <= depth + 1)
    root = next((parts[:depth] for parts in paths if len(parts) > depth + 1), ())
    split_folders = {parts[depth] for parts in paths
                     if len(parts) >= depth + 3 and parts[depth].lower() in SPLIT_FOLDERS}
    level = depth + 1 if split_folders else depth  # where the class folders are
    found, nested = [], []
    for parts in paths:
        path = "/".join(parts)
        if path in tables:
            continue
        if len(parts) < level + 2 or (split_folders and parts[depth] not in split_folders):
            outside = split_folders and len(parts) > depth + 1 and parts[depth].lower() not in SPLIT_FOLDERS
            skipped.setdefault("outside the split folders" if outside else "not in a class folder", []).append(path)
            continue
        split = SPLIT_FOLDERS[parts[depth].lower()] if split_folders else "train"
        found.append((path, "/".join(parts[depth:]), split, parts[level]))
        if len(parts) > level + 2:
            nested.append(path)
    found, classes = _with_training_classes(found, skipped)
    if holdout:
        if any(split == "validation" for _, _, split, _ in found):
            raise ZfjaxError("The source has a validation split of its own; import it without a holdout.")
        found = [(path, name, "validation" if split == "train" and _hash_share(name) < holdout else split, folder)
                 for path, name, split, folder in found]
    empty = _empty_classes(folders, root, level, split_folders, {parts[: level + 1] for parts in paths})
    if empty:
        skipped["class folder without files"] = empty
    found.sort(key=lambda item: hashlib.sha256(item[1].encode()).digest())
    return Layout(tuple(found), classes, tables, tuple(nested), skipped)


def _depth_of_root(paths: list[tuple[str, ...]]) -> int:
    """How many single folders lie on top of the splits or classes."""
    depth = 0
    while True:
        deeper = [parts for parts in paths if len(parts) > depth + 1]
        heads = {parts[depth] for parts in deeper}
        if len(heads) != 1 or heads.pop().lower() in SPLIT_FOLDERS or all(len(parts) < depth + 3 for parts in deeper):
            return depth
        depth += 1


def _with_training_classes(
    found: list[tuple[str, str, str, str]], skipped: dict[str, list[str]]
) -> tuple[list[tuple[str, str, str, str]], tuple[str, ...]]:
    """Drops what has a class that train does not know, such as a test folder without labels; classes come sorted."""
    classes = {folder for _, _, split, folder in found if split == "train"} or {folder for *_, folder in found}
    for path, _, _, folder in found:
        if folder not in classes:
            skipped.setdefault("class absent from train", []).append(path)
    return [item for item in found if item[3] in classes], tuple(sorted(classes))


def _empty_classes(
    folders: Iterable[str], root: tuple[str, ...], level: int, split_folders: set[str], full: set[tuple[str, ...]]
) -> list[str]:
    empty = []
    for folder in folders:
        parts = tuple(folder.split("/"))
        if len(parts) == level + 1 and parts[: len(root)] == root and parts not in full and (
            not split_folders or parts[len(root)] in split_folders
        ):
            empty.append(folder)
    return sorted(empty)


def _hash_share(file_name: str) -> float:
    """A number in [0, 1) that depends on the file name only."""
    return int.from_bytes(hashlib.sha256(b"holdout:" + file_name.encode()).digest()[:6], "big") / 2**48


def _readable_names(opened: Source, layout: Layout) -> list[str]:
    """The names from classes.tsv (label TAB name) where there are any, else the folders' names."""
    names: dict[str, str] = {}
    for table in layout.class_tables:
        try:
            text = opened.read(table, _CLASS_TABLE_BYTES).decode("utf-8-sig", "replace")
        except ImageError as error:
            raise ZfjaxError(f"{table} cannot be read: {error}.") from None
        for line in text.splitlines():
            label, tab, name = line.partition("\t")
            if tab and name.strip():
                names.setdefault(label.strip(), name.strip())
    return [names.get(folder, folder) for folder in layout.classes]


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
