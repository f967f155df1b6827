"""The product's own projection, on whole normalised images: one call, all batches put together."""

from typing import NamedTuple

import numpy as np

from zfjax.features import deconvnet
from zfjax.network.ops import RULES
from zfjax.subject import network_of


class Projections(NamedTuple):
    tiles: np.ndarray
    activations: np.ndarray


def project(architecture, parameters, images, layer, maps, ys, xs, **options):
    """Unit (maps[i], ys[i], xs[i]) of ``layer`` in images[rows[i]]; ``rows``: one image a unit
    unless given.
    """
    rule = options.pop("rule", RULES["deconvnet"])
    way = deconvnet.way_of(network_of(architecture), layer, rule, options.pop("method", None))
    rows = options.pop("rows", np.arange(len(maps)))
    pixels = np.asarray(images)

    def inputs_of(units, places):
        return deconvnet.cut_inputs(way, pixels, places, rows[units])

    places = deconvnet.Places(*(np.asarray(values, np.int32) for values in (maps, ys, xs)))
    tiles = np.empty((len(maps), *way.layer.tile_size, 3), np.float32)
    activations = np.empty(len(maps), np.float32)
    for batch in deconvnet.project(way, parameters, places, inputs_of, **options):
        tiles[batch.rows], activations[batch.rows] = batch.tiles, batch.activations
    return Projections(tiles, activations)
