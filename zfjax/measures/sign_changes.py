"""Do features change alike where the same is hidden in several images? Distances of signs, their
means over pairs of images, and how often chance does as well. No JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EXACT = 10
"""Images up to which all exchanges are tried."""
TIE = 1e-6
"""Gaps that differ by less are equal: they are of single precision."""


def hamming(signs: np.ndarray, others: np.ndarray, *, zeros: bool = True) -> np.ndarray:
    """float64 [n, m]: the share of features whose signs (-1, 0, 1) differ, of int8 [n, d] and [m,
    d]. ``zeros``: False: of those features alone where both are not 0; NaN where there is none.
    """
    alike = _together(signs > 0, others > 0) + _together(signs < 0, others < 0)
    if zeros:
        alike += _together(signs == 0, others == 0)
        return np.asarray(1 - alike / signs.shape[1])
    both = _together(signs != 0, others != 0)
    return np.asarray(np.where(both > 0, 1 - alike / np.maximum(both, 1), np.nan))


def _together(those: np.ndarray, others: np.ndarray) -> np.ndarray:
    """float64 [n, m]: in how many features both are true, of bool [n, d] and [m, d]."""
    return np.asarray(those.astype(np.float32) @ others.astype(np.float32).T, np.float64)


@dataclass(frozen=True)
class Distances:
    """Between the changes that hiding makes in n images: [n, n] each."""

    own: np.ndarray
    """Of the part with the part."""
    random: np.ndarray
    """Of the random place with the random place."""
    mixed: np.ndarray
    """Of the part (row) with the random place (column)."""


def distances_of(own: np.ndarray, random: np.ndarray, *, zeros: bool = True) -> Distances:
    """Of signs int8 [n, d]: how hiding the part, and the random place, changes each feature."""
    return Distances(
        hamming(own, own, zeros=zeros),
        hamming(random, random, zeros=zeros),
        hamming(own, random, zeros=zeros),
    )


def pair_mean(distances: np.ndarray) -> float:
    """The mean over pairs of different images; NaN where none is defined."""
    pairs = _pairs(distances)
    return float(pairs.mean()) if len(pairs) else float("nan")


def pair_spread(distances: np.ndarray) -> float:
    """The standard deviation over pairs, as Table 1 seems to print it."""
    pairs = _pairs(distances)
    return float(pairs.std(ddof=1)) if len(pairs) > 1 else float("nan")


def pair_means_without(distances: np.ndarray) -> np.ndarray:
    """float64 [n]: ``pair_mean`` without each image."""
    known, values = _known(distances)
    total, count = values.sum() / 2, known.sum() / 2
    left = count - known.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (total - values.sum(axis=1)) / left
    return np.asarray(np.where(left > 0, means, np.nan))


def _pairs(distances: np.ndarray) -> np.ndarray:
    pairs = distances[np.triu_indices(len(distances), 1)]
    return np.asarray(pairs[np.isfinite(pairs)])


def _known(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which pairs of different images are defined, their values with 0 for the others)."""
    known = np.isfinite(distances) & ~np.eye(len(distances), dtype=bool)
    return known.astype(np.float64), np.where(known, distances, 0.0)


def exchanges_of(images: int, draws: int, seed: int) -> tuple[np.ndarray, bool]:
    """(bool [exchanges, images], whether these are all there are): in which images part and random
    place change their names. The first changes none.
    """
    if images <= EXACT:
        every = np.arange(2**images)[:, None] >> np.arange(images)[None, :]
        return (every & 1).astype(bool), True
    drawn = np.random.default_rng(seed).random((draws + 1, images)) < 0.5
    drawn[0] = False
    return drawn, False


def exchanged_gaps(distances: Distances, exchanged: np.ndarray) -> np.ndarray:
    """float64 [exchanges]: mean over pairs of what is then called the part, minus that of what is
    called the random place.
    """
    swapped = exchanged.astype(np.float32)
    kept = 1 - swapped
    known_hidden, hidden = _known(distances.own)
    known_random, random = _known(distances.random)
    known_mixed, mixed = _known(distances.mixed)

    def mean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Of the parts where ``first`` is 1, and the random places where ``second`` is."""
        sums = [
            (_form(first, own, first) + _form(second, other, second)) / 2
            + _form(first, between, second)
            for own, other, between in (
                (hidden, random, mixed),
                (known_hidden, known_random, known_mixed),
            )
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(sums[1] > 0.5, sums[0] / sums[1], np.nan))

    return mean(kept, swapped) - mean(swapped, kept)


def _form(left: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    products = left @ matrix.astype(np.float32)
    return np.asarray((products * right).sum(axis=1), np.float64)


def chance_of(gaps: np.ndarray) -> float:
    """The share of exchanges that give a gap as low as the first, which exchanges none and is
    counted with them: never 0. NaN where it is undefined.
    """
    if not np.isfinite(gaps[0]):
        return float("nan")
    known = gaps[np.isfinite(gaps)]
    return float((known <= gaps[0] + TIE).mean())


def mean_gaps(gaps: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over parts, of those that are defined."""
    stacked = np.stack(gaps)
    known = np.isfinite(stacked)
    total = np.where(known, stacked, 0).sum(axis=0)
    count = known.sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
