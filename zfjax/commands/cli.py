"""The command line. Every command is a thin function over a room; heavy imports wait until a
command needs them."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zfjax import presets
from zfjax.commands import everything as commands
from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.signals import Terminated, stopping_gently


def console() -> None:
    """The program ``zfjax``: runs the command, and leaves at once where it failed. Threads of Orbax
    and tensorstore may wait for ever for what a failed save has left undone, and Python would wait
    for them."""
    try:
        status = main()
    except SystemExit as done:  # argparse
        status = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    if status:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # its reader may be gone
                stream.flush()
        os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status. A user's mistake prints a few clear lines, never a
    traceback."""
    for name in (
        "asyncio",
        "concurrent.futures",
    ):  # Orbax's abandoned tasks; our sentence says what failed
        logging.getLogger(name).setLevel(logging.CRITICAL)
    together = False
    try:
        with stopping_gently():
            return _run(arguments)
    except ZfjaxError as error:
        _say(str(error))
        status = error.exit_status
        together = status != 1  # stopped on a signal by all processes; one may still be saving
    except (KeyboardInterrupt, Terminated) as stopped:
        _say("stopped.")
        status = 128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT)
    except BrokenPipeError:
        status = 1
    except OSError as error:
        _say(str(explain_os_error(error, "go on:")))
        status = 1
    except Exception as fault:
        if "jax" not in sys.modules:
            raise
        return _after_fault(fault)
    if "jax" in sys.modules:
        from zfjax import joining

        joining.leave(
            status, seconds=joining.PARTING_SECONDS if together else joining.LEAVING_SECONDS
        )
    return status


def _say(sentence: str) -> None:
    with suppress(OSError):  # nobody may be listening any more
        print(f"zfjax: {sentence}", file=sys.stderr)


