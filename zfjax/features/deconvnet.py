"""Projection: which pixels made a unit fire (paper, section 2.1), on its receptive field or on the
whole image.

A unit is the value of a convolution after its ReLU at (map, y, x). Its projection is the
vector-Jacobian product of the forward pass under a backward rule, seeded with the unit's own
activation and zero everywhere else. A unit sees only a window of the input, so the forward and the
way down may run on that crop alone, with equal numbers; where the window is as large as the image
the whole image is cheaper. The choice is static, by multiply-adds."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfjax.devices import working_set
from zfjax.network.architecture import Architecture, Conv, output_size
from zfjax.network.model import Parameters, feature_maps, inside_map
from zfjax.network.ops import RULES, Rule

Method = Literal["window", "image"]


@dataclass(frozen=True)
class Projections:
    """``tiles``: float32 [units, height, width, 3], signed, zero outside the receptive field; the
    tile of a unit covers its receptive field, at most the input. ``activations``: float32 [units],
    what this pass gave the units."""

    tiles: np.ndarray
    activations: np.ndarray


def cheaper_method(architecture: Architecture, layer: str) -> Method:
    """ "window" or "image", whichever takes less time for one unit of ``layer``: by multiply-adds,
    where those of a window, whose every layer is masked, are taken to cost a third more each."""
    window, image = 0, 0
    for fact in architecture.facts():
        if isinstance(fact.layer, Conv):
            cells = fact.shape[0] * fact.shape[1]
            image += fact.multiply_adds
            window += (
                fact.multiply_adds
                // cells
                * window_cells(architecture, layer, fact.layer.name) ** 2
            )
        if fact.layer.name == layer:
            break
    return "window" if 4 * window < 3 * image else "image"


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


def units_per_batch(architecture: Architecture, layer: str, method: Method, count: int) -> int:
    """Units of ``count`` to project at once: a power of two, at most 256, whose largest feature map
    fits the working set, and no larger than it takes to hold them all."""
    largest = 1
    for fact in architecture.facts():
        rows, columns, maps = fact.shape
        if method == "window":
            rows = columns = window_cells(architecture, layer, fact.layer.name)
        largest = max(largest, 4 * rows * columns * maps)
        if fact.layer.name == layer:
            break
    return 2 ** min(
        8, max(0, (working_set() // largest).bit_length() - 1), max(0, count - 1).bit_length()
    )


def project(
    architecture: Architecture,
    parameters: Parameters,
    images: np.ndarray,
    layer: str,
    maps: np.ndarray,
    ys: np.ndarray,
    xs: np.ndarray,
    *,
    rows: np.ndarray | None = None,
    rule: Rule = RULES["deconvnet"],
    method: Method | None = None,
    batch_size: int | None = None,
) -> Projections:
    """Projects unit (maps[i], ys[i], xs[i]) of ``layer`` in images[rows[i]] down to pixels, for
    every i.

    ``images``: normalised float32 [images, h, w, 3]; ``rows``: None stands for one image a unit, in
    order. Runs at precision HIGHEST in batches of ``batch_size`` (None: as many as the device works
    on well), the last one padded, so that each layer is compiled once. A unit with activation 0 has
    an all-zero tile."""
    architecture.conv(layer)
    method = method or cheaper_method(architecture, layer)
    batch_size = batch_size or units_per_batch(architecture, layer, method, len(maps))
    images, count = np.asarray(images), len(maps)
    places = [np.asarray(values, np.int32) for values in (maps, ys, xs)]
    rows = np.arange(count) if rows is None else np.asarray(rows)
    tiles = np.empty((count, *architecture.tile_size(layer), 3), np.float32)
    activations = np.empty(count, np.float32)
    pending = None
    for start in [*range(0, count, batch_size), None]:
        running = None
        if start is not None:
            batch = np.minimum(np.arange(start, start + batch_size), count - 1)
            units = [values[batch] for values in places]
            inputs = cut_inputs(
                architecture, images, layer, *units[1:], method=method, rows=rows[batch]
            )
            running = (
                start,
                project_cut(
                    architecture, parameters, inputs, layer, *units, rule=rule, method=method
                ),
            )
        if pending is not None:  # fetched while the next batch runs
            done = slice(pending[0], min(pending[0] + batch_size, count))
            for target, found in zip((tiles, activations), pending[1], strict=True):
                target[done] = np.asarray(found)[: done.stop - done.start]
        pending = running
    return Projections(tiles, activations)


def cut_inputs(
    architecture: Architecture,
    images: np.ndarray,
    layer: str,
    ys: np.ndarray,
    xs: np.ndarray,
    *,
    method: Method,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """What ``project_cut`` runs on: each unit's receptive field [units, size, size, channels], zero
    outside the image; by method "image" the image itself. ``images``: [images, h, w, channels] of
    any dtype, normalised or not."""
    rows = np.arange(len(ys)) if rows is None else rows
    if method == "image":
        return images[rows]
    window = architecture.window(layer)
    tops, lefts = (window.start + np.asarray(position) * window.jump for position in (ys, xs))
    return _cut(images, rows, tops, lefts, (window.size, window.size), 0)


def _cut(
    images: np.ndarray,
    rows: np.ndarray,
    tops: np.ndarray,
    lefts: np.ndarray,
    size: tuple[int, int],
    outside: int,
) -> np.ndarray:
    """Crops of ``size`` of images[rows] that begin at (tops, lefts), ``outside`` where they leave
    the image."""
    (height, width), (bottom, right) = size, images.shape[1:3]
    cut = np.full((len(rows), height, width, images.shape[3]), outside, images.dtype)
    for index, (row, top, left) in enumerate(zip(rows, tops, lefts, strict=True)):
        y0, x0, y1, x1 = (
            max(top, 0),
            max(left, 0),
            min(top + height, bottom),
            min(left + width, right),
        )
        cut[index, y0 - top : y1 - top, x0 - left : x1 - left] = images[row, y0:y1, x0:x1]
    return cut


def project_cut(
    architecture: Architecture,
    parameters: Parameters,
    inputs: np.ndarray,
    layer: str,
    maps: np.ndarray,
    ys: np.ndarray,
    xs: np.ndarray,
    *,
    rule: Rule,
    method: Method,
) -> tuple[jax.Array, jax.Array]:
    """One batch of ``project`` on normalised inputs from ``cut_inputs``: (tiles, activations),
    still on the device.

    Two programs, so that the switches are stored between them: in one, XLA on CPU computes the
    pool's comparisons anew for each of its nine uses, which takes twice as long."""
    static = {"architecture": architecture, "layer": layer, "method": method}
    pull_down, activations = _up(parameters, inputs, maps, ys, xs, rule=rule, **static)
    return _down(pull_down, activations, maps, ys, xs, **static), activations


