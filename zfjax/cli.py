"""The command line. Every command is a thin function over a room; heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.files import ZfjaxError, explain_os_error, read_json

FEW_STEPS = 500
"""Fewer in all, and first-layer filters hardly leave their random start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status. A user's mistake prints a few clear lines, never a traceback."""
    for name in ("asyncio", "concurrent.futures"):  # Orbax's abandoned tasks; our sentence says what failed
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        parser = _parser()
        known, rest = parser.parse_known_args(arguments)
        if rest and known.run is not _train:
            parser.error(f"unrecognised: {' '.join(rest)}; see `zfjax {known.command} --help`")
        known.config_flags = rest
        return known.run(known) or 0
    except ZfjaxError as error:
        print(f"zfjax: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 1)
    except KeyboardInterrupt:
        print("zfjax: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"zfjax: {explain_os_error(error, 'go on:')}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zfjax", description="Watch a convnet learn: train, keep every epoch, see how its features evolve.",
        allow_abbrev=False,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, into: Any = commands, **options: Any) -> argparse.ArgumentParser:
        sub = into.add_parser(name, help=text, description=text, allow_abbrev=False, **options)
        sub.set_defaults(run=run)
        return sub

    demo = command("demo", _demo, "The main job on embedded data, in minutes: train, evolve, report.")
    demo.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="run folder (default: %(default)s)")

    data = commands.add_parser("data", help="Import images, list data sets.", allow_abbrev=False)
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    imports = command("import", _data_import, "Import a folder or tar of images, or the ILSVRC2012 tars.", actions)
    imports.add_argument(
        "source", type=Path,
        help="class folders, with or without train/ val/ test/, a .tar of them, or a folder with the ILSVRC2012 tars",
    )  # fmt: skip
    imports.add_argument("--name", required=True, help="name of the new data set, in lower snake case")
    imports.add_argument(
        "--data-dir", "--data.dir", type=Path, default=None, help="folder of prepared data sets (default: zfjax's own)"
    )
    imports.add_argument(
        "--holdout", type=float, default=0.0, help="share kept for validation where the source has none"
    )
    imports.add_argument(
        "--size", type=_size, default=None,
        help="shorter side in pixels to resize larger images to, once, or 'original' (default: 256 for ILSVRC2012)",
    )  # fmt: skip
    imports.add_argument(
        "--quality", type=int, default=None,
        help="JPEG quality where an image is stored anew (default: 95; 90 for ILSVRC2012)",
    )  # fmt: skip
    imports.add_argument("--workers", type=int, default=None, help="processes, for ILSVRC2012 (default: one a core)")
    imports.add_argument("--max-pixels", type=int, default=50_000_000, help="larger images are skipped, undecoded")
    lists = command("list", _data_list, "What is there: splits, classes, images, bytes, fingerprint.", actions)
    lists.add_argument(
        "--data-dir", "--data.dir", type=Path, default=None, help="folder of prepared data sets (default: zfjax's own)"
    )

    fetches = command("fetch", _data_fetch, "Download and prepare a set that TFDS knows by name.", actions)
    fetches.add_argument("name", help="as TFDS calls it: beans, oxford_flowers102 ...")
    fetches.add_argument("--data-dir", type=Path, default=None, help="folder of prepared data sets (default: zfjax's)")

    train = command(
        "train", _train, "Train, or go on training; saves every epoch.", add_help=False,
    )  # fmt: skip
    train.add_argument("--preset", help=f"one of {', '.join(configs.PRESETS)}")
    train.add_argument("--config", type=Path, help="a JSON config, such as another run's config.json")
    train.add_argument("--workdir", type=Path, help="run folder")
    train.add_argument("--devices", type=int, default=None, help="number of devices (default: all)")
    train.add_argument(
        "--evolve-every", type=int, default=None, metavar="N",
        help="every N epochs, draw the evolution so far: RUN/evolution-live and RUN/report-live",
    )  # fmt: skip
    train.add_argument(
        "--evolve-images", type=int, default=1000, help="training images searched for it (default: %(default)s)"
    )
    train.add_argument("-h", "--help", action="store_true", dest="wants_help", help="show this, and every config field")
    _process_arguments(train)
    train.set_defaults(parser=train)

    evaluate = command("evaluate", _evaluate, "Error rates of saved epochs, from one crop an image or ten.")
    evaluate.add_argument("--views", type=int, default=1, help="1: the central crop; 10: the paper's (default: 1)")
    _run_arguments(evaluate)
    evaluate.add_argument("--split", default=None, help="split to evaluate on (default: the validation split)")
    evaluate.add_argument("--data.dir", dest="data_dir", default=None, help="folder of prepared data sets")

    evolve = command("evolve", _evolve, "Search the strongest images of every epoch and project them to pixels.")
    _run_arguments(evolve)
    evolve.add_argument("--layers", nargs="+", default=None, help="convolutions (default: all)")
    evolve.add_argument("--maps", default="16", help="maps drawn of each layer, or 'all' (default: 16)")
    evolve.add_argument("--top", type=int, default=9, help="strongest images kept of each map (default: 9)")
    evolve.add_argument("--data.dir", dest="data_dir", default=None, help="folder of prepared data sets")
    evolve.add_argument("--split", default=None, help="split searched (default: the training split)")
    evolve.add_argument("--images", type=int, default=None, help="search only the first so many images")
    evolve.add_argument(
        "--rule", default="deconvnet", help="deconvnet, guided, gradient, deconvnet+norm or guided+norm"
    )
    evolve.add_argument("--every-rank", action="store_true", help="draw all --top images of every epoch")
    evolve.add_argument("--name", default=None, help="write RUN/evolution-NAME")
    evolve.add_argument("--dry-run", action="store_true", help="print what it would cost, run nothing")
    _process_arguments(evolve)

    project = command("project", _project, "One image, one map, any epochs: a picture strip.")
    _run_arguments(project)
    image = project.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", type=Path, help="an image file")
    image.add_argument("--image-id", type=int, help="an image of the run's data set, by its number in the split")
    project.add_argument("--split", default=None, help="of --image-id (default: the training split)")
    project.add_argument("--data.dir", dest="data_dir", default=None, help="folder of prepared data sets")
    project.add_argument("--layer", required=True)
    project.add_argument("--map", type=int, required=True)
    project.add_argument("--rule", default="deconvnet", help="as in evolve")
    project.add_argument("--out", type=Path, default=None, help="PNG to write (default: RUN/projections/...)")

    report = command("report", _report, "Figures and the page, from saved files only.")
    report.add_argument("--workdir", type=Path, required=True, help="run folder")
    report.add_argument("--name", default=None, help="of a named evolution")
    report.add_argument("--no-photos", action="store_true", help="leave every photograph out")

    info = command("info", _info, "Layer table, costs, and a run's epochs; nothing is run.")
    info.add_argument("--preset", default=None)
    info.add_argument("--workdir", type=Path, default=None)
    info.add_argument("--images-per-second", type=float, default=None)
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", type=Path, required=True, help="run folder")
    parser.add_argument("--at", nargs="+", default=None, help="epochs, 'step:N', 'last' or 'all' (default: all)")


