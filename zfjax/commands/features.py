"""``zfjax evolve`` and ``zfjax project``. No JAX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfjax.commands.arguments import (
    Subparsers,
    add_command,
    data_argument,
    join_others,
    model_arguments,
    process_arguments,
    run_arguments,
)
from zfjax.data.import_options import FOLDERS
from zfjax.errors import ZfjaxError, quoted

if TYPE_CHECKING:
    from zfjax.features.asking import Cost


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
        "--dry-run", action="store_true", help="print what it would cost, run nothing"
    )
    process_arguments(parser)
    model_arguments(parser)
    group = parser.add_argument_group("images of anyone's network (--model)")
    group.add_argument("--data.name", dest="data_name", default=None, help="a prepared data set")
    group.add_argument(
        "--resize", type=int, default=None, help="pixels of the shorter side (default: --input)"
    )
    for flag in ("--mean", "--std"):
        group.add_argument(
            flag, nargs="+", type=float, default=None, help="one number or three, of pixels 0..255"
        )


def add_project(subparsers: Subparsers) -> None:
    """``zfjax project`` and its flags."""
    parser = add_command(
        subparsers, "project", project, "One image, one map, any epochs: a picture strip."
    )
    run_arguments(parser)
    image = parser.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", type=Path, help="an image file")
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
        "--out", type=Path, default=None, help="PNG to write (default: RUN/projections/...)"
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
    if options.model is not None:
        return _evolve_foreign(options, asked)
    for flag in ("checkpoints", "data_name", "mean", "std", "resize"):
        if getattr(options, flag) is not None:
            raise ZfjaxError(f"--{flag.replace('_', '.')} goes with --model, anyone's network.")
    if options.dry_run:
        return _dry_run(options, asked)
    join_others(options)
    from zfjax.features.evolving import evolve
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.run.summary import covers, evolution_lines, summary_lines, update_summary

    with Reporter() as progress:
        evolution = evolve(
            options.workdir,
            data_dir=options.data_dir,
            name=options.name,
            progress=progress,
            **asked,
        )
    if not is_first():
        return 0
    run = load_run(options.workdir)
    if covers(run, evolution):
        print("\n".join(summary_lines(update_summary(run, evolution))))
    else:  # the summary is of the last epoch, all layers and the unnamed evolution
        print("\n".join(evolution_lines(evolution)))
    checked = evolution.meta["checked"]
    print(
        f"{checked['units']:,} recorded activations reproduced, largest relative difference"
        f" {checked['worst']:.1e}"
    )
    print(
        f"Next: zfjax report --workdir {quoted(options.workdir)}"
        + (f" --name {options.name}" if options.name else "")
    )
    return 0


def _evolve_foreign(options: argparse.Namespace, asked: dict[str, Any]) -> int:
    """``zfjax evolve --model``: somebody else's network and checkpoints, into --workdir."""
    from zfjax.adopting import subject_from, top1
    from zfjax.features.asking import Asked, cost, request_of
    from zfjax.features.evolving import evolve
    from zfjax.progress import Reporter
    from zfjax.run.summary import evolution_lines

    for flag in ("checkpoints", "data_name"):
        if getattr(options, flag) is None:
            raise ZfjaxError(f"--model needs --{flag.replace('_', '.')} too.")
    if options.channels != 3:
        raise ZfjaxError("--channels is of `zfjax info`; images have three here.")
    subject = subject_from(
        options.checkpoints,
        model=options.model,
        images=options.data_name,
        mean=options.mean,
        std=options.std,
        input=options.input,
        resize=options.resize,
        variables=options.variables,
        layers=tuple(options.layers or ()),
        smooth=tuple(options.smooth),
        statistics=options.statistics,
        data_dir=options.data_dir,
        split=options.split,
    )
    request = request_of(subject, Asked(**asked))
    if options.dry_run:
        print("\n".join(_cost_lines(cost(subject, request))))
        return 0
    correct = top1(subject, request.steps[-1], request.images)
    if correct is not None:
        print(
            f"top-1 of step {request.steps[-1]} on {request.images:,} images of {request.split}:"
            f" {correct:.1%}; a wrong --mean, --std or --resize shows here"
        )
    with Reporter() as progress:
        evolution = evolve(
            subject, out=options.workdir, name=options.name, progress=progress, **asked
        )
    print("\n".join(evolution_lines(evolution)))
    checked = evolution.meta["checked"]
    print(
        f"{checked['units']:,} recorded activations reproduced, largest relative difference"
        f" {checked['worst']:.1e}"
    )
    print(evolution.folder)
    return 0


def _cost_lines(takes: Cost) -> list[str]:
    return [
        f"{takes.checkpoints} checkpoints x {takes.images:,} images: {takes.flops / 1e12:,.1f}"
        " TFLOP to search",
        f"{takes.tiles:,} tiles, at most {takes.tile_bytes / 2**20:,.0f} MiB",
    ]


def _dry_run(options: argparse.Namespace, asked: dict[str, Any]) -> int:
    """Prints what the same request would take, checked as it would be."""
    from zfjax.features.asking import Asked, cost
    from zfjax.features.evolving import asked_of
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run

    run = load_run(options.workdir)
    with Reporter() as progress:
        takes = cost(*asked_of(run, Asked(**asked), options.data_dir, progress))
    images, steps = takes.images, takes.checkpoints
    print("\n".join(_cost_lines(takes)))
    trained = [line["images_per_second"] for line in run.metrics if "images_per_second" in line]
    if trained:
        rate = 3 * sorted(trained)[len(trained) // 2]
        print(
            f"about {images * steps / rate / 60:,.0f} minutes, were this machine the one that"
            " trained it"
        )
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
    shown = f"image {options.image_id} of {split}" if by_number else options.image.name
    stem = f"{split}-{options.image_id}" if by_number else options.image.stem
    epochs = f"epoch{projections[0].epoch:g}" + (
        f"-{projections[-1].epoch:g}" if len(projections) > 1 else ""
    )
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
