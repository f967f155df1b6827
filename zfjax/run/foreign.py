"""Which part of what a checkpoint holds is a network's variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.run.checkpoint import key_name, leaf_paths
from zfjax.run.stored import Arrays, Stored, shapes_of

OPTIMISER = re.compile(r"opt|opt_state.*|optim.*|mu|nu|trace|slots|momentum")
"""Parts of a path below which trees look like the parameters and are none."""
PARAMETERS = re.compile(r"(.*_)?params")
"""What a network's parameters are called: "params", "ema_params"."""


@dataclass(frozen=True, eq=False)
class Part:
    """A network's variables within what is stored."""

    shapes: Any
    """Their tree."""
    places: Mapping[str, str]
    """Where each leaf of it stands in a checkpoint: path by path."""

    def load(self, stored: Stored, step: int, wanted: tuple[str, ...]) -> Arrays:
        """{path: array} of some leaves at a step, floats in the network's own type; no more than
        those are read. Raises ZfjaxError for one that a step lacks or has in another shape, or of
        integers where floats are asked for.
        """
        arrays = stored.arrays(step, tuple(self.places[name] for name in wanted))
        types = {name: leaf.dtype for name, leaf in leaf_paths(self.shapes).items()}
        for name in wanted:
            if not _are_alike(arrays[self.places[name]].dtype, types[name]):
                raise ZfjaxError(
                    f"{self.places[name]} at step {step} is of {arrays[self.places[name]].dtype},"
                    f" not of {types[name]}."
                )
        return {name: _as_float(arrays[self.places[name]], types[name]) for name in wanted}


def _are_alike(stored: Any, expected: Any) -> bool:
    """Whether numbers of a type can stand for those of another: quantised or complex weights are
    no floats.
    """
    floating = [jax.dtypes.issubdtype(dtype, np.floating) for dtype in (stored, expected)]
    return floating[0] == floating[1]


def _as_float(array: np.ndarray, dtype: Any) -> np.ndarray:
    """A floating array in another floating type; any other as it is."""
    floating = jax.dtypes.issubdtype(array.dtype, np.floating)
    return array.astype(dtype) if floating and array.dtype != dtype else array


def part_of(shapes: Any, expected: Any | None, path: str | None) -> Part:
    """The part of a checkpoint's tree that is a network's variables.

    ``expected``: the variables' shapes where they are known (of a module); None for a function:
    ``path``, else "params" where there is one, else all. Raises ZfjaxError where none fits, naming
    the first leaf that is missing or of another shape, or where several do.
    """
    if path is not None and _at(shapes, path) is None:
        top = ", ".join(_children(shapes)) or "nothing"
        raise ZfjaxError(f"--variables {path}: the checkpoint has no such part; it has {top}.")
    if expected is None:
        root = path or _parameters_alone(shapes)
        own = _at(shapes, root)
        return Part(shapes_of(own), {name: _joined(root, name) for name in leaf_paths(own)})
    if path is not None:
        return _fitted(shapes, path, expected)
    whole = [root for root, subtree in _parts(shapes) if not _misfit(subtree, expected)]
    inner = _children(expected).get("params", expected)
    alike = [root for root, subtree in _parts(shapes) if _same_leaves(subtree, inner)]
    if len(alike) > 1 or len(whole) > 1:
        raise _asked_for(alike if len(alike) > 1 else whole)
    return _fitted(shapes, (whole or alike or [""])[0], expected)


def _asked_for(roots: list[str]) -> ZfjaxError:
    names = ", ".join(root or "the whole of it" for root in roots)
    return ZfjaxError(
        f"Several parts of the checkpoint fit the network: {names}; say which with --variables."
    )


