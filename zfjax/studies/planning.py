"""What is asked of an ablation, in words or in values, and the plan that comes of it. No JAX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zfjax import config as configs
from zfjax.config import Config
from zfjax.data.slices import divided
from zfjax.errors import ZfjaxError
from zfjax.fields import flag, with_fields
from zfjax.files import data_folder, local_path
from zfjax.studies.cells import Wanted, axis_from, axis_of, cells_of, check_varied
from zfjax.studies.plans import Plan, Tuning, check_plan_folder, grown, load_plan
from zfjax.studies.tuning import SHARE
from zfjax.values import Names, Place, Whole, path_of, several, text, texts, whole_number

DEFAULT_SEEDS = 3
TUNING_SEED = 2**31 - 1
"""Of the trials: none that a grid is likely to count."""


@dataclass(frozen=True)
class Request:
    """What is asked for; None and nothing: what the folder has already."""

    base: Config | None = None
    wanted: Wanted = Wanted()
    seeds: tuple[int, ...] = ()
    tune: str | None = None
    """As ``--tune`` is written: "optimizer.learning_rate=0.01,0.02"."""


def seeds_from(seeds: Whole | str | Iterable[Whole]) -> tuple[int, ...]:
    """``--seeds``: 3 is 0, 1 and 2; "0,7,9" and [0, 7, 9] are these. Raises ZfjaxError for less."""
    items = tuple(seeds.split(",")) if isinstance(seeds, str) else several(seeds)
    listed = isinstance(seeds, Iterable) and getattr(seeds, "ndim", 1) > 0
    is_count = len(items) == 1 and (isinstance(seeds, str) or not listed)
    shown = ",".join(map(str, items))
    try:
        numbers = [
            int(item) if isinstance(item, str) else whole_number(item, "--seeds") for item in items
        ]
    except (ValueError, ZfjaxError):
        raise ZfjaxError(f"--seeds {shown}: give how many, or a list such as 0,7,9.") from None
    if is_count:
        numbers = list(range(numbers[0]))
    if (
        not numbers
        or min(numbers) < 0
        or max(numbers) >= TUNING_SEED
        or len(set(numbers)) < len(numbers)
    ):
        raise ZfjaxError(
            f"--seeds {shown}: one or more different seeds are needed, each 0 or more and below"
            " 2^31 - 1."
        )
    return tuple(numbers)


def wanted_from(asked: Wanted | Mapping[str, Any] | None) -> Wanted:
    """What is to be tried, from values: {"vary": {field or fields: values}, "drop": [layer or
    layers], "grids": [name], "cells": {name: Config}}. Raises ZfjaxError for another key.
    """
    if asked is None or isinstance(asked, Wanted):
        return asked or Wanted()
    known = ("vary", "drop", "grids", "cells")
    if not isinstance(asked, Mapping):
        raise ZfjaxError(
            f"What an ablation is to try is a mapping of {', '.join(known)}, not of type"
            f" {type(asked).__name__}."
        )
    if strange := [key for key in asked if key not in known]:
        raise ZfjaxError(f"An ablation has no {strange[0]!r}; it has {', '.join(known)}.")
    vary, cells = asked.get("vary", {}), asked.get("cells", {})
    axes = (
        tuple(axis_from(paths, values) for paths, values in vary.items())
        if isinstance(vary, Mapping)
        else tuple(axis_of(words) for words in texts(vary, "vary"))
    )
    if not isinstance(cells, Mapping):
        raise ZfjaxError(f"cells is a mapping of names and configs, not {type(cells).__name__}.")
    for name, config in cells.items():
        _check_config(config, f"The cell {text(name, 'cells')}")
    return Wanted(
        axes=axes,
        drops=tuple(drop_from(names) for names in several(asked.get("drop", ()))),
        grids=texts(asked.get("grids", ()), "grids"),
        configs=tuple(cells.items()),
    )


def _check_config(value: Any, what: str) -> None:
    if not isinstance(value, Config):
        raise ZfjaxError(
            f"{what} must be a Config, such as zfjax.PRESETS['demo'], not of type"
            f" {type(value).__name__}."
        )


def drop_from(names: Names) -> tuple[str, ...]:
    """``--drop``: "conv3,conv4", or the names."""
    words = names.split(",") if isinstance(names, str) else texts(names, "drop")
    layers = tuple(word.strip() for word in words)
    if not layers or not all(layers):
        raise ZfjaxError(f"--drop {names!r}: name a layer, or several with commas between.")
    return layers


def file_from(text: str) -> tuple[str, Path]:
    """``--cell NAME=FILE.json``."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ZfjaxError(f"--cell {text}: write NAME=FILE.json.")
    return name, local_path(path)


