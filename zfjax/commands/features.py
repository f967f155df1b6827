"""``zfjax evolve``, of a run or of anyone's checkpoints. No JAX."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
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
from zfjax.commands.foreseeing import dry_run, foreseen_lines, riding_measures
from zfjax.commands.measures import print_results
from zfjax.errors import ZfjaxError, quoted

if TYPE_CHECKING:
    from zfjax.features.asking import Request
    from zfjax.features.foreseeing import Plan
    from zfjax.run.evolution_record import EvolutionRecord
    from zfjax.subject import Subject


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
        "--maps",
        default="few",
        help="maps drawn of each layer, or 'all' (default: 16, or all of a layer with fewer)",
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
        nargs="+",
        default=["deconvnet"],
        help="deconvnet, guided, gradient, deconvnet+norm or guided+norm; several: every picture by"
        " each of them, the first is the main one",
    )
    parser.add_argument(
        "--selections",
        nargs="+",
        default=["top"],
        metavar="SELECTION",
        help="images drawn of each map: top (always), low (the weakest that excite it),"
        " quantile:0.5 (a typical one)",
    )
    parser.add_argument(
        "--every-rank", action="store_true", help="draw all --top images of every epoch"
    )
    parser.add_argument(
        "--search-precision",
        default="highest",
        metavar="PRECISION",
        help="highest, or tf32 or bfloat16: a faster search that keeps four times as many"
        " candidates and ranks them again at the highest (default: highest)",
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
    maps: int | str = options.maps
    if maps not in ("all", "few"):
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
        "selections": options.selections,
        "search_precision": options.search_precision,
    }
    if options.model is not None:
        return _evolve_foreign(options, asked)
    for flag in ("checkpoints", "steps", "data_name", "mean", "std", "resize", "steps_per_epoch"):
        if getattr(options, flag) is not None:
            name = flag.replace("_", "." if flag == "data_name" else "-")
            raise ZfjaxError(f"--{name} goes with --model, anyone's network.")
    if options.dry_run:
        return dry_run(options, asked)
    join_others(options)
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.run.summary import covers, evolution_lines, summary_lines, update_summary

    with Reporter() as progress:
        evolution, results = _evolved(options, asked, progress)
    if not is_first():
        return int(results is not None and bool(results.failed))
    run = load_run(options.workdir)
    if covers(run, evolution):
        print("\n".join(summary_lines(update_summary(run, evolution))))
    else:  # the summary is of the last epoch, all layers and the unnamed evolution
        print("\n".join(evolution_lines(evolution)))
    _print_checks(evolution.record)
    print(
        f"Next: zfjax report --workdir {quoted(options.workdir)}"
        + (f" --name {options.name}" if options.name else "")
    )
    return 0 if results is None else print_results(results)


def _print_checks(record: EvolutionRecord) -> None:
    """Says how well an evolution's numbers are held."""
    print(
        f"{record.checked['units']:,} recorded activations reproduced, largest relative difference"
        f" {record.checked['worst']:.1e}"
    )
    if words := record.search_words():
        print(words)


def _evolved(options: argparse.Namespace, asked: dict[str, Any], progress: Any) -> tuple[Any, Any]:
    """The evolution, and the results of the measures that it was asked for (None: none)."""
    if options.measure:
        from zfjax.measures.along import evolve_along
        from zfjax.measures.running import Home

        home = Home(options.data_dir, options.name)
        chosen = riding_measures(options)
        return evolve_along(options.workdir, chosen, asked, home=home, progress=progress)
    from zfjax.features.evolving import evolve

    where = {"data_dir": options.data_dir, "name": options.name, "progress": progress}
    return evolve(options.workdir, **where, **asked), None


