"""Arguments that several commands share, and how a command is added to the parser. No JAX."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from zfjax.files import local_path

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Command = Callable[[argparse.Namespace], int]
"""Runs a command; returns the exit status. Raises ZfjaxError for a user's mistake."""


def add_command(
    subparsers: Subparsers, name: str, run: Command, text: str, **options: Any
) -> argparse.ArgumentParser:
    """The parser of ``zfjax NAME``, which calls ``run``."""
    parser = subparsers.add_parser(name, help=text, description=text, allow_abbrev=False, **options)
    parser.set_defaults(run=run)
    return parser


def takes_config_fields(parser: argparse.ArgumentParser) -> None:
    """Leaves what ``parser`` does not know to the command, as ``config_flags``."""
    parser.set_defaults(takes_config_fields=True)


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """--workdir, --at."""
    parser.add_argument("--workdir", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--at", nargs="+", default=None, help="epochs, 'step:N', 'last' or 'all' (default: all)"
    )


def model_arguments(parser: argparse.ArgumentParser) -> None:
    """--model, and how that network is looked at."""
    group = parser.add_argument_group("anyone's network")
    group.add_argument(
        "--model",
        default=None,
        help="pkg.module:build or file.py:build, a function that returns a module (Linen, NNX,"
        " Equinox) or features(parameters, inputs); or the module's class",
    )
    group.add_argument(
        "--checkpoints",
        type=local_path,
        default=None,
        help="a folder of checkpoints: of Orbax or flax.serialization, .npz, .safetensors",
    )
    group.add_argument(
        "--steps",
        default=None,
        metavar="PATTERN",
        help="a regular expression for their names: its group is the step, or groups named step"
        " and epoch (default: names like 100, ckpt-100, epoch_3)",
    )
    group.add_argument(
        "--variables", default=None, help="path of the network's variables in a checkpoint"
    )
    group.add_argument("--input", type=int, default=224, help="pixels a side (default: 224)")
    group.add_argument("--channels", type=int, default=3, help="of the input (default: 3)")
    group.add_argument(
        "--smooth",
        nargs="+",
        default=[],
        help="smooth activations to give a rule: gelu, silu, tanh, mish",
    )
    group.add_argument(
        "--statistics",
        default="rule",
        help="norms and gates coming down: frozen, identity, gradient, or as the rule has it",
    )


def data_argument(parser: argparse.ArgumentParser) -> None:
    """--data.dir."""
    parser.add_argument(
        "--data.dir", dest="data_dir", default=None, help="folder of prepared data sets"
    )


def seeds_argument(parser: argparse.ArgumentParser) -> None:
    """``--seeds-of``."""
    parser.add_argument(
        "--seeds-of",
        nargs="+",
        type=Path,
        default=(),
        metavar="RUN",
        help="runs that differ in the seed: intervals are over seeds then",
    )


def deterministic_argument(parser: argparse.ArgumentParser) -> None:
    """--deterministic."""
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="bit-exact on NVIDIA chips too (slower; CPU is so anyway)",
    )


def ask_deterministic(options: argparse.Namespace) -> None:
    """Asks JAX for it, before it meets its devices."""
    if options.deterministic:
        os.environ["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        )


def process_arguments(parser: argparse.ArgumentParser) -> None:
    """--coordinator, --process-count, --process-index."""
    group = parser.add_argument_group("many processes (launch/ starts them)")
    group.add_argument(
        "--coordinator",
        default=None,
        help="HOST:PORT of process 0, or 'auto' under Slurm, Open MPI and on Cloud TPU",
    )
    group.add_argument("--process-count", type=int, default=None, help="processes in all")
    group.add_argument(
        "--process-index", type=int, default=None, help="which of them this is, from 0"
    )


def join_others(options: argparse.Namespace) -> None:
    """Makes this process one of many, where ``process_arguments`` ask for it."""
    if (
        options.coordinator
        or options.process_count is not None
        or options.process_index is not None
    ):
        from zfjax.joining import join

        join(options.coordinator, options.process_count, options.process_index)
