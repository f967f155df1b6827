"""A square slid over an image, against captum's Occlusion at its fastest.

Same weights, image, square and positions for both; outputs compared first, on squares that do not
overlap. Two questions: what the square does to the class score (captum runs the whole network; what
is timed of zfjax gives every map's sum in all layers beside the scores), and to one map of conv5
(captum's model is cut there). captum is timed with several ``perturbations_per_eval`` and in both
memory layouts, and the fastest is quoted; rounds are interleaved.

Command:   taskset -c 1 python experiments/benchmarks/occlusion.py --processor [--size 64] [--tiny]
Hardware:  one core of two, shared with others, hence processor time. Time: minutes.
Result:    2.34x (2.32 to 2.36) for class scores and 2.14x (2.09 to 2.20) for one map at 224 pixels
           (``--stride 28``, 49 positions; captum's fastest form is channels last, 4 at once of 1,
           4, 16, 64), 2.34x and 2.40x at 64 pixels (81 positions; 16 and 64 at once, as fast as
           each other); outputs equal to 3e-5 of the largest drop.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import networks
import numpy as np
import peers
from harness import Contender, installed, interleave, machine, print_ratio

from zfjax.network.architecture import Architecture, Dense, Norm
from zfjax.network.model import kernel_shapes
from zfjax.network.named import ZFNET, small_zfnet

AT_ONCE = (1, 4, 16, 64)
"""captum's ``perturbations_per_eval`` that are tried."""
QUESTIONS = ("score", "map")


def whole_network(size: int, norm: bool) -> Architecture:
    """ZFNet with its fully connected layers: the paper's at 224 pixels, the half-width variant at
    64; with or without LRN."""
    import dataclasses

    whole = ZFNET
    if size != 224:
        whole = small_zfnet("zfnet-64-half", input_size=(64, 64), width=0.5, head=512, classes=200)
        whole = whole.replace("norm1", alpha=1e-4).replace("norm2", alpha=1e-4)
    layers = tuple(layer for layer in whole.layers if norm or not isinstance(layer, Norm))
    return dataclasses.replace(whole, layers=layers)


def weights(architecture: Architecture) -> dict[str, np.ndarray]:
    """Those of ``networks.weights``, and He weights of the fully connected layers."""
    arrays, generator = networks.weights(architecture, 1), np.random.default_rng(2)
    for name, shape in kernel_shapes(architecture).items():
        if len(shape) == 2:
            drawn = generator.standard_normal(shape[::-1]) * np.sqrt(2 / shape[0])
            arrays[f"{name}.weight"] = drawn.astype(np.float32)
            arrays[f"{name}.bias"] = np.zeros(shape[1], np.float32)
    return arrays


def zfjax_occlude(size: int, norm: bool, square: tuple[int, int], scored: bool) -> Callable:
    """``occlude``: (sum of conv5's map 0 [rows, columns], scores of class 0 or None)."""
    import jax
    import jax.numpy as jnp

    from zfjax.features.occluding import Sliding, occlude
    from zfjax.network.model import parameters_from_torch
    from zfjax.subject import ArchitectureScores, network_of

    architecture = whole_network(size, norm)
    parameters = jax.device_put(parameters_from_torch(architecture, weights(architecture)))
    image = jnp.asarray(networks.normalised(networks.pictures(1, size))[0])
    network, scores = network_of(architecture), ArchitectureScores(architecture)
    layers = tuple(network.layers) if scored else ("conv5",)
    sliding = Sliding(network, scores if scored else None, layers, *square)
    fill = jnp.zeros_like(image)

    def work() -> tuple[np.ndarray, np.ndarray | None]:
        occluded = occlude(sliding, parameters, image, fill)
        drops = occluded.whole["conv5"][0] - occluded.sums["conv5"][..., 0]
        if occluded.scores is None:
            return drops, None
        return drops, occluded.whole_scores[0] - occluded.scores[..., 0]

    return work


