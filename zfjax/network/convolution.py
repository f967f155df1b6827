"""Convolution and its exact adjoints, with the ways around what XLA is slow at on CPU.

Each way around gives equal numbers but for rounding and stands behind ``lax.platform_dependent``:
GPU and TPU run XLA's own convolutions. Milliseconds on two AVX-512 cores, jax 0.10.2, medians of 11
interleaved calls:

=====================================  ======================================  ====  ===
slow                                   instead                                 XLA   so
=====================================  ======================================  ====  ===
17 to 47 maps (24 of 7x7, 32 images)   48 maps                                  30    5
a stride going up, many images (*)     some images after the other             261  116
a stride going down, many images (*)   stride 1 over blocks of pixels          177  119
gradient of a kernel (*)               patches times signal, one matmul each   384  100
top of a window going down (conv5)     one matmul, shifted sums                3.6  1.3
=====================================  ======================================  ====  ===

(*) ZFNet's conv2, 32 images; the kernel gradients of conv1 and conv4: 253 and 122, 69 and 48.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from zfjax.devices import working_set

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
FEW_CELLS = 5
"""Output cells along an axis up to which the way down is cheaper as one matmul: the top of a
window."""


def conv(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    *,
    stride: int,
    padding: tuple[int, int],
    precision: lax.Precision | None = None,
) -> jax.Array:
    """Cross-correlation of x [n, h, w, c] with kernel [k, k, c, maps], plus bias [maps], and its
    exact adjoints."""
    return _conv(x, kernel, stride, padding, precision) + bias


def _correlate(x, kernel, stride, padding, precision):
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        (padding, padding),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _up(x, kernel, stride, padding, precision):
    plain = lambda x, kernel: _correlate(x, kernel, stride, padding, precision)
    size, _, channels, maps = kernel.shape
    some = _images_at_once(x.shape, size, stride, padding)
    in_pieces = stride > 1 and channels > FEW_CHANNELS and MANY * some <= len(x)
    if maps not in SLOW_MAPS and not in_pieces:
        return plain(x, kernel)

    def on_cpu(x, kernel):
        if maps in SLOW_MAPS:
            kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, SLOW_MAPS.stop - maps)))
        found = (
            lax.map(lambda x: plain(x, kernel), *_pieces(some, x))
            if in_pieces
            else plain(x, kernel)
        )
        return found.reshape(len(x), *found.shape[-3:])[..., :maps]

    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=plain)


_conv = jax.custom_vjp(_up, nondiff_argnums=(2, 3, 4))


def _conv_forward(x, kernel, stride, padding, precision):
    # The input is kept for the kernel's gradient alone: a projection has none.
    held = x.value if kernel.perturbed else None
    shape = jax.ShapeDtypeStruct(x.value.shape, x.value.dtype)
    return _up(x.value, kernel.value, stride, padding, precision), (
        held,
        _Static(shape),
        kernel.value,
    )


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Static:
    """A shape among residuals that are arrays."""

    shape: jax.ShapeDtypeStruct


def _conv_backward(stride, padding, precision, held, g):
    x, static, kernel = held
    nothing = jnp.zeros(static.shape.shape, static.shape.dtype)
    if isinstance(g, jax.custom_derivatives.SymbolicZero):
        return nothing, jnp.zeros_like(kernel)
    pixels = _down(nothing, kernel, g, stride, padding, precision)
    if x is None:
        return pixels, jnp.zeros_like(kernel)
    return pixels, _kernel_gradient(x, kernel, g, stride, padding, precision)


_conv.defvjp(_conv_forward, _conv_backward, symbolic_zeros=True)


def _down(nothing, kernel, g, stride, padding, precision):
    size, cells = kernel.shape[0], g.shape[1:3]

    def plain(kernel, g):
        return jax.linear_transpose(
            lambda x: _correlate(x, kernel, stride, padding, precision), nothing
        )(g)[0]

    if stride == 1 and padding == (0, 0) and max(cells) <= FEW_CELLS:
        on_cpu = functools.partial(_down_by_matmul, precision=precision)
    elif stride > 1 and MANY * _images_at_once(nothing.shape, size, stride, padding) <= len(g):
        on_cpu = lambda kernel, g: jax.linear_transpose(
            lambda x: _correlate(
                _in_blocks(x, size, stride, padding, cells),
                _kernel_in_blocks(kernel, stride),
                1,
                (0, 0),
                precision,
            ),
            nothing,
        )(g)[0]
    else:
        return plain(kernel, g)
    return lax.platform_dependent(kernel, g, cpu=on_cpu, default=plain)


def _kernel_gradient(x, kernel, g, stride, padding, precision):
    def plain(x, g):
        return jax.linear_transpose(
            lambda kernel: _correlate(x, kernel, stride, padding, precision), kernel
        )(g)[0]

    if max(g.shape[1:3]) < WIDE_MAP or jax.device_count() > 1:
        return plain(x, g)

    size, channels, maps = kernel.shape[1:]
    # What a matmul contracts over comes last in its first factor. Patches of few channels are
    # gathered that way round; of many, it is the signal that is turned.
    turned = channels <= FEW_CHANNELS
    wide = jnp.promote_types(x.dtype, jnp.float32)
    product = functools.partial(jnp.einsum, precision=precision, preferred_element_type=wide)

    def add(total, some):
        x, g = some
        if turned:
            seen = _patches(x.transpose(3, 0, 1, 2), size, stride, padding, rows=2, channels=0)
            return total + product("cnhw,nhwm->cm", seen, g), None
        seen = _patches(x, size, stride, padding, rows=1, channels=3)
        return total + product("nhwm,nhwc->mc", g, seen), None

    def on_cpu(x, g):
        nothing = jnp.zeros((size**2 * channels, maps), wide)
        parts = _pieces(_images_at_once(x.shape, size, stride, padding), x, g)
        total, _ = lax.scan(add, nothing if turned else nothing.T, parts)
        return (total if turned else total.T).reshape(kernel.shape).astype(kernel.dtype)

    return lax.platform_dependent(x, g, cpu=on_cpu, default=plain)


def _images_at_once(
    shape: tuple[int, ...], size: int, stride: int, padding: tuple[int, int]
) -> int:
    """Images [n, h, w, c] whose patches of size x size stay in cache; it divides n. All, where
    several devices share the batch: a loop over it would move it between them."""
    count, height, width, channels = shape
    if jax.device_count() > 1:
        return count
    rows, columns = ((extent + sum(padding) - size) // stride + 1 for extent in (height, width))
    most = working_set() // (4 * rows * columns * channels * size**2)
    return max((part for part in range(1, min(most, count) + 1) if count % part == 0), default=1)


def _pieces(at_once: int, *batches: jax.Array) -> tuple[jax.Array, ...]:
    """Batches [n, ...] as [n / at_once, at_once, ...]."""
    return tuple(one.reshape(-1, at_once, *one.shape[1:]) for one in batches)


def _patches(
    x: jax.Array, size: int, stride: int, padding: tuple[int, int], *, rows: int, channels: int
) -> jax.Array:
    """What each unit sees of x: axes ``rows`` and ``rows`` + 1 become the units', ``channels`` size
    * size * c long."""
    x = jnp.pad(x, [padding if axis in (rows, rows + 1) else (0, 0) for axis in range(4)])
    last = {axis: (x.shape[axis] - size) // stride * stride for axis in (rows, rows + 1)}
    cut = lambda x, start, axis: lax.slice_in_dim(x, start, start + last[axis] + 1, stride, axis)
    seen = [cut(cut(x, y, rows), z, rows + 1) for y in range(size) for z in range(size)]
    return jnp.concatenate(seen, axis=channels)


def _in_blocks(
    x: jax.Array, size: int, stride: int, padding: tuple[int, int], cells: tuple[int, int]
) -> jax.Array:
    """x [n, h, w, c] as blocks of stride x stride pixels, [n, h', w', stride * stride * c]: what a
    kernel of ``size`` and ``stride`` sees of it, ``_kernel_in_blocks`` sees of the blocks at stride
    1, without padding."""
    count, channels, reach = len(x), x.shape[3], -(-size // stride)
    room = lambda extent, out: (padding[0], stride * (out - 1 + reach) - extent - padding[0], 0)
    x = lax.pad(
        x,
        jnp.zeros((), x.dtype),
        ((0, 0, 0), room(x.shape[1], cells[0]), room(x.shape[2], cells[1]), (0, 0, 0)),
    )
    rows, columns = (extent // stride for extent in x.shape[1:3])
    x = x.reshape(count, rows, stride, columns, stride, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(count, rows, columns, stride * stride * channels)


def _kernel_in_blocks(kernel: jax.Array, stride: int) -> jax.Array:
    size, _, channels, maps = kernel.shape
    reach = -(-size // stride)
    kernel = jnp.pad(
        kernel, ((0, reach * stride - size), (0, reach * stride - size), (0, 0), (0, 0))
    )
    kernel = kernel.reshape(reach, stride, reach, stride, channels, maps).transpose(
        0, 2, 1, 3, 4, 5
    )
    return kernel.reshape(reach, reach, stride * stride * channels, maps)


def _down_by_matmul(
    kernel: jax.Array, g: jax.Array, *, precision: lax.Precision | None
) -> jax.Array:
    """The way down of stride 1 without padding: one matmul, then k * k shifted sums."""
    size = kernel.shape[0]
    parts = jnp.einsum("nhwm,klcm->klnhwc", g, kernel, precision=precision)
    room = lambda place: (place, size - 1 - place, 0)
    return sum(
        lax.pad(
            parts[row, column],
            jnp.zeros((), parts.dtype),
            ((0, 0, 0), room(row), room(column), (0, 0, 0)),
        )
        for row in range(size)
        for column in range(size)
    )
