"""A JAX function of parameters and images as a flat list of equations.

Calls (``jit``, ``remat``, ReLU's own derivative) are followed into, scans unrolled, constants
folded, so that what a network does stands in one line of equations. Our own operations (ops.py,
convolution.py) are kept whole, with the settings they were called with. Of JAX's inner structures
only this file knows; tests/network/jaxprs/ holds those of a few networks as text.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core as jex
from jax.extend import source_info_util

from zfjax.errors import ZfjaxError
from zfjax.network import convolution, ops
from zfjax.network.folding import compiled, evaluate

CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "remat", "checkpoint")
"""Equations that hold others and mean no more than those."""
RELU_ONLY = {"max", "min", "clamp", "convert_element_type", "broadcast_in_dim"}
"""What is in a call with a derivative of its own (``jax.nn.relu``) that may be followed into."""
WORKING = {"conv_general_dilated", "dot_general", "reduce_window_max", "custom_vjp_call"}
"""What must not be hidden in a call: it has a rule, a precision or a window."""
MOST_TURNS = 1000
"""Turns of a scan that are unrolled."""
FOLDED = 4096
"""Elements of a constant up to which it is computed while tracing."""
SAME_NUMBER = {"broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "copy"}
"""Operations on a constant that leave every element the number that it was."""
OUR_RULES = {
    ops._relu_backward: "zfjax.relu",
    ops._max_pool_backward: "zfjax.max_pool",
    ops._norm_backward: "zfjax.norm",
    convolution._conv_backward: "zfjax.conv",
}


@dataclass(frozen=True, eq=False)
class Value:
    """What an equation takes or gives. Compared by identity."""

    shape: tuple[int, ...]
    dtype: Any
    leaf: str = ""
    """Path of the parameter that it is: "conv1/kernel"."""
    known: Any = None
    """The array that it is, for one known without parameters and images."""
    number: float | None = None
    """What each of its elements is, where that is known."""


@dataclass(frozen=True, eq=False)
class Equation:
    """One operation on values. Compared by identity."""

    operation: str
    """The primitive's name, or that of one of our operations: "zfjax.relu"."""
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    params: Mapping[str, Any]
    """The primitive's, or ``{"settings": (...)}`` of one of our operations."""
    primitive: Any
    scope: str
    """The modules it stands in, as Linen names them: "ResNet/Block_0"; often empty."""
    calls: tuple[str, ...]
    """Functions that were followed into to find it: ("silu",)."""
    line: str
    """Where it is written: "file.py:12"."""

    @property
    def output(self) -> Value:
        """The first of its outputs."""
        return self.outputs[0]

    def __str__(self) -> str:
        name = f"{self.calls[-1]} ({self.operation})" if self.calls else self.operation
        return f"{name} at {self.line}" if self.line else name


@dataclass(frozen=True, eq=False)
class Trace:
    """A function as equations, in the order in which they are computed."""

    parameters: tuple[Value, ...]
    """Of the leaves of its first argument, in JAX's order."""
    images: Value
    equations: tuple[Equation, ...]
    outputs: Mapping[str, Value]
    """By path: "" for a function that returns one array."""

    def needed_for(self, values: Sequence[Value]) -> tuple[Equation, ...]:
        """The equations that must be computed for these, in order."""
        wanted, needed = set(values), []
        for equation in reversed(self.equations):
            if not wanted.isdisjoint(equation.outputs):
                needed.append(equation)
                wanted.update(equation.inputs)
        return tuple(reversed(needed))


def trace(function: Callable[..., Any], parameters: Any, images: jax.ShapeDtypeStruct) -> Trace:
    """``function(parameters, images)`` as equations. ``parameters``: a tree of arrays or of their
    shapes and dtypes. What the function raises itself is passed on. Raises ZfjaxError for a scan
    that is too long.
    """
    shaped = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), parameters)
    closed, out = jax.make_jaxpr(function, return_shape=True)(shaped, images)
    paths = [leaf_path(keys) for keys, _ in jax.tree_util.tree_flatten_with_path(shaped)[0]]
    inputs = [
        Value(var.aval.shape, var.aval.dtype, leaf)
        for var, leaf in zip(closed.jaxpr.invars, [*paths, ""], strict=True)
    ]
    flattener = _Flattener()
    values = flattener.follow(closed, inputs, _Scope("", ()))
    names = [leaf_path(keys) for keys, _ in jax.tree_util.tree_flatten_with_path(out)[0]]
    outputs = dict(zip(names, values, strict=True))
    return Trace(tuple(inputs[:-1]), inputs[-1], tuple(flattener.equations), outputs)


