"""The cells of an ablation: what is asked for, in words or values, becomes named configs. No JAX.

A cell is the base with something otherwise. Fields that are tied change together; several ``vary``
multiply with each other, all else is one more cell of the base.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.fields import HIDDEN, PAIR_WORDS, PAIRS, settable, text_of, with_fields
from zfjax.files import fitting, read_json
from zfjax.grids import Variant, grid
from zfjax.unknown_fields import unknown_field
from zfjax.values import Names, several, texts

BASE = "base"
UNVARIED = {
    "seed": "give --seeds",
    "data.name": "all cells are compared on the same images",
    "data.validation_split": "all cells are compared on the same images",
}
"""Fields that no cell may change, and why."""
MOST_LETTERS = 150
"""Of a cell's name."""


@dataclass(frozen=True)
class Cell:
    """One network of a grid, trained once for each seed."""

    name: str
    """Of its folder."""
    config: Config
    """With the base's seed."""
    fields: tuple[tuple[str, Any], ...] = ()
    """(dotted path, value) of what is otherwise than in the base."""
    without: tuple[str, ...] = ()
    """Layers of the base that it lacks."""
    also: tuple[str, ...] = ()
    """Other names that were asked for and come to this very config."""


@dataclass(frozen=True)
class Axis:
    """Fields that change together: ``values`` are texts, as many in each as there are ``paths``."""

    paths: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Wanted:
    """What of a base is to be tried."""

    axes: tuple[Axis, ...] = ()
    drops: tuple[tuple[str, ...], ...] = ()
    files: tuple[tuple[str, Path], ...] = ()
    """(name, JSON file of a config, or of fields by dotted path)."""
    grids: tuple[str, ...] = ()
    configs: tuple[tuple[str, Config], ...] = ()


def axis_of(text: str, flag: str = "--vary") -> Axis:
    """``--vary`` as it is written: "a,b=11:5,9:4". Raises ZfjaxError, which names ``flag``, for
    values of unequal number and what is no such text.
    """
    names, equals, values = text.partition("=")
    paths = tuple(_path(name) for name in names.split(","))
    if not equals or not all(paths) or not values:
        together = " or, for fields that change together, FIELD,FIELD=VALUE:VALUE,VALUE:VALUE"
        raise ZfjaxError(
            f"{flag} {text}: write FIELD=VALUE,VALUE{together if flag == '--vary' else ''}."
        )
    rows = tuple(tuple(_apart(value, ":")) for value in _apart(values, ","))
    return _axis(paths, rows, f"{flag} {text}")


def _apart(text: str, mark: str) -> list[str]:
    """``text`` at each mark, but those in brackets: "train[:50%]" is one value."""
    return re.split(rf"{mark}(?![^\[\]]*\])", text)


def axis_from(paths: Names, values: Any) -> Axis:
    """The same from values: ``axis_from("model.conv1.kernel", [11, 9])``, or tuples of paths and of
    values.
    """
    tied = not isinstance(paths, str)
    together = texts(paths, "vary")
    rows = []
    for value in several(values):
        row = tuple(value) if tied and isinstance(value, list | tuple) else (value,)
        rows.append(tuple(text_of(inner) for inner in row))
    return _axis(
        tuple(_path(path) for path in together), tuple(rows), f"--vary {','.join(together)}"
    )


def _axis(paths: tuple[str, ...], values: tuple[tuple[str, ...], ...], asked: str) -> Axis:
    if not values:
        raise ZfjaxError(f"{asked}: no value is given.")
    for row in values:
        if len(row) != len(paths):
            is_pair = any(path.rsplit(".", 1)[-1] in PAIRS for path in paths)
            raise ZfjaxError(
                f"{asked}: {':'.join(row) or 'an empty value'} has {len(row)} value"
                f"{'s' * (len(row) != 1)} for {len(paths)} field{'s' * (len(paths) != 1)}"
                f" ({', '.join(paths)}){f'; {PAIR_WORDS}' if is_pair else ''}."
            )
        if not all(word.strip() for word in row):
            field = paths[[bool(word.strip()) for word in row].index(False)]
            within = f" in {':'.join(row)}" if len(row) > 1 else ""
            raise ZfjaxError(f"{asked}: an empty value of {field}{within}.")
    if len(set(paths)) < len(paths):
        raise ZfjaxError(f"{asked}: a field is named twice.")
    if len(set(values)) < len(values):
        twice = next(row for row in values if values.count(row) > 1)
        raise ZfjaxError(f"{asked}: {':'.join(twice)} is given twice.")
    return Axis(paths, values)


def _path(name: str) -> str:
    return name.strip().removeprefix("--").replace("-", "_")


def cells_of(base: Config, wanted: Wanted) -> tuple[Cell, ...]:
    """The base, then all that is wanted, in the order of asking. Raises ZfjaxError for an unknown
    field or layer, for what does not fit, for two names of one config (but the base's) and two
    configs of one name; each names the cell.
    """
    cells = [Cell(BASE, base)]
    for name, config in _asked(base, wanted):
        cell = _cell(base, name, config)
        same = next((other for other in cells if _identity(other) == _identity(cell)), None)
        if same is not None and same.name == BASE:
            cells[0] = replace(cells[0], also=(*cells[0].also, cell.name))
        elif same is not None:
            raise ZfjaxError(
                f"Cells {same.name} and {cell.name} are the same network, trained the same way:"
                " ask for it once."
            )
        elif cell.name in {other.name for other in cells}:
            raise ZfjaxError(f"Two cells are called {cell.name}: give one another name.")
        else:
            cells.append(cell)
    return tuple(cells)


