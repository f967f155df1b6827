"""What the paper says of stems and layers, beside what a grid's runs say of the same. No JAX.

Sources: section 4.1 and Fig. 6 for the first layer (no counts or spectra are printed there), Table
3 for layers gone and widths: single runs on ImageNet, so each published difference has no interval.
The claims are the same for every grid, whatever its runs show. A verdict is read from the interval
beside it alone: of accuracy the declared headline, of features Student's t over the seeds, widened
for all that the section says of features, and the same of what training added to a difference that
the untrained networks have too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.grids import GRIDS
from zfjax.studies.cells import BASE, Wanted, cells_of
from zfjax.studies.costs import MARK, MARKED
from zfjax.studies.grid_view import CellView, GridView
from zfjax.studies.intervals import CANNOT_TELL, CONFIDENCE, Interval, over_values
from zfjax.studies.verdict_marks import BEFORE, DOES_NOT_HOLD, HOLDS, NARROWED, NOTHING

LITTLE = 0.02
"""Of accuracy: the paper calls "little difference" what is up to 1.8 points in its Table 3."""
STEM, OLD_STEM = "stem-7-stride-2", "stem-11-stride-4"
TOP1 = "top1"
OF_MAPS = {"dead_share": "dead", "aliased_share": "aliased"}
"""Shares of a layer's maps: they come in steps of one map."""
BESIDE = {"aliasing": "aliased_share", "coverage": "mid"}
"""{quantity of a claim: another that is told beside it, without a verdict}. The paper misses middle
frequencies, which coverage does not tell from any others.
"""


PUBLISHED = {
    (STEM, "top1"): (0.021,),
    ("without-fc7", "top1"): (0.005,),
    ("without-fc6-fc7", "top1"): (-0.043,),
    ("without-conv3-conv4", "top1"): (-0.049,),
    ("without-conv3-conv4-fc6-fc7", "top1"): (-0.308,),
    ("fc6-fc7-half", "top1"): (-0.012, -0.018),
    ("fc6-fc7-twice", "top1"): (0.005, -0.004),
    ("conv3-conv5-twice", "top1"): (0.009,),
}
"""The paper's differences by (cell, quantity), shares: what ``published`` prints."""


@dataclass(frozen=True)
class PaperClaim:
    """One statement on two networks of a ready grid."""

    grid: str
    cell: str
    """A variant's name, or BASE; as ``against``."""
    against: str
    quantity: str
    """TOP1, or a share of the first layer, as in cells.parquet."""
    sense: int
    """1: ``cell`` has more of it, -1: less, 0: accuracies differ by less than LITTLE."""
    words: str
    published: str
    """The paper's numbers, as printed."""

    @property
    def sizes(self) -> tuple[float, ...]:
        """The published differences, shares; () where the paper gives pictures."""
        return PUBLISHED.get((self.cell, self.quantity), ())


_NEW = "7x7 filters of stride 2"
_OLD = "11x11 of stride 4"
_PICTURES = "pictures only"
CLAIMS = tuple(
    PaperClaim("stems", STEM, against, quantity, sense, words, published)
    for against, quantity, sense, words, published in (
        (
            OLD_STEM,
            "top1",
            1,
            f"{_NEW} classify better than {_OLD}",
            "+2.1 points (whole networks)",
        ),
        (OLD_STEM, "dead_share", -1, f"{_NEW} leave fewer dead maps than {_OLD}", _PICTURES),
        (OLD_STEM, "aliasing", -1, f"{_NEW} leave less aliasing than {_OLD}", _PICTURES),
        (OLD_STEM, "coverage", 1, f"{_NEW} cover frequencies more evenly than {_OLD}", _PICTURES),
        (
            *("stem-7-stride-4", "aliasing", -1),
            "of filters of 7x7, those of stride 2 leave less aliasing than those of stride 4",
            _PICTURES,
        ),
        (
            *("stem-11-stride-2", "coverage", 1),
            "of filters of stride 2, those of 7x7 cover frequencies more evenly than those of"
            " 11x11",
            _PICTURES,
        ),
    )
) + tuple(
    PaperClaim("layers", cell, BASE, "top1", sense, words, published)
    for cell, sense, words, published in (
        ("without-fc7", 1, "without layer 7 it is a little better", "+0.5 points"),
        ("without-fc6-fc7", -1, "without layers 6 and 7 it is slightly worse", "−4.3 points"),
        ("without-conv3-conv4", -1, "without layers 3 and 4 it is worse", "−4.9 points"),
        (
            "without-conv3-conv4-fc6-fc7",
            *(-1, "without layers 3, 4, 6 and 7 it is dramatically worse", "−30.8 points"),
        ),
        (
            *("fc6-fc7-half", 0, "layers 6 and 7 half as wide make little difference"),
            "−1.2 and −1.8 points (two networks)",
        ),
        (
            *("fc6-fc7-twice", 0, "layers 6 and 7 twice as wide make little difference"),
            "+0.5 and −0.4 points (two networks)",
        ),
        (
            *("conv3-conv5-twice", 1),
            "wider layers 3 to 5 are a useful gain (in the paper 512, 1024 and 512 maps for 384,"
            " 384 and 256; here each twice as wide)",
            "+0.9 points",
        ),
    )
)
"""The same for every grid."""


