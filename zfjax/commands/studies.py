"""``zfjax ablate``. No JAX until something is trained."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax import presets
from zfjax.commands.arguments import (
    Subparsers,
    add_command,
    ask_deterministic,
    deterministic_argument,
    takes_config_fields,
)
from zfjax.commands.flags import resolve_config
from zfjax.commands.information import prepared_classes, prepared_data, prepared_images
from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.fields import PAIR_WORDS
from zfjax.files import local_path, read_json
from zfjax.grids import GRIDS


def add_ablate(subparsers: Subparsers) -> None:
    """``zfjax ablate`` and its flags."""
    parser = add_command(
        subparsers,
        "ablate",
        ablate_grid,
        "A grid of runs and what it shows; takes config fields, as train. Goes on where it was.",
    )
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the grid")
    parser.add_argument("--preset", help=f"one of {', '.join(presets.PRESETS)}")
    parser.add_argument(
        "--config", type=local_path, help="a JSON config, such as a run's config.json"
    )
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="FIELD,FIELD=VALUE:VALUE,...",
        help=f"values of a field, or of fields that change together ({PAIR_WORDS}); several --vary"
        " multiply",
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="LAYER,...",
        help="one more cell: the base without these layers",
    )
    parser.add_argument(
        "--cell",
        action="append",
        default=[],
        metavar="NAME=FILE.json",
        help="one more cell: a config, or fields by dotted path",
    )
    parser.add_argument(
        "--grid", action="append", default=[], help=f"a ready grid: {', '.join(GRIDS)}"
    )
    parser.add_argument("--seeds", help="how many, or a list such as 0,7,9 (default: 3)")
    parser.add_argument(
        "--tune",
        metavar="FIELD=VALUE,...",
        help="the best of these for each cell, sought on training images held out",
    )
    parser.add_argument(
        "--work",
        nargs="?",
        const="",
        metavar="I/N",
        help="one of many workers; I/N: every Nth run from the Ith, where locks do not hold",
    )
    parser.add_argument(
        "--on-failure",
        choices=("continue", "stop"),
        default="continue",
        help="what this worker does when a run fails (default: %(default)s)",
    )
    parser.add_argument(
        "--no-measures",
        action="store_true",
        help="do not measure finished runs (census, spectrum, settling, on 2,000 images)",
    )
    parser.add_argument("--devices", type=int, help="number of devices (default: all)")
    deterministic_argument(parser)
    parser.add_argument(
        "--images-per-second", type=float, help="a training's speed, for the time to expect"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the cells, train nothing")
    parser.add_argument("--status", action="store_true", help="how far each run is")
    parser.add_argument("--json", action="store_true", help="with --status: as JSON")
    takes_config_fields(parser)


def ablate_grid(options: argparse.Namespace) -> int:
    """``zfjax ablate``: plans, shows, trains, compares."""
    from zfjax.studies.planning import plan_of

    if options.json and not options.status:
        raise ZfjaxError("--json goes with --status.")
    if options.status:
        return _show_status(options)
    request, turn = _request(options), _turn(options.work)
    if options.images_per_second is not None and not options.images_per_second > 0:
        raise ZfjaxError(f"--images-per-second {options.images_per_second:g} must be above 0.")
    plan = plan_of(options.workdir, request)
    plan = plan_of(options.workdir, request, prepared_classes(plan.base))
    if options.work is None or options.dry_run:
        _show_costs(plan, options.images_per_second)
    if options.dry_run:
        _check_data(plan)
        return 0
    return _train(options, request, turn)


def _check_data(plan: Any) -> None:
    """Raises ZfjaxError where the data set is prepared and cannot train a cell, as training
    would.
    """
    from zfjax.studies.ablating import errors_of
    from zfjax.training.opening import check_data

    if (dataset := prepared_data(plan.base)) is not None:
        for cell in plan.cells:
            with errors_of(cell):
                check_data(cell.config, dataset)


def _train(options: argparse.Namespace, request: Any, turn: tuple[int, int] | None) -> int:
    ask_deterministic(options)
    from zfjax.progress import Reporter
    from zfjax.studies.ablating import Work, begin_plan, work_through
    from zfjax.studies.costs import check_disk
    from zfjax.studies.results import read_results, table_rows
    from zfjax.studies.tables import print_table, result_table

    with Reporter() as progress:
        plan = begin_plan(options.workdir, request, progress)
        check_disk(plan)
        work = Work(
            turn=turn,
            stop_on_failure=options.on_failure == "stop",
            devices=options.devices,
            measures=not options.no_measures,
            progress=progress,
            say=_say,
        )
        work_through(plan, work)
    results = read_results(plan)
    print_table(result_table(plan, table_rows(results)))
    print(f"Tables: {plan.folder / 'table.csv'}, table.tex, cells.parquet, correct.npz")
    print(f"Page: {plan.folder / 'report' / 'index.html'}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _request(options: argparse.Namespace) -> Any:
    from zfjax.studies.cells import Wanted, axis_of
    from zfjax.studies.planning import Request, drop_from, file_from, seeds_from

    wanted = Wanted(
        axes=tuple(axis_of(text) for text in options.vary),
        drops=tuple(drop_from(text) for text in options.drop),
        files=tuple(file_from(text) for text in options.cell),
        grids=tuple(options.grid),
    )
    seeds = () if options.seeds is None else seeds_from(options.seeds)
    return Request(_base(options), wanted, seeds, options.tune)


def _base(options: argparse.Namespace) -> Config | None:
    """The base that is asked for; None: that of the folder."""
    from zfjax.studies.plans import check_plan_folder, load_plan

    if options.preset and options.config:
        raise ZfjaxError("Give --preset or --config, not both.")
    if any(word.split("=")[0] == "--seed" for word in options.config_flags):
        raise ZfjaxError("--seed is for one run; an ablation takes --seeds.")
    base = configs.from_json(read_json(options.config)) if options.config else None
    if options.preset:
        base = presets.preset(options.preset)
    if base is None and options.config_flags:
        before = load_plan(check_plan_folder(options.workdir))
        base = None if before is None else before.base
        if base is None:
            raise ZfjaxError("Give --preset or --config to begin an ablation.")
    return None if base is None else resolve_config(base, options.config_flags)


def _turn(work: str | None) -> tuple[int, int] | None:
    """``--work 2/8``; None where locks say who trains what."""
    if not work:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", work)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ZfjaxError(f"--work {work}: write I/N, such as 2/8, with I from 1 to N.")
    return int(match[1]), int(match[2])


def _show_costs(plan: Any, images_per_second: float | None) -> None:
    from zfjax.studies import costs
    from zfjax.studies.tables import print_table

    images = prepared_images(plan.base)
    if images is None:
        print(f"{plan.base.data.name} is not prepared yet: time as for 100,000 training images.")
        images = 100_000
    else:
        costs.check_batches(plan, images)
    rate, source = costs.rate_and_words(plan, images, images_per_second)
    print_table(costs.cost_table(plan, images, rate))
    print("\n".join([*costs.notes_of(plan), costs.plan_words(plan, images, rate, source)]))


def _show_status(options: argparse.Namespace) -> int:
    from zfjax.studies.plans import check_plan_folder, load_plan
    from zfjax.studies.tables import plain_table, print_table

    plan = load_plan(check_plan_folder(options.workdir))
    if plan is None:
        raise ZfjaxError(f"{options.workdir} holds no ablation yet.")
    rows = list(_status_rows(plan))
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    table = plain_table("", ("cell", *(f"seed {seed}" for seed in plan.seeds)))
    words = {(row["cell"], row["seed"]): _status_words(row) for row in rows}
    for cell in plan.cells:
        table.add_row(cell.name, *(words[cell.name, seed] for seed in plan.seeds))
    print_table(table)
    for row in rows:
        if row["message"]:
            print(f"{row['folder']}: {row['status']}: {row['message']}")
    return 0


def _status_rows(plan: Any) -> Iterator[dict[str, Any]]:
    """A row a run, as --status --json prints it."""
    from zfjax.studies.belonging import run_standing

    for cell, seed in plan.runs():
        folder = plan.run_folder(cell, seed)
        item = run_standing(plan, cell, seed)
        outcome = item.outcome
        yield {
            "cell": cell.name,
            "seed": seed,
            "status": item.status,
            "top1": None if outcome is None else outcome.top1,
            "tries": 0 if outcome is None else outcome.tries,
            "message": None if outcome is None else outcome.message,
            "measuring": item.measuring,
            "folder": folder.relative_to(plan.folder).as_posix(),
        }


def _status_words(row: dict[str, Any]) -> str:
    top1, measuring = row["top1"], ", measuring" if row["measuring"] else ""
    return row["status"] if top1 is None else f"{row['status']} {top1:.1%}{measuring}"
