"""``zfjax report``. No JAX."""

from __future__ import annotations

import argparse
from pathlib import Path

from zfjax.commands.arguments import Subparsers, add_command
from zfjax.errors import ZfjaxError


def add_report(subparsers: Subparsers) -> None:
    """``zfjax report`` and its flags."""
    parser = add_command(
        subparsers, "report", report, "Figures and the page, from saved files only."
    )
    parser.add_argument("--workdir", type=Path, required=True, help="run folder")
    parser.add_argument("--name", default=None, help="of a named evolution")
    parser.add_argument("--no-photos", action="store_true", help="leave every photograph out")
    parser.add_argument(
        "--film",
        nargs="*",
        default=None,
        metavar="LAYER",
        help="a film of each of these layers too, or of all, for talks: film-LAYER.gif",
    )
    parser.add_argument("--format", default=None, help="of films: gif (default), or mp4 by ffmpeg")
    parser.add_argument(
        "--beside",
        type=Path,
        default=None,
        metavar="RUN2",
        help="another run whose measured settling stands beside this one's",
    )


def report(options: argparse.Namespace) -> int:
    """``zfjax report``: writes figures and page, and films where they are asked for."""
    from zfjax.progress import Reporter

    if options.format is not None and options.film is None:
        raise ZfjaxError("--format goes with --film.")

    with Reporter() as progress:
        progress("opening", 0, 1)  # what draws takes a second to load, or several on a busy machine
        from zfjax.report.page import write_report
        from zfjax.run.adopted import load_any

        run = load_any(options.workdir)
        film = None
        if options.film is not None:
            from zfjax.report.film import film_of, write_films

            film = film_of(run, options.name, options.format or "gif", options.film)
        progress("opening", 1, 1)
        page = write_report(
            run,
            name=options.name,
            photos=not options.no_photos,
            beside=options.beside,
            progress=progress,
        )
        paths = [] if film is None else write_films(film, progress)
    print(f"Open the report: {page}")
    if film is not None and film.note:
        print(film.note)
    for path in paths:
        print(f"Film: {path}")
    return 0
