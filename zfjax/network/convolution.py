"""Convolution and its exact adjoints, with the ways around what XLA is slow at on CPU.

Each way around gives equal numbers but for rounding and stands behind ``lax.platform_dependent``:
GPU and TPU run XLA's own convolutions. Milliseconds on two AVX-512 cores, jax 0.10.2, medians of 11
interleaved calls:

=====================================  ======================================  ====  ===
slow                                   instead                                 XLA   so
=====================================  ======================================  ====  ===
17 to 47 maps (24 of 7x7, 32 images)   48 maps                                  30    5
a stride going up, many images (*)     a few images at a time                   261  116
the same, not in training (+)          patches of a few images, one matmul       30   20
a stride going down, many images (*)   stride 1 over blocks of pixels          177  119
gradient of a kernel (*)               patches times signal, one matmul each   384  100
top of a window going down (conv5)     one matmul, shifted sums                3.6  1.3
=====================================  ======================================  ====  ===

(*) ZFNet's conv2, 32 images; the kernel gradients of conv1 and conv4: 253 and 122, 69 and 48.
(+) ZFNet's conv2, two images, processor time of one core; 32 windows of conv3: 37 and 23.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from zfjax.devices import working_set
from zfjax.network.arrays import Array, Images, Kernel, Maps

SLOW_MAPS = range(17, 48)
"""Numbers of maps that take up to seven times as long as the 48 that follow."""
MANY = 4
"""Times as many images as have their patches in cache, from which a stride is cheaper another
way."""
WIDE_MAP = 10
"""Output cells along an axis from which a kernel's gradient is cheaper from patches; below, it is
much the same."""
FEW_CHANNELS = 4
"""Input channels of a first layer."""
MANY_CHANNELS = 64
"""Input channels from which a patch's pieces are long enough to be gathered for a matmul."""
FEW_CELLS = 5
"""Output cells along an axis up to which the way down is cheaper as one matmul: the top of a
window."""


@dataclass(frozen=True)
class _How:
    """A convolution's settings, static under jit."""

    stride: int
    padding: tuple[int, int]
    precision: lax.Precision | None


def conv(
    x: Images,
    kernel: Kernel,
    bias: Float[Array, " maps"],
    *,
    stride: int,
    padding: tuple[int, int],
    precision: lax.Precision | None = None,
) -> Float[Array, "n rows columns maps"]:
    """Cross-correlation of x [n, h, w, c] with kernel [k, k, c, maps], plus bias [maps], and its
    exact adjoints.
    """
    product = correlation(x, kernel, stride=stride, padding=padding, precision=precision)
    return product + bias[None, None, None, :]


def correlation(
    x: Images,
    kernel: Kernel,
    *,
    stride: int,
    padding: tuple[int, int],
    precision: lax.Precision | None = None,
) -> Maps:
    """``conv`` without a bias."""
    return _conv(x, kernel, _How(stride, padding, precision))


def _correlate(x: Images, kernel: Float[Array, "k k c m"], how: _How) -> Float[Array, "n r s m"]:
    return lax.conv_general_dilated(
        x,
        kernel,
        (how.stride, how.stride),
        (how.padding, how.padding),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=how.precision,
    )


def _up(x: Images, kernel: Kernel, how: _How, training: bool = False) -> Maps:
    """The way up. ``training``: the kernel is learnt, and runs that have begun go on with the sums
    that they began with.
    """
    size, _, channels, maps = kernel.shape
    at_once = _images_at_once(x.shape, size, how)
    in_pieces = how.stride > 1 and channels > FEW_CHANNELS and MANY * at_once <= len(x)
    plain = functools.partial(_correlate, how=how)
    exact = how.precision == lax.Precision.HIGHEST and not training
    if how.stride > 1 and channels >= MANY_CHANNELS and exact:
        return lax.platform_dependent(
            x, kernel, cpu=functools.partial(_up_by_matmul, how=how), default=plain
        )
    if maps not in SLOW_MAPS and not in_pieces:
        return plain(x, kernel)

    def on_cpu(x: Images, kernel: Kernel) -> Maps:
        if maps in SLOW_MAPS:
            kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, SLOW_MAPS.stop - maps)))
        if in_pieces:
            out = lax.map(lambda images: plain(images, kernel), *_pieces(at_once, x))
        else:
            out = plain(x, kernel)
        return out.reshape(len(x), *out.shape[-3:])[..., :maps]

    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=plain)


