"""How like its last self a layer is at every step: by its maps' answers to the images of the probe,
by the representation that they are together, and by its weights. No JAX.

Each on all images, and on groups of them drawn once, from which come the spread of a curve and the
interval of what is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.measures.averages import mean_of_known
from zfjax.measures.image_sums import Moments, Without, centred, own_and_cross
from zfjax.measures.kernels import column_cosines, map_weights
from zfjax.measures.ranking import Ranked, ranked
from zfjax.measures.similarity import (
    cka_from,
    clearness,
    excess,
    overlap,
    overlap_between,
    own_dependence,
    procrustes_of,
    spearman,
    spearman_between,
)
from zfjax.run.probe import MAXIMA, MEANS, ZERO_KEY, Probe
from zfjax.subject import Network

LEAST_OF_GROUP = 20
"""Images, so that a rank correlation and a CKA of a group say something."""
LEAST_OF_CKA = 4
"""Images, below which there is none."""
CLEAR = 0.01
"""Below it, rounding of products in float32 (1e-7) could be seen in the fifth digit of a CKA."""


def image_groups(images: int, groups: int, seed: int) -> list[np.ndarray]:
    """Seeded groups of about equally many images, as row numbers: fewer where images are few."""
    count = max(2, min(groups, images // LEAST_OF_GROUP))
    order = np.random.default_rng(seed).permutation(images)
    return [np.sort(rows) for rows in np.array_split(order, count)]


def grouped(groups: Sequence[np.ndarray]) -> tuple[np.ndarray, list[slice]]:
    """(an order of the images in which those of each group lie together, where each lies)."""
    ends = np.cumsum([len(rows) for rows in groups]).tolist()
    return np.concatenate(groups), [slice(*pair) for pair in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True)
class Curve:
    """How like its last self, at each step: of single maps, of the layer, of its groups of images.
    NaN where undefined.
    """

    layer: np.ndarray
    """float64 [steps]."""
    floor: np.ndarray
    """float64 [steps]: what the layer's other maps show; 0 where it is no matter of maps. Of all
    images also for a group of them: it is the mean of so many pairs that it hardly differs."""
    groups: np.ndarray
    """float64 [groups, steps]: of each group of images, or of all images but a group's."""
    halves: np.ndarray
    """float64 [2, steps]: of each half of the images apart; [0, steps] where none were looked at.
    """
    maps: np.ndarray | None = None
    """float64 [steps, maps]."""


@dataclass(frozen=True)
class Answers:
    """A layer's answers over the steps."""

    overlap: Curve
    spearman: Curve
    between: tuple[np.ndarray, ...]
    """Spearman of every map at a step with every map at the last one, by step: [maps, maps]."""
    strongest: np.ndarray
    """int64 [steps, maps]: the row of each map's strongest image; -1 for a dead map."""


def answers_of(probe: Probe, steps: Sequence[int], layer: str, groups: list[np.ndarray]) -> Answers:
    """Overlap of the strongest images and rank correlation of all, of each map with itself at the
    last step.
    """
    # Order is all that counts here, and keys are sorted faster than values.
    order, spans = grouped(groups)

    def samples(keys: np.ndarray) -> list[Ranked]:
        """Of all images, and of each group."""
        apart = np.ascontiguousarray(keys[order].T)
        whole = np.ascontiguousarray(keys.T)
        return [ranked(whole), *(ranked(apart[:, span]) for span in spans)]

    last = samples(probe.keys(steps[-1], layer))
    # [whole and groups][kind][steps]
    own: list[list[list[np.ndarray]]] = [[[], []] for _ in last]
    floors: list[list[float]] = [[], []]
    between, strongest = [], []
    for step in steps:
        keys = probe.keys(step, layer)
        now = last if step == steps[-1] else samples(keys)
        alive = keys.max(axis=0) > ZERO_KEY
        # A map that answers all images alike has no strongest ones: the first stands for them.
        strongest.append(np.where(alive, np.maximum(now[0].strongest[:, -1], 0), -1))
        between.append(spearman_between(now[0], last[0]))
        floors[0].append(mean_of_others(overlap_between(now[0], last[0])))
        floors[1].append(mean_of_others(between[-1]))
        for of_kinds, of_step, of_last in zip(own, now, last, strict=True):
            of_kinds[0].append(overlap(of_step, of_last))
            of_kinds[1].append(spearman(of_step, of_last))
    curves = []
    for kind in (0, 1):
        apart = np.stack([_means(each[kind]) for each in own[1:]])
        curves.append(
            Curve(
                layer=_means(own[0][kind]),
                floor=np.array(floors[kind]),
                groups=apart,
                halves=np.stack([half.mean(axis=0) for half in np.array_split(apart, 2)]),
                maps=np.stack(own[0][kind]),
            )
        )
    return Answers(curves[0], curves[1], tuple(between), np.stack(strongest))


