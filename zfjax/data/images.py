"""Image bytes in, RGB pixels out: the only place where zfjax lets Pillow look at a file.

Images are hostile. Pillow gets an explicit list of formats, the size in the header is checked before a pixel is
decoded, and whatever a decoder raises on damaged bytes becomes one ImageError with a reason a person can read.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from zfjax.files import ZfjaxError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MAX_PIXELS = 50_000_000


class ImageError(ZfjaxError):
    """Bytes that are no picture, or no safe one; the text is a bare reason such as "truncated"."""


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture with its header read and nothing decoded yet.

    Raises ImageError when ``data`` is empty, not in FORMATS, or its header announces more than ``max_pixels``.
    """
    if not data:
        raise ImageError("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"more than {max_pixels:,} pixels") from None
    except Exception:  # Pillow's header parsers raise a dozen kinds on hostile bytes: all mean the same here
        raise ImageError("not an image") from None
    if image.width * image.height > max_pixels:
        raise ImageError(f"more than {max_pixels:,} pixels")
    if min(image.size) < 1:
        raise ImageError("not an image")
    return image


def decode(image: Image.Image) -> Image.Image:
    """Decodes the pixels of an image from ``open_image``; raises ImageError when the data is cut short or damaged."""
    try:
        image.load()
    except Exception:  # as above: zlib.error, struct.error, OSError, SyntaxError, ...
        raise ImageError("truncated or damaged") from None
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """A decoded image of any mode as 8-bit RGB; what is transparent shows white, 16-bit grey keeps its high byte."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def view_window(width: int, height: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The part of a ``width`` x ``height`` image that its evaluation view shows: left, top, right, bottom in pixels.

    ``size`` is the view's (height, width). The window is central and has the view's proportions. Where the image is not
    rescaled it lies on whole pixels, so that cropping blurs nothing.
    """
    scale = max(size[0] / height, size[1] / width)
    if scale == 1:
        left, top = (width - size[1]) // 2, (height - size[0]) // 2
        return left, top, left + size[1], top + size[0]
    # min: rounding must not push the window past the edge, which Pillow refuses.
    window_width, window_height = min(size[1] / scale, width), min(size[0] / scale, height)
    left, top = (width - window_width) / 2, (height - window_height) / 2
    return left, top, left + window_width, top + window_height


def view(data: bytes, size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The evaluation view of an encoded image: uint8, (height, width, 3), for ``size`` = (height, width).

    The image is scaled until it just covers ``size`` (shorter side, for squares) with Pillow's antialiased bilinear
    filter, and its centre is kept; an image that already has the size is not resampled. EXIF orientation is ignored,
    as in everyone's ImageNet numbers (the importer turns a tree's images once). Raises ImageError.
    """
    image = to_rgb(decode(open_image(data, max_pixels)))
    height, width = size
    if image.size != (width, height):
        window = view_window(image.width, image.height, size)
        if max(height / image.height, width / image.width) == 1:
            image = image.crop(tuple(int(edge) for edge in window))
        else:
            image = image.resize((width, height), Image.Resampling.BILINEAR, box=window)
    return np.asarray(image)
