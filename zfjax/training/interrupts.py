"""Where a signal is obeyed: where the state can be saved, at a step that all processes agree on."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from zfjax.devices import place, replicated
from zfjax.errors import ZfjaxError
from zfjax.signals import Notice


class Interrupted(ZfjaxError):
    """Training stopped on a signal with its state saved; ``exit_status`` is 128 + the signal's
    number.
    """

    def __init__(self, number: int, step: int, last_step: int):
        name = signal.Signals(number).name
        super().__init__(
            f"Stopped on {name} at step {step} of {last_step}; the same command goes on from there."
        )
        self.exit_status = 128 + number


class Stopped(BaseException):
    """A signal was agreed on; the state is whole."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Stop:
    """Turns the notice of a signal into Stopped, in all processes at the same place."""

    def __init__(self, mesh: Mesh, notice: Notice):
        self._agreed, self._notice = agreement(mesh), notice

    def obey(self) -> None:
        """Raises Stopped when there is a signal to obey; all processes must come here equally
        often.
        """
        if number := self._agreed(self._notice()):
            raise Stopped(number)

    def at_once(self) -> AbstractContextManager[None]:
        """While all is saved: a signal raises Stopped wherever the program is. Not with many
        processes: each is at a place of its own, and they obey together later.
        """
        return self._notice.at_once(Stopped) if jax.process_count() == 1 else nullcontext()


def agreement(mesh: Mesh) -> Callable[[int], int]:
    """A function that every process calls once a step with the signal it has received (0: none),
    and that gives all of them the same answer at the same step: a signal that any of them had two
    steps ago. The answer is read when the device has long passed it, so nothing waits. A process
    alone gets its own answer at once.
    """
    if jax.process_count() == 1:
        return _own
    greatest = jax.jit(jnp.max, out_shardings=replicated(mesh))
    under_way: deque[jax.Array] = deque()

    def agreed(number: int) -> int:
        under_way.append(greatest(place(mesh, np.full(jax.local_device_count(), number, np.int32))))
        return int(jax.device_get(under_way.popleft())) if len(under_way) > 2 else 0

    return agreed


def _own(number: int) -> int:
    return number
