"""More than the strongest: the selections and rules that an evolution draws beside its first ones,
as words, and how a finished one takes more of them. No JAX.

Every selection is searched in any case; these are what is drawn of them. "low" is the weakest
images that excite a map at all, "quantile:q" a seeded image from the histogram's bin that holds the
quantile q of the map's maxima over all images. An image that leaves a map silent has no unit to
project: where a quantile lies among those, there is no row and no picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.features.units import QUANTILES

ALWAYS = ("top", "fixed")
"""Drawn whether they are asked for or not."""
LOW = "low"
_QUANTILE = "quantile:"
ADDABLE = ("selections", "rules")
"""Fields of a request that a finished evolution takes more of."""


def quantile_name(quantile: float) -> str:
    """The selection of a quantile's images."""
    return f"{_QUANTILE}{quantile:g}"


def is_quantile(selection: str) -> bool:
    """Whether it is one of "quantile:q"."""
    return selection.startswith(_QUANTILE)


def quantile_of(selection: str) -> float:
    """q of "quantile:q"."""
    return float(selection.removeprefix(_QUANTILE))


def plain_selections(words: Iterable[str]) -> tuple[str, ...]:
    """What is drawn beside ``ALWAYS``: "low", then quantiles ascending, each once, "quantile:0.50"
    as "quantile:0.5". Raises ZfjaxError for another word.
    """
    chosen = {_plain(word) for word in words} - set(ALWAYS)
    return in_order(chosen)


def in_order(selections: Iterable[str]) -> tuple[str, ...]:
    """The same, "low" first and quantiles ascending."""
    quantiles = sorted({name for name in selections if is_quantile(name)}, key=quantile_of)
    return (*((LOW,) if LOW in selections else ()), *quantiles)


def _plain(word: str) -> str:
    if word in (*ALWAYS, LOW):
        return word
    if not is_quantile(word):
        raise ZfjaxError(
            f"--selections {word!r}: there are top, fixed (both always drawn), low and quantile:q,"
            " such as quantile:0.5."
        )
    try:
        quantile = float(word.removeprefix(_QUANTILE))
    except ValueError:
        quantile = math.nan
    if not 0 < quantile < 1:
        raise ZfjaxError(
            f"--selections {word!r}: a quantile lies between 0 and 1, such as quantile:0.5; the"
            " ends are low and top."
        )
    if float(f"{quantile:g}") != quantile:
        raise ZfjaxError(f"--selections {word!r}: a quantile has six digits at most.")
    return quantile_name(quantile)


def quantiles_in_table(selections: Iterable[str]) -> tuple[float, ...]:
    """The quantiles whose images stand in an evolution's table, ascending: those that always do,
    and those drawn.
    """
    return tuple(sorted({*QUANTILES, *map(quantile_of, filter(is_quantile, selections))}))


def grows(before: Mapping[str, Any], now: Mapping[str, Any], differing: Iterable[str]) -> bool:
    """Whether a record of what is asked is another, ``before``, with more steps, selections or
    rules, and equal in all else. ``differing``: the fields in which they do differ.
    """
    names = list(differing)
    return bool(names) and all(
        name in ("steps", *ADDABLE) and set(before.get(name, ())) <= set(now.get(name, ()))
        for name in names
    )


def is_in_table(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the table of ``before`` has the images of all selections that ``now`` asks for: those
    of a quantile that nobody asked for are known to the search alone.
    """
    there, wanted = (quantiles_in_table(asked.get("selections", ())) for asked in (before, now))
    return set(wanted) <= set(there)