def _process_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many processes (launch/ starts them)")
    group.add_argument(
        "--coordinator", default=None,
        help="HOST:PORT of process 0, or 'auto' under Slurm, Open MPI, Kubernetes and on Cloud TPU",
    )  # fmt: skip
    group.add_argument("--process-count", type=int, default=None, help="processes in all")
    group.add_argument("--process-index", type=int, default=None, help="which of them this is, from 0")


def _join(options: argparse.Namespace) -> None:
    if options.coordinator or options.process_count is not None or options.process_index is not None:
        from zfjax.devices import join

        join(options.coordinator, options.process_count, options.process_index)


def _config_parser(base: Config) -> argparse.ArgumentParser:
    """A flag for every field of ``base``, layers by name."""
    parser = argparse.ArgumentParser(prog="zfjax train", add_help=False, allow_abbrev=False)
    group = parser.add_argument_group(f"config fields (defaults: {base.preset or 'this run'})")
    for path, value in configs.flatten(base).items():
        if path not in ("preset", "model.name", "model.layers"):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            holder, _, name = path.rpartition(".")
            kind = type(configs.get_field(base, holder)) if holder else type(base)
            words = configs.field_words(kind).get(name)
            group.add_argument(f"--{path.replace('_', '-')}", dest=path, default=None, metavar=repr(str(shown)),
                               help=None if words is None else words.replace("%", "%%"))  # fmt: skip
    return parser


def resolve_config(base: Config, flags: Sequence[str]) -> Config:
    """``base`` with config flags applied. Raises ZfjaxError for an unknown flag or a value of the wrong type."""
    parser = _config_parser(base)
    known = {action.option_strings[0] for action in parser._actions}
    for flag in flags:
        name = flag.split("=", 1)[0]
        if name.startswith("--") and name not in known:
            near = [option for option in sorted(known) if name.rsplit(".", 1)[-1].lstrip("-") in option][:3]
            hint = f"did you mean {' or '.join(near)}?" if near else "see `zfjax train --help`."
            raise ZfjaxError(f"There is no flag {name}; {hint}")
    given, rest = parser.parse_known_args(list(flags))
    if rest:
        raise ZfjaxError(f"Not understood: {' '.join(rest)}; config fields are given as --name value.")
    record = configs.to_json(base)
    for path, text in vars(given).items():
        if text is not None:
            _set_field(record, base, path, text)
    return configs.from_json(record)


