"""The forward pass of images that differ from one in a square only: of every layer the cells that
the square reaches are run anew, the others are known.

A layer's changed cells are a rectangle that grows from layer to layer by the kernel and shrinks by
the stride. What they look at is cut out of the layer below as it is without the change, and the
changed cells are laid into that. From the layer on where they are most of the map, the whole map is
run. The rectangle may leave the map; what lies outside is overwritten where it is consumed, as in
``model.feature_maps`` on windows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Int

from zfjax.network.architecture import Architecture, Conv, Dense, LayerFacts, Norm, Pool
from zfjax.network.arrays import Array
from zfjax.network.model import Parameters, convolutional, inside_map

INPUT = "input"
"""The key of the unchanged input among maps."""
Unchanged = Mapping[str, Float[Array, "h w c"]]
"""Every layer's map of the one image, and its input: float32 [height, width, maps]."""


class Patch(NamedTuple):
    """Changed cells of a layer, of each of n images; all else is as in the unchanged map."""

    cells: Float[Array, "n height width c"]
    rows: Int[Array, " n"]
    """Where they begin; below 0, or beyond the map, are cells that do not exist."""
    columns: Int[Array, " n"]


@dataclass(frozen=True)
class Rerun:
    """A layer to be run anew, on ``cells`` = (rows, columns) of its map. Static."""

    fact: LayerFacts
    below: str
    """The layer that it looks at."""
    below_size: tuple[int, int]
    """(height, width) of that one's map."""
    cells: tuple[int, int]
    looks_at: tuple[int, ...]
    """(height, width) of what they look at."""
    margins: tuple[tuple[int, int], ...]
    """By how many cells that may leave the map: (above, below), (left, right)."""
    whole: bool
    """Whether the whole map is run."""

    @property
    def name(self) -> str:
        """The layer's."""
        return self.fact.layer.name

    @property
    def multiply_adds(self) -> int:
        """Of one image."""
        height, width, _ = self.fact.shape
        return self.fact.multiply_adds // (height * width) * self.cells[0] * self.cells[1]

    @property
    def largest(self) -> int:
        """Bytes of its cells of one image, float32."""
        return 4 * self.cells[0] * self.cells[1] * self.fact.shape[2]


