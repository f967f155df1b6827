"""When each layer settles: how like its last self it is at every epoch, by four families of
evidence, and whether lower layers settle first.

Concept: the paper's sentence "lower layers converge within a few epochs, upper layers only after 40
to 50" rests on one figure of one run. Four families, one curve each for layer and epoch:
*responses* (overlap of the strongest 1% of a fixed probe's images; Spearman's rank correlation of
all image maxima; per map, then the layer's mean), *representation* (unbiased CKA and Procrustes of
image maxima and spatial means side by side, as excess over step 0), *weights* (cosine with the last
weights; distance left of the way travelled) and *rewind* (accuracy with the layer put back, from
that measure where the run has it). Floor: what the layer's other maps show at the same epoch;
ceiling: the last two epochs; spread: the two halves of the images apart. Settling time: the area
above the curve between floor and ceiling, in epochs; beside it the epochs from which it stays above
0.8, 0.9 and 0.95 of the way. A map's *emergence* is the first epoch from which on to the end it is
more like its last self than 99% of the layer's other maps are; how many would be so by chance is
printed. *Lower layers settle first* where responses, representation and rewind agree, each by its
slope of settling time on depth (``settled``, the column that others read, is the responses').
Source: Zeiler and Fergus 2014, section 4; Raghu et al. 2017; Kornblith et al. 2019; Nguyen et al.
2021; Zhang, Bengio and Singer 2022. Beside it, as ``pace``, the convergence rate of Chen, Yuille
and Zhou (ICLR 2023): the mean over the epochs of -log of the distance left, by weights alone.
Cost: the probe's maxima and means; each layer and epoch ranks the probe twice and takes products of
[maps, images].
What can mislead: "settled" is defined by the last epoch, which the sentence names: train longer and
all times change. A falling learning rate settles everything. Early layers are like themselves
before they learn: hence the excess over step 0, null where there is less than 0.05 to gain.
A layer that never needed to move (*ambient*: neither put back nor drawn anew does it cost more than
5 points of accuracy) has not settled first: it is named, and stands outside rewind's slope.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.measures.abreast import side_by_side
from zfjax.measures.layer_order import (
    FAMILIES,
    REPRESENTATION,
    RESPONSES,
    REWIND,
    WEIGHTS,
    tell_order,
)
from zfjax.measures.likeness import (
    Answers,
    Representation,
    answers_of,
    image_groups,
    representation_of,
    weights_of,
)
from zfjax.measures.protocol import Looked, Measure, Quantity
from zfjax.measures.rewind import WITHOUT
from zfjax.measures.settling_times import (
    NEAR,
    Settled,
    both_of,
    interval_of,
    never_needed,
    rewind_shares,
    settled_of,
    share_of,
)
from zfjax.measures.trends import (
    THRESHOLDS,
    emergence,
    identity_bar,
    settled_share,
    settling_time,
    slope_on_depth,
    threshold_epochs,
)
from zfjax.measures.verdicts import Interval
from zfjax.run.probe import MAXIMA, MEANS
from zfjax.run.settling_gaps import gap_name

JACKKNIFED = (REPRESENTATION, REWIND)
"""Families whose groups are of all images but a group's."""


@dataclass(frozen=True)
class SettlingOptions:
    """How the images are resampled."""

    groups: int = 10
    """Groups of images, from which come intervals and spread."""
    seed: int = 0
    """Of the groups."""

    def __post_init__(self) -> None:
        if self.groups < 2:
            raise ZfjaxError(f"--settling.groups {self.groups} must be 2 or more.")
        if self.seed < 0:
            raise ZfjaxError(f"--settling.seed {self.seed} must be 0 or more.")


@dataclass
class _Times:
    """Settling times by layer: of all images, and of each group of them."""

    whole: list[float]
    groups: list[np.ndarray]


