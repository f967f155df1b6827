"""The paper's Table 1 on drawn scenes: does hiding a part change features alike?

Command:   ``python experiments/table1_correspondence.py [--workdir runs/demo] [--tiny] [--out
           FOLDER]``
Hardware:  2 CPU cores, shared with others.
Time:      51 s of a core (220 s at that load) for 11 epochs, 87 parts in 394 images. --tiny:
           seconds, and half a minute for its run.
Result:    scenes, preset demo, 10 epochs, validation images; mean feature sign change of parts and
           of random places: conv5 0.299 and 0.306, -0.007 [-0.009, -0.004]; fc7 0.295 and 0.331,
           -0.036 [-0.043, -0.030], p 0.0005 (2,000 exchanges). Of the features that change in both
           images alone -0.093 at conv5 and -0.148 at fc7, before training -0.028 and -0.036 (random
           places near one half, as chance has it): as the paper prints it, features that stay hide
           what is learnt at conv5.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

import zfjax
from experiments.gallery import arguments, run_of, save_picture

TINY = {"images": 5, "split": "train", "only": ("face nose", "face mouth"), "at": "last"}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the run, into RUN/measures-gallery, and saves the measure's picture."""
    options = arguments(__doc__, argv)
    words = TINY if options.tiny else {}
    name = "gallery-tiny" if options.tiny else "gallery"
    measured = zfjax.measure(run_of(options), "correspondence", name=name, **words)
    print(measured.meta["sentence"])
    with Image.open(measured.folder / "correspondence.png") as picture:
        print(save_picture(picture, options.out, "table1_correspondence"))


if __name__ == "__main__":
    main()
