"""How torch's libraries call the arrays of a network and lay them out, against the modules of
``zfjax.network.torch``: state dict in, variables out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import ZfjaxError, shortened
from zfjax.network import torch as nets
from zfjax.network.equations import leaf_path

COUNTERS = "num_batches_tracked"
"""The end of names that evaluation has no use for."""


@dataclass(frozen=True)
class Origin:
    """A network as a library of torch's has it."""

    build: Callable[[], nn.Module]
    """One of ``zfjax.network.torch``."""
    notes: tuple[str, ...] = ()
    """What differs from how zfjax has it."""


_LRN = (
    "LRN as torch has it: alpha 0.0001 is divided by the 5 maps it sums over, which is 2e-05 in"
    " zfjax's own convention; k 2, beta 0.75, before the pool"
)
ORIGINS: Mapping[str, Origin] = {
    "torchvision/alexnet": Origin(nets.alexnet, ("it has no LRN",)),
    "torchvision/vgg16": Origin(nets.vgg16),
    "torchvision/vgg16_bn": Origin(nets.vgg16_bn),
    "torchvision/resnet18": Origin(nets.resnet18),
    "torchvision/resnet50": Origin(nets.resnet50),
    "pytorchcv/zfnet": Origin(nets.zfnet, (_LRN,)),
}


@dataclass(frozen=True)
class Named:
    """An array, by both names."""

    theirs: str
    """In a state dict: "layer1.0.conv1.weight"."""
    ours: str
    """In the variables: "params/layer1_0/conv1/kernel"."""
    side: int = 1
    """Of the maps that a dense layer is on: torch counts through a map before the next."""


def names_of(net: nn.Module) -> tuple[Named, ...]:
    """Every array of one of the modules of ``zfjax.network.torch``."""
    match net:
        case nets.AlexNet():
            convolutions = dict(zip((0, 3, 6, 8, 10), range(1, 6), strict=True))
            layers = [_layer(f"features.{at}", f"conv{to}") for at, to in convolutions.items()]
            layers += _head(("classifier.1", "classifier.4", "classifier.6"), 6)
        case nets.VGG16():
            layers = [*_vgg_features(net.normalised)]
            layers += _head(("classifier.0", "classifier.3", "classifier.6"), 7)
        case nets.ResNet():
            layers = [*_resnet_layers(net)]
        case nets.ZFNet():
            units = ((1, 1), (2, 1), (3, 1), (3, 2), (3, 3))
            layers = [
                _layer(f"features.stage{stage}.unit{unit}.conv", f"conv{number}")
                for number, (stage, unit) in enumerate(units, start=1)
            ]
            layers += _head(("output.fc1.fc", "output.fc2.fc", "output.fc3"), 6)
        case _:
            raise TypeError(f"no names are known of {type(net).__name__}")
    return tuple(named for layer in layers for named in layer)


def variables_from(
    state: Mapping[str, np.ndarray], net: nn.Module, input_size: int = 224
) -> dict[str, np.ndarray]:
    """{path: float32 array} of a module's variables, out of a state dict. Raises ZfjaxError that
    names what is missing, not known, of another shape, or not a number.
    """
    shapes = _shapes_of(net, input_size)
    known = {named.theirs: named for named in names_of(net)}
    surplus = [name for name in state if name not in known and not name.endswith(COUNTERS)]
    missing = [name for name in known if name not in state]
    if missing or surplus:
        clauses = [f"it lacks {shortened(missing, 4)}"] if missing else []
        clauses += [f"it has {shortened(surplus, 4)}, which the network has not"] if surplus else []
        raise ZfjaxError(f"The weights are of another network: {'; '.join(clauses)}.")
    misshapen = [
        f"{name} is of shape {state[name].shape}, not {wanted}"
        for name, named in known.items()
        if state[name].shape != (wanted := _their_shape(shapes[named.ours]))
    ]
    if misshapen:
        raise ZfjaxError(f"The weights are of another network: {shortened(misshapen, 3, '; ')}.")
    variables = {named.ours: _laid_out(state[name], named) for name, named in known.items()}
    for name, named in known.items():
        if not np.isfinite(variables[named.ours]).all():
            raise ZfjaxError(f"{name} has numbers that are not finite: NaN, or too large.")
    return variables


def _shapes_of(net: nn.Module, input_size: int) -> dict[str, tuple[int, ...]]:
    images = jnp.zeros((1, input_size, input_size, 3))
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {leaf_path(keys): tuple(leaf.shape) for keys, leaf in leaves}


def _their_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a kernel [h, w, in, out] or a matrix [in, out], as torch has it."""
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape[::-1]


def _laid_out(array: np.ndarray, named: Named) -> np.ndarray:
    """torch's array in our order, float32."""
    array = np.asarray(array).astype(np.float32)
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
    if array.ndim == 2 and named.side > 1:
        out, side = len(array), named.side
        array = array.reshape(out, -1, side, side).transpose(0, 2, 3, 1).reshape(out, -1)
    return np.ascontiguousarray(array.T)


Layer = list[Named]


def _layer(theirs: str, ours: str, side: int = 1, bias: bool = True) -> Layer:
    names = [Named(f"{theirs}.weight", f"params/{ours}/kernel", side)]
    return names + ([Named(f"{theirs}.bias", f"params/{ours}/bias")] if bias else [])


def _norm(theirs: str, ours: str) -> Layer:
    return [
        Named(f"{theirs}.weight", f"params/{ours}/scale"),
        Named(f"{theirs}.bias", f"params/{ours}/bias"),
        Named(f"{theirs}.running_mean", f"batch_stats/{ours}/mean"),
        Named(f"{theirs}.running_var", f"batch_stats/{ours}/var"),
    ]


def _head(theirs: tuple[str, str, str], side: int) -> list[Layer]:
    first, second, scores = theirs
    return [_layer(first, "fc1", side), _layer(second, "fc2"), _layer(scores, "fc3")]


def _vgg_features(normalised: bool) -> Iterator[Layer]:
    """torch numbers convolutions, norms, ReLUs and pools alike."""
    index = 0
    for stage, convolutions in enumerate(nets.VGG_STAGES, start=1):
        for number in range(1, convolutions + 1):
            yield _layer(f"features.{index}", f"conv{stage}_{number}")
            if normalised:
                yield _norm(f"features.{index + 1}", f"norm{stage}_{number}")
            index += 3 if normalised else 2
        index += 1


def _resnet_layers(net: nets.ResNet) -> Iterator[Layer]:
    yield _layer("conv1", "conv1", bias=False)
    yield _norm("bn1", "bn1")
    for stage, count in enumerate(net.blocks, start=1):
        for number in range(count):
            theirs, ours = f"layer{stage}.{number}", f"layer{stage}_{number}"
            for index in range(1, 4 if net.bottleneck else 3):
                yield _layer(f"{theirs}.conv{index}", f"{ours}/conv{index}", bias=False)
                yield _norm(f"{theirs}.bn{index}", f"{ours}/bn{index}")
            if number == 0 and (stage > 1 or net.bottleneck):
                yield _layer(f"{theirs}.downsample.0", f"{ours}/downsample_conv", bias=False)
                yield _norm(f"{theirs}.downsample.1", f"{ours}/downsample_bn")
    yield _layer("fc", "fc")
