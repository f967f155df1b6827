"""What ``zfjax evolve --dry-run`` prints, of a run or of anyone's checkpoints. No JAX."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from zfjax.commands.measures import chosen_measures, evaluation_lines, split_flags
from zfjax.errors import ZfjaxError
from zfjax.report.kit.wording import rough_count

if TYPE_CHECKING:
    from zfjax.features.asking import Request
    from zfjax.features.foreseeing import Plan
    from zfjax.measures.planning import Cost as ProbeCost
    from zfjax.run.folder import Run


def riding_measures(options: argparse.Namespace) -> list[Any]:
    """The measures of ``--measure`` with their options, as ``chosen_measures`` gives them. Raises
    ZfjaxError for what is not there.
    """
    flags, names = split_flags(options.config_flags)
    if names:
        raise ZfjaxError(f"Not understood: {' '.join(names)}; see `zfjax evolve --help`.")
    return chosen_measures(options.measure, flags)


def dry_run(options: argparse.Namespace, asked: dict[str, Any]) -> int:
    """Prints what the same request of a run would take, checked as it would be."""
    from zfjax.features.asking import Asked
    from zfjax.features.foreseeing import planned
    from zfjax.joining import meeting_of
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run

    meeting_of(options.coordinator, options.process_count, options.process_index)
    with Reporter() as progress:
        plan = planned(options.workdir, Asked(**asked), options.name, options.data_dir, progress)
    print("\n".join(foreseen_lines(plan, options, load_run(options.workdir))))
    return 0


def foreseen_lines(plan: Plan, options: argparse.Namespace, run: Run | None = None) -> list[str]:
    """What a request would take and what of it is there; with the time, where a run says how fast
    it trained.
    """
    probe = _probe(plan, options, run) if options.measure else None
    lines = [*_cost_lines(plan, options), *([] if probe is None else _probe_lines(probe))]
    metrics = [] if run is None else run.metrics
    speeds = [line["images_per_second"] for line in metrics if "images_per_second" in line]
    if speeds:
        rate = 3 * sorted(speeds)[len(speeds) // 2]
        looked = plan.request.images * len(_to_search(plan, options).steps)
        evaluated = 0 if probe is None else probe.evaluated
        minutes = rough_count(round((looked + evaluated) / rate / 60))
        lines.append(f"about {minutes} minutes, were this machine the one that trained it")
    return [*lines, *_standing_lines(plan)]


def _to_search(plan: Plan, options: argparse.Namespace) -> Request:
    """Measures ride over every step, new or not."""
    return plan.request if options.measure else plan.to_search


def _cost_lines(plan: Plan, options: argparse.Namespace) -> list[str]:
    """Of the steps that are searched, and of all that is drawn."""
    from zfjax.features.asking import cost

    search, takes = cost(plan.subject, _to_search(plan, options)), cost(plan.subject, plan.request)
    return [
        f"{search.checkpoints} checkpoints x {search.images:,} images: {search.flops / 1e12:,.1f}"
        " TFLOP to search",
        f"{takes.tiles:,} tiles, at most {takes.tile_bytes / 2**20:,.0f} MiB",
    ]


def _probe(plan: Plan, options: argparse.Namespace, run: Run | None) -> ProbeCost:
    """What measures on the same pass take, checked as they would be."""
    from zfjax.measures.along import plan_along
    from zfjax.measures.boarding import is_measured_as
    from zfjax.measures.planning import cost_of, images_by_default
    from zfjax.run.measured import measures_folder

    most = images_by_default(options.workdir)
    along = plan_along(plan.subject, plan.request, riding_measures(options), None, most, run)
    for chosen in along.chosen:
        folder = measures_folder(options.workdir, options.name)
        is_measured_as(along, chosen, folder, along=True)
    return cost_of(along, run)


def _probe_lines(probe: ProbeCost) -> list[str]:
    return [
        f"measures: a probe of {probe.images:,} images, {probe.kept_bytes / 2**20:,.0f} MiB"
        f" on disk and {probe.scratch_bytes / 2**20:,.0f} MiB more while it is gathered",
        *evaluation_lines(probe),
    ]


def _standing_lines(plan: Plan) -> list[str]:
    """What of it is there already."""
    lines = []
    if known := len(plan.request.steps) - len(plan.to_search.steps):
        lines.append(f"the other {known} checkpoints are searched already")
    if plan.finished:
        lines.append("it is there already, finished: nothing would be run")
    return lines
