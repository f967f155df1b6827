"""How alike two sets of responses are: of a layer at two epochs, or of two layers, to the same
images. No JAX.

Responses are arrays [images, maps] of any float dtype, row i the same image in both; sums are
float64 over blocks of rows, so nothing of [images, images] is held where there are fewer maps than
images. What is not defined is NaN in an array and None alone; tables write both as null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from zfjax.measures.ranking import mean_ranks as mean_ranks

BLOCK = 2048
"""Images whose responses are float64 at a time."""
LEAST_ROOM = 0.05
"""Below this distance of a similarity at step 0 from 1 there is no excess to speak of."""
TOP_SHARE = 0.01
"""The strongest images of a map are this share of all."""
_ROUNDING = 1e-10
"""A difference of sums this small beside them is nothing."""


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

    def _with(self, other: Moments, sign: int) -> Moments:
        return Moments(
            self.images + sign * other.images,
            self.cross + sign * other.cross,
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
        n = self.images
        if n < 4:
            return None
        sum_k, sum_l, sum_kl = self.squares
        # 1'KL1 is the sum over images of (x_i.s - k_i)(y_i.t - l_i), with s and t the sums of x, y.
        rows = (
            self.first @ self.cross @ self.second
            - self.first @ self.first_weighted
            - self.second @ self.second_weighted
            + sum_kl
        )
        totals = (self.first @ self.first - sum_k) * (self.second @ self.second - sum_l)
        trace = (self.cross**2).sum() - sum_kl
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
    total = _none(x.shape[1], y.shape[1])
    for rows_x, rows_y in _paired_blocks(x, y, centres):
        total += _of_rows(_with_norms(rows_x), _with_norms(rows_y))
    return total


def own_and_cross(
    x: np.ndarray, y: np.ndarray, centres: tuple[np.ndarray, np.ndarray]
) -> tuple[Moments, Moments]:
    """``moments`` of (x, x) and of (x, y), with one look at the images; the same where y is x."""
    own, cross = _none(x.shape[1], x.shape[1]), _none(x.shape[1], y.shape[1])
    for rows_x, rows_y in _paired_blocks(x, y, centres):
        of_x = _with_norms(rows_x)
        of_block = _of_rows(of_x, of_x)
        own += of_block
        cross += of_block if rows_y is rows_x else _of_rows(of_x, _with_norms(rows_y))
    return own, cross


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
    squares = float(k.sum()), float(l.sum()), float(k @ l)
    cross, first, weighted = rows_x.T @ rows_y, rows_x.sum(axis=0), l @ rows_x
    if rows_y is rows_x:
        return Moments(len(rows_x), cross, first, first, weighted, weighted, squares)
    second, second_weighted = rows_y.sum(axis=0), k @ rows_y
    return Moments(len(rows_x), cross, first, second, weighted, second_weighted, squares)


def cka_of(cross: Moments, first: Moments, second: Moments) -> float | None:
    """Unbiased linear CKA from the moments of (x, y), (x, x) and (y, y) of the same images.

    At most 1; below 0 for what is less alike than chance would have it. None for fewer than 4
    images, and where x or y does not tell images apart.
    """
    between, own_x, own_y = (sums.dependence() for sums in (cross, first, second))
    if between is None or own_x is None or own_y is None:
        return None
    for own, sums in ((own_x, first), (own_y, second)):
        if own * sums.images * (sums.images - 3) <= _ROUNDING * sums.squares[2]:
            return None
    return float(between / np.sqrt(own_x * own_y))


def cka(x: np.ndarray, y: np.ndarray) -> float | None:
    """Unbiased linear centred kernel alignment of responses [images, maps], [images, maps of y].

    Concept: do two sets of responses order pairs of images alike, whatever rotation and scale lie
    between them. Source: Kornblith et al. 2019; the unbiased form of Nguyen et al. 2021, without
    which few images and many maps look alike. Cost: images x maps^2. What misleads: a few images
    of large norm can make it (Davari et al. 2022). 1 for equal responses, 0 on average for
    independent ones, negative values are kept; None as in ``cka_of``.
    """
    check_same_images(x, y)
    if max(x.shape[1], y.shape[1]) >= len(x):
        x, y = _as_many_as_images(x), _as_many_as_images(y)
    return cka_of(moments(x, y), moments(x, x), moments(y, y))


def _as_many_as_images(x: np.ndarray) -> np.ndarray:
    """Responses [images, at most images] with the same Gram matrix."""
    if x.shape[1] <= len(x):
        return x
    centred = np.asarray(x, np.float64) - column_means(x)
    triangle = linalg.qr(centred.T, mode="r")[0]
    return np.asarray(triangle[: len(x)].T)


def procrustes(x: np.ndarray, y: np.ndarray) -> float | None:
    """Orthogonal Procrustes similarity of responses [images, maps], [images, maps of y]: 0..1.

    Concept: with both centred and scaled to norm 1, how well the best rotation lays one on the
    other; 1 - distance^2 / 2, the sum of the singular values of X'Y. Source: Schoenemann 1966;
    Ding, Denain and Steinhardt 2021, who find it to follow what matters for accuracy where CKA
    does not. Cost: images x maps^2 + maps^3. What misleads: biased upward by chance, the more so
    the more maps for the images. None where x or y does not tell images apart.
    """
    check_same_images(x, y)
    if max(x.shape[1], y.shape[1]) > len(x):
        x, y = _as_many_as_images(x), _as_many_as_images(y)
    return procrustes_of(moments(x, y))


def procrustes_of(cross: Moments) -> float | None:
    """``procrustes`` from the moments of (x, y) about the means of all their images."""
    norm_x, norm_y, _ = cross.squares
    if not (norm_x and norm_y):
        return None
    singular = linalg.svdvals(cross.cross / np.sqrt(norm_x * norm_y))
    return float(min(singular.sum(), 1.0))


def excess(similarity: np.ndarray, at_first: float | None) -> np.ndarray:
    """Similarities to the last epoch as what is more than step 0 had: (S - S_0) / (1 - S_0).

    ``similarity`` float64 [...], NaN where undefined. A layer that is alike before it has learnt
    has nothing to settle: NaN everywhere where 1 - S_0 < 0.05 or S_0 is None or NaN.
    """
    if at_first is None or not 1 - at_first >= LEAST_ROOM:
        return np.full(np.shape(similarity), np.nan)
    return (np.asarray(similarity, np.float64) - at_first) / (1 - at_first)


def top_set(x: np.ndarray, share: float = TOP_SHARE) -> np.ndarray:
    """Which images are among the strongest ``share`` of a map's, at least one: bool [images, maps].

    Of equal responses the earlier image is the stronger. Images at a map's smallest response do
    not count: a dead map has no strongest images.
    """
    count = max(1, round(share * len(x)))
    of_maps = np.ascontiguousarray(x.T)  # [maps, images]: what is read together lies together
    weakest = np.partition(of_maps, len(x) - count, axis=1)[:, len(x) - count, None]
    chosen = of_maps >= weakest  # of those that count
    for row in np.flatnonzero(chosen.sum(axis=1) > count):  # equal ones, more than there is room
        ahead, tied = of_maps[row] > weakest[row], of_maps[row] == weakest[row]
        chosen[row] = ahead | (tied & (np.cumsum(tied) <= count - ahead.sum()))
    return np.asarray((chosen & (of_maps > of_maps.min(axis=1)[:, None])).T)


def overlap(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|A & B| / |A or B| of the sets of ``top_set``, bool [images, maps]: float64 [maps].

    1 for equal sets; NaN where both are empty. Concept and caveat: the shared images of a map at
    two epochs (Jaccard); with few images in a set it is noisy, and chance alone gives share / 2.
    """
    check_same_images(x, y)
    return _jaccard((x & y).sum(axis=0), (x | y).sum(axis=0))


