"""Line charts over the epochs, drawn once by matplotlib: SVG in a page, PNG and PDF beside it.

What is drawn is a value (``Chart``): who reads a run or an evolution makes it in one place, and
page and figure are two looks of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zfjax.report.kit.ends import STYLES, End, most_names, room_of, write_ends
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.style import (
    ACCENT,
    DPI,
    FAINT,
    INK,
    QUIET,
    RAMP,
    TEXT_SIZE,
    quiet_style,
    save,
    text_width,
    wrap,
)
from zfjax.report.kit.vector import svg_of
from zfjax.report.kit.wording import number, plain

COLOURS = {
    "main": ACCENT,
    "quiet": FAINT,
    "ink": INK,
    **{f"ramp{index}": colour for index, colour in enumerate(RAMP)},
}
"""Roles of lines. ``ramp0`` to ``ramp4`` are one hue from light to dark, for what has an order."""
PAGE_SIZE = (360, 190)
"""Width and height in points; the page shows it as wide as its column."""
_PAGE_AXES = (40.0, 348.0, 30.0, 180.0)
"""Left, right, bottom and top of the field within that."""
_FIGURE_WIDTH = 3.5
"""Inches: one column of a paper."""
_CAPTION_WIDTH = 1352
"""Pixels of the board (``style.DPI``) for lines of a caption."""
BESIDE = 6
"""Letters of a legend's longest word that there is room for at the right of the lines."""


@dataclass(frozen=True)
class Line:
    """One line: its name ("" keeps it out of a key), its role (a key of COLOURS), its points
    (epoch, value).
    """

    name: str
    role: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False
    marked: bool = False
    """A dot at each point, in figures."""
    end: str = ""
    """What stands at the line's end, in figures; a page names lines that have an order there."""


@dataclass(frozen=True)
class Chart:
    """A title in words and lines over the epochs, from zero up to ``highest`` or what holds the
    largest value. Texts may come from data: they are shown as they are, on one line.
    """

    title: str
    lines: tuple[Line, ...]
    highest: float | None = None


@dataclass(frozen=True)
class Panel:
    """Charts drawn over each other in one field of a figure."""

    label: str
    charts: tuple[Chart, ...]
    height: float
    """Units of 0.42 inches."""
    legend: bool = False


@dataclass(frozen=True)
class Look:
    """What differs between a page's charts and a paper's figures. Sizes in points."""

    text_size: float
    widths: dict[str, float]
    """Of lines by role; "" for the others."""
    marker: float
    """Diameter of marks; 0 draws none."""
    spines: bool
    pads: tuple[float, float]
    """Between the field and what stands below and beside it."""


PAGE = Look(11, {"": 1.8}, 0, False, (8, 6))
FIGURE = Look(TEXT_SIZE - 0.7, {"": 1.2, "quiet": 0.9, "ink": 0.9}, 1.8, True, (2, 2))


def ramp_role(index: int, count: int) -> str:
    """The role of line ``index`` of ``count`` that have an order."""
    return f"ramp{round(index * (len(RAMP) - 1) / max(1, count - 1))}"


def ordered_lines(
    points: Mapping[str, Iterable[tuple[float, float]]], *, marked: bool = False
) -> tuple[Line, ...]:
    """A line for each name, in an order that their colours show: of layers, say. Of more names than
    there are colours, the second of one colour is dashed.
    """
    roles = [ramp_role(index, len(points)) for index in range(len(points))]
    return tuple(
        Line(name, role, tuple(line), dashed=role in roles[:index], marked=marked)
        for index, (role, (name, line)) in enumerate(zip(roles, points.items(), strict=True))
    )


def page_charts(charts: Sequence[Chart], name: str) -> Piece:
    """Charts side by side, as many as the window has room for. ``name``: letters, digits and "-",
    unique on the page.
    """
    pieces = [_page_chart(chart, f"{name}-{index}") for index, chart in enumerate(charts)]
    html = Markup("\n").join(piece.html for piece in pieces)
    return join_pieces(pieces, Markup('<div class="charts">\n{}\n</div>').format(html))


