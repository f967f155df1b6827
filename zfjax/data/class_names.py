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

CLASS_TABLE = "classes.tsv"
WORDS = "words.txt"
"""As CLASS_TABLE, of WordNet's names: of all its 82,115 in Tiny ImageNet, whatever the classes."""
SYNSETS = ("loc_synset_mapping.txt", "synset_words.txt")
"""Of ImageNet's editions: a line "wnid name, other name" a class, of which the first name is
taken."""
TABLE_BYTES = 16 << 20

_UNREAD = frozenset("classes.txt classes.csv class_names.txt labels.txt names.txt".split())

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
        # Of 16 bits first: a line feed of 32 has a zero among its halves, while two letters of 16
        # may well be one of 32.
        orders = ("le", "be") if data[1::2].count(0) > data[::2].count(0) else ("be", "le")
        encodings = [f"utf-{bits}-{order}" for bits in (16, 32) for order in orders]
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


def is_table(file: str) -> bool:
    """Whether a file of this name gives classes readable names."""
    return file.casefold() in (CLASS_TABLE, WORDS, *SYNSETS)


def tabled_names(
    tables: Iterable[str], read: Callable[[str, int], bytes], classes: Sequence[str]
) -> tuple[list[str], list[str]]:
    """(a readable name for each of ``classes``, notes) from tables with lines "class folder TAB
    name": ``classes.tsv`` of any case, and ``words.txt`` or ImageNet's lists of synsets for what
    those leave unnamed.

    Unicode forms of a folder's name count as one. A class that no table names keeps its folder's
    name, and a note says how many do. Raises ZfjaxError for a table that cannot be read, and for
    a classes.tsv that names none of the classes; the others may be of something else.
    """
    names: dict[str, str] = {}
    told, notes = [], []
    for table in sorted(tables, key=lambda path: (_is_general(path), path)):
        if _is_general(table) and len(names) == len(classes):
            continue
        rows = _rows_of(table, read)
        own = {folder: rows.get(folder, rows.get(folder.strip())) for folder in classes}
        named = {folder: name for folder, name in own.items() if name is not None}
        if _is_general(table) and not named:
            notes.append(
                f"attention: {table} names none of the classes"
                f" ({', '.join(map(repr, classes[:3]))} ...) and is not used"
            )
            continue
        check_naming(table, list(rows), named, classes, "class folder TAB name")
        names = {**named, **names}
        told.append(table)
    if told:
        notes += partial_note(", ".join(told), names, classes)
    return distinct_names([names.get(folder, folder) for folder in classes], classes), notes


def _is_general(table: str) -> bool:
    """Whether a table may name other classes than the source has."""
    return table.rpartition("/")[2].casefold() in (WORDS, *SYNSETS)


def _rows_of(table: str, read: Callable[[str, int], bytes]) -> dict[str, str]:
    """{class folder: name} of a table's lines, the first of each."""
    try:
        lines = decode_table(read(table, TABLE_BYTES), table)
    except ImageError as error:
        raise ZfjaxError(f"{table} cannot be read: {error}.") from None
    rows: dict[str, str] = {}
    for line in lines:
        line = unicodedata.normalize("NFC", line)
        if table.rpartition("/")[2].casefold() in SYNSETS:
            label, tab, name = line.strip().partition(" ")
            name = name.partition(",")[0]
        else:
            label, tab, name = line.partition("\t")
        if tab and name.strip():
            rows.setdefault(label, name.strip())
            rows.setdefault(label.strip(), name.strip())
    return rows


def unread_note(files: Sequence[str]) -> list[str]:
    """A note on ``files`` that are called like lists of classes and are not read."""
    lists = [path for path in files if path.rpartition("/")[2].casefold() in _UNREAD]
    if not lists:
        return []
    first = ", ".join(lists[:3]) + (", ..." if len(lists) > 3 else "")
    return [
        f"attention: {first} is not read; for readable class names, have a {CLASS_TABLE} with lines"
        " of the form class folder TAB name"
    ]


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
