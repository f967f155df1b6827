"""A whole RUN folder, made up: procedural scenes, projections that get clearer with the epochs,
dead maps and jumps.

Written through the same functions as a real one, so whatever reads runs can be tried and looked at
without training. ``python -m tests.synthetic_run RUN [--large] [--hostile]`` makes one and its
report.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests.synthetic_pictures import crop, filters, projection, scene
from zfjax import presets
from zfjax.files import write_json
from zfjax.run.evolution import UNITS_SCHEMA, Tile, write_tiles, write_units
from zfjax.run.evolution_files import tiles_folder
from zfjax.run.folder import Run, append_metrics, save_run

CLASSES = ("disc", "stripes", "boat", "tree", "house", "sun", "road", "flower", "hill", "window")
HOSTILE = (
    "<script>alert(1)</script>",
    r"$\frac{1}$",
    "[/b]",
    "</style><img src=http://evil.example/x>",
    "'\"`&\u202e",
    "日本語 🐟",
    "a" * 300,
    "new\nline",
    "{{ 7*7 }}",
    "",
)
HELD = {"conv1": 0.3, "conv2": 1.2, "conv3": 3.0, "conv4": 4.5, "conv5": 6.5}
"""Epochs after which a layer's strongest images rarely change."""


@dataclass(frozen=True)
class Shape:
    """How large the made-up run is."""

    preset: str = "demo"
    epochs: int = 16
    maps: int | None = 16
    """Drawn of each layer; None: all."""
    top: int = 9
    layers: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4", "conv5")
    hostile: bool = False
    early_steps: tuple[int, ...] = ()
    images: int = 4000
    seed: int = 0
    keep: tuple[int, ...] = field(default=())
    """Epochs kept; empty: all."""
    every_rank: bool = False
    selections: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """After deconvnet."""


SMALL = Shape(epochs=4, maps=4, layers=("conv1", "conv2", "conv3"), images=300)
LARGE = Shape(preset="imagenet", epochs=70, keep=(0, 1, 2, 3, 5, 7, 10, 14, 20, 30, 40, 50, 64, 70))


