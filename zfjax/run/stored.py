"""Trees by step, wherever they are kept: the value ``Stored``; trees in memory as one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zfjax.errors import ZfjaxError, shortened
from zfjax.run.checkpoint import digest, leaf_paths
from zfjax.run.steps import chosen_steps, steps_at_epochs
from zfjax.values import Epochs

Arrays = dict[str, np.ndarray]
"""By path: "params/conv/kernel"."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Trees by step."""

    steps: tuple[int, ...]
    """Ascending."""
    shapes: Any
    """The first step's tree: a jax.ShapeDtypeStruct for each array, floats of less than 32 bits as
    float32; None for what is no array.
    """
    read: Callable[[int, tuple[str, ...]], Arrays]
    """(step, paths) -> arrays of those paths that the step has, as they are kept."""
    digest: str
    """Of where they are and when they were written, or of the trees themselves."""
    epochs: tuple[float, ...]
    """Of the steps."""
    root: Path | None = None
    """Where they are on disk; None for trees in memory."""
    pattern: str | None = None
    """Of the names, as the user gave it."""
    steps_per_epoch: int = 1
    """Of their training."""
    named_epochs: bool = False
    """Whether the epochs stand in the names."""
    item: str = ""
    """What the only tree of each checkpoint was saved as, where it was saved by a name ("state"):
    the paths of ``shapes`` are without it.
    """

    def path_within(self, path: str | None) -> str | None:
        """A path as those of ``shapes``: one that begins with the item's name is as good without;
        "" is the whole.
        """
        if path is None or not self.item or self.item in _heads(self.shapes):
            return path
        words = [each.strip().strip("/") for each in path.split(",")]
        item = f"{self.item}/"
        return ",".join(f"{each}/".removeprefix(item).strip("/") for each in words)

    def steps_at(self, wanted: Epochs | None) -> tuple[int, ...]:
        """The steps that ``--at`` names. Raises ZfjaxError for one that is not there."""
        if self.named_epochs:
            return steps_at_epochs(dict(zip(self.steps, self.epochs, strict=True)), wanted)
        return chosen_steps(self.steps, self.steps_per_epoch, wanted)

    def arrays(self, step: int, names: tuple[str, ...]) -> Arrays:
        """{path: array} of some leaves at a step, in NumPy; no more than those are read. Raises
        ZfjaxError for a step that is not there, or one that lacks a leaf or has it in another shape
        than the first step.
        """
        if step not in self.steps:
            raise ZfjaxError(f"There is no step {step}; saved are {shortened(self.steps, 12)}.")
        arrays, known = self.read(step, names), leaf_paths(self.shapes)
        for name in names:
            if name not in arrays:
                raise ZfjaxError(f"The tree of step {step} lacks {name}{self._elsewhere(step)}.")
            if arrays[name].shape != known[name].shape:
                raise ZfjaxError(
                    f"{name} at step {step} is of shape {arrays[name].shape}, not"
                    f" {known[name].shape}{self._elsewhere(step)}."
                )
        return {name: arrays[name] for name in names}

    def _elsewhere(self, step: int) -> str:
        """What to do about a step that is of another network than the first."""
        if len(self.steps) < 2:
            return ""
        way = "leave it out" if self.root is None else "move it away"
        return f", as at step {self.steps[0]}: it is of another network; {way}"

    def with_epochs_of(self, steps_per_epoch: int) -> Stored:
        """The same at so many steps an epoch; where epochs stand in the names, those hold."""
        if self.named_epochs:
            return self
        epochs = tuple(step / steps_per_epoch for step in self.steps)
        return replace(self, epochs=epochs, steps_per_epoch=steps_per_epoch)

    def from_steps(self, steps: tuple[int, ...]) -> Stored:
        """The same, of some steps only."""
        epochs = dict(zip(self.steps, self.epochs, strict=True))
        return replace(self, steps=steps, epochs=tuple(epochs[step] for step in steps))


def stored_trees(trees: Mapping[int, Any], steps_per_epoch: int = 1) -> Stored:
    """Trees of arrays by step: dicts, lists, a TrainState, an NNX state, an Equinox module. Raises
    ZfjaxError for none, or steps that are no whole numbers.
    """
    if not trees:
        raise ZfjaxError("There are no checkpoints: give trees of parameters by step.")
    if bad := [
        step
        for step in trees
        if not isinstance(step, int | np.integer) or isinstance(step, bool) or step < 0
    ]:
        raise ZfjaxError(f"{bad[0]!r} is no step: steps are whole numbers from 0.")
    steps = tuple(sorted(int(step) for step in trees))
    shapes = shapes_of(trees[steps[0]])
    whole = hashlib.sha256()
    for step in steps:
        for name, leaf in leaf_paths(trees[step]).items():
            if is_array(leaf):
                whole.update(f"{step}/{name}:{digest(leaf)}".encode())

    def read(step: int, names: tuple[str, ...]) -> Arrays:
        leaves = leaf_paths(trees[step])
        return {
            name: np.asarray(leaves[name])
            for name in names
            if name in leaves and is_array(leaves[name])
        }

    stored = Stored(steps, shapes, read, whole.hexdigest(), tuple(map(float, steps)))
    return stored.with_epochs_of(steps_per_epoch)


def shapes_of(tree: Any) -> Any:
    """A tree's shapes and dtypes, ``Stored.shapes``. Raises ZfjaxError where it has no array."""
    if not any(is_array(leaf) for leaf in jax.tree.leaves(tree)):
        raise ZfjaxError(
            f"Checkpoints are trees of arrays by step, and this one is {type(tree).__name__}"
            f"{' with leaves that are no arrays' if isinstance(tree, Mapping) else ''}."
        )
    return jax.tree.map(_shape_of, tree)


def _heads(tree: Any) -> set[str]:
    """The first names of the paths in a tree."""
    return {name.partition("/")[0] for name in leaf_paths(tree)}


def is_array(leaf: Any) -> bool:
    """Whether a leaf, or what describes one, is of numbers and has a shape: no key of random
    numbers, no text, no bare number.
    """
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or getattr(leaf, "shape", None) is None:
        return False
    if jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return False
    return np.dtype(dtype).kind in "biufc" or _is_narrow(np.dtype(dtype))


def _is_narrow(dtype: np.dtype) -> bool:
    """Whether it is a floating type of less than 32 bits: float16, bfloat16, float8."""
    return jax.dtypes.issubdtype(dtype, np.floating) and dtype.itemsize < 4


def _shape_of(leaf: Any) -> jax.ShapeDtypeStruct | None:
    if not is_array(leaf):
        return None
    dtype = np.dtype(leaf.dtype)
    taken = np.float32 if _is_narrow(dtype) else jax.dtypes.canonicalize_dtype(dtype)
    return jax.ShapeDtypeStruct(tuple(leaf.shape), taken)
