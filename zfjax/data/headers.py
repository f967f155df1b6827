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
    TiffImagePlugin,
    WebPImagePlugin,
)

from zfjax.data import tiff
from zfjax.data.annotations import bare, unread_kind
from zfjax.data.formats import READ, READ_WORDS, format_of, what_else
from zfjax.data.import_options import FOLDERS
from zfjax.data.netpbm import NetpbmFile
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
    "TIFF": TiffImagePlugin.TiffImageFile,
    "PPM": NetpbmFile,
}
FORMATS = READ
_UNSUPPORTED = ("cannot handle", "unsupported", "unknown pixel mode")
"""How Pillow begins to say that a file is sound, and of a kind that it does not read."""


_NUMBER_KINDS = {2: "signed numbers", 3: "floating-point numbers", 5: "complex numbers"}
"""TIFF's kinds of samples beside whole numbers from 0 on."""
_LAB = 8
_MOST_SAMPLES = 6
"""That Pillow reads, CMYK with two more; beyond, it writes to stderr."""


class ImageError(ZfjaxError):
    """Bytes that are no picture, or no safe one; the text is a bare reason such as "truncated".

    ``reason`` is the text without what differs from image to image, to count images by.
    """

    @property
    def reason(self) -> str:
        """As the text, here."""
        return str(self)


class OtherFormat(ImageError):
    """Bytes of a format that is not read; the text names those that are."""

    def __init__(self, what: str):
        self._reason = what
        super().__init__(f"{what}: {READ_WORDS} are read")

    @property
    def reason(self) -> str:
        """What it is, alone."""
        return self._reason


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
    kind = format_of(data)
    if kind is None:
        raise OtherFormat(what_else(data))
    if kind == "TIFF":
        _check_tiff(data, max_pixels)
    try:
        image = _header_read(kind, data, max_pixels)
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(TOO_LITTLE_MEMORY) from None
    except Exception as error:  # Pillow's header parsers raise a dozen kinds on hostile bytes
        words = str(error)
        if words.lower().startswith(_UNSUPPORTED):
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


def _check_tiff(data: bytes, max_pixels: int) -> None:
    """Raises ImageError for a camera's raw file, of which Pillow would show the thumbnail, for
    samples of which nothing tells what is black and white, and for a layout that it misreads.
    """
    directory = tiff.first_directory(data)
    if raw := tiff.raw_kind(data, directory):
        raise OtherFormat(f"{raw} (a camera's raw file), which zfjax does not read")
    bits = tiff.largest(directory, tiff.BITS) or 1
    numbers = tiff.largest(directory, tiff.SAMPLE_FORMAT) or 1
    if numbers in _NUMBER_KINDS and (bits > 8 or numbers == 3) or 16 < bits <= 64:
        kind = _NUMBER_KINDS.get(numbers, "whole numbers")
        raise ImageError(
            f"TIFF of {bits}-bit {kind}, of which nothing tells what is black and what is white"
        )
    if tiff.number(directory, tiff.PHOTOMETRIC, 0) == _LAB:
        raise ImageError("TIFF of a kind that zfjax does not read (LAB)")
    samples = tiff.number(directory, tiff.SAMPLES, 1)
    if samples > _MOST_SAMPLES:
        raise ImageError(
            f"TIFF of {samples:,} bands, of which nothing tells which are red, green and blue"
        )
    if bits > 8 and samples > 1 and tiff.number(directory, tiff.PLANES, 1) == 2:
        raise ImageError(f"TIFF of a kind that zfjax does not read ({bits} bits in planes)")
    tile = (tiff.number(directory, tiff.TILE_WIDTH, 1), tiff.number(directory, tiff.TILE_HEIGHT, 1))
    if tile[0] * tile[1] > max_pixels:  # decoded whole, however small the picture
        raise TooManyPixels(tile, max_pixels)


@functools.lru_cache(maxsize=64)
def _limited(reader: Any, max_pixels: int) -> Any:
    """Pillow's reader with our limit where it has its own, and no look at EXIF, of which it
    warns.
    """

    def check(size: tuple[int, int], error_only: bool = False) -> None:
        if size[0] * size[1] > max_pixels:
            raise TooManyPixels((size[0], size[1]), max_pixels)

    names = {
        "Image": types.SimpleNamespace(**{**vars(Image), "_decompression_bomb_check": check}),
        "ImageFileDirectory_v2": _QuietDirectory,
    }
    changed: dict[str, Any] = {
        name: _with_globals(method, **names)
        for name, method in vars(reader).items()
        if isinstance(method, types.FunctionType)
        and {"_decompression_bomb_check", "ImageFileDirectory_v2"} & set(method.__code__.co_names)
    }
    read_header = changed.get("_open", reader._open)

    def _open(self: Any) -> None:
        read_header(self)
        # Pillow has a TIFF's sides as they will be once it is turned; here nothing is.
        self._size = getattr(self, "_tile_size", self.size)
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


def _silent(*words: Any, **how: Any) -> None:
    pass


_QuietDirectory: Any = type(
    "ImageFileDirectory_v2",
    (TiffImagePlugin.ImageFileDirectory_v2,),
    {
        name: _with_globals(method, warnings=types.SimpleNamespace(warn=_silent))
        for name, method in vars(TiffImagePlugin.ImageFileDirectory_v2).items()
        if isinstance(method, types.FunctionType) and "warnings" in method.__code__.co_names
    },
)
"""A TIFF's directory that is read without a warning for each odd tag."""


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
