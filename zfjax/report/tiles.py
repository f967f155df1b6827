"""From signed projections to pixels: colour scale, upscaling, and many small pictures in one sheet.
No JAX.

A projection is signed and has no natural range. It is shown around mid-grey, divided by a symmetric
scale: by default each tile's own 99.5th percentile of magnitudes, which stands for the paper's
"contrast is artificially enhanced" (Zeiler & Fergus 2013, Fig. 4). The scale is always reported
beside the picture.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

PERCENTILE = 99.5
"""Of the magnitudes of one tile, all pixels and colours together."""
MID_GREY = 128
"""The byte that zero becomes."""
LOSSLESS_BELOW = 32
"""Pixels: tiles with a shorter longest edge are stored without loss and shown pixelated."""


def colour_scale(projection: np.ndarray) -> float:
    """The magnitude that becomes black or white: the 99.5th percentile of ``|projection|``.

    The largest magnitude where that percentile is zero (a nearly empty tile); 0 for an all-zero
    tile.
    """
    magnitudes = np.abs(projection)
    return float(np.percentile(magnitudes, PERCENTILE)) or float(magnitudes.max(initial=0.0))


def to_bytes(projection: np.ndarray, scale: float) -> np.ndarray:
    """uint8 of the same shape: -scale is 0, zero is 128, +scale is 255; beyond is clipped."""
    if scale <= 0:
        return np.full(projection.shape, MID_GREY, np.uint8)
    return np.rint(np.clip(127.5 + projection * (127.5 / scale), 0, 255)).astype(np.uint8)


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


def filter_grid(kernel: np.ndarray) -> tuple[np.ndarray, float]:
    """First-layer filters (float [height, width, 3, maps]) as one picture and its scale.

    uint8 RGBA, taller than wide, a transparent pixel between them; all filters share one
    scale. Other than three channels: the mean over them.
    """
    if kernel.shape[2] != 3:
        kernel = kernel.mean(axis=2, keepdims=True).repeat(3, axis=2)
    height, width, _, maps = kernel.shape
    columns = max(1, round((maps / 1.5) ** 0.5))
    rows = -(-maps // columns)
    scale = colour_scale(kernel)
    sheet = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1, 4), np.uint8)
    for index in range(maps):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        sheet[top : top + height, left : left + width, :3] = to_bytes(kernel[..., index], scale)
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet, scale


@dataclass(frozen=True)
class Sheet:
    """Equal pictures in one image, row by row. ``cell`` (height, width) is a tile plus what keeps
    neighbours apart.
    """

    uri: str
    columns: int
    rows: int
    cell: tuple[int, int]
    tile: tuple[int, int]
    byte_count: int


def make_sheet(stack: np.ndarray, quality: int | None) -> Sheet:
    """Packs ``stack`` (uint8 [n, height, width, 3 or 4]) into one WebP as a data URI.

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
    return Sheet(data_uri(data, "webp"), columns, rows, cell, (height, width), len(data))


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


def data_uri(data: bytes, kind: str) -> str:
    """``data`` as a data: URI of an image type."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
