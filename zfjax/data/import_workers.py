"""The processes of an import: stopped at once with it, and counted together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from zfjax.errors import ZfjaxError

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The pool, and the number of images that its processes have finished."""

    pool: ProcessPoolExecutor
    counter: Any

    @property
    def images_done(self) -> int:
        """Of all processes together."""
        return int(self.counter.value)


_finished: Any = None
"""In a worker: the counter it shares with the others; multiprocessing hands it to a process as it
begins, never with a task."""


def count_one_image() -> None:
    """Called in a worker, after each image."""
    if _finished is not None:
        with _finished.get_lock():
            _finished.value += 1


def _start_worker(counter: Any) -> None:
    """A worker leaves signals, which a whole group may get, to its parent, and ends when that is
    gone, however it went.
    """
    global _finished
    _finished = counter
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def start_workers(count: int) -> Iterator[Workers]:
    """Processes that are stopped at once when the block fails."""
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count, mp_context=context, initializer=_start_worker, initargs=(counter,)
    )
    try:
        yield Workers(pool, counter)
        pool.shutdown()
    except BaseException:
        # One that a signal has met half-way into the pool is in no list of the pool's; Python would
        # wait for its end.
        for process in {
            *multiprocessing.active_children(),
            *(pool._processes or {}).values(),
        } - before:
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def result_of(future: Future[T]) -> T:
    """What a task has given. Raises what it raised, and ZfjaxError where its process died."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise ZfjaxError(
            "A worker process of the import died (was memory short?); the same command goes on from"
            " the finished shards, --workers sets how many run at once."
        ) from None


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