@dataclass(frozen=True)
class _Scope:
    """Where the equations stand that are being followed into."""

    scope: str
    calls: tuple[str, ...]
    line: str = ""

    def inside(self, equation: jex.JaxprEqn, name: str = "") -> _Scope:
        own = str(equation.source_info.name_stack)
        scope = "/".join(words for words in (self.scope, own) if words)
        calls = (*self.calls, name) if name else self.calls
        return _Scope(scope, calls, _line(equation) or self.line)


class _Flattener:
    """Gathers ``equations`` while it follows calls; what is computed twice is one of them, as for a
    function that returns maps and scores made of them.
    """

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.made: dict[Any, Sequence[Value]] = {}
        self.folded: dict[Value, Equation] = {}

    def follow(self, closed: Any, inputs: Sequence[Value], around: _Scope) -> list[Value]:
        """Adds the equations of a jaxpr; returns its outputs."""
        jaxpr, consts = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
        values: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
        values.update(
            (var, _constant(const))
            for var, const in zip(jaxpr.constvars, consts, strict=True)
            if var not in values
        )

        def read(atom: Any) -> Value:
            return _constant(atom.val) if isinstance(atom, jex.Literal) else values[atom]

        for equation in jaxpr.eqns:
            arguments = [read(atom) for atom in equation.invars]
            outputs = self._add(equation, arguments, around)
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _add(self, equation: jex.JaxprEqn, inputs: list[Value], around: _Scope) -> Sequence[Value]:
        name, params = equation.primitive.name, equation.params
        inner = params.get("jaxpr", params.get("call_jaxpr"))
        if name in CALLS:
            return self.follow(inner, inputs, around.inside(equation, params.get("name", "")))
        if name == "custom_jvp_call":
            words = set(_operations(inner))
            if words <= RELU_ONLY or words & WORKING:
                return self.follow(inner, inputs, around.inside(equation, params.get("name", "")))
        if name == "dynamic_slice" and all(value.number is not None for value in inputs[1:]):
            return self._apply(_cut(inputs, params["slice_sizes"]), inputs[:1], around)
        if name == "scan":
            return self._unroll(equation, inputs, around.inside(equation))
        inside = around.inside(equation)
        operation, kept = _ours(equation) or (name, params)
        if operation.startswith("zfjax."):
            inputs = inputs[params["num_consts"] :]
        if name == "gather" and inputs[1] in self.folded:
            inputs = [inputs[0], _constant(compiled(inputs[1], self.folded), inputs[1])]
        outputs = tuple(_result(name, inputs, var.aval) for var in equation.outvars)
        made = Equation(
            operation, tuple(inputs), outputs, kept, equation.primitive, inside.scope, inside.calls,
            inside.line,
        )  # fmt: skip
        folded = _folded(made)
        if folded is not None:
            own = dataclasses.replace(made, outputs=tuple(folded))
            self.folded.update((value, own) for value in folded)
            return folded
        key = _identity(made)
        if key not in self.made:
            self.equations.append(made)
            self.made[key] = outputs
        return self.made[key]

    def _unroll(
        self, equation: jex.JaxprEqn, inputs: list[Value], around: _Scope
    ) -> Sequence[Value]:
        params = equation.params
        consts, carries, turns = params["num_consts"], params["num_carry"], params["length"]
        if turns > MOST_TURNS:
            raise ZfjaxError(
                f"A scan of {turns} turns at {_line(equation)} is too long to look at; at most"
                f" {MOST_TURNS} are unrolled."
            )
        fixed, carry, stacked = (
            inputs[:consts], inputs[consts : consts + carries], inputs[consts + carries :],
        )  # fmt: skip
        by_turn: list[list[Value]] = [[]] * turns
        for turn in reversed(range(turns)) if params["reverse"] else range(turns):
            rows = [self._apply(_row(turn), [value], around)[0] for value in stacked]
            out = self.follow(params["jaxpr"], [*fixed, *carry, *rows], around)
            carry, by_turn[turn] = out[:carries], out[carries:]
        columns = zip(*by_turn, strict=True)
        return [*carry, *(self._apply(_stack, list(column), around)[0] for column in columns)]

    def _apply(
        self, function: Callable[..., Any], inputs: list[Value], around: _Scope
    ) -> list[Value]:
        shaped = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in inputs]
        return self.follow(jax.make_jaxpr(function)(*shaped), inputs, around)


