"""What each cell did to the features: the measures of its runs, beside those of the base. No JAX.

No verdict is read from them: they were not declared before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from zfjax.report.kit.dots import Dot, DotRow, Scale, dot_chart, scale_of
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.studies.cells import BASE
from zfjax.studies.grid_view import CellView, GridView, Spread
from zfjax.studies.paper_claims import OF_MAPS


@dataclass(frozen=True)
class Feature:
    """One quantity of the measures."""

    quantity: str
    title: str
    """With {} for the layer."""
    why: str
    factor: float = 1.0
    places: int = 1
    """Decimals."""


FEATURES = (
    Feature(
        "dead_share",
        "Dead feature maps of {}, %",
        "The share of its maps that no image of the sample excites.",
        100,
    ),
    Feature(
        "aliased_share",
        "Aliased feature maps of {}, %",
        "The share of its maps of which half or more of the energy is aliased: a threshold on the"
        " number beside, in steps of one map.",
        100,
    ),
    Feature(
        "aliasing",
        "Aliased energy of {}, %",
        "Of the energy that all its maps together would pass of natural images (any, of power about"
        " 1 / frequency²: reckoned from the filters, not from this data set's images), the share"
        " above what the stride can carry, which comes out as a lower frequency.",
        100,
    ),
    Feature(
        "coverage",
        "Coverage of {}, %",
        "How evenly the filters together fill four octaves of frequency by eight directions; 100:"
        " all alike. Noise fills them too: untrained filters are near 100 whatever their size.",
        100,
    ),
    Feature(
        "dominance",
        "Strongest filter of {}, times the median",
        "By the RMS of its weights; 1: all alike.",
        places=2,
    ),
    Feature(
        "settled",
        "{} settles, epochs",
        "The mean epoch at which the layer reaches its final ranking of the sample's images; lower"
        " is earlier.",
        places=2,
    ),
)
BY_LAYER = (("dead_share", "Dead feature maps, %"), ("settled", "Settles, epochs"))
BANDS = (("low", "below 0.08"), ("mid", "0.08 to 0.2"), ("high", "above 0.2"))


def first_layer_charts(view: GridView) -> Piece:
    """Dots of the first layer's numbers, a chart each, with the base's as a line; a sentence in the
    place of one that is zero throughout.
    """
    layer = view.cells[0].layers[0]
    charts = [piece for feature in FEATURES if (piece := _chart(view, feature, layer)) is not None]
    inner = Markup("").join(Markup("<div>{}</div>").format(piece.html) for piece in charts)
    return join_pieces(charts, Markup('<div class="pairs">{}</div>').format(inner))


def none_words(view: GridView) -> str:
    """Which features no cell has any of, in a sentence; "" where there is none such."""
    layer = view.cells[0].layers[0]
    titles = [
        feature.title.format(layer).removesuffix(", %")
        for feature in FEATURES
        if feature.quantity in OF_MAPS and _all_zero(view, feature, layer)
    ]
    if not titles:
        return ""
    return f"{' and '.join(titles)}: none, in any configuration, at any seed."


def layer_tables(view: GridView) -> list[Piece]:
    """Numbers of every layer, a row a cell, and how the first layer's energy lies in frequency."""
    layers = tuple(dict.fromkeys(layer for cell in view.cells for layer in cell.layers))
    tables = []
    for quantity, caption in BY_LAYER:
        factor = 100 if quantity == "dead_share" else 1
        spreads = {
            cell.name: [cell.spread(layer, quantity) for layer in layers] for cell in view.cells
        }
        known = [spread for row in spreads.values() for spread in row if spread]
        if not known:
            continue
        if quantity == "dead_share" and not any(spread.high for spread in known):
            words = "No feature map of any layer is dead in any of these runs."
            tables.append(Piece(Markup('<p class="note">{}</p>').format(words)))
            continue
        rows = [
            Row(
                cell.label,
                [
                    _within("–" if layer not in cell.layers else _range(spread, factor), layer)
                    for layer, spread in zip(layers, spreads[cell.name], strict=True)
                ],
                mark=cell.name == BASE,
            )
            for cell in view.cells
            if any(spreads[cell.name])
        ]
        words = f"{caption}: mean of the seeds (lowest to highest)"
        tables.append(_layered([Column("configuration"), *map(Column, layers)], rows, words))
    return [*tables, *_band_table(view)]


