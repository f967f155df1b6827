"""What the pass over the images keeps of them, and how it is merged, asked and saved. No JAX.

Order and ties are lexicographic on (-value, image id), whatever the batches; merging is exact and
commutative.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64, UInt32
from numpy.typing import ArrayLike

from zfjax.files import write_arrays

BINS = 128
"""Bin 0 holds images where the map is silent; bins 1.. hold four to an octave, from LOWEST_EDGE
up.
"""
SLOTS = 2
"""Images sampled of each bin."""
LOWEST_EDGE = 2.0**-16
EDGE_BITS = 21
"""A float32's lowest bits, without which its exponent and the two highest bits of its mantissa are
left: four bins an octave, by integers alone.
"""
FIRST_EDGE = (127 - 16) << 2
"""LOWEST_EDGE's bits without the lowest EDGE_BITS."""
FOLLOWED = ("fixed_id", "fixed_value", "fixed_place")
"""What the pass keeps of the images that it follows."""
EMPTY = np.uint32(0xFFFFFFFF)
"""The priority of a slot without an image."""


@dataclass(frozen=True)
class Statistics:
    """What the pass has gathered; arrays over (steps, ..., maps of all layers side by side)."""

    top_value: Float32[np.ndarray, "steps k maps"]
    """Descending; -inf where fewer images were seen."""
    top_id: Int64[np.ndarray, "steps k maps"]
    """-1 where empty."""
    top_place: Int32[np.ndarray, "steps k maps"]
    """Where the maximum lies, y * width + x; the first place in reading order wins a tie."""
    low_value: Float32[np.ndarray, "steps k maps"]
    """The weakest positive maxima, ascending; inf where empty."""
    low_id: Int64[np.ndarray, "steps k maps"]
    histogram: Int64[np.ndarray, "steps maps bins"]
    sample_priority: UInt32[np.ndarray, "steps maps bins slots"]
    """The seeded rank of a sampled image, which names it; all ones where empty."""
    sample_value: Float32[np.ndarray, "steps maps bins slots"]
    fixed_id: Int64[np.ndarray, "steps maps"]
    """The last step's strongest image, ``top_id[-1, 0]``, which is followed through all steps; -1
    where a step has not seen it.
    """
    fixed_value: Float32[np.ndarray, "steps maps"]
    """The map's maximum over that image at each step."""
    fixed_place: Int32[np.ndarray, "steps maps"]

    @property
    def images(self) -> int:
        """Images seen."""
        return int(self.histogram[0, 0].sum()) if self.histogram.size else 0


def empty_statistics(steps: int, maps: int, k: int) -> Statistics:
    """Statistics of no image."""
    return Statistics(
        np.full((steps, k, maps), -np.inf, np.float32),
        np.full((steps, k, maps), -1, np.int64),
        np.zeros((steps, k, maps), np.int32),
        np.full((steps, k, maps), np.inf, np.float32),
        np.full((steps, k, maps), -1, np.int64),
        np.zeros((steps, maps, BINS), np.int64),
        np.full((steps, maps, BINS, SLOTS), EMPTY),
        np.zeros((steps, maps, BINS, SLOTS), np.float32),
        np.full((steps, maps), -1, np.int64),
        np.zeros((steps, maps), np.float32),
        np.zeros((steps, maps), np.int32),
    )


def merge(own: Statistics, other: Statistics) -> Statistics:
    """Statistics of the images of both, which must share none."""
    top, low = (
        _best(*(_ranked(statistics, kind) for statistics in (own, other)), descending=kind == "top")
        for kind in ("top", "low")
    )
    better = other.sample_priority < own.sample_priority
    wins = (top[1] != own.top_id)[-1:, 0]  # the maps whose winner is the other's
    return Statistics(
        top[0],
        top[1],
        top[2],
        low[0],
        low[1],
        own.histogram + other.histogram,
        np.where(better, other.sample_priority, own.sample_priority),
        np.where(better, other.sample_value, own.sample_value),
        np.where(wins, other.fixed_id, own.fixed_id),
        np.where(wins, other.fixed_value, own.fixed_value),
        np.where(wins, other.fixed_place, own.fixed_place),
    )


