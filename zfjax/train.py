"""Training: a jitted step, and one loop that can be read from top to bottom.

Every random draw and the order of the images are pure functions of (seed, step), so a run that was killed goes on as
if nothing had happened: the same parameters, bit for bit, on the same kind and number of devices (on CPU also of
threads: XLA splits its sums among them, which may change the last bit).
"""

from __future__ import annotations

import functools
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from zfjax import checkpoint, recipe
from zfjax.config import Config
from zfjax.data.pipeline import Dataset, mean_image, open_dataset, training_batches
from zfjax.data.scenes import ensure_scenes, scenes_directory
from zfjax.devices import data_mesh, replicated, spread
from zfjax.evaluate import correct, evaluate
from zfjax.files import ZfjaxError, write_atomic
from zfjax.network import class_scores, initial_parameters
from zfjax.run import (
    Run,
    append_metrics,
    check_folder,
    check_same,
    current_commit,
    current_versions,
    cut_metrics,
    load_run,
    save_run,
    saved_steps,
    writing,
)  # fmt: skip

Progress = Callable[..., None]
"""``progress(stage, done, total, **figures)``."""

LOGS_PER_EPOCH = 10


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that the next step depends on."""

    step: jax.Array
    parameters: Any
    momentum: Any
    plateau: dict[str, jax.Array]
    """scale (float32) of the learning rate, best validation error so far, epochs waited since."""
    totals: dict[str, jax.Array]
    """Sums since the last line of metrics.jsonl: in the state, so that a resumed run writes the same line."""


def initial_state(config: Config) -> TrainState:
    """The state at step 0, a pure function of the config."""
    parameters = initial_parameters(config.model, config.recipe, config.seed)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        parameters=parameters,
        momentum=recipe.gradient_transform(config.optimizer).init(parameters),
        plateau={"scale": jnp.ones(()), "best": jnp.full((), jnp.inf), "waited": jnp.zeros((), jnp.int32)},
        totals=_no_totals(),
    )


def _no_totals() -> dict[str, jax.Array]:
    return {name: jnp.zeros(()) for name in ("steps", "images", "loss", "top1", "top5", "clipped", "broken")}


@functools.partial(jax.jit, static_argnames=("config", "steps_per_epoch"), donate_argnums=0)
def train_step(
    state: TrainState, views: jax.Array, labels: jax.Array, mean_image: jax.Array | None, *,
    config: Config, steps_per_epoch: int,
) -> TrainState:  # fmt: skip
    """One step on views uint8 [n, view, view, 3] and labels int32 [n]; a step whose loss or gradient is not finite
    leaves the parameters as they were and is counted as broken."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), state.step))
    inputs = recipe.training_input(config, views, mean_image, keys[0]).astype(config.compute)
    precision = jax.lax.Precision.HIGHEST if config.precision == "highest" else None

    def loss_and_scores(parameters):
        scores = class_scores(config.model, parameters, inputs, dropout_key=keys[1], precision=precision)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, config.model.classes), config.optimizer.label_smoothing)
        return optax.softmax_cross_entropy(scores, targets).mean(), scores

    (loss, scores), gradient = jax.value_and_grad(loss_and_scores, has_aux=True)(state.parameters)
    updates, momentum = recipe.gradient_transform(config.optimizer).update(gradient, state.momentum, state.parameters)
    rate = state.plateau["scale"] * recipe.learning_rate(config.optimizer, state.step, steps_per_epoch, config.epochs)
    parameters = jax.tree.map(lambda value, update: value - rate * update, state.parameters, updates)
    clipped = jnp.zeros(())
    if config.recipe == "faithful":
        parameters, clipped = recipe.clip_filters(parameters, config.model.conv_names)
    sound = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
    keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(sound, a, b), new, old)
    top1, top5 = correct(scores, labels)
    figures = {
        "steps": 1.0, "images": float(len(labels)), "loss": loss, "top1": top1.sum(), "top5": top5.sum(),
        "clipped": clipped, "broken": ~sound,
    }  # fmt: skip
    return replace(
        state,
        step=state.step + 1,
        parameters=keep(parameters, state.parameters),
        momentum=keep(momentum, state.momentum),
        totals={name: total + figures[name] for name, total in state.totals.items()},
    )


def open_data(config: Config, progress: Progress | None = None) -> Dataset:
    """The run's data set; the embedded scenes are drawn when they are not there yet. Raises ZfjaxError."""
    folder = config.data.dir or scenes_directory()
    if config.data.name == "scenes":
        drawing = None if progress is None else lambda done, total: progress("drawing scenes", done, total)
        return open_dataset(*ensure_scenes(config.data.dir or None, progress=drawing))
    return open_dataset(config.data.name, folder)


