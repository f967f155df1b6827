"""DIR/index.html: runs side by side under one slider, from what was compared and from saved
pictures, on one page that opens anywhere. No JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from markupsafe import Markup

from zfjax.errors import shortened
from zfjax.files import write_atomic
from zfjax.progress import Progress
from zfjax.report import budget
from zfjax.report.curves import Points, accuracies
from zfjax.report.kit.charts import Chart, Line, ordered_lines, page_charts
from zfjax.report.kit.shell import Piece, main_of, make_page, section
from zfjax.report.kit.slider import Choice, curve_slider, interpolate
from zfjax.report.kit.wording import percent, plain
from zfjax.report.words import choose
from zfjax.run.evolution import Evolution
from zfjax.studies.compare_words import (
    layer_tables,
    note,
    origin_facts,
    reading_notes,
    settling_section,
)
from zfjax.studies.compared import Compared
from zfjax.studies.pair_pictures import (
    MOST_ROWS,
    Couple,
    couples_of,
    couples_piece,
    draw,
    is_drawn,
    shown_rows,
    widest_evolution,
)
from zfjax.studies.pairing import EpochPairs, LayerPairs
from zfjax.studies.sides import Side

STOPS = 12
"""Epochs of the slider, at most."""
MOST_LISTED = 60
"""Maps of a layer that are listed by number."""


@dataclass(frozen=True)
class View:
    """All that the page shows."""

    compared: Compared
    couples: dict[str, tuple[Couple, ...]]
    evolutions: tuple[Evolution | None, ...]
    """By run."""
    stops: tuple[int, ...]
    """Of the slider, as indices of the epochs compared."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the runs."""
        return tuple(side.name for side in self.compared.sides)

    @property
    def epochs(self) -> tuple[float, ...]:
        """Of the stops."""
        return tuple(self.compared.epochs[index] for index in self.stops)


def write_compare_page(path: Path, compared: Compared, tell: Progress) -> None:
    """Writes the page, whole or not at all, with as many pictures as the budget allows. Raises
    ZfjaxError for a damaged evolution.
    """
    evolutions = tuple(widest_evolution(side.run) for side in compared.sides)
    stops = choose(compared.epochs, STOPS)
    view, most = View(compared, couples_of(compared), evolutions, stops), MOST_ROWS
    tell("page", 0, 1)
    page = page_text(view, most)
    while len(page.encode()) > budget.BUDGET and most:
        most //= 2
        page = page_text(view, most)
    write_atomic(path, partial(Path.write_text, data=page, encoding="utf-8"))
    tell("page", 1, 1)


def page_text(view: View, most: int = MOST_ROWS) -> str:
    """The page as HTML, with pictures of ``most`` rows of each layer."""
    compared = view.compared
    rows = [
        row
        for layer in compared.layers
        for row in shown_rows(view.couples[layer], view.evolutions, most)
    ]
    pieces = [
        section("What was found", _lead(view), *_charts(view)),
        section("Layer by layer", *layer_tables(compared)),
        settling_section(compared),
        _pictures(view, rows),
        section("The other maps", *_alone(view, rows)),
        section("How to read this", *reading_notes(compared), columns=True),
        section("Where this came from", origin_facts(compared)),
    ]
    *before, last = (plain(name, 60) for name in view.names)
    title = f"{', '.join(before)} and {last}"
    return make_page(
        f"{title} compared",
        [_slider(view), main_of(*pieces)],
        facts=(
            f"{compared.images:,} images",
            f"{len(compared.layers)} layers",
            f"{len(compared.epochs)} epochs",
        ),
    )


def _slider(view: View) -> Piece:
    """The first run's accuracy as track, the others' beside it."""
    curves = [_accuracy(side) for side in view.compared.sides]
    readings = []
    for epoch in view.epochs:
        known = [interpolate(curve, epoch) for curve in curves]
        words = [percent(value) for value in known if value is not None]
        readings.append(f"{' · '.join(words)} right" if words else "")
    layers = view.compared.layers
    choices = [Choice("layer", "Layer", (("all", "all"), *((each, each) for each in layers)))]
    return curve_slider(view.epochs, curves, readings, choices if len(layers) > 1 else ())


def _accuracy(side: Side) -> Points:
    return accuracies(side.run.validation_lines) if side.run is not None else ()


def _lead(view: View) -> Markup:
    return Markup('<p class="lead">{}</p>').format(view.compared.sentence)


def _charts(view: View) -> list[Piece]:
    """Over the epochs, a line a layer: partners, similarity of the matched, CKA."""
    compared, charts = view.compared, []
    for other in range(1, len(compared.sides)):
        pairs, name = compared.of(other), plain(compared.names[other], 40)
        of_run = f" in {name}" if len(compared.sides) > 2 else ""
        charts += [
            Chart(f"Maps with a partner{of_run}, %", _lines(pairs, _partner_percent), 100.0),
            Chart(f"Correlation of matched maps{of_run}", _lines(pairs, _correlation), 1.0),
            Chart(f"Likeness of whole layers (CKA){of_run}", _lines(pairs, _alignment), 1.0),
        ]
    return [page_charts(charts, "compare")]


