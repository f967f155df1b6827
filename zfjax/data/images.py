"""Image bytes in, RGB pixels out: the one decoder, for the import, for stored images and for a
user's own picture.

Images are hostile. Pillow gets an explicit list of formats, the size in the header is checked
before a pixel is decoded (headers.py), and whatever a decoder raises on damaged bytes becomes one
ImageError with a reason a person can read. What a file shows is decided here and nowhere else:
transparent is white, 16 bits keep their high byte (but see depth.py), the profile of the colours is
ignored, of an animation the still picture counts, of several pages the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfjax.data.annotations import orientation
from zfjax.data.depth import in_eight_bits
from zfjax.data.headers import (
    FORMATS,
    MAX_PIXELS,
    TOO_LITTLE_MEMORY,
    ImageError,
    OtherFormat,
    TooManyPixels,
    byte_limit,
    damaged,
    open_image,
)
from zfjax.errors import ZfjaxError, explain_os_error

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Box",
    "ImageError",
    "Picture",
    "TooManyPixels",
    "as_image_errors",
    "decode",
    "open_image",
    "parts_in_view",
    "read_picture",
    "to_rgb",
    "view",
    "view_of_file",
    "view_window",
]

Box = tuple[float, float, float, float]
"""Edges of a rectangle: y0, x0, y1, x1."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation of EXIF."""


@dataclass(frozen=True)
class Picture:
    """A decoded file: ``image`` is 8-bit RGB, or L where it is opaque grey; ``kind`` and ``mode``
    are what the file has, as Pillow calls them; ``turned`` tells whether it was turned upright,
    ``depth`` what is to be said of its samples, where they are not what they seem.
    """

    image: Image.Image
    kind: str
    mode: str
    turned: bool
    depth: str | None = None


@contextlib.contextmanager
def as_image_errors(doing: str) -> Iterator[None]:
    """What nobody has foreseen of one image becomes an ImageError that says ``doing`` and what
    Pillow raised.
    """
    try:
        yield
    except ZfjaxError:
        raise
    except MemoryError:
        raise ImageError(TOO_LITTLE_MEMORY) from None
    except Exception as error:
        raise ImageError(f"{doing} ({type(error).__name__})") from error


def decode(image: Image.Image, data: bytes) -> Image.Image:
    """Decodes the pixels of an image from ``open_image(data)``; raises ImageError when the data is
    cut short, damaged, or of a kind that the decoder does not know.
    """
    try:
        image.load()
    except MemoryError:
        raise ImageError(TOO_LITTLE_MEMORY) from None
    except Exception as error:  # zlib.error, struct.error, OSError, SyntaxError, ...
        if "memory" in str(error):
            raise ImageError(TOO_LITTLE_MEMORY) from None
        raise damaged(data) from None
    return image


def read_picture(data: bytes, max_pixels: int = MAX_PIXELS, *, upright: bool = False) -> Picture:
    """The encoded image, decoded whole; ``upright``: turned as its EXIF says, by the orientation
    alone.

    Raises ImageError for what is not an image, is damaged, or has more than ``max_pixels``.
    """
    with as_image_errors("cannot be decoded"):
        image = decode(open_image(data, max_pixels), data)
        kind, mode = image.format or "", image.mode
        image, depth = in_eight_bits(image, data, lambda: open_image(data, max_pixels))
        if image.mode != "L" or "transparency" in image.info:
            image = to_rgb(image)
        turn = _UPRIGHT.get(orientation(data)) if upright else None
        return Picture(
            image if turn is None else image.transpose(turn), kind, mode, turn is not None, depth
        )


