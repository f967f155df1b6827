"""``zfjax measure``. No JAX."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zfjax.commands.arguments import (
    Subparsers,
    add_command,
    data_argument,
    join_others,
    process_arguments,
    seeds_argument,
    takes_config_fields,
)
from zfjax.errors import ZfjaxError


def add_measure(subparsers: Subparsers) -> None:
    """``zfjax measure`` and its flags."""
    parser = add_command(
        subparsers,
        "measure",
        measure,
        "Analyse every saved epoch: what settles, what is dead, what is about which class.",
        add_help=False,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="measures (zfjax measure --list), or your own as pkg.module:measure (default: all that"
        " the run and its data can give); their options as --NAME.OPTION VALUE",
    )
    parser.add_argument(
        "-h", "--help", action=_Help, nargs=0, help="this; after a NAME, what that measure is"
    )
    parser.add_argument("--list", action="store_true", help="the measures there are")
    parser.add_argument("--workdir", type=Path, default=None, help="run folder")
    parser.add_argument(
        "--at", nargs="+", default=None, help="epochs, 'step:N', 'last' or 'all' (default: all)"
    )
    parser.add_argument("--layers", nargs="+", default=None, help="convolutions (default: all)")
    parser.add_argument(
        "--images",
        type=int,
        default=None,
        help="images of the fixed probe (default: 10,000; 2,000 of a run of an ablation)",
    )
    data_argument(parser)
    parser.add_argument(
        "--split", default=None, help="split looked at (default: the training split)"
    )
    seeds_argument(parser)
    parser.add_argument("--name", default=None, help="write RUN/measures-NAME")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what it would cost, run nothing"
    )
    process_arguments(parser)
    takes_config_fields(parser)


class _Help(argparse.Action):
    """Help of the command, or of the measures that are named before it."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, *ignored: Any) -> None:
        names = getattr(namespace, "names", None)
        if not names:
            parser.print_help()
        for name in names or ():
            from zfjax.measures.choosing import find_measure, words_of

            try:
                print(words_of(find_measure(name)), end="\n\n")
            except ZfjaxError as error:
                print(f"zfjax: {error}", file=sys.stderr)
                parser.exit(1)
        parser.exit()


def measure(options: argparse.Namespace) -> int:
    """``zfjax measure``: analyses."""
    if options.list:
        return list_measures()
    if options.workdir is None:
        raise ZfjaxError("zfjax measure needs --workdir RUN, or --list.")
    flags, names = split_flags(options.config_flags)
    options.at, after_epochs = _epochs_and_names(options.at)
    names = [*options.names, *names, *after_epochs]
    if options.dry_run:
        return _dry_run(options, names, flags)
    join_others(options)
    from zfjax.measures.running import Home, measure_runs
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.adopted import load_any

    runs = [load_any(folder) for folder in (options.workdir, *options.seeds_of)]
    home = Home(options.data_dir, options.name)
    with Reporter() as progress:
        chosen = _chosen(runs[0], names, flags, options, progress)
        results = measure_runs(runs, chosen, _wanted(options), home, progress)
    return print_results(results) if is_first() else int(bool(results.failed))


def _epochs_and_names(words: Sequence[str] | None) -> tuple[list[str] | None, list[str]]:
    """(epochs, measures) of what stands after --at, which takes all words that follow it."""
    if words is None:
        return None, []
    epochs = [word for word in words if _is_epoch(word)]
    if not epochs:
        raise ZfjaxError(
            f"--at takes epochs, 'step:N', 'last' or 'all', not {' '.join(words)}; the names of"
            " measures come before it."
        )
    return epochs, [word for word in words if word not in epochs]


def _is_epoch(word: str) -> bool:
    return word in ("last", "all") or word.startswith("step:") or not word[:1].isalpha()


def list_measures() -> int:
    """Prints a line a measure."""
    from zfjax.measures.choosing import BUILT_IN, find_measure, first_words

    for name in BUILT_IN:
        print(f"{name:<14} {first_words(find_measure(name))}")
    print("Your own: pkg.module:measure, as experiments/own_measure.py.")
    return 0


