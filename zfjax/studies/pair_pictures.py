"""Maps of one run beside their partners in others, in pictures that follow the slider. No JAX.

Pictures are of maps that an evolution of their run has drawn; of the others the number stands
there. Who is a partner is settled at the last epoch; how alike the two are is said at every stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from zfjax.files import read_json
from zfjax.report.budget import make_sheets
from zfjax.report.kit.films import Sheet, sheet_rule, sheet_values
from zfjax.report.kit.shell import Piece, part_text
from zfjax.report.kit.wording import epoch_name, number, plain
from zfjax.report.payload import size_rules
from zfjax.report.pictures import LayerPictures, MapPictures, Shot, read_layer
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution, open_evolution
from zfjax.run.folder import Run
from zfjax.studies.compared import Compared
from zfjax.studies.evolutions import steps_at

MOST_ROWS = 24
"""Of a layer, with pictures; the others are listed."""


@dataclass(frozen=True)
class Couple:
    """A map of the first run and its partner in each other run."""

    layer: str
    maps: tuple[int | None, ...]
    """By run; None where it has no partner there."""
    alike: np.ndarray
    """float64 [others, epochs]: their correlations; NaN for no partner."""
    partners: np.ndarray
    """bool [epochs]: whether all that are here are partners then."""

    @property
    def numbers(self) -> str:
        """ "23 ↔ 60": of the maps, by run."""
        return " ↔ ".join("–" if map_ is None else str(map_) for map_ in self.maps)

    @property
    def at_last(self) -> float:
        """Mean correlation at the last epoch."""
        return float(np.nanmean(self.alike[:, -1]))


@dataclass(frozen=True)
class Drawn:
    """The pictures of a comparison, read and packed once."""

    layers: tuple[LayerPictures, ...]
    """Of every run and layer that is drawn."""
    where: Mapping[tuple[int, str], int]
    """{(run, layer): which of ``layers``}."""
    sheets: tuple[tuple[Sheet | None, ...], ...]
    """One a map."""
    steps: Mapping[int, tuple[int | None, ...]]
    """By run: the position in its pictures that each stop shows; None for none."""
    stops: tuple[float, ...]
    """The slider's epochs."""

    def of(self, run: int, layer: str, map_: int | None) -> tuple[MapPictures, Sheet, int] | None:
        """Pictures of a map, their sheet and its number on the page; None where it is not drawn."""
        index = self.where.get((run, layer))
        if index is None or map_ is None:
            return None
        before = sum(len(each) for each in self.sheets[:index])
        for column, pictures in enumerate(self.layers[index].maps):
            sheet = self.sheets[index][column]
            if pictures.map == map_ and sheet is not None:
                return pictures, sheet, before + column
        return None


def couples_of(compared: Compared) -> dict[str, tuple[Couple, ...]]:
    """By layer, the maps of the first run that have a partner in any other, the most alike
    first.
    """
    couples: dict[str, tuple[Couple, ...]] = {}
    for layer in compared.layers:
        pairs = sorted(
            (each for each in compared.pairs if each.layer == layer), key=lambda each: each.other
        )
        rows = []
        for map_ in range(pairs[0].maps[0]):
            finals = [each.last.matches for each in pairs]
            others = [
                int(final.partner[map_]) if final.are_partners[map_] else None for final in finals
            ]
            if all(other is None for other in others):
                continue
            alike = np.array([[now.of_last[map_] for now in each.by_epoch] for each in pairs])
            partners = np.array(
                [
                    [
                        other is None
                        or bool(now.matches.are_partners[map_])
                        and int(now.matches.partner[map_]) == other
                        for now in each.by_epoch
                    ]
                    for each, other in zip(pairs, others, strict=True)
                ]
            )
            rows.append(Couple(layer, (map_, *others), alike, np.all(partners, axis=0)))
        couples[layer] = tuple(sorted(rows, key=lambda couple: -couple.at_last))
    return couples


def widest_evolution(run: Run | AdoptedRun | None) -> Evolution | None:
    """The finished evolution of a run that draws the most maps, the one without a name first; None
    where there is none.
    """
    if run is None:
        return None
    records = sorted(run.folder.glob("evolution*/meta.json"))
    known = [open_evolution(path.parent) for path in records if _is_complete(path)]
    return max(
        known, key=lambda each: sum(len(each.maps(layer)) for layer in each.layers), default=None
    )


def _is_complete(path: Path) -> bool:
    record = read_json(path)
    return not isinstance(record, dict) or bool(record.get("complete"))


def shown_rows(
    couples: Sequence[Couple], evolutions: Sequence[Evolution | None], most: int
) -> tuple[Couple, ...]:
    """At most ``most`` of them, those first of which most maps are drawn, then those that have most
    partners; in their order.
    """

    def worth(index: int) -> tuple[int, int, int]:
        couple = couples[index]
        maps = [map_ is not None for map_ in couple.maps]
        drawn = sum(
            map_ is not None and is_drawn(evolution, couple.layer, map_)
            for map_, evolution in zip(couple.maps, evolutions, strict=True)
        )
        return -drawn, -sum(maps), index

    order = sorted(range(len(couples)), key=worth)
    return tuple(couples[index] for index in sorted(order[:most]))


def is_drawn(evolution: Evolution | None, layer: str, map_: int) -> bool:
    """Whether it has pictures of a map."""
    return evolution is not None and layer in evolution.layers and map_ in evolution.maps(layer)


