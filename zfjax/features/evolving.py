"""evolve(): the strongest images of every epoch, projected to pixels, written as an Evolution.

The search reads each image once for all epochs and can be stopped and resumed. Then the units
chosen are projected from their receptive fields, each one's recorded activation reproduced on the
way. The table is written last.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet, drawing, selecting, table, units
from zfjax.features.asking import Asked, AskedWords, Request, command_line, record_of, request_of
from zfjax.features.growing import (
    EARLIER,
    as_it_stands,
    earlier_pass,
    grows_words,
    joined,
    keep_earlier,
    standing_of,
)
from zfjax.features.owners import claimed
from zfjax.features.ranking import ranking_files, search_coarsely
from zfjax.features.riding import Company
from zfjax.features.searching import search_on
from zfjax.features.statistics import Statistics, bin_edges
from zfjax.features.strongest import nothing_found
from zfjax.features.units import Chosen
from zfjax.files import clear_unfinished, local_path, write_arrays, write_atomic
from zfjax.inputs import open_data, with_data_dir
from zfjax.network.precision import HIGHEST
from zfjax.processes import as_first, first_alone, from_first, of_first, together
from zfjax.progress import Progress
from zfjax.run.evolution import Evolution, open_evolution, write_histograms
from zfjax.run.evolution_record import EvolutionRecord, write_begun, write_record
from zfjax.run.folder import Run, evolution_folder, load_run, locked_run
from zfjax.spelling import spelled
from zfjax.subject import Subject, images_of, subject_of
from zfjax.values import Place, Text, Truth, path_of, truth


@dataclass(frozen=True)
class Target:
    """Where an evolution is written."""

    folder: Path
    name: str | None = None
    """As in RUN/evolution-NAME; None for RUN/evolution."""
    lock: Path | None = None
    """The run's folder, to be locked; None: the caller holds its lock."""


@spelled(Asked)
def evolve(
    workdir: Place | Run | Subject,
    *,
    out: Place | None = None,
    data_dir: Place | None = None,
    name: Text | None = None,
    locked: Truth = False,
    progress: Progress | None = None,
    **asked: Unpack[AskedWords],
) -> Evolution:
    """Searches and projects the run's saved epochs; returns the finished Evolution (at once when it
    is there). A finished one that is asked for more epochs, selections or rules, and for nothing
    else, takes them: the epochs alone are searched, and all pictures are drawn again.

    ``asked``, each with a default (``asking.Asked``): ``at``, epochs as ``Run.steps_at`` takes them
    (None: all saved); ``layers``; ``maps``, maps drawn of each layer ("few": 16, or all of a layer
    with fewer; None: all); ``top`` (9); ``split`` (None: the training split; paper, Fig. 4);
    ``images``, the first so many (None: all); ``rule`` ("deconvnet"), or several, the first the
    main one; ``every_rank``, draw the ``top`` images of every epoch, else rank 0 of every epoch,
    and all at the last; ``selections``, "low" and "quantile:q", drawn beside "top". Raises
    ZfjaxError for what the run, the data or the disk cannot give, and when a recorded activation is
    not reproduced. ``locked``: the caller holds the run's lock (training does, between epochs). In
    place of a run, a ``Subject`` of anyone's (``subject_from``): the evolution is written to
    ``out``/evolution.
    """
    if isinstance(workdir, Subject):
        target = target_of_subject(out, data_dir, name)
        request = request_of(workdir, Asked(**asked))
        return evolve_claimed(workdir, request, target, progress)
    run = load_run(workdir)
    target = target_of_run(run, out, name, locked)
    subject, request = asked_of(run, Asked(**asked), data_dir, progress)
    return evolve_subject(subject, request, target, progress)


def target_of_subject(out: Place | None, data_dir: Place | None, name: Text | None) -> Target:
    """Where the evolution of a subject is written. Raises ZfjaxError for words that do not go with
    one.
    """
    if out is None:
        raise ZfjaxError("Say with out=FOLDER where the evolution of a subject is written.")
    if data_dir is not None:
        raise ZfjaxError("A subject has its images already; data_dir goes with a run.")
    whole = local_path(path_of(out, "out"))
    return Target(evolution_folder(whole, name), name, whole)


def target_of_run(run: Run, out: Place | None, name: Text | None, locked: Truth) -> Target:
    """Where the evolution of a run is written. Raises ZfjaxError for words that do not go with
    one.
    """
    if out is not None:
        raise ZfjaxError("A run's evolution is written to its own folder; out goes with a subject.")
    lock = None if truth(locked, "locked") else run.folder
    return Target(run.evolution_folder(name), name, lock)


