"""The strongest images of maps of every layer, with their projections (Fig. 2).

Command:   python experiments/fig2_features.py [--workdir runs/demo] [--tiny]; the run is evolved
           (zfjax evolve).
Hardware:  2 CPU cores.
Time:      13 s of a core.
Result:    on the drawn scenes, epoch 10: from conv3 on many maps' nine strongest images are of one
           class (signs, clocks, flowers, robots); conv1's are alike in colour and edge.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.gallery import arguments, run_of, save_picture
from zfjax.report.rowed import signed_bytes
from zfjax.run.colours import colour_scale
from zfjax.run.folder import load_run

SIDE = 3
MAPS = 4


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(__doc__, argv)
    evolution = load_run(run_of(options)).evolution()
    step, layers = evolution.steps[-1], evolution.layers
    figure = Figure(figsize=(8, 0.3 + 0.98 * len(layers)), dpi=200)
    for row, layer in enumerate(layers):
        tiles = evolution.tiles(layer, step)
        alive = [map_ for map_ in evolution.maps(layer) if ("top", map_, 0) in tiles][:MAPS]
        for index, map_ in enumerate(alive):
            for half in range(2):  # projections, then patches
                _block(figure, tiles, map_, half, (row, index, len(layers)))
        names = {name: evolution.rows(layer=layer, step=step, map=map_, selection="top")
                 for name, map_ in (("first", alive[0]),)} if alive else {}  # fmt: skip
        for rows in names.values():
            labels = [row["label_name"] for row in rows]
            common = max(set(labels), key=labels.count)
            print(f"{layer}, map {alive[0]}: {labels.count(common)} of {len(labels)} are {common}")
        figure.text(0.004, 1 - (0.3 + 0.98 * (row + 0.5)) / figure.get_figheight(), layer,
                    rotation=90, va="center", fontsize=8)  # fmt: skip
    figure.text(0.5, 0.995, "Maps' nine strongest images at the last epoch: projections, patches",
                ha="center", va="top", fontsize=8)  # fmt: skip
    print(save_picture(figure, options.out, "fig2_features"))


def _block(figure, tiles, map_, half, where) -> None:
    row, index, rows = where
    height = figure.get_figheight()
    for rank in range(SIDE * SIDE):
        tile = tiles.get(("top", map_, rank))
        if tile is None:
            continue
        left = 0.03 + index * 0.2425 + half * 0.119 + rank % SIDE * 0.0385
        bottom = 1 - (0.3 + 0.98 * row + 0.31 * (rank // SIDE + 1)) / height
        axes = figure.add_axes((left, bottom, 0.0375, 0.3 / height))
        axes.set_axis_off()
        picture = (
            tile.patch if half else signed_bytes(tile.projection, colour_scale(tile.projection))
        )
        axes.imshow(picture, interpolation="nearest")


if __name__ == "__main__":
    main()