def _set_field(record: dict[str, Any], base: Config, path: str, text: str) -> None:
    value, place, parts = configs.get_field(base, path), record, path.split(".")
    for part in parts[:-1]:
        if part in place:
            place = place[part]
        else:
            place = next(layer for layer in place["layers"] if layer["name"] == part)
    flag = f"--{path.replace('_', '-')}"
    try:
        if isinstance(value, bool):
            place[parts[-1]] = {"true": True, "false": False}[text.lower()]
        elif isinstance(value, tuple):
            numbers = [int(part) for part in text.replace("x", ",").split(",")]
            place[parts[-1]] = numbers * len(value) if len(numbers) == 1 else numbers
        else:
            place[parts[-1]] = type(value)(text)
    except (ValueError, KeyError):
        kind = {bool: "true or false", tuple: "numbers like 1,1"}.get(type(value), type(value).__name__)
        raise ZfjaxError(f"{flag} {text!r}: expected {kind}.") from None


def _train(options: argparse.Namespace) -> int:
    if options.preset and options.config:
        raise ZfjaxError("Give --preset or --config, not both.")
    base = configs.from_json(read_json(options.config)) if options.config else None
    if options.preset:
        base = configs.preset(options.preset)
    if options.wants_help:
        options.parser.print_help()
        print("\n" + _config_parser(base or configs.preset("demo")).format_help().split("\n\n", 1)[1])
        return 0
    if options.workdir is None:
        raise ZfjaxError("Say where the run lives: --workdir RUN.")
    from zfjax.run import check_folder, load_run

    if base is None:
        if not (check_folder(options.workdir) / "config.json").exists():
            raise ZfjaxError(f"Give --preset ({', '.join(configs.PRESETS)}) or --config FILE to begin a run.")
        base = load_run(options.workdir).config
    config = resolve_config(base, options.config_flags)
    _join(options)
    live = None
    if options.evolve_every is not None:
        live = _live_evolution(options.workdir, options.evolve_every, options.evolve_images)
    if _run_training(config, options.workdir, options.devices, live):
        print(f"Next: zfjax evolve --workdir {options.workdir}")
    return 0


def _live_evolution(workdir: Path, every: int, images: int) -> Any:
    """What training calls after an epoch: draws all epochs so far anew from a probe of the images."""
    if every < 1:
        raise ZfjaxError(f"--evolve-every {every} must be 1 or more.")

    def draw(step: int) -> None:
        import shutil

        from zfjax.devices import first_alone
        from zfjax.engine import evolve
        from zfjax.report.page import write_report
        from zfjax.run import load_run

        run = load_run(workdir)
        if round(run.epoch(step)) % every == 0:
            first_alone(lambda: shutil.rmtree(run.evolution_folder("live"), ignore_errors=True))
            evolve(workdir, images=images, name="live", locked=True)
            first_alone(lambda: write_report(run, name="live"))

    return draw


def _run_training(config: Config, workdir: Path, devices: int | None = None, after_epoch: Any = None) -> Any:
    from zfjax.devices import is_first
    from zfjax.progress import Reporter
    from zfjax.run import check_folder, load_run, saved_steps
    from zfjax.summary import summary_lines, update_summary
    from zfjax.train import train

    folder = check_folder(workdir)
    before = saved_steps(folder / "checkpoints")
    clock = time.monotonic()
    with Reporter() as progress:
        run = train(config, folder, progress=progress, devices=devices, after_epoch=after_epoch)
    if not is_first():
        return None
    if before and before[-1] == run.last_step:
        print(f"{folder} is finished: epoch {run.config.epochs} of {run.config.epochs} is saved.")
        return load_run(folder)
    summary = update_summary(run, train=time.monotonic() - clock)
    print("\n".join(summary_lines(summary)))
    if run.last_step < FEW_STEPS:
        print(f"That was {run.last_step} steps in all: few for features to form. More --epochs or a smaller "
              "--batch-size, in another --workdir, show more.")  # fmt: skip
    return run


