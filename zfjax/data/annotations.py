"""What lies in an image file beside its pixels: which way is up, and what a decoder is better not
shown.

Cameras and editors write odd things beside sound pixels: a resolution in words, a colour profile
cut short, a broken animation. Pillow refuses whole pictures for them. So it gets the file without
them (``bare``), and the one thing that matters, the orientation, is read here: from bytes alone,
without warnings, safe in threads.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from collections.abc import Iterator

from zfjax.data import tiff

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"

_EXIF = b"Exif\0\0"
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_IN_PNG = b"XML:com.adobe.xmp"
_RAW_EXIF = b"Raw profile type exif"  # how ImageMagick keeps EXIF in a PNG
_TEXT_BYTES = 16 << 20  # of all compressed texts together, unpacked

_ORIENTATION = 0x0112
# TIFF's number types: those of at most four bytes, and those an entry points to.
_IN_ENTRY = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 11: "f"}
_ELSEWHERE = {5: "LL", 10: "ll", 12: "d"}
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

_UNREAD_FRAMES = {
    0xC5: "hierarchical",
    0xC6: "hierarchical, progressive",
    0xC7: "hierarchical, lossless",
    0xCB: "arithmetic, lossless",
    0xCD: "arithmetic, hierarchical",
    0xCE: "arithmetic, hierarchical, progressive",
    0xCF: "arithmetic, hierarchical, lossless",
    0xDE: "hierarchical",
}
"""Frame headers (SOF5 to SOF15, DHP) of JPEGs that no build of libjpeg reads."""
_RARE_FRAMES = {0xC3: "lossless", 0xC9: "arithmetic", 0xCA: "arithmetic, progressive"}
"""Those that some builds read (SOF3, SOF9, SOF10)."""

_PNG_ASIDE = frozenset(
    b"gAMA cHRM sRGB iCCP sBIT bKGD hIST sPLT pHYs tIME tEXt zTXt iTXt eXIf oFFs sTER cICP mDCV "
    b"cLLI acTL fcTL fdAT".split()
)
"""PNG's chunks that change no pixel of the still picture. Others stay: a damaged name must not hide
a palette."""


def bare(data: bytes) -> bytes:
    """The same picture without its annotations: bytes of a JPEG or PNG; other bytes as they are.

    Of a JPEG stays what libjpeg looks at (JFIF and Adobe markers decide on its colours), and the
    comment.
    """
    if data.startswith(JPEG_START):
        aside = [
            (start, end)
            for marker, start, end in _segments(data)
            if 0xE0 <= marker <= 0xEF and not _colour_marker(marker, data[start + 4 : end])
        ]
    elif data.startswith(PNG_START):
        aside = [(start, end) for name, start, end in _chunks(data) if name in _PNG_ASIDE]
    else:
        return data
    if not aside:
        return data
    kept, at = [], 0
    for start, end in aside:
        kept.append(data[at:start])
        at = end
    return b"".join([*kept, data[at:]])


def significant_bits(data: bytes) -> int | None:
    """The most bits of a sample that count, by a PNG's sBIT; None where it says nothing."""
    if data.startswith(PNG_START):
        for name, start, end in _chunks(data):
            if name == b"sBIT":
                bits = data[start + 8 : end - 4]
                grey_or_colours = bits[: {2: 1, 4: 3}.get(len(bits), len(bits))]
                return max(grey_or_colours, default=0) or None
            if name == b"IDAT":
                break
    return None


def unread_kind(data: bytes) -> str | None:
    """Why a JPEG may not be decoded though it is sound, by the kind in its frame header; None for
    the usual kinds, and for what is no JPEG.
    """
    if not data.startswith(JPEG_START):
        return None
    for marker, *_ in _segments(data):
        if marker in _UNREAD_FRAMES:
            return f"JPEG of a kind that Pillow does not read ({_UNREAD_FRAMES[marker]})"
        if marker in _RARE_FRAMES:
            return f"JPEG of a kind that Pillow may not read ({_RARE_FRAMES[marker]}), or damaged"
    return None


