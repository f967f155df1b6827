"""Place code and rate code: how maxima of maps follow a shift of the image, layer by layer.

Command:   ``python experiments/equivariance.py [--workdir runs/demo] [--tiny] [--out FOLDER]``
Hardware:  2 CPU cores, shared with others.
Time:      7 s of a core (12 s on the two, shared, 2026-11-27) for 11 epochs, 32 images, 9
           shifts. --tiny: seconds, and half a minute for its run.
Result:    scenes, preset demo, 10 epochs, validation images. A maximum moves 1.00 pixels a pixel of
           shift at conv1 and 0.44 [0.40, 0.47] at conv5; its value changes by nothing at conv1 and
           by 0.51 [0.44, 0.58] of itself at fc7. conv2, whose stride is 8 pixels, changes most by
           shifts of 4 and 12: strides alias. Places at conv5 follow better with training (0.23
           before it).
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

import zfjax
from experiments.gallery import arguments, run_of, save_picture

TINY = {"images": 4, "points": 3, "at": "last"}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the run, into RUN/measures-gallery, and saves the measure's picture."""
    options = arguments(__doc__, argv)
    words = TINY if options.tiny else {}
    name = "gallery-tiny" if options.tiny else "gallery"
    measured = zfjax.measure(run_of(options), "equivariance", name=name, **words)
    print(measured.meta["sentence"])
    with Image.open(measured.folder / "equivariance.png") as picture:
        print(save_picture(picture, options.out, "equivariance"))


if __name__ == "__main__":
    main()
