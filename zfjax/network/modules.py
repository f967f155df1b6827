"""Modules of NNX and Equinox as functions of their variables and of images [n, h, w, channels], in
evaluation mode.

Flax and Equinox split a module into arrays and the rest, and put it together again around other
arrays (``nnx.split``, ``nnx.merge``; ``eqx.partition``, ``eqx.combine``); so a module is a pure
function of its arrays here, which are named by their paths in it: "conv1/kernel",
"layers/0/weight". Equinox is imported for a module of its own alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.network.equations import leaf_path

EQUINOX, NNX, TORCH = "Equinox", "NNX", "PyTorch"
PACKAGES = {"flax.nnx": NNX, "equinox": EQUINOX, "torch": TORCH}
"""Where a class comes from, by the beginning of its module's name."""
VALUE = "value"
"""The last key of an NNX variable's array, which is no name of anybody's."""
PARAMETERS, STATE = "params", "state"
"""What Equinox's layers keep between calls, beside their "params"."""


Pieces = Sequence[tuple[str, Any]]
"""What may be kept apart of one another: (the name below which a piece's leaves are called, "" for
none; its tree of shapes and dtypes).
"""


@dataclass(frozen=True, eq=False)
class PureModule:
    """A module as a function (variables, images [n, h, w, channels]) -> outputs."""

    name: str
    pieces: Pieces
    """Of its variables."""
    function: Callable[[Any, jax.Array], Any]

    def __call__(self, variables: Any, images: jax.Array) -> Any:
        """What the module makes of ``images``."""
        return self.function(variables, images)


def kind_of(value: Any) -> str:
    """ "NNX", "Equinox" or "PyTorch" for a value of a class of theirs, or for such a class; else
    "".
    """
    own = value if isinstance(value, type) else type(value)
    for base in own.__mro__:
        for package, title in PACKAGES.items():
            if base.__module__ == package or base.__module__.startswith(f"{package}."):
                return title
    return ""


def is_network(value: Any) -> bool:
    """Whether it is a module of Linen, NNX or Equinox, or a pair (module, state) of Equinox."""
    return isinstance(value, nn.Module) or _is_nnx(value) or _pair(value) is not None


def called(build: Callable[..., Any]) -> Any:
    """What a class or a function makes that takes nothing, or no more than the randomness that
    weights are drawn with: NNX's ``rngs``, Equinox's ``key``. What it raises is passed on.
    """
    drawn: dict[str, Any] = {}
    for parameter in _parameters(build):
        if parameter.default is parameter.empty and parameter.name == "rngs":
            from flax import nnx

            drawn["rngs"] = nnx.Rngs(0)
        elif parameter.default is parameter.empty and parameter.name == "key":
            drawn["key"] = jax.random.key(0)
    return build(**drawn)


