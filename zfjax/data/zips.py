"""A zip as an import reads it: its directory is listed once, then members are unpacked one at a
time, in memory, up to the limit that the reader sets.

A zip is hostile: nothing that it declares is believed. What is encrypted, compressed in a way that
Python cannot undo, a link, or laid over another member is left out and named; a member whose bytes
are not what its checksum says is a damaged file.
"""

from __future__ import annotations

import contextlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zfjax.data.images import ImageError
from zfjax.data.unpacking import UNREAD, no_archive
from zfjax.errors import ZfjaxError, explain_os_error

_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"PK00")
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "xz", 96: "JPEG", 98: "PPMd", 99: "AES"}
_ENCRYPTED = 0x1
_NAMED_IN_UTF8 = 0x800
_LOCAL_HEADER = 30

Refuse = Callable[[tuple[str, ...], bool], str | None]
"""(the parts of a path, whether it is absolute) to the reason to leave it out, or None."""


@dataclass(frozen=True)
class ZipContents:
    """What a zip holds: relative paths of ``files`` and ``folders``, what is ``skipped`` by reason.

    ``read(path, limit)`` returns at most ``limit`` + 1 bytes of a file; it raises ImageError for
    one that is damaged.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    skipped: dict[str, list[str]]
    read: Callable[[str, int], bytes]


def is_zip(path: Path) -> bool:
    """Whether a file begins as zips do, or is called one and is nothing else that is read."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(4)
        called = path.suffix.casefold() == ".zip" and not head.startswith(tuple(UNREAD))
        return head in _BEGINNINGS or (called and not tarfile.is_tarfile(path))
    except OSError as error:
        raise explain_os_error(error, "read") from error


@contextlib.contextmanager
def open_zip(path: Path, refuse: Refuse) -> Iterator[ZipContents]:
    """Opens a zip. Raises ZfjaxError where it is damaged or cut short, or nothing in it can be
    unpacked.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
        raise no_archive(path, _head(path), "zip") or ZfjaxError(
            f"{path} is not a whole zip file ({error}); copy or download it again."
        ) from error
    except OSError as error:
        raise explain_os_error(error, "read") from error
    with archive:
        places, folders, skipped = _places(archive, refuse)
        if not places:
            _check_unpackable(path, skipped)

        def read(inside: str, limit: int) -> bytes:
            return _unpacked(path, archive, places[inside], limit)

        yield ZipContents(tuple(places), folders, skipped, read)


def _head(path: Path) -> bytes:
    """The first bytes of what is called a zip and does not begin as one."""
    with open(path, "rb") as handle:
        head = handle.read(4096)
    return b"" if head.startswith(_BEGINNINGS) else head


def _places(
    archive: zipfile.ZipFile, refuse: Refuse
) -> tuple[dict[str, zipfile.ZipInfo], tuple[str, ...], dict[str, list[str]]]:
    """({file: its member}, folders, what is skipped by reason)."""
    places: dict[str, zipfile.ZipInfo] = {}
    folders: dict[str, None] = {}
    skipped: dict[str, list[str]] = {}
    overlaid = _overlaid(archive)
    for member in archive.infolist():
        name = _name(member)
        parts = tuple(step for step in name.split("/") if step not in ("", "."))
        is_folder = name.endswith("/")
        if not parts and is_folder:
            continue
        drive = len(parts[0]) == 2 and parts[0][1] == ":" if parts else False
        reason = refuse(parts, name.startswith("/") or drive)
        if reason is None and is_folder:
            folders["/".join(parts)] = None
            continue
        reason = reason or _fault(member, member.header_offset in overlaid)
        inside = "/".join(parts)
        if reason is not None:
            skipped.setdefault(reason, []).append(name)
            continue
        if inside in places:
            skipped.setdefault("duplicate name (the last one is kept)", []).append(inside)
        places[inside] = member
    return places, tuple(folders), skipped


def _name(member: zipfile.ZipInfo) -> str:
    """A member's name as valid Unicode, with slashes.

    Many programs write UTF-8 without saying so, and some of Windows write backslashes.
    """
    name = member.filename
    if not member.flag_bits & _NAMED_IN_UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name if "/" in name else name.replace("\\", "/")


def _fault(member: zipfile.ZipInfo, overlaid: bool) -> str | None:
    """Why a member with a sound name cannot be read, or None."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "link or device"
    if member.flag_bits & _ENCRYPTED:
        return "encrypted"
    if member.compress_type not in _METHODS:
        method = _METHOD_NAMES.get(member.compress_type, f"method {member.compress_type}")
        return f"compressed with {method}, which zfjax cannot unpack"
    return "laid over another member of the zip" if overlaid else None


def _overlaid(archive: zipfile.ZipFile) -> set[int]:
    """Where members begin whose bytes reach into the next: how small zips claim to hold
    everything.
    """
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    return {
        member.header_offset
        for member, following in zip(members, members[1:], strict=False)
        if member.header_offset + _LOCAL_HEADER + member.compress_size > following.header_offset
    }


def _check_unpackable(path: Path, skipped: dict[str, list[str]]) -> None:
    """Raises ZfjaxError for a zip of which nothing can be unpacked."""
    if "encrypted" in skipped:
        raise ZfjaxError(
            f"{path} is encrypted: unpack it with its password, then import the folder."
        )
    for reason in skipped:
        if reason.startswith("compressed with"):
            raise ZfjaxError(
                f"All of {path} is {reason}: unpack it with the program that made it, then import"
                " the folder."
            )


def _unpacked(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    try:
        with archive.open(member) as handle:
            return handle.read(limit + 1)
    except OSError as error:
        if error.errno is not None:  # bz2 says OSError("Invalid data stream")
            raise explain_os_error(error, f"read {path}:") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ):
        pass
    raise ImageError("damaged within the zip")
