"""``zfjax train``. No JAX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfjax import config as configs
from zfjax import presets
from zfjax.commands.arguments import (
    Subparsers,
    add_command,
    ask_deterministic,
    deterministic_argument,
    join_others,
    process_arguments,
    takes_config_fields,
)
from zfjax.commands.flags import config_parser, resolve_config
from zfjax.config import Config
from zfjax.errors import ZfjaxError, quoted
from zfjax.files import local_path, read_json

if TYPE_CHECKING:
    from zfjax.run.folder import Run

FEW_STEPS = 500
"""Fewer in all, and first-layer filters hardly leave their random start."""


def add_train(subparsers: Subparsers) -> None:
    """``zfjax train`` and its flags."""
    parser = add_command(
        subparsers, "train", train, "Train, or go on training; saves every epoch.", add_help=False
    )
    parser.add_argument("--preset", help=f"one of {', '.join(presets.PRESETS)}")
    parser.add_argument(
        "--config", type=local_path, help="a JSON config, such as another run's config.json"
    )
    parser.add_argument("--workdir", type=Path, help="run folder")
    parser.add_argument(
        "--devices", type=int, default=None, help="number of devices (default: all)"
    )
    parser.add_argument(
        "--shard-parameters",
        action="store_true",
        help="spread large parameters over the devices, to save memory",
    )
    deterministic_argument(parser)
    parser.add_argument(
        "--evolve-every",
        type=int,
        default=None,
        metavar="N",
        help="every N epochs, draw the evolution so far: RUN/evolution-live and RUN/report-live",
    )
    parser.add_argument(
        "--evolve-images",
        type=int,
        default=1000,
        help="training images searched for it (default: %(default)s)",
    )
    parser.add_argument(
        "-h",
        "--help",
        action="store_true",
        dest="wants_help",
        help="show this, and every config field",
    )
    process_arguments(parser)
    parser.set_defaults(parser=parser)
    takes_config_fields(parser)


def train(options: argparse.Namespace) -> int:
    """``zfjax train``: trains, or goes on training."""
    if options.preset and options.config:
        raise ZfjaxError("Give --preset or --config, not both.")
    base = configs.from_json(read_json(options.config)) if options.config else None
    if options.preset:
        base = presets.preset(options.preset)
    if options.wants_help:
        options.parser.print_help()
        print(
            "\n" + config_parser(base or presets.preset("demo")).format_help().split("\n\n", 1)[1]
        )
        return 0
    if options.workdir is None:
        raise ZfjaxError("Say where the run lives: --workdir RUN.")
    from zfjax.run.folder import check_folder, load_run

    if base is None:
        if not (check_folder(options.workdir) / "config.json").exists():
            raise ZfjaxError(
                f"Give --preset ({', '.join(presets.PRESETS)}) or --config FILE to begin a run."
            )
        base = load_run(options.workdir).config
    config = resolve_config(base, options.config_flags)
    ask_deterministic(options)
    join_others(options)
    how: dict[str, Any] = {"devices": options.devices, "shard_parameters": options.shard_parameters}
    if options.evolve_every is not None:
        from zfjax.studies.live import live_evolution

        how["after_epoch"] = live_evolution(
            options.workdir, options.evolve_every, options.evolve_images
        )
    if run_training(config, options.workdir, **how):
        print(f"Next: zfjax evolve --workdir {quoted(options.workdir)}")
    return 0


def run_training(config: Config, workdir: Path, **how: Any) -> Run | None:
    """Trains as ``training.loop.train`` does, told on the terminal, and says what was found.

    Returns the run in process 0, None in the others.
    """
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.folder import check_folder, load_run
    from zfjax.run.steps import saved_steps
    from zfjax.run.summary import summary_lines, update_summary
    from zfjax.training.loop import train

    folder = check_folder(workdir)
    before = saved_steps(folder / "checkpoints")
    with Reporter() as progress:
        run = train(config, folder, progress=progress, **how)
    if not is_first():
        return None
    if before and before[-1] == run.last_step:
        print(f"{folder} is finished: epoch {run.config.epochs} of {run.config.epochs} is saved.")
        return load_run(folder)
    summary = update_summary(run)
    print("\n".join(summary_lines(summary)))
    if run.last_step < FEW_STEPS:
        print(
            f"That was {run.last_step} steps in all: few for features to form. More --epochs or a"
            " smaller --batch-size, in another --workdir, show more."
        )
    return run
