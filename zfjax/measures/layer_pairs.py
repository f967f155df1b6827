"""Which of two layers settles first: every pair of layers, judged by the interval of the difference
of their settling times. No JAX.

Over seeds the difference is each run's own; in one run both layers are looked at on the same
resampled images. Two intervals that overlap do not say that two layers are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from zfjax.measures.verdicts import FAILS, HOLDS, UNKNOWN, Interval, interval_of_seeds, verdict
from zfjax.run.measured import Measured
from zfjax.run.settling_gaps import gap_by_bounds, gap_of, time_of

NAMED_PAIRS = 10
"""Of layers, in one list of a sentence; beyond, it says how many more."""


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


def pair_orders(family: str, runs: Sequence[Measured]) -> PairOrders:
    """Of all pairs of layers whose order is known or in doubt."""
    pairs = list(combinations(runs[0].layers, 2))
    words = [order_of_pair(family, runs, *pair) for pair in pairs]
    by_word = {
        word: tuple(pair for pair, said in zip(pairs, words, strict=True) if said == word)
        for word in (FAILS, UNKNOWN)
    }
    return PairOrders(by_word[FAILS], by_word[UNKNOWN])


def pairs_words(orders: PairOrders) -> str:
    """The pairs that a slope above zero would hide: those in the other order, and those not told
    apart; "" where all are in order.
    """
    words = ""
    if orders.turned:
        words += f"; {_listed([f'{upper} before {lower}' for lower, upper in orders.turned])}"
    if orders.unsure:
        pairs = [f"{lower} and {upper}" for lower, upper in orders.unsure]
        words += f"; not told apart {_listed(pairs)}"
    return words


def _listed(pairs: Sequence[str]) -> str:
    more = len(pairs) - NAMED_PAIRS
    return ", ".join(pairs[:NAMED_PAIRS]) + (f" and {more} more pairs" if more > 0 else "")


def first_layers(family: str, runs: Sequence[Measured]) -> list[str]:
    """The layer with the shortest settling time (over several runs, their mean), and those that
    cannot be told from it, from the image up; [] where no layer has a time.
    """
    times = {
        layer: sum(time_of(run, family, layer) for run in runs) / len(runs)
        for layer in runs[0].layers
    }
    known = {layer: time for layer, time in times.items() if math.isfinite(time)}
    if not known:
        return []
    first = min(known, key=known.__getitem__)
    order = runs[0].layers

    def tied(layer: str) -> bool:
        pair = sorted((first, layer), key=order.index)
        return order_of_pair(family, runs, pair[0], pair[1]) == UNKNOWN

    return [layer for layer in known if layer == first or tied(layer)]


def first_words(families: Sequence[str], runs: Sequence[Measured]) -> str:
    """ "conv1 by responses, conv1 or conv2 by rewind": who is first; "" where none is known."""
    by_layers: dict[str, list[str]] = {}
    for family in families:
        layers = first_layers(family, runs)
        if layers:
            by_layers.setdefault(" or ".join(layers), []).append(family)
    return ", ".join(f"{layers} by {' and '.join(of)}" for layers, of in by_layers.items())


def holds_throughout(above: Sequence[Interval | None], orders: Sequence[PairOrders]) -> bool:
    """Whether an order of all layers stands without the first one too, by the slopes of those
    ``above`` it, and no pair is turned.
    """
    return all(verdict(each).word == HOLDS for each in above) and not any(
        each.turned for each in orders
    )
