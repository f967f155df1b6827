"""What a comparison of runs says: its tables, its sentence, and which run's layer settles first,
from what was measured of each. No JAX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zfjax.errors import shortened
from zfjax.files import write_atomic
from zfjax.measures.matching import BAR, RATE
from zfjax.report.kit.wording import epoch_name, percent
from zfjax.run.measured import Measured, is_measured, measures_folder, open_measured
from zfjax.studies.pairing import LayerPairs
from zfjax.studies.sides import Side

SUMMARY_SCHEMA = pa.schema(
    [
        ("run", pa.string()),
        ("layer", pa.string()),
        ("epoch", pa.float64()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
    ]
)
"""One row a number. ``run`` is the one that is compared with the first, or of which the number is.
``low`` and ``high`` are the same on the two halves of the images, the smaller first; of "settled"
they are its interval over images. Undefined is null.
"""
MATCHES_SCHEMA = pa.schema(
    [
        ("run", pa.string()),
        ("layer", pa.string()),
        ("epoch", pa.float64()),
        ("map", pa.int32()),
        ("partner", pa.int32()),
        ("correlation", pa.float64()),
        ("null", pa.float64()),
        ("rate", pa.float64()),
        ("is_partner", pa.bool_()),
        ("mutual", pa.bool_()),
        ("last_partner", pa.int32()),
        ("last_correlation", pa.float64()),
    ]
)
"""One row a map of the first run. ``partner``: the map of ``run`` that it is assigned, null for
none; ``null``: the correlation below which 95% of the null lies; ``rate``: of false discoveries at
which it would just be a partner; ``last_partner``: its partner at the last epoch, and how alike the
two are now.
"""
FIRST, LATER, UNCLEAR = "first", "later", "cannot tell"


@dataclass(frozen=True)
class Time:
    """When a run's layer settles, in epochs, by the responses of its maps; of measure settling."""

    value: float
    low: float
    high: float
    images: int
    last: float
    """The epoch by which "settled" is defined."""


