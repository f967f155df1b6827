"""How much of a projection is the unit's and how much is the image's: each strongest unit's
projection beside controls that should look different if it showed the unit.

Concept: a deconvnet's picture is shaped by the switches and rectifiers that the image has set as
well as by the unit that is asked. Every control puts the signal 1 at the same place of the same
layer: *swapped*, another live map of the layer on the same image; *switches*, the same map on
another image, whose switches it comes down by; *two_images*, the other map on the other image,
which has nothing in common but network and place; *initial*, the network before training, with its
own filters and switches; *randomised_n*, the n topmost layers from this one down drawn anew. Each
as *cosine_* of the two projections, and *spearman_* of their magnitudes, within the unit's box. The
*image_share* is the cosine with the swapped unit, a likeness and no share: what stays the same when
another unit is asked is not this unit's alone. Near that of two images, the picture is the unit's;
near 1, any unit would have given it. Of a layer: the median over its maps, quartiles as low and
high. *swapped_map* says which map was asked instead. One other map may be alike by luck, so at the
last epoch *cosine_others* and *spearman_others* are each map's mean over --controls.partners other
live maps of its layer, that one the first of them (*partners*: how many there were): these are what
is said. The first layer is exempt: its projection is its filter.
Source: Mahendran and Vedaldi 2016, "Salient Deconvolutional Networks" (units swapped); Adebayo et
al. 2018, "Sanity Checks for Saliency Maps" (layers randomised from the top); Nie, Zhang and Patel
2018, "A Theoretical Explanation for Perplexing Behaviors" (partial recovery of the image).
Cost: 6 projections and one for each layer below, of the strongest unit of --controls.maps maps a
layer at each epoch, and at the last one more for each further partner: on the order of the
evolution's own drawing. It reads the places of a finished evolution (zfjax evolve), by its rule.
What can mislead: a cosine near 1 does not make a picture wrong about the image, it makes it say
little about the unit; maps alike in their filters are alike for good reasons; near zero, two
pictures may still look alike to the eye, which sees edges and not signs (hence Spearman of
magnitudes, which in turn is raised by whatever is dark around a bright middle). By the rules
gradient and guided a swapped unit that is silent at the place gives nothing and is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from matplotlib.figure import Figure

from zfjax.errors import ZfjaxError
from zfjax.measures.control_figure import figure_of_controls
from zfjax.measures.controlling import ControlledUnits, controls_of, cosine_within, spearman_within
from zfjax.measures.protocol import (
    EVOLUTION,
    Looked,
    Measure,
    Pictures,
    Quantity,
    Told,
    plain_table,
    shown,
)
from zfjax.report.controlled import COLUMNS
from zfjax.report.kit.charts import Chart, Line, Panel, figure_of, ramp_role
from zfjax.report.kit.wording import epoch_name
from zfjax.report.pictures import colour_scale
from zfjax.run.measured import Measured

PICTURED_MAPS = 3
"""Of each layer, at the last epoch."""
LIKENESSES = {"cosine": cosine_within, "spearman": spearman_within}


@dataclass(frozen=True)
class ControlOptions:
    """Whose controls, and how they are drawn."""

    maps: int = 16
    """Of each layer, the first so many that the evolution has drawn."""
    evolution: str | None = None
    """The name of the evolution whose units are asked; none: RUN/evolution."""
    seed: int = 0
    """Of the other maps and images."""
    partners: int = 10
    """Other live maps that each is compared with at the last epoch; all where there are fewer."""

    def __post_init__(self) -> None:
        for name, least in (("maps", 1), ("seed", 0), ("partners", 1)):
            if getattr(self, name) < least:
                raise ZfjaxError(
                    f"--controls.{name} {getattr(self, name)} must be {least} or more."
                )


def rows(looked: Looked, options: ControlOptions) -> Iterator[Quantity | Pictures]:
    """The likeness of every control to the unit's own projection, step by step."""
    controls = controls_of(looked, options.evolution, options.maps, options.seed, options.partners)
    layers = [name for name in looked.layers if name in controls.layers]
    exempt = looked.subject.network.sequence[0].name
    if exempt in looked.layers:
        yield Quantity(looked.steps[-1], exempt, "exempt", 1.0)
    steps = [step for step in looked.steps if step in controls.evolution.steps]
    for done, (step, layer) in enumerate((step, layer) for step in steps for layer in layers):
        if looked.progress is not None:
            looked.progress("controls", done, len(steps) * len(layers))
        asked = controls.at(step, layer)
        yield from _of_layer(asked, step, layer, looked.layer(layer).maps)
        if step == steps[-1]:
            yield from _of_others(asked, step, layer, looked.layer(layer).maps)
            yield from _pictured(asked, step, layer)


