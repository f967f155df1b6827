"""``subject_from``: somebody else's network, checkpoints and images, as what is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from zfjax.data.dataset import open_dataset
from zfjax.data.finding import data_home, newest_version
from zfjax.data.held import HeldImages
from zfjax.data.plain_folders import FolderFiles, files_in
from zfjax.data.reading import Reading
from zfjax.data.views import Images
from zfjax.errors import ZfjaxError
from zfjax.files import data_folder, local_path
from zfjax.inputs import Preparation
from zfjax.network.opening import Looking, built, expected_variables, model_named
from zfjax.network.traced import TracedForward, TracedScores, layers_of_model
from zfjax.network.tracing import Model, digest_of, needed_leaves, parameters_of, scores_output
from zfjax.run.foreign import Part, Stored, part_of, stored_in, stored_trees
from zfjax.run.steps import chosen_steps
from zfjax.spelling import spelled
from zfjax.subject import Network, Subject
from zfjax.values import Epochs


@dataclass(frozen=True)
class Adopted:
    """How somebody else's network is looked at: ``subject_from``'s keywords."""

    mean: float | Sequence[float] | None = None
    """Of the pixels, 0..255: one number, or one a channel."""
    std: float | Sequence[float] | None = None
    input: int = 224
    """Pixels a side of the network's input: the centre of the view."""
    resize: int | None = None
    """Pixels of the view's shorter side, before the centre is cut out; None: as ``input``."""
    variables: str | None = None
    """Path of the network's variables in a checkpoint; None: where they fit."""
    layers: Sequence[str] = ()
    """Convolutions without an activation that are looked at too."""
    smooth: Sequence[str] = ()
    """Smooth activations that are given a rule: "gelu", "silu", "tanh"."""
    statistics: str = "rule"
    """How a signal comes down through norms and gates: "frozen", "identity", "gradient", or as the
    rule has it.
    """
    data_dir: str | None = None
    split: str | None = None
    """Of a data set; None: train."""
    steps_per_epoch: int = 1
    labels: Sequence[str] | None = None
    """Names of the classes."""


class AdoptedWords(TypedDict, total=False):
    """``Adopted`` as keywords."""

    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    input: int
    resize: int | None
    variables: str | None
    layers: Sequence[str]
    smooth: Sequence[str]
    statistics: str
    data_dir: str | None
    split: str | None
    steps_per_epoch: int
    labels: Sequence[str] | None


@spelled(Adopted)
def subject_from(
    checkpoints: Path | str | Mapping[int, Any],
    *,
    model: Any,
    images: Any = None,
    **how: Unpack[AdoptedWords],
) -> Subject:
    """Somebody else's network as what is looked at.

    ``checkpoints``: an Orbax root of numbered folders (v0 or v1), or trees of parameters by step.
    ``model``: a Linen module, a function ``features(parameters, inputs)`` that returns maps, or
    {name: maps} (class scores under "scores"), or "pkg.module:build". ``images``: the name of a
    data set, a folder of class folders or images, a uint8 array [n, h, w, c], or anything with
    ``len`` and ``[i]`` -> uint8 image or (image, label); None: what needs some will say so. Raises
    ZfjaxError for what does not fit together.
    """
    asked = Adopted(**how)
    looking = Looking(
        (asked.input, asked.input),
        smooth=tuple(asked.smooth),
        statistics=asked.statistics,  # type: ignore[arg-type]
    )
    preparation = _preparation(asked)
    words = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
    network = built(model) if isinstance(model, str) else model
    if isinstance(checkpoints, Mapping):
        stored = stored_trees(checkpoints)
    else:
        stored = stored_in(Path(checkpoints))
    pictures = _images(images, asked, preparation)
    labels = _labels(asked, pictures)
    part = part_of(stored.shapes, expected_variables(words, network, looking), asked.variables)
    known = model_named(words, network, part.shapes, looking)
    also = tuple(asked.layers)
    output, forward = scores_output(known), TracedForward(known, also)
    return Subject(
        network=Network(known.name, layers_of_model(known, also), forward, known.input_size),
        steps=stored.steps,
        epochs=tuple(step / asked.steps_per_epoch for step in stored.steps),
        load=_load(stored, part, known, also),
        find_steps=_find_steps(stored.steps, asked.steps_per_epoch),
        preparation=preparation,
        images=pictures,
        scores=None if output is None else TracedScores(known, output),
        labels=labels,
        foreign={
            "model": known.name,
            "network": digest_of(known),
            "checkpoints": stored.digest,
            "smooth": sorted(known.smooth),
            "statistics": known.statistics,
            "mean": preparation.mean,
            "std": preparation.std,
            "input": asked.input,
            "resize": preparation.view,
        },
        opened_from={
            "model": _reopening_words(model),
            "checkpoints": None
            if isinstance(checkpoints, Mapping)
            else str(Path(checkpoints).absolute()),
            "images": _words_of_images(images, pictures),
            "data_dir": None
            if asked.data_dir is None
            else str(data_folder(asked.data_dir).absolute()),
            "split": asked.split if pictures is None else pictures.split,
            "variables": asked.variables,
            "layers": list(also),
            "steps_per_epoch": int(asked.steps_per_epoch),
            "labels": None if labels is None else [str(name) for name in labels],
        },
    )


