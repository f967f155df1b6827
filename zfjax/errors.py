"""The errors that a person can mend, and the system's errors in a person's words."""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Iterable
from pathlib import Path


class ZfjaxError(Exception):
    """A mistake or a fault that the user can mend: its text says what, where and how. The CLI
    prints it alone.
    """

    exit_status = 1


class Busy(ZfjaxError):
    """Another process holds the lock of what was asked for."""


def explain_os_error(error: OSError, doing: str) -> ZfjaxError:
    """One clear sentence for a full disk, a read-only folder and their like; ``doing`` says what
    was attempted.
    """
    advice = {
        errno.ENOSPC: "the disk is full: free some space and run the command again",
        errno.EDQUOT: "your disk quota is used up: free some space and run the command again",
        errno.EFBIG: "the file grew past the size limit of this shell (ulimit -f)",
        errno.EROFS: "the file system is read-only: choose another folder",
        errno.EACCES: "permission denied: choose a folder you may write to",
        errno.EPERM: "permission denied: choose a folder you may write to",
        errno.ENOTDIR: "a part of the path is a file, not a folder",
        errno.EEXIST: "a file of that name is in the way",
    }.get(error.errno or 0, error.strerror or str(error))
    inner = error.filename is None or _is_inner(str(error.filename)) or str(error.filename) in doing
    attempt = doing.removesuffix(":") if inner else f"{doing} {error.filename}"
    return ZfjaxError(f"Could not {attempt}: {advice}.")


def _is_inner(file_name: str) -> bool:
    """Whether a path is one that only programs know: a temporary name of ours or of Orbax."""
    return bool(re.search(r"\.orbax-checkpoint-tmp|/\.[^/]+\.tmp(/|$)", file_name))


def escaped(text: str) -> str:
    """``text`` with letters that a terminal would obey, or nobody sees, written as escapes: names
    of files and folders are anyone's.
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def quoted(path: Path) -> str:
    """A path as a shell takes it, for a command that is printed."""
    return shlex.quote(str(path))


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def shortened(texts: Iterable[object], most: int, between: str = ", ") -> str:
    """The first ``most`` of them in a row, "and 3 more" where there are more."""
    words = [str(text) for text in texts]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more
