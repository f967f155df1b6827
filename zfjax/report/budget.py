"""How large a page may be as one file, and how finely its tiles are stored. No JAX.

A page of more than ``BUDGET`` bytes becomes a folder: a small page, its pictures as files and its
data as a script beside it. Nothing is left out in either form; what differs is how tiles are
stored: in one file as well as a share of the budget allows, beside it at one quality.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zfjax.report.kit.films import LOSSLESS_BELOW, Sheet
from zfjax.report.pictures import LayerPictures, Store, data_uri, make_sheet
from zfjax.run.evolution import Evolution

BUDGET = 40_000_000
"""Bytes of a page that is one file."""
TILES_SHARE = 0.225
"""Of the budget: what all tiles take before base64 where their quality is still chosen. Most pages
stay below 15 MB so, and open at once."""
QUALITIES = (88, 80, 70, 58, 45)
BESIDE_QUALITY = 80
"""Of tiles that are files beside the page."""
LEAST_BYTES_A_PIXEL = 0.12
"""Of a tile at a quality that is still good to look at."""
ALWAYS = ("top", "fixed")
"""The selections that every evolution draws."""
PICTURES_A_STEP = 2
"""Different ones, about: a settled map repeats its pictures."""
BYTES_A_SHOT = 220
"""Of the page's data, for each drawn unit."""
NEARLY = 0.9
"""Of the budget: what an estimate may say for one file to be tried."""

Tell = Callable[[int, int], None]
"""``tell(done, total)``."""


def one_file_may_hold(evolution: Evolution) -> bool:
    """Whether all maps drawn, at all epochs, may fit into one file: an estimate on the low side, so
    that a page which is surely too large is not even packed.
    """
    ranks = evolution.record.top if evolution.every_rank else 1
    # A shot has a patch, and a projection by each rule; half of them, about, are repeated.
    share = (1 + len(evolution.rules)) / 2
    pictures = PICTURES_A_STEP * ranks * len(evolution.steps) * share
    maps = {layer: len(evolution.maps(layer)) for layer in evolution.layers}
    sizes = evolution.record.tile_size
    pixels = pictures * sum(maps[layer] * float(np.prod(sizes[layer])) for layer in maps)
    shots = (ranks + 1) * len(evolution.steps) * sum(maps.values())
    for layer, count in _weaker(evolution).items():
        pixels += share * count * float(np.prod(sizes[layer]))
        shots += count
    return 4 / 3 * LEAST_BYTES_A_PIXEL * pixels + BYTES_A_SHOT * shots <= NEARLY * BUDGET


def _weaker(evolution: Evolution) -> Counter[str]:
    """How many shots of weaker images are drawn, by layer: those that have a place."""
    others = evolution.selections[len(ALWAYS) :]
    if not others:
        return Counter()
    units = evolution.units.filter(pc.is_valid(evolution.units["y"]))
    units = units.filter(pc.is_in(units["selection"], pa.array(others, pa.string())))
    return Counter(units["layer"].to_pylist())


def is_lossless(layer: LayerPictures) -> bool:
    """Whether its tiles are so small that they are stored without loss."""
    return max(layer.tile_size) < LOSSLESS_BELOW


def sheet_of(stack: np.ndarray, quality: int | None, store: Store = data_uri) -> Sheet | None:
    """The sheet of a map's pictures; None where nothing is drawn."""
    return make_sheet(stack, quality, store) if len(stack) else None


def make_sheets(
    layers: Sequence[LayerPictures], tell: Tell | None = None
) -> tuple[list[list[Sheet | None]], list[int | None]]:
    """Sheets for one file, and the quality of each layer (None: without loss), the best that the
    budget allows.

    Layers of small tiles come first, without loss; the others share what is left by their number of
    pixels.
    """
    budget, total, done = TILES_SHARE * BUDGET, sum(len(layer.maps) for layer in layers), 0

    def encode(layer: LayerPictures, quality: int | None) -> list[Sheet | None]:
        nonlocal done
        sheets = []
        for map_ in layer.maps:
            sheets.append(sheet_of(map_.stack, quality))
            done += 1
            if tell is not None:
                tell(done, total)
        return sheets

    exact = {layer.layer: encode(layer, None) for layer in layers if is_lossless(layer)}
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
    """Bytes of a layer's sheets, from at most twelve maps: encoding all of them at each quality
    would take longer than the rest of the report.
    """
    stacks = [map_.stack for map_ in layer.maps if len(map_.stack)]
    sample = stacks[:: max(4, -(-len(stacks) // 12))]
    pixels = sum(map_.stack.size for map_ in layer.maps)
    byte_count = sum(make_sheet(stack, quality).byte_count for stack in sample)
    return pixels * byte_count / max(1, sum(stack.size for stack in sample))
