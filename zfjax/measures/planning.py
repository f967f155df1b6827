"""What measures are asked for, checked at the door, and what they will cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.features.passing import Route
from zfjax.files import local_path
from zfjax.measures.filters import need_architecture
from zfjax.measures.probing import KINDS, PROBE_IMAGES, PROBE_SEED, probe_bytes, probe_ids
from zfjax.measures.protocol import ARCHITECTURE, EVOLUTION, Looked, Measure
from zfjax.run.folder import Run
from zfjax.run.grid_folders import is_grid
from zfjax.subject import Subject
from zfjax.values import Epochs, Names, Text, Whole, optional, text, texts, whole_number

GRID_IMAGES = 2000
"""Of the probe of an ablation's run, by default."""
FILES = "files"
"""In what <name>.json keeps as "asked": the user's files with their digests."""
VERSION = "version"
"""Likewise: the measure's, above the first."""


@dataclass(frozen=True)
class Wanted:
    """The words of ``zfjax measure`` beside the measures' own options."""

    at: Epochs | None = None
    """Epochs as ``Run.steps_at`` takes them; None: all saved."""
    images: Whole | None = None
    """Of the probe; None: 10,000, of an ablation's run 2,000, or all of a smaller split."""
    split: Text | None = None
    """None: the training split."""
    layers: Names | None = None
    """One or several; None: all."""

    def __post_init__(self) -> None:
        """Makes them Python's own. Raises ZfjaxError for a word of another kind."""
        kinds = {"images": whole_number, "split": text, "layers": texts}
        for name, kind in kinds.items():
            value = optional(kind, getattr(self, name), f"--{name}")
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Chosen:
    """A measure and its options."""

    measure: Measure
    options: Any

    @property
    def name(self) -> str:
        """The measure's."""
        return self.measure.name


@dataclass(frozen=True)
class Plan:
    """Measures of a subject, on the images of a probe, at some steps; see ``plan_of``."""

    subject: Subject
    chosen: tuple[Chosen, ...]
    steps: tuple[int, ...]
    layers: tuple[str, ...]
    """In forward order."""
    searched: int = 0
    """Images that the probe is drawn from: the first so many of the split; 0: no images needed."""
    images: int = 0
    """Of the probe."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the probe must hold."""
        wanted = {kind for chosen in self.chosen for kind in chosen.measure.probe}
        return tuple(kind for kind in KINDS if kind in wanted)

    @property
    def takes_images(self) -> bool:
        """Whether any measure needs the pass."""
        return any(chosen.measure.takes_images for chosen in self.chosen)

    @cached_property
    def ids(self) -> np.ndarray:
        """The probe's images."""
        return probe_ids(self.searched, self.images)

    @property
    def route(self) -> Route:
        """Of its pass."""
        return Route(self.steps, self.layers, PROBE_SEED, self.ids)

    @property
    def maps(self) -> dict[str, int]:
        """By layer."""
        return {name: self.subject.layer(name).maps for name in self.layers}

    def probed(self) -> dict[str, Any]:
        """What the probe's file says of itself: two with the same are of the same images."""
        images = self.subject.need("images", "A probe")
        return {
            "split": images.split,
            "searched": self.searched,
            "images": self.images,
            "seed": PROBE_SEED,
            "fingerprint": self.subject.fingerprint,
            **self._theirs,
        }

    @property
    def _theirs(self) -> dict[str, Any]:
        """What tells a network that is not a run's from another."""
        if self.subject.foreign is None:
            return {}
        return {"foreign": json.loads(json.dumps(self.subject.foreign))}  # as JSON gives it back

    def asked(self, chosen: Chosen) -> dict[str, Any]:
        """What <name>.json keeps as "asked"."""
        options = {
            name: _file_asked(value) if isinstance(value, Path) else value
            for name, value in asdict(chosen.options).items()
        }
        about = {"steps": list(self.steps), "layers": list(self.layers), "options": options}
        if chosen.measure.files is not None and (files := chosen.measure.files(chosen.options)):
            about[FILES] = [_file_asked(path) for path in files]
        if chosen.measure.version > 1:
            about[VERSION] = chosen.measure.version
        with_images = chosen.measure.takes_images or "images" in chosen.measure.needs
        return {**about, **(self.probed() if with_images else self._theirs)}


def _file_asked(path: Path) -> str:
    """A file's path and what tells whether it holds the same as before."""
    try:
        digest = hashlib.sha256(local_path(path).read_bytes()).hexdigest()
    except (OSError, ZfjaxError):  # no file: whoever reads it says so
        return str(path)
    return f"{path} (sha256 {digest[:16]})"


