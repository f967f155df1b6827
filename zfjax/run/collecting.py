"""``open_checkpoints``: what people have on their disks, or in memory, as trees by step."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.files import local_path
from zfjax.run.checkpoint_faults import DamagedCheckpoint
from zfjax.run.checkpoint_kinds import described, is_single, only_item, read_arrays
from zfjax.run.checkpoint_names import Naming, Saved, saved_in, step_in_name
from zfjax.run.stored import Arrays, Stored, shapes_of, stored_trees
from zfjax.values import Place, Text, Whole, optional, path_of, text, whole_number

MOST_TORN = 3
"""Newest checkpoints that are left out when they are not whole; where more are not, something else
is wrong.
"""


def open_checkpoints(
    checkpoints: Place | Mapping[int, Any] | Stored,
    *,
    steps: Text | None = None,
    steps_per_epoch: Whole = 1,
) -> Stored:
    """Checkpoints as they are: a folder of them, a single one, {step: tree}, or opened already.

    In a folder: those of Orbax, v0 and v1, of whatever tree; files of flax.serialization, .npz and
    .safetensors (names split at "/", else at "."). ``steps``: a regular expression whose group is
    the step in a name, or whose groups are ``step`` and ``epoch``; None: names like 100, ckpt-100,
    epoch=3-step=1200. ``steps_per_epoch``: of their training. The newest that are not whole are
    named on standard error and left out. Raises ZfjaxError where nothing can be read.
    """
    pattern = optional(text, steps, "steps")
    naming = Naming(pattern, whole_number(steps_per_epoch, "steps_per_epoch"))
    if naming.steps_per_epoch < 1:
        raise ZfjaxError(f"steps_per_epoch {naming.steps_per_epoch} must be 1 or more.")
    in_memory = isinstance(checkpoints, Mapping | Stored)
    if pattern is not None and in_memory:
        raise ZfjaxError("steps is a pattern of names on disk, and goes with a path.")
    if isinstance(checkpoints, Stored):
        known = naming.steps_per_epoch == 1
        return checkpoints if known else checkpoints.with_epochs_of(naming.steps_per_epoch)
    if isinstance(checkpoints, Mapping):
        return stored_trees(checkpoints, naming.steps_per_epoch)
    return _stored_in(local_path(path_of(checkpoints, "checkpoints")), naming)


def without_torn(stored: Stored, try_step: Callable[[int], Any]) -> Stored:
    """The same without the newest steps of which ``try_step`` cannot read what is needed: a copy
    or a save that was cut short. They are named on standard error. Raises DamagedCheckpoint where
    there is none before them.
    """
    if stored.root is None:
        return stored
    steps = _whole(stored.steps, try_step)
    return stored if steps == stored.steps else stored.from_steps(steps)


def _whole(items: tuple[Any, ...], try_item: Callable[[Any], Any]) -> tuple[Any, ...]:
    """``items`` without the last ones for which ``try_item`` raises DamagedCheckpoint, which are
    named.
    """
    torn: list[DamagedCheckpoint] = []
    while True:
        try:
            try_item(items[-1])
        except DamagedCheckpoint as error:
            torn.append(error)
            if len(items) == 1 or len(torn) > MOST_TORN:
                raise torn[0] from None
            items = items[:-1]
            continue
        for reason in torn:
            print(f"zfjax: left out. {reason}", file=sys.stderr)
        return items


def _stored_in(root: Path, naming: Naming) -> Stored:
    if not root.exists():
        raise ZfjaxError(f"--checkpoints {root}: there is no such folder.")
    alone = not root.is_dir() or is_single(root)
    saved = (step_in_name(root, naming),) if alone else saved_in(root, naming)
    saved = _whole(saved, lambda entry: _shapes_in(entry.path))
    shapes = _shapes_in(saved[0].path)
    by_step = {entry.step: entry for entry in saved}

    def read(step: int, names: tuple[str, ...]) -> Arrays:
        return read_arrays(by_step[step].path, names)

    return Stored(
        tuple(by_step),
        shapes,
        read,
        _digest_of(saved),
        tuple(_epoch_of(entry, naming.steps_per_epoch) for entry in saved),
        root,
        naming.pattern,
        naming.steps_per_epoch,
        all(entry.epoch is not None for entry in saved),
        only_item(saved[0].path),
    )


def _shapes_in(path: Path) -> Any:
    """``Stored.shapes`` of one checkpoint. Raises DamagedCheckpoint for one without arrays."""
    tree = described(path)
    try:
        return shapes_of(tree)
    except ZfjaxError:
        raise DamagedCheckpoint(f"The checkpoint {path} holds no arrays.") from None


def _epoch_of(entry: Saved, steps_per_epoch: int) -> float:
    return entry.step / steps_per_epoch if entry.epoch is None else entry.epoch


def _digest_of(saved: tuple[Saved, ...]) -> str:
    """Of steps and the times at which they were written."""
    written = [f"{entry.step}:{entry.path.stat().st_mtime_ns}" for entry in saved]
    return hashlib.sha256(" ".join(written).encode()).hexdigest()
