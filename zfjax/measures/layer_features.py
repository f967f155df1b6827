"""Every layer's features of images, as a linear classifier reads them: maps averaged to at most 4 x
4 cells, fully connected layers as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfjax.data.dataset import NO_LABEL
from zfjax.data.views import Evaluated
from zfjax.errors import ZfjaxError
from zfjax.inputs import Preparation
from zfjax.network.architecture import Architecture
from zfjax.network.hidden import hidden_dense, hidden_values
from zfjax.network.model import Parameters
from zfjax.progress import Progress, tell_nobody
from zfjax.subject import ArchitectureForward, Network, Subject

CELLS = 4
"""Along each axis of a map that a feature is averaged over."""
BATCH = 64


@dataclass(frozen=True, eq=False)
class Features:
    """Of images, in their order; those that cannot be read are left out."""

    ids: np.ndarray
    """int64 [n]."""
    labels: np.ndarray
    """int64 [n]; NO_LABEL where an image has none."""
    layers: dict[str, np.ndarray]
    """float32 [n, features] by layer, in forward order."""

    @property
    def labelled(self) -> Features:
        """Those whose class is known."""
        known = self.labels != NO_LABEL
        layers = {name: values[known] for name, values in self.layers.items()}
        return Features(self.ids[known], self.labels[known], layers)


def own_architecture(network: Network) -> Architecture | None:
    """The architecture of one of our own networks; None of another."""
    forward = network.forward
    return forward.architecture if isinstance(forward, ArchitectureForward) else None


def readable_layers(network: Network) -> tuple[str, ...]:
    """The layers whose features can be had, in forward order: those that are looked at, and hidden
    fully connected ones of our own networks.
    """
    architecture = own_architecture(network)
    dense = () if architecture is None else hidden_dense(architecture)
    return (*network.layers, *dense)


def check_layers(network: Network, names: Sequence[str]) -> tuple[str, ...]:
    """``names`` in forward order. Raises ZfjaxError naming the layers there are."""
    there = readable_layers(network)
    for name in names:
        if name not in there:
            raise ZfjaxError(
                f"{network.name} has no hidden layer {name!r}; it has {', '.join(there)}."
            )
    return tuple(name for name in there if name in names)


def averaging(extent: int, cells: int = CELLS) -> np.ndarray:
    """float32 [at most ``cells``, extent]: the means that one axis is averaged by. Cell i of c is
    the mean of positions floor(i extent / c) up to, not including, ceil((i + 1) extent / c).
    """
    cells = min(cells, extent)
    matrix = np.zeros((cells, extent), np.float32)
    for cell in range(cells):
        first, last = cell * extent // cells, -(-(cell + 1) * extent // cells)
        matrix[cell, first:last] = 1 / (last - first)
    return matrix


def averaged(maps: jax.Array) -> jax.Array:
    """Maps [n, h, w, maps] over at most CELLS x CELLS cells: [n, cells * cells * maps]; what is
    [n, features] as it is.
    """
    if maps.ndim == 2:
        return maps
    rows, columns = (jnp.asarray(averaging(extent)) for extent in maps.shape[1:3])
    highest = lax.Precision.HIGHEST
    means = jnp.einsum("rh,nhwc,kw->nrkc", rows, maps, columns, precision=highest)
    return means.reshape(len(maps), -1)


@dataclass(frozen=True)
class _Way:
    """What is compiled: from views to features."""

    network: Network
    layers: tuple[str, ...]
    preparation: Preparation


@functools.partial(jax.jit, static_argnames="way")
def _features(
    parameters: Parameters, views: jax.Array, mean_image: jax.Array | None, *, way: _Way
) -> dict[str, jax.Array]:
    """{layer: float32 [n, features]} of views uint8 [n, view, view, c]."""
    inputs = way.preparation.inputs(views, mean_image)
    architecture = own_architecture(way.network)
    if architecture is None:
        until = way.network.highest(way.layers).name
        values = way.network.forward(parameters, inputs, until=until)
    else:
        values = hidden_values(architecture, parameters, inputs)
    return {name: averaged(values[name]).astype(jnp.float32) for name in way.layers}


def features_of(
    subject: Subject,
    step: int,
    images: Evaluated,
    layers: Sequence[str],
    progress: Progress | None = None,
) -> Features:
    """The features of all ``images`` by a saved step, of these layers, at precision HIGHEST. Raises
    ZfjaxError where one is not finite, and for a step that is absent or damaged.
    """
    tell = progress or tell_nobody
    whole = own_architecture(subject.network) is not None
    parameters = jax.device_put(subject.parameters(step, whole=whole))
    way = _Way(subject.network, tuple(layers), subject.preparation)
    ids, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    values: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    done = 0
    for batch in images.batches(BATCH, keep=True):
        real = batch["weight"] > 0
        of_batch = _features(parameters, batch["image"], subject.mean_image, way=way)
        ids.append(batch["image_id"][real].astype(np.int64))
        labels.append(batch["label"][real].astype(np.int64))
        for name, array in of_batch.items():
            rows = np.asarray(array)[real]
            if not np.isfinite(rows).all():
                raise ZfjaxError(
                    f"Step {step} gives features of {name} that are not finite: its parameters"
                    " have diverged; leave this step out with --at."
                )
            values[name].append(rows)
        done = min(done + BATCH, images.count)
        tell("features", done, images.count)
    arrays = {name: np.concatenate(rows) for name, rows in values.items() if rows}
    return Features(np.concatenate(ids), np.concatenate(labels), arrays)
