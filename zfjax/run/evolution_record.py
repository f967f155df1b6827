"""What an evolution's meta.json says, as one value, and while it is under way. No JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.files import read_json, write_json
from zfjax.network.architecture import Window

NAME = "meta.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class EvolutionRecord:
    """The facts of a finished evolution; fields stand in the file's order. One that is added later
    has a default, with which evolutions made before it stay what they are.
    """

    complete: bool = True
    format_version: int = FORMAT_VERSION
    created: str
    """ISO 8601."""
    steps: tuple[int, ...]
    """Searched, ascending."""
    epochs: tuple[float, ...]
    """Of ``steps``."""
    layers: tuple[str, ...]
    """Searched, from the image up; what follows by layer has them as keys."""
    map_count: Mapping[str, int]
    """All maps of each layer; those drawn are ``maps``."""
    top: int
    """Images kept for each map and step."""
    split: str
    train_split: str | None = "train"
    images: int
    """Asked for: the first so many."""
    rule: str
    precision: str
    every_rank: bool = False
    """Whether the ``top`` images of every step are drawn, not of the last one alone."""
    seed: int
    input_size: tuple[int, int]
    """(height, width) of the network's input, in pixels."""
    windows: Mapping[str, Window | None]
    """What one unit of a layer sees of the input; None where that is not known."""
    shapes: Mapping[str, tuple[int, int, int]]
    """(height, width, maps)."""
    tile_size: Mapping[str, tuple[int, int]]
    """(height, width) in pixels."""
    method: Mapping[str, str]
    """What was projected: each unit's "window" or the whole "image"."""
    maps: Mapping[str, tuple[int, ...]]
    """Drawn, ascending."""
    unreadable: int = 0
    """Of ``images``, left out."""
    dead_share: Mapping[str, tuple[float, ...]]
    """Of a layer's maps, 0..1, by step."""
    purity: Mapping[str, tuple[float | None, ...]]
    """Mean share of the commonest label among a map's strongest images, 0..1, by step."""
    checked: Mapping[str, Any]
    """units: reproduced activations; drawn: all; worst: the largest relative difference; of a
    search below the highest precision, ranked: ``ranking.Doubt`` by step."""
    seconds: Mapping[str, float]
    asked: Mapping[str, Any] = field(default_factory=dict)
    """The request, and whose images and checkpoints it was about."""
    fingerprint: Mapping[str, Any]
    """Of the images: name, version, split, count, digest."""
    name: str | None = None
    """As in RUN/evolution-NAME; None for RUN/evolution."""
    command: str
    """That asks for it again, with RUN for the folder."""
    later: Mapping[str, Any] = field(default_factory=dict)
    """What a later version has added, which this one does not know."""

    def window(self, layer: str) -> Window:
        """What one unit of the layer sees; the whole input where its window is not known."""
        return self.windows[layer] or Window(max(self.input_size), 0, 0)

    @property
    def ranked(self) -> Mapping[str, Mapping[str, Any]]:
        """By step, how sure the strongest images of a search below the highest precision are; {}
        of one at the highest.
        """
        known: Mapping[str, Mapping[str, Any]] = self.checked.get("ranked", {})
        return known

    @property
    def search_precision(self) -> str:
        """At which the search multiplied."""
        return str(self.asked.get("search_precision", self.precision))

    def search_words(self) -> str:
        """How a search below the highest precision was made good, and how sure that is; "" of one
        at the highest.
        """
        if not self.ranked:
            return ""
        known = self.ranked.values()
        lists, near, silent = (
            sum(int(of_step[name]) for of_step in known) for name in ("lists", "near", "silent")
        )
        off = max(float(of_step["difference"]) for of_step in known)
        return (
            f"searched at {self.search_precision}, candidates ranked again at {self.precision}: of"
            f" {lists:,} lists of strongest images {lists - near - silent:,} miss none; in {near:,}"
            f" another image might belong, and {silent:,} are of maps that hardly any image"
            f" excites (activations were off by up to {off:.1e} of a map's strongest)"
        )

    def as_json(self) -> dict[str, Any]:
        """The values of meta.json, in its order: dicts, lists, texts, numbers."""
        values = {name: getattr(self, name) for name in FIELDS}
        plain: dict[str, Any] = _plain({**values, **self.later})
        return plain


FIELDS = tuple(known.name for known in dataclasses.fields(EvolutionRecord) if known.name != "later")


def _plain(value: Any) -> Any:
    """As JSON would read it back."""
    if isinstance(value, Window):
        return dict(vars(value))
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _window(stored: Mapping[str, int] | None) -> Window | None:
    return None if stored is None else Window(**stored)


def _by_layer(made: Callable[[Any], Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def read(stored: Mapping[str, Any]) -> dict[str, Any]:
        return {layer: made(value) for layer, value in stored.items()}

    return read


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("steps", "epochs", "layers", "input_size"), tuple),
    **dict.fromkeys(("shapes", "tile_size", "maps", "dead_share", "purity"), _by_layer(tuple)),
    **dict.fromkeys(("map_count", "method", "checked", "seconds", "asked", "fingerprint"), dict),
    "windows": _by_layer(_window),
}
"""How a field's JSON becomes its value; others are taken as they are."""


def record_from(path: Path, stored: Any) -> EvolutionRecord:
    """The record of what stands in the file ``path``. Raises ZfjaxError where that was written by
    a newer format, or is not whole.
    """
    try:
        if stored.get("format_version", 1) > FORMAT_VERSION:
            raise ZfjaxError(
                f"{path} was written by a newer zfjax (format {stored['format_version']}); update"
                " zfjax."
            )
        known = {
            name: _READ[name](stored[name]) if name in _READ else stored[name]
            for name in FIELDS
            if name in stored
        }
        later = {name: value for name, value in stored.items() if name not in FIELDS}
        return EvolutionRecord(**known, later=later)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, repr(error)) from None


def _damaged(path: Path, why: str) -> ZfjaxError:
    return ZfjaxError(
        f"{path} is damaged: {why}; delete the evolution folder and run `zfjax evolve` again, or"
        " restore it from a copy."
    )


@dataclass(frozen=True)
class Begun:
    """An evolution that was begun, finished or not."""

    finished: bool
    asked: dict[str, Any]
    """{} where that was not recorded."""


def begun_evolution(folder: Path) -> Begun | None:
    """What has been begun in ``folder``; None for nothing. Raises ZfjaxError for a damaged
    record.
    """
    path = folder / NAME
    if not path.exists():
        return None
    stored = read_json(path)
    if not isinstance(stored, dict) or not isinstance(stored.get("asked", {}), dict):
        raise _damaged(path, "it is no record of an evolution")
    return Begun(bool(stored.get("complete")), stored.get("asked", {}))


def write_begun(folder: Path, asked: Mapping[str, Any]) -> None:
    """Writes that an evolution of what was ``asked`` is under way: it is not read as a whole
    one.
    """
    write_json(folder / NAME, {"complete": False, "asked": asked})


def write_record(folder: Path, record: EvolutionRecord) -> None:
    """Writes meta.json: from then on the evolution is finished."""
    write_json(folder / NAME, record.as_json())
