"""The paper's Fig. 5: how far features move when images are moved, enlarged and turned.

Command:   ``python experiments/fig5_invariance.py [--workdir runs/demo] [--tiny] [--out FOLDER]``
Hardware:  2 CPU cores, shared with others.
Time:      35 s of a core (200 s at that load) for 11 epochs, 50 images, 70 changes. --tiny:
           seconds, and half a minute for its run.
Result:    scenes, preset demo, 10 epochs (top-1 93%), validation images. Moved by 5 of 224 pixels,
           an image is as far from itself as 0.32 [0.29, 0.36] of the distance of two random images
           at conv1 and 0.17 [0.14, 0.21] at fc7: the difference 0.15 [0.10, 0.20] was 0.01 before
           training. A line explains R2 -0.30 of conv1's curve over translations, 0.69 of fc7's. The
           probability of the true class falls by 0.13 [0.09, 0.16] over translations, 0.29 over
           enlargements, 0.47 [0.40, 0.55] over rotations; the clock, which is round, hardly
           notices. As in the paper, but at fc7 the smallest translation already takes a step.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

import zfjax
from experiments.gallery import arguments, run_of, save_picture

TINY = {"images": 4, "translation_points": 5, "scale_points": 3, "rotation_points": 5, "at": "last"}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the run, into RUN/measures-gallery, and saves the measure's picture."""
    options = arguments(__doc__, argv)
    words = TINY if options.tiny else {}
    name = "gallery-tiny" if options.tiny else "gallery"
    measured = zfjax.measure(run_of(options), "invariance", name=name, **words)
    print(measured.meta["sentence"])
    with Image.open(measured.folder / "invariance.png") as picture:
        print(save_picture(picture, options.out, "fig5_invariance"))


if __name__ == "__main__":
    main()
