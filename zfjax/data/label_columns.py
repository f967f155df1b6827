"""Which column of a label file names images, which gives their classes, and which their splits. By
the columns' names first, by what they hold otherwise. Pure.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from zfjax.data.folders import refusal
from zfjax.data.label_rows import Table
from zfjax.data.split_names import split_of

_FILES = (
    "filename filenames filepath filepaths file files fname path paths relpath image images"
    " imagename imagefile imagefilename imagepath imageid imageids imageuuid img imgname imgfile"
    " imgpath imgid photo photoid photoname picture pic id ids idcode isicid uuid key name"
).split()
_LABELS = frozenset(
    "label labels labelname labelid labeltext class classes classname classlabel classid category"
    " categories categoryname categoryid species breed target targets wnid wnids synset synsetid y"
    " groundtruth gt findinglabels diagnosis dx variety predictionstring".split()
)
_SPLITS = frozenset("split splits set subset dataset datasplit partition usage".split())
_MEASURES = frozenset(
    "width height depth w h channels size area xmin ymin xmax ymax x0 y0 x1 y1 x2 y2 bbox bboxx1"
    " bboxy1 bboxx2 bboxy2 box boxes roix1 roiy1 roix2 roiy2".split()
)
_LINKS = frozenset("url link href license licence md5 sha1 sha256 checksum".split())
"""What columns are called of which, with numbers in them or all of them, none is of classes unless
the user says so."""
_BOXES = re.compile(r"(n\d{8})(?:\s+-?\d+(?:\.\d+)?){4}")
"""How ILSVRC's solutions write a label: the wnid, then a box, then perhaps further ones."""
_NUMBERS = re.compile(r"[-+\d.,;eE\s()\[\]]*")
_FEW = 20
"""Rows of a table so small that each may be of another class."""


@dataclass(frozen=True)
class Columns:
    """Places of a table's columns: ``labels`` is one, or several of which each is a class and one
    is set in a row; ``by_name``: whether their names told, or the user.
    """

    image: int
    labels: tuple[int, ...]
    split: int | None
    by_name: bool


@dataclass(frozen=True)
class Asked:
    """What the user says: the ``column`` of classes, by name or number, and whether a column of
    ``splits`` counts.
    """

    column: str | None = None
    splits: bool = True


def is_column_name(cell: str) -> bool:
    """Whether a cell may well be what a column is called."""
    name = _plain(cell)
    return name in _FILES or name in _LABELS or name in _SPLITS


def label_of(cell: str) -> str:
    """The class that a cell gives, "" for none."""
    boxes = _BOXES.match(cell)
    return unicodedata.normalize("NFC", boxes[1] if boxes else " ".join(cell.split()))


def choose_columns(
    table: Table,
    where: str,
    matches: Callable[[str], Sequence[str]],
    class_folders: Collection[str],
    asked: Asked,
) -> Columns | None:
    """The columns of a label file ``where``; None where none names images (``matches``: the images
    that a cell names), or none can be of classes or is the one that is ``asked`` for.

    Of columns that say the same, the one with names of ``class_folders`` counts, then one that is
    not of numbers. Raises ZfjaxError, and lists them, where several could be of classes, and for a
    column of which some cells name splits and others do not.
    """
    image = _image_column(table, matches)
    if image is None:
        return None
    others = [index for index in range(len(table.columns)) if index != image]
    split = None
    if table.header and asked.splits:
        split = next((index for index in others if _is_split(table, index, where)), None)
    others = [index for index in others if index != split]
    if asked.column is not None:
        own = _wanted(table, others, asked.column)
        return None if own is None else Columns(image, (own,), split, True)
    named = [i for i in others if table.header and _plain(table.header[i]) in _LABELS]
    candidates = _telling(table, named)
    if not candidates:
        if flags := _one_of_several(table, others):
            return Columns(image, flags, split, False)
        unlikely = [i for i in others if table.header and _is_unlike_classes(table, i)]
        candidates = _telling(table, _like_classes(table, [i for i in others if i not in unlikely]))
    candidates = _saying_the_same(table, candidates, class_folders)
    if len(candidates) > 1:
        names = ", ".join(table.columns[index] for index in candidates)
        raise refusal(
            f"{where} has several columns that may be the classes ({names}): choose one, as in"
            f" --label-column {shlex.quote(table.columns[candidates[0]])}."
        )
    return Columns(image, tuple(candidates), split, bool(named)) if candidates else None