def captum_occlude(
    size: int, norm: bool, square: tuple[int, int], scored: bool, at_once: int, channels_last: bool
) -> Callable[[], np.ndarray]:
    """captum's Occlusion of class 0's score, or of conv5's map 0 summed: its attribution [h, w]."""
    import torch
    from captum.attr import Occlusion
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    architecture = whole_network(size, norm)
    arrays = weights(architecture)
    modules = list(networks.torch_layers(architecture, arrays).items())
    if scored:
        modules.append(("flat", nn.Flatten()))
        dense = [layer for layer in architecture.layers if isinstance(layer, Dense)]
        for layer in dense:
            linear = nn.Linear(*arrays[f"{layer.name}.weight"].shape[::-1])
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(arrays[f"{layer.name}.weight"]))
                linear.bias.copy_(torch.from_numpy(arrays[f"{layer.name}.bias"]))
            modules.append((layer.name, linear))
            if layer is not dense[-1]:
                modules.append((f"{layer.name}_relu", nn.ReLU()))
    else:
        names = [name for name, _ in modules]
        modules = modules[: names.index("conv5_relu") + 1]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    stack = nn.Sequential(*(module for _, module in modules)).eval().to(memory_format=layout)

    def answer(inputs: Any) -> Any:
        out = stack(inputs.contiguous(memory_format=layout))
        return out[:, 0] if scored else out[:, 0].sum(dim=(1, 2))

    pixels = networks.normalised(networks.pictures(1, size)).transpose(0, 3, 1, 2).copy()
    tensor = torch.from_numpy(pixels).contiguous(memory_format=layout)
    occlusion = Occlusion(answer)
    shape, strides = (3, square[0], square[0]), (3, square[1], square[1])

    def work() -> np.ndarray:
        with torch.no_grad():
            result = occlusion.attribute(
                tensor,
                sliding_window_shapes=shape,
                strides=strides,
                baselines=0,
                perturbations_per_eval=at_once,
            )
        return result[0, 0].numpy()

    return work


def compare_outputs(size: int, norm: bool) -> None:
    """Squares side by side: captum's attribution is then what each of them takes."""
    square = (size // 4, size // 4)
    drops, scores = zfjax_occlude(size, norm, square, True)()
    for what, ours, scored in (("conv5 map 0", drops, False), ("class 0", scores, True)):
        theirs = captum_occlude(size, norm, square, scored, 4, False)()
        theirs = theirs[:: square[0], :: square[0]]
        difference = abs(ours - theirs).max() / abs(theirs).max()
        print(f"{what}: largest difference to captum {difference:.1e} of the largest drop")


def compare_times(options: argparse.Namespace, scored: bool, norm: bool) -> None:
    """Interleaved rounds of zfjax and of captum in each of its forms."""
    square = (options.size // 4, options.stride)
    common = {"size": options.size, "norm": norm, "square": square, "scored": scored}
    how = {"processor": options.processor}
    ours = Contender("zfjax", zfjax_occlude, **how, **common)
    forms = [
        Contender(
            f"captum, {at_once} at once{', channels last' if last else ''}",
            captum_occlude,
            **how,
            **common,
            at_once=at_once,
            channels_last=last,
        )
        for at_once in options.at_once
        for last in (False, True)
    ]
    fastest = sorted(forms, key=Contender.round)[:2]
    for form in forms:
        form.seconds.clear()
        if form not in fastest:
            form.close()
    interleave([ours, *fastest], options.rounds)
    positions = ((options.size - square[0]) // square[1] + 1) ** 2
    what = "class score" if scored else "one map of conv5"
    print(
        f"\n{what}, {options.size} pixels, {'with' if norm else 'without'} LRN, square"
        f" {square[0]}, {positions} positions"
    )
    for contender in (ours, *fastest):
        print(f"  {contender.name:<34}{1e3 * contender.median / positions:>9.2f} ms a position")
    best = min(fastest, key=lambda contender: contender.median)
    print_ratio(ours, best, f"{what}, {options.size} px: zfjax against {best.name}")
    for contender in (ours, *fastest):
        contender.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, choices=(64, 224), default=224)
    parser.add_argument("--stride", type=int, default=None, help="default: about 64 positions")
    parser.add_argument(
        "--questions", nargs="+", choices=QUESTIONS, default=QUESTIONS, help="score: of class 0"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, nargs="+", default=AT_ONCE)
    parser.add_argument("--processor", action="store_true", help="processor time, on one core")
    parser.add_argument("--no-norm", action="store_true", help="without LRN")
    parser.add_argument("--tiny", action="store_true", help="64 pixels, few rounds: a minute")
    options = parser.parse_args()
    if options.tiny:
        options.size, options.rounds, options.at_once, options.stride = 64, 1, (4,), 16
    if options.stride is None:
        options.stride = 3 * options.size // 28
    print(machine())
    if not installed(*peers.HAVE_CAPTUM):
        print("skipped: captum is not installed (pip install -e '.[bench]')")
        ours = zfjax_occlude(options.size, True, (options.size // 4, options.stride), True)
        ours()
        return
    norm = not options.no_norm
    compare_outputs(options.size, norm)
    for question in options.questions:
        compare_times(options, question == "score", norm)


if __name__ == "__main__":
    main()
