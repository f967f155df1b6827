"""How far each layer's filters are from where they end, what they look like as pixels, and how far
their transpose is from an inverse: from the weights alone.

Concept: *cosine* of each filter with itself at the last epoch, for a ReLU layer's scale is free;
*distance* left, |w(t) - w(T)| / |w(T)|; *travelled*, |w(t) - w(first)| / |w(T)|; *speed*,
|w(t) - w(before)| / |w(t)| an epoch. The layer's cosine is the mean of its filters', its lengths
are those of its whole kernel. *radius* is of filters taken to pixels without an image
(rectification and normalisation left out, of a pool the middle cell: filters.py), of a few maps of
each layer drawn by seed: how far they reach from their own centre, pixels (root mean square).
weights-pixels.png shows four of those that the run's evolution draws, or would.
*inverse_residual* asks how far W^T, by which the deconvnet comes down, is from an inverse of W, as
the measure ``inverse`` does, on patches of white noise: 0 for orthogonal filters of equal length.
Source: distance and speed as usual; deep filters as pixels: Voss et al. 2021, "Visualizing
Weights"; the deconvnet as an approximate inverse: Zeiler and Fergus 2014, section 2.1.
Cost: the kernels of each epoch, no image.
What can mislead: a filter that never moved has settled from the start without having learnt (the
measure ``rewind`` tells); contrast normalisation, clipping of norms and weight decay move weights
that compute the same; maps may trade places with no change of what the layer says, though in one
run they do not. What a linear filter looks like is a hint for the first two or three layers, and
little above.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from zfjax.errors import ZfjaxError
from zfjax.features.asking import MAPS
from zfjax.features.units import draw_maps
from zfjax.measures.averages import mean_of_known, quotient
from zfjax.measures.filter_figure import figure_of_filters
from zfjax.measures.filters import architecture_in, kernels_of, radius_of, to_pixels
from zfjax.measures.inverse import inverse_residual
from zfjax.measures.protocol import Looked, Measure, Pictures, Quantity, Told, plain_table, shown
from zfjax.report.kit.charts import Chart, Line, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import epoch_name
from zfjax.report.words import choose
from zfjax.run.evolution import open_evolution
from zfjax.run.folder import evolution_folder
from zfjax.run.measured import Measured

PICTURED_EPOCHS, PICTURED_MAPS = 5, 4
"""Of these the filters are kept as pictures."""


@dataclass(frozen=True)
class Options:
    """What may be asked otherwise."""

    maps: int = 16
    """Filters of each layer taken to pixels, drawn by seed; 0: none."""

    def __post_init__(self) -> None:
        if self.maps < 0:
            raise ZfjaxError(f"--weights.maps {self.maps} must be 0 or more.")


def rows(looked: Looked, options: Options) -> Iterator[Quantity | Pictures]:
    """The numbers of every layer asked for, step by step, and some filters in pixels."""
    architecture = architecture_in(looked.subject.network)
    first, last = (_kernels(looked, step) for step in (looked.steps[0], looked.steps[-1]))
    drawn = {name: drawn_maps(looked.layer(name).maps, options.maps) for name in looked.layers}
    shown_maps = {
        name: maps[: min(PICTURED_MAPS, options.maps)]
        for name, maps in evolved_maps(looked).items()
    }
    pictured = [looked.steps[index] for index in choose(looked.epochs, PICTURED_EPOCHS)]
    before: dict[str, np.ndarray] = {}
    for index, step in enumerate(looked.steps):
        parameters = looked.subject.parameters(step)
        kernels = kernels_of(looked.subject.network, parameters, looked.layers, "weights")
        passed = looked.epochs[index] - looked.epochs[index - 1] if before else float("nan")
        for name, kernel in kernels.items():
            count = kernel.shape[3]
            cosines = cosine(kernel, last[name])
            yield Quantity(step, name, "cosine", cosines)
            yield Quantity(step, name, "cosine", mean_of_known(cosines), n=count)
            lengths = {
                "distance": (kernel - last[name], last[name], 1.0),
                "travelled": (kernel - first[name], last[name], 1.0),
                "speed": (kernel - before.get(name, kernel), kernel, passed),
            }
            for quantity, (way, scale, epochs) in lengths.items():
                unit = "an epoch" if quantity == "speed" else ""
                of_maps = quotient(_norms(way), _norms(scale)) / epochs
                of_layer = quotient(*(np.array(np.linalg.norm(each)) for each in (way, scale)))
                yield Quantity(step, name, quantity, of_maps, unit=unit)
                yield Quantity(step, name, quantity, float(of_layer) / epochs, n=count, unit=unit)
            yield Quantity(step, name, "inverse_residual", inverse_residual(kernel), unit="share")
            if len(drawn[name]) and architecture is not None:
                pixels = to_pixels(architecture, parameters, name, drawn[name].tolist())
                yield from _of_pixels(step, name, pixels, drawn[name], count)
                if step in pictured:
                    maps = shown_maps[name]
                    pixels = to_pixels(architecture, parameters, name, list(maps))
                    yield Pictures(step, name, np.array(maps), pixels.transpose(3, 0, 1, 2))
        before = kernels


def _kernels(looked: Looked, step: int) -> dict[str, np.ndarray]:
    parameters = looked.subject.parameters(step)
    return kernels_of(looked.subject.network, parameters, looked.layers, "weights")


def _of_pixels(
    step: int, name: str, pixels: np.ndarray, drawn: np.ndarray, count: int
) -> Iterator[Quantity]:
    radius = radius_of(pixels)
    of_maps = np.full(count, np.nan)
    of_maps[drawn] = radius
    yield Quantity(step, name, "radius", of_maps, unit="pixels")
    yield Quantity(step, name, "radius", mean_of_known(radius), n=len(drawn), unit="pixels")


def evolved_maps(looked: Looked) -> dict[str, tuple[int, ...]]:
    """The maps of each layer that the evolution beside the measures draws, so that the page shows
    filter and projection of one map; where there is none, those that it would draw.
    """
    layers = looked.subject.layers
    maps = {name: tuple(each) for name, each in draw_maps(layers, looked.layers, MAPS, 0).items()}
    if looked.home is not None:
        with suppress(ZfjaxError):  # none, not finished, or damaged
            drawn = open_evolution(evolution_folder(looked.home)).record.maps
            maps |= {name: drawn[name] for name in looked.layers if name in drawn}
    return maps


def drawn_maps(maps: int, count: int, seed: int = 0) -> np.ndarray:
    """``count`` of a layer's maps, or all, drawn uniformly: ascending, the same at every step."""
    chosen = np.random.default_rng(seed).permutation(maps)[:count]
    return np.sort(chosen)


