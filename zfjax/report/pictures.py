"""From a layer's drawn units to pictures: signed projections as bytes, joined to their rows of the
table, and packed into sheets. No JAX.

A projection is signed and has no natural range. It is shown around mid-grey, divided by a symmetric
scale: by default each tile's own 99.5th percentile of magnitudes, which stands for the paper's
"contrast is artificially enhanced" (Zeiler & Fergus 2013, Fig. 4). The scale is always reported
beside the picture.

A settled map draws the same picture again and again, so each map keeps every different picture once
and its shots refer to them by number. One layer is read at a time: memory does not grow with the
number of layers.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from zfjax.errors import ZfjaxError
from zfjax.report.kit.films import LOSSLESS_BELOW, Sheet
from zfjax.report.kit.wording import plain
from zfjax.run.colours import MID_GREY, colour_scale, to_bytes
from zfjax.run.evolution import Evolution, Tile
from zfjax.run.evolution_files import tiles_folder

LABEL_LETTERS = 60
"""Of a class's name on the page."""


@dataclass(frozen=True)
class Shot:
    """One drawn unit: its row of the table, its pictures (indices into the map's ``stack``), its
    colour scale.
    """

    row: dict[str, Any]
    projection: int
    patch: int | None
    """None when photos are left out."""
    scale: float
    by_rules: tuple[tuple[int, float], ...] = ()
    """(projection, scale) by each rule after the main one; () until ``report.variety``."""


@dataclass(frozen=True)
class MapPictures:
    """All that is shown of one feature map. ``top`` and ``fixed`` have one entry a step, None where
    no unit is.
    """

    map: int
    stack: np.ndarray
    """uint8 [n, height, width, 3]: every different picture once."""
    top: tuple[Shot | None, ...]
    fixed: tuple[Shot | None, ...]
    best: tuple[Shot, ...]
    """The strongest images at the last step, from rank 0."""
    ranks: tuple[tuple[Shot, ...], ...] | None
    """The strongest images at every step, where all were drawn; else None."""
    labels: tuple[tuple[str | None, ...], ...]
    """What the classes of the strongest images are called, by step, from rank 0; None where the
    label is not known.
    """
    others: Mapping[str, tuple[tuple[Shot, ...], ...]] = field(default_factory=dict)
    """By selection beside "top" and "fixed": by step, what is drawn, from rank 0; {} until
    ``report.variety``.
    """

    @property
    def shared_scale(self) -> float:
        """The largest colour scale over all steps: with it, strengths can be compared between
        epochs.
        """
        return max(
            (shot.scale for shot in (*self.top, *self.fixed) if shot is not None), default=0.0
        )

    @property
    def shared_by_rules(self) -> tuple[float, ...]:
        """The same by each rule after the main one."""
        shots = [shot for shot in (*self.top, *self.fixed) if shot is not None]
        count = len(shots[0].by_rules) if shots else 0
        return tuple(max(shot.by_rules[index][1] for shot in shots) for index in range(count))

    def pair(self, shot: Shot) -> tuple[np.ndarray, np.ndarray | None]:
        """Projection and patch of a shot, uint8 [height, width, 3]; the patch is None without
        photos.
        """
        return self.stack[shot.projection], None if shot.patch is None else self.stack[shot.patch]


@dataclass(frozen=True)
class LayerPictures:
    """Drawn maps of one layer at some of its steps."""

    layer: str
    epochs: tuple[float, ...]
    """One a step shown."""
    tile_size: tuple[int, int]
    maps: tuple[MapPictures, ...]


