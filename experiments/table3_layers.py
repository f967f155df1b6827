"""Layers left out and widths changed, beside the paper's own differences (Table 3).

Command:   python experiments/table3_layers.py --workdir DIR [--tiny]; DIR is the grid that `zfjax
           ablate --workdir DIR --preset demo --seeds 3 --grid layers` has trained (two hours).
Hardware:  2 CPU cores.
Time:      5 s of a core, once the grid is there.
Result:    three seeds, 10 epochs of drawn scenes: no difference is shown. Without conv3, conv4, fc6
           and fc7 the paper loses 30.8 points, these runs gain 2.7 (from -5.6 to +11.1): so easy
           a data set does not need the depth.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.gallery import arguments, grid_of, save_picture
from zfjax.studies.paper_claims import answers_of


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(__doc__, argv)
    view = grid_of(options, {"drop": ["fc7", "conv3,conv4"]})
    answers = [answer for answer in answers_of(view) if answer.claim.grid == "layers"]
    figure = Figure(figsize=(8, 0.9 + 0.42 * len(answers)), dpi=200)
    axes = figure.add_axes((0.26, 0.16, 0.72, 0.74))
    for row, answer in enumerate(answers):
        if answer.difference is not None:
            own = 100 * answer.difference
            axes.plot(own, row, "o", color="#c4451c", ms=5, label="these runs" * (row == 0))
            if answer.interval is not None:
                ends = [100 * float(answer.interval.low), 100 * float(answer.interval.high)]
                axes.plot(ends, [row, row], color="#c4451c", lw=1.6)
        sizes = [100 * size for size in answer.claim.sizes]
        axes.plot(sizes, [row + 0.22] * len(sizes), "D", color="#777", ms=4, mfc="none",
                  label="the paper, one run on ImageNet" * (row == 0))  # fmt: skip
        known = answer.difference is not None
        said = f", {100 * answer.difference:+.1f} points" if known else ""
        print(f"{answer.claim.cell}: {answer.verdict}{said}")
    axes.axvline(0, color="#999", lw=0.8)
    axes.set_yticks(range(len(answers)), [answer.claim.cell for answer in answers], fontsize=8)
    axes.set_ylim(len(answers) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("points of top-1, changed network minus base", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="upper right", fontsize=7, frameon=False, ncols=2)
    print(save_picture(figure, options.out, "table3_layers"))


if __name__ == "__main__":
    main()
