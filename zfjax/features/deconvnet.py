"""Projection: which pixels made a unit fire (paper, section 2.1), on its receptive field or on the
whole image.

A unit is the value of a convolution after its ReLU at (map, y, x). Its projection is the
vector-Jacobian product of the forward pass under a backward rule, seeded with the unit's own
activation and zero everywhere else. A unit sees only a window of the input, so the forward and the
way down may run on that crop alone, with equal numbers; where the window is as large as the image
the whole image is cheaper. The choice is static, by multiply-adds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Int, Shaped, UInt8

from zfjax.devices import one_behind, working_set
from zfjax.errors import ZfjaxError
from zfjax.network.architecture import Window
from zfjax.network.layers import Layer
from zfjax.network.model import Parameters, inside_map
from zfjax.network.ops import RULES, Rule
from zfjax.subject import Network

Method = Literal["window", "image"]
MOST_UNITS = 256
"""Units in a batch, at most: a power of two."""


class Places(NamedTuple):
    """Units of one layer: int32 [units] each."""

    maps: Any
    ys: Any
    xs: Any


@dataclass(frozen=True)
class Way:
    """Up to the units of one layer and down again: what is the same for all of them. Hashable, a
    static argument of what is compiled.
    """

    network: Network
    layer: Layer
    rule: Rule
    method: Method

    @property
    def window(self) -> Window:
        """The layer's receptive field, for the method "window"."""
        if self.layer.window is None:
            raise ZfjaxError(f"{self.layer.name} has no window; it is projected on the image.")
        return self.layer.window


def way_of(
    network: Network, layer: str, rule: Rule = RULES["deconvnet"], method: Method | None = None
) -> Way:
    """The way to a layer; ``method`` None is the cheaper one. Raises ZfjaxError for a layer that is
    not there.
    """
    facts = network.layer(layer)
    return Way(network, facts, rule, method or cheaper_method(facts))


def cheaper_method(layer: Layer) -> Method:
    """ "window" or "image", whichever takes less time for one unit of ``layer``: by multiply-adds,
    where those of a window, whose every layer is masked, are taken to cost a third more each.
    """
    if layer.window_work is None:
        return "image"
    window, image = layer.window_work.multiply_adds, layer.image_work.multiply_adds
    return "window" if 4 * window < 3 * image else "image"


def units_per_batch(layer: Layer, method: Method, count: int) -> int:
    """Units of ``count`` to project at once: a power of two, at most MOST_UNITS, whose largest
    feature map fits the working set, and no larger than it takes to hold them all.
    """
    work = layer.window_work if method == "window" else layer.image_work
    largest = work.largest if work is not None else layer.image_work.largest
    fitting = max(1, working_set() // largest)
    return 2 ** min(
        MOST_UNITS.bit_length() - 1, fitting.bit_length() - 1, max(0, count - 1).bit_length()
    )


class Projected(NamedTuple):
    """A batch of units, fetched."""

    rows: Int[np.ndarray, " units"]
    """Which of the units."""
    tiles: Float32[np.ndarray, "units height width c"]
    """Signed, zero outside the receptive field, which the tile covers, at most the input."""
    activations: Float32[np.ndarray, " units"]
    """What this pass gave the units."""


def project(
    way: Way,
    parameters: Parameters,
    places: Places,
    inputs_of: Callable[[Int[np.ndarray, " units"], Places], Any],
    *,
    batch_size: int | None = None,
    seed: float | None = None,
) -> Iterator[Projected]:
    """Projects units down to pixels, a batch at a time, in order.

    ``inputs_of(rows, places)``: the normalised inputs (float32, as ``cut_inputs`` cuts them) of the
    units in these rows, which lie at these places. Runs at precision HIGHEST in batches of
    ``batch_size`` (None: as many as the device works on well), the last one padded with its last
    unit, so that each layer is compiled once. ``seed``: what comes down from each unit; None: its
    activation, so that one with activation 0 has an all-zero tile.
    """
    count = len(places.maps)
    size = batch_size or units_per_batch(way.layer, way.method, count)

    def dispatched() -> Iterator[tuple[Int[np.ndarray, " units"], Array, Array]]:
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            batch = Places(*(np.asarray(values, np.int32)[rows] for values in places))
            tiles, activations = project_cut(way, parameters, inputs_of(rows, batch), batch, seed)
            yield np.arange(start, min(start + size, count)), tiles, activations

    for rows, tiles, activations in one_behind(dispatched()):
        real = len(rows)
        yield Projected(rows, np.asarray(tiles)[:real], np.asarray(activations)[:real])


def cut_inputs(
    way: Way,
    images: Shaped[np.ndarray, "images h w c"],
    places: Places,
    rows: Int[np.ndarray, " units"] | None = None,
) -> Shaped[np.ndarray, "units height width c"]:
    """What ``project_cut`` runs on: each unit's receptive field [units, size, size, channels], zero
    outside the image; by method "image" the image itself. ``images``: [images, h, w, channels] of
    any dtype, normalised or not. ``rows``: each unit's image; None: one a unit, in order.
    """
    rows = np.arange(len(places.ys)) if rows is None else rows
    if way.method == "image":
        return images[rows]
    tops, lefts = _corners(way.window, places)
    return _cut(images, rows, tops, lefts, (way.window.size, way.window.size), 0)


def patches(
    way: Way, images: UInt8[np.ndarray, "units h w c"], places: Places, outside: int = 128
) -> UInt8[np.ndarray, "units height width c"]:
    """The pixels that each unit sees, aligned with its tile; mid-grey outside.

    ``images``: the network's input before normalisation.
    """
    tops, lefts = _tile_corners(way, places)
    return _cut(images, np.arange(len(images)), tops, lefts, way.layer.tile_size, outside)


def _cut(
    images: Shaped[np.ndarray, "images h w c"],
    rows: Int[np.ndarray, " units"],
    tops: Int[np.ndarray, " units"],
    lefts: Int[np.ndarray, " units"],
    size: tuple[int, int],
    outside: int,
) -> Shaped[np.ndarray, "units height width c"]:
    """Crops of ``size`` of images[rows] that begin at (tops, lefts), ``outside`` where they leave
    the image.
    """
    (height, width), (bottom, right) = size, images.shape[1:3]
    cut = np.full((len(rows), height, width, images.shape[3]), outside, images.dtype)
    for index, (row, top, left) in enumerate(zip(rows, tops, lefts, strict=True)):
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + height, bottom), min(left + width, right)
        cut[index, y0 - top : y1 - top, x0 - left : x1 - left] = images[row, y0:y1, x0:x1]
    return cut


