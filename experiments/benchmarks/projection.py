"""Projection of single units, against captum, a deconvnet written by hand in PyTorch, and the bare
forward pass.

Same weights, images and units for all; outputs compared first (without LRN, where all must agree;
with LRN captum differentiates the normalisation and the paper does not), then timed in interleaved
rounds. zfjax is timed with its check that the recorded activation is reproduced. Compilation is
shown apart.

Command:   python experiments/benchmarks/projection.py [--size 64] [--tiny]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import networks
import numpy as np
import peers
from harness import Contender, installed, interleave, machine, matmul_and_copy, print_ratio
from networks import Units, normalised

from zfjax.network.architecture import Architecture


def zfjax_project(
    architecture: Architecture, arrays: dict, images: np.ndarray, layer: str, units: Units
) -> Callable[[], np.ndarray]:
    """deconvnet.project and the comparison with what is on record."""
    from zfjax.network.model import parameters_from_torch

    parameters, inputs = parameters_from_torch(architecture, arrays), normalised(images)

    def work() -> np.ndarray:
        tiles, activations = networks.project(architecture, parameters, inputs, layer, units)
        if not (abs(activations - units.recorded) <= 1e-5 * units.recorded).all():
            raise AssertionError("a recorded activation was not reproduced")
        return tiles

    return work


def zfjax_down(
    architecture: Architecture, arrays: dict, images: np.ndarray, layer: str, units: Units
) -> Callable[[], None]:
    """The way down alone: forward passes done beforehand."""
    import jax

    from zfjax.features import deconvnet
    from zfjax.network.model import parameters_from_torch
    from zfjax.subject import network_of

    parameters, inputs = parameters_from_torch(architecture, arrays), normalised(images)
    way = deconvnet.way_of(network_of(architecture), layer)
    size = deconvnet.units_per_batch(way.layer, way.method, len(units.maps))
    ready = []
    for start in range(0, len(units.maps), size):
        batch = np.minimum(np.arange(start, start + size), len(units.maps) - 1)
        places = deconvnet.Places(units.maps[batch], units.ys[batch], units.xs[batch])
        cut = deconvnet.cut_inputs(way, inputs, places, units.rows[batch])
        ready.append((deconvnet.up(parameters, cut, places, way=way), places))

    def work() -> None:
        jax.block_until_ready([deconvnet.down(*up, places, way=way) for up, places in ready])

    return work


def zfjax_forward(
    architecture: Architecture, arrays: dict, images: np.ndarray, layer: str
) -> Callable[[], None]:
    """The bare forward pass to ``layer``, in pieces that stay in cache."""
    import jax
    import jax.numpy as jnp

    from zfjax.features.passing import images_at_once, in_pieces
    from zfjax.network.model import feature_maps, parameters_from_torch
    from zfjax.subject import network_of

    parameters = parameters_from_torch(architecture, arrays)
    inputs = jnp.asarray(normalised(images))
    run = jax.jit(
        lambda parameters, inputs: in_pieces(
            lambda some: feature_maps(architecture, parameters, some, until=layer)[layer],
            inputs,
            images_at_once(network_of(architecture)),
        )
    )

    def work() -> None:
        jax.block_until_ready(run(parameters, inputs))

    return work


def tiles_of(
    architecture: Architecture, layer: str, units: Units, pictures: np.ndarray
) -> np.ndarray:
    """Each unit's tile out of whole-image projections [units, h, w, 3]."""
    height, width = architecture.tile_size(layer)
    padded = np.pad(pictures, ((0, 0), (height, height), (width, width), (0, 0)))
    tiles = []
    for picture, y, x in zip(padded, units.ys, units.xs, strict=True):
        top, left = architecture.tile_origin(layer, int(y), int(x))
        tiles.append(picture[top + height : top + 2 * height, left + width : left + 2 * width])
    return np.stack(tiles)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Greatest difference, relative to the greatest value of each unit's tile, over units."""
    return float((abs(ours - theirs).max((1, 2, 3)) / abs(theirs).max((1, 2, 3))).max())


def compare_outputs(size: int, layers: tuple[str, ...], count: int, threads: int) -> None:
    """Equality without LRN, and what LRN changes."""
    for norm in (False, True):
        architecture = networks.stack(size, norm)
        arrays, images = networks.weights(architecture, 1), networks.pictures(4, size)
        for layer in layers:
            units = networks.strongest_units(architecture, arrays, images, layer, count)
            common = (architecture, arrays, images, layer, units)
            ours = zfjax_project(*common)()
            words = [
                f"{'with' if norm else 'without'} LRN, {layer}: largest relative difference to"
            ]
            if installed(*peers.HAVE_TORCH):
                hand = tiles_of(
                    architecture, layer, units, peers.by_hand(*common, threads, False)()
                )
                words.append(f"the hand-written deconvnet {difference(ours, hand):.1e}")
            if installed(*peers.HAVE_CAPTUM):
                theirs = (
                    peers.captum_cut(*common, threads, False)()
                    * units.recorded[:, None, None, None]
                )
                theirs = tiles_of(architecture, layer, units, theirs)
                words.append(f"captum times the activation {difference(ours, theirs):.1e}")
                if norm:
                    cosine = (ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum())
                    words[-1] += f" (cosine {cosine:.5f}: it differentiates LRN)"
            print(" ".join(words[:1]), ", ".join(words[1:]))


