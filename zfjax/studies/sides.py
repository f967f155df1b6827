"""The sides of a comparison: runs as they are named, and what of each has been saved that the
others have too. No JAX but for somebody else's network of which nothing was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zfjax.errors import ZfjaxError, escaped, shortened
from zfjax.files import fitting
from zfjax.run.adopted import AdoptedRun, load_any
from zfjax.run.folder import Run
from zfjax.run.grid_folders import grid_words, is_grid, training_command
from zfjax.run.measured import measures_folder
from zfjax.run.probe import PROBE_FILE, Probe
from zfjax.values import Epochs, Names, Place, Whole, optional, several, texts, whole_number

if TYPE_CHECKING:
    from zfjax.subject import Subject

OWN = "compare"
"""RUN/measures-compare: where a pass made for a comparison keeps its probe."""
_DIGITS = 6
"""Of an epoch, by which two are told apart: steps / steps per epoch."""


@dataclass(frozen=True)
class Asked:
    """The words of ``zfjax compare`` beside the runs."""

    layers: Names | None = None
    """One or several; None: all that the runs share."""
    at: Epochs | None = None
    """Epochs or "last"; None: all that the runs share."""
    images: Whole | None = None
    """None: as many as the runs' probes share."""

    def __post_init__(self) -> None:
        """Makes them Python's own. Raises ZfjaxError for a word of another kind."""
        for name, kind in (("layers", texts), ("images", whole_number)):
            object.__setattr__(self, name, optional(kind, getattr(self, name), f"--{name}"))
        if self.images is not None and self.images < 4:
            raise ZfjaxError(f"--images {self.images} must be 4 or more, to correlate over.")


@dataclass(frozen=True)
class Side:
    """One run of a comparison."""

    name: str
    """On the page and in the tables."""
    looked_at: Run | AdoptedRun | Subject
    step_of: Mapping[float, int]
    """Its saved steps by epoch, ascending."""
    maps: Mapping[str, int]
    """By layer, in forward order."""
    probes: tuple[Probe, ...] = ()
    """That are there, whole."""
    probe: Probe | None = None
    """The one that is read."""
    rows: np.ndarray | None = None
    """int64 [images]: where the images of the comparison stand in it."""

    @property
    def run(self) -> Run | AdoptedRun | None:
        """Its folder's; None for a subject, which has none."""
        return self.looked_at if isinstance(self.looked_at, Run | AdoptedRun) else None

    def keys(self, epoch: float, layer: str) -> np.ndarray:
        """uint16 [images, maps]: whole numbers that order the images as their maxima do."""
        assert self.probe is not None
        return self.probe.keys(self.step_of[epoch], layer)[self.rows]

    def maxima(self, epoch: float, layer: str) -> np.ndarray:
        """float32 [images, maps]."""
        assert self.probe is not None
        return self.probe.values(self.step_of[epoch], layer)[self.rows]

    def excites(self, epoch: float, layer: str) -> np.ndarray:
        """bool [maps]: whether any of the images excites it."""
        assert self.probe is not None
        return np.any(self.probe.excites(self.step_of[epoch], layer)[self.rows], axis=0)

    def has(self, epoch: float, layer: str) -> bool:
        """Whether the probe that is read holds that layer then."""
        probe = self.probe
        return (
            probe is not None
            and epoch in self.step_of
            and self.step_of[epoch] in probe.steps
            and layer in probe.meta["layers"]
        )


def sides_of(runs: Sequence[Run | AdoptedRun | Subject | Place]) -> tuple[Side, ...]:
    """The runs, opened. Raises ZfjaxError for fewer than two, and for what is none."""
    if len(runs) < 2:
        raise ZfjaxError("A comparison needs two runs or more: zfjax compare RUN RUN ...")
    opened: list[Any] = [_opened(run) for run in runs]
    names = names_of([None if _is_subject(each) else each.folder for each in opened])
    return tuple(_side(name, each) for name, each in zip(names, opened, strict=True))


def _opened(run: Any) -> Any:
    if isinstance(run, str | Path) and is_grid(Path(run)):
        raise ZfjaxError(
            f"{run} is an ablation, a folder of many runs: name two of them, each"
            f" {grid_words(Path(run))}."
        )
    return run if _is_subject(run) else load_any(run)


def _is_subject(value: Any) -> bool:
    """Asked without importing what a subject is made of."""
    return hasattr(value, "network") and hasattr(value, "find_steps")


def names_of(folders: Sequence[Path | None]) -> list[str]:
    """The shortest ends of the paths that tell all apart, and the cells of grids that they are runs
    of, of one depth ("base/seed-0"); None, of no folder, is "network". Equal ones are numbered.
    """
    paths = [() if each is None else each.resolve().parts for each in folders]
    different, depth = set(paths), 1
    # Of two cells, "seed-0" and "seed-1" would be taken for seeds of one.
    cells = {path[:-1] for path in different if path[-3:-2] == ("cells",)}
    while len({path[-depth:] for path in different}) < len(different) or len(
        {cell[len(cell) + 1 - depth :] for cell in cells}
    ) < len(cells):
        depth += 1
    names = [escaped("/".join(path[-depth:])) if path else "network" for path in paths]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def folder_name(names: Sequence[str]) -> str:
    """ "compare-base-seed-0-base-seed-1": letters, digits, ".", "_" and "-"."""
    words = "-".join(["compare", *names])
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in words)
    return fitting("-".join(filter(None, plain.split("-"))), 120)


