"""Projection of units that lie on the same images: one forward pass for all units of an image.

Where a layer sees the whole image, and its strongest images are few, most of its units share their
image with others. The forward pass then runs once an image of a batch, and what it stores for the
way down (the switches) is laid out once a unit. Numbers are those of ``deconvnet.project``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from zfjax.devices import one_behind
from zfjax.features import deconvnet
from zfjax.features.deconvnet import Places, Projected, Way, units_per_batch
from zfjax.network.model import Parameters

SHARES = (0.75, 0.5, 0.25)
"""Images of a batch by its units: each is compiled apart."""
UP, DOWN = 2, 3
"""What a forward pass and a way down cost, relative to one another: five convolutions at 64 pixels.
"""
WORTHWHILE, OF_FEW = 0.95, 0.85
"""Of the time without sharing, at most; less of few batches, for it may have to be compiled."""
FEW_BATCHES = 4


@dataclass(frozen=True)
class Batch:
    """Units that are projected at once."""

    units: Int[np.ndarray, " units"]
    """Which."""
    firsts: Int[np.ndarray, " images"]
    """Of each image in it, the place of one of its units among ``units``."""
    images: Int[np.ndarray, " units"]
    """Of each unit, the place of its image among ``firsts``."""


def project(
    way: Way,
    parameters: Parameters,
    places: Places,
    images: Int[np.ndarray, " units"],
    inputs_of: Callable[[Int[np.ndarray, " units"], Places], Any],
    seed: float | None = None,
) -> Iterator[Projected]:
    """``deconvnet.project`` of units on these ``images`` (numbers that tell them apart), in any
    order; forward passes are shared where that is worth it.
    """
    size = units_per_batch(way.layer, way.method, len(images))
    batches = shared_batches(images, size) if way.method == "image" else None
    if batches is None:
        yield from deconvnet.project(way, parameters, places, inputs_of, seed=seed)
        return
    most = max(len(batch.firsts) for batch in batches)

    def dispatched() -> Iterator[tuple[Batch, Array, Array]]:
        for batch in batches:
            units, owners = _padded(batch.units, size), _padded(batch.images, size)
            here = Places(*(np.asarray(values, np.int32)[units] for values in places))
            inputs = inputs_of(units, here)[_padded(batch.firsts, most)]
            yield batch, *_projected(way, parameters, inputs, _Shared(here, owners), seed)

    for batch, tiles, activations in one_behind(dispatched()):
        real = len(batch.units)
        yield Projected(batch.units, np.asarray(tiles)[:real], np.asarray(activations)[:real])


def shared_batches(images: Int[np.ndarray, " units"], size: int) -> list[Batch] | None:
    """Batches of at most ``size`` units, each with the same most images, as cheap as can be; None
    where every unit had better have its own forward pass.
    """
    plain = -(-len(images) // size)
    allowed = OF_FEW if plain < FEW_BATCHES else WORTHWHILE
    best, cost = None, allowed * plain * size * (UP + DOWN)
    for share in SHARES:
        most = max(1, int(share * size))
        batches = _batches(images, size, most)
        if len(batches) * (most * UP + size * DOWN) < cost:
            best, cost = batches, len(batches) * (most * UP + size * DOWN)
    return best


def _batches(images: Int[np.ndarray, " units"], size: int, most: int) -> list[Batch]:
    """Units by image, cut wherever there are ``size``, or ``most`` images."""
    order = np.argsort(images, kind="stable")
    starts, start = [0], 0
    new = np.concatenate([[True], np.diff(images[order]) != 0])
    for at in range(1, len(order)):
        here = 1 + int(new[start + 1 : at + 1].sum())
        if at - start == size or here > most:
            starts.append(at)
            start = at
    batches = []
    for units in np.split(order, starts[1:]):
        _, firsts, owners = np.unique(images[units], return_index=True, return_inverse=True)
        batches.append(Batch(units, firsts, owners))
    return batches


def _padded(rows: Int[np.ndarray, " rows"], size: int) -> Int[np.ndarray, " size"]:
    """As many as ``size``, with the last one again."""
    return rows[np.minimum(np.arange(size), len(rows) - 1)]


class _Shared(NamedTuple):
    """Units of one layer on images that they share."""

    places: Places
    images: Any
    """int [units]: rows of the inputs."""


def _projected(
    way: Way, parameters: Parameters, inputs: Any, units: _Shared, seed: float | None
) -> tuple[Float[Array, "units height width c"], Float[Array, " units"]]:
    """As ``deconvnet.project_cut``, of units on ``inputs`` [images, h, w, channels]."""
    pull_down, activations = deconvnet.up(parameters, inputs, units.places, units.images, way=way)
    signal = activations if seed is None else jax.numpy.full_like(activations, seed)
    return _down(pull_down, parameters, inputs, (units, signal), way=way), activations


@functools.partial(jax.jit, static_argnames="way")
def _down(
    pull_down: Any,
    parameters: Parameters,
    inputs: Float[Array, "images h w c"],
    signals: tuple[_Shared, Float[Array, " units"]],
    *,
    way: Way,
) -> Float[Array, "units height width c"]:
    """The way down of each unit's signal, through what its image's forward pass has stored."""
    units, signal = signals
    own = inputs[units.images]
    like, _ = jax.eval_shape(
        functools.partial(deconvnet.up, way=way), parameters, own, units.places
    )
    stored = laid_out(pull_down, like, units.images)
    if stored is None:
        stored, _ = deconvnet.up(parameters, own, units.places, way=way)
    return deconvnet.down(stored, signal, units.places, way=way)


def laid_out(stored: Any, like: Any, rows: Int[Array, " units"]) -> Any | None:
    """What forward passes of images have stored, as those of ``rows`` of them would have it.
    ``like``: its form for as many units; None where that does not tell images from all else.
    """
    leaves, (forms, structure) = jax.tree.leaves(stored), jax.tree.flatten(like)
    if len(leaves) != len(forms):
        return None
    laid = []
    for leaf, form in zip(leaves, forms, strict=True):
        if leaf.ndim != len(form.shape) or leaf.dtype != form.dtype:
            return None
        axes = [axis for axis in range(leaf.ndim) if leaf.shape[axis] != form.shape[axis]]
        if any(form.shape[axis] != len(rows) for axis in axes) or len(axes) > 1:
            return None
        laid.append(leaf if not axes else jax.numpy.take(leaf, rows, axis=axes[0]))
    return jax.tree.unflatten(structure, laid)
