"""Writes peer_nets.npz: what captum and zennit project on the networks of linen_nets.py, with the
same weights in PyTorch, in float64; and where they are wrong.

Run it where torch, captum and zennit are installed (numbers in the file: torch 2.13.0, captum
0.9.0, zennit 0.5.1, CPU):
    python tests/golden/make_peer_nets.py
Both seed a unit with 1, zfjax with the unit's own activation: the test multiplies.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.network import linen_nets  # noqa: E402

WIDTH = 4
SIZE = (40, 32)
NETS = {
    "vgg16-bn": (linen_nets.VGG16BN(WIDTH), "Conv_6", "relu_6"),
    "resnet18": (linen_nets.ResNet18(WIDTH), "Block_3", "Block_3"),
    "branched": (linen_nets.Branched(WIDTH), "Conv_4", ""),
    "skipped": (linen_nets.Branched(WIDTH, skips=True), "Conv_4", ""),
}
"""By name: the network in Linen, our name of a layer, and PyTorch's module that ends there."""
CASES = (
    ("vgg16-bn", "own", "captum", "deconvnet"),
    ("vgg16-bn", "own", "zennit", "guided"),
    ("resnet18", "own", "captum", "deconvnet"),
    ("resnet18", "own", "zennit", "guided"),
    ("branched", "own", "captum", "deconvnet"),
    ("branched", "shared", "captum", "deconvnet"),
    ("branched", "functional", "captum", "deconvnet"),
    ("branched", "functional", "zennit", "deconvnet"),
    ("branched", "shared", "zennit", "deconvnet"),
    ("skipped", "own", "zennit", "deconvnet"),
    ("skipped", "own", "captum", "deconvnet"),
)
"""Network, how its ReLUs are written, tool, rule."""


def weights_and_image(name):
    """Variables in Linen's tree and an image [h, w, 3], float64, drawn from a seed."""
    variables = linen_nets.drawn(NETS[name][0], SIZE)
    as_float64 = {collection: _converted(tree) for collection, tree in variables.items()}
    return as_float64, np.random.default_rng(1).normal(size=(*SIZE, 3)) * 2


def _converted(tree):
    if isinstance(tree, dict):
        return {name: _converted(each) for name, each in tree.items()}
    return np.float64(tree)


def torch_numbers(case, units):
    """float32 [units, h, w, 3] of units (y, x, map), and their activations."""
    import torch

    from tests.network import peer_nets

    name, relu, tool, rule = case
    variables, image = weights_and_image(name)
    net = peer_nets.torch_net(name, variables, WIDTH, relu, NETS[name][2])
    images = torch.from_numpy(np.repeat(image.transpose(2, 0, 1)[None], len(units), 0))
    values = net(images).detach().numpy()
    activations = [values[(row, map_, y, x)] for row, (y, x, map_) in enumerate(units)]
    signals = peer_nets.TOOLS[tool](net, images, units, rule).numpy()
    return np.float32(signals.transpose(0, 2, 3, 1)), np.array(activations)


def units_of(name):
    """(y, x, map) of the strongest cells of the two strongest maps of a network's layer."""
    import torch

    from tests.network import peer_nets

    variables, image = weights_and_image(name)
    net = peer_nets.torch_net(name, variables, WIDTH, until=NETS[name][2])
    values = net(torch.from_numpy(image.transpose(2, 0, 1)[None])).detach().numpy()[0]
    maps = np.argsort(-values.max((1, 2)))[:2]
    places = [np.unravel_index(values[map_].argmax(), values[map_].shape) for map_ in maps]
    return np.array([(*place, map_) for place, map_ in zip(places, maps, strict=True)])


def main():
    arrays = {f"{name} units": units_of(name) for name in NETS}
    for case in CASES:
        signals, activations = torch_numbers(case, arrays[f"{case[0]} units"])
        arrays[" ".join(case)], arrays[f"{case[0]} activations"] = signals, activations
    np.savez_compressed(Path(__file__).with_name("peer_nets.npz"), **arrays)


if __name__ == "__main__":
    main()
