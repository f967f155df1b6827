"""The epoch slider: accuracy over the epochs is its track, the handle sits on the curve.

It keeps a geometry of its own beside matplotlib's charts (``charts``), since it is a control: it
stretches over the page without stretching its handle, splits its curve at the handle, and says
where the handle stands at every stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from zfjax.report.kit.shell import Piece, templates
from zfjax.report.kit.wording import epoch_name, epoch_names, percent

Points = Sequence[tuple[float, float]]
TRACK_WIDTH, TRACK_HEIGHT = 1000, 100
"""Units of the slider's drawing, which is stretched over the page."""


@dataclass(frozen=True)
class EpochAxis:
    """Epochs to 0..1: linear, or logarithmic where saved epochs would otherwise lie on top of each
    other.
    """

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
        """(position, name) of up to nine epochs far enough apart to be labelled."""
        if self.unit is None:
            whole = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(self.first, self.last)
            wanted = [value for value in whole if self.first <= value <= self.last]
        else:
            wanted = list(epochs)
        kept: list[tuple[float, str]] = []
        for epoch in wanted:
            position = self.place(epoch)
            if not kept or position - kept[-1][0] > 0.08:
                kept.append((position, epoch_name(epoch)))
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
    for no points.
    """
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
    """The geometry of the slider. Lengths are in TRACK_WIDTH x TRACK_HEIGHT units."""

    line: str
    others: tuple[str, ...]
    area: str
    stops: tuple[tuple[float, float], ...]
    """(left, top) in 0..1 of the handle, by step shown."""
    ticks: tuple[tuple[float, str], ...]
    highest: float | None
    """The largest accuracy; None where none is known."""
    logarithmic: bool


def track(epochs: Sequence[float], main: Points, *others: Points) -> Track:
    """Geometry of the slider from accuracies 0..1 over epochs: the handle is on ``main``, the
    others are thin lines beside it. Without any, a level track.
    """
    axis = epoch_axis(epochs)

    def inside(points: Points) -> list[tuple[float, float]]:
        return [(x, y) for x, y in points if epochs[0] <= x <= epochs[-1]]

    shown, beside = inside(main), [inside(points) for points in others]
    highest = max((y for points in (shown, *beside) for _, y in points), default=None)

    def top(value: float | None) -> float:
        return 0.94 - 0.86 * value / highest if value is not None and highest else 0.5

    def drawn(points: Points) -> list[tuple[float, float]]:
        return [(TRACK_WIDTH * axis.place(x), TRACK_HEIGHT * top(y)) for x, y in points]

    line = drawn(shown) or [(0.0, TRACK_HEIGHT / 2), (float(TRACK_WIDTH), TRACK_HEIGHT / 2)]
    return Track(
        path(line),
        tuple(path(drawn(points)) for points in beside),
        path([(line[0][0], TRACK_HEIGHT), *line, (line[-1][0], TRACK_HEIGHT)]) + "Z",
        tuple((axis.place(epoch), top(interpolate(shown, epoch))) for epoch in epochs),
        tuple(axis.ticks(epochs)),
        highest,
        axis.unit is not None,
    )


@dataclass(frozen=True)
class Choice:
    """Radio buttons under the slider: ``state[name]`` in scripts is one of the values, the first to
    begin with, and the page's address remembers it.
    """

    name: str
    legend: str
    values: tuple[tuple[str, str], ...]
    """(value, words)."""


def curve_slider(
    epochs: Sequence[float],
    curves: Sequence[Points],
    readings: Sequence[str] | None = None,
    choices: Sequence[Choice] = (),
) -> Piece:
    """The slider over ``epochs`` (ascending; one stop each), docked to the page's top. A page has
    one: put it before ``main_of``.

    ``curves`` are accuracies 0..1 over epochs; the handle sits on the first. ``readings`` says at
    each stop what stands under the epoch, by default the first curve's accuracy. Scripts find the
    stop as ``state.at``, its name as ``data.names[state.at]``, and redraw what they add to
    ``draws``.
    """
    curves = curves or [()]
    drawn = track(epochs, *curves)
    if readings is None:
        values = [interpolate(curves[0], epoch) for epoch in epochs]
        readings = ["" if value is None else f"{percent(value)} right" for value in values]
    html = templates("kit").get_template("slider.html.j2")
    return Piece(
        Markup(html.render(track=drawn, choices=choices, word="epoch")),
        {
            "word": "epoch",
            "names": epoch_names(epochs),
            "stops": drawn.stops,
            "ticks": drawn.ticks,
            "readings": list(readings),
        },
    )
