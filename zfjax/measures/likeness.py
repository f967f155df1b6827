"""How like its last self a layer is at every step: by its maps' answers to the images of the probe,
by the representation that they are together, and by its weights. No JAX.

Each on all images, and on groups of them drawn once, from which come the spread of a curve and the
interval of what is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.measures.averages import mean_of_known
from zfjax.measures.image_sums import Moments, Without, column_means, moments, own_and_cross
from zfjax.measures.kernels import column_cosines, map_weights
from zfjax.measures.similarity import (
    cka_from,
    excess,
    overlap,
    overlap_between,
    own_dependence,
    procrustes_of,
    spearman,
    spearman_between,
    standard_ranks,
    top_set,
)
from zfjax.run.probe import MAXIMA, MEANS, Probe
from zfjax.subject import Network

LEAST_OF_GROUP = 20
"""Images, so that a rank correlation and a CKA of a group say something."""


def image_groups(images: int, groups: int, seed: int) -> list[np.ndarray]:
    """Seeded groups of about equally many images, as row numbers: fewer where images are few."""
    count = max(2, min(groups, images // LEAST_OF_GROUP))
    order = np.random.default_rng(seed).permutation(images)
    return [np.sort(rows) for rows in np.array_split(order, count)]


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
    last = probe.keys(steps[-1], layer)
    everyone = [np.arange(len(last)), *groups]
    tops_last = [top_set(last[rows]) for rows in everyone]
    ranks_last = [standard_ranks(last[rows]) for rows in everyone]
    # [whole and groups][kind][steps]
    own: list[list[list[np.ndarray]]] = [[[], []] for _ in everyone]
    floors: list[list[float]] = [[], []]
    between, strongest = [], []
    for step in steps:
        values = probe.keys(step, layer)
        alive = probe.excites(step, layer).any(axis=0)
        strongest.append(np.where(alive, values.argmax(axis=0), -1))
        for index, rows in enumerate(everyone):
            if step == steps[-1]:  # a copy: NumPy takes another way for a product with itself
                tops, ranks = tops_last[index], ranks_last[index].copy(order="K")
            else:
                tops, ranks = top_set(values[rows]), standard_ranks(values[rows])
            own[index][0].append(overlap(tops, tops_last[index]))
            own[index][1].append(spearman(ranks, ranks_last[index]))
            if index == 0:
                between.append(spearman_between(ranks, ranks_last[0]))
                floors[0].append(mean_of_others(overlap_between(tops, tops_last[0])))
                floors[1].append(mean_of_others(between[-1]))
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
    order = np.concatenate(groups)  # so that each group's rows lie together
    ends = np.cumsum([len(rows) for rows in groups]).tolist()
    spans = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    features = _features(probe, steps[-1], layer)[order]
    centre = column_means(features)
    last = [features[span] for span in spans]
    whole, *others = _samples([moments(rows, rows, (centre, centre)) for rows in last])
    of_last = [own_dependence(sums) for sums in (whole, *others)]
    similarities = [[_or_nan(cka_from(own, own, own)) for own in of_last]]
    aligned = [_or_nan(procrustes_of(whole))]
    for step in steps[-2::-1]:
        features = _features(probe, step, layer)[order]
        centres = column_means(features), centre
        pairs = [
            own_and_cross(features[span], y, centres) for span, y in zip(spans, last, strict=True)
        ]
        own, cross = (_samples(list(moments_of)) for moments_of in zip(*pairs, strict=True))
        similarities.append(
            [
                _or_nan(cka_from(sums.dependence(), own_dependence(of_step), of_end))
                for sums, of_step, of_end in zip(cross, own, of_last, strict=True)
            ]
        )
        aligned.append(_or_nan(procrustes_of(cross[0])))
    similarities.reverse()
    aligned.reverse()
    cka, *samples = np.array(similarities).T
    of_samples = np.stack([excess(curve, float(curve[0])) for curve in samples])
    curve = Curve(
        excess(cka, float(cka[0])), np.zeros(len(steps)), of_samples[:-2], of_samples[-2:]
    )
    similar = np.array(aligned)
    return Representation(cka, similar, curve, excess(similar, float(similar[0])))


def _samples(parts: Sequence[Moments]) -> list[Any]:
    """Of all images (``Moments``), of all but each group's, and of both halves."""
    middle = (len(parts) + 1) // 2
    halves = [_sum(parts[:middle]), _sum(parts[middle:])]
    whole = halves[0] + halves[1]
    return [whole, *(Without(whole, of_group) for of_group in parts), *halves]


def _features(probe: Probe, step: int, layer: str) -> np.ndarray:
    """Maxima and means side by side, each map's scaled by nothing: float32 [images, 2 maps]."""
    return np.concatenate([probe.values(step, layer, kind) for kind in (MAXIMA, MEANS)], axis=1)


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
