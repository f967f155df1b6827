"""Which of two layers settles first: every pair of layers, judged by the interval of the difference
of their settling times. No JAX.

Over seeds the difference is each run's own; in one run both layers are looked at on the same
resampled images. Two intervals that overlap do not say that two layers are alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from zfjax.measures.verdicts import FAILS, HOLDS, UNKNOWN, Interval, interval_of_seeds, verdict
from zfjax.run.measured import Measured
from zfjax.run.settling_gaps import gap_by_bounds, gap_of, time_of

NAMED_PAIRS = 10
"""Of layers, in a sentence: all that five layers have. Beyond, it counts them (``counts_pairs``),
and they are listed apart.
"""
KINDS_OF_PAIRS = ("the upper one first", "not told apart")
"""Of those that are not in order, by the names that they are listed under."""
NAMED_LAYERS = 3
"""First by one family, in a sentence; beyond, one is named and the others are counted."""


def order_of_pair(family: str, runs: Sequence[Measured], lower: str, upper: str) -> str | None:
    """Whether ``lower`` settles before ``upper`` (HOLDS), after it (FAILS) or cannot be told from
    it (UNKNOWN): by the interval of their difference. None where a time or an interval is unknown.

    A table made before differences were kept has the intervals of both layers alone: they must lie
    apart then.
    """
    if len(runs) > 1:
        gaps = [time_of(run, family, upper) - time_of(run, family, lower) for run in runs]
        interval = interval_of_seeds(gaps)
        return None if interval is None else verdict(interval).word
    [run] = runs
    ends = gap_of(run, family, lower, upper) or gap_by_bounds(run, family, lower, upper)
    if ends is None:
        return None
    return HOLDS if ends[0] > 0 else FAILS if ends[1] < 0 else UNKNOWN


@dataclass(frozen=True)
class PairOrders:
    """What a family says of every pair of layers, (lower, upper)."""

    turned: tuple[tuple[str, str], ...]
    """The upper one settles first."""
    unsure: tuple[tuple[str, str], ...]
    """Not told apart."""
    ordered: tuple[tuple[str, str], ...]
    """The lower one settles first."""


def pair_orders(family: str, runs: Sequence[Measured]) -> PairOrders:
    """Of all pairs of layers whose order is known or in doubt."""
    pairs = list(combinations(runs[0].layers, 2))
    words = [order_of_pair(family, runs, *pair) for pair in pairs]
    by_word = {
        word: tuple(pair for pair, said in zip(pairs, words, strict=True) if said == word)
        for word in (FAILS, UNKNOWN, HOLDS)
    }
    return PairOrders(by_word[FAILS], by_word[UNKNOWN], by_word[HOLDS])


def counts_pairs(orders: PairOrders) -> bool:
    """Whether a sentence would be too long with every pair that is not in order."""
    return len(orders.turned) + len(orders.unsure) > NAMED_PAIRS


def pairs_words(orders: PairOrders) -> str:
    """The pairs that a slope above zero would hide: those in the other order, and those not told
    apart; how many, where they are too many to be named; "" where all are in order.
    """
    turned, unsure = turned_words(orders), unsure_words(orders)
    if counts_pairs(orders):
        known = len(orders.ordered) + len(turned) + len(unsure)
        return (
            f"; of {known} pairs of layers {len(orders.ordered)} with the lower one first,"
            f" {len(turned)} with the upper one first, {len(unsure)} not told apart"
        )
    words = f"; {', '.join(turned)}" if turned else ""
    return words + (f"; not told apart {', '.join(unsure)}" if unsure else "")


def turned_words(orders: PairOrders) -> list[str]:
    """The pairs in the other order: "conv5 before conv4"."""
    return [f"{upper} before {lower}" for lower, upper in orders.turned]


def unsure_words(orders: PairOrders) -> list[str]:
    """The pairs not told apart: "conv2 and conv3"."""
    return [f"{lower} and {upper}" for lower, upper in orders.unsure]


def listed_pairs(by_family: Mapping[str, PairOrders]) -> dict[str, dict[str, Any]]:
    """By family the pairs that its sentence only counts: how many are in order, and the others."""
    return {
        family: {
            "in_order": len(orders.ordered),
            **dict(zip(KINDS_OF_PAIRS, (turned_words(orders), unsure_words(orders)), strict=True)),
        }
        for family, orders in by_family.items()
        if counts_pairs(orders)
    }


def first_layers(family: str, runs: Sequence[Measured]) -> list[str]:
    """The layer with the shortest settling time (over several runs, their mean), then those that
    cannot be told from it, from the image up; [] where no layer has a time.
    """
    return _end_layers(family, runs, 1)


def last_layers(family: str, runs: Sequence[Measured]) -> list[str]:
    """The same of the longest time."""
    return _end_layers(family, runs, -1)


def _end_layers(family: str, runs: Sequence[Measured], sign: int) -> list[str]:
    times = {
        layer: sign * sum(time_of(run, family, layer) for run in runs) / len(runs)
        for layer in runs[0].layers
    }
    known = {layer: time for layer, time in times.items() if math.isfinite(time)}
    if not known:
        return []
    end = min(known, key=known.__getitem__)
    order = runs[0].layers

    def tied(layer: str) -> bool:
        pair = sorted((end, layer), key=order.index)
        return layer != end and order_of_pair(family, runs, pair[0], pair[1]) == UNKNOWN

    return [end, *(layer for layer in known if tied(layer))]


def first_words(families: Sequence[str], runs: Sequence[Measured]) -> str:
    """ "conv1 by responses, conv1 or conv2 by rewind": who is first; "" where none is known."""
    return _by_families({family: first_layers(family, runs) for family in families}, runs)


def last_words(families: Sequence[str], runs: Sequence[Measured]) -> str:
    """Likewise who is last."""
    return _by_families({family: last_layers(family, runs) for family in families}, runs)


def _by_families(ends: Mapping[str, list[str]], runs: Sequence[Measured]) -> str:
    by_layers: dict[str, list[str]] = {}
    for family, layers in ends.items():
        words = " or ".join(sorted(layers, key=runs[0].layers.index))
        if len(layers) > NAMED_LAYERS:
            words = f"{layers[0]} (not told apart from {len(layers) - 1} others)"
        if layers:
            by_layers.setdefault(words, []).append(family)
    return ", ".join(f"{layers} by {' and '.join(of)}" for layers, of in by_layers.items())


def holds_throughout(above: Sequence[Interval | None], orders: Sequence[PairOrders]) -> bool:
    """Whether an order of all layers stands without the first one too, by the slopes of those
    ``above`` it, and no pair is turned.
    """
    return all(verdict(each).word == HOLDS for each in above) and not any(
        each.turned for each in orders
    )