def orientation(data: bytes) -> int:
    """Which way is up, 1 (as it lies) to 8, by the EXIF of a JPEG, PNG or WebP file, else by its
    XMP; by the first directory of a TIFF.

    Anything odd or absent is 1. Numbers of every TIFF type but bytes count, as for Pillow; texts do
    not.
    """
    if data.startswith(tiff.STARTS):
        turned = tiff.number(tiff.first_directory(data), tiff.ORIENTATION, 1)
        return turned if 1 <= turned <= 8 else 1
    exif, xmp = _exif_and_xmp(data)
    value = None
    with contextlib.suppress(struct.error, ZeroDivisionError):
        value = _exif_orientation(exif)
    if value is None and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[1])
    return next((number for number in range(2, 9) if number == value), 1)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, first byte, byte after the last) of a JPEG's segments before its pixels, as far as
    they can be told.
    """
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 3:
        marker = data[at + 1]
        if (
            marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD8 or marker == 0x01
        ):  # filling, or without content
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xD9, 0xDA) or end > len(data) or end < at + 4:
            return
        yield marker, at, end
        at = end


def _colour_marker(marker: int, content: bytes) -> bool:
    """Whether libjpeg reads this application segment to tell what the components are."""
    return (marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 14) or (
        marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, byte after the checksum) of a PNG's chunks; the last may be cut short."""
    at = len(PNG_START)
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, min(end, len(data))
        at = end


def _exif_and_xmp(data: bytes) -> tuple[bytes, bytes]:
    exif = xmp = b""
    left = _TEXT_BYTES
    if data.startswith(JPEG_START):
        for marker, start, end in _segments(data):
            content = data[start + 4 : end] if marker == 0xE1 else b""
            if content.startswith(_EXIF):  # one that is too long for a segment goes on in the next
                exif += content[len(_EXIF) :]
            elif content.startswith(_XMP_IN_JPEG):
                xmp = content[len(_XMP_IN_JPEG) :]
    elif data.startswith(PNG_START):
        for name, start, end in _chunks(data):
            if name == b"eXIf":
                exif = data[start + 8 : end - 4]
            elif name in (b"tEXt", b"zTXt", b"iTXt"):
                keyword, text = _png_text(name, data[start + 8 : end - 4], left)
                left -= len(text)
                if keyword == _XMP_IN_PNG:
                    xmp = text
                elif keyword == _RAW_EXIF and not exif:
                    with contextlib.suppress(ValueError):
                        exif = bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        at = 12
        while at + 8 <= len(data):
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] == b"EXIF":
                exif = data[at + 8 : end]
            elif data[at : at + 4] == b"XMP ":
                xmp = data[at + 8 : end]
            at = end + end % 2
    return exif, xmp


def _png_text(name: bytes, content: bytes, most: int) -> tuple[bytes, bytes]:
    """(keyword, text) of a text chunk; the text is b"" where it is not one of those looked for, or
    damaged, and not longer than ``most`` where it was compressed.
    """
    keyword, _, text = content.partition(b"\0")
    if keyword not in (_XMP_IN_PNG, _RAW_EXIF) or most <= 0:
        return keyword, b""
    packed = name == b"zTXt"
    if packed:
        text = text[1:]  # the method, of which there is one
    elif name == b"iTXt":
        packed = text[:1] != b"\0"
        text = b"".join(text[2:].split(b"\0", 2)[2:])  # after language and translated keyword
    if packed:
        try:
            text = zlib.decompressobj().decompress(text, most)
        except zlib.error:
            return keyword, b""
    return keyword, text


def _exif_orientation(exif: bytes) -> float | None:
    """The number in the first directory, None where there is none. Raises struct.error for what is
    cut short.
    """
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    value = None
    (offset,) = struct.unpack_from(f"{order}L", exif, 4)
    (entries,) = struct.unpack_from(f"{order}H", exif, offset)
    for at in range(offset + 2, min(offset + 2 + 12 * entries, len(exif) - 11), 12):
        tag, kind, count = struct.unpack_from(f"{order}HHL", exif, at)
        if tag != _ORIENTATION or count != 1:
            continue
        if kind in _IN_ENTRY:
            (value,) = struct.unpack_from(order + _IN_ENTRY[kind], exif, at + 8)
        elif kind in _ELSEWHERE:
            (lies_at,) = struct.unpack_from(f"{order}L", exif, at + 8)
            numbers = struct.unpack_from(order + _ELSEWHERE[kind], exif, lies_at)
            value = numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0]
    return value