def rows(looked: Looked, options: SettlingOptions) -> Iterator[Quantity]:
    """Curves, settling times, emergence; slopes over the layers."""
    probe = looked.probe
    assert probe is not None
    if len(probe.ids) < 2:
        raise ZfjaxError(
            f"The measure settling needs 2 images or more, and the probe has {len(probe.ids)}; give"
            " more with --images, or another --split."
        )
    groups = image_groups(len(probe.ids), options.groups, options.seed)
    parameters = [looked.subject.parameters(step) for step in looked.steps]
    times = {family: _Times([], []) for family in FAMILIES}

    def likeness_of(layer: str) -> tuple[Answers, Representation]:
        return (
            answers_of(probe, looked.steps, layer, groups),
            representation_of(probe, looked.steps, layer, groups),
        )

    likenesses = side_by_side(likeness_of, looked.layers)
    for index, (layer, (answers, representation)) in enumerate(
        zip(looked.layers, likenesses, strict=True)
    ):
        if looked.progress is not None:
            looked.progress("settling", index, len(looked.layers))
        of_families: dict[str, Settled] = {}
        yield from _of_answers(looked, layer, answers, len(probe.ids))
        of_families[RESPONSES] = both_of(settled_of(answers.overlap), settled_of(answers.spearman))
        for name, curve in (("cka", representation.cka), ("procrustes", representation.procrustes)):
            yield from _curve(looked, layer, name, curve, len(probe.ids))
        excesses = {
            "cka_excess": representation.cka_excess.layer,
            "procrustes_excess": representation.procrustes_excess,
        }
        for name, curve in excesses.items():
            yield from _curve(looked, layer, name, curve, len(probe.ids))
        of_families[REPRESENTATION] = settled_of(representation.cka_excess, jackknifed=True)
        yield from _time(looked, layer, "procrustes", share_of(representation.procrustes_excess))
        weights = weights_of(parameters, layer, looked.subject.network)
        if weights is not None:
            yield from _curve(looked, layer, "cosine", weights.cosine.layer)
            yield from _curve(looked, layer, "cosine_floor", weights.cosine.floor)
            yield from _maps(looked, layer, "cosine", weights.cosine.maps)
            yield from _curve(looked, layer, "distance_left", weights.distance_left)
            yield Quantity(
                looked.steps[-1],
                layer,
                "pace",
                _pace(looked, weights.distance_left),
                unit="1/epoch",
            )
            of_families[WEIGHTS] = settled_of(weights.cosine)
        rewound = _rewound(looked, layer)
        if rewound is not None:
            idle = _is_ambient(looked, layer, rewound)
            yield Quantity(looked.steps[-1], layer, "ambient", float(idle))
            without = _rewound_without_groups(looked, layer)
            of_families[REWIND] = rewind_shares(rewound, without, needed=not idle)
        for family in FAMILIES:
            settled = of_families.get(family)
            if settled is None:
                times[family].whole.append(float("nan"))
                times[family].groups.append(np.zeros(0))
                continue
            yield from _of_family(looked, layer, family, settled, times[family])
        yield Quantity(
            looked.steps[-1], layer, "settled", times[RESPONSES].whole[-1], unit="epochs"
        )
    for family, of_layers in times.items():
        yield from _slopes(looked, family, of_layers)
        yield from _gaps(looked, family, of_layers)


def _rewound(looked: Looked, layer: str) -> np.ndarray | None:
    """Accuracy with this layer put back to each step, from the measure rewind."""
    rewind = looked.earlier.get("rewind")
    if rewind is None:
        return None
    by_step = rewind.of_layer("top1", layer)
    return np.array([by_step.get(step, np.nan) for step in looked.steps])


def _is_ambient(looked: Looked, layer: str, rewound: np.ndarray) -> bool:
    """Whether the layer never needed to move, as far as rewind has drawn it anew, in a network that
    is better than chance.
    """
    rewind, last = looked.earlier["rewind"], looked.steps[-1]
    own, anew = (
        rewind.of_layer(name, of_layer).get(last, float("nan"))
        for name, of_layer in (("top1", None), ("top1_anew", layer))
    )
    classes = len(rewind.meta.get("class_names", ()))
    learnt = own > NEAR + (1 / classes if classes else 0)
    return learnt and never_needed(rewound, own, anew)


def _rewound_without_groups(looked: Looked, layer: str) -> list[np.ndarray]:
    """The same without each group of the images that accuracies are of."""
    rewind = looked.earlier["rewind"]
    curves: list[np.ndarray] = []
    while by_step := rewind.of_layer(f"{WITHOUT}{len(curves)}", layer):
        curves.append(np.array([by_step.get(step, np.nan) for step in looked.steps]))
    return curves


def _of_answers(looked: Looked, layer: str, answers: Answers, images: int) -> Iterator[Quantity]:
    """Curves of the maps' answers, emergence, jumps."""
    for name, curve in (("overlap", answers.overlap), ("spearman", answers.spearman)):
        yield from _curve(looked, layer, name, curve.layer, images)
        yield from _curve(looked, layer, f"{name}_floor", curve.floor, images)
        yield from _maps(looked, layer, name, curve.maps)
    own = answers.spearman.maps
    assert own is not None
    bars = [identity_bar(between) for between in answers.between]
    heights = np.array([height for height, _ in bars])
    emerged = emergence(own, heights, np.array(looked.epochs), bars[-2][1])
    last = looked.steps[-1]
    yield from _curve(looked, layer, "identity_bar", heights, images)
    yield Quantity(last, layer, "emergence", emerged.epoch, unit="epochs")
    yield Quantity(last, layer, "emerged", emerged.count, n=own.shape[1], unit="maps")
    yield Quantity(last, layer, "emerged_by_chance", emerged.by_chance, n=own.shape[1], unit="maps")
    shares = settled_share(own.T, answers.spearman.floor, own[-2][:, None])
    stays = threshold_epochs(shares, np.array(looked.epochs), (0.9,))[:, 0]
    yield Quantity(last, layer, "settled_epoch", stays, unit="epochs")
    for index, step in enumerate(looked.steps[1:], start=1):
        before, now = answers.strongest[index - 1], answers.strongest[index]
        alive = (before >= 0) & (now >= 0)
        rate = float((before != now)[alive].mean()) if alive.any() else None
        yield Quantity(step, layer, "jump_rate", rate, n=int(alive.sum()), unit="share")


