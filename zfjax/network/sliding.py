"""How cells of a convolution's, pool's, slice's or pad's output lie on those of its input."""

from __future__ import annotations

from dataclasses import dataclass

from zfjax.network.equations import Equation


@dataclass(frozen=True)
class Slide:
    """How an output's cells lie on an input's along one axis: cell i sees cells [i * stride - low,
    i * stride - low + reach).
    """

    before: int
    """Array axis of the input."""
    after: int
    """Array axis of the output."""
    reach: int = 1
    stride: int = 1
    low: int = 0
    apart: int = 1
    """Of the input's cells, zeros set between them (a transposed convolution)."""


def slides(equation: Equation) -> tuple[Slide, ...] | None:
    """Of an equation whose first input is looked at through a sliding window; None for others."""
    params, shape = equation.params, equation.output.shape
    if equation.operation == "zfjax.conv":
        how, kernel = params["settings"][0], equation.inputs[1].shape
        return tuple(Slide(i, i, kernel[0], how.stride, how.padding[0]) for i in (1, 2))
    if equation.operation == "zfjax.max_pool":
        window, stride, padding = params["settings"]
        return tuple(Slide(i, i, window, stride, padding[0]) for i in (1, 2))
    if equation.operation == "conv_general_dilated":
        numbers, kernel = params["dimension_numbers"], equation.inputs[1].shape
        return tuple(
            Slide(before, after, (kernel[own] - 1) * dilation + 1, stride, padding[0], apart)
            for before, own, after, stride, dilation, padding, apart in zip(
                numbers.lhs_spec[2:],
                numbers.rhs_spec[2:],
                numbers.out_spec[2:],
                params["window_strides"],
                params["rhs_dilation"],
                params["padding"],
                params["lhs_dilation"],
                strict=True,
            )
        )
    if equation.operation.startswith("reduce_window"):
        return tuple(
            Slide(i, i, (size - 1) * dilation + 1, stride, padding[0], apart)
            for i, (size, dilation, stride, padding, apart) in enumerate(
                zip(
                    params["window_dimensions"],
                    params["window_dilation"],
                    params["window_strides"],
                    params["padding"],
                    params["base_dilation"],
                    strict=True,
                )
            )
        )
    if equation.operation == "slice":
        strides = params["strides"] or (1,) * len(shape)
        return tuple(
            Slide(i, i, 1, stride, -start)
            for i, (start, stride) in enumerate(zip(params["start_indices"], strides, strict=True))
        )
    if equation.operation == "pad":
        return tuple(
            Slide(i, i, 1, 1, low, inner + 1)
            for i, (low, _, inner) in enumerate(params["padding_config"])
        )
    return None
