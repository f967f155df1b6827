"""A part of a split under TFDS's own name for it, such as "train[:90%]" and "train[90%:]".

Records are sorted by a hash at the import, so that any stretch of a split is a fair sample of it.
"""

from __future__ import annotations

import re
from typing import Any

_SLICE = re.compile(r"(?P<split>[\w-]+)\[(\d+%?)?:(\d+%?)?\]")


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
