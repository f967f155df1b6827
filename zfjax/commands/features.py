"""``zfjax evolve``, of a run or of anyone's checkpoints. No JAX."""

from __future__ import annotations

import argparse
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
from zfjax.commands.measures import chosen_measures, print_results, split_flags
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
    model_arguments(parser)
    group = parser.add_argument_group("images of anyone's network (--model)")
    group.add_argument(
        "--data.name",
        dest="data_name",
        default=None,
        help="a prepared data set, or a folder of images",
    )
    group.add_argument(
        "--resize", type=int, default=None, help="pixels of the shorter side (default: --input)"
    )
    group.add_argument(
        "--steps-per-epoch",
        type=int,
        default=None,
        help="of their training (default: 1, what is called an epoch is a step)",
    )
    for flag in ("--mean", "--std"):
        group.add_argument(
            flag, nargs="+", type=float, default=None, help="one number or three, of pixels 0..255"
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
    for flag in ("checkpoints", "data_name", "mean", "std", "resize", "steps_per_epoch"):
        if getattr(options, flag) is not None:
            name = flag.replace("_", "." if flag == "data_name" else "-")
            raise ZfjaxError(f"--{name} goes with --model, anyone's network.")
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


def _evolve_foreign(options: argparse.Namespace, asked: dict[str, Any]) -> int:
    """``zfjax evolve --model``: somebody else's network and checkpoints, into --workdir."""
    from zfjax.adopting import subject_from
    from zfjax.features.asking import Asked, cost, request_of
    from zfjax.features.evolving import evolve
    from zfjax.features.scoring import top1
    from zfjax.progress import Reporter
    from zfjax.run.summary import evolution_lines

    for flag in ("checkpoints", "data_name"):
        if getattr(options, flag) is None:
            raise ZfjaxError(f"--model needs --{flag.replace('_', '.')} too.")
    if options.measure:
        raise ZfjaxError(
            "--measure goes with a run of zfjax: evolve --model first, then zfjax measure --workdir"
            f" {quoted(options.workdir)}."
        )
    if options.steps_per_epoch is not None and options.steps_per_epoch < 1:
        raise ZfjaxError(f"--steps-per-epoch {options.steps_per_epoch} must be 1 or more.")
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
        steps_per_epoch=options.steps_per_epoch or 1,
    )
    request = request_of(subject, Asked(**asked))
    if options.dry_run:
        takes = cost(subject, request)
        print("\n".join(_cost_lines(takes, takes)))
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
    checked = evolution.record.checked
    print(
        f"{checked['units']:,} recorded activations reproduced, largest relative difference"
        f" {checked['worst']:.1e}"
    )
    print(evolution.folder)
    print(
        f"Next: zfjax report --workdir {quoted(options.workdir)}"
        + (f" --name {options.name}" if options.name else "")
    )
    return 0


def _cost_lines(search: Cost, takes: Cost) -> list[str]:
    """``search``: of the steps that are searched; ``takes``: of all that is drawn."""
    return [
        f"{search.checkpoints} checkpoints x {search.images:,} images: {search.flops / 1e12:,.1f}"
        " TFLOP to search",
        f"{takes.tiles:,} tiles, at most {takes.tile_bytes / 2**20:,.0f} MiB",
    ]


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
    print("\n".join(_cost_lines(search, takes)))
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
