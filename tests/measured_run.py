"""Measures of a made-up run, written through the same functions as real ones: what the page says of
them is known beforehand.
"""

from __future__ import annotations

import numpy as np

from zfjax.files import write_arrays, write_json
from zfjax.run.folder import Run
from zfjax.run.measured import measures_folder, measures_table, picture_arrays, write_measures_table

LABELS = ("disc", "</script><b>stripes", "boat")


class Rows:
    """Numbers of a measure, one after the other."""

    def __init__(self, run: Run, steps: tuple[int, ...]) -> None:
        self.run, self.steps, self.rows = run, steps, []

    def layer(self, step, layer, quantity, value, low=None, high=None) -> None:
        row = (step, self.run.epoch(step), layer, None, quantity, value, low, high, 500, "")
        self.rows.append(row)

    def maps(self, step, layer, quantity, values) -> None:
        for map_, value in enumerate(values):
            value = None if np.isnan(value) else float(value)
            row = (step, self.run.epoch(step), layer, map_, quantity, value, None, None, 500, "")
            self.rows.append(row)

    def write(self, name: str, sentence: str, **meta: object) -> None:
        folder = measures_folder(self.run.folder)
        folder.mkdir(exist_ok=True)
        names = ("step", "epoch", "layer", "map", "quantity", "value", "low", "high", "n", "unit")
        columns = {key: [row[index] for row in self.rows] for index, key in enumerate(names)}
        write_measures_table(folder / f"{name}.parquet", measures_table(columns))
        layers = list(dict.fromkeys(row[2] for row in self.rows if row[2] is not None))
        about = {
            "steps": list(self.steps),
            "epochs": [self.run.epoch(step) for step in self.steps],
            "layers": layers,
            "images": 500,
            "asked": {"split": "train"},
            "sentence": sentence,
        }
        write_json(folder / f"{name}.json", about | meta)


def write_settling(run: Run, steps: tuple[int, ...], times: dict[str, tuple]) -> None:
    """``times``: (value, low, high) of the responses by layer."""
    rows, last = Rows(run, steps), steps[-1]
    for layer, (value, low, high) in times.items():
        maps = run.config.model.fact(layer).shape[2]
        for index, step in enumerate(steps):
            rows.layer(step, layer, "responses_share", index / (len(steps) - 1))
        rows.layer(last, layer, "responses_time", value, low, high)
        rows.layer(last, layer, "responses_epoch_0.9", 1.0)
        rows.layer(last, layer, "emerged", maps - 1)
        rows.layer(last, layer, "emerged_by_chance", 0.25)
        rows.maps(last, layer, "settled_epoch", np.arange(maps)[::-1] % 4)
        rows.maps(last, layer, "emergence", np.where(np.arange(maps) == 0, np.nan, 1.0))
    rows.write("settling", "Do lower layers settle first? <b>Cannot tell</b>.", schedule="cosine")


def write_census(run: Run, steps: tuple[int, ...], dead: dict[str, int], born: tuple) -> None:
    """``dead``: a map by layer, from the first step on; ``born``: (layer, map, step)."""
    rows = Rows(run, steps)
    for layer, map_ in dead.items():
        maps = run.config.model.fact(layer).shape[2]
        for step in steps:
            kinds = ("dead", "duplicate", "born", "died", "revived")
            flags = {name: np.zeros(maps) for name in kinds}
            flags["dead"][map_] = flags["duplicate"][0] = 1
            if layer == "conv1":
                flags["aliased"] = np.arange(maps) % 2
            if (layer, step) == (born[0], born[2]):
                flags["born"][born[1]] = 1
            for name, values in flags.items():
                rows.maps(step, layer, name, values)
                rows.layer(step, layer, f"{name}_share", float(values.mean()))
            rows.maps(step, layer, "firing", 1 - flags["dead"])
            rows.maps(step, layer, "relative", (np.arange(maps) + 1) % maps)
            rows.maps(step, layer, "likeness", np.full(maps, 0.5))
    options = {"almost": 1e-3, "dominant": 3.0, "duplicate": 0.95, "aliased": 0.5}
    rows.write(
        "census", "Dead maps at the end: some.", asked={"split": "train", "options": options}
    )


def write_labels(run: Run, steps: tuple[int, ...], layer: str, sure: dict[int, int]) -> None:
    """``sure``: the class of each map that is about one; the others are about nothing."""
    rows = Rows(run, steps)
    maps = run.config.model.fact(layer).shape[2]
    for step in steps:
        about = np.array([float(map_ in sure) for map_ in range(maps)])
        rows.maps(step, layer, "about", about)
        rows.maps(step, layer, "top_class", [float(sure.get(map_, 2)) for map_ in range(maps)])
        rows.maps(step, layer, "top_class_images", np.full(maps, 3.0))
        rows.maps(step, layer, "purity", np.full(maps, 0.75))
        rows.maps(step, layer, "adjusted_p", np.full(maps, 0.01))
        rows.layer(step, layer, "about_share", float(about.mean()))
        rows.layer(step, layer, "mean_purity", 0.75)
        rows.layer(step, None, "chance_purity", 0.3)
    asked = {"split": "train", "fingerprint": run.evolution().record.fingerprint}
    words = "Maps about a class: some."
    rows.write("labels", words, class_names=list(LABELS), asked=asked)


def write_controls(run: Run, steps: tuple[int, ...], layers: tuple[str, ...]) -> None:
    """Numbers with an interval, one that a layer lacks, one that no words are known for."""
    rows = Rows(run, steps)
    for index, layer in enumerate(layers):
        rows.layer(steps[-1], layer, "share_of_image", 0.5 + 0.125 * index, 0.25, 0.875)
        rows.maps(steps[-1], layer, "image_share", np.linspace(0, 1, 9))
        for place, control in enumerate(("swapped", "initial", "randomised_1", "randomised_2")):
            rows.layer(steps[-1], layer, f"cosine_{control}", 0.9 - 0.2 * place, 0.0, 1.0)
    rows.maps(steps[-1], layers[-1], "swapped_map", (np.arange(9) + 1) % 9)
    rows.layer(steps[-1], layers[-1], "initial_cosine", 0.0625)
    rows.layer(steps[-1], layers[-1], "spearman_initial", 0.4375)
    rows.layer(steps[-1], "conv1", "exempt", 1.0)
    rows.write("controls", "Half of a projection is the image's.")
    pixels = np.zeros((2, 9, 54, 3), np.float32)
    pixels[:, :, :9] = np.linspace(-1, 1, 9)[None, :, None, None]
    pictures = picture_arrays(layers[-1], steps[-1], np.array([3, 5]), pixels)
    write_arrays(measures_folder(run.folder) / "controls.npz", pictures)


def write_weights(run: Run, steps: tuple[int, ...], layer: str, maps: tuple[int, ...]) -> None:
    """Filters of some maps at the first step and the last, each map's of one grey."""
    rows = Rows(run, steps)
    rows.layer(steps[-1], layer, "cosine", 1.0)
    rows.write("weights", "At epoch 2 the filters are where they stay.")
    pictures = {}
    for step in (steps[0], steps[-1]):
        pixels = np.zeros((len(maps), 9, 9, 3), np.float32)
        pixels[:, :, : 4 if step else 9] = 1
        pictures |= picture_arrays(layer, step, np.array(maps), pixels)
    write_arrays(measures_folder(run.folder) / "weights.npz", pictures)