def overlap_between(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``overlap`` of every map of x with every map of y: float64 [maps of x, maps of y]."""
    check_same_images(x, y)
    shared = np.zeros((x.shape[1], y.shape[1]))
    for start in range(0, len(x), BLOCK):  # counts, which float32 holds exactly
        rows_x, rows_y = (each[start : start + BLOCK].astype(np.float32) for each in (x, y))
        shared += rows_x.T @ rows_y
    sizes = x.sum(axis=0)[:, None] + y.sum(axis=0)[None, :]
    return _jaccard(shared, sizes - shared)


def _jaccard(shared: np.ndarray, joined: np.ndarray) -> np.ndarray:
    undefined = np.full(np.shape(joined), np.nan)
    return np.divide(shared, joined, out=undefined, where=np.asarray(joined) > 0)


def standard_ranks(x: np.ndarray) -> np.ndarray:
    """Each map's images by rank, equal responses sharing their mean rank, centred and of norm 1:
    float64 [images, maps]. A product of two columns is Spearman's correlation; NaN for a map that
    gives every image the same.
    """
    ranks = mean_ranks(x)
    ranks -= (len(x) + 1) / 2
    norms = np.sqrt(np.einsum("im,im->m", ranks, ranks))
    norms[norms == 0] = np.nan
    ranks /= norms
    return ranks


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each map with itself at another epoch: float64 [maps], of
    ``standard_ranks`` [images, maps]. NaN where a map is constant in one.
    """
    check_same_images(x, y)
    return np.clip(np.einsum("im,im->m", x, y), -1, 1)


def spearman_between(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``spearman`` of every map of x with every map of y: float64 [maps of x, maps of y]."""
    check_same_images(x, y)
    return np.clip(x.T @ y, -1, 1)


def column_means(x: np.ndarray) -> np.ndarray:
    """Mean response of each map, float64 [maps]; of a constant one its very value."""
    if not len(x):
        return np.zeros(x.shape[1])
    first = np.asarray(x[0], np.float64)
    return first + sum(rows.sum(axis=0) for rows in _blocks(x, first)) / len(x)


def check_same_images(x: np.ndarray, y: np.ndarray) -> None:
    """Raises ValueError for responses to different numbers of images."""
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"responses of {x.shape} and {y.shape}: [images, maps] of the same images")


def _blocks(x: np.ndarray, centre: np.ndarray | float = 0.0) -> Iterator[np.ndarray]:
    """Rows of x less ``centre``, float64, a block at a time."""
    for start in range(0, len(x), BLOCK):
        yield np.asarray(x[start : start + BLOCK], np.float64) - centre