def _band_table(view: GridView) -> list[Piece]:
    """Where in frequency the energy of the first layer's filters lies, before and after training:
    the paper's point are the middle ones. [] where it was not measured.
    """
    layer = view.cells[0].layers[0]
    rows = []
    for cell in view.cells:
        spreads = [cell.spread(layer, band) for band, _ in BANDS]
        before = [cell.untrained_mean(layer, band) for band, _ in BANDS]
        if all(spreads):
            pairs = zip(spreads, before, strict=True)
            texts = [_range(spread, 100, start) for spread, start in pairs]
            named = zip(texts, BANDS, strict=True)
            bands = [_within(text, f"{name}, {words}") for text, (name, words) in named]
            rows.append(Row(cell.label, bands, mark=cell.name == BASE))
    if not rows:
        return []
    heads = [Column(f"{name}, {words} cycles a pixel") for name, words in BANDS]
    words = (
        f"Energy of {layer}'s filters by frequency, %: mean of the seeds (lowest to highest; before"
        " training)"
    )
    return [_layered([Column("configuration"), *heads], rows, words)]


def _layered(columns: Sequence[Column], rows: Sequence[Row], caption: str) -> Piece:
    """A table whose rows become lists where the window is narrow."""
    table = data_table(columns, rows, caption)
    return join_pieces([table], Markup('<div class="layered">{}</div>').format(table.html))


def _within(text: str | None, what: str) -> Piece | None:
    """A cell of it, with the column's name for where no column is seen."""
    if text is None:
        return None
    return Piece(Markup('<span class="what">{}</span>{}').format(what, text))


def missing_note(view: GridView) -> str:
    """How measures that finished runs lack are to be had; "" where none lacks any."""
    lacking = [
        cell.name
        for cell in view.cells
        for values in cell.measured.values()
        if values.get(f"{cell.layers[0]}.dead_share") is None
        or values.get(f"{cell.layers[0]}.coverage") is None
    ]
    unsettled = not any(
        cell.spread(layer, "settled") for cell in view.cells for layer in cell.layers
    )
    said = []
    if lacking:
        names = ", ".join(dict.fromkeys(lacking))
        said.append(
            f"Not measured in all runs: {names}. `zfjax ablate --workdir DIR` without --no-measures"
            " measures what is missing."
        )
    elif unsettled and any(cell.measured for cell in view.cells):
        said.append("Settling needs three saved epochs or more (--epochs, --keep all).")
    return " ".join(said)


def _chart(view: GridView, feature: Feature, layer: str) -> Piece | None:
    rows: list[tuple[CellView, Spread | None]] = [
        (cell, cell.spread(layer, feature.quantity)) for cell in view.cells
    ]
    if not any(spread for _, spread in rows):
        return None
    if feature.quantity in OF_MAPS and _all_zero(view, feature, layer):
        return None
    dots = [_dot(cell, spread, feature, layer) for cell, spread in rows]
    base = dots[0].value
    scale = _scale(dots, base, feature)
    chart = dot_chart(
        [
            DotRow(f"{cell.number} {cell.label}", [dot], cell.name == BASE)
            for (cell, _), dot in zip(rows, dots, strict=True)
        ],
        scale,
    )
    html = Markup('<h3>{}</h3><p class="why">{}</p>{}').format(
        feature.title.format(layer), feature.why, chart.html
    )
    return join_pieces([chart], html)


def _all_zero(view: GridView, feature: Feature, layer: str) -> bool:
    """Whether it was measured and is zero in every run, before training too."""
    spreads = [cell.spread(layer, feature.quantity) for cell in view.cells]
    before = [cell.untrained_mean(layer, feature.quantity) for cell in view.cells]
    known = [spread for spread in spreads if spread]
    return bool(known) and not any(spread.high for spread in known) and not any(before)


def _scale(dots: Sequence[Dot], base: float | None, feature: Feature) -> Scale:
    scale = scale_of([*dots, Dot(0.0)], base)
    # All of them zero: a scale around zero would show shares below nothing.
    return replace(scale if scale.low >= 0 else Scale(0.0, 1.0, base), places=feature.places)


def _dot(cell: CellView, spread: Spread | None, feature: Feature, layer: str) -> Dot:
    if spread is None:
        return Dot(None, why="not measured" if cell.measured else "no finished run")
    mean, low, high = (feature.factor * value for value in (spread.mean, spread.low, spread.high))
    before = cell.untrained_mean(layer, feature.quantity)
    dot = Dot(mean, before=None if before is None else feature.factor * before)
    if spread.count == 1:
        return dot
    rings = tuple(feature.factor * value for value in spread.values)
    return replace(dot, low=low, high=high, bar="range of the seeds", rings=rings)


def _range(spread: Spread | None, factor: float, before: float | None = None) -> str | None:
    """ "91.0 (90.1 to 92.4)", with what it was ``before`` training where that is known."""
    if spread is None:
        return None
    mean, low, high = (f"{factor * value:.1f}" for value in (spread.mean, spread.low, spread.high))
    inside = [] if spread.low == spread.high else [f"{low} to {high}"]
    inside += [] if before is None else [f"before: {factor * before:.1f}"]
    return f"{mean} ({'; '.join(inside)})" if inside else mean
