"""The search for the strongest images of many checkpoints, against the bare forward pass and
zennit-crp.

Images are decoded beforehand for all; zfjax's statistics are those of `zfjax evolve` (9 strongest
with their places, 9 weakest, histogram, quantile samples). The bare forward pass runs the same
convolutions, pools and LRN to conv5 on the same batches, in pieces that stay in cache, and keeps
nothing. Peak memory is that of each contender's own process.

Command:   python experiments/benchmarks/search.py [--size 64] [--tiny]
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Iterator

import networks
import numpy as np
import peers
from harness import Contender, installed, interleave, machine, matmul_and_copy, print_ratio
from PIL import Image

from zfjax.network.architecture import Architecture, Conv

PICTURES = 256


def _batches(pictures: np.ndarray, images: int, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """``images`` pictures (a few, again and again) as the pipeline gives them."""
    for start in range(0, images, batch_size):
        ids = np.arange(start, start + batch_size)
        yield {
            "image": pictures[ids % len(pictures)],
            "image_id": ids.astype(np.int64),
            "weight": (ids < images).astype(np.float32),
        }


def _checkpoints(architecture: Architecture, count: int) -> list:
    """On the host, as they come from a run's folder."""
    import jax

    from zfjax.network.model import parameters_from_torch

    made = [
        parameters_from_torch(architecture, networks.weights(architecture, seed))
        for seed in range(count)
    ]
    return jax.tree.map(np.asarray, made)


def _stack_and_checkpoints(size: int, checkpoints: int) -> tuple[Architecture, list]:
    architecture = networks.stack(size, True)
    return architecture, _checkpoints(architecture, checkpoints)


def zfjax_search(size: int, checkpoints: int, images: int) -> Callable[[], dict]:
    """strongest.search over all checkpoints: {"value": [steps, k, maps], "id": ...}."""
    from zfjax.features import strongest

    subject = networks.subject_of(*_stack_and_checkpoints(size, checkpoints))
    batch_size, pictures = (
        strongest.search_batch(subject.network),
        networks.pictures(PICTURES, size),
    )

    def work() -> dict:
        found = networks.search(subject, _batches(pictures, images, batch_size))
        return {"value": found.top_value, "id": found.top_id}

    return work


def bare_forward(size: int, checkpoints: int, images: int) -> Callable[[], None]:
    """The same convolutions on the same batches, nothing kept."""
    import jax
    import jax.numpy as jnp

    from zfjax.features import strongest
    from zfjax.features.passing import images_at_once, in_pieces
    from zfjax.network.model import feature_maps

    architecture, parameters = _stack_and_checkpoints(size, checkpoints)
    subject = networks.subject_of(architecture, parameters)
    batch_size, top = strongest.search_batch(subject.network), architecture.conv_names[-1]
    pictures = networks.pictures(PICTURES, size)
    run = jax.jit(
        lambda one, inputs: in_pieces(
            lambda some: feature_maps(architecture, one, some, until=top)[top],
            inputs,
            images_at_once(subject.network),
        )
    )

    def work() -> None:
        for batch in _batches(pictures, images, batch_size):
            inputs, before = subject.prepare(jnp.asarray(batch["image"])), None
            for one in parameters:
                after = run(one, inputs)
                if before is not None:
                    before.block_until_ready()
                before = after
            before.block_until_ready()

    return work


