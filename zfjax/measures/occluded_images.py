"""Which images a square is slid over: somebody's own files, images by their number, or some that
the network gets right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.data.dataset import NO_LABEL
from zfjax.data.images import view_of_file
from zfjax.data.views import LookedAt
from zfjax.errors import ZfjaxError, shortened
from zfjax.files import local_path
from zfjax.measures.protocol import Looked
from zfjax.network.model import Parameters
from zfjax.subject import Scores, Subject
from zfjax.values import path_of

AT_ONCE = 32
"""Images whose scores are looked at to find some that are right."""
MOST_TRIED = 1024
"""Images looked at for that."""


@dataclass(frozen=True)
class Looking:
    """One image to slide the square over."""

    name: str
    """For people: a file's name, or the image's number in its split."""
    view: np.ndarray
    """uint8 [view, view, 3]."""
    label: int = NO_LABEL
    image_id: int | None = None
    """None: somebody's own file."""


def split_of(looked: Looked, split: str | None) -> LookedAt:
    """The images of a split; None: the run's validation split, unless it looks at another than the
    one it was trained on. Raises ZfjaxError for one that is not there.
    """
    images: LookedAt = looked.subject.need("images", "The measure occlusion")
    chosen = split or images.split
    if split is None and looked.run and images.split == looked.subject.train_split:
        chosen = looked.run.config.data.validation_split
    return images.of_split(chosen)


def named_images(looked: Looked, names: Sequence[str], split: str | None) -> list[Looking]:
    """These images: a number is one of the split, unless there is a file of that name. Raises
    ZfjaxError for a number that is not there, and for a file that is no image.
    """
    side = looked.subject.preparation.view
    images: dict[Path | int, Looking] = {}
    for item in _files_and_numbers(names):
        which = item.resolve() if isinstance(item, Path) else item
        if which in images:
            raise ZfjaxError(
                f"--occlusion.image names {item} twice: an image counted twice makes intervals too"
                " narrow."
            )
        if isinstance(item, Path):
            images[which] = Looking(item.name, view_of_file(item, (side, side)))
        else:
            images[which] = _numbered(split_of(looked, split), item)
    return list(images.values())


def files_among(names: Sequence[str]) -> tuple[Path, ...]:
    """Those of ``named_images`` that are files."""
    return tuple(item for item in _files_and_numbers(names) if isinstance(item, Path))


def _files_and_numbers(names: Sequence[str]) -> list[Path | int]:
    joined = ",".join(names)
    if len(names) > 1 and local_path(path_of(joined, "image")).is_file():
        names = (joined,)  # one file with commas in its name
    items: list[Path | int] = []
    for name in names:
        path = local_path(path_of(name, "--occlusion.image"))
        is_number = name.removeprefix("-").isdecimal() and not path.exists()
        items.append(int(name) if is_number else path)
    return items


def labelled(looked: Looked, images: Sequence[Looking], labels: Sequence[str]) -> list[Looking]:
    """Somebody's own files with their true classes, one each or one for all; no labels: as they
    are. Raises ZfjaxError for another number of labels than files, and for a class that is not
    there.
    """
    own = [index for index, image in enumerate(images) if image.image_id is None]
    if not labels:
        return list(images)
    if len(labels) not in (1, len(own)) or not own:
        raise ZfjaxError(
            f"--occlusion.label names {len(labels)} class{'' if len(labels) == 1 else 'es'} for"
            f" {len(own)} image file{'' if len(own) == 1 else 's'}; give one each, or one for all"
            " (images by their number have their own)."
        )
    numbers = [_class_number(looked.subject, label) for label in labels]
    numbers *= len(own) // len(numbers)
    known = dict(zip(own, numbers, strict=True))
    return [
        replace(image, label=known.get(index, image.label)) for index, image in enumerate(images)
    ]


def _class_number(subject: Subject, label: str) -> int:
    """By its name, else by its number."""
    names = subject.labels or ()
    if label in names:
        return list(names).index(label)
    count = _class_count(subject)
    if label.isdecimal() and int(label) < count:
        return int(label)
    there = f"; there are {shortened(names, 8)}" if names else ""
    raise ZfjaxError(
        f"--occlusion.label {label!r}: the network has no such class{there}, numbered 0 to"
        f" {count - 1}."
    )


def _class_count(subject: Subject) -> int:
    parameters = subject.parameters(subject.steps[0], whole=True)
    inputs = jax.ShapeDtypeStruct((1, *subject.network.input_size, 3), jnp.float32)
    return int(jax.eval_shape(subject.need("scores", "A label"), parameters, inputs).shape[1])


def _numbered(images: LookedAt, number: int) -> Looking:
    if not 0 <= number < images.count:
        raise ZfjaxError(
            f"--occlusion.image {number}: split {images.split!r} of {images.name} has images 0 to"
            f" {images.count - 1}."
        )
    [(label, _)] = images.describe([number])
    return Looking(f"{images.split} {number}", images.view(number), int(label), number)


def drawn_images(
    looked: Looked, parameters: Parameters, count: int, split: str | None, seed: int
) -> list[Looking]:
    """``count`` images of the split, drawn by lot, that the network with these parameters gets
    right; others after them where it gets too few of the first MOST_TRIED right. Of a network
    without scores, or images without labels, the first of the lot.
    """
    images, subject = split_of(looked, split), looked.subject
    lot = np.random.default_rng(seed).permutation(images.count)[:MOST_TRIED].tolist()
    right: list[Looking] = []
    others: list[Looking] = []
    for start in range(0, len(lot), AT_ONCE):
        ids = lot[start : start + AT_ONCE]
        for batch in images.batches_of(AT_ONCE, ids):
            rows = np.flatnonzero(batch["weight"] > 0)
            best = _most_probable(subject, parameters, batch["image"])
            for row in rows.tolist():
                number, label = int(batch["image_id"][row]), int(batch["label"][row])
                name = f"{images.split} {number}"
                looking = Looking(name, np.array(batch["image"][row]), label, number)
                is_right = best is not None and label != NO_LABEL and best[row] == label
                (right if is_right else others).append(looking)
        judged = subject.scores is not None and any(own.label != NO_LABEL for own in others + right)
        if len(right) >= count or (not judged and len(others) >= count):
            break
    order = {number: index for index, number in enumerate(lot)}
    right.sort(key=lambda looking: order[looking.image_id])
    others.sort(key=lambda looking: order[looking.image_id])
    chosen = (right + others)[:count]
    if not chosen:
        raise ZfjaxError(
            f"Split {images.split!r} of {images.name} has no image that can be read to occlude."
        )
    return chosen


def _most_probable(
    subject: Subject, parameters: Parameters, views: np.ndarray
) -> np.ndarray | None:
    if subject.scores is None:
        return None
    scores = _scores(parameters, subject.prepare(views), of=subject.scores)
    return np.asarray(scores.argmax(axis=1))


def _score(parameters: Parameters, inputs: jax.Array, *, of: Scores) -> jax.Array:
    return of(parameters, inputs)


_scores = jax.jit(_score, static_argnames="of")
