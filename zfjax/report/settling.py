"""The section on settling: the sentence, the first and the last layer and how sure that is, curves
with the schedule under them, another run's answer beside it. No JAX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from zfjax.report.curves import training_charts
from zfjax.report.kit.charts import Chart, Line, ordered_lines, page_charts
from zfjax.report.kit.dots import Dot, DotRow, dot_chart, scale_of
from zfjax.report.kit.shell import Piece
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import epoch_name, number, plain
from zfjax.run.folder import Run
from zfjax.run.measured import Measured
from zfjax.run.settling_gaps import gap_by_bounds, gap_of

FAMILIES = ("responses", "representation", "weights", "rewind")
ONE_RUN = "holds when the images are drawn anew; another seed was not tried"
"""How far an order goes that one run alone shows."""
LONG, MOST_LETTERS = 1200, 12_000
"""Letters of a sentence: more would fill a telephone's screen; of one that is folded."""
NINE_TENTHS = "epoch_0.9"
"""How the quantity ends that says from when a layer stays at 90% of its way."""
WHAT = {
    "responses": "what the maps answer to the images",
    "representation": "what the layer as a whole tells apart",
    "weights": "the filters themselves",
    "rewind": "accuracy with the layer put back",
}


SHARES = (
    "Share of the way: how like its state at the last epoch a layer is, from what other maps (or"
    " epoch 0) show, 0%, to what the last two epochs show, 100%; for weights, the filters' likeness"
    " to the last epoch's. A layer whose filters start near where they end has most of its way"
    " behind it at epoch 0: its early time by weights is then the starting"
    " point's doing, not an early settling."
)
NOTE = (
    "Epochs a layer: how much later a layer settles than the one below it, by the slope through all"
    " of them, with its 95% interval. A layer's settling time is how long it stays away from what"
    " it is at the end, on average: the area above its curve, and not a date; when it passes 90% of"
    " its way stands beside it. Where that is late for all layers, it may be the schedule's doing."
)
CUT = (
    "An interval by Student's t that would reach below 0, or beyond all of the epochs, ends there:"
    " no layer's time can lie beyond. In the table of the measure it stands whole."
)
PACE = (
    "Emerged: maps that are themselves for good, from some epoch on to the end more like their last"
    " self than 99% of the layer's other maps are; by chance, how many would be. A map's answers"
    " are steady from when they stay at 90% of their way: a map is told from the others long before"
    " it has stopped changing, so that it emerges first. Where all maps have emerged, the median"
    " epoch says more than their number; none stands there where half of them have not. Pace:"
    " how fast the distance that a layer's weights have left shrinks, over all epochs; at 0.7 it"
    " halves in one."
)


@dataclass(frozen=True)
class Beyond:
    """Another run's answer."""

    named: str
    """Its network, and what it learnt."""
    settling: Measured


def settling_contents(
    run: object, settling: Measured, other: Beyond | None
) -> list[Piece | Markup | str]:
    """What the section holds."""
    contents: list[Piece | Markup | str] = [
        settling_said(settling),
        Markup('<p class="note">{}</p>').format(NOTE),
        *_answer(settling),
        _emerged(settling),
        Markup('<p class="note">{}</p>').format(PACE),
        Markup('<p class="note">{}</p>').format(SHARES),
        _charts(run, settling),
    ]
    if other is not None:
        contents += [
            Markup("<h3>Beside it: {}</h3>").format(plain(other.named, 240)),
            settling_said(other.settling),
            *_answer(other.settling),
        ]
    return contents


