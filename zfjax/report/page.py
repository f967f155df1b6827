"""RUN/report: every figure, and one page that opens anywhere, from saved files only. No JAX.

The page is a single file: pictures are WebP sheets in data: URIs, the script is small and its own,
and a content security policy allows nothing else. It names no host, user or absolute path. All
texts from data are escaped."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from zfjax.files import clear_unfinished, write_atomic
from zfjax.report import curves, figures, sections, words
from zfjax.report.charts import interpolate, track
from zfjax.report.payload import Names, map_values, sheet_rule, size_rules, step_values
from zfjax.report.pictures import LayerPictures, read_layer
from zfjax.report.provenance import architecture_table, layer_table, provenance
from zfjax.report.tiles import LOSSLESS_BELOW, Sheet, data_uri, make_sheet, webp
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run

BUDGET = 9_000_000
"""Bytes of all tiles on the page before base64: the page stays below about 15 MB."""
QUALITIES = (88, 80, 70, 58, 45, 30)
LEAST_BYTES_A_PIXEL = 0.08
"""Of a tile at the lowest quality, to choose how many epochs a page can hold."""
PICTURES_A_STEP = 2
"""Different ones, about: a settled map repeats its pictures."""
MOST_MAPS = 48
PRINTED_COLUMNS = 16

Progress = Callable[[str], Any]


def write_report(
    run: Run, *, name: str | None = None, photos: bool = True, progress: Progress | None = None
) -> Path:
    """Writes the figures and the page of an evolution; returns the page's path.

    RUN/report/index.html, or RUN/report-NAME/index.html for ``name``. ``photos=False`` leaves out
    every pixel of the data set's images. ``progress`` is called with a few words at each stage. All
    is drawn before the first file is written, and files of an earlier report that this one does not
    have are removed. Raises ZfjaxError when the evolution is absent, unfinished or damaged."""
    tell = progress or (lambda stage: None)
    evolution = run.evolution(name)
    folder = run.report if name is None else run.folder / f"report-{name}"
    network = words.network_words(run)
    steps, drawn = _shown(evolution)
    layers = []
    files: dict[str, bytes] = {}
    for layer in evolution.layers:
        tell(f"reading {layer}")
        layers.append(read_layer(evolution, layer, steps, drawn[layer], photos))
        files |= figures.figure2(evolution, layers[-1], network, photos)
    tell("drawing figures")
    files |= figures.figure4(evolution, layers, network, photos)
    files |= figures.filters_figure(evolution, run.config.model.conv_names[0], network)
    files |= curves.training_figure(run, network) | curves.settled_figure(evolution, network)
    tell("composing the page")
    page = _page(run, evolution, layers, steps, photos, name, files)
    clear_unfinished(folder, locked=False)
    for file_name, data in files.items():
        write_atomic(folder / file_name, lambda temporary, data=data: temporary.write_bytes(data))
    for stale in (*folder.glob("figure*.png"), *folder.glob("figure*.pdf")):
        if stale.name not in files:
            stale.unlink()
    write_atomic(
        folder / "index.html", lambda temporary: temporary.write_text(page, encoding="utf-8")
    )
    return folder / "index.html"


def _shown(evolution: Evolution) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Steps and maps that a page of about 15 MB can hold: all of them in most runs."""
    drawn = {layer: words.spread(evolution.maps(layer), MOST_MAPS) for layer in evolution.layers}
    pixels = sum(
        len(maps) * np.prod(evolution.meta["tile_size"][layer]) for layer, maps in drawn.items()
    )
    pictures = PICTURES_A_STEP * (evolution.meta["top"] if evolution.every_rank else 1)
    most = max(8, int(BUDGET / (pictures * LEAST_BYTES_A_PIXEL * max(pixels, 1))))
    return tuple(evolution.steps[index] for index in words.choose(evolution.epochs, most)), drawn


def _sheets(layers: list[LayerPictures]) -> tuple[list[list[Sheet | None]], list[int | None]]:
    """A sheet for each map and the quality of each layer (None: without loss), the best that the
    budget allows.

    Layers of small tiles come first, without loss; the others share what is left by their number of
    pixels."""
    exact = {
        layer.layer: _encode(layer, None)
        for layer in layers
        if max(layer.tile_size) < LOSSLESS_BELOW
    }
    spent = sum(
        sheet.byte_count for sheets in exact.values() for sheet in sheets if sheet is not None
    )
    pixels = {
        layer.layer: sum(map_.stack.size for map_ in layer.maps)
        for layer in layers
        if layer.layer not in exact
    }
    sheets, qualities = [], []
    for layer in layers:
        quality = None
        if layer.layer not in exact:
            share = (
                max(BUDGET - spent, BUDGET / 3) * pixels[layer.layer] / max(1, sum(pixels.values()))
            )
            quality = next(
                (each for each in QUALITIES if _estimate(layer, each) <= share), QUALITIES[-1]
            )
        sheets.append(exact.get(layer.layer) or _encode(layer, quality))
        qualities.append(quality)
    return sheets, qualities


