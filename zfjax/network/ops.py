"""ReLU, max-pooling and contrast normalisation: one forward, and a backward rule for each.

The deconvnet (paper, section 2.1) is the vector-Jacobian product of the forward pass with two rules
changed: the ReLU going down rectifies the signal itself, and contrast normalisation passes it
through. Max-pooling going down follows the stored switches; the convolution going down is its exact
adjoint (convolution.py); biases play no part. A model written with these operations projects for
free. The rule is a static argument, never a global.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float, Float32, Int8

from zfjax.errors import ZfjaxError
from zfjax.network.arrays import Array


@dataclass(frozen=True)
class Rule:
    """How the signal comes down.

    ``relu``: "deconvnet" passes max(g, 0); "gradient" passes g where the forward value was
    positive; "guided" both. ``norm``: "identity" passes g through contrast normalisation;
    "gradient" differentiates it; "frozen" scales g by what the norm scaled the map by.
    """

    relu: Literal["deconvnet", "gradient", "guided"]
    norm: Literal["identity", "gradient", "frozen"]


RULES = {
    "deconvnet": Rule("deconvnet", "identity"),
    "guided": Rule("guided", "identity"),
    "gradient": Rule("gradient", "gradient"),
    "deconvnet+norm": Rule("deconvnet", "gradient"),
    "guided+norm": Rule("guided", "gradient"),
}
GRADIENT = RULES["gradient"]


def rule_named(name: str) -> Rule:
    """The rule of that name ("+norm": contrast normalisation is differentiated). Raises ZfjaxError
    for another.
    """
    if name not in RULES:
        raise ZfjaxError(f"There is no rule {name!r}; there are {', '.join(RULES)}.")
    return RULES[name]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def relu(x: Float[Array, "*shape"], rule: Rule) -> Float[Array, "*shape"]:
    """max(x, 0), any shape and float dtype."""
    return jnp.maximum(x, 0)


def _relu_forward(x: Float[Array, "*shape"], rule: Rule) -> tuple[Float[Array, "*shape"], Any]:
    return jnp.maximum(x, 0), (None if rule.relu == "deconvnet" else x > 0)


def _relu_backward(
    rule: Rule, positive: Bool[Array, "*shape"] | None, g: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"]]:
    if rule.relu != "gradient":
        g = jnp.maximum(g, 0)
    return (g if positive is None else jnp.where(positive, g, 0),)


relu.defvjp(_relu_forward, _relu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(
    x: Float[Array, "n h w c"], window: int, stride: int, padding: tuple[int, int]
) -> Float[Array, "n rows columns c"]:
    """Maximum over windows of x [n, h, w, c]; padded cells never win.

    Going down, each window's signal returns to its switch, the place of its maximum; the first
    place wins a tie, and overlapping windows add. Written as shifted slices: XLA's own gradient,
    select-and-scatter, is ten times slower on CPU and has no deterministic form on GPU.
    """
    return _pool_with_switches(x, window, stride, padding)[0]


def _extents(
    shape: tuple[int, ...], window: int, stride: int, padding: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of [n, h, w, c] once padded, and of what pooling leaves of it."""
    height, width = (extent + sum(padding) for extent in shape[1:3])
    return (height, width), ((height - window) // stride + 1, (width - window) // stride + 1)


def _pool_with_switches(
    x: Float[Array, "n h w c"], window: int, stride: int, padding: tuple[int, int]
) -> tuple[Float[Array, "n rows columns c"], Int8[Array, "n rows columns c"]]:
    """The maxima, and the place of each within its window, counted row by row."""
    _, (rows, columns) = _extents(x.shape, window, stride, padding)
    padded = jnp.pad(x, ((0, 0), padding, padding, (0, 0)), constant_values=-jnp.inf)

    def at(dy: int, dx: int) -> Float[Array, "n rows columns c"]:
        """What every window has at row ``dy`` and column ``dx``."""
        return padded[
            :,
            dy : dy + stride * (rows - 1) + 1 : stride,
            dx : dx + stride * (columns - 1) + 1 : stride,
        ]

    best = at(0, 0)
    switches = jnp.zeros(best.shape, jnp.int8)
    for index in range(1, window**2):
        cells = at(*divmod(index, window))
        better = (cells > best) | (cells != cells)  # a NaN wins: no maximum shall hide it
        best = jnp.where(better, cells, best)
        switches = jnp.where(better, jnp.int8(index), switches)
    return best, switches


def _max_pool_forward(
    x: Float[Array, "n h w c"], window: int, stride: int, padding: tuple[int, int]
) -> tuple[Float[Array, "n rows columns c"], Any]:
    best, switches = _pool_with_switches(x, window, stride, padding)
    return best, (switches, x.shape)


def _max_pool_backward(
    window: int,
    stride: int,
    padding: tuple[int, int],
    residual: tuple[Int8[Array, "n rows columns c"], tuple[int, ...]],
    g: Float[Array, "n rows columns c"],
) -> tuple[Float[Array, "n h w c"]]:
    switches, shape = residual
    return (unpool(g, switches, shape, window, stride, padding),)


def unpool(
    g: Float[Array, "n rows columns c"],
    switches: Int8[Array, "n rows columns c"],
    shape: tuple[int, ...],
    window: int,
    stride: int,
    padding: tuple[int, int],
) -> Float[Array, "n h w c"]:
    """Places g [n, rows, columns, c] at its switches in an array of ``shape`` [n, h, w, c];
    overlaps add.

    Cells are computed apart by their place within a stride and interleaved at the end, so that
    memory is read in order; padded before they are cut, not after, so that no loop asks at every
    cell whether it is inside (on CPU a tenth of the time).
    """
    (height, width), (rows, columns) = _extents(shape, window, stride, padding)
    blocks = -(-height // stride), -(-width // stride)
    reach = (window - 1) // stride  # windows above and left of a cell's own that see it too
    edges = ((0, 0), (reach, blocks[0] - rows), (reach, blocks[1] - columns), (0, 0))
    signal, places = jnp.pad(g, edges), jnp.pad(switches, edges, constant_values=-1)

    def phase(row: int, column: int) -> Float[Array, "n rows columns c"]:
        """Cells (row + i * stride, column + j * stride): what the windows that reach them send
        there.
        """
        total = jnp.zeros((shape[0], *blocks, shape[3]), g.dtype)
        for dy in range(row, window, stride):
            for dx in range(column, window, stride):
                y, x = reach - dy // stride, reach - dx // stride
                seen = slice(None), slice(y, y + blocks[0]), slice(x, x + blocks[1])
                total = total + jnp.where(places[seen] == dy * window + dx, signal[seen], 0)
        return total

    phases = [
        jnp.stack([phase(row, column) for column in range(stride)], axis=3) for row in range(stride)
    ]
    total = jnp.stack(phases, axis=2).reshape(
        shape[0], blocks[0] * stride, blocks[1] * stride, shape[3]
    )
    return total[:, padding[0] : padding[0] + shape[1], padding[0] : padding[0] + shape[2]]


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@dataclass(frozen=True)
class _Normalisation:
    """x / (k + alpha * S)^beta, and how the signal comes down."""

    size: int
    k: float
    alpha: float
    beta: float
    rule: Rule


def local_response_norm(
    x: Float[Array, "*shape maps"], size: int, k: float, alpha: float, beta: float, rule: Rule
) -> Float[Array, "*shape maps"]:
    """x / (k + alpha * S)^beta over x [..., maps], S the sum of squares of ``size`` neighbouring
    maps (fewer at the ends). ``alpha`` multiplies the sum (Krizhevsky 2012, section 3.3). Computed
    in float32, returned in x's dtype.
    """
    return _norm(x, _Normalisation(size, k, alpha, beta, rule))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _norm(x: Float[Array, "*shape maps"], norm: _Normalisation) -> Float[Array, "*shape maps"]:
    return _norm_forward(x, norm)[0]


def _neighbour_sum(x: Float32[Array, "*shape maps"], size: int) -> Float32[Array, "*shape maps"]:
    """Sum over ``size`` neighbouring maps, as a product with a banded matrix of ones: one matmul
    that XLA does not mix with its neighbours (a reduce_window costs ten times as much on CPU; five
    shifted adds recompute the pool below).
    """
    apart = np.subtract.outer(np.arange(x.shape[-1]), np.arange(x.shape[-1]))
    return jnp.dot(x, (abs(apart) <= size // 2).astype(np.float32), precision=lax.Precision.HIGHEST)


def _inverse_power(d: Float32[Array, "*shape"], beta: float) -> Float32[Array, "*shape"]:
    if beta == 0.75:  # two square roots are several times faster than a general power
        root = lax.rsqrt(d)
        return root * jnp.sqrt(root)
    return d**-beta


def _norm_forward(
    x: Float[Array, "*shape maps"], norm: _Normalisation
) -> tuple[Float[Array, "*shape maps"], Float[Array, "*shape maps"] | None]:
    wide = x.astype(jnp.float32)
    d = norm.k + norm.alpha * _neighbour_sum(wide * wide, norm.size)
    scale = _inverse_power(d, norm.beta)
    return (wide * scale).astype(x.dtype), (None if norm.rule.norm == "identity" else x)


def _norm_backward(
    norm: _Normalisation, x: Float[Array, "*shape maps"] | None, g: Float[Array, "*shape maps"]
) -> tuple[Float[Array, "*shape maps"]]:
    if x is None:  # the rule is the identity
        return (g,)
    wide, signal = x.astype(jnp.float32), g.astype(jnp.float32)
    d = norm.k + norm.alpha * _neighbour_sum(wide * wide, norm.size)
    scale = _inverse_power(d, norm.beta)
    if norm.rule.norm == "frozen":
        return ((signal * scale).astype(g.dtype),)
    among = _neighbour_sum(signal * wide * scale / d, norm.size)
    down = signal * scale - 2 * norm.alpha * norm.beta * wide * among
    return (down.astype(g.dtype),)


_norm.defvjp(_norm_forward, _norm_backward)
