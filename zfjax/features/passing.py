"""The pass: every checkpoint on every image once, for whoever keeps something of it.

A batch is decoded and sent to the device once, then each checkpoint's convolutions run on it, in
pieces that fit the device's working set. What rides along (``Rider``) sees the feature maps of a
piece while they are there, and what it makes of a batch comes to the host, where it is merged: so
device memory is flat in epochs and images, and one forward pass serves all riders. The search for
the strongest images is one of them (strongest.py), each measure another (zfjax/measures).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from zfjax.data.pipeline import Batch
from zfjax.devices import one_behind, spread, working_set
from zfjax.errors import ZfjaxError
from zfjax.features.riding import Arrays, Computed, Look, Marks, Rider, Sent
from zfjax.features.statistics import EMPTY, priorities_of
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


@dataclass(frozen=True)
class Route:
    """What a pass goes by: the checkpoints, the layers, the seed of samples."""

    steps: tuple[int, ...]
    layers: tuple[str, ...]
    """In forward order."""
    seed: int = 0
    probe: np.ndarray | None = None
    """int64: the ids of the images that measures look at; None: all."""


@dataclass(frozen=True)
class _Compiled:
    """What is compiled into ``_of_batch``; ``mesh``: None for one device."""

    network: Network
    layers: tuple[str, ...]
    riders: tuple[tuple[str, Computed], ...]
    mesh: Mesh | None


class _Running(NamedTuple):
    """What a device is computing: the results of these steps on a batch; ``last`` of its batch."""

    batch: Sent
    step_indices: range
    results: dict[str, Arrays]
    last: bool


def pass_over(
    subject: Subject,
    route: Route,
    batches: Iterable[Batch],
    riders: Sequence[Rider],
    *,
    lanes: Lanes = Lanes(),  # noqa: B008 (frozen)
    after_batch: Callable[[int], None] | None = None,
) -> None:
    """Runs every checkpoint of the route on every batch once, the last one first; the riders keep
    what they want.

    ``batches``: dicts of image uint8 [n, h, w, 3], image_id int64 [n], weight float32 [n] (0:
    padding), label int32 [n] where it is known, equally sized. ``after_batch(images)`` is told how
    many images a batch added. Raises ZfjaxError naming step and image where an activation is not
    finite.
    """
    # A device works while the host merges what it gave before. The step after the last one of a
    # batch is the first one of the next, so that reading and sending a batch is hidden as well.
    diverged: dict[int, int] = {}
    for running in one_behind(_dispatched(subject, route, batches, riders, lanes)):
        results = jax.tree.map(np.asarray, running.results)
        for lane, step_index in reversed(list(enumerate(running.step_indices))):
            of_step = (
                results
                if lanes.width == 1
                else jax.tree.map(lambda value, lane=lane: value[lane], results)
            )
            finite = of_step[_FINITE][_FINITE]
            if not finite.all():
                diverged[step_index] = int(running.batch.ids[int(np.argmin(finite))])
                continue
            for rider in riders:
                rider.add(step_index, of_step[rider.name], running.batch)
        if running.last and diverged:
            step_index, image = min(diverged.items())
            raise ZfjaxError(
                f"Step {route.steps[step_index]} gives activations that are not finite on"
                f" image {image}: its parameters have diverged; leave this step out with --at."
            )
        if running.last and after_batch is not None:
            after_batch(int(running.batch.marks.real.sum()))


def _dispatched(
    subject: Subject, route: Route, batches: Iterable[Batch], riders: Sequence[Rider], lanes: Lanes
) -> Iterator[_Running]:
    """Starts every group of ``lanes.width`` checkpoints on every batch, the one with the last step
    first: what follows its winners through the others knows them by then.
    """
    mesh = None if lanes.mesh is None or lanes.mesh.size == 1 else lanes.mesh
    named = tuple((rider.name, rider.computed) for rider in riders)
    run = functools.partial(
        _of_batch, compiled=_Compiled(subject.network, route.layers, named, mesh)
    )
    if lanes.width > 1:
        run = jax.vmap(run, in_axes=(0, None, None))
    count = len(route.steps)
    groups = [
        range(start, min(start + lanes.width, count)) for start in range(0, count, lanes.width)
    ]
    groups = groups[-1:] + groups[:-1]
    for views in batches:
        batch = _sent(subject, views, route, mesh)
        for group in groups:
            checkpoints = [subject.parameters(route.steps[index]) for index in group]
            parameters = (
                checkpoints[0]
                if lanes.width == 1
                else jax.tree.map(lambda *leaves: jnp.stack(leaves), *checkpoints)
            )
            results = run(parameters, batch.inputs, batch.marks)
            yield _Running(batch, group, results, last=group is groups[-1])


def _sent(subject: Subject, batch: Batch, route: Route, mesh: Mesh | None) -> Sent:
    """A batch on its way to the device. Ordered by id, because ``top_k`` breaks ties by position:
    so the lower id wins within a batch, as it does between batches.
    """
    order = np.argsort(
        np.where(batch["weight"] > 0, batch["image_id"], np.iinfo(np.int64).max), kind="stable"
    )
    ids, real = batch["image_id"][order], batch["weight"][order] > 0
    labels = batch["label"][order] if "label" in batch else np.full(len(ids), -1, np.int32)
    priorities = np.where(real, priorities_of(ids.astype(np.uint32), route.seed), EMPTY)
    probed = real if route.probe is None else real & np.isin(ids, route.probe)
    views = batch["image"][order]
    on_device = jnp.asarray(views) if mesh is None else jax.device_put(views, spread(mesh))
    return Sent(subject.prepare(on_device), ids, Marks(real, labels, priorities, probed))


_FINITE = "finite"


@functools.partial(jax.jit, static_argnames="compiled")
def _of_batch(
    parameters: Parameters, inputs: Float[Array, "n h w c"], marks: Marks, *, compiled: _Compiled
) -> dict[str, Arrays]:
    """What the riders take of one checkpoint on one batch, and which of its images are finite."""

    def look(parameters: Parameters, inputs: Array, marks: Marks) -> dict[str, Arrays]:
        def of_piece(piece: tuple[Array, Marks]) -> dict[str, Arrays]:
            seen = Look(compiled.network, compiled.layers, parameters, *piece)
            rows = {name: computed.of_piece(seen) for name, computed in compiled.riders}
            return {**rows, _FINITE: {_FINITE: jnp.isfinite(seen.strongest[0]).all(axis=1)}}

        return in_pieces(of_piece, (inputs, marks), images_at_once(compiled.network))

    if compiled.mesh is not None:  # every device looks at its own images; what follows is small
        rows = PartitionSpec("batch")
        look = jax.shard_map(
            look,
            mesh=compiled.mesh,
            in_specs=(PartitionSpec(), rows, rows),
            out_specs=rows,
            check_vma=False,
        )
    pieces = look(parameters, inputs, marks)
    results = {name: computed.of_batch(pieces[name], marks) for name, computed in compiled.riders}
    return {**results, _FINITE: {_FINITE: pieces[_FINITE][_FINITE] | ~jnp.asarray(marks.real)}}


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


def in_pieces(run: Callable[[Any], Any], rows: Any, size: int) -> Any:
    """``run`` over pieces of ``size`` rows (of an array or a tree of arrays) one after the other;
    all at once where they are not more, or uneven.
    """
    count = len(jax.tree.leaves(rows)[0])
    if count <= size or count % size:
        return run(rows)
    pieces = jax.tree.map(lambda x: x.reshape(count // size, size, *x.shape[1:]), rows)
    results = lax.map(run, pieces)
    return jax.tree.map(
        lambda values: values.reshape(values.shape[0] * values.shape[1], *values.shape[2:]), results
    )
