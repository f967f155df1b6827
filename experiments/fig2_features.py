"""The strongest images of maps of every layer, with their projections (Fig. 2).

Command:   python experiments/fig2_features.py [--workdir runs/demo] [--tiny]; the run is evolved
           (zfjax evolve).
Hardware:  2 CPU cores.
Time:      5 s of a core (8 s on the two, shared, 2026-11-27).
Result:    on the drawn scenes, epoch 10: each of the six maps shown from conv3 on has nine images
           of one class (signs, clocks, flowers, robots, cars); conv1's are alike in colour and
           edge.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from experiments.gallery import arguments, run_of, save_picture
from zfjax.report.sheets import MAPS, features_sheet
from zfjax.report.words import network_words
from zfjax.run.folder import load_run


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(__doc__, argv)
    run = load_run(run_of(options))
    evolution = run.evolution()
    with Image.open(io.BytesIO(features_sheet(evolution, network_words(run)))) as sheet:
        print(save_picture(sheet, options.out, "fig2_features"))
    step = evolution.steps[-1]
    for layer in evolution.layers:
        tiles = evolution.tiles(layer, step)
        for map_ in [map_ for map_ in evolution.maps(layer) if ("top", map_, 0) in tiles][:MAPS]:
            rows = evolution.rows(layer=layer, step=step, map=map_, selection="top")
            labels = [row["label_name"] for row in rows]
            common = max(set(labels), key=labels.count)
            print(f"{layer}, map {map_}: {labels.count(common)} of {len(labels)} are {common}")


if __name__ == "__main__":
    main()
