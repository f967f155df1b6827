"""What a GPU (or TPU) makes of the engine: projections, search, checkpoints side by side,
precision, captum beside it.

Prints, for the paper's ZFNet at 224 pixels: projections a second of each layer, against captum
batched on the cut model on the same GPU; images x checkpoints a second for several vmap widths; the
share of the chip's matmul speed at HIGHEST, TF32 (JAX's DEFAULT) and bfloat16; whether the
strongest images of the fast passes, looked at again exactly, are the exact ones; device memory; and
what 8 epochs x 1.28 million images would take. On CPU use --tiny.

Command:   python experiments/benchmarks/gpu.py [--only search] [--no-peers] [--tiny]
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import networks
import numpy as np
import peers
from harness import installed, machine
from jax import lax
from networks import normalised

from zfjax.devices import working_set
from zfjax.features import strongest
from zfjax.network.architecture import Architecture
from zfjax.network.model import feature_maps, parameters_from_torch
from zfjax.subject import network_of

PARTS = ("projection", "search", "precisions")
WIDTHS = (1, 2, 4, 8)
PRECISIONS: dict[str, tuple[Any, Any]] = {
    "float32 HIGHEST": (jnp.float32, lax.Precision.HIGHEST),
    "float32 DEFAULT (TF32)": (jnp.float32, lax.Precision.DEFAULT),
    "bfloat16": (jnp.bfloat16, lax.Precision.DEFAULT),
}
CANDIDATES = 4
"""Times as many images as are wanted are kept by a fast pass and looked at again exactly."""


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median of ``repeats`` runs after one that compiles."""
    work()
    found = []
    for _ in range(repeats):
        clock = time.perf_counter()
        work()
        found.append(time.perf_counter() - clock)
    return float(np.median(found))


