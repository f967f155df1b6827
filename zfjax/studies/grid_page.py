"""DIR/report/index.html: what a grid of runs shows, on one page that opens anywhere, from saved
files only. No JAX.

It answers which cell is better, by how much, how sure that is, at what cost, and what it did to the
features. It is made of the kit's pieces, which escape all texts from data.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from markupsafe import Markup

from zfjax.files import clear_unfinished, write_atomic
from zfjax.report.curves import Points
from zfjax.report.kit.charts import Chart, Line, page_charts
from zfjax.report.kit.shell import Piece, main_of, make_page, part_text, section
from zfjax.report.kit.slider import curve_slider, interpolate
from zfjax.report.kit.wording import date, percent, plain
from zfjax.report.words import choose
from zfjax.run.naming import network_name
from zfjax.studies.cell_rows import cell_table
from zfjax.studies.claims import reading_notes, shown_name, summary_of
from zfjax.studies.costs import MARK, MARKED
from zfjax.studies.evolutions import (
    MOST_CELLS,
    Evolved,
    cell_choices,
    evolutions_side_by_side,
    layers_of,
)
from zfjax.studies.feature_charts import first_layer_charts, layer_tables, missing_note
from zfjax.studies.grid_view import GridView, view_of
from zfjax.studies.paper_claims import Answer, answers_of, paper_table
from zfjax.studies.results import Results
from zfjax.studies.tradeoff import Spot, tradeoff_chart

STOPS = 12
"""Epochs of the slider, at most."""
MOST_CURVES = 24
"""Cells that have a chart over the epochs of their own."""


def write_grid_page(results: Results) -> Path:
    """Writes the page of a grid; returns its path. Raises ZfjaxError for a damaged file."""
    view = view_of(results)
    page = page_text(view)
    folder = view.plan.folder / "report"
    clear_unfinished(folder, locked=False)
    path = folder / "index.html"
    write_atomic(path, partial(Path.write_text, data=page, encoding="utf-8"))
    return path


def page_text(view: GridView) -> str:
    """The page as HTML."""
    stops, answers = _stops(view), answers_of(view)
    style = Piece(Markup(), style=part_text("css", "grid", folder="parts"))
    pieces = [
        _findings(view),
        section("The cells", cell_table(view, stops), *_table_notes(view, stops)),
        section("Accuracy against cost", tradeoff_chart(_spots(view))),
        *_features(view, answers),
        *_paper(view, answers),
        *_evolutions(view, stops),
        *_curves(view),
        section("How to read the intervals", *reading_notes(view.results), columns=True),
        section("Where this came from", _origin(view)),
    ]
    plan = view.plan
    return make_page(
        f"Ablation of {network_name(plan.base)}",
        [*([_slider(view, stops)] if stops else []), main_of(style, *pieces)],
        facts=_facts(view),
    )


def _facts(view: GridView) -> list[str]:
    plan = view.plan
    images = [item.images for item in view.results.cells[0].finished.values() if item.images]
    return [
        plain(plan.base.data.name),
        _counted(len(plan.cells), "cell"),
        _counted(len(plan.seeds), "seed"),
        _counted(plan.base.epochs, "epoch"),
        *([f"{images[0]:,} validation images"] if images else []),
        *([date(plan.declared[0]["when"])] if plan.declared else []),
    ]


def _stops(view: GridView) -> tuple[float, ...]:
    """The slider's epochs: those of the first cell that has filters or else an evolution, the base
    if it can be; () for none.
    """
    known = [cell.filters for cell in view.cells] + [cell.evolution for cell in view.cells]
    kept = next((item for item in known if item is not None), None)
    if kept is None:
        return ()
    return tuple(kept.epochs[index] for index in choose(kept.epochs, STOPS))


def _slider(view: GridView, stops: tuple[float, ...]) -> Piece:
    """The base's accuracy as track, the others beside it."""
    curves = [cell.mean_curve for cell in view.cells]
    values = [interpolate(curves[0], stop) for stop in stops]
    readings = ["" if value is None else f"base: {percent(value)} right" for value in values]
    return curve_slider(stops, curves, readings, cell_choices(_evolved(view), len(stops)))


def _evolved(view: GridView) -> list[Evolved]:
    return [
        Evolved(cell.number, cell.name, cell.evolution)
        for cell in view.cells
        if cell.evolution is not None
    ]


def _evolutions(view: GridView, stops: tuple[float, ...]) -> list[Piece]:
    """Two cells' maps under the slider; how to have them where they are not there."""
    cells = _evolved(view)
    if stops and len(cells) > 1:
        note = Markup('<p class="note">{}</p>').format(
            "Each map's strongest image at the epoch of the slider: its projection, and below it"
            " the patch of the image. Cells, by their numbers in the table, and layer are chosen"
            " beside the slider. Maps of one number are not the same feature in two cells."
            f"{_left_out(cells, len(stops))}"
        )
        sheets = 2 * (len(view.cells) + 1)
        return [section("Two cells' maps", evolutions_side_by_side(cells, stops, sheets), note)]
    if not any(cell.runs.finished for cell in view.cells):
        return []
    note = Markup('<p class="note">{}</p>').format(
        "Two cells' maps are shown side by side here once two of them have an evolution: `zfjax"
        " evolve --workdir DIR/cells/NAME/seed-N` for each, then the same zfjax ablate."
    )
    return [section("Two cells' maps", note)]