def _of_layer(asked: ControlledUnits, step: int, layer: str, maps: int) -> Iterator[Quantity]:
    own, shares = asked.tiles["own"], np.full(maps, np.nan)
    for control, tiles in asked.tiles.items():
        if control == "own":
            continue
        for name, likeness in LIKENESSES.items():
            alike = [likeness(*each) for each in zip(own, tiles, asked.boxes, strict=True)]
            values = np.full(maps, np.nan)
            values[asked.maps] = alike
            yield from _with_quartiles(step, layer, f"{name}_{control}", values)
            if (name, control) == ("cosine", "swapped"):
                shares = values
    yield from _with_quartiles(step, layer, "image_share", shares)
    if asked.swapped is not None:
        others = np.full(maps, np.nan)
        others[asked.maps] = asked.swapped
        yield Quantity(step, layer, "swapped_map", others, unit="map")


def _of_others(asked: ControlledUnits, step: int, layer: str, maps: int) -> Iterator[Quantity]:
    """Each map's mean likeness to all of its partners, those left out that give nothing."""
    if asked.swapped is None:
        return
    own, count = asked.tiles["own"], 0
    alike: dict[str, list[list[float]]] = {name: [] for name in LIKENESSES}
    for tiles in chain([asked.tiles["swapped"]], asked.others):  # one in memory at a time
        count += 1
        for name, likeness in LIKENESSES.items():
            pairs = zip(own, tiles, asked.boxes, strict=True)
            alike[name].append([likeness(*each) for each in pairs])
    for name, by_partner in alike.items():
        table = np.array(by_partner)
        known, means = np.isfinite(table), np.full(len(asked.maps), np.nan)
        sums, values = np.where(known, table, 0).sum(axis=0), np.full(maps, np.nan)
        np.divide(sums, known.sum(axis=0), out=means, where=known.any(axis=0))
        values[asked.maps] = means
        yield from _with_quartiles(step, layer, f"{name}_others", values)
    yield Quantity(step, layer, "partners", count, unit="maps")


def _with_quartiles(step: int, layer: str, name: str, values: np.ndarray) -> Iterator[Quantity]:
    known = values[~np.isnan(values)]
    yield Quantity(step, layer, name, values)
    low, median, high = np.quantile(known, (0.25, 0.5, 0.75)) if len(known) else [float("nan")] * 3
    yield Quantity(step, layer, name, float(median), float(low), float(high), n=len(known))


def _pictured(asked: ControlledUnits, step: int, layer: str) -> Iterator[Pictures]:
    """A map's projection and its controls side by side, each over its own scale; zero where there
    is none.
    """
    if not len(asked.maps):
        return
    deepest = [name for name in asked.tiles if name.startswith("randomised_")][-1:] or [""]
    names = ["own", "swapped", "switches", "initial", "randomised_1", *deepest]
    blank = np.zeros_like(asked.tiles["own"][:PICTURED_MAPS])
    columns = [asked.tiles.get(name, blank)[:PICTURED_MAPS] for name in names]
    pixels = np.concatenate([np.stack([_scaled(tile) for tile in tiles]) for tiles in columns], 2)
    assert len(columns) == len(COLUMNS)
    yield Pictures(step, layer, asked.maps[:PICTURED_MAPS], pixels)


def _scaled(tile: np.ndarray) -> np.ndarray:
    scale = colour_scale(tile)
    return np.clip(tile / scale, -1, 1) if scale else tile


