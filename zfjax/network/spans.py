"""What each cell of a traced value sees of the image, axis by axis, and which cells of an
equation's inputs a cell of its output needs.

A value's axis is a ``Span`` where it runs along the image's rows or columns: cell i sees pixels
[start + i * jump, start + i * jump + size). Branches that meet see the union. Where that cannot be
said (a flattened map, a position-dependent constant, an interpolation) the value sees the whole
image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zfjax.network.equations import Equation, Value
from zfjax.network.sliding import Slide, slides

ROWS, COLUMNS = 0, 1


@dataclass(frozen=True)
class Span:
    """An axis of a value along one of the image's."""

    axis: int
    """ROWS or COLUMNS."""
    start: int = 0
    size: int = 1
    jump: int = 1


OPAQUE = ("custom_vjp_call", "custom_jvp_call", "sort", "while", "cond", "gather", "scatter")
"""Operations that may look anywhere."""

Axis = Span | Literal["images"] | None
"""None: maps, or nothing that is known of."""


@dataclass(frozen=True)
class Sight:
    """Where a value stands."""

    axes: tuple[Axis, ...]
    whole: bool = False
    """Whether it may depend on the whole image: it has no window."""
    varies: frozenset[int] = frozenset()
    """Of a constant: axes along which its elements may differ."""

    def array_axis(self, axis: Axis | int) -> int | None:
        """Which array axis runs along the image's ``axis`` (ROWS, COLUMNS) or "images"."""
        for index, own in enumerate(self.axes):
            if own == axis or (isinstance(own, Span) and own.axis == axis):
                return index
        return None

    @property
    def spatial(self) -> bool:
        """Whether it is maps: one row, column and image axis each."""
        axes = [axis.axis if isinstance(axis, Span) else axis for axis in self.axes]
        return all(axes.count(axis) == 1 for axis in (ROWS, COLUMNS, "images"))

    @property
    def features(self) -> tuple[int, ...]:
        """Array axes that are neither rows, columns nor images."""
        return tuple(index for index, axis in enumerate(self.axes) if axis is None)


def sight(equation: Equation, seen: Sequence[Sight]) -> Sight:
    """Where the output of an equation stands, whose inputs stand at ``seen``."""
    if not any(any(own.axes) or own.whole for own in seen):
        return _of_constants(equation, seen)
    whole = any(own.whole for own in seen)
    operation, rank = equation.operation, len(equation.output.shape)
    lost = Sight((None,) * rank, True)
    first = seen[0].axes
    if operation in ("conv_general_dilated", "zfjax.conv"):
        if any(seen[1].axes):
            return lost
        out = _convolved(equation, first, lost)
        return dataclasses.replace(out, whole=out.whole or whole)
    sliding = slides(equation)
    if sliding is not None:
        axes: list[Axis] = list(first)
        for slide in sliding:
            axis, plain = axes[slide.before], slide == Slide(slide.before, slide.after)
            if (
                plain
                and equation.output.shape[slide.after] == equation.inputs[0].shape[slide.after]
            ):
                continue
            if axis == "images":
                return lost
            if isinstance(axis, Span):
                axes[slide.after], far = _slid(axis, slide)
                whole |= far
        return Sight(tuple(axes), whole)
    if operation == "transpose":
        return Sight(tuple(first[i] for i in equation.params["permutation"]), whole)
    if operation == "squeeze":
        gone = equation.params["dimensions"]
        kept = tuple(axis for i, axis in enumerate(first) if i not in gone)
        return Sight(kept, whole or any(isinstance(first[i], Span) for i in gone))
    if operation == "broadcast_in_dim":
        axes = [None] * rank
        for before, after in enumerate(equation.params["broadcast_dimensions"]):
            if equation.inputs[0].shape[before] == equation.output.shape[after]:
                axes[after] = first[before]
            else:
                whole |= isinstance(first[before], Span)
        return Sight(tuple(axes), whole)
    if operation == "reshape":
        return _reshaped(equation, first, whole)
    if operation.startswith("reduce_") or operation in ("argmax", "argmin"):
        gone = equation.params.get("axes", ())
        kept = tuple(axis for i, axis in enumerate(first) if i not in gone)
        return Sight(kept, whole or any(isinstance(first[i], Span) for i in gone))
    if operation == "dot_general":
        return _multiplied(equation, seen, whole)
    if operation.startswith("cum") or operation == "rev":
        along = equation.params.get("dimensions", (equation.params.get("axis"),))
        if any(first[i] == "images" for i in along):
            return lost
        return Sight(first, whole or any(isinstance(first[i], Span) for i in along))
    if operation == "split":
        along = equation.params["axis"]
        return (
            lost
            if first[along] == "images"
            else Sight(first, whole or isinstance(first[along], Span))
        )
    if operation == "gather" and (rows := picked(equation, seen)) is not None:
        return rows
    if operation in OPAQUE:
        return like_an_input(equation, seen, equation.output)
    if operation == "stack":
        addition = dataclasses.replace(equation, operation="add", outputs=equation.inputs[:1])
        axes = list(_joined(addition, seen, whole).axes)
        axes.insert(equation.params["axis"] % rank, None)
        return Sight(tuple(axes), _joined(addition, seen, whole).whole)
    if operation == "concatenate":
        along = equation.params["dimension"]
        joined = _joined(equation, seen, whole)
        if isinstance(joined.axes[along], Span):
            return Sight(joined.axes, True)
        return lost if joined.axes[along] == "images" else joined
    shapes = [value.shape for value in equation.inputs]
    if all(
        not shape
        or (
            len(shape) == rank
            and all(a in (1, b) for a, b in zip(shape, equation.output.shape, strict=True))
        )
        for shape in shapes
    ):
        return _joined(equation, seen, whole)
    return like_an_input(equation, seen, equation.output)


