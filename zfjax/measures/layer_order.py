"""Do lower layers settle first? The order of layers by each family of evidence, and the verdict.

The rule: responses, representation and rewind must agree, each by the slope of settling time on
depth. For one run its interval is over images, and says something of this run only; with runs of
other seeds it is Student's t over the seeds. Kendall's tau-b stands beside it with its exact
one-sided p: with five layers a perfect order has p 0.008, one swap 0.042.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zfjax.measures.layer_pairs import (
    KINDS_OF_PAIRS,
    first_words,
    holds_throughout,
    last_words,
    listed_pairs,
    pair_orders,
    pairs_words,
)
from zfjax.measures.protocol import Told, plain_table, shown
from zfjax.measures.settling_times import NEAR
from zfjax.measures.trends import slope_on_depth
from zfjax.measures.verdicts import (
    FAILS,
    HOLDS,
    UNKNOWN,
    Interval,
    Verdict,
    interval_of_seeds,
    joint_verdict,
    order_of_layers,
    verdict,
)
from zfjax.report.kit.charts import Chart, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import epoch_name, rough_count
from zfjax.run.measured import Measured
from zfjax.run.settling_gaps import time_of

RESPONSES, REPRESENTATION, WEIGHTS, REWIND = "responses", "representation", "weights", "rewind"
FAMILIES = (RESPONSES, REPRESENTATION, WEIGHTS, REWIND)
DECIDING = (RESPONSES, REPRESENTATION, REWIND)
SLOPES = {HOLDS: "a slope above 0", FAILS: "a slope below 0", UNKNOWN: "a slope of unsure sign"}
"""A family's verdict in the sentence: it is about the slope, not about each pair of layers."""


def tell_order(measured: Measured, others: Sequence[Measured], options: object) -> Told:
    """The table, the sentence and the verdict; curves of the families as chart."""
    runs = (measured, *others)
    slopes = {family: slope_interval(family, runs) for family in FAMILIES}
    verdicts = {family: verdict(slopes[family]) for family in DECIDING}
    joint = joint_verdict(verdicts)
    last = measured.steps[-1]
    head = ["layer", *(f"{family}, epochs" for family in FAMILIES), "emerged", "by chance", "pace"]
    table = []
    for layer in measured.layers:
        numbers = [
            shown(measured.of_layer(f"{family}_time", layer).get(last)) for family in FAMILIES
        ]
        emerged = shown(measured.of_layer("emerged", layer).get(last), "{:.0f}")
        chance = shown(measured.of_layer("emerged_by_chance", layer).get(last), "{:.1f}")
        maps = len(measured.of_maps("emergence", layer).get(last, ()))
        pace = shown(measured.of_layer("pace", layer).get(last))
        table.append([layer, *numbers, f"{emerged} of {maps}", chance, pace])
    orders = {family: order_of_layers(_times(measured, family)) for family in FAMILIES}
    steep = [_slope_words(slopes[each]) for each in FAMILIES]
    if slopes[WEIGHTS] is None:  # they see no images, so that one run has no interval
        steep[FAMILIES.index(WEIGHTS)] = shown(
            measured.of_layer(f"{WEIGHTS}_slope", None).get(last), "{:+.2f}"
        )
    table.append(["slope a layer", *steep, "", "", ""])
    above = [_slope_words(slope_interval(each, runs, above_first=True)) for each in FAMILIES]
    if above[FAMILIES.index(WEIGHTS)] == "-" and len(runs) == 1:
        alone = measured.of_layer(f"{WEIGHTS}_slope_above_first", None).get(last)
        above[FAMILIES.index(WEIGHTS)] = shown(alone, "{:+.2f}")
    table.append([f"slope without {measured.layers[0]}", *above, "", "", ""])
    table.append(["tau-b (exact p)", *(_tau_words(orders[each]) for each in FAMILIES), "", "", ""])
    table.append(["verdict", *(_word(verdicts, each) for each in FAMILIES), "", "", ""])
    figures = {
        "verdict": joint.word,
        "needed": joint.needed,
        "over": "seeds" if others else "images",
        "runs": len(runs),
        "ambient": sorted({layer for run in runs for layer in ambient_layers(run)}),
        "families": {family: _figures(slopes[family], orders[family]) for family in FAMILIES},
    }
    listed = listed_pairs({family: pair_orders(family, runs) for family in DECIDING})
    if listed:
        figures["pairs"] = listed
    lines = [
        f"{family}, {said}: {', '.join(kinds[said])}"
        for family, kinds in listed.items()
        for said in KINDS_OF_PAIRS
        if kinds[said]
    ]
    return Told(
        _sentence(measured, runs, slopes, (verdicts, joint)),
        (*plain_table(head, table), *([""] if lines else []), *lines),
        _chart(measured),
        figures,
    )


