"""Images moved, enlarged and turned: the changes of the paper's Fig. 5, as they reach a network.

Sizes are the paper's, for inputs of 224 pixels; of another input the same share of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.inputs import CHANNEL_MEAN, Preparation

Axis = Literal["vertical", "horizontal"]
Fill = Literal["mean", "reflect"]
TRANSLATION, SCALE, ROTATION = "translation", "scale", "rotation"
KINDS = (TRANSLATION, SCALE, ROTATION)
NOTHING = {TRANSLATION: 0.0, SCALE: 1.0, ROTATION: 0.0}
"""By kind, the amount that leaves an image as it is."""
PAPER_SIZE = 224
"""Pixels of the input for which translations are said."""


@dataclass(frozen=True)
class Change:
    """A translation in pixels of PAPER_SIZE (down or to the right where positive), an enlargement
    by a factor, or a rotation in degrees, anticlockwise.
    """

    kind: str
    amount: float

    @property
    def name(self) -> str:
        """As it stands in names of numbers."""
        return f"{self.kind}_{self.amount:g}"

    @property
    def extent(self) -> float:
        """How far from nothing; 0 leaves the image as it is."""
        return abs(self.amount - NOTHING[self.kind])

    def matrix(self, input_size: tuple[int, int], axis: Axis) -> np.ndarray:
        """float32 [2, 3]: from a pixel's (row, column, 1), counted from the middle of the changed
        image, to the place in the image that it shows, counted likewise.
        """
        rows: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0))
        if self.kind == TRANSLATION:
            along = 0 if axis == "vertical" else 1
            pixels = self.amount * input_size[along] / PAPER_SIZE
            rows = ((1, 0, -pixels if axis == "vertical" else 0), (0, 1, 0))
            if axis == "horizontal":
                rows = ((1, 0, 0), (0, 1, -pixels))
        elif self.kind == SCALE:
            rows = ((1 / self.amount, 0, 0), (0, 1 / self.amount, 0))
        else:
            turn = math.radians(self.amount % 360)  # a whole turn is exactly none
            rows = ((math.cos(turn), math.sin(turn), 0), (-math.sin(turn), math.cos(turn), 0))
        return np.array(rows, np.float32)


def changes_of(kind: str, largest: float, points: int) -> tuple[Change, ...]:
    """Evenly spread changes: translations to both sides of nothing, others from nothing on."""
    begin = -largest if kind == TRANSLATION else NOTHING[kind]
    amounts = np.linspace(begin, largest, points).round(6)
    return tuple(Change(kind, float(amount) + 0.0) for amount in amounts)


def warped(views: jax.Array, matrices: jax.Array, outside: jax.Array, fill: Fill) -> jax.Array:
    """Views [n, height, width, 3] changed by [n, 2, 3] as ``Change.matrix`` gives them: float32, by
    bilinear interpolation. Pixels from beyond the view are those of ``outside`` [height, width, 3],
    or the view's own, reflected without its edge.
    """

    def changed(view: jax.Array, matrix: jax.Array) -> jax.Array:
        return _warped(view.astype(jnp.float32), matrix, outside, fill)

    return jax.vmap(changed)(views, matrices)


def _warped(view: jax.Array, matrix: jax.Array, outside: jax.Array, fill: Fill) -> jax.Array:
    height, width = view.shape[:2]
    middle = (height - 1) / 2, (width - 1) / 2
    rows = jnp.arange(height, dtype=jnp.float32)[:, None] - middle[0]
    columns = jnp.arange(width, dtype=jnp.float32)[None, :] - middle[1]
    y, x = (
        matrix[index, 0] * rows + matrix[index, 1] * columns + matrix[index, 2] + middle[index]
        for index in (0, 1)
    )
    top, left = jnp.floor(y), jnp.floor(x)
    total = jnp.zeros_like(outside)
    for row, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            i, j = row.astype(jnp.int32), column.astype(jnp.int32)
            if fill == "reflect":
                pixels = view[_reflected(i, height), _reflected(j, width)]
            else:
                inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
                known = view[jnp.clip(i, 0, height - 1), jnp.clip(j, 0, width - 1)]
                pixels = jnp.where(inside[:, :, None], known, outside)
            total += (weight_y * weight_x)[:, :, None] * pixels
    return total


def _reflected(index: jax.Array, extent: int) -> jax.Array:
    """Places within ``extent``, as a mirror at each edge pixel shows them."""
    if extent == 1:
        return jnp.zeros_like(index)
    period = 2 * (extent - 1)
    within = jnp.mod(index, period)
    return jnp.where(within < extent, within, period - within)


def mean_view(preparation: Preparation, mean_image: np.ndarray | jax.Array | None) -> np.ndarray:
    """The view float32 [view, view, 3] that becomes an input of zeros: the mean image, or the mean
    of each channel.
    """
    if preparation.mean is None and preparation.recipe == "faithful":
        return np.asarray(mean_image, np.float32)
    channels = CHANNEL_MEAN if preparation.mean is None else preparation.mean
    return np.full((preparation.view, preparation.view, 3), channels, np.float32)
