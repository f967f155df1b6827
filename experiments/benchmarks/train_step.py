"""One training step against PyTorch: the same network and recipe, batches already in memory.

zfjax's jitted step crops, mirrors and normalises uint8 views, runs forward and backward and
updates; PyTorch does the same with channels-last tensors, its own optimizer and as many threads.
Losses of the first step on the same weights are compared before anything is timed. On a GPU,
PyTorch is compiled and both run in bfloat16.

Command:   python experiments/benchmarks/train_step.py [--size 64] [--batch 64] [--tiny]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import networks
import numpy as np
import peers
from harness import Contender, installed, interleave, machine, matmul_and_copy, print_ratio

from zfjax import config as configs
from zfjax import presets
from zfjax.network.architecture import Dense


def config_for(size: int, batch: int, compute: str) -> configs.Config:
    """The modern recipe: ZFNet at 224 pixels, the tiny-imagenet preset at 64."""
    found = presets.preset("imagenet-modern" if size == 224 else "tiny-imagenet")
    data = dataclasses.replace(found.data, view=size * 8 // 7 if size == 224 else size)
    return dataclasses.replace(found, data=data, batch_size=batch, compute=compute)


def drawn(size: int, view: int, batch: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Views uint8 and labels int32."""
    return networks.pictures(batch, view), np.random.default_rng(0).integers(
        0, classes, batch
    ).astype(np.int32)


def zfjax_step(size: int, batch: int, compute: str, steps: int) -> Callable[[], float]:
    """``steps`` steps; the loss of the last."""
    import jax

    from zfjax.training.step import initial_state, train_step

    config = config_for(size, batch, compute)
    views, labels = (
        jax.device_put(part) for part in drawn(size, config.data.view, batch, config.model.classes)
    )
    held = [initial_state(config)]

    def work() -> float:
        for _ in range(steps):
            held[0] = train_step(held[0], views, labels, None, config=config, steps_per_epoch=1000)
        return float(held[0].totals["loss"])

    return work


def torch_step(
    size: int, batch: int, compute: str, steps: int, threads: int
) -> Callable[[], float]:
    """The same by PyTorch."""
    torch = peers._torch(threads)
    from torch import nn

    config = config_for(size, batch, compute)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arrays = networks.weights(
        dataclasses.replace(config.model, layers=config.model.convolutional), 0
    )
    stack = networks.torch_layers(
        dataclasses.replace(config.model, layers=config.model.convolutional), arrays
    )
    modules: list[Any] = [*stack.values(), nn.Flatten()]
    last = config.model.convolutional[-1].name
    inputs = int(np.prod(config.model.fact(last).shape))
    dense = [layer for layer in config.model.layers if isinstance(layer, Dense)]
    for layer in dense:
        modules.append(nn.Linear(inputs, layer.features))
        inputs = layer.features
        if layer is not dense[-1]:
            modules += [nn.ReLU(), nn.Dropout(layer.dropout)]
    model = nn.Sequential(*modules).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=1e-3,
        momentum=config.optimizer.momentum,
        weight_decay=config.optimizer.weight_decay,
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=config.optimizer.label_smoothing)
    views, labels = drawn(size, config.data.view, batch, config.model.classes)
    views, labels = torch.from_numpy(views).to(device), torch.from_numpy(labels).long().to(device)
    mean, border = torch.tensor((123.7, 116.3, 103.5), device=device), config.data.shift
    room = config.data.view + 2 * border - size + 1
    run = torch.compile(model) if device == "cuda" else model
    torch.set_float32_matmul_precision("high")  # TF32, as JAX multiplies by default
    torch.backends.cudnn.allow_tf32 = True

    def cropped(pixels: Any, places: Any) -> Any:
        if device == "cpu":
            corners = zip(pixels, places.tolist(), strict=True)
            return torch.stack([one[:, y : y + size, x : x + size] for one, (y, x) in corners])
        # One gather; a slice an image would wait for the host hundreds of times.
        along = torch.arange(size, device=device)
        images = torch.arange(len(pixels), device=device)[:, None, None]
        rows, columns = places[:, :1] + along, places[:, 1:] + along
        cut = pixels.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None]]
        return cut.permute(0, 3, 1, 2)

    def work() -> float:
        loss = None
        for _ in range(steps):
            pixels = ((views.float() - mean) / 58).permute(0, 3, 1, 2)
            if border:
                pixels = nn.functional.pad(pixels, (border,) * 4, mode="reflect")
            places = torch.randint(0, room, (len(views), 2))
            crops = cropped(pixels, places.to(device))
            flips = (torch.rand(len(views), device=device) < 0.5)[:, None, None, None]
            crops = torch.where(flips, crops.flip(3), crops).contiguous(
                memory_format=torch.channels_last
            )
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=compute == "bfloat16"):
                loss = loss_of(run(crops), labels)
            loss.backward()
            optimizer.step()
        return float(loss)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size",
        type=int,
        choices=(64, 224),
        nargs="+",
        default=[64, 224],
        help="pixels of the input",
    )
    parser.add_argument(
        "--batch", type=int, default=None, help="images (default: 64 at 64 pixels, 32 at 224)"
    )
    parser.add_argument("--compute", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="64 pixels, few rounds: under a minute")
    options = parser.parse_args()
    if options.tiny:
        options.size, options.rounds, options.steps = [64], 2, 2
    threads = len(os.sched_getaffinity(0))
    print(machine())
    floor = Contender("matmul and copy", matmul_and_copy)
    for size in options.size:
        batch = options.batch or (64 if size == 64 else 32)
        common = {"size": size, "batch": batch, "compute": options.compute, "steps": options.steps}
        rows = [Contender("zfjax", zfjax_step, **common)]
        if installed(*peers.HAVE_TORCH):
            rows.append(Contender("PyTorch, channels last", torch_step, **common, threads=threads))
        else:
            print("skipped: PyTorch is not installed (pip install -e '.[bench]')")
        interleave(rows, options.rounds)
        config = config_for(size, batch, options.compute)
        work = 6 * sum(fact.multiply_adds for fact in config.model.facts()) / 1e9
        matmul = floor.again()[0]
        print(
            f"\n{config.model.name}, {size} pixels, batch {batch}, {options.compute},"
            f" {options.rounds} rounds"
        )
        for one in rows:
            rate = batch * options.steps / one.median
            print(
                f"  {one.name:<24}{rate:>8.1f} images a second, {rate * work:.0f} GFLOP/s"
                f" ({rate * work / matmul:.0%} of a float32 matmul's {matmul:.0f})   first call"
                f" {one.first_seconds - one.median:.1f} s more, peak memory"
                f" {one.peak_mib():,.0f} MiB"
            )
        if len(rows) > 1:
            print_ratio(rows[0], rows[1], f"{size} pixels: zfjax's step against PyTorch's")
        else:
            print(
                f"ratio: {batch * options.steps / rows[0].median * work / matmul:.2f}x  of a"
                " matmul's speed"
            )
        for one in rows:
            one.close()
    floor.close()


if __name__ == "__main__":
    main()
