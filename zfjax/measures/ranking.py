"""Ranks of many maps' responses, several times as fast as one after the other. No JAX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

IN_CACHE = 1 << 16
"""Responses that are ranked at a time: what is made of them stays in a core's cache."""
TOP_SHARE = 0.01
"""The strongest images of a map are this share of all."""


@dataclass(frozen=True)
class Ranked:
    """Maps' responses to the same images, as far as their order goes."""

    ranks: np.ndarray
    """float64 [maps, images]: each map's images by rank, equal responses sharing their mean rank,
    less the mean of all ranks. Multiples of a half: their products are exact."""
    norms: np.ndarray
    """float64 [maps]: of ``ranks``; 0 for a map that gives every image the same."""
    strongest: np.ndarray
    """int64 [maps, count]: each map's strongest images, the weakest first; of equal responses the
    earlier image is the stronger. -1 stands for images at a map's smallest response, which do not
    count: a dead map has no strongest images."""

    @property
    def images(self) -> int:
        """How many there are."""
        return self.ranks.shape[1]


def ranked(of_maps: np.ndarray, share: float = TOP_SHARE) -> Ranked:
    """Of responses [maps, images] of any dtype, without NaN, of which ``share``, at least one, are
    the strongest. One sort serves ranks and strongest.
    """
    maps, images = of_maps.shape
    count = max(1, round(share * images))
    ranks, norms = np.empty(of_maps.shape), np.empty(maps)
    strongest = np.empty((maps, count), np.int64)
    for rows in _chunks(of_maps):
        order, begins = _ascending(of_maps[rows])
        row_starts = np.arange(len(order)) * images
        starts, equal = _rank_into(ranks[rows], order, begins, less=(images + 1) / 2)
        first = np.searchsorted(starts, row_starts)
        # The sum of squares of 1..n is known, and what ties take from it: (t^3 - t) / 12 each.
        tied = np.add.reduceat(equal**3 - equal, first)
        norms[rows] = np.sqrt((images**3 - images - tied) / 12)
        counts = np.arange(images - count, images) >= equal[first][:, None]
        last = order[:, images - count :] - row_starts[:, None]
        strongest[rows] = np.where(counts, last, -1)
    return Ranked(ranks, norms, strongest)


def mean_ranks(x: np.ndarray) -> np.ndarray:
    """``scipy.stats.rankdata(x, axis=0)`` of x [images, maps] without NaN, in two thirds of its
    time: float64 [images, maps].
    """
    of_maps = np.ascontiguousarray(x.T)
    ranks = np.empty(of_maps.shape)
    for rows in _chunks(of_maps):
        _rank_into(ranks[rows], *_ascending(of_maps[rows]))
    return ranks.T


def strongest_images(keys: np.ndarray, excites: np.ndarray, top: int) -> np.ndarray:
    """The ``top`` images that excite each map most, of keys [images, maps] that order them and
    bool [images, maps]: int64 [at most top, maps], the strongest first, ties to the earlier image;
    -1 where fewer excite it.
    """
    images, maps = keys.shape
    top = min(top, images)
    # Each of a few times ``top`` spans has an image as strong as its strongest, so that the
    # ``top``-th of these is a bar that enough images reach, and few others.
    spans = np.arange(0, images, max(1, images // (16 * top)))
    bars = np.maximum.reduceat(keys, spans, axis=0)
    bar = np.partition(bars, len(bars) - top, axis=0)[len(bars) - top]
    image, of_map = np.nonzero(excites & (keys >= bar))
    order = np.lexsort((image, ~keys[image, of_map], of_map))
    image, of_map = image[order], of_map[order]
    position = np.arange(len(image)) - np.searchsorted(of_map, of_map)
    strongest = np.full((top, maps), -1)
    first = position < top
    strongest[position[first], of_map[first]] = image[first]
    return strongest


def _chunks(of_maps: np.ndarray) -> Iterator[slice]:
    at_once = max(1, IN_CACHE // max(1, of_maps.shape[1]))
    return (slice(start, start + at_once) for start in range(0, len(of_maps), at_once))


def _rank_into(
    ranks: np.ndarray, order: np.ndarray, begins: np.ndarray, less: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean ranks of rows, ``less`` so much, into ``ranks``; gives where groups of equal ones start,
    counted over all rows, and how many are in each.
    """
    starts = np.flatnonzero(begins)
    equal = np.diff(starts, append=order.size)
    means = starts + (equal + 1) / 2  # counted over all rows
    ranks.reshape(-1)[order.reshape(-1)] = np.repeat(means, equal)
    ranks -= np.arange(len(order))[:, None] * order.shape[1] + less
    return starts, equal


def _ascending(of_maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of each row, int64, counted over all rows, of equal ones the later first; and where
    in that order another value begins, bool.
    """
    begins, last = np.ones(of_maps.shape, bool), of_maps.shape[1] - 1
    row_ends = np.arange(len(of_maps))[:, None] * of_maps.shape[1] + last
    if of_maps.dtype != np.uint16 or of_maps.shape[1] > 1 << 16:
        backward = np.argsort(of_maps[:, ::-1], axis=1, kind="stable")
        ascending = np.take_along_axis(of_maps, last - backward, axis=1)
        np.not_equal(ascending[:, 1:], ascending[:, :-1], out=begins[:, 1:])
        return row_ends - backward, begins
    # A key of 16 bits and its position make one number, which is sorted faster than positions are.
    packed = of_maps.astype(np.uint32) << 16
    packed |= np.arange(last, -1, -1, dtype=np.uint32)
    packed.sort(axis=1)
    np.greater(packed[:, 1:] ^ packed[:, :-1], 0xFFFF, out=begins[:, 1:])
    packed &= 0xFFFF
    return row_ends - packed, begins
