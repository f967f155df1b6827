"""What an import reads: a folder tree, or a tar or zip of one, as relative paths and a way to read
each file's bytes.

All are hostile. An archive is never extracted: its headers are listed once, then members are read
by their position. Only regular files count, and hard links to those of the same tar; other links,
devices, absolute paths and ".." are skipped and named. Tars put together with `cat`, plain or
compressed, are read to the last.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zfjax.data.hard_links import HardLinks, path_steps, text
from zfjax.data.images import ImageError
from zfjax.data.system_names import is_system_name
from zfjax.data.unpacking import damaged_tar, no_archive, plain_tar
from zfjax.data.zips import ZipContents, is_zip, open_zip
from zfjax.errors import ZfjaxError, explain_os_error

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
"""What the archives that are read are called; what they are is told by their first bytes."""
_BLOCK = 1 << 20
_HEAD = 4096


@dataclass(frozen=True)
class Source:
    """The files of a tree or an archive.

    ``files`` are relative POSIX paths, ``folders`` those of all folders known, ``skipped`` names
    what was left out by reason. ``read(path, limit)`` returns a file's bytes; it raises ImageError
    when there are more than ``limit``.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    skipped: dict[str, list[str]]
    read: Callable[[str, int], bytes]


@contextlib.contextmanager
def open_source(path: Path, scratch: Path) -> Iterator[Source]:
    """Opens a folder, a zip, a tar, or a tar compressed with gzip, bzip2 or xz (unpacked to an
    unnamed file in ``scratch``).

    Raises ZfjaxError when there is nothing at ``path``, it is none of them, or the archive is
    damaged or cut short.
    """
    if path.is_dir():
        yield _tree(path)
    elif path.is_file() and is_zip(path):
        with open_zip(path, _classify) as contents:
            yield _zip(contents)
    elif path.is_file():
        with plain_tar(path, scratch) as handle:
            yield _tar(path, handle)
    elif path.exists():
        raise ZfjaxError(f"{path} is neither a folder nor a tar file, nor a zip.")
    else:
        raise ZfjaxError(f"There is no {path}; give a folder of class folders, or a tar of one.")


def _classify(parts: tuple[str, ...], absolute: bool) -> str | None:
    """The reason to skip a path for its name alone, or None."""
    if absolute or ".." in parts or not parts:
        return "unsafe path"
    if any(map(is_system_name, parts)):
        return "hidden or system file"
    return None


def _tree(root: Path) -> Source:
    places: dict[str, str] = {}
    folders: list[str] = []
    skipped: dict[str, list[str]] = {}

    def walk(folder: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]]) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if not parts:
                raise explain_os_error(error, "list") from error
            skipped.setdefault("unreadable", []).append("/".join(parts))
            return
        for entry in entries:
            below = (*parts, text(entry.name))
            path = "/".join(below)
            reason = _classify(below, absolute=False)
            try:  # links are followed: people build subsets out of links to files and folders
                status = entry.stat()
            except OSError:
                reason = reason or "broken link"
            if reason is None and stat.S_ISDIR(status.st_mode):
                if (identity := (status.st_dev, status.st_ino)) in above:
                    reason = "link to a folder above it"
                else:
                    folders.append(path)
                    walk(entry.path, below, above | {identity})
                    continue
            elif reason is None and not stat.S_ISREG(status.st_mode):
                reason = "link or device"
            if reason is not None:
                skipped.setdefault(reason, []).append(path)
            else:
                places[path] = entry.path

    status = root.stat()
    walk(str(root), (), frozenset({(status.st_dev, status.st_ino)}))

    def read(path: str, limit: int) -> bytes:
        try:
            with open(places[path], "rb") as handle:
                # Not limit + 1 at once, for which Python would set the memory aside.
                data = handle.read(min(os.fstat(handle.fileno()).st_size, limit) + 1)
        except OSError:
            raise ImageError("unreadable") from None
        return _within(data, limit)

    return Source(tuple(places), tuple(folders), skipped, read)


def _zip(contents: ZipContents) -> Source:
    def read(inside: str, limit: int) -> bytes:
        return _within(contents.read(inside, limit), limit)

    return Source(contents.files, contents.folders, contents.skipped, read)