def _demo(options: argparse.Namespace) -> int:
    from zfjax.engine import evolve
    from zfjax.progress import Reporter
    from zfjax.report.page import write_report
    from zfjax.summary import summary_lines, update_summary

    run = _run_training(configs.preset("demo"), options.workdir)
    with Reporter() as progress:
        evolution = evolve(run.folder, progress=progress)
    update_summary(run, evolution)
    clock = time.monotonic()
    page = write_report(run)
    summary = update_summary(run, report=time.monotonic() - clock)
    print("\n".join(["", *summary_lines(summary), "", f"Open the report: {page}"]))
    return 0


def _size(text: str) -> int | str:
    """Pixels, or "original"."""
    return text if text == "original" else int(text)


def _data_import(options: argparse.Namespace) -> int:
    from zfjax.data.imagenet import import_imagenet, is_imagenet
    from zfjax.data.importing import import_images
    from zfjax.data.scenes import scenes_directory
    from zfjax.progress import Reporter

    imagenet = is_imagenet(options.source)
    data_dir = options.data_dir or scenes_directory()
    if imagenet and options.holdout:
        raise ZfjaxError("ILSVRC2012 has a validation split of its own; import it without a holdout.")
    size = None if options.size == "original" else options.size or (256 if imagenet else None)
    common = {"size": size, "quality": options.quality or (90 if imagenet else 95), "max_pixels": options.max_pixels}
    with Reporter() as progress:
        common["progress"] = lambda done, total: progress("importing", done, total)
        place = options.source, options.name, data_dir
        if imagenet:
            summary = import_imagenet(*place, workers=options.workers, **common)
        else:
            summary = import_images(*place, holdout=options.holdout, **common)
    print("\n".join(summary.lines()))
    return 0


def _data_fetch(options: argparse.Namespace) -> int:
    from zfjax.data.fetching import fetch
    from zfjax.data.scenes import scenes_directory

    dataset = fetch(options.name, options.data_dir or scenes_directory())
    splits = ", ".join(f"{split} {count:,}" for split, count in dataset.splits.items())
    print(f"{dataset.name} {dataset.version}: {splits}; train with --data.name {options.name}")
    return 0


