"""Which cells of every value one unit of a layer needs, and a traced network's equations on those
cells alone.

Walked back from the unit: cell range [ratio * unit + offset, + size) along an axis, the union over
branches. Going forward, what lies outside a true map is overwritten where a map is *consumed* (0
before a convolution or a sum, minus infinity before a maximum), not where it is made: biases and
norms make padding cells that are not zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfjax.network.equations import Equation, Value
from zfjax.network.reading import Reading
from zfjax.network.sliding import Slide, slides
from zfjax.network.spans import COLUMNS, ROWS, Sight

AXES = (ROWS, COLUMNS)
MAXIMA = ("zfjax.max_pool", "reduce_window_max")
SHAPED = {"broadcast_in_dim": "shape", "reshape": "new_sizes", "iota": "shape"}
"""Operations that are told the shape of what they give, and by which parameter."""


@dataclass(frozen=True)
class Need:
    """Cells [ratio * unit + offset, + size) along an axis."""

    ratio: int
    offset: int
    size: int

    def leaves(self, extent: int, units: int) -> bool:
        """Whether they lie outside a map of ``extent`` cells for one of ``units`` units."""
        return self.offset < 0 or self.ratio * (units - 1) + self.offset + self.size > extent


Needs = tuple[Need, Need]
"""Along the image's rows and columns."""


def needs_of(reading: Reading, target: Value) -> dict[Value, Needs]:
    """What one unit of ``target``, which has a window, needs of each value below it."""
    needs: dict[Value, Needs] = {target: (Need(1, 0, 1), Need(1, 0, 1))}
    for equation in reversed(reading.trace.needed_for([target])):
        own = next((needs[out] for out in equation.outputs if out in needs), None)
        if own is None:
            continue
        for value, wanted in zip(equation.inputs, _wanted(reading, equation, own), strict=True):
            if wanted is not None:
                before = needs.get(value)
                needs[value] = wanted if before is None else _union(before, wanted)
    return needs


def _wanted(reading: Reading, equation: Equation, own: Needs) -> list[Needs | None]:
    """What cells ``own`` of an equation's output need of each of its inputs."""
    seen = [reading.meanings[value].sight for value in equation.inputs]
    if slides(equation) is None:
        return [own if any(each.axes) else None for each in seen]
    return [slid_needs(equation, seen[0], own), *[None] * (len(seen) - 1)]


def slid_needs(equation: Equation, seen: Sight, own: Needs) -> Needs:
    """What cells ``own`` of the output of a sliding operation need of its first input."""
    wanted = list(own)
    for slide in slides(equation) or ():
        for axis in AXES:
            if seen.array_axis(axis) == slide.before:
                need = own[axis]
                wanted[axis] = Need(
                    need.ratio * slide.stride,
                    need.offset * slide.stride - slide.low,
                    (need.size - 1) * slide.stride + slide.reach,
                )
    return wanted[0], wanted[1]


def _union(a: Needs, b: Needs) -> Needs:
    joined = []
    for left, right in zip(a, b, strict=True):
        low = min(left.offset, right.offset)
        high = max(left.offset + left.size, right.offset + right.size)
        joined.append(Need(left.ratio, low, high - low))
    return joined[0], joined[1]


