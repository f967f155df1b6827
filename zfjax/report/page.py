"""RUN/report: every figure, and one page that opens anywhere, from saved files only.

The page is made of the kit's pieces (``kit``): a single file whose pictures are WebP sheets in
data: URIs and whose script is small and its own; where that would be too large (``budget``), a
small page with its pictures and data beside it. It names no host, user or absolute path. All texts
from data are escaped. No JAX, but to read the last epoch's weights (``inputs``).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfjax.errors import ZfjaxError
from zfjax.files import clear_unfinished, write_atomic
from zfjax.progress import Progress, tell_nobody
from zfjax.report import budget, curves, figures, words
from zfjax.report.answers import answer_sections
from zfjax.report.beside import Beside, write_page, written_beside
from zfjax.report.inputs import Inputs, strongest_inputs
from zfjax.report.kit.charts import page_charts
from zfjax.report.kit.films import Sheet
from zfjax.report.kit.shell import main_of, make_page, make_page_beside, section
from zfjax.report.layers import View, evolution_slider, first_layer, layer_blocks, projection_words
from zfjax.report.origins import (
    adopted_headline,
    headline_of,
    numbers_notes,
    numbers_table,
    origin_of,
)
from zfjax.report.pictures import LayerPictures, read_layer, webp
from zfjax.report.settling import Beyond
from zfjax.report.times_figure import STEM as TIMES
from zfjax.report.times_figure import figure_of_times
from zfjax.report.variety import with_variety
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.run.measured import Measured, is_measured, measures_folder, open_measured
from zfjax.values import Place, truth

STAGE = "reporting"
READING, DRAWING, PACKING = "reading pictures", "drawing figures", "packing pictures"
MEASURES = ("settling", "census", "controls", "labels", "weights")
"""Those that the page has a section for."""


def write_report(
    run: Run | AdoptedRun | Place,
    *,
    name: str | None = None,
    photos: bool = True,
    beside: Run | AdoptedRun | Place | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes the figures and the page of an evolution; returns the page's path.

    ``run``: one, or its folder; or such a folder of somebody else's network. The page is
    RUN/report/index.html, or RUN/report-NAME/index.html for ``name``. ``photos=False`` leaves out
    every pixel of the data set's images. ``beside``: another run whose measured settling stands
    beside this one's.
    ``progress(stage, done, total)`` is called at once and after each layer, the figures, the page,
    and the files, and within each of them under names of their own. A page beyond the budget has
    its pictures and data in a folder beside it, page-1 or page-2. All is drawn before the first
    file gets its name, and files of an earlier report that this one does not have are removed.
    Raises ZfjaxError when the evolution or a measure is absent, unfinished or damaged.
    """
    run = run if isinstance(run, Run | AdoptedRun) else load_any(run)
    photos = truth(photos, "photos")
    evolution = run.evolution(name)
    run = run.showing(evolution) if isinstance(run, AdoptedRun) else run
    folder = run.report if name is None else run.folder / f"report-{name}"
    told = progress if progress is not None else tell_nobody
    told(STAGE, 0, len(evolution.layers) + 3)
    measures, other = _measured(run), _other(beside)
    asked = _Asked(run, evolution, name, photos, told, measures, other)
    page = _one_file(asked) if budget.one_file_may_hold(evolution) else None
    if page is not None:
        asked.whole(-1)
        _write(folder, page.files, page.html, None)
    else:
        if folder.exists():
            clear_unfinished(folder, locked=False)
        with written_beside(folder) as place_beside:
            page = _beside(asked, place_beside)
            asked.whole(-1)
        _write(folder, page.files, page.html, place_beside)
    asked.whole(0)
    return folder / "index.html"


@dataclass(frozen=True)
class _Asked:
    """What a report is asked to show, and who is told how far it is."""

    run: Run | AdoptedRun
    evolution: Evolution
    name: str | None
    photos: bool
    tell: Progress
    measures: Mapping[str, Measured] = field(default_factory=dict)
    other: Beyond | None = None

    def whole(self, left: int) -> None:
        """Tells that all but ``-left`` of the stages are done."""
        total = len(self.evolution.layers) + 3
        self.tell(STAGE, total + left, total)


@dataclass(frozen=True)
class _Page:
    """What is to be written."""

    files: dict[str, bytes]
    """The static figures by file name."""
    html: str


def _measured(run: Run | AdoptedRun) -> dict[str, Measured]:
    """The measures that the run has and the page shows."""
    folder = measures_folder(run.folder)
    return {name: open_measured(folder, name) for name in MEASURES if is_measured(folder, name)}


def _other(beside: Run | AdoptedRun | Place | None) -> Beyond | None:
    if beside is None:
        return None
    run = beside if isinstance(beside, Run | AdoptedRun) else load_any(beside)
    named = words.network_words(run)
    if isinstance(run, Run):
        named = f"{named} on {words.dataset_words(run)}"
    return Beyond(named, open_measured(measures_folder(run.folder), "settling"))


def _one_file(asked: _Asked) -> _Page | None:
    """The page as one file; None where that is beyond the budget."""
    files, layers = _figures(asked, _unchanged)
    asked.whole(-2)

    def tell(done: int, total: int) -> None:
        asked.tell(PACKING, done, total)

    tell(0, sum(len(layer.maps) for layer in layers))
    sheets, qualities = budget.make_sheets(layers, tell)
    view = _view(asked, layers, sheets, qualities)
    html = make_page(**_contents(view, files))
    return _Page(files, html) if len(html.encode()) <= budget.BUDGET else None


