"""``zfjax compare``. No JAX where the runs were measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from zfjax.commands.arguments import Subparsers, add_command, data_argument


def add_compare(subparsers: Subparsers) -> None:
    """``zfjax compare`` and its flags."""
    parser = add_command(
        subparsers,
        "compare",
        compare_runs,
        "Runs side by side: which map of one is which of another, at every epoch, on one page.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders; the first is matched to"
    )
    parser.add_argument(
        "--layers", nargs="+", default=None, help="convolutions (default: all that they share)"
    )
    parser.add_argument(
        "--at",
        nargs="+",
        default=None,
        help="epochs, 'last' or 'all' (default: all that they share)",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=None,
        help="images of the probe (default: those that the runs' probes share)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder of page and tables (default: ./compare-NAMES)",
    )
    data_argument(parser)


def compare_runs(options: argparse.Namespace) -> int:
    """``zfjax compare``: matches, then prints what it found and where it stands."""
    from zfjax.progress import Reporter
    from zfjax.studies.comparing import compare

    with Reporter() as progress:
        comparison = compare(
            *options.runs,
            out=options.out,
            data_dir=options.data_dir,
            progress=progress,
            layers=options.layers,
            at=options.at,
            images=options.images,
        )
    print(comparison.sentence)
    print(f"Tables: {comparison.folder / 'summary.parquet'}, matches.parquet")
    print(f"Page: {comparison.page}")
    return 0
