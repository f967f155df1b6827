"""Table 2 of the paper: what the mean of several runs' answers gains over one run's.

It needs each run's scores of each validation image, so it is evaluated, and kept in
RUN/paper/ensemble.json for the page to be written again.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.files import read_json, write_json
from zfjax.run.adopted import AdoptedRun
from zfjax.run.folder import Run
from zfjax.studies.paper_filling import Size
from zfjax.studies.paper_numbers import OF_SHARES, Reading
from zfjax.values import Place

FILE = "paper/ensemble.json"


def ensemble_gain(
    runs: Sequence[Run | AdoptedRun], size: Size, data_dir: Place | None
) -> tuple[Reading | None, str]:
    """(accuracy of the mean answer minus the runs' average, over images; why there is none)."""
    own = [run for run in runs if isinstance(run, Run)]
    if len(own) < 2 or len(own) < len(runs):
        return None, "One network is no ensemble: --seeds-of adds runs."
    path = own[0].folder / FILE
    about = [[run.config.seed, run.created] for run in own]
    if path.exists():
        try:
            kept = read_json(path)
            if kept["runs"] == about:
                numbers = kept["value"], kept["low"], kept["high"], kept["n"]
                return Reading(*numbers, note=kept["note"], limits=OF_SHARES), ""
        except (ZfjaxError, KeyError, TypeError):
            pass  # evaluated anew
    if size == "saved-only":
        return None, "It is not evaluated yet."
    try:
        reading = _evaluated(own, data_dir)
    except (ZfjaxError, ImportError) as error:
        return None, str(error)
    path.parent.mkdir(exist_ok=True)
    kept = {"runs": about, "value": reading.value, "low": reading.low, "high": reading.high}
    write_json(path, {**kept, "n": reading.n, "note": reading.note})
    return reading, ""


def _evaluated(runs: Sequence[Run], data_dir: Place | None) -> Reading:
    ensembles: Any = importlib.import_module("zfjax.training.ensembles")
    members = ensembles.members_of(runs, data_dir=data_dir)
    [steps] = ensembles.steps_together(members, ["last"])
    together = ensembles.evaluate_together(members, steps, ensembles.batching_together(members))
    value, low, high = together.gain
    images = int(together.mean["images"])
    note = f"The mean of {len(runs)} networks."
    return Reading(value, low, high, images, note=note, limits=OF_SHARES)
