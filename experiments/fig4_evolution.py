"""Features while they form: each map's strongest unit, epoch by epoch (Fig. 4).

Command:   python experiments/fig4_evolution.py [--workdir runs/demo] [--tiny]; the run is evolved
           (zfjax evolve). evolution_scenes.py makes the same of the whole demo.
Hardware:  2 CPU cores.
Time:      15 s of a core (41 s on the two, shared, 2026-11-27).
Result:    on the drawn scenes, 10 epochs: half of the maps have found their last image at epoch 6
           in conv1, 7 to 8 above it. Where a map's strongest image stays, its projections of
           neighbouring epochs correlate by 0.61 more than where it changes (40 maps).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from experiments.gallery import arguments, run_of, save_picture
from zfjax.run.folder import load_run
from zfjax.studies.paper_pictures import draw_figures
from zfjax.studies.paper_readings import Saved, jumps_are_images


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(__doc__, argv)
    run = load_run(run_of(options))
    evolution = run.evolution()
    with tempfile.TemporaryDirectory() as folder:
        picture = Image.open(draw_figures(run, evolution, Path(folder)) / "figure4.png")
        print(save_picture(picture, options.out, "fig4_evolution"))
    jumps = jumps_are_images(Saved(evolution=evolution))
    print(
        f"projections of neighbouring epochs correlate by {jumps.value:.2f} more where the"
        f" strongest image stays ({jumps.n} maps)"
    )
    for layer in evolution.layers:
        settled = evolution.settled(layer)
        first = [epoch for step, epoch in zip(evolution.steps, evolution.epochs, strict=True)
                 if (settled[step] or 0) >= 0.5]  # fmt: skip
        print(f"{layer}: half of the maps have found their last image at epoch {first[0]:g}")


if __name__ == "__main__":
    main()
