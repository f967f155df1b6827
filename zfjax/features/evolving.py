"""evolve(): the strongest images of every epoch, projected to pixels, written as an Evolution.
project(): one image.

The search reads each image once for all epochs and can be stopped and resumed. Then the units
chosen are projected from their receptive fields, each one's recorded activation reproduced on the
way. The table is written last."""

from __future__ import annotations

import functools
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from zfjax.config import Config
from zfjax.data.images import MAX_PIXELS, view_of_file
from zfjax.data.pipeline import Dataset, evaluation_batches
from zfjax.devices import local_mesh
from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet, drawing, strongest, units
from zfjax.features.strongest import Statistics
from zfjax.features.table import Request, write_table
from zfjax.files import clear_unfinished, read_json, write_atomic, write_json
from zfjax.inputs import central_crop, load_mean_image, open_data, preparer
from zfjax.network import ops
from zfjax.network.architecture import Architecture
from zfjax.network.model import Parameters
from zfjax.processes import as_first, barrier, first_alone, from_first, is_first, together
from zfjax.progress import Progress
from zfjax.run import checkpoint
from zfjax.run.evolution import Evolution, Tile, open_evolution, write_tiles
from zfjax.run.folder import Run, load_run, locked_run

TOLERANCE = 1e-5
"""Relative difference allowed between a recorded activation and its reproduction."""
_SAVE_SECONDS = 60.0


def evolve(
    workdir: Path | str,
    *,
    at: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    maps: int | None = 16,
    top: int = 9,
    data_dir: str | None = None,
    split: str | None = None,
    images: int | None = None,
    rule: str = "deconvnet",
    every_rank: bool = False,
    name: str | None = None,
    locked: bool = False,
    progress: Progress | None = None,
) -> Evolution:
    """Searches and projects the run's saved epochs; returns the finished Evolution (at once when it
    is there).

    ``at``: epochs as ``Run.steps_at`` takes them (None: all saved). ``maps``: maps drawn of each
    layer (None: all). ``split``: None is the training split (paper, Fig. 4). ``images``: the first
    so many (None: all). ``every_rank``: draw the ``top`` images of every epoch; else rank 0 of
    every epoch, and all at the last. Raises ZfjaxError for what the run, the data or the disk
    cannot give, and when a recorded activation is not reproduced. ``locked``: the caller holds the
    run's lock (training does, between epochs)."""
    progress = (
        progress if progress is not None and is_first() else lambda *arguments, **figures: None
    )
    run = load_run(workdir)
    config = _with_data_dir(run.config, data_dir)
    dataset = open_data(config, progress)
    request = _request(run, dataset, at, layers, maps, top, split, images, rule, every_rank)
    fingerprint = _checked_fingerprint(run, dataset, request.split)
    example = together(
        lambda: drawing.first_readable(dataset, request.split, request.images, config)
    )
    folder = run.evolution_folder(name)
    asked = {**request.__dict__, "fingerprint": fingerprint}
    with ExitStack() as held:
        finished = np.int32(
            first_alone(lambda: _begun(run, folder, asked, None if locked else held)) or 0
        )
        if from_first(finished):
            return open_evolution(folder)
        clock = time.monotonic()
        parameters = [
            checkpoint.load(run.checkpoints / str(step), config.model.conv_names)
            for step in request.steps
        ]
        prepare = preparer(config, load_mean_image(run))
        statistics, earlier = _search(
            config, dataset, request, parameters, prepare, folder, asked, progress
        )
        searched = time.monotonic() - clock

        def finish() -> None:
            meta = _draw(
                run, config, dataset, request, parameters, prepare, statistics, folder, progress
            )
            _write_example(dataset, request.split, config, example, folder)
            drawn = time.monotonic() - clock - searched
            meta["seconds"] = {
                "search": round(earlier + searched, 1),
                "projection": round(drawn, 1),
            }
            meta.update(
                asked=asked, fingerprint=fingerprint, name=name, command=_command(request, name)
            )
            write_json(folder / "meta.json", meta)
            for passing in (folder / "search.npz", *folder.glob("search-*.part.npz")):
                passing.unlink(missing_ok=True)

        first_alone(finish)
    return open_evolution(folder)


def _begun(run: Run, folder: Path, asked: dict[str, Any], held: ExitStack | None) -> bool:
    """Locks the run and begins the evolution or goes on with it; whether it is there already,
    finished."""
    if held is not None:
        held.enter_context(locked_run(run.folder))
    for place in (run.folder, folder, *folder.glob("tiles/*")):
        clear_unfinished(place, locked=True)
    if (folder / "meta.json").exists():
        _check_asked(folder, read_json(folder / "meta.json").get("asked"), asked)
        if read_json(folder / "meta.json").get("complete"):
            return True
    write_json(folder / "meta.json", {"complete": False, "asked": asked})
    return False