def images_by_default(folder: Path) -> int:
    """How many images a run's probe has where nobody says: fewer where it is one of an ablation's
    (DIR/cells/NAME/seed-N), for that keeps a probe of each.
    """
    grid = folder.resolve().parent.parent.parent
    return GRID_IMAGES if is_grid(grid) else PROBE_IMAGES


def plan_of(
    subject: Subject,
    chosen: Sequence[Chosen],
    wanted: Wanted,
    most: int = PROBE_IMAGES,
    run: Run | None = None,
) -> Plan:
    """What is asked of a subject; ``most``: images of its probe, where it is not said; ``run``:
    whose it is. Raises ZfjaxError for what it does not have.
    """
    if not chosen:
        raise ZfjaxError("No measure is asked for.")
    for name in wanted.layers or ():
        subject.layer(name)
    layers = tuple(name for name in subject.layers if name in (wanted.layers or subject.layers))
    steps = subject.find_steps(wanted.at)
    for item in chosen:
        check_steps(item.measure, steps)
        check_needs(item.measure, subject)
        if item.measure.checks is not None:
            item.measure.checks(Looked(subject, steps, layers, run=run), item.options)
    if not any(item.measure.takes_images or "images" in item.measure.needs for item in chosen):
        return Plan(subject, tuple(chosen), steps, layers)
    count = subject.need("images", f"The measure {chosen[0].name}").count
    size = probe_size(subject, wanted.images, count, most)
    return Plan(subject, tuple(chosen), steps, layers, count, size)


def probe_size(subject: Subject, images: Whole | None, count: int, most: int = PROBE_IMAGES) -> int:
    """How many images the probe has, of ``count``; ``most``: by default. Raises ZfjaxError for more
    than there are.
    """
    source = subject.need("images", "A probe")
    if not count:
        raise ZfjaxError(f"Split {source.split!r} of {source.name} is empty.")
    if images is None:
        return min(most, count)
    if images < 1:
        raise ZfjaxError(f"--images {images} must be 1 or more.")
    if images > count:
        raise ZfjaxError(
            f"--images {images:,}: split {source.split!r} of {source.name} has {count:,};"
            " ask for as many or fewer, or leave it out."
        )
    return int(images)


def check_steps(measure: Measure, steps: Sequence[int]) -> None:
    """Raises ZfjaxError where there are too few checkpoints for a measure."""
    if len(steps) < measure.least_steps:
        raise ZfjaxError(
            f"The measure {measure.name} needs {measure.least_steps} checkpoints or more, and"
            f" {len(steps)} {'is' if len(steps) == 1 else 'are'} asked for: leave out --at, or"
            " train with --keep all, or for more epochs."
        )


def check_needs(measure: Measure, subject: Subject) -> None:
    """Raises ZfjaxError where the subject lacks what a measure needs."""
    purpose = f"The measure {measure.name}"
    if ARCHITECTURE in measure.needs:
        need_architecture(subject.network, measure.name)
    for what in measure.needs:
        if what not in ("labels", ARCHITECTURE, EVOLUTION):
            subject.need(what, purpose)
    if "labels" in measure.needs:
        subject.need("images", purpose).check_labelled(purpose)


@dataclass(frozen=True)
class Cost:
    """What a plan takes."""

    checkpoints: int
    images: int
    """Of each checkpoint."""
    flops: int
    """Of the pass: two for a multiply-add."""
    kept_bytes: int
    """The probe on disk."""
    scratch_bytes: int
    """The same while it is gathered, beside it."""
    evaluations: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By measure: runs of the whole network beside the pass, and the images of each."""

    @property
    def evaluated(self) -> int:
        """Images of all evaluations."""
        return sum(times * images for times, images in self.evaluations.values())


def cost_of(plan: Plan, run: Run | None = None) -> Cost:
    """The cost of a plan; nothing is run. ``run``: whose it is."""
    looked = Looked(plan.subject, plan.steps, plan.layers, run=run)
    evaluations = {
        item.name: item.measure.evaluates(looked, item.options)
        for item in plan.chosen
        if item.measure.evaluates is not None
    }
    if not plan.takes_images:
        return Cost(len(plan.steps), 0, 0, 0, 0, evaluations)
    top_layer = plan.subject.network.highest(plan.layers)
    flops = 2 * top_layer.image_work.multiply_adds * plan.images * len(plan.steps)
    maps = sum(plan.maps.values())
    kept, scratch = probe_bytes(len(plan.steps), plan.images, maps, len(plan.kinds))
    return Cost(len(plan.steps), plan.images, flops, kept, scratch, evaluations)