def split_flags(rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """(flags with their values, other words) of what the parser has left over."""
    flags, words = [], []
    waiting = False
    for item in rest:
        if item.startswith("--"):
            waiting = "=" not in item
            flags.append(item)
        elif waiting:
            waiting = False
            flags.append(item)
        else:
            words.append(item)
    return flags, words


def chosen_measures(names: Sequence[str], flags: Sequence[str]) -> list[Any]:
    """The measures of these names with their options. Raises ZfjaxError for what is not there."""
    from zfjax.measures.choosing import find_measure, read_flags, with_options
    from zfjax.measures.planning import Chosen

    measures = [find_measure(name) for name in dict.fromkeys(names)]
    called = [each.name for each in measures]
    if twice := [name for name in called if called.count(name) > 1]:
        raise ZfjaxError(f"Two measures are called {twice[0]!r}; give one of them another name.")
    texts: Mapping[str, Mapping[str, str]] = read_flags(measures, flags)
    return [Chosen(each, with_options(each, texts[each.name])) for each in measures]


def _chosen(
    run: Any, names: Sequence[str], flags: Sequence[str], options: argparse.Namespace, progress: Any
) -> list[Any]:
    """The measures that are named; of all there are, those that this run can give."""
    if names:
        return chosen_measures(names, flags)
    from zfjax.measures.choosing import BUILT_IN
    from zfjax.measures.running import plan_of_run

    possible: list[Any] = []
    errors: dict[str, ZfjaxError] = {}
    for chosen in chosen_measures(BUILT_IN, flags):
        try:
            plan_of_run(run, [chosen], _wanted(options), options.data_dir, progress)
        except ZfjaxError as error:
            errors[chosen.name] = error
        else:
            possible.append(chosen)
    if not any(chosen.measure.takes_images for chosen in possible):
        raise next(iter(errors.values()))  # it is not for one measure that none can be made
    for name, lack in errors.items():
        print(f"zfjax: without {name}: {lack}", file=sys.stderr)
    return possible


def _wanted(options: argparse.Namespace) -> Any:
    from zfjax.measures.planning import Wanted

    return Wanted(options.at, options.images, options.split, options.layers)


def _dry_run(options: argparse.Namespace, names: Sequence[str], flags: Sequence[str]) -> int:
    """Prints what the same request would take, checked as it would be."""
    from zfjax.joining import meeting_of
    from zfjax.measures.planning import cost_of
    from zfjax.measures.running import Home, plan_of_runs
    from zfjax.progress import Reporter
    from zfjax.run.adopted import load_any
    from zfjax.run.folder import Run

    meeting_of(options.coordinator, options.process_count, options.process_index)
    runs = [load_any(folder) for folder in (options.workdir, *options.seeds_of)]
    home = Home(options.data_dir, options.name)
    with Reporter() as progress:
        chosen = _chosen(runs[0], names, flags, options, progress)
        plan = plan_of_runs(runs, chosen, _wanted(options), home, progress)
    ours = runs[0] if isinstance(runs[0], Run) else None
    print_cost(cost_of(plan, ours), runs[0])
    return 0


def print_cost(cost: Any, run: Any) -> None:
    """Prints bytes, FLOPs and time."""
    from zfjax.progress import time_words

    if not cost.images and not cost.evaluations:
        print(f"{cost.checkpoints} checkpoints, no images: seconds")
        return
    if cost.images:
        print(
            f"{cost.checkpoints} checkpoints x {cost.images:,} images of the probe:"
            f" {cost.flops / 1e12:,.1f} TFLOP"
        )
        print(
            f"the probe is {cost.kept_bytes / 2**20:,.0f} MiB on disk, and"
            f" {cost.scratch_bytes / 2**20:,.0f} MiB more while it is gathered"
        )
    for line in evaluation_lines(cost):
        print(line)
    if rate := search_rate(run):
        seconds = (cost.images * cost.checkpoints + cost.evaluated) / rate
        print(f"about {time_words(seconds)}, were this machine the one that trained it")


def evaluation_lines(cost: Any) -> list[str]:
    """A line for each measure that runs the network beside the pass."""
    return [
        f"{name}: {times:,} evaluations of {images:,} images"
        for name, (times, images) in cost.evaluations.items()
    ]


def search_rate(run: Any) -> float | None:
    """Images x checkpoints a second of a pass, by how fast the run has trained: a forward pass is a
    third of a training step. None where it is not known.
    """
    trained = sorted(
        line["images_per_second"] for line in run.metrics if "images_per_second" in line
    )
    return 3 * float(trained[len(trained) // 2]) if trained else None


def print_results(results: Any) -> int:
    """Prints what the measures say and where it stands, then what failed; the exit status."""
    for measured in results.measured.values():
        words = results.words.get(measured.name)
        if words is None:
            words = (measured.folder / f"{measured.name}.txt").read_text(encoding="utf-8").rstrip()
        print(f"{measured.name}: {words}\n{measured.folder / measured.name}.parquet\n")
    finished = (
        f"the others ({', '.join(results.measured)}) are finished" if results.measured else ""
    )
    for name, error in results.failed.items():
        if isinstance(error, ZfjaxError):
            print(f"zfjax: {error}", file=sys.stderr)
            continue
        clauses = filter(None, [f"zfjax: the measure {name} raised what stands below", finished])
        print(f"{'; '.join(clauses)}.", file=sys.stderr)
        traceback.print_exception(error)
    return 1 if results.failed else 0
