"""What the page's script knows: the table's numbers and where each picture lies, as plain JSON
values. No JAX.

Texts that repeat (class and file names) are listed once and referred to by number. Numbers are the
table's own, at float32's shortest exact decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zfjax.report.kit.films import LOSSLESS_BELOW, Sheet, sheet_values
from zfjax.report.kit.wording import plain
from zfjax.report.pictures import LABEL_LETTERS, LayerPictures, MapPictures, Shot, label_of
from zfjax.run.evolution import Evolution

WIDE_EDGE, NARROW_EDGE, STRIP_EDGE = 84, 80, 64
"""CSS pixels of a tile's longest edge: in the grid, in the grid on a phone, in a film strip."""


@dataclass
class Names:
    """Texts in order of first use: a class name stands once on the page, not once for each of the
    thousands of shots that show it.
    """

    numbers: dict[str, int] = field(default_factory=dict)

    def number_of(self, text: str | None, length: int) -> int | None:
        """The number of ``text``, made plain; None for None."""
        return (
            None
            if text is None
            else self.numbers.setdefault(plain(text, length), len(self.numbers))
        )


def single(value: float | None) -> float | None:
    """A float32 with its shortest exact decimals: the table's own number, in half the letters that
    the same value would take as a Python float.
    """
    return None if value is None else float(str(np.float32(value)))


def frame(shot: Shot | None, labels: Names, files: Names) -> dict[str, Any] | None:
    """One shot for the page: pictures by index in the map's sheet, the rest as in the table."""
    if shot is None:
        return None
    row = shot.row
    return {
        "projection": shot.projection,
        "patch": shot.patch,
        "scale": single(shot.scale),
        "activation": single(row["activation"]),
        "image": row["image_id"],
        "file": files.number_of(row["file_name"] or None, 200),
        "label": labels.number_of(label_of(row), LABEL_LETTERS),
        "place": [row["y"], row["x"]],
        "box": [row["box_y0"], row["box_x0"], row["box_y1"], row["box_x1"]],
        "jumped": row["jumped"],
        "margin": single(row["margin"]),
        **(
            {"rules": [[at, single(scale)] for at, scale in shot.by_rules]} if shot.by_rules else {}
        ),
    }


def map_values(
    map_: MapPictures, sheet: Sheet | None, number: int, labels: Names, files: Names
) -> dict[str, Any]:
    """One map for the page; ``number`` is that of its sheet."""
    return {
        "map": map_.map,
        "sheet": None if sheet is None else sheet_values(sheet, number),
        "shared": single(map_.shared_scale),
        "top": [frame(shot, labels, files) for shot in map_.top],
        "fixed": [frame(shot, labels, files) for shot in map_.fixed],
        "best": [frame(shot, labels, files) for shot in map_.best],
        "ranks": (
            map_.ranks and [[frame(shot, labels, files) for shot in shots] for shots in map_.ranks]
        ),
        "labels": [
            [labels.number_of(name, LABEL_LETTERS) for name in names] for names in map_.labels
        ],
        "shared_by": [single(scale) for scale in map_.shared_by_rules],
        "others": [
            [[frame(shot, labels, files) for shot in shots] for shots in of_steps]
            for of_steps in map_.others.values()
        ],
    }


def size_rules(layers: Sequence[LayerPictures]) -> str:
    """CSS: how large each layer's tiles are shown: small ones a whole number of times, all in their
    proportions.
    """
    rules = []
    for index, layer in enumerate(layers):
        wide, narrow, strip = (
            _shown(layer.tile_size, edge) for edge in (WIDE_EDGE, NARROW_EDGE, STRIP_EDGE)
        )
        rules.append(
            f".L{index}{{--w:{wide[1]}px;--h:{wide[0]}px;--sw:{strip[1]}px;--sh:{strip[0]}px;"
            f"--pw:{_print(strip[1])}px;--ph:{_print(strip[0])}px}}"
            f"@media (max-width:700px){{.L{index}{{--w:{narrow[1]}px;--h:{narrow[0]}px}}}}"
        )
        if max(layer.tile_size) < LOSSLESS_BELOW:
            rules.append(f".L{index} .tile{{image-rendering:pixelated}}")
    return "".join(rules)


def step_values(evolution: Evolution, steps: tuple[int, ...]) -> dict[str, Any]:
    """Steps shown, their epochs, and how a command asks for them."""
    epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))
    return {
        "steps": list(steps),
        "epochs": [epochs[step] for step in steps],
        "at": [
            f"{epochs[step]:g}" if float(epochs[step]).is_integer() else f"step:{step}"
            for step in steps
        ],
    }


def sparkline(
    positions: Sequence[float], shares: Sequence[float | None]
) -> list[tuple[float, float] | None]:
    """(x, y) on a field of 160 x 36 by step for shares 0..1 at positions 0..1; None where the share
    is.
    """
    return [
        None if share is None else (round(4 + 152 * position, 2), round(32 - 28 * share, 2))
        for position, share in zip(positions, shares, strict=True)
    ]


def _shown(size: tuple[int, int], edge: int) -> tuple[int, int]:
    longest = max(size)
    times = edge // longest if longest < LOSSLESS_BELOW else edge / longest
    return round(size[0] * times), round(size[1] * times)


def _print(extent: int) -> int:
    return round(extent * 0.56)
