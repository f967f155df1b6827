"""One run of a grid: trained like any other, then asked which images it gets right."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.config import Config
from zfjax.devices import data_mesh
from zfjax.files import write_arrays
from zfjax.inputs import open_data
from zfjax.progress import Progress
from zfjax.run.folder import Run
from zfjax.run.summary import train_seconds, update_summary
from zfjax.studies.standings import CORRECT, DIVERGED, FINISHED, Outcome
from zfjax.subject import images_of, subject_of
from zfjax.training.evaluation import batching_of
from zfjax.training.figures import Diverged
from zfjax.training.hits import Hits, hits_of, probe_ids
from zfjax.training.loop import train


def train_run(
    config: Config,
    folder: Path,
    *,
    check: Callable[[], None],
    progress: Progress,
    devices: int | None = None,
) -> Outcome:
    """Trains ``config`` in ``folder``, going on from where it is, and writes RUN/correct.npz, each
    validation image's hit. A run that diverges is an outcome; all other errors are raised.

    ``check`` is called now and then, and what it raises ends the training.
    """

    def tell(*arguments: Any, **figures: Any) -> None:
        check()
        progress(*arguments, **figures)

    try:
        run = train(config, folder, progress=tell, devices=devices)
    except Diverged as error:
        return Outcome(DIVERGED, time.time(), str(error))
    update_summary(run)
    hits, digest = _hits(run, run.config.data.validation_split, devices, whole=True)
    on_training, _ = _hits(run, run.config.data.train_split, devices, whole=False)
    counted = np.packbits(hits.counted), np.packbits(hits.top1)
    arrays = {"counted": counted[0], "top1": counted[1], "images": np.int64(len(hits.top1))}
    write_arrays(folder / CORRECT, arrays)
    return Outcome(
        FINISHED,
        time.time(),
        top1=hits.share(hits.top1),
        top5=hits.share(hits.top5),
        train_top1=on_training.share(on_training.top1),
        images=int(hits.counted.sum()),
        digest=digest,
        seconds=train_seconds(run),
    )


def _hits(run: Run, split: str, devices: int | None, whole: bool) -> tuple[Hits, str]:
    """Of the last epoch's network, and the split's digest; not ``whole``: of its probe."""
    images = images_of(run.config, open_data(run.config), split)
    subject = subject_of(run, images)
    batching = batching_of(run.config, data_mesh(run.config.batch_size, devices))
    ids = None if whole else probe_ids(images.count)
    parameters = subject.parameters(run.last_step, whole=True)
    return hits_of(subject, parameters, batching, ids), images.fingerprint["digest"]
