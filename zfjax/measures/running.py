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
  ``checks``: what else it cannot do with its options, refused as early.
- ``rows`` may hold arrays [maps] (one row a map) or numbers (one row a layer); NaN is null.
- ``tell`` is given the table as it is saved (run/measured.py: ``of_layer``, ``of_maps``), those of
  other seeds' runs (``--seeds-of``), and draws with plain matplotlib; it is written as <name>.txt,
  <name>.png and into <name>.json.
- The docstring at the top of its file is its help: concept, source, cost, what can mislead.
- One of ours is a file here and a name in ``choosing.BUILT_IN``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Any

from zfjax.config import RESUMABLE_FIELDS, flatten
from zfjax.errors import ZfjaxError
from zfjax.features.evolving import check_trained_on
from zfjax.features.owners import claim
from zfjax.features.searching import Errand, ride_on
from zfjax.files import clear_unfinished, local_path
from zfjax.inputs import open_data, with_data_dir
from zfjax.measures.boarding import (
    Results,
    Target,
    finish,
    is_measured_as,
    standing,
    take_aboard,
    words_alone,
)
from zfjax.measures.choosing import measure_of, with_options
from zfjax.measures.planning import Chosen, Plan, Wanted, images_by_default, plan_of
from zfjax.measures.protocol import EVOLUTION, Measure
from zfjax.processes import first_alone, of_first
from zfjax.progress import Progress
from zfjax.reopening import subject_at
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.folder import Run, locked_run
from zfjax.run.measured import Measured, measures_folder
from zfjax.subject import Subject, images_of, subject_of
from zfjax.values import Place, Text, path_of, several


@dataclass(frozen=True)
class Home:
    """Where the images of runs are, and how the folders of their measures are called."""

    data_dir: Place | None = None
    name: Text | None = None


def measure(
    run: Run | AdoptedRun | Subject | Place,
    measure: Text | Measure,
    *,
    out: Place | None = None,
    data_dir: Place | None = None,
    name: Text | None = None,
    progress: Progress | None = None,
    seeds_of: Place | Run | Iterable[Place | Run] = (),
    **words: Any,
) -> Measured:
    """One measure of a run: at once when it is there already, as it was asked for.

    ``measure``: a name, ``pkg.module:measure`` or a Measure. ``name``: RUN/measures-NAME.
    ``seeds_of``: runs that differ in the seed alone; they are measured likewise. ``words``: ``at``,
    ``images``, ``split``, ``layers`` as in ``planning.Wanted``, all else the measure's own options;
    its own too where it has one of that name and takes no probe.
    In place of a run, a ``Subject`` of anyone's, with its own images, whose measures are written
    to ``out``/measures; or the folder that it was evolved into. Raises ZfjaxError for what the run
    or the data cannot give, and what the measure raises.
    """
    resolved = measure_of(measure)
    own = () if resolved.takes_images else tuple(f.name for f in fields(resolved.options))
    common = [key for key in words if key in Wanted.__dataclass_fields__ and key not in own]
    wanted = {key: words.pop(key) for key in common}
    chosen = Chosen(resolved, with_options(resolved, words))
    asked, others = Wanted(**wanted), several(seeds_of)
    if isinstance(run, Subject):
        if others or data_dir is not None or asked.split is not None:
            raise ZfjaxError(
                "A subject has its images already: seeds_of, data_dir and split go with a folder."
            )
        if out is None:
            raise ZfjaxError("Say with out=FOLDER where the measures of a subject are written.")
        folder = local_path(path_of(out, "out"))
        target = Target(measures_folder(folder, name), home=folder)
        plan = plan_of(run, [chosen], asked)
        first_alone(lambda: claim(folder, run))
        results = measure_subject(plan, target, progress)
    else:
        if out is not None:
            raise ZfjaxError("out=FOLDER goes with a subject; a run has a folder of its own.")
        opened = run if isinstance(run, Run | AdoptedRun) else load_any(run)
        runs = [opened, *map(load_any, others)]
        results = measure_runs(runs, [chosen], asked, Home(data_dir, name), progress)
    if resolved.name in results.failed:
        raise results.failed[resolved.name]
    return results.measured[resolved.name]


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
    check_seeds(runs)
    first, *others = runs
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


def plan_of_runs(
    runs: Sequence[Run | AdoptedRun],
    chosen: Sequence[Chosen],
    wanted: Wanted,
    home: Home = Home(),  # noqa: B008 (frozen)
    progress: Progress | None = None,
) -> Plan:
    """What ``measure_runs`` would do with the first of them, checked as it would be, that of the
    others too; nothing is written.
    """
    check_seeds(runs)
    for run in (*runs[1:], runs[0]):
        folder = measures_folder(run.folder, home.name)
        plan = plan_of_run(run, chosen, wanted, home.data_dir, progress)
        for item in plan.chosen:
            is_measured_as(plan, item, folder)
    return plan


def check_seeds(runs: Sequence[Run | AdoptedRun]) -> None:
    """Raises ZfjaxError where the others differ from the first in more than the seed, or two in
    nothing.
    """
    first, *others = runs
    for index, other in enumerate(others, start=1):
        _check_other_seed(first, other)
        for earlier in runs[:index]:
            _check_seeds_differ(earlier, other)


