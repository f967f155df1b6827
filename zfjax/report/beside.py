"""Where a page's pictures and data lie that is too large for one file. No JAX.

They are written to a temporary folder, which gets its name when all is there, and only then does
the page refer to it: an interrupted report leaves the page before it as it was.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zfjax.files import atomic_path, write_text

NAMES = ("page-1", "page-2")
"""Of the folder beside the page: it has the one, and a new one is written under the other."""
DATA = "data.js"


@dataclass(frozen=True)
class Beside:
    """A folder that is being written."""

    temporary: Path
    name: str
    """Its name when all is there: the page refers to that."""

    @property
    def data_file(self) -> str:
        """The script of the page's data, relative to the page."""
        return f"{self.name}/{DATA}"

    def store(self, data: bytes, kind: str) -> str:
        """Writes a picture, each different one once; returns its address relative to the page."""
        name = f"{hashlib.blake2b(data, digest_size=8).hexdigest()}.{kind}"
        (self.temporary / name).write_bytes(data)
        return f"{self.name}/{name}"

    def write_data(self, script: str) -> None:
        """Writes the script that holds the page's data."""
        (self.temporary / DATA).write_text(script, encoding="utf-8")


@contextmanager
def written_beside(folder: Path) -> Iterator[Beside]:
    """A folder for a page of ``folder``, there when the block ends; removed where it raises. Raises
    ZfjaxError when the disk is full or the folder read-only.
    """
    used = _name_in_use(folder)
    name = next(each for each in NAMES if each != used)
    shutil.rmtree(folder / name, ignore_errors=True)  # left by a killed process
    with atomic_path(folder / name) as temporary:
        temporary.mkdir()
        yield Beside(temporary, name)


def write_page(folder: Path, page: str, beside: Beside | None) -> None:
    """Writes ``folder``/index.html, then removes what an earlier page had beside it."""
    write_text(folder / "index.html", page)
    for name in NAMES:
        if beside is None or name != beside.name:
            shutil.rmtree(folder / name, ignore_errors=True)


def _name_in_use(folder: Path) -> str | None:
    """The name of the folder that the page of now refers to."""
    path = folder / "index.html"
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return next((name for name in NAMES if f'src="{name}/{DATA}"' in text), None)
