"""What runs, evolutions and measures show of themselves in a notebook: HTML and PNG, without a
notebook's libraries. No JAX.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from zfjax.errors import ZfjaxError, shortened
from zfjax.run.colours import INK, MID_GREY, QUIET, colour_scale, to_bytes
from zfjax.run.tabled import Tabled
from zfjax.values import real_number, whole_number

if TYPE_CHECKING:
    from zfjax.run.map_figure import MapFigure

EDGE = 84
"""Pixels of a tile's longest edge."""
LINE = 14
"""Pixels of a line of text in a PNG."""
MOST_COLUMNS = 17
"""Epochs of a map's figure: 16, and what stands before them."""
MOST_ROWS = 40
"""Of a measure's table in a notebook."""


class _Searched(Protocol):
    """What is shown of an evolution (``run.evolution.Evolution``, which builds on this file)."""

    @property
    def folder(self) -> Path: ...
    @property
    def record(self) -> Any: ...
    @property
    def steps(self) -> tuple[int, ...]: ...
    @property
    def epochs(self) -> tuple[float, ...]: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    def maps(self, layer: str) -> tuple[int, ...]: ...
    def rows(self, **equal: Any) -> list[dict[str, Any]]: ...
    def tiles(self, layer: str, step: int) -> dict[tuple[str, int, int], Any]: ...
    def settled(self, layer: str) -> dict[int, float | None]: ...


class _Numbers(Protocol):
    """What is shown of a measure (``run.measured.Measured``)."""

    @property
    def name(self) -> str: ...
    @property
    def meta(self) -> Any: ...
    @property
    def table(self) -> Any: ...
    @property
    def steps(self) -> tuple[int, ...]: ...
    @property
    def epochs(self) -> tuple[float, ...]: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    def quantities(self) -> tuple[str, ...]: ...
    def of_layer(self, quantity: str, layer: str | None) -> dict[int, float]: ...


class Showing:
    """How an evolution shows itself in a notebook."""

    def film(self: _Searched, layer: str, map: int) -> Shown:
        """One drawn map at every epoch: its strongest image searched anew, and the last epoch's
        held fixed. Raises ZfjaxError for a map that is not drawn.
        """
        return film_of(self, layer, map)

    @overload
    def show(
        self, layer: str, map: int, *, epoch: float | None = None, maps: int = 8
    ) -> MapFigure: ...
    @overload
    def show(
        self,
        layer: str | None = None,
        map: None = None,
        *,
        epoch: float | None = None,
        maps: int = 8,
    ) -> Shown: ...
    def show(
        self: Any,
        layer: str | None = None,
        map: int | None = None,
        *,
        epoch: float | None = None,
        maps: int = 8,
    ) -> Shown | MapFigure:
        """The first ``maps`` drawn maps of a layer (None: of all) at an epoch (None: the last),
        each by its strongest image. Or one ``map`` of a layer as a matplotlib figure: its film, at
        that epoch alone where one is named. Raises ZfjaxError for what was not searched or drawn.
        """
        if map is not None:
            return map_figure_of(self, layer, map, epoch)
        count = whole_number(maps, "maps")
        if count < 1:
            raise ZfjaxError(f"maps = {count}: at least one map of a layer is shown.")
        layers = self.layers if layer is None else (layer,)
        return maps_of(self, layers, epoch, count)

    def _repr_html_(self: _Searched) -> str:
        return evolution_table(self).html()


@dataclass(frozen=True)
class Frame:
    """One unit: what stands under it, and its pictures."""

    caption: str
    pictures: tuple[np.ndarray, ...]
    """Projection and patch, uint8 [height, width, 3]; none for a dead map."""