def _tar(path: Path, handle: BinaryIO) -> Source:
    places, folders, skipped = tar_places(path, handle)

    def read(inside: str, limit: int) -> bytes:
        offset, size = places[inside]
        return read_place(path, handle, inside, offset, size, limit)

    return Source(tuple(places), folders, skipped, read)


def tar_places(
    path: Path, handle: BinaryIO | TarInside
) -> tuple[dict[str, tuple[int, int]], tuple[str, ...], dict[str, list[str]]]:
    """({file: (byte at which it begins in ``handle``, its size)}, folders, what is skipped by
    reason) of a tar.

    ``handle``: the tar without compression; ``path`` is what an error names. Raises ZfjaxError when
    it is damaged.
    """
    places: dict[str, tuple[int, int]] = {}
    folders: dict[str, None] = {}
    skipped: dict[str, list[str]] = {}
    links, waiting = HardLinks(), []
    for member in _members(path, handle):
        name = text(member.name)
        parts = path_steps(name)
        if not parts and member.isdir():
            continue  # "./" itself
        inside = "/".join(parts)
        body = links.see(inside, member)
        reason = _classify(parts, absolute=name.startswith("/"))
        if reason is None and member.isdir():
            folders[inside] = None
            continue
        if reason is None and body is None and not member.islnk():
            reason = "link or device"
        if reason is not None:
            skipped.setdefault(reason, []).append(name)
            continue
        if inside in places:
            skipped.setdefault("duplicate name (the last one is kept)", []).append(inside)
        if body is not None:
            places[inside] = body
        else:
            waiting.append(inside)
    for inside in waiting:
        if body := links.follow(inside):
            places[inside] = body
        else:
            skipped.setdefault("hard link to a file that the tar lacks", []).append(inside)
    return places, tuple(folders), skipped


def read_place(
    path: Path, handle: BinaryIO, inside: str, offset: int, size: int, limit: int
) -> bytes:
    """The bytes of the file ``inside`` of a tar. Raises ImageError over ``limit`` bytes, ZfjaxError
    where it is cut.
    """
    try:
        handle.seek(offset)
        data = handle.read(min(size, limit + 1))
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error
    if len(data) < min(size, limit + 1):
        raise damaged_tar(path, f"{inside} is cut short")
    return _within(data, limit)


class TarInside(io.RawIOBase):
    """A tar that is a file of a larger tar, ``size`` bytes from byte ``offset`` of ``handle``, to
    read in place.
    """

    def __init__(self, handle: BinaryIO, offset: int, size: int):
        self._handle, self._offset, self._size, self._at = handle, offset, size, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        self._at = max(
            0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        )
        return self._at

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, none beyond its own end."""
        left = max(0, self._size - self._at)
        self._handle.seek(self._offset + self._at)
        data = self._handle.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data


def _members(path: Path, handle: BinaryIO | TarInside) -> Iterator[tarfile.TarInfo]:
    """The members' headers, one at a time; memory does not grow with the tar.

    What follows the end of an archive is read as the next one, as `tar -i` does (`cat a.tar
    b.tar`); zeros are padding, and anything else is damage.
    """
    begun = False
    try:
        start: int | None = 0
        while start is not None:
            handle.seek(start)
            archive = tarfile.open(fileobj=handle, mode="r:")  # closing it would do nothing
            while (member := archive.next()) is not None:
                begun = True
                yield member
                archive.members.clear()  # type: ignore[attr-defined]  # all headers so far
            # tarfile takes a damaged header for the end; a real end is a block of zeros.
            handle.seek(archive.offset)
            if handle.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no valid header at byte {archive.offset}")
            start = _after_zeros(handle, archive.offset + tarfile.BLOCKSIZE)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        handle.seek(0)
        head = b"" if begun else handle.read(_HEAD)
        raise no_archive(path, head, "tar") or damaged_tar(path, error) from error
    except OSError as error:
        raise explain_os_error(error, f"read {path}:") from error


def _after_zeros(handle: BinaryIO | TarInside, offset: int) -> int | None:
    """Where the first block that is not all zeros begins, from ``offset`` on, or None."""
    handle.seek(offset)
    while data := handle.read(_BLOCK):
        if left := data.lstrip(b"\0"):
            return offset + (len(data) - len(left)) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        offset += len(data)
    return None


def _within(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise ImageError(f"file larger than {limit:,} bytes")
    return data