def draw(
    rows: Sequence[Couple], evolutions: Sequence[Evolution | None], stops: Sequence[float]
) -> Drawn:
    """The pictures of these rows' maps at the stops. Raises ZfjaxError for a damaged evolution."""
    layers: list[LayerPictures] = []
    where: dict[tuple[int, str], int] = {}
    positions: dict[int, tuple[int | None, ...]] = {}
    for run, evolution in enumerate(evolutions):
        if evolution is None:
            continue
        at = steps_at(evolution, stops)
        # What is read ends with the last step searched, whether a stop shows it or not.
        steps = tuple(sorted({step for step in at if step is not None} | {evolution.steps[-1]}))
        positions[run] = tuple(None if step is None else steps.index(step) for step in at)
        for layer in dict.fromkeys(row.layer for row in rows):
            maps = {row.maps[run] for row in rows if row.layer == layer}
            drawn = sorted(
                map_ for map_ in maps if map_ is not None and is_drawn(evolution, layer, map_)
            )
            if drawn:
                where[run, layer] = len(layers)
                pictures = read_layer(evolution, layer, steps, tuple(drawn))
                # Packing tells layers apart by their names, and runs share them.
                layers.append(replace(pictures, layer=f"{run} {layer}"))
    sheets, _ = make_sheets(layers)
    return Drawn(tuple(layers), where, tuple(map(tuple, sheets)), positions, tuple(stops))


def couples_piece(
    rows: Sequence[Couple], drawn: Drawn, names: Sequence[str], stops: Sequence[int]
) -> Piece:
    """The rows as a list. ``stops``: which of the epochs compared each stop of the slider is. The
    page needs a slider with as many, and may have a choice "layer".
    """
    items, values, used = [], [], set()
    for index, row in enumerate(rows):
        cells, figures = [], []
        for run, map_ in enumerate(row.maps):
            if map_ is None:
                continue
            pictures = drawn.of(run, row.layer, map_)
            figures.append(_figure(drawn, (run, row.layer, map_), pictures, names[run]))
            cells.append(
                None if pictures is None else _cell(pictures, drawn.steps[run], drawn.stops)
            )
            used |= {pictures[2]} if pictures is not None else set()
        words = [_alike_words(row, at) for at in stops]
        values.append(
            {
                "layer": row.layer,
                "cells": cells,
                "words": words,
                "partners": [bool(row.partners[at]) for at in stops],
            }
        )
        items.append(
            Markup(
                '<li class="couple" data-couple="{}"><h3><b>{}</b> <span>{}</span>'
                ' <span class="alike">{}</span></h3>{}</li>'
            ).format(
                index, plain(row.layer), f"map {row.numbers}", words[-1], _beside(figures, cells)
            )
        )
    flat = [sheet for sheets in drawn.sheets for sheet in sheets]
    rules = "".join(
        sheet_rule(number_, sheet)
        for number_, sheet in enumerate(flat)
        if sheet is not None and number_ in used
    )
    width = 30 + 190 * max((sum(map_ is not None for map_ in row.maps) for row in rows), default=2)
    return Piece(
        Markup('<ul class="couples">{}</ul>').format(Markup("").join(items)),
        {"couples": values},
        f"{size_rules(drawn.layers)}{rules}.couples{{--couple:{width}px}}",
        part_text("css", "couples", folder="parts"),
        part_text("js", "couples", folder="parts"),
    )


def _beside(figures: Sequence[Markup], cells: Sequence[object | None]) -> Markup:
    """A row's figures; nothing where none of its maps is drawn."""
    if all(cell is None for cell in cells):
        return Markup("")
    return Markup('<div class="beside">{}</div>').format(Markup("").join(figures))


def _alike_words(row: Couple, at: int) -> str:
    values = [value for value in row.alike[:, at].tolist() if np.isfinite(value)]
    if not values:
        return "no answer to any image yet"
    numbers = ", ".join(f"{value:.2f}" for value in values)
    return f"alike {numbers}" if row.partners[at] else f"alike {numbers}, not partners here"


def _figure(
    drawn: Drawn,
    cell: tuple[int, str, int],
    pictures: tuple[MapPictures, Sheet, int] | None,
    name: str,
) -> Markup:
    run, layer, map_ = cell
    if pictures is None:
        inner, css = Markup('<span class="void">{}</span>').format("not drawn"), ""
    else:
        tile = Markup('<span class="tile s{}" role="img" aria-label="{}"></span>')
        words = f"of map {map_} of {layer} of {name}"
        inner = Markup("").join(
            tile.format(pictures[2], f"{what} {words}") for what in ("Projection", "Patch")
        )
        css = f"L{drawn.where[run, layer]}"
    return Markup(
        '<figure class="{}"><div class="both">{}</div><figcaption><b>{}</b> map {}<br>'
        '<span class="what"></span></figcaption></figure>'
    ).format(css, inner, plain(name, 60), map_)


def _cell(
    pictures: tuple[MapPictures, Sheet, int],
    positions: Sequence[int | None],
    stops: Sequence[float],
) -> dict[str, Any]:
    """What the script knows of a map: its sheet, both pictures by stop, and words under them."""
    map_, sheet, number_ = pictures
    shots = [None if position is None else map_.top[position] for position in positions]
    return {
        "sheet": sheet_values(sheet, number_),
        "frames": [None if shot is None else [shot.projection, shot.patch] for shot in shots],
        "words": [
            "not searched so early" if position is None else _shot_words(shot, stop)
            for position, shot, stop in zip(positions, shots, stops, strict=True)
        ],
    }


def _shot_words(shot: Shot | None, stop: float) -> str:
    """How strongly the map answers there, and the image's label, where it has one; of which epoch,
    where that of the stop was not searched.
    """
    if shot is None:
        return "dead"
    label, epoch = shot.row["label_name"], float(shot.row["epoch"])
    when = "" if abs(epoch - stop) < 1e-4 * max(1, stop) else f"epoch {epoch_name(epoch)}: "
    activation = f"{when}{number(shot.row['activation'])}"
    return activation if label is None else f"{activation}, {plain(label, 24)}"
