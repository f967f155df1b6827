"""Evolution: what excited each feature map at each epoch, as a table, and its pictures, read when
asked for. No JAX.

The table (``units.parquet``) is the truth; the tiles are a cache that can be drawn again from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zfjax.errors import ZfjaxError, quoted
from zfjax.files import read_json
from zfjax.run.evolution_files import UNITS_SCHEMA as UNITS_SCHEMA
from zfjax.run.evolution_files import Tile as Tile
from zfjax.run.evolution_files import read_arrays, tiles_folder, unreadable
from zfjax.run.evolution_files import write_histograms as write_histograms
from zfjax.run.evolution_files import write_tiles as write_tiles
from zfjax.run.evolution_files import write_units as write_units
from zfjax.run.evolution_record import EvolutionRecord, record_from
from zfjax.run.showing import Showing, evolution_table
from zfjax.run.tabled import lines_of
from zfjax.values import real_number, text, truth, whole_number


@dataclass(frozen=True)
class Evolution(Showing):
    """A finished evolution folder; ``film`` and ``show`` are ``Showing``'s."""

    folder: Path
    record: EvolutionRecord

    def __repr__(self) -> str:
        return lines_of(lambda: evolution_table(self))

    @property
    def meta(self) -> dict[str, Any]:
        """What meta.json says, by its keys."""
        return self.record.as_json()

    @cached_property
    def units(self) -> pa.Table:
        """The table: one row a (step, layer, map, selection, rank). Columns in UNITS_SCHEMA;
        undefined is null.
        """
        path = self.folder / "units.parquet"
        try:
            return pq.read_table(path, schema=UNITS_SCHEMA)
        except (OSError, pa.ArrowException) as error:
            raise ZfjaxError(unreadable(path, error)) from None

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps searched, ascending."""
        return self.record.steps

    @property
    def epochs(self) -> tuple[float, ...]:
        """Epochs of ``steps``."""
        return self.record.epochs

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers searched, from the image up."""
        return self.record.layers

    @property
    def every_rank(self) -> bool:
        """Whether all the strongest images are drawn at every step, not at the last one alone."""
        return self.record.every_rank

    def maps(self, layer: str) -> tuple[int, ...]:
        """The maps drawn of a layer: a seeded uniform draw, dead ones included."""
        self._check(layer)
        return self.record.maps[layer]

    def rows(self, **equal: Any) -> list[dict[str, Any]]:
        """Rows whose columns equal the given values: ``rows(layer="conv5", step=0, selection="top",
        rank=0)``.

        Raises ZfjaxError for a column or a layer that is not there.
        """
        table = self.units
        for name, value in equal.items():
            if name not in UNITS_SCHEMA.names:
                raise ZfjaxError(
                    f"The table has no column {name!r}; it has {', '.join(UNITS_SCHEMA.names)}."
                )
            if name == "layer":
                self._check(value)
            table = table.filter(pc.equal(table[name], _sought(name, value)))
        return table.to_pylist()

    @property
    def selections(self) -> tuple[str, ...]:
        """What is drawn: "top", "fixed", then "low" and "quantile:q" where they were asked for."""
        return ("top", "fixed", *self.record.asked.get("selections", ()))

    @property
    def rules(self) -> tuple[str, ...]:
        """By which every picture is drawn, the main one first."""
        return (self.record.rule, *self.record.asked.get("rules", ()))

    def tiles(
        self, layer: str, step: int, rule: str | None = None
    ) -> dict[tuple[str, int, int], Tile]:
        """Drawn units of one layer and step by (selection, map, rank), by that rule (None: the main
        one); an image that leaves a map silent, and a dead map, have none.

        Raises ZfjaxError for a layer or step that was not searched, and a rule that was not asked
        for.
        """
        self._check(layer)
        if rule is not None and rule not in self.rules:
            raise ZfjaxError(
                f"{self.folder} has no pictures by the rule {rule!r}; it has"
                f" {', '.join(self.rules)}."
            )
        step = whole_number(step, "step")
        if step not in self.steps:
            raise ZfjaxError(
                f"{self.folder} has no step {step}; its steps are"
                f" {', '.join(map(str, self.steps))}."
            )
        folder = tiles_folder(self.folder, None if rule == self.record.rule else rule)
        arrays = read_arrays(folder / layer / f"{step}.npz")
        return {
            (str(selection), int(map_), int(rank)): Tile(
                str(selection), int(map_), int(rank), projection.astype(np.float32) * scale, patch
            )
            for selection, map_, rank, projection, scale, patch in zip(
                *(
                    arrays[name]
                    for name in ("selection", "map", "rank", "projection", "scale", "patch")
                ),
                strict=True,
            )
        }

    @cached_property
    def filters(self) -> dict[int, np.ndarray]:
        """The first layer's kernels (float32 [height, width, channels, maps]) by step."""
        stored = read_arrays(self.folder / "filters.npz")
        return {
            int(step): kernel for step, kernel in zip(stored["step"], stored["kernel"], strict=True)
        }

    def histogram(self, layer: str) -> np.ndarray:
        """How many images' maxima fell into each bin: int64 [steps, maps of the layer, bins]. Bin i
        holds ``bin_edges[i]`` <= maximum < ``bin_edges[i + 1]``; bin 0 those that leave the map
        silent.

        Raises ZfjaxError where there are none: an evolution made before they were kept.
        """
        self._check(layer)
        stored = self._histograms
        index = stored["layer"].tolist().index(layer)
        start = int(stored["start"][index])
        return stored["histogram"][:, start : start + self.record.map_count[layer]]

    @property
    def bin_edges(self) -> np.ndarray:
        """float32 [bins + 1], ascending from 0 to infinity. Raises as ``histogram``."""
        return self._histograms["edges"]

    @cached_property
    def _histograms(self) -> dict[str, np.ndarray]:
        return read_arrays(self.folder / "histograms.npz")

    def settled(self, layer: str) -> dict[int, float | None]:
        """By step, the share (0..1) of maps alive at the last step whose strongest image is already
        the last step's.

        None where no map is alive at the last step. Covers every map searched, not only those
        drawn.
        """
        self._check(layer)
        winners: dict[int, dict[int, int]] = {step: {} for step in self.steps}
        table = self.units
        for column, value in (("layer", layer), ("selection", "top"), ("rank", 0)):
            table = table.filter(pc.equal(table[column], value))
        for step, map_, image in zip(
            *(table[name].to_pylist() for name in ("step", "map", "image_id")), strict=True
        ):
            winners[step][map_] = image
        final = winners[self.steps[-1]]
        return {
            step: (
                sum(winner.get(map_) == image for map_, image in final.items()) / len(final)
                if final
                else None
            )
            for step, winner in winners.items()
        }

    def _check(self, layer: str) -> None:
        if text(layer, "layer") not in self.layers:
            raise ZfjaxError(
                f"{self.folder} has no layer {layer!r}; it has {', '.join(self.layers)}."
            )


