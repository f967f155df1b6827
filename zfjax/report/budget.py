"""How large a page may be, and what it shows to stay so: which epochs and maps, and how finely its
tiles are stored. No JAX.

Tiles are stored as well as a share of the budget allows, and epochs are thinned until that can be.
What the page then takes as a file is the truth: base64, JSON and all; where it is more than the
budget, fewer maps are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.report import words
from zfjax.report.kit.films import LOSSLESS_BELOW, Sheet
from zfjax.report.layers import View
from zfjax.report.pictures import LayerPictures, make_sheet
from zfjax.run.evolution import Evolution

BUDGET = 40_000_000
"""Bytes of a page, as the file it is."""
TILES_SHARE = 0.225
"""Of the budget: what all tiles take before base64 where their quality is still chosen. Most pages
stay below 15 MB so, and open at once."""
QUALITIES = (88, 80, 70, 58, 45, 30)
LEAST_BYTES_A_PIXEL = 0.08
"""Of a tile at the lowest quality, to choose how many epochs a page can hold."""
PICTURES_A_STEP = 2
"""Different ones, about: a settled map repeats its pictures."""
LEAST_EPOCHS = 8
"""A page has these, though it may then show fewer maps."""
MOST_MAPS = 48
TRIED = 3.0
"""Times the budget that tiles may take by that estimate and are read all the same: it errs by less,
and memory is not without end."""
NEARLY = 0.99
"""Of the share of maps by which a page is too large: what is left is tried."""

Tell = Callable[[int, int], None]
"""``tell(done, total)``."""


def shown_steps(evolution: Evolution) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Steps, and maps by layer, to begin a page with: all of them in most runs."""
    drawn = {
        layer: drawn_again(evolution.maps(layer), MOST_MAPS, evolution.record.seed, index)
        for index, layer in enumerate(evolution.layers)
    }
    pictures = PICTURES_A_STEP * (evolution.record.top if evolution.every_rank else 1)

    def least(maps: dict[str, tuple[int, ...]]) -> float:
        """Bytes of one step's tiles."""
        sizes = evolution.record.tile_size
        pixels = sum(len(maps[layer]) * float(np.prod(sizes[layer])) for layer in maps)
        return pictures * LEAST_BYTES_A_PIXEL * max(pixels, 1)

    most = max(LEAST_EPOCHS, int(TILES_SHARE * BUDGET / least(drawn)))
    steps = tuple(evolution.steps[index] for index in words.choose(evolution.epochs, most))
    share = TRIED * BUDGET / (4 / 3 * len(steps) * least(drawn))
    if share < 1:
        counts = {layer: max(1, int(share * len(maps))) for layer, maps in drawn.items()}
        drawn = {
            layer: drawn_again(maps, counts[layer], evolution.record.seed, index)
            for index, (layer, maps) in enumerate(drawn.items())
        }
    return steps, drawn


def drawn_again(maps: tuple[int, ...], count: int, seed: int, index: int) -> tuple[int, ...]:
    """At most ``count`` of ``maps``, ascending: a seeded uniform draw like the request's own, dead
    ones as likely as others; fewer are among more. ``index``: of the layer.
    """
    if len(maps) <= count:
        return maps
    order = np.random.default_rng([seed, index]).permutation(len(maps))
    return tuple(maps[index] for index in sorted(order[:count].tolist()))


def cut_layers(evolution: Evolution, layers: Sequence[LayerPictures]) -> dict[str, str]:
    """The budget, for people ("40 MB"), by layers of which it leaves maps out that a screen would
    have room for.
    """
    return {
        layer.layer: _words()
        for layer in layers
        if len(layer.maps) < min(MOST_MAPS, len(evolution.maps(layer.layer)))
    }


def _words() -> str:
    return f"{BUDGET / 1e6:g} MB"