def tell(measured: Measured, others: Sequence[Measured], options: ControlOptions) -> Told:
    """What is the image's in each layer at the last epoch, a table of all controls, a chart and
    pictures.
    """
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    said = [name for name in measured.layers if measured.of_layer("image_share", name)]
    exempt = [name for name in measured.layers if measured.of_layer("exempt", name)]
    left_out = [name for name in measured.layers if name not in (*said, *exempt)]
    rest = [f"{name} is exempt: its projection is its filter." for name in exempt]
    rest += [f"Not in the evolution: {', '.join(left_out)}."] if left_out else []
    if not said:
        return Told(" ".join(["No layer has controls.", *rest]))
    last = max(step for name in said for step in measured.of_layer("image_share", name))
    undefined = float("nan")
    clauses = []
    for name in said:
        median = measured.of_layer("cosine_others", name).get(last, undefined)
        low, high = measured.bounds("cosine_others", name).get(last, (undefined, undefined))
        chance = measured.of_layer("cosine_two_images", name).get(last, undefined)
        spread = "no two live maps" if np.isnan(median) else f"{shown(low)} to {shown(high)}"
        clauses.append(f"{name} {shown(median)} ({spread}; {shown(chance)})")
    count, partners = measured.counts("image_share"), _partners(measured, said, last)
    sentence = (
        f"At epoch {epoch_name(epochs[last])}, how much of a projection is not the unit's alone:"
        f" its likeness (cosine) to those of {partners} of the layer, drawn by seed, at the"
        f" same place of the same image (median over {count} maps of a layer or more, quartiles;"
        f" beside it chance: two maps on two images): {'; '.join(clauses)}."
    )
    sentence = " ".join([sentence, *rest])
    if others:
        sentence += f" {_over_seeds(said, (measured, *others))}"
    head: tuple[str, ...] = ("layer", "other maps", "one of them", "two images", "other switches")
    head += ("untrained", "top layer anew", "all anew", "rank corr., other maps")
    table = []
    for name in said:
        anew = [each for each in measured.quantities() if each.startswith("cosine_randomised_")]
        with_all = [each for each in anew if last in measured.of_layer(each, name)]
        names = ["cosine_others", "cosine_swapped", "cosine_two_images", "cosine_switches"]
        names += ["cosine_initial", "cosine_randomised_1", with_all[-1] if with_all else ""]
        names += ["spearman_others"]
        values = [measured.of_layer(each, name).get(last) for each in names]
        table.append((name, *map(shown, values)))
    lines = plain_table(head, table)
    files = figure_of_controls(measured)
    return Told(sentence, lines, _chart(measured, said, epochs), files=files)


def _partners(measured: Measured, layers: Sequence[str], last: int) -> str:
    """How many other maps each is compared with: "10 other maps"."""
    by_layer = [measured.of_layer("partners", name).get(last) for name in layers]
    counts = sorted({int(count) for count in by_layer if count is not None}) or [1]
    if len(counts) > 1:
        return f"{counts[0]} to {counts[-1]} other maps"
    return f"{counts[0]} other map{'s' if counts[0] > 1 else ''}"


def _over_seeds(layers: Sequence[str], runs: Sequence[Measured]) -> str:
    spans = []
    for name in layers:
        tables = [
            run.of_layer("cosine_others", name) or run.of_layer("image_share", name) for run in runs
        ]
        shares = [
            of_run.get(run.steps[-1], np.nan) for of_run, run in zip(tables, runs, strict=True)
        ]
        if not np.isnan(shares).all():
            spans.append(f"{name} {shown(np.nanmin(shares))} to {shown(np.nanmax(shares))}")
    return f"Over {len(runs)} seeds: {', '.join(spans)}."


def _chart(measured: Measured, layers: Sequence[str], epochs: Mapping[int, float]) -> Figure | None:
    """Over the epochs; None where nothing is defined."""

    def lines(quantity: str) -> tuple[Line, ...]:
        points = {
            name: tuple(
                (epochs[step], value)
                for step, value in measured.of_layer(quantity, name).items()
                if not np.isnan(value)
            )
            for name in layers
        }
        return tuple(
            Line(name, ramp_role(index, len(measured.layers)), points[name], marked=True)
            for index, name in enumerate(measured.layers)
            if points.get(name)
        )

    kinds = (
        ("another map", lines("cosine_swapped"), 3.0),
        ("two images", lines("cosine_two_images"), 2.2),
        ("untrained", lines("cosine_initial"), 2.2),
    )
    drawn = [kind for kind in kinds if kind[1]]
    if not drawn:
        return None
    panels = [
        Panel(label, (Chart(label, drawn_lines, 1.0),), height, legend=index == 0)
        for index, (label, drawn_lines, height) in enumerate(drawn)
    ]
    return figure_of(
        panels,
        "What of a projection is not the unit's alone: its median cosine with that of another map"
        " at the same place of the same image; below it, that of two random images, and of the"
        " network before training.",
    )


MEASURE = Measure(
    "controls", rows, tell, options=ControlOptions(), needs=("images", EVOLUTION), version=2
)
"""Of version 1 no map was compared with more than one other."""
