"""Comparisons that a grid did not declare: every other pair of cells and, of the ready grid of
stems, what size and stride do apart and together. No verdict is read from them. No JAX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from markupsafe import Markup

from zfjax.report.kit.dots import Dot, DotRow, dot_chart, scale_of
from zfjax.report.kit.shell import Piece, join_pieces, section
from zfjax.studies.claims import df_words, interval_words, level_words, points
from zfjax.studies.contrasts import Hits, Term, contrast
from zfjax.studies.grid_view import CellView, GridView
from zfjax.studies.intervals import Comparison
from zfjax.studies.paper_claims import ready_cells

MOST_CELLS = 6
"""Of a grid whose other pairs are shown: ten pairs."""
STEMS = tuple((kernel, stride) for kernel in (7, 11) for stride in (2, 4))
INTERACTION = "interaction"
EFFECTS: Mapping[str, tuple[float, ...]] = {
    "7x7 minus 11x11, mean of both strides": (0.5, 0.5, -0.5, -0.5),
    "stride 2 minus stride 4 (next layer's stride and paddings too), mean of both sizes": (
        0.5,
        -0.5,
        0.5,
        -0.5,
    ),
    f"{INTERACTION}: what stride 2 brings 7x7, minus what it brings 11x11": (1, -1, -1, 1),
}
"""Weights of STEMS in their order."""


def other_pairs_section(view: GridView) -> list[Piece]:
    """The section, of a grid of three to MOST_CELLS cells whose runs are there; else []."""
    if not 3 <= len(view.cells) <= MOST_CELLS:
        return []
    hits = Hits(view.plan)
    rows = [*_effects(view, hits), *_pairs(view, hits)]
    if not rows:
        return []
    level = level_words(rows[0][1].both)
    chart = dot_chart(
        [
            DotRow(f"{words} ({df_words(comparison.both)})", [_dot(comparison)])
            for words, comparison in rows
        ],
        replace(scale_of([_dot(comparison) for _, comparison in rows], signed=True), places=2),
        heads=("", f"points of top-1, {level} intervals over other seeds and images"),
    )
    note = Markup('<p class="note">{}</p>').format(
        "Not declared, no verdict: each interval is at 95% by itself, and of so many one in twenty"
        " leaves its true difference out. Discs are means over the seeds, rings single seeds. The"
        " intervals are made as those above."
    )
    chart = join_pieces([chart], Markup('<div class="others">{}</div>').format(chart.html))
    return [section("Other pairs", chart, note)]


def effect_words(view: GridView) -> str:
    """The effects of size and of stride whose intervals leave zero out, for the first section, and
    their interaction where its own does: then neither mean is true of one stride or size. "" where
    there is none.
    """
    told = [
        f"{words}: {points(effect.difference)} points of top-1 ({level_words(effect.both)} interval"
        f" {interval_words(effect.both)}, {df_words(effect.both)})"
        for words, effect in stem_effects(view, Hits(view.plan)).items()
        if effect.both is not None and float(effect.both.low) * float(effect.both.high) > 0
    ]
    if not told:
        return ""
    apart = f"Of the factors apart (Other pairs; not declared, no verdict): {'; '.join(told)}."
    if not told[-1].startswith(INTERACTION):
        return apart
    return f"{apart} The effect of each depends on the other: a mean of both is that of neither."


def stem_effects(view: GridView, hits: Hits) -> dict[str, Comparison]:
    """By EFFECTS, of a grid that has all four of STEMS; else {}."""
    ready = ready_cells(view, "stems")
    names = [f"stem-{kernel}-stride-{stride}" for kernel, stride in STEMS]
    if not set(names) <= set(ready):
        return {}
    effects = {
        words: contrast(
            view.plan,
            hits,
            [Term(ready[name].runs, weight) for name, weight in zip(names, weights, strict=True)],
        )
        for words, weights in EFFECTS.items()
    }
    return {words: effect for words, effect in effects.items() if effect is not None}


def _effects(view: GridView, hits: Hits) -> list[tuple[str, Comparison]]:
    return [(words, item) for words, item in stem_effects(view, hits).items() if item.both]


def _pairs(view: GridView, hits: Hits) -> list[tuple[str, Comparison]]:
    pairs: list[tuple[CellView, CellView]] = list(combinations(view.cells[1:], 2))
    rows = []
    for former, latter in pairs:
        terms = (Term(former.runs, 1.0), Term(latter.runs, -1.0))
        comparison = contrast(view.plan, hits, terms)
        if comparison is not None and comparison.both is not None:
            rows.append((f"{former.label} minus {latter.label}", comparison))
    return rows


def _dot(comparison: Comparison) -> Dot:
    assert comparison.both is not None
    low, high = (100 * float(end) for end in (comparison.both.low, comparison.both.high))
    rings = tuple(100 * value for value in comparison.by_seed)
    return Dot(100 * comparison.difference, low, high, rings=rings)
