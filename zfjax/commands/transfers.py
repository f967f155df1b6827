"""``zfjax transfer``. No JAX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zfjax.commands.arguments import Subparsers, add_command, data_argument


def add_transfer(subparsers: Subparsers) -> None:
    """``zfjax transfer`` and its flags."""
    parser = add_command(
        subparsers,
        "transfer",
        transfer_features,
        "A run's features on other data: a new softmax on top, against training from scratch.",
    )
    parser.add_argument("--workdir", type=Path, required=True, help="run folder")
    parser.add_argument("--to", required=True, metavar="NAME", help="a prepared data set")
    parser.add_argument(
        "--at", nargs="+", default="last", help="epochs, 'step:N', 'last' or 'all' (default: last)"
    )
    protocol = parser.add_argument_group("the protocol (paper, Tables 4 and 5)")
    protocol.add_argument(
        "--images-per-class",
        nargs="+",
        type=int,
        default=(15, 30),
        metavar="N",
        help="to train on: one number, or several for the curve of Fig. 9 (default: 15 30)",
    )
    protocol.add_argument("--folds", type=int, default=5, help="draws (default: 5)")
    protocol.add_argument(
        "--test-per-class", type=int, default=50, metavar="N", help="at most (default: 50)"
    )
    protocol.add_argument("--layer", default=None, help="features of (default: the last hidden)")
    protocol.add_argument(
        "--remove-overlaps", action="store_true", help="leave out what the run was trained on"
    )
    protocol.add_argument("--split", default=None, help="default: train, or the only one")
    protocol.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    training = parser.add_argument_group("training, of both arms alike")
    training.add_argument("--steps", type=int, default=500, help="default: 500")
    training.add_argument("--batch-size", type=int, default=32, help="default: 32")
    training.add_argument(
        "--learning-rates",
        nargs="+",
        type=float,
        default=None,
        metavar="RATE",
        help="to choose from, inside the training part (default: the run's own x 1, 3, 10)",
    )
    training.add_argument(
        "--no-scratch", action="store_true", help="leave out the control, which takes most time"
    )
    parser.add_argument("--name", default=None, help="write RUN/transfer/<to>-NAME.parquet")
    data_argument(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print what it would cost, run nothing"
    )


def transfer_features(options: argparse.Namespace) -> int:
    """``zfjax transfer``: trains what is missing, prints table and sentence."""
    from zfjax.progress import Reporter
    from zfjax.run.adopted import load_any
    from zfjax.studies.transfer_plans import Asked, cost_of_transfer, plan_of_transfer
    from zfjax.studies.transferring import run_transfer, words_of_transfer

    asked = Asked(
        to=options.to,
        at=options.at,
        images_per_class=tuple(options.images_per_class),
        folds=options.folds,
        test_per_class=options.test_per_class,
        layer=options.layer,
        steps=options.steps,
        batch_size=options.batch_size,
        learning_rates=options.learning_rates,
        scratch=not options.no_scratch,
        remove_overlaps=options.remove_overlaps,
        split=options.split,
        seed=options.seed,
        name=options.name,
        data_dir=options.data_dir,
    )
    with Reporter() as progress:
        plan = plan_of_transfer(load_any(options.workdir), asked, progress)
        if options.dry_run:
            print_transfer_cost(plan, cost_of_transfer(plan))
            return 0
        told = run_transfer(plan, progress)
    print(words_of_transfer(told))
    print(f"{told.folder / told.name}.parquet")
    return 0


def print_transfer_cost(plan: Any, cost: Any) -> None:
    """Prints trainings and time."""
    from zfjax.progress import time_words

    training = plan.training
    print(
        f"{cost.images:,} images x {cost.checkpoints} checkpoints: features of {plan.layer};"
        f" {cost.heads:,} new heads of {training.steps:,} steps"
    )
    if cost.networks:
        print(
            f"from scratch: {cost.networks:,} trainings of {training.steps:,} steps of"
            f" {training.batch_size} images: {cost.trained_images:,} images"
        )
    for note in plan.notes:
        print(note)
    print("images that both data sets hold are looked for first: both are read once")
    if cost.seconds is not None:
        print(f"about {time_words(cost.seconds)}, were this machine the one that trained it")
