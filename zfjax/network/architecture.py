"""A network as a tuple of named layer specs, and all the geometry that follows from it. No JAX.

An ablation of filter size or stride is a replaced field (``architecture.replace("conv1", kernel=11,
stride=4)``), and sizes, receptive fields, parameters and FLOPs follow. The networks that have a
name of their own: named.py.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zfjax.errors import ZfjaxError


@dataclass(frozen=True)
class Conv:
    """Convolution followed by ReLU. ``padding`` is (before, after) in pixels, the same for both
    axes.
    """

    name: str
    maps: int
    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)

    @property
    def extent(self) -> int:
        """Pixels of its input that one unit sees along an axis: the kernel."""
        return self.kernel


@dataclass(frozen=True)
class Pool:
    """Max-pooling; padded cells never win."""

    name: str
    window: int = 3
    stride: int = 2
    padding: tuple[int, int] = (0, 0)

    @property
    def extent(self) -> int:
        """Pixels of its input that one unit sees along an axis: the window."""
        return self.window


@dataclass(frozen=True)
class Norm:
    """Contrast normalisation across ``size`` neighbouring maps: a / (k + alpha * sum a^2)^beta
    (Krizhevsky 2012, 3.3).

    ``alpha`` multiplies the sum, not the mean: PyTorch's and Caffe's alpha is ``size`` times this
    one.
    """

    name: str
    size: int = 5
    k: float = 2.0
    alpha: float = 1e-4
    beta: float = 0.75


@dataclass(frozen=True)
class Dense:
    """Fully connected layer. All but the last are followed by ReLU and dropout; the last gives the
    class scores.
    """

    name: str
    features: int
    dropout: float = 0.0


Layer = Conv | Pool | Norm | Dense
LAYER_KINDS = {"conv": Conv, "pool": Pool, "norm": Norm, "dense": Dense}


@dataclass(frozen=True)
class Window:
    """What one unit of a layer sees. Unit (y, x) sees rows [start + y * jump, start + y * jump +
    size) of the input.
    """

    size: int
    jump: int
    start: int

    def box(self, y: int, x: int) -> tuple[int, int, int, int]:
        """(y0, x0, y1, x1) in pixels of the network's input, half open, not clipped at the
        border.
        """
        y0, x0 = self.start + y * self.jump, self.start + x * self.jump
        return y0, x0, y0 + self.size, x0 + self.size


@dataclass(frozen=True)
class LayerFacts:
    """One line of the layer table: output shape (height, width, maps), parameters, multiply-adds
    for one image.
    """

    layer: Layer
    shape: tuple[int, int, int]
    parameters: int
    multiply_adds: int
    window: Window


@dataclass(frozen=True)
class Architecture:
    """Named layers on an input of ``input_size`` = (height, width) pixels, three channels.

    Convolutions, pools and norms first, then fully connected layers. Raises ZfjaxError when a layer
    does not fit.
    """

    name: str
    input_size: tuple[int, int]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ZfjaxError(f"{self.name} has no layers; give it at least one convolution.")
        if min(self.input_size) < 1:
            raise ZfjaxError(
                f"The input of {self.name} is {self.input_size} pixels; both extents must be 1 or"
                " more."
            )
        seen: set[str] = set()
        dense = False
        for layer in self.layers:
            if layer.name in seen:
                raise ZfjaxError(
                    f"Two layers of {self.name} are called {layer.name}; give each its own name."
                )
            seen.add(layer.name)
            if dense and not isinstance(layer, Dense):
                raise ZfjaxError(
                    f"{layer.name} of {self.name} comes after a fully connected layer; put it"
                    " before."
                )
            dense = isinstance(layer, Dense)
            _check(layer)
        self.facts()

    @property
    def convolutional(self) -> tuple[Layer, ...]:
        """The layers below the first fully connected one."""
        return tuple(layer for layer in self.layers if not isinstance(layer, Dense))

    @property
    def conv_names(self) -> tuple[str, ...]:
        """Names of the convolutions, in order: the layers whose maps can be searched and
        projected.
        """
        return tuple(layer.name for layer in self.layers if isinstance(layer, Conv))

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""
        last = self.layers[-1]
        return last.features if isinstance(last, Dense) else 0

    def layer(self, name: str) -> Layer:
        """The spec of that name. Raises ZfjaxError naming the layers there are."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ZfjaxError(
            f"{self.name} has no layer {name!r}; it has"
            f" {', '.join(spec.name for spec in self.layers)}."
        )

    def conv(self, name: str) -> Conv:
        """The convolution of that name. Raises ZfjaxError naming the convolutions there are."""
        if name not in self.conv_names:
            raise ZfjaxError(
                f"{self.name} has no convolution {name!r}; it has {', '.join(self.conv_names)}."
            )
        return self.layer(name)  # type: ignore[return-value]

    def replace(self, name: str, **fields: Any) -> Architecture:
        """A copy with fields of one layer replaced: ``replace("conv1", kernel=11)``."""
        kind = type(self.layer(name))
        known = [item.name for item in dataclasses.fields(kind)]
        if unknown := [field for field in fields if field not in known]:
            raise ZfjaxError(
                f"{name} of {self.name} has no field {unknown[0]!r}; it has {', '.join(known)}."
            )
        layers = tuple(
            dataclasses.replace(spec, **fields) if spec.name == name else spec
            for spec in self.layers
        )
        return dataclasses.replace(self, layers=layers)

    def with_classes(self, classes: int) -> Architecture:
        """A copy whose last layer has ``classes`` outputs. Raises ZfjaxError when it is not fully
        connected.
        """
        if not self.classes:
            raise ZfjaxError(
                f"The last layer of {self.name} is not fully connected, so it has no class scores."
            )
        return self.replace(self.layers[-1].name, features=classes)

    def facts(self) -> tuple[LayerFacts, ...]:
        """Geometry and cost of every layer, in order."""
        return self._facts

    @cached_property
    def _facts(self) -> tuple[LayerFacts, ...]:
        height, width = self.input_size
        maps, size, jump, start = 3, 1, 1, 0
        facts: list[LayerFacts] = []
        for layer in self.layers:
            parameters = multiply_adds = 0
            if isinstance(layer, Conv | Pool):
                height, width = (
                    output_size(cells, layer.extent, layer.stride, layer.padding)
                    for cells in (height, width)
                )
                if min(height, width) < 1:
                    raise ZfjaxError(
                        f"{layer.name} of {self.name} does not fit: nothing is left of an input of"
                        f" {self.input_size[0]}x{self.input_size[1]} pixels; make it smaller or the"
                        " input larger."
                    )
                start -= layer.padding[0] * jump
                size += (layer.extent - 1) * jump
                jump *= layer.stride
            if isinstance(layer, Conv):
                weights = layer.kernel**2 * maps * layer.maps
                parameters, multiply_adds, maps = (
                    weights + layer.maps,
                    weights * height * width,
                    layer.maps,
                )
            if isinstance(layer, Dense):
                inputs = height * width * maps
                parameters, multiply_adds = (inputs + 1) * layer.features, inputs * layer.features
                # A fully connected unit sees all that the map below it sees.
                size += (max(height, width) - 1) * jump
                height, width, maps = 1, 1, layer.features
            facts.append(
                LayerFacts(
                    layer,
                    (height, width, maps),
                    parameters,
                    multiply_adds,
                    Window(size, jump, start),
                )
            )
        return tuple(facts)

    def below(self, name: str) -> tuple[LayerFacts, ...]:
        """The facts of every layer from the image up to the one of that name, itself the last.
        Raises ZfjaxError for an unknown name.
        """
        position = self.layers.index(self.layer(name))
        return self.facts()[: position + 1]

    def fact(self, name: str) -> LayerFacts:
        """The facts of one layer. Raises ZfjaxError for an unknown name."""
        return self.below(name)[-1]

    def window(self, name: str) -> Window:
        """The receptive field of one layer's units, in pixels of the input."""
        return self.fact(name).window

    def tile_size(self, name: str) -> tuple[int, int]:
        """(height, width) of a layer's tiles in pixels: its receptive field, at most the input."""
        size = self.window(name).size
        return min(size, self.input_size[0]), min(size, self.input_size[1])

    def tile_origin(self, name: str, y: int, x: int) -> tuple[int, int]:
        """Row and column of the input where the tile of unit (y, x) begins; 0 on an axis that the
        tile covers whole.
        """
        box = self.window(name).box(y, x)
        height, width = self.tile_size(name)
        return (box[0] if height < self.input_size[0] else 0), (
            box[1] if width < self.input_size[1] else 0
        )

    @property
    def parameter_count(self) -> int:
        """Weights and biases of all layers."""
        return sum(fact.parameters for fact in self.facts())


