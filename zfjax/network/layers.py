"""A layer as analyses see it: maps of a shape, and what one unit sees of the input. No JAX."""

from __future__ import annotations

from dataclasses import dataclass

from zfjax.network.architecture import Architecture, Conv, Pool, Window, output_size


@dataclass(frozen=True)
class Work:
    """What a forward pass up to a layer takes, for one image or for one unit's window."""

    multiply_adds: int
    """Of the convolutions."""
    largest: int
    """Bytes of the largest feature map on the way, float32."""


@dataclass(frozen=True)
class Layer:
    """A layer whose units can be searched and projected."""

    name: str
    shape: tuple[int, int, int]
    """(height, width, maps)."""
    window: Window | None
    """What one unit sees of the input; None where it is not known: the whole image stands for
    it.
    """
    tile_size: tuple[int, int]
    """(height, width) of a unit's tile in pixels: its window, at most the input."""
    image_work: Work
    """From a whole image up to this layer."""
    window_work: Work | None
    """From one unit's window alone, every layer unpadded; None where there is no window."""

    @property
    def maps(self) -> int:
        """How many feature maps it has."""
        return self.shape[2]

    def place(self, flat: int) -> tuple[int, int]:
        """(y, x) of the unit that stands at ``flat`` = y * width + x."""
        return divmod(flat, self.shape[1])


def layers_of(architecture: Architecture) -> dict[str, Layer]:
    """The convolutions of an architecture by name, in forward order."""
    return {name: _layer(architecture, name) for name in architecture.conv_names}


def _layer(architecture: Architecture, name: str) -> Layer:
    facts = architecture.below(name)
    image_adds = window_adds = 0
    image_largest = window_largest = 1
    for fact in facts:
        rows, columns, maps = fact.shape
        cells = window_cells(architecture, name, fact.layer.name)
        image_largest = max(image_largest, 4 * rows * columns * maps)
        window_largest = max(window_largest, 4 * cells * cells * maps)
        if isinstance(fact.layer, Conv):
            image_adds += fact.multiply_adds
            window_adds += fact.multiply_adds // (rows * columns) * cells**2
    return Layer(
        name=name,
        shape=facts[-1].shape,
        window=facts[-1].window,
        tile_size=architecture.tile_size(name),
        image_work=Work(image_adds, image_largest),
        window_work=Work(window_adds, window_largest),
    )


def window_cells(architecture: Architecture, layer: str, below: str) -> int:
    """Cells along one axis of layer ``below`` in the window of one unit of ``layer``."""
    size = architecture.window(layer).size
    for fact in architecture.below(below):
        if isinstance(fact.layer, Conv | Pool):
            size = output_size(size, fact.layer.extent, fact.layer.stride, (0, 0))
    return size
