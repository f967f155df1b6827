"""@TITLE@

Command:   ``python -m experiments.table1_correspondence [--workdir runs/demo] [--tiny]
           [--out FOLDER]``
Hardware:  @HARD@
Result:    @RESULT@
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
