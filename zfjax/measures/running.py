"""Measures as they are run: one pass over the images for all that are asked, at every saved epoch.

How to write one (experiments/own_measure.py is a whole one; ours are the files beside this):

    from zfjax.measures.protocol import Measure, Quantity, Told

    @dataclass(frozen=True)
    class Options:
        share: float = 0.01
        '''What it means, on one line: the help of --brightness.share.'''

    def keeps(look, options):                # of a piece of a batch; traced by JAX
        counts = {}
        for name, maps in look.maps.items():  # [n, h, w, maps]
            counts[name] = ((maps > 0).any(axis=(1, 2)) & look.real[:, None]).sum(axis=0)
        return {"sum": counts}

    def rows(looked, options):               # numbers of every step, layer, map
        for step in looked.steps:
            for layer in looked.layers:
                yield Quantity(step, layer, "fired", looked.kept[step][layer], unit="images")

    def tell(measured, others, options):     # of its table alone
        return Told("A sentence with numbers, n and what they are over.", lines=(...), chart=figure)

    MEASURE = Measure("brightness", rows, tell, keeps=keeps, options=Options())

- ``keeps`` may be left out: a measure of weights takes ``looked.subject.parameters(step)``; one of
  answers to images takes ``probe=("maxima",)`` and reads ``looked.probe.values(step, layer)``:
  float32 [images, maps], every map's maximum over every image of the fixed probe ("means"
  likewise).
- ``needs``: what it cannot do without ("images", "labels", "scores", "initial"); who lacks it is
  told so before anything runs. ``reads``: other measures whose tables are in ``looked.earlier`` if
  the run has them. ``least_steps``: checkpoints below which it has nothing to say.
- ``rows`` may hold arrays [maps] (one row a map) or numbers (one row a layer); NaN is null.
- ``tell`` is given the table as it is saved (run/measured.py: ``of_layer``, ``of_maps``), those of
  other seeds' runs (``--seeds-of``), and draws with plain matplotlib; it is written as <name>.txt,
  <name>.png and into <name>.json.
- The docstring at the top of its file is its help: concept, source, cost, what can mislead.
- One of ours is a file here and a name in ``choosing.BUILT_IN``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.features.evolving import check_trained_on, of_first
from zfjax.features.searching import Errand, ride_on
from zfjax.files import clear_unfinished, local_path
from zfjax.inputs import open_data, with_data_dir
from zfjax.measures.boarding import Results, Target, finish, standing, take_aboard
from zfjax.measures.choosing import BUILT_IN, find_measure, with_options
from zfjax.measures.planning import Chosen, Plan, Wanted, plan_of
from zfjax.measures.protocol import Measure
from zfjax.processes import first_alone
from zfjax.progress import Progress
from zfjax.reopening import subject_at
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.folder import Run, locked_run
from zfjax.run.measured import Measured, measures_folder
from zfjax.subject import Subject, images_of, subject_of


@dataclass(frozen=True)
class Home:
    """Where the images of runs are, and how the folders of their measures are called."""

    data_dir: str | None = None
    name: str | None = None


def measure(
    run: Run | AdoptedRun | Subject | Path | str,
    measure: str | Measure,
    *,
    out: Path | str | None = None,
    data_dir: str | None = None,
    name: str | None = None,
    progress: Progress | None = None,
    seeds_of: Sequence[Path | str] = (),
    **words: Any,
) -> Measured:
    """One measure of a run: at once when it is there already, as it was asked for.

    ``measure``: a name, ``pkg.module:measure`` or a Measure. ``name``: RUN/measures-NAME.
    ``seeds_of``: runs that differ in the seed alone; they are measured likewise. ``words``: ``at``,
    ``images``, ``split``, ``layers`` as in ``planning.Wanted``, all else the measure's own options.
    In place of a run, a ``Subject`` of anyone's, with its own images, whose measures are written
    to ``out``/measures; or the folder that it was evolved into. Raises ZfjaxError for what the run
    or the data cannot give, and what the measure raises.
    """
    found = find_measure(measure) if isinstance(measure, str) else measure
    if found.name in BUILT_IN and found is not find_measure(found.name):
        raise ZfjaxError(f"{found.name!r} is the name of one of zfjax's own measures.")
    wanted = {key: words.pop(key) for key in tuple(words) if key in Wanted.__dataclass_fields__}
    chosen = Chosen(found, with_options(found, words))
    if isinstance(run, Subject):
        if seeds_of or data_dir is not None or wanted.get("split") is not None:
            raise ZfjaxError(
                "A subject has its images already: seeds_of, data_dir and split go with a folder."
            )
        results = _measured(run, [chosen], Wanted(**wanted), (out, name), progress)
    else:
        if out is not None:
            raise ZfjaxError("out=FOLDER goes with a subject; a run has a folder of its own.")
        opened = run if isinstance(run, Run | AdoptedRun) else load_any(run)
        runs = [opened, *map(load_any, seeds_of)]
        results = measure_runs(runs, [chosen], Wanted(**wanted), Home(data_dir, name), progress)
    if found.name in results.failed:
        raise results.failed[found.name]
    return results.measured[found.name]


def _measured(
    subject: Subject,
    chosen: Sequence[Chosen],
    wanted: Wanted,
    where: tuple[Path | str | None, str | None],
    progress: Progress | None,
) -> Results:
    """Measures of a subject that somebody has in hand. ``where``: the folder, and the name of its
    measures."""
    out, name = where
    if out is None:
        raise ZfjaxError("Say with out=FOLDER where the measures of a subject are written.")
    folder = local_path(out)
    if isinstance(standing_there := _known(folder), Run):
        raise ZfjaxError(f"{standing_there.folder} is a run of zfjax; give another folder.")
    target = Target(measures_folder(folder, name), home=folder)
    return measure_subject(plan_of(subject, chosen, wanted), target, progress)


def _known(folder: Path) -> Run | AdoptedRun | None:
    return load_any(folder) if (folder / "config.json").exists() else None


def measure_runs(
    runs: Sequence[Run | AdoptedRun],
    chosen: Sequence[Chosen],
    wanted: Wanted,
    home: Home = Home(),  # noqa: B008 (frozen)
    progress: Progress | None = None,
) -> Results:
    """Measures of the first run; the others, of other seeds, are measured before it where they are
    not yet.
    """
    first, *others = runs
    for other in others:
        _check_other_seed(first, other)
    results = Results()
    for run in (*others, first):
        plan = plan_of_run(run, chosen, wanted, home.data_dir, progress)
        folder = measures_folder(run.folder, home.name)
        ours = run if isinstance(run, Run) else None
        target = Target(folder, ours, tuple(others) if run is first else (), home=run.folder)
        results = measure_subject(plan, target, progress)
        if results.failed and run is not first:
            return results
    return results


def _check_other_seed(first: Run | AdoptedRun, other: Run | AdoptedRun) -> None:
    if other.folder.resolve() == first.folder.resolve():
        raise ZfjaxError(f"--seeds-of names {first.folder} itself; give the runs of other seeds.")
    if _network_of(other) != _network_of(first):
        raise ZfjaxError(
            f"--seeds-of {other.folder}: its network is not that of {first.folder}, and seeds are"
            " of one network."
        )


def _network_of(run: Run | AdoptedRun) -> Any:
    """What is equal for runs of one network."""
    return run.identity.get("network") if isinstance(run, AdoptedRun) else run.config.model


def plan_of_run(
    run: Run | AdoptedRun,
    chosen: Sequence[Chosen],
    wanted: Wanted,
    data_dir: str | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Measures of a run, checked: the one door of measuring and of its dry run."""
    with_images = any(item.measure.takes_images or item.measure.needs for item in chosen)
    if isinstance(run, AdoptedRun):
        theirs = subject_at(run, data_dir=data_dir, split=wanted.split, with_images=with_images)
        return plan_of(theirs, chosen, wanted)
    if not with_images:
        return plan_of(subject_of(run), chosen, wanted)
    config = with_data_dir(run.config, data_dir)
    dataset = open_data(config, of_first(progress))
    split = wanted.split or config.data.train_split
    subject = subject_of(run, images_of(config, dataset, split))
    plan = plan_of(subject, chosen, wanted)
    check_trained_on(run, subject)
    return plan


