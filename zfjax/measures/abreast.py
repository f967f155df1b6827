"""Layers computed side by side, a core each. No JAX."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from zfjax.data.import_workers import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4
"""At a time: each holds the responses of a layer to all images."""


def side_by_side(compute: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``compute`` of each item, in order, on as many threads as this process has cores, 4 at most.
    For work that NumPy does, which leaves other threads be meanwhile; each result is what it would
    be alone. Raises what ``compute`` raises.
    """
    at_once = min(MOST, usable_cores())
    with ThreadPoolExecutor(at_once) as threads:
        under_way: deque[Future[Result]] = deque()
        try:
            for item in items:
                if len(under_way) == at_once:
                    yield under_way.popleft().result()
                under_way.append(threads.submit(compute, item))
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
