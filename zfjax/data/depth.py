"""Samples of more than 8 bits: of which depth they are, and as 8 bits.

Files of 16 bits often hold fewer: 10 of a sensor, 12 of a scanner or of an X-ray. Where the file
says so (PNG's sBIT, TIFF's bits and largest sample, a PGM's largest), that counts. Where it says
nothing and no sample of the whole picture reaches 4,096, a sixteenth of white, it would be all but
black: it is read as of 8, 10 or 12 bits, the fewest that hold it, and said to be. Samples that were
widened from 8 bits (all of them multiples of 256 or of 257) are dark and stay so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from zfjax.data import tiff
from zfjax.data.annotations import significant_bits
from zfjax.data.netpbm import NetpbmFile, to_eight_bits

_FULL = (1 << 16) - 1
_GUESSED = (8, 10, 12)
_DARK = 1 << _GUESSED[-1]
_FAINT = 1 << 14
_SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class Told:
    """What a file says of its samples: the ``largest`` that they may be, None where it says
    nothing; ``inverted``: 0 is white.
    """

    largest: int | None = None
    inverted: bool = False


def told_by(image: Image.Image, data: bytes) -> Told:
    """What the file of an undecoded or decoded image says of its samples."""
    if isinstance(image, NetpbmFile):
        return Told(image.largest if image.largest < _FULL else None)
    if image.format == "PNG":
        bits = significant_bits(data)
        return Told((1 << bits) - 1 if bits is not None and 8 <= bits < 16 else None)
    if image.format != "TIFF":
        return Told()
    directory = tiff.first_directory(data)
    bits = tiff.largest(directory, tiff.BITS) or 1
    inverted = tiff.number(directory, tiff.PHOTOMETRIC, 0) == tiff.MIN_IS_WHITE
    if bits == 16 and (highest := tiff.largest(directory, tiff.LARGEST)):
        bits = highest.bit_length()
    return Told((1 << bits) - 1 if 8 <= bits < 16 else None, inverted)


def largest_of(samples: np.ndarray, told: int | None) -> tuple[int, str | None]:
    """(the sample that means white, what to say of it) for samples uint16: what the file has
    ``told``, where they keep to it; else a guess, said, where they are all but black.
    """
    highest = int(samples.max(initial=0))
    if highest == 0 or _widened(samples, highest):
        return _FULL, None
    if told is not None and highest <= told:
        return told, None
    if highest < _DARK:
        bits = next(bits for bits in _GUESSED if highest < 1 << bits)
        return (1 << bits) - 1, f"16 bits that hold no more than {bits}, read as {bits}"
    if highest < _FAINT:
        return _FULL, "16 bits of which no sample reaches a quarter of white, kept as dark"
    return _FULL, None


def _widened(samples: np.ndarray, highest: int) -> bool:
    """Whether all samples are 8-bit ones made wider, by shifting or by repeating their bits; only
    dark ones are looked at.
    """
    if highest >= _FAINT:
        return True
    return not (samples & 0xFF).any() or not (samples % 257).any()


def in_eight_bits(
    image: Image.Image, data: bytes, reopen: Callable[[], Image.Image]
) -> tuple[Image.Image, str | None]:
    """(a decoded image with samples of 8 bits, what to say of their depth): RGB where they were of
    more; others as they are.

    ``reopen`` gives the image undecoded once more: of colours of 16 bits Pillow keeps the high byte
    alone, and the low one counts where they are dark.
    """
    told = told_by(image, data)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey(image, told)
    if isinstance(image, NetpbmFile):
        return _netpbm(image, told)
    rawmode = _deep_rawmode(image, data, reopen)
    if rawmode is None:
        return image, None
    colours = np.asarray(image)[..., :3]
    if int(colours.max(initial=0)) >= _FAINT >> 8 and (
        told.largest is None or int(colours.max(initial=0)) > told.largest >> 8
    ):
        return image, None
    return _colour(image, reopen, rawmode, told)


def _grey(image: Image.Image, told: Told) -> tuple[Image.Image, str | None]:
    clear = image.info.get("transparency")
    samples = np.asarray(image).clip(0, _FULL).astype(np.uint16)
    transparent = None if clear is None else samples == clear
    largest, said = largest_of(samples, told.largest)
    grey = to_eight_bits(samples, largest)
    if told.inverted:
        grey = 255 - grey
    if transparent is not None:
        grey = np.where(transparent, np.uint8(255), grey)
    return Image.fromarray(grey).convert("RGB"), said


def _netpbm(image: NetpbmFile, told: Told) -> tuple[Image.Image, str | None]:
    if image.largest < 256 or told.largest is not None:
        return image, None
    samples = image.samples()
    largest, said = largest_of(samples, None)
    return (
        (image, said)
        if largest == _FULL
        else (Image.fromarray(to_eight_bits(samples, largest)).convert("RGB"), said)
    )


def _has_16_bits(kind: str | None, data: bytes) -> bool:
    if kind == "PNG":
        return data[24] == 16
    return kind == "TIFF" and tiff.largest(tiff.first_directory(data), tiff.BITS) == 16


def _deep_rawmode(image: Image.Image, data: bytes, reopen: Callable[[], Image.Image]) -> str | None:
    """How the samples of a colour image of 16 bits lie in its file; None for all other images."""
    if image.mode not in ("RGB", "RGBA") or not _has_16_bits(image.format, data):
        return None
    tiles = getattr(reopen(), "tile", None)
    if not tiles:
        return None
    args = tiles[0][3]
    rawmode = args[0] if isinstance(args, tuple) else args
    plain = ("RGB;16", "RGBX;16", "RGBA;16", "LA;16")
    return rawmode if isinstance(rawmode, str) and rawmode[:-1] in plain else None


def _colour(
    image: Image.Image, reopen: Callable[[], Image.Image], rawmode: str, told: Told
) -> tuple[Image.Image, str | None]:
    """Colours with both of their bytes: the image is decoded once more, as if its bytes were
    swapped.
    """
    low = reopen()
    if rawmode.startswith("LA;16"):  # four bytes a pixel: grey's two and alpha's two
        _read_as(low, "RGBA")
        first, second, third, fourth = np.moveaxis(np.asarray(low).astype(np.uint16), -1, 0)
        grey, alpha = first << 8 | second, third << 8 | fourth
        samples = np.stack([grey, grey, grey, alpha], axis=-1)
    else:
        _read_as(low, rawmode[:-1] + _SWAPPED[rawmode[-1]])
        samples = np.asarray(image).astype(np.uint16) << 8 | np.asarray(low)
    largest, said = largest_of(samples[..., :3], told.largest)
    if largest == _FULL:
        return image, said
    eight = to_eight_bits(samples, largest)
    if samples.shape[-1] == 4 and int(samples[..., 3].max(initial=0)) > largest:
        eight[..., 3] = samples[..., 3] >> 8
    clear = image.info.get("transparency")
    result = Image.fromarray(eight)
    if clear is not None and image.mode == "RGB":
        return _cleared(result, samples, clear), said
    return result, said


def _cleared(image: Image.Image, samples: np.ndarray, clear: tuple[int, ...]) -> Image.Image:
    """White where the high bytes are those of the transparent colour, as in lighter images."""
    pixels = np.asarray(image).copy()
    pixels[(samples >> 8 == np.array(clear, np.uint16)).all(axis=-1)] = 255
    return Image.fromarray(pixels)


def _read_as(image: Image.Image, rawmode: str) -> None:
    """Decodes ``image`` as if its samples lay as ``rawmode`` says."""
    tiles = []
    for codec, extents, offset, args in image.tile:  # type: ignore[attr-defined]
        own = (rawmode, *args[1:]) if isinstance(args, tuple) else rawmode
        tiles.append(type(image.tile[0])(codec, extents, offset, own))  # type: ignore[attr-defined]
    image.tile = tiles  # type: ignore[attr-defined]
    image.load()
