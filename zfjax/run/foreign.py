"""Checkpoints that somebody else has written: a root of numbered Orbax folders, or trees in memory;
and which of what they hold are a network's variables.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.run import checkpoint
from zfjax.run.checkpoint import leaf_paths

OPTIMISER = re.compile(r"opt|opt_state.*|optim.*|mu|nu|trace|slots|momentum")
"""Parts of a path below which trees look like the parameters and are none."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Trees by step."""

    steps: tuple[int, ...]
    """Ascending."""
    shapes: Any
    """The first step's tree, as shapes and dtypes."""
    load: Callable[[int, Any], Any]
    """(step, tree of shapes, a part of what is stored) -> that part as NumPy arrays."""
    digest: str
    """Of where they are and when they were written, or of the trees themselves."""


def stored_in(root: Path) -> Stored:
    """An Orbax root, of v0 or v1: folders whose names end in the step. Raises ZfjaxError for one
    that holds none.
    """
    folders: dict[int, Path] = {}
    if not root.is_dir():
        raise ZfjaxError(f"--checkpoints {root}: there is no such folder.")
    for path in root.iterdir():
        number = re.fullmatch(r"(?:.*[^0-9])?([0-9]+)", path.name)
        if number and path.is_dir() and "orbax-checkpoint-tmp" not in path.name:
            folders[int(number[1])] = path
    if not folders:
        whole = (root / "_CHECKPOINT_METADATA").exists()
        hint = "; it is one checkpoint: give the folder that holds it" if whole else ""
        raise ZfjaxError(f"--checkpoints {root} holds no numbered checkpoints{hint}.")
    steps = tuple(sorted(folders))
    written = [f"{step}:{folders[step].stat().st_mtime_ns}" for step in steps]

    def load(step: int, shapes: Any) -> Any:
        return checkpoint.load_foreign(folders[step], shapes)

    return Stored(
        steps,
        checkpoint.described_foreign(folders[steps[0]]),
        load,
        hashlib.sha256(" ".join(written).encode()).hexdigest(),
    )


def stored_trees(trees: Mapping[int, Any]) -> Stored:
    """Trees of arrays by step. Raises ZfjaxError for none, or steps that are no whole numbers."""
    if not trees:
        raise ZfjaxError("There are no checkpoints: give trees of parameters by step.")
    if bad := [
        step
        for step in trees
        if not isinstance(step, int | np.integer) or isinstance(step, bool) or step < 0
    ]:
        raise ZfjaxError(f"{bad[0]!r} is no step: steps are whole numbers from 0.")
    steps = tuple(sorted(int(step) for step in trees))
    whole = hashlib.sha256()
    for step in steps:
        for name, leaf in leaf_paths(trees[step]).items():
            whole.update(f"{step}/{name}:{checkpoint.digest(leaf)}".encode())
    shapes = _shapes_of(trees[steps[0]])

    def load(step: int, shapes: Any) -> Any:
        kept, arrays = leaf_paths(trees[step]), leaf_paths(shapes)
        for name, leaf in arrays.items():
            if name not in kept:
                raise ZfjaxError(f"The tree of step {step} lacks {name}.")
            arrays[name] = np.asarray(kept[name])
            if arrays[name].shape != tuple(leaf.shape):
                raise ZfjaxError(
                    f"{name} at step {step} is of shape {arrays[name].shape}, not"
                    f" {tuple(leaf.shape)}."
                )
        return jax.tree.unflatten(jax.tree.structure(shapes), list(arrays.values()))

    return Stored(steps, shapes, load, whole.hexdigest())


def _shapes_of(tree: Any) -> Any:
    if not leaf_paths(tree) or not all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(tree)):
        raise ZfjaxError(
            f"Checkpoints are trees of arrays by step, and this one is {type(tree).__name__}"
            f"{' with leaves that are no arrays' if isinstance(tree, Mapping) else ''}."
        )
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)


