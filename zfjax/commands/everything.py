"""What each command does: thin functions over the rooms, imported when they are needed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax import presets
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
        base = presets.preset(options.preset)
    if options.wants_help:
        options.parser.print_help()
        print(
            "\n" + config_parser(base or presets.preset("demo")).format_help().split("\n\n", 1)[1]
        )
        return 0
    if options.workdir is None:
        raise ZfjaxError("Say where the run lives: --workdir RUN.")
    from zfjax.run.folder import check_folder, load_run

    if base is None:
        if not (check_folder(options.workdir) / "config.json").exists():
            raise ZfjaxError(
                f"Give --preset ({', '.join(presets.PRESETS)}) or --config FILE to begin a run."
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

    run = _run_training(presets.preset("demo"), options.workdir)
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
    from zfjax.data.converting import Stored
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
    stored = Stored(None if size == "original" else size, quality, options.max_pixels)
    with Reporter() as progress:
        place = options.source, options.name, data_dir
        if imagenet:
            summary = import_imagenet(
                *place, stored=stored, workers=options.workers, progress=progress
            )
        else:
            summary = import_images(
                *place,
                holdout=options.holdout,
                splits=splits,
                stored=stored,
                progress=lambda done, total: progress("importing", done, total),
            )
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
    from zfjax.data.dataset import list_datasets
    from zfjax.data.finding import data_home

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
    from zfjax.devices import data_mesh
    from zfjax.inputs import open_data, with_data_dir
    from zfjax.network.model import Parameters
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.subject import images_of, subject_of
    from zfjax.training.evaluation import batching_of, check_views, evaluate
    from zfjax.training.rates import TITLES, Rates, diverged, left_out, saved_rates

    run = load_run(options.workdir)
    config = with_data_dir(run.config, options.data_dir)
    split = options.split or config.data.validation_split
    check_views(options.views)
    steps = run.steps_at(options.at)
    asked: list[Rates] = []
    how = (
        "one central crop an image"
        if options.views == 1
        else "mean probability of ten crops an image"
    )
    with Reporter() as progress:
        images = images_of(config, open_data(config, progress), split)
        batching = batching_of(config, data_mesh(config.batch_size, options.devices))
        subject = subject_of(run, images)

        def measure(parameters: Parameters) -> dict[str, float]:
            def tell(done: int, total: int) -> None:
                progress("evaluating", done, total)

            return evaluate(subject, parameters, batching, views=options.views, progress=tell)

        for rates in saved_rates(subject, steps, measure):
            if rates.figures and not any(before.figures for before in asked):
                print(f"{split}, {how}\n{TITLES}")
            asked.append(rates)
            if rates.figures:
                print(rates.line(), flush=True)  # seen, and kept, whatever becomes of the next
    for figures in [rates.figures for rates in asked if rates.figures][:1]:
        if words := left_out(figures, images.count):
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
    asked = {
        "at": options.at,
        "layers": options.layers,
        "maps": maps,
        "top": options.top,
        "split": options.split,
        "images": options.images,
        "rule": options.rule,
        "every_rank": options.every_rank,
    }
    if options.dry_run:
        return _dry_run(options, asked)
    _join(options)
    from zfjax.features.evolving import evolve
    from zfjax.processes import is_first
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run
    from zfjax.run.summary import covers, evolution_lines, summary_lines, update_summary

    with Reporter() as progress:
        evolution = evolve(
            options.workdir,
            data_dir=options.data_dir,
            name=options.name,
            progress=progress,
            **asked,
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


def _dry_run(options: argparse.Namespace, asked: dict[str, Any]) -> int:
    """Prints what the same request would take, checked as it would be."""
    from zfjax.features.asking import Asked, cost
    from zfjax.features.evolving import asked_of
    from zfjax.progress import Reporter
    from zfjax.run.folder import load_run

    run = load_run(options.workdir)
    with Reporter() as progress:
        takes = cost(*asked_of(run, Asked(**asked), options.data_dir, progress))
    images, steps = takes.images, takes.checkpoints
    print(f"{steps} checkpoints x {images:,} images: {takes.flops / 1e12:,.1f} TFLOP to search")
    print(f"{takes.tiles:,} tiles, at most {takes.tile_bytes / 2**20:,.0f} MiB")
    trained = [line["images_per_second"] for line in run.metrics if "images_per_second" in line]
    if trained:
        rate = 3 * sorted(trained)[len(trained) // 2]
        print(
            f"about {images * steps / rate / 60:,.0f} minutes, were this machine the one that"
            " trained it"
        )
    return 0


def project(options: argparse.Namespace) -> int:
    """``zfjax project``: writes the strip of one map on one image."""
    from zfjax.features.projecting import project
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
    projections = project(
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
    epochs = f"epoch{projections[0].epoch:g}" + (
        f"-{projections[-1].epoch:g}" if len(projections) > 1 else ""
    )
    name = f"{options.layer}-{options.map}-{stem}-{options.rule}-{epochs}.png"
    path = options.out or run.folder / "projections" / name
    write_strip(
        path,
        [(f"epoch {shot.epoch:g}", shot.activation, shot.tile) for shot in projections],
        f"{options.layer} map {options.map} on {shown}, rule {options.rule}",
    )
    for shot in projections:
        print(
            f"epoch {shot.epoch:g}: activation {shot.activation:.4g} at y {shot.y}, x {shot.x}, box"
            f" {shot.box}"
        )
    print(path)
    return 0


def report(options: argparse.Namespace) -> int:
    """``zfjax report``: writes figures and page."""
    from zfjax.progress import Reporter
    from zfjax.report.page import write_report
    from zfjax.run.folder import load_run

    with Reporter() as progress:
        page = write_report(
            load_run(options.workdir),
            name=options.name,
            photos=not options.no_photos,
            progress=progress,
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
        run.config if run else resolve_config(presets.preset(options.preset), options.config_flags)
    )
    images = run.fingerprint["count"] if run else _prepared_images(config)
    print(
        "\n".join(
            describe_config(config, options.images_per_second, images)
            + (describe_run(run) if run else [])
        )
    )
    return 0