def measure_subject(plan: Plan, target: Target, progress: Progress | None = None) -> Results:
    """The measures of a plan, one pass over its images for all that are not there yet."""
    progress = of_first(progress)
    with ExitStack() as lock:
        first_alone(lambda: _opened(target, lock))
        finished, plan = standing(plan, target)
        if not plan.chosen:
            return Results(finished)
        began, boarded = time.monotonic(), take_aboard(plan, target.folder)
        if boarded.company.riders:
            asked = {**plan.probed(), "steps": list(plan.steps), "layers": list(plan.layers)}
            errand = Errand(target.folder / "pass.npz", asked, plan.images, "measuring")
            subject, riders = plan.subject.holding(plan.steps), boarded.company.riders
            earlier = ride_on(subject, plan.route, plan.ids.tolist(), errand, riders, progress)
            boarded = replace(boarded, seconds=earlier + time.monotonic() - began)
        results = finish(boarded, target, progress)
        return Results({**finished, **results.measured}, results.failed)


def _opened(target: Target, lock: ExitStack) -> None:
    """Locks the run, and clears what killed processes have left."""
    if target.home is not None and not target.locked:
        lock.enter_context(locked_run(target.home))
    target.folder.mkdir(parents=True, exist_ok=True)
    clear_unfinished(target.folder, locked=target.home is not None)
