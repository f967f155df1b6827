"""Ranks of many maps' responses, several times as fast as one after the other. No JAX."""

from __future__ import annotations

import numpy as np

IN_CACHE = 1 << 16
"""Responses that are ranked at a time: what is made of them stays in a core's cache."""


def mean_ranks(x: np.ndarray) -> np.ndarray:
    """``scipy.stats.rankdata(x, axis=0)`` of x [images, maps] without NaN, in two thirds of its
    time: float64 [images, maps].
    """
    of_maps = np.ascontiguousarray(x.T)
    ranks = np.empty(of_maps.shape)
    at_once = max(1, IN_CACHE // max(1, len(x)))
    for start in range(0, len(of_maps), at_once):
        _rank_rows(of_maps[start : start + at_once], ranks[start : start + at_once])
    return ranks.T


def _rank_rows(of_maps: np.ndarray, ranks: np.ndarray) -> None:
    """``mean_ranks`` of rows, into ``ranks``."""
    order, begins = _ascending(of_maps)
    starts = np.flatnonzero(begins)
    equal = np.diff(starts, append=order.size)
    means = starts + (equal + 1) / 2  # counted over all rows
    row_starts = np.arange(len(of_maps))[:, None] * of_maps.shape[1]
    order += row_starts
    ranks.reshape(-1)[order.reshape(-1)] = np.repeat(means, equal)
    ranks -= row_starts


def _ascending(of_maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of each row, int64, and where in that order another value begins, bool."""
    begins = np.ones(of_maps.shape, bool)
    if of_maps.dtype != np.uint16 or of_maps.shape[1] > 1 << 16:
        order = np.argsort(of_maps, axis=1, kind="stable")
        ascending = np.take_along_axis(of_maps, order, axis=1)
        np.not_equal(ascending[:, 1:], ascending[:, :-1], out=begins[:, 1:])
        return order, begins
    # A key of 16 bits and its position make one number, which is sorted faster than positions are.
    packed = of_maps.astype(np.uint32) << 16
    packed |= np.arange(of_maps.shape[1], dtype=np.uint32)
    packed.sort(axis=1)
    np.greater(packed[:, 1:] ^ packed[:, :-1], 0xFFFF, out=begins[:, 1:])
    return (packed & 0xFFFF).astype(np.int64), begins
