"""evolve with measures: they ride along on the forward pass of its search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfjax.features.asking import Asked, Request, request_of
from zfjax.features.evolving import Target as Shown
from zfjax.features.evolving import asked_of, claimed, evolve_subject
from zfjax.features.riding import Company
from zfjax.measures.boarding import Results, Target, finish, standing, take_aboard
from zfjax.measures.planning import (
    Chosen,
    Plan,
    check_needs,
    check_steps,
    images_by_default,
    probe_size,
)
from zfjax.measures.probing import PROBE_IMAGES
from zfjax.measures.running import Home, measure_subject
from zfjax.processes import of_first
from zfjax.progress import Progress
from zfjax.run.evolution import Evolution
from zfjax.run.folder import evolution_folder, load_run
from zfjax.run.measured import measures_folder
from zfjax.subject import Subject


def plan_along(
    subject: Subject,
    request: Request,
    chosen: Sequence[Chosen],
    images: int | None = None,
    most: int = PROBE_IMAGES,
) -> Plan:
    """Measures of what an evolution looks at: its steps and layers, a probe of so many of the
    images that it searches (None: ``most``, or all). Raises ZfjaxError for what the subject does
    not have.
    """
    for item in chosen:
        check_steps(item.measure, request.steps)
        check_needs(item.measure, subject)
    size = probe_size(subject, images, request.images, most)
    return Plan(subject, tuple(chosen), request.steps, request.layers, request.images, size)


def evolve_along(
    workdir: Path | str,
    chosen: Sequence[Chosen],
    asked: Mapping[str, Any],
    *,
    home: Home = Home(),  # noqa: B008 (frozen)
    images: int | None = None,
    progress: Progress | None = None,
) -> tuple[Evolution, Results]:
    """``zfjax.evolve`` and these measures, on one forward pass; on one of their own where the
    evolution is finished already. ``asked``: of the evolution; ``images``: of the probe.
    """
    run = load_run(workdir)
    subject, request = asked_of(run, Asked(**asked), home.data_dir, progress)
    plan = plan_along(subject, request, chosen, images, images_by_default(run.folder))
    folder, name = measures_folder(run.folder, home.name), home.name
    target = Target(folder, run, locked=True, home=run.folder)
    shown = Shown(run.evolution_folder(name), name, run.folder)
    return _evolved(plan, request, target, shown, progress)


def evolve_subject_along(
    subject: Subject,
    chosen: Sequence[Chosen],
    asked: Mapping[str, Any],
    *,
    out: Path,
    name: str | None = None,
    progress: Progress | None = None,
) -> tuple[Evolution, Results]:
    """The same of a subject of anyone's, into ``out``."""
    request = request_of(subject, Asked(**asked))
    plan = plan_along(subject, request, chosen, most=images_by_default(out))
    target = Target(measures_folder(out, name), locked=True, home=out)
    with claimed(out, subject):
        shown = Shown(evolution_folder(out, name), name, out)
        return _evolved(plan, request, target, shown, progress)


def _evolved(
    plan: Plan, request: Request, target: Target, shown: Shown, progress: Progress | None
) -> tuple[Evolution, Results]:
    riding = _Riding(plan, target, of_first(progress))
    finished, _ = standing(plan, target)  # refuses other settings before anything runs
    evolution = evolve_subject(plan.subject, request, shown, progress, riding.board)
    results = riding.results
    if results is None:  # it was there already
        results = measure_subject(plan, replace(target, locked=False), progress)
    return evolution, Results({**finished, **results.measured}, results.failed)


@dataclass
class _Riding:
    """What boarded the search, once it has begun."""

    plan: Plan
    target: Target
    progress: Progress
    results: Results | None = None

    def board(self, folder: Path) -> Company:
        """Who rides along; the run's lock is held by then."""
        _, plan = standing(self.plan, self.target)
        boarded = take_aboard(plan, self.target.folder, folder)

        def landed() -> None:
            self.results = finish(boarded, self.target, self.progress)

        return replace(boarded.company, landed=landed)
