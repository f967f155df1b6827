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
from zfjax.studies.claims import shown_name
from zfjax.studies.grid_view import CellView, GridView, Spread


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
        "Dead maps of {}, %",
        "The share of its maps that no image of the probe excites.",
        100,
    ),
    Feature(
        "aliased_share",
        "Aliased maps of {}, %",
        "The share of its maps that are aliased: half or more of the energy that they pass of"
        " natural images comes out of the stride as a lower frequency.",
        100,
    ),
    Feature(
        "aliasing",
        "Aliased energy of {}, %",
        "Of the energy that all its maps together pass, the share that comes out as a lower"
        " frequency: no map is counted.",
        100,
    ),
    Feature(
        "coverage",
        "Coverage of {}, %",
        "How evenly the filters together fill four octaves of frequency by eight directions; 100:"
        " all alike. Noise fills them too: look at the filters.",
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
        "{} settles at epoch",
        "No date but an area, in epochs: that above the curve of likeness, 0 to 1, of how its maps"
        " rank the probe's images to how they do at the last epoch. A layer made at one stroke in"
        " epoch 4 has 4; smaller is earlier.",
        places=2,
    ),
)
BY_LAYER = (("dead_share", "Dead maps, %"), ("settled", "Settles at epoch"))


def first_layer_charts(view: GridView) -> Piece:
    """Dots of the first layer's numbers, a chart each, with the base's as a line."""
    layer = view.cells[0].layers[0]
    charts = [piece for feature in FEATURES if (piece := _chart(view, feature, layer)) is not None]
    inner = Markup("").join(Markup("<div>{}</div>").format(piece.html) for piece in charts)
    return join_pieces(charts, Markup('<div class="pairs">{}</div>').format(inner))


def layer_tables(view: GridView) -> list[Piece]:
    """Numbers of every layer, a row a cell."""
    layers = tuple(dict.fromkeys(layer for cell in view.cells for layer in cell.layers))
    tables = []
    for quantity, caption in BY_LAYER:
        factor = 100 if quantity == "dead_share" else 1
        spreads = {
            cell.name: [cell.spread(layer, quantity) for layer in layers] for cell in view.cells
        }
        if not any(spread for row in spreads.values() for spread in row):
            continue
        rows = [
            Row(
                shown_name(cell.name),
                [
                    "–" if layer not in cell.layers else _range(spread, factor)
                    for layer, spread in zip(layers, spreads[cell.name], strict=True)
                ],
                mark=cell.name == BASE,
            )
            for cell in view.cells
            if any(spreads[cell.name])
        ]
        words = f"{caption}: mean of the seeds (lowest to highest)"
        tables.append(data_table([Column("cell"), *map(Column, layers)], rows, words))
    return tables


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
    dots = [_dot(cell, spread, feature) for cell, spread in rows]
    base = dots[0].value
    scale = _scale(dots, base, feature)
    chart = dot_chart(
        [
            DotRow(f"{cell.number} {shown_name(cell.name)}", [dot], cell.name == BASE)
            for (cell, _), dot in zip(rows, dots, strict=True)
        ],
        scale,
    )
    html = Markup('<h3>{}</h3><p class="why">{}</p>{}').format(
        feature.title.format(layer), feature.why, chart.html
    )
    return join_pieces([chart], html)


def _scale(dots: Sequence[Dot], base: float | None, feature: Feature) -> Scale:
    scale = scale_of([*dots, Dot(0.0)], base)
    # All of them zero: a scale around zero would show shares below nothing.
    return replace(scale if scale.low >= 0 else Scale(0.0, 1.0, base), places=feature.places)


def _dot(cell: CellView, spread: Spread | None, feature: Feature) -> Dot:
    if spread is None:
        return Dot(None, why="not measured" if cell.measured else "no finished run")
    values = (feature.factor * value for value in (spread.mean, spread.low, spread.high))
    mean, low, high = values
    return Dot(mean, low, high, bar="range of the seeds") if spread.count > 1 else Dot(mean)


def _range(spread: Spread | None, factor: float) -> str | None:
    if spread is None:
        return None
    mean, low, high = (f"{factor * value:.1f}" for value in (spread.mean, spread.low, spread.high))
    return mean if spread.low == spread.high else f"{mean} ({low} to {high})"