def _partner_percent(now: EpochPairs) -> float:
    return 100 * now.alike.partner_share[0]


def _correlation(now: EpochPairs) -> float:
    return now.alike.correlation[0]


def _alignment(now: EpochPairs) -> float:
    return now.alike.cka[0]


def _lines(
    pairs: Sequence[LayerPairs], value_of: Callable[[EpochPairs], float]
) -> tuple[Line, ...]:
    return ordered_lines(
        {
            each.layer: [
                (now.epoch, max(0.0, value_of(now)))
                for now in each.by_epoch
                if np.isfinite(value_of(now))
            ]
            for each in pairs
        }
    )


def _pictures(view: View, rows: Sequence[Couple]) -> Piece:
    """The couples, and how to have the pictures that are not there."""
    head = "Maps and their partners"
    if not rows:
        return section(head, note("No map has a partner at the last epoch."))
    drawn = draw(rows, view.evolutions, view.epochs)
    pictures = (
        "Each map's strongest image at the epoch of the slider: its projection, and beside it the"
        " patch of the image; below, how strongly it answers and the image's label. "
    )
    notes = [
        f"{pictures if drawn.layers else ''}Couples are"
        " partners at the last epoch, the most alike first within a layer; how alike they are at"
        " the epoch of the slider stands at the right."
    ]
    hidden = [
        f"{len(couples) - shown} of {layer}"
        for layer, couples in view.couples.items()
        if len(couples) > (shown := sum(row.layer == layer for row in rows))
    ]
    if hidden:
        notes.append(
            f"More partners than are shown, listed below: {', '.join(hidden)}; matches.parquet has"
            " them all."
        )
    notes += _undrawn(view, rows)
    piece = couples_piece(rows, drawn, view.names, view.stops)
    return section(head, *map(note, notes), piece)


def _undrawn(view: View, rows: Sequence[Couple]) -> list[str]:
    """Which runs lack pictures, and the command that draws them."""
    notes = []
    for index, (name, evolution) in enumerate(zip(view.names, view.evolutions, strict=True)):
        maps = [(row.layer, row.maps[index]) for row in rows]
        wanted = [(layer, map_) for layer, map_ in maps if map_ is not None]
        lacking = sum(not is_drawn(evolution, layer, map_) for layer, map_ in wanted)
        if not lacking:
            continue
        more = " --name all" if evolution is not None else ""
        notes.append(
            f"{lacking} of the {len(wanted)} maps of {plain(name, 60)} are not drawn: `zfjax evolve"
            f" --workdir RUN --maps all{more}` draws them, then the same zfjax compare shows them."
        )
    return notes


def _alone(view: View, rows: Sequence[Couple]) -> list[Markup]:
    """By layer: couples that are not shown, and maps of each run that have no partner."""
    shown, lists = {(row.layer, row.maps[0]) for row in rows}, []
    for layer in view.compared.layers:
        lines = []
        hidden = [row for row in view.couples[layer] if (layer, row.maps[0]) not in shown]
        if hidden:
            listed = shortened(
                (f"{row.numbers} ({row.at_last:.2f})" for row in hidden), MOST_LISTED
            )
            lines.append(f"Partners not shown: {listed}.")
        for pairs in (each for each in view.compared.pairs if each.layer == layer):
            lines += _without_partner(pairs, (view.names[0], view.names[pairs.other]))
        body = Markup("<br>").join(lines or ["All have a partner, and are shown."])
        lists.append(
            Markup('<p class="alone" data-layer="{}"><b>{}</b><br>{}</p>').format(
                layer, plain(layer), body
            )
        )
    return lists


def _without_partner(pairs: LayerPairs, names: tuple[str, str]) -> list[str]:
    """A line for each of the two runs that has such maps."""
    matches, lines = pairs.last.matches, []
    taken = set(matches.partner[matches.are_partners].tolist())
    alone = (
        np.flatnonzero(~matches.are_partners).tolist(),
        [map_ for map_ in range(pairs.maps[1]) if map_ not in taken],
    )
    for index, maps in enumerate(alone):
        if maps:
            every = len(maps) == pairs.maps[index]
            listed = "all of them" if every else shortened(maps, MOST_LISTED)
            dead = f" ({pairs.last.dead[index]} dead)" if pairs.last.dead[index] else ""
            lines.append(
                f"Of {plain(names[index], 60)}, {len(maps)} without a partner in"
                f" {plain(names[1 - index], 60)}{dead}: {listed}."
            )
    return lines
