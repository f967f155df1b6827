"""@TITLE@

Command:   ``python -m experiments.fig5_invariance [--workdir runs/demo] [--tiny] [--out FOLDER]``
Hardware:  @HARD@
Result:    @RESULT@
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
