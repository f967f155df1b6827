"""Occlusion: a square slid over an image, and what it does to every map and to the scores (paper,
section 4.2); the projection of a whole map, to lay beside it.

Of our own networks only the cells that the square reaches are run anew (network/patching.py); any
other network runs whole on each occluded image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Int

from zfjax.devices import one_behind, working_set
from zfjax.network import patching
from zfjax.network.model import Parameters, dense_scores
from zfjax.network.ops import RULES, Rule
from zfjax.network.patching import INPUT, Patch, Rerun
from zfjax.subject import ArchitectureForward, ArchitectureScores, Network

MOST_POSITIONS = 64
"""In a batch."""


@dataclass(frozen=True)
class Sliding:
    """A square of ``size`` pixels, moved by ``stride``: static."""

    network: Network
    scores: Any
    """The subject's ``Scores``; None: only maps are asked."""
    layers: tuple[str, ...]
    """Whose maps are summed."""
    size: int
    stride: int
    plainly: bool = False
    """Every map run whole, also where less would do."""

    @property
    def scored_alike(self) -> bool:
        """Whether the scores come from our own network's last maps."""
        forward = self.network.forward
        if not isinstance(forward, ArchitectureForward):
            return False
        return bool(self.scores == ArchitectureScores(forward.architecture))

    @property
    def reruns(self) -> tuple[Rerun, ...] | None:
        """What is run anew; None for a network of which that is not known."""
        forward = self.network.forward
        if not isinstance(forward, ArchitectureForward):
            return None
        until = None if self.scored_alike else self.network.highest(self.layers).name
        return patching.reruns_of(forward.architecture, self.size, until, not self.plainly)

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the input where the squares begin: int32 each."""
        rows, columns = (
            places_along(extent, self.size, self.stride) for extent in self.network.input_size
        )
        return rows, columns

    @property
    def positions(self) -> int:
        """How many they are."""
        return len(self.places[0]) * len(self.places[1])

    @property
    def multiply_adds(self) -> int:
        """Of one position, in what is convolved."""
        reruns = self.reruns
        if reruns is None:
            return self.network.highest(self.layers).image_work.multiply_adds
        return sum(rerun.multiply_adds for rerun in reruns)

    @property
    def batch(self) -> int:
        """Positions at once, where nobody says: as many as the device works on well."""
        reruns = self.reruns
        if reruns is None:
            largest = self.network.highest(self.layers).image_work.largest
        else:
            largest = max(rerun.largest for rerun in reruns)
        fitting = min(MOST_POSITIONS, max(1, working_set() // largest))
        batches = -(-self.positions // fitting)
        return -(-self.positions // batches)  # equal batches: little is run to fill the last up


def places_along(extent: int, size: int, stride: int) -> np.ndarray:
    """Where squares of ``size`` begin along an axis: every ``stride`` pixels from 0, the last at
    the end, so that every pixel is covered where the stride is at most the size. int32.
    """
    places = np.arange(0, extent - size + 1, stride, dtype=np.int32)
    end = np.int32(extent - size)
    return places if places[-1] == end else np.append(places, end)


@dataclass(frozen=True)
class Occluded:
    """What the square does to one image."""

    rows: Int[np.ndarray, " rows"]
    columns: Int[np.ndarray, " columns"]
    """Where the squares begin, in pixels of the network's input."""
    size: int
    whole: dict[str, Float32[np.ndarray, " maps"]]
    """Each map summed over space, without the square, by layer."""
    sums: dict[str, Float32[np.ndarray, "rows columns maps"]]
    """The same with the square at each position."""
    whole_scores: Float32[np.ndarray, " classes"] | None
    scores: Float32[np.ndarray, "rows columns classes"] | None
    """Before the softmax; None where none were asked for."""


