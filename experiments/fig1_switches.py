"""Switches: a projection by its own image's, by another image's, and another unit's (Fig. 1).

Command:   python experiments/fig1_switches.py [--workdir runs/demo] [--tiny]; the run is evolved
           (zfjax evolve).
Hardware:  2 CPU cores.
Time:      18 s of a core (26 s on the two, shared, 2026-11-27) for 16 maps of each of 4 layers.
Result:    on the drawn scenes, epoch 10, conv5: the cosine of a projection with the same unit's by
           another image's switches is 0.16, with other units' on the same image 0.79: what it looks
           like is the image's and its switches' more than the unit's.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from experiments.gallery import arguments, run_of, save_picture
from zfjax.measures.running import measure
from zfjax.report.sheets import controls_sheet
from zfjax.run.folder import load_run


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(__doc__, argv)
    run = load_run(run_of(options))
    controls = measure(run, "controls", at=["last"], name="gallery", maps=4 if options.tiny else 16)
    sheet = controls_sheet(controls, run.evolution())
    assert sheet is not None, "controls keeps pictures of every layer but the first"
    with Image.open(io.BytesIO(sheet)) as picture:
        print(save_picture(picture, options.out, "fig1_switches"))
    layer = [layer for layer in controls.layers if controls.pictures(layer)][-1]
    for name, words in (
        ("cosine_switches", "other switches"), ("image_share", "other unit"),
        ("cosine_initial", "untrained"),
    ):  # fmt: skip
        values = controls.of_layer(name, layer)
        print(f"{layer}, cosine with {words}: {values[max(values)]:.2f}")


if __name__ == "__main__":
    main()
