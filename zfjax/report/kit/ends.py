"""Names at the ends of a chart's lines, beside its field: none over another, each tied to its line
by a thin stroke and a sample of the line's own style. No JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from zfjax.report.kit.style import DPI, INK, QUIET, text_width
from zfjax.report.kit.wording import plain

STYLES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.6)),
    (0, (1, 1.3)),
    (0, (7, 1.6, 1, 1.6)),
    (0, (3, 1.3, 1, 1.3, 1, 1.3)),
)
"""Of lines that have an order, in turn: who sees no colours tells neighbours apart by them."""
TIE, SAMPLE, PAD = 10.0, 18.0, 3.0
"""Points: from the field to the sample, of the sample, and from there to the name."""
GAP = 1.2
"""Between two names, from middle to middle, in heights of a letter."""
LONGEST = 18
"""Letters of a name."""


@dataclass(frozen=True)
class End:
    """A line that is named at its end."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    width: float
    style: Any
    """As matplotlib takes it; of STYLES."""


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending places at least ``gap`` apart, as near to the ascending ``wanted`` ones as can be
    (least squares), from ``low`` to ``high``. Raises ValueError where they cannot all lie there.
    """
    if (len(wanted) - 1) * gap > (high - low) * (1 + 1e-9):
        raise ValueError(f"{len(wanted)} places {gap} apart do not fit between {low} and {high}.")
    # Less the gaps, the places need only ascend: neighbours that do not are pooled at their mean.
    blocks: list[tuple[float, int]] = []
    for index, value in enumerate(wanted):
        mean, count = value - index * gap, 1
        while blocks and blocks[-1][0] > mean:
            earlier, of_earlier = blocks.pop()
            mean = (earlier * of_earlier + mean * count) / (of_earlier + count)
            count += of_earlier
        blocks.append((mean, count))
    highest = max(low, high - (len(wanted) - 1) * gap)
    level = [min(highest, max(low, mean)) for mean, count in blocks for _ in range(count)]
    return [height + index * gap for index, height in enumerate(level)]


def shortened(name: str) -> str:
    """``name`` on one line, what is too much left out of its middle: both ends of a path tell
    layers apart.
    """
    name = plain(name, 200)
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"


def room_of(names: Sequence[str], size: float) -> float:
    """Points that names of that size take beside a field. Within ``style.quiet_style``."""
    widest = max((text_width(shortened(name), size) for name in names), default=0.0)
    return TIE + SAMPLE + PAD + widest * 72 / DPI + 2


def most_names(height: float, size: float) -> int:
    """How many names of that size stand above each other in ``height`` points."""
    return 1 + int(height / (GAP * size))


def write_ends(axes: Axes, ends: Sequence[End], size: float) -> None:
    """Writes each name beside the field at its line's end, no more than ``most_names``. Lines that
    end alike keep the order that they have before, and equal ones theirs, from above.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    width, height = 72 * figure.get_size_inches() * axes.get_position().size
    (first, last), (low, high) = axes.get_xlim(), axes.get_ylim()

    def order(end: End) -> tuple[float, float]:
        values = [value for _, value in end.points]
        return round((values[-1] - low) / (high - low), 2), sum(values) / len(values)

    ordered = sorted(reversed(ends), key=order)
    lasts = [(end.points[-1][1] - low) / (high - low) for end in ordered]
    levels = spread(np.maximum.accumulate(lasts).tolist(), GAP * size / height, 0.0, 1.0)
    tied, shown, named = 1 + np.cumsum((TIE, SAMPLE, PAD)) / width
    whole: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for end, value, level in zip(ordered, lasts, levels, strict=True):
        begin = (end.points[-1][0] - first) / (last - first)
        axes.plot((begin, tied), (value, level), color=QUIET, lw=0.6, alpha=0.7, **whole)
        axes.plot(
            (tied, shown), (level, level), color=end.colour, lw=end.width, ls=end.style, **whole
        )
        axes.text(
            named, level, shortened(end.name), va="center_baseline", color=INK, size=size, **whole
        )
