"""A tar without its compression: gzip, bzip2 and xz are unpacked to an unnamed file, in which one
can seek.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from zfjax.data.formats import kind_of
from zfjax.errors import ZfjaxError, explain_os_error

_OPENERS = {
    b"\x1f\x8b": lambda packed: gzip.open(packed, "rb"),
    b"BZh": lambda packed: _Streams(packed, bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": lambda packed: _Streams(packed, lzma.LZMADecompressor),
}
"""By the first bytes; each takes the opened file and reads all compressed streams that follow each
other in it."""
UNREAD = {
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "zstd -d"),
    b"Rar!": ("a RAR archive", "unrar x"),
    b"7z\xbc\xaf": ("a 7z archive", "7z x"),
}
"""By the first bytes: what such a file is, and the command that unpacks it."""
_BLOCK = 1 << 20


@contextlib.contextmanager
def plain_tar(path: Path, scratch: Path) -> Iterator[BinaryIO]:
    """The tar without its compression, as a file in which one can seek."""
    try:
        with open(path, "rb") as packed:
            head = packed.read(6)
            for magic, (kind, program) in UNREAD.items():
                if head.startswith(magic):
                    raise ZfjaxError(
                        f"{path} is {kind}, which zfjax cannot read: unpack it first ({program})."
                    )
            opener = next(
                (opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None
            )
            if opener is None:
                packed.seek(0)
                yield packed
                return
    except OSError as error:
        raise explain_os_error(error, "read") from error
    with tempfile.TemporaryFile(dir=scratch) as plain:
        try:
            with open(path, "rb") as packed, opener(packed) as unpacked:
                shutil.copyfileobj(unpacked, plain, _BLOCK)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise damaged_tar(path, error) from error
        except OSError as error:
            if error.errno is None:  # bz2 says OSError("Invalid data stream")
                raise damaged_tar(path, error) from error
            raise explain_os_error(error, f"unpack {path}:") from error
        plain.seek(0)
        yield plain


class _Streams(io.RawIOBase):
    """What one or more compressed streams hold, one after the other, zeros between and after them
    left out.

    bz2.open and lzma.open take whatever follows the first stream and is not another sound one for
    its end.
    """

    def __init__(self, packed: BinaryIO, new: Callable[[], Any]):
        self._packed, self._new, self._stream, self._rest = packed, new, new(), b""

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes (fewer are no end), b"" at the end. Raises EOFError where the last
        stream is cut.
        """
        while not self._stream.eof or self._begin_next():
            data = b""
            if self._stream.needs_input:
                data, self._rest = self._rest or self._packed.read(_BLOCK), b""
                if not data:
                    raise EOFError("it ends within a compressed stream")
            if plain := self._stream.decompress(data, size if size > 0 else _BLOCK):
                return plain
        return b""

    def _begin_next(self) -> bool:
        """Whether anything but zeros follows the stream that has ended; it is the next one."""
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest and (data := self._packed.read(_BLOCK)):
            rest = data.lstrip(b"\0")
        if rest:
            self._stream, self._rest = self._new(), rest
        return bool(rest)


def no_archive(path: Path, head: bytes, kind: str) -> ZfjaxError | None:
    """That ``path`` is no whole archive of a ``kind`` but what its first bytes say; None where they
    say nothing.
    """
    what = kind_of(head)
    if what is None:
        return None
    return ZfjaxError(
        f"{path} is not a whole {kind} file, nor another archive that is read, but {what}: give a"
        " folder of images, or a zip or tar of one."
    )


def damaged_tar(path: Path, why: object) -> ZfjaxError:
    """That ``path`` is no whole tar, and what is wrong with it."""
    return ZfjaxError(f"{path} is not a whole tar file ({why}); copy or download it again.")
