"""Sums over images of two sets of responses: what CKA and Procrustes are made of, additive, so that
groups of images cost no further look. No JAX.

Responses are arrays [images, maps] of any float dtype, row i the same image in both; sums are
float64 over blocks of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

BLOCK = 2048
"""Images whose responses are float64 at a time."""
_TOO_LITTLE_LEFT = 1e-6
"""Of a sum of squares: below this share of it, rounding of what is left would count."""


@dataclass(frozen=True)
class Moments:
    """Sums over images of two sets of responses x and y, each less a centre that is the same for
    all images: enough for CKA, and additive, so that any union of groups of images costs no
    further look at them. For i an image, k_i = |x_i|^2 and l_i = |y_i|^2.
    """

    images: int
    cross: np.ndarray
    """sum x_i y_i^T, float64 [maps of x, maps of y]."""
    first: np.ndarray
    """sum x_i, [maps of x]."""
    second: np.ndarray
    """sum y_i, [maps of y]."""
    first_weighted: np.ndarray
    """sum l_i x_i, [maps of x]."""
    second_weighted: np.ndarray
    """sum k_i y_i, [maps of y]."""
    squares: tuple[float, float, float]
    """sum k_i, sum l_i, sum k_i l_i."""

    def __add__(self, other: Moments) -> Moments:
        return self._with(other, 1)

    def __sub__(self, other: Moments) -> Moments:
        """Without images that were counted."""
        return self._with(other, -1)

    @cached_property
    def cross_squared(self) -> float:
        """The sum of ``cross``'s squares."""
        return float(np.vdot(self.cross, self.cross))

    def _with(self, other: Moments, sign: int, cross: np.ndarray | None = None) -> Moments:
        """``cross``: the sums' matrix, where it needs not be made."""
        if cross is None:
            cross = self.cross + other.cross if sign > 0 else self.cross - other.cross
        return Moments(
            self.images + sign * other.images,
            cross,
            self.first + sign * other.first,
            self.second + sign * other.second,
            self.first_weighted + sign * other.first_weighted,
            self.second_weighted + sign * other.second_weighted,
            tuple(  # type: ignore[arg-type]
                mine + sign * its for mine, its in zip(self.squares, other.squares, strict=True)
            ),
        )

    def dependence(self) -> float | None:
        """The unbiased estimate of HSIC with linear kernels (Song et al. 2012, HSIC_1), 0 on
        average where x and y are independent. None for fewer than 4 images.

        With K and L the Gram matrices without their diagonals: (tr KL + 1'K1 1'L1 / ((n-1)(n-2)) -
        2/(n-2) 1'KL1) / (n(n-3)). It does not depend on the centre.
        """
        if self.images < 4:
            return None
        return self._estimate(self.cross_squared, float(self.first @ self.cross @ self.second))

    def dependence_without(self, group: Moments) -> float | None:
        """``(self - group).dependence()``, but for rounding, and without its matrix."""
        rest = self._with(group, -1, cross=self.cross)
        n = rest.images
        if n < 4:
            return None
        both = float(np.vdot(self.cross, group.cross))
        of_whole, of_group = (
            float(rest.first @ each.cross @ rest.second) for each in (self, group)
        )
        squared = self.cross_squared - 2 * both + group.cross_squared
        estimate = rest._estimate(squared, of_whole - of_group)
        if abs(estimate) * n * (n - 3) > _TOO_LITTLE_LEFT * self.cross_squared:
            return estimate
        return (self - group).dependence()  # nearly all that weighs is in the group

    def _estimate(self, cross_squared: float, between_sums: float) -> float:
        """``dependence`` with the sum of ``cross``'s squares and its product with both sums."""
        n = self.images
        sum_k, sum_l, sum_kl = self.squares
        # 1'KL1 is the sum over images of (x_i.s - k_i)(y_i.t - l_i), with s and t the sums of x, y.
        rows = (
            between_sums
            - self.first @ self.first_weighted
            - self.second @ self.second_weighted
            + sum_kl
        )
        totals = (self.first @ self.first - sum_k) * (self.second @ self.second - sum_l)
        trace = cross_squared - sum_kl
        estimate = trace + totals / ((n - 1) * (n - 2)) - 2 * rows / (n - 2)
        return float(estimate / (n * (n - 3)))


