"""A part of a split under TFDS's own name for it, such as "train[:90%]" and "train[90%:]".

Records are sorted by a hash at the import, so that any stretch of a split is a fair sample of it.
"""

from __future__ import annotations

import re
from typing import Any

from zfjax.errors import ZfjaxError

_SLICE = re.compile(r"(?P<split>[\w-]+)\[(?P<first>\d+%?)?:(?P<last>\d+%?)?\]")


def slice_count(splits: Any, name: str) -> int | None:
    """How many images "SPLIT[FROM:TO]" has, of TFDS's ``splits``; None where it is no such name, or
    of a split that is not there.
    """
    match = _SLICE.fullmatch(name)
    if match is None or match["split"] not in splits:
        return None
    try:
        return int(splits[name].num_examples)
    except (ValueError, KeyError, AssertionError):  # beyond the end, or more than 100%
        return None


def divided(split: str, percent: int) -> tuple[str, str]:
    """(the first ``percent`` of a split's images, the others) as two splits, of a slice as slices
    of the same whole. Raises ZfjaxError for a slice that has no two such parts by its name alone.
    """
    match = _SLICE.fullmatch(split)
    if match is None:
        return f"{split}[:{percent}%]", f"{split}[{percent}%:]"
    name, first, last = match.group("split", "first", "last")
    in_percent = {end.endswith("%") for end in (first, last) if end} or {True}
    mark = "%" if in_percent == {True} else ""
    low = int((first or "0").rstrip("%"))
    high = int((last or ("100" if mark else "0")).rstrip("%"))  # numbers without an end: unknown
    middle = low + (high - low) * percent // 100
    if len(in_percent) > 1 or not low < middle < high:
        raise ZfjaxError(
            f"{split} cannot be divided into {percent}% and {100 - percent}%: write it in percent,"
            " or as numbers with an end, and of more images."
        )
    return f"{name}[{low}{mark}:{middle}{mark}]", f"{name}[{middle}{mark}:{high}{mark}]"


def sliced_count(split: str, whole: int) -> int:
    """How many of ``whole`` images a slice leaves; of another name all."""
    match = _SLICE.fullmatch(split)
    if match is None:
        return whole
    first, last = (
        default
        if end is None
        else min(whole, round(whole * int(end[:-1]) / 100) if end[-1] == "%" else int(end))
        for end, default in ((match["first"], 0), (match["last"], whole))
    )
    return max(0, last - first)
