"""Who rides along on the pass: what a rider sees of the images, and what it owes (passing.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from zfjax.network.model import Parameters
from zfjax.subject import Network


class Marks(NamedTuple):
    """What is known of the images of a batch beside their pixels; of a piece of it, likewise."""

    real: Any
    """bool [n]; False is padding."""
    labels: Any
    """int32 [n]; -1 where unknown."""
    priorities: Any
    """uint32 [n]: seeded ranks (``statistics.priorities_of``); all ones for padding."""
    probed: Any
    """bool [n]: whether it is one of the probe (``Route.probe``); never padding."""


class Sent(NamedTuple):
    """A batch on the device, in the order of the images' ids, padding last; ids and marks stay on
    the host as well.
    """

    inputs: jax.Array
    ids: np.ndarray
    marks: Marks


@dataclass(frozen=True)
class Look:
    """A piece of a batch as a rider sees it, while JAX traces what it does."""

    network: Network
    layers: tuple[str, ...]
    """Asked for, in forward order."""
    parameters: Parameters
    inputs: Float[Array, "n h w c"]
    """Normalised."""
    marks: Marks

    @property
    def real(self) -> Bool[Array, " n"]:
        """False for what must count nowhere: padding, and images outside the probe."""
        return self.marks.probed

    @property
    def labels(self) -> Int32[Array, " n"]:
        """-1 where unknown."""
        return self.marks.labels

    @cached_property
    def maps(self) -> dict[str, Array]:
        """The layers' feature maps [n, h, w, maps] of these images, after ReLU."""
        return self.forward(self.inputs)

    def forward(self, inputs: Float[Array, "n h w c"]) -> dict[str, Array]:
        """The layers' feature maps [n, h, w, maps] of other inputs, by the same checkpoint."""
        highest = self.network.highest(self.layers).name
        maps = self.network.forward(self.parameters, inputs, until=highest)
        return {layer: maps[layer] for layer in self.layers}

    @cached_property
    def strongest(self) -> tuple[Float[Array, "n maps"], Int32[Array, "n maps"]]:
        """Every map's maximum over each image, all layers side by side, and its place (y * width +
        x).
        """
        firsts = [first_maximum(self.maps[layer]) for layer in self.layers]
        values, places = zip(*firsts, strict=True)
        return jnp.concatenate(values, axis=1), jnp.concatenate(places, axis=1)

    @cached_property
    def means(self) -> Float[Array, "n maps"]:
        """Every map's mean over each image, all layers side by side."""
        return jnp.concatenate(
            [self.maps[layer].mean(axis=(1, 2)) for layer in self.layers], axis=1
        )


Arrays = dict[str, Any]


@runtime_checkable
class Computed(Protocol):
    """What a rider has compiled into the pass: hashable, equal where it computes the same."""

    def of_piece(self, look: Look) -> Arrays:
        """Arrays whose first axes are laid end to end, over the pieces and devices of a batch: a
        row an image, or one row a piece. Traced.
        """

    def of_batch(self, pieces: Arrays, marks: Marks) -> Arrays:
        """What the host gets of a whole batch, ``pieces`` laid end to end. Traced."""


@runtime_checkable
class Rider(Protocol):
    """Keeps something of every batch, in host memory or in files of its own."""

    name: str
    """Among those of one pass, its own."""
    computed: Computed

    def add(self, step_index: int, of_step: Mapping[str, np.ndarray], batch: Sent) -> None:
        """Takes what one checkpoint gave on one batch."""

    def state(self) -> dict[str, np.ndarray]:
        """What it has kept, to be saved with the pass; what lies in files of its own already is
        made to lie there for good.
        """

    def assume(self, state: Mapping[str, np.ndarray]) -> bool:
        """Goes on from a ``state``; whether it can."""

    def share(self) -> dict[str, np.ndarray]:
        """All that it has kept since ``clear``, for another process to ``merge``."""

    def merge(self, share: Mapping[str, np.ndarray]) -> None:
        """Adds what another process's has kept, which saw none of the same images."""

    def clear(self) -> None:
        """Forgets all, once another has merged its share."""


@dataclass(frozen=True)
class Company:
    """Who rides along with the search, and the images that they look at."""

    riders: tuple[Rider, ...] = ()
    probe: np.ndarray | None = None
    """int64: ids; None: all."""
    landed: Callable[[], None] | None = None
    """What they do when the search is over, in every process."""


def first_maximum(
    x: Float[Array, "n h w maps"],
) -> tuple[Float[Array, "n maps"], Int32[Array, "n maps"]]:
    """(maximum, place) over the cells of x. Rows first, then the cells of one row: on CPU a few
    hundredths of a forward pass, where an argmax costs a fifth.
    """
    height, width = x.shape[1:3]
    of_rows = x.max(axis=2)
    value = of_rows.max(axis=1)

    def first(equal: Bool[Array, "n cells maps"], extent: int) -> Int32[Array, "n maps"]:
        positions = jnp.arange(extent, dtype=jnp.int32)[None, :, None]
        return jnp.where(equal, positions, extent - 1).min(axis=1)

    y = first(of_rows == value[:, None], height)
    row = jnp.take_along_axis(x, y[:, None, None], axis=1)[:, 0]
    return value, y * width + first(row == value[:, None], width)