def _parameters_alone(shapes: Any) -> str:
    """Where a function's parameters stand when nobody says: "params" at the top, or the only part
    so called below it; else all of it. Raises ZfjaxError where several are alike.
    """
    named = [
        root
        for root, subtree in _parts(shapes)
        if PARAMETERS.fullmatch(root.rpartition("/")[2]) and _children(subtree)
    ]
    if not named:
        return ""
    first = "params" if "params" in named else named[0]
    alike = [root for root in named if _same_leaves(_at(shapes, root), _at(shapes, first))]
    if len(alike) > 1 or first != "params" and len(named) > 1:
        raise _asked_for(alike if len(alike) > 1 else named)
    return first


def _fitted(shapes: Any, root: str, expected: Any) -> Part:
    """What stands at ``root`` as the variables, or as their "params" with the other collections
    beside it.
    """
    subtree, places = _at(shapes, root), {}
    names = leaf_paths(expected)
    parameters = _children(expected).get("params")
    as_parameters = parameters is not None and _same_leaves(subtree, parameters)
    beside = root.rpartition("/")[0]
    for name, leaf in names.items():
        collection, _, rest = name.partition("/")
        holder = root
        if as_parameters:
            holder, rest = (root, rest) if collection == "params" else (beside, name)
        else:
            rest = name
        path = _joined(holder, rest)
        inner, stored = _leaves(_at(shapes, holder)).get(_bare(rest), (path, None))
        places[name] = path if stored is None else _joined(holder, inner)
        where = f" in {root}" if root else ""
        if stored is None:
            raise ZfjaxError(
                f"The checkpoint{where} does not fit the network: {path} is missing; name"
                " the part that is the network's with --variables."
            )
        if tuple(stored.shape) != tuple(leaf.shape):
            raise ZfjaxError(
                f"The checkpoint{where} does not fit the network: {places[name]} is of shape"
                f" {tuple(stored.shape)}, not {tuple(leaf.shape)}."
            )
        if not _are_alike(stored.dtype, leaf.dtype):
            raise ZfjaxError(
                f"The checkpoint{where} does not fit the network: {places[name]} is of"
                f" {stored.dtype}, not of {leaf.dtype}."
            )
    return Part(expected, places)


def _joined(root: str, name: str) -> str:
    return f"{root}/{name}" if root else name


def _bare(name: str) -> str:
    """A leaf's path without what a box around an array adds to it: of a variable of NNX, or of
    Linen's ``Partitioned``.
    """
    return name.removesuffix("/value")


def _leaves(tree: Any) -> dict[str, tuple[str, Any]]:
    """{bare path: (path, leaf)}."""
    return {_bare(name): (name, leaf) for name, leaf in leaf_paths(tree).items()}


def _misfit(subtree: Any, expected: Any) -> bool:
    """Whether a leaf of ``expected`` is missing or of another shape."""
    leaves = _leaves(subtree)
    return any(
        name not in leaves or tuple(leaves[name][1].shape) != tuple(leaf.shape)
        for name, (_, leaf) in _leaves(expected).items()
    )


def _same_leaves(subtree: Any, expected: Any) -> bool:
    return _leaves(subtree).keys() == _leaves(expected).keys() and not _misfit(subtree, expected)


def _children(tree: Any) -> dict[str, Any]:
    """What is directly below a node of any kind, by name; {} for a leaf."""
    if isinstance(tree, Mapping):
        return {str(name): child for name, child in tree.items()}
    below = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)[0]
    return {"/".join(map(key_name, keys)): child for keys, child in below if keys}


def _parts(tree: Any, root: str = "") -> Iterator[tuple[str, Any]]:
    """Every part of a tree, itself first, but an optimiser's."""
    yield root, tree
    for name, child in _children(tree).items():
        if not OPTIMISER.fullmatch(name):
            yield from _parts(child, _joined(root, name))


def _at(tree: Any, path: str) -> Any:
    """The part at "state/params"; None where there is none. A name may have slashes of its own."""
    if not path:
        return tree
    for name, child in _children(tree).items():
        if path == name:
            return child
        if path.startswith(f"{name}/") and (below := _at(child, path[len(name) + 1 :])) is not None:
            return below
    return None
