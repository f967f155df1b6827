"""Hard links of a tar: names that share one file's bytes, as a tree has them. Pure.

A link names a member, usually one before it. One that comes after it (members put together anew),
one that is skipped for its name, and another link are followed too; what the tar lacks is not.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field

Body = tuple[int, int]
"""Where a file lies: its first byte in the tar, and its size."""


def text(name: str) -> str:
    """A name that is valid Unicode: undecodable bytes become backslash escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def path_steps(name: str) -> tuple[str, ...]:
    """The parts of a path in a tar."""
    return tuple(step for step in name.split("/") if step not in ("", "."))


@dataclass
class HardLinks:
    """Which bytes each name of a tar stands for, as far as its members have been seen."""

    _bodies: dict[str, Body] = field(default_factory=dict)
    _targets: dict[str, str] = field(default_factory=dict)

    def see(self, inside: str, member: tarfile.TarInfo) -> Body | None:
        """The bytes of the member ``inside``, its own or those that it is a hard link to; None
        where these have not been seen, or it is no plain file.
        """
        body, target = None, path_steps(text(member.linkname)) if member.islnk() else ()
        if target:
            body = self._bodies.get("/".join(target))
        elif member.isreg() and not member.issparse():
            body = member.offset_data, member.size
        self._targets.pop(inside, None)
        if body is not None:
            self._bodies[inside] = body
        elif target:
            self._targets[inside] = "/".join(target)
        return body

    def follow(self, inside: str) -> Body | None:
        """The bytes at the end of a chain of links, once all members have been seen."""
        for _ in range(len(self._targets) + 1):
            if inside in self._bodies or inside not in self._targets:
                return self._bodies.get(inside)
            inside = self._targets[inside]
        return None
