"""The pass as it is run: saved now and then, gone on with after a stop, shared by processes."""

from __future__ import annotations

import time
from pathlib import Path

import jax
import numpy as np

from zfjax.devices import local_mesh
from zfjax.errors import ZfjaxError
from zfjax.features import strongest
from zfjax.features.asking import Request, differing, record_of
from zfjax.features.statistics import (
    SavedPass,
    Statistics,
    assign,
    empty_statistics,
    load_pass,
    merge,
    save_pass,
)
from zfjax.processes import barrier, first_alone, from_first, is_first
from zfjax.progress import Progress
from zfjax.subject import Subject

SAVE_SECONDS = 60.0
"""Between saves of the pass: what a kill may cost."""


def search_on(
    subject: Subject, request: Request, folder: Path, progress: Progress
) -> tuple[Statistics, float]:
    """The pass over the images, going on from search.npz where a stopped pass left one, and the
    seconds that earlier starts of it took up to there. Process 0 gets the whole result.
    """
    path, began = folder / "search.npz", time.monotonic()
    asked = first_alone(lambda: record_of(subject, request)) or {}
    stopped = load_pass(path)
    if stopped is None or differing(stopped.asked, asked):
        stopped = SavedPass(asked, _nothing(subject, request), 0)
    seen, earlier = int(from_first(np.int64(stopped.seen))), stopped.seconds
    # What was gathered before is process 0's alone, or it would be counted once for each process.
    state = stopped.statistics if is_first() else _nothing(subject, request)
    mesh = local_mesh()
    batch_size = strongest.search_batch(subject.network) * mesh.size
    last_saved = time.monotonic()

    def after_batch(statistics: Statistics, images: int) -> None:
        nonlocal seen, last_saved
        seen = min(request.images, seen + batch_size * jax.process_count())
        progress("searching", seen, request.images)
        late = from_first(np.int32(time.monotonic() - last_saved > SAVE_SECONDS))
        if late or seen == request.images:
            _gather(statistics, folder, seen)
            if is_first():
                seconds = earlier + time.monotonic() - began
                save_pass(path, SavedPass(asked, statistics, seen, seconds))
            last_saved = time.monotonic()

    batches = subject.need("images", "A search").batches(
        batch_size, start=seen, limit=request.images - seen, keep=True
    )
    statistics = strongest.search(
        subject, request, batches, lanes=strongest.Lanes(mesh), state=state, after_batch=after_batch
    )
    return statistics, earlier


def _nothing(subject: Subject, request: Request) -> Statistics:
    maps = sum(subject.layer(name).maps for name in request.layers)
    return empty_statistics(len(request.steps), maps, request.top)


def _gather(statistics: Statistics, folder: Path, seen: int) -> None:
    """Moves what every process has found into process 0's statistics, by way of the run's folder:
    in place. Each time under new names, since a network drive may show an old file for a while.
    """
    if jax.process_count() == 1:
        return

    def share(index: int) -> Path:
        return folder / f"search-{index}-{seen}.part.npz"

    if not is_first():
        save_pass(share(jax.process_index()), SavedPass({}, statistics, seen))
        steps, k, maps = statistics.top_value.shape
        assign(statistics, empty_statistics(steps, maps, k))
    barrier("parts of the search are written")
    if is_first():
        for index in range(1, jax.process_count()):
            other = load_pass(share(index))
            if other is None:
                raise ZfjaxError(
                    f"{share(index)} is not readable here: all processes must see the same"
                    f" {folder}."
                )
            assign(statistics, merge(statistics, other.statistics))
            share(index).unlink()