def output_size(extent: int, kernel: int, stride: int, padding: tuple[int, int]) -> int:
    """Cells along one axis after a convolution or pool (floor mode)."""
    return (extent + sum(padding) - kernel) // stride + 1


def _check(layer: Layer) -> None:
    # A layer's name becomes a flag (--model.conv1.kernel), a folder and a part of file names.
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", layer.name) or layer.name in (
        "name",
        "input_size",
        "layers",
    ):
        raise ZfjaxError(
            f"A layer cannot be called {layer.name!r}; use a letter, then letters, digits or '_'."
        )
    positive = {
        Conv: ("maps", "kernel", "stride"),
        Pool: ("window", "stride"),
        Norm: ("size",),
        Dense: ("features",),
    }[type(layer)]
    for field in positive:
        if getattr(layer, field) < 1:
            raise ZfjaxError(
                f"{layer.name}.{field} is {getattr(layer, field)}; it must be 1 or more."
            )
    if isinstance(layer, Conv | Pool):
        if min(layer.padding) < 0 or max(layer.padding) >= layer.extent:
            raise ZfjaxError(
                f"{layer.name}.padding is {layer.padding}; each side must be 0 to"
                f" {layer.extent - 1}."
            )
    if isinstance(layer, Pool) and layer.window > 11:
        raise ZfjaxError(
            f"{layer.name}.window is {layer.window}; it must be at most 11, for its switches are"
            " int8."
        )
    if isinstance(layer, Norm):
        if layer.size % 2 == 0:
            raise ZfjaxError(
                f"{layer.name}.size is {layer.size}; it must be odd, to have a middle map."
            )
        if not (
            0 < layer.k < math.inf and 0 <= layer.alpha < math.inf and 0 <= layer.beta < math.inf
        ):
            raise ZfjaxError(
                f"{layer.name} needs a finite k above 0, and alpha and beta of 0 or more."
            )
    if isinstance(layer, Dense) and not 0 <= layer.dropout < 1:
        raise ZfjaxError(
            f"{layer.name}.dropout is {layer.dropout}; it must be at least 0 and below 1."
        )
