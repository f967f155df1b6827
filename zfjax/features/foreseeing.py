"""What ``evolve`` would do, checked as it would be, for a dry run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from zfjax.features.asking import Asked, Request, record_of, request_of
from zfjax.features.evolving import asked_of
from zfjax.features.growing import as_it_stands, standing_of
from zfjax.features.owners import check_claim
from zfjax.progress import Progress
from zfjax.run.evolution import open_evolution
from zfjax.run.folder import Run, evolution_folder, load_run
from zfjax.subject import Subject
from zfjax.values import Place, Text


@dataclass(frozen=True)
class Plan:
    """What ``evolve`` would do."""

    subject: Subject
    request: Request
    to_search: Request
    """Of the steps that no finished evolution has searched."""
    finished: bool
    """Whether it is there already."""


def planned(
    workdir: Place | Run,
    asked: Asked,
    target_name: Text | None = None,
    data_dir: Place | None = None,
    progress: Progress | None = None,
) -> Plan:
    """What ``evolve`` would do with a run; nothing is written. Raises ZfjaxError as it does, but
    for another process that is writing there.
    """
    run = load_run(workdir)
    folder = run.evolution_folder(target_name)
    return _standing_plan(*asked_of(run, asked, data_dir, progress), folder)


def planned_of(subject: Subject, asked: Asked, out: Path, target_name: Text | None = None) -> Plan:
    """The same with a subject of anyone's, whose evolutions are in ``out``."""
    folder = evolution_folder(out, target_name)
    request = request_of(subject, asked)
    check_claim(out)
    return _standing_plan(subject, request, folder)


def _standing_plan(subject: Subject, request: Request, folder: Path) -> Plan:
    subject.need("images", "A search").first_readable(request.images)
    request = as_it_stands(folder, request)
    standing = standing_of(folder, record_of(subject, request))
    known = open_evolution(folder).steps if standing.grows and standing.complete else ()
    steps = tuple(step for step in request.steps if step not in known)
    return Plan(subject, request, dataclasses.replace(request, steps=steps), standing.finished)
