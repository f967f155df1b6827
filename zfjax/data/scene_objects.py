"""The ten things that the embedded scenes show, each a list of named parts (scene_shapes.py).

The functions are pure: the generator decides details (how many petals, what time it is), the
colours come from outside and know nothing of the class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zfjax.data.scene_shapes import (
    INK,
    LETTERS,
    PAPER,
    Colours,
    DrawnPart,
    box,
    crescent,
    ellipse,
    eye,
    letter,
    part,
    polygon,
    stroke,
    textured,
    wheel,
    window,
)


def face(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A head with hair, ears, eyes, nose and mouth."""
    look, smile = generator.uniform(-1, 1), generator.uniform(0.1, 0.3)
    wide = generator.uniform(0.66, 0.8)
    fringe = generator.uniform(-0.5, -0.25)
    crown = ellipse(0, -0.12, wide + 0.06, 0.86)[16:]  # its upper half
    hair = np.concatenate(
        [
            crown,
            polygon(
                (wide - 0.05, fringe),
                (0.1, fringe - 0.12),
                (-0.2, fringe),
                (-wide + 0.05, fringe + 0.05),
            ),
        ]
    )
    parts = [part("ear", (ellipse(side * wide, 0.12, 0.2, 0.22), colours.main)) for side in (-1, 1)]
    parts += [
        part("head", (ellipse(0, 0.05, wide, 0.88), colours.main)),
        part("hair", (hair, colours.second)),
    ]
    parts += [eye(side * 0.32, -0.02, 0.17, look) for side in (-1, 1)]
    parts += [
        part("nose", (polygon((0, 0.05), (0.13, 0.36), (-0.11, 0.36)), colours.third)),
        part(
            "mouth",
            (crescent(0, 0.53, 0.36, smile, smile * generator.uniform(-0.4, 0.35)), (176, 48, 62)),
        ),
    ]
    return parts


