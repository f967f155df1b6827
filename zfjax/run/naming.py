"""What a network is called when its layers are no longer those of its name, and each layer in
words. No JAX.
"""

from __future__ import annotations

import dataclasses

from zfjax.config import Config
from zfjax.errors import shortened
from zfjax.network.architecture import LAYER_KINDS, Architecture, Conv, Dense, Layer, Norm
from zfjax.network.named import ALEXNET, ZFNET, ZFNET_WIDE
from zfjax.presets import PRESETS

MOST_CHANGES = 6
"""Changes that a name lists; the others are counted."""


def network_name(config: Config) -> str:
    """The model's name, with what differs from the network known by it: "zfnet with conv1.kernel
    11, conv1.stride 4", "zfnet without conv3, conv4".

    The number of classes and the size of the input follow the data and are no change. Of several
    networks known by one name (the presets imagenet and imagenet-modern are both "zfnet") the
    nearest counts, the run's own preset first. A name that is not known stands for itself.
    """
    model = config.model
    preset = PRESETS.get(config.preset)
    known = [ZFNET, ZFNET_WIDE, ALEXNET, *(other.model for other in PRESETS.values())]
    bases = [base for base in ([preset.model] if preset else []) + known if base.name == model.name]
    if not bases:
        return model.name
    changed, gone = min(
        (changes(model, base) for base in bases),
        key=lambda changed_and_gone: sum(map(len, changed_and_gone)),
    )
    words = [
        f"{word} {shortened(names, MOST_CHANGES)}"
        for word, names in (("with", changed), ("without", gone))
        if names
    ]
    return " ".join([model.name, " and ".join(words)]).strip()


def changes(model: Architecture, base: Architecture) -> tuple[list[str], list[str]]:
    """(what ``model`` has otherwise than ``base``, layers of ``base`` that it lacks), in the order
    of the layers.
    """
    own, theirs = ({layer.name: layer for layer in network.layers} for network in (model, base))
    changed = []
    for name, layer in own.items():
        if name not in theirs:
            changed.append(f"{name} added")
        elif type(layer) is not type(theirs[name]):
            changed.append(f"{name} a {kind_of(layer)}")
        else:
            changed += [
                f"{name}.{field.name} {_value(getattr(layer, field.name))}"
                for field in dataclasses.fields(layer)
                if getattr(layer, field.name) != getattr(theirs[name], field.name)
                and not (field.name == "features" and layer is model.layers[-1])
            ]
    if [name for name in own if name in theirs] != [name for name in theirs if name in own]:
        changed.append("another order of layers")
    return changed, [name for name in theirs if name not in own]


def kind_of(layer: Layer) -> str:
    """ "conv", "pool", "norm" or "dense"."""
    return next(name for name, kind in LAYER_KINDS.items() if type(layer) is kind)


def layer_words(layer: Layer) -> str:
    """All that a layer does, in one line."""
    if isinstance(layer, Dense):
        return "fully connected" + (f", dropout {layer.dropout:g}" if layer.dropout else "")
    if isinstance(layer, Norm):
        return (
            f"contrast normalisation over {layer.size} maps, k {layer.k:g}, alpha {layer.alpha:g}, "
            f"beta {layer.beta:g}"
        )
    what = "convolution" if isinstance(layer, Conv) else "max-pooling"
    padding = f", padding {' and '.join(map(str, layer.padding))}" if any(layer.padding) else ""
    return f"{layer.extent} × {layer.extent} {what}, stride {layer.stride}{padding}"


def _value(value: float | tuple[int, int]) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple | list) else f"{value:g}"
