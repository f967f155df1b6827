"""Somebody's function of parameters and images as a value, ``Model``: traced and read once for each
number of images, its layers named.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.network.descent import Statistics
from zfjax.network.equations import Value, leaf_path, trace
from zfjax.network.meanings import SMOOTH
from zfjax.network.naming import Names
from zfjax.network.reading import Reading, Site, read

SCORES = ("scores", "logits")
"""The output that is class scores, of a function that returns several."""
BATCH = 2
"""Images with which layers are found; each other number of images is traced when it is met."""


@dataclass(frozen=True)
class Model:
    """A function of parameters and images, and how it is looked at. Hashable: equal where all of
    it is; a function is equal to itself alone.
    """

    name: str
    function: Callable[..., Any]
    """(parameters, images [n, h, w, channels]) -> maps, scores, or a mapping of them by name."""
    structure: Any
    """The parameters' tree."""
    leaves: tuple[jax.ShapeDtypeStruct, ...]
    """Shape and dtype of each leaf of it, in JAX's order."""
    input_size: tuple[int, int]
    """(height, width) in pixels."""
    channels: int = 3
    dtype: Any = jnp.float32
    """Of the images that it is given."""
    smooth: tuple[str, ...] = ()
    """Smooth activations that are given a rule: "tanh", "gelu", "silu", "mish"."""
    statistics: Statistics = "rule"

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the leaves: "params/Conv_0/kernel"."""
        tree = jax.tree.unflatten(self.structure, self.leaves)
        return tuple(leaf_path(keys) for keys, _ in jax.tree_util.tree_flatten_with_path(tree)[0])


def model_of(
    function: Callable[..., Any] | nn.Module,
    parameters: Any,
    input_size: tuple[int, int],
    *,
    name: str = "",
    smooth: tuple[str, ...] = (),
    statistics: Statistics = "rule",
    dtype: Any = jnp.float32,
) -> Model:
    """The model of a function ``(parameters, images) -> outputs`` or of a Linen module.

    ``parameters``: a tree of arrays, or of their shapes and dtypes; a module's variables. Raises
    ZfjaxError for an activation or a statistic's way that there is not, and what ``trace`` raises.
    """
    for choice in smooth:
        if choice not in SMOOTH:
            raise ZfjaxError(f"There is no rule for {choice!r}; there is for {', '.join(SMOOTH)}.")
    if statistics not in ("rule", "frozen", "identity", "gradient"):
        raise ZfjaxError(
            f"Statistics cannot be taken as {statistics!r}; they can be frozen, identity or"
            " gradient, or as the rule has it: rule."
        )
    applied = function.apply if isinstance(function, nn.Module) else function
    leaves, structure = jax.tree.flatten(parameters)
    shaped = tuple(jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves)
    title = name or getattr(function, "__name__", "") or type(function).__name__
    return Model(
        title,
        _Same(applied),
        structure,
        shaped,
        input_size,
        dtype=dtype,
        smooth=tuple(smooth),
        statistics=statistics,
    )


@dataclass(frozen=True, eq=False)
class _Same:
    """A function that is equal to itself: modules may hold what cannot be hashed."""

    function: Callable[..., Any]

    def __call__(self, parameters: Any, images: jax.Array) -> Any:
        return self.function(parameters, images)


def reading_of(model: Model, images: int = BATCH) -> Reading:
    """The model's equations on so many images, understood: once, for values compare by identity.
    What its function raises is passed on; ZfjaxError for a network in training mode.
    """
    return _reading(model, images)


@functools.lru_cache(maxsize=64)
def _reading(model: Model, images: int) -> Reading:
    height, width = model.input_size
    shape = jax.ShapeDtypeStruct((images, height, width, model.channels), model.dtype)
    parameters = jax.tree.unflatten(model.structure, model.leaves)
    return read(trace(model.function, parameters, shape), model.smooth)


def sites_of(model: Model, also: tuple[str, ...] = (), images: int = BATCH) -> dict[str, Site]:
    """What can be looked at by name, in forward order: every activation, and the convolutions
    ``also`` that have none of their own. Raises ZfjaxError for one that is not there.
    """
    reading = reading_of(model, images)
    bare = {site.name: site for site in reading.convolutions}
    sites = {site.name: site for site in reading.activations}
    for name in also:
        if name not in sites and name not in bare:
            raise ZfjaxError(
                f"{model.name} has no layer {name!r}; it has {', '.join(sites) or 'none'}"
                + (f", and convolutions without a ReLU: {', '.join(bare)}." if bare else ".")
            )
    sites |= {name: bare[name] for name in also if name in bare}
    if not sites:
        hint = f"; name a convolution: {', '.join(bare)}" if bare else ""
        raise ZfjaxError(f"{model.name} has no ReLU on maps, so no layer to look at{hint}.")
    position = {
        out: index
        for index, equation in enumerate(reading.trace.equations)
        for out in equation.outputs
    }
    return dict(sorted(sites.items(), key=lambda item: position[item[1].value]))


def hidden_values(
    model: Model, also: tuple[str, ...] = (), images: int = BATCH
) -> dict[str, Value]:
    """Activations [images, features] of fully connected layers, by name in forward order: of those
    that no layer on maps is made of, as a gate of maps is.
    """
    reading, sites = reading_of(model, images), sites_of(model, also, images)
    below = set(reading.trace.needed_for([site.value for site in sites.values()]))
    needed = set(reading.trace.needed_for(list(reading.trace.outputs.values())))
    names, taken = Names([]), set(sites)
    hidden = {}
    for equation in reading.trace.equations:
        value = equation.output if len(equation.outputs) == 1 else None
        if value is None or equation in below or equation not in needed:
            continue
        acts = reading.roles.get(equation) in ("relu", "tanh", "frozen gate")
        if acts and len(value.shape) == 2 and value.shape[0] == images:
            hidden[names.unique(reading.meanings[value].name, taken)] = value
    return hidden


def refusal(site: Site) -> str:
    """Why a signal does not come down from a layer, and the ways out."""
    smooth = next((name for name in SMOOTH if name in site.reason.lower()), None)
    chosen = f", or give {smooth} a rule with --smooth {smooth}" if smooth else ""
    return (
        f"{site.name} cannot be projected by this rule: there is none for {site.reason}; take"
        f" --rule gradient{chosen}."
    )


def digest_of(model: Model) -> str:
    """What tells a network from another: of its equations, their parameters' paths and shapes."""
    lines = [
        f"{equation.operation} {[(v.shape, v.leaf, v.number) for v in equation.inputs]}"
        f" {equation.output.shape}"
        for equation in reading_of(model).trace.equations
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def scores_output(model: Model) -> str | None:
    """Which output is class scores, [images, classes]: "scores" or "logits", the only output, or
    the only such of a tuple.
    """
    tables = tables_of(model)
    outputs = reading_of(model).trace.outputs
    for name in SCORES:
        if name in tables:
            return name
    is_tuple = all(name.partition("/")[0].isdecimal() for name in outputs)
    alone = list(outputs) == [""] or is_tuple
    return next(iter(tables)) if len(tables) == 1 and alone else None


def tables_of(model: Model) -> dict[str, int]:
    """Columns of every output that may be class scores: [images, columns]."""
    outputs = reading_of(model).trace.outputs.items()
    return {
        name: value.shape[1]
        for name, value in outputs
        if len(value.shape) == 2 and value.shape[0] == BATCH
    }


def needed_leaves(model: Model, also: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Paths of the parameters that the layers are made of; a head's are not among them."""
    values = [site.value for site in sites_of(model, also).values()]
    known = reading_of(model).trace
    used = {value for equation in known.needed_for(values) for value in equation.inputs}
    return tuple(value.leaf for value in known.parameters if value in used)


def own_leaves(model: Model, also: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """By layer, the paths of the parameters that it is made of and no layer before it: its
    convolution's, and those of the norms and shortcuts on the way there, statistics too.
    """
    known, taken = reading_of(model).trace, set[Value]()
    own = {}
    for name, site in sites_of(model, also).items():
        used = {value for equation in known.needed_for([site.value]) for value in equation.inputs}
        own[name] = tuple(value.leaf for value in known.parameters if value in used - taken)
        taken |= used
    return own


def parameters_of(model: Model, parameters: Mapping[str, Any]) -> Any:
    """The model's tree out of {path: array}."""
    return jax.tree.unflatten(model.structure, [parameters[path] for path in model.paths])
