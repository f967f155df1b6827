"""Does hiding the same part in several images change the features alike? Correspondence of parts,
at every epoch (Table 1).

Concept: in images that show the same part (a nose), the part's box is covered with the data's mean,
and each feature rises, falls or stays: its change's sign, -1, 0 or 1. *change_of_PART*: the mean
over pairs of images of the share of features whose signs differ (Hamming distance over dimension,
which is what the paper's table prints, not the sum that its formula says); lower is more alike.
*random_of_PART*: the same for as large a place elsewhere in each image, drawn by lot, that does not
touch the part. *gap_of_PART* is change minus random: below 0, the network knows something of the
part. *p_of_PART*: how often as low a gap comes by chance: which of the two is called the part is
exchanged image by image (all exchanges up to 10 images, else --correspondence.permutations drawn).
*change*, *random*, *gap*, *p*: means over all parts, exchanged in all parts of an image at once.
With *_nonzero*: of the features alone that change in both images; most stay the same in both, which
makes the others small (1 minus this is agreement; random signs give 0.5). With *_maps*: of a
convolution's maps, changes summed over their places, so that where the part stands does not count.
*spread_of_PART*, *random_spread_of_PART*: standard deviations over pairs, as the paper's +- seems
to be; pairs share images, so low and high are 95% over images instead, by leaving out each in turn
(of all parts: each image with all its parts, drawn class by class). Layers: the last convolution
and the last hidden fully connected one (the paper's 5 and 7).
Source: Zeiler and Fergus 2014, section 4.3 and Table 1: five dogs, eyes and nose; what is covered
with, how large, and the random places are not said.
Parts: the data set's own boxes (the drawn scenes have some), called by class and part, or those of
a file: a CSV with the columns file_name (or image_id, from 0, of the split), part, y0, x0, y1, x1,
half open, in pixels of the image as the data set stores it (or of its view: --correspondence.frame
view). Parts of one name in an image are counted from left to right; of more than 3 none is taken.
Parts in fewer than 5 images are left out and named.
Cost: 2 forward passes for each part of each image, and one for the image, an epoch.
What can mislead: a part that stands at about the same place in all images changes the same places
of a convolution; a random place does not: look at gap_maps, and at the fully connected layer.
Larger boxes change more features; the two are of equal size here. A change below a millionth of the
layer's largest feature counts as none. An untrained network has some correspondence already, and
features that stay in both images hide it: compare with epoch 0, and look at gap_nonzero. The p of
single parts are not corrected for how many there are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.measures.correspondence_words import figure_of_parts, lines_of, sentence_of
from zfjax.measures.hiding import LEAST, Hidings, Wish, hidings_of
from zfjax.measures.part_files import Frame
from zfjax.measures.part_numbers import Exchanges, quantities_of
from zfjax.measures.protocol import Looked, Measure, Noted, Quantity, Told
from zfjax.measures.sign_changes import exchanges_of
from zfjax.network.model import Parameters
from zfjax.run.measured import Measured
from zfjax.subject import Network

ITEMS = 16
"""Hidden places of an image in one run of the network."""
UNDEFINED = ("change", "random", "gap", "p", "change_nonzero", "random_nonzero", "gap_nonzero")
"""What is null where a layer's features are not finite."""
NOTHING = 1e-6
"""Of a layer's largest feature: smaller changes are none."""


@dataclass(frozen=True)
class Options:
    """Parts, images and layers."""

    parts: Path | None = None
    """CSV of boxes: file_name or image_id, part, y0, x0, y1, x1; none: the data set's own."""
    frame: Frame = "original"
    """Whose pixels the CSV's are: original (the image as it is stored) or view."""
    images: int = 12
    """Images of each part, evenly spread over those that have it; all of fewer."""
    only: tuple[str, ...] = ()
    """Parts to take, by name; none: all that 5 or more images have."""
    split: str | None = None
    """The split they are of; none: the run's validation split, unless --split names another."""
    every: bool = False
    """Every layer, not the last convolution and the last hidden fully connected layer alone."""
    permutations: int = 2000
    """Exchanges drawn where there are too many to try all."""
    seed: int = 0
    """Of random places and exchanges."""

    def __post_init__(self) -> None:
        for name, least in (("images", LEAST), ("permutations", 100), ("seed", 0)):
            if getattr(self, name) < least:
                raise ZfjaxError(
                    f"--correspondence.{name} {getattr(self, name)} must be {least} or more."
                )
        if self.frame == "view" and self.parts is None:
            raise ZfjaxError(
                "--correspondence.frame is of the boxes in a file; name it with"
                " --correspondence.parts."
            )

    @property
    def wish(self) -> Wish:
        """What of the parts is asked for."""
        return Wish(self.parts, self.frame, self.images, self.only, self.split, self.seed)


def check(looked: Looked, options: Options) -> None:
    """Raises ZfjaxError where there are no parts to hide."""
    hidings_of(looked, options.wish)


def layers_for(looked: Looked, options: Options) -> tuple[str, ...]:
    """Layers whose signs are taken, in forward order."""
    hidden = tuple(looked.subject.network.hidden)
    if options.every:
        return (*looked.layers, *hidden)
    return (looked.layers[-1], *hidden[-1:])


