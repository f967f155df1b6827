"""One pass over the images for all checkpoints: what excites each feature map most, least, and in
between.

For every (step, map) the pass keeps the k strongest and the k weakest positive images, a histogram
of image maxima in fixed logarithmic bins, and a small seeded sample of each bin (statistics.py).
One entry an image: its spatial maximum. A batch is decoded and sent to the device once, then each
checkpoint's convolutions run on it; the host keeps the statistics, so device memory is flat in
epochs and images. The place of a maximum comes with it: rows are compared first, then the cells of
one row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Float32, Int32, UInt32

from zfjax.data.pipeline import Batch
from zfjax.devices import one_behind, spread, working_set
from zfjax.errors import ZfjaxError
from zfjax.features.asking import Request
from zfjax.features.statistics import (
    BINS,
    EDGE_BITS,
    EMPTY,
    FIRST_EDGE,
    SLOTS,
    Statistics,
    empty_statistics,
    merge_batch,
    priorities_of,
)
from zfjax.network.model import Parameters
from zfjax.subject import Network, Subject


@dataclass(frozen=True)
class Lanes:
    """What runs side by side. ``mesh``: this process's devices, over which a batch is spread (it
    must divide); None is one device. ``width``: checkpoints run side by side by vmap; more than 1
    makes grouped convolutions, slower on CPU.
    """

    mesh: Mesh | None = None
    width: int = 1


class _Batch(NamedTuple):
    """A batch on the device, in the order of the images' ids, padding last."""

    inputs: jax.Array
    ids: np.ndarray
    real: np.ndarray
    priorities: np.ndarray


class _Running(NamedTuple):
    """What a device is computing: the findings of these steps on a batch; ``last`` of its batch."""

    batch: _Batch
    step_indices: range
    findings: dict[str, jax.Array]
    last: bool


def search(
    subject: Subject,
    request: Request,
    batches: Iterable[Batch],
    *,
    lanes: Lanes = Lanes(),  # noqa: B008 (frozen)
    state: Statistics | None = None,
    after_batch: Callable[[Statistics, int], None] | None = None,
) -> Statistics:
    """Runs every checkpoint of the request on every batch once.

    ``batches``: dicts of image uint8 [n, h, w, 3], image_id int64 [n], weight float32 [n] (0:
    padding), equally sized. ``state``: statistics to go on from, added to in place.
    ``after_batch(statistics, images)`` is told how many images a batch added. Raises ZfjaxError
    naming step and image where an activation is not finite.
    """
    maps = sum(subject.layer(name).maps for name in request.layers)
    total = state or empty_statistics(len(request.steps), maps, request.top)
    # A device works while the host merges what it gave before. The step after the last one of a
    # batch is the first one of the next, so that reading and sending a batch is hidden as well.
    for running in one_behind(_dispatched(subject, request, batches, lanes)):
        findings = {name: np.asarray(value) for name, value in running.findings.items()}
        for lane, step_index in enumerate(running.step_indices):
            of_step = (
                findings
                if lanes.width == 1
                else {name: value[lane] for name, value in findings.items()}
            )
            if not of_step["finite"].all():
                image = running.batch.ids[int(np.argmin(of_step["finite"]))]
                raise ZfjaxError(
                    f"Step {request.steps[step_index]} gives activations that are not finite on"
                    f" image {image}: its parameters have diverged; leave this step out with --at."
                )
            merge_batch(total, step_index, of_step, running.batch.ids)
        if running.last and after_batch is not None:
            after_batch(total, int(running.batch.real.sum()))
    return total


