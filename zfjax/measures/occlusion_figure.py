"""Fig. 7 of a run: a row an image, a panel each for the map, its projection, the true class and the
most probable class, as a square slides. No JAX.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfjax.report.board import LINE, WIDTH, Board
from zfjax.report.kit.style import QUIET, TEXT_SIZE, quiet_style, text_width, wrap
from zfjax.report.kit.wording import epoch_name, first_name, plain
from zfjax.report.words import choose
from zfjax.run.colours import colour_scale, to_bytes
from zfjax.run.measured import Measured

MARGIN, GAP, EDGE = 24, 16, 257
LEGEND_TEXT = 38
"""Pixels from a swatch's left edge to its class's name."""
STEM = "occlusion-pictures"
MOST_FIGURES = 8
MOST_ROWS = 6
CODE = 32
FALLS, RISES = (33, 102, 172), (196, 69, 28)
"""Colours of what falls below the unoccluded value, and of what rises above it."""
CLASSES = (
    *((31, 119, 180), (255, 165, 60), (63, 158, 77), (200, 60, 60), (148, 103, 189)),
    *((140, 86, 75), (227, 119, 194), (188, 189, 34), (23, 190, 207), (90, 90, 160)),
)
OTHERS = (190, 190, 190)
HEADS = (
    "square where the\nmap is least",
    "strongest map,\nsummed",
    "its\nprojection",
    "probability of\nthe true class",
    "most probable\nclass",
)


def occlusion_files(measured: Measured, epochs: Mapping[int, float]) -> dict[str, bytes]:
    """occlusion-pictures.png of the last epoch measured, occlusion-pictures-epochN.png of up to
    seven before it.
    """
    steps = tuple(sorted(map(int, measured.meta["noted"]["steps"])))
    drawn = [steps[index] for index in choose(tuple(epochs[step] for step in steps), MOST_FIGURES)]
    if not measured.pictures("projection"):
        return {}
    files = {}
    for step in drawn:
        name = epoch_name(epochs[step])
        stem = STEM if step == steps[-1] else f"{STEM}-epoch{name}"
        files[f"{stem}.png"] = occlusion_panels(measured, step)
    return files


@quiet_style()
def occlusion_panels(measured: Measured, step: int, most: int = MOST_ROWS) -> bytes:
    """A PNG of the panels at one step, of the first ``most`` images."""
    epoch = epoch_name(dict(zip(measured.steps, measured.epochs, strict=True))[step])
    noted, names = measured.meta["noted"], list(measured.meta.get("class_names", []))
    seen = noted["steps"][str(step)][:most]
    kinds = ("activation", "probability", "classes", "projection")
    pictures = {kind: measured.pictures(kind)[step][1] for kind in kinds}
    pictures["image"] = next(iter(measured.pictures("image").values()))[1]
    classes = [_classes(codes) for codes in pictures["classes"][: len(seen)]]
    colours = _class_colours(classes)
    words = (
        f"Epoch {epoch}: a square of {noted['size']} pixels slides over an image, {noted['stride']}"
        " pixels at a time; each panel shows, where the square's middle is, what the network then"
        f" says. The map of {plain(noted['layer'], 40)} that is strongest without the square, and"
        " the probability of the true class: white as without the square, blue where it falls,"
        " orange where it rises, each panel on its own scale (numbers: without the square; least"
        " and most). The projection is of all of the map's activations, around mid-grey."
    )
    header, row, legend = 2 * LINE + 12, EDGE + 2 * LINE + 8, LINE * (-(-len(colours) // 4) + 1)
    body = header + row * len(seen)
    board = Board(body + legend + LINE * (len(wrap(words, WIDTH - 2 * MARGIN)) + 1))
    for column, head in enumerate(HEADS):
        x = _x(column) + EDGE / 2
        board.write(head, 8, x, ha="center", size=TEXT_SIZE - 1.4, weight="bold", linespacing=1.1)
    for index, own in enumerate(seen):
        y = header + index * row
        panels = {kind: stack[index] for kind, stack in pictures.items()}
        about = {**noted["images"][index], **own}
        _row(board, (y, noted, about, names), panels, (classes[index], colours))
    _legend(board, body, colours, names)
    board.caption(words, body + legend, MARGIN, MARGIN)
    return board.files(STEM)[f"{STEM}.png"]


def _x(column: int) -> int:
    return MARGIN + column * (EDGE + GAP)


def _row(
    board: Board,
    where: tuple[int, Mapping[str, Any], Mapping[str, Any], Sequence[str]],
    panels: Mapping[str, np.ndarray],
    classes: tuple[np.ndarray, Mapping[int, tuple[int, int, int]]],
) -> None:
    y, noted, about, names = where
    image = np.clip(_rgb(panels["image"]), 0, 255).round().astype(np.uint8)
    activation, probability = panels["activation"][..., 0], panels["probability"][..., 0]
    size, shape = noted["size"], image.shape[:2]

    def over(values: np.ndarray) -> np.ndarray:
        return over_image(values, noted, shape)

    def note(column: int, text: str) -> None:
        board.write(
            text, y + EDGE + 4, _x(column), color=QUIET, size=TEXT_SIZE - 1.4, linespacing=1.2
        )

    if about["map"] is not None:
        row, left = np.unravel_index(int(activation.argmin()), activation.shape)
        top, left = noted["rows"][row], noted["columns"][left]
        image[top : top + size, left : left + size] = 128
    board.tile(image, y, _x(0), EDGE)
    label = about["label"]
    of_class = class_name(label, names, EDGE) if label >= 0 else "no label"
    note(0, f"{_fitting(about['name'], EDGE)}\n{of_class}")
    if about["map"] is None:
        for column in (1, 2):
            board.dead(y, _x(column), EDGE, EDGE, "all maps silent")
    else:
        board.tile(over(diverging(activation, about["activation"])), y, _x(1), EDGE)
        span = f"{activation.min():.3g} to {activation.max():.3g}"
        note(1, f"map {about['map']}: {about['activation']:.3g}\n{span}")
        projection = _rgb(panels["projection"])
        board.tile(to_bytes(projection, colour_scale(projection)), y, _x(2), EDGE)
        note(2, f"scale {colour_scale(projection):.3g}")
    if about["probability"] is None:
        board.dead(
            y, _x(3), EDGE, EDGE, "no label: no true class" if label < 0 else "class unknown"
        )
    else:
        board.tile(over(diverging(probability, about["probability"])), y, _x(3), EDGE)
        note(3, f"{about['probability']:.3f}\n{probability.min():.3f} to {probability.max():.3f}")
    numbers, colours = classes
    shown = np.array(OTHERS, np.uint8) * np.ones((*numbers.shape, 1), np.uint8)
    for number, colour in colours.items():
        shown[numbers == number] = colour
    board.tile(over(shown), y, _x(4), EDGE)
    without = f"{about['class_probability']:.3f} without it"
    note(4, f"{class_name(about['class'], names, EDGE)}\n{without}")


def _legend(
    board: Board, y: int, colours: Mapping[int, tuple[int, int, int]], names: Sequence[str]
) -> None:
    width = (WIDTH - 2 * MARGIN) // 4
    free = width - LEGEND_TEXT - GAP
    entries = [(class_name(number, names, free), colour) for number, colour in colours.items()]
    for index, (name, colour) in enumerate(entries):
        top, left = y + LINE * (index // 4), MARGIN + width * (index % 4)
        board.place(np.full((28, 28, 3), colour, np.uint8), top, left)
        board.write(name, top - 2, left + LEGEND_TEXT, size=TEXT_SIZE - 1)


def over_image(values: np.ndarray, noted: Mapping[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Values [rows, columns, ...] of positions as a picture of the image's shape: each pixel that
    of the position whose square has its middle nearest.
    """
    nearest = []
    for extent, begins in zip(shape, (noted["rows"], noted["columns"]), strict=True):
        middles = np.array(begins) + (noted["size"] - 1) / 2
        nearest.append(np.abs(np.arange(extent)[:, None] - middles[None, :]).argmin(axis=1))
    return values[nearest[0]][:, nearest[1]]