def _reopening_words(model: Any) -> str | None:
    """The words of a model from whatever folder they are read; None for one given as an object."""
    if not isinstance(model, str):
        return None
    place, _, name = model.rpartition(":")
    return f"{Path(place).absolute()}:{name}" if place.endswith(".py") else model


def _preparation(asked: Adopted) -> Preparation:
    view = asked.resize or asked.input
    if asked.input < 1 or view < asked.input:
        raise ZfjaxError(
            f"An input of {asked.input} pixels out of views of {view} is not possible; resize must"
            " be as large as input, and both 1 or more."
        )
    mean, std = _channels("mean", asked.mean), _channels("std", asked.std)
    if max(mean) < 1 and min(mean) > 0:
        pixels = ", ".join(f"{255 * value:g}" for value in mean)
        deviations = ", ".join(f"{255 * value:g}" for value in std)
        raise ZfjaxError(
            f"A mean of {', '.join(f'{value:g}' for value in mean)} is in units of 0..1; pixels"
            f" here are 0..255: give mean {pixels} and std {deviations}."
        )
    if min(std) <= 0:
        raise ZfjaxError(f"A std of {', '.join(map(str, std))} must be above 0.")
    return Preparation("foreign", view, (asked.input, asked.input), mean, std)


def _channels(name: str, values: float | Sequence[float] | None) -> tuple[float, ...]:
    if values is None:
        raise ZfjaxError(
            f"Give the {name} that the network's inputs were normalised by, in pixel values 0..255:"
            " (pixels - mean) / std."
        )
    numbers = np.atleast_1d(np.asarray(values, np.float64))
    if numbers.shape not in ((1,), (3,)) or not np.isfinite(numbers).all():
        raise ZfjaxError(f"A {name} is one number or three, not {values!r}.")
    return tuple(float(value) for value in np.broadcast_to(numbers, 3))


def _load(
    stored: Stored, part: Part, known: Model, also: tuple[str, ...]
) -> Callable[[int, tuple[str, ...] | None], Any]:
    """A step's parameters: those that the layers need, by path; or the model's whole tree."""
    needed = needed_leaves(known, also)

    def load(step: int, names: tuple[str, ...] | None) -> Any:
        if step not in stored.steps:
            raise ZfjaxError(f"There is no step {step}; saved are {_listed(stored.steps)}.")
        if names is not None:
            return part.load(stored, step, needed)
        return parameters_of(known, part.load(stored, step, known.paths))

    return load


def _find_steps(
    steps: tuple[int, ...], steps_per_epoch: int
) -> Callable[[Epochs | None], tuple[int, ...]]:
    def find(wanted: Epochs | None) -> tuple[int, ...]:
        return chosen_steps(steps, steps_per_epoch, wanted)

    return find


def _images(images: Any, asked: Adopted, preparation: Preparation) -> Images | HeldImages | None:
    size = (preparation.view, preparation.view)
    if images is None:
        return None
    if isinstance(images, str | Path) and (folder := _plain_folder(images, asked)) is not None:
        files = files_in(folder, asked.split, size, asked.labels)
        return HeldImages(files, size, asked.split or "all", folder.name)
    if isinstance(images, str):
        dataset = open_dataset(images, asked.data_dir or data_home())
        return Images(dataset, asked.split or "train", Reading(size))
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise ZfjaxError(
            f"Images of type {type(images).__name__} cannot be looked at; give the name of a data"
            " set, a folder, a uint8 array, or anything with len and [i]."
        )
    return HeldImages(images, size, asked.split or "all")


def _plain_folder(images: str | Path, asked: Adopted) -> Path | None:
    """The folder of images that is meant; None for the name of a data set. A set of that name goes
    before a folder.
    """
    path = local_path(images).absolute()
    if isinstance(images, Path) or images[:1] in ("/", ".", "~"):
        return path
    try:
        newest_version(images, data_folder(asked.data_dir or data_home()))
    except ZfjaxError:
        return path if path.is_dir() else None
    return None


def _words_of_images(images: Any, pictures: Images | HeldImages | None) -> str | None:
    """What opens the images again; None for such as came as objects."""
    if isinstance(pictures, HeldImages):
        given = isinstance(pictures.images, FolderFiles)
        return str(local_path(images).absolute()) if given else None
    return images if isinstance(images, str) else None


def _labels(asked: Adopted, pictures: Images | HeldImages | None) -> tuple[str, ...] | None:
    """The names of the classes: those given, or of class folders."""
    if isinstance(pictures, HeldImages) and isinstance(pictures.images, FolderFiles):
        return pictures.images.class_names or None
    return None if asked.labels is None else tuple(asked.labels)


def _listed(steps: tuple[int, ...]) -> str:
    more = f" and {len(steps) - 12} more" if len(steps) > 12 else ""
    return ", ".join(map(str, steps[:12])) + more