def picked(equation: Equation, seen: Sequence[Sight]) -> Sight | None:
    """Of rows or columns that are picked by constant numbers, as by a nearest-neighbour resize:
    still along the image, where is not known. None for another gather.
    """
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    axes, along = seen[0].axes, numbers.start_index_map
    rank = len(equation.output.shape)
    others = [index for index in range(rank) if index not in numbers.offset_dims]
    plain = len(along) == len(others) == 1 and not numbers.operand_batching_dims
    if not plain or numbers.collapsed_slice_dims != along:
        return None
    shape, index = equation.inputs[0].shape, along[0]
    kept = [i for i in range(len(shape)) if i != index]
    is_whole = all(sizes[i] == shape[i] for i in kept)
    if not isinstance(axes[index], Span) or any(seen[1].axes) or seen[1].whole or not is_whole:
        return None
    out: list[Axis] = [None] * rank
    for after, before in zip((*numbers.offset_dims, *others), (*kept, index), strict=True):
        out[after] = axes[before]
    return Sight(tuple(out), True)


def like_an_input(equation: Equation, seen: Sequence[Sight], output: Value) -> Sight:
    """Of an output of an operation that nothing is known of: axes as those of an input of its
    shape, and it may see the whole image.
    """
    for value, own in zip(equation.inputs, seen, strict=True):
        if any(own.axes) and value.shape == output.shape:
            return Sight(own.axes, True)
    return Sight((None,) * len(output.shape), True)


def _slid(span: Span, slide: Slide) -> tuple[Span, bool]:
    """A span looked at through a sliding window, and whether that is no longer known."""
    jump = span.jump
    moved = Span(
        span.axis,
        span.start - slide.low * jump,
        span.size + (slide.reach - 1) * jump,
        jump * slide.stride,
    )
    return moved, slide.apart != 1


def _convolved(equation: Equation, axes: tuple[Axis, ...], lost: Sight) -> Sight:
    out: list[Axis] = [None] * len(axes)
    whole = False
    images, maps = (0, 3), (3, 3)
    if equation.operation == "conv_general_dilated":
        numbers = equation.params["dimension_numbers"]
        images = numbers.lhs_spec[0], numbers.out_spec[0]
        maps = numbers.lhs_spec[1], numbers.out_spec[1]
        if equation.params["batch_group_count"] != 1:
            return lost
    else:
        images = 0, 0
    if isinstance(axes[images[0]], Span) or axes[maps[0]] is not None:
        return lost
    out[images[1]] = axes[images[0]]
    for slide in slides(equation) or ():
        axis = axes[slide.before]
        if isinstance(axis, Span):
            out[slide.after], far = _slid(axis, slide)
            whole |= far
        elif axis is not None:
            return lost
    return Sight(tuple(out), whole)


def _joined(equation: Equation, seen: Sequence[Sight], whole: bool) -> Sight:
    """Cell by cell: what any of the inputs sees."""
    out: list[Axis] = [None] * len(equation.output.shape)
    along = equation.params.get("dimension") if equation.operation == "concatenate" else None
    for value, own in zip(equation.inputs, seen, strict=True):
        for index, axis in enumerate(own.axes):
            if value.shape[index] != equation.output.shape[index] and index != along:
                whole |= isinstance(axis, Span)
                continue
            before = out[index]
            if isinstance(before, Span) and isinstance(axis, Span):
                out[index], far = _union(before, axis)
                whole |= far
            elif axis is not None:
                out[index] = axis
    for own in seen:
        whole |= any(isinstance(out[index], Span) for index in own.varies)
    return Sight(tuple(out), whole)


