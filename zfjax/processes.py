"""Processes that act as one: what one does for all, what all do together, and what they tell each
other.

One program runs in every process. Process 0 alone writes; the others wait where what it writes
matters. A process alone waits for nobody: each of these then costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.progress import Progress, tell_nobody
from zfjax.waiting import attended

Result = TypeVar("Result")


def _attended(wait: Callable[[], Result], whom: str) -> Result:
    """A wait for other processes that hears signals, and says ``whom`` it waits for."""

    def words(seconds: float) -> str:
        return f"process {jax.process_index()} waits for {whom} ({seconds:.0f} s)."

    return attended(wait, words)


def jax_state() -> Any:
    """What JAX knows of the processes so far, and where they leave notices: private to it."""
    with contextlib.suppress(ImportError, AttributeError):
        from jax._src import distributed

        return distributed.global_state
    return None


def is_first() -> bool:
    """Whether this is process 0, which writes."""
    return jax.process_index() == 0


def of_first(progress: Progress | None) -> Progress:
    """What is told to the person who watches, by process 0 alone."""
    return progress if progress is not None and is_first() else tell_nobody


def first_alone(work: Callable[[], Result]) -> Result | None:
    """``work()`` in process 0 while the others wait, and get None; its ZfjaxError ends them all.

    It may take hours: the others ask, again and again, for a word that process 0 leaves when it is
    done, and no collective is open meanwhile, which a backend would end after its time.
    """
    if jax.process_count() == 1:
        return work()
    own = np.array([secrets.randbits(31), secrets.randbits(31)], np.int32)
    name = "zfjax/alone/{:x}-{:x}".format(*from_first(own).tolist())
    if not is_first():
        if not _attended(lambda: _heard(name), "process 0"):
            raise ZfjaxError("Process 0 stopped; its message says why.")
        return None
    done = False
    try:
        result = work()
        done = True
        return result
    finally:
        _say(name, done)


NOTICE_SECONDS = 10.0
"""For which one question after a notice waits; then it is asked again."""


def _store() -> Any:
    """Where processes leave notices: JAX's own; None where it has none."""
    return getattr(jax_state(), "client", None)


def _say(name: str, done: bool) -> None:
    """Process 0 leaves whether it is ``done`` under a ``name`` of its own."""
    if (store := _store()) is None:
        from_first(np.int32(done))
    else:
        store.key_value_set(name, str(int(done)))


def _heard(name: str) -> bool:
    """What process 0 leaves under ``name``, however late. Raises what JAX does when the processes
    have parted.
    """
    while True:
        if (store := _store()) is None:
            return bool(from_first(np.int32(0)))
        try:
            return store.blocking_key_value_get(name, round(1000 * NOTICE_SECONDS)) == "1"
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def together(work: Callable[[], Result]) -> Result:
    """``work()`` in every process; a ZfjaxError in any ends them all."""
    if jax.process_count() == 1:
        return work()
    from jax.experimental import multihost_utils

    results, error = [], None
    try:
        results.append(work())
    except ZfjaxError as raised:
        error = raised
    own = np.int32(error is not None)
    failed = _attended(lambda: multihost_utils.process_allgather(own), "the others")
    if failed.any():
        raise error or ZfjaxError(
            f"Process {int(np.argmax(failed))} stopped; its message says why."
        )
    return results[0]


def added(values: np.ndarray) -> np.ndarray:
    """The sum over all processes of int64 values from 0 to below 2**54, exact; all must ask."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    # In halves: JAX would make int32 of int64.
    halves = np.stack([values & (2**24 - 1), values >> 24]).astype(np.int32)
    gathered = _attended(lambda: multihost_utils.process_allgather(halves), "the others")
    low, high = gathered.astype(np.int64).sum(axis=0)
    return low + (high << 24)


def from_first(tree: Any) -> Any:
    """Process 0's arrays in every process; the others give arrays of the same shapes."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    told = _attended(lambda: multihost_utils.broadcast_one_to_all(tree), "process 0")
    return jax.tree.map(np.asarray, told)


def as_first(numbers: Sequence[int] | None) -> tuple[int, ...]:
    """Process 0's integers, below 2**31, in every process; what the others give does not matter."""
    numbers = tuple(numbers or ())
    count = int(from_first(np.int32(len(numbers))))
    own = np.array(numbers if is_first() else [0] * count, np.int32)
    return tuple(from_first(own).tolist()) if count else ()


VISIBLE_SECONDS = 60.0
"""For which a file that another machine has written may be out of sight: network drives keep old
lists for a while.
"""


def seen_by_all(path: Path) -> None:
    """Returns when every process sees ``path`` as process 0 does. Raises ZfjaxError when one does
    not in time: then it looks at a folder of its own.
    """
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


def barrier(name: str) -> None:
    """Returns when every process is here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        _attended(lambda: multihost_utils.sync_global_devices(name), "the others")