def _parameters(function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """Of a function that names them, or of what makes a class's values; none of one that does
    not.
    """
    is_class = isinstance(function, type)  # NNX's classes hide what they take
    try:
        named = inspect.signature(function.__init__ if is_class else function)
    except (TypeError, ValueError):
        return ()
    every = list(named.parameters.values())[int(is_class) :]
    return [each for each in every if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]


def purified(network: Any) -> Any:
    """A ``PureModule`` of a module of NNX, or one of Equinox or its pair (module, state); anything
    else as it is. Raises ZfjaxError for a module that takes more than one image.
    """
    if _is_nnx(network):
        return _of_nnx(network)
    pair = _pair(network)
    return network if pair is None else _of_equinox(*pair)


def _is_nnx(value: Any) -> bool:
    if kind_of(value) != NNX or isinstance(value, type):
        return False
    from flax import nnx

    return isinstance(value, nnx.Module)


def _pair(value: Any) -> tuple[Any, Any] | None:
    """(module, its state or None) of Equinox; None for what is neither."""
    module, state = value, None
    if isinstance(value, tuple) and len(value) == 2:
        module, state = value
    if kind_of(module) != EQUINOX or isinstance(module, type):
        return None
    import equinox as eqx

    is_whole = isinstance(module, eqx.Module) and callable(module)
    return (module, state) if is_whole and (state is None or _is_state(state)) else None


def _is_state(value: Any) -> bool:
    if kind_of(value) != EQUINOX:
        return False
    import equinox as eqx

    return isinstance(value, eqx.nn.State)


def _of_nnx(module: Any) -> PureModule:
    """Random streams stay what they are: in evaluation mode nothing is drawn from them."""
    from flax import nnx

    own = nnx.merge(*nnx.split(module))  # a copy: somebody's module keeps its mode
    own.eval()
    graph, streams, *states = nnx.split(own, nnx.RngState, nnx.Param, ...)
    trees = [_Leaves(state) for state in states]

    def run(variables: Any, images: jax.Array) -> Any:
        fresh = jax.tree.map(_of_this_trace, streams)
        return nnx.merge(graph, fresh, *(tree.put(variables) for tree in trees))(images)

    pieces = tuple(("", tree.shapes) for tree in trees if tree.shapes)
    return PureModule(type(module).__name__, pieces, run)


def _of_equinox(module: Any, state: Any) -> PureModule:
    """One image, channels first, is what Equinox's layers take."""
    import equinox as eqx

    title = type(module).__name__
    names = {parameter.name: parameter for parameter in _parameters(module)}
    if STATE in names and state is None:
        made = eqx.nn.State(module)
        # Sequential takes a state, and none where no layer of it has one.
        if jax.tree.leaves(made) or names[STATE].default is inspect.Parameter.empty:
            state, module = made, eqx.nn.delete_init_state(module)
    extra = [
        name
        for name, parameter in list(names.items())[1:]
        if parameter.default is parameter.empty and name not in (STATE, "key")
    ]
    if not names or extra:
        raise ZfjaxError(
            f"{title} of Equinox takes {', '.join(names) or 'nothing'}; it must take one image"
            " [channels, height, width], and no more than state and key beside it."
        )
    own: dict[str, Any] = {}
    if "key" in names and names["key"].default is inspect.Parameter.empty:
        own["key"] = jax.random.PRNGKey(0)  # nothing is drawn with it in inference mode
    stateful = state is not None and STATE in names
    module, rest = eqx.partition(eqx.nn.inference_mode(module), _is_array)
    kept = _Leaves(state, STATE) if stateful else None
    parameters = _Leaves(module, PARAMETERS if kept is not None and kept.shapes else "")

    def run(variables: Any, images: jax.Array) -> Any:
        whole = eqx.combine(parameters.put(variables), rest)

        def of_image(image: jax.Array) -> Any:
            if kept is None:
                return whole(image, **own)
            return whole(image, state=kept.put(variables), **own)[0]

        return jax.vmap(of_image)(jnp.transpose(images, (0, 3, 1, 2)))

    trees = (parameters,) if kept is None or not kept.shapes else (parameters, kept)
    return PureModule(title, tuple((each.name, each.shapes) for each in trees), run)


def _of_this_trace(leaf: Any) -> Any:
    """A random stream's state, which may be counted on in the trace it is of alone."""
    return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.asarray(leaf)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)


class _Leaves:
    """A tree of arrays by their paths, as they are called in the module; ``name``: what the paths
    begin with in the variables.
    """

    def __init__(self, tree: Any, name: str = "") -> None:
        leaves, self.structure = jax.tree_util.tree_flatten_with_path(tree)
        paths = [leaf_path(keys).removesuffix(f"/{VALUE}") for keys, _ in leaves]
        self.name = name
        self.shapes = {
            path: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype)
            for path, (_, leaf) in zip(paths, leaves, strict=True)
        }

    def put(self, variables: Any) -> Any:
        """The tree with the arrays of ``variables``."""
        own = variables.get(self.name, {}) if self.name else variables
        leaves = {leaf_path(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(own)}
        return jax.tree.unflatten(self.structure, [leaves[path] for path in self.shapes])


def arrays_of(tree: Any) -> dict[str, Any]:
    """{path: array} of an NNX state, a module, or what else holds some; without keys of random
    numbers and what is no array.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        leaf_path(keys).removesuffix(f"/{VALUE}"): leaf
        for keys, leaf in leaves
        if hasattr(leaf, "dtype") and not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended)
    }
