"""The training state and one jitted step on it.

Every random draw is a pure function of (seed, step, index in the global batch), for any number of
devices.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from zfjax.config import Config, Data
from zfjax.devices import in_parts
from zfjax.inputs import training_input
from zfjax.network.model import Parameters, class_scores, initial_parameters
from zfjax.training import optimiser
from zfjax.training.evaluation import correct


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that the next step depends on."""

    step: jax.Array
    parameters: Any
    momentum: Any
    plateau: dict[str, jax.Array]
    """scale (float32) of the learning rate, best validation error so far, epochs waited since; and
    how many epochs have been validated, the initial network counted.
    """
    totals: dict[str, jax.Array]
    """Sums since the last line of metrics.jsonl: in the state, so that a resumed run writes the
    same line.
    """


def initial_state(config: Config) -> TrainState:
    """The state at step 0, a pure function of the config."""
    parameters = initial_parameters(config.model, config.recipe, config.seed, config.layer_keys)
    return TrainState(
        step=_count(),
        parameters=parameters,
        momentum=optimiser.gradient_transform(config.optimizer).init(parameters),
        plateau={
            "scale": jnp.ones(()),
            "best": jnp.full((), jnp.inf),
            "waited": _count(),
            "validated": _count(),
        },
        totals=no_totals(),
    )


def _count() -> jax.Array:
    """0 (int32)."""
    return jnp.zeros((), jnp.int32)


def no_totals() -> dict[str, jax.Array]:
    """``TrainState.totals`` after a line was written."""
    return {
        name: jnp.zeros(())
        for name in ("steps", "images", "loss", "top1", "top5", "clipped", "broken")
    }


def compiled_config(config: Config) -> Config:
    """``config`` with only that told which a step's program depends on, when it is given the
    seed's key.
    """
    data = config.data
    seen = Data(view=data.view, shift=data.shift, flip=data.flip, crops=data.crops)
    told = replace(config, preset="", data=seen, seed=0)
    return replace(told, snapshots=0, keep="all", tensorboard=False, save_minutes=1.0)


@functools.partial(jax.jit, static_argnames=("config", "steps_per_epoch"), donate_argnums=0)
def train_step(
    state: TrainState,
    views: jax.Array,
    labels: jax.Array,
    mean_image: jax.Array | None,
    seed_key: jax.Array | None = None,
    *,
    config: Config,
    steps_per_epoch: int,
) -> TrainState:
    """One step on views uint8 [n, view, view, 3] and labels int32 [n]; a step whose loss or
    gradient is not finite leaves the parameters as they were and is counted as broken.

    ``seed_key``: ``jax.random.key`` of the seed (None: of the config's); with it and
    ``compiled_config`` runs that differ in their seeds alone share one program.
    """
    seed_key = jax.random.key(config.seed) if seed_key is None else seed_key
    keys = jax.random.split(jax.random.fold_in(seed_key, state.step))
    inputs = training_input(config, views, mean_image, keys[0]).astype(config.compute)
    (loss, hits), gradient = _gradient(config, state.parameters, inputs, labels, keys[1])
    _, momentum = optimiser.gradient_transform(config.optimizer).update(
        gradient, state.momentum, state.parameters
    )
    sound = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))

    def keep(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(sound, a, b), new, old)

    # Behind a barrier each array is updated in place; fused, XLA computes the momentum twice and
    # copies all.
    momentum = jax.lax.optimization_barrier(keep(momentum, state.momentum))
    rate = state.plateau["scale"] * optimiser.learning_rate(
        config.optimizer, state.step, steps_per_epoch, config.epochs
    )
    parameters = jax.tree.map(
        lambda value, update: value - rate * update, state.parameters, momentum[-1].trace
    )
    clipped = jnp.zeros(())
    if config.clip_radius:
        parameters, clipped = optimiser.clip_filters(
            parameters, config.model.conv_names, config.clip_radius
        )
    figures: dict[str, Any] = {
        "steps": 1.0,
        "images": float(len(labels)),
        "loss": loss,
        "top1": hits[0],
        "top5": hits[1],
        "clipped": clipped,
        "broken": (~sound).astype(jnp.float32),
    }
    return replace(
        state,
        step=state.step + 1,
        parameters=keep(parameters, state.parameters),
        momentum=momentum,
        totals={name: total + figures[name] for name, total in state.totals.items()},
    )


def _gradient(
    config: Config,
    parameters: Parameters,
    inputs: jax.Array,
    labels: jax.Array,
    dropout_key: jax.Array,
) -> tuple[tuple[jax.Array, jax.Array], Parameters]:
    """((mean loss, hits [top-1, top-5]), gradient) of the batch, in ``optimizer.accumulate`` parts
    one after the other: the same but for rounding, in less memory.
    """
    precision = jax.lax.Precision.HIGHEST if config.precision == "highest" else None
    parts = config.optimizer.accumulate

    def loss_and_hits(
        parameters: Parameters, inputs: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        scores = class_scores(
            config.model,
            parameters,
            inputs,
            dropout_key=key,
            layer_keys=config.layer_keys,
            precision=precision,
        )
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels, config.model.classes), config.optimizer.label_smoothing
        )
        top1, top5 = correct(scores, labels)
        return optax.softmax_cross_entropy(scores, targets).mean(), jnp.stack(
            [top1.sum(), top5.sum()]
        )

    gradient_of = jax.value_and_grad(loss_and_hits, has_aux=True)
    if parts == 1:
        return gradient_of(parameters, inputs, labels, dropout_key)

    def add(total: Any, indexed_part: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[Any, None]:
        index, part_inputs, part_labels = indexed_part
        key = jax.random.fold_in(dropout_key, index)
        own = gradient_of(parameters, part_inputs, part_labels, key)
        return jax.tree.map(jnp.add, total, own), None

    nothing = jax.tree.map(jnp.zeros_like, ((jnp.zeros(()), jnp.zeros(2)), parameters))
    # XLA on CPU runs the gradients of convolutions within a loop twenty times as slowly as outside
    # of one.
    unroll = parts if jax.default_backend() == "cpu" else 1
    indexed_parts = jnp.arange(parts), in_parts(inputs, parts), in_parts(labels, parts)
    ((loss, hits), gradient), _ = jax.lax.scan(add, nothing, indexed_parts, unroll=unroll)
    return (loss / parts, hits), jax.tree.map(lambda leaf: leaf / parts, gradient)
