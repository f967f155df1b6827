"""Which part of what a checkpoint holds is a network's variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from zfjax.errors import ZfjaxError, shortened
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
    ``path``, else "params" where there is one, else all. Collections beside a module's "params" are
    those of their names, else the only ones of their leaves and shapes; "PATH,PATH" says which.
    Raises ZfjaxError where none fits, naming the first leaf that is missing or of another shape, or
    where several do.
    """
    roots = _named(shapes, path, expected is not None)
    if not roots:
        _check_not_optimiser(shapes)
    if expected is None:
        root = roots[0] if roots else _parameters_alone(shapes)
        own = _at(shapes, root)
        return Part(shapes_of(own), {name: _joined(root, name) for name in leaf_paths(own)})
    if roots:
        return _fitted(shapes, roots, expected)
    whole = [root for root, subtree in _parts(shapes) if not _misfit(subtree, expected)]
    alike = _alike(shapes, _children(expected).get("params", expected))
    if len(alike) > 1 or len(whole) > 1:
        raise _asked_for(alike if len(alike) > 1 else whole)
    return _fitted(shapes, (whole or alike or _nearly(shapes, expected))[:1], expected)


def _nearly(shapes: Any, expected: Any) -> list[str]:
    """Parts that have the leaves of ``expected``, or of its "params", in other shapes; else the
    whole, to say what is missing.
    """
    for tree in (expected, _children(expected).get("params")):
        names = set(_leaves(tree))
        near = [
            root for root, subtree in _parts(shapes) if names and names <= set(_leaves(subtree))
        ]
        if near:
            return near
    return [""]


def _named(shapes: Any, path: str | None, several: bool) -> list[str]:
    """The parts that ``--variables`` names: none, one, or with ``several`` more than one, between
    commas. Raises ZfjaxError for one that is not there.
    """
    if path is None:
        return []
    is_list = several and _at(shapes, path) is None
    roots = [each.strip().strip("/") for each in path.split(",")] if is_list else [path]
    for root in roots:
        if _at(shapes, root) is None:
            top = ", ".join(_children(shapes)) or "nothing"
            raise ZfjaxError(f"--variables {root}: the checkpoint has no such part; it has {top}.")
    return roots


def _check_not_optimiser(shapes: Any) -> None:
    """Raises ZfjaxError where all arrays are an optimiser's."""
    arrays = [name.split("/") for name, leaf in leaf_paths(shapes).items() if leaf.shape]
    if arrays and all(any(map(OPTIMISER.fullmatch, words)) for words in arrays):
        parts = {"/".join(words[: _of_optimiser(words) + 1]) for words in arrays}
        raise ZfjaxError(
            f"The checkpoint holds the state of an optimiser alone ({shortened(sorted(parts), 3)}),"
            " no parameters; give the checkpoints that have those."
        )


def _of_optimiser(words: list[str]) -> int:
    return next(index for index, word in enumerate(words) if OPTIMISER.fullmatch(word))


def _alike(shapes: Any, expected: Any) -> list[str]:
    """The parts that have the leaves of ``expected``, and no others."""
    return [root for root, subtree in _parts(shapes) if _same_leaves(subtree, expected)]


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


def _fitted(shapes: Any, roots: list[str], expected: Any) -> Part:
    """What stands at the first of ``roots`` as the variables, or as their "params" with the other
    collections beside it, or at the other ``roots``.
    """
    root, places = roots[0], {}
    where = f" in {root}" if root else ""
    holders = _holders(shapes, roots, expected)
    for name, leaf in leaf_paths(expected).items():
        collection, _, below = name.partition("/")
        holder, rest = (holders[collection], below) if collection in holders else (root, name)
        path = _joined(holder, rest)
        inner, stored = _leaves(_at(shapes, holder)).get(_bare(rest), (path, None))
        places[name] = path if stored is None else _joined(holder, inner)
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


def _holders(shapes: Any, roots: list[str], expected: Any) -> dict[str, str]:
    """Where each of Linen's collections stands; {} for variables that are in none. Raises
    ZfjaxError where several parts may be one of them, or one of the other ``roots`` is none.
    """
    collections = _children(expected)
    root, *others = roots
    if "params" not in collections:
        _check_all_taken(others, {})
        return {}
    as_parameters = set(_leaves(_at(shapes, root))) == set(_leaves(collections["params"]))
    beside = root.rpartition("/")[0] if as_parameters else root
    holders = {}
    for name, tree in collections.items():
        own = root if as_parameters and name == "params" else _joined(beside, name)
        asked = [at for at in others if _same_leaves(_at(shapes, at), tree)]
        if asked or _at(shapes, own) is None:
            own = _only(asked or _alike(shapes, tree), root, beside, name) or own
        holders[name] = own
    _check_all_taken(others, holders)
    return holders


def _only(parts: list[str], root: str, beside: str, collection: str) -> str | None:
    """Which of ``parts`` is a collection of the parameters at ``root``: the only one directly in
    ``beside``, or at all; None where there is none. Raises ZfjaxError for several.
    """
    near = [at for at in parts if at.rpartition("/")[0] == beside]
    if len(near or parts) > 1:
        raise ZfjaxError(
            f"Several parts of the checkpoint fit the network's {collection}:"
            f" {', '.join(near or parts)}; say which with --variables"
            f" {root or 'PARAMETERS'},{(near or parts)[0]}."
        )
    return next(iter(near or parts), None)


def _check_all_taken(others: list[str], holders: Mapping[str, str]) -> None:
    for root in others:
        if root not in holders.values():
            raise ZfjaxError(
                f"--variables {root}: the network has no collection with these leaves and shapes."
            )


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
