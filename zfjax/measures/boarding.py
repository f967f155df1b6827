"""Measures on the pass: which are there already, who keeps what for the others, and how they are
finished.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax

from zfjax.errors import ZfjaxError
from zfjax.features.riding import Company, Rider
from zfjax.measures.keeping import Keeping, name_of
from zfjax.measures.planning import FILES, VERSION, Chosen, Plan
from zfjax.measures.probing import Gathered, Probing, drop_scratch
from zfjax.measures.protocol import EVOLUTION, Looked, Measure
from zfjax.measures.sources import changed_sources, is_ours, sources_of
from zfjax.measures.writing import told_of, words_of, write_measure, write_told
from zfjax.processes import as_first, first_alone, is_first, seen_by_all
from zfjax.progress import Progress
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import open_evolution
from zfjax.run.folder import Run, evolution_folder
from zfjax.run.measured import Measured, is_measured, measure_record, open_measured
from zfjax.run.probe import PROBE_FILE as PROBE_FILE
from zfjax.run.probe import Probe


@dataclass(frozen=True)
class Results:
    """What measures gave: the finished ones, and what each of the others raised."""

    measured: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    """What is said of this run alone, where the files of a measure say it over seeds."""


@dataclass(frozen=True)
class Target:
    """Where measures are written, and whose they are."""

    folder: Path
    run: Run | None = None
    others: tuple[Run | AdoptedRun, ...] = ()
    """Runs of other seeds, measured already in a folder of the same name."""
    locked: bool = False
    """The caller holds the run's lock."""
    home: Path | None = None
    """The folder to be locked: the run's, or of somebody else's network; None: none."""
    along: bool = False
    """They ride along with an evolution."""


def standing(plan: Plan, target: Target) -> tuple[dict[str, Measured], Plan]:
    """The measures that are there as they are asked for, and the plan of the others. Raises
    ZfjaxError for one that is there with other settings.
    """

    def look() -> list[int]:
        there: list[int] = []
        anew: set[str] = set()
        for index, item in enumerate(plan.chosen):
            # What reads a table that is about to be made is made after it.
            if not anew & set(item.measure.reads) and _stands(plan, item, target):
                there.append(index)
            else:
                anew.add(item.name)
        return there

    there = as_first(first_alone(look))
    rest = tuple(item for index, item in enumerate(plan.chosen) if index not in there)
    names = [plan.chosen[index].name for index in there]
    finished = {name: open_measured(target.folder, name) for name in names}
    return finished, replace(plan, chosen=rest)


def is_measured_as(plan: Plan, chosen: Chosen, folder: Path, along: bool = False) -> bool:
    """Whether ``folder`` holds a measure with these settings, at all these steps and by the same
    code. Raises ZfjaxError where it is there with other settings; nothing is written. ``along``: it
    was to ride along with an evolution.
    """
    name = chosen.name
    if not is_measured(folder, name):
        return False
    record = measure_record(folder, name)
    before, now = record.get("asked", {}), json.loads(json.dumps(plan.asked(chosen)))
    if is_ours(chosen.measure) or record.get("sources"):
        # An option that came later stood at its default when it was measured: ours are made so, and
        # what of somebody else's is not is of other code. Of code without a file nobody can tell.
        plain = replace(chosen, options=chosen.measure.options)
        standard = json.loads(json.dumps(plan.asked(plain)))
        before = {**before, "options": {**standard["options"], **before.get("options", {})}}
    if FILES not in before and FILES in now:  # of a time when their contents were not noted
        before = {**before, FILES: now[FILES]}
    fields = [each for each in now if each != VERSION and before.get(each) != now[each]]
    if fields == ["steps"] and set(before["steps"]) <= set(now["steps"]):
        return False  # training has gone on: the new steps come to the old ones
    if fields:
        way_out = f"give this one a name with --name, or delete {name}.json there."
        if along:
            way_out = (
                f"nothing is evolved: leave {name} out of --measure to keep that one, give"
                f" evolution and measures a name with --name, or delete {name}.json there."
            )
        raise ZfjaxError(
            f"{folder} holds the measure {name} with other settings ({', '.join(fields)});"
            f" {way_out}"
        )
    changed = changed_sources(record.get("sources", {}), sources_of(chosen.measure))
    return not changed and before.get(VERSION) == now.get(VERSION)


