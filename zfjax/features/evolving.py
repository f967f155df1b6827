"""evolve(): the strongest images of every epoch, projected to pixels, written as an Evolution.

The search reads each image once for all epochs and can be stopped and resumed. Then the units
chosen are projected from their receptive fields, each one's recorded activation reproduced on the
way. The table is written last.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from jaxtyping import Int64
from PIL import Image

from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet, drawing, table, units
from zfjax.features.asking import (
    Asked,
    AskedWords,
    Request,
    check_asked,
    command_line,
    record_of,
    request_of,
)
from zfjax.features.searching import search_on
from zfjax.features.spelling import spelled
from zfjax.features.statistics import Statistics, bin_edges
from zfjax.features.units import Chosen, Top
from zfjax.files import clear_unfinished, read_json, write_arrays, write_atomic, write_json
from zfjax.inputs import open_data, with_data_dir
from zfjax.processes import first_alone, from_first, is_first, together
from zfjax.progress import Progress
from zfjax.run.evolution import Evolution, open_evolution, write_histograms
from zfjax.run.folder import Run, check_folder, load_run, locked_run
from zfjax.subject import Subject, images_of, subject_of


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
    workdir: Path | str | Subject,
    *,
    out: Path | str | None = None,
    data_dir: str | None = None,
    name: str | None = None,
    locked: bool = False,
    progress: Progress | None = None,
    **asked: Unpack[AskedWords],
) -> Evolution:
    """Searches and projects the run's saved epochs; returns the finished Evolution (at once when it
    is there).

    ``asked``, each with a default (``asking.Asked``): ``at``, epochs as ``Run.steps_at`` takes them
    (None: all saved); ``layers``; ``maps``, maps drawn of each layer (16; None: all); ``top`` (9);
    ``split`` (None: the training split; paper, Fig. 4); ``images``, the first so many (None: all);
    ``rule`` ("deconvnet"); ``every_rank``, draw the ``top`` images of every epoch, else rank 0 of
    every epoch, and all at the last. Raises ZfjaxError for what the run, the data or the disk
    cannot give, and when a recorded activation is not reproduced. ``locked``: the caller holds the
    run's lock (training does, between epochs). In place of a run, a ``Subject`` of anyone's
    (``subject_from``): the evolution is written to ``out``/evolution.
    """
    if isinstance(workdir, Subject):
        if out is None:
            raise ZfjaxError("Say with out=FOLDER where the evolution of a subject is written.")
        folder = Path(out) / ("evolution" if name is None else f"evolution-{name}")
        request = request_of(workdir, Asked(**asked))
        _claim(Path(out), workdir)
        return evolve_subject(workdir, request, Target(folder, name, Path(out)), progress)
    run = load_run(workdir)
    subject, request = asked_of(run, Asked(**asked), data_dir, progress)
    target = Target(run.evolution_folder(name), name, None if locked else run.folder)
    return evolve_subject(subject, request, target, progress)


def _claim(out: Path, subject: Subject) -> None:
    """OUT/config.json, which says whose evolutions these are. Raises ZfjaxError for a run's
    folder.
    """
    path = check_folder(out) / "config.json"
    if path.exists() and read_json(path).get("kind") != "foreign":
        raise ZfjaxError(f"{out} is a run of zfjax; give another folder to write to.")
    if subject.foreign is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format_version": 1, "kind": "foreign", **subject.foreign})


def asked_of(
    run: Run, asked: Asked, data_dir: str | None = None, progress: Progress | None = None
) -> tuple[Subject, Request]:
    """A run on the split that is asked for, and what is asked, checked: the one door of an
    evolution and of its dry run. Raises ZfjaxError for what is not there.
    """
    config = with_data_dir(run.config, data_dir)
    dataset = open_data(config, _of_first(progress))
    subject = subject_of(run, images_of(config, dataset, asked.split or config.data.train_split))
    request = request_of(subject, asked)
    _check_trained_on(run, subject)
    return subject, request


def evolve_subject(
    subject: Subject, request: Request, target: Target, progress: Progress | None = None
) -> Evolution:
    """``evolve`` for anything that can be looked at."""
    images = subject.need("images", "A search")
    example = together(lambda: images.first_readable(request.images))
    asked, progress = record_of(subject, request), _of_first(progress)
    with ExitStack() as lock:
        there = np.int32(first_alone(lambda: _begun(target, asked, lock)) or 0)
        if from_first(there):
            return open_evolution(target.folder)
        clock = time.monotonic()
        subject = subject.holding(request.steps)
        statistics, earlier = search_on(subject, request, target.folder, asked, progress)
        searched = time.monotonic() - clock

        def finish() -> None:
            meta = _drawn(subject, request, statistics, target.folder, progress)
            _write_example(images.view(example), subject, target.folder)
            drawn = time.monotonic() - clock - searched
            seconds = {"search": round(earlier + searched, 1), "projection": round(drawn, 1)}
            command = command_line(request, target.name)
            meta.update(
                seconds=seconds,
                asked=asked,
                fingerprint=subject.fingerprint,
                name=target.name,
                command=command,
            )
            write_json(target.folder / "meta.json", meta)
            for passing in (target.folder / "search.npz", *target.folder.glob("search-*.part.npz")):
                passing.unlink(missing_ok=True)

        first_alone(finish)
    return open_evolution(target.folder)


def _of_first(progress: Progress | None) -> Progress:
    """What is told to the person who watches, by process 0 alone."""

    def silent(stage: str, done: int, total: int, **figures: float) -> None:
        pass

    return progress if progress is not None and is_first() else silent


def _check_trained_on(run: Run, subject: Subject) -> None:
    images, train_split = subject.need("images", "A search"), run.config.data.train_split
    known = images.split == train_split
    fingerprint = subject.fingerprint if known else images.dataset.fingerprint(train_split)
    if fingerprint["digest"] != run.fingerprint["digest"]:
        raise ZfjaxError(
            f"The {train_split} split of {images.dataset.name} is not the one this run was"
            " trained on; give its folder with --data.dir."
        )


def _begun(target: Target, asked: dict[str, Any], lock: ExitStack) -> bool:
    """Locks the run and begins the evolution or goes on with it; whether it is there already,
    finished.
    """
    folder = target.folder
    if target.lock is not None:
        lock.enter_context(locked_run(target.lock))
    for written in (folder.parent, folder, *folder.glob("tiles/**/")):
        clear_unfinished(written, locked=True)
    if (folder / "meta.json").exists():
        before = read_json(folder / "meta.json")
        check_asked(folder, before.get("asked"), asked)
        if before.get("complete"):
            return True
    write_json(folder / "meta.json", {"complete": False, "asked": asked})
    return False


def _drawn(
    subject: Subject, request: Request, statistics: Statistics, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Projects the drawn units, writes tiles, filters, histograms and the table; returns what
    meta.json says of them.
    """
    spans = units.layer_columns(subject.layers, request.layers)
    maps = units.draw_maps(subject.layers, request.layers, request.maps, request.seed)
    arrays = statistics.top_value, statistics.top_id, statistics.top_place
    top = {name: Top(*(array[..., span] for array in arrays)) for name, span in spans.items()}
    winners = {name: units.fixed_images(top[name], maps[name]) for name in request.layers}
    chosen = Chosen(top, maps, drawing.look_again(subject, request, winners))
    checked = drawing.draw(subject, request, chosen, folder, progress)
    _write_filters(subject, request, folder)
    write_histograms(
        folder,
        request.steps,
        {name: statistics.histogram[:, span] for name, span in spans.items()},
        bin_edges(),
    )
    labels = table.write_table(subject, request, statistics, chosen, folder)
    return {
        **_facts(subject, request),
        "maps": maps,
        "unreadable": request.images - statistics.images,
        **_summary(chosen, labels),
        "checked": {"units": checked.units, "drawn": checked.units, "worst": checked.worst},
    }


