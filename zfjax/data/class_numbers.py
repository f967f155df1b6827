"""What the numbers mean that a label file gives as classes: from a list of names beside it.

A list is a text with a name a line in the order of the numbers, lines "number name", a table of
numbers and names, or a JSON object or list of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from zfjax.data.class_names import TABLE_BYTES, decode_table, distinct_names
from zfjax.data.images import ImageError
from zfjax.errors import ZfjaxError

_LISTS = re.compile(
    r"(?:id2label|(?:.*[_-])?(?:class|classes|label|labels|category|categories|names|map|mapping)"
    r"(?:[_-].*)?)\.(?:txt|names|csv|tsv|json)"
)


def names_of_numbers(
    files: Sequence[str], read: Callable[[str, int], bytes], classes: Sequence[str]
) -> tuple[list[str], str] | None:
    """(the name of each of ``classes``, the list that gives them), where all are numbers and a list
    names all of them; else None.
    """
    if not classes or not all(map(str.isdecimal, classes)):
        return None
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        if _LISTS.fullmatch(path.rpartition("/")[2].casefold()):
            try:
                lines = decode_table(read(path, TABLE_BYTES), path)
            except (ImageError, ZfjaxError):
                continue
            names = _named(lines, path, sorted(map(int, classes)))
            own = [names.get(int(number), "") for number in classes]
            if all(own) and len(set(own)) == len(own):
                return distinct_names(own, classes), path
    return None


def _named(lines: Sequence[str], path: str, numbers: Sequence[int]) -> dict[int, str]:
    """{number: name} as a list tells it, {} where it is none."""
    if path.casefold().endswith(".json"):
        return _from_json("\n".join(lines))
    rows = [line.strip() for line in lines if line.strip()]
    pairs = [_pair(row) for row in rows]
    numbered = {int(pair[0]): pair[1] for pair in pairs if pair}
    if len(numbered) >= len(rows) - 1:  # the first may be a header
        return numbered
    first = 1 if numbers[0] == 1 and numbers[-1] == len(rows) else 0
    return dict(enumerate(rows, first)) if numbers[-1] < len(rows) + first else {}


def _pair(row: str) -> tuple[str, str] | None:
    """(number, name) of a line, whichever comes first, or None."""
    if match := re.fullmatch(
        r"\"?(\d{1,9})\"?\s*[\t,;:= ]\s*\"?([^\t,;\"]*[^\W\d_][^\t;\"]*)\"?", row
    ):
        return match[1], match[2].strip()
    if match := re.fullmatch(
        r"\"?([^\t,;\"]*[^\W\d_][^\t,;\"]*)\"?\s*[\t,;:= ]\s*\"?(\d{1,9})\"?", row
    ):
        return match[2], match[1].rstrip(" :=")
    return None


def _from_json(text: str) -> dict[int, str]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    pairs = list(enumerate(value)) if isinstance(value, list) else []
    if isinstance(value, dict):
        pairs = list(value.items())
    names = {}
    for left, right in pairs:
        right = right[-1] if isinstance(right, list) and right else right
        if str(left).isdecimal() and isinstance(right, str):
            names[int(left)] = right
        elif isinstance(left, str) and type(right) is int:
            names[right] = left
    return names
