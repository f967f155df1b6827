"""What one label file says: the class, and perhaps the split, of the images that it names. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from zfjax.data.class_names import is_table
from zfjax.data.folders import few, nfc_parts, refusal
from zfjax.data.image_names import ImageNames
from zfjax.data.label_columns import Asked, choose_columns, class_in_row, is_column_name
from zfjax.data.label_rows import Table, read_table
from zfjax.data.split_names import read_name, split_of

ANYTHING = Asked()
LABEL_BYTES = 256 << 20
"""The largest label file that is read."""
_MOST_IN_A_FOLDER = 20
"""Files like label files in one folder, above which each belongs to one image."""
_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
_LISTS = re.compile(r"(?:.*(?:label|annotation).*|(?:.*[_-])?list)\.txt")
_UNREAD = (".xlsx", ".xls", ".ods", ".parquet", ".json", ".mat", ".pkl")


@dataclass(frozen=True)
class LabelFile:
    """``classes`` of images by path, and ``splits`` where the file names them.

    ``column`` is the one of classes, ``by_name``: whether its name told that it is, or the user;
    ``split`` is what the file's own name means. Of its ``lines``, ``absent`` name an image that is
    not there and ``blank`` give no class. ``why_not`` is why it labels nothing, "" where it does;
    ``is_faulty``: for a fault in it.
    """

    path: str
    classes: dict[str, str]
    splits: dict[str, str]
    column: str = ""
    by_name: bool = False
    split: str | None = None
    lines: int = 0
    absent: int = 0
    blank: int = 0
    why_not: str = ""
    is_faulty: bool = False


def likely_label_files(files: Sequence[str]) -> list[str]:
    """Those of ``files`` that may be label files by their names and where they lie."""
    by_folder: dict[str, list[str]] = {}
    for path in files:
        folder, _, name = path.rpartition("/")
        name = name.casefold()
        is_list = name.endswith(".txt")
        if not (is_list or name.endswith(_ENDINGS)) or is_table(name) or "submission" in name:
            continue
        if not is_list or _LISTS.fullmatch(name) or read_name(name.removesuffix(".txt")).splits:
            by_folder.setdefault(folder, []).append(path)
    return sorted(
        path for paths in by_folder.values() if len(paths) <= _MOST_IN_A_FOLDER for path in paths
    )


def splits_in_names(paths: Sequence[str]) -> dict[str, str]:
    """{label file: the split that its name tells}: in a word of its own (train_labels.csv), or as
    its end where another file's differs in it alone (carstrain.csv, carstest.csv).
    """
    stems = {path: path.rpartition("/")[2].rpartition(".")[0] for path in paths}
    splits = {}
    ends: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for path, stem in stems.items():
        own = read_name(stem).splits
        if len(own) == 1:
            splits[path] = next(iter(own))
        elif not own and (match := re.fullmatch(r"(.+?)(train|test|val|valid)", stem.casefold())):
            folder = path.rpartition("/")[0]
            ends[folder, match[1]][path] = split_of(match[2]) or ""
    for group in ends.values():
        if len(set(group.values())) > 1:
            splits |= group
    return splits


def unread_label_files(files: Sequence[str]) -> list[LabelFile]:
    """Those of ``files`` that may have labels in a form that is not read, none of use."""
    unread = [path for path in files if path.casefold().endswith(_UNREAD)]
    why = "{} is no kind of label file that is read (.csv, .tsv, .txt, .jsonl)"
    return [
        LabelFile(path, {}, {}, why_not=why.format(path))
        for path in unread
        if len(unread) <= _MOST_IN_A_FOLDER
    ]


class Scopes:
    """The images that a label file can mean: those below its folder, else below the next above that
    holds any.
    """

    def __init__(self, images: Sequence[str]):
        self._images = images
        self._names: dict[tuple[str, int], ImageNames] = {}

    def of(self, path: str) -> ImageNames:
        """The images by name for the label file at ``path``."""
        folder = path.rpartition("/")[0]
        inside = self._below(folder)
        while not inside and folder:
            folder = folder.rpartition("/")[0]
            inside = self._below(folder)
        # Folders above each other with as many images hold the same.
        key = (inside[0] if inside else "", len(inside))
        if key not in self._names:
            self._names[key] = ImageNames(inside)
        return self._names[key]

    def _below(self, folder: str) -> Sequence[str]:
        prefix = f"{folder}/"
        if not folder:
            return self._images
        return [path for path in self._images if path.startswith(prefix)]


def read_label_file(
    path: str,
    data: bytes,
    images: ImageNames,
    class_folders: Collection[str],
    asked: Asked = ANYTHING,
    hint: str | None = None,
) -> LabelFile:
    """What the label file at ``path`` says of ``images``, by the columns that are ``asked`` for.

    Where a name is that of images in several folders, the split of the line decides, else the
    ``hint`` of the file's own name, then the one for training. Raises ZfjaxError for a file that
    cannot be read, several columns that may be the classes, a name that means several images, and
    an image with two classes or splits.
    """
    table = read_table(data, path, lambda cell: bool(images.matches(cell)), is_column_name)
    meant = _Meant(path, images, hint)
    columns = choose_columns(table, path, images.matches, class_folders, asked)
    if columns is None:
        return LabelFile(path, {}, {}, why_not=_why_not(table, path, images, asked.column))
    classes: dict[str, str] = {}
    lines: dict[str, int] = {}
    splits: dict[str, str] = {}
    absent = blank = 0
    for line, cells in table.rows:
        split = None if columns.split is None else split_of(cells[columns.split])
        image = meant.image(cells[columns.image], line, split)
        label = class_in_row(table, columns, cells)
        if image is None:
            absent += 1
            continue
        if not label:
            blank += 1
            continue
        if classes.setdefault(image, label) != label:
            raise refusal(
                f"{path} gives {image} two classes: {classes[image]} in line {lines[image]} and"
                f" {label} in line {line}; take one of them away."
            )
        lines.setdefault(image, line)
        if split is not None and splits.setdefault(image, split) != split:
            raise refusal(
                f"{path} gives {image} to two splits, in lines {lines[image]} and {line}; take one"
                " of them away."
            )
    column = table.columns[columns.labels[0]]
    total = len(table.rows)
    return LabelFile(path, classes, splits, column, columns.by_name, hint, total, absent, blank)


@dataclass(frozen=True)
class _Meant:
    """Which image a label file means by a name."""

    path: str
    images: ImageNames
    split: str | None

    def image(self, name: str, line: int, told: str | None) -> str | None:
        """Its path, None where there is none; ``told``: the split that the line names. Raises
        ZfjaxError where there are several.
        """
        paths = self.images.matches(name)
        for split in (told,) if told else (self.split, "train"):
            if len(paths) > 1:
                own = [path for path in paths if split and _lies_in(path, split)]
                paths = own or paths
        if len(paths) > 1:
            raise refusal(
                f"Line {line} of {self.path} names {name}, which may be {few(paths)}: write the"
                " folder as well, or keep a label file in each folder."
            )
        return paths[0] if paths else None


def _lies_in(path: str, split: str) -> bool:
    return any(split in read_name(step).splits for step in nfc_parts(path)[:-1])


def _why_not(table: Table, path: str, images: ImageNames, wanted: str | None) -> str:
    cells = [cell for _, row in table.rows for cell in row]
    if not any(map(images.matches, cells)):
        first = ", ".join(repr(row[0]) for _, row in table.rows[:3])
        begin = f" (its lines begin with {first})" if first else ""
        return f"{path} names none of the images{begin}"
    columns = ", ".join(table.columns)
    if wanted is not None:
        return (
            f"{path} has no column {wanted!r} beside the one that names images (it has {columns})"
        )
    return f"{path} has no column that may be the classes (it has {columns})"
