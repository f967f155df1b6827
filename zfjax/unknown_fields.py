"""What is said of a field that a config does not have: what there is where it was looked for, the
nearest first. No JAX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from zfjax.config import Config
from zfjax.fields import settable
from zfjax.network.architecture import Conv, Dense, Norm, Pool

KINDS = {
    Conv: "a convolution",
    Pool: "a max-pooling",
    Norm: "a contrast normalisation",
    Dense: "a fully connected layer",
}
NEAR = 0.6
"""Likeness from which on one name may have been meant by another."""
MOST_MEANT = 3


def unknown_field(base: Config, path: str) -> str:
    """What goes on after "There is no field PATH": the layer that is missing, the fields that a
    layer of its kind has, or what may have been meant.
    """
    known, words = tuple(settable(base)), path.split(".")
    group, field = words[0], words[-1]
    if group == "model" and len(words) > 2:
        return _of_layer(base, known, words[1], ".".join(words[2:]))
    if meant := [other for other in known if other.endswith(f".{path}")]:
        return f"; did you mean {' or '.join(meant[:MOST_MEANT])}?"
    namesakes = [other for other in known if other.rsplit(".", 1)[-1] == field]
    of_layers = all(other.startswith("model.") for other in namesakes)
    if len(words) > 1 and of_layers and group != "model":  # the group was left out, or mistyped
        if _near_first(words[-2], _layers(base))[0][1] >= NEAR:
            return _of_layer(base, known, words[-2], field)
    if own := _fields_of(known, group):
        meant = [other for other in namesakes if other.startswith("model.") == (group == "model")]
        if not meant and group == "model":
            beside = ", ".join(name for name in own if "." not in name)
            layers = _listed(field, _layers(base))
            return f"; the layers are {layers}, and beside them there is {beside}."
        if not meant:
            return f"; {group} has {_listed(field, own)}."
        namesakes = meant
    if namesakes:
        return f"; did you mean {' or '.join(namesakes[:MOST_MEANT])}?"
    near = [other for other in known if _likeness(field, other.rsplit(".", 1)[-1]) > (1 + NEAR) / 2]
    if near:
        return f"; did you mean {' or '.join(near[:MOST_MEANT])}?"
    roots = dict.fromkeys(other.split(".")[0] for other in known)
    return f"; there are {', '.join(roots)}; those of a group are written as optimizer.momentum."


def _of_layer(base: Config, known: tuple[str, ...], layer: str, field: str) -> str:
    if layer not in _layers(base):
        return f": there is no layer {layer!r}; the layers are {_listed(layer, _layers(base))}."
    own = _fields_of(known, f"model.{layer}")
    if field in own:
        return f"; did you mean model.{layer}.{field}?"
    kind = KINDS[type(base.model.layer(layer))]
    return f": {layer} is {kind} and has no {field}; it has {_listed(field, own)}."


def _layers(base: Config) -> list[str]:
    return [layer.name for layer in base.model.layers]


def _fields_of(known: Iterable[str], group: str) -> list[str]:
    return [path.removeprefix(f"{group}.") for path in known if path.startswith(f"{group}.")]


def _listed(word: str, names: Iterable[str]) -> str:
    return ", ".join(name for name, _ in _near_first(word, names))


def _near_first(word: str, names: Iterable[str]) -> list[tuple[str, float]]:
    """(name, likeness) of each: those that may have been meant, the nearest first and of equals the
    one of the nearest number; then the others, in their order.
    """
    each = [(name, _likeness(word, name)) for name in names]
    near = sorted(
        (item for item in each if item[1] >= NEAR),
        key=lambda item: (-item[1], abs(_number(item[0]) - _number(word))),
    )
    return near + [item for item in each if item[1] < NEAR]


def _likeness(word: str, name: str) -> float:
    return SequenceMatcher(None, word.lower(), name.lower()).ratio()


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0