def settling_said(settling: Measured) -> Markup:
    """The measure's sentence. One that would fill a telephone's screen, of many layers, is said
    shortly: the answer, how many pairs of layers are in order, what settled means; the rest and
    each pair are folded below it.
    """
    words = plain(str(settling.meta.get("sentence", "")), MOST_LETTERS)
    pairs = (settling.meta.get("figures") or {}).get("pairs") or {}
    said = Markup('<p class="said">{}</p>')
    if not pairs and len(words) <= LONG:
        return said.format(words)
    answer, settled = words.partition(": ")[0], words.rpartition(". Settled means ")
    counts = [
        f"{plain(family)} {of['in_order']:,} of {of['in_order'] + sum(map(len, _lists(of))):,}"
        for family, of in pairs.items()
    ]
    short = f"{answer}."
    short += f" Pairs of layers with the lower one first: by {', by '.join(counts)}." * bool(counts)
    short += f" Settled means {settled[2]}" * bool(settled[0])
    listed = [
        f"By {plain(family)}, {plain(kind)}: {plain(', '.join(of[kind]), MOST_LETTERS)}."
        for family, of in pairs.items()
        for kind in of
        if isinstance(of[kind], list) and of[kind]
    ]
    return said.format(short) + _folded("All that was measured, with each pair", [words, *listed])


def _lists(of_family: Mapping[str, Any]) -> list[list[str]]:
    return [value for value in of_family.values() if isinstance(value, list)]


def _folded(title: str, paragraphs: Sequence[str]) -> Markup:
    inner = Markup("").join(Markup("<p>{}</p>").format(words) for words in paragraphs)
    return Markup('<details class="folded"><summary>{}</summary>{}</details>').format(title, inner)


def _answer(settling: Measured) -> list[Piece | Markup | str]:
    """In words which layer was first and how sure that is; then all as dots with intervals."""
    families = families_of(settling)
    if not families:
        return [Markup('<p class="note">No layer has a settling time: too little changed.</p>')]
    lines = [Markup("<li>{}</li>").format(_order(settling, name)) for name in families]
    rows = [
        DotRow(layer, [dot_of(settling, name, layer) for name in families])
        for layer in settling.layers
    ]
    scale = scale_of(dot for row in rows for dot in row.dots)
    heads = ("layer", "settling time, epochs (95% interval over the images)")
    listed = Markup('<ul class="orders">{}</ul>').format(Markup("\n").join(lines))
    cut = [Markup('<p class="note">{}</p>').format(CUT)] if is_cut(settling, families) else []
    return [listed, dot_chart(rows, scale, families, heads), *cut]


def _order(settling: Measured, family: str) -> str:
    """Which layer settles first by one family, which last, and whether their order is sure."""
    times = _times(settling, family)
    ranked = sorted(times, key=times.__getitem__)
    begin, first = f"By {family} ({WHAT[family]})", ranked[0]
    away = f"{number(times[first])} epochs on average (area above its curve)"
    if len(ranked) < 2:
        return f"{begin}: {first} is away from its end state for {away}, the only one known."
    second, last = ranked[1], ranked[-1]
    passes = settling.of_layer(f"{family}_{NINE_TENTHS}", first).get(settling.steps[-1], math.nan)
    moment = f"; it passes 90% for good at epoch {epoch_name(passes)}" * math.isfinite(passes)
    words = (
        f"{begin} {first} is first: it is away from its end state for {away}{moment}; then"
        f" {second}, {number(times[second])}"
    )
    if last != second:
        words += f"; {last} last, {number(times[last])}"
    return f"{words}. {_sure(settling, family, first, second)}"


def _sure(settling: Measured, family: str, first: str, second: str) -> str:
    """How sure the order of the first two is, by the interval of their difference."""
    lower, upper = sorted((first, second), key=settling.layers.index)
    paired = gap_of(settling, family, lower, upper)
    ends = paired or gap_by_bounds(settling, family, lower, upper)
    if ends is None:
        if family == "weights":
            return "How sure that is cannot be said: no images to draw anew."
        return "How sure that is cannot be said: no interval over its images is known."
    if ends[0] <= 0 <= ends[1]:
        return f"{lower} and {upper} are not told apart when the images are drawn anew."
    if paired is None:
        return f"The intervals of the first two lie apart: their order {ONE_RUN}."
    low, high = sorted(map(abs, ends))
    return (
        f"Between the first two lie {number(low)} to {number(high)} epochs (95% interval of the"
        f" difference): their order {ONE_RUN}."
    )


