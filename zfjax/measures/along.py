"""evolve with measures: they ride along on the forward pass of its search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Unpack

from zfjax.errors import ZfjaxError
from zfjax.features import evolving
from zfjax.features.asking import Asked, AskedWords, Request, request_of
from zfjax.features.evolving import Target as Shown
from zfjax.features.evolving import asked_of
from zfjax.features.riding import Company
from zfjax.measures.boarding import Results, Target, finish, standing, take_aboard
from zfjax.measures.choosing import measure_of, with_options
from zfjax.measures.planning import (
    Chosen,
    Plan,
    check_needs,
    check_steps,
    images_by_default,
    probe_size,
)
from zfjax.measures.probing import PROBE_IMAGES
from zfjax.measures.protocol import EVOLUTION, Looked, Measure
from zfjax.measures.running import Home, measure_subject
from zfjax.network.precision import HIGHEST
from zfjax.processes import of_first
from zfjax.progress import Progress
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run, load_run
from zfjax.run.measured import measures_folder
from zfjax.spelling import spelled
from zfjax.subject import Subject
from zfjax.values import Place, Text, Truth, several


def plan_along(
    subject: Subject,
    request: Request,
    chosen: Sequence[Chosen],
    images: int | None = None,
    most: int = PROBE_IMAGES,
    run: Run | None = None,
) -> Plan:
    """Measures of what an evolution looks at: its steps and layers, a probe of so many of the
    images that it searches (None: ``most``, or all); ``run``: whose it is. Raises ZfjaxError for
    what the subject does not have.
    """
    if chosen and request.search_precision != HIGHEST:
        raise ZfjaxError(
            f"--search-precision {request.search_precision} is too coarse for measures on the same"
            " pass: leave out one of the two, and run `zfjax measure` by itself."
        )
    for item in chosen:
        if EVOLUTION in item.measure.needs:
            raise ZfjaxError(
                f"The measure {item.name} reads a finished evolution, and cannot ride along with"
                f" one: evolve first, then `zfjax measure --workdir RUN {item.name}`."
            )
        check_steps(item.measure, request.steps)
        check_needs(item.measure, subject)
        if item.measure.checks is not None:
            looked = Looked(subject, request.steps, request.layers, run=run)
            item.measure.checks(looked, item.options)
    size = probe_size(subject, images, request.images, most)
    return Plan(subject, tuple(chosen), request.steps, request.layers, request.images, size)


def evolve_along(
    workdir: Place | Run,
    chosen: Sequence[Chosen],
    asked: Mapping[str, Any],
    *,
    home: Home = Home(),  # noqa: B008 (frozen)
    images: int | None = None,
    progress: Progress | None = None,
) -> tuple[Evolution, Results]:
    """The evolution of a run and these measures, on one forward pass; on one of their own where the
    evolution is finished already. ``asked``: of the evolution; ``images``: of the probe.
    """
    run = load_run(workdir)
    subject, request = asked_of(run, Asked(**asked), home.data_dir, progress)
    plan = plan_along(subject, request, chosen, images, images_by_default(run.folder), run)
    folder = measures_folder(run.folder, home.name)
    target = Target(folder, run, locked=True, home=run.folder, along=True)
    shown = evolving.target_of_run(run, None, home.name, False)
    riding = _Riding(plan, target, of_first(progress))
    return riding.evolved(request, shown, progress)


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
    shown = evolving.target_of_subject(out, None, name)
    request = request_of(subject, Asked(**asked))
    plan = plan_along(subject, request, chosen, most=images_by_default(out))
    target = Target(measures_folder(out, name), locked=True, home=out, along=True)
    return _Riding(plan, target, of_first(progress)).evolved(request, shown, progress)


@dataclass(frozen=True)
class AskedAlong(Asked):
    """The words of ``zfjax.evolve``: of an evolution, where it is written, and measures."""

    out: Place | None = None
    data_dir: Place | None = None
    name: Text | None = None
    locked: Truth = False
    progress: Progress | None = None
    measures: Any = ()


class AlongWords(AskedWords, total=False):
    """``AskedAlong`` as keywords."""

    out: Place | None
    data_dir: Place | None
    name: Text | None
    locked: Truth
    progress: Progress | None
    measures: Text | Measure | Iterable[Text | Measure] | Mapping[Any, Mapping[str, Any]]


@spelled(AskedAlong)
def evolve(workdir: Place | Run | Subject, **words: Unpack[AlongWords]) -> Evolution:
    """Searches and projects the run's saved epochs; returns the finished Evolution (at once when it
    is there). All as ``zfjax.features.evolving.evolve`` has it, which says what the other words
    mean, and besides:

    ``measures``: measures on the same forward pass, as ``zfjax evolve --measure`` takes them: one
    or several of their names, ``pkg.module:measure`` or Measure, or a mapping of these to their
    options, {"census": {"almost": 0.01}}. They are written to RUN/measures (RUN/measures-NAME,
    OUT/measures), where ``zfjax.measure`` opens them at once. Where one raises, the others and the
    evolution are finished before its error is raised here.
    """
    whole = AskedAlong(**words)
    chosen = chosen_of(whole.measures)
    if not chosen:
        others: dict[str, Any] = {name: word for name, word in words.items() if name != "measures"}
        return evolving.evolve(workdir, **others)
    asked = Asked(**{field.name: getattr(whole, field.name) for field in fields(Asked)})
    if isinstance(workdir, Subject):
        subject, run = workdir, None
        shown = evolving.target_of_subject(whole.out, whole.data_dir, whole.name)
        request = request_of(subject, asked)
    else:
        run = load_run(workdir)
        shown = evolving.target_of_run(run, whole.out, whole.name, whole.locked)
        subject, request = asked_of(run, asked, whole.data_dir, whole.progress)
    home = shown.folder.parent if run is None else run.folder
    plan = plan_along(subject, request, chosen, None, images_by_default(home), run)
    folder = measures_folder(home, whole.name)
    target = Target(folder, run, locked=True, home=home, along=True)
    riding = _Riding(plan, target, of_first(whole.progress))
    evolution, results = riding.evolved(request, shown, whole.progress)
    for error in results.failed.values():
        raise error
    return evolution


def chosen_of(measures: Any) -> list[Chosen]:
    """Measures with their options, of what ``evolve`` takes as ``measures``. Raises ZfjaxError for
    what is not there, and for two of one name.
    """
    if measures is None:
        return []
    if isinstance(measures, Mapping):
        pairs = list(measures.items())
    else:
        pairs = [(each, {}) for each in several(measures)]
    chosen: dict[str, Chosen] = {}
    for which, options in pairs:
        measure = measure_of(which)
        if not isinstance(options, Mapping):
            raise ZfjaxError(
                f"measures: the options of {measure.name} are a mapping, not {options!r:.40}."
            )
        if measure.name in chosen and chosen[measure.name].measure is not measure:
            raise ZfjaxError(
                f"Two measures are called {measure.name!r}; give one of them another name."
            )
        chosen[measure.name] = Chosen(measure, with_options(measure, options))
    return list(chosen.values())


@dataclass
class _Riding:
    """What boarded the search, once it has begun."""

    plan: Plan
    target: Target
    progress: Progress
    results: Results | None = None

    def evolved(
        self, request: Request, shown: Shown, progress: Progress | None
    ) -> tuple[Evolution, Results]:
        """The evolution and the measures."""
        finished, _ = standing(self.plan, self.target)  # refuses other settings beforehand
        subject = self.plan.subject
        make = evolving.evolve_subject if self.target.run else evolving.evolve_claimed
        evolution = make(subject, request, shown, progress, self.board)
        results = self.results
        if results is None:  # it was there already
            target = replace(self.target, locked=shown.lock is None)
            results = measure_subject(self.plan, target, progress)
        return evolution, Results({**finished, **results.measured}, results.failed)

    def board(self, folder: Path) -> Company:
        """Who rides along; the run's lock is held by then."""
        _, plan = standing(self.plan, self.target)
        boarded = take_aboard(plan, self.target.folder, folder)

        def landed() -> None:
            self.results = finish(boarded, self.target, self.progress)

        return replace(boarded.company, landed=landed)
