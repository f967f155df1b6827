"""Numbered folders, one a saved step: which are whole, which go, and what a killed process has left
of them. Nothing here knows a run or what the folders hold. No JAX.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.values import Epochs, several

_REPLACED = ".replaced"
_DELETED = ".deleted"


def saved_steps(root: Path) -> tuple[int, ...]:
    """Steps with a complete folder below ``root``; temporary folders do not count."""
    if not root.is_dir():
        return ()
    return tuple(
        sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal() and path.is_dir())
    )


def mend_unfinished(root: Path) -> None:
    """Removes what killed saves have left, and takes back a step that was about to be replaced; the
    caller holds the run's lock, so nobody is writing.
    """
    for pattern in ("*.orbax-checkpoint-tmp*", f"*{_DELETED}"):
        for stale in root.glob(pattern):
            shutil.rmtree(stale, ignore_errors=True)
    for replaced in root.glob(f"*{_REPLACED}"):
        if (path := replaced.with_suffix("")).exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            replaced.rename(path)


def set_aside(path: Path) -> Path:
    """Renames a damaged step so that it is no longer listed; returns its new path."""
    number = 0
    while (target := path.with_name(f"{path.name}.set-aside-{number}")).exists():
        number += 1
    path.rename(target)
    return target


def make_way(path: Path) -> Path:
    """Renames a step that is about to be replaced; returns its new path, to be deleted when the new
    one is whole.
    """
    return path.rename(path.with_name(f"{path.name}{_REPLACED}"))


def keep_newest(root: Path, count: int) -> None:
    """Deletes all but the newest ``count`` steps below ``root``."""
    for step in saved_steps(root)[:-count]:
        delete_step(root / str(step))


def delete_step(path: Path) -> None:
    """Takes a step off the list first, so that a kill half-way leaves none that is listed and has
    lost files. What the disk does not let go is deleted at the next start. Raises ZfjaxError where
    it cannot even be renamed.
    """
    try:
        gone = path.rename(path.with_name(f"{path.name}{_DELETED}"))
    except OSError as error:
        raise explain_os_error(error, "delete") from error
    shutil.rmtree(gone, ignore_errors=True)


def chosen_steps(
    steps: tuple[int, ...], steps_per_epoch: int, wanted: Epochs | None
) -> tuple[int, ...]:
    """Those of ``steps`` (ascending, not empty) that ``--at`` names: epochs ("0", "5", or numbers),
    "step:32", "last", "all", one of them or several; None is all. Raises ZfjaxError for one that is
    not there.
    """
    epochs = {step: step / steps_per_epoch for step in steps}
    return _chosen(epochs, lambda epoch: round(epoch * steps_per_epoch), wanted)


def steps_at_epochs(epochs: Mapping[int, float], wanted: Epochs | None) -> tuple[int, ...]:
    """As ``chosen_steps``, of checkpoints whose epochs are known: {step: epoch}, ascending."""

    def step_of(epoch: float) -> int:
        return next((step for step, own in epochs.items() if abs(own - epoch) < 1e-6), -1)

    return _chosen(epochs, step_of, wanted)


def _chosen(
    epochs: Mapping[int, float], step_of: Callable[[float], int], wanted: Epochs | None
) -> tuple[int, ...]:
    chosen: set[int] = set()
    for item in ("all",) if wanted is None else several(wanted):
        if isinstance(item, bool | np.bool_):  # which float() would take
            raise _no_epoch(item)
        word = str(item)
        if word == "all":
            chosen.update(epochs)
            continue
        try:
            if word == "last":
                step = max(epochs)
            elif word.startswith("step:"):
                step = int(word[5:])
            else:
                step = step_of(float(item))
        except (ValueError, OverflowError, TypeError):
            raise _no_epoch(item) from None
        if step not in epochs:
            saved = ", ".join(f"{epoch:g}" for epoch in epochs.values())
            raise ZfjaxError(
                f"--at {item}: no checkpoint was saved there; saved epochs are {saved}."
            )
        chosen.add(step)
    if not chosen:
        raise ZfjaxError("--at names no epoch.")
    return tuple(sorted(chosen))


def _no_epoch(item: Any) -> ZfjaxError:
    return ZfjaxError(f"--at {item!r} is not an epoch, 'step:N', 'last' or 'all'.")
