"""A TIFF's first directory, read from bytes alone: what Pillow does not ask of it, and what a file
that is none but in its shape (a camera's raw file) says of itself. Pure, without warnings.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

Directory = Mapping[int, tuple[int, ...] | bytes]
"""The values of a tag: whole numbers, or text."""

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF begins, and one of more than 4 GB."""

BITS, COMPRESSION, PHOTOMETRIC = 258, 259, 262
MAKE, ORIENTATION, SAMPLES, PLANES = 271, 274, 277, 284
LARGEST, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 281, 322, 323, 339
_REDUCED, _BELOW, _DNG_VERSION = 254, 330, 50706
MIN_IS_WHITE = 0

_TEXT = 2
_NUMBERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q", 17: "q", 18: "Q"}
_MOST_VALUES = 64
_MOST_ENTRIES = 4096

_CAMERAS = {
    b"nikon": "NEF",
    b"canon": "CR2",
    b"sony": "ARW",
    b"pentax": "PEF",
    b"ricoh": "PEF",
    b"samsung": "SRW",
    b"olympus": "ORF",
    b"hasselblad": "3FR",
    b"kodak": "DCR",
    b"eastman kodak": "DCR",
    b"epson": "ERF",
    b"mamiya": "MEF",
    b"leaf": "MOS",
    b"phase one": "IIQ",
}
_SENSOR_COLOURS = (32803, 34892)  # a colour filter array, and what comes of one
_SENSOR_PACKINGS = (32767, 32769, 34713, 65000, 65535)  # Sony, Samsung, Nikon, Kodak, Pentax


def first_directory(data: bytes) -> Directory:
    """{tag: values} of the first page of a TIFF or BigTIFF; what is cut short, too long or of no
    whole numbers is left out.
    """
    order = ">" if data[:2] == b"MM" else "<"
    big = data[2:4] in (b"+\0", b"\0+")
    word, wide, entry = ("Q", 8, 20) if big else ("L", 4, 12)
    values: dict[int, tuple[int, ...] | bytes] = {}
    try:
        (offset,) = struct.unpack_from(f"{order}{word}", data, wide)
        (entries,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, offset)
    except (struct.error, OverflowError):
        return values
    start = offset + (8 if big else 2)
    for at in range(start, start + entry * min(entries, _MOST_ENTRIES), entry):
        try:
            tag, kind, count = struct.unpack_from(f"{order}HH{word}", data, at)
            letter = "c" if kind == _TEXT else _NUMBERS.get(kind)
            if letter is None or not 0 < count <= 16 * _MOST_VALUES:
                continue
            layout = f"{order}{min(count, _MOST_VALUES)}{letter}"
            lies_at = at + 4 + wide
            if struct.calcsize(f"{order}{count}{letter}") > wide:
                (lies_at,) = struct.unpack_from(f"{order}{word}", data, lies_at)
            numbers = struct.unpack_from(layout, data, lies_at)
        except (struct.error, OverflowError):
            continue
        values[tag] = b"".join(numbers).rstrip(b"\0") if kind == _TEXT else numbers
    return values


def number(directory: Directory, tag: int, default: int) -> int:
    """The first value of ``tag``, or ``default``."""
    values = directory.get(tag, ())
    return values[0] if isinstance(values, tuple) and values else default


def largest(directory: Directory, tag: int) -> int | None:
    """The largest value of ``tag``; None where there is none."""
    values = directory.get(tag, ())
    return max(values) if isinstance(values, tuple) and values else None


def raw_kind(data: bytes, directory: Directory) -> str | None:
    """What a camera's raw file is called, of which the first page is no more than a thumbnail; None
    for a picture.
    """
    if data[8:10] == b"CR":
        return "CR2"
    if _DNG_VERSION in directory:
        return "DNG"
    reduced = number(directory, _REDUCED, 0) & 1 and _BELOW in directory
    sensor = (
        number(directory, PHOTOMETRIC, 0) in _SENSOR_COLOURS
        or number(directory, COMPRESSION, 1) in _SENSOR_PACKINGS
    )
    if not reduced and not sensor:
        return None
    make = directory.get(MAKE, b"")
    make = make.lower() if isinstance(make, bytes) else b""
    return next((name for maker, name in _CAMERAS.items() if make.startswith(maker)), "RAW")