def read_layer(
    evolution: Evolution,
    layer: str,
    steps: tuple[int, ...],
    drawn: tuple[int, ...],
    photos: bool = True,
    tell: Callable[[int, int], None] | None = None,
) -> LayerPictures:
    """Rows and pictures of the maps ``drawn`` of one layer at ``steps`` (the last searched step
    among them). ``tell(done, total)`` hears of each step.

    Raises ZfjaxError when the table names a drawn unit that the tiles lack.
    """
    rows = _rows(evolution, layer, drawn, steps)
    last = evolution.steps[-1]
    stacks: dict[int, Stack] = {map_: Stack() for map_ in drawn}
    shots: dict[tuple[int, int, str, int], Shot] = {}
    for done, step in enumerate(steps):
        if tell is not None:
            tell(done, len(steps))
        tiles = evolution.tiles(layer, step)
        for map_ in drawn:
            for selection, rank in _drawn_units(
                step == last or evolution.every_rank, evolution.record.top
            ):
                row = rows.get((step, map_, selection, rank))
                if row is not None:
                    tile = tile_of(tiles, row, evolution)
                    shots[step, map_, selection, rank] = stacks[map_].shot(row, tile, photos)
    if tell is not None:
        tell(len(steps), len(steps))
    tile_size = evolution.record.tile_size[layer]
    epochs = dict(zip(evolution.steps, evolution.epochs, strict=True))

    def ranked(step: int, map_: int) -> tuple[Shot, ...]:
        keys = ((step, map_, "top", rank) for rank in range(evolution.record.top))
        return tuple(shots[key] for key in keys if key in shots)

    return LayerPictures(
        layer,
        tuple(epochs[step] for step in steps),
        tile_size,
        tuple(
            MapPictures(
                map=map_,
                stack=stacks[map_].array(tile_size),
                top=tuple(shots.get((step, map_, "top", 0)) for step in steps),
                fixed=tuple(shots.get((step, map_, "fixed", 0)) for step in steps),
                best=ranked(last, map_),
                ranks=tuple(ranked(step, map_) for step in steps) if evolution.every_rank else None,
                labels=tuple(_labels(rows, step, map_, evolution.record.top) for step in steps),
            )
            for map_ in drawn
        ),
    )


class Stack:
    """Different pictures in order of first use, after those of ``begun``."""

    def __init__(self, begun: Iterable[np.ndarray] = ()) -> None:
        self._pictures = list(begun)
        self._indices = {picture.tobytes(): at for at, picture in enumerate(self._pictures)}

    def shot(self, row: dict[str, Any], tile: Tile, photos: bool) -> Shot:
        """A tile's pictures and scale."""
        projection, scale = self.projection(tile)
        return Shot(row, projection, self._index(tile.patch) if photos else None, scale)

    def projection(self, tile: Tile) -> tuple[int, float]:
        """The number of a tile's projection, and its colour scale."""
        scale = colour_scale(tile.projection)
        return self._index(to_bytes(tile.projection, scale)), scale

    def array(self, tile_size: tuple[int, ...]) -> np.ndarray:
        """uint8 [n, height, width, 3]."""
        return np.array(self._pictures, np.uint8).reshape(len(self._pictures), *tile_size, 3)

    def _index(self, picture: np.ndarray) -> int:
        index = self._indices.setdefault(picture.tobytes(), len(self._pictures))
        if index == len(self._pictures):
            self._pictures.append(picture)
        return index


def _drawn_units(all_ranks: bool, top: int) -> list[tuple[str, int]]:
    return [("fixed", 0), *(("top", rank) for rank in range(top if all_ranks else 1))]


def _rows(
    evolution: Evolution, layer: str, drawn: tuple[int, ...], steps: tuple[int, ...]
) -> dict[tuple[int, int, str, int], dict[str, Any]]:
    units = evolution.units
    units = units.filter(pc.equal(units["layer"], layer))
    units = units.filter(pc.is_in(units["selection"], pa.array(["top", "fixed"])))
    units = units.filter(pc.is_in(units["map"], pa.array(drawn, pa.int32())))
    units = units.filter(pc.is_in(units["step"], pa.array(steps, pa.int32())))
    return {
        (row["step"], row["map"], row["selection"], row["rank"]): row
        for row in named_rows(units, evolution)
    }


def named_rows(units: pa.Table, evolution: Evolution) -> list[dict[str, Any]]:
    """Rows of an evolution's table. Classes whose names a reader could not tell apart, as the two
    cranes of ImageNet (a bird, a machine), have their numbers behind them.
    """
    every = evolution.units.select(["label", "label_name"]).group_by(["label", "label_name"])
    names = {
        row["label"]: row["label_name"]
        for row in every.aggregate([]).to_pylist()
        if row["label"] is not None and row["label_name"] is not None
    }
    said = {label: plain(name, LABEL_LETTERS) for label, name in names.items()}
    times = Counter(said.values())
    numbered = {}
    for label, text in said.items():
        if times[text] > 1:
            number = f" (class {label})"
            numbered[label] = plain(names[label], LABEL_LETTERS - len(number)) + number
    rows: list[dict[str, Any]] = units.to_pylist()
    if not numbered:
        return rows
    return [{**row, "label_name": numbered.get(row["label"], row["label_name"])} for row in rows]