def _corners(window: Window, places: Places) -> tuple[Any, Any]:
    """Rows and columns of the input where the units' receptive fields begin."""
    return window.start + places.ys * window.jump, window.start + places.xs * window.jump


def _tile_corners(way: Way, places: Places) -> tuple[Any, Any]:
    """Rows and columns of the input where the units' tiles begin: 0 on an axis that a tile covers
    whole.
    """
    if way.layer.window is None:
        return places.ys * 0, places.xs * 0
    rows, columns = (
        corner if tile < extent else corner * 0
        for corner, tile, extent in zip(
            _corners(way.layer.window, places),
            way.layer.tile_size,
            way.network.input_size,
            strict=True,
        )
    )
    return rows, columns


def project_cut(
    way: Way, parameters: Parameters, inputs: Any, places: Places, seed: float | None = None
) -> tuple[Float[Array, "units height width c"], Float[Array, " units"]]:
    """One batch of ``project`` on normalised inputs from ``cut_inputs``: (tiles, activations),
    still on the device.

    Two programs, so that the switches are stored between them: in one, XLA on CPU computes the
    pool's comparisons anew for each of its nine uses, which takes twice as long.
    """
    pull_down, activations = up(parameters, inputs, places, way=way)
    signal = activations if seed is None else jnp.full_like(activations, seed)
    return down(pull_down, signal, places, way=way), activations


@functools.partial(jax.jit, static_argnames="way")
def up(
    parameters: Parameters,
    inputs: Float[Array, "images h w c"],
    places: Places,
    rows: Int[Array, " units"] | Int[np.ndarray, " units"] | None = None,
    *,
    way: Way,
) -> tuple[Any, Float[Array, " units"]]:
    """The forward pass: the function that takes a signal down, and the units' activations.
    ``rows``: each unit's input; None: one a unit, in order.
    """
    origins, (_, ys, xs) = None, places
    rows = jnp.arange(len(ys)) if rows is None else rows
    if way.method == "window":
        origins = _corners(way.window, places)
        inside = inside_map(origins, inputs.shape, way.network.input_size)
        inputs = jnp.where(inside, inputs, 0)
        ys, xs = jnp.zeros_like(ys), jnp.zeros_like(xs)

    def features(x: Float[Array, "images h w c"]) -> Float[Array, "images rows columns maps"]:
        maps = way.network.forward(
            parameters, x, until=way.layer.name, rule=way.rule, origins=origins
        )
        return maps[way.layer.name]

    values, pull_down = jax.vjp(features, inputs)
    return pull_down, values[rows, ys, xs, places.maps]


@functools.partial(jax.jit, static_argnames="way")
def down(
    pull_down: Callable[[Array], tuple[Array]],
    activations: Float[Array, " units"],
    places: Places,
    *,
    way: Way,
) -> Float[Array, "units height width c"]:
    """The way down from each unit's activation, all else zero; the tile of a unit is its receptive
    field.
    """
    maps, ys, xs = places
    tile_size, tile_corners = way.layer.tile_size, _tile_corners(way, places)
    cells = way.layer.shape
    if way.method == "window":
        cells, ys, xs = (1, 1, cells[2]), jnp.zeros_like(ys), jnp.zeros_like(xs)
    seed = jnp.zeros((len(maps), *cells), activations.dtype)
    seed = seed.at[jnp.arange(len(maps)), ys, xs, maps].set(activations)
    (pixels,) = pull_down(seed)
    if way.method == "window":
        corners = _corners(way.window, places)
        pixels = jnp.where(inside_map(corners, pixels.shape, way.network.input_size), pixels, 0)
        tile_corners = tile_corners[0] - corners[0], tile_corners[1] - corners[1]
    if pixels.shape[1:3] == tile_size:
        return pixels
    edges = ((0, 0), *((extent, extent) for extent in tile_size), (0, 0))

    def cut(padded: Float[Array, "h w c"], y: Array, x: Array) -> Float[Array, "height width c"]:
        begins = (y + tile_size[0], x + tile_size[1], 0)
        return lax.dynamic_slice(padded, begins, (*tile_size, padded.shape[2]))

    return jax.vmap(cut)(jnp.pad(pixels, edges), *tile_corners)
