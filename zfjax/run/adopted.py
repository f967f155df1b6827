"""The folder of evolutions of a network that zfjax has not trained: what its config.json says. No
JAX.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.files import read_json, write_json
from zfjax.run.evolution import Evolution, open_evolution
from zfjax.run.folder import Run, check_folder, evolution_folder, load_run
from zfjax.run.tabled import Tabled, lines_of
from zfjax.values import Place

KIND = "foreign"
"""What config.json is of; a run's says none."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class AdoptedRun:
    """A folder of evolutions of somebody else's checkpoints; beside it, ``run.folder.Run``."""

    folder: Path
    identity: Mapping[str, Any]
    """What tells network, checkpoints and preparation of the latest evolution: ``Subject.foreign``.
    An evolution's own stands in its record."""
    opened_from: Mapping[str, Any] = field(default_factory=dict)
    """The words that open it again: ``Subject.opened_from``; {} where they are not on record."""

    def __repr__(self) -> str:
        return lines_of(self._tabled)

    def _repr_html_(self) -> str:
        return self._tabled().html()

    def _tabled(self) -> Tabled:
        rows = (
            ("network", str(self.identity.get("model", ""))),
            ("input", f"{self.identity.get('input', '')} pixels"),
        )
        words = f"In {self.folder.name}, of a network that was trained elsewhere."
        return Tabled("Run", words, (), rows)

    @property
    def report(self) -> Path:
        """The page and the figures."""
        return self.folder / "report"

    @property
    def split(self) -> str:
        """The split that is looked at where none is asked for."""
        return str(self.opened_from.get("split") or "train")

    @property
    def reopens(self) -> bool:
        """Whether words alone open network and checkpoints again: neither came as objects."""
        return all(self.opened_from.get(what) for what in ("model", "checkpoints"))

    @property
    def metrics(self) -> tuple[dict[str, Any], ...]:
        """None: nothing was trained here."""
        return ()

    @property
    def training_lines(self) -> tuple[dict[str, Any], ...]:
        """None, likewise."""
        return ()

    @property
    def validation_lines(self) -> tuple[dict[str, Any], ...]:
        """None, likewise."""
        return ()

    def showing(self, evolution: Evolution) -> AdoptedRun:
        """The same of the network that ``evolution`` was made of, which is on its own record; its
        words are known where it is that of the latest evolution.
        """
        identity = evolution.record.asked.get(KIND, self.identity)
        return (
            self if identity == self.identity else replace(self, identity=identity, opened_from={})
        )

    def evolution_folder(self, name: str | None = None) -> Path:
        """OUT/evolution, or OUT/evolution-NAME."""
        return evolution_folder(self.folder, name)

    def evolution(self, name: str | None = None) -> Evolution:
        """The finished evolution of that name. Raises ZfjaxError when there is none."""
        return open_evolution(self.evolution_folder(name))


def load_any(folder: Place | Run | AdoptedRun) -> Run | AdoptedRun:
    """Opens a run, or a folder of evolutions of somebody else's checkpoints; one that is open
    already, anew. Raises ZfjaxError for what is neither, or damaged.
    """
    path = check_folder(folder.folder if isinstance(folder, Run | AdoptedRun) else folder)
    record = read_json(path / "config.json") if (path / "config.json").exists() else None
    if not isinstance(record, dict) or record.get("kind") != KIND:
        return load_run(path)
    try:
        if record["format_version"] > FORMAT_VERSION:
            raise ZfjaxError(
                f"{path / 'config.json'} was written by a newer zfjax (format"
                f" {record['format_version']}); update zfjax."
            )
        opened_from = dict(record.get("opened_from") or {})
    except (KeyError, TypeError, ValueError) as error:
        raise ZfjaxError(
            f"{path / 'config.json'} is damaged: {error!r}; evolve again, or restore it from a"
            " copy."
        ) from None
    own = ("format_version", "kind", "opened_from")
    identity = {name: value for name, value in record.items() if name not in own}
    return AdoptedRun(path, identity, opened_from)


def save_adopted(
    folder: Path, identity: Mapping[str, Any], opened_from: Mapping[str, Any] | None
) -> None:
    """Writes OUT/config.json."""
    record = {"format_version": FORMAT_VERSION, "kind": KIND, **identity}
    write_json(folder / "config.json", {**record, "opened_from": dict(opened_from or {})})
