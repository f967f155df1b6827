"""Bring your own: a ResNet-18 in plain Flax, trained by a loop of its own, watched by zfjax.

Nothing above ``main`` knows of zfjax: the network, its training and Orbax's checkpoint manager are
as anybody writes them.

Command:   .venv/bin/python experiments/resnet_scenes.py --workdir runs/resnet [--epochs 8]
           [--scenes 4000] [--maps N --layers ...: of the pictures]   (a trained one is kept)
Hardware:  2 CPU cores, shared with many others: 7 minutes of a core in all.
Result:    width 16, 8 epochs, cosine from 0.05, no augmentation: 100% of 500 training images.

           1,000 images, 17 layers, slopes in epochs a layer, for this run only:
           responses             representation        rewind (500 images)   verdict
           +0.07 [+0.06, +0.08]  +0.06 [+0.05, +0.07]  -0.02 [-0.03, -0.01]  cannot tell

           Do lower layers settle first? By what excites their maps and by what they are together,
           yes: 1.6 and 1.4 epochs in the first layer, 3.1 and 2.2 in the last. By what the accuracy
           needs, no: with the stem put back to epoch 1 it is right on 74% of the images, with the
           last block on all; seven of the other layers have too little to lose for a time. ZFNet's
           responses say yes in each of three runs (+0.07 to +0.25 a layer of five,
           layer_order.py); of its representation and its rewind they cannot tell. What is put back
           takes its norms' scales and running statistics with it. No map is dead at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from zfjax.commands.cli import main as zfjax
from zfjax.data.dataset import open_dataset
from zfjax.data.scenes import ensure_scenes

SIZE, MEAN, STD, BATCH = 64, 120.0, 60.0, 32


class Block(nn.Module):
    maps: int
    stride: int
    training: bool

    @nn.compact
    def __call__(self, x):
        def conv(x, size, stride=1):
            x = nn.Conv(self.maps, (size, size), stride, padding=size // 2, use_bias=False)(x)
            return nn.BatchNorm(use_running_average=not self.training, momentum=0.9)(x)

        y = conv(nn.relu(conv(x, 3, self.stride)), 3)
        return nn.relu(y + (x if x.shape == y.shape else conv(x, 1, self.stride)))


class ResNet18(nn.Module):
    width: int = 16
    classes: int = 10
    training: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (7, 7), 2, padding=3, use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not self.training, momentum=0.9)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage in range(4):
            for stride in (2 if stage else 1, 1):
                x = Block(self.width * 2**stage, stride, self.training)(x)
        return nn.Dense(self.classes)(x.mean((1, 2)))


def build() -> ResNet18:
    """What ``--model experiments/resnet_scenes.py:build`` names."""
    return ResNet18()


def train(images: np.ndarray, labels: np.ndarray, root: Path, epochs: int, seed: int = 0) -> None:
    """Saves to ``root`` before the first step and after each epoch."""
    network, per_epoch = ResNet18(training=True), len(images) // BATCH
    optimiser = optax.sgd(optax.cosine_decay_schedule(0.05, epochs * per_epoch), momentum=0.9)

    @jax.jit
    def update(variables, slots, x, y):
        def loss(params):
            inputs = {**variables, "params": params}
            scores, new = network.apply(inputs, (x - MEAN) / STD, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean(), new

        grads, new = jax.grad(loss, has_aux=True)(variables["params"])
        updates, slots = optimiser.update(grads, slots)
        return {"params": optax.apply_updates(variables["params"], updates), **new}, slots

    variables = network.init(jax.random.key(seed), jnp.zeros((1, SIZE, SIZE, 3)))
    slots, generator = optimiser.init(variables["params"]), np.random.default_rng(seed)
    with ocp.CheckpointManager(root.absolute()) as manager:
        for epoch in range(epochs + 1):
            manager.save(epoch * per_epoch, args=ocp.args.StandardSave(variables))
            if epoch < epochs:
                for ids in generator.permutation(len(images))[: per_epoch * BATCH].reshape(
                    -1, BATCH
                ):
                    pixels = images[ids].astype(np.float32)
                    variables, slots = update(variables, slots, pixels, labels[ids])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--images", type=int, default=1000, help="that the layers are measured on")
    parser.add_argument("--rewind-images", type=int, default=500)
    options, others = parser.parse_known_args()  # others go to `zfjax evolve`: --maps, --layers ...
    if options.epochs < 2:
        parser.error("--epochs must be 2 or more: what settles is seen over three checkpoints")
    name, home = ensure_scenes(train=options.scenes, validation=max(options.scenes // 8, 10))
    dataset = open_dataset(name, home)
    scenes = list(dataset.read("train", range(options.scenes), (SIZE, SIZE)))
    images = np.stack([scene.image for scene in scenes])
    root, out = options.workdir / "checkpoints", options.workdir / "out"
    if not root.exists():
        train(images, np.array([scene.label for scene in scenes]), root, options.epochs)
    model = ["--model", f"{__file__}:build", "--checkpoints", root, "--input", SIZE]
    model += ["--data.name", name, "--data.dir", home, "--mean", MEAN, "--std", STD]
    _run("evolve", out, *model, "--steps-per-epoch", len(images) // BATCH, *others)
    _run("measure", out, "rewind", "settling", "census", "--images", options.images,
         "--rewind.images", options.rewind_images)  # fmt: skip
    _run("report", out)


def _run(command: str, out: Path, *arguments: object) -> None:
    if zfjax([command, "--workdir", str(out), *map(str, arguments)]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
