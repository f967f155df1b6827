"""What a transfer is asked for, checked at the door, and what it will cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import jax

from zfjax.config import Optimizer
from zfjax.data.dataset import Dataset, open_dataset
from zfjax.data.finding import data_home
from zfjax.data.reading import Reading, Share
from zfjax.data.scenes import ensure_scenes
from zfjax.data.set_names import SCENES
from zfjax.data.views import Images
from zfjax.errors import ZfjaxError
from zfjax.files import data_folder
from zfjax.inputs import open_data, reading_of, with_data_dir
from zfjax.measures.layer_features import check_layers, own_architecture, readable_layers
from zfjax.network.hidden import hidden_dense
from zfjax.network.traced import TracedForward
from zfjax.progress import Progress, tell_nobody
from zfjax.reopening import subject_at
from zfjax.run.adopted import AdoptedRun
from zfjax.run.folder import Run
from zfjax.studies.folds import Protocol
from zfjax.studies.new_heads import Training, settled
from zfjax.studies.scratch import trainings_of
from zfjax.studies.transferred import stem_of
from zfjax.subject import Subject, subject_of
from zfjax.values import (
    Epochs,
    Place,
    Text,
    Truth,
    Whole,
    optional,
    path_text,
    real_number,
    several,
    text,
    truth,
    whole_number,
)

FACTORS = (1.0, 3.0, 10.0)
"""Of the run's own peak learning rate, to choose from."""
FOREIGN_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Where no rate of the network's own is known."""


@dataclass(frozen=True)
class Asked:
    """The words of ``zfjax transfer``. Raises ZfjaxError for those that mean nothing."""

    to: Text
    """Name of a prepared data set."""
    at: Epochs = "last"
    """Epochs as ``Run.steps_at`` takes them."""
    images_per_class: Any = (15, 30)
    """To train on."""
    folds: Whole = 5
    """Draws of training and test images."""
    test_per_class: Whole = 50
    """At most."""
    layer: Text | None = None
    """Whose features; None: the last hidden one."""
    steps: Whole = 500
    """Of each training, in both arms."""
    batch_size: Whole = 32
    """Images a step."""
    learning_rates: Any = None
    """Peak rates to choose from; None: the run's own times 1, 3 and 10."""
    scratch: Truth = True
    """Whether the control is trained."""
    remove_overlaps: Truth = False
    """Whether images that the run was trained on are left out."""
    split: Text | None = None
    """None: the only one, or "train"."""
    seed: Whole = 0
    """Of the folds and of what is trained on them."""
    name: Text | None = None
    """RUN/transfer/<to>-NAME."""
    data_dir: Place | None = None
    """Folder of prepared data sets; None: the run's."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            value = whole_number(getattr(self, name), f"--{name.replace('_', '-')}")
            object.__setattr__(self, name, value)
            if value < 1:
                raise ZfjaxError(f"--{name.replace('_', '-')} {value} must be 1 or more.")
        for name in ("scratch", "remove_overlaps"):
            truth(getattr(self, name), name)
        text(self.to, "--to")
        for name in ("layer", "split"):
            optional(text, getattr(self, name), f"--{name}")
        if self.learning_rates is not None:
            rates = [real_number(rate, "--learning-rates") for rate in several(self.learning_rates)]
            if not rates or not all(0 < rate < math.inf for rate in rates):
                shown = " ".join(f"{rate:g}" for rate in rates)
                raise ZfjaxError(f"--learning-rates {shown} must be numbers above 0.")
            object.__setattr__(self, "learning_rates", tuple(sorted(set(rates))))
        self.protocol  # noqa: B018 (raises)
        self.stem  # noqa: B018 (raises)

    @property
    def protocol(self) -> Protocol:
        """How folds are drawn."""
        sizes, numbers = self.images_per_class, (self.folds, self.test_per_class, self.seed)
        return Protocol(sizes, *map(int, numbers))

    @property
    def stem(self) -> str:
        """What the files are called."""
        return stem_of(self.to, self.name)


@dataclass(frozen=True, eq=False)
class TransferPlan:
    """What is asked of a run, with what it needs opened."""

    run: Run | AdoptedRun
    asked: Asked
    subject: Subject
    """On the other data set's images, in the run's view."""
    class_names: tuple[str, ...]
    """Of the other data set."""
    steps: tuple[int, ...]
    layer: str
    training: Training
    base_rate: float
    """The run's own peak learning rate."""
    scratch: bool
    """Whether the control is trained."""
    notes: tuple[str, ...] = ()
    """What is to be said of how it was understood."""

    @property
    def protocol(self) -> Protocol:
        """How folds are drawn."""
        return self.asked.protocol

    @property
    def images(self) -> Images:
        """Of the other data set."""
        images: Images = self.subject.need("images", "A transfer")
        return images

    def record(self) -> dict[str, Any]:
        """What a finished transfer of other settings differs in: as JSON gives it back."""
        protocol = self.protocol
        return {
            "to": self.asked.to,
            "data": self.subject.fingerprint,
            "layer": self.layer,
            "images_per_class": list(protocol.images_per_class),
            "folds": protocol.folds,
            "test_per_class": protocol.test_per_class,
            "seed": protocol.seed,
            "training_steps": self.training.steps,
            "batch_size": self.training.batch_size,
            "learning_rates": list(self.training.rates),
            "remove_overlaps": bool(self.asked.remove_overlaps),
        }