def reruns_of(
    architecture: Architecture, size: int, until: str | None = None, local: bool = True
) -> tuple[Rerun, ...]:
    """What a change of ``size`` x ``size`` pixels, anywhere in the input, makes to be run anew, up
    to layer ``until`` (None: all below the fully connected ones). Without ``local`` every map is
    run whole: the plain way.
    """
    facts = architecture.facts() if until is None else architecture.below(until)
    reruns: list[Rerun] = []
    below, extents = INPUT, architecture.input_size
    cells, whole = (size, size), not local
    spans = [(0, extent - size) for extent in extents]
    for fact in facts:
        layer = fact.layer
        looks_at: tuple[int, ...] = cells
        margins: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
        if isinstance(layer, Dense):
            break
        height, width, _ = fact.shape
        if isinstance(layer, Conv | Pool):
            spans = [(_first(low, layer), _first(high, layer)) for low, high in spans]
            rows, columns = ((own + layer.extent - 2) // layer.stride + 1 for own in cells)
            looks_at = tuple((own - 1) * layer.stride + layer.extent for own in (rows, columns))
            margins = tuple(
                (
                    max(0, layer.padding[0] - low * layer.stride),
                    max(0, high * layer.stride - layer.padding[0] + length - extent),
                )
                for (low, high), length, extent in zip(spans, looks_at, extents, strict=True)
            )
            # Where they are most of the map, laying cells into cells costs more than it saves. A
            # layer that skips cells may look past the changed ones.
            most = 4 * rows * columns > 3 * height * width
            whole = whole or most or layer.extent < layer.stride
            cells = (height, width) if whole else (rows, columns)
        reruns.append(Rerun(fact, below, extents, cells, looks_at, margins, whole))
        below, extents = layer.name, (height, width)
    return tuple(reruns)


def _first(begins: Any, layer: Conv | Pool) -> Any:
    """The first cell of a layer that looks at cell ``begins`` of the one below, or behind it."""
    return (begins + layer.padding[0] - layer.extent) // layer.stride + 1


def patched(
    reruns: Sequence[Rerun], parameters: Parameters, unchanged: Unchanged, square: Patch
) -> dict[str, Patch]:
    """What the changed ``square`` of the input changes in each layer, at precision HIGHEST: {layer:
    Patch}. Of a layer that is run whole the patch is the map.
    """
    patches: dict[str, Patch] = {}
    patch, is_whole = square, False
    for rerun in reruns:
        layer, below = rerun.fact.layer, unchanged[rerun.below]
        assert not isinstance(layer, Dense)
        if isinstance(layer, Norm):
            patch = patch._replace(cells=convolutional(layer, parameters, patch.cells, (0, 0)))
        elif rerun.whole:
            cells = patch.cells if is_whole else laid_in(below, patch)
            is_whole = True
            cells = convolutional(layer, parameters, cells, layer.padding)
            patch = Patch(cells, jnp.zeros_like(patch.rows), jnp.zeros_like(patch.columns))
        else:
            rows, columns = _first(patch.rows, layer), _first(patch.columns, layer)
            looked_at = _looked_at(rerun, layer, below, patch)
            patch = Patch(_unpadded(layer, parameters, looked_at), rows, columns)
        patches[layer.name] = patch
    return patches


def _unpadded(
    layer: Conv | Pool, parameters: Parameters, looked_at: Float[Array, "n h w c"]
) -> Float[Array, "n height width maps"]:
    """A layer without padding. XLA on CPU runs a convolution that has none up to three times slower
    than one with a row and a column of it, of which at stride 1 the output is dropped.
    """

    def plain(looked_at: Array) -> Array:
        return convolutional(layer, parameters, looked_at, (0, 0))

    def on_cpu(looked_at: Array) -> Array:
        more = convolutional(layer, parameters, looked_at, (0, 1))
        return more[:, :-1, :-1] if layer.stride == 1 else more

    if isinstance(layer, Pool) or layer.kernel == 1:
        return plain(looked_at)
    return lax.platform_dependent(looked_at, cpu=on_cpu, default=plain)


def _looked_at(
    rerun: Rerun, layer: Conv | Pool, below: Float[Array, "h w c"], patch: Patch
) -> Float[Array, "n height width c"]:
    """What the cells to be run anew look at, of each image: the map below, with its patch."""
    fill = -jnp.inf if isinstance(layer, Pool) else 0.0
    inside = inside_map((patch.rows, patch.columns), patch.cells.shape, rerun.below_size)
    cells = jnp.where(inside, patch.cells, jnp.asarray(fill, below.dtype))
    base = jnp.pad(below, (*rerun.margins, (0, 0)), constant_values=fill)
    begins = (
        _first(begin, layer) * layer.stride - layer.padding[0]
        for begin in (patch.rows, patch.columns)
    )
    above, left = rerun.margins[0][0], rerun.margins[1][0]

    def lay(piece: tuple[Array, Array, Array, Array, Array]) -> Array:
        own, row, column, begin, start = piece
        size = (*rerun.looks_at, base.shape[2])
        cut = lax.dynamic_slice(base, (begin + above, start + left, 0), size)
        return lax.dynamic_update_slice(cut, own, (row - begin, column - start, 0))

    return _over_images(lay, (cells, patch.rows, patch.columns, *begins))


def laid_in(below: Float[Array, "h w c"], patch: Patch) -> Float[Array, "n h w c"]:
    """A layer's whole maps: the unchanged one, with the patch of each image."""
    height, width, maps = below.shape
    _, tall, wide, _ = patch.cells.shape
    base = jnp.pad(below, ((tall, tall), (wide, wide), (0, 0)))

    def lay(piece: tuple[Array, Array, Array]) -> Array:
        own, row, column = piece
        whole = lax.dynamic_update_slice(base, own, (row + tall, column + wide, 0))
        return whole[tall : tall + height, wide : wide + width]

    return _over_images(lay, patch)


def _over_images(lay: Callable[..., Array], pieces: tuple[Array, ...]) -> Array:
    """``lay`` of each image's pieces. On CPU one after the other: there a slice is a copy, and
    slices of many at once are gathered number by number.
    """
    return lax.platform_dependent(
        pieces, cpu=functools.partial(lax.map, lay), default=jax.vmap(lay)
    )


def totals(unchanged: Float[Array, "h w c"], patch: Patch) -> Float[Array, "n c"]:
    """Each map summed over space, of each image."""
    height, width, _ = unchanged.shape
    _, tall, wide, _ = patch.cells.shape
    if (tall, wide) == (height, width):
        return patch.cells.sum(axis=(1, 2))
    base = jnp.pad(unchanged, ((tall, tall), (wide, wide), (0, 0)))

    def before(piece: tuple[Array, Array]) -> Array:
        row, column = piece
        begins = (row + tall, column + wide, 0)
        return lax.dynamic_slice(base, begins, (tall, wide, base.shape[2])).sum(axis=(0, 1))

    inside = inside_map((patch.rows, patch.columns), patch.cells.shape, (height, width))
    now = jnp.where(inside, patch.cells, jnp.zeros((), patch.cells.dtype)).sum(axis=(1, 2))
    then = _over_images(before, (patch.rows, patch.columns))
    return unchanged.sum(axis=(0, 1))[None, :] + (now - then)
