"""A finished evolution that is asked for more steps, selections or rules: new steps alone are
searched.

The table holds all that the rest of an evolution asks of a pass: what is strongest, weakest and
sampled of every map, with its image and place; the histograms hold the counts. So the statistics of
the steps that are there are read back from them, beside those of the new ones, and the table, the
jumps from step to step among it, and every picture are made of both as if all had been asked for at
once. Maxima of 0 are not in the table, and nothing asks for them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from zfjax.errors import ZfjaxError
from zfjax.features.asking import Request, check_asked, differing, widened
from zfjax.features.selections import ADDABLE, grows, is_in_table
from zfjax.features.statistics import (
    SavedPass,
    Statistics,
    bin_of,
    empty_statistics,
    load_pass,
    priorities_of,
    save_pass,
    statistics_arrays,
)
from zfjax.features.units import layer_columns
from zfjax.run.evolution import Evolution, open_evolution
from zfjax.run.evolution_record import begun_evolution
from zfjax.subject import Subject

EARLIER = "earlier.npz"
"""In an evolution's folder while it grows: what the finished one's steps gave."""


@dataclass(frozen=True)
class Standing:
    """How far a folder is with what is asked."""

    finished: bool = False
    grows: bool = False
    """Whether it holds the same request of fewer steps, selections or rules, finished or not."""
    complete: bool = False
    """Whether what it holds is finished, and its table has all that is asked of its steps: then
    those need no search.
    """
    was_finished: bool = False
    """Whether what it holds is finished."""


def standing_of(folder: Path, asked: Mapping[str, Any]) -> Standing:
    """What ``folder`` holds of ``asked``, a record of ``asking.record_of``. Raises ZfjaxError where
    it holds what another request has asked for.
    """
    begun = begun_evolution(folder)
    if begun is None:
        return Standing()
    if _asks_more(begun.asked, asked):
        complete = begun.finished and is_in_table(begun.asked, asked)
        return Standing(grows=True, complete=complete, was_finished=begun.finished)
    check_asked(folder, begun.asked, asked, begun.finished)
    return Standing(finished=begun.finished)


def as_it_stands(folder: Path, request: Request) -> Request:
    """``request`` with the selections and rules that ``folder`` holds: nothing takes them away."""
    begun = begun_evolution(folder)
    return request if begun is None else widened(request, begun.asked)


def _asks_more(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether ``now`` is ``before`` with something added."""
    return grows(before, now, differing(before, now))


def grows_words(folder: Path, request: Request, standing: Standing) -> str:
    """What becomes of a finished evolution that takes more."""
    begun = begun_evolution(folder)
    before = {} if begun is None else begun.asked
    steps = len(before.get("steps", ()))
    more = len(request.steps) - steps
    added = [
        name
        for field in ADDABLE
        for name in getattr(request, field)
        if name not in before.get(field, ())
    ]
    taken = [f"{more} more saved epochs beside its {steps}"] if more else []
    taken += [", ".join(added)] if added else []
    searched = "they alone are searched" if more else "nothing is searched again"
    if not standing.complete:
        searched = "its table lacks a quantile among them, and all is searched again"
    follow = ", which follow the strongest images of the last epoch," if more else ""
    return (
        f"{folder.name} takes {' and '.join(taken)}: {searched}; the pictures{follow} are drawn"
        " again."
    )


def keep_earlier(folder: Path, subject: Subject, request: Request) -> None:
    """Saves what the finished evolution in ``folder`` knows of its steps, before it is begun anew.
    One that is damaged, or older than the histograms, is left to be searched again.
    """
    try:
        evolution = open_evolution(folder)
        before = dataclasses.replace(request, steps=evolution.steps)
        statistics = statistics_of(evolution, subject, before)
    except ZfjaxError:
        return
    record = evolution.record
    seconds = float(record.seconds.get("search", 0.0))
    ranked = {"ranked": {"json": np.array(json.dumps(record.ranked), np.str_)}}
    saved = SavedPass(dict(record.asked), statistics, request.images, seconds, ranked)
    save_pass(folder / EARLIER, saved)


