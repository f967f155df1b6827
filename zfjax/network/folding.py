"""Equations of known arrays alone, computed while a network is traced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def evaluate(equation: Any, arguments: Sequence[Any], **params: Any) -> tuple[Any, ...]:
    """The outputs of an equation that is none of our operations, with some ``params`` changed."""
    bound = equation.primitive.get_bind_params({**equation.params, **params})
    out = equation.primitive.bind(*arguments, **bound)
    return tuple(out) if equation.primitive.multiple_results else (out,)


def compiled(value: Any, made_by: Mapping[Any, Any]) -> np.ndarray:
    """A known array as one program computes it. ``made_by``: the equations that known arrays come
    from, by their outputs.

    Operation by operation it may be another: XLA divides by a constant by multiplying, and a floor
    of what should be whole then takes another row of a map.
    """
    arrays: dict[Any, Any] = {}

    def array_of(own: Any) -> Any:
        if own not in made_by:
            return jnp.asarray(own.known, own.dtype)
        if own not in arrays:
            equation = made_by[own]
            made = evaluate(equation, [array_of(each) for each in equation.inputs])
            arrays.update(zip(equation.outputs, made, strict=True))
        return arrays[own]

    # Run at once, also while an outer function is traced.
    return np.asarray(jax.jit(lambda: array_of(value)).lower().compile()())