def merge_batch(
    total: Statistics,
    step_index: int,
    batch: Mapping[str, np.ndarray],
    ids: Int64[np.ndarray, " images"],
) -> None:
    """Adds what one step gave on one batch, images ``ids``, into ``total``, in place: the pass
    holds one copy of its statistics. An id of -1 is padding. The last step comes first of a
    batch's: its winners are followed through the others.
    """
    for kind, empty in (("top", -np.inf), ("low", np.inf)):
        values = batch[f"{kind}_value"]
        new = [values, np.where(values == empty, -1, ids[batch[f"{kind}_row"]])]
        if kind == "top":
            new.append(batch["top_place"])
        kept = [array[step_index] for array in _ranked(total, kind)]
        for target, best in zip(kept, _best(kept, new, descending=kind == "top"), strict=True):
            target[...] = best
    total.histogram[step_index] += batch["histogram"]
    better = batch["sample_priority"] < total.sample_priority[step_index]
    np.copyto(total.sample_priority[step_index], batch["sample_priority"], where=better)
    np.copyto(total.sample_value[step_index], batch["sample_value"], where=better)
    maps, rows = _winners_among(total, ids)
    total.fixed_id[step_index, maps] = ids[rows]
    total.fixed_value[step_index, maps] = batch["maxima"][rows, maps]
    total.fixed_place[step_index, maps] = batch["places"][rows, maps]


def _winners_among(
    total: Statistics, ids: Int64[np.ndarray, " images"]
) -> tuple[Int64[np.ndarray, " winners"], Int64[np.ndarray, " winners"]]:
    """The maps whose strongest image at the last step, up to now, is one of ``ids``, and its row
    there.
    """
    order, winners = np.argsort(ids), total.top_id[-1, 0]
    rows = order[np.searchsorted(ids, winners, sorter=order).clip(max=len(ids) - 1)]
    maps = np.flatnonzero((ids[rows] == winners) & (winners >= 0))
    return maps, rows[maps]


def _ranked(statistics: Statistics, kind: str) -> list[np.ndarray]:
    """Values, ids and what else is ranked with them."""
    if kind == "top":
        return [statistics.top_value, statistics.top_id, statistics.top_place]
    return [statistics.low_value, statistics.low_id]


def _best(own: list[np.ndarray], other: list[np.ndarray], *, descending: bool) -> list[np.ndarray]:
    """The best of both on axis -2, as many as ``own`` holds; each a list of values, ids and what
    belongs to them.
    """
    k = own[0].shape[-2]
    joined = [np.concatenate(pair, axis=-2) for pair in zip(own, other, strict=True)]
    order = np.lexsort((joined[1], -joined[0] if descending else joined[0]), axis=-2)[..., :k, :]
    return [np.take_along_axis(values, order, -2) for values in joined]


def assign(target: Statistics, source: Statistics) -> None:
    """Overwrites ``target`` with ``source``, in place."""
    for name, array in statistics_arrays(target).items():
        array[...] = getattr(source, name)


def statistics_arrays(statistics: Statistics) -> dict[str, np.ndarray]:
    """The arrays by name, to save."""
    return {array.name: getattr(statistics, array.name) for array in fields(Statistics)}


def bin_of(values: ArrayLike) -> Int[np.ndarray, ...]:
    """The histogram bin of float32 values, as the pass computes it."""
    floats = np.asarray(values, np.float32)
    bits = floats.view(np.int32) >> EDGE_BITS
    return np.where(floats > 0, np.clip(bits - FIRST_EDGE + 1, 1, BINS - 1), 0)


def bin_edges() -> Float32[np.ndarray, " edges"]:
    """BINS + 1 edges: bin i holds edges[i] <= value < edges[i + 1]. Bin 0 holds 0 alone, bin 1 all
    that is positive below the second edge above LOWEST_EDGE, the last bin all from its edge on.
    """
    bits = (np.arange(BINS + 1, dtype=np.int32) - 1 + FIRST_EDGE) << EDGE_BITS
    edges = bits.view(np.float32).copy()
    edges[:2] = 0, np.finfo(np.float32).smallest_subnormal
    edges[BINS] = np.inf
    return edges


def quantile_samples(
    statistics: Statistics, step_index: int, quantile: float, seed: int
) -> tuple[Float32[np.ndarray, " maps"], Int64[np.ndarray, " maps"]]:
    """For each map one seeded image of the bin that holds this quantile of its maxima: (values,
    ids).

    Value 0 and id -1 where the map is silent there.
    """
    bins, slots, ids = quantile_slots(statistics, step_index, quantile, seed)
    value = statistics.sample_value[step_index][np.arange(len(bins)), bins, slots]
    return np.where(ids < 0, np.float32(0), value), ids


