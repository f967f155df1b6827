"""Several runs as one classifier: the mean of their softmax outputs (paper, Table 2).

The runs go over the images side by side, each fed its own view of them, so that memory grows with
neither images nor epochs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.data.views import Images
from zfjax.devices import data_mesh, place, replicated
from zfjax.errors import ZfjaxError
from zfjax.inputs import Preparation, open_data, with_data_dir
from zfjax.network.model import Parameters
from zfjax.progress import Progress, tell_nobody
from zfjax.run import checkpoint
from zfjax.run.folder import Run
from zfjax.subject import Scores, Subject, images_of, subject_of
from zfjax.training.evaluation import Batching, batching_of, check_views, correct
from zfjax.values import Place, Text

Figures = dict[str, float]
"""As ``evaluation.evaluate`` gives them."""


@dataclass(frozen=True, eq=False)
class Member:
    """A run of an ensemble, on the images that all are evaluated on."""

    run: Run
    subject: Subject

    @property
    def images(self) -> Images:
        """In its own view."""
        images: Images = self.subject.need("images", "An ensemble")
        return images


@dataclass(frozen=True)
class Together:
    """What some saved parameters give, and the mean of their softmax outputs."""

    own: tuple[Figures, ...]
    """Of each run, in their order."""
    mean: Figures
    """Of the ensemble."""
    gain: tuple[float, float, float]
    """Top-1 accuracy of the ensemble minus the mean of the runs', and the ends of its 95% interval
    over images (normal, of the paired differences); of these runs."""


def members_of(
    runs: Sequence[Run],
    split: Text | None = None,
    data_dir: Place | None = None,
    progress: Progress | None = None,
) -> tuple[Member, ...]:
    """The runs, opened on one split: the first one's validation split where none is named. Raises
    ZfjaxError for fewer than two, for one named twice, and where classes, their order or images
    differ.
    """
    if len(runs) < 2:
        raise ZfjaxError("An ensemble is of two runs or more: name them all after --workdir.")
    first = runs[0]
    for index, run in enumerate(runs):
        if any(run.folder.resolve() == before.folder.resolve() for before in runs[:index]):
            raise ZfjaxError(f"{run.folder} is named twice; an ensemble counts each run once.")
        if run.class_names != first.class_names:
            raise ZfjaxError(
                f"{run.folder} has other classes than {first.folder}"
                f" ({_difference(run.class_names, first.class_names)}), and their outputs have no"
                " mean: an ensemble is of runs on one data set, labels in one order."
            )
    wanted = str(split) if split is not None else first.config.data.validation_split
    members: list[Member] = []
    for run in runs:
        config = with_data_dir(run.config, data_dir)
        images = images_of(config, open_data(config, progress), wanted)
        members.append(Member(run, subject_of(run, images)))
        ours, theirs = members[0].images, images
        if ours.fingerprint["digest"] != theirs.fingerprint["digest"]:
            raise ZfjaxError(
                f"Split {wanted!r} of {theirs.name} ({run.folder}) holds other images than that of"
                f" {ours.name} ({first.folder}): an ensemble is evaluated on one set of images."
            )
    return tuple(members)


def _difference(names: Sequence[str], others: Sequence[str]) -> str:
    if len(names) != len(others):
        return f"{len(names)} and {len(others)}"
    index = next(i for i, (a, b) in enumerate(zip(names, others, strict=True)) if a != b)
    return f"number {index} is {names[index]!r:.40} and {others[index]!r:.40}"


def steps_together(members: Sequence[Member], at: Sequence[str] | None) -> list[tuple[int, ...]]:
    """The saved steps of each run that go together, in the words of ``--at``. Raises ZfjaxError
    where the runs have not equally many.
    """
    steps = [member.run.steps_at(at) for member in members]
    for member, own in zip(members, steps, strict=True):
        if len(own) != len(steps[0]):
            raise ZfjaxError(
                f"{member.run.folder} has {len(own)} of the epochs asked for and"
                f" {members[0].run.folder} {len(steps[0])}: name epochs that all have, with --at"
                " (last is each one's own)."
            )
    return list(zip(*steps, strict=True))


def batching_together(members: Sequence[Member], devices: int | None = None) -> Batching:
    """As the run with the smallest batch is evaluated: what fits there fits for all in turn."""
    config = min((member.run.config for member in members), key=lambda config: config.batch_size)
    return batching_of(config, data_mesh(config.batch_size, devices))


def evaluate_together(
    members: Sequence[Member],
    steps: Sequence[int],
    batching: Batching,
    *,
    views: int = 1,
    progress: Progress | None = None,
) -> Together:
    """What the members give at these steps, one each. Raises ZfjaxError for another number of views
    than 1 and 10, for a checkpoint that is damaged or not finite, and where no image counts.
    """
    check_views(views)
    tell, mesh = progress or tell_nobody, batching.mesh
    members[0].images.check_labelled("evaluation")
    trees = [_sound_parameters(m, step) for m, step in zip(members, steps, strict=True)]
    trees = jax.device_put(trees, replicated(mesh))
    means = [member.subject.mean_image for member in members]
    hows = [
        _Way(member.subject.need("scores", "An ensemble"), member.subject.preparation, views == 10)
        for member in members
    ]
    count, size = members[0].images.count, batching.size // jax.process_count()
    sums, paired, done, unlabelled = np.zeros((len(members) + 1, 4)), np.zeros(2), 0, 0
    batches = (member.images.batches(size) for member in members)
    for of_members in zip(*batches, strict=True):
        readable = np.all([batch["weight"] > 0 for batch in of_members], axis=0)
        known = (readable & (of_members[0]["label"] >= 0)).astype(np.float32)
        unlabelled += int(readable.sum() - known.sum())
        shares = []
        for batch, tree, mean, how in zip(of_members, trees, means, hows, strict=True):
            views_of_batch = place(mesh, (batch["image"],))[0]
            shares.append(_shares(tree, views_of_batch, mean, how=how))
        labels, weights = place(mesh, (np.maximum(of_members[0]["label"], 0), known))
        of_batch, difference = _sums(jnp.stack(shares), labels, weights)
        sums += np.asarray(of_batch, np.float64)
        paired += np.asarray(difference, np.float64)
        done = min(done + batching.size, count)
        tell("evaluating", done, count)
    images = sums[0, 3]
    if not images:
        raise ZfjaxError(
            f"There is nothing to evaluate on in split {members[0].images.split!r}: none of its"
            " images that can be read has a label."
        )
    figures = [
        {"loss": float(row[0] / images), "top1": float(row[1] / images)}
        | {"top5": float(row[2] / images), "images": int(images), "unlabelled": unlabelled}
        for row in sums
    ]
    return Together(tuple(figures[:-1]), figures[-1], _interval(paired, int(images)))


def _interval(paired: np.ndarray, images: int) -> tuple[float, float, float]:
    mean = paired[0] / images
    variance = max(paired[1] / images - mean**2, 0.0)
    half = 1.959964 * math.sqrt(variance / max(images - 1, 1))
    return float(mean), float(mean - half), float(mean + half)


def _sound_parameters(member: Member, step: int) -> Parameters:
    parameters = member.subject.parameters(step, whole=True)
    for name, values in checkpoint.leaf_paths(parameters).items():
        if not np.isfinite(np.asarray(values)).all():
            raise ZfjaxError(
                f"{member.run.folder} has parameters that are not finite ({name}) at step {step}:"
                " leave it out, or ask for epochs before it with --at."
            )
    return parameters


@dataclass(frozen=True)
class _Way:
    """What is compiled into ``_shares``."""

    scores: Scores
    preparation: Preparation
    ten: bool


@functools.partial(jax.jit, static_argnames="how")
def _shares(
    parameters: Parameters, views: jax.Array, mean_image: jax.Array | None, *, how: _Way
) -> jax.Array:
    """Class probabilities float32 [n, classes] of views uint8 [n, view, view, 3]: of the central
    crop, or the mean over the paper's ten.
    """

    def of_inputs(inputs: jax.Array) -> jax.Array:
        return jax.nn.softmax(how.scores(parameters, inputs))

    if not how.ten:
        return of_inputs(how.preparation.inputs(views, mean_image))

    def of_crop(index: jax.Array) -> jax.Array:
        return of_inputs(how.preparation.one_of_ten(views, mean_image, index))

    return jax.lax.map(of_crop, jnp.arange(10)).mean(axis=0)


@jax.jit
def _sums(shares: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(float32 [runs + 1, 4], [2]) of shares [runs, n, classes]: loss, top-1, top-5 and images
    summed for each run and, last, for the mean of all; and the paired differences of top-1, the
    ensemble's minus the runs' mean, and their squares.
    """

    def figures(of_run: jax.Array) -> tuple[jax.Array, jax.Array]:
        logs = jnp.log(jnp.maximum(of_run, 1e-30))
        losses = -jnp.take_along_axis(logs, labels[:, None], axis=1)[:, 0]
        losses = jnp.where(jnp.isfinite(of_run).all(axis=1), losses, jnp.nan)
        top1, top5 = correct(logs, labels)
        columns = (losses, top1, top5, jnp.ones_like(weights))
        return jnp.stack([jnp.where(weights > 0, c, 0).sum() for c in columns]), top1

    rows, hits = jax.vmap(figures)(jnp.concatenate([shares, shares.mean(axis=0)[None]]))
    difference = jnp.where(weights > 0, hits[-1] - hits[:-1].mean(axis=0), 0)
    return rows, jnp.stack([difference.sum(), jnp.square(difference).sum()])
