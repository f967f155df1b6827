"""A traced network evaluated equation by equation, each with the rule by which a signal comes down
through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfjax.network import ops
from zfjax.network.convolution import correlation
from zfjax.network.equations import Equation, Value
from zfjax.network.folding import evaluate
from zfjax.network.ops import GRADIENT, Rule
from zfjax.network.precision import HIGHEST, Precision, multiplied_at, rounded
from zfjax.network.reading import Reading
from zfjax.network.spans import COLUMNS, ROWS
from zfjax.network.windows import Windowed

Statistics = Literal["rule", "frozen", "identity", "gradient"]
"""How a signal comes down where a statistic scales or shifts maps. "rule": as the rule has it for
contrast normalisation across maps, frozen for every other; "frozen": scaled, the statistic taken
for a constant; "identity": unchanged; "gradient": differentiated."""


@dataclass(frozen=True)
class Descent:
    """How a signal comes down a traced network."""

    rule: Rule = GRADIENT
    statistics: Statistics = "rule"
    precision: Precision = HIGHEST

    def through(self, role: str) -> str:
        """ "identity", "frozen" or "gradient", for a combination of maps with a statistic."""
        if self.rule.norm == "gradient" or self.statistics == "gradient":
            return "gradient"
        if self.statistics == "rule":
            return self.rule.norm if role == "contrast norm" else "frozen"
        return self.statistics


def run(
    reading: Reading,
    inputs: Mapping[Value, Any],
    wanted: Sequence[Value],
    descent: Descent,
    window: Windowed | None = None,
) -> list[Any]:
    """The ``wanted`` values. ``inputs``: images and the parameters needed, by
    the trace's values. With a ``window`` the images are the units' windows.
    """
    arrays = dict(inputs)

    def array(value: Value) -> Any:
        if value in arrays:
            return arrays[value]
        return jnp.asarray(value.known, value.dtype) if np.ndim(value.known) == 0 else value.known

    for equation in reading.trace.needed_for(wanted):
        arguments = [array(value) for value in equation.inputs]
        params: Mapping[str, Any] = equation.params
        if window is not None:
            arguments = window.arguments(equation, arguments)
            params = window.params(equation, arguments)
        padded = window is None or equation.output not in window.needs
        outputs = _apply(_Step(reading, equation, descent, params, padded), arguments)
        if window is not None:
            outputs = (window.result(equation, outputs[0]), *outputs[1:])
        arrays.update(zip(equation.outputs, outputs, strict=True))
    return [array(value) for value in wanted]


@dataclass(frozen=True)
class _Step:
    """An equation about to be evaluated."""

    reading: Reading
    equation: Equation
    descent: Descent
    params: Mapping[str, Any]
    padded: bool
    """Whether our own operations pad, as on whole images."""


def _apply(step: _Step, arguments: list[Any]) -> tuple[Any, ...]:
    equation, rule = step.equation, step.descent.rule
    role, operation = step.reading.roles.get(equation), equation.operation
    main = step.reading.main.get(equation, 0)
    if role == "relu":
        positive = ops.relu(arguments[main], rule)
        return (_clipped(positive, arguments[2]) if operation == "clamp" else positive,)
    if operation == "zfjax.relu":
        return (ops.relu(arguments[0], GRADIENT),)
    if role == "clip":
        return (_clipped(arguments[main], arguments[1 - main]),)
    if operation == "zfjax.conv":
        how = step.params["settings"][0]
        padding = how.padding if step.padded else (0, 0)
        return (_correlated(step, arguments, how.stride, padding),)
    if operation == "conv_general_dilated":
        return (_convolved(step, arguments),)
    if role == "max pool":
        return (_pooled(step, arguments[0]),)
    if operation == "zfjax.norm":
        norm = step.params["settings"][0]
        down = replace(rule, norm=step.descent.through("contrast norm"))  # type: ignore[arg-type]
        x, settings = arguments[0], (norm.size, norm.k, norm.alpha, norm.beta)
        return (ops.local_response_norm(x, *settings, down),)
    if role in ("contrast norm", "frozen statistic", "frozen gate"):
        return (_combined(step, arguments, main),)
    out = _evaluated(step, arguments)
    if role == "tanh":
        return (_rectified_down(out[0], rule),)
    return out


def _evaluated(step: _Step, arguments: list[Any]) -> tuple[Any, ...]:
    """As it is written, but for how exactly it multiplies."""
    equation, precision = step.equation, step.descent.precision
    if equation.operation not in ("dot_general", "conv_general_dilated"):
        return tuple(evaluate(equation, arguments, **step.params))
    how = multiplied_at(precision)
    params = {**step.params, "precision": (how, how)}
    if precision == "bfloat16":  # summed as the network has it
        arguments = [rounded(each, precision) for each in arguments]
        params["preferred_element_type"] = equation.output.dtype
    return tuple(evaluate(equation, arguments, **params))


def _clipped(x: jax.Array, most: jax.Array) -> jax.Array:
    """min(x, most); going down, nothing where it was clipped."""
    return jnp.where(x < most, x, most)


def _correlated(
    step: _Step, arguments: Sequence[Any], stride: int, padding: tuple[int, int]
) -> jax.Array:
    precision = step.descent.precision
    x, kernel = (rounded(each, precision) for each in arguments)
    how = multiplied_at(precision)
    product = correlation(x, kernel, stride=stride, padding=padding, precision=how)
    return product.astype(step.equation.output.dtype)


def _convolved(step: _Step, arguments: list[Any]) -> jax.Array:
    """Through our own convolution, where it does such ones."""
    params, (x, kernel) = step.params, arguments
    numbers, strides, padding = (
        params["dimension_numbers"], params["window_strides"], params["padding"],
    )  # fmt: skip
    layout = (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec)
    ours = (
        layout == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
        and kernel.shape[0] == kernel.shape[1]
        and strides[0] == strides[1]
        and all(each == 1 for each in (*params["lhs_dilation"], *params["rhs_dilation"]))
        and params["feature_group_count"] == params["batch_group_count"] == 1
        and x.dtype == kernel.dtype == step.equation.output.dtype
        and min(edge for edges in padding for edge in edges) >= 0
    )
    if not ours:
        return _evaluated(step, arguments)[0]
    if padding[0] != padding[1]:
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        padding = ((0, 0), (0, 0))
    return _correlated(step, [x, kernel], strides[0], tuple(padding[0]))


def _pooled(step: _Step, x: jax.Array) -> jax.Array:
    """Max-pooling with switches, in any layout."""
    params = step.params
    if step.equation.operation == "zfjax.max_pool":
        window, stride, padding = params["settings"]
        return ops.max_pool(x, window, stride, padding if step.padded else (0, 0))
    sight = step.reading.meanings[step.equation.inputs[0]].sight
    images, row, column = (sight.array_axis(axis) for axis in ("images", ROWS, COLUMNS))
    assert images is not None and row is not None and column is not None
    order = (images, row, column, *(i for i in range(x.ndim) if i not in (images, row, column)))
    shape = [x.shape[i] for i in order[3:]]
    turned = jnp.transpose(x, order).reshape(*(x.shape[i] for i in order[:3]), -1)
    padding = (params["padding"][row], params["padding"][column])
    if padding[0] != padding[1]:
        edges = ((0, 0), *padding, (0, 0))
        turned = jnp.pad(turned, edges, constant_values=-jnp.inf)
        padding = ((0, 0), (0, 0))
    window, stride = params["window_dimensions"][row], params["window_strides"][row]
    out = ops.max_pool(turned, window, stride, tuple(padding[0]))
    return jnp.transpose(out.reshape(*out.shape[:3], *shape), np.argsort(order).tolist())


def _combined(step: _Step, arguments: list[Any], main: int) -> jax.Array:
    """Maps scaled or shifted by a statistic, or by a gate of their own."""
    role, rule = step.reading.roles[step.equation], step.descent.rule
    how = "frozen" if role == "frozen gate" else step.descent.through(role)
    if role == "frozen gate" and rule.relu == "gradient":
        how = "gradient"
    if how == "identity" and step.equation.operation in ("concatenate", "stack"):
        how = "frozen"  # side by side: the statistic's own maps end there
    if how == "frozen":
        arguments = [
            own if index == main else lax.stop_gradient(own) for index, own in enumerate(arguments)
        ]
    out = evaluate(step.equation, arguments, **step.params)[0]
    if how == "identity":
        return _value_with_the_way_of(arguments[main], out)
    return _rectified_down(out, rule) if role == "frozen gate" else out


@jax.custom_vjp
def _value_with_the_way_of(x: jax.Array, value: jax.Array) -> jax.Array:
    """``value``, from which a signal comes down unchanged to ``x``."""
    return value


def _value_forward(x: jax.Array, value: jax.Array) -> tuple[jax.Array, None]:
    return value, None


def _value_backward(_: None, g: jax.Array) -> tuple[jax.Array, None]:
    return g, None


_value_with_the_way_of.defvjp(_value_forward, _value_backward)


def _rectified_down(x: jax.Array, rule: Rule) -> jax.Array:
    """``x``; going down, what is negative of the signal ends here but by the rule "gradient"."""
    return x if rule.relu == "gradient" else _rectified(x)


@jax.custom_vjp
def _rectified(x: jax.Array) -> jax.Array:
    return x


def _rectified_forward(x: jax.Array) -> tuple[jax.Array, None]:
    return x, None


def _rectified_backward(_: None, g: jax.Array) -> tuple[jax.Array]:
    return (jnp.maximum(g, 0),)


_rectified.defvjp(_rectified_forward, _rectified_backward)
