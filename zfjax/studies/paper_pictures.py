"""The pictures that are drawn for the paper's page: sheets of Fig. 1 and Fig. 2, and where the run
has no report its Fig. 4 and the deepest layer of Fig. 2. No JAX.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from zfjax.files import write_atomic
from zfjax.report import words
from zfjax.report.figures import figure2, figure4
from zfjax.report.pictures import read_layer
from zfjax.report.sheets import controls_sheet, features_sheet
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.studies.paper_readings import Saved

SHEETS = ("figure1.png", "figure2.png")
"""Of units beside their controls, and of all layers' strongest images."""


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


def draw_sheets(run: Run | AdoptedRun, saved: Saved, folder: Path) -> None:
    """SHEETS in ``folder``, as far as the run has what they show; one that it has not is taken
    away.
    """
    controls, evolution = saved.measures.get("controls"), saved.evolution
    sheets = (
        None if controls is None else controls_sheet(controls, evolution),
        None if evolution is None else features_sheet(evolution, words.network_words(run)),
    )
    for name, data in zip(SHEETS, sheets, strict=True):
        if data is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_atomic(folder / name, partial(Path.write_bytes, data=data))
