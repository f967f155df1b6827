"""``zfjax data import``: a tree of class folders, or a tar of one, becomes a TFDS data set in
ArrayRecord.

What decides the result is names and bytes alone, never the order of a folder or a tar: records are
sorted by a hash of their file name, so that any stretch of image ids is a fair sample of the
classes, and a tree and its tar give the same digest. One image is in memory at a time. An odd file
never stops an import: it is converted or skipped, and named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zfjax.data import writing
from zfjax.data.arranging import Layout, arrange
from zfjax.data.class_names import tabled_names, unread_note
from zfjax.data.class_numbers import names_of_numbers
from zfjax.data.converting import Converter, ImportSummary, check_absent, form_of, merged
from zfjax.data.folders import LABEL_FILE, refusal
from zfjax.data.formats import READ_WORDS, is_other
from zfjax.data.headers import byte_limit
from zfjax.data.holding_out import hold_out
from zfjax.data.image_names import IMAGE_ENDINGS
from zfjax.data.images import ImageError
from zfjax.data.import_options import FOLDERS, Stored
from zfjax.data.labelling import Labels, labels_of
from zfjax.data.set_names import check_name
from zfjax.data.sources import ARCHIVES, Source, open_source
from zfjax.data.split_names import SPLITS
from zfjax.errors import ZfjaxError, escaped
from zfjax.files import data_folder, exclusive_lock, local_path
from zfjax.progress import Progress, tell_nobody


def import_images(
    source: Path | str,
    name: str,
    data_dir: Path | str,
    *,
    holdout: float = 0.0,
    splits: Mapping[str, str] | None = None,
    label_column: str | None = None,
    stored: Stored = FOLDERS,
    progress: Progress | None = None,
) -> ImportSummary:
    """Writes DATA_DIR/NAME/1.0.0 from SOURCE and says what it did.

    ``holdout`` is the share of the images that become the split ``validation`` where SOURCE has
    none, chosen by a hash of their bytes (holding_out.py). ``splits`` says which folders are
    splits: {folder: "train", "validation" or "test"}, {} where all are classes, None where their
    names say it (arranging.py). ``label_column``: which column of label files has the classes,
    None where its name or what it holds tells, "none" to use no label file (labelling.py).
    ``stored``: of what size and quality. Clean RGB or grayscale JPEGs of the right size keep their
    bytes; all else is stored as JPEG. ``progress(stage, done, total)`` counts files, with a holdout
    twice: hashed, then converted.

    Raises ZfjaxError, and leaves nothing behind, when the name is unfit or taken, SOURCE is absent,
    damaged, holds no image for training or folders that may be splits or classes, a table of class
    names cannot be used, or the disk is full.
    """
    check_name(name)
    if not 0 <= holdout < 1:
        raise ZfjaxError(
            f"The holdout is a share of the images, at least 0 and below 1, not {holdout}."
        )
    tell = progress or tell_nobody
    source, root = local_path(source), data_folder(data_dir)
    if not source.exists():
        raise ZfjaxError(f"There is no {source}; give a folder of class folders, or a tar of one.")
    with exclusive_lock(
        root / f".{name}.lock", f"Another import into {root / name} is running; wait for its end."
    ):
        check_absent(root, name)
        with writing.new_folder(root, name) as folder, open_source(source, folder) as opened:
            labels = labels_of(opened.files, opened.read, splits, label_column)
            layout = _arranged(source, opened, splits, labels)
            readable, notes = _readable(opened, layout, labels)
            form = form_of(stored)
            if holdout:
                limit = byte_limit(stored.max_pixels)
                read = functools.partial(_read_up_to, opened, limit)
                layout = _held_out(layout, holdout, read, form, tell)
            total = len(layout.items)
            before = total if holdout else 0
            converter = Converter(
                opened.read,
                form,
                max_pixels=stored.max_pixels,
                total=total,
                progress=lambda stage, done, total: tell(stage, before + done, before + total),
            )
            account = converter.account
            written = writing.write_dataset(
                folder,
                name,
                {split: converter.examples(split, _files_of(layout, split)) for split in SPLITS},
                writing.About(
                    readable,
                    layout.classes,
                    description="Imported by zfjax from class folders.",
                    metadata={"max_pixels": stored.max_pixels},
                ),
            )
            if not written:
                why = ", ".join(
                    f"{len(names)} {reason}" for reason, names in sorted(account.skipped.items())
                )
                said = (
                    f" The formats that are read are {READ_WORDS}."
                    if any(map(is_other, account.skipped))
                    else ""
                )
                if archives := _archives(opened.files):
                    where = "" if source.is_dir() else f"unpack {source.name}, then "
                    said = f" It holds archives: {where}give {archives[0]} itself.{said}"
                raise refusal(
                    f"{source} holds no readable image ({why}); its files are such as"
                    f" {min(opened.files)}.{said}"
                )
            if holdout:
                _check_both(written, holdout)
            if "train" not in written:
                raise ZfjaxError(
                    f"{source} holds no readable image for training, only for {', '.join(written)}."
                )
    counts = {
        split: {readable[label]: converter.counts[split, label] for label in range(len(readable))}
        for split in written
    }
    reasons = merged(opened.skipped, layout.skipped, labels.skipped, account.skipped)
    unseen = [
        folder
        for label, folder in enumerate(layout.classes)
        if not any(converter.counts[split, label] for split in written)
    ]
    if unseen:
        reasons["class without a readable image (its label stays)"] = tuple(unseen)
    converted = merged(
        {"nested folder, taken into its class": list(layout.nested)} if layout.nested else {},
        account.converted,
    )
    notes = [*layout.notes, *labels.notes, *notes, *account.notes()]
    if holdout:
        notes += _without_validation(counts)
    if "validation" not in written:
        notes.append(
            "there is no validation split, which training needs: to have one, delete "
            f"{root / name} and import with --holdout 0.1"
        )
    return ImportSummary(
        name,
        root / name / writing.VERSION,
        counts,
        converted,
        reasons,
        account.resized,
        tuple(notes),
    )


def _arranged(
    source: Path, opened: Source, splits: Mapping[str, str] | None, labels: Labels
) -> Layout:
    """The layout of a source; a refusal says as well why its label files were of no use."""
    try:
        layout = arrange(opened.files, opened.folders, splits, labels)
        if not layout.items:
            raise refusal(
                f"{source} holds no class folders with images{_shape(source, opened.files)};"
                " expected"
                f" CLASS/IMAGE or train/CLASS/IMAGE, or images and {LABEL_FILE}."
            )
    except ZfjaxError as error:
        if not labels.unused:
            raise
        why = "; ".join(labels.unused[:3])
        raise ZfjaxError(escaped(f"{error} No labels come from label files: {why}.")) from None
    return layout


def _shape(source: Path, files: Collection[str]) -> str:
    """What a source without class folders holds, in brackets."""
    if not files:
        return " (it is empty)"
    archives = _archives(files)
    if archives and not any(_called_an_image(path) for path in files):
        if not source.is_dir():
            return f" but an archive: unpack {source.name}, then give {archives[0]} itself"
        return f" but an archive: give {archives[0]} itself"
    return f" ({len(files):,} files, such as {min(files)})"


def _archives(files: Iterable[str]) -> list[str]:
    return sorted(path for path in files if path.casefold().endswith(ARCHIVES))


def _called_an_image(path: str) -> bool:
    return path.rpartition(".")[2].casefold() in IMAGE_ENDINGS


def _readable(opened: Source, layout: Layout, labels: Labels) -> tuple[list[str], list[str]]:
    """(a readable name for each class, notes): from tables of classes, or lists of what numbers
    mean.
    """
    names, notes = tabled_names(layout.class_tables, opened.read, layout.classes)
    if not labels.classes or layout.class_tables:
        return names, notes
    if numbered := names_of_numbers(opened.files, opened.read, layout.classes):
        return numbered[0], [*notes, f"{numbered[1]} names the classes that are numbers"]
    return names, [*notes, *unread_note(layout.skipped.get("not in a class folder", []))]


def _read_up_to(opened: Source, limit: int, path: str) -> bytes:
    return opened.read(path, limit)


def _without_validation(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A note where the holdout left classes that train has without an image in validation."""
    present = [name for name, count in counts["train"].items() if count]
    lacking = [name for name in present if not counts["validation"][name]]
    few = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
    return (
        [
            f"attention: {len(lacking)} of {len(present)} classes have no image in validation"
            f" ({few}); they have few different images, all kept for"
            " training"
        ]
        if lacking
        else []
    )


