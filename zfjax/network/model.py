"""The network: a Flax module that holds the parameters, and the pure forward pass that everything
else uses.

After training a network is a tree ``{layer: {"kernel", "bias"}}`` and a function of it:
``feature_maps`` runs the convolutional part and returns every map by name. Given a window's origins
it runs on receptive-field crops instead, with numbers equal to the whole image's.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float, Float32, Int

from zfjax.errors import ZfjaxError
from zfjax.network import ops
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool
from zfjax.network.arrays import Array, Origins
from zfjax.network.convolution import conv
from zfjax.network.ops import GRADIENT, Rule

Parameters = Mapping[str, Any]
"""{layer: {"kernel": float32 [k, k, in, maps] or [in, features], "bias": float32 [maps]}}; of a
network that is not ours, its own tree."""


LayerKeys = Literal["by_name", "by_order"]
"""What a layer's random draws follow from beside the seed: its name, or its place among the layers.
By name, what two networks share starts equal and drops the same features, whatever else differs."""

FIRST_LAYER_SCALE = 0.2


class ConvNet(nn.Module):
    """Flax module of an Architecture. ``init`` draws kernels by ``recipe``; biases start at 0.

    "faithful": N(0, 0.01) (paper, section 3). "modern": He, std sqrt(2 / inputs), and sqrt(1 /
    inputs) for the scores; the first layer a fifth of it: inputs of unit scale move its filters
    slowly, and at full He scale the noise they begin with still covers what they have learnt after
    a short run.

    ``init`` draws keys in the order of creation, as runs did before ``layer_keys`` were recorded;
    ``initial_parameters`` draws them by name.
    """

    architecture: Architecture
    recipe: str = "modern"

    @nn.compact
    def __call__(
        self, images: Float[Array, "n h w 3"], **options: Any
    ) -> Float32[Array, "n classes"]:
        """Class scores float32 [n, classes] of normalised images [n, h, w, 3]; options as in
        ``class_scores``.
        """
        parameters: dict[str, dict[str, jax.Array]] = {}
        for name, shape in kernel_shapes(self.architecture).items():
            last = name == self.architecture.layers[-1].name
            std = _standard_deviation(self.recipe, shape, first=not parameters, last=last)
            parameters[name] = self.param(name, _initial, shape, std)
        return class_scores(self.architecture, parameters, images, **options)


def _initial(
    key: jax.Array, shape: tuple[int, ...], std: float
) -> dict[str, Float32[Array, "*axes"]]:
    return {
        "kernel": std * jax.random.normal(key, shape, jnp.float32),
        "bias": jnp.zeros(shape[-1], jnp.float32),
    }


def _standard_deviation(recipe: str, shape: tuple[int, ...], first: bool, last: bool) -> float:
    if recipe == "faithful":
        return 0.01
    return float(np.sqrt((1 if last else 2) / np.prod(shape[:-1]))) * (
        FIRST_LAYER_SCALE if first else 1
    )


def kernel_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Kernel shape of each layer that has parameters."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = (*architecture.input_size, 3)
    for fact in architecture.facts():
        layer = fact.layer
        if isinstance(layer, Conv):
            shapes[layer.name] = (layer.kernel, layer.kernel, inputs[2], layer.maps)
        if isinstance(layer, Dense):
            shapes[layer.name] = (int(np.prod(inputs)), layer.features)
        inputs = fact.shape
    return shapes


def initial_parameters(
    architecture: Architecture, recipe: str, seed: int, layer_keys: LayerKeys = "by_name"
) -> Parameters:
    """The parameters at step 0, a pure function of the seed; ``layer_keys`` by name: two networks
    start equal in each layer of one name and shape that is the first or the last in both or in
    neither.
    """
    key = jax.random.key(seed)
    if layer_keys == "by_order":
        images = jnp.zeros((1, *architecture.input_size, 3))
        return ConvNet(architecture, recipe).init(key, images)["params"]
    parameters: dict[str, dict[str, jax.Array]] = {}
    for name, shape in kernel_shapes(architecture).items():
        last = name == architecture.layers[-1].name
        std = _standard_deviation(recipe, shape, first=not parameters, last=last)
        parameters[name] = _initial(jax.random.fold_in(key, name_number(name)), shape, std)
    return parameters


def name_number(name: str) -> int:
    """A fixed number below 2^32 for a layer's name, the same in every process and version."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def feature_maps(
    architecture: Architecture,
    parameters: Parameters,
    images: Float[Array, "n h w 3"],
    *,
    until: str | None = None,
    rule: Rule = GRADIENT,
    precision: lax.Precision | None = lax.Precision.HIGHEST,
    window_origins: Origins | None = None,
) -> dict[str, Float[Array, "n _ _ _"]]:
    """Every layer's output below the fully connected ones, up to ``until``: {name: [n, height,
    width, maps]}.

    ``images``: normalised [n, h, w, 3]. A convolution's output is taken after its ReLU.
    ``window_origins``: rows and columns (int32 [n] each) of the input where receptive-field crops
    of the layer ``until`` begin; every layer then runs unpadded, and cells that lie outside the
    true map are overwritten (0, or minus infinity before a pool), so the one unit that is left has
    the value that the whole image gives it.
    """
    maps: dict[str, jax.Array] = {}
    x, size, origins = jnp.asarray(images), architecture.input_size, window_origins
    for fact in architecture.facts() if until is None else architecture.below(until):
        layer = fact.layer
        if isinstance(layer, Dense):
            break
        padding = (0, 0) if origins is not None or isinstance(layer, Norm) else layer.padding
        if isinstance(layer, Pool) and origins is not None:
            x = _within(x, inside_map(origins, x.shape, size), -math.inf)
        if origins is not None and not isinstance(layer, Norm):
            size = fact.shape[:2]
            rows, columns = ((origin + layer.padding[0]) // layer.stride for origin in origins)
            origins = rows, columns
        x = convolutional(layer, parameters, x, padding, rule=rule, precision=precision)
        if origins is not None and not isinstance(layer, Norm):
            x = _within(x, inside_map(origins, x.shape, size), 0.0)
        maps[layer.name] = x
    return maps


def convolutional(
    layer: Conv | Pool | Norm,
    parameters: Parameters,
    x: Float[Array, "n _ _ _"],
    padding: tuple[int, int],
    *,
    rule: Rule = GRADIENT,
    precision: lax.Precision | None = lax.Precision.HIGHEST,
) -> Float[Array, "n _ _ _"]:
    """One layer below the fully connected ones, of maps [n, height, width, maps]: a convolution
    with its ReLU, a pool or a norm. ``padding`` stands in for the layer's own.
    """
    if isinstance(layer, Conv):
        kernel, bias = _weights(parameters, layer.name, x.dtype)
        x = conv(x, kernel, bias, stride=layer.stride, padding=padding, precision=precision)
        return ops.relu(x, rule)
    if isinstance(layer, Pool):
        return ops.max_pool(x, layer.window, layer.stride, padding)
    return ops.local_response_norm(x, layer.size, layer.k, layer.alpha, layer.beta, rule)


def _weights(
    parameters: Parameters, layer: str, dtype: jnp.dtype
) -> tuple[Float[Array, "*axes"], Float[Array, " maps"]]:
    """Kernel and bias in the dtype of what they act on."""
    weights = parameters[layer]
    return jnp.asarray(weights["kernel"], dtype), jnp.asarray(weights["bias"], dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _within(
    x: Float[Array, "n h w maps"], inside: Bool[Array, "n h w 1"], outside: float
) -> Float[Array, "n h w maps"]:
    """x with ``outside`` where it is not ``inside``, whence nothing comes down. JAX's own select
    would store ``inside`` once for each map.
    """
    return jnp.where(inside, x, jnp.asarray(outside, x.dtype))


def _within_forward(
    x: Float[Array, "n h w maps"], inside: Bool[Array, "n h w 1"], outside: float
) -> tuple[Float[Array, "n h w maps"], Bool[Array, "n h w 1"]]:
    return _within(x, inside, outside), inside


def _within_backward(
    outside: float, inside: Bool[Array, "n h w 1"], g: Float[Array, "n h w maps"]
) -> tuple[Float[Array, "n h w maps"], None]:
    return jnp.where(inside, g, jnp.zeros((), g.dtype)), None


_within.defvjp(_within_forward, _within_backward)


def inside_map(
    origins: Origins, shape: tuple[int, ...], size: tuple[int, int]
) -> Bool[Array, "n h w 1"]:
    """Booleans [n, height, width, 1]: cells of a crop that lie in the true map of ``size``."""

    def inside(origin: Int[Array, " n"], cells: int, extent: int) -> Bool[Array, "n cells"]:
        places = jnp.asarray(origin)[:, None] + jnp.arange(cells)[None, :]
        return (places >= 0) & (places < extent)

    rows = inside(origins[0], shape[1], size[0])
    columns = inside(origins[1], shape[2], size[1])
    return rows[:, :, None, None] & columns[:, None, :, None]


def class_scores(
    architecture: Architecture,
    parameters: Parameters,
    images: Float[Array, "n h w 3"],
    *,
    dropout_key: jax.Array | None = None,
    layer_keys: LayerKeys = "by_name",
    precision: lax.Precision | None = None,
) -> Float32[Array, "n classes"]:
    """Class scores float32 [n, classes] of normalised images [n, h, w, 3]; dropout acts when a key
    is given, of which each layer has its own part by ``layer_keys``.
    """
    x, below = jnp.asarray(images), architecture.convolutional
    if below:
        x = feature_maps(architecture, parameters, images, precision=precision)[below[-1].name]
    return dense_scores(
        architecture,
        parameters,
        x,
        dropout_key=dropout_key,
        layer_keys=layer_keys,
        precision=precision,
    )


def dense_scores(
    architecture: Architecture,
    parameters: Parameters,
    maps: Float[Array, "n _ _ _"],
    *,
    dropout_key: jax.Array | None = None,
    layer_keys: LayerKeys = "by_name",
    precision: lax.Precision | None = None,
) -> Float32[Array, "n classes"]:
    """``class_scores`` from the last maps below the fully connected layers: [n, height, width,
    maps].
    """
    x = maps.reshape(len(maps), -1)
    dense = [layer for layer in architecture.layers if isinstance(layer, Dense)]
    for index, layer in enumerate(dense):
        kernel, bias = _weights(parameters, layer.name, x.dtype)
        x = jnp.dot(x, kernel, precision=precision) + bias[None, :]
        if layer is dense[-1]:
            break
        x = ops.relu(x, GRADIENT)
        if layer.dropout and dropout_key is not None:
            number = name_number(layer.name) if layer_keys == "by_name" else index
            kept = jax.random.bernoulli(
                jax.random.fold_in(dropout_key, number), 1 - layer.dropout, x.shape
            )
            x = jnp.where(kept, x / (1 - layer.dropout), 0)
    return x.astype(jnp.float32)


def parameters_from_torch(
    architecture: Architecture, arrays: Mapping[str, np.ndarray]
) -> Parameters:
    """Parameters from PyTorch's layout: {"conv1.weight": [maps, in, k, k], "conv1.bias": [maps],
    "fc6.weight": ...}.

    The first fully connected layer reads maps in PyTorch's order (channel, row, column) and is
    permuted to ours. Raises ZfjaxError naming a missing array or one of another shape.
    """
    shapes = kernel_shapes(architecture)
    last = architecture.convolutional[-1].name
    height, width, maps = architecture.fact(last).shape
    first_dense = next(
        (layer.name for layer in architecture.layers if isinstance(layer, Dense)), None
    )
    parameters = {}
    for name, shape in shapes.items():
        try:
            weight, bias = np.asarray(arrays[f"{name}.weight"]), np.asarray(arrays[f"{name}.bias"])
        except KeyError as error:
            raise ZfjaxError(
                f"The weights lack {error.args[0]!r}; there are {', '.join(sorted(arrays))}."
            ) from None
        if weight.ndim == 4:
            kernel = weight.transpose(2, 3, 1, 0)
        elif name == first_dense and weight.shape == shape[::-1]:
            kernel = weight.reshape(-1, maps, height, width).transpose(2, 3, 1, 0).reshape(shape)
        else:
            kernel = weight.T
        if kernel.shape != shape:
            raise ZfjaxError(
                f"{name} has a kernel of shape {kernel.shape}; {architecture.name} needs {shape}."
            )
        parameters[name] = {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "bias": jnp.asarray(bias, jnp.float32),
        }
    return parameters
