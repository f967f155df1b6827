"""The only door to Orbax: trees in numbered folders, each leaf with a digest that is checked on
load.

Orbax commits a step by renaming its folder, so a killed save leaves nothing that is listed; but it
loads flipped bits without a word, hence the digests. Saving is asynchronous; ``Saver.wait`` returns
when all is on disk."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import glob
import hashlib
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.run.folder import saved_steps

Tree = Any


class DamagedCheckpoint(ZfjaxError):
    """A saved step is absent, truncated or altered; not: the disk or the memory fails at
    present."""


_AFTERMATH_SECONDS = 1.0


def _alone() -> Any:
    """An Orbax context in which this process waits for no other: it alone saves or loads, and trees
    are NumPy."""
    ocp, own = _orbax(), jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=own,
        active_processes={own} if jax.process_count() > 1 else None,
        barrier_sync_key_prefix=f"p{own}",
    )
    return ocp.Context(
        multiprocessing_options=options,
        file_options=ocp.options.FileOptions(path_class=_LiteralPath),
    )


class _LiteralPath(epath.gpath.PosixGPath):
    """A path whose own letters are no pattern: Orbax looks for what to merge below it by ``glob``,
    and in a folder called "[lr=0.02]" it would find nothing and say so to nobody."""

    def glob(self, pattern: str) -> Iterator[_LiteralPath]:
        """What matches ``pattern`` below this very path."""
        for match in glob.glob(os.path.join(glob.escape(os.fspath(self)), pattern)):
            yield type(self)(match)


@functools.cache
def _orbax():
    from orbax.checkpoint import v1
    from orbax.checkpoint.experimental.v1._src.saving import execution

    # Before a save it asks all processes, whichever are active, whether they save to the same
    # place.
    execution._check_directory_consistency = lambda directory: None
    logging.getLogger("absl").addFilter(_not_from_orbax)
    sys.unraisablehook = functools.partial(_without_abandoned_tasks, sys.unraisablehook)
    return v1


def _without_abandoned_tasks(hook: Callable[[Any], None], unraisable: Any) -> None:
    """After a failed save, writes that were still under way report to an event loop that is
    gone."""
    if str(unraisable.exc_value) != "Event loop is closed":
        hook(unraisable)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    """Orbax logs a failure from its threads with traceback before it raises it; the sentence that
    we raise says it."""
    return "/orbax/" not in record.pathname


def leaf_paths(tree: Tree) -> dict[str, Any]:
    """{"conv1/kernel": leaf, ...}."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = lambda key: str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
    return {"/".join(named(key) for key in path): leaf for path, leaf in leaves}


def flattened(tree: Tree) -> dict[str, np.ndarray]:
    """{"parameters.conv1.kernel": leaf, ...}: a tree of any node kinds, flat, as Orbax keeps it
    unchanged."""
    return {name.replace("/", "."): leaf for name, leaf in leaf_paths(tree).items()}


def digest(leaf: Any) -> str:
    """SHA-256 of a leaf's dtype, shape and bytes."""
    array = np.ascontiguousarray(np.asarray(leaf))
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


class Saver:
    """Saves trees of NumPy arrays to ``root/<step>`` in the background, one at a time.

    A step that is there already with other content is set aside under a new name and kept; without
    ``keep_replaced`` until the new one is on disk."""

    def __init__(self, root: Path, keep_replaced: bool = True):
        self.root, self._keep_replaced = root.absolute(), keep_replaced
        self._saving: tuple[Any, int] | None = None
        """Orbax's response and the step it is about."""
        self._proven = False
        self._replaced: Path | None = None

    def save(self, step: int, tree: Tree) -> None:
        """Starts saving; waits for the save before it. A step that is there with equal digests is
        kept. Raises ZfjaxError when the disk is full or the folder read-only."""
        self.wait()
        path = self.root / str(step)
        digests = {name: digest(leaf) for name, leaf in leaf_paths(tree).items()}
        if path.exists():
            with contextlib.suppress(ZfjaxError):
                if _metadata(path)["digests"] == digests:
                    return
            if self._keep_replaced:
                set_aside(path)
            else:
                self._replaced = path.rename(path.with_name(f"{step}{_REPLACED}"))
        with _failures(f"save step {step} in {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
            with _alone():
                response = _orbax().save_async(
                    path, tree, custom_metadata={"step": step, "digests": digests}
                )
            self._saving = response, step

    def wait(self) -> None:
        """Returns when the last save is on disk and was found there. Raises ZfjaxError when it
        failed."""
        saving, self._saving = self._saving, None
        if saving is not None:
            response, step = saving
            with _failures(f"save step {step} in {self.root}"):
                response.result()
            self._prove(self.root / str(step))
        replaced, self._replaced = self._replaced, None
        if replaced is not None:
            _delete(replaced)

    def _prove(self, path: Path) -> None:
        """That ``path`` can be read back: the first save of a start with every byte, later ones by
        their lists."""
        try:
            if self._proven:
                described_leaves(path)
            else:
                load(path)
        except DamagedCheckpoint as error:
            raise ZfjaxError(
                f"What was just saved cannot be read back. {error} Nothing more is trained: find"
                " out what is wrong with that disk or folder, or use another --workdir."
            ) from None
        self._proven = True


_REPLACED = ".replaced"
_DELETED = ".deleted"


def mend_unfinished(root: Path) -> None:
    """Removes what killed saves have left, and takes back a step that was about to be replaced; the
    caller holds the run's lock, so nobody is writing."""
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


def keep_newest(root: Path, count: int) -> None:
    """Deletes all but the newest ``count`` steps below ``root``."""
    for step in saved_steps(root)[:-count]:
        _delete(root / str(step))


def _delete(path: Path) -> None:
    """Takes a step off the list first, so that a kill half-way leaves none that is listed and has
    lost files. What the disk does not let go is deleted at the next start."""
    try:
        gone = path.rename(path.with_name(f"{path.name}{_DELETED}"))
    except OSError as error:
        raise explain_os_error(error, "delete") from error
    shutil.rmtree(gone, ignore_errors=True)


def load(path: Path, names: tuple[str, ...] | None = None) -> Tree:
    """The tree in ``path`` as NumPy arrays in nested dicts, digests checked; ``names`` limits it to
    these top keys.

    Raises DamagedCheckpoint naming the folder when it is absent, truncated or altered, ZfjaxError
    when it cannot be read for another reason."""
    ocp = _orbax()
    path = path.absolute()
    advice = "restore it from a copy, or move it away to leave this step out"
    expected = _metadata(path)["digests"]
    try:
        with _quiet(), _alone():
            described = ocp.metadata(path).metadata
        with _quiet():
            wanted = {name: described[name] for name in (described if names is None else names)}
            abstract = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), wanted)
            context = _alone()
            context.pytree_options.loading.partial_load = names is not None
            with context:
                tree = ocp.load(path, abstract)
    except Exception as error:  # noqa: BLE001 (Orbax raises many kinds for a damaged folder)
        _raise_fault(error, f"read the checkpoint {path}:")
        raise DamagedCheckpoint(
            f"The checkpoint {path} cannot be read ({_cause(error)}); {advice}."
        ) from None
    for name, leaf in leaf_paths(tree).items():
        if digest(leaf) != expected.get(name):
            raise DamagedCheckpoint(
                f"The checkpoint {path} is damaged: {name} differs from what was saved; {advice}."
            )
    return tree


