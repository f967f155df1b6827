"""The pictures of the measure ``invariance``: the paper's Fig. 5, and all layers side by side. No
JAX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfjax.measures.warping import KINDS, ROTATION, SCALE, TRANSLATION, Change
from zfjax.measures.wide_figure import WideFigure, layer_colour, title
from zfjax.report.kit.style import FAINT, INK, QUIET, save
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.run.measured import Measured

IMAGE_COLOURS = ("#c4451c", "#2f6f8f", "#5b8c3a", "#8a5a9e", "#b8860b", "#4a4a4a")
"""Of single images, which have no order."""
AXIS_WORDS = {
    TRANSLATION: "translation, px of 224",
    SCALE: "enlargement",
    ROTATION: "rotation, degrees",
}


def figure_of_paper(measured: Measured, layers: Sequence[str], changes: Sequence[Change]) -> Figure:
    """A row a kind of change: the drawn images changed; their distances at the first layer and the
    last; the probability of the true class. Single images in colours, the mean of all in black with
    its interval. The caller has entered ``quiet_style``.
    """
    names = _images(measured)
    wide = WideFigure(
        4.4,
        f"Images moved, enlarged and turned, at epoch {epoch_name(measured.epochs[-1])}: distance"
        f" of the features from those of the image as it is, at {layers[0]} and {layers[-1]}, and"
        f" the probability of the true class. Coloured: the images shown. Black: the mean of"
        f" {measured.counts('pair_l2')} images with its 95% interval; dashed: how far two random"
        " images are apart.",
    )
    figure = wide.figure
    grid = figure.add_gridspec(
        3, 4, width_ratios=(1.25, 1, 1, 1), hspace=0.42, wspace=0.32, left=0.02, right=0.985,
        **wide.edges,
    )  # fmt: skip
    for row, kind in enumerate(KINDS):
        ours = [change for change in changes if change.kind == kind]
        _examples(figure.add_subplot(grid[row, 0]), measured, kind, list(names))
        for column, layer in enumerate((layers[0], layers[-1])):
            axes = figure.add_subplot(grid[row, 1 + column])
            for index, image in enumerate(names):
                _line(axes, measured, layer, ours, f"l2_{{}}_of_image_{image}", index)
            _mean(axes, measured, layer, ours, "l2_{}")
            pair = measured.of_layer("pair_l2", layer).get(measured.steps[-1], math.nan)
            if math.isfinite(pair):
                axes.axhline(pair, color=FAINT, lw=0.8, ls=(0, (3, 2)), zorder=0)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(AXIS_WORDS[kind])
            if row == 0:
                title(axes, f"distance at {plain(layer, 20)}")
        axes = figure.add_subplot(grid[row, 3])
        for index, image in enumerate(names):
            _line(axes, measured, None, ours, f"probability_{{}}_of_image_{image}", index)
        _mean(axes, measured, None, ours, "probability_{}")
        axes.set_ylim(0, 1)
        axes.set_xlabel(AXIS_WORDS[kind])
        if row == 0:
            title(axes, "P(true class)")
        if not axes.lines:
            axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color=QUIET)
    handles = [
        figure.axes[0].plot([], [], color=IMAGE_COLOURS[index % len(IMAGE_COLOURS)], lw=1.4)[0]
        for index in range(len(names))
    ]
    return wide.finished(handles, list(names.values()))


def _images(measured: Measured) -> dict[int, str]:
    """The drawn images' ids, with their class as far as it is known."""
    table, head = measured.table, "label_of_image_"
    return {
        int(name.removeprefix(head)): plain(unit, 16)
        if unit
        else f"image {name.removeprefix(head)}"
        for name, unit in zip(table["quantity"].to_pylist(), table["unit"].to_pylist(), strict=True)
        if name.startswith(head)
    }


