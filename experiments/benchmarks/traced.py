"""ZFNet traced against its fast path: the search's maxima over a batch, and a batch of projections
of conv2 and of conv5. ZFNet in plain Linen (LRN by reduce_window) beside it.

Interleaved rounds in one process; medians. Outputs are compared first: ours traced must equal the
fast path bit for bit.

On a machine that others use too: taskset -c 0 python ... --processor counts processor time.

Command:   python experiments/benchmarks/traced.py [--rounds 7] [--processor]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from harness import machine

from zfjax.features import deconvnet, strongest
from zfjax.network.model import class_scores, feature_maps, initial_parameters
from zfjax.network.named import ZFNET
from zfjax.network.ops import RULES
from zfjax.network.traced import TracedForward, layers_of_model
from zfjax.network.tracing import Model, model_of, reading_of
from zfjax.subject import Network, network_of

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.network.linen_nets import Plain, plain_layers  # noqa: E402

IMAGES = 16


def own_function(parameters: Any, inputs: jax.Array) -> dict[str, jax.Array]:
    maps = feature_maps(ZFNET, parameters, inputs)
    return {**maps, "scores": class_scores(ZFNET, parameters, inputs)}


def network(model: Model) -> Network:
    return Network(model.name, layers_of_model(model), TracedForward(model), model.input_size)


def projection(
    own: Network, parameters: Any, images: np.ndarray, layer: str
) -> Callable[[], np.ndarray]:
    way = deconvnet.way_of(own, layer, RULES["deconvnet"])
    size = deconvnet.units_per_batch(way.layer, way.method, 32)
    ids = np.arange(size, dtype=np.int32)
    places = deconvnet.Places(ids, ids % way.layer.shape[0], (3 * ids) % way.layer.shape[1])
    inputs = deconvnet.cut_inputs(way, images, places, ids % len(images))
    return lambda: np.asarray(deconvnet.project_cut(way, parameters, inputs, places)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processor", action="store_true", help="processor time, not the clock's")
    options = parser.parse_args()
    rounds, now = options.rounds, time.process_time if options.processor else time.monotonic
    print(machine())
    parameters = jax.tree.map(np.asarray, initial_parameters(ZFNET, "modern", 0))
    images = np.random.default_rng(0).normal(size=(IMAGES, 224, 224, 3)).astype(np.float32)
    clock = time.monotonic()
    model = model_of(own_function, parameters, ZFNET.input_size)
    reading_of(model)
    print(f"traced and read in {time.monotonic() - clock:.2f} s")
    plain = {"params": {name: own for name, own in parameters.items() if name.startswith("conv")}}
    linen = model_of(Plain(plain_layers(ZFNET)), plain, ZFNET.input_size)
    networks = {
        "fast path": (network_of(ZFNET), parameters),
        "traced": (network(model), parameters),
        "traced, plain Linen": (network(linen), plain),
    }
    jobs: dict[str, dict[str, Callable[[], Any]]] = {"search": {}, "conv2": {}, "conv5": {}}
    for name, (own, tree) in networks.items():
        layers = tuple(own.layers)
        jobs["search"][name] = lambda own=own, tree=tree, layers=layers: np.asarray(
            strongest.image_maxima(tree, images, network=own, layers=layers)[0]
        )
        for layer in ("conv2", "conv5"):
            jobs[layer][name] = projection(own, tree, images, layer)
    for job, contenders in jobs.items():
        found = {name: work() for name, work in contenders.items()}
        assert (found["traced"] == found["fast path"]).all(), job
        worst = np.abs(found["traced, plain Linen"] - found["fast path"]).max()
        print(f"{job}: traced equal bit for bit; plain Linen within", end=" ")
        print(f"{worst / np.abs(found['fast path']).max():.1e} of the largest value")
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, work in contenders.items():
                clock = now()
                work()
                seconds[name].append(now() - clock)
        for name, times in seconds.items():
            over = statistics.median(
                own / fast for own, fast in zip(times, seconds["fast path"], strict=True)
            )
            middle = 1000 * statistics.median(times)
            print(f"  {name:<20} {middle:8.1f} ms   {over:.2f}x the fast path")


if __name__ == "__main__":
    main()