def rows(looked: Looked, options: Options) -> Iterator[Quantity | Noted]:
    """Signs of all changes and what they have in common, step by step."""
    hidings = hidings_of(looked, options.wish)
    layers = layers_for(looked, options)
    yield Noted({"left_out": list(hidings.left_out)})
    ids = [image_id for group in hidings.groups for image_id in group]
    inputs = dict(zip(ids, _inputs(looked, hidings, ids), strict=True))
    which, exact = exchanges_of(len(ids), options.permutations, options.seed)
    tried = Exchanges(which, {image_id: column for column, image_id in enumerate(ids)})
    for done, step in enumerate(looked.steps):
        if looked.progress is not None:
            looked.progress("correspondence", done, len(looked.steps))
        parameters = jax.device_put(looked.subject.parameters(step, whole=True))
        signs = signs_of(parameters, looked.subject.network, layers, inputs, hidings)
        for layer in layers:
            if not signs[layer]:
                yield from (Quantity(step, layer, name, None) for name in UNDEFINED)
            for variant in signs[layer]:
                for name, numbers in quantities_of(hidings, signs[layer][variant], variant, tried):
                    yield Quantity(step, layer, name, **numbers)
        if done == 0:
            for layer in layers:
                unit = "exchanges" if exact else "exchanges drawn"
                yield Quantity(step, layer, "exchanges", float(len(which)), n=len(ids), unit=unit)


def _inputs(looked: Looked, hidings: Hidings, ids: Sequence[int]) -> np.ndarray:
    return np.asarray(looked.subject.prepare(hidings.images.views(ids)))


Signs = Mapping[str, Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]]
"""{layer: {"" or "_maps": {part: (signs int8 [n, features] of the hidden part, of the random
place)}}}; nothing of a layer whose features are not finite."""


def signs_of(
    parameters: Parameters,
    network: Network,
    layers: tuple[str, ...],
    inputs: Mapping[int, np.ndarray],
    hidings: Hidings,
) -> Signs:
    """The signs of features minus those with something hidden, of every part and image."""
    jobs: dict[int, list[tuple[str, int, np.ndarray]]] = {image_id: [] for image_id in inputs}
    for hidden in hidings.parts:
        for row, image_id in enumerate(hidden.ids):
            jobs[image_id].append((hidden.name, 0, hidden.boxes[row]))
            jobs[image_id].append((hidden.name, 1, hidden.elsewhere[row]))
    kept: dict[str, dict[str, dict[str, tuple[list[Any], list[Any]]]]] = {
        layer: {
            variant: {hidden.name: ([], []) for hidden in hidings.parts}
            for variant in ("", *(("_maps",) if layer in network.layers else ()))
        }
        for layer in layers
    }
    broken: set[str] = set()
    for image_id in sorted(inputs):
        items = jobs[image_id]
        for start in range(0, len(items), ITEMS):
            piece = items[start : start + ITEMS]
            boxes = np.zeros((ITEMS, 4), np.int32)
            boxes[: len(piece)] = [box for _, _, box in piece]
            own = jax.device_get(
                _signs(parameters, inputs[image_id], boxes, network=network, layers=layers)
            )
            for layer, variants in kept.items():
                for variant, by_part in variants.items():
                    for (name, which, _), row in zip(piece, own[layer + variant], strict=False):
                        by_part[name][which].append(row)
            broken |= {layer for layer in layers if not own[f"{layer}_finite"]}
    return {
        layer: {
            variant: {
                name: (np.stack(own), np.stack(random)) for name, (own, random) in each.items()
            }
            for variant, each in variants.items()
        }
        for layer, variants in kept.items()
    } | {layer: {} for layer in broken}


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def _signs(
    parameters: Parameters,
    image: jax.Array,
    boxes: jax.Array,
    *,
    network: Network,
    layers: tuple[str, ...],
) -> dict[str, jax.Array]:
    """{layer: int8 [boxes, features], layer + "_maps": [boxes, maps]} of one input [h, w, 3] with
    each of boxes int32 [b, 4] set to zero, the data's mean; layer + "_finite": whether all its
    features are.
    """
    rows = jnp.arange(image.shape[0])[None, :]
    columns = jnp.arange(image.shape[1])[None, :]
    in_rows = (rows >= boxes[:, 0:1]) & (rows < boxes[:, 2:3])
    in_columns = (columns >= boxes[:, 1:2]) & (columns < boxes[:, 3:4])
    inside = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    hidden = jnp.where(inside, 0, image[None])
    features = network.features(parameters, jnp.concatenate([image[None], hidden]))
    signs = {}
    for name in layers:
        values = features[name]
        least = NOTHING * jnp.abs(values[0]).max()
        changes = values[:1] - values[1:]
        changes = jnp.where(jnp.abs(changes) > least, changes, 0)
        signs[f"{name}_finite"] = jnp.isfinite(values).all()
        signs[name] = jnp.sign(changes).reshape(len(changes), -1).astype(jnp.int8)
        if changes.ndim == 4:
            summed = changes.sum(axis=(1, 2))
            signs[f"{name}_maps"] = jnp.sign(summed).astype(jnp.int8)
    return signs


def tell(measured: Measured, others: Sequence[Measured], options: Options) -> Told:
    """Each part against its random places at the last epoch."""
    chart = figure_of_parts(measured)
    return Told(sentence_of(measured, others), lines_of(measured), chart)


def cost(looked: Looked, options: Options) -> tuple[int, int]:
    """(epochs, images that the network is run on at each)."""
    hidings = hidings_of(looked, options.wish)
    images = sum(map(len, hidings.groups))
    return len(looked.steps), images + 2 * sum(len(hidden.ids) for hidden in hidings.parts)


MEASURE = Measure(
    "correspondence", rows, tell, options=Options(), needs=("images",), checks=check, evaluates=cost
)
