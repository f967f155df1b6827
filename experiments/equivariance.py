"""@TITLE@

Command:   ``python -m experiments.equivariance [--workdir runs/demo] [--tiny] [--out FOLDER]``
Hardware:  @HARD@
Result:    @RESULT@
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
