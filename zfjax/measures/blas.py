"""One thread of OpenBLAS at a time. No JAX.

The products that measures take are small, and OpenBLAS has its threads wait for each other by
spinning: on a machine that is shared with others, two threads were measured to take ten times the
processor time of one, and fifteen times as long.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIXES = ("64_", "")
PREFIXES = ("scipy_openblas", "openblas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within this, NumPy and SciPy compute products in the caller's thread alone, where they bring
    OpenBLAS; elsewhere it does nothing.
    """
    before = [(library, get_threads(library)) for library in _libraries()]
    for library, _ in before:
        _call(library, "set_num_threads", 1)
    try:
        yield
    finally:
        for library, threads in before:
            _call(library, "set_num_threads", threads)


def get_threads(library: ctypes.CDLL) -> int:
    """How many threads this OpenBLAS uses; 1 where it does not say."""
    return _call(library, "get_num_threads") or 1


def _libraries() -> list[ctypes.CDLL]:
    """The OpenBLAS libraries that are loaded."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "openblas" in line}
    libraries = []
    for path in sorted(paths):
        try:
            libraries.append(ctypes.CDLL(path))
        except OSError:
            continue
    return libraries


def _call(library: ctypes.CDLL, what: str, *arguments: int) -> int | None:
    for prefix in PREFIXES:
        for suffix in SUFFIXES:
            function = getattr(library, f"{prefix}_{what}{suffix}", None)
            if function is not None:
                return int(function(*arguments))
    return None
