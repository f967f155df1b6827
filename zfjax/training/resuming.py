"""Where training goes on: the newest sound state, or the initial one, on the devices."""

from __future__ import annotations

import sys

import jax
import numpy as np
from jax.sharding import Mesh

from zfjax.devices import replicated, sharding_of
from zfjax.errors import ZfjaxError
from zfjax.inputs import load_mean_image
from zfjax.processes import first_alone, from_first
from zfjax.run import checkpoint
from zfjax.run.folder import Run
from zfjax.run.steps import saved_steps, set_aside
from zfjax.training.step import TrainState, initial_state


def placed_mean(run: Run, mesh: Mesh) -> jax.Array | None:
    """The mean image that process 0 reads, float32 [view, view, 3] on every device; None in the
    modern recipe.
    """
    mean = first_alone(lambda: load_mean_image(run))
    if run.config.recipe != "faithful":
        return None
    empty = np.zeros((run.config.data.view, run.config.data.view, 3), np.float32)
    return jax.device_put(from_first(empty if mean is None else mean), replicated(mesh))


def begin_state(run: Run, mesh: Mesh, shard_parameters: bool) -> TrainState:
    """The state that process 0 finds, or the initial one, on the devices of all;
    ``shard_parameters``: large ones spread over them.
    """
    stored = first_alone(lambda: _resumed(run))
    # The others give arrays of the same shapes to what process 0 tells them.
    host_state = jax.tree.map(np.asarray, initial_state(run.config)) if stored is None else stored
    host_state = from_first(host_state)
    shardings = jax.tree.map(lambda leaf: sharding_of(mesh, leaf, shard_parameters), host_state)
    return jax.device_put(host_state, shardings)


def is_validated(run: Run, state: TrainState) -> bool:
    """Whether the epoch that ends at the state was validated; the initial network's is epoch 0."""
    return int(state.plateau["validated"]) > int(state.step) // run.steps_per_epoch


def _resumed(run: Run) -> TrainState | None:
    """The newest sound state, as NumPy arrays; a damaged one is set aside, named, and the one
    before is taken. None for a run without one. Raises ZfjaxError where there should be one: it
    would begin anew, over what is saved.
    """
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
