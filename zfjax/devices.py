"""The mesh: parameters on every device, the batch spread over them; and how much work to hand a device at a time."""

from __future__ import annotations

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from zfjax.files import ZfjaxError


def data_mesh(batch_size: int, count: int | None = None) -> Mesh:
    """A mesh of ``count`` devices (default all); its one axis is the batch, which they must divide, else ZfjaxError."""
    devices = jax.devices()
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise ZfjaxError(f"--devices {count}: there are {len(devices)}.")
    if batch_size % count:
        raise ZfjaxError(f"A batch of {batch_size} does not spread over {count} devices; use a multiple, or --devices.")
    return Mesh(np.array(devices[:count]), ("batch",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def spread(mesh: Mesh) -> NamedSharding:
    """The first axis over the devices."""
    return NamedSharding(mesh, PartitionSpec("batch"))


def working_set() -> int:
    """Bytes that the largest array of one piece of work should take: on CPU what stays in cache and in pages already
    mapped (a ZFNet forward pass of 16 images takes 1.8 times as long at once as in twos), elsewhere plenty."""
    return 2**24 if jax.default_backend() == "cpu" else 2**30
