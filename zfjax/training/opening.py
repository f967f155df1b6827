"""A run is begun or gone on with: what it needs of its data set is there, and its record says who
computes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jax
from jax.sharding import Mesh

from zfjax.config import Config
from zfjax.data.dataset import Dataset
from zfjax.data.labels import check_labelled
from zfjax.errors import ZfjaxError
from zfjax.run import checkpoint
from zfjax.run.folder import Run, check_same, load_run, save_run
from zfjax.run.grid_folders import check_no_grid
from zfjax.run.sizes import check_space, run_bytes
from zfjax.run.starts import (
    Start,
    asks_deterministic,
    current_commit,
    current_system,
    current_versions,
)
from zfjax.run.steps import saved_steps
from zfjax.training.step import initial_state


def open_run(folder: Path, config: Config, dataset: Dataset) -> Run:
    """The run in ``folder``, begun when there is none: its config.json is written then, and nothing
    else.

    A run that may be given more epochs has them in what is returned; ``note_start`` writes them
    down. Raises ZfjaxError where the data set cannot train it, and where ``folder`` holds a run of
    other settings or data.
    """
    check_data(config, dataset)
    split = config.data.train_split
    config = replace(config, model=config.model.with_classes(len(dataset.class_names)))
    fingerprint = dataset.fingerprint(split)
    if (folder / "config.json").exists():
        run = load_run(folder)
        # A run goes on as it began, whatever new ones begin with.
        check_same(run, replace(config, layer_keys=run.config.layer_keys))
        if run.fingerprint["digest"] != fingerprint["digest"]:
            raise ZfjaxError(
                f"{folder} was trained on another {split} split of {dataset.name}; use another"
                " --workdir."
            )
        settings = replace(run.config, data=config.data, epochs=config.epochs, keep=config.keep)
        return replace(run, config=settings)
    check_no_grid(folder)
    steps_per_epoch = dataset.count(split) // config.batch_size
    check_states(folder, config)
    check_space(folder, run_bytes(config))
    run = Run(
        folder=folder,
        config=config,
        steps_per_epoch=steps_per_epoch,
        class_names=dataset.class_names,
        fingerprint=fingerprint,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=current_versions(),
        git_commit=current_commit(),
    )
    save_run(run)
    return run


def check_data(config: Config, dataset: Dataset) -> None:
    """Raises ZfjaxError where the data set cannot train or validate a run of ``config``: a split
    that is absent, empty or without labels, or smaller than a batch.
    """
    split = config.data.train_split
    for needed in (split, config.data.validation_split):
        if needed not in dataset.splits and "[" not in needed:
            raise ZfjaxError(
                f"Data set {dataset.name} has no split {needed!r}; it has"
                f" {', '.join(dataset.splits)}. Import it again with --holdout 0.1, or choose with"
                " --data.train-split and --data.validation-split."
            )
        if not dataset.count(needed):
            raise ZfjaxError(f"Split {needed!r} of {dataset.name} is empty.")
        check_labelled(dataset, needed, "training" if needed == split else "validation")
    if config.batch_size > dataset.count(split):
        raise ZfjaxError(
            f"A batch of {config.batch_size} is more than the {dataset.count(split)} images of"
            f" {split!r}."
        )


def check_states(folder: Path, config: Config) -> None:
    """Raises ZfjaxError where a folder that has lost its config.json holds parameters or states of
    another network than ``config``'s: a run would go on from them, or be finished by them.
    """
    wanted = jax.eval_shape(lambda: initial_state(config).parameters)
    expected = {name: tuple(leaf.shape) for name, leaf in checkpoint.leaf_paths(wanted).items()}
    for root, within in ((folder / "checkpoints", ""), (folder / "resume", "parameters.")):
        for step in saved_steps(root):
            try:
                shapes = checkpoint.shapes_in(root / str(step))
            except checkpoint.DamagedCheckpoint:
                continue  # whoever needs it says so
            saved = {
                name.removeprefix(within).replace(".", "/"): shape
                for name, shape in shapes.items()
                if name.startswith(within)
            }
            names = [*expected, *saved]
            differing = next((name for name in names if expected.get(name) != saved.get(name)), "")
            if differing:
                raise ZfjaxError(
                    f"{folder} has no config.json, and {root.name}/{step} is of another network:"
                    f" {differing} is {_shape_words(saved.get(differing))} there and"
                    f" {_shape_words(expected.get(differing))} here. Restore config.json from a"
                    " copy, or use another --workdir."
                )


def _shape_words(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {shape}"


def note_start(run: Run, mesh: Mesh) -> None:
    """Adds this start to config.json: what is computed from here on is of these versions, on these
    devices, up to ``run``'s last epoch. To be called when there is a state to go on from.
    """
    stored = load_run(run.folder)  # its other settings stay those of the first start
    config = replace(stored.config, epochs=run.config.epochs)
    device = mesh.devices.flat[0]
    start = Start(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=current_versions(),
        git_commit=current_commit(),
        system=current_system(),
        platform=device.platform,
        device_kind=device.device_kind,
        devices=mesh.size,
        processes=jax.process_count(),
        deterministic=asks_deterministic(os.environ.get("XLA_FLAGS", "")),
    )
    save_run(replace(stored, config=config, starts=(*stored.starts, start)))