def _means(by_step: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over the maps that are defined, at each step: float64 [steps]."""
    return np.array([mean_of_known(values) for values in by_step])


def mean_of_others(between: np.ndarray) -> float:
    """The mean of [maps, maps] off its diagonal, over what is defined: how like a map's last self
    the other maps of its layer are. 0 where there is no other map.
    """
    others = between[~np.eye(len(between), dtype=bool)]
    others = others[~np.isnan(others)]
    return float(others.mean()) if len(others) else 0.0


@dataclass(frozen=True)
class Representation:
    """What a layer's maps are together, over the steps."""

    cka: np.ndarray
    """float64 [steps]."""
    procrustes: np.ndarray
    cka_excess: Curve
    """Over step 0; ``groups`` are of all images but a group's (a jackknife)."""
    procrustes_excess: np.ndarray


def representation_of(
    probe: Probe, steps: Sequence[int], layer: str, groups: list[np.ndarray]
) -> Representation:
    """Unbiased CKA and Procrustes of image maxima and spatial means side by side, each with that of
    the last step.
    """
    of_single = _Compared.at(probe, steps, layer, groups, np.float32)
    if of_single.clearness >= CLEAR:
        return of_single.representation()
    return _Compared.at(probe, steps, layer, groups, np.float64).representation()


@dataclass(frozen=True)
class _Compared:
    """Every step with the last."""

    similarities: np.ndarray
    """float64 [steps, samples]: CKA of each of ``_samples``."""
    aligned: np.ndarray
    """float64 [steps]: Procrustes of all images."""
    clearness: float
    """The least of all samples."""

    @staticmethod
    def at(
        probe: Probe, steps: Sequence[int], layer: str, groups: list[np.ndarray], dtype: Any
    ) -> _Compared:
        """``dtype``: of the products."""
        order, spans = grouped(groups)

        def responses(step: int) -> list[np.ndarray]:
            features = centred(_features(probe, step, layer, order, dtype))
            return [features[span] for span in spans]

        last = responses(steps[-1])
        whole, *others = _samples([own_and_cross(rows, rows)[0] for rows in last])
        of_last = [own_dependence(sums) for sums in (whole, *others)]
        clear = [_clearness((whole, *others), of_last)]
        similarities = [[_or_nan(cka_from(own, own, own)) for own in of_last]]
        aligned = [1.0 if whole.squares[0] else np.nan]  # with itself
        for step in steps[-2::-1]:
            pairs = [own_and_cross(x, y) for x, y in zip(responses(step), last, strict=True)]
            own, cross = (_samples(list(moments_of)) for moments_of in zip(*pairs, strict=True))
            of_step = [own_dependence(sums) for sums in own]
            clear.append(_clearness(own, of_step))
            similarities.append(
                [
                    _or_nan(cka_from(sums.dependence(), first, second))
                    for sums, first, second in zip(cross, of_step, of_last, strict=True)
                ]
            )
            aligned.append(_or_nan(procrustes_of(cross[0])))
        return _Compared(np.array(similarities[::-1]), np.array(aligned[::-1]), min(clear))

    def representation(self) -> Representation:
        """Of these numbers."""
        cka, *samples = self.similarities.T
        of_samples = np.stack([excess(curve, float(curve[0])) for curve in samples])
        nothing = np.zeros(len(cka))
        curve = Curve(excess(cka, float(cka[0])), nothing, of_samples[:-2], halves=of_samples[-2:])
        return Representation(
            cka, self.aligned, curve, excess(self.aligned, float(self.aligned[0]))
        )


def _clearness(samples: Sequence[Any], dependences: Sequence[float | None]) -> float:
    """The least of all; 0 where x is something, though it seems to tell no images apart."""
    clear = [
        clearness(sums, own) if own is not None else 0.0
        for sums, own in zip(samples, dependences, strict=True)
        if sums.images >= LEAST_OF_CKA and sums.squares[2] > 0
    ]
    return min(clear, default=math.inf)


def _samples(parts: Sequence[Moments]) -> list[Any]:
    """Of all images (``Moments``), of all but each group's, and of both halves."""
    middle = (len(parts) + 1) // 2
    halves = [_sum(parts[:middle]), _sum(parts[middle:])]
    whole = halves[0] + halves[1]
    return [whole, *(Without(whole, of_group) for of_group in parts), *halves]


def _features(probe: Probe, step: int, layer: str, order: np.ndarray, dtype: Any) -> np.ndarray:
    """Maxima and means side by side, of the images in that order: [images, 2 maps]. All over one
    power of two, so that no product leaves float32: neither similarity depends on it.
    """
    stored = [probe.stored(step, layer, kind) for kind in (MAXIMA, MEANS)]
    scales = np.concatenate([scale for _, scale in stored]).astype(dtype)
    scales /= 2.0 ** np.ceil(np.log2(scales.max(initial=0) or 1))
    features = np.concatenate([small[order] for small, _ in stored], axis=1, dtype=dtype)
    features *= scales
    return features


def _sum(parts: Sequence[Moments]) -> Moments:
    total = parts[0]
    for each in parts[1:]:
        total = total + each
    return total


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


@dataclass(frozen=True)
class Weights:
    """A layer's weights over the steps."""

    cosine: Curve
    """Of each map's weights with their last; no groups of images."""
    distance_left: np.ndarray
    """float64 [steps]: ||w(t) - w(T)|| / ||w(0) - w(T)||, of the whole layer; NaN where nothing
    moved."""


def weights_of(
    parameters: Sequence[Mapping[str, Any]], layer: str, network: Network | None = None
) -> Weights | None:
    """``parameters``: of every step. None where the network keeps no kernel of that name."""
    weights = [map_weights(tree, layer, network) for tree in parameters]
    if any(each is None for each in weights):
        return None
    known = [each for each in weights if each is not None]
    last = known[-1]
    cosines = [column_cosines(each, last) for each in known]
    own = [np.diagonal(each) for each in cosines]
    left = np.array([np.linalg.norm(each - last) for each in known])
    nothing = np.zeros((0, len(known)))
    curve = Curve(
        _means(own),
        np.array([mean_of_others(each) for each in cosines]),
        nothing,
        nothing,
        np.stack(own),
    )
    way = left / left[0] if left[0] > 0 else np.full(len(left), np.nan)
    return Weights(curve, way)