def earlier_pass(folder: Path, asked: Mapping[str, Any]) -> SavedPass | None:
    """What ``keep_earlier`` has saved, where it is of these images and of some of these steps, or
    all.
    """
    saved = load_pass(folder / EARLIER)
    usable = (
        saved is not None and _asks_more(saved.asked, asked) and is_in_table(saved.asked, asked)
    )
    return saved if usable else None


def statistics_of(evolution: Evolution, subject: Subject, request: Request) -> Statistics:
    """The statistics of a finished evolution's steps, as far as anything asks for them. Raises
    ZfjaxError where its table or its histograms are not there.
    """
    spans = layer_columns(subject.layers, request.layers)
    maps = sum(subject.layer(name).maps for name in request.layers)
    statistics = empty_statistics(len(request.steps), maps, request.top)
    for name, span in spans.items():
        statistics.histogram[:, span] = evolution.histogram(name)
        rows = _Rows(evolution, name, request.steps, span.start)
        width = subject.layer(name).shape[1]
        where, values, ids, places = rows.selected("top", width)
        statistics.top_value[where], statistics.top_id[where] = values, ids
        statistics.top_place[where] = places
        (steps, _, columns), values, ids, places = rows.selected("fixed", width)
        statistics.fixed_id[steps, columns], statistics.fixed_value[steps, columns] = ids, values
        statistics.fixed_place[steps, columns] = places
        where, values, ids, _ = rows.selected("low", width)
        statistics.low_value[where], statistics.low_id[where] = values, ids
        for selection in rows.quantiles():
            (steps, _, columns), values, ids, _ = rows.selected(selection, width)
            slots = steps, columns, bin_of(values), np.zeros_like(steps)
            priorities = priorities_of(ids.astype(np.uint32), request.seed)
            statistics.sample_priority[slots] = priorities
            statistics.sample_value[slots] = values
    return statistics


_Where = tuple[np.ndarray, np.ndarray, np.ndarray]


class _Rows:
    """A layer's rows of the table, as indices into statistics."""

    def __init__(self, evolution: Evolution, layer: str, steps: Sequence[int], start: int) -> None:
        units = evolution.units
        self._table = units.filter(pc.equal(units["layer"], layer))
        self._steps, self._start = np.array(steps), start

    def quantiles(self) -> Iterable[str]:
        """The selections of sampled images."""
        names = self._table["selection"].unique().to_pylist()
        return [name for name in names if name.startswith("quantile:")]

    def selected(
        self, selection: str, width: int
    ) -> tuple[_Where, np.ndarray, np.ndarray, np.ndarray]:
        """((step index, rank, column) of each row, activations, image ids, places); a place is 0
        where a row has none. ``width``: of the layer's maps.
        """
        table = self._table.filter(pc.equal(self._table["selection"], selection))

        def column(name: str) -> np.ndarray:
            return pc.fill_null(table[name], 0).to_numpy()

        steps = np.searchsorted(self._steps, column("step"))
        where = steps, column("rank"), self._start + column("map")
        places = column("y") * width + column("x")
        return where, column("activation"), column("image_id"), places


def joined(
    earlier: Statistics, earlier_steps: Sequence[int], new: Statistics, steps: Sequence[int]
) -> Statistics:
    """The statistics of ``steps``: the earlier ones', and those of all others, in order, from
    ``new``.
    """
    known = np.isin(np.array(steps), np.array(earlier_steps))
    arrays = {}
    for name, values in statistics_arrays(new).items():
        both = np.empty((len(steps), *values.shape[1:]), values.dtype)
        both[known], both[~known] = getattr(earlier, name), values
        arrays[name] = both
    return Statistics(**arrays)