def train(
    config: Config, workdir: Path | str, *, progress: Progress | None = None, devices: int | None = None
) -> Run:  # fmt: skip
    """Trains to the end of ``config.epochs`` in ``workdir``, going on from the newest sound state there.

    Raises ZfjaxError for another config in the workdir, a busy workdir, missing data, a full disk, divergence; and
    Interrupted (exit status 128 + signal) after SIGINT or SIGTERM, when the state has been saved.
    """
    progress = progress or (lambda *arguments, **figures: None)
    folder = check_folder(workdir)
    if config.data.dir:  # the run remembers it, and may be asked from another folder
        config = replace(config, data=replace(config.data, dir=str(Path(config.data.dir).expanduser().absolute())))
    with writing(folder):
        dataset = open_data(config, progress)
        mesh = data_mesh(config.batch_size, devices)  # before the folder becomes a run
        run = _open_run(folder, config, dataset)
        config = run.config
        if run.last_step in run.steps and run.last_step in saved_steps(run.resume):
            return run
        mean = _mean_image(run, dataset, progress)
        with _interrupts() as interrupted:
            _loop(run, dataset, mesh, mean, progress, interrupted)
    return load_run(folder)


def _open_run(folder: Path, config: Config, dataset: Dataset) -> Run:
    """The run in ``folder``, begun when there is none."""
    split = config.data.train_split
    for needed in (split, config.data.validation_split):
        if needed not in dataset.splits:
            raise ZfjaxError(
                f"Data set {dataset.name} has no split {needed!r}; it has {', '.join(dataset.splits)}. Import it again "
                "with --holdout 0.1, or choose with --data.train-split and --data.validation-split."
            )
        if not dataset.count(needed):
            raise ZfjaxError(f"Split {needed!r} of {dataset.name} is empty.")
    config = replace(config, model=config.model.with_classes(len(dataset.class_names)))
    fingerprint = dataset.fingerprint(split)
    if (folder / "config.json").exists():
        run = load_run(folder)
        check_same(run, config)
        if run.fingerprint["digest"] != fingerprint["digest"]:
            raise ZfjaxError(f"{folder} was trained on another {split} split of {dataset.name}; use another --workdir.")
        return replace(run, config=replace(run.config, data=config.data))
    steps_per_epoch = dataset.count(split) // config.batch_size
    if not steps_per_epoch:
        raise ZfjaxError(f"A batch of {config.batch_size} is more than the {dataset.count(split)} images of {split!r}.")
    run = Run(
        folder=folder, config=config, steps_per_epoch=steps_per_epoch, class_names=dataset.class_names,
        fingerprint=fingerprint, created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=current_versions(), git_commit=current_commit(),
    )  # fmt: skip
    save_run(run)
    return run


def _mean_image(run: Run, dataset: Dataset, progress: Progress) -> np.ndarray | None:
    """The per-pixel mean of the training views (paper, section 3), computed once; None in the modern recipe."""
    if run.config.recipe != "faithful":
        return None
    path = run.folder / "mean_image.npy"
    if not path.exists():
        size = (run.config.data.view, run.config.data.view)
        mean = mean_image(dataset, run.config.data.train_split, size, lambda *done: progress("mean image", *done))
        write_atomic(path, lambda temporary: _save_array(temporary, mean))
    return load_mean_image(run)


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.save(handle, array)


def load_mean_image(run: Run) -> np.ndarray | None:
    """RUN/mean_image.npy, float32 [view, view, 3]; None in the modern recipe. Raises ZfjaxError when it is damaged."""
    if run.config.recipe != "faithful":
        return None
    path = run.folder / "mean_image.npy"
    try:
        mean = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ZfjaxError(f"{path} is missing or damaged ({error}); restore it from a copy, or train again.") from None
    if mean.shape != (run.config.data.view, run.config.data.view, 3):
        raise ZfjaxError(f"{path} is of shape {mean.shape}, not the run's view; restore it from a copy.")
    return mean


def _resumed(run: Run, progress: Progress) -> TrainState | None:
    """The newest sound state; a damaged one is set aside, named, and the one before is taken."""
    template = jax.eval_shape(lambda: initial_state(run.config))
    for step in reversed(saved_steps(run.resume)):
        path = run.resume / str(step)
        try:
            return checkpoint.restore_into(template, checkpoint.load(path))
        except ZfjaxError as error:
            aside = checkpoint.set_aside(path)
            print(f"{error} It was set aside as {aside.name}; going on from the state before.", file=sys.stderr)
    return None