def moments(
    x: np.ndarray, y: np.ndarray, centres: tuple[np.ndarray, np.ndarray] | None = None
) -> Moments:
    """The moments of responses x [images, maps], y [images, maps of y].

    ``centres``: what is subtracted from each, [maps] and [maps of y]; None: the means of these
    images. Groups of images that are to be added take the same centres, near their means.
    """
    if centres is None:
        mean_x = column_means(x)
        centres = mean_x, mean_x if y is x else column_means(y)
    total: Moments | None = None
    for rows_x, rows_y in _paired_blocks(x, y, centres):
        of_block = _of_rows(_with_norms(rows_x), _with_norms(rows_y))
        total = of_block if total is None else total + of_block
    return total or _none(x.shape[1], y.shape[1])


def own_and_cross(x: np.ndarray, y: np.ndarray) -> tuple[Moments, Moments]:
    """``moments`` of (x, x) and of (x, y), of ``centred`` responses, with one look at the images:
    products in their own dtype, sums over blocks of images in float64. The same where y is x.
    """
    total: tuple[Moments, Moments] | None = None
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        of_x = _with_norms(x[rows])
        own = _of_rows(of_x, of_x)
        cross = own if y is x else _of_rows(of_x, _with_norms(y[rows]))
        total = (own, cross) if total is None else (total[0] + own, total[1] + cross)
    return total or (_none(x.shape[1], x.shape[1]), _none(x.shape[1], y.shape[1]))


def centred(x: np.ndarray) -> np.ndarray:
    """Responses [images, maps] of float32 or float64 less each map's mean, changed in place. Of a
    constant map nothing is left.
    """
    if len(x):
        x -= x[0].copy()
        x -= np.ones(len(x), x.dtype) @ x / len(x)
    return x


def _paired_blocks(
    x: np.ndarray, y: np.ndarray, centres: tuple[np.ndarray, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Centred rows of both, twice the same where they are one: that product is cheaper."""
    if x is y and centres[0] is centres[1]:
        return ((rows, rows) for rows in _blocks(x, centres[0]))
    return zip(_blocks(x, centres[0]), _blocks(y, centres[1]), strict=True)


def _none(width_x: int, width_y: int) -> Moments:
    """Of no images."""
    of_x, of_y = np.zeros(width_x), np.zeros(width_y)
    return Moments(0, np.zeros((width_x, width_y)), of_x, of_y, of_x, of_y, (0.0, 0.0, 0.0))


def _with_norms(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and their squared norms."""
    return rows, np.einsum("im,im->i", rows, rows)


def _of_rows(x: tuple[np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray]) -> Moments:
    """The moments of centred rows, each with their squared norms."""
    (rows_x, k), (rows_y, l) = x, y
    sum_k, sum_l = (float(each.sum(dtype=np.float64)) for each in (k, l))
    squares = sum_k, sum_l, float(k.astype(np.float64) @ l)
    sums = [rows_x.T @ rows_y, _column_sums(rows_x), l @ rows_x]
    cross, first, weighted = (each.astype(np.float64, copy=False) for each in sums)
    if rows_y is rows_x:
        return Moments(len(rows_x), cross, first, first, weighted, weighted, squares)
    sums = [_column_sums(rows_y), k @ rows_y]
    second, second_weighted = (each.astype(np.float64, copy=False) for each in sums)
    return Moments(len(rows_x), cross, first, second, weighted, second_weighted, squares)


def _column_sums(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows.sum(axis=0))


@dataclass(frozen=True)
class Without:
    """The moments of all images but a group's, as far as ``cka_of`` asks, without their matrix."""

    whole: Moments
    group: Moments

    @property
    def images(self) -> int:
        """How many are left."""
        return self.whole.images - self.group.images

    @property
    def squares(self) -> tuple[float, float, float]:
        """As in ``Moments``."""
        return tuple(  # type: ignore[return-value]
            of_all - its for of_all, its in zip(self.whole.squares, self.group.squares, strict=True)
        )

    @property
    def cross_squared(self) -> float:
        """Of the whole, from which it is computed."""
        return self.whole.cross_squared

    def dependence(self) -> float | None:
        """As in ``Moments``."""
        return self.whole.dependence_without(self.group)


def column_means(x: np.ndarray) -> np.ndarray:
    """Mean response of each map, float64 [maps]; of a constant one its very value."""
    if not len(x):
        return np.zeros(x.shape[1])
    first = np.asarray(x[0], np.float64)
    return first + sum(rows.sum(axis=0) for rows in _blocks(x, first)) / len(x)


def _blocks(x: np.ndarray, centre: np.ndarray | float = 0.0) -> Iterator[np.ndarray]:
    """Rows of x less ``centre``, float64, a block at a time."""
    for start in range(0, len(x), BLOCK):
        yield np.asarray(x[start : start + BLOCK], np.float64) - centre
