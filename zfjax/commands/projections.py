"""``zfjax project``: one image, one map, any epochs."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zfjax.commands.arguments import Subparsers, add_command, data_argument, run_arguments
from zfjax.data.formats import READ_WORDS
from zfjax.data.import_options import FOLDERS
from zfjax.errors import ZfjaxError, escaped
from zfjax.files import fitting, local_path

MOST_BYTES = 255
"""Of a file's name, on all usual file systems."""
_LONGEST_SHOWN = 60


if TYPE_CHECKING:
    from zfjax.features.projecting import UnitProjection


def add_project(subparsers: Subparsers) -> None:
    """``zfjax project`` and its flags."""
    parser = add_command(
        subparsers, "project", project, "One image, one map, any epochs: a picture strip."
    )
    run_arguments(parser)
    image = parser.add_mutually_exclusive_group(required=True)
    image.add_argument("--image", type=local_path, help=f"an image file: {READ_WORDS}")
    image.add_argument(
        "--image-id", type=int, help="an image of the run's data set, by its number in the split"
    )
    parser.add_argument("--split", default=None, help="of --image-id (default: the training split)")
    data_argument(parser)
    parser.add_argument("--layer", required=True)
    parser.add_argument("--map", type=int, required=True)
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=None,
        help=(
            "of --image: a larger one is refused (default: as of the run's data set, else"
            f" {FOLDERS.max_pixels})"
        ),
    )
    parser.add_argument("--rule", default="deconvnet", help="as in evolve")
    parser.add_argument(
        "--out", type=local_path, default=None, help="PNG to write (default: RUN/projections/...)"
    )


def project(options: argparse.Namespace) -> int:
    """``zfjax project``: writes the strip of one map on one image."""
    from zfjax.features.projecting import project
    from zfjax.report.strip import write_strip
    from zfjax.run.adopted import AdoptedRun, load_any

    run = load_any(options.workdir)
    if options.out is not None and options.out.suffix.lower() != ".png":
        raise ZfjaxError(f"--out {options.out}: the strip is a PNG; give a name that ends in .png.")
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise ZfjaxError(
            f"--out {options.out}: there is no folder {options.out.absolute().parent}."
        )
    if options.out is not None and len(os.fsencode(options.out.name)) > MOST_BYTES:
        raise ZfjaxError(
            f"--out: a file's name takes at most {MOST_BYTES} bytes; choose a shorter."
        )
    if isinstance(run, AdoptedRun):
        # What else is saved is not known here: the name tells these steps from others by digits.
        saved: tuple[int, ...] = ()
        split = options.split or run.split
    else:
        saved, split = run.steps, options.split or run.config.data.train_split
    by_number = options.image is None
    projections = project(
        run,
        options.image_id if by_number else options.image,
        options.layer,
        options.map,
        at=options.at,
        rule=options.rule,
        split=split,
        data_dir=options.data_dir,
        max_pixels=options.max_pixels,
    )
    shown = f"image {options.image_id} of {split}" if by_number else _told_name(options.image)
    stem = f"{split}-{options.image_id}" if by_number else _own_stem(options.image)
    epochs = _epochs_stem(saved, projections)
    layer = options.layer.replace("/", ".")
    name = f"{layer}-{options.map}-{stem}-{options.rule}-{epochs}.png"
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


def _told_name(image: Path) -> str:
    """An image's name for a title: on one line, in letters that can be drawn."""
    name = escaped(image.name)
    return name if len(name) <= _LONGEST_SHOWN else f"{name[: _LONGEST_SHOWN - 3]}..."


def _own_stem(image: Path) -> str:
    """A file's name without its ending, in letters that any program takes, and what tells it from
    other images of that name: the first digits of its bytes' SHA-256. The same image has the same
    stem wherever it lies. A pipe, which gives its bytes once, is told by its path.
    """
    told = image.read_bytes() if image.is_file() else str(image).encode("utf-8", "surrogateescape")
    stem = "".join(letter if letter.isprintable() else "_" for letter in image.stem)
    return f"{fitting(stem, 100)}-{hashlib.sha256(told).hexdigest()[:8]}"


def _epochs_stem(saved: Sequence[int], projections: Sequence[UnitProjection]) -> str:
    """First and last of the epochs shown; with digits of their own where some between are not."""
    first, last = projections[0], projections[-1]
    steps = [shot.step for shot in projections]
    between = [step for step in saved if first.step <= step <= last.step]
    chosen = "" if steps == between else f"-{hashlib.sha256(str(steps).encode()).hexdigest()[:8]}"
    return f"epoch{first.epoch:g}" + (f"-{last.epoch:g}{chosen}" if len(steps) > 1 else "")