@dataclass(frozen=True)
class Answer:
    """What the runs say to one claim."""

    claim: PaperClaim
    layer: str
    difference: float | None
    """``cell`` minus ``against``, shares."""
    interval: Interval | None
    seeds: int
    why: str = ""
    """Why there is no interval, or what it cannot show."""
    floor: float = 0.0
    """Shares: half the width of the narrowest interval that there can be of such numbers."""
    size: str = ""
    """That one of the two differs from the base in compute too; or ""."""
    by_seed: tuple[float, ...] = ()
    """The difference of each seed's pair."""
    untrained: float | None = None
    """The same difference before training; None where that was not measured, and of accuracies."""
    change: Interval | None = None
    """Around what training added to it, paired by seed; None likewise."""
    beside: float | None = None
    """The difference of the quantity that BESIDE names."""
    levels: tuple[float, float] | None = None
    """Of ``cell`` and ``against``, the means over the seeds; None of accuracies."""
    empty: bool = False
    """Whether nothing of the kind is in either network."""

    @property
    def verdict(self) -> str:
        """HOLDS, DOES_NOT_HOLD, one of BUILT_IN, NOTHING or CANNOT_TELL, from the intervals alone.

        A difference of features that lies on one side of zero is training's where what training
        added to it lies there too. Where that is not shown and the untrained networks differ that
        way already it is NARROWED if training's part lies on the other side, or else BEFORE.
        """
        if self.empty:
            return NOTHING
        verdict, sense = _side(self.interval, self.claim.sense), self.claim.sense
        if verdict == CANNOT_TELL or self.change is None or self.untrained is None:
            return verdict
        trained = _side(self.change, sense)
        if trained == verdict:
            return verdict
        side = sense if verdict == HOLDS else -sense
        if side * self.untrained <= 0:
            return CANNOT_TELL
        return (BEFORE if trained == CANNOT_TELL else NARROWED)[side]

    @property
    def declared(self) -> bool:
        """Whether it repeats a comparison that was declared with the grid."""
        return self.claim.quantity == TOP1

    @property
    def beyond(self) -> str:
        """Where nobody can tell: the published differences that the interval leaves out; or ""."""
        if self.interval is None or self.verdict != CANNOT_TELL:
            return ""
        low, high = float(self.interval.low), float(self.interval.high)
        outside = [size for size in self.claim.sizes if not low <= size <= high]
        sized = " and ".join(
            f"a {'gain' if size > 0 else 'loss'} of the paper's size, {100 * abs(size):.1f} points,"
            for size in outside
        )
        verb = "lies" if len(outside) == 1 else "lie"
        words = f"{sized} {verb} outside this interval, on these images and with this recipe"
        return words if outside else ""


def _side(interval: Interval | None, sense: int) -> str:
    """HOLDS, DOES_NOT_HOLD or CANNOT_TELL of a claim of that sense."""
    if interval is None:
        return CANNOT_TELL
    low, high = float(interval.low), float(interval.high)
    if sense == 0:
        if -LITTLE < low and high < LITTLE:
            return HOLDS
        return DOES_NOT_HOLD if low >= LITTLE or high <= -LITTLE else CANNOT_TELL
    low, high = sorted((sense * low, sense * high))
    return HOLDS if low > 0 else DOES_NOT_HOLD if high < 0 else CANNOT_TELL


def answers_of(view: GridView) -> tuple[Answer, ...]:
    """To each claim on networks that the grid has both; () where it has none. A cell is known by
    its config, whatever it is called.
    """
    variants = {name: ready_cells(view, name) for name in GRIDS}
    asked = [
        (claim, variants[claim.grid][claim.cell], variants[claim.grid][claim.against])
        for claim in CLAIMS
        if {claim.cell, claim.against} <= set(variants[claim.grid])
    ]
    features = max(1, sum(claim.quantity != TOP1 for claim, _, _ in asked))
    answers = (
        _of_accuracy(claim, cell, other)
        if claim.quantity == TOP1
        else _of_features(claim, cell, other, features)
        for claim, cell, other in asked
    )
    return tuple(
        replace(answer, size=_size_words(cell, other))
        for answer, (_, cell, other) in zip(answers, asked, strict=True)
    )


