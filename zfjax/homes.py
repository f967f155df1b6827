"""Folders of the user's own, also where there is none: no HOME, a user that the machine does not
know (containers, clusters), a home that cannot be written.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from zfjax.errors import ZfjaxError


def home_folder() -> Path | None:
    """The user's home; None where the environment names none and the machine does not know the
    user.
    """
    try:
        return Path.home()
    except (RuntimeError, KeyError):
        return None


def can_be_made(folder: Path) -> bool:
    """Whether ``folder`` can be written, or is not there and can be made."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    except (StopIteration, OSError):
        return False
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def temporary_path() -> Path:
    """Where ``temporary_home`` lies, made or not."""
    return Path(tempfile.gettempdir()).absolute() / f"zfjax-{os.getuid()}"


def temporary_home() -> Path:
    """A folder of this user's among the temporary ones, the same in every process; made where it is
    not there. Raises ZfjaxError where another user has taken its name, or none can be made.
    """
    advice = "set ZFJAX_DATA to a folder that you may write to"
    try:
        folder = temporary_path()
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise ZfjaxError(
            f"There is no home folder and no temporary one to write to ({error}); {advice}."
        ) from None
    theirs = status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if theirs or not stat.S_ISDIR(status.st_mode):
        raise ZfjaxError(f"There is no home folder, and {folder} is another user's; {advice}.")
    return folder


def settle_matplotlib() -> None:
    """Lets matplotlib keep what it caches in the temporary home where it cannot in the user's, of
    which it would complain; what the user has chosen stays.
    """
    home = home_folder()
    chosen = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(chosen) if chosen else home / ".config" if home else None
    if "MPLCONFIGDIR" not in os.environ and (
        folder is None or not can_be_made(folder / "matplotlib")
    ):
        try:
            os.environ["MPLCONFIGDIR"] = str(temporary_home() / "matplotlib")
        except ZfjaxError:
            return  # it finds a folder for each start
