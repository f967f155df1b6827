"""``zfjax demo``: the main job on embedded data. No JAX."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from zfjax import presets
from zfjax.commands.arguments import Subparsers, add_command
from zfjax.commands.training import run_training


def add_demo(subparsers: Subparsers) -> None:
    """``zfjax demo`` and its flags."""
    parser = add_command(
        subparsers,
        "demo",
        demo,
        "The main job on embedded data, in minutes: train, evolve, report.",
    )
    parser.add_argument(
        "--workdir", type=Path, default=Path("runs/demo"), help="run folder (default: %(default)s)"
    )


def demo(options: argparse.Namespace) -> int:
    """``zfjax demo``: trains, evolves and reports on the drawn scenes."""
    from zfjax.features.evolving import evolve
    from zfjax.progress import Reporter
    from zfjax.report.page import write_report
    from zfjax.run.summary import summary_lines, update_summary

    run = run_training(presets.preset("demo"), options.workdir)
    assert run is not None, "one process"
    with Reporter() as progress:
        evolution = evolve(run.folder, progress=progress)
        update_summary(run, evolution)
        clock = time.monotonic()
        page = write_report(run, progress=progress)
    summary = update_summary(run, report=time.monotonic() - clock)
    print("\n".join(["", *summary_lines(summary), "", f"Open the report: {page}"]))
    return 0
