"""Feature evolution on the drawn scenes: makes the README's figure (paper, Fig. 4).

Command:   python experiments/evolution_scenes.py [--workdir runs/demo]
Hardware:  2 CPU cores.
Time:      that of `zfjax demo`, which it calls; seconds where the run is there and finished.
Result:    experiments/figures/evolution_scenes.png, from the run that `zfjax demo` trains in the
           workdir.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from zfjax.commands.cli import main as zfjax
from zfjax.files import write_atomic

WIDTH = 1600
"""Pixels of the README's picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo"))
    workdir = parser.parse_args().workdir
    if zfjax(["demo", "--workdir", str(workdir)]):
        raise SystemExit(1)
    figure = Image.open(workdir / "report" / "figure4.png").convert("RGB")
    height = round(figure.height * WIDTH / figure.width)
    small = figure.resize((WIDTH, height), Image.Resampling.LANCZOS).quantize(256)
    target = Path(__file__).parent / "figures" / "evolution_scenes.png"
    write_atomic(target, lambda path: small.save(path, "PNG", optimize=True))
    print(target)


if __name__ == "__main__":
    main()
