"""Switches: a projection by its own image's, by another image's, and another unit's (Fig. 1).

Command:   python experiments/fig1_switches.py [--workdir runs/demo] [--tiny]; the run is evolved
           (zfjax evolve).
Hardware:  2 CPU cores.
Time:      16 s of a core for 8 maps of each of 4 layers.
Result:    on the drawn scenes, epoch 10, conv5: the cosine of a projection with the same unit's by
           another image's switches is 0.14, with another unit's on the same image 0.82: what it
           looks like is the image's and its switches' more than the unit's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.gallery import arguments, run_of, save_picture
from zfjax.measures.running import measure
from zfjax.report.rowed import signed_bytes
from zfjax.run.evolution import Evolution
from zfjax.run.folder import load_run

COLUMNS = ("patch", "projection", "other unit", "other switches", "untrained")
KEPT = {"projection": 0, "other unit": 1, "other switches": 2, "untrained": 3}
"""Where each stands in the pictures that the measure controls keeps, side by side."""
MAPS, HELD = 3, 6


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(__doc__, argv)
    run = load_run(run_of(options))
    controls = measure(run, "controls", at=["last"], name="gallery", maps=4 if options.tiny else 16)
    evolution = run.evolution()
    layers = [layer for layer in controls.layers[1:] if controls.pictures(layer)]
    blocks = (len(layers) + 1) // 2
    tall, wide = MAPS * blocks, 2 * len(COLUMNS) + 1  # a narrow column keeps two layers apart
    figure = Figure(figsize=(8, 0.5 + 0.78 * tall), dpi=200)
    grid = figure.add_gridspec(
        *(tall, wide), left=0.03, right=0.995, top=1 - 0.42 / figure.get_figheight(), bottom=0.01,
        wspace=0.06, hspace=0.06, width_ratios=[*[1] * len(COLUMNS), 0.35, *[1] * len(COLUMNS)],
    )  # fmt: skip
    for number, layer in enumerate(layers):
        left, top = number % 2 * (len(COLUMNS) + 1), number // 2 * MAPS
        for row, pictures in enumerate(_rows(evolution, controls.pictures(layer), layer)):
            for column, picture in enumerate(pictures):
                axes = figure.add_subplot(grid[top + row, left + column])
                axes.set_xticks([])
                axes.set_yticks([])
                if picture is not None:
                    axes.imshow(picture, interpolation="nearest", aspect="auto")
                if number < 2 and row == 0:
                    axes.set_title(COLUMNS[column], fontsize=6.5, pad=3)
                if column == 0 and row == 0:
                    axes.set_ylabel(layer, fontsize=7, labelpad=2)
    figure.suptitle("One unit's projection, and what changes it", fontsize=8.5, y=0.99, va="top")
    print(save_picture(figure, options.out, "fig1_switches"))
    layer = layers[-1]
    for name, words in (
        ("cosine_switches", "other switches"), ("image_share", "other unit"),
        ("cosine_initial", "untrained"),
    ):  # fmt: skip
        values = controls.of_layer(name, layer)
        print(f"{layer}, cosine with {words}: {values[max(values)]:.2f}")


def _rows(
    evolution: Evolution, kept: dict[int, tuple[np.ndarray, np.ndarray]], layer: str
) -> list[list[np.ndarray | None]]:
    """Of some maps: the patch, and the projection by each way."""
    step = max(kept)
    maps, pixels = kept[step]
    tiles = evolution.tiles(layer, step)
    rows: list[list[np.ndarray | None]] = []
    for map_, joined in list(zip(maps.tolist(), pixels, strict=True))[:MAPS]:
        tile = tiles.get(("top", map_, 0))
        shots = np.split(joined, HELD, axis=1)
        pictures = [shots[KEPT[name]] for name in COLUMNS[1:]]
        rows.append(
            [None if tile is None else tile.patch, *(signed_bytes(each) for each in pictures)]
        )
    return rows


if __name__ == "__main__":
    main()