def _examples(axes: Axes, measured: Measured, kind: str, images: Sequence[int]) -> None:
    axes.set_axis_off()
    pictures = measured.pictures(kind).get(measured.steps[-1])
    if pictures is None:
        return
    _, pixels = pictures
    shown = np.concatenate(list(pixels[: len(images)]), axis=0)
    # Five images below each other, three changes beside each other, would be too high for a row.
    height, third = pixels.shape[1], pixels.shape[2] // 3
    columns = [shown[:, index * third : (index + 1) * third] for index in range(3)]
    sheet = np.concatenate(
        [
            np.concatenate(
                [column[i * height : (i + 1) * height] for i in range(len(shown) // height)], axis=1
            )
            for column in columns
        ],
        axis=0,
    )
    axes.imshow(((sheet + 1) / 2).clip(0, 1), interpolation="nearest")
    for index in range(len(shown) // height):
        axes.plot(
            [index * third + 2, (index + 1) * third - 2],
            [3 * height + 3] * 2,
            color=IMAGE_COLOURS[index % len(IMAGE_COLOURS)], lw=1.6, clip_on=False,
        )  # fmt: skip


def _points(
    measured: Measured, layer: str | None, changes: Sequence[Change], name: str
) -> list[tuple[float, float, float, float]]:
    """(amount, value, low, high) of a quantity whose name holds a change's, at the last step."""
    last, points = measured.steps[-1], []
    for change in changes:
        quantity = name.format(change.name)
        value = measured.of_layer(quantity, layer).get(last, math.nan)
        if math.isfinite(value):
            low, high = measured.bounds(quantity, layer)[last]
            points.append((change.amount, value, low, high))
    return points


def _line(
    axes: Axes,
    measured: Measured,
    layer: str | None,
    changes: Sequence[Change],
    name: str,
    index: int,
) -> None:
    if points := _points(measured, layer, changes, name):
        amounts, values, _, _ = zip(*points, strict=True)
        colour = IMAGE_COLOURS[index % len(IMAGE_COLOURS)]
        axes.plot(amounts, values, color=colour, lw=0.8, alpha=0.9, clip_on=False)


def _mean(
    axes: Axes, measured: Measured, layer: str | None, changes: Sequence[Change], name: str
) -> None:
    if points := _points(measured, layer, changes, name):
        amounts, values, low, high = zip(*points, strict=True)
        axes.fill_between(amounts, low, high, color=INK, alpha=0.14, lw=0)
        axes.plot(amounts, values, color=INK, lw=1.3, clip_on=False)


def figure_of_layers(
    measured: Measured, layers: Sequence[str], changes: Sequence[Change]
) -> dict[str, bytes]:
    """invariance-layers.png: every layer's normalised distance over the changes at the last epoch,
    and at the smallest change over the epochs.
    """
    epochs = dict(zip(measured.steps, measured.epochs, strict=True))
    wide = WideFigure(
        3.6,
        "Distance of features over that of two random images: 1 is as far as another image. Above:"
        f" at epoch {epoch_name(measured.epochs[-1])}, every layer, bands 95% over"
        f" {measured.counts('pair_l2')} images. Below: at the smallest change, over the epochs.",
    )
    layout = {"hspace": 0.38, "wspace": 0.22, "left": 0.055, "right": 0.985, **wide.edges}
    fields = wide.figure.subplots(2, 3, squeeze=False, gridspec_kw=layout)
    for column, kind in enumerate(KINDS):
        ours = [change for change in changes if change.kind == kind]
        above, below = fields[0][column], fields[1][column]
        for index, layer in enumerate(layers):
            colour = layer_colour(index, len(layers))
            if points := _points(measured, layer, ours, "normalised_{}"):
                amounts, values, low, high = zip(*points, strict=True)
                above.fill_between(amounts, low, high, color=colour, alpha=0.15, lw=0)
                above.plot(amounts, values, color=colour, lw=1.1, label=plain(layer, 16))
            curve = measured.of_layer(f"small_{kind}", layer)
            known = [(epochs[s], value) for s, value in curve.items() if math.isfinite(value)]
            if known:
                below.plot(*zip(*known, strict=True), color=colour, lw=1.1, marker="o", ms=1.8)
        least = min(change.extent for change in ours if change.extent > 0)
        least += 1 if kind == SCALE else 0
        above.set_xlabel(AXIS_WORDS[kind])
        below.set_xlabel(f"epoch ({kind} {least:g})")
        for axes in (above, below):
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color=FAINT, lw=0.3, alpha=0.5)
    fields[0][0].set_ylabel("normalised distance")
    fields[1][0].set_ylabel("at the smallest change")
    handles, words = fields[0][0].get_legend_handles_labels()
    figure = wide.finished(handles, words)
    stem = "invariance-layers"
    return {f"{stem}.png": save(figure, stem)[f"{stem}.png"]}