def _times(settling: Measured, family: str) -> dict[str, float]:
    """Settling time by layer, where it is known."""
    last = settling.steps[-1]
    times = {
        layer: settling.of_layer(f"{family}_time", layer).get(last, math.nan)
        for layer in settling.layers
    }
    return {layer: time for layer, time in times.items() if math.isfinite(time)}


def _interval(settling: Measured, family: str, layer: str) -> tuple[float, float]:
    """Within what a time can be, from 0 to all of the epochs: no true one is lost by that."""
    low, high = _measured_interval(settling, family, layer)
    return max(low, 0.0), min(high, settling.epochs[-1] - settling.epochs[0])


def _measured_interval(settling: Measured, family: str, layer: str) -> tuple[float, float]:
    bounds = settling.bounds(f"{family}_time", layer)
    return bounds.get(settling.steps[-1], (math.nan, math.nan))


def is_cut(settling: Measured, families: Sequence[str]) -> bool:
    """Whether any interval reached beyond what a time can be."""
    each = [(family, layer) for family in families for layer in settling.layers]
    ends = [(_measured_interval(settling, *of), _interval(settling, *of)) for of in each]
    return any(math.isfinite(sum(whole)) and whole != kept for whole, kept in ends)


def families_of(settling: Measured) -> list[str]:
    """Those by which any layer has a settling time."""
    return [name for name in FAMILIES if _times(settling, name)]


def dot_of(settling: Measured, family: str, layer: str) -> Dot:
    """A layer's settling time by a family, with its interval."""
    low, high = _interval(settling, family, layer)
    return Dot(_times(settling, family).get(layer), low, high, why="not known")


def _emerged(settling: Measured) -> Piece:
    """When a layer passes 90% of its way for good; when half of its maps are themselves for good,
    and how many are, beside how many would by chance.
    """
    last = settling.steps[-1]
    families = families_of(settling)
    rows = []
    for layer in settling.layers:
        names = (f"{family}_{NINE_TENTHS}" for family in families)
        epochs = settling.of_maps("emergence", layer).get(last, np.zeros(0))
        known = np.where(np.isnan(epochs), math.inf, epochs)  # who never does is later than all
        middle = float(np.median(known)) if len(known) else math.nan
        numbers = [
            *(settling.of_layer(name, layer).get(last, math.nan) for name in names),
            middle,
            *(
                settling.of_layer(name, layer).get(last, math.nan)
                for name in ("emerged", "emerged_by_chance", "pace")
            ),
        ]
        shown = [None if not math.isfinite(value) else number(value) for value in numbers]
        rows.append(Row(layer, (*shown[:-3], str(len(epochs)), *shown[-3:])))
    heads = (
        *("layer", *(f"{family}: 90% from epoch" for family in families)),
        *("median epoch of emergence", "maps", "emerged", "by chance", "pace, 1/epoch"),
    )
    columns = [Column(head, right=index > 0) for index, head in enumerate(heads)]
    return data_table(columns, rows)


def _charts(run: object, settling: Measured) -> Piece:
    """How far each layer is on its way, and the learning rate under it."""
    charts = [
        Chart(f"{name.capitalize()}: share of the way, %", _lines(settling, name), 100.0)
        for name in FAMILIES
        if _times(settling, name)
    ]
    if isinstance(run, Run) and run.metrics:
        rate = training_charts(run)[-1]
        end = settling.epochs[-1]
        words = plain(str(settling.meta.get("schedule") or ""), 60)
        title = f"The schedule under it: learning rate{f' {words}' if words else ''}"
        lines = tuple(
            Line(line.name, line.role, tuple(point for point in line.points if point[0] <= end))
            for line in rate.lines
        )
        charts.append(Chart(title, lines))
    return page_charts(charts, "settling")


def _lines(settling: Measured, family: str) -> tuple[Line, ...]:
    """The shares of the way in per cent, from 0 to 100."""
    shares = settling.curves(f"{family}_share")
    return ordered_lines(
        {
            layer: [(epoch, 100 * min(1.0, max(0.0, share))) for epoch, share in points]
            for layer, points in shares.items()
        }
    )
