"""Dots with bars: estimates and their intervals, one row each, on one scale with a base line.

They are rows of a table, not a picture of one: labels are the page's text and break their lines, a
row fits into any other table (``dot_cell``), screen readers get sentences, and all of it reads at
390 pixels, where a drawing with its labels inside would be too small. Hence no matplotlib here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from zfjax.report.kit.shell import Piece
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import number, plain

LANE = 20
"""CSS pixels of height for each series of a row."""
END = 7
"""CSS pixels that the ends of a bar reach above and below it: more than a dot."""
EDGE = 3.0
"""Per cent of the width left free at both sides: for half a dot, and half a tick's label."""
RING = 2.6
"""CSS pixels of a single value's radius: less than a dot's."""
ROLES = ("main", "ink", "ramp1", "ramp3")
"""Colours of the series in their order, then from the start; every second one's dots are open."""


INTERVAL = "interval"


@dataclass(frozen=True)
class Dot:
    """One estimate and its interval, each None (or NaN) where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""
    """What is said in place of a value that is not known: "diverged"."""
    bar: str = INTERVAL
    """What its bar is, for who hears the page: a "range" from the lowest to the highest."""
    rings: tuple[float, ...] = ()
    """Single values, drawn as small rings; they stand in the place of a bar that is a range."""
    before: float | None = None
    """A value to set out from, drawn as a hollow tick: before training."""


@dataclass(frozen=True)
class Scale:
    """The values from ``low`` to ``high`` (low < high), with ``base`` as a line: zero for
    differences, the base's value for others. What lies beyond is cut off; its numbers say so.
    """

    low: float
    high: float
    base: float | None = 0.0
    unit: str = ""
    """After every number, such as " %"."""
    signed: bool = False
    """Whether numbers above zero have a "+": for differences."""
    places: int | None = None
    """Decimals of every number beside the dots; None: three digits of each."""

    def place(self, value: float) -> float:
        """Per cent of the width from the left: EDGE at ``low``, 100 - EDGE at ``high``; beyond
        these, 0 or 100.
        """
        share = (value - self.low) / (self.high - self.low)
        across = EDGE + (100 - 2 * EDGE) * share
        return round(min(100.0, max(0.0, across)), 2)

    def text(self, value: float) -> str:
        """``value`` with sign and unit, rounded as ``places`` says."""
        if self.places is None:
            return self.tick_text(value)
        value = round(value, self.places)
        return f"{self._sign(value)}{abs(value):.{self.places}f}{self.unit}"

    def end_text(self, value: float) -> str:
        """``text`` of an interval's end: with up to two digits more where it would be 0.00 and the
        side of zero not be seen.
        """
        if not self.signed or self.places is None:
            return self.text(value)
        places = (self.places, self.places + 1, self.places + 2)
        shown = next((count for count in places if round(value, count)), self.places)
        return replace(self, places=shown).text(value)

    def tick_text(self, value: float) -> str:
        """``value`` with three digits, sign and unit."""
        return f"{self._sign(value)}{number(abs(value))}{self.unit}"

    def _sign(self, value: float) -> str:
        return "+" if self.signed and value > 0 else "−" if value < 0 else ""

    @property
    def ticks(self) -> tuple[float, ...]:
        """Up to five round values on the scale."""
        ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        return tuple(float(tick) for tick in ticks if self.low - slack <= tick <= self.high + slack)


def scale_of(
    dots: Iterable[Dot], base: float | None = 0.0, unit: str = "", signed: bool = False
) -> Scale:
    """The smallest round scale that holds all known values and intervals, and the base."""
    values = [
        value
        for dot in dots
        for value in (dot.value, dot.low, dot.high, dot.before, *dot.rings)
        if _known(value)
    ]
    values += [] if base is None else [base]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        low, high = low - max(1.0, abs(low)) / 2, high + max(1.0, abs(high)) / 2
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return Scale(float(min(ticks[0], low)), float(max(ticks[-1], high)), base, unit, signed)


@dataclass(frozen=True)
class DotRow:
    """One row: its label, and a dot for each series."""

    label: str
    dots: Sequence[Dot]
    mark: bool = False
    """Set apart from the others: the base."""


def dot_chart(
    rows: Sequence[DotRow],
    scale: Scale | None = None,
    series: Sequence[str] = ("",),
    heads: tuple[str, str] = ("", ""),
    caption: str = "",
) -> Piece:
    """A row for each label, with dots and bars on one scale and their numbers beside them.

    ``series`` names the dots of each row (a key is drawn where there are several); ``heads`` are
    those of labels and values; ``scale`` by default holds all rows, with zero as base. Labels come
    from data: they are escaped. Raises ValueError where a row has not one dot for each series.
    """
    for row in rows:
        if len(row.dots) != len(series):
            raise ValueError(f"Row {row.label!r} has {len(row.dots)} dots, not {len(series)}.")
    scale = scale or scale_of(dot for row in rows for dot in row.dots)
    head, values = heads
    axis = Piece(Markup("{}{}{}").format(values, dot_key(series), dot_axis(scale)))
    table_rows = [
        Row(plain(row.label, 120), (dot_cell(scale, row.dots, series),), row.mark) for row in rows
    ]
    return data_table((Column(head), Column(axis, dots=True)), table_rows, caption)


def dot_cell(
    scale: Scale, dots: Sequence[Dot], series: Sequence[str] = (), numbers: bool = True
) -> Piece:
    """Dots and bars of one row for a cell of any table (``Column(..., dots=True)``, with
    ``dot_axis(scale)`` in its head), with their numbers beside them or, without ``numbers``, for
    screen readers alone.
    """
    height = LANE * len(dots)
    drawing = Markup("").join(_lines(scale)) + Markup("").join(
        _drawn(scale, dot, index) for index, dot in enumerate(dots)
    )
    told = [
        Markup('<span class="unseen">{}</span>').format(_sentence(scale, dot, name))
        for dot, name in zip(dots, series or [""] * len(dots), strict=True)
    ]
    shown = [
        Markup('<span aria-hidden="true"{}>{}</span>').format(
            Markup("") if _known(dot.value) else Markup(' class="missing"'), _short(scale, dot)
        )
        for dot in dots
    ]
    texts = [text for pair in zip(told, shown, strict=True) for text in pair] if numbers else told
    return Piece(
        Markup(
            '<div class="dotline{}"><svg class="dots" width="100%" height="{}"'
            ' aria-hidden="true">{}</svg><div class="values">{}</div></div>'
        ).format("" if numbers else " bare", height, drawing, Markup("").join(texts))
    )


def dot_axis(scale: Scale, numbers: bool = True) -> Markup:
    """The scale's ticks, to stand above the dots of cells with or without ``numbers``."""

    def label(tick: float) -> Markup:
        return Markup('<text x="{}%" y="12" text-anchor="middle">{}</text>').format(
            scale.place(tick), scale.tick_text(tick)
        )

    return Markup(
        '<div class="dotline{}" aria-hidden="true"><svg class="dots" width="100%" height="16">{}'
        '</svg><div class="values"></div></div>'
    ).format("" if numbers else " bare", Markup("").join(map(label, scale.ticks)))


