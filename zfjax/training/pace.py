"""How fast training goes: how long the devices waited for data, and how far the host may run
ahead of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

STEPS_AHEAD = 2
"""Steps that the host may be ahead of the devices: else every batch of an epoch might lie there."""


class Pace:
    """Hands out batches and follows the steps made of them; use it in a ``with`` block, which ends
    its thread.
    """

    def __init__(self) -> None:
        self._watch = ThreadPoolExecutor(1, "steps")
        self._under_way: deque[Future[float]] = deque()
        """When each of the last steps was done, known once it is."""
        self.restart()

    def __enter__(self) -> Pace:
        return self

    def __exit__(self, *raised: object) -> None:
        self._watch.shutdown()

    def restart(self) -> None:
        """Counts from now on."""
        self._since, self._waited = time.monotonic(), 0.0

    def next(self, batches: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """The next batch; counts the time in which the devices had nothing to do."""
        asked = time.monotonic()
        batch = next(batches)
        last_step = self._under_way[-1] if self._under_way else None
        self._waited += idle_seconds(asked, time.monotonic(), last_step)
        return batch

    def follow(self, step: jax.Array) -> None:
        """Notes that the step which gives ``step`` (int32 []) is under way, and waits for the one
        STEPS_AHEAD before it.

        A thread waits for the end of each, so that its time is known without holding up the host.
        """
        # Of a copy: the state is donated to the next step, and ``step`` with it.
        self._under_way.append(self._watch.submit(_done_at, _copied(step)))
        if len(self._under_way) > STEPS_AHEAD:
            self._under_way.popleft().result()

    def seconds(self) -> tuple[float, float]:
        """(since the restart, of these without data); all steps must be done."""
        return time.monotonic() - self._since, self._waited


_copied = jax.jit(jnp.copy)


def _done_at(step: jax.Array) -> float:
    step.block_until_ready()
    return time.monotonic()


def idle_seconds(asked: float, got: float, last_step: Future[float] | None) -> float:
    """Of the seconds between asking for a batch and getting it, those in which the devices had
    nothing to do. ``last_step`` will give the time at which the last step was done; None: there was
    none.
    """
    if last_step is None:
        return got - asked
    return got - max(asked, last_step.result()) if last_step.done() else 0.0
