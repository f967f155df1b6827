"""A strip of one unit over epochs: projections above, the patches they came from below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zfjax.files import clear_unfinished, write_atomic
from zfjax.report.kit.style import quiet_style
from zfjax.run.colours import colour_scale, to_bytes
from zfjax.run.evolution import Tile


def write_strip(path: Path, frames: Sequence[tuple[str, float, Tile]], title: str) -> None:
    """Writes a PNG; ``frames``: (label, activation, tile). Zero is mid-grey; each tile has its own
    colour scale.
    """
    with quiet_style(), matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(max(3.2, 1.25 * len(frames)), 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, len(frames), squeeze=False)
        for column, (label, activation, tile) in enumerate(frames):
            scale = colour_scale(tile.projection)
            axes[0][column].imshow(to_bytes(tile.projection, scale), interpolation="nearest")
            axes[0][column].set_title(f"{label}\n{activation:.3g}  \u00b1{scale:.2g}")
            axes[1][column].imshow(tile.patch, interpolation="nearest")
            for axis in axes[:, column]:
                axis.set_axis_off()
        figure.suptitle(title)
        clear_unfinished(path.parent, locked=False)
        write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))
