"""``subject_from``: somebody else's network, checkpoints and images, as what is looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import jax
import numpy as np

from zfjax.data.dataset import open_dataset
from zfjax.data.finding import data_home
from zfjax.data.held import HeldImages
from zfjax.data.plain_folders import FolderFiles, files_in, folder_meant
from zfjax.data.reading import Reading, Share
from zfjax.data.views import Images
from zfjax.errors import ZfjaxError, shortened
from zfjax.files import data_folder, local_path
from zfjax.inputs import Preparation
from zfjax.network.modules import TORCH, is_network, kind_of
from zfjax.network.opening import Looking, built, expected_pieces, model_named, network_in
from zfjax.network.traced import TracedForward, TracedScores, layers_of_model
from zfjax.network.tracing import Model, digest_of, needed_leaves, parameters_of, scores_output
from zfjax.run.checkpoint_faults import DamagedCheckpoint
from zfjax.run.collecting import open_checkpoints, without_torn
from zfjax.run.foreign import Part
from zfjax.run.imported import imported_in
from zfjax.run.pieces import nested, part_of_pieces
from zfjax.run.stored import Stored
from zfjax.spelling import spelled
from zfjax.subject import Network, Subject
from zfjax.values import (
    Names,
    Place,
    Text,
    Whole,
    optional,
    path_text,
    real_number,
    several,
    text,
    texts,
    whole_number,
)


@dataclass(frozen=True)
class Adopted:
    """How somebody else's network is looked at: ``subject_from``'s keywords, one where several are
    taken, NumPy's numbers and paths made plain.
    """

    mean: float | Iterable[float] | None = None
    """Of the pixels, 0..255: one number, or one a channel."""
    std: float | Iterable[float] | None = None
    input: int = 224
    """Pixels a side of the network's input: the centre of the view."""
    resize: int | None = None
    """Pixels of the view's shorter side, before the centre is cut out; None: as ``input``."""
    steps: str | None = None
    """A regular expression for the checkpoints' names: see ``open_checkpoints``."""
    variables: str | None = None
    """Path of the network's variables in a checkpoint; None: where they fit."""
    layers: tuple[str, ...] = ()
    """Convolutions without an activation that are looked at too, one or several."""
    smooth: tuple[str, ...] = ()
    """Smooth activations that are given a rule: "gelu", "silu", "tanh", "mish"."""
    statistics: str = "rule"
    """How a signal comes down through norms and gates: "frozen", "identity", "gradient", or as the
    rule has it.
    """
    data_dir: str | None = None
    split: str | None = None
    """Of a data set; None: train."""
    steps_per_epoch: int = 1
    labels: tuple[str, ...] | None = None
    """Names of the classes."""

    def __post_init__(self) -> None:
        """Makes them Python's own. Raises ZfjaxError for a word of another kind."""
        kinds = {
            "input": whole_number,
            "resize": whole_number,
            "steps": text,
            "variables": text,
            "layers": texts,
            "smooth": texts,
            "statistics": text,
            "data_dir": path_text,
            "split": text,
            "steps_per_epoch": whole_number,
            "labels": texts,
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, optional(kind, getattr(self, name), name))
        if self.steps_per_epoch < 1:
            raise ZfjaxError(f"steps_per_epoch {self.steps_per_epoch} must be 1 or more.")


class AdoptedWords(TypedDict, total=False):
    """``Adopted`` as keywords, as they may be given."""

    mean: float | Iterable[float] | None
    std: float | Iterable[float] | None
    input: Whole
    resize: Whole | None
    steps: Text | None
    variables: Text | None
    layers: Names
    smooth: Names
    statistics: Text
    data_dir: Place | None
    split: Text | None
    steps_per_epoch: Whole
    labels: Names | None


