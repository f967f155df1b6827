"""The command line: the parser, put together of what each command adds, and how a command ends.

A command and its flags stand in one file beside this one. Heavy imports wait until a command needs
them.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from zfjax.commands.comparisons import add_compare
from zfjax.commands.data import add_data
from zfjax.commands.demonstration import add_demo
from zfjax.commands.evaluation import add_evaluate
from zfjax.commands.features import add_evolve
from zfjax.commands.information import add_info
from zfjax.commands.measures import add_measure
from zfjax.commands.papers import add_paper
from zfjax.commands.projections import add_project
from zfjax.commands.reports import add_report
from zfjax.commands.streams import flush_output, settle_streams
from zfjax.commands.studies import add_ablate
from zfjax.commands.training import add_train
from zfjax.commands.transfers import add_transfer
from zfjax.commands.weights import add_import_weights
from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.homes import settle_matplotlib
from zfjax.signals import Terminated, stopping_gently

COMMANDS = (
    add_demo,
    add_data,
    add_train,
    add_evaluate,
    add_evolve,
    add_project,
    add_measure,
    add_report,
    add_ablate,
    add_compare,
    add_transfer,
    add_paper,
    add_import_weights,
    add_info,
)
"""What adds each command to the parser, in the order of ``zfjax --help``."""


def console() -> None:
    """The program ``zfjax``: runs the command, and leaves at once where it failed. Threads of Orbax
    and tensorstore may wait for ever for what a failed save has left undone, and Python would wait
    for them.
    """
    try:
        status = main()
    except SystemExit as done:  # argparse
        status = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
        status = status or _status_of_output()
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
    traceback.
    """
    for name in ("asyncio", "concurrent.futures"):
        # Orbax's abandoned tasks speak through them; our sentence says what failed.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    together = False
    settle_streams()
    settle_matplotlib()
    try:
        with stopping_gently():
            status = _run(arguments)
            flush_output()
        if not status:
            return 0
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


def _status_of_output() -> int:
    """0 where all that was printed has gone out; else 1, and a sentence where somebody is left to
    read it.
    """
    try:
        flush_output()
    except BrokenPipeError:
        return 1
    except ZfjaxError as error:
        _say(str(error))
        return 1
    return 0


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
    """Parses and runs. What no flag of a command is, is a config field where it takes such."""
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    # What evolve does not know is an option of a measure that it is asked for.
    if rest and not (known.takes_config_fields or getattr(known, "measure", None)):
        parser.error(f"unrecognised: {' '.join(rest)}; see `zfjax {known.command} --help`")
    known.config_flags = rest
    return known.run(known) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zfjax",
        description="Watch a convnet learn: train, keep every epoch, see how its features evolve.",
        allow_abbrev=False,
    )
    parser.set_defaults(takes_config_fields=False)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(subparsers)
    return parser