def _dispatched(
    subject: Subject, request: Request, batches: Iterable[Batch], lanes: Lanes
) -> Iterator[_Running]:
    """Starts every group of ``lanes.width`` checkpoints on every batch."""
    mesh = None if lanes.mesh is None or lanes.mesh.size == 1 else lanes.mesh
    kept = _Kept(subject.network, request.layers, request.top, mesh)
    run = functools.partial(_batch_statistics, kept=kept)
    if lanes.width > 1:
        run = jax.vmap(run, in_axes=(0, None, None, None))
    count = len(request.steps)
    groups = [
        range(start, min(start + lanes.width, count)) for start in range(0, count, lanes.width)
    ]
    for views in batches:
        batch = _sent(subject, views, request.seed, mesh)
        for group in groups:
            checkpoints = [subject.parameters(request.steps[index]) for index in group]
            parameters = (
                checkpoints[0]
                if lanes.width == 1
                else jax.tree.map(lambda *leaves: jnp.stack(leaves), *checkpoints)
            )
            findings = run(parameters, batch.inputs, batch.real, batch.priorities)
            yield _Running(batch, group, findings, last=group is groups[-1])


def _sent(subject: Subject, batch: Batch, seed: int, mesh: Mesh | None) -> _Batch:
    """A batch on its way to the device. Ordered by id, because ``top_k`` breaks ties by position:
    so the lower id wins within a batch, as it does between batches.
    """
    order = np.argsort(
        np.where(batch["weight"] > 0, batch["image_id"], np.iinfo(np.int64).max), kind="stable"
    )
    ids, real = batch["image_id"][order], batch["weight"][order] > 0
    priorities = np.where(real, priorities_of(ids.astype(np.uint32), seed), EMPTY)
    views = batch["image"][order]
    on_device = jnp.asarray(views) if mesh is None else jax.device_put(views, spread(mesh))
    return _Batch(subject.prepare(on_device), ids, real, priorities)


@dataclass(frozen=True)
class _Kept:
    """What is compiled into ``_batch_statistics``: the ``k`` strongest and weakest images of these
    layers' maps; ``mesh``: None for one device.
    """

    network: Network
    layers: tuple[str, ...]
    k: int
    mesh: Mesh | None


@functools.partial(jax.jit, static_argnames="kept")
def _batch_statistics(
    parameters: Parameters,
    inputs: Float32[Array, "n h w c"],
    real: Bool[Array, " n"] | Bool[np.ndarray, " n"],
    priorities: UInt32[Array, " n"] | UInt32[np.ndarray, " n"],
    *,
    kept: _Kept,
) -> dict[str, Array]:
    """What ``merge_batch`` takes of one checkpoint on one batch. ``real``: no padding."""

    def find(parameters: Parameters, inputs: Array) -> tuple[Array, Array]:
        return _in_pieces(
            lambda piece: _image_maxima(
                parameters, piece, network=kept.network, layers=kept.layers
            ),
            inputs,
            images_at_once(kept.network),
        )

    if kept.mesh is not None:  # every device looks at its own images; what follows is small
        rows = PartitionSpec("batch")
        find = jax.shard_map(
            find, mesh=kept.mesh, in_specs=(PartitionSpec(), rows), out_specs=rows, check_vma=False
        )
    maxima, places = find(parameters, inputs)
    count, columns = maxima.shape
    ranks = min(kept.k, count)
    live = real[:, None]
    top_value, top_row = lax.top_k(jnp.where(live, maxima, -jnp.inf).T, ranks)
    low_value, low_row = lax.top_k(jnp.where(live & (maxima > 0), -maxima, -jnp.inf).T, ranks)
    top_place = jnp.take_along_axis(places.T, top_row, axis=1)
    # The histogram and the samples are scattered into one flat array of cells (map, bin).
    bits = lax.bitcast_convert_type(maxima, jnp.int32) >> EDGE_BITS
    bins = jnp.where(maxima > 0, jnp.clip(bits - FIRST_EDGE + 1, 1, BINS - 1), 0)
    cells = jnp.arange(columns)[None] * BINS + bins
    ones = jnp.broadcast_to(live, cells.shape).astype(jnp.int32)
    histogram = jnp.zeros(columns * BINS, jnp.int32).at[cells].add(ones)
    slots = cells * SLOTS + (priorities % SLOTS).astype(jnp.int32)[:, None]
    ranked = jnp.broadcast_to(priorities[:, None], slots.shape)
    chosen = jnp.full(columns * BINS * SLOTS, EMPTY).at[slots].min(ranked)
    wins = (chosen[slots] == ranked) & live
    value = jnp.zeros(columns * BINS * SLOTS, jnp.float32).at[slots].max(jnp.where(wins, maxima, 0))
    return {
        "top_value": top_value.T,
        "top_row": top_row.T,
        "top_place": top_place.T,
        "low_value": -low_value.T,
        "low_row": low_row.T,
        "histogram": histogram.reshape(columns, BINS),
        "sample_priority": chosen.reshape(columns, BINS, SLOTS),
        "sample_value": value.reshape(columns, BINS, SLOTS),
        "finite": jnp.isfinite(maxima).all(axis=1) | ~real,
    }


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def image_maxima(
    parameters: Parameters,
    inputs: Float[Array, "n h w c"] | Float[np.ndarray, "n h w c"],
    *,
    network: Network,
    layers: tuple[str, ...],
) -> tuple[Float[Array, "n maps"], Int32[Array, "n maps"]]:
    """Each map's maximum over each image (maps of all ``layers`` side by side) and its place (y *
    width + x), the same numbers that the pass finds. ``inputs``: normalised.
    """
    return _in_pieces(
        lambda piece: _image_maxima(parameters, piece, network=network, layers=layers),
        inputs,
        images_at_once(network),
    )