@spelled(Adopted)
def subject_from(
    checkpoints: Place | Mapping[int, Any] | Stored,
    *,
    model: Any,
    images: Any = None,
    **how: Unpack[AdoptedWords],
) -> Subject:
    """Somebody else's network as what is looked at.

    ``checkpoints``: a folder of them, trees of parameters by step, or what ``open_checkpoints``
    returns, which says what is read.
    ``model``: a module of Linen or NNX, one of Equinox or its pair (module, state), a function
    ``features(parameters, inputs)`` that returns maps, or {name: maps} (class scores under
    "scores"), or "pkg.module:build". ``images``: the name of a data set, a folder of class folders
    or images, a uint8 array [n, h, w, c], or anything with ``len`` and ``[i]`` -> uint8 image or
    (image, label); None: what needs some will say so. Raises
    ZfjaxError for what does not fit together.
    """
    asked = _as_imported(Adopted(**cast(dict[str, Any], how)), checkpoints)
    _check_model(model)
    looking = Looking(
        (asked.input, asked.input),
        smooth=asked.smooth,
        statistics=asked.statistics,  # type: ignore[arg-type]
    )
    preparation = _preparation(asked)
    words = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
    network = built(model) if isinstance(model, str) else network_in(model, f"model {words}")
    stored = open_checkpoints(checkpoints, steps=asked.steps, steps_per_epoch=asked.steps_per_epoch)
    pictures = _images(images, asked, preparation)
    labels = _labels(asked, pictures)
    pieces = expected_pieces(words, network, looking)
    variables = part_of_pieces(stored.shapes, pieces, stored.path_within(asked.variables))
    known = model_named(words, network, variables.shapes, looking)
    also = asked.layers
    needed = needed_leaves(known, also)
    stored = without_torn(stored, lambda step: variables.load(stored, step, needed))
    output, forward = scores_output(known), TracedForward(known, also)
    return Subject(
        network=Network(known.name, layers_of_model(known, also), forward, known.input_size),
        steps=stored.steps,
        epochs=stored.epochs,
        load=_load(stored, variables, known, also),
        find_steps=stored.steps_at,
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
            "model": _model_words(model),
            "checkpoints": None if stored.root is None else str(stored.root.absolute()),
            "steps": stored.pattern,
            "named_epochs": stored.named_epochs,
            "images": _image_words(images, pictures),
            "data_dir": None if asked.data_dir is None else str(_data_home(asked).absolute()),
            "split": asked.split if pictures is None else pictures.split,
            "variables": asked.variables,
            "layers": list(also),
            "steps_per_epoch": stored.steps_per_epoch,
            "labels": None if labels is None else list(labels),
        },
    )


def _as_imported(asked: Adopted, checkpoints: Any) -> Adopted:
    """``asked``, with what is not said taken from what ``import-weights`` has written of it."""
    root = checkpoints.root if isinstance(checkpoints, Stored) else checkpoints
    if not isinstance(root, str | os.PathLike):
        return asked
    imported = imported_in(Path(root).expanduser())
    if imported is None:
        return asked
    resize = imported.resize if asked.input == imported.input else None
    return replace(
        asked,
        mean=imported.mean if asked.mean is None else asked.mean,
        std=imported.std if asked.std is None else asked.std,
        resize=resize if asked.resize is None else asked.resize,
    )


def _model_words(model: Any) -> str | None:
    """The words of a model from whatever folder they are read; None for one given as an object."""
    if not isinstance(model, str):
        return None
    file, _, name = model.rpartition(":")
    return f"{local_path(file).absolute()}:{name}" if file.endswith(".py") else model


def _preparation(asked: Adopted) -> Preparation:
    view = asked.input if asked.resize is None else asked.resize
    if asked.input < 1 or view < asked.input:
        raise ZfjaxError(
            f"An input of {asked.input} pixels out of views of {view} is not possible; resize must"
            " be as large as input, and both 1 or more."
        )
    mean, std = _channels("mean", asked.mean), _channels("std", asked.std)
    if min(std) <= 0:
        raise ZfjaxError(f"A std of {', '.join(map(str, std))} must be above 0.")
    _check_pixel_units(mean, std)
    return Preparation("foreign", view, (asked.input, asked.input), mean, std)


