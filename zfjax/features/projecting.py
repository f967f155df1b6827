"""project(): one map on one image, at any epochs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypedDict, Unpack

import jax
import numpy as np
from jaxtyping import UInt8

from zfjax.config import Config
from zfjax.data.images import MAX_PIXELS, view_of_file
from zfjax.data.set_names import SCENES
from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet, drawing, strongest
from zfjax.features.units import Unit
from zfjax.files import local_path
from zfjax.inputs import open_data, with_data_dir
from zfjax.network.ops import rule_named
from zfjax.reopening import subject_at
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.evolution import Tile
from zfjax.run.folder import Run
from zfjax.spelling import spelled
from zfjax.subject import Subject, images_of, subject_of
from zfjax.values import Epochs, Place, Text, Whole, path_of, text, whole_number

_IMAGE = "image (the path of a file, or an image's number)"


@dataclass(frozen=True)
class UnitProjection:
    """One map's strongest place on one image at one epoch."""

    step: int
    epoch: float
    activation: float
    y: int
    x: int
    box: tuple[int, int, int, int]
    """(y0, x0, y1, x1) in pixels of the network's input, half open, not clipped."""
    tile: Tile


@dataclass(frozen=True)
class Source:
    """Where an image is looked for."""

    split: Text | None = None
    """Of the run's data set; None: the training split."""
    data_dir: Place | None = None
    max_pixels: Whole | None = None
    """The most that a file may have; None: as the run's data set, where that can be opened."""


class SourceWords(TypedDict, total=False):
    """``Source`` as keywords."""

    split: Text | None
    data_dir: Place | None
    max_pixels: Whole | None


@spelled(Source)
def project(
    workdir: Place | Run | AdoptedRun | Subject,
    image: Place | Whole,
    layer: Text,
    map: Whole,
    *,
    at: Epochs | None = None,
    rule: Text = "deconvnet",
    **source: Unpack[SourceWords],
) -> list[UnitProjection]:
    """Projects map ``map`` of ``layer`` on an image, from its strongest place, at each saved epoch
    of ``at``.

    ``image``: a file, shown as an import would store it (upright, what is transparent white), or
    the id of an image of the run's data set: ``split`` (None: the training split), in ``data_dir``
    (None: where the run has it). ``max_pixels``: the most that a file may have (None: as for the
    images of the run's data set, where it is there). An activation of 0 gives an all-zero
    projection. In place of a run, a ``Subject`` of anyone's, with its own images, or the folder
    that it was evolved into. Raises ZfjaxError for an image that cannot be read.
    """
    where, map = Source(**source), whole_number(map, "--map")
    layer, rule = text(layer, "--layer"), text(rule, "--rule")
    run = workdir if isinstance(workdir, Subject) else load_any(workdir)
    subject = _subject_of(run, image, where)
    available = subject.layer(layer).maps
    if not 0 <= map < available:
        raise ZfjaxError(f"--map {map}: {layer} has maps 0 to {available - 1}.")
    way = deconvnet.way_of(subject.network, layer, rule_named(rule))
    if isinstance(run, Run):
        view = view_of(image, with_data_dir(run.config, where.data_dir), where)
    else:
        view = _own_view(image, subject, where)
    return [project_view(subject, step, view, way, map) for step in subject.find_steps(at)]


def _subject_of(run: Run | AdoptedRun | Subject, image: Place | Whole, where: Source) -> Subject:
    """What is looked at. Raises ZfjaxError for a subject that is told where its images are."""
    if isinstance(run, Run):
        return subject_of(run)
    if isinstance(run, AdoptedRun):
        by_number = not isinstance(image, str | os.PathLike)
        return subject_at(run, data_dir=where.data_dir, split=where.split, with_images=by_number)
    if where.split is not None or where.data_dir is not None:
        raise ZfjaxError("split and data_dir go with a folder; a subject has its own images.")
    return run


def _own_view(
    image: Place | Whole, subject: Subject, source: Source
) -> UInt8[np.ndarray, "height width 3"]:
    """``view_of`` for a network that is not ours."""
    if not isinstance(image, str | os.PathLike):
        number = whole_number(image, _IMAGE)
        view: np.ndarray = subject.need("images", "An image by its number").view(number)
        return view
    size = (subject.preparation.view, subject.preparation.view)
    limit = _limit_in(source)
    return view_of_file(local_path(path_of(image, "image")), size, limit or MAX_PIXELS)


def view_of(
    image: Place | Whole, config: Config, source: Source
) -> UInt8[np.ndarray, "height width 3"]:
    """The evaluation view of a file, or of an image of the data set. Raises ZfjaxError for what is
    neither a path nor a whole number.
    """
    split, limit = source.split or config.data.train_split, _limit_in(source)
    if not isinstance(image, str | os.PathLike):
        number = whole_number(image, _IMAGE)
        return images_of(config, open_data(config), text(split, "--split")).view(number)
    size = (config.data.view, config.data.view)
    size_limit = _limit_of(config) if limit is None else limit
    return view_of_file(local_path(path_of(image, "image")), size, size_limit)


def _limit_in(source: Source) -> int | None:
    limit = None if source.max_pixels is None else whole_number(source.max_pixels, "--max-pixels")
    if limit is not None and limit < 1:
        raise ZfjaxError(f"--max-pixels {limit} must be 1 or more.")
    return limit


def _limit_of(config: Config) -> int:
    """The most pixels that an image of the run's data set may have; the default where the set
    cannot be opened. The embedded drawings have that too, and are not drawn for it.
    """
    if config.data.name == SCENES:
        return MAX_PIXELS
    try:
        return open_data(config).max_pixels
    except ZfjaxError:
        return MAX_PIXELS


def project_view(
    subject: Subject,
    step: int,
    view: UInt8[np.ndarray, "height width 3"],
    way: deconvnet.Way,
    map_: int,
) -> UnitProjection:
    """One map on one view at one step. Raises ZfjaxError where the step has diverged."""
    layer, parameters = way.layer, jax.device_put(subject.parameters(step))
    maxima, places = strongest.image_maxima(
        parameters, subject.prepare(view[None]), network=subject.network, layers=(layer.name,)
    )
    if not np.isfinite(maxima[0, map_]):
        raise ZfjaxError(
            f"Epoch {subject.epoch(step):g} (step {step}) gives activations that are not finite:"
            " its parameters have diverged; leave it out with --at."
        )
    y, x = layer.place(int(places[0, map_]))
    unit = Unit("top", map_, 0, 0, float(maxima[0, map_]), y, x)
    [(_, tile, activation)] = drawing.project_units(subject, parameters, way, [unit], {0: view})
    height, width = subject.network.input_size
    box = (0, 0, height, width) if layer.window is None else layer.window.box(y, x)
    return UnitProjection(step, subject.epoch(step), activation, y, x, box, tile)
