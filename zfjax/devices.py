"""The mesh: parameters on every device, the batch spread over them; how much work at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from zfjax.errors import ZfjaxError

Dispatched = TypeVar("Dispatched")


def explain_fault(fault: Exception) -> ZfjaxError | None:
    """One clear sentence for what a device reports of full memory or of another process's end; None
    for all else.
    """
    cause = (str(fault).splitlines() or [""])[0][:200]
    # A small program is run within the call, and what fails there comes as a plain ValueError.
    if not isinstance(fault, jax.errors.JaxRuntimeError | ValueError):
        return None
    if "RESOURCE_EXHAUSTED" in cause:
        return ZfjaxError(
            f"A device's memory is full ({cause}); train with a smaller --batch-size or with"
            " --optimizer.accumulate 2 or more, or end other programs on the device."
        )
    if jax.distributed.is_initialized() and any(
        word in cause for word in ("Gloo", "NCCL", "UNAVAILABLE")
    ):
        return ZfjaxError(
            f"Another process of this run has ended, and its own messages say why ({cause}); the"
            " same command goes on from the last state that was saved."
        )
    return None


def data_mesh(batch_size: int, count: int | None = None) -> Mesh:
    """A mesh of ``count`` devices (default all, of all processes); its one axis is the batch, which
    they must divide, else ZfjaxError.
    """
    devices = jax.devices()
    if count is not None and jax.process_count() > 1:
        raise ZfjaxError("--devices is for one process; many use all their devices.")
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise ZfjaxError(f"--devices {count}: there are {len(devices)}.")
    if batch_size % count:
        raise ZfjaxError(
            f"A batch of {batch_size} does not spread over {count} devices; use a multiple, or"
            " --devices."
        )
    return Mesh(np.array(devices[:count]), ("batch",), axis_types=(AxisType.Auto,))


def local_mesh() -> Mesh:
    """A mesh of this process's own devices."""
    return Mesh(np.array(jax.local_devices()), ("batch",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def spread(mesh: Mesh) -> NamedSharding:
    """The first axis over the devices."""
    return NamedSharding(mesh, PartitionSpec("batch"))


SHARDED_FROM = 2**16
"""Elements from which on a parameter is worth sharding."""


def sharding_of(mesh: Mesh, leaf: Any, shard: bool) -> NamedSharding:
    """Where a leaf of the training state lies: with ``shard`` a large one is cut along its longest
    axis that the devices divide (fully connected layers are nine tenths of ZFNet), all else is on
    every device.
    """
    if shard and leaf.size >= SHARDED_FROM:
        for axis in np.argsort(leaf.shape)[::-1]:
            if leaf.shape[axis] % mesh.size == 0:
                return NamedSharding(mesh, PartitionSpec(*[None] * axis, "batch"))
    return replicated(mesh)


def whole(tree: Any) -> Any:
    """A NumPy copy of every leaf, whole, in every process; all must ask."""

    def gathered(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.array(leaf)

    return jax.tree.map(gathered, tree)


def keep_compiled(folder: Path) -> None:
    """Keeps compiled programs in ``folder`` for later starts, unless the user has chosen a place
    (JAX_COMPILATION_CACHE_DIR). Not on CPU, where a program fits one kind of processor only and
    compiles fast.
    """
    chosen = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if jax.default_backend() != "cpu" and not chosen:
        jax.config.update("jax_compilation_cache_dir", str(folder))


def place(mesh: Mesh, share: Any) -> Any:
    """A tree of this process's rows of a global batch, on the devices of all."""
    if jax.process_count() == 1:
        return jax.device_put(share, spread(mesh))

    def put(rows: Any) -> jax.Array:
        return jax.make_array_from_process_local_data(spread(mesh), np.asarray(rows))

    with jax.transfer_guard("allow"):  # asked for here, though JAX does not count it as asked for
        return jax.tree.map(put, share)


def place_key(mesh: Mesh, seed: int) -> jax.Array:
    """The key of a seed on every device. Its numbers are placed: JAX 0.10.2 refuses to place a key
    itself on devices of other processes.
    """
    numbers = np.asarray(jax.random.key_data(jax.random.key(seed)))
    return jax.random.wrap_key_data(jax.device_put(numbers, replicated(mesh)))


def in_parts(rows: jax.Array, parts: int) -> jax.Array:
    """[n, ...] as [parts, n / parts, ...]; every device gives some of its own rows to each part."""
    return jnp.swapaxes(rows.reshape(len(rows) // parts, parts, *rows.shape[1:]), 0, 1)


def working_set() -> int:
    """Bytes that the largest array of one piece of work should take: on CPU what stays in cache and
    in pages already mapped (a ZFNet forward pass of 16 images takes 1.8 times as long at once as in
    twos), elsewhere plenty.
    """
    return 2**24 if jax.default_backend() == "cpu" else 2**30


def one_behind(dispatched: Iterable[Dispatched]) -> Iterator[Dispatched]:
    """The items of ``dispatched``, each only when the next one is there.

    Devices work on their own: an item whose values are still being computed costs nothing until
    they are fetched. So whoever dispatches work in a generator and fetches what comes out of this
    keeps the device busy with the next item while the host deals with the one before.
    """
    before: list[Dispatched] = []
    for item in dispatched:
        yield from before
        before = [item]
    yield from before
