"""Fig. 7: what a grey square that slides over an image takes from a map, from the true class and
from the prediction; and whether it takes where the map's projection lies.

Command:   ``python experiments/fig7_occlusion.py [--workdir runs/demo] [--tiny] [--out FOLDER]``
Hardware:  2 CPU cores.
Time:      13 s of a core (14 s on the two, shared, 2026-11-27), most of it for compiling.
Result:    of a run of ``zfjax demo``'s kind on drawn scenes (zfnet-64-quarter, 10 epochs), 6 images
           that it gets right: hiding lowers maps of conv1 where their own projections lie and not
           where other maps' do (rank correlation 0.87 against 0.11), of conv2 likewise (0.58
           against 0.21); in conv5 any strong map's projection agrees as well as the map's own (0.52
           each): there it says where the object is, not what the map is of. The true class falls
           from 0.96 to 0.50 at the worst position. Shown are the first four images of the lot.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

import zfjax  # noqa: E402
from experiments.gallery import arguments, run_of, save_picture  # noqa: E402
from zfjax.measures.occlusion_figure import occlusion_panels  # noqa: E402

SHOWN = 4
"""Images of those that are measured: the first, not the prettiest."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measures the last epoch and writes fig7_occlusion.png."""
    options = arguments(__doc__, argv)
    run = run_of(options)
    words = {"count": 2, "stride": 8} if options.tiny else {}
    name = "gallery-tiny" if options.tiny else "gallery"
    measured = zfjax.measure(run, "occlusion", at=["last"], name=name, **words)
    print(measured.meta["sentence"])
    panels: Image.Image = Image.open(
        io.BytesIO(occlusion_panels(measured, measured.steps[-1], SHOWN))
    )
    # Few pixels of a panel are of a class's colour, and this palette keeps them as the legend's.
    panels = panels.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
    print(save_picture(panels.convert("RGB"), options.out, Path(__file__).stem))


if __name__ == "__main__":
    main()
