"""Numbers of steps as people write them in names: 100, 10k, 1e3, 1.5M, 1,000. Dates are none. No
JAX.
"""

from __future__ import annotations

import re
from decimal import Decimal

LARGEST = 2**63 - 1
"""What a table's column of steps holds."""
_SCALED = r"\d+(?:\.\d+)?(?:[kmb]|e\d{1,2})(?![a-z0-9])"
AS_WRITTEN = rf"{_SCALED}|\d{{1,3}}(?:,\d{{3}})+(?![0-9])|\d+"
"""A number behind a word for steps."""
_WHOLE = re.compile(r"(\d{1,3}(?:[_,]\d{3})+|\d+)(\.\d+)?(?:([kmb])|e\+?(\d{1,2}))?", re.IGNORECASE)
_ZEROS = {"k": 3, "m": 6, "b": 9}
_ALONE = re.compile(
    r"(?:(?:ckpts?|checkpoints?|chkpt|cp|models?|weights|params|state|net)[ =_.-]?)?"
    rf"({_SCALED}|\d{{1,3}}(?:,\d{{3}})+)",
    re.IGNORECASE,
)
"""A name that is a number with a suffix: behind other words, "1k" is of a data set's classes."""
_POWER = re.compile(r"(?:.*[^0-9a-z.])?(\d+(?:\.\d+)?e\d{1,2})", re.IGNORECASE | re.DOTALL)
_LAST = re.compile(r"(?:.*[^0-9])?([0-9]+)", re.DOTALL)
_APART = re.compile(r"(?:.*[^0-9a-z])?([1-9]\d{0,2}(?:_\d{3})*_000)", re.IGNORECASE | re.DOTALL)
_MONTH, _DAY, _YEAR = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])", r"(?:19|20)\d\d"
_CLOCK = r"(?:[01]\d|2[0-3])([-_.:h]?)[0-5]\d(?:\2[0-5]\d)"
_DATE = re.compile(
    rf"(?<!\d)(?:{_YEAR}([-_.]?){_MONTH}\1{_DAY}(?:[T ]?{_CLOCK}Z?|[-_](?:[01]\d|2[0-3])([-_.:h])"
    rf"[0-5]\d(?:\3[0-5]\d)?)?|{_DAY}([-_.]){_DAY}\4{_YEAR})(?!\d)"
)
_DATE_AND_DIGITS = re.compile(
    rf"(?:.*\D)?{_YEAR}([-_.]?){_MONTH}\1{_DAY}[-_]((?:[01]\d|2[0-3])[0-5]\d[0-5]\d)", re.DOTALL
)


def whole_steps(words: str) -> int | None:
    """10000 of "10k", "1e4", "10_000" and "10,000"; None for what is no whole number from 0, or
    larger than a table holds.
    """
    match = _WHOLE.fullmatch(words)
    if match is None:
        return None
    digits = match[1].replace("_", "").replace(",", "") + (match[2] or "")
    number = Decimal(digits).scaleb(_ZEROS.get((match[3] or "").lower(), int(match[4] or 0)))
    return int(number) if number == int(number) <= LARGEST else None


def last_number(stem: str) -> str | None:
    """The number that a name ends with, dates aside; None where it ends with none."""
    bare = _DATE.sub(" ", stem).strip(" _.-")
    for form in (_ALONE, _POWER, _LAST):
        if match := form.fullmatch(bare):
            return match[1]
    return None


def has_date(stem: str) -> bool:
    """Whether a day stands in a name."""
    return _DATE.search(stem) is not None


def two_ways(stem: str) -> tuple[str, str] | None:
    """What the end of a name may say, where that is two things: "1_000" a thousand or 0 of what is
    called 1, "20240501-120000" a time of day or a step.
    """
    if match := _DATE_AND_DIGITS.fullmatch(stem):
        return f"of step {int(match[2])}", "of a time of day"
    if match := _APART.fullmatch(stem):
        return f"of step {whole_steps(match[1])}", "of step 0"
    return None
