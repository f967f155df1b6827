"""Parts of the page that are computed once: a layer's numbers, the filters, the example image, the
charts. No JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from zfjax.errors import ZfjaxError
from zfjax.report.charts import Chart, Points, chart, epoch_axis, path, sparkline
from zfjax.report.payload import sheet_rule
from zfjax.report.pictures import LayerPictures
from zfjax.report.tiles import data_uri, filter_grid, make_sheet, webp
from zfjax.report.words import by_step, validation_split
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run


def layer_values(evolution: Evolution, layer: str, steps: tuple[int, ...]) -> dict[str, Any]:
    """Shares of one layer by step shown, for the script."""
    settled = evolution.settled(layer)
    dead = by_step(evolution, "dead_share", layer)
    epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))
    axis = epoch_axis([epochs[step] for step in steps])
    shares = [settled[step] for step in steps]
    return {
        "settled": shares,
        "dead": [dead[step] for step in steps],
        "spark": sparkline([axis.place(epochs[step]) for step in steps], shares),
    }


def layer_view(
    evolution: Evolution, layer: LayerPictures, values: dict[str, Any]
) -> dict[str, Any]:
    """What the template writes at the left of a layer: its size, and what of the image its middle
    unit sees."""
    height, width, maps = evolution.meta["shapes"][layer.layer]
    window = evolution.meta["windows"][layer.layer]
    corner = [window["start"] + extent // 2 * window["jump"] for extent in (height, width)]
    edges = evolution.meta["input_size"]
    y0, x0 = (max(1, start) for start in corner)
    y1, x1 = (
        min(edge - 1, start + window["size"]) for edge, start in zip(edges, corner, strict=True)
    )
    return {
        "name": layer.layer,
        "shape": (height, width, maps),
        "drawn": [map_.map for map_ in layer.maps],
        "left_out": len(evolution.maps(layer.layer)) - len(layer.maps),
        "sheets": [map_["sheet"] and map_["sheet"]["number"] for map_ in values["maps"]],
        "field": window["size"],
        "whole": window["size"] >= max(edges),
        "box": (y0, x0, y1 - y0, x1 - x0),
        "spark": path([point for point in values["spark"] if point is not None]),
    }


def filter_values(evolution: Evolution, steps: tuple[int, ...], number: int) -> dict[str, Any]:
    """The first layer's filters at every step shown, in one sheet; ``number`` is that of its CSS
    rule."""
    kernels = evolution.filters
    known = [index for index, step in enumerate(steps) if step in kernels]
    grids = [filter_grid(kernels[steps[index]]) for index in known]
    sheet = make_sheet(np.stack([grid for grid, _ in grids]), None)
    height, width = sheet.tile
    times, strip = max(1, 176 // width), max(1, 110 // width)
    rules = (
        sheet_rule(number, sheet) + f".LF{{--w:{width * times}px;--h:{height * times}px;"
        f"--sw:{width * strip}px;--sh:{height * strip}px;"
        f"--pw:{width}px;--ph:{height}px}}.LF"
        " .tile{image-rendering:pixelated}"
    )
    kernel = kernels[steps[known[-1]]]
    return {
        "rules": rules,
        "sheet": {"number": number, "columns": sheet.columns, "rows": sheet.rows, "ratio": [1, 1]},
        "frames": [known.index(index) if index in known else None for index in range(len(steps))],
        "scales": [
            grids[known.index(index)][1] if index in known else None for index in range(len(steps))
        ],
        "shape": kernel.shape,
    }


def example_rule(evolution: Evolution, photos: bool) -> str:
    """CSS: the example image that receptive fields are drawn on; only its proportions without
    photos.

    Raises ZfjaxError when the file is damaged.
    """
    height, width = evolution.meta["input_size"]
    rule = f".example{{aspect-ratio:{width}/{height}}}"
    source = evolution.folder / "example.jpg"
    if not photos or not source.exists():
        return rule
    try:
        with Image.open(source, formats=("JPEG",)) as image:
            image.thumbnail((256, 256))
            data = webp(np.asarray(image.convert("RGB")), 85)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ZfjaxError(
            f"{source} is damaged ({error}); delete it and run `zfjax evolve` again."
        ) from None
    return rule + f".photo{{background-image:url({data_uri(data, 'webp')})}}"


def charts(run: Run, evolution: Evolution) -> list[Chart]:
    """The charts of the page: the training, and how the layers settle."""
    train, validation = run.training_lines, run.validation_lines
    split = validation_split(run)

    def pick(
        lines: Sequence[dict[str, Any]], key: str, turn: Callable[[float], float] = float
    ) -> Points:
        return [(line["epoch"], turn(line[key])) for line in lines if line.get(key) is not None]

    wrong = lambda share: 100 * (1 - share)
    epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))
    shares = {layer: evolution.settled(layer) for layer in evolution.layers}
    dead = {layer: by_step(evolution, "dead_share", layer) for layer in shares}
    ramp = lambda index: f"ramp{round(4 * index / max(1, len(shares) - 1))}"

    def lines(values: dict[str, dict[int, float | None]]) -> list[tuple[str, str, Points]]:
        return [
            (
                layer,
                ramp(index),
                [(epochs[step], 100 * share) for step, share in known.items() if share is not None],
            )
            for index, (layer, known) in enumerate(values.items())
        ]

    return [
        chart(
            "Loss",
            [("train", "train", pick(train, "loss")), (split, "main", pick(validation, "loss"))],
        ),
        chart(
            "Top-1 error, %",
            [
                ("train", "train", pick(train, "top1", wrong)),
                (split, "main", pick(validation, "top1", wrong)),
            ],
            100.0,
        ),
        chart(
            "Top-5 error, %",
            [
                ("train", "train", pick(train, "top5", wrong)),
                (split, "main", pick(validation, "top5", wrong)),
            ],
            100.0,
        ),
        chart("Learning rate", [("", "ink", pick(train or validation, "learning_rate"))]),
        chart("Settled maps, %", lines(shares), 100.0),
        chart("Dead maps, %", lines(dead)),
    ]
