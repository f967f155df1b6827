"""DIR/report/index.html: what a grid of runs shows, on one page that opens anywhere, from saved
files only. No JAX.

It answers which cell is better, by how much, how sure that is, at what cost, and what it did to the
features. It is made of the kit's pieces, which escape all texts from data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from markupsafe import Markup

from zfjax.files import clear_unfinished, write_atomic
from zfjax.report.curves import Points
from zfjax.report.kit.charts import Chart, Line, page_charts
from zfjax.report.kit.shell import Piece, main_of, make_page, part_text, section
from zfjax.report.kit.slider import curve_slider, interpolate
from zfjax.report.kit.wording import date, plain
from zfjax.report.words import choose
from zfjax.run.grid_folders import PLAN
from zfjax.run.naming import network_name
from zfjax.studies.cell_labels import title_of
from zfjax.studies.cell_rows import cell_table
from zfjax.studies.claims import reading_notes
from zfjax.studies.evolutions import (
    MOST_CELLS,
    Evolved,
    cell_choices,
    evolutions_side_by_side,
    layers_of,
)
from zfjax.studies.feature_charts import first_layer_charts, layer_tables, none_words
from zfjax.studies.findings import findings_section
from zfjax.studies.grid_notes import feature_note, feature_summary, table_notes
from zfjax.studies.grid_view import GridView, view_of
from zfjax.studies.other_pairs import other_pairs_section
from zfjax.studies.paper_claim_rows import paper_table
from zfjax.studies.paper_claims import Answer, answers_of
from zfjax.studies.portraits import SCALES
from zfjax.studies.results import Results
from zfjax.studies.tradeoff import Spot, tradeoff_chart
from zfjax.studies.verdict_marks import with_commands

STOPS = 12
"""Epochs of the slider, at most."""
MOST_CURVES = 24
"""Cells that have a chart over the epochs of their own."""
RECIPES = {
    "faithful": "as the paper: inputs of about −128 to 128, first weights N(0, 0.01)",
    "modern": "inputs of unit scale, first weights after He",
}
"""What a recipe is, for who has not read the config's documentation."""


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
    features = _features(view)
    reading = [*reading_notes(view.results), *([feature_note(answers)] if features else [])]
    style = Piece(Markup(), style=part_text("css", "grid", folder="parts"))
    pieces = [
        findings_section(view),
        section("The configurations", cell_table(view, stops), *table_notes(view, stops)),
        section("Accuracy against cost", tradeoff_chart(_spots(view))),
        *features,
        *_paper(view, answers),
        *other_pairs_section(view),
        *_evolutions(view, stops),
        *_curves(view),
        section("How to read the intervals", *reading, columns=True),
        section("Where this came from", _origin(view)),
    ]
    plan = view.plan
    return make_page(
        title_of(plan),
        [*([_slider(view, stops)] if stops else []), main_of(style, *pieces)],
        facts=_facts(view),
    )


def _facts(view: GridView) -> list[str]:
    plan = view.plan
    images = [item.images for item in view.results.cells[0].finished.values() if item.images]
    return [
        plain(plan.base.data.name),
        _counted(len(plan.cells), "configuration"),
        _counted(len(plan.seeds), "seed"),
        _epoch_words([cell.config.epochs for cell in plan.cells]),
        *([f"{images[0]:,} validation images"] if images else []),
        *([date(plan.declared[0]["when"])] if plan.declared else []),
    ]


def _epoch_words(counts: Sequence[int]) -> str:
    """ "10 epochs", or "5 to 20 epochs" where configurations differ in them."""
    low, high = min(counts), max(counts)
    return _counted(high, "epoch") if low == high else f"{low} to {_counted(high, 'epoch')}"


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
    readings = [
        "" if value is None else f"base: top-1 {100 * value:.1f}\u2009%" for value in values
    ]
    drawn = [SCALES] if any(cell.filters for cell in view.cells) else []
    choices = (*drawn, *cell_choices(_evolved(view), len(stops)))
    return curve_slider(stops, curves, readings, choices)


def _evolved(view: GridView) -> list[Evolved]:
    return [
        Evolved(cell.number, cell.label, cell.evolution)
        for cell in view.cells
        if cell.evolution is not None
    ]


def _evolutions(view: GridView, stops: tuple[float, ...]) -> list[Piece]:
    """Two cells' maps under the slider, of a grid that has two evolutions or more."""
    cells = _evolved(view)
    if stops and len(cells) > 1:
        note = Markup('<p class="note">{}</p>').format(
            "Each map's strongest image at the epoch of the slider: its projection, and below it"
            " the patch of the image. Configurations, by their numbers in the table, and layer are"
            " chosen beside the slider. Maps of one number are not the same feature in two of them."
            f"{_left_out(cells, len(stops))}"
        )
        sheets = 3 * (len(view.cells) + 1)
        return [
            section(
                "Feature maps of two configurations",
                evolutions_side_by_side(cells, stops, sheets),
                note,
            )
        ]
    return []


