"""The only door to Orbax: trees in numbered folders, each leaf with a digest that is checked on
load.

Orbax commits a step by renaming its folder, so a killed save leaves nothing that is listed; but it
loads flipped bits without a word, hence the digests. Saving is asynchronous; ``Saver.wait`` returns
when all is on disk.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from zfjax.errors import ZfjaxError
from zfjax.run.checkpoint_faults import DamagedCheckpoint, damage_named, kind, saving
from zfjax.run.steps import delete_step, make_way, set_aside
from zfjax.signals import silence

Tree = Any

_ASKS_ALL = "_check_directory_consistency"


@functools.cache
def _orbax() -> Any:
    """Orbax's v1 API, with its one private function replaced that hinders a process which saves
    alone.

    Before a save Orbax broadcasts the path from process 0 to all processes and gathers whether it
    is theirs too, whichever are active (``MultiprocessingOptions.active_processes``). Process 0
    alone saves here, so it would wait for ever for the others. No option turns that off in 0.12.8,
    and no issue about it was found in Orbax's tracker. Raises ZfjaxError for an Orbax in which that
    function is gone: whether it still asks the others is then unknown.
    """
    from orbax.checkpoint import v1
    from orbax.checkpoint.experimental.v1._src.saving import execution

    if not hasattr(execution, _ASKS_ALL):
        version = importlib.metadata.version("orbax-checkpoint")
        raise ZfjaxError(
            f"Checkpoints cannot be saved or read with orbax-checkpoint {version}: it has no"
            f" {_ASKS_ALL}, which one process of many must do without; install"
            " orbax-checkpoint 0.12.8."
        )
    setattr(execution, _ASKS_ALL, _asks_nobody)
    logging.getLogger("absl").addFilter(_not_from_orbax)
    silence(_is_abandoned)
    return v1


def _asks_nobody(directory: Any) -> None:
    pass


def _is_abandoned(unraisable: Any) -> bool:
    """After a failed save, writes that were still under way report to an event loop that is gone:
    whenever they are collected, perhaps after the command.
    """
    return str(unraisable.exc_value) == "Event loop is closed"


def _not_from_orbax(record: logging.LogRecord) -> bool:
    """Orbax logs a failure from its threads with traceback before it raises it; the sentence that
    we raise says it.
    """
    return "/orbax/" not in record.pathname


def _alone() -> Any:
    """An Orbax context in which this process waits for no other: it alone saves or loads, and trees
    are NumPy.
    """
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
    and in a folder called "[lr=0.02]" it would find nothing and say so to nobody.
    """

    def glob(self, pattern: str) -> Iterator[_LiteralPath]:
        """What matches ``pattern`` below this very path."""
        for match in glob.glob(os.path.join(glob.escape(os.fspath(self)), pattern)):
            yield type(self)(match)


def leaf_paths(tree: Tree) -> dict[str, Any]:
    """{"conv1/kernel": leaf, ...}."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {"/".join(key_name(key) for key in path): leaf for path, leaf in leaves}


def key_name(key: Any) -> str:
    """The name of a dict's, a dataclass's or a tuple's key in JAX's paths."""
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))


def flattened(tree: Tree) -> dict[str, np.ndarray]:
    """{"parameters.conv1.kernel": leaf, ...}: a tree of any node kinds, flat, as Orbax keeps it
    unchanged.
    """
    return {name.replace("/", "."): leaf for name, leaf in leaf_paths(tree).items()}


def digest(leaf: Any) -> str:
    """SHA-256 of a leaf's dtype, shape and bytes."""
    array = np.ascontiguousarray(np.asarray(leaf))
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


class Saver:
    """Saves trees of NumPy arrays to ``root/<step>`` in the background, one at a time.

    A step that is there already with other content is set aside under a new name and kept; without
    ``keep_replaced`` until the new one is on disk.
    """

    def __init__(self, root: Path, keep_replaced: bool = True):
        self.root, self._keep_replaced = root.absolute(), keep_replaced
        self._saving: tuple[Any, int] | None = None
        """Orbax's response and the step it is about."""
        self._proven = False
        self._replaced: Path | None = None

    def save(self, step: int, tree: Tree) -> None:
        """Starts saving; waits for the save before it. A step that is there with equal digests is
        kept. Raises ZfjaxError when the disk is full or the folder read-only.
        """
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
                self._replaced = make_way(path)
        ocp = _orbax()
        with saving(f"save step {step} in {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
            with _alone():
                response = ocp.save_async(
                    path, tree, custom_metadata={"step": step, "digests": digests}
                )
            self._saving = response, step

    def wait(self) -> None:
        """Returns when the last save is on disk and was found there. Raises ZfjaxError when it
        failed.
        """
        under_way, self._saving = self._saving, None
        if under_way is not None:
            response, step = under_way
            with saving(f"save step {step} in {self.root}"):
                response.result()
            self._prove(self.root / str(step))
        replaced, self._replaced = self._replaced, None
        if replaced is not None:
            delete_step(replaced)

    def _prove(self, path: Path) -> None:
        """That ``path`` can be read back: the first save of a start with every byte, later ones by
        their lists.
        """
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


def load(path: Path, names: tuple[str, ...] | None = None) -> Tree:
    """The tree in ``path`` as NumPy arrays in nested dicts, digests checked; ``names`` limits it to
    these top keys.

    Raises DamagedCheckpoint naming the folder when it is absent, truncated or altered, ZfjaxError
    when it cannot be read for another reason.
    """
    ocp = _orbax()
    path = path.absolute()
    advice = "restore it from a copy, or move it away to leave this step out"
    expected = _metadata(path)["digests"]
    with damage_named(path, f"; {advice}"):
        with _alone():
            described = ocp.metadata(path).metadata
        wanted = {name: described[name] for name in (described if names is None else names)}
        abstract = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), wanted)
        context = _alone()
        context.pytree_options.loading.partial_load = names is not None
        with context:
            tree = ocp.load(path, abstract)
    for name, leaf in leaf_paths(tree).items():
        if digest(leaf) != expected.get(name):
            raise DamagedCheckpoint(
                f"The checkpoint {path} is damaged: {name} differs from what was saved; {advice}."
            )
    return tree


