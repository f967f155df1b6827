"""The search for what excites each feature map most, least, and in between, as a rider of the pass.

For every (step, map) it keeps the k strongest and the k weakest positive images, a histogram
of image maxima in fixed logarithmic bins, and a small seeded sample of each bin (statistics.py).
One entry an image: its spatial maximum. The place of a maximum comes with it: rows are compared
first, then the cells of one row. The image that is strongest at the last step is followed through
all steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int32

from zfjax.data.pipeline import Batch
from zfjax.features.asking import Request
from zfjax.features.passing import Lanes, Route, images_at_once, in_pieces, pass_over
from zfjax.features.passing import search_batch as search_batch
from zfjax.features.riding import Arrays, Computed, Look, Marks, Sent
from zfjax.features.statistics import (
    BINS,
    EDGE_BITS,
    EMPTY,
    FIRST_EDGE,
    SLOTS,
    Statistics,
    assign,
    empty_statistics,
    merge,
    merge_batch,
    statistics_arrays,
)
from zfjax.network.model import Parameters
from zfjax.subject import Network, Subject


def search(
    subject: Subject,
    request: Request,
    batches: Iterable[Batch],
    *,
    lanes: Lanes = Lanes(),  # noqa: B008 (frozen)
    state: Statistics | None = None,
    after_batch: Callable[[Statistics, int], None] | None = None,
) -> Statistics:
    """Runs every checkpoint of the request on every batch once.

    ``batches``: dicts of image uint8 [n, h, w, 3], image_id int64 [n], weight float32 [n] (0:
    padding), equally sized. ``state``: statistics to go on from, added to in place.
    ``after_batch(statistics, images)`` is told how many images a batch added. Raises ZfjaxError
    naming step and image where an activation is not finite.
    """
    searching = Searching(state or nothing_found(subject, request), request.top)

    def after(images: int) -> None:
        if after_batch is not None:
            after_batch(searching.statistics, images)

    pass_over(subject, route_of(request), batches, (searching,), lanes=lanes, after_batch=after)
    return searching.statistics


def route_of(request: Request, probe: np.ndarray | None = None) -> Route:
    """The pass that answers a request, with what is kept of a probe besides."""
    return Route(request.steps, request.layers, request.seed, probe)


def nothing_found(subject: Subject, request: Request) -> Statistics:
    """The statistics of a request before the first image."""
    maps = sum(subject.layer(name).maps for name in request.layers)
    return empty_statistics(len(request.steps), maps, request.top)


class Searching:
    """The search as a rider: its statistics, changed in place."""

    name = "search"

    def __init__(self, statistics: Statistics, top: int) -> None:
        self.statistics = statistics
        self.computed: Computed = _Ranked(top)

    def add(self, step_index: int, of_step: Mapping[str, np.ndarray], batch: Sent) -> None:
        """As in ``Rider``, like the others."""
        ids = np.where(batch.marks.real, batch.ids, -1)
        merge_batch(self.statistics, step_index, of_step, ids)

    def state(self) -> dict[str, np.ndarray]:
        """The arrays of its statistics."""
        return statistics_arrays(self.statistics)

    def assume(self, state: Mapping[str, np.ndarray]) -> bool:
        """Goes on from those."""
        assign(self.statistics, Statistics(**state))
        return True

    def share(self) -> dict[str, np.ndarray]:
        """The same arrays."""
        return self.state()

    def merge(self, share: Mapping[str, np.ndarray]) -> None:
        """Adds those of other images."""
        assign(self.statistics, merge(self.statistics, Statistics(**share)))

    def clear(self) -> None:
        """Back to no image."""
        steps, k, maps = self.statistics.top_value.shape
        assign(self.statistics, empty_statistics(steps, maps, k))


@dataclass(frozen=True)
class _Ranked:
    """What is compiled of the search: the ``k`` strongest and weakest images."""

    k: int

    def of_piece(self, look: Look) -> Arrays:
        maxima, places = look.strongest
        return {"maxima": maxima, "places": places}

    def of_batch(self, pieces: Arrays, marks: Marks) -> Arrays:
        """What ``merge_batch`` takes of one checkpoint on one batch."""
        maxima, places = pieces["maxima"], pieces["places"]
        real, priorities = marks.real, marks.priorities
        count, columns = maxima.shape
        ranks = min(self.k, count)
        live = real[:, None]
        top_value, top_row = lax.top_k(jnp.where(live, maxima, -jnp.inf).T, ranks)
        low_value, low_row = lax.top_k(jnp.where(live & (maxima > 0), -maxima, -jnp.inf).T, ranks)
        top_place = jnp.take_along_axis(places.T, top_row, axis=1)
        # The histogram and the samples are scattered into one flat array of cells (map, bin).
        bits = lax.bitcast_convert_type(maxima, jnp.int32) >> EDGE_BITS
        bins = jnp.where(maxima > 0, jnp.clip(bits - FIRST_EDGE + 1, 1, BINS - 1), 0)
        cells = jnp.arange(columns)[None] * BINS + bins
        ones = jnp.broadcast_to(live, cells.shape).astype(jnp.int32)
        histogram = jnp.zeros(columns * BINS, jnp.int32).at[cells].add(ones)
        slots = cells * SLOTS + (priorities % SLOTS).astype(jnp.int32)[:, None]
        ranked = jnp.broadcast_to(priorities[:, None], slots.shape)
        chosen = jnp.full(columns * BINS * SLOTS, EMPTY).at[slots].min(ranked)
        wins = (chosen[slots] == ranked) & live
        value = jnp.zeros(columns * BINS * SLOTS, jnp.float32)
        value = value.at[slots].max(jnp.where(wins, maxima, 0))
        return {
            "top_value": top_value.T,
            "top_row": top_row.T,
            "top_place": top_place.T,
            "low_value": -low_value.T,
            "low_row": low_row.T,
            "histogram": histogram.reshape(columns, BINS),
            "sample_priority": chosen.reshape(columns, BINS, SLOTS),
            "sample_value": value.reshape(columns, BINS, SLOTS),
            # Whole, for which of these images is followed is known on the host alone.
            "maxima": maxima,
            "places": places,
        }


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def image_maxima(
    parameters: Parameters,
    inputs: Float[Array, "n h w c"] | Float[np.ndarray, "n h w c"],
    *,
    network: Network,
    layers: tuple[str, ...],
) -> tuple[Float[Array, "n maps"], Int32[Array, "n maps"]]:
    """Each map's maximum over each image (maps of all ``layers`` side by side) and its place (y *
    width + x), the same numbers that the pass finds. ``inputs``: normalised.
    """
    nothing = Marks(None, None, None, None)
    return in_pieces(
        lambda piece: Look(network, layers, parameters, piece, nothing).strongest,
        inputs,
        images_at_once(network),
    )
