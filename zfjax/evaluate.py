"""Error rates of given parameters on a split: one central crop an image."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from zfjax import recipe
from zfjax.config import Config
from zfjax.data.pipeline import Dataset, evaluation_batches
from zfjax.devices import replicated, spread
from zfjax.files import ZfjaxError
from zfjax.network import Parameters, class_scores


def evaluate(
    config: Config, parameters: Parameters, dataset: Dataset, split: str, mesh: Mesh, *,
    mean_image: np.ndarray | None = None, progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:  # fmt: skip
    """{"loss": nats, "top1": 0..1, "top5": 0..1} of ``split``, every image once, at precision HIGHEST."""
    count = dataset.count(split)
    parameters = jax.device_put(parameters, replicated(mesh))
    mean = None if mean_image is None else jax.device_put(mean_image, replicated(mesh))
    sums, done = np.zeros(3), 0
    view_size = (config.data.view, config.data.view)
    for batch in evaluation_batches(
        dataset, split, batch_size=config.batch_size, view_size=view_size, threads=config.data.threads
    ):
        placed = jax.device_put([batch[name] for name in ("image", "label", "weight")], spread(mesh))
        sums += np.asarray(_sums(parameters, *placed, mean, config=config), np.float64)
        done += int(batch["weight"].sum())
        if progress is not None:
            progress(done, count)
    if not done:
        raise ZfjaxError(f"Split {split!r} of {dataset.name} is empty: there is nothing to evaluate on.")
    return dict(zip(("loss", "top1", "top5"), (sums / done).tolist(), strict=True))


@functools.partial(jax.jit, static_argnames="config")
def _sums(parameters, views, labels, weights, mean_image, *, config):
    inputs = recipe.evaluation_input(config, views, mean_image)
    scores = class_scores(config.model, parameters, inputs, precision=jax.lax.Precision.HIGHEST)
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    top1, top5 = correct(scores, labels)
    return jnp.stack([(losses * weights).sum(), (top1 * weights).sum(), (top5 * weights).sum()])


def correct(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(top-1, top-5) hits as float32 [n]: fewer than 1 (5) classes score higher, or as high with a lower number."""
    own = jnp.take_along_axis(scores, labels[:, None], axis=1)
    earlier = jnp.arange(scores.shape[1]) < labels[:, None]
    ahead = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return (ahead < 1).astype(jnp.float32), (ahead < 5).astype(jnp.float32)