def plan_of_transfer(
    run: Run | AdoptedRun, asked: Asked, progress: Progress | None = None
) -> TransferPlan:
    """A transfer, checked as far as it can be without looking at an image. Raises ZfjaxError for
    what the run or the data set does not have.
    """
    if jax.process_count() > 1:
        raise ZfjaxError("zfjax transfer is for one process; start it without --coordinator.")
    if asked.remove_overlaps and not isinstance(run, Run):
        raise ZfjaxError(
            f"--remove-overlaps: {run.folder} is of a network that zfjax has not trained, so that"
            " what it was trained on is not known; leave this out."
        )
    notes: list[str] = []
    subject, dataset = _opened(run, asked, progress or tell_nobody)
    images = subject.need("images", "A transfer")
    images.check_labelled("A transfer")
    if len(dataset.class_names) < 2:
        raise ZfjaxError(
            f"{dataset.name} has {len(dataset.class_names)} class, and a classifier needs two or"
            " more: choose another data set with --to."
        )
    layer = _layer(subject, asked, notes)
    steps = subject.find_steps(asked.at)
    optimizer = run.config.optimizer if isinstance(run, Run) else Optimizer()
    base = optimizer.learning_rate if isinstance(run, Run) else FOREIGN_RATES[3]
    rates = tuple(sorted(base * factor for factor in FACTORS))
    rates = asked.learning_rates or (rates if isinstance(run, Run) else FOREIGN_RATES)
    training = Training(settled(optimizer), rates, int(asked.steps), int(asked.batch_size))
    scratch = bool(asked.scratch) and isinstance(run, Run)
    if asked.scratch and not scratch:
        notes.append(
            "Without the control from scratch: it needs an initialiser and an optimiser, and what"
            " is looked at has none."
        )
    return TransferPlan(
        run, asked, subject, dataset.class_names, steps, layer, training, base, scratch,
        tuple(notes),
    )  # fmt: skip


def _opened(run: Run | AdoptedRun, asked: Asked, progress: Progress) -> tuple[Subject, Dataset]:
    """(the run as what is looked at, on the other data set; that data set)."""
    if isinstance(run, Run):
        own = with_data_dir(run.config, asked.data_dir)
        config = replace(own, data=replace(own.data, name=str(asked.to)))
        dataset = open_data(config, progress)
        reading = replace(reading_of(config), share=Share())
        return subject_of(run, Images(dataset, _split(dataset, asked), reading)), dataset
    theirs = subject_at(run, with_images=False)
    forward = theirs.forward
    if isinstance(forward, TracedForward) and forward.model.channels != 3:
        raise ZfjaxError(
            f"{theirs.network.name} takes inputs of {forward.model.channels} channel, and the"
            " images of a data set have 3: build it with three."
        )
    home = run.opened_from.get("data_dir") if asked.data_dir is None else asked.data_dir
    folder = data_home() if home is None else data_folder(path_text(home, "--data.dir"))
    name = str(asked.to)
    if name == SCENES:
        dataset = open_dataset(*ensure_scenes(folder, progress=progress))
    else:
        dataset = open_dataset(name, folder)
    view = theirs.preparation.view
    images = Images(dataset, _split(dataset, asked), Reading((view, view), share=Share()))
    return replace(theirs, images=images), dataset


def _split(dataset: Dataset, asked: Asked) -> str:
    if asked.split is not None:
        dataset.count(str(asked.split))
        return str(asked.split)
    if "train" in dataset.splits:
        return "train"
    if len(dataset.splits) == 1:
        return next(iter(dataset.splits))
    raise ZfjaxError(
        f"{dataset.name} has the splits {', '.join(dataset.splits)}: choose one with --split."
    )


def _layer(subject: Subject, asked: Asked, notes: list[str]) -> str:
    network = subject.network
    if asked.layer is not None:
        check_layers(network, (str(asked.layer),))
        return str(asked.layer)
    there = readable_layers(network)
    if not there:
        raise ZfjaxError(
            f"{network.name} has no hidden layer, so there are no features to carry over."
        )
    architecture = own_architecture(network)
    if architecture is None or not hidden_dense(architecture):
        notes.append(
            f"{network.name} has no hidden fully connected layer that is known: its features are"
            f" those of {there[-1]}, averaged to at most 4 x 4 cells."
        )
    return there[-1]


@dataclass(frozen=True)
class TransferCost:
    """What a plan takes."""

    images: int
    """Of the data set, read once."""
    checkpoints: int
    heads: int
    """New heads trained."""
    networks: int
    """Trainings from scratch."""
    trained_images: int
    """Images that these see in all."""
    seconds: float | None
    """Were this machine the one that trained the run; None where its speed is not known."""


def cost_of_transfer(plan: TransferPlan) -> TransferCost:
    """The cost of a plan; no image is looked at."""
    protocol, training = plan.protocol, plan.training
    each = trainings_of(protocol.images_per_class, protocol.folds, len(training.rates))
    networks = each if plan.scratch else 0
    trained = networks * training.steps * training.batch_size
    count = plan.images.count
    speeds = sorted(
        line["images_per_second"] for line in plan.run.metrics if "images_per_second" in line
    )
    seconds = None
    if speeds:
        # A forward pass is a third of a training step.
        seconds = (trained + count * len(plan.steps) / 3) / speeds[len(speeds) // 2]
    return TransferCost(count, len(plan.steps), each * len(plan.steps), networks, trained, seconds)
