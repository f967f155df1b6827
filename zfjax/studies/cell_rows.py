"""The main table of a grid's page: a row a cell. No JAX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from zfjax.fields import text_of
from zfjax.report.kit.dots import Dot, Scale, dot_axis, dot_cell, dot_key, scale_of
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import plain
from zfjax.studies.cells import BASE
from zfjax.studies.claims import fate_words, level_words
from zfjax.studies.costs import MARK, MARKED
from zfjax.studies.findings import label_markup
from zfjax.studies.grid_view import CellView, GridView, Spread, spread_of
from zfjax.studies.portraits import Portrait, pixel_edge, portrait_of
from zfjax.studies.standings import DIVERGED, FAILED, FINISHED
from zfjax.studies.tradeoff import megaflop_words

INTERVALS = ("other seeds and images", "other seeds", "other images")
"""The headline first."""


def cell_table(view: GridView, stops: Sequence[float]) -> Piece:
    """All cells; ``stops``: the slider's epochs, () where the page has none."""
    edge = pixel_edge([cell.filters for cell in view.cells if cell.filters is not None])
    portraits = [_portrait(cell, stops, edge) for cell in view.cells]
    dots = [dot for cell in view.cells for dot in _dots(cell)]
    scale = replace(scale_of(dots, signed=True), places=2)
    several = any(cell.comparison and cell.comparison.both for cell in view.cells)
    series = _series(view) if several else ()
    axis = Piece(
        Markup("difference to the base, points{}{}").format(dot_key(series), dot_axis(scale))
    )
    first = view.cells[0].layers[0]
    columns = [Column("configuration")]
    if any(portraits):
        alike = all(cell.layers[0] == first for cell in view.cells)
        columns += [
            Column(f"filters of {first if alike else 'the first layer'}"),
            Column("their spectrum"),
        ]
    columns += [Column("mean (seeds)"), Column(axis, dots=True)]
    columns += [Column("cost; feature maps")]
    rows = [
        Row(
            _head(cell, first),
            [
                *(_pictures(portrait) if any(portraits) else ()),
                _top1(cell),
                _difference(cell, scale, series),
                _lines([*_cost(cell), *_features(cell)]),
            ],
            mark=cell.name == BASE,
        )
        for cell, portrait in zip(view.cells, portraits, strict=True)
    ]
    table = data_table(columns, rows)
    # Where the table's head has no room its key stands above the rows, and each has its own axis.
    key = Markup('<div class="narrow">difference to the base, points{}</div>').format(
        dot_key(series)
    )
    html = Markup('<div class="grid">{}{}</div>').format(key, table.html)
    return join_pieces([table], html)


def changed_words(cell: CellView) -> str:
    """What is otherwise than in the base: "conv1.kernel 9; without conv3, conv4"."""
    said = [
        f"{path.removeprefix('model.')} {_value_words(path, value)}"
        for path, value in cell.cell.fields
    ]
    if cell.cell.without:
        said.append(f"without {', '.join(cell.cell.without)}")
    return "; ".join(said)


def _value_words(path: str, value: Any) -> str:
    """A padding of "3x4" as "3 before, 4 after": it is no height by width."""
    before, sides, after = text_of(value).partition("x")
    if path.endswith(".padding") and sides:
        return f"{before} before, {after} after"
    return text_of(value)


def _portrait(cell: CellView, stops: Sequence[float], edge: float) -> Portrait | None:
    if cell.filters is None or not stops:
        return None
    stride = cell.cell.config.model.conv(cell.layers[0]).stride
    return portrait_of(cell.filters, stride, stops, (cell.number, cell.label), edge)


def _pictures(portrait: Portrait | None) -> tuple[Piece | str, Piece | str]:
    return ("–", "–") if portrait is None else (portrait.filters, portrait.spectrum)


def _head(cell: CellView, first: str) -> Piece:
    """``first``: the base's first layer, which a cell may lack."""
    notes = [Markup("<small>{}</small>").format(plain(changed_words(cell), 200))]
    if cell.name == BASE:
        also = ", ".join(cell.cell.also)
        said = f"what all others are compared with{f'; also {also}' if also else ''}"
        notes = [Markup("<small>{}</small>").format(plain(said, 300))]
    if cell.layers[0] != first:
        notes.append(Markup("<small>first layer: {}</small>").format(cell.layers[0]))
    if cell.row["tuned"] is not None:
        notes.append(Markup("<small>tuned: {}</small>").format(plain(str(cell.row["tuned"]))))
    if fate := fate_words(cell.runs, reasoned=False):
        kind = "fate" if cell.runs.count(DIVERGED) or cell.runs.count(FAILED) else ""
        notes.append(Markup('<small class="{}">{}</small>').format(kind, fate))
    return Piece(Markup("{} {}{}").format(cell.number, label_markup(cell), Markup("").join(notes)))