def fitted(view: View, make: Callable[[View], str]) -> str | None:
    """The page of ``view`` with as many maps as the budget allows; None where one map of each layer
    is too many. ``make``: the page of a view.
    """
    whole, share = view, 1.0
    while True:
        page = make(view)
        size = len(page.encode())
        if size <= BUDGET:
            return page
        if all(len(layer.maps) <= 1 for layer in view.layers):
            return None
        fewer = view
        while _maps_of(fewer) == _maps_of(view):
            share *= NEARLY * min(1.0, BUDGET / size)
            fewer = _with_share(whole, share)
        view = fewer


def _maps_of(view: View) -> int:
    return sum(len(layer.maps) for layer in view.layers)


def _with_share(view: View, share: float) -> View:
    """A share of each layer's maps, at least one."""
    layers, sheets = [], []
    for index, (layer, own) in enumerate(zip(view.layers, view.sheets, strict=True)):
        numbers = tuple(map_.map for map_ in layer.maps)
        count = max(1, int(share * len(numbers)))
        kept = set(drawn_again(numbers, count, view.evolution.record.seed, index))
        shown = [column for column, number in enumerate(numbers) if number in kept]
        layers.append(replace(layer, maps=tuple(layer.maps[column] for column in shown)))
        sheets.append(tuple(own[column] for column in shown))
    cut = cut_layers(view.evolution, layers)
    return replace(view, layers=tuple(layers), sheets=tuple(sheets), cut=cut)


def too_large(evolution: Evolution) -> ZfjaxError:
    """That no page of this evolution stays within the budget, and what to do."""
    every = " and --every-rank" if evolution.every_rank else ""
    return ZfjaxError(
        f"A page of {evolution.folder} takes more than {_words()} even with one map of each"
        f" layer at two epochs: evolve again, under another --name, with less of"
        f" --top {evolution.record.top}{every}, or report it with --no-photos."
    )


def make_sheets(
    layers: list[LayerPictures], tell: Tell | None = None
) -> tuple[list[list[Sheet | None]], list[int | None]]:
    """A sheet for each map and the quality of each layer (None: without loss), the best that the
    budget allows.

    Layers of small tiles come first, without loss; the others share what is left by their number of
    pixels.
    """
    budget, total, done = TILES_SHARE * BUDGET, sum(len(layer.maps) for layer in layers), 0

    def encode(layer: LayerPictures, quality: int | None) -> list[Sheet | None]:
        nonlocal done
        sheets = []
        for map_ in layer.maps:
            sheets.append(make_sheet(map_.stack, quality) if len(map_.stack) else None)
            done += 1
            if tell is not None:
                tell(done, total)
        return sheets

    exact = {
        layer.layer: encode(layer, None)
        for layer in layers
        if max(layer.tile_size) < LOSSLESS_BELOW
    }
    spent = sum(
        sheet.byte_count for sheets in exact.values() for sheet in sheets if sheet is not None
    )
    pixels = {
        layer.layer: sum(map_.stack.size for map_ in layer.maps)
        for layer in layers
        if layer.layer not in exact
    }
    sheets, qualities = [], []
    for layer in layers:
        quality = None
        if layer.layer not in exact:
            share = (
                max(budget - spent, budget / 3) * pixels[layer.layer] / max(1, sum(pixels.values()))
            )
            quality = next(
                (each for each in QUALITIES if _estimate(layer, each) <= share), QUALITIES[-1]
            )
        sheets.append(exact.get(layer.layer) or encode(layer, quality))
        qualities.append(quality)
    return sheets, qualities


def _estimate(layer: LayerPictures, quality: int) -> float:
    """Bytes of a layer's sheets, from every fourth map: encoding all of them at each quality would
    take longer than the rest of the report.
    """
    sample = [map_.stack for map_ in layer.maps if len(map_.stack)][::4]
    pixels = sum(map_.stack.size for map_ in layer.maps)
    byte_count = sum(make_sheet(stack, quality).byte_count for stack in sample)
    return pixels * byte_count / max(1, sum(stack.size for stack in sample))
