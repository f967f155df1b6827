"""``zfjax evaluate``. No JAX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zfjax.commands.arguments import Subparsers, add_command, data_argument
from zfjax.errors import ZfjaxError


def add_evaluate(subparsers: Subparsers) -> None:
    """``zfjax evaluate`` and its flags."""
    parser = add_command(
        subparsers,
        "evaluate",
        evaluate,
        "Error rates of saved epochs, from one crop an image or ten; of several runs together.",
    )
    parser.add_argument(
        "--views", type=int, default=1, help="1: the central crop; 10: the paper's (default: 1)"
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        nargs="+",
        required=True,
        metavar="RUN",
        help="run folder, or several",
    )
    parser.add_argument(
        "--at", nargs="+", default=None, help="epochs, 'step:N', 'last' or 'all' (default: all)"
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="also the mean of the runs' softmax outputs (paper, Table 2)",
    )
    parser.add_argument(
        "--devices", type=int, default=None, help="number of devices (default: all)"
    )
    parser.add_argument(
        "--split", default=None, help="split to evaluate on (default: the validation split)"
    )
    data_argument(parser)


def evaluate(options: argparse.Namespace) -> int:
    """``zfjax evaluate``: prints error rates of saved epochs, each as it is done; of several runs
    one after the other, or together.
    """
    from zfjax.run.folder import load_run
    from zfjax.training.evaluation import check_views

    runs = [load_run(folder) for folder in options.workdir]
    check_views(options.views)
    if options.ensemble:
        return _evaluate_together(runs, options)
    faults: list[ZfjaxError] = []
    for index, run in enumerate(runs):
        if len(runs) > 1:
            print(f"{chr(10) if index else ''}{run.folder}", flush=True)
        if fault := _evaluate_alone(run, options):
            faults.append(fault)
    if faults:
        raise ZfjaxError(" ".join(map(str, faults)))
    return 0


def _how(views: int) -> str:
    if views == 1:
        return "one central crop an image"
    return "mean probability of ten crops an image"


def _evaluate_alone(run: Any, options: argparse.Namespace) -> ZfjaxError | None:
    """Prints a run's; the fault of epochs that have none."""
    from zfjax.devices import data_mesh
    from zfjax.inputs import open_data, with_data_dir
    from zfjax.network.model import Parameters
    from zfjax.progress import Reporter
    from zfjax.subject import images_of, subject_of
    from zfjax.training.evaluation import batching_of, evaluate
    from zfjax.training.rates import TITLES, Rates, diverged, left_out, saved_rates

    config = with_data_dir(run.config, options.data_dir)
    split = options.split or config.data.validation_split
    steps = run.steps_at(options.at)
    asked: list[Rates] = []
    with Reporter() as progress:
        images = images_of(config, open_data(config, progress), split)
        batching = batching_of(config, data_mesh(config.batch_size, options.devices))
        subject = subject_of(run, images)

        def measure(parameters: Parameters) -> dict[str, float]:
            return evaluate(subject, parameters, batching, views=options.views, progress=progress)

        for rates in saved_rates(subject, steps, measure):
            if rates.figures and not any(before.figures for before in asked):
                print(f"{split}, {_how(options.views)}\n{TITLES}")
            asked.append(rates)
            if rates.figures:
                print(rates.line(), flush=True)  # seen, and kept, whatever becomes of the next
    for figures in [rates.figures for rates in asked if rates.figures][:1]:
        if words := left_out(figures, images.count):
            print(words)
    return diverged(asked)


def _evaluate_together(runs: list[Any], options: argparse.Namespace) -> int:
    """Prints a line for each run and one for the mean of their outputs, epoch by epoch."""
    from zfjax.progress import Reporter
    from zfjax.training.ensembles import (
        batching_together,
        evaluate_together,
        members_of,
        steps_together,
    )
    from zfjax.training.rates import TITLES, Rates, left_out

    with Reporter() as progress:
        members = members_of(runs, options.split, options.data_dir, progress)
        batching = batching_together(members, options.devices)
        images = members[0].images
        for index, steps in enumerate(steps_together(members, options.at)):
            told = evaluate_together(
                members, steps, batching, views=options.views, progress=progress
            )
            if not index:
                print(f"{images.split}, {_how(options.views)}\n{TITLES}")
            epochs = [run.epoch(step) for run, step in zip(runs, steps, strict=True)]
            for run, step, epoch, own in zip(runs, steps, epochs, told.own, strict=True):
                print(f"{Rates(epoch, step, own).line()}  {run.folder}")
            value, low, high = (100 * number for number in told.gain)
            print(
                f"{Rates(max(epochs), max(steps), told.mean).line()}  mean of {len(runs)} runs:"
                f" {value:+.2f} points of accuracy [{low:+.2f}, {high:+.2f}], over images",
                flush=True,
            )
    if words := left_out(told.mean, images.count):
        print(words)
    return 0