def tile_of(
    tiles: Mapping[tuple[str, int, int], Tile],
    row: Mapping[str, Any],
    evolution: Evolution,
    rule: str | None = None,
) -> Tile:
    """The tile of a row, among those of its layer and step by ``rule``. Raises ZfjaxError where it
    is not there.
    """
    tile = tiles.get((row["selection"], row["map"], row["rank"]))
    if tile is None:
        path = tiles_folder(evolution.folder, rule) / row["layer"] / f"{row['step']}.npz"
        raise ZfjaxError(
            f"{path} lacks map {row['map']} ({row['selection']}, rank {row['rank']}) that"
            " units.parquet names; delete that file and run `zfjax evolve` again."
        )
    return tile


def label_of(row: Mapping[str, Any]) -> str | None:
    """What the label of a row's image is called: its number where its classes have no names, as of
    somebody else's network; None where the label is not known.
    """
    if row["label_name"] is None and row["label"] is not None:
        return f"class {row['label']}"
    name: str | None = row["label_name"]
    return name


def _labels(
    rows: dict[tuple[int, int, str, int], dict[str, Any]], step: int, map_: int, top: int
) -> tuple[str | None, ...]:
    ranked = (rows.get((step, map_, "top", rank)) for rank in range(top))
    return tuple(label_of(row) for row in ranked if row is not None)


def filter_grid(
    kernel: np.ndarray, aspect: float = 1.5, scale: float | None = None
) -> tuple[np.ndarray, float]:
    """First-layer filters (float [height, width, 3, maps]) as one picture and its scale.

    uint8 RGBA, about ``aspect`` times as tall as wide, a transparent pixel between them; all
    filters share one scale, by default ``colour_scale`` of all. Other than three channels: the mean
    over them.
    """
    if kernel.shape[2] != 3:
        kernel = kernel.mean(axis=2, keepdims=True).repeat(3, axis=2)
    height, width, _, maps = kernel.shape
    columns = max(1, round((maps / aspect) ** 0.5))
    rows = -(-maps // columns)
    scale = colour_scale(kernel) if scale is None else scale
    sheet = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, 4), np.uint8)
    for index in range(maps):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        sheet[top : top + height, left : left + width, :3] = to_bytes(kernel[..., index], scale)
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet, scale


Store = Callable[[bytes, str], str]
"""(a picture's bytes, its kind such as "webp") -> the URI that a page shows it by."""


def data_uri(data: bytes, kind: str) -> str:
    """``data`` as a data: URI of an image type."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def make_sheet(stack: np.ndarray, quality: int | None, store: Store = data_uri) -> Sheet:
    """Packs ``stack`` (uint8 [n, height, width, 3 or 4]) into one WebP, by default a data URI.

    Tiles below 32 pixels, and all with quality None, are stored without loss; others with
    ``quality`` 1..100, each in a cell of even size whose rim repeats the tile's border: neither
    chroma subsampling nor smoothing mixes neighbours.
    """
    count, height, width, channels = stack.shape
    lossless = quality is None or max(height, width) < LOSSLESS_BELOW
    rim = (0, 0) if lossless else (2 + height % 2, 2 + width % 2)
    cell = height + rim[0], width + rim[1]
    columns = max(1, min(count, round((count * cell[0] / cell[1]) ** 0.5)))
    rows = -(-count // columns)
    padded = np.pad(stack, ((0, 0), (0, rim[0]), (0, rim[1]), (0, 0)), mode="edge")
    sheet = np.full((rows * columns, *cell, channels), MID_GREY, np.uint8)
    sheet[:count] = padded
    sheet = sheet.reshape(rows, columns, *cell, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * cell[0], columns * cell[1], channels)
    data = webp(sheet, None if lossless else quality)
    return Sheet(store(data, "webp"), columns, rows, cell, (height, width), len(data))


def webp(picture: np.ndarray, quality: int | None) -> bytes:
    """``picture`` (uint8 [height, width, 3 or 4]) as WebP; quality None is without loss."""
    handle = io.BytesIO()
    kept = (
        {"lossless": True, "quality": 60}
        if quality is None
        else {"quality": quality, "use_sharp_yuv": True}
    )
    Image.fromarray(picture).save(handle, "WEBP", method=4, **kept)
    return handle.getvalue()
