"""How alike two sets of responses are: of a layer at two epochs, or of two layers, to the same
images. No JAX.

Responses are arrays [images, maps] of any float dtype, row i the same image in both; sums are
float64 over blocks of rows, so nothing of [images, images] is held where there are fewer maps than
images. What is not defined is NaN in an array and None alone; tables write both as null.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from zfjax.measures.image_sums import BLOCK, Moments, Without, column_means, moments
from zfjax.measures.ranking import mean_ranks as mean_ranks

LEAST_ROOM = 0.05
"""Below this distance of a similarity at step 0 from 1 there is no excess to speak of."""
TOP_SHARE = 0.01
"""The strongest images of a map are this share of all."""
_ROUNDING = 1e-10
"""A difference of sums this small beside them is nothing."""


Sums = Moments | Without


def cka_of(cross: Sums, first: Sums, second: Sums) -> float | None:
    """Unbiased linear CKA from the moments of (x, y), (x, x) and (y, y) of the same images.

    At most 1; below 0 for what is less alike than chance would have it. None for fewer than 4
    images, and where x or y does not tell images apart.
    """
    return cka_from(cross.dependence(), own_dependence(first), own_dependence(second))


def own_dependence(sums: Sums) -> float | None:
    """The dependence of x on itself, of its moments; None where it does not tell images apart."""
    own = sums.dependence()
    if own is None or own * sums.images * (sums.images - 3) <= _ROUNDING * sums.squares[2]:
        return None
    return own


def cka_from(between: float | None, own_x: float | None, own_y: float | None) -> float | None:
    """Unbiased linear CKA from ``dependence`` and ``own_dependence`` of x and of y."""
    if between is None or own_x is None or own_y is None:
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


def check_same_images(x: np.ndarray, y: np.ndarray) -> None:
    """Raises ValueError for responses to different numbers of images."""
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"responses of {x.shape} and {y.shape}: [images, maps] of the same images")
