"""PPM, PGM and PBM, binary and in words, read with NumPy: Pillow takes seconds a megapixel for
those that are not of 8 bits.
"""

from __future__ import annotations

import re

import numpy as np
from PIL import Image, ImageFile

_TOKEN = rb"(?:[\s]|#[^\r\n]*[\r\n])+(\d{1,10})"
_HEADERS = {
    count: re.compile(rb"P([1-6])" + _TOKEN * count + rb"(?:#[^\r\n]*[\r\n])?") for count in (2, 3)
}
_COMMENT = re.compile(rb"#[^\r\n]*")
_NO_NUMBERS = re.compile(rb"[^0-9\s]")
_NAMES = {"1": "PBM", "2": "PGM", "3": "PPM", "4": "PBM", "5": "PGM", "6": "PPM"}
_DEEPEST = (1 << 16) - 1


class NetpbmFile(ImageFile.ImageFile):
    """The first picture of a file, as Pillow's own readers have theirs; ``largest`` is the sample
    that means white.
    """

    format = "PPM"
    format_description = "Netpbm picture"
    largest: int

    def _open(self) -> None:
        assert self.fp is not None
        head = self.fp.read(1 << 16)
        count = 2 if head[1:2] in b"14" else 3
        header = _HEADERS[count].match(head)
        if header is None:
            raise SyntaxError("no header")
        kind, *numbers = (group.decode() for group in header.groups())
        self._size = int(numbers[0]), int(numbers[1])
        self.largest = int(numbers[2]) if count == 3 else 1
        if not 0 < self.largest <= _DEEPEST:
            raise SyntaxError("no such depth")
        self._mode = "RGB" if kind in "36" else "L"
        self._kind, self._starts_at = kind, header.end()
        self.format = _NAMES[kind]
        self.tile = []

    def samples(self) -> np.ndarray:
        """uint8 or uint16 (height, width) or (height, width, 3), 0 to ``largest``. Raises
        ValueError where there are too few.
        """
        assert self.fp is not None
        self.fp.seek(self._starts_at)
        data = self.fp.read()
        width, height = self.size
        channels = 3 if self._mode == "RGB" else 1
        shape = (height, width, 3)[: 3 if channels == 3 else 2]
        count = width * height * channels
        if self._kind in "123":
            values = self._from_words(data, count)
        elif self._kind == "4":
            row = (width + 7) // 8
            packed = np.frombuffer(data, np.uint8, row * height, 1).reshape(height, row)
            return np.unpackbits(packed, axis=1)[:, :width] ^ 1
        else:  # one white letter lies between header and samples
            depth = np.dtype("u1" if self.largest < 256 else ">u2")
            values = np.frombuffer(data, depth, count, 1)
        values = np.minimum(values, self.largest)
        return values.reshape(shape).astype(np.uint8 if self.largest < 256 else np.uint16)

    def _from_words(self, data: bytes, count: int) -> np.ndarray:
        words = _COMMENT.sub(b" ", data)
        if self._kind == "1":  # digits that need no space between them
            letters = np.frombuffer(words, np.uint8)
            bits = letters[(letters == ord("0")) | (letters == ord("1"))][:count] - ord("0")
            if len(bits) < count:
                raise ValueError("cut short")
            return bits ^ 1
        if odd := _NO_NUMBERS.search(words):  # another picture may follow
            words = words[: odd.start()]
        letters = np.frombuffer(words, np.uint8)
        digits = (letters >= ord("0")) & (letters <= ord("9"))
        begins = np.count_nonzero(digits[1:] & ~digits[:-1]) + np.count_nonzero(digits[:1])
        if begins < count:  # of which NumPy would make up the rest
            raise ValueError("cut short")
        return np.fromstring(words.decode("ascii"), np.int64, count, sep=" ")

    def load(self) -> Image.core.PixelAccess | None:
        """Decodes to 8 bits, once."""
        if getattr(self, "_im", None) is None:
            eight = to_eight_bits(self.samples(), self.largest)
            self.im = Image.fromarray(eight).im
        return super().load()


def to_eight_bits(samples: np.ndarray, largest: int) -> np.ndarray:
    """Samples 0 to ``largest`` as uint8 of the same shape; of 16 bits the high byte."""
    if largest == 255:
        return samples.astype(np.uint8, copy=False)
    if largest == _DEEPEST:
        return (samples >> 8).astype(np.uint8)
    wide = np.minimum(samples, largest).astype(np.uint32)
    return ((wide * 255 + largest // 2) // largest).astype(np.uint8)
