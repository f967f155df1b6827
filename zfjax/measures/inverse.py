"""How far a layer's transpose is from an inverse, on the patches that its units see.

Concept: the deconvnet comes down by the transpose of each convolution, which would give back what a
layer saw only if it were an inverse. With W a layer's filters as rows and p the patch under a unit,
*inverse_residual* is the distance of c W'W p from what of p the layer sees at all (its part within
the filters' span), relative to that part, over all patches together, with the one scale c that
makes it least: 0 for orthogonal filters of equal length, near 1 where the transpose brings back
little else than the strongest directions. *unseen* is the length of what no filter sees, relative
to p, which no inverse could bring back.
Source: Zeiler and Fergus 2014, section 2.1; that it is no inverse: Mahendran and Vedaldi 2016.
Cost: a forward pass of a few images at each epoch (--inverse.images), and the eigenvalues of a
matrix of maps by maps a layer.
What can mislead: patches are strongly correlated, so a few directions make most of their length;
the measure ``weights`` gives the same number on white noise. Rectification, which the deconvnet has
as well, is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from matplotlib.figure import Figure

from zfjax.data.views import LookedAt
from zfjax.errors import ZfjaxError
from zfjax.measures.filters import kernels_of, need_architecture
from zfjax.measures.protocol import (
    ARCHITECTURE,
    Looked,
    Measure,
    Quantity,
    Told,
    plain_table,
    shown,
)
from zfjax.network.architecture import Architecture, Conv
from zfjax.network.model import Parameters
from zfjax.report.kit.charts import Chart, Line, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import epoch_name
from zfjax.run.measured import Measured
from zfjax.subject import Forward

SPAN = 1e-6
"""Directions in which a layer is weaker than this beside its strongest are outside its span."""


@dataclass(frozen=True)
class Options:
    """What may be asked otherwise."""

    images: int = 32
    """Images, evenly spread over the split."""
    patches: int = 4096
    """Patches of each layer, drawn by seed."""

    def __post_init__(self) -> None:
        for name in ("images", "patches"):
            if getattr(self, name) < 1:
                raise ZfjaxError(f"--inverse.{name} {getattr(self, name)} must be 1 or more.")


def inverse_residual(kernel: np.ndarray, patches: np.ndarray | None = None) -> float:
    """|W'W p c - P p| / |P p| over patches float [n, k * k * inputs], or white noise (None), at the
    best scale c; P projects on the span of the filters. ``kernel``: [k, k, inputs, maps]. NaN where
    nothing is seen.
    """
    strengths, seen = _in_span(kernel, patches)
    down = strengths * seen  # what W'W gives back, in the basis of the span
    length, square = float((seen**2).sum()), float((down**2).sum())
    if not (length and square):
        return float("nan")
    scale = float((down * seen).sum()) / square
    return float(np.sqrt(((scale * down - seen) ** 2).sum() / length))


def unseen_share(kernel: np.ndarray, patches: np.ndarray) -> float:
    """|p - P p| / |p| over the patches, as in ``inverse_residual``. NaN where they are zero."""
    _, seen = _in_span(kernel, patches)
    whole = float((np.asarray(patches, np.float64) ** 2).sum())
    return float(np.sqrt(max(0.0, 1 - (seen**2).sum() / whole))) if whole else float("nan")


def _in_span(kernel: np.ndarray, patches: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(squared singular values [rank], patches in the basis of the filters' span [n, rank]); white
    noise is one patch with 1 in each direction.
    """
    rows = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[3]).T
    # Of W W', maps by maps: a patch has often many more pixels than a layer has maps.
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > SPAN**2 * values.max(initial=0)
    values, vectors = values[kept], vectors[:, kept]
    if patches is None:
        return values, np.ones((1, len(values)))
    responses = np.asarray(patches, np.float64) @ rows.T
    return values, responses @ vectors / np.sqrt(values)


def rows(looked: Looked, options: Options) -> Iterator[Quantity]:
    """The numbers of every layer asked for, step by step."""
    subject = looked.subject
    architecture = need_architecture(subject.network, "inverse")
    views = _some_views(subject.need("images", "The measure inverse"), options.images)
    inputs = subject.prepare(views)
    top = subject.network.highest(looked.layers).name
    for step in looked.steps:
        parameters = subject.parameters(step)
        maps = {
            name: np.asarray(values)
            for name, values in _maps(
                parameters, inputs, forward=subject.forward, until=top
            ).items()
        }
        for name in looked.layers:
            below = (
                np.asarray(inputs)
                if name == architecture.layers[0].name
                else maps[_layer_below(architecture, name)]
            )
            patches = patches_of(below, architecture.conv(name), options.patches)
            kernel = kernels_of(subject.network, parameters, [name], "inverse")[name]
            count = len(patches)
            residual = inverse_residual(kernel, patches)
            yield Quantity(step, name, "inverse_residual", residual, n=count, unit="share")
            unseen = unseen_share(kernel, patches)
            yield Quantity(step, name, "unseen", unseen, n=count, unit="share")