def _after_fault(fault: Exception) -> int:
    """The status after what a device reports, and after what nobody has foreseen."""
    from zfjax.devices import explain_fault
    from zfjax.joining import leave

    if sentence := explain_fault(fault):
        _say(str(sentence))
    else:
        traceback.print_exception(fault)
    leave(1, fault)
    return 1


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    if rest and known.run not in (commands.train, commands.info):
        parser.error(f"unrecognised: {' '.join(rest)}; see `zfjax {known.command} --help`")
    known.config_flags = rest
    return known.run(known) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zfjax",
        description="Watch a convnet learn: train, keep every epoch, see how its features evolve.",
        allow_abbrev=False,
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Any, text: str, into: Any = parsers, **options: Any
    ) -> argparse.ArgumentParser:
        sub = into.add_parser(name, help=text, description=text, allow_abbrev=False, **options)
        sub.set_defaults(run=run)
        return sub

    demo = command(
        "demo", commands.demo, "The main job on embedded data, in minutes: train, evolve, report."
    )
    demo.add_argument(
        "--workdir", type=Path, default=Path("runs/demo"), help="run folder (default: %(default)s)"
    )

    data = parsers.add_parser("data", help="Import images, list data sets.", allow_abbrev=False)
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    imports = command(
        "import", commands.data_import, "Import a folder or tar of images, or ILSVRC2012.", actions
    )
    imports.add_argument(
        "source",
        type=Path,
        help=(
            "class folders, with or without train/ val/ test/, a .tar of them, or a folder with the"
            " ILSVRC2012 tars"
        ),
    )
    imports.add_argument(
        "--name", required=True, help="name of the new data set, in lower snake case"
    )
    imports.add_argument(
        "--data-dir",
        "--data.dir",
        type=Path,
        default=None,
        help="folder of prepared data sets (default: zfjax's own)",
    )
    imports.add_argument(
        "--holdout",
        type=float,
        default=0.0,
        help="share kept for validation where the source has none",
    )
    imports.add_argument(
        "--splits",
        nargs="+",
        action="extend",
        default=None,
        metavar="SPLIT=FOLDER",
        help=(
            "which folders are splits, as in train=Training validation=Dev test=Eval (several for"
            " one split: name it again), or 'none' where all folders are classes (default: by their"
            " names)"
        ),
    )
    imports.add_argument(
        "--size",
        type=_size,
        default=None,
        help=(
            "shorter side in pixels to resize larger images to, once, or 'original' (default: 256"
            " for ILSVRC2012)"
        ),
    )
    imports.add_argument(
        "--quality",
        type=int,
        default=None,
        help="JPEG quality where an image is stored anew (default: 95; 90 for ILSVRC2012)",
    )
    imports.add_argument(
        "--workers", type=int, default=None, help="processes, for ILSVRC2012 (default: one a core)"
    )
    imports.add_argument(
        "--max-pixels",
        type=int,
        default=50_000_000,
        help=(
            "larger images are skipped, undecoded; kept for whoever reads the set (default:"
            " %(default)s)"
        ),
    )
    lists = command(
        "list", commands.data_list, "What is there: splits, images, bytes, fingerprint.", actions
    )
    lists.add_argument(
        "--data-dir",
        "--data.dir",
        type=Path,
        default=None,
        help="folder of prepared data sets (default: zfjax's own)",
    )

    fetches = command(
        "fetch", commands.data_fetch, "Have TFDS prepare a set that it knows by name.", actions
    )
    fetches.add_argument("name", help="as TFDS calls it: beans, oxford_flowers102 ...")
    fetches.add_argument(
        "--data-dir",
        type=Path,
        default=None,
        help="folder of prepared data sets (default: zfjax's)",
    )

    train = command(
        "train", commands.train, "Train, or go on training; saves every epoch.", add_help=False
    )
    train.add_argument("--preset", help=f"one of {', '.join(presets.PRESETS)}")
    train.add_argument(
        "--config", type=Path, help="a JSON config, such as another run's config.json"
    )
    train.add_argument("--workdir", type=Path, help="run folder")
    train.add_argument("--devices", type=int, default=None, help="number of devices (default: all)")
    train.add_argument(
        "--shard-parameters",
        action="store_true",
        help="spread large parameters over the devices, to save memory",
    )
    train.add_argument(
        "--deterministic",
        action="store_true",
        help="bit-exact on NVIDIA chips too (slower; CPU is so anyway)",
    )
    train.add_argument(
        "--evolve-every",
        type=int,
        default=None,
        metavar="N",
        help="every N epochs, draw the evolution so far: RUN/evolution-live and RUN/report-live",
    )
    train.add_argument(
        "--evolve-images",
        type=int,
        default=1000,
        help="training images searched for it (default: %(default)s)",
    )
    train.add_argument(
        "-h",
        "--help",
        action="store_true",
        dest="wants_help",
        help="show this, and every config field",
    )
    _process_arguments(train)
    train.set_defaults(parser=train)

    evaluate = command(
        "evaluate", commands.evaluate, "Error rates of saved epochs, from one crop an image or ten."
    )
    evaluate.add_argument(
        "--views", type=int, default=1, help="1: the central crop; 10: the paper's (default: 1)"
    )
    _run_arguments(evaluate)
    evaluate.add_argument(
        "--devices", type=int, default=None, help="number of devices (default: all)"
    )
    evaluate.add_argument(
        "--split", default=None, help="split to evaluate on (default: the validation split)"
    )
    evaluate.add_argument(
        "--data.dir", dest="data_dir", default=None, help="folder of prepared data sets"
    )

    evolve = command(
        "evolve", commands.evolve, "Search every epoch's strongest images, project them to pixels."
    )
    _run_arguments(evolve)
    evolve.add_argument("--layers", nargs="+", default=None, help="convolutions (default: all)")
    evolve.add_argument(
        "--maps", default="16", help="maps drawn of each layer, or 'all' (default: 16)"
    )
    evolve.add_argument(
        "--top", type=int, default=9, help="strongest images kept of each map (default: 9)"
    )
    evolve.add_argument(
        "--data.dir", dest="data_dir", default=None, help="folder of prepared data sets"
    )
    evolve.add_argument(
        "--split", default=None, help="split searched (default: the training split)"
    )
    evolve.add_argument(
        "--images", type=int, default=None, help="search only the first so many images"
    )
    evolve.add_argument(
        "--rule",
        default="deconvnet",
        help="deconvnet, guided, gradient, deconvnet+norm or guided+norm",
    )
    evolve.add_argument(
        "--every-rank", action="store_true", help="draw all --top images of every epoch"
    )
    evolve.add_argument("--name", default=None, help="write RUN/evolution-NAME")
    evolve.add_argument(
        "--dry-run", action="store_true", help="print what it would cost, run nothing"
    )
    _process_arguments(evolve)

    project = command(
        "project", commands.project, "One image, one map, any epochs: a picture strip."
    )
    _run_arguments(project)
    image = project.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", type=Path, help="an image file")
    image.add_argument(
        "--image-id", type=int, help="an image of the run's data set, by its number in the split"
    )
    project.add_argument(
        "--split", default=None, help="of --image-id (default: the training split)"
    )
    project.add_argument(
        "--data.dir", dest="data_dir", default=None, help="folder of prepared data sets"
    )
    project.add_argument("--layer", required=True)
    project.add_argument("--map", type=int, required=True)
    project.add_argument(
        "--max-pixels",
        type=int,
        default=50_000_000,
        help="of --image: a larger one is refused (default: %(default)s)",
    )
    project.add_argument("--rule", default="deconvnet", help="as in evolve")
    project.add_argument(
        "--out", type=Path, default=None, help="PNG to write (default: RUN/projections/...)"
    )

    report = command("report", commands.report, "Figures and the page, from saved files only.")
    report.add_argument("--workdir", type=Path, required=True, help="run folder")
    report.add_argument("--name", default=None, help="of a named evolution")
    report.add_argument("--no-photos", action="store_true", help="leave every photograph out")

    info = command(
        "info",
        commands.info,
        "Layer table, costs, and a run's epochs; nothing is run. Takes config fields, as train.",
    )
    info.add_argument("--preset", default=None, help=f"one of {', '.join(presets.PRESETS)}")
    info.add_argument("--workdir", type=Path, default=None, help="run folder")
    info.add_argument(
        "--images-per-second",
        type=float,
        default=None,
        help="a training's speed: the cores to feed it, and its hours",
    )
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--at", nargs="+", default=None, help="epochs, 'step:N', 'last' or 'all' (default: all)"
    )


def _size(text: str) -> int | str:
    """Pixels, or "original"."""
    return text if text == "original" else int(text)


def _process_arguments(parser: argparse.ArgumentParser) -> None:
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