def described_foreign(path: Path) -> Tree:
    """What a checkpoint of anyone's holds, a description for each leaf; of Orbax v0 or v1. Trees
    saved side by side are one, by their names. Raises DamagedCheckpoint for one that cannot be
    read.
    """
    with damage_named(path, "; it is no checkpoint of Orbax, or not whole"):
        described = _described_items(path.absolute())
        return described if len(described) > 1 else next(iter(described.values()))


def load_foreign(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """{path: array} of those leaves of a checkpoint of anyone's that it has among ``names``, in
    NumPy, whatever devices they were saved from. Raises DamagedCheckpoint for one that cannot be
    read.
    """
    ocp, path, wanted = _orbax(), path.absolute(), set(names)
    arrays: dict[str, Any] = {}
    with damage_named(path, "; it is not whole"):
        items = _described_items(path)
        for item, described in items.items():
            before = f"{item}/" if len(items) > 1 else ""
            if not any(f"{before}{name}" in wanted for name in leaf_paths(described)):
                continue
            asked = jax.tree_util.tree_map_with_path(
                lambda keys, leaf, before=before: (
                    np.empty(leaf.shape, leaf.dtype)
                    if before + "/".join(map(key_name, keys)) in wanted
                    else ocp.PLACEHOLDER
                ),
                described,
            )
            with _alone():
                tree = ocp.load(path, asked, **({"checkpointable_name": item} if item else {}))
            arrays |= {f"{before}{name}": leaf for name, leaf in leaf_paths(tree).items()}
    return {name: arrays[name] for name in names if isinstance(arrays.get(name), np.ndarray)}


def _described_items(path: Path) -> dict[str, Tree]:
    """The trees that are saved side by side in one folder, by name; one that was saved alone by the
    name "".
    """
    ocp = _orbax()
    items = sorted(child.parent.name for child in path.glob("*/_METADATA"))
    with _alone():
        if not items or (path / "_METADATA").exists():
            return {"": ocp.metadata(path).metadata}
        described = ocp.checkpointables_metadata(path).metadata
    return {item: described[item] for item in items if leaf_paths(described.get(item))}


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """{"conv1/kernel": shape, ...} of the step in ``path``; no array is read. Raises
    DamagedCheckpoint for one that cannot be read.
    """
    with damage_named(path), _alone():
        described = _orbax().metadata(path.absolute()).metadata
        return {name: tuple(leaf.shape) for name, leaf in leaf_paths(described).items()}


def restore_into(tree: Tree, stored: Tree) -> Tree:
    """``tree``'s structure with the arrays of ``stored``, made by ``flattened``. ZfjaxError when
    parts or their shapes differ.
    """
    flat = dict(stored)
    names = [name.replace("/", ".") for name in leaf_paths(tree)]
    if sorted(names) != sorted(flat):
        raise ZfjaxError(
            "The saved state has other parts than this zfjax expects; use the version that"
            " saved it."
        )
    for name, leaf in leaf_paths(tree).items():
        if (saved := np.shape(flat[name.replace("/", ".")])) != tuple(leaf.shape):
            raise ZfjaxError(
                f"The saved state is of another network than config.json's: {name} is of shape"
                f" {saved} there, not {tuple(leaf.shape)}; restore the one or the other from a"
                " copy, or use another --workdir."
            )
    return jax.tree.unflatten(jax.tree.structure(tree), [flat[name] for name in names])


def step_digest(path: Path) -> str:
    """What tells the step in ``path`` from any other: SHA-256 of the names and digests of its
    leaves, as they were saved. No array is read. Raises as ``load``.
    """
    digests = sorted(_metadata(path.absolute())["digests"].items())
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def described_leaves(path: Path) -> None:
    """Raises DamagedCheckpoint unless the step in ``path`` lists the leaves whose digests it
    has.
    """
    ocp, digests = _orbax(), _metadata(path)["digests"]
    with damage_named(path), _alone():
        names = leaf_paths(ocp.metadata(path).metadata)
    if set(names) != set(digests):
        raise DamagedCheckpoint(f"The checkpoint {path} lists other arrays than were saved.")


def _metadata(path: Path) -> dict[str, Any]:
    """What ``Saver`` wrote beside the arrays: step and digests."""
    if not path.is_dir():
        raise DamagedCheckpoint(f"There is no checkpoint {path}.")
    ocp = _orbax()
    with damage_named(path, "; restore it from a copy, or move it away", words=kind), _alone():
        written = dict(ocp.metadata(path).custom_metadata)
        return {**written, "digests": written["digests"]}  # a file that was cut short has lost them