def evolve_claimed(
    subject: Subject,
    request: Request,
    target: Target,
    progress: Progress | None = None,
    board: Callable[[Path], Company] | None = None,
) -> Evolution:
    """``evolve_subject`` in a folder that says from then on whose it is."""
    assert target.lock is not None
    with claimed(target.lock, subject):
        return evolve_subject(subject, request, target, progress, board)


def asked_of(
    run: Run, asked: Asked, data_dir: Place | None = None, progress: Progress | None = None
) -> tuple[Subject, Request]:
    """A run on the split that is asked for, and what is asked, checked: the one door of an
    evolution and of its dry run. Raises ZfjaxError for what is not there.
    """
    config = with_data_dir(run.config, data_dir)
    dataset = open_data(config, of_first(progress))
    subject = subject_of(run, images_of(config, dataset, asked.split or config.data.train_split))
    request = request_of(subject, asked)
    check_trained_on(run, subject)
    return subject, request


def evolve_subject(
    subject: Subject,
    request: Request,
    target: Target,
    progress: Progress | None = None,
    board: Callable[[Path], Company] | None = None,
) -> Evolution:
    """``evolve`` for anything that can be looked at. ``board(folder)``: who rides along on its
    search, if there is one; ``folder`` is theirs as well until the evolution is finished.
    """
    images = subject.need("images", "A search")
    example = together(lambda: images.first_readable(request.images))
    # Of process 0 alone, which writes: others may see late what is new in the run's folder.
    request = first_alone(lambda: as_it_stands(target.folder, request)) or request
    asked = first_alone(lambda: record_of(subject, request)) or {}
    progress = of_first(progress)
    with ExitStack() as lock:
        there = np.int32(first_alone(lambda: _begun(subject, request, target, lock)) or 0)
        if from_first(there):
            return open_evolution(target.folder)
        clock = time.monotonic()
        subject = subject.holding(request.steps)
        company = Company() if board is None else board(target.folder)
        earlier = first_alone(
            lambda: None if company.riders else earlier_pass(target.folder, asked)
        )
        known = as_first(earlier.asked["steps"] if earlier is not None else ())
        to_search = dataclasses.replace(
            request, steps=tuple(step for step in request.steps if step not in known)
        )
        statistics, before, ranked = _searched(subject, to_search, target.folder, progress, company)
        searched = before + time.monotonic() - clock
        if company.landed is not None:
            company.landed()
        if earlier is not None and earlier.statistics is not None:
            statistics = joined(earlier.statistics, known, statistics, request.steps)
            searched += earlier.seconds
            ranked = {**json.loads(str(earlier.riders["ranked"]["json"])), **ranked}
        clock = time.monotonic()

        def finish() -> None:
            drawn = _drawn(subject, request, statistics, target.folder, progress)
            _write_example(images.view(example), subject, target.folder)
            projected = time.monotonic() - clock
            seconds = {"search": round(searched, 1), "projection": round(projected, 1)}
            record = _record(subject, request, drawn, target.name)
            checked = {**record.checked, **({"ranked": ranked} if ranked else {})}
            record = dataclasses.replace(record, seconds=seconds, asked=asked, checked=checked)
            write_record(target.folder, record)
            shares = target.folder.glob("search-*.part.npz"), ranking_files(target.folder)
            for passing in (target.folder / "search.npz", target.folder / EARLIER, *chain(*shares)):
                passing.unlink(missing_ok=True)

        first_alone(finish)
    return open_evolution(target.folder)


def _searched(
    subject: Subject, request: Request, folder: Path, progress: Progress, company: Company
) -> tuple[Statistics, float, dict[str, Any]]:
    """``search_on``, or the coarser search; nothing where no step is to be searched."""
    if not request.steps:
        return nothing_found(subject, request), 0.0, {}
    if request.search_precision != HIGHEST:
        return search_coarsely(subject, request, folder, progress)
    return *search_on(subject, request, folder, progress, company), {}


def check_trained_on(run: Run, subject: Subject) -> None:
    """Raises ZfjaxError where the subject's data set is not the one the run was trained on."""
    images, train_split = subject.need("images", "A search"), run.config.data.train_split
    known = images.split == train_split
    fingerprint = subject.fingerprint if known else images.dataset.fingerprint(train_split)
    if fingerprint["digest"] != run.fingerprint["digest"]:
        raise ZfjaxError(
            f"The {train_split} split of {images.dataset.name} is not the one this run was"
            " trained on; give its folder with --data.dir."
        )


