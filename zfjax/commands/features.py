"""``zfjax evolve`` and ``zfjax project``. No JAX."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfjax.commands.arguments import (
    Subparsers,
    add_command,
    data_argument,
    join_others,
    process_arguments,
    run_arguments,
)
from zfjax.commands.measures import chosen_measures, print_results, split_flags
from zfjax.data.formats import READ_WORDS
from zfjax.data.import_options import FOLDERS
from zfjax.errors import ZfjaxError, escaped, quoted
from zfjax.files import fitting, local_path

MOST_BYTES = 255
"""Of a file's name, on all usual file systems."""
_LONGEST_SHOWN = 60

if TYPE_CHECKING:
    from zfjax.features.projecting import UnitProjection


def add_evolve(subparsers: Subparsers) -> None:
    """``zfjax evolve`` and its flags."""
    parser = add_command(
        subparsers,
        "evolve",
        evolve,
        "Search every epoch's strongest images, project them to pixels.",
    )
    run_arguments(parser)
    parser.add_argument("--layers", nargs="+", default=None, help="convolutions (default: all)")
    parser.add_argument(
        "--maps", default="16", help="maps drawn of each layer, or 'all' (default: 16)"
    )
    parser.add_argument(
        "--top", type=int, default=9, help="strongest images kept of each map (default: 9)"
    )
    data_argument(parser)
    parser.add_argument(
        "--split", default=None, help="split searched (default: the training split)"
    )
    parser.add_argument(
        "--images", type=int, default=None, help="search only the first so many images"
    )
    parser.add_argument(
        "--rule",
        default="deconvnet",
        help="deconvnet, guided, gradient, deconvnet+norm or guided+norm",
    )
    parser.add_argument(
        "--every-rank", action="store_true", help="draw all --top images of every epoch"
    )
    parser.add_argument("--name", default=None, help="write RUN/evolution-NAME")
    parser.add_argument(
        "--measure",
        nargs="+",
        default=None,
        metavar="NAME",
        help="measures on the same forward pass (zfjax measure --list), to RUN/measures",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what it would cost, run nothing"
    )
    process_arguments(parser)


def add_project(subparsers: Subparsers) -> None:
    """``zfjax project`` and its flags."""
    parser = add_command(
        subparsers, "project", project, "One image, one map, any epochs: a picture strip."
    )
    run_arguments(parser)
    image = parser.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", type=local_path, help=f"an image file: {READ_WORDS}")
    image.add_argument(
        "--image-id", type=int, help="an image of the run's data set, by its number in the split"
    )
    parser.add_argument("--split", default=None, help="of --image-id (default: the training split)")
    data_argument(parser)
    parser.add_argument("--layer", required=True)
    parser.add_argument("--map", type=int, required=True)
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=None,
        help=(
            "of --image: a larger one is refused (default: as of the run's data set, else"
            f" {FOLDERS.max_pixels})"
        ),
    )
    parser.add_argument("--rule", default="deconvnet", help="as in evolve")
    parser.add_argument(
        "--out", type=local_path, default=None, help="PNG to write (default: RUN/projections/...)"
    )


def evolve(options: argparse.Namespace) -> int:
    """``zfjax evolve``: searches and projects."""
    maps: int | None = None
    if options.maps != "all":
        if not options.maps.isdecimal():
            raise ZfjaxError(f"--maps {options.maps!r} must be a number or 'all'.")
        maps = int(options.maps)
    asked = {
        "at": options.at,
        "layers": options.layers,
        "maps": maps,
        "top": options.top,
        "split": options.split,
        "images": options.images,
        "rule": options.rule,
        "every_rank": options.every_rank,
    }
    if options.dry_run:
        return _dry_run(options, asked)
    join_others(options)
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.run.summary import covers, evolution_lines, summary_lines, update_summary

    with Reporter() as progress:
        evolution, results = _evolved(options, asked, progress)
    if not is_first():
        return 0
    run = load_run(options.workdir)
    if covers(run, evolution):
        print("\n".join(summary_lines(update_summary(run, evolution))))
    else:  # the summary is of the last epoch, all layers and the unnamed evolution
        print("\n".join(evolution_lines(evolution)))
    checked = evolution.record.checked
    print(
        f"{checked['units']:,} recorded activations reproduced, largest relative difference"
        f" {checked['worst']:.1e}"
    )
    print(
        f"Next: zfjax report --workdir {quoted(options.workdir)}"
        + (f" --name {options.name}" if options.name else "")
    )
    return 0 if results is None else print_results(results)


def _evolved(options: argparse.Namespace, asked: dict[str, Any], progress: Any) -> tuple[Any, Any]:
    """The evolution, and the results of the measures that it was asked for (None: none)."""
    if options.measure:
        from zfjax.measures.along import evolve_along
        from zfjax.measures.running import Home

        home = Home(options.data_dir, options.name)
        chosen = _measures(options)
        return evolve_along(options.workdir, chosen, asked, home=home, progress=progress)
    from zfjax.features.evolving import evolve

    where = {"data_dir": options.data_dir, "name": options.name, "progress": progress}
    return evolve(options.workdir, **where, **asked), None


