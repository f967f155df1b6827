"""The section on weights: filters of each layer as pixels, without an image, beside projections of
the same maps. No JAX.
"""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from zfjax.report.controlled import Link
from zfjax.report.kit.shell import Piece
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.report.pictures import Store
from zfjax.report.rowed import rows_figure, signed_bytes
from zfjax.run.colours import colour_scale
from zfjax.run.evolution import Evolution
from zfjax.run.measured import Measured

NOTE = (
    "At the left the projection of the map's strongest activation at the last epoch, where this"
    " page draws that map; then its filter taken to pixels without an image, epoch by epoch: what"
    " it sums of what is under it if nothing is rectified or normalised and of each pool the middle"
    " cell is seen. The maps are drawn by a seed. Each picture on its own scale, zero is mid-grey;"
    " what both show is the weights', what the projection alone shows came with the image."
)


def weights_contents(
    weights: Measured, evolution: Evolution, store: Store, link: Link
) -> list[Piece | Markup | str]:
    """The measure's sentence, and its pictures. Raises ZfjaxError where those are damaged."""
    words = plain(str(weights.meta.get("sentence", "")), 2000)
    epochs = dict(zip(weights.steps, weights.epochs, strict=True))
    figures = []
    for layer in weights.layers:
        by_step = weights.pictures(layer)
        if not by_step:
            continue
        steps = sorted(by_step)
        maps = by_step[steps[-1]][0].tolist()
        projections = _projections(evolution, layer)
        rows = [
            (projections.get(map_), *(_filter_of(by_step[step], map_) for step in steps))
            for map_ in maps
        ]
        listed = Markup(", ").join(link(layer, map_) for map_ in maps)
        caption = Markup("{}, from above: maps {}").format(plain(layer), listed)
        heads = ["projection", *(f"epoch {epoch_name(epochs[step])}" for step in steps)]
        spoken = f"Filters of {plain(layer)} as pixels beside projections of their maps"
        figures.append(rows_figure(rows, heads, (caption, spoken), store))
    pictures = (
        Markup('<p class="note">{}</p><div class="rowed">{}</div>').format(
            NOTE, Markup("").join(figures)
        )
        if figures
        else Markup()
    )
    return [Markup('<p class="said">{}</p>').format(words), Piece(pictures)]


def _filter_of(pictured: tuple[np.ndarray, np.ndarray], map_: int) -> np.ndarray | None:
    maps, pixels = pictured
    at = np.flatnonzero(maps == map_)
    if not len(at):
        return None
    return signed_bytes(pixels[at[0]], colour_scale(pixels[at[0]]))


def _projections(evolution: Evolution, layer: str) -> dict[int, np.ndarray]:
    """By map drawn and alive, the projection of its strongest unit at the last epoch."""
    if layer not in evolution.layers:
        return {}
    tiles = evolution.tiles(layer, evolution.steps[-1])
    return {
        map_: signed_bytes(tile.projection, colour_scale(tile.projection))
        for (selection, map_, rank), tile in tiles.items()
        if (selection, rank) == ("top", 0)
    }
