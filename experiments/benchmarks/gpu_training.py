"""Training images a second on one accelerator, batches already on it, and the share of its matmul
speed.

The paper's ZFNet at 224 pixels by the modern recipe (views cropped, mirrored and normalised on the
device): bfloat16, and float32 as JAX multiplies it by default (TF32 on NVIDIA chips). One process,
one batch size after the other; a line is printed as it is known.

Command:   python experiments/benchmarks/gpu_training.py [--batch 256 512 1024 2048] [--tiny]
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
from gpu import matmul_speed, memory
from harness import machine
from jax import lax
from train_step import config_for, zfjax_step

STEPS = 10
"""A call: the host waits for the device once in so many steps."""


def images_a_second(size: int, batch: int, compute: str, rounds: int) -> float:
    """The best of ``rounds`` calls, after one that compiles."""
    work = zfjax_step(size, batch, compute, STEPS)
    work()
    seconds = []
    for _ in range(rounds):
        clock = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - clock)
    return batch * STEPS / min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--tiny", action="store_true", help="64 pixels, two images: runs on CPU")
    options = parser.parse_args()
    size, side, rounds = (64, 512, 1) if options.tiny else (224, 16384, 3)
    batches = [2] if options.tiny else options.batch
    print(f"{jax.devices()[0].device_kind}; {machine()}", flush=True)
    dtypes = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}
    for compute, dtype in dtypes.items():
        peak = matmul_speed(dtype, lax.Precision.DEFAULT, side, 5)
        print(f"{compute}: a matmul of {side}: {peak / 1e12:.1f} TFLOP/s", flush=True)
        for batch in batches:
            model = config_for(size, batch, compute).model
            flops = 6 * sum(fact.multiply_adds for fact in model.facts())
            rate = images_a_second(size, batch, compute, rounds)
            print(
                f"  batch {batch}: {rate:,.0f} images a second, {rate * flops / 1e12:.2f} TFLOP/s,"
                f" {rate * flops / peak:.1%} of the matmul{memory()}",
                flush=True,
            )


if __name__ == "__main__":
    main()