def _measures(options: argparse.Namespace) -> list[Any]:
    flags, names = split_flags(options.config_flags)
    if names:
        raise ZfjaxError(f"Not understood: {' '.join(names)}; see `zfjax evolve --help`.")
    return chosen_measures(options.measure, flags)


def _dry_run(options: argparse.Namespace, asked: dict[str, Any]) -> int:
    """Prints what the same request would take, checked as it would be."""
    from zfjax.features.asking import Asked, cost
    from zfjax.features.evolving import planned
    from zfjax.joining import meeting_of
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run

    meeting_of(options.coordinator, options.process_count, options.process_index)
    with Reporter() as progress:
        plan = planned(options.workdir, Asked(**asked), options.name, options.data_dir, progress)
    run = load_run(options.workdir)
    takes = cost(plan.subject, plan.request)
    # Measures ride over every step, new or not.
    search = takes if options.measure else cost(plan.subject, plan.to_search)
    images, steps = search.images, search.checkpoints
    print(f"{steps} checkpoints x {images:,} images: {search.flops / 1e12:,.1f} TFLOP to search")
    print(f"{takes.tiles:,} tiles, at most {takes.tile_bytes / 2**20:,.0f} MiB")
    if options.measure:
        from zfjax.measures.along import plan_along
        from zfjax.measures.planning import cost_of

        probe = cost_of(plan_along(plan.subject, plan.request, _measures(options)))
        print(
            f"measures: a probe of {probe.images:,} images, {probe.kept_bytes / 2**20:,.0f} MiB"
            f" on disk and {probe.scratch_bytes / 2**20:,.0f} MiB more while it is gathered"
        )
    trained = [line["images_per_second"] for line in run.metrics if "images_per_second" in line]
    if trained:
        rate = 3 * sorted(trained)[len(trained) // 2]
        print(
            f"about {images * steps / rate / 60:,.0f} minutes, were this machine the one that"
            " trained it"
        )
    if steps < takes.checkpoints:
        print(f"the other {takes.checkpoints - steps} checkpoints are searched already")
    if plan.finished:
        print("it is there already, finished: nothing would be run")
    return 0


def project(options: argparse.Namespace) -> int:
    """``zfjax project``: writes the strip of one map on one image."""
    from zfjax.features.projecting import project
    from zfjax.report.strip import write_strip
    from zfjax.run.folder import load_run

    run = load_run(options.workdir)
    if options.out is not None and options.out.suffix.lower() != ".png":
        raise ZfjaxError(f"--out {options.out}: the strip is a PNG; give a name that ends in .png.")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise ZfjaxError(
            f"--out {options.out}: there is no folder {options.out.absolute().parent}."
        )
    if options.out is not None and len(os.fsencode(options.out.name)) > MOST_BYTES:
        raise ZfjaxError(
            f"--out: a file's name takes at most {MOST_BYTES} bytes; choose a shorter."
        )
    split = options.split or run.config.data.train_split
    by_number = options.image is None
    projections = project(
        options.workdir,
        options.image_id if by_number else options.image,
        options.layer,
        options.map,
        at=options.at,
        rule=options.rule,
        split=split,
        data_dir=options.data_dir,
        max_pixels=options.max_pixels,
    )
    shown = f"image {options.image_id} of {split}" if by_number else _told_name(options.image)
    stem = f"{split}-{options.image_id}" if by_number else _own_stem(options.image)
    epochs = _epochs_stem(run.steps, projections)
    name = f"{options.layer}-{options.map}-{stem}-{options.rule}-{epochs}.png"
    path = options.out or run.folder / "projections" / name
    write_strip(
        path,
        [(f"epoch {shot.epoch:g}", shot.activation, shot.tile) for shot in projections],
        f"{options.layer} map {options.map} on {shown}, rule {options.rule}",
    )
    for shot in projections:
        print(
            f"epoch {shot.epoch:g}: activation {shot.activation:.4g} at y {shot.y}, x {shot.x}, box"
            f" {shot.box}"
        )
    print(path)
    return 0


def _told_name(image: Path) -> str:
    """An image's name for a title: on one line, in letters that can be drawn."""
    name = escaped(image.name)
    return name if len(name) <= _LONGEST_SHOWN else f"{name[: _LONGEST_SHOWN - 3]}..."


def _own_stem(image: Path) -> str:
    """A file's name without its ending, in letters that any program takes, and what tells it from
    other images of that name: the first digits of its bytes' SHA-256. The same image has the same
    stem wherever it lies. A pipe, which gives its bytes once, is told by its path.
    """
    told = image.read_bytes() if image.is_file() else str(image).encode("utf-8", "surrogateescape")
    stem = "".join(letter if letter.isprintable() else "_" for letter in image.stem)
    return f"{fitting(stem, 100)}-{hashlib.sha256(told).hexdigest()[:8]}"


def _epochs_stem(saved: Sequence[int], projections: Sequence[UnitProjection]) -> str:
    """First and last of the epochs shown; with digits of their own where some between are not."""
    first, last = projections[0], projections[-1]
    steps = [shot.step for shot in projections]
    between = [step for step in saved if first.step <= step <= last.step]
    chosen = "" if steps == between else f"-{hashlib.sha256(str(steps).encode()).hexdigest()[:8]}"
    return f"epoch{first.epoch:g}" + (f"-{last.epoch:g}{chosen}" if len(steps) > 1 else "")
