"""What the files of the gallery share: their flags, a run to show, a picture to save.

Command:   ``python experiments/gallery.py [--workdir runs/demo] [--tiny] [--out FOLDER]`` runs
           every file of the gallery: those beside this one that import it.
Hardware:  2 CPU cores, shared with others.
Time:      each file says its own. --tiny, all of them: 6 minutes, 165 s of a core, of which the
           tiny run takes 28 s, most of it for compiling.
Result:    the pictures of experiments/README.md.

A file of the gallery has ``main(arguments)`` and ends by ``save_picture``. The tiny run is a ZFNet
of a few maps, trained for three epochs on a hundred and sixty drawn scenes, and evolved: enough to
see that a file works, not to see anything in its picture.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from zfjax.config import Config, Data, Optimizer
from zfjax.data.scenes import ensure_scenes
from zfjax.errors import ZfjaxError, quoted
from zfjax.features.evolving import evolve
from zfjax.files import write_atomic
from zfjax.network.named import small_zfnet
from zfjax.run.adopted import load_any
from zfjax.studies.ablating import ablate
from zfjax.studies.grid_view import GridView
from zfjax.studies.paper_beyond import open_grid
from zfjax.training.loop import train

HERE = Path(__file__).parent
WIDTH, BYTES = 1600, 500_000
"""A picture's most pixels across, and its most bytes."""
_COLOURS = (256, 160, 96, 64)


def tiny_run(folder: Path, seed: int = 0) -> Path:
    """A run in ``folder``/run, trained and evolved in seconds on scenes drawn into ``folder``/data;
    at once where it is there already. Returns the run's folder.
    """
    run = folder / ("run" if seed == 0 else f"run-{seed}")
    train(tiny_config(folder, seed), run)
    evolve(run, maps=4, top=9, images=100)
    return run


def tiny_config(folder: Path, seed: int = 0) -> Config:
    """Of the tiny run, with its scenes drawn into ``folder``/data."""
    name, data = ensure_scenes(folder / "data", train=160, validation=40)
    return Config(
        model=small_zfnet(
            "zfnet-64-tiny", input_size=(64, 64), width=1 / 16, head=16, classes=10, dropout=0.2
        ),
        data=Data(name=name, dir=str(data), shift=4, flip=True, threads=1),
        optimizer=Optimizer(learning_rate=0.02, warmup_epochs=0.5, weight_decay=1e-3),
        epochs=3,
        batch_size=16,
        seed=seed,
    )


def grid_of(options: argparse.Namespace, tiny: Mapping[str, Any]) -> GridView:
    """The grid that ``arguments`` names as --workdir; with --tiny one of ``tiny`` changes of the
    tiny run's config, of one seed. Ends with a sentence where there is none.
    """
    folder = options.workdir
    if options.tiny:
        home = _temporary()
        folder = home / "grid"
        ablate(folder, replace(tiny_config(home), epochs=1), tiny, seeds=1)
    try:
        return open_grid(folder)
    except ZfjaxError as error:
        sys.exit(str(error))


def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="zfjax-gallery-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def arguments(doc: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags of a file of the gallery: workdir (a Path, or None with --tiny alone), tiny, out.

    ``doc``: the file's docstring, whose first line its help begins with; ``argv``: as
    ``sys.argv[1:]``.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument(
        "--workdir", type=Path, default=None, help="a finished run (default: runs/demo)"
    )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="at a size of seconds; without --workdir, on a tiny run of its own",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder of the picture (default: figures, beside; with --tiny one that is removed)",
    )
    options = parser.parse_args(argv)
    if options.workdir is None and not options.tiny:
        options.workdir = Path("runs/demo")
    if options.out is None:  # no tiny run's picture takes the place of one that is shown
        options.out = _temporary() if options.tiny else HERE / "figures"
    return options


def run_of(options: argparse.Namespace) -> Path:
    """The folder of the run that ``arguments`` names, or of a tiny one that lives as long as this
    process. Ends with a sentence where there is no run.
    """
    if options.workdir is None:
        return tiny_run(_temporary())
    try:
        load_any(options.workdir)
    except ZfjaxError as error:
        sys.exit(f"{error} A run of the drawn scenes: zfjax demo --workdir"
                 f" {quoted(options.workdir)}")  # fmt: skip
    return options.workdir


def save_picture(figure_or_image: Figure | Image.Image, out: Path, name: str) -> Path:
    """Writes ``out``/<name>.png, at most WIDTH pixels wide and BYTES large, in a palette of at most
    256 colours. Returns its path. ``name``: without ".png".
    """
    image = figure_or_image
    if isinstance(image, Figure):
        buffer = io.BytesIO()
        image.savefig(buffer, format="png", dpi=max(100.0, WIDTH / image.get_figwidth()))
        image = Image.open(buffer)
    image = image.convert("RGB")
    data, width = b"", min(WIDTH, image.width)
    while True:
        sized = _scaled(image, width)
        for colours in _COLOURS:
            buffer = io.BytesIO()
            sized.quantize(colours).save(buffer, "PNG", optimize=True)
            data = buffer.getvalue()
            if len(data) <= BYTES:
                break
        if len(data) <= BYTES:
            break
        width = width * 4 // 5
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.png"
    write_atomic(path, lambda temporary: temporary.write_bytes(data))
    return path


def _scaled(image: Image.Image, width: int) -> Image.Image:
    if width == image.width:
        return image
    height = max(1, round(image.height * width / image.width))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def gallery_files() -> list[Path]:
    """The files beside this one that show a figure or a table, in order of their names."""
    return [
        path
        for path in sorted(HERE.glob("*.py"))
        if path.name != Path(__file__).name
        and re.search(r"^from experiments\.gallery import", path.read_text(), re.MULTILINE)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every file of the gallery, on one run."""
    options = arguments(__doc__, argv)
    options.workdir = run_of(options)
    flags = ["--workdir", str(options.workdir), "--out", str(options.out)]
    for path in gallery_files():
        print(f"{path.name}:", flush=True)
        module = importlib.import_module(f"experiments.{path.stem}")
        module.main([*flags, *(["--tiny"] if options.tiny else [])])


if __name__ == "__main__":
    main()