def _left_out(cells: list[Evolved], stop_count: int) -> str:
    """Which cells and layers the two-cell section has no room for; "" where it has all."""
    layers = {layer for cell in cells[:MOST_CELLS] for layer in cell.evolution.layers}
    shown = layers_of(cells, stop_count)
    said = [
        *(
            [f"the first {MOST_CELLS} of {len(cells)} configurations"]
            if len(cells) > MOST_CELLS
            else []
        ),
        *([f"{len(shown)} of {len(layers)} layers"] if len(shown) < len(layers) else []),
    ]
    return f" Shown are {' and '.join(said)}: a page is to open at once." if said else ""


def _spots(view: GridView) -> list[Spot]:
    return [Spot(cell.number, cell.label, cell.megaflops, cell.accuracies) for cell in view.cells]


def _features(view: GridView) -> list[Piece]:
    charts, tables = first_layer_charts(view), layer_tables(view)
    if not any(cell.spread(layer, "dead_share") for cell in view.cells for layer in cell.layers):
        return []
    marks = "Discs: means; rings: single seeds; hollow ticks: before training; line: the base."
    none = f"{marks} {none_words(view)}".strip()
    note = Markup('<p class="note">{}</p>').format(none)
    return [section("What it did to the features", feature_summary(view), note, charts, *tables)]


def _paper(view: GridView, answers: tuple[Answer, ...]) -> list[Piece]:
    """The paper's claims on networks of this grid; nothing where it has none of them."""
    return [section("The paper's claims", *paper_table(view, answers))] if answers else []


def _curves(view: GridView) -> list[Piece]:
    """Validation accuracy over the epochs, a chart a cell, the base beside it."""
    base = _per_cent(view.cells[0].mean_curve)
    highest = [value for cell in view.cells for _, value in _per_cent(cell.mean_curve)]
    charts = [
        Chart(
            f"{cell.number} {cell.label}",
            (
                *(Line("", "quiet", _per_cent(cell.curves[seed])) for seed in cell.finished_curves),
                Line("base", "ink", base, dashed=True),
                Line("mean", "main", own),
            ),
            _round_up(max(highest)),
        )
        for cell in view.cells[1:]
        if (own := _per_cent(cell.mean_curve))
    ]
    if not charts:
        return []
    note = Markup('<p class="note">{}</p>').format(
        "Across: epochs. Thick lines are means over the seeds, thin grey ones single seeds."
    )
    drawn = page_charts(charts[:MOST_CURVES], "curve")
    return [section("Top-1 on the validation split over the epochs, %", drawn, note)]


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
        "Recipe": f"{plan.base.recipe} ({RECIPES[plan.base.recipe]}),"
        f" batches of {plan.base.batch_size}",
        "Data set": _data_words(view),
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
        for name in ("table.csv", "table.tex", "cells.parquet", "correct.npz", PLAN)
    )
    return Piece(
        Markup(
            '<dl class="facts">{}</dl><p class="note">Beside this page: {}. Each run is a folder'
            " below cells/, by the configuration's name and its seed.{}</p>"
        ).format(lines, files, with_commands(_more_words(view)))
    )


def _more_words(view: GridView) -> str:
    """How two cells' maps come onto the page, where they are not there yet."""
    if len(view.cells) < 2 or len(_evolved(view)) > 1:
        return ""
    return (
        " Two configurations' feature maps, epoch by epoch, stand here too once a run of each has"
        " an evolution: `zfjax evolve --workdir DIR/cells/NAME/seed-N`, then `zfjax ablate"
        " --workdir DIR`."
    )


def _data_words(view: GridView) -> str:
    """The data set: its classes and images, as far as the base's run has said."""
    data, run = view.plan.base.data, view.base_run
    said = [data.name]
    if run is not None:
        said.append(_counted(len(run.class_names), "class", "es"))
        if count := int(run.fingerprint.get("count") or 0):
            said.append(f"{count:,} training images")
    validated = next(
        (item.images for item in view.results.cells[0].finished.values() if item.images), None
    )
    images = f" ({validated:,} images)" if validated else ""
    return f"{', '.join(said)}; validated on its split {data.validation_split}{images}"


def _counted(count: int, what: str, plural: str = "s") -> str:
    return f"{count} {what}{plural * (count != 1)}"
