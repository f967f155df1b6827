"""``zfjax data``: import, list, fetch, scenes. No JAX."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from zfjax.commands.arguments import Subparsers, add_command
from zfjax.data.formats import READ_WORDS
from zfjax.data.import_options import FOLDERS, ILSVRC2012, Stored
from zfjax.errors import ZfjaxError
from zfjax.files import local_path


def add_data(subparsers: Subparsers) -> None:
    """``zfjax data`` and its four actions."""
    parser = subparsers.add_parser(
        "data", help="Import images, list data sets.", allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_import(actions)
    _add_list(actions)
    _add_fetch(actions)
    _add_scenes(actions)


def _add_import(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "import", data_import, "Import a folder or archive of images, or ILSVRC2012."
    )
    parser.add_argument(
        "source",
        type=local_path,
        help=(
            "class folders, with or without train/ val/ test/, or images and a label file"
            " (labels.csv, metadata.csv or .jsonl, val_annotations.txt, ...); a .tar, .tar.gz, .tgz"
            " or .zip of them; Tiny ImageNet and Kaggle's ILSVRC as they are downloaded; or a"
            f" folder with the ILSVRC2012 tars; images may be {READ_WORDS}"
        ),
    )
    parser.add_argument(
        "--name", required=True, help="name of the new data set, in lower snake case"
    )
    _data_dir_argument(parser)
    parser.add_argument(
        "--holdout",
        type=float,
        default=0.0,
        help="share kept for validation where the source has none",
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        action="extend",
        default=None,
        metavar="SPLIT=FOLDER",
        help=(
            "which folders are splits, as in train=Training validation=Dev test=Eval (several for"
            " one split: name it again), or 'none' where all folders are classes (default: by their"
            " names)"
        ),
    )
    parser.add_argument(
        "--label-column",
        default=None,
        metavar="NAME",
        help=(
            "the column of a label file that has the classes, by its name or number, or 'none' to"
            " use no label file (default: by the columns' names and what they hold)"
        ),
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=None,
        help=(
            "shorter side in pixels to resize larger images to, once, or 'original' (default:"
            f" {ILSVRC2012.size} for ILSVRC2012)"
        ),
    )
    parser.add_argument(
        "--quality",
        type=int,
        default=None,
        help=(
            f"JPEG quality where an image is stored anew (default: {FOLDERS.quality};"
            f" {ILSVRC2012.quality} for ILSVRC2012)"
        ),
    )
    parser.add_argument(
        "--workers", type=int, default=None, help="processes, for ILSVRC2012 (default: one a core)"
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=FOLDERS.max_pixels,
        help=(
            "larger images are skipped, undecoded; kept for whoever reads the set (default:"
            " %(default)s)"
        ),
    )


def _add_list(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "list", data_list, "What is there: splits, images, bytes, fingerprint."
    )
    _data_dir_argument(parser)


def _add_fetch(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "fetch", data_fetch, "Have TFDS prepare a set that it knows by name."
    )
    parser.add_argument("name", help="as TFDS calls it: beans, oxford_flowers102 ...")
    parser.add_argument(
        "--data-dir",
        type=local_path,
        default=None,
        help="folder of prepared data sets (default: zfjax's)",
    )


def _add_scenes(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "scenes", data_scenes, "Draw the embedded scenes, as many as are asked for."
    )
    parser.add_argument("--train", type=int, default=4000, help="scenes (default: %(default)s)")
    parser.add_argument("--validation", type=int, default=500, help="scenes (default: %(default)s)")
    _data_dir_argument(parser)


def _data_dir_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        "--data.dir",
        type=local_path,
        default=None,
        help="folder of prepared data sets (default: zfjax's own)",
    )


def _chosen_folder(options: argparse.Namespace) -> Path:
    """--data-dir, or zfjax's own; a temporary one is named."""
    from zfjax.data.finding import data_home
    from zfjax.homes import temporary_path

    folder: Path = options.data_dir or data_home()
    if folder == temporary_path():
        print(
            f"zfjax: there is no home folder to write to; data sets lie in {folder}, which may be"
            " emptied: --data-dir or ZFJAX_DATA chooses another.",
            file=sys.stderr,
        )
    return folder