def car(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A car from the side: body, cabin, windows, wheels, lamp, door."""
    front, roof = generator.uniform(0.35, 0.6), generator.uniform(-0.58, -0.45)
    body = polygon(
        (-0.98, -0.02), (-0.9, -0.1), (0.8, -0.1), (0.98, 0.08), (0.98, 0.38), (-0.98, 0.38)
    )
    cabin = polygon((-0.72, -0.08), (-0.5, roof), (front - 0.18, roof), (front + 0.12, -0.08))
    parts = [part("cabin", (cabin, colours.main)), part("body", (body, colours.main))]
    if generator.random() < 0.4:
        parts.append(textured(generator, box(-0.94, 0.1, 0.94, 0.34), colours.second))
    middle, top, glass = (front - 0.68) / 2, roof + 0.08, (196, 226, 240)
    rear = polygon((-0.58, -0.1), (-0.43, top), (middle - 0.04, top), (middle - 0.04, -0.1))
    ahead = polygon((middle + 0.04, -0.1), (middle + 0.04, top), (front - 0.22, top), (front, -0.1))
    parts += [
        part("window", (rear, glass)),
        part("window", (ahead, glass)),
        part(
            "door",
            (stroke(middle, -0.05, middle, 0.32, 0.04), INK),
            (stroke(middle + 0.08, 0.05, middle + 0.18, 0.05, 0.05), INK),
        ),
        part("lamp", (ellipse(0.9, 0.12, 0.09, 0.08), (255, 226, 120))),
        wheel(-0.55, 0.4, generator.uniform(0.22, 0.27), colours.third),
        wheel(0.55, 0.4, generator.uniform(0.22, 0.27), colours.third),
    ]
    return parts


def house(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A house: wall, roof, chimney, door and windows."""
    eaves, peak = generator.uniform(-0.25, -0.1), generator.uniform(-0.25, 0.25)
    door = (-0.4, 0.0, 0.4)[generator.integers(3)]
    parts = [
        part("chimney", (box(0.38, -0.9, 0.58, eaves), colours.third)),
        part("wall", (box(-0.78, eaves, 0.78, 0.9), colours.main)),
    ]
    if generator.random() < 0.4:
        parts.append(textured(generator, box(-0.78, eaves, 0.78, 0.9), colours.third))
    parts.append(
        part(
            "roof",
            (polygon((-0.98, eaves + 0.04), (peak, -0.95), (0.98, eaves + 0.04)), colours.second),
        )
    )
    pane = ((186, 222, 238), (255, 226, 130))[generator.integers(2)]
    parts += [
        part(
            "door",
            (box(door - 0.18, 0.28, door + 0.18, 0.9), INK),
            (box(door - 0.13, 0.33, door + 0.13, 0.9), colours.second),
            (ellipse(door + 0.08, 0.62, 0.035, 0.035), PAPER),
        )
    ]
    parts += [
        window(x - 0.14, 0.12, x + 0.14, 0.46, pane)
        for x in (-0.5, 0.0, 0.5)
        if abs(x - door) > 0.3
    ]
    return parts


def fish(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A fish: body, tail, fins, eye, mouth, and a texture for its scales."""
    tall, tail = generator.uniform(0.4, 0.55), generator.uniform(0.35, 0.55)
    body = ellipse(0.12, 0, 0.8, tall)
    scales = ellipse(0.0, 0, 0.5, tall * 0.82)
    fin = polygon((-0.2, -tall * 0.85), (0.15, -tall - 0.35), (0.45, -tall * 0.8))
    return [
        part(
            "tail", (polygon((-0.5, 0), (-0.98, -tail), (-0.82, 0), (-0.98, tail)), colours.second)
        ),
        part("fin", (fin, colours.second)),
        part("fin", (fin * (0.8, -0.85), colours.second)),
        part("body", (body, colours.main)),
        textured(generator, scales, colours.third),
        part("fin", (polygon((-0.05, 0.05), (-0.35, 0.3), (0.12, 0.28)), colours.second)),
        part("mouth", (stroke(0.74, 0.14, 0.9, 0.1, 0.05), INK)),
        eye(0.58, -0.12, 0.15, 0.6),
    ]


def flower(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A flower: stem, leaves, petals around a heart."""
    count, start = int(generator.integers(5, 9)), generator.uniform(0, np.pi)
    green, lean = (
        ((62, 142, 90), (98, 152, 60), (44, 120, 110))[generator.integers(3)],
        generator.uniform(-0.15, 0.15),
    )
    x, y, long = 0.0, -0.3, generator.uniform(0.3, 0.36)
    parts = [part("stem", (stroke(x, y, lean, 0.95, 0.1), green))]
    parts += [
        part("leaf", (ellipse(lean + side * 0.3, height, 0.3, 0.12, -side * 0.5), green))
        for side, height in zip((-1, 1), generator.uniform(0.5, 0.75, 2), strict=True)
    ]
    for petal in range(count):
        angle = start + 2 * np.pi * petal / count
        wide = min(0.2, 1.1 / count)
        parts.append(
            part(
                "petal",
                (
                    ellipse(x + 0.36 * np.cos(angle), y + 0.36 * np.sin(angle), long, wide, angle),
                    colours.second if petal % 2 and count % 2 == 0 else colours.main,
                ),
            )
        )
    return [
        *parts,
        part("heart", (ellipse(x, y, 0.22, 0.22), INK), (ellipse(x, y, 0.18, 0.18), colours.third)),
    ]


def butterfly(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A butterfly: four spotted wings, body, antennae."""
    spread, spot = generator.uniform(0.3, 0.5), generator.uniform(0.1, 0.15)
    parts = []
    for side in (-1, 1):
        upper = ellipse(side * 0.52, -0.34, 0.52, 0.34, side * -spread)
        lower = ellipse(side * 0.42, 0.4, 0.4, 0.27, side * spread)
        parts += [
            part("wing", (lower, colours.second)),
            part(
                "wing",
                (upper, INK),
                (ellipse(side * 0.52, -0.34, 0.45, 0.27, side * -spread), colours.main),
            ),
            part("spot", (ellipse(side * 0.66, -0.4, spot, spot), colours.third)),
            part("spot", (ellipse(side * 0.34, -0.22, spot * 0.7, spot * 0.7), colours.third)),
            part("spot", (ellipse(side * 0.46, 0.42, spot * 0.9, spot * 0.9), colours.third)),
            part(
                "antenna",
                (stroke(0, -0.5, side * 0.22, -0.88, 0.045), INK),
                (ellipse(side * 0.22, -0.88, 0.05, 0.05), INK),
            ),
        ]
    return [*parts, part("body", (ellipse(0, 0.02, 0.1, 0.6), INK))]


def sign(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A board on a pole with two or three letters."""
    count = int(generator.integers(2, 4))
    letters = generator.choice(LETTERS, count, replace=False)
    low, high = 0.2, -0.75
    pale = sum(colours.main) > 400
    parts = [
        part("pole", (box(-0.07, low, 0.07, 0.95), colours.third)),
        part(
            "board",
            (box(-0.96, high, 0.96, low), INK if pale else PAPER),
            (box(-0.9, high + 0.06, 0.9, low - 0.06), colours.main),
        ),
    ]
    for position, name in enumerate(letters):
        x = (position - (count - 1) / 2) * 1.6 / count
        parts.append(letter(str(name), x, (low + high) / 2, 0.34, INK if pale else PAPER))
    return parts


def clock(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A dial with a rim, twelve marks, two hands, on two feet."""
    hour, minute = generator.uniform(0, 2 * np.pi, 2)
    bells = generator.random() < 0.5
    parts = [
        part("foot", (stroke(side * 0.45, 0.6, side * 0.66, 0.92, 0.14), colours.second))
        for side in (-1, 1)
    ]
    if bells:
        parts += [
            part("bell", (ellipse(side * 0.5, -0.72, 0.26, 0.2, side * 0.7), colours.second))
            for side in (-1, 1)
        ]
    parts += [
        part("rim", (ellipse(0, 0, 0.86, 0.86), colours.main)),
        part("dial", (ellipse(0, 0, 0.7, 0.7), PAPER)),
    ]
    for mark in range(12):
        x, y = np.cos(mark * np.pi / 6), np.sin(mark * np.pi / 6)
        inner = 0.5 if mark % 3 == 0 else 0.56
        parts.append(part("mark", (stroke(inner * x, inner * y, 0.62 * x, 0.62 * y, 0.05), INK)))
    parts += [
        part("hand", (stroke(0, 0, reach * np.cos(angle), reach * np.sin(angle), width), INK))
        for reach, width, angle in ((0.32, 0.12, hour), (0.5, 0.08, minute))
    ]
    return [*parts, part("pin", (ellipse(0, 0, 0.09, 0.09), colours.third))]


def boat(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A sailing boat: hull with portholes, mast, two sails, flag."""
    top, wide = generator.uniform(-0.85, -0.7), generator.uniform(0.55, 0.75)
    main = polygon((0.06, top + 0.06), (0.06, 0.22), (wide, 0.22))
    parts = [
        part("flag", (polygon((0, top - 0.14), (0.3, top - 0.05), (0, top + 0.04)), colours.third)),
        part("mast", (stroke(0, top - 0.1, 0, 0.4, 0.07), INK)),
        part("sail", (main, PAPER if generator.random() < 0.5 else colours.third)),
    ]
    if generator.random() < 0.6:
        parts.append(textured(generator, main, colours.second))
    parts += [
        part(
            "sail",
            (polygon((-0.06, top + 0.2), (-0.06, 0.22), (-wide * 0.75, 0.22)), colours.second),
        ),
        part(
            "hull",
            (polygon((-0.95, 0.34), (0.95, 0.34), (0.62, 0.85), (-0.65, 0.85)), colours.main),
        ),
    ]
    parts += [
        part("porthole", (ellipse(x, 0.56, 0.1, 0.1), PAPER), (ellipse(x, 0.56, 0.06, 0.06), INK))
        for x in (-0.42, 0.0, 0.42)
    ]
    return parts


def robot(generator: np.random.Generator, colours: Colours) -> list[DrawnPart]:
    """A robot: square head with antenna, eyes and a grille, body with buttons, arms and legs."""
    lift = generator.uniform(-0.35, 0.35, 2)
    parts = [
        part(
            "antenna",
            (stroke(0, -0.75, 0, -0.92, 0.05), INK),
            (ellipse(0, -0.92, 0.07, 0.07), colours.third),
        )
    ]
    parts += [
        part(
            "arm",
            (stroke(side * 0.5, 0.12, side * 0.85, 0.3 + up, 0.15), colours.second),
            (ellipse(side * 0.85, 0.3 + up, 0.12, 0.12), INK),
        )
        for side, up in zip((-1, 1), lift, strict=True)
    ]
    parts += [
        part(
            "leg",
            (box(side * 0.25 - 0.1, 0.6, side * 0.25 + 0.1, 0.88), colours.second),
            (box(side * 0.25 - 0.16, 0.84, side * 0.25 + 0.16, 0.95), INK),
        )
        for side in (-1, 1)
    ]
    parts += [
        part("body", (box(-0.5, 0.0, 0.5, 0.64), colours.main)),
        part("head", (box(-0.42, -0.76, 0.42, -0.06), colours.main)),
    ]
    if generator.random() < 0.4:
        parts.append(textured(generator, box(-0.46, 0.34, 0.46, 0.6), colours.second))
    eyes = generator.uniform(0.11, 0.15)
    parts += [
        part(
            "eye",
            (box(side * 0.2 - eyes, -0.62, side * 0.2 + eyes, -0.38), PAPER),
            (box(side * 0.2 - 0.06, -0.55, side * 0.2 + 0.06, -0.43), INK),
        )
        for side in (-1, 1)
    ]
    parts.append(
        part(
            "mouth",
            (box(-0.28, -0.28, 0.28, -0.14), INK),
            *((box(x - 0.03, -0.26, x + 0.03, -0.16), PAPER) for x in (-0.18, -0.06, 0.06, 0.18)),
        )
    )
    parts += [
        part("button", (ellipse(x, 0.18, 0.08, 0.08), colours.third)) for x in (-0.25, 0.0, 0.25)
    ]
    return parts


OBJECTS: dict[str, Callable[[np.random.Generator, Colours], list[DrawnPart]]] = {
    draw.__name__: draw
    for draw in (boat, butterfly, car, clock, face, fish, flower, house, robot, sign)
}
