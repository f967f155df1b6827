"""Numbers, epochs, dates and texts from data as short plain words. No JAX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime


def plain(text: str, length: int = 40) -> str:
    """``text`` on one line, printable, at most ``length`` characters; an empty one is said to be
    so.
    """
    kept = "".join(letter if letter.isprintable() else " " for letter in str(text))
    kept = " ".join(kept.split())
    return (kept if len(kept) <= length else kept[: length - 1] + "…") or "(no name)"


def first_name(names: Sequence[str], index: int) -> str:
    """A class's name; of a list of synonyms ("backpack, back pack, knapsack") the first alone,
    where no other class begins so.
    """
    first = names[index].split(",")[0]
    alone = sum(name.split(",")[0] == first for name in names) == 1
    return first if alone else names[index]


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, never in exponents where it can be helped; "n/a" for None."""
    if value is None:
        return "n/a"
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{float(f'{value:.{digits}g}'):,.10g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def rough_count(count: float) -> str:
    """A number that is an estimate, as "about" takes it: in two digits, three where the first is 1,
    rounded up, for it says what would be enough; "5,200" of 5,181, "23" of 23.
    """
    whole = math.ceil(count)
    if whole < 100:
        return str(whole)
    digits = len(str(whole))
    step = 10 ** (digits - (3 if str(whole)[0] == "1" else 2))
    return f"{-(-whole // step) * step:,}"


def percent(share: float | None) -> str:
    """A share 0..1 in per cent, one decimal below 10; "n/a" for None."""
    if share is None:
        return "n/a"
    return f"{100 * share:.1f}\u2009%" if 0 < share < 0.1 else f"{100 * share:.0f}\u2009%"


def epoch_name(epoch: float) -> str:
    """ "5", or "0.32" for a step within an epoch; never in exponents where it can be helped."""
    if 1e5 <= epoch < 1e15:
        return f"{round(epoch, 1):.16g}"
    return f"{epoch:.2g}" if 0 < epoch < 1 else f"{round(epoch, 1):g}"


def epoch_names(epochs: Sequence[float]) -> list[str]:
    """Names that tell ascending ``epochs`` apart: an address finds its epoch by them."""
    names = [epoch_name(epoch) for epoch in epochs]
    for digits in range(3, 18):
        if len(set(names)) == len(names):
            break
        alike = {name for name in names if names.count(name) > 1}
        names = [
            f"{epoch:.{digits}g}" if name in alike else name
            for name, epoch in zip(names, epochs, strict=True)
        ]
    return names


def date(iso: str) -> str:
    """ "21 November 2025" of an ISO date; the text itself where it is none."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return plain(iso)
    return f"{moment.day} {moment:%B %Y}"