def _size(text: str) -> int | str:
    """Pixels, or "original"."""
    return text if text == "original" else int(text)


def data_import(options: argparse.Namespace) -> int:
    """``zfjax data import``: imports a tree, a tar or the ILSVRC2012 tars."""
    from zfjax.data.imagenet import import_imagenet, is_imagenet
    from zfjax.data.importing import import_images
    from zfjax.data.split_names import parse_splits
    from zfjax.progress import Reporter

    splits = None if options.splits is None else parse_splits(options.splits)
    imagenet = is_imagenet(options.source)
    data_dir = _chosen_folder(options)
    if imagenet and options.holdout:
        raise ZfjaxError(
            "ILSVRC2012 has a validation split of its own; import it without a holdout."
        )
    if imagenet and splits is not None:
        raise ZfjaxError("ILSVRC2012's tars are its splits; import it without --splits.")
    if imagenet and options.label_column is not None:
        raise ZfjaxError(
            "The names in ILSVRC2012's tars are labels; import without --label-column."
        )
    stored = _stored_as(options, ILSVRC2012 if imagenet else FOLDERS)
    with Reporter() as progress:
        if imagenet:
            summary = import_imagenet(
                options.source,
                options.name,
                data_dir,
                workers=options.workers,
                progress=progress,
                stored=stored,
            )
        else:
            summary = import_images(
                options.source,
                options.name,
                data_dir,
                holdout=options.holdout,
                splits=splits,
                label_column=options.label_column,
                progress=progress,
                stored=stored,
            )
    print("\n".join(summary.lines()))
    return 0


def _stored_as(options: argparse.Namespace, usual: Stored) -> Stored:
    """What the flags say of storing an image, and ``usual`` where they say nothing."""
    size = usual.size if options.size is None else options.size
    return Stored(
        size=None if size == "original" else size,
        quality=usual.quality if options.quality is None else options.quality,
        max_pixels=options.max_pixels,
    )


def data_list(options: argparse.Namespace) -> int:
    """``zfjax data list``: lists data sets."""
    from zfjax.data.dataset import list_datasets

    folder = _chosen_folder(options)
    datasets = list_datasets(
        folder, on_error=lambda error: print(f"zfjax: {error}", file=sys.stderr)
    )
    if not datasets:
        raise ZfjaxError(f"There is no data set in {folder}; make one with `zfjax data import`.")
    for dataset in datasets:
        print(f"{dataset.name} {dataset.version}, {len(dataset.class_names)} classes")
        for split in dataset.splits:
            fingerprint = dataset.fingerprint(split)
            size = dataset.bytes(split) / 2**20
            print(
                f"  {split:<12}{dataset.count(split):>10,} images{size:>10,.1f} MiB "
                f" {fingerprint['digest'][:16]}"
            )
    return 0


def data_fetch(options: argparse.Namespace) -> int:
    """``zfjax data fetch``: has TFDS prepare a set."""
    from zfjax.data.fetching import fetch

    dataset = fetch(options.name, _chosen_folder(options))
    splits = ", ".join(f"{split} {count:,}" for split, count in dataset.splits.items())
    print(f"{dataset.name} {dataset.version}: {splits}; train with --data.name {options.name}")
    return 0


def data_scenes(options: argparse.Namespace) -> int:
    """``zfjax data scenes``: draws the embedded scenes, in numbers of the user's."""
    from zfjax.data.scenes import ensure_scenes
    from zfjax.progress import Reporter

    counts = {"train": options.train, "validation": options.validation}
    with Reporter() as progress:
        name, _ = ensure_scenes(_chosen_folder(options), **counts, progress=progress)
    splits = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    print(f"{name}: {splits}; train with --data.name {name}")
    return 0
