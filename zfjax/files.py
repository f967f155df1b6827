"""Files that are either whole or absent, one writer at a time, and errors a person can read.

Everything zfjax saves goes to a temporary name in the same folder and is renamed when complete, so
a reader never meets half a file. A workdir is locked with ``flock``: the kernel releases it when
the process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import Busy, ZfjaxError, explain_os_error


def check_path(path: Path | str, what: str) -> Path:
    """``path`` with ``~`` expanded. Raises ZfjaxError for one that the libraries below cannot take.

    Orbax reads a backslash as a slash, and takes "gs:" within a path for a bucket; a name that is
    not UTF-8 reaches neither it nor JSON. All else that a shell, a glob or a URL reads is fine.
    """
    if is_url(path):
        raise ZfjaxError(
            f"{path} is not a folder: {what} needs a path that all processes see, like a mounted"
            " disk."
        )
    expanded = expanded_path(path)
    whole = str(expanded.absolute())
    if "\0" in whole or "\\" in whole:
        raise ZfjaxError(
            f"{what} cannot lie in {whole!r}: a backslash or NUL in a path is not understood by all"
            " of the libraries that read it; choose another name."
        )
    if "gs:" in expanded.absolute().parts:
        raise ZfjaxError(
            f"{what} cannot lie in {whole}: a folder called gs: is taken for a bucket; choose"
            " another name."
        )
    return expanded


def is_url(path: Path | str) -> bool:
    """Whether a path is rather a URL (gs://, s3://, file://): a Path has made one slash of two."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) is not None


def local_path(path: Path | str) -> Path:
    """``path`` with ``~`` expanded. Raises ZfjaxError for a URL, of which a folder "gs:" would be
    made, and for a home that is not there.
    """
    if is_url(path):
        raise ZfjaxError(
            f"{path} is a URL, and zfjax reads and writes files of this machine's disks alone: copy"
            " it to one, or mount it, and give the path."
        )
    return _at_home(path)


def data_folder(path: Path | str) -> Path:
    """A folder of data sets, with ``~`` expanded. Raises ZfjaxError for a URL, a home that is not
    there and a name that is not UTF-8, which ArrayRecord does not take.
    """
    local_path(path)
    return expanded_path(path)


def expanded_path(path: Path | str) -> Path:
    """``path`` with ``~`` expanded. Raises ZfjaxError for a home that is not there and a name that
    is not UTF-8.
    """
    expanded = _at_home(path)
    try:
        str(expanded.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        raise ZfjaxError(
            f"The path {str(path)!r} is not UTF-8; choose another name, or where this locale"
            " (LC_ALL) does not know its letters, start with PYTHONUTF8=1."
        ) from None
    return expanded


def _at_home(path: Path | str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~somebody
        raise ZfjaxError(f"{path} is not a folder: {error} Write the path out.") from None


def allow_open_files(count: int) -> None:
    """Lets this process hold ``count`` files open beside its others. Raises ZfjaxError where the
    system forbids it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 512  # files of everything else
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ZfjaxError(
            f"The data set's {count:,} files are held open together, and this system allows"
            f" {hard:,}: raise the limit (ulimit -n {wanted}), or prepare the set with fewer"
            " shards."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


_HOST = re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:20] or "host"
_UNFINISHED = re.compile(r"\..+\.(?:(?P<host>\w+)-)?(?P<pid>\d+)\.tmp")
_FOREIGN_SECONDS = 3600.0
"""Age from which on an unfinished file of another machine is taken for one that nobody writes."""


def clear_unfinished(folder: Path, *, locked: bool) -> None:
    """Removes the temporary files directly in ``folder`` that killed processes have left.

    ``locked``: the caller holds the lock under which the folder is written; then those of other
    machines are dead too. Never raises: what cannot be removed stays for the next start.
    """
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if match := _UNFINISHED.fullmatch(path.name):
                ours = match["host"] in (None, _HOST)
                if _is_gone(int(match["pid"])) if ours else locked or _is_old(path):
                    _remove(path)


def _is_gone(pid: int) -> bool:
    """Whether no other process of this machine has that number; its own was an earlier
    process's.
    """
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _FOREIGN_SECONDS


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it over ``path`` on success, removes it on
    failure.

    The temporary may become a file or a folder. Raises ZfjaxError when the disk is full or the
    folder read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{fitting(path.name)}.{_HOST}-{os.getpid()}.tmp")
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


def fitting(name: str, most: int = 180) -> str:
    """A file's name, or part of one, of at most ``most`` bytes, of the 255 that file systems
    take: where it is longer, its begin and a digest of the whole.
    """
    encoded = os.fsencode(name)
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    begin = encoded[: most - 1 - len(digest)].decode("utf-8", "ignore")
    return f"{begin}-{digest}"


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


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz of arrays and numbers by name, whole or not at all; not compressed: that saves
    3 bytes of 10 and costs a fifth of the time.
    """

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as handle:  # to a name, NumPy would append .npz
            np.savez(handle, **arrays)

    write_atomic(path, write)


def read_json(path: Path, way_out: str = "restore it from a copy") -> Any:
    """Reads JSON, in UTF-8 or UTF-16 with or without a byte-order mark; raises ZfjaxError when the
    file is absent or damaged, which says the ``way_out``.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise ZfjaxError(f"There is no {path}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ZfjaxError(f"{path} is damaged ({error}); {way_out}.") from None
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error


def is_locked(path: Path) -> bool:
    """Whether a process holds ``exclusive_lock`` on ``path``; where locks do not hold, never."""
    try:
        with open(path) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def exclusive_lock(path: Path, refusal: str | None) -> Iterator[None]:
    """Holds ``flock`` on the file ``path``.

    Waits for its turn when ``refusal`` is None, else raises Busy(refusal) at once when another
    process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise explain_os_error(
            OSError(error.errno, error.strerror), f"lock {path.parent}"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise Busy(refusal or "") from None
        except OSError as error:  # a network drive without locks
            raise explain_os_error(
                OSError(error.errno, error.strerror), f"lock {path.parent}"
            ) from error
        yield
