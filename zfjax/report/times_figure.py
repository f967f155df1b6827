"""Settling times with their intervals as a figure for papers and talks: what the page's section on
settling shows as dots. No JAX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zfjax.report.kit.charts import COLOURS
from zfjax.report.kit.dots import ROLES, Dot
from zfjax.report.kit.style import DPI, FAINT, INK, TEXT_SIZE, quiet_style, save, text_width, wrap
from zfjax.report.kit.wording import epoch_name, number, plain
from zfjax.report.settling import dot_of, families_of, is_cut
from zfjax.run.measured import Measured

STEM = "settling-times"
WIDTH, HIGHEST = 3.5, 9.0
"""Inches: one column of a paper, and what the rows take at most."""
LANE = 0.095
"""Inches of height for each family of a layer, where there is room."""
LABEL_SIZE, MOST_LETTERS = TEXT_SIZE - 0.7, 28
"""Points, and letters, of a layer's name."""
_CAPTION_WIDTH = 1352


def figure_of_times(settling: Measured | None, network: str) -> dict[str, bytes]:
    """settling-times.png and .pdf: a row a layer, the image's side above, a dot a family with its
    95% interval. {} where nothing is measured or no layer has a time.
    """
    families = [] if settling is None else families_of(settling)
    if settling is None or not families:
        return {}
    with quiet_style():
        caption = wrap(_words(settling, families, network), _CAPTION_WIDTH)
        lanes = len(settling.layers) * (len(families) + 1)
        rows, head, foot = min(HIGHEST, LANE * lanes), 0.24, 0.42 + 0.12 * len(caption)
        total = head + rows + foot
        figure = Figure(figsize=(WIDTH, total))
        names = [plain(layer, MOST_LETTERS) for layer in settling.layers]
        wide = max(text_width(name, LABEL_SIZE) for name in names) / (DPI * WIDTH)
        axes = figure.add_axes((0.05 + wide, foot / total, 0.91 - wide, rows / total))
        _draw(axes, settling, families, names)
        figure.text(
            *(0.017, (foot - 0.38) / total, "\n".join(caption)),
            va="top",
            linespacing=1.35,
            color=INK,
        )
        return save(figure, STEM)


def _draw(axes: Axes, settling: Measured, families: Sequence[str], names: Sequence[str]) -> None:
    between = len(families) + 1
    for index, family in enumerate(families):
        role = ROLES[index % len(ROLES)]
        colour, hollow = COLOURS[role], index % 2 == 1
        dots = [dot_of(settling, family, layer) for layer in settling.layers]
        for depth, dot in enumerate(dots):
            _bar(axes, dot, depth * between + index, colour)
        known = [(dot.value, depth * between + index) for depth, dot in enumerate(dots)]
        points = [(time, y) for time, y in known if time is not None]
        axes.plot(
            [time for time, _ in points],
            [y for _, y in points],
            ls="none",
            marker="o",
            ms=2.6,
            mew=0.8,
            color=colour,
            mfc="white" if hollow else colour,
            label=family,
            clip_on=False,
            zorder=3,
        )
    middle = (len(families) - 1) / 2
    axes.set_yticks([depth * between + middle for depth in range(len(names))], names)
    axes.set_ylim(len(names) * between - 1.3, -0.8)  # the first layer above
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.grid(axis="x", color=FAINT, lw=0.3, alpha=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=LABEL_SIZE)
    axes.set_xlabel("settling time, epochs")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(families),
        frameon=False,
        handletextpad=0.2,
        columnspacing=1.2,
        borderaxespad=0.1,
    )


def _bar(axes: Axes, dot: Dot, y: float, colour: str) -> None:
    if dot.value is None or dot.low is None or dot.high is None or math.isnan(dot.low + dot.high):
        return
    axes.plot([dot.low, dot.high], [y, y], color=colour, lw=0.8, clip_on=False)
    for end in (dot.low, dot.high):
        axes.plot([end, end], [y - 0.38, y + 0.38], color=colour, lw=0.8, clip_on=False)


def _words(settling: Measured, families: Sequence[str], network: str) -> str:
    rate = settling.meta.get("schedule")
    schedule = f", learning rate {plain(str(rate), 60)}" if rate else ""
    cut = " Bars end where no time can lie beyond." if is_cut(settling, families) else ""
    return (
        f"When the layers of {network} settle, by {', '.join(families)}: for how many epochs each"
        " is away from what it is at the end, on average (the area above its curve). Bars: 95%"
        f" intervals over images, of this run alone; the filters' weights see none.{cut} Settled"
        f" means like epoch {epoch_name(settling.epochs[-1])}, the last one{schedule}."
    )
