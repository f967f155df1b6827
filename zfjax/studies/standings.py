"""How far each run of a grid is, read from its folder. No JAX.

A run's outcome is its own file, RUN/cell.json, written when it has ended: finished, diverged (a
result, not a mistake) or failed. Without one it waits, has stopped, or is being trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.files import is_locked, read_json, write_json

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
TRAINING, STOPPED, WAITING = "training", "stopped", "waiting"

OUTCOME, CORRECT, LOCK = "cell.json", "correct.npz", ".worker.lock"


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


@dataclass(frozen=True)
class Standing:
    """One run: where it is, and its outcome where it has one."""

    status: str
    outcome: Outcome | None = None


def standing(folder: Path) -> Standing:
    """Of the run in ``folder``. Raises ZfjaxError for a damaged cell.json."""
    outcome = read_outcome(folder)
    if outcome is not None and outcome.status in (FINISHED, DIVERGED):
        return Standing(outcome.status, outcome)
    if is_locked(folder / LOCK):
        return Standing(TRAINING, outcome)
    if outcome is not None:
        return Standing(FAILED, outcome)
    return Standing(STOPPED if (folder / "config.json").exists() else WAITING)


def read_outcome(folder: Path) -> Outcome | None:
    """RUN/cell.json; None where there is none."""
    path = folder / OUTCOME
    if not path.exists():
        return None
    record: Any = read_json(path)
    known = [item.name for item in fields(Outcome)]
    try:
        return Outcome(**{name: value for name, value in record.items() if name in known})
    except (TypeError, AttributeError) as error:
        raise ZfjaxError(f"{path} is damaged: {error}; delete it to have it made again.") from None


def save_outcome(folder: Path, outcome: Outcome) -> None:
    """Writes RUN/cell.json."""
    write_json(folder / OUTCOME, asdict(outcome))


def read_correct(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(hits, which images count), bool [images] each, of a finished run. Raises OSError, KeyError
    or ValueError for a file that is absent or damaged.
    """
    with np.load(folder / CORRECT, allow_pickle=False) as stored:
        images = int(stored["images"])
        rows = (np.unpackbits(stored[name], count=images) for name in ("top1", "counted"))
        hits, counted = (row.astype(bool) for row in rows)
    return hits, counted
