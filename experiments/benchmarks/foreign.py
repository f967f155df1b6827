"""A network that nobody rewrote: ResNet-18 in plain Linen, traced, beside zennit and captum on the
same network and weights in PyTorch. Units of the stem and of its first three stages are projected;
peers have the model cut at the layer, batches, and the faster of two memory layouts.

Pictures are compared first, and small networks besides: zennit and captum are right on modules in a
chain, and how far off they are elsewhere is printed (of the largest value, in float64).

On a machine that others use too: taskset -c 0 python ... --processor counts processor time of one
thread each.

Command:   python experiments/benchmarks/foreign.py [--tiny] [--rounds 5] [--units 32] [--processor]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import Contender, installed, interleave, machine, print_ratio
from networks import Units, normalised, pictures

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.golden.make_peer_nets import CASES, torch_numbers, units_of  # noqa: E402

CUTS = {"Conv_0": "relu_0", "Block_1": "Block_1", "Block_3": "Block_3", "Block_5": "Block_5"}
"""Our names of layers: the stem's ReLU and the ends of three stages; PyTorch's modules there."""
BATCH = 16


def resnet(width: int, size: int) -> tuple[Any, Any]:
    """(the network traced, its variables)."""
    from tests.network.linen_nets import ResNet18, drawn
    from zfjax.network.traced import TracedForward, layers_of_model
    from zfjax.network.tracing import model_of
    from zfjax.subject import Network

    module = ResNet18(width)
    variables = drawn(module, (size, size))
    model = model_of(module, variables, (size, size))
    return Network("ResNet-18", layers_of_model(model), TracedForward(model), (size, size)), (
        variables
    )


def strongest_units(own: Any, variables: Any, inputs: np.ndarray, layer: str, count: int) -> Units:
    """``count`` units, each where its map is strongest on its image; images are used in turn."""
    from zfjax.features import strongest

    values, places = (
        np.asarray(each)
        for each in strongest.image_maxima(variables, inputs, network=own, layers=(layer,))
    )
    rows = np.arange(count) % len(inputs)
    alive = [np.flatnonzero(maxima > 0) for maxima in values]
    maps = np.array([alive[row][(7 * i) % len(alive[row])] for i, row in enumerate(rows)], np.int32)
    ys, xs = np.divmod(places[rows, maps], own.layer(layer).shape[1])
    return Units(maps, ys.astype(np.int32), xs.astype(np.int32), rows, values[rows, maps])


def ours(
    width: int, images: np.ndarray, layer: str, units: Units
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    from zfjax.features import deconvnet

    own, variables = resnet(width, images.shape[1])
    way = deconvnet.way_of(own, layer)
    places = deconvnet.Places(units.maps, units.ys, units.xs)
    inputs = normalised(images)

    def inputs_of(rows: np.ndarray, batch: Any) -> np.ndarray:
        return deconvnet.cut_inputs(way, inputs, batch, units.rows[rows])

    def work() -> tuple[np.ndarray, np.ndarray]:
        batches = list(deconvnet.project(way, variables, places, inputs_of))
        return (
            np.concatenate([batch.tiles for batch in batches]),
            np.concatenate([batch.activations for batch in batches]),
        )

    return work


def peer(
    tool: str, width: int, images: np.ndarray, layer: str, units: Units, threads: int
) -> Callable[[], np.ndarray]:
    import torch

    from tests.network import peer_nets
    from tests.network.linen_nets import ResNet18, drawn

    torch.set_num_threads(threads)
    variables = drawn(ResNet18(width), images.shape[1:3])
    project = peer_nets.TOOLS[tool]
    selected = np.stack([units.ys, units.xs, units.maps], 1)

    def in_layout(layout: Any) -> Callable[[], np.ndarray]:
        net = peer_nets.torch_net("resnet18", variables, width, until=CUTS[layer])
        net = net.to(memory_format=layout)
        inputs = torch.from_numpy(normalised(images).transpose(0, 3, 1, 2).copy())

        def work() -> np.ndarray:
            tiles = []
            for start in range(0, len(units.rows), BATCH):
                rows = units.rows[start : start + BATCH]
                batch = inputs[torch.from_numpy(rows)].contiguous(memory_format=layout)
                tiles.append(project(net, batch, selected[start : start + BATCH], "deconvnet"))
            return torch.cat(tiles).numpy().transpose(0, 2, 3, 1)

        return work

    def seconds(work: Callable[[], np.ndarray]) -> float:
        work()
        clock = time.process_time()
        work()
        return time.process_time() - clock

    return min(map(in_layout, (torch.contiguous_format, torch.channels_last)), key=seconds)


def differences(own: Any, layer: str, units: Units, found: Any, theirs: np.ndarray) -> np.ndarray:
    """Of each unit's pictures, relative to its largest value: theirs is seeded with 1 and as large
    as the image.
    """
    from zfjax.features import deconvnet

    tiles, activations = found
    way = deconvnet.way_of(own, layer, method="window")
    whole = deconvnet.Way(way.network, way.layer, way.rule, "image")
    places = deconvnet.Places(units.maps, units.ys, units.xs)
    if tiles.shape[1:3] != theirs.shape[1:3]:
        theirs = deconvnet.cut_inputs(way, theirs, places)
    else:
        theirs = deconvnet.cut_inputs(whole, theirs, places)
    theirs = theirs * activations[:, None, None, None]
    worst = np.abs(theirs - tiles).max((1, 2, 3))
    return worst / np.abs(tiles).max((1, 2, 3))


def where_they_are_wrong() -> None:
    from tests.network.compared import off

    units = {case[0]: units_of(case[0]) for case in CASES}
    for case in CASES:
        signals, _ = torch_numbers(case, units[case[0]])
        name, relus, tool, rule = case
        worst, _ = off(case, units[name], signals)
        print(f"{name:<9} {relus + ' ReLUs':<17} {tool} {rule:<9}: off by {worst:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="an eighth of the width, 64 pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", nargs="+", default=list(CUTS), choices=list(CUTS))
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--processor", action="store_true", help="processor time, not the clock's")
    options = parser.parse_args()
    width, size, count, rounds = 64, 224, options.units, options.rounds
    if options.tiny:
        width, size, count, rounds = 8, 64, 8, 1
    print(machine())
    needed = {"captum": ("torch", "captum"), "zennit": ("torch", "zennit")}
    tools = [tool for tool, packages in needed.items() if installed(*packages)]
    for tool in needed.keys() - set(tools):
        print(f"{tool} is not installed: skipped")
    if len(tools) == len(needed):
        where_they_are_wrong()
    images = pictures(count // 2, size)
    own, variables = resnet(width, size)
    threads = len(os.sched_getaffinity(0))
    for layer in options.layers:
        units = strongest_units(own, variables, normalised(images), layer, count)
        job = {"width": width, "images": images, "layer": layer, "units": units}
        job |= {"processor": options.processor}
        contenders = [Contender("zfjax", ours, **job)]
        contenders += [Contender(tool, peer, tool=tool, threads=threads, **job) for tool in tools]
        interleave(contenders, rounds)
        facts = own.layer(layer)
        window = f"window {facts.window.size} of {size}" if facts.window else "no window"
        print(f"{layer}, {window}, tiles of {facts.tile_size[0]}:")
        for contender in contenders:
            print(f"  {contender.name:<8} {1000 * contender.median / count:8.2f} ms a unit", end="")
            if contender is contenders[0]:
                print()
                continue
            off = differences(own, layer, units, contenders[0].output, contender.output)
            print(f"; pictures differ by {np.median(off):.1e} in the median, {off.max():.1e} most")
            print_ratio(contenders[0], contender, f"{layer}: {contender.name}'s time over zfjax's")
        for contender in contenders:
            contender.close()


if __name__ == "__main__":
    main()