def _stands(plan: Plan, chosen: Chosen, target: Target) -> bool:
    """Whether a measure is there as it is asked for: the same settings, all tables that it would
    read, the same evolution, and the same other seeds; these change what is said, not the numbers.
    What was said over other seeds stays where none are named (``words_alone``).
    """
    folder, name = target.folder, chosen.name
    if not is_measured_as(plan, chosen, folder, target.along):
        return False
    record = measure_record(folder, name)
    if set(_earlier(chosen.measure, folder, plan.steps)) - set(record.get("read", [])):
        return False
    if record.get(EVOLUTION) != _evolution_read(chosen, target):
        return False
    others = [other.folder.name for other in target.others]
    if others and others != record.get("seeds_of", []):
        measured = open_measured(folder, name)
        tables = other_tables(chosen, target)
        measured = replace(measured, meta={**measured.meta, "seeds_of": others})
        try:
            write_told(measured, told_of(chosen, measured, tables))
        except Exception:  # made anew, it raises the same where that is met
            return False
    return True


def words_alone(plan: Plan, target: Target, finished: Mapping[str, Measured]) -> dict[str, str]:
    """What finished measures say of the run alone, where it was asked for alone and their files say
    it over seeds: those stay.
    """
    words = {}
    for chosen in plan.chosen:
        measured = finished.get(chosen.name)
        if measured is None or target.others or not measured.meta.get("seeds_of"):
            continue
        alone = replace(measured, meta={**measured.meta, "seeds_of": []})
        seeds = len(measured.meta["seeds_of"]) + 1
        words[chosen.name] = (
            f"{words_of(told_of(chosen, alone, ()))}({chosen.name}.txt says it over {seeds} seeds.)"
        )
    return words


def other_tables(chosen: Chosen, target: Target) -> list[Measured]:
    """The same measure of the runs of other seeds."""
    return [
        open_measured(other.folder / target.folder.name, chosen.name) for other in target.others
    ]


@dataclass(frozen=True)
class Boarded:
    """Measures on their way: what is asked, and who keeps what for them."""

    plan: Plan
    company: Company
    kept: Probe | None = None
    """The probe, where it was there already."""
    failed: dict[str, Exception] = field(default_factory=dict)
    seconds: float = 0.0
    """Of the pass."""


def take_aboard(plan: Plan, folder: Path, scratch: Path | None = None) -> Boarded:
    """Who rides along for the measures of a plan: a probe, unless ``folder`` has it, and what keeps
    something of its own. ``scratch``: the folder for what is needed on the way only.
    """
    riders: list[Rider] = []
    failed: dict[str, Exception] = {}
    if is_first():
        _say_what_changed(plan, folder)
    kept = _kept_probe(plan, folder) if plan.kinds else None
    if plan.kinds and kept is None:
        of_process = jax.process_index()
        gathered = Gathered(
            scratch or folder, plan.ids, plan.kinds, plan.steps, plan.maps, of_process
        )
        riders.append(Probing(gathered))
    else:
        drop_scratch(scratch or folder)
    for chosen in plan.chosen:
        if chosen.measure.keeps is not None:
            try:
                riders.append(Keeping(chosen.measure, chosen.options, plan.subject, plan.route))
            except Exception as error:
                failed[chosen.name] = error
    company = Company(tuple(riders), plan.ids if riders else None)
    return Boarded(plan, company, kept, failed)


def _say_what_changed(plan: Plan, folder: Path) -> None:
    """A line for each measure that is made anew because its code is another."""
    for chosen in plan.chosen:
        if is_measured(folder, chosen.name):
            before = measure_record(folder, chosen.name).get("sources", {})
            if changed := changed_sources(before, sources_of(chosen.measure)):
                print(
                    f"zfjax: {', '.join(changed)} changed since {chosen.name} was measured: it is"
                    " measured anew.",
                    file=sys.stderr,
                )


def _kept_probe(plan: Plan, folder: Path) -> Probe | None:
    """The probe that is there, if it has all that is asked for. One of more images would hold these
    too, but rounded otherwise: each map's values are float16 over the largest of all its images.
    """
    probe = Probe(folder / PROBE_FILE)
    try:
        meta = probe.meta
        fits = (
            meta["asked"] == plan.probed()
            and set(plan.steps) <= set(meta["steps"])
            and set(plan.kinds) <= set(meta["kinds"])
            and all(meta["layers"].get(name) == maps for name, maps in plan.maps.items())
        )
    except (ZfjaxError, KeyError):
        fits = False
    return probe if first_agrees(fits) else None


