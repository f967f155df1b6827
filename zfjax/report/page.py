"""RUN/report: every figure, and one page that opens anywhere, from saved files only. No JAX.

The page is made of the kit's pieces (``kit``): a single file whose pictures are WebP sheets in
data: URIs and whose script is small and its own. It names no host, user or absolute path. All texts
from data are escaped.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from PIL import Image

from zfjax.files import clear_unfinished, write_atomic
from zfjax.progress import Progress, tell_nobody
from zfjax.report import curves, figures, words
from zfjax.report.adopted import adopted_table
from zfjax.report.budget import cut_layers, fitted, make_sheets, shown_steps, too_large
from zfjax.report.kit.charts import page_charts
from zfjax.report.kit.shell import Piece, main_of, make_page, section
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import date, epoch_name, percent, plain
from zfjax.report.layers import View, evolution_slider, first_layer, layer_blocks, projection_words
from zfjax.report.pictures import LayerPictures, read_layer, webp
from zfjax.report.provenance import architecture_table, layer_table, report_facts
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.values import Place, truth

STAGE = "reporting"
READING, DRAWING, PACKING = "reading pictures", "drawing figures", "packing pictures"
CODE = ("Command", "This page")
"""Facts that are commands."""


def write_report(
    run: Run | AdoptedRun | Place,
    *,
    name: str | None = None,
    photos: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Writes the figures and the page of an evolution; returns the page's path.

    ``run``: one, or its folder; or such a folder of somebody else's network. The page is
    RUN/report/index.html, or RUN/report-NAME/index.html for ``name``. ``photos=False`` leaves out
    every pixel of the data set's images.
    ``progress(stage, done, total)`` is called at once and after each layer, the figures, the page,
    and the files, and within each of them under names of their own. A page beyond the budget shows
    fewer maps, and says so. All is drawn before the first file is written, and files of an earlier
    report that this one does not have are removed. Raises ZfjaxError when the evolution is absent,
    unfinished or damaged.
    """
    run = run if isinstance(run, Run | AdoptedRun) else load_any(run)
    photos = truth(photos, "photos")
    evolution = run.evolution(name)
    run = run.showing(evolution) if isinstance(run, AdoptedRun) else run
    folder = run.report if name is None else run.folder / f"report-{name}"
    total = len(evolution.layers) + 3
    told = progress if progress is not None else tell_nobody
    told(STAGE, 0, total)
    asked = _Asked(run, evolution, name, photos, told)
    steps, drawn = shown_steps(evolution)
    files, layers = _figures(asked, steps, drawn)
    told(STAGE, total - 2, total)
    page = _fitting_page(asked, steps, layers, files)
    told(STAGE, total - 1, total)
    _write(folder, files, page)
    told(STAGE, total, total)
    return folder / "index.html"


@dataclass(frozen=True)
class _Asked:
    """What a report is asked to show, and who is told how far it is."""

    run: Run | AdoptedRun
    evolution: Evolution
    name: str | None
    photos: bool
    tell: Progress


def _read(
    asked: _Asked, steps: tuple[int, ...], drawn: Mapping[str, tuple[int, ...]]
) -> Iterator[LayerPictures]:
    """The layers' pictures, one after the other."""
    for index, layer in enumerate(drawn):
        before = index * len(steps)

        def tell(done: int, _: int, before: int = before) -> None:
            asked.tell(READING, before + done, len(drawn) * len(steps))

        yield read_layer(asked.evolution, layer, steps, drawn[layer], asked.photos, tell)


def _figures(
    asked: _Asked, steps: tuple[int, ...], drawn: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, bytes], list[LayerPictures]]:
    """The static figures by file name, and the layers' pictures that were read for them."""
    run, evolution, photos = asked.run, asked.evolution, asked.photos
    network, total = words.network_words(run), len(evolution.layers)
    layers: list[LayerPictures] = []
    files: dict[str, bytes] = {}
    for done, layer in enumerate(_read(asked, steps, drawn), start=1):
        layers.append(layer)
        files |= figures.figure2(evolution, layer, network, photos)
        asked.tell(STAGE, done, total + 3)
    asked.tell(DRAWING, 0, 4)
    files |= figures.figure4(evolution, layers, network, photos)
    asked.tell(DRAWING, 1, 4)
    files |= figures.filters_figure(evolution, first_layer(run), network)
    asked.tell(DRAWING, 2, 4)
    files |= {} if isinstance(run, AdoptedRun) else curves.training_figure(run, network)
    asked.tell(DRAWING, 3, 4)
    files |= curves.settled_figure(evolution, network)
    asked.tell(DRAWING, 4, 4)
    return files, layers