@dataclass(frozen=True)
class Shown:
    """Rows of units, as a notebook shows them; ``picture`` is the same as an image to keep."""

    title: str
    rows: tuple[tuple[str, tuple[Frame, ...]], ...]
    """Each with its name."""

    def __repr__(self) -> str:
        return f"<{self.title}: {sum(len(frames) for _, frames in self.rows)} pictures>"

    def _repr_html_(self) -> str:
        body = Markup("").join(_row_html(name, frames) for name, frames in self.rows)
        return str(Markup("<div><b>{}</b>{}</div>").format(self.title, body))

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.picture.save(buffer, "PNG")
        return buffer.getvalue()

    @property
    def picture(self) -> Image.Image:
        """All rows as one image on white."""
        cell, across = EDGE + 6, max((len(frames) for _, frames in self.rows), default=0)
        down = max((len(f.pictures) for _, frames in self.rows for f in frames), default=0)
        high = LINE * 3 + max(1, down) * (EDGE + 2) + 10
        size = max(320, across * cell + 6), LINE + 8 + high * len(self.rows)
        board = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(board)
        draw.text((6, 4), _ascii(self.title), fill=INK)
        for row, (name, frames) in enumerate(self.rows):
            top = LINE + 8 + row * high
            draw.text((6, top), _ascii(name), fill=QUIET)
            for column, frame in enumerate(frames):
                left, below = 6 + column * cell, top + LINE + 2
                for index, picture in enumerate(frame.pictures):
                    board.paste(enlarged(picture), (left, below + index * (EDGE + 2)))
                caption = _ascii(frame.caption).replace(": ", "\n")
                bottom = top + high - 2 * LINE - 8
                draw.multiline_text((left, bottom), caption, fill=INK, spacing=2)
        return board


def film_of(evolution: _Searched, layer: str, map_: int) -> Shown:
    """One map at every epoch: its strongest image searched anew, and the last epoch's held fixed.
    Raises ZfjaxError for a layer or a map that is not drawn.
    """
    map_ = _drawn(evolution, layer, map_)
    rows = {}
    for selection in ("top", "fixed"):
        units = evolution.rows(layer=layer, map=map_, selection=selection, rank=0)
        rows[selection] = {row["step"]: row for row in units}
    tiles = {step: evolution.tiles(layer, step) for step in evolution.steps}

    def frames(selection: str) -> tuple[Frame, ...]:
        return tuple(
            _frame(
                f"epoch {epoch:g}", rows[selection].get(step), tiles[step].get((selection, map_, 0))
            )
            for step, epoch in zip(evolution.steps, evolution.epochs, strict=True)
        )

    named = (("searched anew", frames("top")), ("held fixed", frames("fixed")))
    return Shown(f"{layer}, map {map_}", named)


def map_figure_of(
    evolution: _Searched, layer: str | None, map_: int, epoch: float | None
) -> MapFigure:
    """A map's film as a matplotlib figure, at one epoch alone where it is named. Raises ZfjaxError
    for what is not drawn.
    """
    from zfjax.run.map_figure import figure_of_rows  # matplotlib takes a second to load

    if layer is None:
        raise ZfjaxError(f"Map {map_} of which layer? evolution.show(layer, map) shows one map.")
    film = film_of(evolution, layer, map_)
    if epoch is None:
        return figure_of_rows(film.title, film.rows, MOST_COLUMNS)
    at = evolution.steps.index(_step_at(evolution, epoch))
    alone = tuple((name, (frames[at],)) for name, frames in film.rows)
    return figure_of_rows(film.title, alone, MOST_COLUMNS)


def maps_of(evolution: _Searched, layers: Sequence[str], epoch: float | None, count: int) -> Shown:
    """The first drawn maps of layers at an epoch (None: the last), each by its strongest image.
    Raises ZfjaxError for what was not searched.
    """
    step = _step_at(evolution, epoch)
    rows = []
    for layer in layers:
        maps, tiles = evolution.maps(layer)[:count], evolution.tiles(layer, step)
        units = evolution.rows(layer=layer, step=step, selection="top", rank=0)
        by_map = {row["map"]: row for row in units}
        frames = (
            _frame(f"map {map_}", by_map.get(map_), tiles.get(("top", map_, 0))) for map_ in maps
        )
        rows.append((layer, tuple(frames)))
    epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))
    return Shown(f"Strongest images at epoch {epochs[step]:g}", tuple(rows))


