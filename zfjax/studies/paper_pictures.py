"""The evolution's figures for the paper's page, drawn where the run has no report: Fig. 4 and the
deepest layer of Fig. 2. No JAX.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from zfjax.files import write_atomic
from zfjax.report import words
from zfjax.report.figures import figure2, figure4
from zfjax.report.pictures import read_layer
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run


def draw_figures(run: Run | AdoptedRun, evolution: Evolution, folder: Path) -> Path:
    """The folder that has figure4.png and figure2-<deepest>.png: the report's where it does, else
    ``folder``, into which they are drawn.
    """
    last = evolution.layers[-1]
    names = ("figure4.png", f"figure2-{last}.png")
    if all((run.report / name).is_file() for name in names):
        return run.report
    layers = [
        read_layer(evolution, layer, evolution.steps, evolution.maps(layer))
        for layer in evolution.layers
    ]
    network = words.network_words(run)
    files = {
        **figure4(evolution, layers, network, photos=True),
        **figure2(evolution, layers[-1], network, photos=True),
    }
    for name in names:
        write_atomic(folder / name, partial(Path.write_bytes, data=files[name]))
    return folder