def _facts(subject: Subject, request: Request) -> dict[str, Any]:
    """What meta.json says before anything is looked at."""
    layers = {name: subject.layer(name) for name in request.layers}
    return {
        "complete": True,
        "format_version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": list(request.steps),
        "epochs": [subject.epoch(step) for step in request.steps],
        "layers": list(request.layers),
        "map_count": {name: layer.maps for name, layer in layers.items()},
        "top": request.top,
        "split": request.split,
        "train_split": subject.train_split,
        "images": request.images,
        "rule": request.rule,
        "precision": "highest",
        "every_rank": request.every_rank,
        "seed": request.seed,
        "input_size": list(subject.network.input_size),
        "windows": {
            name: None if layer.window is None else dict(layer.window.__dict__)
            for name, layer in layers.items()
        },
        "shapes": {name: list(layer.shape) for name, layer in layers.items()},
        "tile_size": {name: list(layer.tile_size) for name, layer in layers.items()},
        "method": {name: deconvnet.cheaper_method(layer) for name, layer in layers.items()},
    }


def _summary(chosen: Chosen, labels: Int64[np.ndarray, " ids"]) -> dict[str, Any]:
    """Dead maps and purity by layer and step."""
    return {
        "dead_share": {
            name: [units.dead_share(values) for values in top.value]
            for name, top in chosen.top.items()
        },
        "purity": {
            name: [
                units.purity(values, labels[ids])
                for values, ids in zip(top.value, top.id, strict=True)
            ]
            for name, top in chosen.top.items()
        },
    }


def _write_example(view: np.ndarray, subject: Subject, folder: Path) -> None:
    picture = Image.fromarray(np.ascontiguousarray(subject.preparation.crop(view)))
    write_atomic(folder / "example.jpg", lambda path: picture.save(path, "JPEG", quality=95))


def _write_filters(subject: Subject, request: Request, folder: Path) -> None:
    kernels = [
        np.asarray(subject.network.first_kernel(subject.parameters(step)), np.float32)
        for step in request.steps
    ]
    arrays = {"step": np.array(request.steps, np.int32), "kernel": np.stack(kernels)}
    write_arrays(folder / "filters.npz", arrays)