def evolution_table(evolution: _Searched) -> Tabled:
    """What was searched, and a row a layer."""
    record = evolution.record
    rows = []
    for layer in evolution.layers:
        settled, dead = evolution.settled(layer), record.dead_share.get(layer) or (None,)
        purity = record.purity.get(layer) or (None,)
        begun = settled[evolution.steps[0]]
        drawn = f"{len(evolution.maps(layer))} of {record.map_count[layer]}"
        rows.append((layer, drawn, *map(_percent, (begun, dead[-1], purity[-1]))))
    heads = ("layer", "maps drawn", "settled at first", "dead at the end", "purity")
    first, last = evolution.epochs[0], evolution.epochs[-1]
    several = f"{len(evolution.steps)} epochs from {first:g} to {last:g}"
    words = (
        f"{several if first < last else f'Epoch {last:g} alone'}, {record.images:,} images of"
        f" {record.split}, rule {record.rule}."
        " evolution.show() and evolution.film(layer, map) show its pictures."
    )
    return Tabled("Evolution", words, heads, rows)


def measured_table(measured: _Numbers) -> Tabled:
    """The sentence, and every number of the layers at the last epoch."""
    last, layers = measured.steps[-1], measured.layers
    rows = []
    for name in measured.quantities():
        values = [measured.of_layer(name, layer).get(last, math.nan) for layer in layers]
        if any(math.isfinite(value) for value in values):
            rows.append((name, *(f"{v:.3g}" if math.isfinite(v) else "–" for v in values)))
    words = str(measured.meta.get("sentence", ""))
    more = f" {len(rows) - MOST_ROWS} more numbers are not shown." if len(rows) > MOST_ROWS else ""
    end = f"At epoch {measured.epochs[-1]:g}; all {measured.table.num_rows:,} rows: .table.{more}"
    heads = ("quantity", *layers)
    return Tabled(measured.name, f"{words} {end}".strip(), heads, rows[:MOST_ROWS])


def enlarged(picture: np.ndarray) -> Image.Image:
    """``picture`` with a longest edge of about EDGE pixels; small ones a whole number of times."""
    image, longest = Image.fromarray(picture), max(picture.shape[:2])
    times = EDGE // longest if longest <= EDGE // 2 else EDGE / longest
    kind = Image.Resampling.NEAREST if longest <= EDGE // 2 else Image.Resampling.LANCZOS
    height, width = (max(1, round(extent * times)) for extent in picture.shape[:2])
    return image.resize((width, height), kind)


def _frame(name: str, row: dict[str, Any] | None, tile: Any) -> Frame:
    """A row of the table and its ``Tile``, as far as there are any."""
    if row is None or tile is None:
        return Frame(f"{name}: dead" if row is None else name, ())
    shown = to_bytes(tile.projection, colour_scale(tile.projection))
    return Frame(f"{name}: {row['activation']:.3g}", (shown, tile.patch))


def _row_html(name: str, frames: Sequence[Frame]) -> Markup:
    cells = Markup("").join(_frame_html(frame) for frame in frames)
    return Markup(
        '<div style="margin:6px 0 2px">{}</div><div style="display:flex;flex-wrap:wrap;gap:6px">'
        "{}</div>"
    ).format(name, cells)


def _frame_html(frame: Frame) -> Markup:
    empty = np.full((EDGE, EDGE, 3), MID_GREY, np.uint8)
    pictures = Markup("").join(
        Markup(
            '<img alt="" src="data:image/png;base64,{}" style="display:block;margin:0 0 2px">'
        ).format(_encoded(enlarged(picture)))
        for picture in frame.pictures or (empty,)
    )
    return Markup('<div style="font-size:11px">{}{}</div>').format(pictures, frame.caption)


def _encoded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _drawn(evolution: _Searched, layer: str, map_: int) -> int:
    drawn, number = evolution.maps(layer), whole_number(map_, "map")
    if number not in drawn:
        raise ZfjaxError(
            f"Map {number} of {layer} is not drawn in {evolution.folder}; drawn are"
            f" {shortened(map(str, drawn), 20)}. `zfjax evolve --maps all` draws all of them."
        )
    return number


def _step_at(evolution: _Searched, epoch: float | None) -> int:
    if epoch is None:
        return evolution.steps[-1]
    wanted = real_number(epoch, "epoch")
    for step, own in zip(evolution.steps, evolution.epochs, strict=True):
        if math.isclose(own, wanted, abs_tol=1e-9):
            return step
    raise ZfjaxError(
        f"{evolution.folder} was not searched at epoch {wanted:g}; its epochs are"
        f" {shortened((f'{own:g}' for own in evolution.epochs), 20)}."
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _ascii(text: str) -> str:
    """What the small font of a PNG has letters for."""
    return text.encode("ascii", "replace").decode()