def to_rgb(image: Image.Image) -> Image.Image:
    """A decoded image of 8 bits, of any mode, as RGB; what is transparent shows white."""
    clear = image.info.get("transparency")
    if image.mode == "RGB" and clear is None:
        return image
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or clear is not None:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def view_window(
    width: int, height: int, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The part of a ``width`` x ``height`` image that its evaluation view shows: left, top, right,
    bottom in pixels.

    ``size`` is the view's (height, width). The window is central and has the view's proportions.
    Where the image is not rescaled it lies on whole pixels, so that cropping blurs nothing.
    """
    scale = max(size[0] / height, size[1] / width)
    if scale == 1:
        column, row = (width - size[1]) // 2, (height - size[0]) // 2
        return column, row, column + size[1], row + size[0]
    # min: rounding must not push the window past the edge, which Pillow refuses.
    window_width, window_height = min(size[1] / scale, width), min(size[0] / scale, height)
    left, top = (width - window_width) / 2, (height - window_height) / 2
    return left, top, left + window_width, top + window_height


def view(
    data: bytes, size: tuple[int, int], max_pixels: int = MAX_PIXELS, *, upright: bool = False
) -> np.ndarray:
    """The evaluation view of an encoded image: uint8, (height, width, 3), for ``size`` = (height,
    width).

    The image is scaled until it just covers ``size`` (shorter side, for squares) with Pillow's
    antialiased bilinear filter, and its centre is kept; an image that already has the size is not
    resampled. EXIF orientation is ignored, as in everyone's ImageNet numbers (the importer turns a
    tree's images once), unless ``upright``, for an image that has not been imported. Raises
    ImageError.
    """
    return fitted(read_picture(data, max_pixels, upright=upright).image, size)


def fitted(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """``view`` of a decoded image. Raises ImageError."""
    with as_image_errors("cannot be resized"):
        height, width = size
        if image.size != (width, height):
            window = view_window(image.width, image.height, size)
            if max(height / image.height, width / image.width) == 1:
                left, top, right, bottom = (int(edge) for edge in window)
                image = image.crop((left, top, right, bottom))
            else:
                image = image.resize((width, height), Image.Resampling.BILINEAR, box=window)
        return np.asarray(to_rgb(image))  # only now: grey is a quarter of the work and the memory


def view_of_file(path: Path, size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The evaluation view of a user's own image file, as an import and a reading would show it:
    uint8 (h, w, 3).

    Raises ZfjaxError that names the file, for one that cannot be opened and for what ``view``
    refuses.
    """
    try:
        with open(path, "rb") as handle:
            limit = byte_limit(max_pixels)
            data = handle.read(limit + 1)
        if len(data) > limit:
            raise ImageError(f"file larger than {limit:,} bytes")
        return view(data, size, max_pixels, upright=True)
    except OSError as error:
        raise explain_os_error(error, "read the image") from error
    except MemoryError:
        raise ZfjaxError(
            f"{path} is not an image that zfjax can read: {TOO_LITTLE_MEMORY}."
        ) from None
    except TooManyPixels as error:
        raise ZfjaxError(
            f"{path} is not an image that zfjax can read: {error}; {error.advice}."
        ) from None
    except OtherFormat as error:
        raise ZfjaxError(f"{path} is {error}.") from None
    except ImageError as error:
        raise ZfjaxError(f"{path} is not an image that zfjax can read: {error}.") from None


def parts_in_view(
    parts: Any, size: tuple[int, int], view_size: tuple[int, int]
) -> tuple[tuple[str, Box], ...]:
    """Part boxes from fractions of the stored image, of ``size`` = (width, height), to pixels of
    its view; parts outside the view are left out.
    """
    if not isinstance(parts, dict) or not {"name", "box"} <= parts.keys():
        return ()
    width, height = size
    left, top, right, bottom = view_window(width, height, view_size)
    scale_y, scale_x = view_size[0] / (bottom - top), view_size[1] / (right - left)
    edges = np.array(parts["box"], float).reshape(-1, 4)
    rows = ((edges[:, 0::2] * height - top) * scale_y).clip(0, view_size[0])
    columns = ((edges[:, 1::2] * width - left) * scale_x).clip(0, view_size[1])
    shown = []
    for name, (y0, y1), (x0, x1) in zip(
        parts["name"], rows.tolist(), columns.tolist(), strict=True
    ):
        if y1 > y0 and x1 > x0:
            shown.append(
                (
                    name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name),
                    (y0, x0, y1, x1),
                )
            )
    return tuple(shown)