def _times(measured: Measured, family: str) -> list[float]:
    """Settling times of the layers, from the image up; NaN where undefined."""
    return [time_of(measured, family, layer) for layer in measured.layers]


def slope_interval(
    family: str, runs: Sequence[Measured], *, above_first: bool = False
) -> Interval | None:
    """The slope of settling time on depth with its interval: over the images of one run, over the
    seeds of several; None where it is undefined. ``above_first``: of all layers but the first.
    """
    if len(runs) > 1:
        times = np.array([_times(run, family)[int(above_first) :] for run in runs])
        return interval_of_seeds(slope_on_depth(times).tolist())
    [run] = runs
    last, name = run.steps[-1], f"{family}_slope{'_above_first' if above_first else ''}"
    value = run.of_layer(name, None).get(last, math.nan)
    low, high = run.bounds(name, None).get(last, (math.nan, math.nan))
    if math.isnan(value) or math.isnan(low):
        return None
    images = run.counts(name)
    groups = int(run.meta["asked"]["options"].get("groups", 10))
    return Interval(value, low, high, images, "images", max(1, groups - 1))


def _slope_words(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def _tau_words(order: tuple[float, float] | None) -> str:
    return "-" if order is None else f"{order[0]:+.2f} ({order[1]:.3f})"


def _word(verdicts: dict[str, Verdict], family: str) -> str:
    return verdicts[family].word if family in verdicts else "beside it"


def _figures(interval: Interval | None, order: tuple[float, float] | None) -> dict[str, Any]:
    record: dict[str, Any] = {"slope": None, "low": None, "high": None, "tau_b": None, "p": None}
    if interval is not None:
        record.update(slope=interval.value, low=interval.low, high=interval.high, n=interval.n)
    if order is not None:
        record.update(tau_b=order[0], p=order[1])
    return record


def _sentence(
    measured: Measured,
    runs: Sequence[Measured],
    slopes: dict[str, Interval | None],
    judged: tuple[dict[str, Verdict], Verdict],
) -> str:
    verdicts, joint = judged
    last = epoch_name(measured.epochs[-1])
    over = (
        f"over {len(runs)} seeds"
        if len(runs) > 1
        else f"of this run only, one seed, {measured.meta.get('images', 0):,} images resampled"
    )
    above = {family: slope_interval(family, runs, above_first=True) for family in DECIDING}
    pairs = {family: pair_orders(family, runs) for family in DECIDING}
    answer = {HOLDS: "yes", UNKNOWN: "cannot tell"}.get(joint.word, "no")
    if joint.word == HOLDS and not holds_throughout(list(above.values()), list(pairs.values())):
        answer = "in part"
    if joint.needed:
        lacking = next(family for family in DECIDING if verdicts[family] == joint)
        answer += f" ({lacking} would need about {rough_count(joint.needed)} {joint.over})"
    said = "; ".join(
        f"{family} {_slope_words(slopes[family])} epochs a layer"
        f" ({SLOPES[verdicts[family].word]}{pairs_words(pairs[family])})"
        if slopes[family] is not None
        else f"{family} {_missing(measured, family)}"
        for family in DECIDING
    )
    said += f"; {_weights_words(runs, slopes[WEIGHTS])}"
    first = first_words(FAMILIES, runs)
    said += f". First: {first}" if first else ""
    if listed_pairs(pairs):
        said += f". Last: {last_words(FAMILIES, runs)}"
    said += _above_words(measured.layers[0], above)
    schedule = measured.meta.get("schedule")
    rate = f" (learning rate {schedule})" if schedule else ""
    return (
        f"Do lower layers settle first? {answer[0].upper()}{answer[1:]}, {over}: {said}. Settled"
        f" means like epoch {last}, the last one{rate}.{_ambient_words(runs)}"
    )


def _above_words(first: str, above: dict[str, Interval | None]) -> str:
    """The slopes without the first layer, which may carry that of all; "" where none is known."""
    known = [
        f"{family} {_slope_words(interval)} ({SLOPES[verdict(interval).word]})"
        for family, interval in above.items()
        if interval is not None
    ]
    return f". Without {first}: {'; '.join(known)}" if known else ""


def _weights_words(runs: Sequence[Measured], slope: Interval | None) -> str:
    """What the family says that the verdict does not ask, and which way it goes."""
    value = slope.value if slope is not None else math.nan
    if len(runs) == 1:  # they see no images, so that one run has no interval
        value = runs[0].of_layer(f"{WEIGHTS}_slope", None).get(runs[0].steps[-1], math.nan)
    if not math.isfinite(value):
        return "weights, not asked for the verdict: undefined"
    number = _slope_words(slope) if slope is not None else f"{value:+.2f}"
    way = "go the other way" if value < 0 else "go the same way" if value > 0 else "show no order"
    return f"weights, not asked for the verdict, {way}: {number} epochs a layer" + (
        " (no interval: they see no images)" if slope is None else ""
    )


def _ambient_words(runs: Sequence[Measured]) -> str:
    """The layers that never needed to move; "" where there is none."""
    counts = {layer: sum(layer in ambient_layers(run) for run in runs) for layer in runs[0].layers}
    names = [
        layer if count == len(runs) else f"{layer} (in {count} of {len(runs)} runs)"
        for layer, count in counts.items()
        if count
    ]
    if not names:
        return ""
    joined = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    it, costs, stands = ("it", "costs", "stands") if len(names) == 1 else ("they", "cost", "stand")
    return (
        f" {joined} never needed to move: put back or drawn anew, {it} {costs} at most"
        f" {NEAR:.0%} of accuracy, so {it} {stands} outside rewind's slope."
    )


def ambient_layers(measured: Measured) -> list[str]:
    """The layers that never needed to move: neither put back nor drawn anew they cost accuracy."""
    last = measured.steps[-1]
    return [layer for layer in measured.layers if measured.of_layer("ambient", layer).get(last)]


def _missing(measured: Measured, family: str) -> str:
    """Why a family has no slope with an interval."""
    if family == REWIND and "rewind" not in measured.meta.get("read", ()):
        return "not measured (zfjax measure rewind, then settling again)"
    return "undefined (too little settles, or in too few layers)"


def _chart(measured: Measured) -> Figure | None:
    """The share of the way of every layer over the epochs, a panel a family."""
    panels: list[Panel] = []
    for family in FAMILIES:
        lines = ordered_lines(measured.curves(f"{family}_share", 100))
        if any(line.points for line in lines):
            chart = Chart(family, lines, highest=100.0)
            panels.append(Panel(f"{family}, %", (chart,), 3.0, legend=not panels))
    words = (
        f"How far each layer is on its way from what other maps (or epoch 0) show to what the last"
        f" two epochs show, on {measured.meta.get('images', 0):,} images; the area above a line is"
        " its settling time."
    )
    return figure_of(panels, words) if panels else None
