"""One finished run of a grid: the measures that its table and page show, and the first layer's
filters at every saved epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.files import write_arrays
from zfjax.keeping import kept_epochs
from zfjax.measures.choosing import find_measure, with_options
from zfjax.measures.filters import kernels_of
from zfjax.measures.planning import Chosen, Wanted
from zfjax.measures.running import Home, measure_runs
from zfjax.progress import Progress
from zfjax.run.folder import Run, load_run
from zfjax.studies.measured import FILTERS, lacking
from zfjax.subject import subject_of

PROBE_IMAGES = 2000
"""Of the training split, or all of a smaller one."""


def measure_run(
    folder: Path, data_dir: str | None, *, check: Callable[[], None], progress: Progress
) -> dict[str, Exception]:
    """Makes of the run in ``folder`` what it lacks of ``measured.lacking``, in one pass over the
    probe's images; returns what could not be made and why, by name: epochs too, whose checkpoints
    are gone.

    ``check`` is called now and then, and what it raises ends the measuring. A measure that needs
    more checkpoints than the run has is left out without a word. Raises ZfjaxError for a run or
    data that are not there, and a run without its last epoch.
    """

    def tell(*arguments: Any, **figures: Any) -> None:
        check()
        progress(*arguments, **figures)

    run, names = load_run(folder), lacking(folder)
    failed = _lost(run)
    if FILTERS in names:
        _save_filters(run)
    measures = [find_measure(name) for name in names if name != FILTERS]
    chosen = [
        Chosen(measure, with_options(measure, {}))
        for measure in measures
        if len(run.steps) >= measure.least_steps
    ]
    if not chosen:
        return failed
    count = run.fingerprint.get("count", 0)
    wanted = Wanted(images=PROBE_IMAGES if count > PROBE_IMAGES else None)
    return {**failed, **measure_runs([run], chosen, wanted, Home(data_dir), tell).failed}


def _lost(run: Run) -> dict[str, Exception]:
    """What to say of the epochs that the run was to keep and has not. Raises ZfjaxError for the
    last of them: of another epoch nothing is compared.
    """
    epochs = run.config.epochs
    if run.last_step not in run.steps:
        raise ZfjaxError(
            f"the checkpoint of its last epoch, {epochs}, is gone from {run.checkpoints}; restore"
            " it from a copy, or delete the run's folder, and the same command trains it again."
        )
    kept = kept_epochs(run.config.keep)
    wanted = [epoch for epoch in range(epochs + 1) if kept is None or epoch in kept]
    lost = [epoch for epoch in wanted if epoch * run.steps_per_epoch not in run.steps]
    gone = f"the checkpoint is gone from {run.checkpoints}: all else is measured without it."
    return {f"epoch {epoch}": ZfjaxError(gone) for epoch in lost}


def _save_filters(run: Run) -> None:
    """RUN/filters.npz: "kernels" float32 [steps, h, w, inputs, maps] of the first layer, "steps"
    and "epochs" [steps].
    """
    subject = subject_of(run)
    layer = run.config.model.conv_names[0]
    steps: Sequence[int] = run.steps
    kernels = [
        kernels_of(subject.network, subject.parameters(step), [layer], "filters")[layer]
        for step in steps
    ]
    arrays = {
        "kernels": np.stack(kernels).astype(np.float32),
        "steps": np.array(steps, np.int64),
        "epochs": np.array([run.epoch(step) for step in steps], np.float64),
    }
    write_arrays(run.folder / FILTERS, arrays)