def quantile_slots(
    statistics: Statistics, step_index: int, quantile: float, seed: int
) -> tuple[Int64[np.ndarray, " maps"], Int64[np.ndarray, " maps"], Int64[np.ndarray, " maps"]]:
    """Where the image of ``quantile_samples`` stands among a map's samples, and which it is: (bins,
    slots, ids). An id is -1 where the map is silent there.
    """
    histogram = statistics.histogram[step_index]
    # 0.07 * 100 is a little more than 7.
    wanted = np.ceil(quantile * histogram.sum(axis=1) - 1e-6).clip(1)
    bins = (np.cumsum(histogram, axis=1) >= wanted[:, None]).argmax(axis=1)
    columns = np.arange(len(bins))
    priorities = statistics.sample_priority[step_index][columns, bins]
    slots = priorities.argmin(axis=1)
    priority = priorities[columns, slots]
    silent = (bins == 0) | (priority == EMPTY)
    return bins, slots, np.where(silent, -1, ids_of(priority, seed).astype(np.int64))


def priorities_of(ids: UInt32[np.ndarray, " images"], seed: int) -> UInt32[np.ndarray, " images"]:
    """A seeded one-to-one scrambling of uint32 (the finaliser of MurmurHash3): an image's rank
    among those that may be sampled.
    """
    x = ids ^ np.uint32(seed * 0x9E3779B1 % 2**32)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def ids_of(priorities: UInt32[np.ndarray, " images"], seed: int) -> UInt32[np.ndarray, " images"]:
    """The ids of ``priorities_of``'s results."""
    x = priorities ^ (priorities >> np.uint32(16))
    x = x * np.uint32(pow(0xC2B2AE35, -1, 2**32))
    x = x ^ (x >> np.uint32(13)) ^ (x >> np.uint32(26))
    x = x * np.uint32(pow(0x85EBCA6B, -1, 2**32))
    x = x ^ (x >> np.uint32(16))
    return x ^ np.uint32(seed * 0x9E3779B1 % 2**32)


@dataclass(frozen=True)
class SavedPass:
    """A pass that was stopped: what it was asked for, what it has gathered, from how many images,
    in how many seconds of all its starts.
    """

    asked: dict[str, Any]
    statistics: Statistics | None
    """None: a pass without the search."""
    seen: int
    seconds: float = 0.0
    riders: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """What others have kept on the way (passing.Rider), by their names."""


def save_pass(path: Path, saved: SavedPass) -> None:
    """Writes a pass, whole or not at all."""
    arrays = {
        "key": np.str_(json.dumps(saved.asked, sort_keys=True)),
        "seen": saved.seen,
        "seconds": saved.seconds,
        "riders": np.array(sorted(saved.riders), np.str_),
    }
    for name, state in saved.riders.items():
        arrays.update({f"{name}/{key}": array for key, array in state.items()})
    if saved.statistics is not None:
        arrays.update(statistics_arrays(saved.statistics))
    write_arrays(path, arrays)


def load_pass(path: Path) -> SavedPass | None:
    """A pass as it was saved; None where there is none, or a damaged one: it begins anew then."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = stored["riders"].tolist() if "riders" in stored else []
            searched = "top_value" in stored
            return SavedPass(
                dict(json.loads(str(stored["key"]))),
                _stored_statistics(stored) if searched else None,
                int(stored["seen"]),
                float(stored["seconds"]) if "seconds" in stored else 0.0,
                {
                    name: {
                        key.removeprefix(f"{name}/"): stored[key]
                        for key in stored.files
                        if key.startswith(f"{name}/")
                    }
                    for name in names
                },
            )
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _stored_statistics(stored: Mapping[str, np.ndarray]) -> Statistics:
    """Those of a saved pass; one of a zfjax before 27 November 2026 has followed no image."""
    steps, k, maps = stored["top_value"].shape
    arrays = statistics_arrays(empty_statistics(steps, maps, k))
    return Statistics(
        **{
            name: empty if name in FOLLOWED and name not in stored else stored[name]
            for name, empty in arrays.items()
        }
    )