def _begun(subject: Subject, request: Request, target: Target, lock: ExitStack) -> bool:
    """Locks the run and begins the evolution or goes on with it; whether it is there already,
    finished. One that is finished and asked for more steps leaves what it knows.
    """
    folder, asked = target.folder, record_of(subject, request)
    if target.lock is not None:
        lock.enter_context(locked_run(target.lock))
    for written in (folder.parent, folder, *folder.glob("tiles*/**/")):
        clear_unfinished(written, locked=True)
    standing = standing_of(folder, asked)
    if standing.finished:
        return True
    if standing.grows and standing.was_finished:
        print(grows_words(folder, request, standing), file=sys.stderr)
    if standing.grows and standing.complete:
        keep_earlier(folder, subject, request)
    write_begun(folder, asked)
    return False


@dataclass(frozen=True)
class _Drawn:
    """What was chosen of a search's results, and drawn."""

    chosen: Chosen
    labels: Int64[np.ndarray, " ids"]
    """By image id."""
    checked: drawing.Checked
    images: int
    """That could be read."""


def _drawn(
    subject: Subject, request: Request, statistics: Statistics, folder: Path, progress: Progress
) -> _Drawn:
    """Projects the drawn units, and writes tiles, filters, histograms and the table."""
    spans = units.layer_columns(subject.layers, request.layers)
    maps = units.draw_maps(subject.layers, request.layers, request.maps, request.seed)
    top = units.strongest_of(statistics, spans)
    winners = {name: units.fixed_images(top[name], maps[name]) for name in request.layers}
    others = selecting.selected_units(subject, request, statistics, maps)
    fixed = drawing.fixed_units(subject, request, winners, units.placed_of(statistics, spans))
    chosen = Chosen(top, maps, fixed, others)
    checked = drawing.draw(subject, request, chosen, folder, progress)
    _write_filters(subject, request, folder)
    write_histograms(
        folder,
        request.steps,
        {name: statistics.histogram[:, span] for name, span in spans.items()},
        bin_edges(),
    )
    labels = table.write_table(subject, request, statistics, chosen, folder)
    return _Drawn(chosen, labels, checked, int(statistics.images))


def _record(subject: Subject, request: Request, drawn: _Drawn, name: str | None) -> EvolutionRecord:
    """What meta.json says of an evolution, but for what was asked and how long it took."""
    layers = {layer: subject.layer(layer) for layer in request.layers}
    top, checked = drawn.chosen.top, drawn.checked
    return EvolutionRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        steps=request.steps,
        epochs=tuple(subject.epoch(step) for step in request.steps),
        layers=request.layers,
        map_count={name: layer.maps for name, layer in layers.items()},
        top=request.top,
        split=request.split,
        train_split=subject.train_split,
        images=request.images,
        rule=request.rule,
        precision="highest",
        every_rank=request.every_rank,
        seed=request.seed,
        input_size=subject.network.input_size,
        windows={name: layer.window for name, layer in layers.items()},
        shapes={name: layer.shape for name, layer in layers.items()},
        tile_size={name: layer.tile_size for name, layer in layers.items()},
        method={name: deconvnet.cheaper_method(layer) for name, layer in layers.items()},
        maps={name: tuple(maps) for name, maps in drawn.chosen.maps.items()},
        unreadable=request.images - drawn.images,
        dead_share={
            name: tuple(units.dead_share(values) for values in strongest.value)
            for name, strongest in top.items()
        },
        purity={
            name: tuple(
                units.purity(values, drawn.labels[np.where(values > 0, ids, -1)])
                for values, ids in zip(strongest.value, strongest.id, strict=True)
            )
            for name, strongest in top.items()
        },
        checked={"units": checked.units, "drawn": checked.units, "worst": checked.worst},
        seconds={},
        fingerprint=subject.fingerprint,
        name=name,
        command=command_line(request, name),
    )


def _write_example(view: UInt8[np.ndarray, "h w c"], subject: Subject, folder: Path) -> None:
    picture = Image.fromarray(np.ascontiguousarray(subject.preparation.crop(view)))
    write_atomic(folder / "example.jpg", lambda path: picture.save(path, "JPEG", quality=95))


def _write_filters(subject: Subject, request: Request, folder: Path) -> None:
    kernels = [
        np.asarray(subject.network.first_kernel(subject.parameters(step)), np.float32)
        for step in request.steps
    ]
    arrays = {"step": np.array(request.steps, np.int32), "kernel": np.stack(kernels)}
    write_arrays(folder / "filters.npz", arrays)
