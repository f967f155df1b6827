"""More than the strongest: the weakest and typical images of each map, and every picture by further
rules, added to what a page shows. No JAX.

The numbers are the table's. A row of a selection that was drawn has its place there; of the others
the table keeps the image alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from zfjax.report.budget import ALWAYS
from zfjax.report.pictures import LayerPictures, MapPictures, Shot, Stack, named_rows, tile_of
from zfjax.report.words import selection_name, selection_words, silent_words
from zfjax.run.evolution import Evolution, Tile

Tiles = Mapping[tuple[str, int, int], Tile]
Key = tuple[int, int, str, int]
"""Step, map, selection, rank."""


def other_selections(evolution: Evolution) -> tuple[str, ...]:
    """Those drawn beside "top" and "fixed"."""
    return evolution.selections[len(ALWAYS) :]


def selection_values(evolution: Evolution) -> list[dict[str, str]]:
    """What the page's script says of each of them: its name, what it is, in short too, and why a
    map has none.
    """
    return [
        {
            "name": name,
            "short": selection_name(name),
            "words": selection_words(name),
            "silent": silent_words(name),
        }
        for name in other_selections(evolution)
    ]


def with_variety(evolution: Evolution, layer: LayerPictures, photos: bool) -> LayerPictures:
    """The same maps with the other selections, and every shot with its pictures by the further
    rules. ``layer``: at all steps of ``evolution``.

    Raises ZfjaxError where a picture by one rule is missing by another.
    """
    selections, rules = other_selections(evolution), evolution.rules[1:]
    if not selections and not rules:
        return layer
    maps = {map_.map: map_ for map_ in layer.maps}
    stacks = {number: Stack(map_.stack) for number, map_ in maps.items()}
    rows = _rows(evolution, layer.layer, selections)
    shots = {_key(shot): shot for map_ in layer.maps for shot in _shots(map_)}
    for step in evolution.steps:
        tiles: Tiles = evolution.tiles(layer.layer, step) if selections else {}
        for (selection, number, rank), tile in tiles.items():
            key = step, number, selection, rank
            if selection in selections and number in maps and key in rows:
                shots[key] = stacks[number].shot(rows[key], tile, photos)
        by_rule = [(rule, evolution.tiles(layer.layer, step, rule)) for rule in rules]
        for key in [key for key in shots if key[0] == step]:
            shots[key] = replace(
                shots[key],
                by_rules=tuple(
                    stacks[key[1]].projection(tile_of(of_rule, shots[key].row, evolution, rule))
                    for rule, of_rule in by_rule
                ),
            )
    return replace(
        layer,
        maps=tuple(
            replace(
                _replaced(map_, shots),
                stack=stacks[map_.map].array(layer.tile_size),
                others={
                    name: tuple(_ranked(shots, (step, map_.map, name)) for step in evolution.steps)
                    for name in selections
                },
            )
            for map_ in layer.maps
        ),
    )


def by_rule(layer: LayerPictures, index: int) -> LayerPictures:
    """The strongest and the fixed images by another rule in the place of the main one: that of
    number ``index`` in each shot's ``by_rules`` (of ``with_variety``).
    """

    def other(shots: Sequence[Shot | None]) -> tuple[Shot | None, ...]:
        return tuple(
            None
            if shot is None
            else replace(shot, projection=shot.by_rules[index][0], scale=shot.by_rules[index][1])
            for shot in shots
        )

    return replace(
        layer,
        maps=tuple(
            replace(map_, top=other(map_.top), fixed=other(map_.fixed)) for map_ in layer.maps
        ),
    )


def _shots(map_: MapPictures) -> list[Shot]:
    every = (*map_.top, *map_.fixed, *map_.best, *(sum(map_.ranks, ()) if map_.ranks else ()))
    return [shot for shot in every if shot is not None]


def _key(shot: Shot) -> Key:
    return shot.row["step"], shot.row["map"], shot.row["selection"], shot.row["rank"]


def _replaced(map_: MapPictures, shots: Mapping[Key, Shot]) -> MapPictures:
    """The same map with the shots of now."""

    def now(of_steps: Sequence[Shot | None]) -> tuple[Shot | None, ...]:
        return tuple(None if shot is None else shots[_key(shot)] for shot in of_steps)

    def ranked(of_ranks: Sequence[Shot]) -> tuple[Shot, ...]:
        return tuple(shots[_key(shot)] for shot in of_ranks)

    return replace(
        map_,
        top=now(map_.top),
        fixed=now(map_.fixed),
        best=ranked(map_.best),
        ranks=map_.ranks and tuple(ranked(of_step) for of_step in map_.ranks),
    )


def _ranked(shots: Mapping[Key, Shot], of: tuple[int, int, str]) -> tuple[Shot, ...]:
    """What is drawn of a selection at a step, from rank 0."""
    ranked: list[Shot] = []
    while (*of, len(ranked)) in shots:
        ranked.append(shots[(*of, len(ranked))])
    return tuple(ranked)


def _rows(
    evolution: Evolution, layer: str, selections: Sequence[str]
) -> dict[Key, dict[str, object]]:
    """A layer's placed rows of these selections."""
    units = evolution.units
    units = units.filter(pc.equal(units["layer"], layer))
    units = units.filter(pc.is_in(units["selection"], pa.array(selections, pa.string())))
    units = units.filter(pc.is_valid(units["y"]))
    return {
        (row["step"], row["map"], row["selection"], row["rank"]): row
        for row in named_rows(units, evolution)
    }
