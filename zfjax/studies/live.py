"""The evolution so far, drawn between the epochs of a training: RUN/evolution-live and
RUN/report-live.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.features.evolving import evolve
from zfjax.processes import first_alone, from_first
from zfjax.report.page import write_report
from zfjax.run.folder import Run, load_run
from zfjax.training.epochs import AfterEpoch


def live_evolution(workdir: Path, every: int, images: int) -> AfterEpoch:
    """What training calls after an epoch: draws all epochs so far anew from a probe of the images.

    Raises ZfjaxError for ``every`` below 1.
    """
    if every < 1:
        raise ZfjaxError(f"--evolve-every {every} must be 1 or more.")

    def draw(step: int, progress: Any) -> None:
        run = load_run(workdir)
        if step not in run.steps:  # not one of --keep
            return
        there = np.int32(first_alone(lambda: _drawn(run, step)) or 0)
        if round(run.epoch(step)) % every == 0 and not from_first(there):
            first_alone(lambda: shutil.rmtree(run.evolution_folder("live"), ignore_errors=True))
            model = run.config.model
            few = min(16, *(model.conv(layer).maps for layer in model.conv_names))
            evolve(workdir, images=images, maps=few, name="live", locked=True, progress=progress)
            first_alone(lambda: write_report(run, name="live", progress=progress))

    return draw


def _drawn(run: Run, step: int) -> bool:
    """Whether the live page shows ``step``."""
    record = run.evolution_folder("live") / "meta.json"
    page = run.folder / "report-live" / "index.html"
    try:
        whole = page.stat().st_mtime_ns >= record.stat().st_mtime_ns
        return whole and run.evolution("live").steps[-1] >= step
    except (ZfjaxError, OSError, LookupError):
        return False
