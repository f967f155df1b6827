"""Files that are either whole or absent, one writer at a time, and errors a person can read.

Everything zfjax saves goes to a temporary name in the same folder and is renamed when complete, so a reader never
meets half a file. A workdir is locked with ``flock``: the kernel releases it when the process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class ZfjaxError(Exception):
    """A mistake or a fault that the user can mend: its text says what, where and how. The CLI prints it alone."""

    exit_status = 1


def explain_os_error(error: OSError, doing: str) -> ZfjaxError:
    """One clear sentence for a full disk, a read-only folder and their like; ``doing`` says what was attempted."""
    advice = {
        errno.ENOSPC: "the disk is full: free some space and run the command again",
        errno.EDQUOT: "your disk quota is used up: free some space and run the command again",
        errno.EFBIG: "the file grew past the size limit of this shell (ulimit -f)",
        errno.EROFS: "the file system is read-only: choose another folder",
        errno.EACCES: "permission denied: choose a folder you may write to",
        errno.EPERM: "permission denied: choose a folder you may write to",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
        errno.EEXIST: "a file of that name is in the way",
    }.get(error.errno, error.strerror or str(error))
    place = f"{doing} {error.filename}" if error.filename else doing.removesuffix(":")
    return ZfjaxError(f"Could not {place}: {advice}.")


def allow_open_files(count: int) -> None:
    """Lets this process hold ``count`` files open beside its others. Raises ZfjaxError where the system forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 512  # files of everything else
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ZfjaxError(f"The data set's {count:,} files are held open together, and this system allows {hard:,}: "
                         f"raise the limit (ulimit -n {wanted}), or prepare the set with fewer shards.")  # fmt: skip
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it over ``path`` on success, removes it on failure.

    The temporary may become a file or a folder. Raises ZfjaxError when the disk is full or the folder read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise explain_os_error(error, f"write {path.name} in {path.parent}:") from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Calls ``write(temporary)`` and renames the result to ``path``."""
    with atomic_path(path) as temporary:
        write(temporary)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON (no NaN: undefined is null), whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON; raises ZfjaxError when the file is absent or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ZfjaxError(f"There is no {path}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ZfjaxError(f"{path} is damaged ({error}); restore it from a copy.") from None
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error


@contextlib.contextmanager
def exclusive_lock(path: Path, refusal: str | None) -> Iterator[None]:
    """Holds ``flock`` on the file ``path``.

    Waits for its turn when ``refusal`` is None, else raises ZfjaxError(refusal) at once when another process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise explain_os_error(OSError(error.errno, error.strerror), f"lock {path.parent}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise ZfjaxError(refusal or "") from None
        yield
