"""Line charts as plain geometry: what the page's template draws as inline SVG, in the page's own
colours. No JAX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from zfjax.report.words import epoch_name, number

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 40, 348, 10, 160
TRACK_WIDTH, TRACK_HEIGHT = 1000, 100
"""Units of the slider's drawing, which is stretched over the page."""


@dataclass(frozen=True)
class EpochAxis:
    """Epochs to 0..1: linear, or logarithmic where saved epochs would otherwise lie on top of each
    other."""

    first: float
    last: float
    unit: float | None
    """Epochs at which the logarithm sets in; None: linear."""

    def place(self, epoch: float) -> float:
        """0 at the first epoch, 1 at the last; 0.5 where there is only one."""
        if self.last <= self.first:
            return 0.5
        if self.unit is None:
            return (epoch - self.first) / (self.last - self.first)
        return math.log1p((epoch - self.first) / self.unit) / math.log1p(
            (self.last - self.first) / self.unit
        )

    def ticks(self, epochs: Sequence[float]) -> list[tuple[float, str]]:
        """(place, name) of up to nine epochs far enough apart to be labelled."""
        if self.unit is None:
            whole = [
                value
                for value in MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(self.first, self.last)
            ]
            wanted = [value for value in whole if self.first <= value <= self.last]
        else:
            wanted = list(epochs)
        kept: list[tuple[float, str]] = []
        for epoch in wanted:
            place = self.place(epoch)
            if not kept or place - kept[-1][0] > 0.08:
                kept.append((place, epoch_name(epoch)))
        return kept


def epoch_axis(epochs: Sequence[float]) -> EpochAxis:
    """The axis for saved ``epochs`` (ascending)."""
    span = epochs[-1] - epochs[0]
    gaps = [after - before for before, after in zip(epochs, epochs[1:], strict=False)]
    crowded = bool(gaps) and min(gaps) < 0.008 * span
    return EpochAxis(epochs[0], epochs[-1], min(gaps) if crowded else None)


def path(points: Points) -> str:
    """An SVG path through ``points``; "" for none."""
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points) if points else ""


def interpolate(points: Points, at: float) -> float | None:
    """The value at ``at`` on the line through ``points`` (ascending), flat beyond its ends; None
    for no points."""
    if not points:
        return None
    if at <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0) if x1 > x0 else y1
    return points[-1][1]


@dataclass(frozen=True)
class Track:
    """The slider: accuracy over the epochs as a track for the handle. Lengths are in
    ``TRACK_WIDTH`` x HEIGHT units."""

    line: str
    train: str
    area: str
    stops: tuple[tuple[float, float], ...]
    """(left, top) in 0..1 of the handle, by step shown."""
    ticks: tuple[tuple[float, str], ...]
    highest: float | None
    """The largest accuracy; None where none is known."""
    logarithmic: bool


def track(epochs: Sequence[float], validation: Points, train: Points) -> Track:
    """Geometry of the slider from accuracies 0..1 over epochs. Without any, a level track."""
    axis = epoch_axis(epochs)
    inside = lambda points: [(x, y) for x, y in points if epochs[0] <= x <= epochs[-1]]
    shown = inside(validation)
    highest = max((y for _, y in (*shown, *inside(train))), default=None)
    top = lambda value: 0.94 - 0.86 * value / highest if value is not None and highest else 0.5
    spread = lambda points: [
        (TRACK_WIDTH * axis.place(x), TRACK_HEIGHT * top(y)) for x, y in points
    ]
    stops = tuple((axis.place(epoch), top(interpolate(shown, epoch))) for epoch in epochs)
    line = spread(shown) or [(0.0, TRACK_HEIGHT / 2), (float(TRACK_WIDTH), TRACK_HEIGHT / 2)]
    area = path([(line[0][0], TRACK_HEIGHT), *line, (line[-1][0], TRACK_HEIGHT)]) + "Z"
    return Track(
        path(line),
        path(spread(inside(train))),
        area,
        stops,
        tuple(axis.ticks(epochs)),
        highest,
        axis.unit is not None,
    )


@dataclass(frozen=True)
class Line:
    """One curve: its name, the class that gives it its look, its path."""

    name: str
    look: str
    path: str


@dataclass(frozen=True)
class Chart:
    """A small chart: a title in words, curves, and labelled ticks in drawing units."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def chart(
    title: str, series: Sequence[tuple[str, str, Points]], highest: float | None = None
) -> Chart:
    """A chart of (name, look, points) from zero up to ``highest`` or the largest value."""
    known = [point for _, _, points in series for point in points]
    last = max((x for x, _ in known), default=1.0)
    axis = EpochAxis(0.0, last, None)
    wanted = highest or max((y for _, y in known), default=1.0) or 1.0
    ticks = [
        value
        for value in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, wanted)
        if value >= 0
    ]
    limit = highest or max(ticks[-1], wanted)
    across = lambda x: LEFT + (RIGHT - LEFT) * axis.place(x)
    down = lambda y: BOTTOM - (BOTTOM - TOP) * y / limit
    return Chart(
        title,
        tuple(
            Line(name, look, path([(across(x), down(y)) for x, y in points]))
            for name, look, points in series
            if points
        ),
        tuple((LEFT + (RIGHT - LEFT) * place, name) for place, name in axis.ticks(())),
        tuple((down(value), number(value)) for value in ticks if value <= limit),
    )


def sparkline(
    places: Sequence[float], shares: Sequence[float | None]
) -> list[tuple[float, float] | None]:
    """(x, y) on a field of 160 x 36 by step for shares 0..1; None where the share is."""
    return [
        None if share is None else (round(4 + 152 * place, 2), round(32 - 28 * share, 2))
        for place, share in zip(places, shares, strict=True)
    ]
