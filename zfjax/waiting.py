"""A wait that hears signals and says what it waits for. No JAX.

JAX waits for other processes in C++, where no signal is heard: the wait goes to a thread of its
own, and the main thread listens.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

SAY_AFTER, SAY_EVERY = 10.0, 60.0
"""Seconds until a wait is told of, and between words of it."""


def attended(
    wait: Callable[[], Result], words: Callable[[float], str], most: float | None = None
) -> Result:
    """``wait()``, in a thread, while this one hears signals: what a signal raises ends the wait.

    ``words(seconds)`` says on standard error, now and then, what is waited for. Raises what
    ``wait`` raises, and TimeoutError after ``most`` seconds.
    """
    results: list[Result] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            results.append(wait())
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that listens)
            faults.append(error)

    worker = threading.Thread(target=work, name="waiting", daemon=True)
    worker.start()
    begun, say_at = time.monotonic(), SAY_AFTER
    while worker.is_alive():
        worker.join(0.1)
        waited = time.monotonic() - begun
        if most is not None and waited > most:
            raise TimeoutError
        if waited > say_at and worker.is_alive():
            say_at += SAY_EVERY
            print(f"zfjax: {words(waited)}", file=sys.stderr, flush=True)
    if faults:
        raise faults[0]
    return results[0]