def _sought(column: str, value: Any) -> pa.Scalar:
    """A value to look for in a column. Raises ZfjaxError for one of another kind."""
    kind = UNITS_SCHEMA.field(column).type
    plain = (
        truth
        if pa.types.is_boolean(kind)
        else text
        if pa.types.is_string(kind)
        else real_number
        if pa.types.is_floating(kind)
        else whole_number
    )
    try:
        return pa.scalar(plain(value, column), type=kind)
    except pa.ArrowInvalid:
        raise ZfjaxError(f"{column} = {value!r} is too large: no row can have it.") from None


def open_evolution(folder: Path) -> Evolution:
    """Opens a finished evolution folder. Raises ZfjaxError when it is absent, unfinished or
    damaged.
    """
    path = folder / "meta.json"
    if not path.exists():
        named = (
            f" --name {folder.name.removeprefix('evolution-')}"
            if folder.name.startswith("evolution-")
            else ""
        )
        raise ZfjaxError(
            f"There is no evolution in {folder}; run `zfjax evolve --workdir"
            f" {quoted(folder.parent)}{named}` first."
        )
    stored = read_json(path)
    if isinstance(stored, dict) and not stored.get("complete"):
        raise ZfjaxError(
            f"The evolution in {folder} is not finished; run the same `zfjax evolve` again, it"
            " goes on."
        )
    return Evolution(folder, record_from(path, stored))
