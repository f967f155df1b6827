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
    from dataclasses import replace

    from zfjax.devices import data_mesh
    from zfjax.inputs import load_mean_image, open_data
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.training.evaluation import check_views, evaluate
    from zfjax.training.rates import TITLES, diverged, left_out, saved_rates

    run = load_run(options.workdir)
    config = run.config
    if options.data_dir is not None:
        config = replace(config, data=replace(config.data, dir=options.data_dir))
    split = options.split or config.data.validation_split
    check_views(options.views)
    steps, asked = run.steps_at(options.at), []
    how = (
        "one central crop an image"
        if options.views == 1
        else "mean probability of ten crops an image"
    )
    with Reporter() as progress:
        dataset, mesh = open_data(config, progress), data_mesh(config.batch_size, options.devices)
        mean = load_mean_image(run)
        measure = lambda parameters: evaluate(
            config,
            parameters,
            dataset,
            split,
            mesh,
            mean_image=mean,
            views=options.views,
            progress=lambda *images: progress("evaluating", *images),
        )
        for rates in saved_rates(run, steps, measure):
            if rates.figures and not any(one.figures for one in asked):
                print(f"{split}, {how}\n{TITLES}")
            asked.append(rates)
            if rates.figures:
                print(rates.line(), flush=True)  # seen, and kept, whatever becomes of the next
    for figures in [one.figures for one in asked if one.figures][:1]:
        if words := left_out(figures, dataset.count(split)):
            print(words)
    if fault := diverged(asked):
        raise fault
    return 0
