"""Do lower layers settle first? Runs of several seeds and the verdict over them.

Command:   .venv/bin/python experiments/layer_order.py --workdir runs/order [--seeds 3] [--epochs 8]
           [--preset demo] [--rewind-images 500] [--set FLAG VALUE ...]
           (each run is gone on with where it was stopped; the table below is what it prints last;
           --table prints that alone, of runs that are measured; --set: of the training)
Hardware:  2 CPU cores, shared with others: a minute to train and two to measure a seed of scenes.
Result:    scenes, preset demo, --epochs 10, cosine from 0.02, 4,000 images; epochs a layer:

           seed              responses        representation                rewind      verdict
           0      +0.07 [+0.05, +0.09]  -0.02 [-0.03, -0.01]  -0.07 [-0.30, +0.16]  cannot tell
           1      +0.25 [+0.23, +0.26]  -0.05 [-0.06, -0.03]  +0.04 [-0.18, +0.26]  cannot tell
           2      +0.10 [+0.08, +0.12]  +0.10 [+0.08, +0.11]  +0.24 [-0.08, +0.56]  cannot tell
           seeds  +0.14 [-0.10, +0.37]  +0.01 [-0.18, +0.20]  +0.07 [-0.32, +0.46]  cannot tell

           By what excites their maps lower layers settle first in each run, but three seeds do not
           show it of such networks; by what they are together, and by what the accuracy needs,
           the runs disagree. conv5 put back to epoch 0 costs 4 of 93 points: there is little for
           it to settle.

           50 classes of Tiny ImageNet, preset tiny-imagenet (16 epochs, top-1 47.9%), one seed,
           10,000 images, 2,500 for rewind: responses +0.75 [+0.73, +0.77], representation
           +0.48 [+0.47, +0.50], rewind +0.46 [+0.28, +0.64]: yes, of this run. tau-b is 0.8
           (p 0.042) for the first two, 0.6 (p 0.117) for rewind.

           Beside it, a ResNet-18 on the scenes: resnet_scenes.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zfjax.commands.cli import main as zfjax
from zfjax.measures.layer_order import DECIDING, tell_order
from zfjax.measures.protocol import plain_table
from zfjax.measures.verdicts import HOLDS
from zfjax.run.measured import Measured, open_measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--epochs", default="8")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rewind-images", default="500")
    parser.add_argument("--table", action="store_true", help="of runs that are measured already")
    parser.add_argument(
        "--set", nargs=argparse.REMAINDER, default=[], help="fields of the config, as --data.dir D"
    )
    options = parser.parse_args()
    runs = [options.workdir / f"seed-{seed}" for seed in range(options.seeds)]
    if not options.table:
        _train_and_measure(runs, options)
    measured = [open_measured(run / "measures", "settling") for run in runs]
    print("\n".join(table(measured)))


def table(runs: Sequence[Measured]) -> tuple[str, ...]:
    """Slopes of settling time on depth, epochs a layer, and the verdict: of each run's images, and
    over the seeds.
    """
    rows = [_row(str(seed), tell_order(run, (), None).figures) for seed, run in enumerate(runs)]
    if len(runs) > 1:
        rows.append(_row("seeds", tell_order(runs[0], runs[1:], None).figures))
    return plain_table(("seed", *DECIDING, "verdict"), rows)


def _row(name: str, figures: Any) -> list[str]:
    slopes = [figures["families"][family] for family in DECIDING]
    verdict = "yes" if figures["verdict"] == HOLDS else figures["verdict"]
    if figures["ambient"]:
        verdict += f" (never needed to move: {', '.join(figures['ambient'])})"
    words = [
        "-"
        if slope["slope"] is None
        else f"{slope['slope']:+.2f} [{slope['low']:+.2f}, {slope['high']:+.2f}]"
        for slope in slopes
    ]
    return [name, *words, verdict]


def _train_and_measure(runs: Sequence[Path], options: argparse.Namespace) -> None:
    words = ("--preset", options.preset, "--epochs", options.epochs, *options.set)
    for seed, run in enumerate(runs):
        _run("train", run, "--seed", seed, *words)
        _run("measure", run, "rewind", "settling", "--rewind.images", options.rewind_images)
    others = ("--seeds-of", *runs[1:]) if len(runs) > 1 else ()
    _run("measure", runs[0], "settling", *others)


def _run(command: str, run: Path, *arguments: object) -> None:
    if zfjax([command, "--workdir", str(run), *map(str, arguments)]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
