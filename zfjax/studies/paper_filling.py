"""What a run has of what the paper's statements need, and the measuring of what it has not.

What is measured at full size goes where ``zfjax measure`` puts it, RUN/measures; what is measured
small and quickly goes to RUN/measures-paper, where it stands in the way of nothing. A measure that
fails leaves its reason, and the rest goes on.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from zfjax.errors import ZfjaxError, first_line
from zfjax.measures.choosing import BUILT_IN, find_measure, with_options
from zfjax.measures.planning import VERSION, Chosen, Wanted
from zfjax.measures.running import Home, measure_runs, plan_of_run
from zfjax.progress import Progress
from zfjax.reopening import subject_at
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.run.measured import Measured, is_measured, measures_folder, open_measured
from zfjax.studies.paper_readings import EVOLUTION, Saved
from zfjax.studies.paper_statements import measures_needed
from zfjax.values import Place

Size = Literal["quick", "full", "saved-only"]
PAPER = "paper"
"""Of RUN/measures-paper."""
QUICK_IMAGES = 1000
"""Of the probe."""


@dataclass(frozen=True)
class Quick:
    """A measure at a size of seconds."""

    at: tuple[int | str, ...] | None = None
    """Epochs; None: all."""
    images: bool = False
    """Whether it reads the probe, of QUICK_IMAGES then."""
    options: Mapping[str, Any] = field(default_factory=dict)


LAST: tuple[int | str, ...] = ("last",)
FIRST_AND_LAST: tuple[int | str, ...] = (0, "last")
QUICK: dict[str, Quick] = {
    "spectrum": Quick(),
    "census": Quick(images=True),
    "labels": Quick(images=True),
    "rewind": Quick(options={"images": 500, "draws": 2}),
    "settling": Quick(images=True),
    "weights": Quick(),
    "inverse": Quick(LAST),
    "controls": Quick(FIRST_AND_LAST, options={"maps": 16}),
    "occlusion": Quick(LAST),
    "invariance": Quick(
        FIRST_AND_LAST,
        options={"images": 16, "translation_points": 9, "scale_points": 5, "rotation_points": 8},
    ),
    "equivariance": Quick(LAST, options={"images": 16, "points": 5}),
    "correspondence": Quick(LAST, options={"images": 10}),
    "probes": Quick(FIRST_AND_LAST, options={"images": 600}),
}
ALSO: dict[str, tuple[str, ...]] = {
    "weights": ("inverse_residual",),
    "inverse": ("inverse_residual",),
    "spectrum": ("coverage",),
    "census": ("dead_share",),
    "equivariance": ("place_slope",),
}
"""What the readers' questions are answered with, beside the statements."""


def needed_measures() -> dict[str, tuple[str, ...]]:
    """By measure, in the order in which they are run, the quantities that are read of it."""
    wanted = {**measures_needed(), **ALSO}
    # Settling reads it, and is of little use to the paper's statement without.
    wanted.setdefault("rewind", ("top1",))
    order = [*BUILT_IN, *wanted]
    return {name: wanted[name] for name in dict.fromkeys(order) if name in wanted}


def saved_of(
    run: Run | AdoptedRun, size: Size, usable: Callable[[Measured], bool] | None = None
) -> Saved:
    """What the run has; for the size "full" what was measured small does not count. Of two tables
    of a measure the first that is ``usable``, by itself one that is complete.
    """
    usable = usable or is_complete
    folders = [measures_folder(run.folder)]
    if size != "full":
        folders.append(measures_folder(run.folder, PAPER))
    measures: dict[str, Measured] = {}
    errors: dict[str, str] = {}
    for name in needed_measures():
        for folder in folders:
            if (name in measures and usable(measures[name])) or not is_measured(folder, name):
                continue
            try:
                measured = open_measured(folder, name)
            except ZfjaxError as error:
                errors[name] = str(error)
                continue
            if name not in measures or usable(measured):
                measures[name] = measured
    evolution, why = _evolution_of(run)
    if evolution is None:
        errors[EVOLUTION] = why
    return Saved(measures, evolution, errors)


def is_complete(measured: Measured) -> bool:
    """Whether it says all that is read of it: settling may have been made without rewind."""
    return set(needed_measures()[measured.name]) <= set(measured.quantities())


def is_current(measured: Measured) -> bool:
    """Whether it is complete, and what its measure gives today: not of another version of it."""
    asked = measured.meta.get("asked")
    version = asked.get(VERSION, 1) if isinstance(asked, dict) else 1
    return is_complete(measured) and find_measure(measured.name).version == version


