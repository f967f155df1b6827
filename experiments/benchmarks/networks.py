"""One network for every contender: seeded weights in PyTorch's layout, pictures, units to
project."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from zfjax.network.architecture import Architecture, Conv, Norm, Pool
from zfjax.network.named import ZFNET, small_zfnet


def stack(size: int, norm: bool) -> Architecture:
    """ZFNet's convolutional part: the paper's at 224 pixels, the half-width variant at 64; with or
    without LRN."""
    if size == 224:
        whole = ZFNET
    else:
        small = small_zfnet("zfnet-64-half", input_size=(64, 64), width=0.5, head=512, classes=200)
        whole = small.replace("norm1", alpha=1e-4).replace("norm2", alpha=1e-4)
    layers = tuple(layer for layer in whole.convolutional if norm or not isinstance(layer, Norm))
    return dataclasses.replace(whole, name=f"{whole.name}-stack", layers=layers)


def weights(architecture: Architecture, seed: int) -> dict[str, np.ndarray]:
    """He weights and small biases: {"conv1.weight": [maps, in, k, k], "conv1.bias": [maps],
    ...}."""
    generator, inputs, arrays = np.random.default_rng(seed), 3, {}
    for layer in architecture.layers:
        if isinstance(layer, Conv):
            shape = (layer.maps, inputs, layer.kernel, layer.kernel)
            scale = np.sqrt(2 / np.prod(shape[1:]))
            arrays[f"{layer.name}.weight"] = (scale * generator.standard_normal(shape)).astype(
                np.float32
            )
            arrays[f"{layer.name}.bias"] = (0.01 * generator.standard_normal(layer.maps)).astype(
                np.float32
            )
            inputs = layer.maps
    return arrays


def pictures(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Smooth random colour pictures, uint8 [count, size, size, 3]: noise at four scales, as
    photographs have."""
    generator = np.random.default_rng(seed)
    total = np.zeros((count, size, size, 3), np.float32)
    for cells in (4, 8, 16, 32):
        coarse = generator.standard_normal((count, cells, cells, 3)).astype(np.float32)
        rows = np.linspace(0, cells - 1, size).round().astype(int)
        total += coarse[:, rows][:, :, rows]
    return np.clip(128 + 40 * total, 0, 255).astype(np.uint8)


def normalised(images: np.ndarray) -> np.ndarray:
    """float32 of about unit scale, as zfjax's modern recipe has it."""
    return (images.astype(np.float32) - np.array((123.7, 116.3, 103.5), np.float32)) / np.float32(
        58
    )


@dataclasses.dataclass(frozen=True)
class Units:
    """Unit (maps[i], ys[i], xs[i]) of a layer in images[rows[i]], and the activation on record."""

    maps: np.ndarray
    ys: np.ndarray
    xs: np.ndarray
    rows: np.ndarray
    recorded: np.ndarray


def strongest_units(
    architecture: Architecture, arrays: dict, images: np.ndarray, layer: str, count: int
) -> Units:
    """``count`` units, each where its map is strongest on its image; images are used in turn."""
    import jax.numpy as jnp

    from zfjax.features import strongest
    from zfjax.network.model import parameters_from_torch
    from zfjax.subject import network_of

    parameters = parameters_from_torch(architecture, arrays)
    values, places = (
        np.asarray(part)
        for part in strongest.image_maxima(
            parameters,
            jnp.asarray(normalised(images)),
            network=network_of(architecture),
            layers=(layer,),
        )
    )
    rows = np.arange(count) % len(images)
    alive = [np.flatnonzero(one > 0) for one in values]
    maps = np.array(
        [alive[row][(7 * index) % len(alive[row])] for index, row in enumerate(rows)], np.int32
    )
    ys, xs = np.divmod(places[rows, maps], architecture.fact(layer).shape[1])
    return Units(maps, ys.astype(np.int32), xs.astype(np.int32), rows, values[rows, maps])


def subject_of(architecture: Architecture, checkpoints: list) -> Any:
    """These parameters, in host memory, at steps 0, 1, ..., to be searched."""
    from zfjax.inputs import Preparation
    from zfjax.subject import Subject, network_of

    steps = tuple(range(len(checkpoints)))
    return Subject(
        network=network_of(architecture),
        steps=steps,
        epochs=tuple(map(float, steps)),
        load=lambda step, names: checkpoints[step],
        find_steps=lambda words: steps,
        preparation=Preparation("modern", max(architecture.input_size), architecture.input_size),
    )


def search(subject: Any, batches: Any, width: int = 1) -> Any:
    """strongest.search with the statistics of `zfjax evolve`."""
    from zfjax.features import strongest
    from zfjax.features.asking import Request

    request = Request(subject.steps, tuple(subject.layers), None, 9, "train", 0, "deconvnet")
    return strongest.search(subject, request, batches, lanes=strongest.Lanes(width=width))


def project(
    architecture: Architecture, parameters: Any, inputs: np.ndarray, layer: str, units: Units
) -> tuple[np.ndarray, np.ndarray]:
    """sharing.project, as `zfjax evolve` does it: (tiles, activations) by unit."""
    from zfjax.features import deconvnet, sharing
    from zfjax.subject import network_of

    way = deconvnet.way_of(network_of(architecture), layer)
    places = deconvnet.Places(units.maps, units.ys, units.xs)

    def inputs_of(rows: np.ndarray, batch: Any) -> np.ndarray:
        return deconvnet.cut_inputs(way, inputs, batch, units.rows[rows])

    tiles = np.empty((len(units.maps), *way.layer.tile_size, 3), np.float32)
    activations = np.empty(len(units.maps), np.float32)
    for batch in sharing.project(way, parameters, places, units.rows, inputs_of):
        tiles[batch.rows], activations[batch.rows] = batch.tiles, batch.activations
    return tiles, activations


def torch_layers(architecture: Architecture, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The same stack as PyTorch modules by name, in order; ReLUs are called conv1_relu ..."""
    import torch
    from torch import nn

    modules: dict[str, Any] = {}
    inputs = 3
    for layer in architecture.layers:
        if isinstance(layer, Conv):
            before, after = layer.padding
            if before != after:
                modules[f"{layer.name}_pad"] = nn.ZeroPad2d((before, after, before, after))
            conv = nn.Conv2d(
                inputs, layer.maps, layer.kernel, layer.stride, before if before == after else 0
            )
            with torch.no_grad():
                conv.weight.copy_(torch.from_numpy(arrays[f"{layer.name}.weight"]))
                conv.bias.copy_(torch.from_numpy(arrays[f"{layer.name}.bias"]))
            modules[layer.name], modules[f"{layer.name}_relu"] = conv, nn.ReLU()
            inputs = layer.maps
        elif isinstance(layer, Pool):  # one padded cell at the end is what ceil_mode adds
            modules[layer.name] = nn.MaxPool2d(
                layer.window, layer.stride, ceil_mode=layer.padding == (0, 1)
            )
        elif isinstance(layer, Norm):
            modules[layer.name] = nn.LocalResponseNorm(
                layer.size, layer.size * layer.alpha, layer.beta, layer.k
            )
    return modules