def _with_data_dir(config: Config, data_dir: str | None) -> Config:
    return config if data_dir is None else replace(config, data=replace(config.data, dir=data_dir))


def _request(
    run: Run, dataset: Dataset, at, layers, maps, top, split, images, rule, every_rank
) -> Request:
    architecture = run.config.model
    ops.rule_named(rule)
    layers = tuple(layers) if layers else architecture.conv_names
    for layer in layers:
        available = architecture.conv(layer).maps
        if maps is not None and not 1 <= maps <= available:
            raise ZfjaxError(
                f"--maps {maps}: {layer} has {available} maps; ask for 1 to {available}, or 'all'."
            )
    layers = tuple(layer for layer in architecture.conv_names if layer in layers)
    if top < 1:
        raise ZfjaxError(f"--top {top} must be 1 or more.")
    split = split or run.config.data.train_split
    count = dataset.count(split)
    if images is not None and images < 1:
        raise ZfjaxError(f"--images {images} must be 1 or more.")
    images = count if images is None else min(images, count)
    if not images:
        raise ZfjaxError(f"Split {split!r} of {dataset.name} is empty.")
    steps = as_first(
        first_alone(lambda: run.steps_at(at))
    )  # others may see what is new in the folder late
    return Request(steps, layers, maps, top, split, images, rule, every_rank)


def _checked_fingerprint(run: Run, dataset: Dataset, split: str) -> dict[str, Any]:
    if dataset.fingerprint(run.config.data.train_split)["digest"] != run.fingerprint["digest"]:
        raise ZfjaxError(
            f"The {run.config.data.train_split} split of {dataset.name} is not the one this run was"
            " trained on; give its folder with --data.dir."
        )
    return dataset.fingerprint(split)


def _check_asked(folder: Path, before: dict[str, Any] | None, asked: dict[str, Any]) -> None:
    now = json.loads(json.dumps(asked))
    if before != now:
        differing = ", ".join(key for key in now if (before or {}).get(key) != now[key])
        raise ZfjaxError(
            f"{folder} holds an evolution with other settings ({differing}); give this one a name"
            " with --name, or delete that folder."
        )


def _search(
    config: Config,
    dataset: Dataset,
    request: Request,
    parameters: list[Parameters],
    prepare: Callable,
    folder: Path,
    asked: dict[str, Any],
    progress: Progress,
) -> tuple[Statistics, float]:
    """The pass over the images, going on from search.npz where a stopped pass left one, and the
    seconds that earlier starts of it took up to there. Process 0 gets the whole result."""
    path, began = folder / "search.npz", time.monotonic()
    key = json.dumps(asked, sort_keys=True)
    state, seen, earlier = _stopped_pass(path, key)
    state, seen = state if is_first() else None, int(from_first(np.int64(seen)))
    mesh = local_mesh()
    batch_size = strongest.search_batch(config.model) * mesh.size
    last_saved = time.monotonic()

    def after_batch(statistics: Statistics, images: int) -> None:
        nonlocal seen, last_saved
        seen = min(request.images, seen + batch_size * jax.process_count())
        progress("searching", seen, request.images)
        if (
            from_first(np.int32(time.monotonic() - last_saved > _SAVE_SECONDS))
            or seen == request.images
        ):
            _gather(statistics, folder, seen)
            if is_first():
                _save_pass(path, key, statistics, seen, earlier + time.monotonic() - began)
            last_saved = time.monotonic()

    batches = evaluation_batches(
        dataset,
        request.split,
        batch_size=batch_size,
        start=seen,
        limit=request.images - seen,
        view_size=(config.data.view, config.data.view),
        threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        on_error=config.data.on_error,
    )
    statistics = strongest.search(
        config.model,
        parameters,
        batches,
        layers=request.layers,
        k=request.top,
        prepare=prepare,
        seed=request.seed,
        state=state,
        step_names=[str(step) for step in request.steps],
        mesh=mesh,
        after_batch=after_batch,
    )
    return statistics, earlier


def _gather(statistics: Statistics, folder: Path, seen: int) -> None:
    """Moves what every process has found into process 0's statistics, by way of the run's folder:
    in place. Each time under new names, since a network drive may show an old file for a while."""
    if jax.process_count() == 1:
        return
    part = lambda index: folder / f"search-{index}-{seen}.part.npz"
    empty = strongest.empty_statistics(
        *statistics.top_value.shape[0::2], statistics.top_value.shape[1]
    )
    if not is_first():
        _save_pass(part(jax.process_index()), "part", statistics, 0)
        strongest.assign(statistics, empty)
    barrier("parts of the search are written")
    if is_first():
        for index in range(1, jax.process_count()):
            other, *_ = _stopped_pass(part(index), "part")
            if other is None:
                raise ZfjaxError(
                    f"{part(index)} is not readable here: all processes must see the same {folder}."
                )
            strongest.assign(statistics, strongest.merge(statistics, other))
            part(index).unlink()


