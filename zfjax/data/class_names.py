"""Readable class names from a table beside the images: read in the encoding it has, and never
unused in silence.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from zfjax.data.images import ImageError
from zfjax.errors import ZfjaxError

TABLE_BYTES = 16 << 20

_MARKS = (  # of 32 bits first: the mark of UTF-16-LE begins that of UTF-32-LE
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_table(data: bytes, where: object) -> list[str]:
    """The lines of a text file in UTF-8, or in UTF-16 or UTF-32 with or without a byte-order mark.

    Raises ZfjaxError, which names the file by ``where``, for one in another encoding.
    """
    encodings = [next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")]
    if (
        encodings == ["utf-8"] and b"\0" in data
    ):  # wide letters without a mark: the order that gives text is the right
        encodings = ["utf-32-le", "utf-32-be"] + [
            f"utf-16-{order}"
            for order in (
                ("le", "be") if data[1::2].count(0) > data[::2].count(0) else ("be", "le")
            )
        ]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return re.split(r"\r\n|\r|\n", text)
    raise ZfjaxError(
        f"{where} is in no encoding that zfjax knows (UTF-8, UTF-16): save it as UTF-8, as with"
        " iconv -f latin1 -t utf-8."
    )


def tabled_names(
    tables: Iterable[str], read: Callable[[str, int], bytes], classes: Sequence[str]
) -> tuple[list[str], list[str]]:
    """(a readable name for each of ``classes``, notes) from tables with lines "class folder TAB
    name".

    Unicode forms of a folder's name count as one. A class that no table names keeps its folder's
    name, and a note says how many do. Raises ZfjaxError for a table that cannot be read, and for
    one that names none of the classes.
    """
    names: dict[str, str] = {}
    told = []
    for table in tables:
        try:
            lines = decode_table(read(table, TABLE_BYTES), table)
        except ImageError as error:
            raise ZfjaxError(f"{table} cannot be read: {error}.") from None
        rows: dict[str, str] = {}
        for line in lines:
            label, tab, name = unicodedata.normalize("NFC", line).partition("\t")
            if tab and name.strip():
                rows.setdefault(label, name.strip())
                rows.setdefault(label.strip(), name.strip())
        own = {folder: rows.get(folder, rows.get(folder.strip())) for folder in classes}
        named = {folder: name for folder, name in own.items() if name is not None}
        check_naming(table, list(rows), named, classes, "class folder TAB name")
        names = {**named, **names}
        told.append(table)
    notes = partial_note(", ".join(told), names, classes) if told else []
    return distinct_names([names.get(folder, folder) for folder in classes], classes), notes


def check_naming(
    table: object, rows: Sequence[str], named: Mapping[str, str], classes: Sequence[str], form: str
) -> None:
    """Raises ZfjaxError where a table's ``rows`` (their first column) name none of ``classes``."""
    if named or not classes:
        return
    first = (
        f"its lines begin with {', '.join(map(repr, rows[:3]))}"
        if rows
        else "none of its lines has that form"
    )
    raise ZfjaxError(
        f"{table} names none of the {len(classes):,} classes ({', '.join(map(repr, classes[:3]))}"
        f" ...): it needs lines of the form {form}, but {first}; mend it, or take it away."
    )


def partial_note(table: object, named: Mapping[str, str], classes: Sequence[str]) -> list[str]:
    """A note where some of ``classes`` have no name."""
    lacking = [folder for folder in classes if folder not in named]
    if not lacking:
        return []
    few = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
    return [
        f"{table} names {len(classes) - len(lacking):,} of the {len(classes):,} classes; the others"
        f" keep the names of their folders ({few})"
    ]


def distinct_names(names: Sequence[str], classes: Sequence[str]) -> list[str]:
    """``names``, each followed by its class folder where several classes share it (crane the bird
    and the machine).
    """
    times = Counter(names)
    told = [
        name if times[name] == 1 else f"{name} ({folder})"
        for name, folder in zip(names, classes, strict=True)
    ]
    return told if len(set(told)) == len(told) else list(classes)