def _beside(asked: _Asked, folder: Beside) -> _Page:
    """The page with pictures and data in ``folder``; one layer's pictures in memory at a time."""
    evolution = asked.evolution
    total = sum(len(evolution.maps(layer)) for layer in evolution.layers)
    sheets: list[list[Sheet | None]] = []
    qualities: list[int | None] = []
    done = 0

    def pack(layer: LayerPictures) -> LayerPictures:
        nonlocal done
        qualities.append(None if budget.is_lossless(layer) else budget.BESIDE_QUALITY)
        sheets.append([])
        for map_ in layer.maps:
            asked.tell(PACKING, done, total)
            sheets[-1].append(budget.sheet_of(map_.stack, qualities[-1], folder.store))
            done += 1
        kept = {map_.map for map_ in figures.figure4_maps(layer)}
        bare = np.zeros((0, *layer.tile_size, 3), np.uint8)
        maps = (map_ if map_.map in kept else replace(map_, stack=bare) for map_ in layer.maps)
        return replace(layer, maps=tuple(maps))

    files, layers = _figures(asked, pack)
    asked.tell(PACKING, total, total)
    asked.whole(-2)
    view = replace(_view(asked, layers, sheets, qualities), store=folder.store)
    html, script = make_page_beside(folder.data_file, **_contents(view, files))
    folder.write_data(script)
    return _Page(files, html)


def _unchanged(layer: LayerPictures) -> LayerPictures:
    return layer


def _figures(
    asked: _Asked, each: Callable[[LayerPictures], LayerPictures]
) -> tuple[dict[str, bytes], list[LayerPictures]]:
    """The static figures by file name, and what ``each`` makes of the layers' pictures that were
    read for them.
    """
    run, evolution, photos = asked.run, asked.evolution, asked.photos
    network, total = words.network_words(run), len(evolution.layers)
    layers: list[LayerPictures] = []
    files: dict[str, bytes] = {}
    for done, name in enumerate(evolution.layers):
        layer = _read(asked, name, done)
        files |= figures.figure2(evolution, layer, network, photos)
        layers.append(each(layer))
        asked.tell(STAGE, done + 1, total + 3)
    asked.tell(DRAWING, 0, 4)
    files |= figures.figure4(evolution, layers, network, photos)
    asked.tell(DRAWING, 1, 4)
    files |= figures.filters_figure(evolution, first_layer(run), network)
    asked.tell(DRAWING, 2, 4)
    files |= {} if isinstance(run, AdoptedRun) else curves.training_figure(run, network)
    asked.tell(DRAWING, 3, 4)
    files |= curves.settled_figure(evolution, network)
    files |= figure_of_times(asked.measures.get("settling"), network)
    asked.tell(DRAWING, 4, 4)
    return files, layers


def _read(asked: _Asked, layer: str, index: int) -> LayerPictures:
    """The pictures of one layer, the ``index``-th."""
    evolution = asked.evolution
    steps, total = evolution.steps, len(evolution.layers) * len(evolution.steps)

    def tell(done: int, _: int) -> None:
        asked.tell(READING, index * len(steps) + done, total)

    pictures = read_layer(evolution, layer, steps, evolution.maps(layer), asked.photos, tell)
    return with_variety(evolution, pictures, asked.photos)


def _view(
    asked: _Asked,
    layers: list[LayerPictures],
    sheets: list[list[Sheet | None]],
    qualities: list[int | None],
) -> View:
    return View(
        run=asked.run,
        evolution=asked.evolution,
        name=asked.name,
        layers=tuple(layers),
        sheets=tuple(map(tuple, sheets)),
        qualities=tuple(qualities),
        photos=asked.photos,
        measures=asked.measures,
        other=asked.other,
        inputs=_inputs(asked),
    )


def _inputs(asked: _Asked) -> Mapping[str, Inputs]:
    """{} where the saved weights are not to be read: the page can do without them."""
    if isinstance(asked.run, AdoptedRun):
        return {}
    try:
        return strongest_inputs(asked.run, asked.evolution)
    except ZfjaxError:
        return {}


def _write(folder: Path, files: dict[str, bytes], page: str, beside: Beside | None) -> None:
    clear_unfinished(folder, locked=False)
    for name, data in files.items():
        write_atomic(folder / name, partial(Path.write_bytes, data=data))
    ours = [folder.glob(f"{stem}.{kind}") for stem in ("figure*", TIMES) for kind in ("png", "pdf")]
    for stale in chain.from_iterable(ours):
        if stale.name not in files:
            stale.unlink()
    write_page(folder, page, beside)


def _contents(view: View, files: dict[str, bytes]) -> dict[str, Any]:
    """What ``make_page`` takes: title, pieces, heading and facts."""
    run, evolution = view.run, view.evolution
    network, charts = words.network_words(run), curves.settling_charts(evolution)
    if adopted := isinstance(run, AdoptedRun):
        headline = adopted_headline(evolution)
    else:
        headline = headline_of(run, evolution)
        charts = (*curves.training_charts(run), *charts)
    pieces = [
        evolution_slider(view),
        main_of(
            layer_blocks(view, _lighter(files["figure4.png"])),
            section(
                "What a projection is, and what it is not", projection_words(view), columns=True
            ),
            *answer_sections(view),
            section(
                "Over the checkpoints" if adopted else "Training", page_charts(charts, "chart")
            ),
            section("The layers in numbers", numbers_table(evolution), numbers_notes(evolution)),
            section("Where this came from", *origin_of(view, files)),
        ),
    ]
    title = f"{network} {'on' if adopted else 'learning'} {headline[0]}"
    return {"title": title, "pieces": pieces, "heading": network, "facts": headline}


def _lighter(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        picture = image.convert("RGB")
    picture.thumbnail((1400, 16000))
    return webp(np.asarray(picture), 60)
