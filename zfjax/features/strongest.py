"""One pass over the images for all checkpoints: what excites each feature map most, least, and in
between.

For every (step, map) the pass keeps the k strongest and the k weakest positive images, a histogram
of image maxima in fixed logarithmic bins, and a small seeded sample of each bin. One entry an
image: its spatial maximum. Order and ties are lexicographic on (-value, image id), whatever the
batches; merging is exact and commutative. A batch is decoded and sent to the device once, then each
checkpoint's convolutions run on it; the host keeps the statistics, so device memory is flat in
epochs and images. The place of a maximum comes with it: rows are compared first, then the cells of
one row."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from zfjax.devices import spread, working_set
from zfjax.errors import ZfjaxError
from zfjax.network.architecture import Architecture
from zfjax.network.model import Parameters, feature_maps

BINS = 128
"""Bin 0 holds images where the map is silent; bins 1.. hold four to an octave, from LOWEST_EDGE
up."""
SLOTS = 2
"""Images sampled of each bin."""
LOWEST_EDGE = 2.0**-16
# A float32's exponent and its two highest mantissa bits: four bins an octave, by integers alone.
_EDGE_BITS = 21
_FIRST = (127 - 16) << 2
_EMPTY = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class Statistics:
    """What the pass has gathered; arrays over (steps, ..., maps of all layers side by side)."""

    top_value: np.ndarray
    """float32 [steps, k, maps], descending; -inf where fewer images were seen."""
    top_id: np.ndarray
    """int64 [steps, k, maps]; -1 where empty."""
    top_place: np.ndarray
    """int32 [steps, k, maps]: where the maximum lies, y * width + x; the first place in reading
    order wins a tie."""
    low_value: np.ndarray
    """float32 [steps, k, maps]: the weakest positive maxima, ascending; inf where empty."""
    low_id: np.ndarray
    histogram: np.ndarray
    """int64 [steps, maps, BINS]."""
    sample_priority: np.ndarray
    """uint32 [steps, maps, BINS, SLOTS]: the seeded rank of a sampled image, which names it; all
    ones where empty."""
    sample_value: np.ndarray
    """float32 [steps, maps, BINS, SLOTS]."""

    @property
    def images(self) -> int:
        """Images seen."""
        return int(self.histogram[0, 0].sum()) if self.histogram.size else 0


def empty_statistics(steps: int, maps: int, k: int) -> Statistics:
    """Statistics of no image."""
    return Statistics(
        np.full((steps, k, maps), -np.inf, np.float32),
        np.full((steps, k, maps), -1, np.int64),
        np.zeros((steps, k, maps), np.int32),
        np.full((steps, k, maps), np.inf, np.float32),
        np.full((steps, k, maps), -1, np.int64),
        np.zeros((steps, maps, BINS), np.int64),
        np.full((steps, maps, BINS, SLOTS), _EMPTY),
        np.zeros((steps, maps, BINS, SLOTS), np.float32),
    )


def merge(one: Statistics, other: Statistics) -> Statistics:
    """Statistics of the images of both, which must share none."""
    tops = [(held.top_value, held.top_id, held.top_place) for held in (one, other)]
    lows = [(held.low_value, held.low_id) for held in (one, other)]
    top, low = _ordered(*tops, descending=True), _ordered(*lows, descending=False)
    return Statistics(*top, *low, one.histogram + other.histogram, *_sampled(one, other))


def _ordered(one: tuple, other: tuple, descending: bool) -> list[np.ndarray]:
    """The best of both on axis -2, as many as ``one`` holds; each a tuple of values, ids and what
    belongs to them."""
    k = one[0].shape[-2]
    joined = [np.concatenate(pair, axis=-2) for pair in zip(one, other, strict=True)]
    order = np.lexsort((joined[1], -joined[0] if descending else joined[0]), axis=-2)[..., :k, :]
    return [np.take_along_axis(values, order, -2) for values in joined]


def _sampled(one, other):
    better = other.sample_priority < one.sample_priority
    return (
        np.where(better, other.sample_priority, one.sample_priority),
        np.where(better, other.sample_value, one.sample_value),
    )


def _merge_step(
    total: Statistics, index: int, found: dict[str, np.ndarray], ids: np.ndarray
) -> None:
    """Adds one batch's findings of one step into ``total``, in place: the pass holds one copy of
    its statistics."""
    for kind, empty, descending in (("top", -np.inf, True), ("low", np.inf, False)):
        values, rows = found[f"{kind}_value"], found[f"{kind}_row"]
        new = [values, np.where(values == empty, -1, ids[rows])]
        held = [getattr(total, f"{kind}_value"), getattr(total, f"{kind}_id")]
        if kind == "top":
            new.append(found["top_place"])
            held.append(total.top_place)
        for target, kept in zip(
            held, _ordered([one[index] for one in held], new, descending), strict=True
        ):
            target[index] = kept
    total.histogram[index] += found["histogram"]
    better = found["sample_priority"] < total.sample_priority[index]
    np.copyto(total.sample_priority[index], found["sample_priority"], where=better)
    np.copyto(total.sample_value[index], found["sample_value"], where=better)


def search(
    architecture: Architecture,
    checkpoints: Sequence[Parameters],
    batches: Iterable[dict[str, np.ndarray]],
    *,
    layers: tuple[str, ...],
    k: int,
    prepare: Callable[[jax.Array], jax.Array],
    seed: int = 0,
    width: int = 1,
    state: Statistics | None = None,
    step_names: Sequence[str] | None = None,
    mesh: Mesh | None = None,
    after_batch: Callable[[Statistics, int], None] | None = None,
) -> Statistics:
    """Runs every checkpoint on every batch once.

    ``batches``: dicts of image uint8 [n, h, w, 3], image_id int64 [n], weight float32 [n] (0:
    padding), equally sized. ``prepare``: views to normalised inputs, on the device. ``width``:
    checkpoints run side by side by vmap; more than 1 makes grouped convolutions, slower on CPU.
    ``state``: statistics to go on from, added to in place. ``mesh``: this process's devices, over
    which a batch is spread (it must divide); None is one device. ``after_batch(statistics,
    images)`` is told how many images a batch added. Raises ZfjaxError naming step and image where
    an activation is not finite."""
    maps = sum(architecture.conv(layer).maps for layer in layers)
    total = state or empty_statistics(len(checkpoints), maps, k)
    names = step_names or [str(index) for index in range(len(checkpoints))]
    mesh = None if mesh is None or mesh.size == 1 else mesh
    run = functools.partial(
        _batch_statistics, architecture=architecture, layers=layers, k=k, mesh=mesh
    )
    if width > 1:
        run = jax.vmap(run, in_axes=(0, None, None, None))
    groups = [
        range(start, min(start + width, len(checkpoints)))
        for start in range(0, len(checkpoints), width)
    ]
    for batch in batches:
        order = np.argsort(
            np.where(batch["weight"] > 0, batch["image_id"], np.iinfo(np.int64).max), kind="stable"
        )
        ids, weights = batch["image_id"][order], batch["weight"][order] > 0
        priorities = np.where(weights, _mix(ids.astype(np.uint32), seed), _EMPTY)
        views = batch["image"][order]
        inputs = prepare(
            jnp.asarray(views) if mesh is None else jax.device_put(views, spread(mesh))
        )
        pending = None
        for group in [*groups, None]:
            found = None
            if group is not None:
                chosen = [checkpoints[index] for index in group]
                stacked = (
                    chosen[0]
                    if width == 1
                    else jax.tree.map(lambda *leaves: jnp.stack(leaves), *chosen)
                )
                found = (
                    group,
                    run(stacked, inputs, weights, priorities),
                )  # runs while the host merges the one before
            if pending is not None:
                indices, arrays = (
                    pending[0],
                    {name: np.asarray(value) for name, value in pending[1].items()},
                )
                for place, index in enumerate(indices):
                    one = (
                        arrays
                        if width == 1
                        else {name: value[place] for name, value in arrays.items()}
                    )
                    if not one["finite"].all():
                        image = ids[int(np.argmin(one["finite"]))]
                        raise ZfjaxError(
                            f"Step {names[index]} gives activations that are not finite on image"
                            f" {image}: its parameters have diverged; leave this step out with"
                            " --at."
                        )
                    _merge_step(total, index, one, ids)
            pending = found
        if after_batch is not None:
            after_batch(total, int(weights.sum()))
    return total


@functools.partial(jax.jit, static_argnames=("architecture", "layers", "k", "mesh"))
def _batch_statistics(parameters, inputs, weights, priorities, *, architecture, layers, k, mesh):
    def find(parameters, inputs):
        return _in_pieces(
            lambda some: _image_maxima(architecture, parameters, some, layers),
            inputs,
            images_at_once(architecture),
        )

    if mesh is not None:  # every device looks at its own images; what follows is small
        rows = PartitionSpec("batch")
        find = jax.shard_map(
            find, mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows, check_vma=False
        )
    maxima, places = find(parameters, inputs)
    count, columns = maxima.shape
    kept = min(k, count)
    real = weights[:, None]
    top_value, top_row = lax.top_k(jnp.where(real, maxima, -jnp.inf).T, kept)
    low_value, low_row = lax.top_k(jnp.where(real & (maxima > 0), -maxima, -jnp.inf).T, kept)
    top_place = jnp.take_along_axis(places.T, top_row, axis=1)
    bits = lax.bitcast_convert_type(maxima, jnp.int32) >> _EDGE_BITS
    bins = jnp.where(maxima > 0, jnp.clip(bits - _FIRST + 1, 1, BINS - 1), 0)
    cells = jnp.arange(columns)[None, :] * BINS + bins
    ones = jnp.broadcast_to(real, cells.shape).astype(jnp.int32)
    histogram = jnp.zeros(columns * BINS, jnp.int32).at[cells].add(ones)
    slots = cells * SLOTS + (priorities % SLOTS).astype(jnp.int32)[:, None]
    spread = jnp.broadcast_to(priorities[:, None], slots.shape)
    chosen = jnp.full(columns * BINS * SLOTS, _EMPTY).at[slots].min(spread)
    wins = (chosen[slots] == spread) & real
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
        "finite": jnp.isfinite(maxima).all(axis=1) | ~weights,
    }


@functools.partial(jax.jit, static_argnames=("architecture", "layers"))
def image_maxima(
    parameters: Parameters,
    inputs: jax.Array,
    *,
    architecture: Architecture,
    layers: tuple[str, ...],
) -> tuple[jax.Array, jax.Array]:
    """Each map's maximum over each image (float32 [n, maps of all layers]) and its place (int32, y
    * width + x), the same numbers that the pass finds. ``inputs``: normalised [n, h, w, 3]."""
    return _in_pieces(
        lambda some: _image_maxima(architecture, parameters, some, layers),
        inputs,
        images_at_once(architecture),
    )


def search_batch(architecture: Architecture) -> int:
    """Images a batch: a power of two whose inputs fit the device's working set, 8 to 256. On CPU
    256 at 64 pixels and 16 at 224."""
    height, width = architecture.input_size
    return 2 ** max(3, min(8, (working_set() // (12 * height * width)).bit_length() - 1))


def images_at_once(architecture: Architecture) -> int:
    """Images to run at once: a power of two whose largest feature map fits the device's working
    set."""
    largest = max(4 * int(np.prod(fact.shape)) for fact in architecture.facts())
    return 2 ** max(0, (working_set() // largest).bit_length() - 1)


def _in_pieces(run: Callable[[jax.Array], Any], inputs: jax.Array, size: int) -> Any:
    """``run`` over pieces of ``size`` rows one after the other; all at once where they are not
    more, or uneven."""
    count = len(inputs)
    if count <= size or count % size:
        return run(inputs)
    found = lax.map(run, inputs.reshape(count // size, size, *inputs.shape[1:]))
    return jax.tree.map(lambda part: part.reshape(count, *part.shape[2:]), found)


def _image_maxima(architecture, parameters, inputs, layers):
    maps = feature_maps(
        architecture,
        parameters,
        inputs,
        until=highest(architecture, layers),
        precision=lax.Precision.HIGHEST,
    )
    found = [_first_maximum(maps[layer]) for layer in layers]
    return tuple(jnp.concatenate(parts, axis=1) for parts in zip(*found, strict=True))


def _first_maximum(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(maximum [n, c], place int32 [n, c]) over the cells of x [n, h, w, c]. Rows first, then the
    cells of one row: on CPU a few hundredths of a forward pass, where an argmax costs a fifth."""
    height, width = x.shape[1:3]
    of_rows = x.max(axis=2)
    value = of_rows.max(axis=1)
    first = lambda equal, extent: jnp.where(
        equal, jnp.arange(extent, dtype=jnp.int32)[:, None], extent - 1
    ).min(axis=1)
    y = first(of_rows == value[:, None], height)
    row = jnp.take_along_axis(x, y[:, None, None], axis=1)[:, 0]
    return value, y * width + first(row == value[:, None], width)


