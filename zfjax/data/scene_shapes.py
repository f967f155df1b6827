"""What the embedded scenes are made of: polygons, their colours and patterns, and parts of them.

An object lives in its own coordinates: x to the right and y down, both from about -1 to 1. Every
outline is a polygon, so that turning, mirroring and scaling an object moves its part boxes exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

INK: Colour = (38, 38, 58)
PAPER: Colour = (251, 247, 239)

_CIRCLE = np.exp(
    1j * np.linspace(0, 2 * np.pi, 32, endpoint=False)
)  # as complex numbers: turning is multiplying
_HALF_CIRCLE = np.exp(1j * np.linspace(np.pi / 2, 3 * np.pi / 2, 8))


@dataclass(frozen=True)
class Pattern:
    """Stripes, checks or dots in a second colour, ``spacing`` wide in the object's coordinates,
    turned by ``angle``.
    """

    kind: str
    spacing: float
    angle: float


@dataclass(frozen=True)
class Fill:
    """A polygon, float (n, 2) of x and y, in one colour; with a pattern, only where the pattern
    is.
    """

    points: np.ndarray
    colour: Colour
    pattern: Pattern | None = None


@dataclass(frozen=True)
class DrawnPart:
    """A named part; its fills are drawn in order."""

    name: str
    fills: tuple[Fill, ...]


@dataclass(frozen=True)
class Colours:
    """The colours of one object, drawn without knowing its class."""

    main: Colour
    second: Colour
    third: Colour


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0) -> np.ndarray:
    """An ellipse as 32 points, turned by ``angle`` radians."""
    points = (radius_x * _CIRCLE.real + 1j * radius_y * _CIRCLE.imag) * np.exp(
        1j * angle
    ) + complex(x, y)
    return points.view(float).reshape(-1, 2)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """A rectangle."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def polygon(*points: tuple[float, float]) -> np.ndarray:
    """A polygon from its corners."""
    return np.array(points, float)


def stroke(x0: float, y0: float, x1: float, y1: float, width: float) -> np.ndarray:
    """A line with round ends, as a polygon."""
    start, end = complex(x0, y0), complex(x1, y1)
    cap = _HALF_CIRCLE * np.exp(1j * np.angle(end - start)) * width / 2
    return np.concatenate([start + cap, end - cap]).view(float).reshape(-1, 2)


def crescent(x: float, y: float, radius: float, depth: float, upper: float) -> np.ndarray:
    """A mouth: the area between two parabolas of depths ``depth`` and ``upper`` over [x - radius, x
    + radius].
    """
    across = np.linspace(-1, 1, 13)
    lower = np.stack([x + radius * across, y + depth * (1 - across**2)], axis=1)
    back = np.stack([x + radius * across[::-1], y + upper * (1 - across[::-1] ** 2)], axis=1)
    return np.concatenate([lower, back])


def part(name: str, *fills: tuple[np.ndarray, Colour] | Fill) -> DrawnPart:
    """A part from (points, colour) pairs or fills."""
    return DrawnPart(name, tuple(fill if isinstance(fill, Fill) else Fill(*fill) for fill in fills))


def textured(generator: np.random.Generator, points: np.ndarray, colour: Colour) -> DrawnPart:
    """Stripes, checks or dots over a surface: a part of its own, as any class may wear any of
    them.
    """
    kind = ("stripes", "checks", "dots")[generator.integers(3)]
    pattern = Pattern(kind, generator.uniform(0.16, 0.26), generator.uniform(0, np.pi))
    return part(kind, Fill(points, colour, pattern))


def eye(x: float, y: float, radius: float, look: float) -> DrawnPart:
    """An eye; ``look``, -1 to 1, is where its pupil lies."""
    return part(
        "eye",
        (ellipse(x, y, radius, radius), PAPER),
        (ellipse(x + look * radius * 0.4, y, radius * 0.55, radius * 0.6), INK),
    )


def wheel(x: float, y: float, radius: float, hub: Colour) -> DrawnPart:
    """A tyre round a hub."""
    return part(
        "wheel",
        (ellipse(x, y, radius, radius), INK),
        (ellipse(x, y, radius * 0.5, radius * 0.5), hub),
    )


def window(x0: float, y0: float, x1: float, y1: float, pane: Colour) -> DrawnPart:
    """A window of four panes in its frame."""
    x, y, bar = (x0 + x1) / 2, (y0 + y1) / 2, 0.025
    return part(
        "window",
        (box(x0 - 0.04, y0 - 0.04, x1 + 0.04, y1 + 0.04), PAPER),
        (box(x0, y0, x1, y1), pane),
        (box(x - bar, y0, x + bar, y1), PAPER),
        (box(x0, y - bar, x1, y + bar), PAPER),
    )


_STROKES = {  # letters as strokes in a box of width 1 and height 2 around 0
    "A": ((-0.5, 1, 0, -1), (0, -1, 0.5, 1), (-0.3, 0.35, 0.3, 0.35)),
    "E": ((-0.4, -1, -0.4, 1), (-0.4, -1, 0.5, -1), (-0.4, 0, 0.35, 0), (-0.4, 1, 0.5, 1)),
    "H": ((-0.45, -1, -0.45, 1), (0.45, -1, 0.45, 1), (-0.45, 0, 0.45, 0)),
    "K": ((-0.4, -1, -0.4, 1), (0.5, -1, -0.4, 0.1), (-0.1, -0.15, 0.5, 1)),
    "N": ((-0.45, 1, -0.45, -1), (-0.45, -1, 0.45, 1), (0.45, 1, 0.45, -1)),
    "T": ((-0.55, -1, 0.55, -1), (0, -1, 0, 1)),
    "X": ((-0.5, -1, 0.5, 1), (-0.5, 1, 0.5, -1)),
    "Z": ((-0.5, -1, 0.5, -1), (0.5, -1, -0.5, 1), (-0.5, 1, 0.5, 1)),
}
LETTERS = tuple(sorted(_STROKES))


def letter(name: str, x: float, y: float, size: float, colour: Colour) -> DrawnPart:
    """One of LETTERS around (x, y)."""
    strokes = (
        stroke(x + a * 0.42, y + b * size * 0.75, x + c * 0.42, y + d * size * 0.75, 0.11)
        for a, b, c, d in _STROKES[name]
    )
    return part("letter", *((points, colour) for points in strokes))
