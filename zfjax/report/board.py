"""A board to lay pictures and words on, pixel for pixel, saved as PNG and PDF. No JAX.

Static figures are 3.5 inches wide (one column of a paper) at 400 dots an inch, so one and the same
file reads in print and fills a slide. Pictures are placed on a pixel raster, never resampled by the
drawing library; words stay vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from zfjax.report.kit.films import LOSSLESS_BELOW
from zfjax.report.kit.style import (
    ACCENT,
    DPI,
    FAINT,
    INK,
    KINDS,
    QUIET,
    TEXT_SIZE,
    quiet_style,
    save,
    wrap,
)

WIDTH = 1400
"""Pixels: 3.5 inches."""
LINE = 48
"""Pixels from one line of text to the next."""


def enlarge(picture: np.ndarray, edge: int) -> np.ndarray:
    """``picture`` (uint8 [height, width, 3]) with a longest edge of at most ``edge`` pixels,
    proportions kept.

    Small pictures are repeated a whole number of times, so their pixels stay sharp squares; others
    are resampled.
    """
    height, width = picture.shape[:2]
    longest = max(height, width)
    if longest < LOSSLESS_BELOW and longest <= edge:
        times = edge // longest
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    size = max(1, round(width * edge / longest)), max(1, round(height * edge / longest))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


class _Raster(Artist):
    """Pixels that fill the figure, handed to the renderer as they are: ``imshow`` would copy them
    in float32.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__()
        self.pixels = pixels
        self.set_zorder(-1)

    def draw(self, renderer: Any) -> None:
        opaque = np.full((*self.pixels.shape[:2], 1), 255, np.uint8)
        context = renderer.new_gc()
        renderer.draw_image(context, 0, 0, np.concatenate([self.pixels, opaque], axis=2)[::-1])
        context.restore()


@dataclass
class Board:
    """White paper; positions and sizes are (y, x) from the upper left in pixels at 400 dots an
    inch.

    With ``fine`` of 2 the raster has twice as many pixels each way: for tiles larger than they are
    shown at 400.
    """

    height: int
    fine: int = 1
    width: int = WIDTH
    pixels: np.ndarray = field(init=False)
    texts: list[dict[str, Any]] = field(init=False, default_factory=list)
    dots: list[tuple[float, float]] = field(init=False, default_factory=list)
    frames: list[tuple[float, float, float, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.pixels = np.full((self.height * self.fine, self.width * self.fine, 3), 255, np.uint8)

    def tile(self, picture: np.ndarray, y: int, x: int, edge: int) -> None:
        """Lays a tile (uint8 [h, w, 3]) as large as it fits into a square of ``edge``, in its
        middle.
        """
        shown = enlarge(picture, edge * self.fine)
        top, left = ((edge * self.fine - extent) // 2 for extent in shown.shape[:2])
        self._lay(shown, y * self.fine + top, x * self.fine + left)

    def place(self, picture: np.ndarray, y: int, x: int) -> None:
        """Lays ``picture`` (uint8 [h, w, 3], or RGBA with alpha 0 or 255) with its upper left
        corner at (y, x).
        """
        self._lay(
            picture.repeat(self.fine, axis=0).repeat(self.fine, axis=1),
            y * self.fine,
            x * self.fine,
        )

    def _lay(self, picture: np.ndarray, y: int, x: int) -> None:
        height, width = picture.shape[:2]
        opaque = picture[..., 3:] > 0 if picture.shape[2] == 4 else True
        area = self.pixels[y : y + height, x : x + width]
        np.copyto(area, picture[..., :3], where=opaque)

    def write(self, text: str, y: float, x: float, **style: Any) -> None:
        """Writes ``text`` with its first line's top at ``y``; ``style`` as for matplotlib's
        text.
        """
        self.texts.append({"x": x, "y": y, "s": text, "va": "top", **style})

    def dot(self, y: float, x: float) -> None:
        """The mark of a jump, centred at (y, x)."""
        self.dots.append((y, x))

    def dead(self, y: float, x: float, height: float, width: float, word: str = "dead") -> None:
        """An empty frame that says why it is empty."""
        self.frames.append((y, x, height, width))
        self.write(
            word,
            y + height / 2,
            x + width / 2,
            va="center",
            ha="center",
            color=QUIET,
            size=TEXT_SIZE - 1.7,
        )

    def caption(self, text: str, y: float, left: int, right: int) -> None:
        """A paragraph between two margins (pixels from the left and from the right)."""
        self.write(
            "\n".join(wrap(text, self.width - left - right)), y, left, color=INK, linespacing=1.35
        )

    def scale_bar(self, y: int, x: int, word: str) -> None:
        """The grey ramp from -s over zero to +s, with what s is."""
        ramp = np.linspace(0, 255, 220).round().astype(np.uint8)
        self.place(np.broadcast_to(ramp[None, :, None], (26, 220, 3)), y, x)
        for text, offset, align in (("−s", 0, "left"), ("0", 110, "center"), ("+s", 220, "right")):
            self.write(text, y + 32, x + offset, ha=align, color=QUIET, size=TEXT_SIZE - 1.2)
        self.write(word, y - 4, x + 244, color=QUIET, size=TEXT_SIZE - 0.7)

    def files(self, stem: str, kinds: tuple[str, ...] = KINDS) -> dict[str, bytes]:
        """The board as ``stem``.png and ``stem``.pdf, or as one of them. The same board gives the
        same bytes.
        """
        with quiet_style():
            figure = Figure(figsize=(self.width / DPI, self.height / DPI))
            axes = figure.add_axes((0, 0, 1, 1))
            figure.add_artist(_Raster(self.pixels))
            for y, x, height, width in self.frames:
                axes.add_patch(
                    Rectangle(
                        (x + 1, y + 1),
                        width - 2,
                        height - 2,
                        fill=False,
                        ec=FAINT,
                        lw=0.5,
                        ls=(0, (3, 2)),
                    )
                )
            if self.dots:
                ys, xs = zip(*self.dots, strict=True)
                axes.plot(xs, ys, ls="", marker="o", ms=2.1, mfc=ACCENT, mec="white", mew=0.35)
            for text in self.texts:
                axes.text(**text)
            axes.set(xlim=(0, self.width), ylim=(self.height, 0))
            axes.set_axis_off()
            return save(figure, stem, DPI * self.fine, kinds)