def work_of(architecture: Architecture, layer: str) -> float:
    """GFLOP of one unit's projection as zfjax does it: up and down through the convolutions of its
    window."""
    from zfjax.features.deconvnet import cheaper_method
    from zfjax.network.layers import layers_of

    facts = layers_of(architecture)[layer]
    work = facts.window_work if cheaper_method(facts) == "window" else facts.image_work
    return 4 * work.multiply_adds / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=int, choices=(64, 224), default=224, help="pixels of the input"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--no-norm", action="store_true", help="time the network without LRN")
    parser.add_argument(
        "--tiny", action="store_true", help="64 pixels, few units and rounds: under a minute"
    )
    options = parser.parse_args()
    if options.tiny:
        options.size, options.rounds, options.units = 64, 2, 8
    threads = len(os.sched_getaffinity(0))
    print(machine())
    architecture = networks.stack(options.size, not options.no_norm)
    layers = ("conv5", "conv1") if options.tiny else architecture.conv_names[::-1]
    compare_outputs(options.size, layers, 8, threads)
    floor = Contender("matmul and copy", matmul_and_copy)
    arrays, images = (
        networks.weights(architecture, 1),
        networks.pictures(options.units // 2, options.size),
    )
    for layer in layers:
        units = networks.strongest_units(architecture, arrays, images, layer, options.units)
        time_layer(architecture, arrays, images, layer, units, threads, options.rounds, floor)
    floor.close()


def time_layer(
    architecture: Architecture,
    arrays: dict,
    images: np.ndarray,
    layer: str,
    units: Units,
    threads: int,
    rounds: int,
    floor: Contender,
) -> None:
    """Times all contenders on one layer and prints its table and ratios."""
    common: dict[str, Any] = {
        "architecture": architecture,
        "arrays": arrays,
        "images": images,
        "layer": layer,
    }
    count = len(units.maps)
    few = Units(
        *(part[:4] for part in (units.maps, units.ys, units.xs, units.rows, units.recorded))
    )
    ours = Contender("zfjax", zfjax_project, **common, units=units)
    alone = Contender("zfjax, way down alone", zfjax_down, **common, units=units)
    forward = Contender("zfjax, bare forward pass (an image)", zfjax_forward, **common)
    peer = {"units": units, "threads": threads}
    theirs: list[tuple[Contender, int]] = []
    by_hand: list[tuple[Contender, int]] = []
    if installed(*peers.HAVE_CAPTUM):
        theirs = [
            (
                Contender(
                    "captum, naively", peers.captum_naive, **common, units=few, threads=threads
                ),
                len(few.maps),
            ),
            (
                Contender(
                    "captum, batched, cut", peers.captum_cut, **common, **peer, channels_last=False
                ),
                count,
            ),
            (
                Contender(
                    "captum, batched, cut, channels last",
                    peers.captum_cut,
                    **common,
                    **peer,
                    channels_last=True,
                ),
                count,
            ),
        ]
    else:
        print("skipped: captum is not installed (pip install -e '.[bench]')")
    if installed(*peers.HAVE_TORCH):
        by_hand = [
            (
                Contender("PyTorch by hand", peers.by_hand, **common, **peer, channels_last=False),
                count,
            ),
            (
                Contender(
                    "PyTorch by hand, channels last",
                    peers.by_hand,
                    **common,
                    **peer,
                    channels_last=True,
                ),
                count,
            ),
            (
                Contender(
                    "PyTorch by hand, way down alone",
                    peers.by_hand,
                    **common,
                    **peer,
                    channels_last=False,
                    only_down=True,
                ),
                count,
            ),
        ]
    else:
        print("skipped: PyTorch is not installed (pip install -e '.[bench]')")
    rows = [(ours, count), (alone, count), (forward, len(images)), *theirs, *by_hand]
    interleave([floor, *(contender for contender, _ in rows)], rounds)
    print(
        f"\n{layer}, {architecture.input_size[0]} pixels, {count} units in {len(images)} images,"
        f" {rounds} rounds"
    )
    for contender, work in rows:
        compile_ = max(0.0, contender.first_seconds - contender.median)
        print(
            f"  {contender.name:<38}{1e3 * contender.median / work:>9.3f} ms   (first call"
            f" {compile_:.1f} s more)"
        )
    gflop, (matmul, _) = work_of(architecture, layer), floor.output
    reached = gflop * count / ours.median
    print(
        f"  {gflop:.3f} GFLOP a unit: {reached:.0f} of the {matmul:.0f} GFLOP/s that a matmul"
        f" reaches here ({reached / matmul:.0%})"
    )
    if not theirs:
        what = f"{layer}: the bare forward pass of an image against zfjax's projection of a unit"
        print_ratio(ours, forward, what, count / len(images))
    if theirs:
        best, _ = min(theirs[1:], key=lambda row: row[0].median)
        for contender, work in theirs:
            mark = ", captum's best form" if contender is best else ""
            print_ratio(
                ours, contender, f"{layer}: zfjax against {contender.name}{mark}", count / work
            )
    for contender, _ in by_hand[:2]:
        print_ratio(ours, contender, f"{layer}: zfjax against {contender.name}")
    if by_hand:
        print_ratio(alone, by_hand[2][0], f"{layer}: way down alone, against PyTorch by hand")
    for contender, _ in rows:
        contender.close()


if __name__ == "__main__":
    main()
