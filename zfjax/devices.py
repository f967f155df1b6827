"""The mesh: parameters on every device, the batch spread over them; processes that act as one; how
much work at a time.

One program runs in every process. Process 0 alone writes; the others wait where what it writes
matters."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from zfjax.errors import ZfjaxError

Found = TypeVar("Found")
Dispatched = TypeVar("Dispatched")


def explain_fault(fault: Exception) -> ZfjaxError | None:
    """One clear sentence for what a device reports of full memory or of another process's end; None
    for all else."""
    cause = (str(fault).splitlines() or [""])[0][:200]
    if not isinstance(fault, jax.errors.JaxRuntimeError):
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


def is_first() -> bool:
    """Whether this is process 0, which writes."""
    return jax.process_index() == 0


def first_alone(work: Callable[[], Found]) -> Found | None:
    """``work()`` in process 0 while the others wait, and get None; its ZfjaxError ends them all."""
    if jax.process_count() == 1:
        return work()
    from jax.experimental import multihost_utils

    found, error = None, None
    if is_first():
        try:
            found = work()
        except ZfjaxError as raised:
            error = raised
    if multihost_utils.broadcast_one_to_all(np.int32(error is not None)):
        raise error or ZfjaxError("Process 0 stopped; its message says why.")
    return found


def together(work: Callable[[], Found]) -> Found:
    """``work()`` in every process; a ZfjaxError in any ends them all."""
    if jax.process_count() == 1:
        return work()
    from jax.experimental import multihost_utils

    found, error = None, None
    try:
        found = work()
    except ZfjaxError as raised:
        error = raised
    failed = multihost_utils.process_allgather(np.int32(error is not None))
    if failed.any():
        raise error or ZfjaxError(
            f"Process {int(np.argmax(failed))} stopped; its message says why."
        )
    return found


def added(values: np.ndarray) -> np.ndarray:
    """The sum over all processes of int64 values from 0 to below 2**54, exact; all must ask."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    halves = np.stack([values & (2**24 - 1), values >> 24]).astype(
        np.int32
    )  # JAX would make int32 of int64
    low, high = multihost_utils.process_allgather(halves).astype(np.int64).sum(axis=0)
    return low + (high << 24)


def from_first(tree: Any) -> Any:
    """Process 0's arrays in every process; the others give arrays of the same shapes."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(tree))


def as_first(numbers: Sequence[int] | None) -> tuple[int, ...]:
    """Process 0's integers, below 2**31, in every process; what the others give does not matter."""
    numbers = tuple(numbers or ())
    count = int(from_first(np.int32(len(numbers))))
    given = np.array(numbers if is_first() else [0] * count, np.int32)
    return tuple(from_first(given).tolist()) if count else ()


VISIBLE_SECONDS = 60.0
"""For which a file that another machine has written may be out of sight: network drives keep old
lists for a while."""


def seen_by_all(path: Path) -> None:
    """Returns when every process sees ``path`` as process 0 does. Raises ZfjaxError when one does
    not in time: then it looks at a folder of its own."""
    if jax.process_count() == 1:
        return

    def own() -> np.ndarray:
        try:
            return np.frombuffer(hashlib.sha256(path.read_bytes()).digest(), np.uint8)
        except OSError:  # not there yet, or just being replaced
            return np.zeros(32, np.uint8)

    wanted = from_first(own())

    def look() -> None:
        until = time.monotonic() + VISIBLE_SECONDS
        while not np.array_equal(own(), wanted):
            if time.monotonic() > until:
                raise ZfjaxError(
                    f"Process {jax.process_index()} does not see what process 0 has written to"
                    f" {path}: all need the same --workdir, on a disk that all of them share."
                )
            time.sleep(0.1)

    together(look)


def data_mesh(batch_size: int, count: int | None = None) -> Mesh:
    """A mesh of ``count`` devices (default all, of all processes); its one axis is the batch, which
    they must divide, else ZfjaxError."""
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


def barrier(name: str) -> None:
    """Returns when every process is here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


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
    every device."""
    if shard and leaf.size >= SHARDED_FROM:
        for axis in np.argsort(leaf.shape)[::-1]:
            if leaf.shape[axis] % mesh.size == 0:
                return NamedSharding(mesh, PartitionSpec(*[None] * axis, "batch"))
    return replicated(mesh)


def whole(tree: Any) -> Any:
    """A NumPy copy of every leaf, whole, in every process; all must ask."""

    def one(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        ):
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        return np.array(leaf)

    return jax.tree.map(one, tree)


def keep_compiled(folder: Path) -> None:
    """Keeps compiled programs in ``folder`` for later starts, unless the user has chosen a place
    (JAX_COMPILATION_CACHE_DIR). Not on CPU, where a program fits one kind of processor only and
    compiles fast."""
    if jax.default_backend() != "cpu" and not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(folder))


def place(mesh: Mesh, share: Any) -> Any:
    """A tree of this process's rows of a global batch, on the devices of all."""
    if jax.process_count() == 1:
        return jax.device_put(share, spread(mesh))
    put = lambda rows: jax.make_array_from_process_local_data(spread(mesh), np.asarray(rows))
    return jax.tree.map(put, share)


def in_parts(rows: jax.Array, parts: int) -> jax.Array:
    """[n, ...] as [parts, n / parts, ...]; every device gives some of its own rows to each part."""
    return jnp.swapaxes(rows.reshape(len(rows) // parts, parts, *rows.shape[1:]), 0, 1)


def working_set() -> int:
    """Bytes that the largest array of one piece of work should take: on CPU what stays in cache and
    in pages already mapped (a ZFNet forward pass of 16 images takes 1.8 times as long at once as in
    twos), elsewhere plenty."""
    return 2**24 if jax.default_backend() == "cpu" else 2**30


def one_behind(dispatched: Iterable[Dispatched]) -> Iterator[Dispatched]:
    """The items of ``dispatched``, each only when the next one is there.

    Devices work on their own: an item whose values are still being computed costs nothing until
    they are fetched. So whoever dispatches work in a generator and fetches what comes out of this
    keeps the device busy with the next item while the host deals with the one before."""
    before: list[Dispatched] = []
    for item in dispatched:
        yield from before
        before = [item]
    yield from before