def _data_list(options: argparse.Namespace) -> int:
    from zfjax.data.pipeline import list_datasets
    from zfjax.data.scenes import scenes_directory

    folder = options.data_dir or scenes_directory()
    found = list_datasets(folder, on_error=lambda error: print(f"zfjax: {error}", file=sys.stderr))
    if not found:
        raise ZfjaxError(f"There is no data set in {folder}; make one with `zfjax data import`.")
    for dataset in found:
        print(f"{dataset.name} {dataset.version}, {len(dataset.class_names)} classes")
        for split in dataset.splits:
            fingerprint = dataset.fingerprint(split)
            size = dataset.bytes(split) / 2**20
            print(f"  {split:<12}{dataset.count(split):>10,} images{size:>10,.1f} MiB  {fingerprint['digest'][:16]}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from zfjax import checkpoint
    from zfjax.devices import data_mesh
    from zfjax.evaluate import evaluate
    from zfjax.progress import Reporter
    from zfjax.run import load_run
    from zfjax.train import load_mean_image, open_data

    run = load_run(options.workdir)
    config = run.config
    if options.data_dir is not None:
        config = replace(config, data=replace(config.data, dir=options.data_dir))
    split = options.split or config.data.validation_split
    steps = run.steps_at(options.at)
    with Reporter() as progress:
        dataset, mesh, mean = open_data(config, progress), data_mesh(config.batch_size), load_mean_image(run)
        figures = [
            evaluate(config, checkpoint.load(run.checkpoints / str(step)), dataset, split, mesh, mean_image=mean,
                     views=options.views, progress=lambda *done: progress("evaluating", *done))
            for step in steps
        ]  # fmt: skip
    how = "one central crop an image" if options.views == 1 else "mean probability of ten crops an image"
    print(f"{split}, {how}\n{'epoch':>8}{'top-1 error':>14}{'top-5 error':>14}{'loss':>9}")
    for step, one in zip(steps, figures, strict=True):
        print(f"{run.epoch(step):>8g}{1 - one['top1']:>14.2%}{1 - one['top5']:>14.2%}{one['loss']:>9.3f}")
    return 0


def _evolve(options: argparse.Namespace) -> int:
    maps: int | None = None
    if options.maps != "all":
        if not options.maps.isdecimal():
            raise ZfjaxError(f"--maps {options.maps!r} must be a number or 'all'.")
        maps = int(options.maps)
    if options.dry_run:
        return _dry_run(options, maps)
    _join(options)
    from zfjax.devices import is_first
    from zfjax.engine import evolve
    from zfjax.progress import Reporter
    from zfjax.run import load_run
    from zfjax.summary import summary_lines, update_summary

    with Reporter() as progress:
        evolution = evolve(
            options.workdir, at=options.at, layers=options.layers, maps=maps, top=options.top,
            data_dir=options.data_dir, split=options.split, images=options.images, rule=options.rule,
            every_rank=options.every_rank, name=options.name, progress=progress,
        )  # fmt: skip
    if not is_first():
        return 0
    if options.name is None:
        print("\n".join(summary_lines(update_summary(load_run(options.workdir), evolution))))
    checked = evolution.meta["checked"]
    print(f"{checked['units']:,} recorded activations reproduced, largest relative difference {checked['worst']:.1e}")
    print(f"Next: zfjax report --workdir {options.workdir}" + (f" --name {options.name}" if options.name else ""))
    return 0


def _dry_run(options: argparse.Namespace, maps: int | None) -> int:
    from zfjax.run import load_run

    run = load_run(options.workdir)
    steps, model = run.steps_at(options.at), run.config.model
    layers = options.layers or model.conv_names
    images = min(options.images or run.fingerprint["count"], run.fingerprint["count"])
    macs = 0
    for fact in model.facts():
        macs += fact.multiply_adds
        if fact.layer.name == max(layers, key=lambda layer: model.conv_names.index(model.conv(layer).name)):
            break
    drawn = {layer: min(maps or model.conv(layer).maps, model.conv(layer).maps) for layer in layers}
    each = len(steps) * (options.top + 1) if options.every_rank else 2 * len(steps) + options.top - 1
    tiles = {layer: count * each for layer, count in drawn.items()}
    pixels = sum(count * model.tile_size(layer)[0] * model.tile_size(layer)[1] for layer, count in tiles.items())
    work = 2 * macs * images * len(steps)
    print(f"{len(steps)} checkpoints x {images:,} images: {work / 1e12:,.1f} TFLOP to search")
    print(f"{sum(tiles.values()):,} tiles, at most {pixels * 9 / 2**20:,.0f} MiB")
    trained = [line["images_per_second"] for line in run.metrics if "images_per_second" in line]
    if trained:
        rate = 3 * sorted(trained)[len(trained) // 2]
        print(f"about {images * len(steps) / rate / 60:,.0f} minutes, were this machine the one that trained it")
    return 0


def _project(options: argparse.Namespace) -> int:
    from zfjax.engine import project
    from zfjax.report.strip import write_strip
    from zfjax.run import load_run

    run = load_run(options.workdir)
    if options.out is not None and options.out.suffix.lower() != ".png":
        raise ZfjaxError(f"--out {options.out}: the strip is a PNG; give a name that ends in .png.")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise ZfjaxError(f"--out {options.out}: there is no folder {options.out.absolute().parent}.")
    split = options.split or run.config.data.train_split
    by_number = options.image is None
    found = project(
        options.workdir, options.image_id if by_number else options.image, options.layer, options.map, at=options.at,
        rule=options.rule, split=split, data_dir=options.data_dir,
    )  # fmt: skip
    shown = f"image {options.image_id} of {split}" if by_number else options.image.name
    stem = f"{split}-{options.image_id}" if by_number else options.image.stem
    epochs = f"epoch{found[0].epoch:g}" + (f"-{found[-1].epoch:g}" if len(found) > 1 else "")
    name = f"{options.layer}-{options.map}-{stem}-{options.rule}-{epochs}.png"
    path = options.out or run.folder / "projections" / name
    write_strip(path, [(f"epoch {one.epoch:g}", one.activation, one.tile) for one in found],
                f"{options.layer} map {options.map} on {shown}, rule {options.rule}")  # fmt: skip
    for one in found:
        print(f"epoch {one.epoch:g}: activation {one.activation:.4g} at y {one.y}, x {one.x}, box {one.box}")
    print(path)
    return 0


def _report(options: argparse.Namespace) -> int:
    from zfjax.progress import Reporter
    from zfjax.report.page import write_report
    from zfjax.run import load_run

    with Reporter():
        page = write_report(load_run(options.workdir), name=options.name, photos=not options.no_photos)
    print(f"Open the report: {page}")
    return 0


def _info(options: argparse.Namespace) -> int:
    from zfjax.info import describe_config, describe_run
    from zfjax.run import load_run

    if (options.preset is None) == (options.workdir is None):
        raise ZfjaxError("Give --preset NAME or --workdir RUN.")
    run = load_run(options.workdir) if options.workdir else None
    config = run.config if run else configs.preset(options.preset)
    print("\n".join(describe_config(config, options.images_per_second) + (describe_run(run) if run else [])))
    return 0