def _curve(
    looked: Looked, layer: str, name: str, values: np.ndarray, n: int | None = None
) -> Iterator[Quantity]:
    for step, value in zip(looked.steps, values.tolist(), strict=True):
        yield Quantity(step, layer, name, value, n=n)


def _maps(looked: Looked, layer: str, name: str, values: np.ndarray | None) -> Iterator[Quantity]:
    for step, of_step in zip(looked.steps, values if values is not None else (), strict=True):
        yield Quantity(step, layer, name, of_step)


def _of_family(
    looked: Looked, layer: str, family: str, settled: Settled, times: _Times
) -> Iterator[Quantity]:
    """A family's curve with its spread, settling time and thresholds; ``times`` takes the time."""
    epochs = np.array(looked.epochs)
    for index, step in enumerate(looked.steps):
        low, high = _ends(settled.halves[:, index]) if len(settled.halves) else (None, None)
        yield Quantity(
            step, layer, f"{family}_share", settled.share[index], low, high, unit="share"
        )
    whole = float(settling_time(settled.share, epochs))
    of_groups = settling_time(settled.groups, epochs) if len(settled.groups) else np.zeros(0)
    times.whole.append(whole)
    times.groups.append(of_groups)
    interval = interval_of(whole, of_groups, settled.jackknifed, _images(looked, family))
    yield _with_interval(looked, layer, f"{family}_time", whole, interval)
    for threshold, epoch in zip(
        THRESHOLDS, threshold_epochs(settled.share, epochs).tolist(), strict=True
    ):
        yield Quantity(
            looked.steps[-1], layer, f"{family}_epoch_{threshold:g}", epoch, unit="epochs"
        )


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _time(looked: Looked, layer: str, name: str, share: np.ndarray) -> Iterator[Quantity]:
    value = float(settling_time(share, np.array(looked.epochs)))
    yield Quantity(looked.steps[-1], layer, f"{name}_time", value, unit="epochs")


def _with_interval(
    looked: Looked, layer: str | None, name: str, value: float, interval: Interval | None
) -> Quantity:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    unit = "epochs a layer" if layer is None else "epochs"
    n = None if interval is None else interval.n
    return Quantity(looked.steps[-1], layer, name, value, low, high, n, unit)


def _images(looked: Looked, family: str) -> int:
    """How many images a family's numbers are of."""
    if family == REWIND:
        return looked.earlier["rewind"].counts("top1")
    return len(looked.probe.ids) if looked.probe is not None else 0


def _slopes(looked: Looked, family: str, times: _Times) -> Iterator[Quantity]:
    """Of settling time on depth, of all layers and of those above the first, which alone may carry
    it, with their intervals over images.
    """
    for start, name in enumerate((f"{family}_slope", f"{family}_slope_above_first")):
        slope = float(slope_on_depth(np.array(times.whole[start:])))
        groups = times.groups[start:]
        if not groups or any(not len(each) for each in groups):
            interval = None  # weights see no images
        else:
            of_groups = slope_on_depth(np.stack(groups, axis=1))
            interval = interval_of(slope, of_groups, family in JACKKNIFED, _images(looked, family))
        yield _with_interval(looked, None, name, slope, interval)


def _gaps(looked: Looked, family: str, times: _Times) -> Iterator[Quantity]:
    """How much later a layer settles than each below it, the images resampled for both at once."""
    for lower, upper in combinations(range(len(looked.layers)), 2):
        both = times.groups[lower], times.groups[upper]
        if not all(map(len, both)):
            continue
        gap = times.whole[upper] - times.whole[lower]
        images = _images(looked, family)
        interval = interval_of(gap, both[1] - both[0], family in JACKKNIFED, images)
        name = gap_name(family, looked.layers[upper])
        yield _with_interval(looked, looked.layers[lower], name, gap, interval)


def _pace(looked: Looked, left: np.ndarray) -> float:
    """-log of the distance left an epoch, over the epochs before the last."""
    span = looked.epochs[-2] - looked.epochs[0]
    if span <= 0 or not left[-2] > 0:
        return float("nan")
    return float(-np.log(left[-2]) / span)


MEASURE = Measure(
    "settling",
    rows,
    tell_order,
    options=SettlingOptions(),
    probe=(MAXIMA, MEANS),
    reads=("rewind",),
    least_steps=3,
)
