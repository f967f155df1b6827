"""The one owner of SIGINT, SIGTERM and ``sys.unraisablehook``.

A command unwinds on a signal (``stopping_gently``); training only takes note of it while it can
save (``noted``), and obeys where it likes. A second signal always ends the process at once, and a
signal that the caller's shell ignores (Ctrl-C on what runs in the background) stays ignored.

What a signal raises inside a callback of the garbage collector and its like is only printed by
Python, through ``sys.unraisablehook``: it is raised again. Who knows of complaints that are worth
nothing hands in a filter (``silent``, ``silence``).
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WATCHED = (signal.SIGTERM, signal.SIGINT)

Filter = Callable[[Any], bool]
"""Whether what ``sys.unraisablehook`` is given need not be told."""


class Terminated(BaseException):
    """SIGTERM outside of training: what is half-written is removed on the way out."""


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
    """SIGINT and SIGTERM only leave a notice. Outside of the main thread nothing is touched."""
    notice = Notice()
    with _handled_once(notice.take):
        yield notice


@contextmanager
def stopping_gently() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does: it raises Terminated, and SIGINT KeyboardInterrupt. Training
    has its own way while it can save. Outside of the main thread nothing is touched.
    """
    if not _in_main_thread():
        yield
        return
    hook = _hook()
    before, hook.raises_again = hook.raises_again, True
    try:
        with _handled_once(_unwind):
            yield
    finally:
        hook.raises_again = before
        hook.leave_if_idle()


@contextmanager
def silent(silences: Filter) -> Iterator[None]:
    """What ``silences`` knows is not told meanwhile."""
    hook = _hook()
    hook.filters.append(silences)
    try:
        yield
    finally:
        hook.filters.remove(silences)
        hook.leave_if_idle()


def silence(silences: Filter) -> None:
    """What ``silences`` knows is not told from here on, however long after its cause."""
    hook = _hook()
    if silences not in hook.filters:
        hook.filters.append(silences)


class _Hook:
    """``sys.unraisablehook`` while somebody has a say; what is left goes to the hook before."""

    def __init__(self, before: Callable[[Any], Any]):
        self.before = before
        self.filters: list[Filter] = []
        self.raises_again = False

    def __call__(self, unraisable: Any) -> None:
        if any(silences(unraisable) for silences in self.filters):
            return
        if self.raises_again and _is_a_stop(unraisable):
            _raise_again(unraisable.exc_value)
        else:
            self.before(unraisable)

    def leave_if_idle(self) -> None:
        if not self.filters and not self.raises_again and sys.unraisablehook is self:
            sys.unraisablehook = self.before


def _hook() -> _Hook:
    """The hook in place, put there where there is none of ours."""
    if not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook(sys.unraisablehook)
    return sys.unraisablehook


def _is_a_stop(unraisable: Any) -> bool:
    """Whether it was raised to end the program: KeyboardInterrupt, Terminated and their like."""
    return not issubclass(unraisable.exc_type, Exception | GeneratorExit | SystemExit)


_AGAIN_SECONDS = 0.01
"""After which Python has left the callback that would drop what is raised."""


def _raise_again(error: BaseException) -> None:
    def rung(number: int, frame: Any) -> None:
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
        raise error

    before = signal.signal(signal.SIGALRM, rung)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)


def _unwind(number: int) -> None:
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def _handled_once(act: Callable[[int], None]) -> Iterator[None]:
    """``act(number)`` on SIGTERM or SIGINT; a second one acts as if there were no Python. One that
    is ignored stays so. Outside of the main thread, which alone hears signals, nothing is touched.
    """
    if not _in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in WATCHED}
    before = {
        number: handler
        for number, handler in before.items()
        if handler not in (None, signal.SIG_IGN)
    }

    def handle(number: int, frame: Any) -> None:
        for watched in before:
            signal.signal(watched, signal.SIG_DFL)
        act(number)

    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
