"""Training: one loop that can be read from top to bottom.

Every random draw and the order of the images are pure functions of (seed, step), so a run that was
killed goes on as if nothing had happened: the same parameters, bit for bit, on the same kind and
number of devices (on CPU also of threads: XLA splits its sums among them, which may change the last
bit). Many processes run this same loop; process 0 alone writes."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from zfjax.config import Config
from zfjax.data.finding import data_home
from zfjax.data.pipeline import Dataset, training_batches
from zfjax.devices import data_mesh, keep_compiled, place, replicated, sharding_of
from zfjax.errors import ZfjaxError
from zfjax.files import clear_unfinished, expanded_path
from zfjax.inputs import load_mean_image, make_mean_image, open_data
from zfjax.processes import first_alone, from_first, is_first, seen_by_all, together
from zfjax.progress import Progress
from zfjax.run import checkpoint
from zfjax.run.folder import EVALUATION, TRAINING, Run, check_folder, load_run, locked_run
from zfjax.run.steps import keep_newest, mend_unfinished, saved_steps, set_aside
from zfjax.run.summary import train_seconds
from zfjax.signals import Notice, noted
from zfjax.training import optimiser
from zfjax.training.evaluation import evaluate
from zfjax.training.interrupts import Interrupted, agreement
from zfjax.training.opening import note_start, open_run
from zfjax.training.records import Records
from zfjax.training.step import TrainState, initial_state, no_totals, train_step

AfterEpoch = Callable[[int, Progress], None]

LOGS_PER_EPOCH = 10
STEPS_AHEAD = 2
"""Steps that the host may be ahead of the devices."""


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
    SIGTERM, when the state has been saved."""
    began = time.monotonic()
    progress = (
        progress if progress is not None and is_first() else lambda *arguments, **figures: None
    )
    folder = check_folder(workdir)
    if config.data.dir:  # the run remembers it, and may be asked from another folder
        config = replace(
            config, data=replace(config.data, dir=str(expanded_path(config.data.dir).absolute()))
        )
    mesh = data_mesh(config.batch_size, devices)  # refused before the folder becomes a run
    keep_compiled(data_home() / "compiled")
    with ExitStack() as held:
        first_alone(lambda: _take_over(folder, held))
        first_alone(lambda: open_run(folder, config, open_data(config, progress)))
        seen_by_all(folder / "config.json")
        dataset = together(lambda: open_data(config))
        run = together(lambda: open_run(folder, config, dataset))
        finished = run.last_step in run.steps and run.last_step in saved_steps(run.resume)
        if from_first(np.int32(finished)):
            first_alone(lambda: keep_newest(run.resume, 2))
            if after_epoch is not None:
                after_epoch(run.last_step, progress)
            return run
        first_alone(lambda: note_start(folder, mesh))
        began -= first_alone(lambda: train_seconds(run)) or 0.0
        make_mean_image(run, dataset, progress)
        with (
            noted() as interrupted
        ):  # until here a signal ends it at once: there is nothing to save
            _loop(
                run,
                dataset,
                mesh,
                Records(run, began),
                progress,
                interrupted,
                after_epoch,
                shard_parameters,
            )
    return load_run(folder)


def _take_over(folder: Path, held: ExitStack) -> None:
    """Locks the workdir and clears away what a killed process has left half-written."""
    held.enter_context(locked_run(folder))
    clear_unfinished(folder, locked=True)
    for root in (folder / "checkpoints", folder / "resume"):
        mend_unfinished(root)


def _resumed(run: Run) -> TrainState | None:
    """The newest sound state, as NumPy arrays; a damaged one is set aside, named, and the one
    before is taken. None for a run without one. Raises ZfjaxError where there should be one: it
    would begin anew, over what is saved."""
    template = jax.eval_shape(lambda: initial_state(run.config))
    for step in reversed(saved_steps(run.resume)):
        path = run.resume / str(step)
        try:
            stored = checkpoint.load(path)
        except checkpoint.DamagedCheckpoint as error:
            aside = set_aside(path)
            print(
                f"{error} It was set aside as {aside.name}; looking for a state before it.",
                file=sys.stderr,
            )
        else:
            return checkpoint.restore_into(template, stored)
    if saved := max(run.steps, default=0):
        raise ZfjaxError(
            f"{run.resume} holds no sound state to go on from, though parameters up to epoch"
            f" {run.epoch(saved):g} are saved: restore a state from a copy, or train anew in"
            " another --workdir."
        )
    return None


