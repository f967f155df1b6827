"""First layers of two sizes and two strides: filters, spectra, aliasing, accuracy (Fig. 6).

Command:   python experiments/fig6_stems.py --workdir DIR [--tiny]; DIR is the grid that `zfjax
           ablate --workdir DIR --preset demo --seeds 3 --grid stems` has trained (an hour).
Hardware:  2 CPU cores.
Time:      4 s of a core, once the grid is there.
Result:    three seeds, 10 epochs of drawn scenes: 7x7 of stride 2 is right on 15 points more than
           11x11 of stride 4 and covers frequencies better (both hold over the seeds; before
           training their coverage is alike); stride 4 aliases 29% of the maps of 7x7 filters,
           stride 2 none, but of filters drawn at random 19% and none. No map is dead anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.gallery import arguments, grid_of, save_picture
from zfjax.report.pictures import filter_grid
from zfjax.studies.paper_claims import answers_of

NUMBERS = (
    ("top-1, %", None, 1),
    ("coverage of frequencies, %", "coverage", 100),
    ("aliased maps, %", "aliased_share", 100),
    ("dead maps, %", "dead_share", 100),
)


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(__doc__, argv)
    view = grid_of(options, {"grids": ["stems"]})
    cells = list(view.cells)
    names = [_name(cell) for cell in cells]
    figure = Figure(figsize=(8, 5.4), dpi=200)
    grid = figure.add_gridspec(
        3, len(cells), left=0.05, right=0.99, top=0.93, bottom=0.44, hspace=0.12
    )
    for column, cell in enumerate(cells):
        if cell.filters is None:
            continue
        kernel = cell.filters.kernels[-1]
        axes = figure.add_subplot(grid[:2, column])
        axes.imshow(filter_grid(kernel, aspect=1)[0], interpolation="nearest")
        axes.set_title(names[column], fontsize=8)
        spectrum = figure.add_subplot(grid[2, column])
        power = np.abs(np.fft.fft2(kernel.mean(axis=2), (64, 64), axes=(0, 1))) ** 2
        shown = 10 * np.log10(np.fft.fftshift(power.mean(axis=-1)) + 1e-12)
        spectrum.imshow(shown, cmap="Greys", vmin=shown.max() - 20, vmax=shown.max())
        nyquist = 32 / cell.cell.config.model.conv(cell.layers[0]).stride
        ends = np.array([-1, 1, 1, -1, -1]) * nyquist + 32
        spectrum.plot(ends, _square(nyquist), lw=1, color="#c4451c")
        for each in (axes, spectrum):
            each.set_xticks([])
            each.set_yticks([])
    below = figure.add_gridspec(1, len(NUMBERS), left=0.13, right=0.99, top=0.33, bottom=0.09)
    for column, (title, quantity, times) in enumerate(NUMBERS):
        axes = figure.add_subplot(below[0, column])
        for row, cell in enumerate(cells):
            values = _values(cell, quantity, times)
            axes.plot(values, [row] * len(values), "o", ms=4, color="#c4451c", alpha=0.6)
        axes.set_title(title, fontsize=8)
        if quantity in ("aliased_share", "dead_share"):
            axes.set_xlim(-2, max(35, axes.get_xlim()[1]))
        axes.set_yticks(range(len(cells)), names if column == 0 else [""] * len(cells), fontsize=7)
        axes.set_ylim(len(cells) - 0.5, -0.5)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.05, 0.965, "Filters of the first layer, and their spectrum with the square that"
                " the stride can carry; below, each dot is a run", fontsize=8)  # fmt: skip
    print(save_picture(figure, options.out, "fig6_stems"))
    for answer in answers_of(view):
        print(f"{answer.claim.words}: {answer.verdict} ({_shown(answer.difference)})")


def _square(nyquist: float) -> np.ndarray:
    return np.array([-1, -1, 1, 1, -1]) * nyquist + 32


def _shown(difference: float | None) -> str:
    return "not measured" if difference is None else f"{100 * difference:+.1f} points"


def _name(cell) -> str:
    layer = cell.cell.config.model.conv(cell.layers[0])
    return f"{layer.kernel}x{layer.kernel}, stride {layer.stride}"


def _values(cell, quantity, times) -> list[float]:
    if quantity is None:
        return list(cell.accuracies)
    values = (each.get(f"{cell.layers[0]}.{quantity}") for each in cell.measured.values())
    return [times * value for value in values if value is not None]


if __name__ == "__main__":
    main()