@dataclass(frozen=True)
class Windowed:
    """The cells around units of one layer."""

    reading: Reading
    needs: Mapping[Value, Needs]
    units: tuple[Any, Any]
    """Row and column of each unit: int32 [n]."""
    extents: tuple[int, int]
    """Rows and columns of the layer."""

    def arguments(self, equation: Equation, arrays: Sequence[Any]) -> list[Any]:
        """An equation's inputs cropped to what its output's cells need, masked where consumed."""
        own = self._own(equation)
        if own is None:
            return list(arrays)
        wanted = _wanted(self.reading, equation, own)
        cropped = []
        for value, array, need in zip(equation.inputs, arrays, wanted, strict=True):
            if need is not None:
                array = self._cropped(value, array, need)
            elif value in self.needs or self.reading.meanings[value].kind == "constant":
                array = self._cut_constant(equation, array, own)
            cropped.append(array)
        fill = self._fill(equation, arrays)
        if fill is not None and wanted[0] is not None and not self._clean(equation.inputs[0], fill):
            cropped[0] = self._masked(equation.inputs[0], cropped[0], wanted[0], fill)
        return cropped

    def result(self, equation: Equation, array: Any) -> Any:
        """An equation's output. A maximum over padding alone is minus infinity: 0 stands there, or
        what is made of it would not be finite.
        """
        if equation.operation not in MAXIMA or equation.output not in self.needs:
            return array
        return self._masked(equation.output, array, self.needs[equation.output], 0)

    def params(self, equation: Equation, arrays: Sequence[Any]) -> dict[str, Any]:
        """Of an equation on such inputs: shapes are the window's, padding is gone where it runs
        along the image.
        """
        own, params = self._own(equation), dict(equation.params)
        if own is None:
            return params
        seen = self.reading.meanings[equation.inputs[0]].sight if equation.inputs else None
        along = [] if seen is None else [seen.array_axis(axis) for axis in AXES]
        if equation.operation == "conv_general_dilated":
            places = params["dimension_numbers"].lhs_spec[2:]
            params["padding"] = self._unpadded(params["padding"], places, along)
        elif equation.operation.startswith("reduce_window"):
            places = range(len(params["padding"]))
            params["padding"] = self._unpadded(params["padding"], places, along)
        elif equation.operation == "pad":
            config = params["padding_config"]
            params["padding_config"] = tuple(
                (0, 0, 0) if i in along else each for i, each in enumerate(config)
            )
        elif equation.operation == "slice":
            shape = np.shape(arrays[0])
            starts, limits = params["start_indices"], params["limit_indices"]
            params["start_indices"] = tuple(0 if i in along else s for i, s in enumerate(starts))
            params["limit_indices"] = tuple(
                shape[i] if i in along else limit for i, limit in enumerate(limits)
            )
        elif equation.operation in SHAPED:
            params[SHAPED[equation.operation]] = self.shape(equation.output)
        return params

    def shape(self, value: Value) -> tuple[int, ...]:
        """Of a value, its image axes as long as the cells needed."""
        sight, shape = self.reading.meanings[value].sight, list(value.shape)
        for axis in AXES:
            index = sight.array_axis(axis)
            if index is not None:
                shape[index] = self.needs[value][axis].size
        return tuple(shape)

    def _own(self, equation: Equation) -> Needs | None:
        return next((self.needs[out] for out in equation.outputs if out in self.needs), None)

    @staticmethod
    def _unpadded(
        padding: Sequence[tuple[int, int]], places: Sequence[int], along: Sequence[int | None]
    ) -> tuple[tuple[int, int], ...]:
        return tuple(
            (0, 0) if axis in along else own for own, axis in zip(padding, places, strict=True)
        )

    def _fill(self, equation: Equation, arrays: Sequence[Any]) -> Any:
        """What padding cells hold where this equation consumes them; None where it does not
        look at neighbours.
        """
        operation, sight = equation.operation, self.reading.meanings[equation.inputs[0]].sight
        along = [sight.array_axis(axis) for axis in AXES]
        if not any(
            _leaves(slide, equation) for slide in slides(equation) or () if slide.before in along
        ):
            return None
        if operation == "pad":
            return arrays[1]
        if operation in MAXIMA:
            return -jnp.inf
        summing = operation in ("conv_general_dilated", "zfjax.conv", "reduce_window_sum")
        return 0 if summing else None

    def _clean(self, value: Value, fill: Any) -> bool:
        """Whether a value has ``fill`` outside its true map already: images come with zeros there,
        and maxima are given them.
        """
        made = self.reading.graph.made_by.get(value)
        maximum = made is not None and made.operation in MAXIMA
        return isinstance(fill, int) and (value is self.reading.trace.images or maximum)

    def _cropped(self, value: Value, array: jax.Array, wanted: Needs) -> jax.Array:
        sight = self.reading.meanings[value].sight
        for axis in AXES:
            index = sight.array_axis(axis)
            if index is not None:
                own, need = self.needs[value][axis], wanted[axis]
                begin = need.offset - own.offset
                array = lax.slice_in_dim(array, begin, begin + need.size, axis=index)
        return array

    def _cut_constant(self, equation: Equation, array: Any, own: Needs) -> Any:
        """A constant that is the same all over a map, as large as the map's window."""
        sight = self.reading.meanings[equation.output].sight
        if slides(equation) is not None or np.ndim(array) != len(sight.axes):
            return array
        if equation.operation in ("dot_general", "reshape", "transpose", "broadcast_in_dim"):
            return array
        for axis in AXES:
            index = sight.array_axis(axis)
            if index is not None and np.shape(array)[index] > 1:
                size = own[axis].size
                if np.shape(array)[index] < size:
                    first = lax.slice_in_dim(jnp.asarray(array), 0, 1, axis=index)
                    array = jnp.repeat(first, size, axis=index)
                array = lax.slice_in_dim(jnp.asarray(array), 0, size, axis=index)
        return array

    def _masked(self, value: Value, array: jax.Array, wanted: Needs, fill: Any) -> jax.Array:
        """``fill`` outside the true map."""
        sight = self.reading.meanings[value].sight
        inside: Any = None
        for axis in AXES:
            index = sight.array_axis(axis)
            if index is None or not wanted[axis].leaves(value.shape[index], self.extents[axis]):
                continue
            need = wanted[axis]
            cells = (need.ratio * self.units[axis] + need.offset)[:, None] + jnp.arange(need.size)[
                None, :
            ]
            shape = [1] * array.ndim
            shape[sight.array_axis("images") or 0], shape[index] = len(cells), need.size
            own = ((cells >= 0) & (cells < value.shape[index])).reshape(shape)
            if index < (sight.array_axis("images") or 0):
                own = jnp.swapaxes(own.reshape(len(cells), need.size), 0, 1).reshape(shape)
            inside = own if inside is None else inside & own
        return array if inside is None else jnp.where(inside, array, jnp.asarray(fill, array.dtype))