def first_agrees(truth: bool) -> bool:
    """Process 0's answer in every process."""
    return bool(as_first([int(truth)])[0])


def finish(boarded: Boarded, target: Target, progress: Progress) -> Results:
    """Computes and writes the measures of what was kept; one that raises leaves the others be. The
    same in every process: one of process 0's errors is a ZfjaxError in the others.
    """
    riders = boarded.company.riders
    results = Results({}, dict(boarded.failed))
    first_alone(lambda: _write(boarded, target, progress, results))
    for rider in riders:
        if isinstance(rider, Probing):
            rider.drop()
    if is_first():
        (target.folder / "pass.npz").unlink(missing_ok=True)
    _as_in_first(boarded.plan, target.folder, results)
    return results


def _as_in_first(plan: Plan, folder: Path, results: Results) -> None:
    """Fills the results of the other processes, which have computed nothing."""
    order = [chosen.name for chosen in plan.chosen]
    failed = as_first([index for index, name in enumerate(order) if name in results.failed])
    for index, name in enumerate(order):
        if index in failed:
            stopped = ZfjaxError(f"The measure {name} raised in process 0, which says what.")
            results.failed.setdefault(name, stopped)
        else:
            seen_by_all(folder / f"{name}.json")
            if not is_first():
                results.measured[name] = open_measured(folder, name)


def _write(boarded: Boarded, target: Target, progress: Progress, results: Results) -> None:
    plan, probe = boarded.plan, boarded.kept
    for rider in boarded.company.riders:
        if isinstance(rider, Probing):
            probe = rider.finish(target.folder / PROBE_FILE, plan.probed())
    keepers = {rider.name: rider for rider in boarded.company.riders if isinstance(rider, Keeping)}
    for index, chosen in enumerate(plan.chosen):
        progress("measures", index, len(plan.chosen))
        if chosen.name in results.failed or chosen.name in results.measured:
            continue
        looked = Looked(
            plan.subject,
            plan.steps,
            plan.layers,
            probe=probe if chosen.measure.probe else None,
            run=target.run,
            earlier=_earlier(chosen.measure, target.folder, plan.steps),
            progress=progress,
            home=target.home,
        )
        keeper = keepers.get(name_of(chosen.measure, chosen.options))
        if keeper is not None:
            kept = {step: keeper.of_step(index) for index, step in enumerate(plan.steps)}
            looked = replace(looked, kept=kept)
        meta: dict[str, Any] = {
            "name": chosen.name,
            "asked": plan.asked(chosen),
            "images": plan.images,
            "read": sorted(looked.earlier),
            "sources": sources_of(chosen.measure),
            "schedule": _schedule(target.run),
            "class_names": list(plan.subject.labels or ()),
            "seeds_of": [other.folder.name for other in target.others],
        }
        if EVOLUTION in chosen.measure.needs:
            meta[EVOLUTION] = _evolution_read(chosen, target)
        if boarded.seconds:
            meta["seconds"] = {"pass": round(boarded.seconds, 1)}
        try:
            results.measured[chosen.name] = write_measure(
                target.folder, chosen, looked, meta, other_tables(chosen, target)
            )
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit):  # of anybody's code: not what ends this process
                error = ZfjaxError(
                    f"The measure {chosen.name} called sys.exit({error.code!r:.60})."
                )
            results.failed[chosen.name] = error
    progress("measures", len(plan.chosen), len(plan.chosen))


def _evolution_read(chosen: Chosen, target: Target) -> dict[str, Any] | None:
    """What tells the evolution that a measure reads from one that has taken more since; None where
    it reads none. Raises ZfjaxError where it is not there.
    """
    if EVOLUTION not in chosen.measure.needs or target.home is None:
        return None
    name = getattr(chosen.options, "evolution", None)
    record = open_evolution(evolution_folder(target.home, name)).record
    return {"created": record.created, "steps": list(record.steps)}


def _schedule(run: Run | None) -> str | None:
    """What the learning rate did over the epochs, in words."""
    if run is None:
        return None
    optimizer = run.config.optimizer
    return f"{optimizer.schedule}, from {optimizer.learning_rate:g}"


def _earlier(measure: Measure, folder: Path, steps: Sequence[int]) -> dict[str, Measured]:
    """The tables that a measure reads, where they are there and of these steps."""
    tables = {
        name: open_measured(folder, name) for name in measure.reads if is_measured(folder, name)
    }
    return {name: table for name, table in tables.items() if set(steps) <= set(table.steps)}