def _asked(base: Config, wanted: Wanted) -> Iterator[tuple[str, Config]]:
    """(name, config) of each cell but the base."""
    for changes in _combinations(base, wanted.axes):
        name = combination_name(base, changes)
        yield name, _made(name, lambda changes=changes: with_fields(base, changes))
    for names in wanted.drops:
        yield _varied(base, Variant(f"without-{'-'.join(names)}", drop=tuple(names)))
    for grid_name in wanted.grids:
        yield from (_varied(base, variant) for variant in grid(grid_name))
    for name, path in wanted.files:
        yield name, _made(name, lambda path=path: _from_file(base, path))
    yield from wanted.configs


def _varied(base: Config, variant: Variant) -> tuple[str, Config]:
    return variant.name, _made(variant.name, lambda: variant.apply(base))


def _made(name: str, make: Any) -> Config:
    """``make()``, whose refusals name the cell."""
    try:
        return make()
    except ZfjaxError as error:
        raise ZfjaxError(f"Cell {name}: {error}") from None


def _combinations(base: Config, axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """{path: text} of each combination of the axes' values. Raises ZfjaxError for a field that
    cannot be varied.
    """
    paths = [path for axis in axes for path in axis.paths]
    for path in paths:
        check_varied(base, path)
        if paths.count(path) > 1:
            raise ZfjaxError(f"Two --vary name {path}; give all its values in one.")
    if axes:
        for rows in itertools.product(*(axis.values for axis in axes)):
            yield {
                path: text
                for axis, row in zip(axes, rows, strict=True)
                for path, text in zip(axis.paths, row, strict=True)
            }


def check_varied(base: Config, path: str) -> None:
    """Raises ZfjaxError for a field that there is not, or that no cell may change."""
    if path not in settable(base):
        raise ZfjaxError(f"There is no field {path} to vary{unknown_field(base, path)}")
    reason = UNVARIED.get(path)
    if path in configs.RESUMABLE_FIELDS:
        reason = "it does not touch what is learnt"
    if path == f"model.{base.model.layers[-1].name}.features":
        reason = "it is the number of classes, which follows the data set"
    if reason:
        raise ZfjaxError(f"{path} cannot be varied: {reason}.")


def combination_name(base: Config, texts: Mapping[str, str]) -> str:
    """Of a folder: the fields that differ from the base's (all, where none does), by the shortest
    endings of their paths that no other field has.
    """
    changed = {
        path: text
        for path, text in texts.items()
        if text != text_of(settable(base)[path])
        and _number(text) != _number(text_of(settable(base)[path]))
    }
    words = [f"{_short(path, settable(base))}={text}" for path, text in (changed or texts).items()]
    return fitting(re.sub(r"[^A-Za-z0-9._=,+-]", "_", ",".join(words)), MOST_LETTERS)


def _number(text: str) -> float | str:
    """A text's number, so that 0.1 and 1e-1 are one value."""
    try:
        return float(text)
    except ValueError:
        return text


def _short(path: str, known: Iterable[str]) -> str:
    words = path.split(".")
    for count in range(1, len(words)):
        ending = ".".join(words[-count:])
        if sum(other == ending or other.endswith(f".{ending}") for other in known) == 1:
            return ending
    return path


def _from_file(base: Config, path: Path) -> Config:
    """A cell's config from JSON: a whole config, such as a run's config.json, or the fields that
    are otherwise, by dotted path.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise ZfjaxError(f"{path} holds no JSON object.")
    if "config" in value or "model" in value:
        return configs.from_json(value)
    for name in value:
        check_varied(base, name)
    return with_fields(base, {name: text_of(inner) for name, inner in value.items()})


def _cell(base: Config, name: str, config: Config) -> Cell:
    """A cell of ``config``, with all that does not touch what is learnt as in the base."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*", name) or len(name) > MOST_LETTERS:
        raise ZfjaxError(f"A cell cannot be called {name!r}: letters, digits, '.', '_' or '-'.")
    shared = replace(
        base.data,
        **{
            item: getattr(config.data, item)
            for item in ("train_split", "view", "shift", "flip", "crops")
        },
    )
    for item in ("name", "validation_split"):
        if getattr(config.data, item) != getattr(base.data, item):
            raise ZfjaxError(
                f"Cell {name}: data.{item} is {getattr(config.data, item)!r}, and the base's is"
                f" {getattr(base.data, item)!r}: {UNVARIED[f'data.{item}']}."
            )
    trained, validated, usual = (
        split.partition("[")[0]
        for split in (config.data.train_split, base.data.validation_split, base.data.train_split)
    )
    if trained == validated != usual:
        raise ZfjaxError(
            f"Cell {name}: data.train_split is {config.data.train_split!r}, of the images that all"
            " cells are compared on."
        )
    model = config.model.with_classes(base.model.classes)
    config = replace(
        config,
        model=model,
        data=shared,
        preset=base.preset,
        seed=base.seed,
        layer_keys=base.layer_keys,
        tensorboard=base.tensorboard,
        save_minutes=base.save_minutes,
        keep=base.keep,
    )
    own, theirs = configs.flatten(config), configs.flatten(base)
    fields = tuple(
        (path, value)
        for path, value in own.items()
        if path in theirs and theirs[path] != value and path not in HIDDEN
    )
    kept = {layer.name for layer in model.layers}
    without = tuple(layer.name for layer in base.model.layers if layer.name not in kept)
    return Cell(name, config, fields, without)


def _identity(cell: Cell) -> dict[str, Any]:
    """What tells two cells apart: all that touches what is learnt."""
    config = cell.config
    idle = {
        *configs.RESUMABLE_FIELDS,
        "model.name",
        f"model.{config.model.layers[-1].name}.dropout",
    }
    if config.optimizer.schedule != "plateau":
        idle.add("optimizer.patience")
    return {path: value for path, value in configs.flatten(config).items() if path not in idle}