def dot_key(series: Sequence[str]) -> Markup:
    """What each colour stands for; empty for a single series."""
    if len(series) < 2:
        return Markup("")
    names = Markup("").join(
        Markup('<span><svg width="12" height="10" aria-hidden="true">{}</svg>{}</span>').format(
            _dot("6", 5, index), plain(name)
        )
        for index, name in enumerate(series)
    )
    return Markup('<span class="dotkey">{}</span>').format(names)


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _lines(scale: Scale) -> list[Markup]:
    """Ticks and base: longer than any row, which cuts them off, so that they go through all."""
    base = [] if scale.base is None else [("base", scale.base)]
    return [
        Markup('<line class="{0}" x1="{1}%" x2="{1}%" y1="0" y2="999"/>').format(
            kind, scale.place(value)
        )
        for kind, value in (*(("ground", tick) for tick in scale.ticks), *base)
    ]


def _drawn(scale: Scale, dot: Dot, index: int) -> Markup:
    middle = LANE * index + LANE // 2
    drawing = Markup("")
    if _known(dot.before) and scale.low <= dot.before <= scale.high:
        drawing += Markup(
            '<svg x="{}%" overflow="visible"><rect class="before" x="-2" y="{}" width="4"'
            ' height="{}"/></svg>'
        ).format(scale.place(dot.before), middle - END, 2 * END)
    if _known(dot.low) and _known(dot.high) and not (dot.rings and dot.bar != INTERVAL):
        low, high = scale.place(dot.low), scale.place(dot.high)
        ends = [(low, high, middle, middle)]
        # A bar narrower than its dot is seen by its ends, which stand out above and below.
        ends += [
            (at, at, middle - END, middle + END)
            for at, value in ((low, dot.low), (high, dot.high))
            if scale.low <= value <= scale.high
        ]
        drawing += Markup("").join(
            Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(
                _role(index), *line
            )
            for line in ends
        )
    if _known(dot.value) and scale.low <= dot.value <= scale.high:
        drawing += _dot(f"{scale.place(dot.value)}%", middle, index)
    rings = [value for value in dot.rings if scale.low <= value <= scale.high]
    return drawing + Markup("").join(
        Markup('<circle class="ring" cx="{}%" cy="{}" r="{}"/>').format(
            scale.place(value), middle, RING
        )
        for value in rings
    )


def _dot(x: str, y: int, index: int) -> Markup:
    kind = f"{_role(index)}{' open' if index % 2 else ''}"
    return Markup('<circle class="{}" cx="{}" cy="{}" r="4"/>').format(kind, x, y)


def _role(index: int) -> str:
    return ROLES[index % len(ROLES)]


def _short(scale: Scale, dot: Dot) -> str:
    if not _known(dot.value):
        return plain(dot.why or "not known")
    if not (_known(dot.low) and _known(dot.high)):
        return scale.text(dot.value)
    return f"{scale.text(dot.value)} ({scale.end_text(dot.low)} to {scale.end_text(dot.high)})"


def _sentence(scale: Scale, dot: Dot, name: str) -> str:
    words = f"{plain(name)}: " if name else ""
    if not _known(dot.value):
        return f"{words}{plain(dot.why or 'not known')}. "
    said = f"{dot.bar} not known"
    if _known(dot.low) and _known(dot.high):
        said = f"{dot.bar} from {scale.end_text(dot.low)} to {scale.end_text(dot.high)}"
    if dot.rings:
        said += f", single seeds {', '.join(map(scale.text, dot.rings))}"
    if _known(dot.before):
        said += f", before training {scale.text(dot.before)}"
    return f"{words}{scale.text(dot.value)}, {said}. "