def decoding() -> float:
    """Milliseconds to decode one 256-pixel JPEG to a 224-pixel view on one core, best of 3 x
    100."""
    from zfjax.data.images import view

    buffer = io.BytesIO()
    Image.fromarray(networks.pictures(1, 256)[0]).save(buffer, "JPEG", quality=90)
    seconds = []
    for _ in range(3):
        clock = time.process_time()
        for _ in range(100):
            view(buffer.getvalue(), (224, 224))
        seconds.append(time.process_time() - clock)
    return 10 * min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=int, choices=(64, 224), default=224, help="pixels of the input"
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--tiny", action="store_true", help="64 pixels, 1 and 2 checkpoints: under a minute"
    )
    options = parser.parse_args()
    if options.tiny:
        options.size, options.images, options.checkpoints, options.rounds = 64, 256, [1, 2], 2
    threads = len(os.sched_getaffinity(0))
    architecture = networks.stack(options.size, True)
    print(machine())
    per_image = 2 * sum(fact.multiply_adds for fact in architecture.facts()) / 1e9
    parameter_bytes = 4 * sum(
        fact.parameters for fact in architecture.facts() if isinstance(fact.layer, Conv)
    )
    floor = Contender("matmul and copy", matmul_and_copy)
    matmul, copy = floor.output
    print(
        f"{per_image:.2f} GFLOP an image and checkpoint; here a matmul reaches {matmul:.0f}"
        f" GFLOP/s, a copy {copy:.0f} GB/s; a checkpoint's convolutions take"
        f" {parameter_bytes / 2**20:.0f} MiB"
    )
    first, line = (
        None,
        "  {}: {:.1f} images x checkpoints a second, {:.0f} GFLOP/s, peak memory {:,.0f} MiB",
    )
    for count in options.checkpoints:
        shape = {"size": options.size, "checkpoints": count, "images": options.images}
        rounds = max(2, options.rounds // (1 + count // 16))
        ours, bare = (
            Contender("zfjax", zfjax_search, **shape),
            Contender("bare forward", bare_forward, **shape),
        )
        crp = None
        if count == options.checkpoints[0] and installed(*peers.HAVE_CRP):
            arrays = networks.weights(architecture, 0)
            pictures = networks.pictures(PICTURES, options.size)[
                np.arange(options.images) % PICTURES
            ]
            crp = Contender(
                "zennit-crp",
                peers.crp_search,
                architecture=architecture,
                arrays=arrays,
                images=pictures,
                threads=threads,
            )
            compare(architecture, ours.output, crp.output)
        interleave([ours, bare, *([crp] if crp else [])], rounds)
        work = options.images * count
        print(
            f"\n{count} checkpoints x {options.images} images of {options.size} pixels, {rounds}"
            " rounds"
        )
        for one in (ours, bare, crp):
            if one is not None:
                each = options.images if one is crp else work
                rate = each / one.median
                print(line.format(one.name, rate, per_image * rate, one.peak_mib()))
        matmul = max(matmul, floor.again()[0])
        print(
            f"  of the {matmul:.0f} GFLOP/s of a matmul zfjax reaches"
            f" {per_image * work / ours.median / matmul:.0%}"
        )
        print_ratio(
            bare, ours, f"{count} checkpoints: time of zfjax's search over the bare forward pass"
        )
        first = first or (count, ours.peak_mib())
        if count != first[0]:
            each = (ours.peak_mib() - first[1]) / (count - first[0])
            print(f"  host memory a checkpoint more: {each:.1f} MiB")
        if crp:
            print_ratio(ours, crp, "zfjax against zennit-crp, a checkpoint", count)
            crp.close()
        if count == options.checkpoints[-1]:
            longer = Contender("zfjax", zfjax_search, **{**shape, "images": 4 * options.images})
            print(f"  peak memory with four times the images: {longer.peak_mib():,.0f} MiB")
            longer.close()
        ours.close()
        bare.close()
    if not installed(*peers.HAVE_CRP):
        print(
            "skipped: zennit-crp is not installed (pip install -e '.[bench]' and pip install"
            " --no-deps zennit-crp)"
        )
    print(
        f"decoding one 256-pixel JPEG takes {decoding():.1f} ms of a core: zfjax pays it once for"
        " all checkpoints, the others once for each"
    )
    floor.close()


def compare(architecture: Architecture, ours: dict, theirs: dict) -> None:
    """How many of zennit-crp's nine strongest images are ours, and how its activations differ."""
    start = 0
    for layer in architecture.conv_names:
        maps = architecture.conv(layer).maps
        values, ids, _ = theirs[layer]
        ours_value = ours["value"][0, :, start : start + maps]
        alive = ours_value[0] > 0
        shared = [
            len(set(ids[:9, column]) & set(ours["id"][0, :, start + column])) / 9
            for column in np.flatnonzero(alive)
        ]
        worst = abs(values[0, alive] - ours_value[0, alive]) / ours_value[0, alive]
        print(
            f"{layer}: zennit-crp's strongest activation differs by at most {worst.max():.1e}; "
            f"{np.mean(shared):.0%} of its nine images are ours"
        )
        start += maps


if __name__ == "__main__":
    main()
