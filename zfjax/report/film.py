"""A layer's maps over the epochs as a film for talks: RUN/report/film-<layer>.gif, or .mp4; of an
evolution by several rules one for each, film-<layer>-<rule>.gif for all but the main one. No JAX.

A frame an epoch, 1280 x 720 pixels: the projections of the drawn maps, each on its own scale around
mid-grey, which epoch it is, the accuracy and how it came there. GIF is written by Pillow; MP4 where
the program ffmpeg is on the path.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from zfjax.errors import ZfjaxError
from zfjax.files import clear_unfinished, write_atomic
from zfjax.progress import Progress, tell_nobody
from zfjax.report import words
from zfjax.report.frames import FilmWords, draw_frame
from zfjax.report.kit.wording import plain
from zfjax.report.pictures import LayerPictures, read_layer
from zfjax.report.variety import by_rule, with_variety
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.values import Names, Place, Text, text, texts

GIF, MP4 = "gif", "mp4"
FORMATS = (GIF, MP4)
MOST_MAPS = 24
"""In a frame: more would be too small to read from the back of a room."""
RATE = 10
"""Frames a second of an MP4, in which an epoch's frame is repeated."""
SECONDS, SHORTEST, LONGEST, END = 14.0, 0.2, 0.7, 2.5
"""Of the whole film about; of an epoch; of the last one."""


@dataclass(frozen=True)
class Film:
    """What is filmed, and where it is written."""

    run: Run | AdoptedRun
    evolution: Evolution
    folder: Path
    kind: str
    """"gif" or "mp4"."""
    layers: tuple[str, ...]
    """In forward order."""
    note: str = ""
    """Why it is another kind than was asked for; "" where it is not."""


def film_of(
    run: Run | AdoptedRun | Place,
    name: Text | None = None,
    format: Text = GIF,
    layers: Names | None = None,
) -> Film:
    """The films of an evolution's layers (None, or none named: all), checked before anything is
    written. Raises ZfjaxError for another format, a layer that was not searched, and where the
    evolution is absent or unfinished.
    """
    kind = text(format, "--format")
    if kind not in FORMATS:
        raise ZfjaxError(f"--format {kind!r}: it is {' or '.join(FORMATS)}.")
    opened = run if isinstance(run, Run | AdoptedRun) else load_any(run)
    evolution = opened.evolution(name)
    named = () if layers is None else texts(layers, "--film")
    for layer in named:
        evolution.maps(layer)  # says so, where it is not there
    chosen = tuple(layer for layer in evolution.layers if layer in named or not named)
    shown = opened.showing(evolution) if isinstance(opened, AdoptedRun) else opened
    folder = opened.report if name is None else opened.folder / f"report-{name}"
    if kind == MP4 and shutil.which("ffmpeg") is None:
        note = "MP4 needs the program ffmpeg, which is not on the path: GIF is written instead."
        return Film(shown, evolution, folder, GIF, chosen, note)
    return Film(shown, evolution, folder, kind, chosen)


def write_films(film: Film, progress: Progress | None = None) -> list[Path]:
    """Writes the films of each layer, by each rule; returns their paths. Raises ZfjaxError where
    ffmpeg fails.
    """
    evolution = film.evolution
    told, rules = progress if progress is not None else tell_nobody, evolution.rules
    total = len(film.layers) * len(rules)
    film.folder.mkdir(parents=True, exist_ok=True)
    clear_unfinished(film.folder, locked=False)
    paths: list[Path] = []
    for layer in film.layers:
        told("filming", len(paths), total)
        drawn = words.spread(evolution.maps(layer), MOST_MAPS)
        pictures = read_layer(evolution, layer, evolution.steps, drawn, photos=False)
        pictures = with_variety(evolution, pictures, photos=False)
        for rule in rules:
            told("filming", len(paths), total)
            shown = pictures if rule == rules[0] else by_rule(pictures, rules.index(rule) - 1)
            paths.append(_written(film, shown, rule))
        _drop_others(film, layer)
    told("filming", total, total)
    return paths