@functools.partial(jax.jit, static_argnames=("forward", "until"))
def _maps(
    parameters: Parameters, inputs: jax.Array, *, forward: Forward, until: str
) -> dict[str, jax.Array]:
    return forward(parameters, inputs, until=until)


def _layer_below(architecture: Architecture, name: str) -> str:
    return architecture.below(name)[-2].layer.name


def patches_of(maps: np.ndarray, layer: Conv, count: int, seed: int = 0) -> np.ndarray:
    """What ``count`` units of a layer see of maps [n, h, w, inputs], or all units where they are
    fewer, drawn by seed: float32 [count, k * k * inputs], zeros where the layer pads.
    """
    before, after = layer.padding
    padded = np.pad(maps, ((0, 0), (before, after), (before, after), (0, 0)))
    extents = [(extent - layer.kernel) // layer.stride + 1 for extent in padded.shape[1:3]]
    total = len(maps) * extents[0] * extents[1]
    units = np.random.default_rng(seed).permutation(total)[:count]
    images, rows, columns = np.unravel_index(units, (len(maps), *extents))
    within = np.arange(layer.kernel)
    y = (rows * layer.stride)[:, None, None] + within[None, :, None]
    x = (columns * layer.stride)[:, None, None] + within[None, None, :]
    return np.asarray(padded[images[:, None, None], y, x], np.float32).reshape(len(units), -1)


def _some_views(images: LookedAt, count: int) -> np.ndarray:
    """Views of images evenly spread over the split; those that cannot be read are left out."""
    ids = np.unique(np.linspace(0, images.count - 1, count).round().astype(int)).tolist()
    [batch] = images.of_split(images.split).batches_of(len(ids), ids)
    views = batch["image"][batch["weight"] > 0]
    if not len(views):
        raise ZfjaxError(
            f"None of {count} images of split {images.split!r} of {images.name} can be"
            " read; ask for more with --inverse.images."
        )
    return np.asarray(views)


def tell(measured: Measured, others: Sequence[Measured], options: Options) -> Told:
    """The layers at the first and the last epoch."""
    first, last = measured.steps[0], measured.steps[-1]
    began, ended = (epoch_name(measured.epochs[index]) for index in (0, -1))
    table = {
        name: [
            measured.of_layer(quantity, name)[step]
            for quantity in ("inverse_residual", "unseen")
            for step in (first, last)
        ]
        for name in measured.layers
    }
    alone = first == last
    each = ", ".join(
        f"{name} {shown(row[1])}{'' if alone else f' ({shown(row[0])})'}"
        for name, row in table.items()
    )
    sentence = (
        f"At epoch {ended} a layer's transpose, at its best scale, misses what the layer sees of"
        f" its patches by this much of its length ({'' if alone else f'at epoch {began}; '}0 for an"
        f" inverse): {each}."
    )
    if others:
        sentence += (
            " Over seeds: "
            + ", ".join(
                f"{name} {shown(min(values))} to {shown(max(values))}"
                for name in measured.layers
                for values in [
                    [
                        run.of_layer("inverse_residual", name)[run.steps[-1]]
                        for run in (measured, *others)
                    ]
                ]
            )
            + "."
        )
    head = (
        "layer",
        *(f"{what}, epoch {e}" for what in ("missed", "unseen") for e in (began, ended)),
    )
    lines = plain_table(head, ((name, *map(shown, row)) for name, row in table.items()))
    return Told(sentence, lines, _chart(measured))


def _chart(measured: Measured) -> Figure:
    def lines(quantity: str) -> tuple[Line, ...]:
        return ordered_lines(measured.curves(quantity, 100), marked=True)

    panels = (
        Panel("missed, %", (Chart("Missed", lines("inverse_residual"), 100.0),), 3),
        Panel("unseen, %", (Chart("Unseen", lines("unseen"), 100.0),), 3, legend=True),
    )
    return figure_of(
        panels,
        "How far the transpose of each layer is from an inverse on the patches of images that it"
        " sees: what it misses of what the layer sees at all, and what the layer does not see.",
    )


MEASURE = Measure("inverse", rows, tell, options=Options(), needs=("images", ARCHITECTURE))
