"""Error rates of given parameters on a split: one central crop an image, or the mean of the paper's
ten.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from zfjax.config import Config
from zfjax.data.views import Evaluated
from zfjax.devices import in_parts, one_behind, place, replicated
from zfjax.errors import ZfjaxError
from zfjax.inputs import Preparation
from zfjax.network.model import Parameters
from zfjax.progress import Progress
from zfjax.subject import Scores, Subject


@dataclass(frozen=True)
class Batching:
    """Images at a time. ``size``: on all devices of ``mesh`` together; ``parts``: how many pieces a
    batch is computed in, one after the other.
    """

    mesh: Mesh
    size: int
    parts: int = 1


def batching_of(config: Config, mesh: Mesh) -> Batching:
    """As many as training computes, in as many parts: it fits as training does."""
    return Batching(mesh, config.batch_size, config.optimizer.accumulate)


def evaluate(
    subject: Subject,
    parameters: Parameters,
    batching: Batching,
    *,
    views: int = 1,
    progress: Progress | None = None,
) -> dict[str, float]:
    """{"loss": nats, "top1": 0..1, "top5": 0..1, "images": how many} of the subject's images, every
    one that can be read and has a label once, at precision HIGHEST. The loss is NaN where a score
    is not finite; no hit is counted on such an image. "unlabelled": how many have none, where there
    are such; they count nowhere.

    ``views``: 1 is the central crop; 10 averages the class probabilities of the four corners, the
    centre and their mirror images (paper, section 4). Raises ZfjaxError for another number, for a
    subject without scores, and for a split that is empty, or has no image that can be read, or no
    label.
    """
    check_views(views)
    images: Evaluated = subject.need("images", "An error rate")
    if images.count:
        images.check_labelled("evaluation")
    mesh = batching.mesh
    parameters = jax.device_put(parameters, replicated(mesh))
    mean = subject.mean_image
    mean = None if mean is None else jax.device_put(mean, replicated(mesh))
    scores = subject.need("scores", "An error rate")
    how = _How(scores, subject.preparation, batching.parts, ten=views == 10)

    def dispatched() -> Iterator[jax.Array]:
        for batch in images.batches(batching.size // jax.process_count()):
            rows = place(mesh, tuple(batch[name] for name in ("image", "label", "weight")))
            yield _sums(parameters, rows, mean, how=how)

    sums, done = np.zeros(5), 0
    for of_batch in one_behind(dispatched()):
        sums += np.asarray(of_batch, np.float64)
        done = min(done + batching.size, images.count)
        if progress is not None:
            progress("evaluating", done, images.count)
    if not sums[3]:
        raise _nothing_to_count(images, unlabelled=bool(sums[4]))
    figures = dict(zip(("loss", "top1", "top5"), (sums[:3] / sums[3]).tolist(), strict=True))
    unlabelled = {"unlabelled": int(sums[4])} if sums[4] else {}
    return {**figures, "images": int(sums[3]), **unlabelled}


def _nothing_to_count(images: Evaluated, unlabelled: bool) -> ZfjaxError:
    why = f"none of its {images.count:,} images can be read" if images.count else "it is empty"
    why = "none of its images that can be read has a label" if unlabelled else why
    return ZfjaxError(
        f"There is nothing to evaluate on in split {images.split!r} of {images.name}:"
        f" {why}; prepare the data set again, or choose another split."
    )


def check_views(views: int) -> None:
    """Raises ZfjaxError for a number of views that there is not."""
    if views not in (1, 10):
        raise ZfjaxError(
            f"--views {views}: 1 (the central crop) or 10 (corners, centre, mirrored)."
        )


@dataclass(frozen=True)
class _How:
    """What is compiled into ``_sums``."""

    scores: Scores
    preparation: Preparation
    parts: int
    ten: bool


@functools.partial(jax.jit, static_argnames="how")
def _sums(
    parameters: Parameters,
    batch: tuple[jax.Array, jax.Array, jax.Array],
    mean_image: jax.Array | None,
    *,
    how: _How,
) -> jax.Array:
    """[loss, top-1, top-5, images, images without a label] summed over a batch: views, labels,
    weights.
    """

    def score(inputs: jax.Array) -> jax.Array:
        return how.scores(parameters, inputs)

    def sums(piece: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        views, labels, weights = piece
        if how.ten:

            def shares_of(index: jax.Array) -> jax.Array:
                inputs = how.preparation.one_of_ten(views, mean_image, index)
                return jax.nn.softmax(score(inputs))

            shares = jax.lax.map(shares_of, jnp.arange(10))
            scores = jnp.log(jnp.maximum(shares.mean(axis=0), 1e-30))  # of the mean probability
        else:
            scores = score(how.preparation.inputs(views, mean_image))
        known = jnp.where(labels >= 0, weights, 0)
        labels = jnp.maximum(labels, 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
        top1, top5 = correct(scores, labels)
        losses = jnp.where(_sound(scores), losses, jnp.nan)

        def count(values: jax.Array) -> jax.Array:
            return jnp.where(known > 0, values, 0).sum()  # a product would make NaN of padding

        figures = [count(values) for values in (losses, top1, top5, jnp.ones_like(weights))]
        return jnp.stack([*figures, (weights - known).sum()])

    if how.parts == 1:
        return sums(batch)
    pieces = jax.tree.map(lambda rows: in_parts(rows, how.parts), batch)
    return jax.lax.map(sums, pieces).sum(axis=0)


def correct(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(top-1, top-5) hits as float32 [n]: fewer than 1 (5) classes score higher, or as high with a
    lower number. Scores that are not all finite are no hit, nor is a label that has no score:
    nothing is higher than NaN.
    """
    own = jnp.take_along_axis(scores, labels[:, None], axis=1)
    earlier = jnp.arange(scores.shape[1])[None, :] < labels[:, None]
    ahead = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    sound = _sound(scores) & (labels < scores.shape[1])
    return (sound & (ahead < 1)).astype(jnp.float32), (sound & (ahead < 5)).astype(jnp.float32)


def _sound(scores: jax.Array) -> jax.Array:
    return jnp.isfinite(scores).all(axis=1)
