"""What spatial frequencies and directions the first layer's filters pass, and what its stride does
to them.

Concept: the paper found its rival's first layer to be "a mix of extremely high and low frequency
information, with little coverage of the mid frequencies", and the second to show aliasing from a
large stride. Here both are numbers at every epoch. Of each filter of the first layer: centroid and
width of its radial frequency, direction and how directed it is, the shares of its energy below
0.08, up to 0.2 and above (cycles a pixel), the share of colour, and its aliasing index: of the
response that natural images (power about 1 / f^2) would give, the share above the stride's Nyquist
frequency 1 / (2 stride), which comes out as something it is not. Of the layer: their means;
aliasing of all filters' energy together; coverage, how evenly the mean gain fills four octaves by
eight directions (exp of its entropy, as a share), and each alone. Of the second layer: how much its
filters, taken to pixels through the first layer's with no pool between, have at the multiples of
1 / stride more than beside them (1: nothing; more: a grid).
Source: Zeiler and Fergus 2014, section 4.1; 1 / f^2: Field 1987; sampling: Zhang 2019.
Cost: the two kernels of each epoch, no image.
What can mislead: noise passes every frequency alike, so an untrained layer has a coverage near 1:
read it with the energies and the width. A filter of k pixels tells no frequencies apart that are
nearer than 1 / k. What aliases before rectification need not mislead later layers, later strides
alias as well, and pools are left out. Filters of less than a tenth of the layer's median strength
count in no mean, only in the energy of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from zfjax.measures.averages import mean_of_known, quotient
from zfjax.measures.filters import architecture_in, kernels_of, to_pixels
from zfjax.measures.protocol import Looked, Measure, NoOptions, Quantity, Told, plain_table, shown
from zfjax.measures.spectra import BANDS, Spectra, colour_share, evenness, spectra_of
from zfjax.network.architecture import Architecture
from zfjax.network.model import Parameters
from zfjax.report.kit.charts import Chart, Line, Panel, figure_of, ramp_role
from zfjax.report.kit.wording import epoch_name
from zfjax.run.measured import Measured

WEAKEST = 0.1
"""Of the median strength of a layer's filters: weaker ones are taken for dead."""
SHARES = ("low", "mid", "high")


def rows(looked: Looked, options: NoOptions) -> Iterator[Quantity]:
    """The numbers of the first two layers, step by step."""
    network = looked.subject.network
    architecture = architecture_in(network)
    first, *others = network.layers
    window = network.layers[first].window
    stride = None if window is None else window.jump
    for step in looked.steps:
        parameters = looked.subject.parameters(step)
        kernel = kernels_of(network, parameters, [first], "spectrum")[first]
        yield from _first_layer(step, first, kernel, stride)
        if others and architecture is not None:
            yield from _second_layer(step, architecture, parameters, (first, others[0]))


def _first_layer(
    step: int, layer: str, kernel: np.ndarray, stride: int | None
) -> Iterator[Quantity]:
    spectra = spectra_of(kernel)
    counted = counted_filters(kernel)
    count = int(counted.sum())
    aliased, energy = np.full((2, len(counted)), np.nan)
    if stride is not None:
        aliased, energy = spectra.aliased(stride)
    of_maps = _of_maps(spectra) | {
        "colour": (colour_share(kernel), "share"),
        "aliasing": (quotient(aliased, energy), "share"),
    }
    for name, (values, unit) in of_maps.items():
        yield Quantity(step, layer, name, values, unit=unit)
    of_layer = {
        name: (mean_of_known(values[counted]), unit)
        for name, (values, unit) in of_maps.items()
        if name not in ("orientation", "aliasing")
    }
    of_layer["aliasing"] = (float(quotient(aliased.sum(), energy.sum())), "share")
    gains = spectra.gains()[..., counted]
    mean = gains.mean(axis=2) if count else np.full(gains.shape[:2], np.nan)
    for name, shares in (
        ("coverage", mean),
        ("frequency_coverage", mean.sum(axis=1)),
        ("orientation_coverage", mean.sum(axis=0)),
    ):
        of_layer[name] = (evenness(shares) if count else float("nan"), "share")
    for name, (value, unit) in of_layer.items():
        yield Quantity(step, layer, name, value, n=count, unit=unit)


def _of_maps(spectra: Spectra) -> dict[str, tuple[np.ndarray, str]]:
    """Values of each map, and their unit, by quantity."""
    frequency, bandwidth = spectra.frequency()
    orientation, strength = spectra.orientation()
    low, high = BANDS
    bands = (
        spectra.radius < low,
        (spectra.radius >= low) & (spectra.radius <= high),
        spectra.radius > high,
    )
    shares = {
        name: (spectra.share(band), "share") for name, band in zip(SHARES, bands, strict=True)
    }
    return {
        "frequency": (frequency, "cycles/pixel"),
        "bandwidth": (bandwidth, "cycles/pixel"),
        "orientation": (orientation, "degrees"),
        "orientedness": (strength, "share"),
        **shares,
    }


