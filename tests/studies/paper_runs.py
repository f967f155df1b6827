"""Made-up finished runs with the measures that the paper's page reads, as their contracts have
them.
"""

import math
from dataclasses import replace

import numpy as np

from tests.measured_run import Rows
from tests.synthetic_run import SMALL, make_run
from zfjax.run.folder import save_run

LAYERS = ("conv1", "conv2", "conv3")
LATER = {
    "invariance": {
        "small_gap_translation": (0.4, 0.3, 0.5),
        "small_gap_scale": (0.2, -0.1, 0.5),
        "small_gap_rotation": (-0.3, -0.4, -0.2),
        "linearity_gap_translation": (0.1, 0.05, 0.15),
        "rotation_gap": (0.2, 0.1, 0.3),
    },
    "occlusion": {"probability_drop": (0.5, 0.4, 0.6)},
    "probes": {"svm_slope": (0.08, 0.06, 0.1), "svm_least_gain": (-0.01, -0.03, 0.01)},
}
"""(value, low, high) of the whole network's numbers."""


def finished_run(folder, seed=0, **shape):
    """A run whose every epoch seems saved, with an evolution."""
    run = make_run(folder, replace(SMALL, seed=seed, **shape))
    run = replace(run, config=replace(run.config, seed=seed))
    save_run(run)
    for epoch in range(run.config.epochs + 1):
        (run.checkpoints / str(epoch * run.steps_per_epoch)).mkdir(parents=True)
    return run


def write_everything(run, shift=0.0):
    """Every measure that a statement needs; ``shift`` is added to each number."""
    last = run.last_step
    for name, numbers in LATER.items():
        rows = Rows(run, (last,))
        for layer in LAYERS:
            rows.layer(last, layer, "filler", 0.0)
        for quantity, values in numbers.items():
            rows.layer(last, None, quantity, *(value + shift for value in values))
        if name == "occlusion":
            for index, layer in enumerate(LAYERS):
                value = 0.1 * index + shift
                rows.layer(last, layer, "spearman_excess", value, value - 0.05, value + 0.05)
        rows.write(name, f"{name} <b>says</b> so.")
    rows = Rows(run, (last,))
    for layer, gap in (("conv3", -0.03), ("fc7", -0.01)):
        rows.layer(last, layer, "gap", gap + shift, gap + shift - 0.005, gap + shift + 0.005)
    rows.write("correspondence", "Parts correspond.", layers=["conv3"])
    rows = Rows(run, (last,))
    maps = {layer: run.config.model.fact(layer).shape[2] for layer in LAYERS}
    generator = np.random.default_rng(run.config.seed)
    for index, layer in enumerate(LAYERS):
        rows.maps(last, layer, "purity", generator.uniform(0.2, 0.4, maps[layer]) + 0.2 * index)
    rows.layer(last, None, "chance_purity", 0.25)
    rows.write("labels", "Maps are about classes.")
    rows = Rows(run, (last,))
    for layer in LAYERS[1:]:
        likeness = np.where(np.arange(maps[layer]) < 6, 0.5, math.nan)
        rows.maps(last, layer, "image_share", likeness + shift)
        rows.maps(last, layer, "cosine_switches", likeness - 0.2)
    rows.write("controls", "A half is the image's.")
    write_settling_slopes(run, shift)


def write_settling_slopes(run, shift=0.0, rewind=True):
    last = run.last_step
    rows = Rows(run, (last,))
    for index, layer in enumerate(LAYERS):
        value = 1.0 + index + shift
        rows.layer(last, layer, "responses_time", value, value - 0.1, value + 0.1)
        if rewind:
            rows.layer(last, layer, "rewind_share", 1.0)
    for family in ("responses", "representation"):
        rows.layer(last, None, f"{family}_slope", 1.0 + shift, 0.8 + shift, 1.2 + shift)
    if rewind:
        rows.layer(last, None, "rewind_slope", 0.2 + shift, -0.2 + shift, 0.6 + shift)
    else:
        rows.layer(last, None, "rewind_slope", None)
    rows.write("settling", "Lower layers first.", schedule="cosine, from 0.02")
