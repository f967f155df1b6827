"""Do an accelerator's projections equal the CPU's, and how exactly are activations reproduced?

For each layer of the paper's ZFNet: units where each map is strongest, projected on both. Where all
pooling switches that a unit's window holds fall alike, the pictures must agree to 1e-5 of the
largest value; units whose window holds a near-tie that falls the other way are counted. Then the
relative error of reproduced activations by their size, from which an absolute floor follows. Exits
1 where a unit without a near-tie differs.

Command:   python experiments/benchmarks/gpu_agreement.py [--units 256] [--tiny]
"""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import networks
import numpy as np
from harness import machine

from zfjax.network import ops
from zfjax.network.architecture import Architecture, Pool
from zfjax.network.model import feature_maps, parameters_from_torch

TOLERANCE = 1e-5
"""Of the largest value of a projection."""


def switches_of(architecture: Architecture, parameters: Any, inputs: Any) -> dict[str, np.ndarray]:
    """The switches of every pool, int8 [n, rows, columns, maps], as the default device has them."""

    @jax.jit
    def run(parameters: Any, inputs: Any) -> dict[str, Any]:
        maps, before, switches = feature_maps(architecture, parameters, inputs), inputs, {}
        for layer in architecture.layers:
            if isinstance(layer, Pool):
                fallen = ops._pool_with_switches(before, layer.window, layer.stride, layer.padding)
                switches[layer.name] = fallen[1]
            before = maps[layer.name]
        return switches

    return {name: np.asarray(values) for name, values in run(parameters, inputs).items()}


def near_ties(
    architecture: Architecture, apart: dict[str, np.ndarray], layer: str, units: networks.Units
) -> np.ndarray:
    """bool [units]: whether a unit's window holds a cell of a pool below whose switch is
    ``apart`` (bool [n, rows, columns])."""
    window, names = (
        architecture.fact(layer).window,
        [fact.layer.name for fact in architecture.below(layer)],
    )
    tied = np.zeros(len(units.maps), bool)
    for name, differs in apart.items():
        if name not in names:
            continue
        cell = architecture.fact(name).window
        for index, (y, x, row) in enumerate(zip(units.ys, units.xs, units.rows, strict=True)):
            y0, x0, y1, x1 = window.box(int(y), int(x))
            rows, columns = (
                slice(
                    max(0, -(-(begin - cell.start - cell.size + 1) // cell.jump)),
                    max(0, (end - 1 - cell.start) // cell.jump + 1),
                )
                for begin, end in ((y0, y1), (x0, x1))
            )
            tied[index] |= bool(differs[row, rows, columns].any())
    return tied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--tiny", action="store_true", help="64 pixels, 16 units: runs on CPU")
    options = parser.parse_args()
    size, count = (64, 16) if options.tiny else (224, options.units)
    print(f"{jax.devices()[0].device_kind}; {machine()}", flush=True)
    architecture = networks.stack(size, True)
    arrays = networks.weights(architecture, 0)
    inputs = networks.normalised(networks.pictures(count // 4, size))
    devices = {"here": jax.devices()[0], "CPU": jax.devices("cpu")[0]}
    fallen, parameters = {}, {}
    for name, device in devices.items():
        with jax.default_device(device):
            parameters[name] = parameters_from_torch(architecture, arrays)
            fallen[name] = switches_of(architecture, parameters[name], jnp.asarray(inputs))
    apart = {
        name: (fallen["here"][name] != fallen["CPU"][name]).any(axis=-1) for name in fallen["CPU"]
    }
    wrong = 0
    for layer in architecture.conv_names:
        with jax.default_device(devices["CPU"]):
            units = networks.strongest_units(
                architecture, arrays, networks.pictures(count // 4, size), layer, count
            )
        results = {}
        for name, device in devices.items():
            with jax.default_device(device):
                results[name] = networks.project(
                    architecture, parameters[name], inputs, layer, units
                )
        (ours, values), (theirs, _) = results["here"], results["CPU"]
        largest = np.abs(theirs).max(axis=(1, 2, 3))
        off = np.abs(ours - theirs).max(axis=(1, 2, 3)) / largest
        tied = near_ties(architecture, apart, layer, units)
        wrong += int(((off > TOLERANCE) & ~tied).sum())
        error = np.abs(values - units.recorded)
        relative = error / units.recorded
        print(
            f"{layer}: {count} units, {int(tied.sum())} with a near-tie in their window; the others"
            f" agree to {off[~tied].max(initial=0):.1e} of the largest value; activations are"
            f" reproduced to {relative.max():.1e} relative, {error.max():.1e} absolute (smallest"
            f" {units.recorded.min():.1e}, largest {units.recorded.max():.1e})",
            flush=True,
        )
    print(f"{wrong} units differ without a near-tie")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
