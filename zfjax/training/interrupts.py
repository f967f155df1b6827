"""SIGINT and SIGTERM: noted at once, obeyed where the state can be saved, at a step that all
processes agree on."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from zfjax.devices import place, replicated
from zfjax.errors import ZfjaxError


class Interrupted(ZfjaxError):
    """Training stopped on a signal with its state saved; ``exit_status`` is 128 + the signal's
    number."""

    def __init__(self, number: int, step: int, last_step: int):
        name = signal.Signals(number).name
        super().__init__(
            f"Stopped on {name} at step {step} of {last_step}; the same command goes on from there."
        )
        self.exit_status = 128 + number


class Notice:
    """The signal received so far: call it for its number, 0 before there is one."""

    def __init__(self) -> None:
        self._number = 0
        self._raised: Callable[[int], BaseException] | None = None

    def __call__(self) -> int:
        """Its number."""
        return self._number

    @contextmanager
    def at_once(self, error: Callable[[int], BaseException]) -> Iterator[None]:
        """While all is saved: a signal raises ``error(number)`` wherever the program is."""
        self._raised = error
        try:
            if self._number:
                raise error(self._number)
            yield
        finally:
            self._raised = None

    def take(self, number: int) -> None:
        """Notes a signal."""
        self._number = number
        if self._raised is not None:
            raise self._raised(number)


@contextmanager
def noted() -> Iterator[Notice]:
    """SIGINT and SIGTERM only leave a notice. A second signal acts as usual; one that the caller's
    shell ignores (Ctrl-C on what runs in the background) stays ignored."""
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {
        number: handler
        for number, handler in before.items()
        if handler not in (None, signal.SIG_IGN)
    }

    def note(number: int, frame: Any) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        notice.take(number)

    try:
        for number in before:
            signal.signal(number, note)
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def agreement(mesh: Mesh) -> Callable[[int], int]:
    """A function that every process calls once a step with the signal it has received (0: none),
    and that gives all of them the same answer at the same step: a signal that any of them had two
    steps ago. The answer is read when the device has long passed it, so nothing waits. A process
    alone gets its own answer at once."""
    if jax.process_count() == 1:
        return lambda number: number
    greatest = jax.jit(jnp.max, out_shardings=replicated(mesh))
    under_way: deque[jax.Array] = deque()

    def agreed(number: int) -> int:
        under_way.append(greatest(place(mesh, np.full(jax.local_device_count(), number, np.int32))))
        return int(under_way.popleft()) if len(under_way) > 2 else 0

    return agreed
