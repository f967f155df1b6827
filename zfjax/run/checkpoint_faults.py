"""What a failed save or load means, in words: the memory, the system, the disk, or damage.

Orbax and tensorstore raise errors of many kinds, some of which carry the system's error number in
their text alone. One table tells them apart. No JAX.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError, explain_os_error, first_line
from zfjax.signals import silent


class DamagedCheckpoint(ZfjaxError):
    """A saved step is absent, truncated or altered; not: the disk or the memory fails at
    present.
    """


@dataclass(frozen=True)
class Fault:
    """One cause of failures."""

    shows: Callable[[Exception], bool]
    """Whether an error has this cause."""
    explain: Callable[[Exception, str], ZfjaxError]
    """The sentence, of the error and of what was attempted: "save step 4 in RUN/resume"."""
    passing: bool
    """It says nothing of what is on disk: a load that meets it has met no damage."""


_PASSING = (
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EACCES,
    errno.EPERM,
    errno.ESTALE,
)
"""Errors that say nothing of the file: the disk, the memory or a limit of the system is at
fault.
"""


def _memory_is_short(error: Exception) -> bool:
    return isinstance(error, MemoryError)


def _system_fails_now(error: Exception) -> bool:
    return _system_code(error) in _PASSING


def _system_refuses(error: Exception) -> bool:
    return isinstance(error, OSError) or _system_code(error) is not None


def _disk_is_full(error: Exception) -> bool:
    return any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "No space left"))


def _anything(error: Exception) -> bool:
    return True


def _explain_memory(error: Exception, attempt: str) -> ZfjaxError:
    return ZfjaxError(f"Could not {attempt}: there is too little memory.")


def _explain_system(error: Exception, attempt: str) -> ZfjaxError:
    if not isinstance(error, OSError):
        code = _system_code(error) or 0
        error = OSError(code, os.strerror(code))
    return explain_os_error(error, f"{attempt}:")


def _explain_full_disk(error: Exception, attempt: str) -> ZfjaxError:
    return ZfjaxError(
        f"Could not {attempt}: the disk is full; free space and run the command again."
    )


def _explain_anything(error: Exception, attempt: str) -> ZfjaxError:
    return ZfjaxError(f"Could not {attempt}: {first_line(error)}")


FAULTS = (
    Fault(_memory_is_short, _explain_memory, passing=True),
    Fault(_system_fails_now, _explain_system, passing=True),
    Fault(_system_refuses, _explain_system, passing=False),
    Fault(_disk_is_full, _explain_full_disk, passing=False),
    Fault(_anything, _explain_anything, passing=False),
)
"""The first that shows is the cause."""


def _cause(error: Exception) -> Fault:
    return next(fault for fault in FAULTS if fault.shows(error))


def _system_code(error: Exception) -> int | None:
    """The system's error number: the error's own, or the one in a message of tensorstore's."""
    if code := getattr(error, "errno", None):
        return int(code)
    match = re.search(r"os_error_code='(\d+)'", str(error))
    return int(match[1]) if match else None


@contextmanager
def saving(attempt: str) -> Iterator[None]:
    """A failure within is raised as ZfjaxError, one sentence: "Could not ``attempt``: ..."."""
    try:
        with _quiet():
            yield
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise _cause(error).explain(error, attempt) from error


def kind_and_words(error: Exception) -> str:
    """A library's error in a few words: its kind, and what it says up to the first long path."""
    said = (str(error).splitlines() or [""])[0].split()
    words = " ".join(word for word in said if "/" not in word and len(word) < 40)
    short = words[:120].rsplit(" ", 1)[0] if len(words) > 120 else words
    return f"{type(error).__name__}: {short}".rstrip(": ")


def kind(error: Exception) -> str:
    """The kind of an error alone."""
    return type(error).__name__


@contextmanager
def damage_named(
    path: Path, advice: str = "", words: Callable[[Exception], str] = kind_and_words
) -> Iterator[None]:
    """A failure within is raised as DamagedCheckpoint, with ``words`` of it and ``advice``; as
    ZfjaxError where it is no sign of damage.
    """
    try:
        with _quiet():
            yield
    except Exception as error:  # noqa: BLE001 (Orbax raises many kinds for a damaged folder)
        if (cause := _cause(error)).passing:
            code = _system_code(error)  # without a file's path: ``path`` says enough
            bare = OSError(code, os.strerror(code)) if code else error
            raise cause.explain(bare, f"read the checkpoint {path}") from None
        raise DamagedCheckpoint(
            f"The checkpoint {path} cannot be read ({words(error)}){advice}."
        ) from None


_AFTERMATH_SECONDS = 1.0
"""For which Orbax's tasks go on complaining after a failure."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Orbax logs pages of errors for one damaged file, and its abandoned tasks complain for a
    moment after the failure; the sentence that we raise says it all.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio", "concurrent.futures")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with silent(_is_no_stop):
            try:
                yield
            except Exception:
                # What the failure has left behind complains when it is collected: now, unheard.
                time.sleep(_AFTERMATH_SECONDS)
                gc.collect()
                raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_no_stop(unraisable: Any) -> bool:
    return issubclass(unraisable.exc_type, Exception)