def _stopped_pass(path: Path, key: str) -> tuple[Statistics | None, int, float]:
    """(statistics, images seen, seconds that it took) of a pass that was asked for as ``key``."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None, 0, 0.0
            state = Statistics(**{name: stored[name] for name in Statistics.__dataclass_fields__})
            return (
                state,
                int(stored["seen"]),
                float(stored["seconds"]) if "seconds" in stored else 0.0,
            )
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
    ):  # absent or damaged: the pass begins anew
        return None, 0, 0.0


def _save_pass(
    path: Path, key: str, statistics: Statistics, seen: int, seconds: float = 0.0
) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "wb") as handle:
            np.savez(
                handle,
                key=np.str_(key),
                seen=seen,
                seconds=seconds,
                **strongest.statistics_arrays(statistics),
            )

    write_atomic(path, write)


def _draw(
    run: Run,
    config: Config,
    dataset: Dataset,
    request: Request,
    parameters: list[Parameters],
    prepare: Callable,
    statistics: Statistics,
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Projects the drawn units, writes tiles, filters, the example and the table; returns what
    meta.json says."""
    architecture = config.model
    drawn = units.draw_maps(architecture, request.layers, request.maps, request.seed)
    places = units.layer_columns(architecture, request.layers)
    crop_of = drawing.cached_crops(dataset, request.split, config)
    tops = (statistics.top_value, statistics.top_id, statistics.top_place)
    fixed = {
        layer: units.fixed_images(
            tops[0][..., places[layer]], tops[1][..., places[layer]], drawn[layer]
        )
        for layer in request.layers
    }
    draw = functools.partial(
        drawing.project_units,
        architecture,
        rule=ops.rule_named(request.rule),
        config=config,
        mean_image=load_mean_image(run),
        crop_of=crop_of,
    )
    located: dict[tuple[int, str, str, int, int], tuple[float, int, int]] = {}
    checked, worst, total, done = 0, 0.0, len(request.steps) * len(request.layers), 0
    for index, step in enumerate(request.steps):
        again = drawing.look_again(
            architecture,
            parameters[index],
            request.layers,
            fixed,
            prepare,
            dataset,
            request.split,
            config,
        )
        for layer in request.layers:
            chosen = units.units_to_draw(
                *(part[..., places[layer]] for part in tops),
                drawn[layer],
                index,
                architecture.fact(layer).shape[1],
                request.every_rank,
            )
            tiles = []
            for found, tile, value in draw(parameters[index], layer, chosen + again[layer]):
                error = abs(value - found.activation) / found.activation
                checked, worst = checked + 1, max(worst, error)
                if not error <= TOLERANCE:
                    raise ZfjaxError(
                        f"Map {found.map} of {layer} at step {step}: the search recorded"
                        f" {found.activation:.8g} on image {found.image_id}, projection gives"
                        f" {value:.8g}; the data or the checkpoint changed since. Delete"
                        f" {folder.name} and evolve again."
                    )
                located[index, layer, found.selection, found.map, found.rank] = (
                    found.activation,
                    found.y,
                    found.x,
                )
                tiles.append(tile)
            write_tiles(folder / "tiles" / layer / f"{step}.npz", tiles)
            done += 1
            progress("projecting", done, total)
    _write_filters(folder, request, parameters, architecture)
    labels = write_table(run, dataset, request, statistics, located, folder)
    return {
        "complete": True,
        "format_version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "steps": list(request.steps),
        "epochs": [run.epoch(step) for step in request.steps],
        "layers": list(request.layers),
        "maps": drawn,
        "map_count": {layer: architecture.conv(layer).maps for layer in request.layers},
        "top": request.top,
        "split": request.split,
        "train_split": config.data.train_split,
        "images": request.images,
        "unreadable": request.images - statistics.images,
        "rule": request.rule,
        "precision": "highest",
        "every_rank": request.every_rank,
        "seed": request.seed,
        "input_size": list(architecture.input_size),
        "windows": {layer: architecture.window(layer).__dict__ for layer in request.layers},
        "shapes": {layer: list(architecture.fact(layer).shape) for layer in request.layers},
        "tile_size": {layer: list(architecture.tile_size(layer)) for layer in request.layers},
        "method": {
            layer: deconvnet.cheaper_method(architecture, layer) for layer in request.layers
        },
        "dead_share": {
            layer: [units.dead_share(one[:, places[layer]]) for one in statistics.top_value]
            for layer in request.layers
        },
        "purity": {
            layer: [
                units.purity(values[:, places[layer]], labels[ids[:, places[layer]]])
                for values, ids in zip(statistics.top_value, statistics.top_id, strict=True)
            ]
            for layer in request.layers
        },
        "checked": {"units": checked, "drawn": len(located), "worst": worst},
    }


