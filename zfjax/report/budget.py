"""How much a page can hold: which epochs and maps it shows, and how finely its tiles are stored. No
JAX.
"""

from __future__ import annotations

import numpy as np

from zfjax.report import words
from zfjax.report.kit.films import LOSSLESS_BELOW, Sheet
from zfjax.report.pictures import LayerPictures, make_sheet
from zfjax.run.evolution import Evolution

BUDGET = 9_000_000
"""Bytes of all tiles on the page before base64: the page stays below about 15 MB."""
QUALITIES = (88, 80, 70, 58, 45, 30)
LEAST_BYTES_A_PIXEL = 0.08
"""Of a tile at the lowest quality, to choose how many epochs a page can hold."""
PICTURES_A_STEP = 2
"""Different ones, about: a settled map repeats its pictures."""
MOST_MAPS = 48


def shown_steps(evolution: Evolution) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Steps, and maps by layer, that a page of about 15 MB can hold: all of them in most runs."""
    drawn = {layer: words.spread(evolution.maps(layer), MOST_MAPS) for layer in evolution.layers}
    pixels = sum(
        len(maps) * np.prod(evolution.record.tile_size[layer]) for layer, maps in drawn.items()
    )
    pictures = PICTURES_A_STEP * (evolution.record.top if evolution.every_rank else 1)
    most = max(8, int(BUDGET / (pictures * LEAST_BYTES_A_PIXEL * max(pixels, 1))))
    return tuple(evolution.steps[index] for index in words.choose(evolution.epochs, most)), drawn


def make_sheets(layers: list[LayerPictures]) -> tuple[list[list[Sheet | None]], list[int | None]]:
    """A sheet for each map and the quality of each layer (None: without loss), the best that the
    budget allows.

    Layers of small tiles come first, without loss; the others share what is left by their number of
    pixels.
    """
    exact = {
        layer.layer: _encode(layer, None)
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
                max(BUDGET - spent, BUDGET / 3) * pixels[layer.layer] / max(1, sum(pixels.values()))
            )
            quality = next(
                (each for each in QUALITIES if _estimate(layer, each) <= share), QUALITIES[-1]
            )
        sheets.append(exact.get(layer.layer) or _encode(layer, quality))
        qualities.append(quality)
    return sheets, qualities


def _encode(layer: LayerPictures, quality: int | None) -> list[Sheet | None]:
    return [make_sheet(map_.stack, quality) if len(map_.stack) else None for map_ in layer.maps]


def _estimate(layer: LayerPictures, quality: int) -> float:
    """Bytes of a layer's sheets, from every fourth map: encoding all of them at each quality would
    take longer than the rest of the report.
    """
    sample = [map_.stack for map_ in layer.maps if len(map_.stack)][::4]
    pixels = sum(map_.stack.size for map_ in layer.maps)
    byte_count = sum(make_sheet(stack, quality).byte_count for stack in sample)
    return pixels * byte_count / max(1, sum(stack.size for stack in sample))
