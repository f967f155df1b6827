"""Error rates of given parameters on a split: one central crop an image, or the mean of the paper's
ten."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from zfjax.config import Config
from zfjax.data.labels import check_labelled
from zfjax.data.pipeline import Dataset, evaluation_batches
from zfjax.devices import in_parts, place, replicated
from zfjax.errors import ZfjaxError
from zfjax.inputs import evaluation_input, one_of_ten_views
from zfjax.network.model import Parameters, class_scores


def evaluate(
    config: Config,
    parameters: Parameters,
    dataset: Dataset,
    split: str,
    mesh: Mesh,
    *,
    mean_image: np.ndarray | jax.Array | None = None,
    views: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """{"loss": nats, "top1": 0..1, "top5": 0..1, "images": how many} of ``split``, every image that
    can be read and has a label once, at precision HIGHEST. The loss is NaN where a score is not
    finite; no hit is counted on such an image. "unlabelled": how many have none, where there are
    such; they count nowhere.

    ``views``: 1 is the central crop; 10 averages the class probabilities of the four corners, the
    centre and their mirror images (paper, section 4). Raises ZfjaxError for another number, and for
    a split that is empty, or has no image that can be read, or no label."""
    check_views(views)
    count = dataset.count(split)
    if count:
        check_labelled(dataset, split, "evaluation")
    parameters = jax.device_put(parameters, replicated(mesh))
    mean = None if mean_image is None else jax.device_put(mean_image, replicated(mesh))
    sums, done, under_way = np.zeros(5), 0, np.zeros(5)
    view_size = (config.data.view, config.data.view)
    for batch in evaluation_batches(
        dataset,
        split,
        batch_size=config.batch_size // jax.process_count(),
        view_size=view_size,
        threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        on_error=config.data.on_error,
    ):
        placed = place(mesh, [batch[name] for name in ("image", "label", "weight")])
        found = _sums(parameters, *placed, mean, config=config, ten=views == 10)
        sums += np.asarray(
            under_way, np.float64
        )  # of the batch before: the devices already have the next
        under_way = found
        done = min(done + config.batch_size, count)
        if progress is not None:
            progress(done, count)
    sums += np.asarray(under_way, np.float64)
    if not sums[3]:
        why = f"none of its {count:,} images can be read" if count else "it is empty"
        why = "none of its images that can be read has a label" if sums[4] else why
        raise ZfjaxError(
            f"There is nothing to evaluate on in split {split!r} of {dataset.name}: {why}; prepare"
            " the data set again, or choose another split."
        )
    figures = dict(zip(("loss", "top1", "top5"), (sums[:3] / sums[3]).tolist(), strict=True))
    unlabelled = {"unlabelled": int(sums[4])} if sums[4] else {}
    return {**figures, "images": int(sums[3]), **unlabelled}


def check_views(views: int) -> None:
    """Raises ZfjaxError for a number of views that there is not."""
    if views not in (1, 10):
        raise ZfjaxError(
            f"--views {views}: 1 (the central crop) or 10 (corners, centre, mirrored)."
        )


@functools.partial(jax.jit, static_argnames=("config", "ten"))
def _sums(parameters, views, labels, weights, mean_image, *, config, ten):
    """[loss, top-1, top-5, images, images without a label] summed over a batch; in as many parts as
    training computes it, to fit as it does."""
    score = lambda inputs: class_scores(
        config.model, parameters, inputs, precision=jax.lax.Precision.HIGHEST
    )

    def sums(part):
        views, labels, weights = part
        if ten:
            share = lambda index: jax.nn.softmax(
                score(one_of_ten_views(config, views, mean_image, index))
            )
            shares = jax.lax.map(share, jnp.arange(10))
            scores = jnp.log(jnp.maximum(shares.mean(axis=0), 1e-30))  # of the mean probability
        else:
            scores = score(evaluation_input(config, views, mean_image))
        known = weights * (labels >= 0)
        labels = jnp.maximum(labels, 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
        top1, top5 = correct(scores, labels)
        losses = jnp.where(_sound(scores), losses, jnp.nan)
        count = lambda values: jnp.where(
            known > 0, values, 0
        ).sum()  # a product would make NaN of padding
        figures = [count(values) for values in (losses, top1, top5, jnp.ones_like(weights))]
        return jnp.stack([*figures, (weights - known).sum()])

    parts, given = config.optimizer.accumulate, (views, labels, weights)
    if parts == 1:
        return sums(given)
    return jax.lax.map(sums, jax.tree.map(lambda rows: in_parts(rows, parts), given)).sum(axis=0)


def correct(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(top-1, top-5) hits as float32 [n]: fewer than 1 (5) classes score higher, or as high with a
    lower number. Scores that are not all finite are no hit: nothing is higher than NaN."""
    own = jnp.take_along_axis(scores, labels[:, None], axis=1)
    earlier = jnp.arange(scores.shape[1]) < labels[:, None]
    ahead = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    sound = _sound(scores)
    return (sound & (ahead < 1)).astype(jnp.float32), (sound & (ahead < 5)).astype(jnp.float32)


def _sound(scores: jax.Array) -> jax.Array:
    return jnp.isfinite(scores).all(axis=1)
