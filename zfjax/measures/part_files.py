"""Boxes of parts from the user's own file, checked line by line. No JAX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zfjax.data.class_names import decode_table
from zfjax.data.images import Box, view_window
from zfjax.data.views import LookedAt
from zfjax.errors import ZfjaxError, explain_os_error, shortened
from zfjax.files import local_path

Frame = Literal["original", "view"]
EDGES = ("y0", "x0", "y1", "x1")
NEEDED = ("part", *EDGES)
MOST_BYTES = 2**28
SEVERAL = -1
"""In the place of an image's id."""


@dataclass(frozen=True)
class PartBox:
    """A part of an image's object: its box in pixels of the image's view, half open."""

    image_id: int
    name: str
    box: Box


def boxes_in_file(path: Path, images: LookedAt, frame: Frame) -> list[PartBox]:
    """The boxes of a CSV with the columns file_name or image_id, part, y0, x0, y1, x1, in the order
    of its lines. ``frame``: whether pixels are of the images as they are stored or of their views;
    edges are half open. Boxes that the view does not show are left out. Raises ZfjaxError with the
    line for what does not fit.
    """
    rows = _rows(path)
    ids = _ids(path, rows, images)
    boxes = []
    lines: dict[tuple[int, str, Box], int] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        image_id = ids(where, row)
        if not row["part"]:
            raise ZfjaxError(f"{where}: the part has no name.")
        box = _box(where, row)
        earlier = lines.setdefault((image_id, row["part"], box), line)
        if earlier != line:
            raise ZfjaxError(
                f"{where}: this is the box of line {earlier} again; a part that stands twice would"
                " count twice."
            )
        height, width = images.view_size if frame == "view" else images.stored_size(image_id)
        if box[0] < 0 or box[1] < 0 or box[2] > height or box[3] > width:
            raise ZfjaxError(
                f"{where}: the box {_said(box)} reaches beyond the image of {height} x {width}"
                f" pixels (rows x columns{'' if frame == 'view' else ', as it is stored'})."
            )
        if frame == "original":
            box = _in_view(box, (height, width), images.view_size)
        if box[2] > box[0] and box[3] > box[1]:
            boxes.append(PartBox(image_id, row["part"], box))
    return boxes


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, {column: text}) of each line that holds something. Raises ZfjaxError for a file that
    is no such table.
    """
    text = _text(path)
    reader = csv.reader(io.StringIO(text), delimiter=_separator(text))
    try:
        head = [cell.strip().casefold() for cell in next(reader, [])]
        if not any(head):
            raise ZfjaxError(
                f"{path} is empty; it needs a head with file_name or image_id, {', '.join(NEEDED)},"
                " separated by commas, and a line for each part of each image."
            )
        if twice := [name for name in (*NEEDED, "file_name", "image_id") if head.count(name) > 1]:
            raise ZfjaxError(f"{path} has the column {twice[0]} twice: keep one of them.")
        lacking = [name for name in NEEDED if name not in head]
        if lacking or not {"file_name", "image_id"} & set(head):
            raise ZfjaxError(
                f"{path} has the columns {shortened([cell or '(none)' for cell in head], 8)}; it"
                f" needs file_name or image_id, {', '.join(NEEDED)}, separated by commas."
            )
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(head):
                raise ZfjaxError(
                    f"{path}, line {reader.line_num}: {len(cells)} values for {len(head)} columns."
                )
            named = zip(head, cells, strict=False)
            rows.append((reader.line_num, {name: cell.strip() for name, cell in named}))
    except csv.Error as error:
        raise ZfjaxError(f"{path}, line {reader.line_num}: {error}.") from None
    if not rows:
        raise ZfjaxError(f"{path} has no line below its head: it names no part of any image.")
    return rows


def _text(path: Path) -> str:
    file = local_path(path)
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ZfjaxError(f"{path} is larger than {MOST_BYTES:,} bytes: no table of boxes.")
        data = file.read_bytes()
    except OSError as error:
        raise explain_os_error(error, "read the boxes of parts") from error
    try:
        return "\n".join(decode_table(data, path))
    except ZfjaxError:
        raise ZfjaxError(f"{path} is no CSV: it is not text in UTF-8 or UTF-16.") from None


def _separator(text: str) -> str:
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def _by_endings(names: Mapping[str, int]) -> dict[str, int]:
    """{name, or its end from a folder on: image's id}; SEVERAL where an end is that of more."""
    ends: dict[str, int] = {}
    for name, index in names.items():
        folders = name.split("/")
        for start in range(1, len(folders)):
            end = "/".join(folders[start:])
            ends[end] = SEVERAL if end in ends else index
    return {**names, **{end: index for end, index in ends.items() if end not in names}}


def _ids(
    path: Path, rows: Sequence[tuple[int, dict[str, str]]], images: LookedAt
) -> Callable[[str, Mapping[str, str]], int]:
    """(where, row) -> the image's id. Raises ZfjaxError for one that is not there."""
    of = f"split {images.split!r} of {images.name}"
    names: dict[str, int] = {}
    if any(not row.get("image_id") for _, row in rows):
        described = images.describe(range(images.count))
        names = _by_endings({name: index for index, (_, name) in enumerate(described) if name})
        if not names and "file_name" in rows[0][1]:
            raise ZfjaxError(f"{path} names files, and {of} keeps no names: give image_id instead.")

    def find(where: str, row: Mapping[str, str]) -> int:
        number, name = row.get("image_id", ""), row.get("file_name", "")
        if number:
            if not number.isdecimal() or int(number) >= images.count:
                raise ZfjaxError(
                    f"{where}: there is no image {number!r} in {of}: ids go from 0 to"
                    f" {images.count - 1}."
                )
            return int(number)
        if names.get(name) == SEVERAL:
            raise ZfjaxError(
                f"{where}: several images of {of} are called {name!r}; give more of the path."
            )
        if name not in names:
            raise ZfjaxError(
                f"{where}: there is no image {name!r} in {of}, where names are like"
                f" {next(iter(names), '')!r}; another split is named by --correspondence.split."
            )
        return names[name]

    return find


def _box(where: str, row: Mapping[str, str]) -> Box:
    edges = []
    for name in EDGES:
        try:
            edges.append(float(row[name]))
        except ValueError:
            edges.append(math.nan)
        if not math.isfinite(edges[-1]):
            raise ZfjaxError(f"{where}: {name} is {row[name]!r}, which is no number.")
    y0, x0, y1, x1 = edges
    if y1 <= y0 or x1 <= x0:
        raise ZfjaxError(
            f"{where}: the box {_said((y0, x0, y1, x1))} holds no pixel: y1 must be above y0, and"
            " x1 above x0."
        )
    return y0, x0, y1, x1


def _said(box: Sequence[float]) -> str:
    return ", ".join(f"{name} {edge:g}" for name, edge in zip(EDGES, box, strict=True))


def _in_view(box: Box, size: tuple[int, int], view_size: tuple[int, int]) -> Box:
    """A box of an image of ``size`` = (height, width) in its view, clipped to it."""
    height, width = size
    left, top, right, bottom = view_window(width, height, view_size)
    scale_y, scale_x = view_size[0] / (bottom - top), view_size[1] / (right - left)

    def clipped() -> Iterator[float]:
        for edge, begin, scale, most in zip(
            box, (top, left) * 2, (scale_y, scale_x) * 2, view_size * 2, strict=True
        ):
            yield min(max((edge - begin) * scale, 0.0), float(most))

    y0, x0, y1, x1 = clipped()
    return y0, x0, y1, x1