def _check_other_seed(first: Run | AdoptedRun, other: Run | AdoptedRun) -> None:
    if other.folder.resolve() == first.folder.resolve():
        raise ZfjaxError(f"--seeds-of names {first.folder} itself; give the runs of other seeds.")
    if _network_of(other) != _network_of(first):
        raise ZfjaxError(
            f"--seeds-of {other.folder}: its network is not that of {first.folder}, and seeds are"
            " of one network."
        )
    own, its = _settings_of(first), _settings_of(other)
    differing = [
        f"{name} {own.get(name)!r} and {its.get(name)!r}"
        for name in {**own, **its}
        if own.get(name) != its.get(name)
    ]
    if differing:
        raise ZfjaxError(
            f"--seeds-of {other.folder}: it differs from {first.folder} in more than the seed"
            f" ({'; '.join(differing[:4])}), so an interval over both would not be over seeds."
        )
    ends = _last_step(first), _last_step(other)
    if None not in ends and ends[0] != ends[1]:
        raise ZfjaxError(
            f"--seeds-of {other.folder}: its last checkpoint is of step {ends[1]}, that of"
            f" {first.folder} of step {ends[0]}: train the shorter one to its end."
        )


def _check_seeds_differ(run: Run | AdoptedRun, other: Run | AdoptedRun) -> None:
    if _seed_of(other) == _seed_of(run):
        same = "its checkpoints are those"
        if isinstance(other, Run):
            same = f"its seed is {other.config.seed} like that"
        raise ZfjaxError(
            f"--seeds-of {other.folder}: {same} of {run.folder}: a run counted twice makes"
            " intervals too narrow."
        )


def _seed_of(run: Run | AdoptedRun) -> Any:
    """What differs between runs of one network."""
    return run.identity.get("checkpoints") if isinstance(run, AdoptedRun) else run.config.seed


def _network_of(run: Run | AdoptedRun) -> Any:
    """What is equal for runs of one network."""
    return run.identity.get("network") if isinstance(run, AdoptedRun) else run.config.model


def _settings_of(run: Run | AdoptedRun) -> dict[str, Any]:
    """What is equal for runs that differ in the seed alone."""
    everything = dict(run.identity) if isinstance(run, AdoptedRun) else flatten(run.config)
    apart = {"checkpoints"} if isinstance(run, AdoptedRun) else {"seed", *RESUMABLE_FIELDS}
    return {name: value for name, value in everything.items() if name not in apart}


def _last_step(run: Run | AdoptedRun) -> int | None:
    """Of a run; None of what was evolved: that its checkpoints are there is seen on opening it."""
    return run.steps[-1] if isinstance(run, Run) and run.steps else None


def plan_of_run(
    run: Run | AdoptedRun,
    chosen: Sequence[Chosen],
    wanted: Wanted,
    data_dir: Place | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Measures of a run, checked: the one door of measuring and of its dry run."""
    for item in chosen:
        if EVOLUTION in item.measure.needs:
            run.evolution(getattr(item.options, "evolution", None))
    with_images = any(item.measure.takes_images or item.measure.needs for item in chosen)
    if isinstance(run, AdoptedRun):
        theirs = subject_at(run, data_dir=data_dir, split=wanted.split, with_images=with_images)
        return plan_of(theirs, chosen, wanted)
    if not with_images:
        return plan_of(subject_of(run), chosen, wanted, run=run)
    config = with_data_dir(run.config, data_dir)
    dataset = open_data(config, of_first(progress))
    split = wanted.split or config.data.train_split
    subject = subject_of(run, images_of(config, dataset, split))
    plan = plan_of(subject, chosen, wanted, images_by_default(run.folder), run)
    check_trained_on(run, subject)
    return plan


def measure_subject(plan: Plan, target: Target, progress: Progress | None = None) -> Results:
    """The measures of a plan, one pass over its images for all that are not there yet."""
    progress = of_first(progress)
    with ExitStack() as lock:
        first_alone(lambda: _opened(target, lock))
        asked, (finished, plan) = plan, standing(plan, target)
        words = words_alone(asked, target, finished)
        if not plan.chosen:
            return Results(finished, words=words)
        began, boarded = time.monotonic(), take_aboard(plan, target.folder)
        if boarded.company.riders:
            about = {**plan.probed(), "steps": list(plan.steps), "layers": list(plan.layers)}
            errand = Errand(target.folder / "pass.npz", about, plan.images, "measuring")
            subject, riders = plan.subject.holding(plan.steps), boarded.company.riders
            earlier = ride_on(subject, plan.route, plan.ids.tolist(), errand, riders, progress)
            boarded = replace(boarded, seconds=earlier + time.monotonic() - began)
        results = finish(boarded, target, progress)
        return Results({**finished, **results.measured}, results.failed, words)


def _opened(target: Target, lock: ExitStack) -> None:
    """Locks the run, and clears what killed processes have left."""
    if target.home is not None and not target.locked:
        lock.enter_context(locked_run(target.home))
    target.folder.mkdir(parents=True, exist_ok=True)
    clear_unfinished(target.folder, locked=target.home is not None)