def _top1(cell: CellView) -> Piece | str:
    spread = spread_of(cell.accuracies)
    if spread is None:
        return "–"
    lines = [f"top-1 {spread.mean:.1f}\u2009%"]
    seeds = f"{spread.count} seed{'s' * (spread.count != 1)}"
    several = spread.count > 1
    lines.append(f"{seeds}: {spread.low:.1f} to {spread.high:.1f}" if several else seeds)
    trained = [item.train_top1 for item in cell.runs.finished.values()]
    if known := spread_of(trained):
        lines.append(f"training {100 * known.mean:.1f}\u2009%")
    return _lines(lines)


def _series(view: GridView) -> tuple[str, ...]:
    both = next(
        cell.comparison.both for cell in view.cells if cell.comparison and cell.comparison.both
    )
    return (f"{INTERVALS[0]}, {level_words(both)}", *(f"{name}, 95%" for name in INTERVALS[1:]))


def _dots(cell: CellView) -> tuple[Dot, ...]:
    """Of a compared cell: the headline, then the two others; of one seed, the images' alone."""
    comparison = cell.comparison
    if comparison is None:
        return ()
    intervals = (comparison.both, comparison.these_images, comparison.these_networks)
    rings = tuple(100 * value for value in comparison.by_seed)
    return tuple(
        Dot(
            *(100 * comparison.difference, 100 * float(interval.low), 100 * float(interval.high)),
            rings=rings if interval is comparison.these_images else (),
        )
        for interval in intervals
        if interval is not None
    )


def _difference(cell: CellView, scale: Scale, series: Sequence[str]) -> Piece:
    if dots := _dots(cell):
        names = series if len(series) == len(dots) else INTERVALS[-len(dots) :]
        drawn = dot_cell(scale, dots, names)
        own = Markup('<div class="own">{}</div>{}').format(dot_axis(scale), drawn.html)
        drawn = join_pieces([drawn], own)
        if len(dots) > 1:
            return drawn
        note = Markup("{}<small>one seed: {} alone, 95%</small>").format(drawn.html, INTERVALS[2])
        return join_pieces([drawn], note)
    if cell.name == BASE:
        return Piece(Markup("<small>the base</small>"))
    if cell.runs.count(DIVERGED):
        return dot_cell(scale, [Dot(None, why="diverged")])
    if cell.runs.count(FINISHED):
        return dot_cell(scale, [Dot(None, why="no seed shared with the base")])
    return dot_cell(scale, [Dot(None, why="no finished run")])


def _cost(cell: CellView) -> list[str]:
    share = float(cell.row["flops_of_base"])
    mark = f" {MARK}" if abs(share - 1) > MARKED else ""
    return [
        f"{cell.cell.config.model.parameter_count:,} parameters",
        f"{megaflop_words(cell.megaflops)} MFLOPs, {share:.2f} × base{mark}",
    ]


def _features(cell: CellView) -> list[str]:
    first = cell.layers[0]
    settled = [layer for layer in (first, cell.layers[-1]) if cell.spread(layer, "settled")]
    lines = [
        _known(f"{first} dead maps", cell.spread(first, "dead_share")),
        _known(f"{first} aliased energy", cell.spread(first, "aliasing")),
        *(
            _known(f"{layer} settles", cell.spread(layer, "settled"), share=False)
            for layer in dict.fromkeys(settled)
        ),
    ]
    return [line for line in lines if line]


def _known(words: str, spread: Spread | None, share: bool = True) -> str:
    if spread is None:
        return ""
    return (
        f"{words} {100 * spread.mean:.1f}\u2009%" if share else f"{words}: {spread.mean:.1f} epochs"
    )


def _lines(lines: Sequence[str]) -> Piece:
    spans = Markup("").join(Markup("<span>{}</span>").format(line) for line in lines)
    return Piece(Markup('<div class="lines">{}</div>').format(spans))
