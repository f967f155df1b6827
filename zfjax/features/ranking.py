"""A coarse search, ranked again: where the pass multiplies at less than the highest precision, it
keeps more candidates, and each of them is looked at once more at the highest.

So every activation in the table is exact, and only which images were candidates is not. What that
may have cost is counted (``Doubt``): an image that was no candidate lies below the weakest one, by
as much as the coarse pass is wrong; where the last image kept stands above that, none was missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64

from zfjax.features import strongest
from zfjax.features.asking import Request, record_of
from zfjax.features.passing import Route
from zfjax.features.riding import Arrays, Computed, Look, Marks, Sent
from zfjax.features.searching import Errand, ride_on, search_on
from zfjax.features.selections import quantiles_in_table
from zfjax.features.statistics import FOLLOWED, Statistics, quantile_slots, statistics_arrays
from zfjax.processes import as_first, is_first
from zfjax.progress import Progress
from zfjax.subject import Subject

WIDER = 4
"""Candidates of a coarse search for each image that is kept."""
SAFETY = 2.0
"""How far an image that was not looked at again may be off, in the largest differences of those
that were."""


@dataclass(frozen=True)
class Doubt:
    """How sure the strongest images of a coarse search are at one step; a list is a map's."""

    lists: int = 0
    exact: int = 0
    """Lists of which every image of the data was a candidate."""
    safe: int = 0
    """Whose last image stands above what any other can reach."""
    near: int = 0
    """Whose last image does not: another might belong there."""
    silent: int = 0
    """Of maps that fewer candidates excite than are kept: others might, by next to nothing."""
    difference: float = 0.0
    """The largest between a candidate's coarse and exact activation, in the map's strongest."""


def search_coarsely(
    subject: Subject, request: Request, folder: Path, progress: Progress
) -> tuple[Statistics, float, dict[str, dict[str, Any]]]:
    """``search_on`` at ``request.search_precision``, with exact activations of the images kept; the
    seconds of earlier starts, and by step how sure it is, a ``Doubt`` as JSON. Histograms are the
    coarse pass's. Process 0 gets the whole result.
    """
    coarse = replace(subject, network=subject.network.multiplied(request.search_precision))
    wider = replace(request, top=WIDER * request.top)
    passed, seconds = search_on(coarse, wider, folder, progress)
    exact = strongest.nothing_found(subject, request)
    doubts = {}
    for step_index, step in enumerate(request.steps):
        candidates = _Candidates.of_step(passed, step_index, request)
        again = _Again(candidates.pairs())
        errand = Errand(
            folder / f"ranking-{step}.npz",
            {**record_of(subject, wider), "ranked": step},
            len(again.pairs.images),
            "ranking again",
        )
        route = Route((step,), request.layers, request.seed)
        seconds += ride_on(subject, route, again.pairs.images, errand, (again,), progress)
        if is_first():
            ranked, doubt = candidates.ranked(again, request.top)
            for name, array in ranked.items():
                getattr(exact, name)[step_index] = array
            doubts[str(step)] = asdict(doubt)
    return exact, seconds, doubts


def ranking_files(folder: Path) -> list[Path]:
    """Where second looks were saved meanwhile, with what processes have shared of them."""
    return list(folder.glob("ranking-*.npz"))


@dataclass(frozen=True)
class _Pairs:
    """Images and maps to look at again, ordered by image, then column."""

    ids: Int64[np.ndarray, " pairs"]
    columns: Int64[np.ndarray, " pairs"]
    """Of the maps of all layers, side by side."""

    @property
    def images(self) -> list[int]:
        """Each once, ascending."""
        return np.unique(self.ids).tolist()

    def rows(
        self, ids: Int64[np.ndarray, "candidates maps"]
    ) -> Int64[np.ndarray, "candidates maps"]:
        """Where each candidate stands here; where there is none (-1), anywhere."""
        maps = ids.shape[1]
        keys = self.ids * maps + self.columns
        rows = np.searchsorted(keys, ids * maps + np.arange(maps))
        return np.minimum(rows, len(keys) - 1)