def _union(a: Span, b: Span) -> tuple[Span, bool]:
    start = min(a.start, b.start)
    size = max(a.start + a.size, b.start + b.size) - start
    return Span(a.axis, start, size, a.jump), a.jump != b.jump or a.axis != b.axis


def _reshaped(equation: Equation, axes: tuple[Axis, ...], whole: bool) -> Sight:
    """Axes that stay as they are keep their span. One that is split, or merged with what is no
    image axis (an upsampling), still runs along the image, where is not known; others are lost.
    """
    before, after = equation.inputs[0].shape, equation.output.shape
    out: list[Axis] = [None] * len(after)
    merged: dict[int, Span] = {}
    i = k = 0
    while i < len(before) or k < len(after):
        if i < len(before) and k < len(after) and before[i] == after[k]:
            out[k] = axes[i]
            i, k = i + 1, k + 1
        elif i < len(before) and before[i] == 1:
            whole |= isinstance(axes[i], Span)
            i += 1
        elif k < len(after) and after[k] == 1:
            k += 1
        else:
            first, start, a, b = i, k, before[i], after[k]
            i, k = i + 1, k + 1
            while a != b:
                if a < b:
                    a, i = a * before[i], i + 1
                else:
                    b, k = b * after[k], k + 1
            spans = [axis for axis in axes[first:i] if isinstance(axis, Span)]
            whole |= bool(spans)
            if len(spans) == 1 and "images" not in axes[first:i] and 1 in (i - first, k - start):
                merged[start] = spans[0]
    if any(axis is None and index not in merged for index, axis in enumerate(out)):
        for index, axis in merged.items():  # else maps themselves were merged
            out[index] = axis
    return Sight(tuple(out), whole)


def _multiplied(equation: Equation, seen: Sequence[Sight], whole: bool) -> Sight:
    contracted, batched = equation.params["dimension_numbers"]
    out: list[Axis] = []
    for left, right in zip(*batched, strict=True):
        pair = [own for own in (seen[0].axes[left], seen[1].axes[right]) if own is not None]
        out.append(pair[0] if pair else None)
        whole |= any(isinstance(axis, Span) for axis in pair)
    gone = [
        axis
        for own, taken in zip(seen, contracted, strict=True)
        for axis in (own.axes[i] for i in taken)
        if axis is not None
    ]
    free: list[list[Axis]] = [
        [axis for i, axis in enumerate(own.axes) if i not in (*taken, *together)]
        for own, taken, together in zip(seen, contracted, batched, strict=True)
    ]
    spans = [axis for axis in gone if isinstance(axis, Span)]
    whole |= bool(spans)
    for own, rest in zip(seen, free, strict=True):
        if len(spans) == 1 and not any(own.axes) and len(rest) == 1:
            rest[0] = dataclasses.replace(spans[0])  # interpolated, or mixed: still along it
    out += free[0] + free[1]
    return Sight(tuple(out), whole)


def _of_constants(equation: Equation, seen: Sequence[Sight]) -> Sight:
    """Along which axes a constant may vary, and so tells places apart."""
    shape = equation.output.shape
    nowhere = (None,) * len(shape)
    if equation.output.number is not None or not any(own.varies for own in seen):
        may = frozenset({equation.params["dimension"]}) if equation.operation == "iota" else ()
        return Sight(nowhere, varies=frozenset(may))
    varies = frozenset(i for i, extent in enumerate(shape) if extent > 1)
    if equation.operation == "broadcast_in_dim":
        places = equation.params["broadcast_dimensions"]
        return Sight(nowhere, varies=frozenset(places[i] for i in seen[0].varies))
    shapes = [value.shape for value in equation.inputs]
    if all(not own or len(own) == len(shape) for own in shapes) and slides(equation) is None:
        if equation.operation not in ("transpose", "dot_general", "reshape", "rev", "concatenate"):
            return Sight(nowhere, varies=frozenset().union(*(own.varies for own in seen)) & varies)
    return Sight(nowhere, varies=varies)


def of_leaf(value: Value) -> Sight:
    """Of a parameter or a known constant."""
    varies = () if value.number is not None else (i for i, n in enumerate(value.shape) if n > 1)
    return Sight((None,) * len(value.shape), varies=frozenset(varies))