def highest(architecture: Architecture, layers: Sequence[str]) -> str:
    """The layer of ``layers`` that lies highest: the forward pass may stop there."""
    return max(layers, key=architecture.conv_names.index)


def bin_of(values: np.ndarray) -> np.ndarray:
    """The histogram bin of float32 values, as the pass computes it."""
    values = np.asarray(values, np.float32)
    bits = values.view(np.int32) >> _EDGE_BITS
    return np.where(values > 0, np.clip(bits - _FIRST + 1, 1, BINS - 1), 0)


def quantile_samples(
    statistics: Statistics, step: int, quantile: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each map one seeded image of the bin that holds this quantile of its maxima: (float32
    [maps], int64 [maps]).

    Value 0 and id -1 where the map is silent there.
    """
    histogram = statistics.histogram[step]
    wanted = np.ceil(quantile * histogram.sum(axis=1) - 1e-6).clip(
        1
    )  # 0.07 * 100 is a little more than 7
    bins = (np.cumsum(histogram, axis=1) >= wanted[:, None]).argmax(axis=1)
    columns = np.arange(len(bins))
    priorities = statistics.sample_priority[step][columns, bins]
    slot = priorities.argmin(axis=1)
    priority, value = priorities[columns, slot], statistics.sample_value[step][columns, bins, slot]
    silent = (bins == 0) | (priority == _EMPTY)
    return np.where(silent, 0, value), np.where(silent, -1, _unmix(priority, seed).astype(np.int64))


def _mix(ids: np.ndarray, seed: int) -> np.ndarray:
    """A seeded one-to-one scrambling of uint32 (the finaliser of MurmurHash3)."""
    x = ids ^ np.uint32(seed * 0x9E3779B1 % 2**32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def _unmix(priorities: np.ndarray, seed: int) -> np.ndarray:
    """The ids of ``_mix``'s results."""
    x = priorities ^ (priorities >> np.uint32(16))
    x = x * np.uint32(pow(0xC2B2AE35, -1, 2**32))
    x = x ^ (x >> np.uint32(13)) ^ (x >> np.uint32(26))
    x = x * np.uint32(pow(0x85EBCA6B, -1, 2**32))
    x = x ^ (x >> np.uint32(16))
    return x ^ np.uint32(seed * 0x9E3779B1 % 2**32)


def assign(target: Statistics, source: Statistics) -> None:
    """Overwrites ``target`` with ``source``, in place."""
    for name in Statistics.__dataclass_fields__:
        getattr(target, name)[...] = getattr(source, name)


def statistics_arrays(statistics: Statistics) -> dict[str, Any]:
    """The arrays by name, to save."""
    return {name: getattr(statistics, name) for name in Statistics.__dataclass_fields__}