def diverging(values: np.ndarray, middle: float) -> np.ndarray:
    """uint8 [..., 3]: white at ``middle``, ever bluer below and more orange above it; full where it
    is the furthest away.
    """
    away = np.asarray(values, np.float64) - middle
    # What float16 pictures lose does not count as a change.
    furthest = float(np.abs(away).max(initial=0.0))
    share = away / furthest if furthest > 2e-3 * abs(middle) + 1e-9 else np.zeros_like(away)
    colour = np.where(share[..., None] < 0, np.array(FALLS), np.array(RISES))
    return np.rint(255 + np.abs(share)[..., None] * (colour - 255)).astype(np.uint8)


def class_name(number: int, names: Sequence[str], width: float) -> str:
    """A class's name for a figure, in ``width`` pixels; its number where it has none. Within
    ``quiet_style``.
    """
    if number >= len(names):
        return f"class {number}"
    return _fitting(first_name(names, number), width)


def _fitting(text: str, width: float) -> str:
    """``text`` on one line, its end left out where it is wider than so many pixels."""
    length = 40
    while length > 1 and text_width(plain(text, length), TEXT_SIZE - 1) > width:
        length -= 1
    return plain(text, length)


def _classes(codes: np.ndarray) -> np.ndarray:
    digits = np.rint(codes).astype(int)
    return np.asarray((digits[..., 0] * CODE + digits[..., 1]) * CODE + digits[..., 2])


def _class_colours(classes: Sequence[np.ndarray]) -> dict[int, tuple[int, int, int]]:
    """The most frequent classes of all rows with a colour each; all others share a grey."""
    counts = Counter(np.concatenate([numbers.ravel() for numbers in classes]).tolist())
    frequent = [number for number, _ in counts.most_common(len(CLASSES))]
    return dict(zip(sorted(frequent), CLASSES, strict=False))


def _rgb(picture: np.ndarray) -> np.ndarray:
    """Of three channels: a single one is shown grey, of more the first three."""
    return picture[..., :3] if picture.shape[2] >= 3 else picture[..., :1].repeat(3, axis=2)
