"""The pass as it is run: saved now and then, gone on with after a stop, shared by processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zfjax.devices import local_mesh
from zfjax.errors import ZfjaxError
from zfjax.features import strongest
from zfjax.features.asking import Request, differing, record_of
from zfjax.features.passing import Lanes, Route, pass_over
from zfjax.features.riding import Company, Rider
from zfjax.features.statistics import SavedPass, Statistics, load_pass, save_pass
from zfjax.processes import barrier, first_alone, from_first, is_first
from zfjax.progress import Progress
from zfjax.subject import Subject

SAVE_SECONDS = 60.0
"""Between saves of the pass: what a kill may cost."""


@dataclass(frozen=True)
class Errand:
    """A pass that can be stopped and gone on with."""

    path: Path
    """Where it is saved meanwhile."""
    asked: dict[str, Any]
    """What it is about: one with another record begins anew."""
    total: int
    """Images to look at."""
    stage: str
    """Its name while it runs."""


def search_on(
    subject: Subject,
    request: Request,
    folder: Path,
    progress: Progress,
    company: Company = Company(),  # noqa: B008 (frozen)
) -> tuple[Statistics, float]:
    """The pass over the images, going on from search.npz where a stopped pass left one, and the
    seconds that earlier starts of it took up to there. Process 0 gets the whole result. ``company``
    looks at the same feature maps, and is saved with it.
    """
    # What is drawn of it does not matter to a search: it goes on whatever else is asked for.
    searched = replace(request, selections=(), rules=())
    asked = first_alone(lambda: record_of(subject, searched)) or {}
    errand = Errand(folder / "search.npz", asked, request.images, "searching")
    searching = strongest.Searching(strongest.nothing_found(subject, request), request.top)
    going = _Going(errand, (searching, *company.riders), progress)
    batches = subject.need("images", "A search").batches(
        going.batch_size(subject), start=going.seen, limit=request.images - going.seen, keep=True
    )

    route = strongest.route_of(request, company.probe)
    pass_over(
        subject, route, batches, going.riders, lanes=going.lanes, after_batch=going.after_batch
    )
    return searching.statistics, going.earlier


def ride_on(
    subject: Subject,
    route: Route,
    ids: Sequence[int],
    errand: Errand,
    riders: Sequence[Rider],
    progress: Progress,
) -> float:
    """The pass over these images without the search, going on where it was stopped; returns the
    seconds of its earlier starts.
    """
    going = _Going(errand, riders, progress)
    images = subject.need("images", "A pass over images")
    batches = images.batches_of(going.batch_size(subject), ids[going.seen :])
    pass_over(subject, route, batches, riders, lanes=going.lanes, after_batch=going.after_batch)
    return going.earlier


class _Going:
    """A pass under way: from where it goes on, and what is done after each batch."""

    def __init__(self, errand: Errand, riders: Sequence[Rider], progress: Progress) -> None:
        self.errand, self.riders, self.progress = errand, riders, progress
        self.began = self.last_saved = time.monotonic()
        self.lanes = Lanes(local_mesh())
        self._at_once = 0
        stopped = load_pass(errand.path)
        seen, self.earlier = 0, 0.0
        if stopped is not None and self._fits(stopped):
            states = _states(stopped)
            # What was gathered before is process 0's alone, or it would be counted once for each
            # process.
            if not is_first() or all([rider.assume(states[rider.name]) for rider in riders]):
                seen, self.earlier = stopped.seen, stopped.seconds
            else:
                for rider in riders:
                    rider.clear()
        self.seen = int(from_first(np.int64(seen)))

    def _fits(self, stopped: SavedPass) -> bool:
        """Whether this pass may go on from that one; says why it begins anew where it may not."""
        if differing(stopped.asked, self.errand.asked):
            return False
        missing = sorted({rider.name for rider in self.riders} - set(_states(stopped)))
        if missing and is_first():
            print(
                f"zfjax: the pass that was stopped was without {', '.join(missing)}: it begins"
                " anew.",
                file=sys.stderr,
            )
        return not missing

    def batch_size(self, subject: Subject) -> int:
        """Images at a time, on all devices of this process."""
        mesh = self.lanes.mesh
        self._at_once = strongest.search_batch(subject.network) * (mesh.size if mesh else 1)
        return self._at_once

    def after_batch(self, images: int) -> None:
        """Tells how far it is, and saves what there is now and then."""
        total = self.errand.total
        self.seen = min(total, self.seen + self._at_once * jax.process_count())
        self.progress(self.errand.stage, self.seen, total)
        late = from_first(np.int32(time.monotonic() - self.last_saved > SAVE_SECONDS))
        if late or self.seen == total:
            gather(self.riders, self.errand.path, self.seen)
            if is_first():
                seconds = self.earlier + time.monotonic() - self.began
                states = {rider.name: rider.state() for rider in self.riders}
                save_pass(self.errand.path, _saved(self.errand.asked, states, self.seen, seconds))
            self.last_saved = time.monotonic()


def _saved(
    asked: dict[str, Any], states: dict[str, dict[str, np.ndarray]], seen: int, seconds: float
) -> SavedPass:
    states = dict(states)
    state = states.pop(strongest.Searching.name, None)
    statistics = None if state is None else Statistics(**state)
    return SavedPass(asked, statistics, seen, seconds, states)


def _states(saved: SavedPass) -> dict[str, Any]:
    """By the riders' names, the search's among them."""
    states: dict[str, Any] = dict(saved.riders)
    if saved.statistics is not None:
        states[strongest.Searching.name] = saved.statistics.__dict__
    return states


def gather(riders: Sequence[Rider], path: Path, seen: int) -> None:
    """Moves what every process has kept into process 0's riders, by way of the folder of ``path``.
    Each time under new names, since a network drive may show an old file for a while.
    """
    if jax.process_count() == 1:
        return

    def share(index: int) -> Path:
        return path.with_name(f"{path.stem}-{index}-{seen}.part.npz")

    if not is_first():
        shares = {rider.name: rider.share() for rider in riders}
        save_pass(share(jax.process_index()), _saved({}, shares, seen, 0.0))
        for rider in riders:
            rider.clear()
    barrier("parts of the search are written")
    if is_first():
        for index in range(1, jax.process_count()):
            other = load_pass(share(index))
            if other is None:
                raise ZfjaxError(
                    f"{share(index)} is not readable here: all processes must see the same"
                    f" {path.parent}."
                )
            for rider in riders:
                rider.merge(_states(other)[rider.name])
            share(index).unlink()