def _check_pixel_units(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Raises ZfjaxError where one or both are of pixels in 0..1."""
    small = {"mean": max(mean) < 1 and min(mean) > 0, "std": max(std) < 1}
    right = {
        name: ", ".join(f"{value * (255 if small[name] else 1):g}" for value in values)
        for name, values in (("mean", mean), ("std", std))
    }
    for name, values in (("mean", mean), ("std", std)):
        if small[name]:
            raise ZfjaxError(
                f"A {name} of {', '.join(f'{value:g}' for value in values)} is in units of 0..1;"
                f" pixels here are 0..255: give mean {right['mean']} and std {right['std']}."
            )


def _check_model(model: Any) -> None:
    """Raises ZfjaxError for what is neither a network nor the words for one."""
    if not isinstance(model, str) and not is_network(model) and not callable(model):
        raise ZfjaxError(
            f"model is of type {type(model).__name__}; give a module of Linen, NNX or Equinox, a"
            " function features(parameters, inputs), or 'pkg.module:build'."
        )
    if not is_network(model) and kind_of(model) == TORCH:
        raise ZfjaxError(
            f"model is a module of {TORCH}; give one of Linen, NNX or Equinox, or a function"
            " features(parameters, inputs)."
        )


def _channels(name: str, values: float | Iterable[float] | None) -> tuple[float, ...]:
    if values is None:
        raise ZfjaxError(
            f"Give the {name} that the network's inputs were normalised by, in pixel values 0..255:"
            " (pixels - mean) / std."
        )
    items = several(values)
    numbers = np.array([real_number(item, name) for item in items])
    if numbers.shape not in ((1,), (3,)) or not np.isfinite(numbers).all():
        raise ZfjaxError(f"A {name} is one number or three, not {values!r}.")
    return tuple(float(value) for value in np.broadcast_to(numbers, 3))


def _load(
    stored: Stored, variables: Part, known: Model, also: tuple[str, ...]
) -> Callable[[int, tuple[str, ...] | None], Any]:
    """A step's parameters: those that the layers need, by path; or the model's whole tree."""
    needed = needed_leaves(known, also)

    def load(step: int, names: tuple[str, ...] | None) -> Any:
        if step not in stored.steps:
            raise ZfjaxError(f"There is no step {step}; saved are {shortened(stored.steps, 12)}.")
        wanted = known.paths if names is None else needed
        try:
            arrays = variables.load(stored, step, wanted)
        except DamagedCheckpoint as error:
            raise DamagedCheckpoint(
                f"{str(error).rstrip('.')}; to do without it, move it away, or name the others with"
                " --at."
            ) from None
        return parameters_of(known, arrays) if names is None else nested(arrays)

    return load


def _images(images: Any, asked: Adopted, preparation: Preparation) -> Images | HeldImages | None:
    size = (preparation.view, preparation.view)
    share = Share(jax.process_index(), jax.process_count())
    if images is None:
        return None
    if isinstance(images, str | os.PathLike):
        folder = folder_meant(images, _data_home(asked))
        if folder is None:
            dataset = open_dataset(path_text(images, "images"), _data_home(asked))
            return Images(dataset, asked.split or "train", Reading(size, share=share))
        files = files_in(folder, asked.split, size, asked.labels)
        return HeldImages(files, size, asked.split or "all", folder.name, share)
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise ZfjaxError(
            f"Images of type {type(images).__name__} cannot be looked at; give the name of a data"
            " set, a folder, a uint8 array, or anything with len and [i]."
        )
    return HeldImages(images, size, asked.split or "all", share=share)


def _data_home(asked: Adopted) -> Path:
    return data_home() if asked.data_dir is None else data_folder(asked.data_dir)


def _image_words(images: Any, pictures: Images | HeldImages | None) -> str | None:
    """What opens the images again; None for such as came as objects."""
    if isinstance(pictures, HeldImages):
        is_folder = isinstance(pictures.images, FolderFiles)
        return str(local_path(images).absolute()) if is_folder else None
    return images if isinstance(images, str) else None


def _labels(asked: Adopted, pictures: Images | HeldImages | None) -> tuple[str, ...] | None:
    """The names of the classes: those given, or of class folders."""
    if isinstance(pictures, HeldImages) and isinstance(pictures.images, FolderFiles):
        return pictures.images.class_names or None
    return asked.labels