def plan_of(workdir: Place, request: Request, classes: int | None = None) -> Plan:
    """The grid as it would be with what is asked for and what there is already; nothing is written.

    ``classes``: of the data set, where they are known; None: those of the folder's grid. Raises
    ZfjaxError for a folder without a grid where none is begun, another base than the folder's, and
    all that ``cells_of`` refuses.
    """
    folder = check_plan_folder(path_of(workdir, "The ablation's folder"))
    if request.base is not None:
        _check_config(request.base, "The base")
    before = load_plan(folder)
    base = request.base if before is None else request.base or before.base
    if base is None:
        raise ZfjaxError(f"{folder} holds no ablation yet: give --preset or --config to begin one.")
    base = replace(base, layer_keys="by_name", seed=0)
    if base.data.dir:
        data_dir = str(data_folder(base.data.dir).absolute())
        base = replace(base, data=replace(base.data, dir=data_dir))
    if classes is None and before is not None:
        classes = before.base.model.classes  # a preset's own number is not the data set's
    if classes is not None:
        base = replace(base, model=base.model.with_classes(classes))
    seeds = request.seeds or (tuple(range(DEFAULT_SEEDS)) if before is None else before.seeds)
    tuning = None if before is None else before.tuning
    if request.tune is not None:
        tuning = _tuning(base, request, tuning)
    cells = cells_of(base, request.wanted)
    if tuning is not None:
        for cell in cells:
            try:
                divided(cell.config.data.train_split, SHARE)
            except ZfjaxError as error:
                raise ZfjaxError(f"Cell {cell.name}: --tune: {error}") from None
    return grown(before, Plan(folder, cells, tuple(sorted(seeds)), tuning))


def _tuning(base: Config, request: Request, before: Tuning | None) -> Tuning:
    """The trials that ``--tune`` asks for, on a seed that is none of the grid's."""
    text, axes = str(request.tune), request.wanted.axes
    axis = axis_of(text, "--tune")
    if len(axis.paths) != 1:
        raise ZfjaxError(f"--tune {text}: one field is tuned, not several.")
    [path] = axis.paths
    check_varied(base, path)
    if path.startswith("model.") or path.startswith("data.") or path not in configs.flatten(base):
        raise ZfjaxError(f"--tune {text}: a field of the training is tuned, not {path}.")
    if path in {name for cell_axis in axes for name in cell_axis.paths}:
        raise ZfjaxError(f"--tune {text}: {path} is varied, so it cannot be tuned.")
    values = tuple(value for (value,) in axis.values)
    _check_trials(base, path, values, text)
    return Tuning(path, values, TUNING_SEED if before is None else before.seed)


def _check_trials(base: Config, path: str, values: tuple[str, ...], asked: str) -> None:
    """Raises ZfjaxError for fewer than two trials, for two that are one, and for what cannot be."""
    trials: list[Config] = []
    for value in values:
        try:
            trial = with_fields(base, {path: value})
        except ZfjaxError as error:
            raise ZfjaxError(f"--tune {asked}: {error}") from None
        if trial in trials:
            same = values[trials.index(trial)]
            raise ZfjaxError(f"--tune {asked}: {same} and {value} are the same.")
        trials.append(trial)
    if len(trials) < 2:
        raise ZfjaxError(
            f"--tune {asked}: one value is no choice; name two or more, or give it to all cells"
            f" ({flag(path)} {values[0]})."
        )
