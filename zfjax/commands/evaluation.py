"""``zfjax evaluate``. No JAX."""

from __future__ import annotations

import argparse

from zfjax.commands.arguments import Subparsers, add_command, data_argument, run_arguments


def add_evaluate(subparsers: Subparsers) -> None:
    """``zfjax evaluate`` and its flags."""
    parser = add_command(
        subparsers,
        "evaluate",
        evaluate,
        "Error rates of saved epochs, from one crop an image or ten.",
    )
    parser.add_argument(
        "--views", type=int, default=1, help="1: the central crop; 10: the paper's (default: 1)"
    )
    run_arguments(parser)
    parser.add_argument(
        "--devices", type=int, default=None, help="number of devices (default: all)"
    )
    parser.add_argument(
        "--split", default=None, help="split to evaluate on (default: the validation split)"
    )
    data_argument(parser)


def evaluate(options: argparse.Namespace) -> int:
    """``zfjax evaluate``: prints error rates of saved epochs, each as it is done."""
    from zfjax.devices import data_mesh
    from zfjax.inputs import open_data, with_data_dir
    from zfjax.network.model import Parameters
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.subject import images_of, subject_of
    from zfjax.training.evaluation import batching_of, check_views, evaluate
    from zfjax.training.rates import TITLES, Rates, diverged, left_out, saved_rates

    run = load_run(options.workdir)
    config = with_data_dir(run.config, options.data_dir)
    split = options.split or config.data.validation_split
    check_views(options.views)
    steps = run.steps_at(options.at)
    asked: list[Rates] = []
    how = (
        "one central crop an image"
        if options.views == 1
        else "mean probability of ten crops an image"
    )
    with Reporter() as progress:
        images = images_of(config, open_data(config, progress), split)
        batching = batching_of(config, data_mesh(config.batch_size, options.devices))
        subject = subject_of(run, images)

        def measure(parameters: Parameters) -> dict[str, float]:
            return evaluate(subject, parameters, batching, views=options.views, progress=progress)

        for rates in saved_rates(subject, steps, measure):
            if rates.figures and not any(before.figures for before in asked):
                print(f"{split}, {how}\n{TITLES}")
            asked.append(rates)
            if rates.figures:
                print(rates.line(), flush=True)  # seen, and kept, whatever becomes of the next
    for figures in [rates.figures for rates in asked if rates.figures][:1]:
        if words := left_out(figures, images.count):
            print(words)
    if fault := diverged(asked):
        raise fault
    return 0