def ready_cells(view: GridView, grid: str) -> dict[str, CellView]:
    """The cells that a ready grid has too, by its names; the base is BASE."""
    known = {BASE: view.cells[0]}
    for variant in GRIDS[grid]:
        try:
            config = variant.apply(view.plan.base)
            alike = cells_of(view.plan.base, Wanted(configs=((variant.name, config),)))[-1]
        except ZfjaxError:  # a base that has no such layers
            continue
        own = next((cell for cell in view.cells if cell.cell.config == alike.config), None)
        if own is not None:
            known[variant.name] = own
    return known


def _of_accuracy(claim: PaperClaim, cell: CellView, other: CellView) -> Answer:
    """Of the declared comparison with the base, turned round where the base is ``cell``."""
    layer = cell.layers[0]
    if BASE not in (cell.name, other.name):
        return Answer(claim, layer, None, None, 0, "compared with each other were neither")
    turned = cell.name == BASE
    comparison = (other if turned else cell).comparison
    if comparison is None:
        return Answer(claim, layer, None, None, 0, "no seed that both have finished")
    sign, both = -1 if turned else 1, comparison.both
    interval = None if both is None else replace(both, center=sign * both.center)
    why = "one seed: no interval over other seeds" if both is None else ""
    by_seed = tuple(sign * value for value in comparison.by_seed)
    return Answer(
        *(claim, layer, sign * comparison.difference, interval, comparison.seed_count, why),
        by_seed=by_seed,
    )


def _of_features(claim: PaperClaim, cell: CellView, other: CellView, count: int) -> Answer:
    """Of the first layers, over the seeds that both were measured with."""
    layer, quantity = cell.layers[0], claim.quantity
    pairs = _pairs(cell, other, quantity)
    if not len(pairs):
        return Answer(claim, layer, None, None, 0, "not measured in both")
    maps = min(item.cell.config.model.conv(item.layers[0]).maps for item in (cell, other))
    step = 1 / maps if quantity in OF_MAPS else 0.0
    level = 1 - (1 - CONFIDENCE) / count
    trained, before = pairs[:, 0], pairs[:, 1]
    interval = over_values(trained[:, 0] - trained[:, 1], level, step)
    narrowest = over_values(np.zeros(len(pairs)), level, step)
    answer = Answer(
        *(claim, layer, float((trained[:, 0] - trained[:, 1]).mean()), interval, len(pairs)),
        why="" if interval is not None else "one seed: no interval over other seeds",
        floor=0.0 if narrowest is None else float(narrowest.half_width),
        by_seed=tuple((trained[:, 0] - trained[:, 1]).tolist()),
        beside=_beside(cell, other, quantity),
        levels=(float(trained[:, 0].mean()), float(trained[:, 1].mean())),
    )
    if quantity in OF_MAPS and not trained.any() and interval is not None:
        return replace(answer, why=f"no map is {OF_MAPS[quantity]} in either", empty=True)
    if np.isnan(before).any():
        return answer
    added = trained[:, 0] - trained[:, 1] - (before[:, 0] - before[:, 1])
    added = np.round(added, 12)  # what is left of rounding is not training's
    untrained = float((before[:, 0] - before[:, 1]).mean())
    return replace(answer, untrained=untrained, change=over_values(added, level, step, terms=2))


def _pairs(cell: CellView, other: CellView, quantity: str) -> np.ndarray:
    """float64 [seeds, trained and untrained, both cells], of the seeds whose trained networks both
    have it; NaN where it was not measured before training.
    """
    pairs = [
        [
            [values.get(f"{item.layers[0]}.{quantity}") for item, values in sides]
            for sides in (
                ((cell, cell.measured[seed]), (other, other.measured[seed])),
                ((cell, cell.untrained[seed]), (other, other.untrained[seed])),
            )
        ]
        for seed in sorted(set(cell.measured) & set(other.measured))
    ]
    values = np.array(pairs, np.float64).reshape(-1, 2, 2)  # None becomes NaN
    return values[~np.isnan(values[:, 0]).any(axis=1)]


def _beside(cell: CellView, other: CellView, quantity: str) -> float | None:
    """The mean difference of what BESIDE has for ``quantity``."""
    pairs = _pairs(cell, other, BESIDE[quantity]) if quantity in BESIDE else np.zeros((0, 2, 2))
    return float((pairs[:, 0, 0] - pairs[:, 0, 1]).mean()) if len(pairs) else None


def _size_words(*cells: CellView) -> str:
    shares = {cell.label: float(cell.row["flops_of_base"]) for cell in cells}
    return ", ".join(
        f"{MARK} {name} has {share:.2f} times the base's FLOPs"
        for name, share in shares.items()
        if abs(share - 1) > MARKED
    )
