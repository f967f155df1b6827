"""Training: one loop that can be read from top to bottom.

Every random draw and the order of the images are pure functions of (seed, step), so a run that was
killed goes on as if nothing had happened: the same parameters, bit for bit, on the same kind and
number of devices (on CPU also of threads: XLA splits its sums among them, which may change the last
bit). Many processes run this same loop; process 0 alone writes.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zfjax.config import Config
from zfjax.data.finding import data_home
from zfjax.data.pipeline import training_batches
from zfjax.devices import data_mesh, keep_compiled, place, place_key
from zfjax.files import clear_unfinished, data_folder
from zfjax.inputs import make_mean_image, open_data, reading_of
from zfjax.processes import first_alone, from_first, of_first, seen_by_all, together
from zfjax.progress import Progress
from zfjax.run.folder import Run, check_folder, load_run, locked_run
from zfjax.run.steps import keep_newest, mend_unfinished
from zfjax.run.summary import train_seconds
from zfjax.signals import noted
from zfjax.subject import images_of, subject_of
from zfjax.training import epochs
from zfjax.training.epochs import AfterEpoch, Session
from zfjax.training.interrupts import Interrupted, Stop, Stopped
from zfjax.training.opening import note_start, open_run
from zfjax.training.pace import Pace
from zfjax.training.records import Records
from zfjax.training.resuming import begin_state, is_validated, placed_mean
from zfjax.training.schedule import schedule_of
from zfjax.training.step import TrainState, compiled_config, train_step


def train(
    config: Config,
    workdir: Path | str,
    *,
    progress: Progress | None = None,
    devices: int | None = None,
    after_epoch: AfterEpoch | None = None,
    shard_parameters: bool = False,
) -> Run:
    """Trains to the end of ``config.epochs`` in ``workdir``, going on from the newest sound state
    there.

    Every process of a distributed run calls this; all must see ``workdir``, in which process 0
    alone writes. ``after_epoch(step, progress)`` is called by all when an epoch is on disk, under
    the workdir's lock, and again on going on from there: it may have been killed.
    ``shard_parameters``: large parameters and their momentum are spread over the devices, not
    copied to each. Raises ZfjaxError for another config in the workdir, a busy workdir, missing
    data, a full disk, divergence; and Interrupted (exit status 128 + signal) after SIGINT or
    SIGTERM, when the state has been saved.
    """
    began = time.monotonic()
    tell = of_first(progress)
    folder = check_folder(workdir)
    config = _with_absolute_data(config)
    mesh = data_mesh(config.batch_size, devices)  # refused before the folder becomes a run
    keep_compiled(data_home() / "compiled")
    with ExitStack() as locks:
        first_alone(lambda: _take_over(folder, locks))
        first_alone(lambda: open_run(folder, config, open_data(config, tell)))
        seen_by_all(folder / "config.json")
        dataset = together(lambda: open_data(config))
        run = together(lambda: open_run(folder, config, dataset))
        if from_first(np.int32(run.is_finished)):
            first_alone(lambda: keep_newest(run.resume, 2))
            if after_epoch is not None:
                after_epoch(run.last_step, tell)
            return run
        began -= first_alone(lambda: train_seconds(run)) or 0.0
        make_mean_image(run, dataset, tell)
        # Until here a signal ends it at once: there is nothing to save.
        with noted() as notice:
            mean = placed_mean(run, mesh)
            validation = images_of(run.config, dataset, run.config.data.validation_split)
            session = Session(
                run=run,
                dataset=dataset,
                validation=subject_of(run, validation, mean),
                mesh=mesh,
                mean=mean,
                schedule=schedule_of(run, alone=jax.process_count() == 1),
                records=Records(run, began),
                progress=tell,
                stop=Stop(mesh, notice),
                after_epoch=after_epoch,
            )
            state = begin_state(run, mesh, shard_parameters)
            first_alone(lambda: note_start(run, mesh))
            _loop(session, state)
    return load_run(folder)


def _with_absolute_data(config: Config) -> Config:
    """The run remembers where its data is, and may be asked from another folder."""
    if not config.data.dir:
        return config
    folder = str(data_folder(config.data.dir).absolute())
    return replace(config, data=replace(config.data, dir=folder))


def _take_over(folder: Path, locks: ExitStack) -> None:
    """Locks the workdir and clears away what a killed process has left half-written."""
    locks.enter_context(locked_run(folder))
    for inner in (folder, *folder.glob("evolution*"), *folder.glob("evolution*/tiles/*")):
        clear_unfinished(inner, locked=True)
    for root in (folder / "checkpoints", folder / "resume"):
        mend_unfinished(root)


def _loop(session: Session, state: TrainState) -> None:
    """Trains from ``state`` to the last step, or until a signal is obeyed: then the state is saved
    and Interrupted raised.

    What a step needs is on the devices before it is asked for, and nothing is asked back: within
    the guard an array that passes between host and devices unasked is an error, for it would make
    one wait for the other at every step.
    """
    run, schedule, records = session.run, session.schedule, session.records
    step, validated = int(state.step), is_validated(run, state)
    records.begin(step if step or validated else -1, validated)
    batches, program = _batches(session, step), compiled_config(run.config)
    seed_key = place_key(session.mesh, run.config.seed)
    with closing(batches), Pace() as pace, jax.transfer_guard("disallow"):
        try:
            if schedule.ends_epoch(step):
                if not validated:
                    state = epochs.end_epoch(session, step, state)
                epochs.show_epoch(session, step)
            pace.restart()
            saved_at = time.monotonic()
            while step < run.last_step:
                batch = pace.next(batches)
                views, labels = place(session.mesh, (batch["image"], batch["label"]))
                state = train_step(
                    state,
                    views,
                    labels,
                    session.mean,
                    seed_key,
                    config=program,
                    steps_per_epoch=run.steps_per_epoch,
                )
                step += 1
                pace.follow(state.step)
                if schedule.logs(step):
                    state = epochs.log_batches(session, step, state, pace)
                if schedule.keeps(step):
                    epochs.save_snapshot(session, step, state)
                if schedule.ends_epoch(step):
                    state = epochs.end_epoch(session, step, state)
                    epochs.show_epoch(session, step)
                    pace.restart()
                    saved_at = time.monotonic()
                elif schedule.may_save(step) and epochs.agree_on_time(
                    time.monotonic() - saved_at > schedule.save_seconds
                ):
                    epochs.save_state(session, step, state)
                    saved_at = time.monotonic()
                if step < run.last_step:
                    session.stop.obey()
        except Stopped as stopped:
            epochs.save_and_close(session, step, state)
            raise Interrupted(stopped.number, step, run.last_step) from None
    records.close()


def _batches(session: Session, start_step: int) -> Generator[dict[str, Any], None, None]:
    """This process's share of the global batches, endlessly, from ``start_step`` on."""
    config = session.run.config
    yield from training_batches(
        session.dataset,
        config.data.train_split,
        reading_of(config),
        batch_size=config.batch_size // jax.process_count(),
        seed=config.seed,
        start_step=start_step,
    )
