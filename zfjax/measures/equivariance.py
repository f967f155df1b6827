"""When the image moves, do the places of features move with it, or do their values change?
Equivariance of every layer and epoch: place code and rate code.

Concept: an image is moved within an empty frame by up to a quarter of its side. What moves fades
out: the image's middle (all but --equivariance.shift on either side), its difference from the
data's mean falling to zero towards the edge of that, so that there is no edge to see, the picture
lies wholly inside the frame at every shift, and around it is the mean. A map counts for an image
where its largest value is above that on the empty frame: what the border makes of nothing plays no
part. *place_slope*: pixels that the place of a map's maximum moves (cells times the layer's stride)
a pixel of shift, by least squares through the unmoved image: 1 is a place code, 0 a place that
stays. *within_half_cell*: the share of maps, images and shifts whose maximum is within half a cell
of where the shift puts it; *within_half_cell_unmoved*: what maxima that stay would give, which
coarse maps come near to. *rate_change*: how much the value of the maximum (of a unit, where the
layer is fully connected) differs from the unmoved one, over its mean over the shifts, mean of the
shifts; *rate_linear*: the share of the value's variance over the shifts that a straight line
explains (R2): a value that says where. *counted*: the share of maps (units) and images that count.
*moved_T*, *changed_T*: mean movement in pixels and mean change of value at a shift of T pixels. Of
the network: *place_gap*, place_slope of the first convolution minus that of the last, and
*rate_gap*, rate_change of the last layer minus that of the first, on the same images. Low and high:
95% over images.
Source: Hinton's place and rate codes; Lenc and Vedaldi 2015, "Understanding image representations
by measuring their equivariance"; Zhang 2019, "Making convolutional networks shift-invariant again"
(aliasing by strides). Zeiler and Fergus 2014 measure invariance alone.
Cost: images x points + 1 forward passes an epoch, 289 by default.
What can mislead: a shift that is no multiple of the layer's stride samples other pixels: even a
perfect place code is within half a cell only and its value changes. In small maps a quarter of the
side is one cell. A convolution without strides is equivariant by construction: what falls short
here are strides, pools and borders inside the network, not what was learnt, but for which maps
count. The maximum may jump between two places that are alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.measures.codes import codes_of, gap_of
from zfjax.measures.equivariance_figure import figure_of_codes
from zfjax.measures.invariance_words import layers_in
from zfjax.measures.picked_images import Picked, picked
from zfjax.measures.protocol import Looked, Measure, Quantity, Told, plain_table, shown
from zfjax.measures.warping import Axis
from zfjax.network.model import Parameters
from zfjax.report.kit.wording import epoch_name
from zfjax.run.measured import Measured
from zfjax.subject import Network


@dataclass(frozen=True)
class Options:
    """Images and shifts."""

    images: int = 32
    """Images, evenly spread over the split; all of a smaller one."""
    split: str | None = None
    """The split they are of; none: the run's validation split, unless --split names another."""
    axis: Axis = "vertical"
    """Of the shifts: vertical or horizontal."""
    shift: float = 0.25
    """The largest shift to either side, as a share of the input's side; below a half."""
    points: int = 9
    """How many shifts, an odd number: none is the middle one."""

    def __post_init__(self) -> None:
        if self.images < 2:
            raise ZfjaxError(f"--equivariance.images {self.images} must be 2 or more.")
        if not 0 < self.shift < 0.5:
            raise ZfjaxError(
                f"--equivariance.shift {self.shift} must be above 0 and below 0.5: the image moves"
                " within its frame."
            )
        if self.points < 3 or self.points % 2 == 0:
            raise ZfjaxError(
                f"--equivariance.points {self.points} must be an odd number from 3 on."
            )

    def shifts(self, input_size: tuple[int, int]) -> np.ndarray:
        """int64, ascending, none in the middle: whole pixels, down or to the right where positive.
        Raises ZfjaxError for an input too small to be moved.
        """
        side = input_size[0 if self.axis == "vertical" else 1]
        largest = int(self.shift * side)
        if largest < 1:
            raise ZfjaxError(
                f"--equivariance.shift {self.shift} of {side} pixels is less than a pixel; give a"
                " larger one."
            )
        half = np.unique(np.linspace(0, largest, self.points // 2 + 1).round().astype(int))[1:]
        return np.concatenate([-half[::-1], [0], half])


def content_window(input_size: tuple[int, int], largest: int) -> np.ndarray:
    """float32 [height, width]: 1 in the middle of the frame, falling to 0 by a cosine, and 0 within
    ``largest`` pixels of each edge.
    """

    def along(side: int) -> np.ndarray:
        reach = max((side - 2 * largest) / 2, 0.5)
        away = np.abs(np.arange(side) - (side - 1) / 2)
        fall = ((away - reach / 2) / (reach / 2)).clip(0, 1)
        return np.where(away < reach, (1 + np.cos(math.pi * fall)) / 2, 0)

    height, width = input_size
    return (along(height)[:, None] * along(width)[None, :]).astype(np.float32)


def rows(looked: Looked, options: Options) -> Iterator[Quantity]:
    """Movement and change of value of every map, step by step."""
    subject, network = looked.subject, looked.subject.network
    chosen = images_for(looked, options)
    shifts = options.shifts(network.input_size)
    inputs = np.asarray(subject.prepare(chosen.views()))
    window = content_window(network.input_size, int(shifts[-1]))
    axis = 0 if options.axis == "vertical" else 1
    for done, step in enumerate(looked.steps):
        if looked.progress is not None:
            looked.progress("equivariance", done, len(looked.steps))
        parameters = jax.device_put(subject.parameters(step, whole=True))
        peaks = [
            jax.device_get(
                _peaks(parameters, image, window, jnp.asarray(shifts), axis=axis, network=network)
            )
            for image in inputs
        ]
        layers = [*looked.layers, *network.hidden]
        codes = {}
        for name in layers:
            values, places = (
                np.stack([own[what][name] for own in peaks]) if name in peaks[0][what] else None
                for what in ("values", "places")
            )
            layer = subject.layers.get(name)
            if layer is not None and places is not None:
                places = np.stack(np.divmod(places, layer.shape[1]), axis=-1)[..., axis]
                places = places * _stride(network.input_size, layer, axis)
            codes[name] = codes_of(values, places, shifts, _half_cell(network, layer, axis))
            for quantity, estimate in codes[name].estimates.items():
                yield estimate.named(step, name, quantity)
            for quantity, of_maps in codes[name].of_maps.items() if layer is not None else ():
                yield Quantity(step, name, quantity, of_maps)
        convolutions = [codes[name] for name in looked.layers]
        moved = gap_of("place_slope", convolutions[0], convolutions[-1])
        changed = gap_of("rate_change", codes[layers[-1]], codes[layers[0]])
        yield moved.named(step, None, "place_gap")
        yield changed.named(step, None, "rate_gap")


def _stride(input_size: tuple[int, int], layer: Any, axis: int) -> float:
    """Pixels of the input that a cell of the layer stands for."""
    if layer.window is not None:
        return float(layer.window.jump)
    return input_size[axis] / layer.shape[axis]


def _half_cell(network: Network, layer: Any, axis: int) -> float:
    return 0.0 if layer is None else _stride(network.input_size, layer, axis) / 2


@functools.partial(jax.jit, static_argnames=("axis", "network"))
def _peaks(
    parameters: Parameters,
    image: jax.Array,
    window: jax.Array,
    shifts: jax.Array,
    *,
    axis: int,
    network: Network,
) -> dict[str, dict[str, jax.Array]]:
    """Of one input [h, w, 3], moved by ``shifts`` [s], and last the empty frame: "values" [s + 1,
    maps], each map's maximum (a unit's value), and "places" [s + 1, maps], where it stands (y *
    width + x; the first of equals), of convolutions.
    """
    content = image * window[:, :, None]
    moved = jax.vmap(lambda shift: jnp.roll(content, shift, axis=axis))(shifts)
    inputs = jnp.concatenate([moved, jnp.zeros_like(moved[:1])])
    values, places = {}, {}
    for name, maps in network.features(parameters, inputs).items():
        flat = maps.reshape(len(maps), -1, maps.shape[-1])
        values[name] = flat.max(axis=1)
        if maps.ndim == 4:
            places[name] = flat.argmax(axis=1)
    return {"values": values, "places": places}


def images_for(looked: Looked, options: Options) -> Picked:
    """The images that are moved. Raises ZfjaxError for a split that is not there or has fewer than
    2.
    """
    return picked(looked, options.split, options.images, 2, "--equivariance.images")


def tell(measured: Measured, others: Sequence[Measured], options: Options) -> Told:
    """Slopes and changes of the first layer and the last, a row a layer, and the curves."""
    layers, last = layers_in(measured), measured.steps[-1]
    convolutions = [name for name in layers if measured.of_layer("place_slope", name)]

    def said(name: str, layer: str | None) -> str:
        value = measured.of_layer(name, layer).get(last)
        low, high = measured.bounds(name, layer).get(last, (math.nan, math.nan))
        ends = "" if math.isnan(low) else f" [{shown(low)}, {shown(high)}]"
        return f"{shown(value)}{ends}"

    sentence = (
        f"At epoch {epoch_name(measured.epochs[-1])} the place of a map's maximum follows a shift"
        f" of the image by {said('place_slope', convolutions[0])} pixels a pixel at"
        f" {convolutions[0]}"
        f" and {said('place_slope', convolutions[-1])} at {convolutions[-1]} (1: place code; 95%"
        f" over {measured.counts('place_slope')} images), a difference of"
        f" {said('place_gap', None)}; its value changes by {said('rate_change', layers[0])} of"
        f" itself at {layers[0]} and {said('rate_change', layers[-1])} at {layers[-1]}, a"
        f" difference of {said('rate_gap', None)}."
    )
    if others:
        gaps = [
            run.of_layer("place_gap", None).get(run.steps[-1], math.nan)
            for run in (measured, *others)
        ]
        sentence += (
            f" Over {len(gaps)} seeds the difference of places is {shown(min(gaps))} to"
            f" {shown(max(gaps))}."
        )
    names = ["place_slope", "within_half_cell", "within_half_cell_unmoved", "rate_change"]
    names += ["rate_linear", "counted"]
    head = ("layer", "place slope", "within 1/2 cell", "if unmoved", "rate change", "R2", "counted")
    table = [
        (layer, *(shown(measured.of_layer(name, layer).get(last)) for name in names))
        for layer in layers
    ]
    chart = figure_of_codes(measured, layers)
    return Told(sentence, plain_table(head, table), chart, figures=_figures(measured, layers))


def _figures(measured: Measured, layers: Sequence[str]) -> Mapping[str, Any]:
    last = measured.steps[-1]
    return {
        name: {
            layer: value
            for layer in layers
            if (value := measured.of_layer(name, layer).get(last)) is not None
            and math.isfinite(value)
        }
        for name in ("place_slope", "rate_change")
    }


def check(looked: Looked, options: Options) -> None:
    """Raises ZfjaxError where there are too few images, or too few pixels to be moved by."""
    images_for(looked, options)
    options.shifts(looked.subject.network.input_size)


def cost(looked: Looked, options: Options) -> tuple[int, int]:
    """(epochs, images that the network is run on at each)."""
    count = len(options.shifts(looked.subject.network.input_size)) + 1
    return len(looked.steps), len(images_for(looked, options).ids) * count


MEASURE = Measure(
    "equivariance", rows, tell, options=Options(), needs=("images",), checks=check, evaluates=cost
)