def cosine(kernel: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosine of each map's filter [k, k, inputs, maps] with the other's: float64 [maps]. NaN where
    one is zero.
    """
    product = (kernel * other).sum(axis=(0, 1, 2))
    return np.clip(quotient(product, _norms(kernel) * _norms(other)), -1, 1)


def _norms(kernel: np.ndarray) -> np.ndarray:
    return np.sqrt((kernel**2).sum(axis=(0, 1, 2)))


def tell(measured: Measured, others: Sequence[Measured], options: Options) -> Told:
    """How far each layer had come half way, and a table of the layers at the first epoch after the
    start and at the last.
    """
    half = measured.steps[(len(measured.steps) - 1) // 2]
    near = _at(measured, "cosine", half)
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    each = ", ".join(f"{name} {shown(value)}" for name, value in near.items())
    sentence = (
        f"At epoch {epoch_name(epochs[half])} of {epoch_name(measured.epochs[-1])} the filters'"
        f" mean cosine to the last epoch's is: {each}."
    )
    residuals = _at(measured, "inverse_residual", measured.steps[-1])
    # A layer without a kernel of its own, as the sum that ends a block, misses nothing known.
    missed = [value for value in residuals.values() if not np.isnan(value)]
    if missed:
        sentence += (
            " Random noise sent up through one layer's filters at the last epoch and back down"
            " through them, as projections go, at its best scale misses"
            f" {min(missed):.0%} to {max(missed):.0%} of what the layer can see of it, by layer"
            " (0%: the way down undoes the way up)."
        )
    if others:
        values = [
            _at(run, "cosine", run.steps[(len(run.steps) - 1) // 2]) for run in (measured, *others)
        ]
        spans = ", ".join(
            f"{name} {shown(min(value[name] for value in values))} to"
            f" {shown(max(value[name] for value in values))}"
            for name in measured.layers
        )
        sentence += f" Over {len(values)} seeds: {spans}."
    last = measured.steps[-1]
    names = ("travelled", "inverse_residual", "radius")
    columns = [_at(measured, "cosine", half), *(_at(measured, name, last) for name in names)]
    head = ("layer", "cosine half way", "travelled", "not inverse", "radius, px")
    lines = plain_table(
        head, ((name, *(shown(column.get(name)) for column in columns)) for name in measured.layers)
    )
    return Told(sentence, lines, _chart(measured), files=figure_of_filters(measured))


def _at(measured: Measured, quantity: str, step: int) -> dict[str, float]:
    return {
        name: measured.of_layer(quantity, name).get(step, float("nan")) for name in measured.layers
    }


def _chart(measured: Measured) -> Figure:
    def lines(quantity: str) -> tuple[Line, ...]:
        return ordered_lines(measured.curves(quantity), marked=True)

    panels = (
        Panel("cosine", (Chart("Cosine to the last epoch", lines("cosine"), 1.0),), 3, legend=True),
        Panel("distance", (Chart("Distance left", lines("distance")),), 2.2),
        Panel("speed an epoch", (Chart("Speed", lines("speed")),), 2.2),
    )
    return figure_of(
        panels,
        "How the filters of each layer come to where they end: mean cosine to the last epoch's,"
        " distance left and speed, both in lengths of the layer's kernel.",
    )


MEASURE = Measure("weights", rows, tell, options=Options())
