"""Maps of a comparison, matched: of every layer and epoch that the runs share, the first run's with
each other run's. No JAX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zfjax.measures.image_sums import column_means, moments
from zfjax.measures.matching import Answers, Matches, at_pairs, match_maps
from zfjax.measures.similarity import cka_of
from zfjax.progress import Progress
from zfjax.studies.sides import Side

LEAST_OF_HALF = 20
"""Images of each half, below which the halves are not looked at apart."""
HALVES_SEED = 0


@dataclass(frozen=True)
class Alike:
    """How alike a layer of two runs is: on all images, and on each half of them apart."""

    partner_share: tuple[float, ...]
    """Of the pairs that there can be, those that are partners."""
    correlation: tuple[float, ...]
    """Mean over the assigned pairs; NaN for none."""
    cka: tuple[float, ...]
    """Unbiased, of the whole layers' maxima; NaN where undefined."""


@dataclass(frozen=True)
class EpochPairs:
    """A layer of two runs at one epoch."""

    epoch: float
    matches: Matches
    alike: Alike
    of_last: np.ndarray
    """float64 [maps]: correlation with the map that is its partner at the last epoch; NaN for
    none."""
    dead: tuple[int, int]
    """Maps that no image of the comparison excites, in each of the two."""


@dataclass(frozen=True)
class LayerPairs:
    """A layer of the first run and of another over the epochs."""

    other: int
    """Which run of the comparison the other is."""
    layer: str
    maps: tuple[int, int]
    """How many each of the two has."""
    by_epoch: tuple[EpochPairs, ...]
    """Ascending."""
    from_start: bool
    """Whether the null is the networks before training; else it is siblings."""

    @property
    def last(self) -> EpochPairs:
        """At the last epoch shared."""
        return self.by_epoch[-1]


def pair_layers(
    sides: Sequence[Side], layers: Sequence[str], epochs: Sequence[float], progress: Progress
) -> Iterator[LayerPairs]:
    """Layer by layer, the first run with each other."""
    total = len(layers) * (len(sides) - 1)
    for index, layer in enumerate(layers):
        for other in range(1, len(sides)):
            progress("matching", index * (len(sides) - 1) + other - 1, total)
            yield _pair_layer((sides[0], sides[other]), other, layer, epochs)
    progress("matching", total, total)


def _pair_layer(
    pair: tuple[Side, Side], other: int, layer: str, epochs: Sequence[float]
) -> LayerPairs:
    """From the last epoch back: its pairs are followed through the others."""
    from_start = all(side.has(0.0, layer) for side in pair)
    starts = [side.keys(0.0, layer) for side in pair] if from_start else None
    count = len(pair[0].rows) if pair[0].rows is not None else 0
    groups = [np.arange(count), *_halves(count)]
    before = [
        None if starts is None else (Answers.of(starts[0][rows]), Answers.of(starts[1][rows]))
        for rows in groups
    ]
    done: list[EpochPairs] = []
    last = np.zeros(0, np.int64)
    for epoch in reversed(epochs):
        keys = [side.keys(epoch, layer) for side in pair]
        matches = [
            match_maps(Answers.of(keys[0][rows]), Answers.of(keys[1][rows]), start)
            for rows, start in zip(groups, before, strict=True)
        ]
        whole = matches[0]
        if not done:
            last = np.where(whole.are_partners, whole.partner, -1)
        done.append(
            EpochPairs(
                epoch,
                replace(whole, correlations=np.zeros((0, 0))),  # of every epoch, they are many
                _alike(matches, [side.maxima(epoch, layer) for side in pair], groups),
                at_pairs(whole.correlations, last),
                (_dead(pair[0], epoch, layer), _dead(pair[1], epoch, layer)),
            )
        )
    maps = pair[0].maps[layer], pair[1].maps[layer]
    return LayerPairs(other, layer, maps, tuple(reversed(done)), from_start)


def _dead(side: Side, epoch: float, layer: str) -> int:
    return int((~side.excites(epoch, layer)).sum())


def _halves(count: int) -> list[np.ndarray]:
    """Two seeded halves of the images as row numbers; [] where they would be too few."""
    if count < 2 * LEAST_OF_HALF:
        return []
    order = np.random.default_rng(HALVES_SEED).permutation(count)
    return [np.sort(order[: count // 2]), np.sort(order[count // 2 :])]


def _alike(
    matches: Sequence[Matches], maxima: Sequence[np.ndarray], groups: Sequence[np.ndarray]
) -> Alike:
    return Alike(
        tuple(
            each.are_partners.sum() / each.possible if each.possible else 0.0 for each in matches
        ),
        tuple(float(np.nanmean(each.own)) if each.possible else float("nan") for each in matches),
        _alignment(maxima[0], maxima[1], groups[1:]),
    )


def _alignment(x: np.ndarray, y: np.ndarray, halves: Sequence[np.ndarray]) -> tuple[float, ...]:
    """CKA on all images, then on each half, from the halves' moments."""
    centres = column_means(x), column_means(y)
    rows = halves or [np.arange(len(x))]
    pairs = ((x, y, centres), (x, x, (centres[0], centres[0])), (y, y, (centres[1], centres[1])))
    sums = [[moments(a[half], b[half], middle) for half in rows] for a, b, middle in pairs]
    whole = [each[0] + each[1] if len(each) == 2 else each[0] for each in sums]
    apart = [cka_of(sums[0][at], sums[1][at], sums[2][at]) for at in range(len(halves))]
    return tuple(float("nan") if value is None else value for value in (cka_of(*whole), *apart))
