"""The whole question: many checkpoints, many images, top 9 of many maps of five layers, from files
to pictures.

zfjax answers with one call of `zfjax.evolve` on a run's folder (checkpoints read and checked,
images decoded once, every recorded activation reproduced, tiles and table written). The peers
repeat search, decoding and projection for each checkpoint, so they are timed on one and multiplied:
zennit-crp's search with captum batched on the cut model, and a search and a deconvnet written by
hand in PyTorch with one forward pass an image. Peak memory is each process's own.

Command:   python experiments/benchmarks/evolution.py [--size 64] [--tiny]
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import networks
import numpy as np
import peers
from harness import Contender, installed, machine, matmul_and_copy, print_ratio
from networks import Units
from PIL import Image

from zfjax.network.architecture import Architecture, Dense

Winners = dict[str, dict[int, list[int]]]
"""{layer: {map: image ids, strongest first}}."""


def make_run(folder: Path, stack: Architecture, checkpoints: int, images: int) -> None:
    """A run's folder with seeded checkpoints, and a data set of JPEGs with a shorter side of
    8 / 7 of its input's."""
    import jax

    from zfjax.config import Config, Data
    from zfjax.data.dataset import open_dataset
    from zfjax.data.importing import import_images
    from zfjax.network.model import initial_parameters, parameters_from_torch
    from zfjax.run import checkpoint
    from zfjax.run.folder import Run, current_versions, save_run

    size = stack.input_size[0]
    pictures = networks.pictures(images, size * 8 // 7)
    for index, picture in enumerate(pictures):
        path = folder / "tree" / "train" / f"class{index % 10}" / f"{index:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, quality=90)
    import_images(folder / "tree", "pictures", folder / "data")
    whole = dataclasses.replace(stack, layers=(*stack.layers, Dense("fc8", 10)))
    config = Config(
        model=whole,
        data=Data(name="pictures", dir=str(folder / "data"), view=size),
        epochs=checkpoints,
    )
    dataset = open_dataset("pictures", folder / "data")
    run = Run(
        folder=folder / "run",
        config=config,
        steps_per_epoch=1,
        class_names=dataset.class_names,
        fingerprint=dataset.fingerprint("train"),
        created="",
        versions=current_versions(),
        git_commit=None,
    )
    save_run(run)
    saver = checkpoint.Saver(run.checkpoints)
    head = initial_parameters(whole, "modern", 0)["fc8"]
    for step in range(checkpoints):
        parameters = {**parameters_from_torch(stack, networks.weights(stack, step)), "fc8": head}
        saver.save(step, jax.tree.map(np.asarray, parameters))
    saver.wait()


def zfjax_evolution(folder: Path, maps: int) -> Callable[[], dict]:
    """zfjax.evolve: the winners of the first step, pictures drawn, and the seconds of its parts."""
    import zfjax

    rounds = iter(range(1000))

    def work() -> dict:
        evolution = zfjax.evolve(
            folder / "run", maps=maps, every_rank=True, name=f"round{next(rounds)}"
        )
        rows = evolution.rows(step=0, selection="top")
        winners: Winners = {}
        for row in sorted(rows, key=lambda row: row["rank"]):
            winners.setdefault(row["layer"], {}).setdefault(row["map"], []).append(row["image_id"])
        return {
            "winners": winners,
            "drawn": evolution.meta["checked"]["drawn"],
            "maps": evolution.meta["maps"],
            "seconds": evolution.meta["seconds"],
        }

    return work


def _units(
    found: dict[str, tuple], places: dict[str, np.ndarray], maps: dict[str, list[int]], width: dict
) -> dict:
    """Units of the chosen maps' winners by layer."""
    units = {}
    for layer, (values, ids) in found.items():
        chosen = [
            (rank, map_) for map_ in maps[layer] for rank in range(9) if values[rank, map_] > 0
        ]
        ranks, columns = (np.array(part, np.int32) for part in zip(*chosen, strict=True))
        ys, xs = np.divmod(places[layer][ranks, columns], width[layer])
        units[layer] = Units(
            columns, ys, xs, ids[ranks, columns].astype(int), values[ranks, columns]
        )
    return units


def crp_and_captum(
    architecture: Architecture,
    arrays: dict,
    jpegs: list[bytes],
    maps: dict[str, list[int]],
    threads: int,
    channels_last: bool,
) -> Callable[[], dict]:
    """One checkpoint: zennit-crp's search, then captum on the model cut at each layer."""
    from zfjax.data.images import view

    search = peers.crp_search(architecture, arrays, jpegs, threads)
    width = {layer: architecture.fact(layer).shape[1] for layer in architecture.conv_names}

    def work() -> dict:
        clock = time.perf_counter()
        found = search()
        searched = time.perf_counter() - clock
        best = {layer: (values, ids) for layer, (values, ids, _) in found.items()}
        units = _units(
            best, {layer: places for layer, (_, _, places) in found.items()}, maps, width
        )
        drawn = 0
        pictures = np.stack([view(jpeg, architecture.input_size) for jpeg in jpegs])
        for layer, some in units.items():
            drawn += len(
                peers.captum_cut(
                    architecture, arrays, pictures, layer, some, threads, channels_last
                )()
            )
        winners = {
            layer: {m: ids[:9, m].tolist() for m in maps[layer]} for layer, (_, ids) in best.items()
        }
        return {
            "winners": winners,
            "drawn": drawn,
            "seconds": {"search": searched, "projection": time.perf_counter() - clock - searched},
        }

    return work


def all_by_hand(
    architecture: Architecture,
    arrays: dict,
    jpegs: list[bytes],
    maps: dict[str, list[int]],
    threads: int,
) -> Callable[[], dict]:
    """One checkpoint: a running top-k, then, 16 images at a time, one forward pass and their units'
    ways down."""
    from zfjax.data.images import view

    torch = peers._torch(threads)
    network = peers.HandWritten(torch, architecture, arrays, architecture.conv_names[-1], True)
    width = {layer: architecture.fact(layer).shape[1] for layer in architecture.conv_names}

    @torch.no_grad()
    def work() -> dict:
        clock = time.perf_counter()
        pictures = np.stack([view(jpeg, architecture.input_size) for jpeg in jpegs])
        found = peers.torch_search(architecture, arrays, pictures, 9, threads, True)()
        searched = time.perf_counter() - clock
        best = {layer: (values, ids) for layer, (values, ids, _) in found.items()}
        units = _units(
            best, {layer: places for layer, (_, _, places) in found.items()}, maps, width
        )
        drawn = 0
        for start in range(0, len(jpegs), 16):
            values, record = network.up(peers._tensor(torch, pictures[start : start + 16], True))
            for layer, some in units.items():
                inside = np.flatnonzero((some.rows >= start) & (some.rows < start + 16))
                part = Units(
                    *(
                        getattr(some, name)[inside]
                        for name in ("maps", "ys", "xs", "rows", "recorded")
                    )
                )
                part = dataclasses.replace(part, rows=part.rows - start)
                for first in range(0, len(inside), 16):
                    drawn += len(
                        network.down(layer, values, record, part, slice(first, first + 16)).numpy()
                    )
        winners = {
            layer: {m: ids[:9, m].tolist() for m in maps[layer]} for layer, (_, ids) in best.items()
        }
        return {
            "winners": winners,
            "drawn": drawn,
            "seconds": {"search": searched, "projection": time.perf_counter() - clock - searched},
        }

    return work


def floor_seconds(
    architecture: Architecture, checkpoints: int, images: int, drawn: dict[str, int], floor
) -> float:
    """Seconds that a matmul at full speed needs for the convolutions of the search and of all
    projections."""
    from projection import work_of

    search = (
        2 * sum(fact.multiply_adds for fact in architecture.facts()) / 1e9 * images * checkpoints
    )
    projection = sum(work_of(architecture, layer) * count for layer, count in drawn.items())
    return (search + projection) / floor


def agreement(ours: Winners, theirs: Winners) -> str:
    """By layer, the share of their winners that are ours, and of maps whose strongest image is the
    same."""
    words = []
    for layer, maps in theirs.items():
        shared = [
            len(set(ids) & set(ours[layer][map_])) / 9
            for map_, ids in maps.items()
            if map_ in ours[layer]
        ]
        first = [
            ids[0] == ours[layer][map_][0] for map_, ids in maps.items() if map_ in ours[layer]
        ]
        words.append(f"{layer} {np.mean(shared):.0%} ({np.mean(first):.0%} of the strongest)")
    return ", ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=int, choices=(64, 224), default=224, help="pixels of the input"
    )
    parser.add_argument("--checkpoints", type=int, default=8)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--maps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--tiny", action="store_true", help="64 pixels, 2 checkpoints, 64 images, 4 maps"
    )
    options = parser.parse_args()
    if options.tiny:
        options.size, options.checkpoints, options.images, options.maps = 64, 2, 64, 4
    threads = len(os.sched_getaffinity(0))
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        maker = Contender(
            "maker",
            _maker,
            folder=root,
            size=options.size,
            checkpoints=options.checkpoints,
            images=options.images,
        )
        jpegs = maker.output
        maker.close()
        floor = Contender("matmul and copy", matmul_and_copy)
        ours = Contender("zfjax.evolve", zfjax_evolution, folder=root, maps=options.maps)
        architecture = networks.stack(options.size, True)
        peer = {
            "architecture": architecture,
            "arrays": networks.weights(architecture, 0),
            "jpegs": jpegs,
            "maps": ours.output["maps"],
            "threads": threads,
        }
        rows = [(ours, 1)]
        if installed(*peers.HAVE_CRP, *peers.HAVE_CAPTUM):
            for last in (False, True):
                name = "zennit-crp + captum" + (", channels last" if last else "")
                rows.append(
                    (
                        Contender(name, crp_and_captum, **peer, channels_last=last),
                        options.checkpoints,
                    )
                )
        else:
            print("skipped: zennit-crp and captum are not installed (see README.md)")
        if installed(*peers.HAVE_TORCH):
            rows.append((Contender("PyTorch by hand", all_by_hand, **peer), options.checkpoints))
        else:
            print("skipped: PyTorch is not installed (see README.md)")
        for _ in range(options.rounds):
            for contender, _ in rows:
                contender.round()
        report(options, architecture, rows, floor.output[0])
        for contender, _ in (*rows, (floor, 1)):
            contender.close()