def _fitting_page(
    asked: _Asked, steps: tuple[int, ...], layers: list[LayerPictures], files: dict[str, bytes]
) -> str:
    """The page within the budget: of fewer maps where it must be, then of fewer epochs. Raises
    ZfjaxError where that is not enough.
    """
    evolution = asked.evolution

    def tell(done: int, total: int) -> None:
        asked.tell(PACKING, done, total)

    while True:
        tell(0, sum(len(layer.maps) for layer in layers))
        sheets, qualities = make_sheets(layers, tell)
        view = View(
            run=asked.run,
            evolution=evolution,
            name=asked.name,
            steps=steps,
            layers=tuple(layers),
            sheets=tuple(map(tuple, sheets)),
            qualities=tuple(qualities),
            photos=asked.photos,
            cut=cut_layers(evolution, layers),
        )
        if page := fitted(view, lambda shown: _page(shown, files)):
            return page
        if len(steps) <= 2:
            raise too_large(evolution)
        epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))
        fewer = words.choose(tuple(epochs[step] for step in steps), max(2, len(steps) // 2))
        steps = tuple(steps[index] for index in fewer)
        drawn = {layer.layer: tuple(map_.map for map_ in layer.maps) for layer in layers}
        layers = list(_read(asked, steps, drawn))


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
    network, charts = words.network_words(run), curves.settling_charts(evolution)
    if adopted := isinstance(run, AdoptedRun):
        headline = _adopted_headline(evolution)
    else:
        headline = _headline(run, evolution)
        charts = (*curves.training_charts(run), *charts)
    return make_page(
        f"{network} {'on' if adopted else 'learning'} {headline[0]}",
        [
            evolution_slider(view),
            main_of(
                layer_blocks(view, _lighter(files["figure4.png"])),
                section(
                    "Over the checkpoints" if adopted else "Training", page_charts(charts, "chart")
                ),
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
    links = Markup(", ").join(
        Markup('<a href="{}">{}</a>').format(quote(file_name), file_name)
        for file_name in sorted(files)
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
    cut = [
        f"{layer.layer} {len(layer.maps)} of {len(view.evolution.maps(layer.layer))}"
        for layer in view.layers
        if layer.layer in view.cut
    ]
    fewer = (
        Markup(
            '<p class="note">To keep this page within {} it shows fewer maps than were drawn: {}.'
            " They are a uniform draw with the evolution's seed, dead maps as likely as others; the"
            " table and the tiles in the run's folder hold all of them.</p>"
        ).format(next(iter(view.cut.values())), ", ".join(cut))
        if cut
        else Markup("")
    )
    return [
        Markup('<dl class="facts">\n{}\n</dl>').format(facts),
        _network_table(view),
        thinned,
        fewer,
        Markup('<p class="note">Figures beside this page, for papers and talks: {}.</p>').format(
            links
        ),
    ]


def _network_table(view: View) -> Piece:
    """The network's layers: all of one of ours, those searched of somebody else's."""
    gives = "gives, height × width × maps"
    if isinstance(view.run, AdoptedRun):
        heads = ("layer", gives, "sees, pixels", "every, pixels", "projected on the")
        lines = adopted_table(view.evolution)
        return data_table([*map(Column, heads)], [Row(name, rest) for name, *rest in lines])
    columns = (
        Column("layer"),
        Column("what it is", words=True),
        *map(Column, (gives, "sees, pixels", "parameters")),
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
    return data_table(columns, rows)


def _adopted_headline(evolution: Evolution) -> list[str]:
    record, count = evolution.record, len(evolution.steps)
    return [
        plain(str(record.fingerprint["name"])),
        f"{words.searched(evolution)} searched",
        f"{count} checkpoint{'' if count == 1 else 's'}",
        *([] if record.rule == "deconvnet" else [f"{plain(record.rule)} projections"]),
        date(record.created),
    ]


def _headline(run: Run, evolution: Evolution) -> list[str]:
    accuracy = words.final_accuracy(run, evolution.steps[-1])
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