def make_run(folder: Path, shape: Shape = Shape()) -> Run:  # noqa: B008 (frozen)
    """Writes a finished run with a finished evolution below ``folder``."""
    names = HOSTILE if shape.hostile else CLASSES
    config = replace(presets.preset(shape.preset), epochs=shape.epochs)
    if shape.hostile:
        config = replace(config, data=replace(config.data, name=names[0]))
    per_epoch = 100
    fingerprint = {
        "name": config.data.name,
        "version": "1.0.0",
        "split": "train",
        "count": shape.images,
        "digest": "9f2c" * 16,
    }
    run = Run(
        folder,
        config,
        per_epoch,
        names,
        fingerprint,
        "2025-11-21T02:00:00+00:00",
        {"zfjax": "0.1.0", "jax": "0.10.2", "numpy": "2.4.6"},
        "0123456789ab",
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_run(run)
    _metrics(run)
    kept = shape.keep or tuple(range(shape.epochs + 1))
    steps = tuple(sorted({epoch * per_epoch for epoch in kept} | set(shape.early_steps)))
    _evolution(run, shape, steps, names)
    return run


def _metrics(run: Run) -> None:
    path, rng = run.folder / "metrics.jsonl", np.random.default_rng(1)
    path.unlink(missing_ok=True)
    total = run.last_step
    for step in range(0, total + 1, run.steps_per_epoch // 4):
        epoch = run.epoch(step)
        rate = 0.02 * min(1, epoch / 0.5) * (0.5 + 0.5 * np.cos(np.pi * step / total))
        learned = 1 - np.exp(-epoch / (0.22 * run.config.epochs))
        if step:
            top1 = 0.1 + 0.83 * learned + rng.normal(0, 0.01)
            append_metrics(
                path,
                {
                    "step": step,
                    "epoch": epoch,
                    "split": "train",
                    "loss": 2.3 * (1 - 0.92 * learned) + rng.normal(0, 0.02),
                    "top1": top1,
                    "top5": min(0.995, 0.5 + 0.5 * learned),
                    "learning_rate": rate,
                    "images_per_second": 900.0,
                    "data_wait": 0.02,
                },
            )
        if step % run.steps_per_epoch == 0:
            append_metrics(
                path,
                {
                    "step": step,
                    "epoch": epoch,
                    "split": run.config.data.validation_split,
                    "loss": 2.3 * (1 - 0.85 * learned),
                    "top1": float(0.1 + 0.75 * learned + rng.normal(0, 0.004)),
                    "top5": min(0.99, 0.5 + 0.49 * learned),
                    "learning_rate": rate,
                },
            )


def _evolution(run: Run, shape: Shape, steps: tuple[int, ...], names: tuple[str, ...]) -> None:
    folder, model = run.evolution_folder(), run.config.model
    rng = np.random.default_rng(shape.seed)
    counts = {layer: model.fact(layer).shape[2] for layer in shape.layers}
    maps = {
        layer: sorted(
            rng.choice(counts[layer], shape.maps or counts[layer], replace=False).tolist()
        )
        for layer in shape.layers
    }
    rows: list[dict] = []
    for layer in shape.layers:
        _layer(run, shape, layer, maps[layer], steps, names, rows, rng)
    columns = {name: [row.get(name) for row in rows] for name in UNITS_SCHEMA.names}
    write_units(folder, columns)
    kernel = np.stack([filters(model.conv("conv1"), step / max(1, steps[-1])) for step in steps])
    np.savez(folder / "filters.npz", step=np.array(steps), kernel=kernel.astype(np.float32))
    size = model.input_size[0]
    Image.fromarray(scene(12, size)).save(folder / "example.jpg", quality=92)
    dead = {
        layer: [0.02 * index + (0.03 if step else 0.05) for step in steps]
        for index, layer in enumerate(shape.layers)
    }
    purity = {
        layer: [0.3 + 0.12 * index * step / steps[-1] if step else None for step in steps]
        for index, layer in enumerate(shape.layers)
    }
    write_json(
        folder / "meta.json",
        {
            "complete": True,
            "format_version": 1,
            "steps": list(steps),
            "epochs": [run.epoch(step) for step in steps],
            "layers": list(shape.layers),
            "maps": maps,
            "map_count": counts,
            "top": shape.top,
            "split": "train",
            "images": shape.images,
            "rule": "deconvnet",
            "precision": "highest",
            "every_rank": shape.every_rank,
            "name": None,
            "seed": 0,
            "input_size": list(model.input_size),
            "windows": {layer: vars(model.window(layer)) for layer in shape.layers},
            "shapes": {layer: list(model.fact(layer).shape) for layer in shape.layers},
            "tile_size": {layer: list(model.tile_size(layer)) for layer in shape.layers},
            "fingerprint": run.fingerprint,
            "dead_share": dead,
            "purity": purity,
            "checked": {"units": 1234, "drawn": 1234, "worst": 2.1e-7},
            "method": {
                layer: "window" if index < 2 else "image"
                for index, layer in enumerate(shape.layers)
            },
            "asked": {"selections": list(shape.selections), "rules": list(shape.rules)},
            "command": (
                "zfjax evolve --workdir RUN --data.dir DATA --maps 16 --top 9 --split train"
                " --at all"
            ),
            "created": "2025-11-21T03:00:00+00:00",
            "seconds": {"search": 61.2, "project": 40.0},
        },
    )


def _layer(run, shape, layer, drawn, steps, names, rows, rng) -> None:
    model, folder = run.config.model, run.evolution_folder()
    height, width, _ = model.fact(layer).shape
    window, tile_size, size = model.window(layer), model.tile_size(layer), model.input_size[0]
    scale = int(layer[-1])
    tiles: dict[int, list[Tile]] = {step: [] for step in steps}

    def unit(step, map_, selection, rank, image, y, x, activation, **more) -> None:
        box = window.box(y, x)
        label = image % 10
        rows.append(
            dict(
                step=step,
                epoch=run.epoch(step),
                layer=layer,
                map=map_,
                rank=rank,
                activation=np.float32(activation),
                image_id=image,
                file_name=f"{names[label]}/{image:05d}.png",
                label=label,
                label_name=names[label],
                split="train",
                y=y,
                x=x,
                box_y0=box[0],
                box_x0=box[1],
                box_y1=box[2],
                box_x1=box[3],
                selection=selection,
                rule="deconvnet",
                **more,
            )
        )
        every = shape.every_rank or step == steps[-1]
        if selection != "top" and selection != "fixed" and map_ not in drawn:
            rows[-1] |= dict.fromkeys(("y", "x", "box_y0", "box_x0", "box_y1", "box_x1"))
        elif (rank == 0 or every) and map_ in drawn:
            y0, x0 = model.tile_origin(layer, y, x)
            patch = crop(scene(image, size), y0, x0, tile_size)
            clarity = 1 - np.exp(-run.epoch(step) / (HELD[layer] * 0.5))
            pixels = projection(patch, layer, map_, clarity, activation, image)
            tiles[step].append(Tile(selection, map_, rank, pixels, patch))

    searched = sorted(set(drawn) | set(range(min(shape.maps or 0, model.fact(layer).shape[2]))))
    for map_ in searched:
        dead_from = 0 if layer != "conv1" and map_ == drawn[1] else None
        if map_ == drawn[-1] and layer == "conv4":
            dead_from = steps[2]
        favourite = int(rng.integers(10))
        spot = rng.integers(0, [height, width], (400, 2))
        final = [
            int(image) * 10 + (favourite if rank < 2 + scale else int(rng.integers(10)))
            for rank, image in enumerate(rng.choice(shape.images // 10, shape.top, replace=False))
        ]
        current, before = list(final), None
        history = {}
        for step in reversed(steps):
            if rng.random() < np.exp(-run.epoch(step) / HELD[layer]) and step != steps[-1]:
                current = [
                    int(image) for image in rng.choice(shape.images, shape.top, replace=False)
                ]
            history[step] = list(current)
        for index, step in enumerate(steps):
            grown = (0.4 + 2.2 * (1 - np.exp(-run.epoch(step) / 3))) * scale
            alive = dead_from is None or step < dead_from
            if alive:
                strengths = grown * (1 + 0.1 * np.cos(map_)) * 0.97 ** np.arange(shape.top)
                for rank, (image, strength) in enumerate(
                    zip(history[step], strengths, strict=True)
                ):
                    y, x = spot[image % 400]
                    jumped = None if rank or index == 0 or before is None else image != before
                    margin = (
                        float(1 - strengths[1] / strengths[0])
                        if rank == 0 and shape.top > 1
                        else None
                    )
                    unit(
                        step,
                        map_,
                        "top",
                        rank,
                        image,
                        int(y),
                        int(x),
                        strength,
                        jumped=jumped,
                        margin=margin,
                    )
                y, x = spot[(final[0] + (step != steps[-1] and scale < 3) * index) % 400]
                if dead_from is None and map_ in drawn and not (map_ == drawn[0] and index == 0):
                    unit(
                        step,
                        map_,
                        "fixed",
                        0,
                        final[0],
                        int(y),
                        int(x),
                        strengths[0] * (1 if history[step][0] == final[0] else 0.7),
                    )
                for weaker in shape.selections if alive else ():
                    # A typical image leaves the first map silent at the first epoch.
                    if weaker == "low" or map_ != drawn[0] or index:
                        y, x = spot[(map_ + index) % 400]
                        strength = strengths[0] * (0.01 if weaker == "low" else 0.3)
                        image = (37 * map_ + index) % shape.images
                        unit(step, map_, weaker, 0, image, int(y), int(x), strength)
            before = history[step][0] if alive else None
    for step in steps:
        write_tiles(folder / "tiles" / layer / f"{step}.npz", tiles[step])
        for index, rule in enumerate(shape.rules):
            path = tiles_folder(folder, rule) / layer / f"{step}.npz"
            other = [
                replace(tile, projection=-tile.projection / (2 + index)) for tile in tiles[step]
            ]
            write_tiles(path, other)


def main() -> None:
    """Makes a run and its report."""
    from zfjax.report.page import write_report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--no-photos", action="store_true")
    chosen = parser.parse_args()
    shape = replace(
        LARGE if chosen.large else SMALL if chosen.small else Shape(), hostile=chosen.hostile
    )
    run = make_run(chosen.folder, shape)
    print(write_report(run, photos=not chosen.no_photos, progress=print))


if __name__ == "__main__":
    main()
