"""An image's header, read by Pillow under our own limit: its size and kind are known before a pixel
is decoded.

Pillow has limits of its own, global to the process: it warns from 89 million pixels on and refuses
twice as many. They are the user's to set for the user's own code; here the limit that zfjax was
given counts instead, in any thread. Hence Pillow's readers one by one, never ``Image.open``, and
where a reader asks for the global limit it meets ours.
"""

from __future__ import annotations

import functools
import io
import types
from typing import Any

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from zfjax.data.annotations import JPEG_START, PNG_START, bare, unread_kind
from zfjax.data.import_options import FOLDERS
from zfjax.errors import ZfjaxError

MAX_PIXELS = FOLDERS.max_pixels
JPEG_SIDE = 65_500
"""The longest side, in pixels, that libjpeg reads or writes."""
TOO_LONG = f"a side above {JPEG_SIDE:,} pixels, which JPEG cannot hold"
TOO_LITTLE_MEMORY = "too little memory to decode it"
MOST_PIXELS = 1 << 31
"""More than any machine is asked to hold: 6 GiB of RGB, and as much again while it is converted."""
FILE_BYTES = 256 << 20
"""Bytes that any image file may have: annotations are not counted in pixels."""

_READERS = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
FORMATS = tuple(_READERS)


class ImageError(ZfjaxError):
    """Bytes that are no picture, or no safe one; the text is a bare reason such as "truncated".

    ``reason`` is the text without what differs from image to image, to count images by.
    """

    @property
    def reason(self) -> str:
        """As the text, here."""
        return str(self)


class TooManyPixels(ImageError):
    """A header that announces more than the limit; ``size`` is its (width, height)."""

    def __init__(self, size: tuple[int, int], max_pixels: int):
        self.size, self._reason = size, f"more than {max_pixels:,} pixels"
        super().__init__(f"{self._reason} ({size[0]:,} x {size[1]:,})")

    @property
    def reason(self) -> str:
        """The limit without the size."""
        return self._reason

    @property
    def advice(self) -> str:
        """What can be done about it."""
        return (
            "--max-pixels sets the limit"
            if self.size[0] * self.size[1] <= MOST_PIXELS
            else f"above {MOST_PIXELS:,} it is too large to read at all"
        )


def byte_limit(max_pixels: int) -> int:
    """The most bytes of a file worth reading: a sound one has at most eight a pixel (16-bit RGBA)
    and annotations.
    """
    return min(max(8 * max_pixels, FILE_BYTES), 2 << 30)


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture with its header read and nothing decoded yet.

    Raises ImageError when ``data`` is empty, not in FORMATS, or damaged, TooManyPixels when its
    header announces more than ``max_pixels``.
    """
    if not data:
        raise ImageError("empty file")
    kind = _format_of(data)
    if kind is None:
        other = _other_format(data)
        raise ImageError(f"{other}, which zfjax does not read" if other else "not an image")
    try:
        image = _header_read(kind, data, max_pixels)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(TOO_LITTLE_MEMORY) from None
    except Exception as error:  # Pillow's header parsers raise a dozen kinds on hostile bytes
        words = str(error)
        if words.lower().startswith(("cannot handle", "unsupported")):
            raise ImageError(f"{kind} of a kind that Pillow does not read ({words})") from None
        raise damaged(data) from None
    if kind == "JPEG" and max(image.size) > JPEG_SIDE:
        raise ImageError(TOO_LONG)
    if kind == "PNG":
        _settle_transparency(image, depth=data[24])
    return image


def damaged(data: bytes) -> ImageError:
    """Why bytes that begin as an image cannot be decoded."""
    return ImageError(unread_kind(data) or "truncated or damaged")


def _header_read(kind: str, data: bytes, max_pixels: int) -> Image.Image:
    reader = _limited(_READERS[kind], max_pixels)
    if kind == "PNG":  # where annotations after the pixels fail the decoding too
        return reader(io.BytesIO(bare(data)))
    try:
        return reader(io.BytesIO(data))
    except ImageError:
        raise
    except Exception:
        if (without := bare(data)) == data:
            raise
        return reader(io.BytesIO(without))


def _format_of(data: bytes) -> str | None:
    if data.startswith(JPEG_START):
        return "JPEG"
    if data.startswith(PNG_START):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    # Two letters may begin any text: a bitmap has the length of its header from its 15th byte on.
    return "BMP" if data[:2] == b"BM" and len(data) > 18 and data[15:18] == b"\0\0\0" else None


def _other_format(data: bytes) -> str | None:
    """What an image of a format that is not ours is called."""
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[4:8] == b"ftyp":
        brands = {
            b"avif": "AVIF",
            b"avis": "AVIF",
            b"heic": "HEIC",
            b"heix": "HEIC",
            b"mif1": "HEIF",
            b"msf1": "HEIF",
        }
        return brands.get(data[8:12])
    starts = {
        b"\0\0\0\x0cjP  ": "JPEG 2000",
        b"\xff\x4f\xff\x51": "JPEG 2000",
        b"\0\0\0\x0cJXL ": "JPEG XL",
        b"\xff\x0a": "JPEG XL",
        b"\0\0\1\0": "an icon",
        b"8BPS": "a Photoshop file",
        b"%PDF": "PDF",
    }
    return next((name for start, name in starts.items() if data.startswith(start)), None)


@functools.lru_cache(maxsize=64)
def _limited(reader: Any, max_pixels: int) -> Any:
    """Pillow's reader with our limit where it has its own, and no look at EXIF, of which it
    warns.
    """

    def check(size: tuple[int, int], error_only: bool = False) -> None:
        if size[0] * size[1] > max_pixels:
            raise TooManyPixels((size[0], size[1]), max_pixels)

    module = types.SimpleNamespace(**{**vars(Image), "_decompression_bomb_check": check})
    changed: dict[str, Any] = {
        name: _with_globals(method, Image=module)
        for name, method in vars(reader).items()
        if isinstance(method, types.FunctionType)
        and "_decompression_bomb_check" in method.__code__.co_names
    }
    read_header = changed.get("_open", reader._open)

    def _open(self: Any) -> None:
        read_header(self)
        if min(self.size) < 1:
            raise ImageError("a side of 0 pixels")
        check(self.size)

    return type(reader)(
        reader.__name__,
        (reader,),
        {**changed, "_open": _open, "getexif": lambda self: Image.Exif()},
    )


def _with_globals(function: types.FunctionType, **names: Any) -> types.FunctionType:
    """The same function in a world where some names mean something else."""
    copy = types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _settle_transparency(image: Image.Image, depth: int) -> None:
    """Brings a PNG's transparent colour to the scale of Pillow's pixels: it is kept in samples of
    ``depth`` bits.
    """
    clear = image.info.get("transparency")
    if clear is None:
        return
    if image.mode == "L":
        largest = (1 << depth) - 1
        clear = (clear & largest) * 255 // largest
    elif image.mode == "RGB":
        clear = tuple(value >> 8 if depth == 16 else value & 255 for value in clear)
    elif isinstance(clear, bytes):
        clear = clear[:256]
    image.info["transparency"] = clear
