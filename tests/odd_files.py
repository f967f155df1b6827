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


def tiff(
    samples: np.ndarray,
    bits: int = 8,
    photometric: int = 1,
    order: str = "<",
    tile: int | None = None,
    **tags: int,
) -> bytes:
    """A TIFF of samples (height, width, samples a pixel), uncompressed, packed to ``bits``, in one
    strip, in square tiles, or with t284=2 in planes; ``tags`` are more of them, as t281=4095."""
    height, width, channels = samples.shape
    blocks = [samples]
    if tile is not None:
        padded = np.pad(samples, ((0, -height % tile), (0, -width % tile), (0, 0)))
        blocks = [
            padded[y : y + tile, x : x + tile]
            for y in range(0, height, tile)
            for x in range(0, width, tile)
        ]
    if tags.get("t284") == 2:
        blocks = list(np.moveaxis(samples, -1, 0)[..., None])
    packed = [_packed(block, bits, order) for block in blocks]
    offsets = np.cumsum([8, *map(len, packed)])
    places = {273: offsets[:-1], 278: [height], 279: [len(block) for block in packed]}
    if tile is not None:
        lengths = [len(block) for block in packed]
        places = {322: [tile], 323: [tile], 324: offsets[:-1], 325: lengths}
    values = {
        256: [width],
        257: [height],
        258: [bits] * channels,
        259: [1],
        262: [photometric],
        277: [channels],
        **places,
        **{int(name[1:]): [value] for name, value in tags.items()},
    }
    shorts, table, behind = (258, 259, 262, 274, 277, 281, 284), b"", b""
    end = int(offsets[-1]) + 2 + 12 * len(values) + 4
    for tag, numbers in sorted(values.items()):
        letter = "H" if tag in shorts else "L"
        content = struct.pack(f"{order}{len(numbers)}{letter}", *map(int, numbers))
        table += struct.pack(f"{order}HHL", tag, 3 if letter == "H" else 4, len(numbers))
        if len(content) > 4:
            table += struct.pack(f"{order}L", end + len(behind))
            behind += content
        else:
            table += content.ljust(4, b"\0")
    start = b"II*\0" if order == "<" else b"MM\0*"
    head = start + struct.pack(f"{order}L", int(offsets[-1]))
    count = struct.pack(f"{order}H", len(values))
    return head + b"".join(packed) + count + table + bytes(4) + behind


def _packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    if bits == 16:
        return samples.astype(f"{order}u2").tobytes()
    rows = samples.reshape(len(samples), -1)
    bit = (rows[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(bit.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


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
