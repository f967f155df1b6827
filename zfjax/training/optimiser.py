"""The optimiser of both recipes: gradient and momentum, the rate's schedule, clipped filters.

"faithful" scales each filter whose RMS exceeds 0.1 back to it (paper, section 3).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from zfjax.config import RECIPE_CLIPS, Optimizer
from zfjax.network.model import Parameters

CLIP_RADIUS = RECIPE_CLIPS["faithful"]


def learning_rate(
    optimizer: Optimizer, step: jax.Array, steps_per_epoch: int, epochs: int
) -> jax.Array:
    """The scheduled rate at ``step`` (float32), before any plateau division: linear warm-up, then
    cosine to 0.
    """
    warmup = optimizer.warmup_epochs * steps_per_epoch
    rate = jnp.float32(optimizer.learning_rate)
    if optimizer.schedule == "cosine":
        seen = jnp.asarray(step, jnp.float32) - warmup
        progress = jnp.clip(seen / max(epochs * steps_per_epoch - warmup, 1), 0, 1)
        rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * progress))
    if not warmup:
        return rate
    return rate * jnp.minimum(1.0, jnp.asarray(step + 1, jnp.float32) / warmup)


def gradient_transform(optimizer: Optimizer) -> optax.GradientTransformation:
    """Weight decay on kernels, then momentum; the caller scales by the learning rate."""
    return optax.chain(
        optax.add_decayed_weights(optimizer.weight_decay, mask=_is_kernel),
        optax.trace(decay=optimizer.momentum),
    )


def _is_kernel(parameters: Parameters) -> Any:
    """A tree of booleans: weights, not biases."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)


def clip_filters(
    parameters: Parameters, convolutions: tuple[str, ...], radius: float = CLIP_RADIUS
) -> tuple[Parameters, jax.Array]:
    """Scales each convolution's filter with RMS over ``radius`` back to it (paper, section 3), its
    direction kept.

    Returns the parameters and the clipped share of all filters (float32, 0..1). RMS over a filter's
    k * k * in weights; biases, fully connected layers and momentum are untouched.
    """
    clipped = dict(parameters)
    over = []
    for name in convolutions:
        kernel = parameters[name]["kernel"]
        rms = jnp.sqrt(jnp.mean(jnp.square(kernel), axis=(0, 1, 2)))
        shrink = jnp.minimum(1.0, radius / jnp.maximum(rms, 1e-30))
        clipped[name] = {**parameters[name], "kernel": kernel * shrink[None, None, None, :]}
        over.append(rms > radius)
    return clipped, jnp.mean(jnp.concatenate(over).astype(jnp.float32))


def plateau_update(
    scale: float, best: float, waited: int, error: float, patience: int
) -> tuple[float, float, int]:
    """(scale, best, waited) after an epoch's validation error: the rate is divided by 10 after
    ``patience`` epochs without a better one (the paper anneals by hand "when the validation error
    plateaus").
    """
    if error < best:
        return scale, error, 0
    if waited + 1 >= patience:
        return scale / 10, best, 0
    return scale, best, waited + 1