def _cause(error: Exception) -> str:
    """A library's error in a few words: its kind, and what it says up to the first long path."""
    first = (str(error).splitlines() or [""])[0]
    words = " ".join(word for word in first.split() if "/" not in word and len(word) < 40)
    short = words[:120].rsplit(" ", 1)[0] if len(words) > 120 else words
    return f"{type(error).__name__}: {short}".rstrip(": ")


def restore_into(tree: Tree, stored: Tree) -> Tree:
    """``tree``'s structure with the arrays of ``stored``, made by ``flattened``. ZfjaxError when
    parts differ."""
    flat = dict(stored)
    names = [name.replace("/", ".") for name in leaf_paths(tree)]
    if sorted(names) != sorted(flat):
        raise ZfjaxError(
            "The saved state has other parts than this zfjax expects; use the version that"
            " saved it."
        )
    return jax.tree.unflatten(jax.tree.structure(tree), [flat[name] for name in names])


def described_leaves(path: Path) -> None:
    """Raises DamagedCheckpoint unless the step in ``path`` lists the leaves whose digests it
    has."""
    digests = _metadata(path)["digests"]
    try:
        with _quiet(), _alone():
            names = leaf_paths(_orbax().metadata(path).metadata)
    except Exception as error:  # noqa: BLE001 (Orbax raises many kinds for a damaged folder)
        _raise_fault(error, f"read the checkpoint {path}:")
        raise DamagedCheckpoint(
            f"The checkpoint {path} cannot be read ({_cause(error)})."
        ) from None
    if set(names) != set(digests):
        raise DamagedCheckpoint(f"The checkpoint {path} lists other arrays than were saved.")


def _metadata(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise DamagedCheckpoint(f"There is no checkpoint {path}.")
    try:
        with _quiet(), _alone():
            found = dict(_orbax().metadata(path).custom_metadata)
            return {
                **found,
                "digests": found["digests"],
            }  # of a file that was cut short nothing is left
    except Exception as error:  # noqa: BLE001
        _raise_fault(error, f"read the checkpoint {path}:")
        raise DamagedCheckpoint(
            f"The checkpoint {path} cannot be read ({type(error).__name__}); restore it from a"
            " copy, or move it away."
        ) from None


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
fault."""


def _raise_fault(error: Exception, doing: str) -> None:
    """Raises ZfjaxError where ``error`` is no sign of damage."""
    if isinstance(error, MemoryError):
        raise ZfjaxError(
            f"Could not {doing.removesuffix(':')}: there is too little memory."
        ) from None
    code = getattr(error, "errno", None) or _os_error_code(str(error))
    if code in _PASSING:
        raise explain_os_error(OSError(code, os.strerror(code)), doing) from None


def _os_error_code(text: str) -> int | None:
    """The system's error number in one of tensorstore's messages."""
    found = re.search(r"os_error_code='(\d+)'", text)
    return int(found[1]) if found else None


@contextlib.contextmanager
def _failures(doing: str) -> Iterator[None]:
    try:
        with _quiet():
            yield
    except OSError as error:
        raise explain_os_error(error, f"{doing}:") from error
    except (ValueError, RuntimeError) as error:
        text = str(error)
        if code := _os_error_code(text):
            raise explain_os_error(OSError(code, ""), f"{doing}:") from None
        if "RESOURCE_EXHAUSTED" in text or "No space left" in text:
            raise ZfjaxError(
                f"Could not {doing}: the disk is full; free space and run the command again."
            ) from None
        raise ZfjaxError(f"Could not {doing}: {(text.splitlines() or [''])[0][:200]}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Orbax logs pages of errors for one damaged file, and its abandoned tasks complain for a
    moment after the failure; the sentence that we raise says it all."""
    _orbax()  # before the hooks are put aside: it sets one for good
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio", "concurrent.futures")]
    levels = [logger.level for logger in loggers]
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: (
        None if issubclass(unraisable.exc_type, Exception) else hook(unraisable)
    )
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    except Exception:
        time.sleep(_AFTERMATH_SECONDS)
        gc.collect()
        raise
    finally:
        sys.unraisablehook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
