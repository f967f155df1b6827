"""Makes torch.npz: what torch's own networks say of drawn weights and images.

python -m tests.golden.make_torch      (from the repository's root, where torch is installed)
"""

import json
from pathlib import Path

import numpy as np
import torch

from tests.network.torch_nets import small
from tests.network.torch_states import drawn_images, drawn_state

NAMES = (
    "torchvision/alexnet",
    "torchvision/vgg16",
    "torchvision/vgg16_bn",
    "torchvision/resnet18",
    "torchvision/resnet50",
    "pytorchcv/zfnet",
)


def scores_of(name):
    """({name: shape} of a network's arrays, its scores [2, 5] of the drawn images)."""
    net = small(name)
    shapes = {
        key: tuple(array.shape)
        for key, array in net.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    state = {key: torch.from_numpy(array) for key, array in drawn_state(shapes).items()}
    net.load_state_dict(state, strict=False)
    with torch.no_grad():
        images = torch.from_numpy(drawn_images(name).transpose(0, 3, 1, 2).copy())
        return shapes, net(images).numpy()


def main():
    arrays = {}
    for name in NAMES:
        shapes, scores = scores_of(name)
        key = name.replace("/", "-")
        arrays[f"{key}-scores"] = scores
        arrays[f"{key}-shapes"] = np.array(json.dumps(shapes))
        print(name, np.abs(scores).max(), scores.std(0))
    np.savez_compressed(Path(__file__).parent / "torch.npz", **arrays)


if __name__ == "__main__":
    main()