def _up_by_matmul(x: Images, kernel: Kernel, how: _How) -> Maps:
    """The way up: patches of a few images at a time, one matmul."""
    size, maps = kernel.shape[0], kernel.shape[3]
    weights = kernel.reshape(-1, maps)

    def of_piece(x: Images) -> Maps:
        return jnp.dot(_patches(x, size, how, rows=1, channels=3), weights, precision=how.precision)

    at_once = _images_at_once(x.shape, size, how, working_set() // 4)
    if at_once == len(x):
        return of_piece(x)
    out = lax.map(of_piece, *_pieces(at_once, x))
    return out.reshape(len(x), *out.shape[-3:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Images, kernel: Kernel, how: _How) -> Maps:
    return _up(x, kernel, how)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Static:
    """A shape among residuals that are arrays."""

    shape: jax.ShapeDtypeStruct


Residual = tuple[Images | None, _Static, Kernel]
"""The input, its shape and the kernel. The input is kept for the kernel's gradient alone: a
projection has none."""


def _conv_forward(x: Any, kernel: Any, how: _How) -> tuple[Float[Array, "n r s m"], Residual]:
    """``x`` and ``kernel`` tell beside their values whether they are differentiated."""
    shape = jax.ShapeDtypeStruct(x.value.shape, x.value.dtype)
    kept = x.value if kernel.perturbed else None
    out = _up(x.value, kernel.value, how, training=kernel.perturbed)
    return out, (kept, _Static(shape), kernel.value)


def _conv_backward(how: _How, residual: Residual, g: Any) -> tuple[Images, Kernel]:
    x, static, kernel = residual
    nothing = jnp.zeros(static.shape.shape, static.shape.dtype)
    if isinstance(g, jax.custom_derivatives.SymbolicZero):
        return nothing, jnp.zeros_like(kernel)
    pixels = _down(nothing, kernel, g, how)
    if x is None:
        return pixels, jnp.zeros_like(kernel)
    return pixels, _kernel_gradient(x, kernel, g, how)


_conv.defvjp(_conv_forward, _conv_backward, symbolic_zeros=True)


def _down(nothing: Images, kernel: Kernel, g: Maps, how: _How) -> Images:
    """The way down of ``g`` to an input like ``nothing``."""
    size, cells = kernel.shape[0], (g.shape[1], g.shape[2])

    def plain(kernel: Kernel, g: Maps) -> Images:
        return _transposed(lambda x: _correlate(x, kernel, how), nothing, g)

    def in_blocks(kernel: Kernel, g: Maps) -> Images:
        blocks, unpadded = _kernel_in_blocks(kernel, how.stride), _How(1, (0, 0), how.precision)
        return _transposed(
            lambda x: _correlate(_in_blocks(x, size, how, cells), blocks, unpadded), nothing, g
        )

    def by_matmul(kernel: Kernel, g: Maps) -> Images:
        return _down_by_matmul(kernel, g, how.precision)

    if how.stride == 1 and how.padding == (0, 0) and max(cells) <= FEW_CELLS:
        on_cpu = by_matmul
    elif how.stride > 1 and MANY * _images_at_once(nothing.shape, size, how) <= len(g):
        on_cpu = in_blocks
    else:
        return plain(kernel, g)
    return lax.platform_dependent(kernel, g, cpu=on_cpu, default=plain)


def _transposed(
    linear: Callable[[Array], Array], like: Float[Array, ...], g: Float[Array, ...]
) -> Float[Array, ...]:
    """The adjoint of a linear function of an array like ``like``, of ``g``."""
    return jax.linear_transpose(linear, like)(g)[0]


def _kernel_gradient(x: Images, kernel: Kernel, g: Maps, how: _How) -> Kernel:
    def plain(x: Images, g: Maps) -> Kernel:
        return _transposed(lambda kernel: _correlate(x, kernel, how), kernel, g)

    if max(g.shape[1:3]) < WIDE_MAP or jax.device_count() > 1:
        return plain(x, g)

    size, _, channels, maps = kernel.shape
    # What a matmul contracts over comes last in its first factor. Patches of few channels are
    # gathered that way round; of many, it is the signal that is turned.
    turned = channels <= FEW_CHANNELS
    wide = x.dtype if jnp.finfo(x.dtype).bits > 32 else jnp.float32  # bfloat16 adds up too coarsely
    product = functools.partial(jnp.einsum, precision=how.precision, preferred_element_type=wide)

    def add(total: Float[Array, "a b"], piece: tuple[Array, ...]) -> tuple[Array, None]:
        x, g = piece
        if turned:
            seen = _patches(x.transpose(3, 0, 1, 2), size, how, rows=2, channels=0)
            return total + product("cnhw,nhwm->cm", seen, g), None
        seen = _patches(x, size, how, rows=1, channels=3)
        return total + product("nhwm,nhwc->mc", g, seen), None

    def on_cpu(x: Images, g: Maps) -> Kernel:
        nothing = jnp.zeros((size**2 * channels, maps), wide)
        pieces = _pieces(_images_at_once(x.shape, size, how), x, g)
        total, _ = lax.scan(add, nothing if turned else nothing.T, pieces)
        return (total if turned else total.T).reshape(kernel.shape).astype(kernel.dtype)

    return lax.platform_dependent(x, g, cpu=on_cpu, default=plain)


def _images_at_once(
    shape: tuple[int, ...], size: int, how: _How, most_bytes: int | None = None
) -> int:
    """Images [n, h, w, c] whose patches of size x size stay in cache (``most_bytes``, None: the
    working set); it divides n. All, where
    several devices share the batch: a loop over it would move it between them.
    """
    count, height, width, channels = shape
    if jax.device_count() > 1:
        return count
    rows, columns = (
        (extent + sum(how.padding) - size) // how.stride + 1 for extent in (height, width)
    )
    most = (most_bytes or working_set()) // (4 * rows * columns * channels * size**2)
    return max((few for few in range(1, min(most, count) + 1) if count % few == 0), default=1)


def _pieces(at_once: int, *batches: Float[Array, "n ..."]) -> tuple[Float[Array, "m k ..."], ...]:
    """Batches [n, ...] as [n / at_once, at_once, ...]."""
    return tuple(batch.reshape(-1, at_once, *batch.shape[1:]) for batch in batches)


def _patches(
    x: Float[Array, "a b c d"], size: int, how: _How, *, rows: int, channels: int
) -> Float[Array, "p q r s"]:
    """What each unit sees of x: axes ``rows`` and ``rows`` + 1 become the units', ``channels`` size
    * size * c long.
    """
    x = jnp.pad(x, [how.padding if axis in (rows, rows + 1) else (0, 0) for axis in range(4)])

    def cut(x: Array, start: int, axis: int, extent: int) -> Array:
        last = (extent - size) // how.stride * how.stride
        return lax.slice_in_dim(x, start, start + last + 1, how.stride, axis)

    height, width = x.shape[rows], x.shape[rows + 1]
    seen = [
        cut(cut(x, y, rows, height), z, rows + 1, width) for y in range(size) for z in range(size)
    ]
    return jnp.concatenate(seen, axis=channels)


def _in_blocks(
    x: Images, size: int, how: _How, cells: tuple[int, int]
) -> Float[Array, "n rows columns d"]:
    """x [n, h, w, c] as blocks of stride x stride pixels, [n, h', w', stride * stride * c]: what a
    kernel of ``size`` and stride sees of it, ``_kernel_in_blocks`` sees of the blocks at stride 1,
    without padding.
    """
    stride, before = how.stride, how.padding[0]
    count, channels, reach = len(x), x.shape[3], -(-size // stride)

    def edges(extent: int, out: int) -> tuple[int, int, int]:
        return before, stride * (out - 1 + reach) - extent - before, 0

    x = lax.pad(
        x,
        jnp.zeros((), x.dtype),
        ((0, 0, 0), edges(x.shape[1], cells[0]), edges(x.shape[2], cells[1]), (0, 0, 0)),
    )
    rows, columns = (extent // stride for extent in x.shape[1:3])
    x = x.reshape(count, rows, stride, columns, stride, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(count, rows, columns, stride * stride * channels)


def _kernel_in_blocks(kernel: Kernel, stride: int) -> Float[Array, "j j d maps"]:
    size, _, channels, maps = kernel.shape
    reach = -(-size // stride)
    more = reach * stride - size
    kernel = jnp.pad(kernel, ((0, more), (0, more), (0, 0), (0, 0)))
    kernel = kernel.reshape(reach, stride, reach, stride, channels, maps)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(reach, reach, stride * stride * channels, maps)


def _down_by_matmul(kernel: Kernel, g: Maps, precision: lax.Precision | None) -> Images:
    """The way down of stride 1 without padding: one matmul, then k * k shifted sums."""
    size = kernel.shape[0]
    products = jnp.einsum("nhwm,klcm->klnhwc", g, kernel, precision=precision)

    def edges(shift: int) -> tuple[int, int, int]:
        return shift, size - 1 - shift, 0

    shifted = (
        lax.pad(
            products[row, column],
            jnp.zeros((), products.dtype),
            ((0, 0, 0), edges(row), edges(column), (0, 0, 0)),
        )
        for row in range(size)
        for column in range(size)
    )
    return functools.reduce(jnp.add, shifted)