def _second_layer(
    step: int, architecture: Architecture, parameters: Parameters, names: tuple[str, str]
) -> Iterator[Quantity]:
    first, second = names
    stride = architecture.conv(first).stride
    pixels = to_pixels(architecture, parameters, second, without_pools=True)
    grid = spectra_of(pixels, stride).grid(stride)
    counted = counted_filters(pixels)
    yield Quantity(step, second, "grid", grid, unit="ratio")
    yield Quantity(
        step, second, "grid", mean_of_known(grid[counted]), n=int(counted.sum()), unit="ratio"
    )


def counted_filters(filters: np.ndarray) -> np.ndarray:
    """Which maps' filters [height, width, channels, maps] are strong enough to count: bool [maps].
    None of a layer that is all zero.
    """
    strength = np.sqrt((np.asarray(filters, np.float64) ** 2).sum(axis=(0, 1, 2)))
    return (strength > 0) & (strength >= WEAKEST * np.median(strength))


def tell(measured: Measured, others: Sequence[Measured], options: NoOptions) -> Told:
    """What the first layer passes at the first and the last epoch, and how it came there."""
    first, *rest = dict.fromkeys(measured.table["layer"].to_pylist())
    at = _at_step(measured, first, measured.steps[-1])
    start = _at_step(measured, first, measured.steps[0])
    began, ended = (epoch_name(measured.epochs[index]) for index in (0, -1))
    sentence = (
        f"At epoch {ended} the filters of {first} ({at['count']}) have {_percent(at['low'])} of"
        f" their energy below {BANDS[0]} cycles a pixel, {_percent(at['mid'])} up to {BANDS[1]} and"
        f" {_percent(at['high'])} above (epoch {began}: {_percent(start['low'])},"
        f" {_percent(start['mid'])}, {_percent(start['high'])}); of their response to natural"
        f" images {_percent(at['aliasing'])} aliases at the layer's stride (epoch {began}:"
        f" {_percent(start['aliasing'])}); their coverage of octaves and directions is"
        f" {shown(at['coverage'])} of 1 (epoch {began}: {shown(start['coverage'])})."
    )
    if others:
        values = [_at_step(each, first, each.steps[-1])["aliasing"] for each in (measured, *others)]
        sentence += (
            f" Over {len(values)} seeds the last epoch's aliasing is {_percent(min(values))} to"
            f" {_percent(max(values))}."
        )
    second = rest[0] if rest else None
    grid = measured.of_layer("grid", second)
    if second and not np.isnan(grid.get(measured.steps[-1], np.nan)):
        sentence += (
            f" Filters of {second} in pixels have {shown(grid[measured.steps[-1]])} times as much"
            f" power at the stride's frequencies as beside them (epoch {began}:"
            f" {shown(grid[measured.steps[0]])}; 1: no grid)."
        )
    head = ("epoch", "low", "mid", "high", "aliasing", "coverage", "direction", "colour", "grid")
    names = ("low", "mid", "high", "aliasing", "coverage", "orientedness", "colour")
    columns = [measured.of_layer(name, first) for name in names] + [grid]
    lines = plain_table(
        head,
        (
            (epoch_name(epoch), *(shown(column.get(step)) for column in columns))
            for step, epoch in zip(measured.steps, measured.epochs, strict=True)
        ),
    )
    figures = {name: None if np.isnan(at[name]) else at[name] for name in ("aliasing", "coverage")}
    return Told(sentence, lines, _chart(measured, first), figures)


def _at_step(measured: Measured, layer: str, step: int) -> dict[str, float]:
    names = (*SHARES, "aliasing", "coverage")
    numbers = {name: measured.of_layer(name, layer)[step] for name in names}
    strength = measured.of_maps("frequency", layer)[step]
    return {**numbers, "count": len(strength)}


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.0%}"


def _chart(measured: Measured, layer: str) -> Figure:
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))

    def line(quantity: str, end: str, role: str) -> Line:
        values = measured.of_layer(quantity, layer)
        points = tuple((epochs[s], 100 * v) for s, v in values.items() if not np.isnan(v))
        return Line(end, role, points, marked=True, end=end)

    energy = tuple(line(name, name, ramp_role(index, 3)) for index, name in enumerate(SHARES))
    cover = (line("coverage", "covered", "ink"), line("orientedness", "directed", "main"))
    panels = (
        Panel("energy, %", (Chart("Energy", energy, 100.0),), 3),
        Panel("filters, %", (Chart("Filters", cover, 100.0),), 2.2),
        Panel("aliasing, %", (Chart("Aliasing", (line("aliasing", "", "main"),)),), 2.2),
    )
    return figure_of(
        panels,
        f"The filters of {layer} over the epochs: their energy below {BANDS[0]} cycles a pixel"
        f" (low), up to {BANDS[1]}, and above (high); how evenly they cover octaves and directions,"
        " and how directed they are; and the share of their response to natural images that aliases"
        " at the layer's stride.",
    )


MEASURE = Measure("spectrum", rows, tell)