def _leaves(slide: Slide, equation: Equation) -> bool:
    """Whether some cell of the true output sees padding."""
    last = (equation.output.shape[slide.after] - 1) * slide.stride - slide.low
    return slide.low > 0 or last + slide.reach > equation.inputs[0].shape[slide.before]


def multiply_adds(reading: Reading, equation: Equation, needs: Mapping[Value, Needs] | None) -> int:
    """Of a convolution or matrix product for one image, or on the cells that are needed."""
    kernel = equation.inputs[1].shape if len(equation.inputs) > 1 else ()
    out, sight = equation.output, reading.meanings[equation.output].sight
    if sight.array_axis("images") is None:
        return 0
    cells = _cells(reading, out, needs)
    if equation.operation == "zfjax.conv":
        return cells * math.prod(kernel[:3])
    if equation.operation == "conv_general_dilated":
        features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return cells * math.prod(kernel) // features
    if equation.operation == "dot_general":
        (left, _), _ = equation.params["dimension_numbers"]
        return cells * math.prod(equation.inputs[0].shape[i] for i in left)
    return 0


def _cells(reading: Reading, value: Value, needs: Mapping[Value, Needs] | None) -> int:
    """Elements of a value for one image, or of the cells that are needed of it."""
    sight, shape = reading.meanings[value].sight, list(value.shape)
    if (images := sight.array_axis("images")) is not None:
        shape[images] = 1
    for axis in AXES:
        index = sight.array_axis(axis)
        if needs is not None and value in needs and index is not None:
            shape[index] = needs[value][axis].size
    return math.prod(shape)


def largest(reading: Reading, equations: Sequence[Equation], needs: Any = None) -> int:
    """Bytes of the largest value of one image that depends on it, float32."""
    sizes = [
        4 * _cells(reading, out, needs)
        for equation in equations
        for out in equation.outputs
        if reading.meanings[out].sight.array_axis("images") is not None
    ]
    return max(sizes, default=1)
