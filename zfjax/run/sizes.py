"""What a run will take on disk. No JAX."""

from __future__ import annotations

import shutil
from pathlib import Path

from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.keeping import kept_epochs

STATE_COPIES = 2 * 2 + 2
"""Of the parameters, in the two newest states (each with its momentum) and one that is written."""


def kept_count(config: Config) -> int:
    """How many epochs' parameters a run leaves, the initial network's counted."""
    kept = kept_epochs(config.keep)
    if kept is None:
        return 1 + config.epochs
    return len({epoch for epoch in kept if epoch <= config.epochs} | {config.epochs})


def run_bytes(config: Config) -> int:
    """About what a whole run leaves on disk: kept parameters, and the newest states."""
    copies = kept_count(config) + config.snapshots + STATE_COPIES
    return 4 * config.model.parameter_count * copies


def check_space(folder: Path, needed: int) -> None:
    """Raises ZfjaxError where ``folder``, there or still to be made, has no room for so many
    bytes.
    """
    whole = folder.absolute()
    nearest = next(path for path in (whole, *whole.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if needed > free:
        raise ZfjaxError(
            f"About {bytes_words(needed)} are needed in {folder}, and {bytes_words(free)} are free:"
            " the disk is full before the end. Free some space, keep fewer epochs (--keep paper) or"
            " train fewer."
        )


def bytes_words(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
