"""Table 2: runs of several seeds, one by one and together, as the mean of their softmax outputs.

Command:   python -m experiments.table2_ensemble --workdir runs/order/seed-0
           (the runs beside it are taken along: runs/order/seed-1, ...)
Hardware:  2 CPU cores shared with eight others.
Time:      70 s.
Result:    scenes, preset demo, 10 epochs, three seeds, 2,000 images; top-1 error, 1 crop and 10:
           7.1 and 5.9, 5.8 and 5.1, 4.4 and 3.6; their mean 3.7 and 3.1. Against the runs' average
           +2.1 points [+1.5, +2.6] and +1.7 [+1.3, +2.2] more right, 95% over images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.drawn_tables import drawn_table
from experiments.gallery import arguments, run_of, save_picture, tiny_run
from zfjax.run.folder import load_run
from zfjax.training.ensembles import (
    Together,
    batching_together,
    evaluate_together,
    members_of,
    steps_together,
)


def runs_of(workdir: Path) -> list[Path]:
    """The runs in the folder of ``workdir``, itself first."""
    beside = sorted(path.parent for path in workdir.resolve().parent.glob("*/config.json"))
    return [workdir, *(path for path in beside if path != workdir.resolve())]


def table_of(folders: Sequence[Path], told: dict[int, Together]) -> Figure:
    """Each run, then their mean; one crop and ten."""
    rows = []
    for index, name in enumerate([*(f"run {n + 1}" for n in range(len(folders))), "mean of all"]):
        figures = [[*one.own, one.mean][index] for one in told.values()]
        errors = [100 * (1 - own["top1"]) for own in figures]
        texts = [f"{error:.1f}" for error in errors] + [f"{own['loss']:.3f}" for own in figures]
        rows.append((name, texts, [error / 20 for error in errors] + [float("nan")] * len(figures)))
    gains = [one.gain for one in told.values()]
    ends = "; ".join(
        f"{100 * value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        for value, low, high in gains
    )
    words = (
        f"Error on {told[1].mean['images']:,} images, %. Together: {ends} more right, 1 crop; 10.",
        "95% over images, of these runs.",
    )
    names = ["1 crop" if views == 1 else "10 crops" for views in told]
    head = [f"top-1, {name}" for name in names] + [f"loss, {name}" for name in names]
    return drawn_table(head, rows, words)


def main(arguments_: Sequence[str] | None = None) -> None:
    """Draws the table of ``--workdir`` and the runs beside it."""
    options = arguments(__doc__, arguments_)
    folders = runs_of(run_of(options))
    with tempfile.TemporaryDirectory() as home:
        if options.tiny:
            folders = [folders[0], tiny_run(Path(home), seed=1)]
        members = members_of([load_run(folder) for folder in folders])
        [steps] = steps_together(members, ["last"])
        batching = batching_together(members)
        told = {
            views: evaluate_together(members, steps, batching, views=views) for views in (1, 10)
        }
        print(f"mean of {len(folders)} runs: top-1 error {1 - told[1].mean['top1']:.1%}")
        print(save_picture(table_of(folders, told), options.out, "table2_ensemble"))


if __name__ == "__main__":
    main()