def _row(turn: int) -> Callable[[jax.Array], jax.Array]:
    return functools.partial(lax.index_in_dim, index=turn, keepdims=False)


def _cut(inputs: Sequence[Value], sizes: Sequence[int]) -> Callable[[jax.Array], jax.Array]:
    """The part that a dynamic slice with known places takes, clamped as that is."""
    starts = [
        min(max(int(value.number or 0), 0), extent - size)
        for value, extent, size in zip(inputs[1:], inputs[0].shape, sizes, strict=True)
    ]
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    return functools.partial(lax.slice, start_indices=starts, limit_indices=ends)


def _stack(*rows: jax.Array) -> jax.Array:
    return jnp.stack(rows)


def _ours(equation: jex.JaxprEqn) -> tuple[str, dict[str, Any]] | None:
    """Name and settings of one of our operations; None for another equation."""
    backward: Any = equation.params.get("bwd")
    operation = OUR_RULES.get(getattr(backward, "f", _ours))
    if operation is None:
        return None
    settings = [
        getattr(argument, "val", argument)
        for _, arguments in backward.transforms
        for packed in arguments
        if isinstance(packed, tuple)
        for argument in packed
        if hasattr(argument, "val")
    ]
    return operation, {"settings": tuple(settings)}


def _identity(equation: Equation) -> Any:
    """Equal for equations that compute the same; precision does not count, for all are run at
    HIGHEST.
    """
    params = equation.params
    if any("jaxpr" in name or callable(value) for name, value in params.items()):
        return equation
    inputs = tuple(
        value if value.known is None or np.ndim(value.known) else (value.number, value.dtype)
        for value in equation.inputs
    )
    settings = tuple(
        dataclasses.replace(own, precision=None) if isinstance(own, convolution._How) else own
        for own in params.get("settings", ())
    )
    words = str(
        {name: own for name, own in params.items() if name not in ("precision", "settings")}
    )
    return equation.operation, inputs, settings, words


def _operations(jaxpr: Any) -> Iterator[str]:
    """Names of the primitives of a jaxpr, of inner ones too."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if equation.primitive.name in (*CALLS, "custom_jvp_call"):
            yield from _operations(inner)
        else:
            yield equation.primitive.name


def _constant(array: Any, like: Value | None = None) -> Value:
    """A known array, of the dtype of ``like`` and with its number."""
    is_key = jax.dtypes.issubdtype(getattr(array, "dtype", np.float32), jax.dtypes.extended)
    array = np.asarray(array) if np.ndim(array) == 0 and not is_key else array
    dtype, number = jax.dtypes.canonicalize_dtype(array.dtype, allow_extended_dtype=True), None
    if np.size(array) == 1 and not jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        number = float(np.asarray(array).reshape(()))
    if like is not None:
        dtype, number = like.dtype, like.number if number is None else number
    return Value(np.shape(array), dtype, known=array, number=number)


def _result(operation: str, inputs: Sequence[Value], aval: Any) -> Value:
    number = inputs[0].number if inputs and operation in SAME_NUMBER else None
    return Value(aval.shape, aval.dtype, number=number)


def _folded(equation: Equation) -> list[Value] | None:
    """The outputs as constants, where they are small and follow from constants alone."""
    inputs, outputs = equation.inputs, equation.outputs
    if any(value.known is None for value in inputs) or any(
        np.prod(value.shape) > FOLDED for value in outputs
    ):
        return None
    if equation.operation.startswith(("zfjax.", "random", "threefry")):
        return None
    with jax.ensure_compile_time_eval():
        arguments = [jnp.asarray(value.known, value.dtype) for value in inputs]
        return [
            _constant(array, value)
            for array, value in zip(evaluate(equation, arguments), outputs, strict=True)
        ]


def _line(equation: jex.JaxprEqn) -> str:
    """ "file.py:12" of the code that it stands in; empty where that is not known."""
    words = source_info_util.summarize(equation.source_info).split(" ")[0]
    return ":".join(words.rsplit("/", 1)[-1].split(":")[:2])


def leaf_path(keys: Sequence[Any]) -> str:
    """ "conv1/kernel" of JAX's keys."""
    return "/".join(
        str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in keys
    )