def _maker(folder: Path, size: int, checkpoints: int, images: int) -> Callable[[], list[bytes]]:
    """Makes the run; returns its images as JPEG bytes in the order of their ids."""

    def work() -> list[bytes]:
        from zfjax.data.dataset import open_dataset

        make_run(folder, networks.stack(size, True), checkpoints, images)
        dataset = open_dataset("pictures", folder / "data")
        jpegs = []
        for example in dataset.read("train", range(images), (size, size), with_parts=False):
            buffer = io.BytesIO()
            Image.fromarray(example.image).save(buffer, "JPEG", quality=100, subsampling=0)
            jpegs.append(buffer.getvalue())
        return jpegs

    return work


def report(
    options: argparse.Namespace, architecture: Architecture, rows: list, matmul: float
) -> None:
    """The table, the ratios and where the winners differ."""
    ours = rows[0][0]
    print(
        f"\n{options.checkpoints} checkpoints x {options.images} images of {options.size} pixels, "
        f"{options.maps} maps of {len(architecture.conv_names)} layers, top 9"
    )
    for contender, times in rows:
        parts = {
            name: round(times * seconds, 1) for name, seconds in contender.output["seconds"].items()
        }
        print(
            f"  {contender.name:<36}{times * contender.median:>9.1f} s  "
            f" {times * contender.output['drawn']:>7,} pictures   peak memory"
            f" {contender.peak_mib():>6,.0f} MiB   {parts}"
        )
    drawn = dict.fromkeys(
        architecture.conv_names, ours.output["drawn"] / len(architecture.conv_names)
    )
    least = floor_seconds(architecture, options.checkpoints, options.images, drawn, matmul)
    print(
        f"  the convolutions alone at a matmul's {matmul:.0f} GFLOP/s: {least:.1f} s "
        f"({least / ours.median:.0%} of what zfjax takes)"
    )
    for contender, times in rows[1:]:
        print(
            f"  winners of {contender.name} that are ours: "
            f"{agreement(ours.output['winners'], contender.output['winners'])}"
        )
        print_ratio(ours, contender, f"zfjax.evolve against {contender.name}", times)
    if len(rows) == 1:
        search = ours.output["seconds"]["search"]
        print(
            f"ratio: {least / search:.2f}x  the convolutions at a matmul's speed against zfjax's"
            " search"
        )


if __name__ == "__main__":
    main()
