"""Image files that no encoder would write, byte by byte: PNGs of any depth and chunk, EXIF of any
type, odd markers."""

import struct
import zlib

import numpy as np


def chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    summed = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", summed)


def png(
    samples: np.ndarray, depth: int, colour: int, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of samples (height, width, samples a pixel); ``before`` and ``after`` are chunks around
    the pixels."""
    height, width, _ = samples.shape
    rows = samples.reshape(height, -1)
    if depth == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:
        bits = (
            ((rows[..., None] >> np.arange(depth)[::-1]) & 1).reshape(height, -1).astype(np.uint8)
        )
        lines = [np.packbits(row).tobytes() for row in bits]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
        + before
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
        + after
        + chunk(b"IEND", b"")
    )


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that announces a size and holds next to nothing."""
    content = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", content)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def exif(entries: list[tuple[int, int, int, bytes]], order: str = "<") -> bytes:
    """TIFF bytes of one directory: (tag, type, count, value), a value above four bytes stored
    behind the table."""
    table, behind = b"", b""
    end = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        table += struct.pack(f"{order}HHL", tag, kind, count)
        if len(value) <= 4:
            table += value.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}L", end + len(behind))
            behind += value
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}LH", 8, len(entries)) + table + bytes(4) + behind


def short(value: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}H", value)


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def with_exif(jpeg: bytes, entries: list[tuple[int, int, int, bytes]], order: str = "<") -> bytes:
    return with_segments(jpeg, segment(0xE1, b"Exif\0\0" + exif(entries, order)))


UPRIGHT = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: np.rot90(pixels),
}
"""What each orientation means, by the words of the EXIF standard: where row 0 and column 0 lie."""