def search_batch(network: Network) -> int:
    """Images a batch: a power of two whose inputs fit the device's working set, 8 to 256. On CPU
    256 at 64 pixels and 16 at 224.
    """
    height, width = network.input_size
    return 2 ** max(3, min(8, (working_set() // (12 * height * width)).bit_length() - 1))


def images_at_once(network: Network) -> int:
    """Images to run at once: a power of two whose largest feature map fits the device's working
    set.
    """
    largest = max(layer.image_work.largest for layer in network.sequence)
    return 2 ** max(0, (working_set() // largest).bit_length() - 1)


def _in_pieces(run: Callable[[Array], Any], inputs: Any, size: int) -> Any:
    """``run`` over pieces of ``size`` rows one after the other; all at once where they are not
    more, or uneven.
    """
    count = len(inputs)
    if count <= size or count % size:
        return run(inputs)
    pieces = lax.map(run, inputs.reshape(count // size, size, *inputs.shape[1:]))
    return jax.tree.map(lambda values: values.reshape(count, *values.shape[2:]), pieces)


def _image_maxima(
    parameters: Parameters,
    inputs: Float[Array, "n h w c"],
    *,
    network: Network,
    layers: tuple[str, ...],
) -> tuple[Float[Array, "n maps"], Int32[Array, "n maps"]]:
    maps = network.forward(parameters, inputs, until=network.highest(layers).name)
    strongest = [_first_maximum(maps[layer]) for layer in layers]
    values, places = zip(*strongest, strict=True)
    return jnp.concatenate(values, axis=1), jnp.concatenate(places, axis=1)


def _first_maximum(
    x: Float[Array, "n h w maps"],
) -> tuple[Float[Array, "n maps"], Int32[Array, "n maps"]]:
    """(maximum, place) over the cells of x. Rows first, then the cells of one row: on CPU a few
    hundredths of a forward pass, where an argmax costs a fifth.
    """
    height, width = x.shape[1:3]
    of_rows = x.max(axis=2)
    value = of_rows.max(axis=1)

    def first(equal: Bool[Array, "n cells maps"], extent: int) -> Int32[Array, "n maps"]:
        positions = jnp.arange(extent, dtype=jnp.int32)[None, :, None]
        return jnp.where(equal, positions, extent - 1).min(axis=1)

    y = first(of_rows == value[:, None], height)
    row = jnp.take_along_axis(x, y[:, None, None], axis=1)[:, 0]
    return value, y * width + first(row == value[:, None], width)
