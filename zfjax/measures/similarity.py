"""How alike two sets of responses are: of a layer at two epochs, or of two layers, to the same
images. No JAX.

Responses are arrays [images, maps] of any float dtype, row i the same image in both; sums are
float64 over blocks of rows, so nothing of [images, images] is held where there are fewer maps than
images. What is not defined is NaN in an array and None alone; tables write both as null.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from zfjax.measures.image_sums import Moments, Without, column_means, moments
from zfjax.measures.ranking import Ranked, mean_ranks

LEAST_ROOM = 0.05
"""Below this distance of a similarity at step 0 from 1 there is no excess to speak of."""
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


def clearness(sums: Sums, own: float) -> float:
    """``own_dependence`` beside the sums that it is the difference of: products that are rounded by
    a share r let it be known to about r over this.
    """
    return own * sums.images * (sums.images - 3) / sums.cross_squared


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
    singular = singular_values(cross.cross / np.sqrt(norm_x * norm_y))
    return float(min(singular.sum(), 1.0))


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Of a float64 matrix, ascending: as roots of the eigenvalues of its smaller Gram matrix, in
    two thirds of the time. Those below 1e-8 of the largest are rounded to about as much.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    return np.sqrt(np.maximum(linalg.eigvalsh(gram), 0))


def excess(similarity: np.ndarray, at_first: float | None) -> np.ndarray:
    """Similarities to the last epoch as what is more than step 0 had: (S - S_0) / (1 - S_0).

    ``similarity`` float64 [...], NaN where undefined. A layer that is alike before it has learnt
    has nothing to settle: NaN everywhere where 1 - S_0 < 0.05 or S_0 is None or NaN.
    """
    if at_first is None or not 1 - at_first >= LEAST_ROOM:
        return np.full(np.shape(similarity), np.nan)
    return (np.asarray(similarity, np.float64) - at_first) / (1 - at_first)


def overlap(x: Ranked, y: Ranked) -> np.ndarray:
    """|A & B| / |A or B| of the strongest images of each map and of itself at another epoch:
    float64 [maps].

    1 for equal sets; NaN where both are empty. Concept and caveat: the shared images of a map at
    two epochs (Jaccard); with few images in a set it is noisy, and chance alone gives share / 2.
    """
    _check_ranked(x, y)
    same = x.strongest[:, :, None] == y.strongest[:, None, :]
    shared = (same & (x.strongest >= 0)[:, :, None]).sum(axis=(1, 2))
    return _jaccard(shared, _sizes(x) + _sizes(y) - shared)


def overlap_between(x: Ranked, y: Ranked) -> np.ndarray:
    """``overlap`` of every map of x with every map of y: float64 [maps of x, maps of y]."""
    _check_ranked(x, y)
    shared = (_as_sparse(x) @ _as_sparse(y).T).toarray()
    return _jaccard(shared, _sizes(x)[:, None] + _sizes(y)[None, :] - shared)


def _sizes(x: Ranked) -> np.ndarray:
    return np.asarray((x.strongest >= 0).sum(axis=1))


def _as_sparse(x: Ranked) -> sparse.csr_array:
    """1 for each strongest image of each map: [maps, images]."""
    columns = x.strongest[x.strongest >= 0]
    ends = np.concatenate([[0], np.cumsum(_sizes(x))])
    return sparse.csr_array((np.ones(len(columns)), columns, ends), (len(ends) - 1, x.images))


def _jaccard(shared: np.ndarray, joined: np.ndarray) -> np.ndarray:
    undefined = np.full(np.shape(joined), np.nan)
    return np.divide(shared, joined, out=undefined, where=np.asarray(joined) > 0)


def spearman(x: Ranked, y: Ranked) -> np.ndarray:
    """Spearman's rank correlation of each map with itself at another epoch: float64 [maps]. NaN
    where a map is constant in one.
    """
    _check_ranked(x, y)
    return _correlation(np.einsum("mi,mi->m", x.ranks, y.ranks), x.norms * y.norms)


def spearman_between(x: Ranked, y: Ranked) -> np.ndarray:
    """``spearman`` of every map of x with every map of y: float64 [maps of x, maps of y]."""
    _check_ranked(x, y)
    # A copy: NumPy takes another way for a product with itself, which rounds otherwise.
    other = y.ranks.copy() if y is x else y.ranks
    return _correlation(x.ranks @ other.T, np.outer(x.norms, y.norms))


def _correlation(products: np.ndarray, norms: np.ndarray) -> np.ndarray:
    undefined = np.full(norms.shape, np.nan)
    return np.clip(np.divide(products, norms, out=undefined, where=norms > 0), -1, 1)


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


def _check_ranked(x: Ranked, y: Ranked) -> None:
    if x.images != y.images:
        raise ValueError(f"ranks of {x.images} and {y.images} images: they must be the same images")


def check_same_images(x: np.ndarray, y: np.ndarray) -> None:
    """Raises ValueError for responses to different numbers of images."""
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"responses of {x.shape} and {y.shape}: [images, maps] of the same images")