@functools.partial(jax.jit, static_argnames=("architecture", "layer", "rule", "method"))
def _up(parameters, inputs, maps, ys, xs, *, architecture, layer, rule, method):
    """The forward pass: the units' activations, and the function that takes a signal down."""
    origins = None
    if method == "window":
        window = architecture.window(layer)
        origins = tuple(window.start + position * window.jump for position in (ys, xs))
        inputs = jnp.where(inside_map(origins, inputs.shape, architecture.input_size), inputs, 0)
        ys, xs = jnp.zeros_like(ys), jnp.zeros_like(xs)

    def features(x):
        return feature_maps(
            architecture,
            parameters,
            x,
            until=layer,
            rule=rule,
            precision=lax.Precision.HIGHEST,
            window_origins=origins,
        )[layer]

    values, pull_down = jax.vjp(features, inputs)
    return pull_down, values[jnp.arange(len(maps)), ys, xs, maps]


@functools.partial(jax.jit, static_argnames=("architecture", "layer", "method"))
def _down(pull_down, activations, maps, ys, xs, *, architecture, layer, method):
    """The way down from each unit's activation, all else zero; the tile of a unit is its receptive
    field."""
    window, tile_size = architecture.window(layer), architecture.tile_size(layer)
    corners = tuple(window.start + position * window.jump for position in (ys, xs))
    tile_corners = tuple(
        corner if tile < extent else jnp.zeros_like(corner)
        for corner, tile, extent in zip(corners, tile_size, architecture.input_size, strict=True)
    )
    rows, cells = jnp.arange(len(maps)), architecture.fact(layer).shape
    if method == "window":
        cells, ys, xs = (1, 1, cells[2]), jnp.zeros_like(ys), jnp.zeros_like(xs)
    seed = jnp.zeros((len(maps), *cells), activations.dtype).at[rows, ys, xs, maps].set(activations)
    (pixels,) = pull_down(seed)
    if method == "window":
        pixels = jnp.where(inside_map(corners, pixels.shape, architecture.input_size), pixels, 0)
        tile_corners = tuple(
            tile - corner for tile, corner in zip(tile_corners, corners, strict=True)
        )
    if pixels.shape[1:3] == tile_size:
        return pixels
    padded = jnp.pad(pixels, ((0, 0), *((extent, extent) for extent in tile_size), (0, 0)))
    cut = lambda one, y, x: lax.dynamic_slice(
        one, (y + tile_size[0], x + tile_size[1], 0), (*tile_size, 3)
    )
    return jax.vmap(cut)(padded, *tile_corners)


def patches(
    architecture: Architecture,
    images: np.ndarray,
    layer: str,
    ys: np.ndarray,
    xs: np.ndarray,
    outside: int = 128,
) -> np.ndarray:
    """The pixels that each unit sees: uint8 [units, height, width, 3], aligned with its tile;
    mid-grey outside.

    ``images``: uint8 [units, h, w, 3], the network's input before normalisation.
    """
    origins = [architecture.tile_origin(layer, int(y), int(x)) for y, x in zip(ys, xs, strict=True)]
    tops, lefts = np.array(origins, np.int64).reshape(-1, 2).T
    return _cut(images, np.arange(len(images)), tops, lefts, architecture.tile_size(layer), outside)
