"""The two recipes: how inputs are scaled, filters clipped, the learning rate moved. They are never
mixed.

"faithful" is the paper's (section 3): inputs of about -128..128 minus the mean image, N(0, 0.01)
weights, each filter whose RMS exceeds 0.1 scaled back to it. "modern": inputs of about unit scale,
He weights, warm-up and cosine."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from zfjax.config import Config, Optimizer
from zfjax.network.model import Parameters

CLIP_RADIUS = 0.1  # paper, section 3: "a fixed radius of 10^-1"
CHANNEL_MEAN = (123.7, 116.3, 103.5)  # of ImageNet, red, green, blue, in 0..255
PIXEL_STD = 58.0


def normalise(config: Config, images: jax.Array, mean_image: jax.Array | None) -> jax.Array:
    """uint8 [n, h, w, 3] to the network's input, float32.

    faithful: minus ``mean_image`` (float32 [h, w, 3] or [n, h, w, 3], 0..255), not divided. modern:
    unit scale."""
    pixels = images.astype(jnp.float32)
    if config.recipe == "faithful":
        return pixels - mean_image
    return (pixels - jnp.asarray(CHANNEL_MEAN, jnp.float32)) / PIXEL_STD


def central_crop(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The middle ``size`` = (height, width) of [..., h, w, c]."""
    height, width = size
    top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
    return images[..., top : top + height, left : left + width, :]


def evaluation_input(config: Config, views: jax.Array, mean_image: jax.Array | None) -> jax.Array:
    """Views uint8 [n, view, view, 3] to the network's input: the central crop, normalised, never
    augmented.

    ``mean_image``: float32 [view, view, 3], cropped alike; None in the modern recipe.
    """
    size = config.model.input_size
    cropped_mean = None if mean_image is None else central_crop(mean_image, size)
    return normalise(config, central_crop(views, size), cropped_mean)


def crop_corners(room: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(row, column) where the paper's five crops begin, in a view with ``room`` places for a crop
    along each axis: four corners and the centre."""
    bottom, right = room[0] - 1, room[1] - 1
    return (0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)


def one_of_ten_views(
    config: Config, views: jax.Array, mean_image: jax.Array | None, index: jax.Array
) -> jax.Array:
    """Views uint8 [n, view, view, 3] to one of the paper's ten inputs each (section 4): float32 [n,
    height, width, 3].

    ``index`` 0 to 4: four corners and the centre; 5 to 9: their mirror images. The mean image is
    cropped alike."""
    height, width = config.model.input_size
    room = (config.data.view - height + 1, config.data.view - width + 1)
    row, column = jnp.array(crop_corners(room))[index % 5]
    cut = lambda x: jax.lax.dynamic_slice(
        x, (*(0,) * (x.ndim - 3), row, column, 0), (*x.shape[:-3], height, width, 3)
    )
    crop = normalise(config, cut(views), None if mean_image is None else cut(mean_image))
    return jnp.where(index < 5, crop, crop[..., ::-1, :])


def training_input(
    config: Config, views: jax.Array, mean_image: jax.Array | None, key: jax.Array
) -> jax.Array:
    """Views uint8 [n, view, view, 3] to the network's input: random crop (the mean image with it)
    and mirroring.

    A pure function of (key, index in the batch), for any sharding of the batch.
    """
    height, width = config.model.input_size
    border = config.data.shift
    pad = lambda x: (
        jnp.pad(x, ((border, border), (border, border), (0, 0)), mode="reflect") if border else x
    )
    room = tuple(config.data.view + 2 * border - extent + 1 for extent in (height, width))
    row_key, column_key, flip_key = jax.random.split(key, 3)
    count = len(views)
    rows = jax.random.randint(row_key, (count,), 0, room[0])
    columns = jax.random.randint(column_key, (count,), 0, room[1])
    if config.data.crops == "ten":
        corners = jnp.array(crop_corners(room))
        rows, columns = corners[jax.random.randint(row_key, (count,), 0, len(corners))].T
    flips = jax.random.bernoulli(flip_key, 0.5, (count,)) & config.data.flip

    def crop(image, row, column):
        return jax.lax.dynamic_slice(pad(image), (row, column, 0), (height, width, 3))

    cropped = jax.vmap(crop)(views, rows, columns)
    mean = None if mean_image is None else jax.vmap(crop, (None, 0, 0))(mean_image, rows, columns)
    images = normalise(config, cropped, mean)
    return jnp.where(flips[:, None, None, None], images[:, :, ::-1], images)


def learning_rate(
    optimizer: Optimizer, step: jax.Array, steps_per_epoch: int, epochs: int
) -> jax.Array:
    """The scheduled rate at ``step`` (float32), before any plateau division: linear warm-up, then
    cosine to 0."""
    warmup = optimizer.warmup_epochs * steps_per_epoch
    rate = jnp.float32(optimizer.learning_rate)
    if optimizer.schedule == "cosine":
        progress = jnp.clip((step - warmup) / max(epochs * steps_per_epoch - warmup, 1), 0, 1)
        rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * progress))
    return rate * jnp.minimum(1.0, (step + 1) / warmup) if warmup else rate


def gradient_transform(optimizer: Optimizer) -> optax.GradientTransformation:
    """Weight decay on kernels, then momentum; the caller scales by the learning rate."""
    kernels = lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
    return optax.chain(
        optax.add_decayed_weights(optimizer.weight_decay, mask=kernels),
        optax.trace(decay=optimizer.momentum),
    )


def clip_filters(
    parameters: Parameters, convolutions: tuple[str, ...]
) -> tuple[Parameters, jax.Array]:
    """Scales each convolution's filter with RMS over CLIP_RADIUS back to it (paper, section 3), its
    direction kept.

    Returns the parameters and the clipped share of all filters (float32, 0..1). RMS over a filter's
    k * k * in weights; biases, fully connected layers and momentum are untouched."""
    clipped = dict(parameters)
    over = []
    for name in convolutions:
        kernel = parameters[name]["kernel"]
        rms = jnp.sqrt(jnp.mean(jnp.square(kernel), axis=(0, 1, 2)))
        clipped[name] = {
            **parameters[name],
            "kernel": kernel * jnp.minimum(1.0, CLIP_RADIUS / jnp.maximum(rms, 1e-30)),
        }
        over.append(rms > CLIP_RADIUS)
    return clipped, jnp.mean(jnp.concatenate(over).astype(jnp.float32))


def plateau_update(
    scale: float, best: float, waited: int, error: float, patience: int
) -> tuple[float, float, int]:
    """(scale, best, waited) after an epoch's validation error: the rate is divided by 10 after
    ``patience`` epochs without a better one (the paper anneals by hand "when the validation error
    plateaus")."""
    if error < best:
        return scale, error, 0
    if waited + 1 >= patience:
        return scale / 10, best, 0
    return scale, best, waited + 1