def _left_out(cells: list[Evolved], stop_count: int) -> str:
    """Which cells and layers the two-cell section has no room for; "" where it has all."""
    layers = {layer for cell in cells[:MOST_CELLS] for layer in cell.evolution.layers}
    shown = layers_of(cells, stop_count)
    said = [
        *([f"the first {MOST_CELLS} of {len(cells)} cells"] if len(cells) > MOST_CELLS else []),
        *([f"{len(shown)} of {len(layers)} layers"] if len(shown) < len(layers) else []),
    ]
    return f" Shown are {' and '.join(said)}: a page is to open at once." if said else ""


def _findings(view: GridView) -> Piece:
    claims = [cell.claim for cell in view.cells if cell.claim is not None]
    items = Markup("").join(
        Markup("<li><b>{}</b>: <em>{}</em>. {}</li>").format(
            plain(claim.cell, 80), claim.verdict, claim.words
        )
        for claim in claims
    )
    listed = Markup('<ul class="claims">{}</ul>').format(items) if claims else Markup("")
    lead = Markup('<p class="lead">{}</p>').format(summary_of(claims))
    return section("What was found", lead, listed)


def _table_notes(view: GridView, stops: tuple[float, ...]) -> list[Markup]:
    notes = []
    if stops and any(cell.filters for cell in view.cells):
        notes.append(
            "Filters and spectra are of each cell's first seed and follow the slider; all its"
            " filters share one scale, which stands below them. A spectrum has frequency 0 in its"
            " middle and half a cycle a pixel at its edges, 20 dB from light to dark, the mean over"
            " all filters; what lies outside the blue frame is above what the stride can carry, and"
            " comes out as a lower frequency."
        )
    if any(abs(float(cell.row["flops_of_base"]) - 1) > MARKED for cell in view.cells):
        notes.append(
            f"{MARK} More than {100 * MARKED:.0f}% off the base's FLOPs: such a cell differs in"
            " size too, and its accuracy is not that of the change alone."
        )
    if missing := missing_note(view):
        notes.append(missing)
    return [Markup('<p class="note">{}</p>').format(note) for note in notes]


def _spots(view: GridView) -> list[Spot]:
    return [Spot(cell.number, cell.name, cell.megaflops, cell.accuracies) for cell in view.cells]


def _features(view: GridView, answers: tuple[Answer, ...]) -> list[Piece]:
    charts, tables = first_layer_charts(view), layer_tables(view)
    if not any(cell.spread(layer, "dead_share") for cell in view.cells for layer in cell.layers):
        return []
    note = Markup('<p class="note">{}</p>').format(
        "At the last epoch, on images of the training split; dots are means over the seeds, bars"
        " reach from the lowest to the highest, the line is the base. These were not declared"
        " before training: no verdict is read from them"
        f"{', but for the claims of the paper below' if answers else ''}."
    )
    return [section("What it did to the features", charts, note, *tables)]


def _paper(view: GridView, answers: tuple[Answer, ...]) -> list[Piece]:
    """The paper's claims on networks of this grid; nothing where it has none of them."""
    return [section("The paper's claims", *paper_table(view, answers))] if answers else []


def _curves(view: GridView) -> list[Piece]:
    """Validation accuracy over the epochs, a chart a cell, the base beside it."""
    base = _per_cent(view.cells[0].mean_curve)
    highest = [value for cell in view.cells for _, value in _per_cent(cell.mean_curve)]
    charts = [
        Chart(
            f"{cell.number} {shown_name(cell.name)}",
            (Line("base", "ink", base, dashed=True), Line("cell", "main", own)),
            _round_up(max(highest)),
        )
        for cell in view.cells[1:]
        if (own := _per_cent(cell.mean_curve))
    ]
    if not charts:
        return []
    return [section("Top-1 over the epochs, %", page_charts(charts[:MOST_CURVES], "curve"))]


def _per_cent(points: Points) -> Points:
    return tuple((epoch, 100 * value) for epoch, value in points)


def _round_up(value: float) -> float:
    return next((float(top) for top in (5, 10, 20, 40, 60, 80) if value <= top), 100.0)


def _origin(view: GridView) -> Piece:
    plan = view.plan
    latest = plan.declared[-1] if plan.declared else {}
    versions = latest.get("versions") or {}
    tuning = plan.tuning
    tuned = "nothing"
    if tuning is not None:
        among = ", ".join(tuning.values)
        tuned = f"{tuning.path} among {among}, for each cell, on seed {tuning.seed}"
    facts = {
        "Base": network_name(plan.base),
        "Recipe": f"{plan.base.recipe}, batches of {plan.base.batch_size}",
        "Data set": f"{plan.base.data.name}, validated on {plan.base.data.validation_split}",
        "Seeds": ", ".join(map(str, plan.seeds)),
        "Tuned": tuned,
        "Declared": "; ".join(
            f"{date(item['when'])}: {_counted(item['comparisons'], 'comparison')},"
            f" {_counted(len(item['seeds']), 'seed')}"
            for item in plan.declared
        ),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Commit": str(latest.get("git_commit") or ""),
    }
    lines = Markup("\n").join(
        Markup("<dt>{}</dt><dd>{}</dd>").format(what, plain(value, 600))
        for what, value in facts.items()
        if value
    )
    files = Markup(", ").join(
        Markup('<a href="../{0}">{0}</a>').format(name)
        for name in ("table.csv", "table.tex", "cells.parquet", "correct.npz", "ablation.json")
    )
    return Piece(
        Markup(
            '<dl class="facts">{}</dl><p class="note">Beside this page: {}. Each cell\'s runs are'
            " run folders below cells/.</p>"
        ).format(lines, files)
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