def _loop(run: Run, dataset: Dataset, mesh: Mesh, mean: np.ndarray | None, progress: Progress, interrupted) -> None:
    config, metrics_path = run.config, run.folder / "metrics.jsonl"
    log_every = max(1, run.steps_per_epoch // LOGS_PER_EPOCH)
    parameters_saver, state_saver = checkpoint.Saver(run.checkpoints), checkpoint.Saver(run.resume)
    mean = None if mean is None else jax.device_put(mean, replicated(mesh))

    state = _resumed(run, progress)
    fresh = state is None
    state = jax.device_put(initial_state(config) if fresh else state, replicated(mesh))
    step = int(state.step)
    cut_metrics(metrics_path, -1 if fresh else step)

    def log(split: str, **figures: float) -> None:
        append_metrics(metrics_path, {"step": step, "epoch": run.epoch(step), "split": split, **figures})

    def validate() -> float:
        figures = evaluate(
            config, state.parameters, dataset, config.data.validation_split, mesh,
            mean_image=mean, progress=lambda *done: progress("validating", *done),
        )  # fmt: skip
        log(config.data.validation_split, **figures)
        progress("training", step, run.last_step, validation_top1=figures["top1"])
        return 1 - figures["top1"]

    def save_state() -> None:
        state_saver.save(step, checkpoint.flattened(state))

    if fresh:
        validate()
        parameters_saver.save(0, checkpoint.on_host(state.parameters))
        save_state()
    batches = training_batches(
        dataset, config.data.train_split, batch_size=config.batch_size, seed=config.seed, start_step=step,
        view_size=(config.data.view, config.data.view), threads=config.data.threads,
    )  # fmt: skip
    logged_at = saved_at = time.monotonic()
    waited = 0.0
    with closing(batches):
        while step < run.last_step:
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            views, labels = jax.device_put((batch["image"], batch["label"]), spread(mesh))
            state = train_step(state, views, labels, mean, config=config, steps_per_epoch=run.steps_per_epoch)
            step += 1
            epoch_ends = step % run.steps_per_epoch == 0
            if epoch_ends or step % run.steps_per_epoch % log_every == 0:
                totals = {name: float(total) for name, total in state.totals.items()}
                _check_sound(totals, step, run)
                parameters_saver.wait()  # done long since, or failed: then it is said here, not an epoch later
                state_saver.wait()
                seconds = time.monotonic() - logged_at
                figures = {
                    "loss": totals["loss"] / totals["steps"],
                    "top1": totals["top1"] / totals["images"], "top5": totals["top5"] / totals["images"],
                    "learning_rate": _rate(state, run), "images_per_second": totals["images"] / seconds,
                    "data_wait": waited / seconds,
                }  # fmt: skip
                if config.recipe == "faithful":
                    figures["clipped"] = totals["clipped"] / totals["steps"]
                log("train", **figures)
                progress("training", step, run.last_step, **figures)
                state = replace(state, totals=jax.device_put(_no_totals(), replicated(mesh)))
                logged_at, waited = time.monotonic(), 0.0
            if epoch_ends:
                state = replace(state, plateau=_after_epoch(state.plateau, validate(), config, mesh))
                parameters_saver.save(step, checkpoint.on_host(state.parameters))
            if epoch_ends or interrupted() or time.monotonic() - saved_at > 60 * config.save_minutes:
                _check_sound({name: float(total) for name, total in state.totals.items()}, step, run)
                save_state()
                checkpoint.keep_newest(run.resume, 2)
                saved_at = time.monotonic()
            if epoch_ends:
                logged_at = time.monotonic()
            if interrupted() and step < run.last_step:
                parameters_saver.wait()
                state_saver.wait()
                raise Interrupted(interrupted(), step, run)
    parameters_saver.wait()
    state_saver.wait()
    checkpoint.keep_newest(run.resume, 2)


def _rate(state: TrainState, run: Run) -> float:
    """The learning rate of the step just taken."""
    scheduled = recipe.learning_rate(run.config.optimizer, state.step - 1, run.steps_per_epoch, run.config.epochs)
    return float(scheduled * state.plateau["scale"])


def _check_sound(totals: dict[str, float], step: int, run: Run) -> None:
    if totals["broken"] or not math.isfinite(totals["loss"]):
        raise ZfjaxError(
            f"The loss or its gradient is not finite near step {step} (epoch {run.epoch(step):.2f}); nothing was saved "
            "from there on. Lower --optimizer.learning-rate, in another --workdir."
        )


def _after_epoch(plateau: dict[str, jax.Array], error: float, config: Config, mesh: Mesh) -> dict[str, jax.Array]:
    if config.optimizer.schedule != "plateau":
        return plateau
    held = float(plateau["scale"]), float(plateau["best"]), int(plateau["waited"])
    scale, best, waited = recipe.plateau_update(*held, float(np.float32(error)), config.optimizer.patience)
    values = {"scale": np.float32(scale), "best": np.float32(best), "waited": np.int32(waited)}
    return jax.device_put(values, replicated(mesh))


class Interrupted(ZfjaxError):
    """Training stopped on a signal with its state saved."""

    def __init__(self, number: int, step: int, run: Run):
        name = signal.Signals(number).name
        super().__init__(f"Stopped on {name} at step {step} of {run.last_step}; the same command goes on from there.")
        self.exit_status = 128 + number


@contextmanager
def _interrupts() -> Iterator[Callable[[], int]]:
    """Yields a function that gives the number of the signal received, 0 before. A second signal acts as usual."""
    received = [0]
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, frame: Any) -> None:
        received[0] = number
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)

    try:
        for number in numbers:
            signal.signal(number, note)
        yield lambda: received[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