_mark = jax.jit(jnp.copy)  # not donated with the state, so it can be waited for


def _done_at(mark: jax.Array) -> float:
    mark.block_until_ready()
    return time.monotonic()


def idle_seconds(asked: float, got: float, last_step: Future[float] | None) -> float:
    """Of the seconds between asking for a batch and getting it, those in which the devices had
    nothing to do. ``last_step`` will give the time at which the last step was done; None: there was
    none."""
    if last_step is None:
        return got - asked
    return got - max(asked, last_step.result()) if last_step.done() else 0.0


class _Stopped(BaseException):
    """A signal was agreed on; the state is whole."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def _loop(
    run: Run,
    dataset: Dataset,
    mesh: Mesh,
    records: Records,
    progress: Progress,
    interrupted: Notice,
    after_epoch: AfterEpoch | None,
    shard_parameters: bool,
) -> None:
    config = run.config
    log_every = max(1, run.steps_per_epoch // LOGS_PER_EPOCH)
    snapshots = snapshot_steps(config.snapshots, run.steps_per_epoch)
    mean = first_alone(lambda: load_mean_image(run))
    if config.recipe == "faithful":
        empty = np.zeros((config.data.view, config.data.view, 3), np.float32)
        mean = jax.device_put(from_first(empty if mean is None else mean), replicated(mesh))

    found = first_alone(lambda: _resumed(run))
    state = jax.tree.map(np.asarray, initial_state(config)) if found is None else found
    state = from_first(state)
    state = jax.device_put(
        state, jax.tree.map(lambda leaf: sharding_of(mesh, leaf, shard_parameters), state)
    )
    step = int(state.step)
    validated = int(state.plateau["validated"]) > step // run.steps_per_epoch
    records.begin(step if step or validated else -1, validated)
    agreed = agreement(mesh)
    saved_at = time.monotonic()

    def obey() -> None:
        if number := agreed(interrupted()):
            raise _Stopped(number)

    def time_to_save() -> bool:
        late = time.monotonic() - saved_at > 60 * config.save_minutes
        if jax.process_count() == 1:
            return late
        # A state may be gathered from all processes: they must save at the same step, whatever
        # their clocks say.
        return step % run.steps_per_epoch % log_every == 0 and bool(from_first(np.int32(late)))

    def validating(done: int, total: int) -> None:
        progress("validating", done, total)
        obey()

    def end_epoch(state: TrainState) -> TrainState:
        """Validates and saves: at the end of every epoch, and for the initial network."""
        split = config.data.validation_split
        figures = evaluate(
            config, state.parameters, dataset, split, mesh, mean_image=mean, progress=validating
        )
        if not math.isfinite(figures["loss"]):
            raise _diverged(step, run)
        records.log(step, EVALUATION, **figures)
        progress("training", step, run.last_step, validation_top1=figures["top1"])
        records.save_parameters(step, state)
        state = replace(
            state, plateau=_after_epoch(state.plateau, 1 - figures["top1"], step, config, mesh)
        )
        records.save_state(step, state)
        return state

    def epoch_saved() -> None:
        if after_epoch is not None and step:
            records.wait()
            # Of many processes each is at a place of its own: they obey together when it is drawn.
            with interrupted.at_once(_Stopped) if jax.process_count() == 1 else nullcontext():
                after_epoch(step, progress)

    share = config.batch_size // jax.process_count()
    batches = training_batches(
        dataset,
        config.data.train_split,
        batch_size=share,
        seed=config.seed,
        start_step=step,
        view_size=(config.data.view, config.data.view),
        threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        on_error=config.data.on_error,
    )
    with closing(batches), ThreadPoolExecutor(1, "steps") as watch:
        try:
            if step % run.steps_per_epoch == 0:
                if not validated:
                    state = end_epoch(state)
                epoch_saved()
            logged_at = saved_at = time.monotonic()
            waited = 0.0
            under_way: deque[Future[float]] = deque()
            while step < run.last_step:
                asked = time.monotonic()
                batch = next(batches)
                waited += idle_seconds(
                    asked, time.monotonic(), under_way[-1] if under_way else None
                )
                views, labels = place(mesh, (batch["image"], batch["label"]))
                state = train_step(
                    state, views, labels, mean, config=config, steps_per_epoch=run.steps_per_epoch
                )
                step += 1
                under_way.append(watch.submit(_done_at, _mark(state.step)))
                if (
                    len(under_way) > STEPS_AHEAD
                ):  # else every batch of the epoch might lie on the devices
                    under_way.popleft().result()
                epoch_ends = step % run.steps_per_epoch == 0
                if epoch_ends or step % run.steps_per_epoch % log_every == 0:
                    # Done long since, or failed: then it is said here, not an epoch later.
                    records.wait()
                    figures = _figures(state, step, run, logged_at, waited)
                    records.log(step, TRAINING, **figures)
                    progress("training", step, run.last_step, **figures)
                    state = replace(state, totals=jax.device_put(no_totals(), replicated(mesh)))
                    logged_at, waited = time.monotonic(), 0.0
                if step in snapshots:
                    _check_sound(state, step, run)
                    records.save_parameters(step, state)
                if epoch_ends:
                    state = end_epoch(state)
                    epoch_saved()
                    logged_at = saved_at = time.monotonic()
                elif time_to_save():
                    _check_sound(state, step, run)
                    records.save_state(step, state)
                    saved_at = time.monotonic()
                if step < run.last_step:
                    obey()
        except _Stopped as stopped:
            _check_sound(state, step, run)
            records.save_state(step, state)
            records.close()
            raise Interrupted(stopped.number, step, run.last_step) from None
    records.close()


def snapshot_steps(count: int, steps_per_epoch: int) -> tuple[int, ...]:
    """At most ``count`` steps within the first epoch, evenly spaced in logarithm: features change
    fastest then."""
    if not count or steps_per_epoch < 2:
        return ()
    return tuple(sorted({round(step) for step in np.geomspace(1, steps_per_epoch - 1, count)}))


def _figures(
    state: TrainState, step: int, run: Run, logged_at: float, waited: float
) -> dict[str, float]:
    """A training line of metrics.jsonl. Raises ZfjaxError for a loss that is not finite."""
    totals = _check_sound(state, step, run)  # waits for the device: only then is the time known
    seconds = time.monotonic() - logged_at
    figures = {
        "loss": totals["loss"] / totals["steps"],
        "top1": totals["top1"] / totals["images"],
        "top5": totals["top5"] / totals["images"],
        "learning_rate": _rate(state, run),
        "images_per_second": totals["images"] / seconds,
        "data_wait": waited / seconds,
    }
    if run.config.recipe == "faithful":
        figures["clipped"] = totals["clipped"] / totals["steps"]
    return figures


def _rate(state: TrainState, run: Run) -> float:
    """The learning rate of the step just taken."""
    scheduled = optimiser.learning_rate(
        run.config.optimizer, state.step - 1, run.steps_per_epoch, run.config.epochs
    )
    return float(scheduled * state.plateau["scale"])


def _check_sound(state: TrainState, step: int, run: Run) -> dict[str, float]:
    """The state's totals. Raises ZfjaxError when a loss or gradient among them was not finite."""
    totals = {name: float(total) for name, total in state.totals.items()}
    if totals["broken"] or not math.isfinite(totals["loss"]):
        raise _diverged(step, run)
    return totals


def _diverged(step: int, run: Run) -> ZfjaxError:
    return ZfjaxError(
        f"The loss or its gradient is not finite near step {step} (epoch {run.epoch(step):.2f});"
        " nothing was saved from there on. Lower --optimizer.learning-rate, in another --workdir."
    )


def _after_epoch(
    plateau: dict[str, jax.Array], error: float, step: int, config: Config, mesh: Mesh
) -> dict[str, jax.Array]:
    """The plateau's state after a validation; that of the initial network is only counted."""
    scale, best, waited = float(plateau["scale"]), float(plateau["best"]), int(plateau["waited"])
    if config.optimizer.schedule == "plateau" and step:
        held = scale, best, waited, float(np.float32(error))
        scale, best, waited = optimiser.plateau_update(*held, config.optimizer.patience)
    values: dict[str, Any] = {
        "scale": np.float32(scale),
        "best": np.float32(best),
        "waited": np.int32(waited),
        "validated": np.int32(int(plateau["validated"]) + 1),
    }
    return jax.device_put(values, replicated(mesh))