def _write_example(
    dataset: Dataset, split: str, config: Config, image_id: int, folder: Path
) -> None:
    picture = Image.fromarray(drawing.cached_crops(dataset, split, config)(image_id))
    write_atomic(folder / "example.jpg", lambda path: picture.save(path, "JPEG", quality=95))


def _write_filters(
    folder: Path, request: Request, parameters: list[Parameters], architecture: Architecture
) -> None:
    first = architecture.conv_names[0]
    kernels = np.stack([np.asarray(one[first]["kernel"], np.float32) for one in parameters])

    def write(path: Path) -> None:
        with open(path, "wb") as handle:
            np.savez(handle, step=np.array(request.steps, np.int32), kernel=kernels)

    write_atomic(folder / "filters.npz", write)


def _command(request: Request, name: str | None) -> str:
    """The command that asks for this again, with RUN for the folder."""
    at = " ".join(f"step:{step}" for step in request.steps)
    maps = "all" if request.maps is None else request.maps
    named = (" --every-rank" if request.every_rank else "") + (f" --name {name}" if name else "")
    return (
        f"zfjax evolve --workdir RUN --at {at} --layers {' '.join(request.layers)} --maps {maps}"
        f" --top {request.top} --split {request.split} --images {request.images} --rule"
        f" {request.rule}{named}"
    )


def _view_of(
    image: Path | str | int, config: Config, split: str | None, max_pixels: int
) -> np.ndarray:
    """The evaluation view of a file, or of an image of the data set: uint8 [view, view, 3]."""
    size = (config.data.view, config.data.view)
    if isinstance(image, int):
        return (
            open_data(config)
            .read(split or config.data.train_split, [image], size, with_parts=False)[0]
            .image
        )
    if max_pixels < 1:
        raise ZfjaxError(f"--max-pixels {max_pixels} must be 1 or more.")
    return view_of_file(Path(image), size, max_pixels)


@dataclass(frozen=True)
class UnitProjection:
    """One map's strongest place on one image at one epoch."""

    step: int
    epoch: float
    activation: float
    y: int
    x: int
    box: tuple[int, int, int, int]
    """(y0, x0, y1, x1) in pixels of the network's input, half open, not clipped."""
    tile: Tile


def project(
    workdir: Path | str,
    image: Path | str | int,
    layer: str,
    map: int,
    *,
    at: Sequence[str] | None = None,
    rule: str = "deconvnet",
    split: str | None = None,
    data_dir: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[UnitProjection]:
    """Projects map ``map`` of ``layer`` on an image, from its strongest place, at each saved epoch
    of ``at``.

    ``image``: a file, shown as an import would store it (upright, what is transparent white), or
    the id of an image of ``split`` (None: the training split) of the run's data set.
    ``max_pixels``: the most that a file may have. An activation of 0 gives an all-zero projection.
    Raises ZfjaxError for an image that cannot be read."""
    run = load_run(workdir)
    config, architecture = run.config, run.config.model
    available = architecture.conv(layer).maps
    if not 0 <= map < available:
        raise ZfjaxError(f"--map {map}: {layer} has maps 0 to {available - 1}.")
    ops.rule_named(rule)
    pixels = _view_of(image, _with_data_dir(config, data_dir), split, max_pixels)
    mean_image = load_mean_image(run)
    inputs = preparer(config, mean_image)(pixels[None])
    crop = np.ascontiguousarray(central_crop(pixels, architecture.input_size))
    results = []
    for step in run.steps_at(at):
        parameters = checkpoint.load(run.checkpoints / str(step), architecture.conv_names)
        value, place = strongest.image_maxima(
            parameters, inputs, architecture=architecture, layers=(layer,)
        )
        if not np.isfinite(value[0, map]):
            raise ZfjaxError(
                f"Epoch {run.epoch(step):g} (step {step}) gives activations that are not finite:"
                " its parameters have diverged; leave it out with --at."
            )
        y, x = divmod(int(place[0, map]), architecture.fact(layer).shape[1])
        unit = units.Unit("top", map, 0, 0, float(value[0, map]), y, x)
        found = drawing.project_units(
            architecture,
            parameters,
            layer,
            [unit],
            rule=ops.rule_named(rule),
            config=config,
            mean_image=mean_image,
            crop_of=lambda _: crop,
        )
        box = architecture.window(layer).box(y, x)
        results += [
            UnitProjection(step, run.epoch(step), value, y, x, box, tile)
            for _, tile, value in found
        ]
    return results
