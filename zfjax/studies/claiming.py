"""Which worker trains which run: by a lock that its process loses when it dies, however it dies.
No JAX.

A lock that holds on one machine may not hold between machines: some network drives grant it to
both. So a worker writes its host and the time into the run's folder each minute, and one that gets
the lock where another host has just written stops. A worker without locks writes so too, for those
who look how far the grid is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfjax.errors import Busy, ZfjaxError, explain_os_error
from zfjax.files import exclusive_lock, read_json, write_json
from zfjax.studies.standings import FRESH_SECONDS, LOCK, WORKER

BEAT_SECONDS = 60.0


class LocksDoNotHold(ZfjaxError):
    """Two machines hold one lock."""

    def __init__(self, folder: Path, host: str, seconds: float):
        super().__init__(
            f"locks do not hold between machines here: {host} wrote into {folder} {seconds:.0f} s"
            " ago, and this machine was given its lock. Give each worker a part of the cells"
            " instead, without locks: --work 1/8, --work 2/8 and so on; or, if that machine is"
            " gone, wait three minutes."
        )


class CannotClaim(ZfjaxError):
    """A run's folder that cannot be written to."""


@dataclass
class Claim:
    """A run that this worker trains; ``check`` while it does."""

    folder: Path
    locked: bool = True
    """Whether its worker holds the run's lock; else nobody else will come."""
    host: str = field(default_factory=socket.gethostname)
    _other: LocksDoNotHold | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises LocksDoNotHold where another machine has written meanwhile."""
        if self._other is not None:
            raise self._other

    def beat(self) -> None:
        """Writes host and time, unless another machine has since."""
        if self.locked:
            self._other = self._other or _other_writer(self.folder, self.host)
        if self._other is None:
            record = {"host": self.host, "process": os.getpid(), "when": time.time()}
            write_json(self.folder / WORKER, {**record, "locked": self.locked})

    def keep_beating(self) -> None:
        """``beat`` each minute until ``end``."""
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(ZfjaxError):  # a full disk is told by who saves the run
                self.beat()

    def end(self) -> None:
        """The next worker may come at once, from any machine."""
        self._ended.set()
        with contextlib.suppress(OSError):
            if self._other is None:
                (self.folder / WORKER).unlink(missing_ok=True)


def _other_writer(folder: Path, host: str) -> LocksDoNotHold | None:
    path = folder / WORKER
    try:
        record: Any = read_json(path) if path.exists() else None
        seconds = time.time() - float(record["when"]) if record else FRESH_SECONDS
    except (ZfjaxError, KeyError, TypeError, ValueError):
        return None
    # Clocks differ by seconds: what was written in the future was written now.
    if record and record.get("host") != host and seconds < FRESH_SECONDS:
        return LocksDoNotHold(folder, str(record["host"]), max(seconds, 0.0))
    return None


@contextlib.contextmanager
def claimed(folder: Path, locked: bool = True) -> Iterator[Claim]:
    """Holds the run in ``folder``. Raises Busy where another worker has it, LocksDoNotHold where
    one on another machine has it in spite of the lock, CannotClaim where it cannot be written to.

    ``locked`` False: the caller knows that nobody else will come (``--work 2/8``).
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if locked:
                refusal = f"Another worker has {folder}."
                stack.enter_context(exclusive_lock(folder / LOCK, refusal))
            claim = Claim(folder, locked)
            claim.beat()
        except Busy:
            raise
        except OSError as error:
            raise CannotClaim(str(explain_os_error(error, f"write into {folder}:"))) from error
        except ZfjaxError as error:
            raise CannotClaim(str(error)) from error
        claim.check()
        threading.Thread(target=claim.keep_beating, daemon=True).start()
        try:
            yield claim
        finally:
            claim.end()