def class_in_row(table: Table, columns: Columns, cells: Sequence[str]) -> str:
    """The class that a row gives, "" for none."""
    if len(columns.labels) == 1:
        return label_of(cells[columns.labels[0]])
    is_set = [index for index in columns.labels if _number(cells[index]) == 1]
    return label_of(table.columns[is_set[0]]) if len(is_set) == 1 else ""


def _plain(name: str) -> str:
    """A column's name without case and all that is neither letter nor digit."""
    return "".join(filter(str.isalnum, name.casefold()))


def _image_column(table: Table, matches: Callable[[str], Sequence[str]]) -> int | None:
    """The column that names most different images; of several, one that is called so."""
    named = table.header or ()
    order = {name: preference for preference, name in enumerate(_FILES)}
    best: tuple[int, int, int] | None = None
    for index in range(len(table.columns)):
        images = {path for cell in table.column(index) for path in matches(cell)[:1]}
        preference = order.get(_plain(named[index]), len(order)) if named else len(order)
        if images and (best is None or (-len(images), preference) < best[:2]):
            best = (-len(images), preference, index)
    return None if best is None else best[2]


def _is_split(table: Table, index: int, where: str) -> bool:
    """Whether a column is called so and names splits. Raises ZfjaxError where only some of its
    cells do.
    """
    cells = set(table.column(index))
    unknown = sorted(cell for cell in cells if not split_of(cell))
    if _plain(table.columns[index]) not in _SPLITS or len(unknown) == len(cells):
        return False
    if unknown:
        raise refusal(
            f"The column {table.columns[index]} of {where} names splits, but also has"
            f" {', '.join(map(repr, unknown[:3]))}: write train, validation or test in every line,"
            " or say --splits none to have all images in one split."
        )
    return True


def _is_unlike_classes(table: Table, index: int) -> bool:
    """Whether a column by its name measures or locates an image, or numbers its split."""
    name = _plain(table.columns[index])
    in_numbers = all(_NUMBERS.fullmatch(cell) for cell in table.column(index))
    return name in _LINKS or (in_numbers and name in _MEASURES | _SPLITS)


def _wanted(table: Table, others: Sequence[int], wanted: str) -> int | None:
    for same in (str, str.casefold, _plain):
        for index in others:
            if same(table.columns[index].strip()) == same(wanted.strip()):
                return index
    if wanted.isdecimal() and int(wanted) - 1 in others:
        return int(wanted) - 1
    return None


def _distinct(table: Table, index: int) -> int:
    return len({cell for cell in table.column(index) if cell})


def _telling(table: Table, columns: Sequence[int]) -> list[int]:
    """``columns`` without those that are empty, or give one value where others give several."""
    counts = {index: _distinct(table, index) for index in columns}
    least = 2 if max(counts.values(), default=0) > 1 else 1
    return [index for index in columns if counts[index] >= least]


def _like_classes(table: Table, columns: Sequence[int]) -> list[int]:
    """Those of ``columns`` that hold words of which some come again, else those with such numbers:
    beside a class stand boxes and sizes, and numbers that never come again count lines.
    """
    words, numbers = [], []
    for index in columns:
        cells = [cell for cell in table.column(index) if cell]
        come_again = _distinct(table, index) < len(cells)
        if any(_number(cell) is None for cell in cells):
            words += [index] if come_again or len(cells) <= _FEW else []
        elif come_again or len(cells) == 1:
            numbers.append(index)
    return words or numbers


def _one_of_several(table: Table, columns: Sequence[int]) -> tuple[int, ...]:
    """The columns of which each is a class (0 or 1) and nearly every row has one that is set; ()
    where they are no such.
    """
    if table.header is None:
        return ()
    flags = [
        index
        for index in columns
        if all(_number(cell) in (0, 1) for cell in table.column(index)) and table.rows
    ]
    if len(flags) < 2:
        return ()
    sums = [sum(_number(cells[index]) == 1 for index in flags) for _, cells in table.rows]
    return tuple(flags) if max(sums) == 1 and 2 * sum(sums) > len(sums) else ()


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _saying_the_same(
    table: Table, columns: Sequence[int], class_folders: Collection[str]
) -> list[int]:
    """One of ``columns`` where all tell the same rows apart, else all."""
    if len(columns) < 2:
        return list(columns)
    cells = [[row[index] for index in columns] for _, row in table.rows]
    together = len({tuple(row) for row in cells})
    if any(len(set(column)) != together for column in zip(*cells, strict=True)):
        return list(columns)
    worth = {
        index: (
            not set(map(label_of, table.column(index))) & set(class_folders),
            all(_number(cell) is not None for cell in table.column(index)),
        )
        for index in columns
    }
    return [min(columns, key=lambda index: worth[index])]