def figure_files(stem: str, panels: Sequence[Panel], words: str) -> dict[str, bytes]:
    """``stem``.png and ``stem``.pdf of ``figure_of``."""
    with quiet_style():
        return save(figure_of(panels, words), stem)


def figure_of(panels: Sequence[Panel], words: str) -> Figure:
    """The panels above each other over one axis of epochs, with ``words`` as caption, one column of
    a paper wide.
    """
    with quiet_style():
        caption = wrap(words, _CAPTION_WIDTH)
        foot = 0.42 + 0.12 * len(caption)
        heights = [panel.height for panel in panels]
        total = 0.1 + 0.42 * sum(heights) + 0.16 * (len(heights) - 1) + foot
        figure = Figure(figsize=(_FIGURE_WIDTH, total))
        grid = figure.add_gridspec(
            len(heights),
            1,
            height_ratios=heights,
            hspace=0.22,
            left=0.135,
            right=0.85,
            top=1 - 0.1 / total,
            bottom=foot / total,
        )
        fields = list(grid.subplots(sharex=True, squeeze=False)[:, 0])
        for axes, panel in zip(fields, panels, strict=True):
            draw_charts(axes, panel.charts, FIGURE)
            axes.set_ylabel(plain(panel.label))
            words = axes.get_legend_handles_labels()[1]
            if panel.legend and words:
                beside = max(map(len, words)) <= BESIDE  # where no line is
                axes.legend(
                    loc="upper left" if beside else "best",
                    bbox_to_anchor=(1.01, 1.02) if beside else None,
                    frameon=False,
                    handlelength=1.2,
                    labelspacing=0.3,
                    borderaxespad=0.2,
                )
        fields[-1].set_xlabel("epoch")
        figure.align_ylabels(fields)
        bottom = (foot - 0.38) / total
        figure.text(0.017, bottom, "\n".join(caption), va="top", linespacing=1.35, color=INK)
        return figure


def draw_charts(axes: Axes, charts: Sequence[Chart], look: Look) -> None:
    """Draws ``charts`` over each other on ``axes``, the first one's range for all. Within
    ``style.quiet_style``: math in texts is not parsed.
    """
    lines = [line for chart in charts for line in chart.lines]
    points = [point for line in lines for point in line.points]
    styles = {} if look.spines else dict(_ordered(lines))
    for line in lines:
        if not line.points:
            continue
        single = look.marker or (4.0 if len(line.points) == 1 else 0.0)
        axes.plot(
            *zip(*line.points, strict=True),
            color=COLOURS[line.role],
            label=plain(line.name, 16),
            lw=look.widths.get(line.role, look.widths[""]),
            ls=(0, (3, 2)) if line.dashed else styles.get(line, "-"),
            marker="o" if line.marked and look.marker or len(line.points) == 1 else None,
            ms=single,
            clip_on=False,
            solid_joinstyle="round",
        )
    limit = _limit(charts[0].highest, [value for _, value in points])
    axes.set_xlim(0, max((epoch for epoch, _ in points), default=0) or 1)
    axes.set_ylim(0, limit)
    _axis_style(axes, look)
    if not points:
        axes.text(
            *(0.5, 0.56, "not measured"),
            transform=axes.transAxes,
            ha="center",
            color=QUIET,
            size=look.text_size,
        )
    if look.spines:
        _line_ends(axes, lines, limit, look)


