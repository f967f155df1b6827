"""What is done between steps: a line of metrics, states and parameters saved, an epoch's end.

Within the loop no array may pass between host and devices unasked (jax.transfer_guard); here, at
the few steps where something is due, it may.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from zfjax.data.dataset import Dataset
from zfjax.devices import replicated
from zfjax.processes import from_first
from zfjax.progress import Progress
from zfjax.run.folder import EVALUATION, TRAINING, Run
from zfjax.subject import Subject
from zfjax.training import optimiser
from zfjax.training.evaluation import batching_of, evaluate
from zfjax.training.figures import batch_figures, check_sound, divergence
from zfjax.training.interrupts import Stop
from zfjax.training.pace import Pace
from zfjax.training.records import Records
from zfjax.training.schedule import Schedule
from zfjax.training.step import TrainState, no_totals

AfterEpoch = Callable[[int, Progress], None]


@dataclass(frozen=True)
class Session:
    """What stays as it is from the first step of a start to its last."""

    run: Run
    dataset: Dataset
    validation: Subject
    """The run on its validation split."""
    mesh: Mesh
    mean: jax.Array | None
    """The mean image, float32 [view, view, 3] on every device; None in the modern recipe."""
    schedule: Schedule
    records: Records
    progress: Progress
    stop: Stop
    after_epoch: AfterEpoch | None
    """Called when an epoch is on disk, with its step."""


@jax.transfer_guard("allow")
def log_batches(session: Session, step: int, state: TrainState, pace: Pace) -> TrainState:
    """Writes a line of metrics of the batches since the last; the state with its sums at 0."""
    # A save is done long since, or has failed: then it is said here, not an epoch later.
    session.records.wait()
    figures = batch_figures(session.run, step, state, pace)
    session.records.log(step, TRAINING, **figures)
    session.progress("training", step, session.run.last_step, **figures)
    nothing = jax.device_put(no_totals(), replicated(session.mesh))
    pace.restart()
    return replace(state, totals=nothing)


@jax.transfer_guard("allow")
def save_snapshot(session: Session, step: int, state: TrainState) -> None:
    """Starts saving the parameters, within an epoch. Raises ZfjaxError for a loss not finite."""
    check_sound(session.run, step, state)
    session.records.save_parameters(step, state)


@jax.transfer_guard("allow")
def save_state(session: Session, step: int, state: TrainState) -> None:
    """Starts saving all that the next step depends on, within an epoch. Raises ZfjaxError where it
    is not finite.
    """
    check_sound(session.run, step, state)
    session.records.save_state(step, state)


@jax.transfer_guard("allow")
def save_and_close(session: Session, step: int, state: TrainState) -> None:
    """``save_state``, and returns when it is on disk: nothing more will be saved."""
    save_state(session, step, state)
    session.records.close()


@jax.transfer_guard("allow")
def agree_on_time(late: bool) -> bool:
    """Whether process 0 is ``late``: clocks differ, and all must save at the same step."""
    return bool(from_first(np.int32(late)))


@jax.transfer_guard("allow")
def end_epoch(session: Session, step: int, state: TrainState) -> TrainState:
    """Validates and saves, at the end of every epoch and for the initial network; the state with
    the plateau's count. Raises Stopped on a signal: then nothing of this validation is written.
    """
    run = session.run

    def validating(stage: str, done: int, total: int) -> None:
        session.progress("validating", done, total)
        session.stop.obey()

    figures = evaluate(
        session.validation,
        state.parameters,
        batching_of(run.config, session.mesh),
        progress=validating,
    )
    if not math.isfinite(figures["loss"]):
        raise divergence(run, step)
    session.records.log(step, EVALUATION, **figures)
    session.progress("training", step, run.last_step, validation_top1=figures["top1"])
    if session.schedule.keeps_epoch(step):
        session.records.save_parameters(step, state)
    state = replace(state, plateau=_next_plateau(session, step, state, 1 - figures["top1"]))
    session.records.save_state(step, state)
    return state


@jax.transfer_guard("allow")
def show_epoch(session: Session, step: int) -> None:
    """Calls ``after_epoch`` for what is on disk now; not for the initial network."""
    if session.after_epoch is not None and step:
        session.records.wait()
        with session.stop.at_once():
            session.after_epoch(step, session.progress)


def _next_plateau(
    session: Session, step: int, state: TrainState, error: float
) -> dict[str, jax.Array]:
    """The plateau's state after a validation; that of the initial network is only counted."""
    plateau, optimizer = state.plateau, session.run.config.optimizer
    scale, best, waited = float(plateau["scale"]), float(plateau["best"]), int(plateau["waited"])
    if optimizer.schedule == "plateau" and step:
        scale, best, waited = optimiser.plateau_update(
            scale, best, waited, float(np.float32(error)), optimizer.patience
        )
    values: dict[str, Any] = {
        "scale": np.float32(scale),
        "best": np.float32(best),
        "waited": np.int32(waited),
        "validated": np.int32(int(plateau["validated"]) + 1),
    }
    return jax.device_put(values, replicated(session.mesh))
