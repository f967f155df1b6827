"""How far changes of an image carry the features of every layer, and its class probabilities."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.inputs import Preparation
from zfjax.measures.warping import Change, Fill, warped
from zfjax.network.model import Parameters
from zfjax.subject import Network, Scores

BATCH = 32
"""Images in one run of the network, the unchanged one among them."""
NEIGHBOURS = 3
"""Other images that each is compared with, at most."""
NOWHERE = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
"""The matrix that leaves an image as it is."""


@dataclass(frozen=True)
class How:
    """What is compiled into ``_compared``."""

    network: Network
    scores: Scores | None
    preparation: Preparation
    fill: Fill


@dataclass(frozen=True)
class Compared:
    """Distances of features at one step. Images and changes in the order in which they came."""

    l2: Mapping[str, np.ndarray]
    """By layer, float64 [images, changes]: Euclidean distance from the unchanged image's."""
    cosine: Mapping[str, np.ndarray]
    """Likewise 1 minus the cosine; NaN where either is zero."""
    length: Mapping[str, np.ndarray]
    """By layer, float64 [images]: of the unchanged image's features."""
    pairs: np.ndarray
    """int64 [pairs, 2]: images that were compared with each other."""
    pair_l2: Mapping[str, np.ndarray]
    """By layer, float64 [pairs]."""
    classes: np.ndarray | None
    """float64 [images, 1 + changes, classes]: probabilities, of the unchanged image first; None
    without scores."""


@dataclass(frozen=True)
class Comparison:
    """Always the same images and changes; see ``at``."""

    how: How
    mean_image: Any
    outside: np.ndarray
    """float32 [view, view, 3], as ``warping.mean_view`` gives it."""
    views: np.ndarray
    """uint8 [images, view, view, 3]."""
    matrices: np.ndarray
    """float32 [changes, 2, 3]."""
    seed: int = 0
    """Of the order in which images are neighbours."""

    def at(self, parameters: Parameters) -> Iterator[tuple[int, dict[str, Any]]]:
        """(image, what ``_compared`` gives of it, its rows the changes and then its neighbours)."""
        count, changes = len(self.views), len(self.matrices)
        neighbours = self.neighbours()
        items = changes + neighbours.shape[1]
        runs = -(-items // (BATCH - 1))
        size = -(-items // runs)
        matrices = np.concatenate([self.matrices, [NOWHERE] * (runs * size - changes)])
        for image in range(count):
            others = [*neighbours[image], *[image] * (runs * size - items)]
            which = np.array([*[image] * changes, *others])
            pieces = []
            for start in range(0, runs * size, size):
                rows = slice(start, start + size)
                views = self.views[np.concatenate([[image], which[rows]])]
                moved = np.concatenate([[NOWHERE], matrices[rows]])
                own = _compared(
                    parameters, self.mean_image, self.outside, (views, moved), how=self.how
                )
                pieces.append(jax.device_get(own))
            yield image, jax.tree.map(lambda *parts: np.concatenate(parts)[:items], *pieces)

    def neighbours(self) -> np.ndarray:
        """int64 [images, others]: each image's, by their order around a circle drawn by lot, so
        that no pair comes twice.
        """
        count = len(self.views)
        circle = np.random.default_rng(self.seed).permutation(count)
        steps = 1 + np.arange(min(NEIGHBOURS, (count - 1) // 2))
        position = np.argsort(circle)
        return np.asarray(circle[(position[:, None] + steps) % count])


def compare(comparison: Comparison, parameters: Parameters) -> Compared:
    """All distances of one step."""
    parameters = jax.device_put(parameters)
    changes, neighbours = len(comparison.matrices), comparison.neighbours()
    rows = [own for _, own in comparison.at(parameters)]
    layers = list(rows[0]["l2"])

    def stacked(what: str, layer: str) -> np.ndarray:
        return np.stack([np.float64(own[what][layer]) for own in rows])

    l2 = {layer: stacked("l2", layer) for layer in layers}
    classes = None
    if comparison.how.scores is not None:
        classes = np.stack(
            [np.float64(np.concatenate([own["own"][:1], own["classes"][:changes]])) for own in rows]
        )
    return Compared(
        l2={layer: values[:, :changes] for layer, values in l2.items()},
        cosine={layer: stacked("cosine", layer)[:, :changes] for layer in layers},
        length={layer: stacked("length", layer)[:, 0] for layer in layers},
        pairs=np.stack(
            [np.repeat(np.arange(len(rows)), neighbours.shape[1]), neighbours.ravel()], axis=1
        ),
        pair_l2={layer: values[:, changes:].ravel() for layer, values in l2.items()},
        classes=classes,
    )


@functools.partial(jax.jit, static_argnames="how")
def _compared(
    parameters: Parameters,
    mean_image: jax.Array | None,
    outside: jax.Array,
    items: tuple[jax.Array, jax.Array],
    *,
    how: How,
) -> dict[str, Any]:
    """Each of views [1 + n, ...] changed by matrices [1 + n, 2, 3], compared with the first: [n]
    each, by layer.
    """
    views, matrices = items
    pixels = warped(views, matrices, outside, how.fill)
    inputs = how.preparation.inputs(pixels, mean_image)
    features = how.network.features(parameters, inputs)
    l2, cosine, length = {}, {}, {}
    for name, values in features.items():
        flat = values.reshape(len(values), -1).astype(jnp.float32)
        sizes = jnp.sqrt((flat * flat).sum(axis=1))
        units = flat / sizes[:, None]
        l2[name] = _norm(flat[1:] - flat[:1])
        # Half the squared distance of unit vectors keeps the digits of what is nearly equal.
        apart = _norm(units[1:] - units[:1]) ** 2 / 2
        cosine[name] = jnp.where((l2[name] == 0) & (sizes[1:] > 0), 0, apart)
        length[name] = jnp.broadcast_to(sizes[:1], l2[name].shape)
    out: dict[str, Any] = {"l2": l2, "cosine": cosine, "length": length}
    if how.scores is not None:
        classes = jax.nn.softmax(how.scores(parameters, inputs), axis=1)
        out["classes"] = classes[1:]
        out["own"] = jnp.broadcast_to(classes[:1], out["classes"].shape)
    return out


def _norm(rows: jax.Array) -> jax.Array:
    return jnp.sqrt((rows * rows).sum(axis=1))


@functools.partial(jax.jit, static_argnames=("preparation", "fill"))
def _seen(
    views: jax.Array,
    matrices: jax.Array,
    outside: jax.Array,
    *,
    preparation: Preparation,
    fill: Fill,
) -> jax.Array:
    return preparation.crop(warped(views, matrices, outside, fill))


def seen(comparison: Comparison, images: np.ndarray, changes: list[Change], axis: Any) -> Any:
    """What the network is shown of some images, before it is normalised: float32 [images, changes,
    height, width, 3], 0..255.
    """
    how, size = comparison.how, comparison.how.network.input_size
    matrices = np.stack([change.matrix(size, axis) for change in changes])
    count = len(images)
    shown = _seen(
        np.repeat(comparison.views[images], len(changes), axis=0),
        np.tile(matrices, (count, 1, 1)),
        comparison.outside,
        preparation=how.preparation,
        fill=how.fill,
    )
    return np.asarray(shown).reshape(count, len(changes), *shown.shape[1:])