def _evolve_foreign(options: argparse.Namespace, asked: dict[str, Any]) -> int:
    """``zfjax evolve --model``: somebody else's network and checkpoints, into --workdir."""
    from zfjax.adopting import subject_from
    from zfjax.features.asking import Asked
    from zfjax.features.evolving import evolve
    from zfjax.features.foreseeing import planned_of
    from zfjax.features.owners import check_claim
    from zfjax.joining import meeting_of
    from zfjax.measures.along import evolve_subject_along
    from zfjax.processes import first_alone, is_first
    from zfjax.progress import Reporter
    from zfjax.run.summary import evolution_lines, note_accuracy

    check_claim(options.workdir)
    for flag in ("checkpoints", "data_name"):
        if getattr(options, flag) is None:
            raise ZfjaxError(f"--model needs --{flag.replace('_', '.')} too.")
    if options.steps_per_epoch is not None and options.steps_per_epoch < 1:
        raise ZfjaxError(f"--steps-per-epoch {options.steps_per_epoch} must be 1 or more.")
    if options.channels != 3:
        raise ZfjaxError("--channels is of `zfjax info`; images have three here.")
    if options.dry_run:
        meeting_of(options.coordinator, options.process_count, options.process_index)
    else:
        join_others(options)
    subject = subject_from(
        options.checkpoints,
        model=options.model,
        images=options.data_name,
        mean=options.mean,
        std=options.std,
        input=options.input,
        resize=options.resize,
        steps=options.steps,
        variables=options.variables,
        layers=tuple(options.layers or ()),
        smooth=tuple(options.smooth),
        statistics=options.statistics,
        data_dir=options.data_dir,
        split=options.split,
        steps_per_epoch=options.steps_per_epoch or 1,
    )

    def foreseen() -> Plan:
        return planned_of(subject, Asked(**asked), options.workdir, options.name)

    if options.dry_run:
        plan = foreseen()
        print("\n".join(foreseen_lines(plan, options)))
        return 0
    accuracy = first_alone(lambda: _accuracy(subject, foreseen().request))
    with Reporter() as progress:
        where = {"out": options.workdir, "name": options.name, "progress": progress}
        if options.measure:
            evolution, results = evolve_subject_along(
                subject, riding_measures(options), asked, **where
            )
        else:
            evolution, results = evolve(subject, **where, **asked), None
    if not is_first():
        return int(results is not None and bool(results.failed))
    if accuracy and options.name is None:
        note_accuracy(options.workdir, accuracy)
    print("\n".join(evolution_lines(evolution)))
    _print_checks(evolution.record)
    print(evolution.folder)
    print(
        f"Next: zfjax report --workdir {quoted(options.workdir)}"
        + (f" --name {options.name}" if options.name else "")
    )
    return 0 if results is None else print_results(results)


def _accuracy(subject: Subject, request: Request) -> dict[str, Any] | None:
    """Prints top-1 of the last step on the images that are searched, for it shows a wrong
    normalisation; gives what the summary takes of it. None for a network without scores, images
    without labels, more classes among them than it has, or names of another number of classes.
    """
    import jax
    import numpy as np

    from zfjax.measures.judging import SomeImages, batching_as_run
    from zfjax.training.evaluation import evaluate

    if subject.scores is None:
        return None
    ids, last = tuple(range(request.images)), request.steps[-1]
    whole = subject.need("images", "A search").of_split(request.split)  # all, by this process
    images, parameters = SomeImages(whole, ids, hold=False), subject.parameters(last, whole=True)
    if subject.labels is not None:
        inputs = np.zeros((1, *subject.network.input_size, 3), np.float32)
        if len(subject.labels) != jax.eval_shape(subject.scores, parameters, inputs).shape[1]:
            return None
    try:
        figures = evaluate(replace(subject, images=images), parameters, batching_as_run(None))
    except ZfjaxError:  # without labels; what else is wrong with them the search says
        return None
    if math.isnan(figures["loss"]):
        return None
    print(
        f"top-1 of step {last} on {request.images:,} images of {request.split}:"
        f" {figures['top1']:.1%}; a wrong --mean, --std or --resize shows here",
        flush=True,
    )
    of = {"split": request.split, "step": last, "epoch": subject.epoch(last)}
    return {**{name: figures[name] for name in ("top1", "top5", "images")}, **of}
