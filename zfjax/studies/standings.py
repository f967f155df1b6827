"""How far each run of a grid is, read from its folder. No JAX.

A run's outcome is its own file, RUN/cell.json, written when it has ended: finished, diverged (a
result, not a mistake) or failed. Without one it waits, has stopped, or is being trained.
"""

from __future__ import annotations

import time
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.files import is_locked, read_json, write_json

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
TRAINING, STOPPED, WAITING = "training", "stopped", "waiting"

OUTCOME, CORRECT, LOCK = "cell.json", "correct.npz", ".worker.lock"
WORKER = "worker.json"
"""Of the worker that has the run now: host, process, when it last said so, whether by a lock."""
FRESH_SECONDS = 180.0
"""Since a worker wrote: a process that died has missed two beats."""


@dataclass(frozen=True)
class Outcome:
    """How a run of a grid has ended; None is what is not known of it."""

    status: str
    when: float
    """Seconds since 1970."""
    message: str | None = None
    """Why it failed or diverged."""
    tries: int = 1
    top1: float | None = None
    """Share of the validation images that are right at the last epoch, 0..1."""
    top5: float | None = None
    train_top1: float | None = None
    """Of at most 10,000 training images, in the evaluation view, without dropout."""
    images: int | None = None
    """Of the validation split that count."""
    digest: str | None = None
    """Of the validation split."""
    seconds: float | None = None
    """Of training."""
    tuned: str | None = None
    """The value that was best for its cell, where one was sought."""


MADE_AGAIN = "delete it to have it made again"
NUMBERS = ("when", "tries", "top1", "top5", "train_top1", "images", "seconds")
"""Fields of an outcome."""


@dataclass(frozen=True)
class Standing:
    """One run: where it is, and its outcome where it has one."""

    status: str
    outcome: Outcome | None = None
    measuring: bool = False
    """Whether a worker has it though it has ended: it measures it."""


def standing(folder: Path) -> Standing:
    """Of the run in ``folder``; one whose cell.json is damaged has failed, and says so."""
    try:
        outcome = read_outcome(folder)
    except ZfjaxError as error:
        return Standing(FAILED, Outcome(FAILED, 0.0, str(error)))
    if outcome is not None and outcome.status in (FINISHED, DIVERGED):
        # A lock that nobody has is not touched: to look at it is to hold it for a moment.
        measuring = (folder / WORKER).exists() and _is_worked(folder)
        return Standing(outcome.status, outcome, measuring)
    if _is_worked(folder):
        return Standing(TRAINING, outcome)
    if outcome is not None:
        return Standing(FAILED, outcome)
    return Standing(STOPPED if (folder / "config.json").exists() else WAITING)


def _is_worked(folder: Path) -> bool:
    """Whether a worker has the run now: by its lock or, where it takes none (``--work 2/8``), by
    what it wrote within FRESH_SECONDS.
    """
    if is_locked(folder / LOCK):
        return True
    try:
        record: Any = read_json(folder / WORKER)
        return record["locked"] is False and time.time() - float(record["when"]) < FRESH_SECONDS
    except (ZfjaxError, KeyError, TypeError, ValueError):
        return False


def read_outcome(folder: Path) -> Outcome | None:
    """RUN/cell.json; None where there is none."""
    path = folder / OUTCOME
    if not path.exists():
        return None
    record: Any = read_json(path, MADE_AGAIN)
    known = [item.name for item in fields(Outcome)]
    try:
        outcome = Outcome(**{name: value for name, value in record.items() if name in known})
        _check_types(outcome)
    except (TypeError, AttributeError) as error:
        raise ZfjaxError(f"{path} is damaged: {error}; {MADE_AGAIN}.") from None
    return outcome


def _check_types(outcome: Outcome) -> None:
    """Raises TypeError for a number that is none, and an unknown status."""
    if outcome.status not in (FINISHED, DIVERGED, FAILED):
        raise TypeError(f"status is {outcome.status!r}")
    for name in NUMBERS:
        value = getattr(outcome, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"{name} is {value!r}, no number")


def save_outcome(folder: Path, outcome: Outcome) -> None:
    """Writes RUN/cell.json."""
    write_json(folder / OUTCOME, asdict(outcome))


def read_correct(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(hits, which images count), bool [images] each, of a finished run. Raises OSError, KeyError
    or ValueError for a file that is absent or damaged.
    """
    try:
        with np.load(folder / CORRECT, allow_pickle=False) as stored:
            images = int(stored["images"])
            rows = (np.unpackbits(stored[name], count=images) for name in ("top1", "counted"))
            hits, counted = (row.astype(bool) for row in rows)
    except (zipfile.BadZipFile, EOFError, TypeError) as error:
        raise ValueError(str(error)) from None
    except ValueError:  # NumPy's advice is to unpickle what is no archive
        raise ValueError("it is no archive of NumPy's") from None
    return hits, counted
