"""The labels of ILSVRC2012: which class a file name says, and whether a data set agrees.

The lists come with the TFDS package. A validation image's class is looked up by the number in its
name (one wnid a line, image 1 first; the devkit numbers classes in another order); a training
image's name begins with its wnid.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from zfjax.errors import ZfjaxError

_VALIDATION_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.(?:JPEG|jpe?g|JPG)")
_TRAINING_NAME = re.compile(r"(n\d{8})_\d+\.(?:JPEG|jpe?g|JPG)")


def class_wnids() -> tuple[str, ...]:
    """The 1,000 classes in the order of their labels, as TFDS has them."""
    return _packaged("labels.txt")


def validation_label(file_name: str) -> int | None:
    """The label of ILSVRC2012_val_<number>.JPEG; None for another name or a number that the set
    does not have.
    """
    match = _VALIDATION_NAME.fullmatch(file_name)
    truth = _packaged("validation_labels.txt")
    if match is None or not 1 <= int(match[1]) <= len(truth):
        return None
    return _places()[truth[int(match[1]) - 1]]


@functools.cache
def _places() -> dict[str, int]:
    return {wnid: label for label, wnid in enumerate(class_wnids())}


@functools.cache
def _packaged(name: str) -> tuple[str, ...]:
    """The lines of a list that comes with the TFDS package (its imagenet2012 builder itself needs
    TensorFlow).
    """
    spec = importlib.util.find_spec("tensorflow_datasets")
    origin = "" if spec is None or spec.origin is None else spec.origin
    path = Path(origin).parent / "datasets" / "imagenet2012" / name
    if not path.is_file():
        raise ZfjaxError(
            f"The installed tensorflow-datasets lacks {name}; install a version that brings it."
        )
    return tuple(path.read_text().split())


def named_label(file_name: str) -> int | None:
    """The label that the name of a training or validation image says; None for another kind of
    name.
    """
    if match := _TRAINING_NAME.fullmatch(file_name):
        return _places().get(match[1])
    return validation_label(file_name)


def check_labels(
    class_names: Iterable[str], described: Iterable[tuple[int, str]], where: str
) -> None:
    """Raises ZfjaxError when images of a set with ILSVRC2012's classes have other labels than their
    names say.

    TFDS's own builder shifts every validation label, in silence, when its tar has an entry for the
    folder itself. ``described``: (label, file name).
    """
    if tuple(class_names) != class_wnids():
        return
    for label, file_name in described:
        expected = named_label(Path(file_name).name)
        if expected is not None and label != expected:
            raise ZfjaxError(
                f"The labels of {where} are wrong: {file_name} is of class"
                f" {class_wnids()[expected]}, not"
                f" {class_wnids()[label] if 0 <= label < 1000 else label}. Prepare the set again,"
                " with `zfjax data import` from the tars."
            )
