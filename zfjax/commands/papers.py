"""``zfjax paper``. No JAX until something is measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from zfjax.commands.arguments import Subparsers, add_command, data_argument, seeds_argument
from zfjax.errors import ZfjaxError


def add_paper(subparsers: Subparsers) -> None:
    """``zfjax paper`` and its flags."""
    parser = add_command(
        subparsers,
        "paper",
        paper,
        "The paper's statements and its readers' questions, answered by this run, on one page.",
    )
    parser.add_argument("--workdir", type=Path, required=True, help="a finished run")
    parser.add_argument(
        "--ablation",
        nargs="+",
        type=Path,
        default=(),
        metavar="DIR",
        help="grids of zfjax ablate (Fig. 6, Table 3)",
    )
    parser.add_argument(
        "--transfer",
        nargs="+",
        default=(),
        metavar="NAME",
        help="data sets that zfjax transfer took the run to (default: all that are finished)",
    )
    seeds_argument(parser)
    parser.add_argument(
        "--quick", action="store_true", help="measure what is missing, small (the default)"
    )
    parser.add_argument("--full", action="store_true", help="measure it at the measures' own sizes")
    parser.add_argument("--saved-only", action="store_true", help="measure nothing")
    data_argument(parser)


def paper(options: argparse.Namespace) -> int:
    """``zfjax paper``: measures what is missing, writes the page, prints what was found."""
    asked = [name for name in ("quick", "full", "saved_only") if getattr(options, name)]
    if len(asked) > 1:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise ZfjaxError(f"{flags} say how much is measured; give one of them.")
    from zfjax.progress import Reporter
    from zfjax.studies.papers import write_paper

    with Reporter() as progress:
        written = write_paper(
            options.workdir,
            ablation=options.ablation,
            transfer=options.transfer,
            seeds_of=options.seeds_of,
            size=asked[0].replace("_", "-") if asked else "quick",  # type: ignore[arg-type]
            data_dir=options.data_dir,
            progress=progress,
        )
    print(written.sentence)
    for obstacle in written.obstacles:
        print(f"Not measured: {obstacle}")
    print(f"Table: {written.folder / 'claims.parquet'}")
    print(f"Page: {written.page}")
    return 0