@dataclass(frozen=True)
class _Candidates:
    """What a coarse pass has kept of one step; ids are -1 where it has kept none."""

    passed: dict[str, np.ndarray]
    """The arrays of ``Statistics`` but FOLLOWED, without the axis of steps."""
    slots: tuple[np.ndarray, np.ndarray, np.ndarray]
    """Of the samples that a table shows: bins, slots and ids, int [quantiles, maps]."""
    images: int
    """That the pass has seen."""

    @classmethod
    def of_step(cls, passed: Statistics, step_index: int, request: Request) -> _Candidates:
        """Of one step."""
        sampled = [
            quantile_slots(passed, step_index, quantile, request.seed)
            for quantile in quantiles_in_table(request.selections)
        ]
        bins, slots, ids = (np.stack(each) for each in zip(*sampled, strict=True))
        arrays = {
            name: array[step_index]
            for name, array in statistics_arrays(passed).items()
            if name not in FOLLOWED  # coarsely, and perhaps other images
        }
        return cls(arrays, (bins, slots, ids), passed.images)

    def pairs(self) -> _Pairs:
        """All of them once; as process 0 has them."""
        ids = np.concatenate([self.passed["top_id"], self.passed["low_id"], self.slots[2]])
        rows, columns = np.nonzero(ids >= 0)
        unique = np.unique(np.stack([ids[rows, columns], columns]), axis=1)
        return _Pairs(*(np.array(as_first(each.tolist()), np.int64) for each in unique))

    def ranked(self, again: _Again, top: int) -> tuple[dict[str, np.ndarray], Doubt]:
        """The arrays of ``Statistics`` with the ``top`` best of each map, exact."""
        arrays = dict(self.passed)
        for kind, absent in (("top", -np.inf), ("low", np.inf)):
            ids = self.passed["top_id"]
            if kind == "low":  # in a small set the strongest are among the weakest
                low = self.passed["low_id"]
                twice = (low[:, None] == ids[None]).any(axis=1)
                ids = np.concatenate([ids, np.where(twice, -1, low)])
            values, places = again.of(ids)
            here = (ids >= 0) & (values > 0) if kind == "low" else ids >= 0
            values, ids = np.where(here, values, absent), np.where(here, ids, -1)
            order = np.lexsort((ids, values if kind == "low" else -values), axis=0)[:top]
            arrays[f"{kind}_value"] = np.take_along_axis(values, order, 0)
            arrays[f"{kind}_id"] = np.take_along_axis(ids, order, 0)
            if kind == "top":
                arrays["top_place"] = np.take_along_axis(places, order, 0)
        bins, slots, ids = self.slots
        values, _ = again.of(ids)
        columns = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        sampled = ids >= 0
        arrays["sample_value"] = arrays["sample_value"].copy()
        arrays["sample_value"][columns[sampled], bins[sampled], slots[sampled]] = values[sampled]
        return arrays, self._doubt(again, arrays["top_value"])

    def _doubt(self, again: _Again, kept: Float32[np.ndarray, "k maps"]) -> Doubt:
        coarse, ids = self.passed["top_value"], self.passed["top_id"]
        values, _ = again.of(ids)
        off = np.where(ids >= 0, np.abs(coarse - values), 0).max(axis=0)
        exact = np.full(ids.shape[1], self.images <= len(ids))
        silent = ~exact & (kept[-1] <= 0)
        safe = ~exact & ~silent & (kept[-1] > coarse[-1] + SAFETY * off)
        near = ~exact & ~silent & ~safe
        counts = {"exact": exact, "safe": safe, "near": near, "silent": silent}
        excited = kept[0] > 0
        largest = float((off[excited] / kept[0][excited]).max()) if excited.any() else 0.0
        return Doubt(
            len(exact),
            **{name: int(is_so.sum()) for name, is_so in counts.items()},
            difference=largest,
        )


class _Again:
    """The exact maxima of pairs of image and map, as a rider."""

    name = "again"

    def __init__(self, pairs: _Pairs) -> None:
        self.pairs = pairs
        self.computed: Computed = _Maxima()
        self._values: np.ndarray
        self._places: np.ndarray
        self.clear()

    def of(
        self, ids: Int64[np.ndarray, "candidates maps"]
    ) -> tuple[Float32[np.ndarray, "candidates maps"], Int32[np.ndarray, "candidates maps"]]:
        """(maxima, places) of candidates; of none (-1), any."""
        rows = self.pairs.rows(ids)
        return self._values[rows], self._places[rows]

    def add(self, step_index: int, of_step: Mapping[str, np.ndarray], batch: Sent) -> None:
        """As in ``Rider``, like the others."""
        ids = batch.ids[batch.marks.real]
        begin, end = (np.searchsorted(self.pairs.ids, ids, side=side) for side in ("left", "right"))
        for row, (first, last) in enumerate(zip(begin, end, strict=True)):
            columns = self.pairs.columns[first:last]
            self._values[first:last] = of_step["maxima"][row, columns]
            self._places[first:last] = of_step["places"][row, columns]

    def state(self) -> dict[str, np.ndarray]:
        """Values and places; NaN where not looked at."""
        return {"values": self._values, "places": self._places}

    def assume(self, state: Mapping[str, np.ndarray]) -> bool:
        """Goes on from those, where they are of as many pairs."""
        if state["values"].shape != self._values.shape:
            return False
        self._values, self._places = state["values"].copy(), state["places"].copy()
        return True

    def share(self) -> dict[str, np.ndarray]:
        """The same arrays."""
        return self.state()

    def merge(self, share: Mapping[str, np.ndarray]) -> None:
        """Adds those of other images."""
        looked = ~np.isnan(share["values"])
        self._values[looked], self._places[looked] = (
            share["values"][looked],
            share["places"][looked],
        )

    def clear(self) -> None:
        """Back to no image."""
        self._values = np.full(len(self.pairs.ids), np.nan, np.float32)
        self._places = np.zeros(len(self.pairs.ids), np.int32)


@dataclass(frozen=True)
class _Maxima:
    """What is compiled of it: every map's maximum on every image, and its place."""

    def of_piece(self, look: Look) -> Arrays:
        maxima, places = look.strongest
        return {"maxima": maxima, "places": places}

    def of_batch(self, pieces: Arrays, marks: Marks) -> Arrays:
        """The same."""
        return pieces