@dataclass(frozen=True, eq=False)
class Part:
    """A network's variables within what is stored."""

    shapes: Any
    """Their tree."""
    places: Mapping[str, str]
    """Where each leaf of it stands in a checkpoint: path by path."""

    def load(self, stored: Stored, step: int, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
        """{path: array} of some leaves at a step; no more than those are read. Raises ZfjaxError
        for one that a step lacks or has in another shape.
        """
        shapes: dict[str, Any] = {}
        for name in wanted:
            node, words = shapes, self.places[name].split("/")
            for word in words[:-1]:
                node = node.setdefault(word, {})
            node[words[-1]] = _at(stored.shapes, self.places[name])
        leaves = leaf_paths(stored.load(step, shapes))
        return {name: leaves[self.places[name]] for name in wanted}


def part_of(shapes: Any, expected: Any | None, path: str | None) -> Part:
    """The part of a checkpoint's tree that is a network's variables.

    ``expected``: the variables' shapes where they are known (of a Linen module); None for a
    function: ``path``, else "params" where there is one, else all. Raises ZfjaxError where none
    fits, naming the first leaf that is missing or of another shape, or where several do.
    """
    if path is not None and _at(shapes, path) is None:
        top = ", ".join(_children(shapes)) or "nothing"
        raise ZfjaxError(f"--variables {path}: the checkpoint has no such part; it has {top}.")
    if expected is None:
        root = path or ("params" if "params" in _children(shapes) else "")
        own = _at(shapes, root)
        return Part(_shapes_of(own), {name: _joined(root, name) for name in leaf_paths(own)})
    if path is not None:
        return _fitted(shapes, path, expected)
    whole = [root for root, subtree in _parts(shapes) if not _misfit(subtree, expected)]
    inner = expected["params"] if "params" in expected else expected
    alike = [root for root, subtree in _parts(shapes) if _same_leaves(subtree, inner)]
    if len(alike) > 1:
        raise ZfjaxError(
            f"Several parts of the checkpoint fit the network: {', '.join(alike)}; say which with"
            " --variables."
        )
    return _fitted(shapes, (whole or alike or [""])[0], expected)


def _fitted(shapes: Any, root: str, expected: Any) -> Part:
    """What stands at ``place`` as the variables, or as their "params" with the other collections
    beside it.
    """
    subtree, places = _at(shapes, root), {}
    names = leaf_paths(expected)
    if "params" in expected and _same_leaves(subtree, expected["params"]):
        beside = root.rpartition("/")[0]
        for name in names:
            collection, _, rest = name.partition("/")
            places[name] = _joined(root, rest) if collection == "params" else _joined(beside, name)
    else:
        places = {name: _joined(root, name) for name in names}
    for name, leaf in names.items():
        stored = _at(shapes, places[name])
        where = f" in {root}" if root else ""
        if stored is None:
            raise ZfjaxError(
                f"The checkpoint{where} does not fit the network: {places[name]} is missing; name"
                " the part that is the network's with --variables."
            )
        if tuple(stored.shape) != tuple(leaf.shape):
            raise ZfjaxError(
                f"The checkpoint{where} does not fit the network: {places[name]} is of shape"
                f" {tuple(stored.shape)}, not {tuple(leaf.shape)}."
            )
    return Part(expected, places)


def _joined(root: str, name: str) -> str:
    return f"{root}/{name}" if root else name


def _misfit(subtree: Any, expected: Any) -> str:
    """The first leaf of ``expected`` that is missing or of another shape; empty where all fit."""
    leaves = leaf_paths(subtree)
    for name, leaf in leaf_paths(expected).items():
        if name not in leaves:
            return f"{name} is missing"
        if tuple(leaves[name].shape) != tuple(leaf.shape):
            return f"{name} is of shape {tuple(leaves[name].shape)}, not {tuple(leaf.shape)}"
    return ""


def _same_leaves(subtree: Any, expected: Any) -> bool:
    return leaf_paths(subtree).keys() == leaf_paths(expected).keys() and not _misfit(
        subtree, expected
    )


def _children(tree: Any) -> list[str]:
    return [str(key) for key in tree] if isinstance(tree, Mapping) else []


def _parts(tree: Any, root: str = "") -> Iterator[tuple[str, Any]]:
    """Every part of a tree of dicts, itself first, but an optimiser's."""
    yield root, tree
    for name in _children(tree):
        if not OPTIMISER.fullmatch(name):
            yield from _parts(tree[name], f"{root}/{name}".lstrip("/"))


def _at(tree: Any, path: str) -> Any:
    """The part at "state/params"; None where there is none."""
    for name in path.split("/") if path else ():
        if isinstance(tree, Mapping) and name in tree:
            tree = tree[name]
        elif isinstance(tree, list | tuple) and name.isdecimal() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return None
    return tree
