"""What an evolution costs as it grows: seconds of `zfjax.evolve` over epochs, images, maps and
layers, one at a time.

Each curve changes one number and leaves the others; the last column of the fit is the exponent of a
power law through the two largest points, so 1.00 is linear. Programs are compiled beforehand by a
first evolution of the same shapes.

Command:   python experiments/benchmarks/curves.py [--tiny]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import networks
from evolution import make_run
from harness import machine

LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")
MIDDLE = {"epochs": 4, "images": 1000, "maps": 16, "layers": 5}
CURVES = {
    "epochs": (1, 2, 4, 8),
    "images": (250, 500, 1000, 2000),
    "maps": (4, 8, 16, 32),
    "layers": (1, 2, 3, 4, 5),
}


def seconds(
    run: Path, epochs: int, images: int, maps: int, layers: int, name: str
) -> tuple[float, dict[str, Any]]:
    """Wall time of one evolution, and its parts."""
    import zfjax

    clock = time.perf_counter()
    found = zfjax.evolve(
        run,
        at=[str(epoch) for epoch in range(epochs)],
        images=images,
        maps=maps,
        layers=LAYERS[:layers],
        name=name,
    )
    return time.perf_counter() - clock, found.meta["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="smaller numbers: under a minute")
    options = parser.parse_args()
    middle, curves = MIDDLE, CURVES
    if options.tiny:
        middle = {"epochs": 2, "images": 64, "maps": 4, "layers": 2}
        curves = {name: values[:2] for name, values in {**CURVES, "images": (64, 128)}.items()}
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_run(root, networks.stack(64, True), max(curves["epochs"]), max(curves["images"]))
        number = 0
        for what, values in curves.items():
            taken = []
            for value in values:
                asked = {**middle, what: value}
                times = []
                for _ in range(2):  # the first compiles what this shape needs
                    number += 1
                    times.append(seconds(root / "run", **asked, name=f"n{number}"))
                taken.append(times[1])
            print(
                f"\n{what} (else "
                + ", ".join(f"{count} {name}" for name, count in middle.items() if name != what)
                + ")"
            )
            for value, (whole, parts) in zip(values, taken, strict=True):
                print(
                    f"  {value:>5} {what:<7}{whole:>7.2f} s   search {parts['search']:.1f} s,"
                    f" projection {parts['projection']:.1f} s"
                )
            (few, less), (many, more) = zip(values[-2:], (taken[-2][0], taken[-1][0]), strict=True)
            exponent = math.log(more / less) / math.log(many / few)
            print(
                f"ratio: {exponent:.2f}x  exponent over {what}, from {few} to {many}: 1 is linear"
            )


if __name__ == "__main__":
    main()