def _evolution_of(run: Run | AdoptedRun) -> tuple[Evolution | None, str]:
    try:
        return run.evolution(), ""
    except ZfjaxError as error:
        return None, str(error)


def fill(
    run: Run | AdoptedRun, size: Size, data_dir: Place | None, progress: Progress | None = None
) -> Saved:
    """What the run has after its missing measures were made, as few passes over the images as
    there are different requests; with "saved-only" nothing is made. A table that another version of
    its measure made counts as missing.
    """
    if size == "saved-only":
        return saved_of(run, size)
    before = saved_of(run, size, is_current)
    made = [name for name, measured in before.measures.items() if is_current(measured)]
    missing = [name for name in needed_measures() if name not in made]
    filling = _Filling(run, size, Home(data_dir, None if size == "full" else PAPER), progress)
    errors = dict(before.errors)
    requests: dict[Wanted, list[Chosen]] = {}
    for name in missing:
        try:
            chosen, wanted = filling.request(name)
            if is_measured(filling.folder, name):
                open_measured(filling.folder, name)  # damaged, it would stop those beside it
        except ZfjaxError as error:
            errors[name] = str(error)
        else:
            requests.setdefault(wanted, []).append(chosen)
    # What takes no pass comes first: settling reads rewind's table.
    for wanted, together in sorted(requests.items(), key=lambda item: item[0].images is not None):
        errors.update(filling.measure(together, wanted))
    after = saved_of(run, size, is_current)
    return Saved(after.measures, after.evolution, {**after.errors, **errors})


@dataclass(frozen=True)
class _Filling:
    """Whose measures are made, at what size and where."""

    run: Run | AdoptedRun
    size: Size
    home: Home
    progress: Progress | None

    @property
    def folder(self) -> Path:
        """Where they are written."""
        return measures_folder(self.run.folder, self.home.name)

    @cached_property
    def untrained(self) -> bool:
        """Whether the network is saved as it was before training, at epoch 0."""
        if isinstance(self.run, AdoptedRun):
            subject = subject_at(self.run, data_dir=self.home.data_dir, with_images=False)
            return subject.epochs[0] == 0
        return self.run.steps[:1] == (0,)

    def request(self, name: str) -> tuple[Chosen, Wanted]:
        """A measure with its options, and what it is made of. Raises ZfjaxError for what the run
        cannot give.
        """
        measure = find_measure(name)
        quick = QUICK[name] if self.size == "quick" else Quick()
        options = {
            key: value for key, value in quick.options.items() if hasattr(measure.options, key)
        }
        chosen = Chosen(measure, with_options(measure, options))
        at = quick.at
        if at == FIRST_AND_LAST and not self.untrained:
            at = LAST  # what an untrained network gives is then not beside it
        wanted = Wanted(at=at)
        plan = plan_of_run(self.run, [chosen], wanted, self.home.data_dir, self.progress)
        images = min(QUICK_IMAGES, plan.images) if quick.images else None
        return chosen, Wanted(at=wanted.at, images=images)

    def measure(self, chosen: Sequence[Chosen], wanted: Wanted) -> dict[str, str]:
        """Makes them in one pass; returns why some were not made."""
        try:
            results = measure_runs([self.run], chosen, wanted, self.home, self.progress)
        except ZfjaxError as error:
            return {item.name: str(error) for item in chosen}
        return {name: _reason(error) for name, error in results.failed.items()}


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ZfjaxError) else first_line(error)


def command_of(name: str, size: Size = "full", *, untrained: bool = True) -> str:
    """What a person types for one measure of a run; quick ones with their options. ``untrained``:
    whether epoch 0 is among what is measured where it is asked for.
    """
    if name == EVOLUTION:
        return "zfjax evolve --workdir RUN"
    words = ["zfjax", "measure", "--workdir", "RUN", name]
    if size == "quick":
        quick = QUICK[name]
        if quick.images:
            words += ["--images", str(QUICK_IMAGES)]
        for key, value in quick.options.items():
            words += [f"--{name}.{key.replace('_', '-')}", str(value)]
        at = LAST if quick.at == FIRST_AND_LAST and not untrained else quick.at
        if at is not None:
            words += ["--at", *map(str, at)]
        words += ["--name", PAPER]
    return shlex.join(words)