def _side(name: str, looked_at: Any) -> Side:
    if _is_subject(looked_at):
        steps = dict(zip(looked_at.epochs, looked_at.steps, strict=True))
        maps = {layer.name: layer.maps for layer in looked_at.layers.values()}
        return Side(name, looked_at, _by_epoch(steps), maps)
    folder = looked_at.folder
    probes = tuple(filter(None, (_whole(measures_folder(folder, which)) for which in (None, OWN))))
    probed = {step for probe in probes for step in probe.steps}
    maps = {name: maps for probe in probes for name, maps in probe.meta["layers"].items()}
    if isinstance(looked_at, Run):
        model = looked_at.config.model
        steps = {looked_at.epoch(step): step for step in {*looked_at.steps, *probed}}
        # Without checkpoints, as in a folder copied to be read, nothing can be looked at anew.
        named = model.conv_names if looked_at.steps else [*filter(maps.get, model.conv_names)]
        own = {layer: model.fact(layer).shape[2] for layer in named}
        return Side(name, looked_at, _by_epoch(steps), own, probes)
    if not probes:
        from zfjax.reopening import subject_at

        return replace(_side(name, subject_at(looked_at, with_images=False)), looked_at=looked_at)
    per_epoch = int(looked_at.opened_from.get("steps_per_epoch") or 1)
    return Side(
        name, looked_at, _by_epoch({step / per_epoch: step for step in probed}), maps, probes
    )


def _by_epoch(steps: Mapping[float, int]) -> dict[float, int]:
    return {round(float(epoch), _DIGITS): step for epoch, step in sorted(steps.items())}


def _whole(folder: Path) -> Probe | None:
    """The probe of a folder of measures; None where it is not there, or cannot be read."""
    probe = Probe(folder / PROBE_FILE)
    if not probe.path.exists():
        return None
    try:
        return probe if probe.meta["layers"] and len(probe.ids) else None
    except (ZfjaxError, KeyError):
        return None


def shared_epochs(sides: Sequence[Side], at: Epochs | None) -> tuple[float, ...]:
    """Epochs that all have saved, of ``at``. Raises ZfjaxError where there are none, or not that
    one.
    """
    for side in sides:
        if not side.step_of:
            command = "" if side.run is None else f" with {training_command(side.run.folder)}"
            raise ZfjaxError(f"{side.name} has no checkpoints yet: train it first{command}.")
    shared = sorted(set.intersection(*(set(side.step_of) for side in sides)))
    if not shared:
        saved = "; ".join(
            f"{side.name}: {shortened((f'{epoch:g}' for epoch in side.step_of), 8)}"
            for side in sides
        )
        raise ZfjaxError(f"The runs share no saved epoch ({saved}).")
    chosen: set[float] = set()
    for item in ("all",) if at is None else several(at):
        if str(item) in ("all", "last"):
            chosen.update(shared if str(item) == "all" else shared[-1:])
            continue
        try:
            if isinstance(item, bool | np.bool_):
                raise ValueError
            epoch = round(float(item), _DIGITS)
        except (TypeError, ValueError):
            raise ZfjaxError(
                f"--at {item!r} is not an epoch, 'last' or 'all'; runs are compared by epochs,"
                " since their steps differ."
            ) from None
        near = [each for each in shared if abs(each - epoch) < 1e-4 * max(1, each)]
        if not near:
            raise ZfjaxError(
                f"--at {item}: the runs do not share that epoch; they share"
                f" {shortened((f'{each:g}' for each in shared), 20)}."
            )
        chosen.update(near)
    if not chosen:
        raise ZfjaxError("--at names no epoch.")
    return tuple(sorted(chosen))


def shared_layers(
    sides: Sequence[Side], wanted: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """(layers that all have, in the first one's order; {layer that some lack: their names}), of
    ``wanted``. Raises ZfjaxError where none is shared, or one is nobody's.
    """
    every = tuple(dict.fromkeys(layer for side in sides for layer in side.maps))
    for layer in wanted or ():
        if layer not in every:
            raise ZfjaxError(f"No run has a convolution {layer!r}; they have {', '.join(every)}.")
    chosen = [layer for layer in every if not wanted or layer in wanted]
    lacking = {
        layer: tuple(side.name for side in sides if layer not in side.maps) for layer in chosen
    }
    shared = tuple(layer for layer in sides[0].maps if layer in chosen and not lacking[layer])
    if not shared:
        owned = "; ".join(f"{side.name}: {shortened(side.maps, 8)}" for side in sides)
        raise ZfjaxError(
            "The runs share no layer by name"
            f"{' of those asked for' if wanted else ''} ({owned}): only layers of one name are"
            " compared."
        )
    return shared, {layer: names for layer, names in lacking.items() if names}
