"""A network with a part of it otherwise, all else as comparable as it can be. No JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from zfjax.errors import ZfjaxError
from zfjax.network.architecture import Architecture, Conv, output_size


def without(architecture: Architecture, names: Sequence[str]) -> Architecture:
    """A copy with these layers gone; what came after one of them takes its inputs from before it.

    Raises ZfjaxError for an unknown layer, for the one that gives the scores, where no convolution
    would be left, and where what is left does not fit.
    """
    for name in names:
        architecture.layer(name)
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise ZfjaxError(f"Layer {twice[0]} of {architecture.name} is to be dropped twice.")
    scores = architecture.layers[-1].name
    if scores in names:
        raise ZfjaxError(
            f"{scores} gives the scores of {architecture.name}: without it there would be none."
        )
    left = tuple(layer for layer in architecture.layers if layer.name not in names)
    if not any(isinstance(layer, Conv) for layer in left):
        raise ZfjaxError(
            f"Without {', '.join(names)} no convolution of {architecture.name} is left, and there"
            " would be no feature maps to follow."
        )
    return dataclasses.replace(architecture, layers=left)


def scaled(architecture: Architecture, names: Iterable[str], factor: float) -> Architecture:
    """A copy in which these layers have ``factor`` times their maps or features, at least one.
    Raises ZfjaxError for an unknown layer and one that has neither.
    """
    for name in names:
        layer = architecture.layer(name)
        width = next((field for field in ("maps", "features") if hasattr(layer, field)), None)
        if width is None:
            raise ZfjaxError(f"{name} of {architecture.name} has neither maps nor features.")
        count = max(1, round(getattr(layer, width) * factor))
        architecture = architecture.replace(name, **{width: count})
    return architecture


def with_stem(architecture: Architecture, kernel: int, stride: int) -> Architecture:
    """A copy whose first convolution has this kernel and stride, and whose second makes up for the
    stride: from the second convolution's maps on all sizes are as they were.

    A larger stride alone would shrink every map above it, and an ablation of the first layer would
    measure what the others lost (conv1 at stride 4 in ZFNET: a network of a quarter). The product
    of both strides stays, and both are padded so that their maps keep their sizes. Raises
    ZfjaxError where that cannot be: fewer than two convolutions, a stride that does not divide the
    product, or sizes that no padding gives.
    """
    if len(architecture.conv_names) < 2:
        raise ZfjaxError(f"{architecture.name} has no second convolution to make up for a stride.")
    names = architecture.conv_names[:2]
    first, second = (architecture.conv(name) for name in names)
    product = first.stride * second.stride
    if (kernel, stride) == (first.kernel, first.stride):
        return architecture
    if product % stride:
        raise ZfjaxError(
            f"A stride of {stride} in {first.name} of {architecture.name} cannot be made up for in"
            f" {second.name}: both together have {product}."
        )
    height, width, _ = architecture.fact(first.name).shape
    sizes = tuple(-(-cells * first.stride // stride) for cells in (height, width))
    changed = _padded(architecture, dataclasses.replace(first, kernel=kernel, stride=stride), sizes)
    if stride == first.stride:
        return changed
    height, width, _ = architecture.fact(second.name).shape
    again = dataclasses.replace(second, stride=product // stride)
    return _padded(changed, again, (height, width))


def _padded(architecture: Architecture, layer: Conv, sizes: tuple[int, ...]) -> Architecture:
    """``architecture`` with ``layer`` in the place of its namesake, padded so that its maps are of
    ``sizes``; of several paddings the one nearest to its own kernel's half.
    """
    position = [spec.name for spec in architecture.layers].index(layer.name)
    below = architecture.facts()[position - 1].shape if position else architecture.input_size
    fitting = [
        total
        for total in range(2 * layer.kernel - 1)
        if all(
            output_size(cells, layer.kernel, layer.stride, (0, total)) == wanted
            for cells, wanted in zip(below[:2], sizes, strict=True)
        )
    ]
    if not fitting:
        raise ZfjaxError(
            f"No padding gives {layer.name} of {architecture.name} maps of"
            f" {' x '.join(map(str, sizes))} with a kernel of {layer.kernel} and a stride of"
            f" {layer.stride}."
        )
    total = min(fitting, key=lambda padding: abs(padding - (layer.kernel - layer.stride)))
    padding = (total // 2, total - total // 2)
    return architecture.replace(
        layer.name, kernel=layer.kernel, stride=layer.stride, padding=padding
    )
