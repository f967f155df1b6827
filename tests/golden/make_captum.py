"""Writes captum.npz: what captum's NeuronDeconvolution and NeuronGuidedBackprop give on a small net
without norms.

Run it where torch and captum are installed (numbers in the file: torch 2.13.0, captum 0.9.0, CPU):
    python tests/golden/make_captum.py
captum seeds a unit with 1, zfjax with the unit's own activation: the test divides.
"""

from pathlib import Path

import numpy as np

UNITS = ((0, 2, 3), (3, 0, 0), (5, 4, 1), (1, 4, 4), (4, 1, 4), (2, 3, 0))
"""(map, y, x) of conv3."""
SHAPES = {"conv1": (6, 3, 5, 5), "conv2": (8, 6, 3, 3), "conv3": (6, 8, 3, 3)}


def weights_and_image() -> dict[str, np.ndarray]:
    """PyTorch's layout, drawn from a seed; biases of both signs; the image has flat areas, so that
    windows tie."""
    generator = np.random.default_rng(7)
    arrays = {}
    for name, shape in SHAPES.items():
        arrays[f"{name}.weight"] = generator.normal(
            0, np.sqrt(2 / np.prod(shape[1:])), shape
        ).astype(np.float32)
        arrays[f"{name}.bias"] = generator.normal(0, 0.2, shape[0]).astype(np.float32)
    image = generator.normal(size=(3, 35, 35)).astype(np.float32) * 2
    image[:, 10:22, 5:30] = 0.5
    return {**arrays, "image": image}


def captum_numbers(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{"deconvnet", "guided": float32 [units, 3, 35, 35], "activation": float32 [units]}."""
    import torch
    from captum.attr import NeuronDeconvolution, NeuronGuidedBackprop
    from torch import nn

    net = nn.Sequential(
        nn.Conv2d(3, 6, 5, 2, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 0),
        nn.Conv2d(6, 8, 3, 1, 1),
        nn.ReLU(),
        nn.MaxPool2d(3, 1, 1),
        nn.Conv2d(8, 6, 3, 2, 2),
        nn.ReLU(),
    )
    with torch.no_grad():
        for place, name in ((0, "conv1"), (3, "conv2"), (6, "conv3")):
            net[place].weight.copy_(torch.from_numpy(arrays[f"{name}.weight"]))
            net[place].bias.copy_(torch.from_numpy(arrays[f"{name}.bias"]))
    image = torch.from_numpy(arrays["image"])[None].requires_grad_()
    found = {}
    for rule, method in (("deconvnet", NeuronDeconvolution), ("guided", NeuronGuidedBackprop)):
        projector = method(net, net[7])
        found[rule] = np.stack(
            [projector.attribute(image, unit)[0].detach().numpy() for unit in UNITS]
        )
    values = net(image)[0].detach().numpy()
    found["activation"] = np.array([values[unit] for unit in UNITS], np.float32)
    return found


if __name__ == "__main__":
    arrays = weights_and_image()
    np.savez_compressed(Path(__file__).with_name("captum.npz"), **captum_numbers(arrays))
