"""What every hidden layer of our own networks gives of whole images, the fully connected ones too.

``model.class_scores`` is the same way up to the scores; here what lies on the way is kept.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from zfjax.network import ops
from zfjax.network.architecture import Architecture, Dense
from zfjax.network.arrays import Array
from zfjax.network.model import Parameters, feature_maps
from zfjax.network.ops import GRADIENT


def hidden_dense(architecture: Architecture) -> tuple[str, ...]:
    """The names of the fully connected layers below the scores, in order; () where there is
    none.
    """
    dense = [layer.name for layer in architecture.layers if isinstance(layer, Dense)]
    return tuple(dense[:-1])


def hidden_values(
    architecture: Architecture,
    parameters: Parameters,
    images: Float[Array, "n h w 3"],
    *,
    precision: lax.Precision | None = lax.Precision.HIGHEST,
) -> dict[str, Float[Array, "n ..."]]:
    """{layer: values after the ReLU} in forward order: [n, height, width, maps] of each
    convolution, before pool and norm; [n, features] of each hidden fully connected layer, nothing
    dropped.

    ``images``: normalised [n, h, w, 3].
    """
    maps = feature_maps(architecture, parameters, images, precision=precision)
    values = {name: maps[name] for name in architecture.conv_names}
    top = architecture.convolutional[-1].name
    x = maps[top].reshape(len(images), -1)
    for name in hidden_dense(architecture):
        kernel, bias = (jnp.asarray(parameters[name][what], x.dtype) for what in ("kernel", "bias"))
        x = ops.relu(jnp.dot(x, kernel, precision=precision) + bias[None, :], GRADIENT)
        values[name] = x
    return values
