"""RUN/report: every figure, and one page that opens anywhere, from saved files only. No JAX.

The page is made of the kit's pieces (``kit``): a single file whose pictures are WebP sheets in
data: URIs and whose script is small and its own. It names no host, user or absolute path. All texts
from data are escaped.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from zfjax.files import clear_unfinished, write_atomic
from zfjax.progress import Progress
from zfjax.report import curves, figures, words
from zfjax.report.budget import make_sheets, shown_steps
from zfjax.report.kit.charts import page_charts
from zfjax.report.kit.shell import Piece, main_of, make_page, section
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.texts import date, epoch_name, percent, plain
from zfjax.report.layers import View, evolution_slider, layer_blocks, projection_words
from zfjax.report.pictures import read_layer, webp
from zfjax.report.provenance import architecture_table, layer_table, report_facts
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run

STAGE = "reporting"
CODE = ("Command", "This page")
"""Facts that are commands."""


def write_report(
    run: Run, *, name: str | None = None, photos: bool = True, progress: Progress | None = None
) -> Path:
    """Writes the figures and the page of an evolution; returns the page's path.

    RUN/report/index.html, or RUN/report-NAME/index.html for ``name``. ``photos=False`` leaves out
    every pixel of the data set's images. ``progress(stage, done, total)`` is called after each
    layer, the figures, the page, and the files. All is drawn before the first file is written, and
    files of an earlier report that this one does not have are removed. Raises ZfjaxError when the
    evolution is absent, unfinished or damaged.
    """
    evolution = run.evolution(name)
    folder = run.report if name is None else run.folder / f"report-{name}"
    network = words.network_words(run)
    steps, drawn = shown_steps(evolution)
    total = len(evolution.layers) + 3

    def tell(done: int) -> None:
        if progress is not None:
            progress(STAGE, done, total)

    tell(0)
    layers = []
    files: dict[str, bytes] = {}
    for done, layer in enumerate(evolution.layers, start=1):
        layers.append(read_layer(evolution, layer, steps, drawn[layer], photos))
        files |= figures.figure2(evolution, layers[-1], network, photos)
        tell(done)
    files |= figures.figure4(evolution, layers, network, photos)
    files |= figures.filters_figure(evolution, run.config.model.conv_names[0], network)
    files |= curves.training_figure(run, network) | curves.settled_figure(evolution, network)
    tell(total - 2)
    sheets, qualities = make_sheets(layers)
    view = View(
        run=run,
        evolution=evolution,
        name=name,
        steps=steps,
        layers=tuple(layers),
        sheets=tuple(map(tuple, sheets)),
        qualities=tuple(qualities),
        photos=photos,
    )
    page = _page(view, files)
    tell(total - 1)
    _write(folder, files, page)
    tell(total)
    return folder / "index.html"


def _write(folder: Path, files: dict[str, bytes], page: str) -> None:
    clear_unfinished(folder, locked=False)
    for name, data in files.items():
        write_atomic(folder / name, partial(Path.write_bytes, data=data))
    for stale in (*folder.glob("figure*.png"), *folder.glob("figure*.pdf")):
        if stale.name not in files:
            stale.unlink()
    write_atomic(folder / "index.html", partial(Path.write_text, data=page, encoding="utf-8"))


def _page(view: View, files: dict[str, bytes]) -> str:
    run, evolution = view.run, view.evolution
    headline = _headline(run, evolution)
    network = words.network_words(run)
    charts = (*curves.training_charts(run), *curves.settling_charts(evolution))
    return make_page(
        f"{network} learning {headline[0]}",
        [
            evolution_slider(view),
            main_of(
                layer_blocks(view, _lighter(files["figure4.png"])),
                section("Training", page_charts(charts, "chart")),
                section("The layers in numbers", _layer_table(evolution), _table_notes(evolution)),
                section(
                    "What a projection is, and what it is not", projection_words(view), columns=True
                ),
                section("Where this came from", *_origin(view, files)),
            ),
        ],
        heading=network,
        facts=headline,
    )


def _layer_table(evolution: Evolution) -> Piece:
    heads = (
        *("layer", "sees, pixels", "maps", "half settled at epoch", "dead at the end"),
        "purity, first → last",
    )
    rows = [
        Row(
            line["layer"],
            (
                *(line["field"], line["maps"], line["half"], line["dead"]),
                f"{line['first_purity']} → {line['purity']}",
            ),
        )
        for line in layer_table(evolution)
    ]
    return data_table([Column(head) for head in heads], rows)


def _table_notes(evolution: Evolution) -> Markup:
    return Markup(
        '<p class="note"><b>Settled</b>: the share of live maps whose strongest image is already'
        " the one they have at the last epoch; half settled is the first epoch where that holds for"
        " half of them. <b>Dead</b>: no image excites the map at all. <b>Purity</b>: how far the"
        " {} strongest images of a map agree on one class, among those whose label is known.</p>"
    ).format(evolution.record.top)


def _origin(view: View, files: dict[str, bytes]) -> list[Piece | Markup]:
    """Where the numbers came from: facts, the network's layers, the figures beside the page."""
    qualities = dict(zip(view.evolution.layers, view.qualities, strict=True))
    facts = Markup("\n").join(
        Markup("<dt>{}</dt><dd{}>{}</dd>").format(
            what, Markup(' class="code"') if what in CODE else "", value
        )
        for what, value in report_facts(
            view.run, view.evolution, view.name, view.steps, qualities, view.photos
        )
    )
    columns = (
        Column("layer"),
        Column("what it is", words=True),
        *map(Column, ("gives, height × width × maps", "sees, pixels", "parameters")),
    )
    rows = [
        Row(
            line["layer"],
            (
                line["what"],
                " × ".join(map(str, line["shape"])),
                f"{line['field']} × {line['field']}",
                f"{line['parameters']:,}" if line["parameters"] else "–",
            ),
        )
        for line in architecture_table(view.run.config.model)
    ]
    links = Markup(", ").join(
        Markup('<a href="{0}">{0}</a>').format(file_name) for file_name in sorted(files)
    )
    shown, searched = len(view.steps), len(view.evolution.steps)
    thinned = (
        Markup(
            '<p class="note">To keep this page small it shows {} of {} epochs; the table and the'
            " tiles in the run's folder hold all of them.</p>"
        ).format(shown, searched)
        if shown < searched
        else Markup("")
    )
    return [
        Markup('<dl class="facts">\n{}\n</dl>').format(facts),
        data_table(columns, rows),
        thinned,
        Markup('<p class="note">Figures beside this page, for papers and talks: {}.</p>').format(
            links
        ),
    ]


def _headline(run: Run, evolution: Evolution) -> list[str]:
    accuracy = words.final_accuracy(run)
    return [
        words.dataset_words(run),
        f"{run.fingerprint.get('count', evolution.record.images):,} training images",
        f"{epoch_name(evolution.epochs[-1])} epochs",
        *(
            []
            if accuracy is None
            else [f"{percent(accuracy)} top-1 ({words.validation_split(run)})"]
        ),
        *(
            []
            if evolution.record.rule == "deconvnet"
            else [f"{plain(evolution.record.rule)} projections"]
        ),
        date(run.created),
    ]


def _lighter(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        picture = image.convert("RGB")
    picture.thumbnail((1400, 16000))
    return webp(np.asarray(picture), 60)