def _encode(layer: LayerPictures, quality: int | None) -> list[Sheet | None]:
    return [make_sheet(map_.stack, quality) if len(map_.stack) else None for map_ in layer.maps]


def _estimate(layer: LayerPictures, quality: int) -> float:
    """Bytes of a layer's sheets, from every fourth map."""
    some = [map_.stack for map_ in layer.maps if len(map_.stack)][::4]
    pixels = sum(map_.stack.size for map_ in layer.maps)
    return (
        pixels
        * sum(make_sheet(stack, quality).byte_count for stack in some)
        / max(1, sum(map(np.size, some)))
    )


def _page(
    run: Run,
    evolution: Evolution,
    layers: list[LayerPictures],
    steps: tuple[int, ...],
    photos: bool,
    name: str | None,
    files: dict[str, bytes],
) -> str:
    meta = evolution.meta
    sheets, qualities = _sheets(layers)
    labels, file_names = Names(), Names()
    rules = [size_rules(layers)]
    count = 0
    layer_values = []
    for layer, layer_sheets in zip(layers, sheets, strict=True):
        maps = []
        for map_, sheet in zip(layer.maps, layer_sheets, strict=True):
            maps.append(map_values(map_, sheet, count, labels, file_names))
            if sheet is not None:
                rules.append(sheet_rule(count, sheet))
                count += 1
        layer_values.append(
            {
                "name": layer.layer,
                "maps": maps,
                **sections.layer_values(evolution, layer.layer, steps),
            }
        )
    filters = sections.filter_values(evolution, steps, count)
    rules.append(filters.pop("rules"))
    rules.append(sections.example_rule(evolution, photos))
    when = step_values(evolution, steps)
    accuracies = [
        (line["epoch"], line["top1"])
        for line in run.validation_lines
        if line.get("top1") is not None
    ]
    trained = [(line["epoch"], line["top1"]) for line in run.training_lines if line.get("top1")]
    slider = track(when["epochs"], accuracies, trained)
    data = {
        **when,
        "accuracy": [interpolate(accuracies, epoch) for epoch in when["epochs"]],
        "stops": slider.stops,
        "ticks": slider.ticks,
        "printed": words.choose(tuple(when["epochs"]), PRINTED_COLUMNS),
        "photos": photos,
        "split": None if meta["split"] == run.config.data.train_split else meta["split"],
        "rule": meta["rule"],
        "labels": list(labels.places),
        "files": list(file_names.places),
        "layers": layer_values,
        "filters": filters,
    }
    here = Path(__file__).parent
    script, style = ((here / file).read_text(encoding="utf-8") for file in ("page.js", "page.css"))
    sheet_style = "".join(rules)
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(number=words.number, percent=words.percent)
    return environment.get_template("page.html.j2").render(
        data=data,
        script=script,
        style=style,
        sheet_style=sheet_style,
        policy=_policy(script, style, sheet_style),
        headline=_headline(run, evolution),
        network=words.network_words(run),
        slider=slider,
        evaluated=words.validation_images(run),
        searched=words.searched(evolution),
        rule=words.plain(meta["rule"]),
        rule_words=words.rule_words(meta["rule"]),
        layers=[
            sections.layer_view(evolution, *pair) for pair in zip(layers, layer_values, strict=True)
        ],
        photos=photos,
        has_example=photos and (evolution.folder / "example.jpg").exists(),
        input_size=meta["input_size"],
        filters=filters,
        first_layer=run.config.model.conv_names[0],
        charts=sections.charts(run, evolution),
        table=layer_table(evolution),
        architecture=architecture_table(run.config.model),
        facts=provenance(
            run, evolution, name, steps, dict(zip(evolution.layers, qualities, strict=True)), photos
        ),
        checked=meta["checked"],
        top=meta["top"],
        files=sorted(files),
        figure4=data_uri(_lighter(files["figure4.png"]), "webp"),
        thinned=len(steps) < len(evolution.steps),
        step_count=len(evolution.steps),
    )


def _policy(script: str, *styles: str) -> str:
    digest = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    allowed = lambda *texts: " ".join(f"'sha256-{digest(text)}'" for text in texts)
    return (
        f"default-src 'none'; img-src data:; script-src {allowed(script)}; style-src"
        f" {allowed(*styles)}; base-uri 'none'; form-action 'none'"
    )


def _headline(run: Run, evolution: Evolution) -> list[str]:
    accuracy = words.final_accuracy(run)
    return [
        words.dataset(run),
        f"{run.fingerprint.get('count', evolution.meta['images']):,} training images",
        f"{words.epoch_name(evolution.epochs[-1])} epochs",
        *(
            []
            if accuracy is None
            else [f"{words.percent(accuracy)} top-1 ({words.validation_split(run)})"]
        ),
        *(
            []
            if evolution.meta["rule"] == "deconvnet"
            else [f"{words.plain(evolution.meta['rule'])} projections"]
        ),
        words.date(run.created),
    ]


def _lighter(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as image:
        image = image.convert("RGB")
        image.thumbnail((1400, 16000))
        return webp(np.asarray(image), 60)