def _path(film: Film, layer: str, further_rule: str = "", kind: str = "") -> Path:
    stem = words.file_stem(layer, film.evolution.layers)
    named = f"film-{stem}{'-' if further_rule else ''}{further_rule}"
    return film.folder / f"{named}.{kind or film.kind}"


def _drop_others(film: Film, layer: str) -> None:
    """Films of the layer by rules that this evolution has not beside its main one: of an earlier
    evolution.
    """
    for rule in set(words.every_rule()) - set(film.evolution.rules[1:]):
        for kind in FORMATS:
            _path(film, layer, rule, kind).unlink(missing_ok=True)


def _written(film: Film, pictures: LayerPictures, rule: str) -> Path:
    said = _words(film, pictures, rule)
    count = len(film.evolution.steps)
    frames = (Image.fromarray(draw_frame(pictures, index, said)) for index in range(count))
    path = _path(film, pictures.layer, "" if rule == film.evolution.rules[0] else rule)
    lasting = seconds_of(count)
    write = _write_gif if film.kind == GIF else _write_mp4
    write_atomic(path, lambda temporary: write(temporary, frames, lasting))
    other = path.with_suffix(f".{MP4 if film.kind == GIF else GIF}")
    other.unlink(missing_ok=True)  # of an earlier report: it may show other epochs
    return path


def seconds_of(count: int) -> list[float]:
    """How long each of ``count`` epochs is shown, in seconds; the last one longer."""
    each = round(min(LONGEST, max(SHORTEST, SECONDS / count)), 1)
    return [*[each] * (count - 1), END]


def _words(film: Film, pictures: LayerPictures, rule: str) -> FilmWords:
    evolution, run, layer = film.evolution, film.run, pictures.layer
    by_step = {line["step"]: line.get("top1") for line in run.validation_lines}
    accuracies = tuple(by_step.get(step) for step in evolution.steps)
    count, drawn = evolution.record.map_count[layer], len(pictures.maps)
    caption = (
        f"{drawn} of {count} maps: the {plain(rule)} projection of each one's"
        f" strongest of {words.searched(evolution)}. Zero is mid-grey, each picture on its own"
        " scale; a dot marks another image than an epoch before."
    )
    on = words.validation_images(run)
    return FilmWords(plain(layer, 24), words.network_words(run), accuracies, on, caption)


def _in_few_colours(frame: Image.Image) -> Image.Image:
    """A frame in 256 colours. By octree, not by median: it is mostly white and grey, and rare
    colours must stay; white is made white again.
    """
    few = frame.quantize(256, Image.Quantize.FASTOCTREE)
    palette = np.array(few.getpalette(), np.uint8).reshape(-1, 3)
    palette[(palette >= 252).all(axis=1)] = 255
    few.putpalette(palette.ravel().tolist())
    return few


def _write_gif(path: Path, frames: Iterator[Image.Image], seconds: Sequence[float]) -> None:
    shown = map(_in_few_colours, frames)
    durations = [round(1000 * each) for each in seconds]
    first = next(shown)
    # Two equal epochs must stay two frames, or all later ones would come too early.
    first.save(
        path, "GIF", save_all=True, append_images=shown, duration=durations, loop=0, disposal=1
    )


def _write_mp4(path: Path, frames: Iterator[Image.Image], seconds: Sequence[float]) -> None:
    first = next(frames)
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{first.width}x{first.height}", "-r", str(RATE), "-i", "-", "-an"]
    command += ["-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with tempfile.TemporaryFile() as errors:
        running = subprocess.Popen(
            [*command, "-f", "mp4", str(path)], stdin=subprocess.PIPE, stderr=errors
        )
        assert running.stdin is not None
        try:
            # That it has ended early, its status says.
            with suppress(BrokenPipeError), running.stdin as pipe:
                for frame, lasting in zip(chain([first], frames), seconds, strict=True):
                    for _ in range(round(lasting * RATE)):
                        pipe.write(frame.tobytes())
        except BaseException:
            running.kill()
            running.wait()
            raise
        if running.wait():
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ZfjaxError(
                f"ffmpeg could not write the film ({plain(' '.join(said), 200)}); ask for --format"
                f" {GIF}."
            )