def occlude(
    sliding: Sliding,
    parameters: Parameters,
    image: Float[Any, "h w c"],
    fill: Float[Any, "h w c"],
    batch: int | None = None,
) -> Occluded:
    """Slides the square over a normalised image; its pixels are those of ``fill`` there.

    ``parameters``: the whole tree where scores are asked for. Runs at precision HIGHEST in batches
    of ``batch`` positions, the last one filled up with its last position, so that it is compiled
    once for each (batch, size).
    """
    rows, columns = sliding.places
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij")).reshape(2, -1)
    image, fill = jnp.asarray(image, jnp.float32), jnp.asarray(fill, jnp.float32)
    unchanged, whole, whole_scores = _unchanged(parameters, image, sliding=sliding)
    at_once = min(batch or sliding.batch, grid.shape[1])

    def dispatched() -> Any:
        for start in range(0, grid.shape[1], at_once):
            chosen = np.minimum(np.arange(start, start + at_once), grid.shape[1] - 1)
            yield _at(parameters, unchanged, fill, *grid[:, chosen], sliding=sliding)

    sums: dict[str, list[np.ndarray]] = {name: [] for name in sliding.layers}
    scores: list[np.ndarray] = []
    for batch_sums, batch_scores in one_behind(dispatched()):
        for name, own in sums.items():
            own.append(np.asarray(batch_sums[name]))
        if batch_scores is not None:
            scores.append(np.asarray(batch_scores))

    def shaped(batches: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(batches)[: grid.shape[1]].reshape(len(rows), len(columns), -1)

    return Occluded(
        rows,
        columns,
        sliding.size,
        {name: np.asarray(values) for name, values in whole.items()},
        {name: shaped(batches) for name, batches in sums.items()},
        None if whole_scores is None else np.asarray(whole_scores),
        shaped(scores) if scores else None,
    )


@functools.partial(jax.jit, static_argnames="sliding")
def _unchanged(
    parameters: Parameters, image: Float[Array, "h w c"], *, sliding: Sliding
) -> tuple[dict[str, Array], dict[str, Array], Array | None]:
    """The image without the square: (its maps by layer and INPUT, sums of maps, scores)."""
    network, reruns = sliding.network, sliding.reruns
    maps = network.forward(parameters, image[None], until=_until(sliding))
    sums = {name: maps[name].sum(axis=(1, 2))[0] for name in sliding.layers}
    if reruns is None or not sliding.scored_alike:
        scores = None if sliding.scores is None else sliding.scores(parameters, image[None])
    else:
        scores = _scores_of(sliding, parameters, maps[reruns[-1].name])
    first = None if scores is None else scores[0]
    if reruns is None:
        return {INPUT: image}, sums, first
    kept = {rerun.below for rerun in reruns} | {reruns[-1].name}
    return {INPUT: image, **{name: maps[name][0] for name in kept - {INPUT}}}, sums, first


def _scores_of(
    sliding: Sliding, parameters: Parameters, maps: Float[Array, "n h w c"]
) -> Float32[Array, "n classes"]:
    """Our own networks' scores from their last maps."""
    forward = sliding.network.forward
    assert isinstance(forward, ArchitectureForward)
    return dense_scores(forward.architecture, parameters, maps, precision=lax.Precision.HIGHEST)


def _until(sliding: Sliding) -> str:
    """The last layer that is run."""
    reruns = sliding.reruns
    return sliding.network.highest(sliding.layers).name if not reruns else reruns[-1].name


@functools.partial(jax.jit, static_argnames="sliding")
def _at(
    parameters: Parameters,
    unchanged: dict[str, Array],
    fill: Float[Array, "h w c"],
    rows: Int[Any, " n"],
    columns: Int[Any, " n"],
    *,
    sliding: Sliding,
) -> tuple[dict[str, Array], Float32[Array, "n classes"] | None]:
    """Sums of maps [n, maps] by layer, and scores, with the square at these positions."""
    extent = (sliding.size, sliding.size, fill.shape[2])

    def cut(row: Array, column: Array) -> Array:
        return lax.dynamic_slice(fill, (row, column, jnp.zeros_like(row)), extent)

    square = Patch(jax.vmap(cut)(rows, columns), rows, columns)
    image, reruns = unchanged[INPUT], sliding.reruns
    if reruns is None:
        inputs = patching.laid_in(image, square)
        maps = sliding.network.forward(parameters, inputs, until=_until(sliding))
        sums = {name: maps[name].sum(axis=(1, 2)) for name in sliding.layers}
        return sums, None if sliding.scores is None else sliding.scores(parameters, inputs)
    patches = patching.patched(reruns, parameters, unchanged, square)
    sums = {name: patching.totals(unchanged[name], patches[name]) for name in sliding.layers}
    if sliding.scores is None:
        return sums, None
    if not sliding.scored_alike:
        return sums, sliding.scores(parameters, patching.laid_in(image, square))
    last = patches[reruns[-1].name]
    whole = last.cells if reruns[-1].whole else patching.laid_in(unchanged[reruns[-1].name], last)
    return sums, _scores_of(sliding, parameters, whole)


def map_projections(
    network: Network,
    parameters: Parameters,
    image: Float[Any, "h w c"],
    layer: str,
    maps: Int[np.ndarray, " n"],
    rule: Rule = RULES["deconvnet"],
) -> Float32[np.ndarray, "n h w c"]:
    """Each of these maps of one normalised image down to pixels: the signal is all of the map's
    activations at once, all other maps zero (``deconvnet.project`` is of one unit).
    """
    inputs = jnp.broadcast_to(jnp.asarray(image, jnp.float32), (len(maps), *np.shape(image)))
    settings = {"network": network, "layer": layer, "rule": rule}
    pull_down, signal = _up(parameters, inputs, jnp.asarray(maps, jnp.int32), **settings)
    return np.asarray(_down(pull_down, signal))


@functools.partial(jax.jit, static_argnames=("network", "layer", "rule"))
def _up(
    parameters: Parameters,
    inputs: Float[Array, "n h w c"],
    maps: Int[Array, " n"],
    *,
    network: Network,
    layer: str,
    rule: Rule,
) -> tuple[Any, Float[Array, "n rows columns maps"]]:
    def features(x: Float[Array, "n h w c"]) -> Float[Array, "n rows columns maps"]:
        return network.forward(parameters, x, until=layer, rule=rule)[layer]

    values, pull_down = jax.vjp(features, inputs)
    own = jnp.arange(values.shape[3])[None, None, None, :] == maps[:, None, None, None]
    return pull_down, jnp.where(own, values, jnp.zeros((), values.dtype))


@jax.jit
def _down(
    pull_down: Callable[[Array], tuple[Array]], signal: Float[Array, "n rows columns maps"]
) -> Float[Array, "n h w c"]:
    return pull_down(signal)[0]
