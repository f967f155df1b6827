"""Projection: which pixels made a unit fire (paper, section 2.1), on its receptive field or on the whole image.

A unit is the value of a convolution after its ReLU at (map, y, x). Its projection is the vector-Jacobian product of
the forward pass under a backward rule, seeded with the unit's own activation and zero everywhere else. A unit sees
only a window of the input, so the forward and the way down may run on that crop alone, with equal numbers; where the
window is as large as the image the whole image is cheaper. The choice is static, by multiply-adds.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfjax.architecture import Architecture, Conv, output_size
from zfjax.network import Parameters, feature_maps, inside_map
from zfjax.ops import RULES, Rule

Method = Literal["window", "image"]


@dataclass(frozen=True)
class Projections:
    """``tiles``: float32 [units, height, width, 3], signed, zero outside the receptive field; the tile of a unit covers
    its receptive field, at most the input. ``activations``: float32 [units], what this pass gave the units."""

    tiles: np.ndarray
    activations: np.ndarray


def cheaper_method(architecture: Architecture, layer: str) -> Method:
    """"window" or "image", whichever needs fewer multiply-adds for one unit of ``layer``."""
    window, image = 0, 0
    for fact in architecture.facts():
        if isinstance(fact.layer, Conv):
            cells = fact.shape[0] * fact.shape[1]
            image += fact.multiply_adds
            window += fact.multiply_adds // cells * window_cells(architecture, layer, fact.layer.name) ** 2
        if fact.layer.name == layer:
            break
    return "window" if window < image else "image"


def window_cells(architecture: Architecture, layer: str, below: str) -> int:
    """Cells along one axis of layer ``below`` in the window of one unit of ``layer``."""
    size = architecture.window(layer).size
    for fact in architecture.facts():
        spec = fact.layer
        if hasattr(spec, "stride"):
            kernel = spec.kernel if isinstance(spec, Conv) else spec.window
            size = output_size(size, kernel, spec.stride, (0, 0))
        if spec.name == below:
            break
    return size


def project(
    architecture: Architecture, parameters: Parameters, images: jax.Array, layer: str,
    maps: np.ndarray, ys: np.ndarray, xs: np.ndarray, *, rule: Rule = RULES["deconvnet"],
    method: Method | None = None, batch_size: int = 32,
) -> Projections:  # fmt: skip
    """Projects unit (maps[i], ys[i], xs[i]) of ``layer`` in images[i] down to pixels, for every i.

    ``images``: normalised float32 [units, h, w, 3]. Runs at precision HIGHEST in batches of ``batch_size``, the last
    one padded, so that each layer is compiled once. A unit with activation 0 has an all-zero tile.
    """
    architecture.conv(layer)
    method = method or cheaper_method(architecture, layer)
    count = len(maps)
    tiles, activations = [], []
    for start in range(0, count, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), count - 1)
        units = tuple(np.asarray(values)[rows].astype(np.int32) for values in (maps, ys, xs))
        batch = _project(parameters, jnp.asarray(images[rows]), *units,
                         architecture=architecture, layer=layer, rule=rule, method=method)  # fmt: skip
        kept = min(batch_size, count - start)
        tiles.append(np.asarray(batch[0])[:kept])
        activations.append(np.asarray(batch[1])[:kept])
    if not count:
        return Projections(np.zeros((0, *architecture.tile_size(layer), 3), np.float32), np.zeros(0, np.float32))
    return Projections(np.concatenate(tiles), np.concatenate(activations))


@functools.partial(jax.jit, static_argnames=("architecture", "layer", "rule", "method"))
def _project(parameters, images, maps, ys, xs, *, architecture, layer, rule, method):
    window = architecture.window(layer)
    corners = tuple(window.start + position * window.jump for position in (ys, xs))
    tile_size = architecture.tile_size(layer)
    tile_corners = tuple(
        corner if tile < extent else jnp.zeros_like(corner)
        for corner, tile, extent in zip(corners, tile_size, architecture.input_size, strict=True)
    )
    if method == "window":
        images = _cut(images, corners, (window.size, window.size))
        tile_corners = tuple(tile - corner for tile, corner in zip(tile_corners, corners, strict=True))
        origins, ys, xs = corners, jnp.zeros_like(ys), jnp.zeros_like(xs)
        pixels = inside_map(corners, images.shape, architecture.input_size)
    else:
        origins, pixels = None, True

    def features(x):
        return feature_maps(
            architecture, parameters, x, until=layer, rule=rule, precision=lax.Precision.HIGHEST, window_origins=origins
        )[layer]

    values, pull_down = jax.vjp(features, images)
    rows = jnp.arange(len(maps))
    activations = values[rows, ys, xs, maps]
    (projections,) = pull_down(jnp.zeros_like(values).at[rows, ys, xs, maps].set(activations))
    return _cut(jnp.where(pixels, projections, 0), tile_corners, tile_size), activations


def _cut(images: jax.Array, corners: tuple[jax.Array, jax.Array], size: tuple[int, int]) -> jax.Array:
    """Crops of ``size`` [n, *size, c] that begin at ``corners`` (int32 [n] each); zero outside the images."""
    (rows, columns), channels = size, images.shape[-1]
    padded = jnp.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    cut = lambda image, y, x: lax.dynamic_slice(image, (y + rows, x + columns, 0), (rows, columns, channels))
    return jax.vmap(cut)(padded, *corners)


def patches(
    architecture: Architecture, images: np.ndarray, layer: str, ys: np.ndarray, xs: np.ndarray, outside: int = 128
) -> np.ndarray:
    """The pixels that each unit sees: uint8 [units, height, width, 3], aligned with its tile; mid-grey outside.

    ``images``: uint8 [units, h, w, 3], the network's input before normalisation.
    """
    height, width = architecture.tile_size(layer)
    cut = np.full((len(images), height, width, 3), outside, np.uint8)
    for index, (image, y, x) in enumerate(zip(images, ys, xs, strict=True)):
        top, left = architecture.tile_origin(layer, int(y), int(x))
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + height, image.shape[0]), min(left + width, image.shape[1])
        cut[index, y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return cut