def _page_chart(chart: Chart, name: str) -> Piece:
    width, height = PAGE_SIZE
    left, right, bottom, top = _PAGE_AXES
    with quiet_style(), rc_context({"font.size": PAGE.text_size}):
        figure = Figure(figsize=(width / 72, height / 72))
        rectangle = left / width, bottom / height, (right - left) / width, (top - bottom) / height
        axes = figure.add_axes(rectangle)
        draw_charts(axes, [chart], PAGE)
        left = max(left, _label_width(axes) + PAGE.pads[1] + 2)
        ends = _ends(chart.lines, top - bottom)
        right -= room_of([end.name for end in ends], PAGE.text_size) if ends else 0
        axes.set_position((left / width, bottom / height, (right - left) / width, rectangle[3]))
        write_ends(axes, ends, PAGE.text_size)
        title = plain(chart.title, 80)
        drawing = svg_of(figure, name, f"{title} over the epochs")
    known = [line for line in chart.lines if line.points and line.name]
    key = Markup("").join(
        Markup('<span class="{}">{}</span>').format(role, words) for role, words in _key(known)
    )
    if len(chart.lines) > 1 and len(known) > len(ends):
        key = Markup(' <span class="key">{}</span>').format(key)
    else:
        key = Markup("")
    return Piece(
        Markup('<figure class="chart"><figcaption>{}{}</figcaption>{}</figure>').format(
            title, key, drawing
        )
    )


def _ordered(lines: Sequence[Line]) -> list[tuple[Line, Any]]:
    """The lines that have an order, each with the style that tells it from its neighbours."""
    ordered = [line for line in lines if line.role.startswith("ramp") and line.points]
    return [(line, STYLES[index % len(STYLES)]) for index, line in enumerate(ordered)]


def _ends(lines: Sequence[Line], height: float) -> list[End]:
    """Those of them that are named at their ends, in a field of ``height`` points: all, or as many
    as there is room for, evenly from the first to the last.
    """
    ordered, most = _ordered(lines), most_names(height, PAGE.text_size)
    if len(ordered) < 2:
        return []
    if len(ordered) > most:
        steps = [round(index * (len(ordered) - 1) / (most - 1)) for index in range(most)]
        ordered = [ordered[step] for step in steps]
    width = PAGE.widths[""]
    return [
        End(line.end or line.name, line.points, COLOURS[line.role], width, style)
        for line, style in ordered
    ]


def _key(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """(role, words) of the lines: neighbours that share a colour of the ramp, of many layers, have
    one entry, from the first to the last of them.
    """
    entries = []
    for role, same in groupby(lines, key=lambda line: line.role):
        names = [plain(line.name, 40) for line in same]
        if role.startswith("ramp") and len(names) > 1:
            names = [f"{names[0]} to {names[-1]}"]
        entries += [(role, words) for words in names]
    return entries


def _limit(highest: float | None, values: Sequence[float]) -> float:
    """The upper end: ``highest``, or the first tick that holds the largest value."""
    if highest:
        return highest
    largest = max(values, default=1.0)
    largest = largest if largest > 0 else 1.0
    return max(largest, float(_value_locator().tick_values(0, largest)[-1]))


def _value_locator() -> MaxNLocator:
    return MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])


def _axis_style(axes: Axes, look: Look) -> None:
    below, beside = look.pads
    thin = 0.3 if look.spines else 0.8
    # Neither clipped nor with square ends: half of the bytes of a chart in a page.
    axes.grid(axis="y", color=FAINT, lw=thin, alpha=0.5, clip_on=False, solid_capstyle="butt")
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(_value_locator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.tick_params(labelsize=look.text_size)
    axes.tick_params(axis="x", pad=below)
    axes.tick_params(axis="y", pad=beside)
    if not look.spines:
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def _label_width(axes: Axes) -> float:
    """Points that the longest label of the values takes."""
    labels = [number(value) for value in axes.get_yticks()]
    return max(text_width(label, PAGE.text_size) for label in labels) * 72 / DPI


def _line_ends(axes: Axes, lines: Sequence[Line], limit: float, look: Look) -> None:
    """Names at the lines' ends, from the lowest up: above the axis, and above the one below."""
    lowest = 0.05 * limit  # of a label's middle
    ended = [line for line in lines if line.end and line.points]
    for line in sorted(ended, key=lambda line: line.points[-1][1]):
        epoch, value = line.points[-1]
        axes.annotate(
            f" {plain(line.end, 16)}",
            (epoch, max(value, lowest)),
            color=COLOURS[line.role],
            va="center",
            annotation_clip=False,
            size=look.text_size,
        )
        lowest = max(value, lowest) + 0.09 * limit
