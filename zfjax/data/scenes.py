"""The embedded data set: 64-pixel colour scenes, drawn once on the user's machine, with a box
around every part.

A scene is a pure function of (seed, split, index). Background, distractors, pose, scale and colours
come from one random stream that never learns the class, the object's own details from another; so
nothing but its shape tells what an object is. Scenes are drawn four times larger and averaged down:
a part changes no pixel outside its box.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from zfjax.data import writing
from zfjax.data.finding import data_home
from zfjax.data.scene_objects import OBJECTS
from zfjax.data.scene_shapes import (
    INK,
    PAPER,
    Colour,
    Colours,
    DrawnPart,
    Fill,
    ellipse,
    polygon,
    stroke,
)
from zfjax.errors import ZfjaxError
from zfjax.files import data_folder, exclusive_lock
from zfjax.progress import Progress

CLASSES = tuple(sorted(OBJECTS))
VERSION = 1
"""Of what is drawn and how it is stored: it names the set, so that a change of the code alone
redraws nothing. Raise it with any change of a scene's pixels, parts or records."""
SEED = 2013
SIZE = 64
MOST_SCENES = 1_000_000
"""Of a split: a larger number is a slip of the keyboard, and would fill the disk for hours."""

_ABOUT = "Scenes drawn by zfjax: objects made of parts, with a box around every part."
_SPLITS = ("train", "validation")
_FINER = 4  # drawn this many times larger
_UNMIRRORED = ("sign", "clock")
_PALETTE: tuple[Colour, ...] = (
    (228, 87, 46), (242, 165, 65), (247, 201, 72), (155, 197, 61), (62, 142, 90), (42, 157, 143),
    (79, 163, 217), (47, 93, 168), (123, 94, 167), (155, 61, 115), (238, 143, 168), (139, 90, 60),
    (217, 179, 130), (83, 104, 126), (168, 218, 220), (178, 58, 72), (240, 232, 216), (58, 60, 84),
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A visible part and its box (ymin, xmin, ymax, xmax): pixels of the scene, half open, clipped
    to it.
    """

    name: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """One scene: image uint8 (size, size, 3), label an index into CLASSES, and the parts of its
    object.
    """

    image: np.ndarray
    label: int
    parts: tuple[Part, ...]


def draw_scene(
    seed: int, split: str, index: int, size: int = SIZE, *, without_part: int | None = None
) -> Scene:
    """Draws scene ``index`` of ``split`` ("train" or "validation"); its label is ``index % 10``.

    ``without_part`` leaves out one part of ``parts`` (its box stays): where the pictures differ,
    the part was seen.
    """
    label = index % len(CLASSES)
    surroundings = np.random.default_rng((seed, _SPLITS.index(split), index, 0))
    details = np.random.default_rng((seed, _SPLITS.index(split), index, 1))
    background, colours = _background(surroundings, size)
    picture = Image.fromarray(background).resize(
        (size * _FINER, size * _FINER), Image.Resampling.BILINEAR
    )
    brush = ImageDraw.Draw(picture)
    for fill in _distractors(surroundings):
        _paint(picture, brush, fill, np.eye(2) * picture.width, np.zeros(2))
    for fill, matrix, offset in _stray_parts(surroundings, picture.width):
        _paint(picture, brush, fill, matrix, offset)
    matrix, offset = _pose(surroundings, picture.width, mirrored=CLASSES[label] not in _UNMIRRORED)
    drawn = [
        (component, box)
        for component in OBJECTS[CLASSES[label]](details, colours)
        if (box := _box(component, matrix, offset, size)) is not None
    ]
    for number, (component, _) in enumerate(drawn):
        for fill in component.fills if number != without_part else ():
            _paint(picture, brush, fill, matrix, offset)
    small = np.asarray(picture.reduce(_FINER), np.float64)
    contrast, brightness = surroundings.uniform(0.85, 1.1), surroundings.uniform(-14, 14)
    noisy = (small - 128) * contrast + 128 + brightness + surroundings.normal(0, 4, small.shape)
    image = noisy.round().clip(0, 255).astype(np.uint8)
    return Scene(image, label, tuple(Part(component.name, box) for component, box in drawn))


def ensure_scenes(
    data_dir: Path | str | None = None,
    *,
    train: int = 4000,
    validation: int = 500,
    progress: Progress | None = None,
) -> tuple[str, Path]:
    """Draws the scenes unless they are there, and returns (name, data_dir) for ``open_dataset``.

    The name holds a digest of VERSION and of the sizes. One process draws, others wait for it; a
    drawing that is killed leaves nothing that could be read. ``progress(stage, done, total)``
    counts scenes. Raises ZfjaxError for a split without a scene of each class or with more than
    MOST_SCENES, and when the folder cannot be written.
    """
    for split, count in (("train", train), ("validation", validation)):
        if not len(CLASSES) <= count <= MOST_SCENES:
            raise ZfjaxError(
                f"{count} {split} scenes cannot be drawn: give a whole number from {len(CLASSES)},"
                f" one for each class, to {MOST_SCENES:,}."
            )
    root = data_home() if data_dir is None else data_folder(data_dir)
    name = f"scenes_{_digest(train, validation)}"
    with exclusive_lock(root / f".{name}.lock", refusal=None):
        if not (root / name / writing.VERSION / "dataset_info.json").is_file():
            done = iter(range(1, train + validation + 1))

            def examples(split: str, count: int) -> Iterator[dict[str, Any]]:
                for index in range(count):
                    yield _example(split, index)
                    if progress is not None:
                        progress("drawing scenes", next(done), train + validation)

            with writing.new_folder(root, name) as folder:
                writing.write_dataset(
                    folder,
                    name,
                    {
                        "train": examples("train", train),
                        "validation": examples("validation", validation),
                    },
                    writing.About(CLASSES, None, "png", with_parts=True, description=_ABOUT),
                )
    return name, root


def _digest(train: int, validation: int) -> str:
    return hashlib.sha256(f"{VERSION} {SEED} {train} {validation} {SIZE}".encode()).hexdigest()[:12]


def _example(split: str, index: int) -> dict[str, Any]:
    scene = draw_scene(SEED, split, index)
    encoded = io.BytesIO()
    Image.fromarray(scene.image).save(encoded, "PNG", compress_level=1)
    return {
        "image": encoded.getvalue(),
        "label": scene.label,
        "file_name": f"{split}/{CLASSES[scene.label]}/{index:05d}.png",
        "parts": [
            (visible.name, tuple(edge / SIZE for edge in visible.box)) for visible in scene.parts
        ],
    }


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _background(generator: np.random.Generator, size: int) -> tuple[np.ndarray, Colours]:
    """A textured background, uint8 (size, size, 3), and colours for an object that stands out
    against it.
    """
    base, other = (
        np.array(_PALETTE[index], float)
        for index in generator.choice(len(_PALETTE), 2, replace=False)
    )
    towards = np.array(PAPER if generator.random() < 0.65 else INK, float)
    base += (towards - base) * generator.uniform(0.1, 0.6)
    other = base + (other - base) * generator.uniform(0.25, 0.65)
    y, x = np.mgrid[0:size, 0:size] / size
    angle, spacing = generator.uniform(0, np.pi), generator.uniform(0.12, 0.35)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    crisp = 0.5 * spacing * size  # edges about two pixels wide
    kind = generator.integers(6)
    if kind == 0:  # a gradient
        share = (along - along.min()) / np.ptp(along)
    elif kind == 1:  # sky above, ground below
        share = (
            y > generator.uniform(0.55, 0.8) + 0.03 * np.sin(x * generator.uniform(4, 16))
        ) * 0.9 + 0.1 * y
    elif kind == 2:  # clouds: smooth noise
        coarse = Image.fromarray(generator.random((7, 7)).astype(np.float32))
        share = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 1)
    elif kind == 3:  # stripes
        share = 0.5 + 0.5 * np.tanh(crisp * np.sin(2 * np.pi * along / spacing) / 3)
    elif kind == 4:  # checks
        share = 0.5 + 0.5 * np.tanh(
            crisp * np.sin(2 * np.pi * along / spacing) * np.sin(2 * np.pi * across / spacing)
        )
    else:  # blobs
        centres, radii = generator.uniform(0, 1, (9, 2)), generator.uniform(0.05, 0.18, 9)
        distance = np.hypot(x[..., None] - centres[:, 0], y[..., None] - centres[:, 1])
        share = (0.5 + 0.5 * np.tanh((radii - distance) * size / 1.5)).max(axis=-1)
    texture = base + (other - base) * share[..., None]
    mean = texture.mean(axis=(0, 1))
    far = [colour for colour in _PALETTE if np.abs(np.array(colour) - mean).sum() > 120]
    chosen = [far[index] for index in generator.permutation(len(far))[:3]]
    main, second, third = (
        _mix(colour, tuple(generator.integers(0, 256, 3)), 0.1) for colour in chosen
    )
    return texture.round().clip(0, 255).astype(np.uint8), Colours(main, second, third)


def _distractors(generator: np.random.Generator) -> list[Fill]:
    """One to six small shapes that mean nothing, in fractions of the scene: a disc alone is no
    wheel, two no face.
    """
    fills = []
    for _ in range(generator.integers(1, 7)):
        (x, y), radius, turn = (
            generator.uniform(0, 1, 2),
            generator.uniform(0.03, 0.1),
            generator.uniform(0, np.pi),
        )
        outer, inner = (
            _PALETTE[index] for index in generator.choice(len(_PALETTE), 2, replace=False)
        )
        corners = int(generator.integers(1, 6))
        if corners == 1:
            along = 2 * radius * np.array([np.cos(turn), np.sin(turn)])
            points = stroke(x - along[0], y - along[1], x + along[0], y + along[1], radius / 2)
        elif corners == 2:
            points = ellipse(x, y, radius, radius)
        else:
            angles = turn + np.arange(corners) * 2 * np.pi / corners
            points = polygon(
                *zip(x + radius * np.cos(angles), y + radius * np.sin(angles), strict=True)
            )
        fills.append(Fill(points, outer))
        if generator.random() < 0.4:
            fills.append(Fill((points - (x, y)) * 0.5 + (x, y), inner))
    return fills


def _stray_parts(
    generator: np.random.Generator, width: int
) -> list[tuple[Fill, np.ndarray, np.ndarray]]:
    """Up to four parts torn from objects of any class, small: seeing an eye or a wheel does not
    settle the class.
    """
    strays = []
    for _ in range(generator.integers(0, 5)):
        colours = Colours(
            *(_PALETTE[index] for index in generator.choice(len(_PALETTE), 3, replace=False))
        )
        parts = OBJECTS[CLASSES[generator.integers(len(CLASSES))]](generator, colours)
        chosen = parts[generator.integers(len(parts))]
        turn, scale = generator.uniform(-0.6, 0.6), generator.uniform(0.25, 0.42) * width
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * scale
        middle = np.concatenate([fill.points for fill in chosen.fills]).mean(axis=0) @ matrix
        offset = generator.uniform(0, width, 2) - middle
        strays += [(fill, matrix, offset) for fill in chosen.fills]
    return strays


def _pose(
    generator: np.random.Generator, width: int, mirrored: bool
) -> tuple[np.ndarray, np.ndarray]:
    """From an object's coordinates to pixels of the large picture: points @ matrix + offset."""
    scale, turn = generator.uniform(0.55, 1.0), np.deg2rad(generator.uniform(-20, 20))
    flip, (shift_x, shift_y) = generator.random() < 0.5, generator.uniform(-1, 1, 2)
    radius = scale * 0.46 * width
    reach = (width / 2 - radius) * 1.05 + 0.02 * width
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    matrix = np.diag([-1.0 if flip and mirrored else 1.0, 1.0]) @ rotation * radius
    return matrix, width / 2 + np.array([shift_x, shift_y]) * reach


def _paint(
    picture: Image.Image,
    brush: ImageDraw.ImageDraw,
    fill: Fill,
    matrix: np.ndarray,
    offset: np.ndarray,
) -> None:
    points = fill.points @ matrix + offset
    if fill.pattern is None:
        brush.polygon(points.ravel().tolist(), fill=fill.colour)
        return
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, picture.width)
    if x1 <= x0 or y1 <= y0:
        return
    mask = Image.new("L", (x1 - x0, y1 - y0), 0)
    ImageDraw.Draw(mask).polygon((points - (x0, y0)).ravel().tolist(), fill=255)
    rows, columns = np.mgrid[y0:y1, x0:x1]
    # The pattern moves with the object.
    local = (np.stack([columns, rows], axis=-1) - offset) @ np.linalg.inv(matrix)
    angle, spacing = fill.pattern.angle, fill.pattern.spacing
    along = (local[..., 0] * np.cos(angle) + local[..., 1] * np.sin(angle)) / spacing
    across = (local[..., 1] * np.cos(angle) - local[..., 0] * np.sin(angle)) / spacing
    if fill.pattern.kind == "stripes":
        shown = np.sin(np.pi * along) > 0
    elif fill.pattern.kind == "checks":
        shown = np.sin(np.pi * along) * np.sin(np.pi * across) > 0
    else:
        shown = np.hypot(along - np.round(along), across - np.round(across)) < 0.32
    visible = Image.fromarray(np.where(shown, np.asarray(mask), 0).astype(np.uint8))
    picture.paste(fill.colour, (int(x0), int(y0)), visible)


def _box(
    component: DrawnPart, matrix: np.ndarray, offset: np.ndarray, size: int
) -> tuple[int, int, int, int] | None:
    """The part's box in pixels of the scene, or None when nothing of it is inside."""
    points = np.concatenate([fill.points for fill in component.fills]) @ matrix + offset
    # Pillow fills every pixel that an edge touches: one pixel of the large picture more on each
    # side.
    x0, y0 = np.floor((points.min(axis=0) - 1) / _FINER).clip(0, size).astype(int)
    x1, y1 = np.ceil((points.max(axis=0) + 2) / _FINER).clip(0, size).astype(int)
    return (int(y0), int(x0), int(y1), int(x1)) if y1 > y0 and x1 > x0 else None
