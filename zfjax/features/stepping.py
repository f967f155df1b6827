"""One unit's way from its activation down to pixels, a step at a time: every map on the way.

``deconvnet`` takes the same way in one piece. Here each layer is run up by itself, so that the
signal can be looked at below each of its operations; the last step is the projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32

from zfjax.errors import ZfjaxError
from zfjax.network import ops
from zfjax.network.architecture import Architecture, Conv, Layer, Norm, Pool
from zfjax.network.convolution import conv
from zfjax.network.model import Parameters
from zfjax.network.ops import RULES, Rule

SEEDED, UNPOOLED, RECTIFIED, FILTERED = "seeded", "unpooled", "rectified", "filtered"
NORMALISED = "contrast norm"


@dataclass(frozen=True)
class Step:
    """The signal after one operation of the way down."""

    layer: str
    operation: str
    """SEEDED, UNPOOLED by the switches, RECTIFIED, FILTERED by the transposed filters, NORMALISED
    (passed through, or differentiated)."""
    signal: Float32[np.ndarray, "h w maps"]
    """What goes on downward; at the last step pixels, signed."""
    cut: float
    """Of RECTIFIED: the share of the signal's energy that was taken away; else 0."""


Pull = Callable[[Array], tuple[Array, ...]]


def step_through(
    architecture: Architecture,
    parameters: Parameters,
    inputs: Float[Array, "1 h w c"],
    unit: tuple[str, int, int, int],
    rule: Rule = RULES["deconvnet"],
) -> list[Step]:
    """Every step from the unit (layer, map, y, x) down to the pixels of one normalised image, at
    precision HIGHEST on the whole image. Raises ZfjaxError for a layer that is no convolution.
    """
    layer, map_, y, x = unit
    names = [each.name for each in architecture.layers if isinstance(each, Conv)]
    if layer not in names:
        raise ZfjaxError(f"{layer} is no convolution; there are {', '.join(names)}.")
    values, ways = jnp.asarray(inputs, jnp.float32), []
    for fact in architecture.below(layer):
        for operation, function in _operations(fact.layer, parameters, rule):
            values, pull = jax.vjp(function, values)
            ways.append((fact.layer.name, operation, pull))
    signal = jnp.zeros_like(values).at[0, y, x, map_].set(values[0, y, x, map_])
    steps = [Step(layer, SEEDED, np.asarray(signal[0]), 0.0)]
    for name, operation, pull in reversed(ways):
        before = signal
        (signal,) = pull(before)
        cut = _cut_share(before, signal) if operation == RECTIFIED else 0.0
        steps.append(Step(name, operation, np.asarray(signal[0]), cut))
    return steps


def _operations(
    layer: Layer, parameters: Parameters, rule: Rule
) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """What a layer does on the way up, in that order, by what it is on the way down."""
    if isinstance(layer, Conv):
        weights, padding, stride = parameters[layer.name], layer.padding, layer.stride

        def filtered(x: Array) -> Array:
            kernel, bias = jnp.asarray(weights["kernel"]), jnp.asarray(weights["bias"])
            highest = lax.Precision.HIGHEST
            return conv(x, kernel, bias, stride=stride, padding=padding, precision=highest)

        def rectified(x: Array) -> Array:
            return ops.relu(x, rule)

        yield FILTERED, filtered
        yield RECTIFIED, rectified
    elif isinstance(layer, Pool):
        pool = layer

        def pooled(x: Array) -> Array:
            return ops.max_pool(x, pool.window, pool.stride, pool.padding)

        yield UNPOOLED, pooled
    elif isinstance(layer, Norm):
        norm = layer

        def normalised(x: Array) -> Array:
            settings = norm.size, norm.k, norm.alpha, norm.beta
            return ops.local_response_norm(x, *settings, rule)

        yield NORMALISED, normalised


def _cut_share(before: Array, after: Array) -> float:
    whole = float((before**2).sum())
    return 1 - float((after**2).sum()) / whole if whole else 0.0
