"""What each command does: thin functions over the rooms, imported when they are needed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax.commands.flags import config_parser, resolve_config
from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.files import read_json

FEW_STEPS = 500
"""Fewer in all, and first-layer filters hardly leave their random start."""


def _join(options: argparse.Namespace) -> None:
    if (
        options.coordinator
        or options.process_count is not None
        or options.process_index is not None
    ):
        from zfjax.joining import join

        join(options.coordinator, options.process_count, options.process_index)


def train(options: argparse.Namespace) -> int:
    """``zfjax train``: trains, or goes on training."""
    if options.preset and options.config:
        raise ZfjaxError("Give --preset or --config, not both.")
    base = configs.from_json(read_json(options.config)) if options.config else None
    if options.preset:
        base = configs.preset(options.preset)
    if options.wants_help:
        options.parser.print_help()
        print(
            "\n" + config_parser(base or configs.preset("demo")).format_help().split("\n\n", 1)[1]
        )
        return 0
    if options.workdir is None:
        raise ZfjaxError("Say where the run lives: --workdir RUN.")
    from zfjax.run.folder import check_folder, load_run

    if base is None:
        if not (check_folder(options.workdir) / "config.json").exists():
            raise ZfjaxError(
                f"Give --preset ({', '.join(configs.PRESETS)}) or --config FILE to begin a run."
            )
        base = load_run(options.workdir).config
    config = resolve_config(base, options.config_flags)
    if options.deterministic:  # read when JAX meets its devices
        os.environ["XLA_FLAGS"] = (
            f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        )
    _join(options)
    how = {"devices": options.devices, "shard_parameters": options.shard_parameters}
    if options.evolve_every is not None:
        from zfjax.studies.live import live_evolution

        how["after_epoch"] = live_evolution(
            options.workdir, options.evolve_every, options.evolve_images
        )
    if _run_training(config, options.workdir, **how):
        print(f"Next: zfjax evolve --workdir {options.workdir}")
    return 0


def _run_training(config: Config, workdir: Path, **how: Any) -> Any:
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.folder import check_folder, load_run
    from zfjax.run.steps import saved_steps
    from zfjax.run.summary import summary_lines, update_summary
    from zfjax.training.loop import train

    folder = check_folder(workdir)
    before = saved_steps(folder / "checkpoints")
    with Reporter() as progress:
        run = train(config, folder, progress=progress, **how)
    if not is_first():
        return None
    if before and before[-1] == run.last_step:
        print(f"{folder} is finished: epoch {run.config.epochs} of {run.config.epochs} is saved.")
        return load_run(folder)
    summary = update_summary(run)
    print("\n".join(summary_lines(summary)))
    if run.last_step < FEW_STEPS:
        print(
            f"That was {run.last_step} steps in all: few for features to form. More --epochs or a"
            " smaller --batch-size, in another --workdir, show more."
        )
    return run


def demo(options: argparse.Namespace) -> int:
    """``zfjax demo``: trains, evolves and reports on the drawn scenes."""
    from zfjax.features.evolving import evolve
    from zfjax.progress import Reporter
    from zfjax.report.page import write_report
    from zfjax.run.summary import summary_lines, update_summary

    run = _run_training(configs.preset("demo"), options.workdir)
    with Reporter() as progress:
        evolution = evolve(run.folder, progress=progress)
    update_summary(run, evolution)
    clock = time.monotonic()
    page = write_report(run)
    summary = update_summary(run, report=time.monotonic() - clock)
    print("\n".join(["", *summary_lines(summary), "", f"Open the report: {page}"]))
    return 0


def data_import(options: argparse.Namespace) -> int:
    """``zfjax data import``: imports a tree, a tar or the ILSVRC2012 tars."""
    from zfjax.data.finding import data_home
    from zfjax.data.imagenet import import_imagenet, is_imagenet
    from zfjax.data.importing import import_images
    from zfjax.data.split_names import parse_splits
    from zfjax.progress import Reporter

    splits = None if options.splits is None else parse_splits(options.splits)
    imagenet = is_imagenet(options.source)
    data_dir = options.data_dir or data_home()
    if imagenet and options.holdout:
        raise ZfjaxError(
            "ILSVRC2012 has a validation split of its own; import it without a holdout."
        )
    if imagenet and splits is not None:
        raise ZfjaxError("ILSVRC2012's tars are its splits; import it without --splits.")
    size = (256 if imagenet else None) if options.size is None else options.size
    quality = (90 if imagenet else 95) if options.quality is None else options.quality
    common = {
        "size": None if size == "original" else size,
        "quality": quality,
        "max_pixels": options.max_pixels,
    }
    with Reporter() as progress:
        place = options.source, options.name, data_dir
        if imagenet:
            summary = import_imagenet(*place, workers=options.workers, progress=progress, **common)
        else:
            common["progress"] = lambda done, total: progress("importing", done, total)
            summary = import_images(*place, holdout=options.holdout, splits=splits, **common)
    print("\n".join(summary.lines()))
    return 0


def data_fetch(options: argparse.Namespace) -> int:
    """``zfjax data fetch``: has TFDS prepare a set."""
    from zfjax.data.fetching import fetch
    from zfjax.data.finding import data_home

    dataset = fetch(options.name, options.data_dir or data_home())
    splits = ", ".join(f"{split} {count:,}" for split, count in dataset.splits.items())
    print(f"{dataset.name} {dataset.version}: {splits}; train with --data.name {options.name}")
    return 0


def data_list(options: argparse.Namespace) -> int:
    """``zfjax data list``: lists data sets."""
    from zfjax.data.finding import data_home
    from zfjax.data.pipeline import list_datasets

    folder = options.data_dir or data_home()
    found = list_datasets(folder, on_error=lambda error: print(f"zfjax: {error}", file=sys.stderr))
    if not found:
        raise ZfjaxError(f"There is no data set in {folder}; make one with `zfjax data import`.")
    for dataset in found:
        print(f"{dataset.name} {dataset.version}, {len(dataset.class_names)} classes")
        for split in dataset.splits:
            fingerprint = dataset.fingerprint(split)
            size = dataset.bytes(split) / 2**20
            print(
                f"  {split:<12}{dataset.count(split):>10,} images{size:>10,.1f} MiB "
                f" {fingerprint['digest'][:16]}"
            )
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """``zfjax evaluate``: prints error rates of saved epochs, each as it is done."""
    from dataclasses import replace

    from zfjax.devices import data_mesh
    from zfjax.inputs import load_mean_image, open_data
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.training.evaluation import check_views, evaluate
    from zfjax.training.rates import TITLES, diverged, left_out, saved_rates

    run = load_run(options.workdir)
    config = run.config
    if options.data_dir is not None:
        config = replace(config, data=replace(config.data, dir=options.data_dir))
    split = options.split or config.data.validation_split
    check_views(options.views)
    steps, asked = run.steps_at(options.at), []
    how = (
        "one central crop an image"
        if options.views == 1
        else "mean probability of ten crops an image"
    )
    with Reporter() as progress:
        dataset, mesh = open_data(config, progress), data_mesh(config.batch_size, options.devices)
        mean = load_mean_image(run)
        measure = lambda parameters: evaluate(
            config,
            parameters,
            dataset,
            split,
            mesh,
            mean_image=mean,
            views=options.views,
            progress=lambda *images: progress("evaluating", *images),
        )
        for rates in saved_rates(run, steps, measure):
            if rates.figures and not any(one.figures for one in asked):
                print(f"{split}, {how}\n{TITLES}")
            asked.append(rates)
            if rates.figures:
                print(rates.line(), flush=True)  # seen, and kept, whatever becomes of the next
    for figures in [one.figures for one in asked if one.figures][:1]:
        if words := left_out(figures, dataset.count(split)):
            print(words)
    if fault := diverged(asked):
        raise fault
    return 0


def evolve(options: argparse.Namespace) -> int:
    """``zfjax evolve``: searches and projects."""
    maps: int | None = None
    if options.maps != "all":
        if not options.maps.isdecimal():
            raise ZfjaxError(f"--maps {options.maps!r} must be a number or 'all'.")
        maps = int(options.maps)
    if options.dry_run:
        return _dry_run(options, maps)
    _join(options)
    from zfjax.features.evolving import evolve
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.run.summary import covers, evolution_lines, summary_lines, update_summary

    with Reporter() as progress:
        evolution = evolve(
            options.workdir,
            at=options.at,
            layers=options.layers,
            maps=maps,
            top=options.top,
            data_dir=options.data_dir,
            split=options.split,
            images=options.images,
            rule=options.rule,
            every_rank=options.every_rank,
            name=options.name,
            progress=progress,
        )
    if not is_first():
        return 0
    run = load_run(options.workdir)
    if covers(run, evolution):
        print("\n".join(summary_lines(update_summary(run, evolution))))
    else:  # the summary is of the last epoch, all layers and the unnamed evolution
        print("\n".join(evolution_lines(evolution)))
    checked = evolution.meta["checked"]
    print(
        f"{checked['units']:,} recorded activations reproduced, largest relative difference"
        f" {checked['worst']:.1e}"
    )
    print(
        f"Next: zfjax report --workdir {options.workdir}"
        + (f" --name {options.name}" if options.name else "")
    )
    return 0


def _dry_run(options: argparse.Namespace, maps: int | None) -> int:
    from zfjax.run.folder import load_run

    run = load_run(options.workdir)
    steps, model = run.steps_at(options.at), run.config.model
    layers = options.layers or model.conv_names
    images = min(options.images or run.fingerprint["count"], run.fingerprint["count"])
    macs = 0
    for fact in model.facts():
        macs += fact.multiply_adds
        if fact.layer.name == max(
            layers, key=lambda layer: model.conv_names.index(model.conv(layer).name)
        ):
            break
    drawn = {layer: min(maps or model.conv(layer).maps, model.conv(layer).maps) for layer in layers}
    each = (
        len(steps) * (options.top + 1) if options.every_rank else 2 * len(steps) + options.top - 1
    )
    tiles = {layer: count * each for layer, count in drawn.items()}
    pixels = sum(
        count * model.tile_size(layer)[0] * model.tile_size(layer)[1]
        for layer, count in tiles.items()
    )
    work = 2 * macs * images * len(steps)
    print(f"{len(steps)} checkpoints x {images:,} images: {work / 1e12:,.1f} TFLOP to search")
    print(f"{sum(tiles.values()):,} tiles, at most {pixels * 9 / 2**20:,.0f} MiB")
    trained = [line["images_per_second"] for line in run.metrics if "images_per_second" in line]
    if trained:
        rate = 3 * sorted(trained)[len(trained) // 2]
        print(
            f"about {images * len(steps) / rate / 60:,.0f} minutes, were this machine the one that"
            " trained it"
        )
    return 0


def project(options: argparse.Namespace) -> int:
    """``zfjax project``: writes the strip of one map on one image."""
    from zfjax.features.evolving import project
    from zfjax.report.strip import write_strip
    from zfjax.run.folder import load_run

    run = load_run(options.workdir)
    if options.out is not None and options.out.suffix.lower() != ".png":
        raise ZfjaxError(f"--out {options.out}: the strip is a PNG; give a name that ends in .png.")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise ZfjaxError(
            f"--out {options.out}: there is no folder {options.out.absolute().parent}."
        )
    split = options.split or run.config.data.train_split
    by_number = options.image is None
    found = project(
        options.workdir,
        options.image_id if by_number else options.image,
        options.layer,
        options.map,
        at=options.at,
        rule=options.rule,
        split=split,
        data_dir=options.data_dir,
        max_pixels=options.max_pixels,
    )
    shown = f"image {options.image_id} of {split}" if by_number else options.image.name
    stem = f"{split}-{options.image_id}" if by_number else options.image.stem
    epochs = f"epoch{found[0].epoch:g}" + (f"-{found[-1].epoch:g}" if len(found) > 1 else "")
    name = f"{options.layer}-{options.map}-{stem}-{options.rule}-{epochs}.png"
    path = options.out or run.folder / "projections" / name
    write_strip(
        path,
        [(f"epoch {one.epoch:g}", one.activation, one.tile) for one in found],
        f"{options.layer} map {options.map} on {shown}, rule {options.rule}",
    )
    for one in found:
        print(
            f"epoch {one.epoch:g}: activation {one.activation:.4g} at y {one.y}, x {one.x}, box"
            f" {one.box}"
        )
    print(path)
    return 0


def report(options: argparse.Namespace) -> int:
    """``zfjax report``: writes figures and page."""
    from zfjax.progress import Reporter
    from zfjax.report.page import write_report
    from zfjax.run.folder import load_run

    with Reporter():
        page = write_report(
            load_run(options.workdir), name=options.name, photos=not options.no_photos
        )
    print(f"Open the report: {page}")
    return 0


def _prepared_images(config: Config) -> int | None:
    """Images of the training split, where the data set is prepared already; None for the drawings,
    always as many."""
    from zfjax.data.dataset import open_dataset
    from zfjax.data.finding import data_home
    from zfjax.data.set_names import SCENES

    if config.data.name == SCENES:
        return None
    try:
        return open_dataset(config.data.name, config.data.dir or data_home()).count(
            config.data.train_split
        )
    except ZfjaxError:
        return None


def info(options: argparse.Namespace) -> int:
    """``zfjax info``: prints the layer table and what a run costs; takes config fields, like
    ``train``."""
    from zfjax.run.folder import load_run
    from zfjax.run.info import describe_config, describe_run

    if (options.preset is None) == (options.workdir is None):
        raise ZfjaxError("Give --preset NAME or --workdir RUN.")
    if options.workdir and options.config_flags:
        raise ZfjaxError("A run keeps its settings; config fields go with --preset.")
    run = load_run(options.workdir) if options.workdir else None
    config = (
        run.config if run else resolve_config(configs.preset(options.preset), options.config_flags)
    )
    images = run.fingerprint["count"] if run else _prepared_images(config)
    print(
        "\n".join(
            describe_config(config, options.images_per_second, images)
            + (describe_run(run) if run else [])
        )
    )
    return 0
