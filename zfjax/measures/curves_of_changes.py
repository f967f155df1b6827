"""Numbers of the distances that changes of images make: curves, what they are like, intervals over
images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.measures.distances import Compared
from zfjax.measures.jackknife import Estimate, jackknifed, mean_of, means_without
from zfjax.measures.warping import KINDS, ROTATION, TRANSLATION, Change


@dataclass(frozen=True)
class Summary:
    """A number of a layer's curve, and the same without each image."""

    value: float
    without: np.ndarray


@dataclass(frozen=True)
class LayerCurves:
    """What changes do to one layer."""

    estimates: Mapping[str, Estimate]
    """By quantity."""
    summaries: Mapping[str, Summary]
    """Of the quantities that layers are compared by."""

    def gaps_to(self, last: LayerCurves) -> dict[str, Estimate]:
        """This, the first layer's, against the last one's, on the same images."""
        gaps = {}
        for kind in KINDS:
            for name, sign in ((f"small_{kind}", 1), (f"linearity_{kind}", -1)):
                if name in self.summaries:
                    own, other = self.summaries[name], last.summaries[name]
                    gaps[name.replace("_", "_gap_", 1)] = jackknifed(
                        sign * (own.value - other.value), sign * (own.without - other.without)
                    )
        return gaps


def of_layer(compared: Compared, layer: str, changes: Sequence[Change]) -> LayerCurves:
    """The curves of one layer, changes in the order of the columns."""
    distances, length = compared.l2[layer], compared.length[layer]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(length[:, None] > 0, distances / length[:, None], np.nan)
        pair, pair_without = _pair_mean(compared, layer)
        curve = distances.mean(axis=0) / pair
        curves_without = means_without(distances) / pair_without[:, None]
    estimates = {"pair_l2": jackknifed(pair, pair_without)}
    for column, change in enumerate(changes):
        estimates[f"l2_{change.name}"] = mean_of(distances[:, column])
        estimates[f"relative_{change.name}"] = mean_of(relative[:, column])
        estimates[f"cosine_{change.name}"] = mean_of(compared.cosine[layer][:, column])
        estimates[f"normalised_{change.name}"] = jackknifed(
            curve[column], curves_without[:, column]
        )
    summaries = {}
    for kind in KINDS:
        columns = np.array([index for index, c in enumerate(changes) if c.kind == kind])
        extents = np.array([changes[column].extent for column in columns])
        own, without = curve[columns], curves_without[:, columns]
        least = extents == extents[extents > 0].min()
        summaries[f"small_{kind}"] = Summary(own[least].mean(), without[:, least].mean(axis=1))
        moved = extents > 0
        summaries[f"mean_{kind}"] = Summary(own[moved].mean(), without[:, moved].mean(axis=1))
        if kind != ROTATION:  # which comes back to where it began
            summaries[f"linearity_{kind}"] = Summary(
                float(linearity(own, extents)), linearity(without, extents)
            )
    estimates |= {name: jackknifed(each.value, each.without) for name, each in summaries.items()}
    return LayerCurves(estimates, summaries)


def _pair_mean(compared: Compared, layer: str) -> tuple[float, np.ndarray]:
    """The mean distance of two images, and that of the pairs without each image."""
    values, images = compared.pair_l2[layer], len(compared.length[layer])
    touched = (compared.pairs[:, :, None] == np.arange(images)).any(axis=1)  # [pairs, images]
    kept = (~touched).sum(axis=0)
    sums = (values[:, None] * ~touched).sum(axis=0)
    return float(values.mean()), np.where(kept > 0, sums / np.maximum(kept, 1), np.nan)


def linearity(curves: np.ndarray, extents: np.ndarray) -> np.ndarray:
    """R2 of the best line through the unchanged image's point, of curves [..., changes] over
    ``extents`` [changes]: 1 minus the squares left by the line over those left by the mean; NaN for
    a curve that is flat.
    """
    slopes = (curves * extents).sum(axis=-1) / (extents**2).sum()
    left = ((curves - slopes[..., None] * extents) ** 2).sum(axis=-1)
    spread = ((curves - curves.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(spread > 0, 1 - left / spread, np.nan))


@dataclass(frozen=True)
class OutputCurves:
    """What changes do to the classes."""

    estimates: Mapping[str, Estimate]


def of_output(
    classes: np.ndarray | None, labels: np.ndarray | None, changes: Sequence[Change]
) -> OutputCurves:
    """``classes``: probabilities [images, 1 + changes, classes], the unchanged image's first; None
    without scores: nothing is said then. ``labels``: int [images], None where there are none.
    """
    estimates: dict[str, Estimate] = {}
    if classes is None:
        return OutputCurves(estimates)
    top = classes.argmax(axis=2)
    stays = np.where(np.isfinite(classes).all(axis=2), top == top[:, :1], np.nan)
    for column, change in enumerate(changes, start=1):
        estimates[f"same_class_{change.name}"] = mean_of(stays[:, column])
    count = classes.shape[2]
    known = None if labels is None else (labels != NO_LABEL) & (labels >= 0) & (labels < count)
    if labels is None or known is None or not known.any():
        return OutputCurves(estimates)
    truth = classes[np.flatnonzero(known), :, labels[known]]
    estimates["probability"] = mean_of(truth[:, 0])
    drops = {}
    for column, change in enumerate(changes, start=1):
        estimates[f"probability_{change.name}"] = mean_of(truth[:, column])
    for kind in KINDS:
        moved = [1 + i for i, c in enumerate(changes) if c.kind == kind and c.extent > 0]
        drops[kind] = truth[:, 0] - truth[:, moved].mean(axis=1)
        estimates[f"drop_{kind}"] = mean_of(drops[kind])
    estimates["rotation_gap"] = mean_of(drops[ROTATION] - drops[TRANSLATION])
    return OutputCurves(estimates)