def _files_of(layout: Layout, split: str) -> Iterator[tuple[str, str, int]]:
    """(path in the source, file name, label) of one split's files, in order."""
    labels = {folder: label for label, folder in enumerate(layout.classes)}
    return (
        (path, file_name, labels[folder])
        for path, file_name, of, folder in layout.items
        if of == split
    )


def _held_out(
    layout: Layout,
    holdout: float,
    read: Callable[[str], bytes],
    convert: Callable[[bytes], Any],
    progress: Progress,
) -> Layout:
    """``layout`` with a validation split. Raises ZfjaxError where there is one, or nothing can be
    held out.
    """
    if any(split == "validation" for _, _, split, _ in layout.items):
        raise ZfjaxError(
            "The source has a validation split of its own; import it without a holdout."
        )

    def is_image(data: bytes) -> bool:
        try:
            convert(data)
        except ImageError:
            return False
        return True

    def hashing(stage: str, done: int, total: int) -> None:
        progress("importing", done, 2 * len(layout.items))  # all are converted after it

    layout = hold_out(layout, holdout, read, is_image, hashing)
    _check_both({split for _, _, split, _ in layout.items}, holdout)
    return layout


def _check_both(splits: Collection[str], holdout: float) -> None:
    if not {"train", "validation"} <= set(splits):
        raise ZfjaxError(
            f"A holdout of {holdout} leaves a split without images (of each class, at least one"
            " stays for training); choose another share."
        )