@dataclass(frozen=True)
class Compared:
    """All that is known of runs side by side."""

    sides: tuple[Side, ...]
    layers: tuple[str, ...]
    lacking: dict[str, tuple[str, ...]]
    """{layer without a counterpart: the runs that lack it}."""
    pairs: tuple[LayerPairs, ...]

    @property
    def images(self) -> int:
        """That all have answered to."""
        rows = self.sides[0].rows
        return 0 if rows is None else len(rows)

    @property
    def epochs(self) -> tuple[float, ...]:
        """Compared, ascending."""
        return tuple(each.epoch for each in self.pairs[0].by_epoch)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the runs."""
        return tuple(side.name for side in self.sides)

    def of(self, other: int) -> tuple[LayerPairs, ...]:
        """The pairs with one other run (from 1), layer by layer."""
        return tuple(each for each in self.pairs if each.other == other)

    @cached_property
    def times(self) -> dict[tuple[int, str], Time]:
        """When layers settle, by (run, layer), of runs whose settling was measured."""
        tables = {index: _settling(side) for index, side in enumerate(self.sides)}
        known = {}
        for index, table in tables.items():
            for layer in self.layers if table is not None else ():
                assert table is not None
                last = table.steps[-1]
                value = table.of_layer("responses_time", layer).get(last, np.nan)
                low, high = table.bounds("responses_time", layer).get(last, (np.nan, np.nan))
                if np.isfinite(value):
                    images = table.counts("responses_time")
                    known[index, layer] = Time(value, low, high, images, table.epochs[-1])
        return known

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Runs whose settling was not measured."""
        measured = {index for index, _ in self.times}
        return tuple(side.name for index, side in enumerate(self.sides) if index not in measured)

    def settles_first(self, layer: str) -> str:
        """The name of the run whose layer settles first; UNCLEAR where intervals overlap, or runs
        end at different epochs; "" where it was not measured of all.
        """
        times = [self.times.get((index, layer)) for index in range(len(self.sides))]
        known = [time for time in times if time is not None]
        if len(known) < len(self.sides):
            return ""
        if len({time.last for time in known}) > 1:
            return UNCLEAR
        order = sorted(range(len(known)), key=lambda index: known[index].value)
        first, *later = (known[index] for index in order)
        if all(first.high < time.low for time in later):
            return self.sides[order[0]].name
        return UNCLEAR

    @cached_property
    def sentence(self) -> str:
        """What was seen at the last epoch, with numbers, n and what stands for chance."""
        words = [self._of_other(index) for index in range(1, len(self.sides))]
        return " ".join([*words, self._settling_words()]).strip()

    def _of_other(self, other: int) -> str:
        pairs = self.of(other)
        shares = ", ".join(
            f"{each.layer} {each.last.matches.are_partners.sum()} of {each.last.matches.possible}"
            for each in pairs
        )
        chance = _range([each.last.matches.null_share for each in pairs])
        null = "with an untrained network" if pairs[0].from_start else "within one network"
        passing = f"; of the best matches {null} {chance} would pass" if chance else ""
        return (
            f"Maps of {self.names[0]} that have a partner in {self.names[other]} at epoch"
            f" {epoch_name(self.epochs[-1])}: {shares} (on {self.images:,} images, at most"
            f" {RATE:.0%} of them by chance{passing}).{_none_words(pairs, null)}"
        )

    def _settling_words(self) -> str:
        if self.unsettled:
            return (
                f"Which settles first is not known: settling was not measured of"
                f" {shortened(self.unsettled, 4)}."
            )
        first: dict[str, list[str]] = {}
        for layer in self.layers:
            first.setdefault(self.settles_first(layer), []).append(layer)
        told = [
            f"{', '.join(layers)} in {name}"
            for name, layers in first.items()
            if name not in (UNCLEAR, "")
        ]
        unclear = [*first.get(UNCLEAR, []), *first.get("", [])]
        if unclear:
            told.append(f"of {', '.join(unclear)} these runs cannot tell")
        return f"Settles first: {'; '.join(told)}."

    @cached_property
    def summary(self) -> pa.Table:
        """Columns in SUMMARY_SCHEMA."""
        return _table(SUMMARY_SCHEMA, [*self._numbers(), *self._settled()])

    @cached_property
    def matches(self) -> pa.Table:
        """Columns in MATCHES_SCHEMA."""
        return _table(MATCHES_SCHEMA, [row for pairs in self.pairs for row in self._rows(pairs)])

    def _numbers(self) -> Iterator[dict[str, Any]]:
        for pairs in self.pairs:
            for now in pairs.by_epoch:
                matches, partners = now.matches, now.matches.are_partners
                where = {
                    "run": self.sides[pairs.other].name,
                    "layer": pairs.layer,
                    "epoch": now.epoch,
                }
                count, possible = int(partners.sum()), matches.possible
                numbers = {
                    "partner_share": (now.alike.partner_share, possible),
                    "null_share": ((matches.null_share,), len(matches.null)),
                    "correlation": (now.alike.correlation, possible),
                    "partner_correlation": ((_mean(matches.own[partners]),), count),
                    "null_bar": ((matches.bar,), len(matches.null)),
                    "mutual_share": ((_mean(matches.mutual[partners]),), count),
                    "same_number_share": ((_same_number(matches.partner, partners),), count),
                    "cka": (now.alike.cka, self.images),
                    "dead_of_first": ((float(now.dead[0]),), pairs.maps[0]),
                    "dead_of_run": ((float(now.dead[1]),), pairs.maps[1]),
                }
                for quantity, (values, n) in numbers.items():
                    low, high = (
                        (min(values[1:]), max(values[1:])) if len(values) > 1 else (None,) * 2
                    )
                    yield {
                        **where, "quantity": quantity, "value": values[0], "low": low, "high": high,
                        "n": n,
                    }  # fmt: skip

    def _settled(self) -> Iterator[dict[str, Any]]:
        for (index, layer), time in self.times.items():
            yield {
                "run": self.sides[index].name, "layer": layer, "epoch": time.last,
                "quantity": "settled", "value": time.value, "low": time.low, "high": time.high,
                "n": time.images,
            }  # fmt: skip

    def _rows(self, pairs: LayerPairs) -> Iterator[dict[str, Any]]:
        final = pairs.last.matches
        for now in pairs.by_epoch:
            matches = now.matches
            own, mutual, partners = matches.own, matches.mutual, matches.are_partners
            for index, partner in enumerate(matches.partner.tolist()):
                last = int(final.partner[index]) if final.are_partners[index] else None
                yield {
                    "run": self.sides[pairs.other].name,
                    "layer": pairs.layer,
                    "epoch": now.epoch,
                    "map": index,
                    "partner": None if partner < 0 else partner,
                    "correlation": own[index],
                    "null": matches.bar,
                    "rate": matches.adjusted[index],
                    "is_partner": bool(partners[index]),
                    "mutual": bool(mutual[index]),
                    "last_partner": last,
                    "last_correlation": now.of_last[index],
                }


def write_tables(folder: Path, compared: Compared) -> None:
    """summary.parquet and matches.parquet, each whole or not at all."""
    for name, table in (("summary", compared.summary), ("matches", compared.matches)):
        _write_table(folder / f"{name}.parquet", table)


def _write_table(path: Path, table: pa.Table) -> None:
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _table(schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """NaN becomes null."""
    return pa.table(
        {
            field.name: pa.array([row[field.name] for row in rows], field.type, from_pandas=True)
            for field in schema
        }
    )


def _settling(side: Side) -> Measured | None:
    if side.run is None:
        return None
    folder = measures_folder(side.run.folder)
    return open_measured(folder, "settling") if is_measured(folder, "settling") else None


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _same_number(partner: np.ndarray, partners: np.ndarray) -> float:
    """Share of the partners that have one number in both runs: with equal starts, those that were
    handed down.
    """
    return _mean((partner == np.arange(len(partner)))[partners])


def _none_words(pairs: Sequence[LayerPairs], null: str) -> str:
    """Of layers without any partner: how alike their pairs are, beside what chance gives."""
    finals = [(each.layer, each.last.alike.correlation[0], each.last.matches) for each in pairs]
    said = [
        f"{layer} {correlation:.2f} beside {matches.bar:.2f}"
        for layer, correlation, matches in finals
        if not matches.are_partners.any() and np.isfinite([correlation, matches.bar]).all()
    ]
    if not said:
        return ""
    return (
        " Where none has, the pairs are no more alike than chance (their mean correlation, beside"
        f" that below which {BAR:.0%} of the best matches {null} lie): {', '.join(said)}."
    )


def _range(shares: Sequence[float]) -> str:
    """ "1 %" or "1 to 4 %"; "" where none is known."""
    known = [share for share in shares if np.isfinite(share)]
    if not known:
        return ""
    low, high = percent(min(known)), percent(max(known))
    return high if low == high else f"{low} to {high}"
