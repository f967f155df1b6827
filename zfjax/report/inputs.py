"""Which maps of the layer below weigh most in a map, from the saved weights of the last epoch.

Weights alone say what a map may listen to, not how much it does: a map below that rarely fires
weighs as much as one that always does. Reads a checkpoint, and so loads JAX when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run

COUNT = 6
"""Maps of the layer below that are named for each map."""


@dataclass(frozen=True)
class Feed:
    """One map of the layer below, as another listens to it."""

    map: int
    share: float
    """Of the squared weights of the map above, 0..1."""
    balance: float
    """Sum of its weights over the sum of their magnitudes, -1..1: above 0 it rather excites."""


@dataclass(frozen=True)
class Inputs:
    """Of the maps of one layer."""

    below: str
    """The convolution before."""
    strongest: Mapping[int, tuple[Feed, ...]]
    """By map, the strongest first."""


def strongest_inputs(run: Run, evolution: Evolution) -> dict[str, Inputs]:
    """By layer, for the maps drawn; the first convolution listens to the image and is left out.
    {} where the last epoch's weights are not kept. Raises ZfjaxError for damaged ones.
    """
    names, folder = run.config.model.conv_names, run.checkpoints / str(evolution.steps[-1])
    layers = [layer for layer in evolution.layers if names.index(layer) > 0]
    if not layers or not folder.exists():
        return {}
    from zfjax.run.checkpoint import load

    parameters = load(folder, tuple(layers))
    return {
        layer: Inputs(
            names[names.index(layer) - 1],
            {
                map_: feeds_of(np.asarray(parameters[layer]["kernel"])[..., map_])
                for map_ in evolution.maps(layer)
            },
        )
        for layer in layers
    }


def feeds_of(filter_: np.ndarray) -> tuple[Feed, ...]:
    """The strongest channels of one filter [height, width, channels], of equal ones the lower;
    () for a filter of zeros.
    """
    weights = filter_.astype(np.float64)
    energy = (weights**2).sum(axis=(0, 1))
    if not energy.sum() > 0:
        return ()
    sums, magnitudes = weights.sum(axis=(0, 1)), np.abs(weights).sum(axis=(0, 1))
    order = np.argsort(-energy, kind="stable")[:COUNT]
    return tuple(
        Feed(
            int(channel),
            float(energy[channel] / energy.sum()),
            float(sums[channel] / magnitudes[channel]) if magnitudes[channel] else 0.0,
        )
        for channel in order
        if energy[channel] > 0
    )
