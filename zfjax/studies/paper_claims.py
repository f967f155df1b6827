"""What the paper says of stems and layers, beside what a grid's runs say of the same. No JAX.

Sources: section 4.1 and Fig. 6 for the first layer (no counts or spectra are printed there), Table
3 for layers gone and widths: single runs on ImageNet, so each published difference has no interval.
The claims are the same for every grid, whatever its runs show. A verdict is read from the interval
beside it alone: of accuracy the declared headline, of features Student's t over the seeds, widened
for all that the section says of features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from zfjax.errors import ZfjaxError
from zfjax.grids import GRIDS
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import plain
from zfjax.studies.cells import BASE, Wanted, cells_of
from zfjax.studies.claims import interval_words, level_words, points, shown_name
from zfjax.studies.costs import MARK, MARKED
from zfjax.studies.grid_view import CellView, GridView
from zfjax.studies.intervals import CANNOT_TELL, CONFIDENCE, Interval, over_values
from zfjax.studies.verdict_marks import DOES_NOT_HOLD, HOLDS, marked_verdict

LITTLE = 0.02
"""Of accuracy: the paper calls "little difference" what is up to 1.8 points in its Table 3."""
STEM, OLD_STEM = "stem-7-stride-2", "stem-11-stride-4"
OF_MAPS = {"dead_share": "dead", "aliased_share": "aliased"}
"""Shares of a layer's maps: they come in steps of one map."""
UNITS = {
    "top1": "top-1",
    "dead_share": "dead maps of {}",
    "aliased_share": "aliased maps of {}",
    "coverage": "coverage of {}",
}


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
    """"top1", or a share of the first layer, as in cells.parquet."""
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
        (OLD_STEM, "aliased_share", -1, f"{_NEW} leave fewer aliased maps than {_OLD}", _PICTURES),
        (OLD_STEM, "coverage", 1, f"{_NEW} cover frequencies more evenly than {_OLD}", _PICTURES),
        (
            *("stem-7-stride-4", "aliased_share", -1),
            "of filters of 7x7, those of stride 2 leave fewer aliased maps than those of stride 4",
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
    """That one of the two differs from the base in size too; or ""."""

    @property
    def verdict(self) -> str:
        """HOLDS, DOES_NOT_HOLD or CANNOT_TELL, from the interval alone."""
        if self.interval is None:
            return CANNOT_TELL
        low, high = float(self.interval.low), float(self.interval.high)
        if self.claim.sense == 0:
            if -LITTLE < low and high < LITTLE:
                return HOLDS
            return DOES_NOT_HOLD if low >= LITTLE or high <= -LITTLE else CANNOT_TELL
        low, high = sorted((self.claim.sense * low, self.claim.sense * high))
        return HOLDS if low > 0 else DOES_NOT_HOLD if high < 0 else CANNOT_TELL

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


def answers_of(view: GridView) -> tuple[Answer, ...]:
    """To each claim on networks that the grid has both; () where it has none. A cell is known by
    its config, whatever it is called.
    """
    variants = {name: _variants(view, name) for name in GRIDS}
    asked = [
        (claim, variants[claim.grid][claim.cell], variants[claim.grid][claim.against])
        for claim in CLAIMS
        if {claim.cell, claim.against} <= set(variants[claim.grid])
    ]
    features = max(1, sum(claim.quantity != "top1" for claim, _, _ in asked))
    answers = (
        _of_accuracy(claim, cell, other)
        if claim.quantity == "top1"
        else _of_features(claim, cell, other, features)
        for claim, cell, other in asked
    )
    return tuple(
        replace(answer, size=_size_words(cell, other))
        for answer, (_, cell, other) in zip(answers, asked, strict=True)
    )


def paper_table(view: GridView, answers: tuple[Answer, ...]) -> list[Piece | Markup]:
    """The claims as a table, a row each, and what such runs cannot show."""
    heads = ("the paper says", "its number", "these runs", "verdict")
    rows = [
        Row(
            answer.claim.words,
            [answer.claim.published, _said(answer), Piece(marked_verdict(answer.verdict))],
        )
        for answer in answers
    ]
    columns = [Column(head, words=index > 0) for index, head in enumerate(heads)]
    table = data_table(columns, rows)
    html = Markup('<div class="paper">{}</div>').format(table.html)
    notes = [Markup('<p class="note">{}</p>').format(note) for note in _notes(view, answers)]
    above = Markup('<p class="note">{}</p>').format(
        "The paper: M. D. Zeiler and R. Fergus, Visualizing and Understanding Convolutional"
        " Networks, 2013 (ECCV 2014). A difference here is that of the network named first minus"
        " the other, whichever is the base: signs may be the other way round than in What was"
        " found, where all are the cell's minus the base's."
    )
    return [above, join_pieces([table], html), *notes]


def _variants(view: GridView, grid: str) -> dict[str, CellView]:
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
    return Answer(claim, layer, sign * comparison.difference, interval, comparison.seed_count, why)


def _of_features(claim: PaperClaim, cell: CellView, other: CellView, count: int) -> Answer:
    """Of the first layers, over the seeds that both were measured with."""
    layer, pairs = cell.layers[0], []
    for seed in sorted(set(cell.measured) & set(other.measured)):
        pair = [
            item.measured[seed].get(f"{item.layers[0]}.{claim.quantity}") for item in (cell, other)
        ]
        if None not in pair:
            pairs.append(pair)
    if not pairs:
        return Answer(claim, layer, None, None, 0, "not measured in both")
    values = np.array(pairs, np.float64)
    maps = min(item.cell.config.model.conv(item.layers[0]).maps for item in (cell, other))
    step = 1 / maps if claim.quantity in OF_MAPS else 0.0
    differences = values[:, 0] - values[:, 1]
    interval = over_values(differences, 1 - (1 - CONFIDENCE) / count, step)
    why = "" if interval is not None else "one seed: no interval over other seeds"
    if interval is not None and claim.quantity in OF_MAPS and not values.any():
        why = f"no map is {OF_MAPS[claim.quantity]} in either"
    narrowest = over_values(np.zeros(len(pairs)), 1 - (1 - CONFIDENCE) / count, step)
    floor = 0.0 if narrowest is None else float(narrowest.half_width)
    return Answer(claim, layer, float(differences.mean()), interval, len(pairs), why, floor)


def _size_words(*cells: CellView) -> str:
    shares = {cell.name: float(cell.row["flops_of_base"]) for cell in cells}
    return ", ".join(
        f"{MARK} {shown_name(name)} has {share:.2f} times the base's FLOPs"
        for name, share in shares.items()
        if abs(share - 1) > MARKED
    )


def _said(answer: Answer) -> str:
    if answer.difference is None:
        return f"{answer.why}."
    unit = UNITS[answer.claim.quantity].format(answer.layer)
    words = f"{points(answer.difference)} points of {unit}"
    if answer.interval is not None:
        interval = f"{level_words(answer.interval)} interval {interval_words(answer.interval)}"
        words += f", {interval}, n = {answer.seeds} seeds"
        if answer.floor and float(answer.interval.half_width) <= answer.floor:
            words += " (the floor: the seeds agree)"
    return "; ".join(filter(None, (words, answer.why, answer.beyond, answer.size))) + "."


def _notes(view: GridView, answers: tuple[Answer, ...]) -> Iterator[str]:
    base = view.plan.base
    said = {answer.claim.grid for answer in answers}
    side = min(base.model.input_size)
    yield (
        "A claim holds where the whole interval is on its side of zero, does not hold where all of"
        " it is on the other, else nobody can tell. Of accuracy it is the declared interval over"
        " other seeds and other images; of features Student's t over other seeds on these images,"
        f" 95% over all rows of features together.{_floor_words(answers)}"
    )
    little = f" Little difference is less than {100 * LITTLE:g} points either way."
    yield (
        "The paper's are single runs on ImageNet at 224 pixels, without intervals; where it gives"
        f" pictures, no number of ours can be that of its claim. These are runs on"
        f" {plain(base.data.name)} at {side} pixels, {base.epochs} epochs, recipe {base.recipe}:"
        f" what holds here is not shown for ImageNet.{little if 'layers' in said else ''}"
    )
    if view.plan.tuning is None:
        yield "The handicap of one learning rate for all cells (What was found) is in these too."


def _floor_words(answers: tuple[Answer, ...]) -> str:
    """How narrow an interval of shares of maps can be at all; "" where there is none of them."""
    floors = sorted({points(item.floor, signed=False) for item in answers if item.floor})
    if not floors:
        return ""
    return (
        " Shares of maps come in steps of one map: where the seeds differ by less than that, what"
        " rounding to a step alone would spread them stands for their spread, so that no such"
        f" interval is narrower than ±{' or ±'.join(floors)} points."
    )