def time_projection(
    architecture: Architecture, arrays: dict, units: int, repeats: int, with_captum: bool
) -> None:
    """Projections a second of each layer, and captum's."""
    size = architecture.input_size[0]
    parameters, images = (
        parameters_from_torch(architecture, arrays),
        networks.pictures(units // 2, size),
    )
    inputs = normalised(images)
    for layer in architecture.conv_names[::-1]:
        some = networks.strongest_units(architecture, arrays, images, layer, units)

        def ours(layer=layer, some=some) -> Any:
            tiles, activations = networks.project(architecture, parameters, inputs, layer, some)
            off = (abs(activations - some.recorded) / some.recorded).max()
            return tiles, off

        off = ours()[1]
        rate = units / seconds(ours, repeats)
        print(
            f"{layer}: {rate:,.0f} projections a second; recorded activations reproduced to"
            f" {off:.1e}"
        )
        if not with_captum:
            continue
        if not installed(*peers.HAVE_CAPTUM):
            print("skipped: captum is not installed (pip install -e '.[bench]')")
            continue
        import torch

        device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
        rates = {
            batch: (
                units
                / seconds(
                    peers.captum_cut(
                        architecture,
                        arrays,
                        images,
                        layer,
                        some,
                        torch.get_num_threads(),
                        channels_last,
                        batch,
                        device,
                    ),
                    repeats,
                )
            )
            for batch in (16, 64, 256)
            if batch <= units
            for channels_last in (False, True)
        }
        best = max(rates, key=rates.get)
        print(
            f"ratio: {rate / rates[best]:.2f}x  {layer}: zfjax against captum on {device}, batched"
            f" by {best}, channels last ({rates[best]:,.0f} a second)"
        )


def time_widths(
    architecture: Architecture, batches: list[dict[str, np.ndarray]], repeats: int
) -> float:
    """Images x checkpoints a second of strongest.search by vmap width; the best."""
    checkpoints = [
        parameters_from_torch(architecture, networks.weights(architecture, seed))
        for seed in range(8)
    ]
    checkpoints = jax.tree.map(np.asarray, checkpoints)
    subject = networks.subject_of(architecture, checkpoints)
    work, rates = 8 * sum(len(batch["image"]) for batch in batches), {}
    for width in WIDTHS:
        run = functools.partial(networks.search, subject, batches, width)
        rates[width] = work / seconds(run, repeats)
        print(
            f"search, {width} checkpoints side by side: {rates[width]:,.0f} images x checkpoints a"
            f" second{memory()}"
        )
    best = max(rates, key=rates.get)
    print(
        f"ratio: {rates[best] / rates[1]:.2f}x  the best width ({best}) against one checkpoint"
        " after the other"
    )
    return rates[best]


def memory() -> str:
    """Peak device memory, where the device tells."""
    found = jax.devices()[0].memory_stats() or {}
    return (
        f", peak device memory {found['peak_bytes_in_use'] / 2**30:.2f} GiB"
        if "peak_bytes_in_use" in found
        else ""
    )


def matmul_speed(dtype: Any, precision: Any, side: int, repeats: int) -> float:
    """FLOP/s of a square matmul."""
    square = jnp.ones((side, side), dtype)
    run = jax.jit(lambda a: jnp.dot(a, a, precision=precision))
    return 2 * side**3 / seconds(lambda: run(square).block_until_ready(), repeats)


def time_precisions(
    architecture: Architecture, arrays: dict, images: np.ndarray, side: int, repeats: int
) -> None:
    """Each precision's speed against a matmul's, and whether exact re-ranking mends what it
    loses."""
    parameters, top = parameters_from_torch(architecture, arrays), architecture.conv_names[-1]
    flops = 2 * sum(fact.multiply_adds for fact in architecture.facts())
    inputs = jnp.asarray(normalised(images))
    exact: dict[str, np.ndarray] = {}
    for name, (dtype, precision) in PRECISIONS.items():

        @jax.jit
        def run(parameters, inputs, dtype=dtype, precision=precision):
            maps = feature_maps(
                architecture, parameters, inputs.astype(dtype), until=top, precision=precision
            )
            return {
                layer: maps[layer].max(axis=(1, 2)).astype(jnp.float32)
                for layer in architecture.conv_names
            }

        rate = len(images) / seconds(
            lambda run=run: jax.block_until_ready(run(parameters, inputs)), repeats
        )
        peak = matmul_speed(dtype, precision, side, repeats)
        found = {layer: np.asarray(values) for layer, values in run(parameters, inputs).items()}
        print(
            f"{name}: forward pass of {rate:,.0f} images a second, {rate * flops / 1e12:.2f}"
            f" TFLOP/s, {rate * flops / peak:.0%} of a matmul's {peak / 1e12:.2f} TFLOP/s"
        )
        if not exact:
            exact = found
            continue
        kept, lost, missed = 9, [], []
        for layer, truth in exact.items():
            best = np.argsort(-truth, axis=0, kind="stable")[:kept]
            rough = np.argsort(-found[layer], axis=0, kind="stable")
            alive = np.flatnonzero(truth.max(axis=0) > 0)
            lost += [len(set(best[:, map_]) - set(rough[:kept, map_])) / kept for map_ in alive]
            missed += [
                len(set(best[:, map_]) - set(rough[: CANDIDATES * kept, map_])) / kept
                for map_ in alive
            ]
        print(
            f"  its own nine strongest miss {np.mean(lost):.2%} of the exact ones; "
            f"its {CANDIDATES * kept} strongest, ranked again exactly, miss {np.mean(missed):.3%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tiny", action="store_true", help="64 pixels, few images and units: runs on CPU"
    )
    parser.add_argument("--only", choices=PARTS, default=None, help="one part (default: all)")
    parser.add_argument("--no-peers", action="store_true", help="without captum")
    options = parser.parse_args()
    parts = (options.only,) if options.only else PARTS
    size, units, images, side, repeats = (
        (64, 32, 64, 1024, 2) if options.tiny else (224, 1024, 2048, 16384, 5)
    )
    device = jax.devices()[0]
    print(
        f"{device.platform}: {device.device_kind}, working set {working_set() / 2**20:,.0f} MiB;"
        f" {machine()}"
    )
    architecture = networks.stack(size, True)
    arrays = networks.weights(architecture, 0)
    if "projection" in parts:
        time_projection(architecture, arrays, units, repeats, not options.no_peers)
    batch_size = min(images, strongest.search_batch(network_of(architecture)))
    if "search" in parts:
        _time_search(architecture, images, batch_size, repeats)
    if "precisions" in parts:
        views = networks.pictures(batch_size, size, seed=1)
        time_precisions(architecture, arrays, views, side, repeats)


def _time_search(architecture: Architecture, images: int, batch_size: int, repeats: int) -> None:
    size = architecture.input_size[0]
    pictures = networks.pictures(batch_size, size)
    batches = [
        {
            "image": pictures,
            "image_id": np.arange(start, start + batch_size),
            "weight": np.ones(batch_size, np.float32),
        }
        for start in range(0, images, batch_size)
    ]
    rate = time_widths(architecture, batches, repeats)
    hours = 8 * 1.28e6 / rate / 3600
    print(
        f"8 epochs x 1.28 million images at {size} pixels: {hours:,.1f} hours of search at this"
        " rate, if the input keeps up"
    )


if __name__ == "__main__":
    main()
