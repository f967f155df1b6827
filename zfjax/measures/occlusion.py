"""A square slid over an image: what it takes from the strongest map, from the true class and from
the prediction, and whether it takes where the map's projection lies.

Concept: a grey square hides one part of the image after another. At each of its positions: the sum
over space of the map that is strongest without it; the probability of the true class; the most
probable class (Fig. 7's panels b, d, e; c is that map's projection, all of its activations taken
down at once). If a projection shows what the map looks at, hiding that must silence the map: the
*agreement* is the correlation, over the square's positions, of the projection's magnitude under the
square with what the square takes from the map's sum. But any projection of an image lies where the
image has edges, so what counts is the *excess* over the same with the projections of the image's
other strong maps: spearman_excess and pearson_excess, each with spearman_own, spearman_swapped and
so on; the mean over --occlusion.maps strongest maps of an image, then over images, with an interval
over images (95%, Student's t). Of the network: *probability* of the true class without the square,
*probability_drop* to its least over the positions, *probability_rises* and *class_changes*, the
shares of positions where it rises and where another class is the most probable.
Source: Zeiler and Fergus 2014, section 4.2 and Fig. 7, which gives neither the square's size nor
its stride or grey; the agreement as a number, and its control, are ours.
Cost: of our own networks each position runs only the cells that the square reaches, from a third of
a pass up; of others a whole pass. Positions x images x epochs of them: where that is much, only the
last epoch is measured, and the sentence says so (--occlusion.epochs all measures all).
What can mislead: a square is not nothing: its edges excite maps of their own. Positions overlap, so
that they are not so many independent ones; the interval is over images alone, of one network. The
images of the default are ones that the network gets right, at the last epoch asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.features.occluding import Occluded, Sliding, map_projections, occlude
from zfjax.measures.agreeing import agreements, interval_over_images, pooled
from zfjax.measures.occluded_images import (
    Looking,
    drawn_images,
    files_among,
    labelled,
    named_images,
    split_of,
)
from zfjax.measures.occlusion_words import tell
from zfjax.measures.protocol import Looked, Measure, Noted, Pictures, Quantity
from zfjax.network.model import Parameters
from zfjax.values import several

MUCH = 2e13
"""Multiply-adds from which on only the last epoch is measured, where nobody says: minutes on two
cores."""
GREY = 128
CODE = 32
"""Classes are kept as three digits to this base: pictures are float16 over a scale."""


@dataclass(frozen=True)
class OcclusionOptions:
    """Which images, and how the square is slid."""

    image: tuple[Any, ...] = ()
    """Image files, or numbers of images of the split; none: --occlusion.count drawn by lot."""
    label: tuple[Any, ...] = ()
    """True classes of the image files, by name or number, in their order; one stands for all."""
    count: int = 6
    """Images drawn by lot among those that the network gets right."""
    split: str | None = None
    """Of numbered and drawn ones; none: the validation split, unless --split names another."""
    size: int | None = None
    """Side of the square in pixels of the network's input; none: a quarter of the shorter side."""
    stride: int | None = None
    """Pixels from one position to the next; none: a 28th of the shorter side, 8 of 224."""
    fill: Any = "mean"
    """What the square shows: mean (0 of the normalised input), grey of 128 of 255, or a brightness
    from 0, black, to 255, white."""
    layer: str | None = None
    """Of the panels; none: the deepest convolution of those asked for."""
    maps: int = 4
    """Strongest maps of each image and layer that the agreement is of."""
    seed: int = 0
    """Of the lot."""
    batch: int | None = None
    """Positions at once; none: as many as the device works on well."""
    epochs: Literal["all", "last"] | None = None
    """All that --at names, or the last of them; none: all, unless that takes long."""

    def __post_init__(self) -> None:
        names = tuple(
            str(item) if isinstance(item, int) else os.fspath(item) for item in several(self.image)
        )
        object.__setattr__(self, "image", names)
        if not all(name.strip() for name in names):
            raise ZfjaxError(
                "--occlusion.image has an empty name; give image files, or numbers of images of the"
                " split, joined by commas without another at either end."
            )
        object.__setattr__(self, "label", tuple(str(label) for label in several(self.label)))
        if self.label and not self.image:
            raise ZfjaxError(
                "--occlusion.label is of one's own image files: name them with --occlusion.image."
            )
        for name, least in (("count", 1), ("maps", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ZfjaxError(
                    f"--occlusion.{name} {getattr(self, name)} must be {least} or more."
                )
        fill = str(self.fill).strip()
        if fill not in ("mean", "grey") and not (fill.isdecimal() and int(fill) <= 255):
            raise ZfjaxError(
                f"--occlusion.fill {self.fill!r}: it is mean or grey, or a whole number from 0,"
                " black, to 255, white."
            )
        object.__setattr__(self, "fill", fill)
        for name in ("size", "stride", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ZfjaxError(f"--occlusion.{name} {value} must be 1 or more.")


@dataclass(frozen=True)
class Asked:
    """The options, resolved."""

    sliding: Sliding
    layer: str
    steps: tuple[int, ...]


def asked_of(looked: Looked, options: OcclusionOptions) -> Asked:
    """Raises ZfjaxError for a square that does not fit, a layer that is not there, and a network
    without scores.
    """
    subject = looked.subject
    scores = subject.need("scores", "The measure occlusion")
    height, width = subject.network.input_size
    side = min(height, width)
    size = max(1, side // 4) if options.size is None else options.size
    if size > side:
        raise ZfjaxError(
            f"--occlusion.size {size}: the network's input is {height}x{width} pixels; give {side}"
            " or less."
        )
    stride = max(1, side // 28) if options.stride is None else options.stride
    layer = options.layer or subject.network.highest(looked.layers).name
    layers = {*looked.layers, subject.layer(layer).name}
    ordered = tuple(name for name in subject.layers if name in layers)
    sliding = Sliding(subject.network, scores, ordered, size, stride)
    images = len(options.image) or options.count
    work = float(sliding.multiply_adds) * sliding.positions * images * len(looked.steps)
    last = options.epochs == "last" or (options.epochs is None and work > MUCH)
    return Asked(sliding, layer, looked.steps[-1:] if last else looked.steps)


def _own_images(looked: Looked, options: OcclusionOptions) -> list[Looking]:
    return labelled(looked, named_images(looked, options.image, options.split), options.label)


def check(looked: Looked, options: OcclusionOptions) -> None:
    """Raises ZfjaxError as ``asked_of``, and for images and labels that are not there."""
    asked_of(looked, options)
    if options.image:
        _own_images(looked, options)
    else:
        split_of(looked, options.split).count  # noqa: B018 (raises)


def image_files(options: OcclusionOptions) -> tuple[Path, ...]:
    """The image files among the images."""
    return files_among(options.image)


def cost(looked: Looked, options: OcclusionOptions) -> tuple[int, int]:
    """(passes of each image, images). Raises ZfjaxError as ``asked_of``."""
    asked = asked_of(looked, options)
    count = len(options.image) or min(options.count, split_of(looked, options.split).count)
    return asked.sliding.positions * len(asked.steps), count


def filling_of(prepare: Callable[[np.ndarray], Any], view: np.ndarray, fill: str) -> np.ndarray:
    """The normalised image whose pixels the square shows; float32 [h, w, c]. ``view``: uint8, one
    of the images.
    """
    brightness = GREY if fill in ("mean", "grey") else int(fill)
    plain = np.asarray(prepare(np.full_like(view[None], brightness)))[0]
    return np.zeros_like(plain) if fill == "mean" else plain


def rows(looked: Looked, options: OcclusionOptions) -> Iterator[Quantity | Pictures | Noted]:
    """Agreements of every layer, probabilities, and the panels, step by step."""
    asked, subject = asked_of(looked, options), looked.subject
    last = jax.device_put(subject.parameters(asked.steps[-1], whole=True))
    if options.image:
        images = _own_images(looked, options)
    else:
        images = drawn_images(looked, last, options.count, options.split, options.seed)
    views = np.stack([image.view for image in images])
    inputs = np.asarray(subject.prepare(views))
    fill = filling_of(subject.prepare, views[0], options.fill)
    which = np.arange(len(images))
    yield Pictures(asked.steps[0], "image", which, _pixels(subject.preparation.crop(views)))
    noted: dict[str, list[dict[str, Any]]] = {}
    for step in asked.steps:
        parameters = last
        if step != asked.steps[-1]:
            parameters = jax.device_put(subject.parameters(step, whole=True))
        slid: list[_Slid] = []
        for image, pixels in zip(images, inputs, strict=True):
            if looked.progress is not None:
                done = len(noted) * len(images) + len(slid)
                looked.progress("occluding", done, len(asked.steps) * len(images))
            occluded = occlude(asked.sliding, parameters, pixels, fill, options.batch)
            _check_finite(occluded, looked, step)
            slid.append(_slid(asked, parameters, (image, pixels, occluded), options.maps))
        yield from _quantities(looked, step, slid)
        for kind in ("activation", "probability", "classes", "projection"):
            yield Pictures(step, kind, which, np.stack([own.pictures[kind] for own in slid]))
        noted[str(step)] = [own.words for own in slid]
    rows_, columns = asked.sliding.places
    yield Noted(
        {
            "size": asked.sliding.size,
            "stride": asked.sliding.stride,
            "layer": asked.layer,
            "rows": rows_.tolist(),
            "columns": columns.tolist(),
            "images": [
                {"name": own.name, "image_id": own.image_id, "label": own.label} for own in images
            ],
            "steps": noted,
        }
    )


def _pixels(views: np.ndarray) -> np.ndarray:
    return np.asarray(views, np.float32)


def _check_finite(occluded: Occluded, looked: Looked, step: int) -> None:
    if not all(np.isfinite(values).all() for values in occluded.whole.values()):
        raise ZfjaxError(
            f"Epoch {looked.subject.epoch(step):g} (step {step}) gives activations that are not"
            " finite: its parameters have diverged; leave it out with --at."
        )


@dataclass(frozen=True)
class _Slid:
    """What is kept of one image at one step."""

    agreements: dict[tuple[str, str], float]
    """By (layer, quantity)."""
    shares: dict[str, float]
    """Of the network, by quantity."""
    pictures: dict[str, np.ndarray]
    """By kind: float32 [rows, columns, channels], or pixels."""
    words: dict[str, Any]


def _slid(
    asked: Asked, parameters: Parameters, shown: tuple[Looking, np.ndarray, Occluded], count: int
) -> _Slid:
    image, pixels, occluded = shown
    network, size = asked.sliding.network, occluded.size
    agreed: dict[tuple[str, str], float] = {}
    projection = np.zeros_like(pixels)
    for layer, whole in occluded.whole.items():
        live = int((whole > 0).sum())
        strongest = np.argsort(-whole, kind="stable")[: min(count, live)]
        if not live:
            continue
        # As many at each epoch: padded, so that it is compiled once.
        padded = np.resize(strongest, count)
        tiles = map_projections(network, parameters, pixels, layer, padded)[: len(strongest)]
        energies = pooled(tiles, occluded.rows, occluded.columns, size)
        drops = np.moveaxis(whole[strongest] - occluded.sums[layer][..., strongest], 2, 0)
        for kind, agreement in agreements(energies, drops).items():
            for side in ("own", "swapped", "excess"):
                agreed[layer, f"{kind}_{side}"] = getattr(agreement, side)
        if layer == asked.layer:
            projection = tiles[0]
    whole = occluded.whole[asked.layer]
    map_ = int(whole.argmax())
    assert occluded.scores is not None and occluded.whole_scores is not None
    before, after = (_softmax(values) for values in (occluded.whole_scores, occluded.scores))
    best, bests = int(before.argmax()), after.argmax(axis=2)
    known = 0 <= image.label < len(before)
    true = after[..., image.label] if known else np.full(bests.shape, np.nan)
    probability = float(before[image.label]) if known else float("nan")
    shares = {
        "probability": probability,
        "probability_least": float(true.min()),
        "probability_drop": probability - float(true.min()),
        "probability_rises": float((true > probability).mean()) if known else float("nan"),
        "class_changes": float((bests != best).mean()),
    }
    digits = np.stack([bests // CODE**2, bests // CODE % CODE, bests % CODE], axis=2)
    pictures = {
        "activation": occluded.sums[asked.layer][..., map_ : map_ + 1],
        "probability": np.nan_to_num(true)[..., None],
        "classes": digits,
        "projection": projection,
    }
    words = {
        "map": map_ if whole[map_] > 0 else None,
        "activation": float(whole[map_]),
        "probability": probability if known else None,
        "class": best,
        "class_probability": float(before[best]),
    }
    pictures = {kind: np.asarray(values, np.float32) for kind, values in pictures.items()}
    return _Slid(agreed, shares, pictures, words)


def _softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(np.asarray(scores, np.float64) - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def _quantities(looked: Looked, step: int, slid: Sequence[_Slid]) -> Iterator[Quantity]:
    names = [f"{kind}_{side}" for kind in ("spearman", "pearson") for side in SIDES]
    for layer in looked.layers:
        for name in names:
            values = [own.agreements.get((layer, name), float("nan")) for own in slid]
            mean, low, high, n = interval_over_images(np.array(values))
            yield Quantity(step, layer, name, mean, low, high, n=n, unit="correlation")
    for name in slid[0].shares:
        mean, low, high, n = interval_over_images(np.array([own.shares[name] for own in slid]))
        yield Quantity(step, None, name, mean, low, high, n=n, unit="share")


SIDES = ("own", "swapped", "excess")

MEASURE = Measure(
    "occlusion",
    rows,
    tell,
    options=OcclusionOptions(),
    needs=("images", "scores"),
    checks=check,
    files=image_files,
    evaluates=cost,
)
