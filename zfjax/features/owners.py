"""Whose the evolutions in a folder are: OUT/config.json of anyone's network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zfjax.errors import ZfjaxError
from zfjax.files import read_json
from zfjax.processes import first_alone
from zfjax.run.adopted import KIND, save_adopted
from zfjax.run.folder import check_folder
from zfjax.subject import Subject


def check_claim(out: Path) -> Path:
    """OUT/config.json, which says whose the evolutions there are. Raises ZfjaxError for a folder
    that is a run's, or that cannot be one.
    """
    path = check_folder(out) / "config.json"
    if path.exists() and read_json(path).get("kind") != KIND:
        raise ZfjaxError(f"{out} is a run of zfjax; give another folder to write to.")
    return path


def claim(out: Path, subject: Subject, *, latest: bool = False) -> None:
    """Writes OUT/config.json, where there is none; ``latest``: also where there is one, for what
    was evolved last is what is opened again there. Raises ZfjaxError as ``check_claim``.
    """
    path = check_claim(out)
    if (latest or not path.exists()) and subject.foreign is not None:
        out.mkdir(parents=True, exist_ok=True)
        save_adopted(out, subject.foreign, subject.opened_from)


@contextmanager
def claimed(out: Path, subject: Subject) -> Iterator[None]:
    """While an evolution of ``subject`` is written to ``out``: claimed before, and as the latest
    once it is there. Raises ZfjaxError as ``check_claim``.
    """
    first_alone(lambda: claim(out, subject))
    yield
    first_alone(lambda: claim(out, subject, latest=True))
