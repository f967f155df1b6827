"""Numbers of parts: what hiding each changes alike, against random places, with intervals over
images and what chance gives. No JAX.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.measures.hiding import Hidden, Hidings
from zfjax.measures.jackknife import Estimate, jackknifed, jackknifed_in_groups
from zfjax.measures.sign_changes import (
    EXACT,
    Distances,
    chance_of,
    distances_of,
    exchanged_gaps,
    exchanges_of,
    mean_gaps,
    pair_mean,
    pair_means_without,
    pair_spread,
)

COMPARED = ("change", "random", "gap")


@dataclass(frozen=True)
class Exchanges:
    """Which images change the names of part and random place."""

    which: np.ndarray
    """bool [exchanges, images]."""
    columns: Mapping[int, int]
    """Of images, by id."""

    def of(self, hidden: Hidden) -> np.ndarray:
        """bool [exchanges, images of that part]."""
        return self.which[:, [self.columns[image_id] for image_id in hidden.ids]]


def quantities_of(
    hidings: Hidings,
    signs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    variant: str,
    exchanges: Exchanges,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(quantity, value, low, high and n) of a layer: ``signs`` by part, of the hidden part and the
    random place, int8 [images, features]. ``variant``: behind the name, "" or "_maps".
    """
    for zeros, suffix in ((True, variant), (False, f"{variant}_nonzero")):
        tables = {
            hidden.name: distances_of(*signs[hidden.name], zeros=zeros) for hidden in hidings.parts
        }
        chances = []
        for hidden in hidings.parts:
            table = tables[hidden.name]
            gaps = exchanged_gaps(table, exchanges.of(hidden))
            chances.append(gaps)
            if len(hidden.ids) <= EXACT < len(exchanges.columns):  # all there are, of these alone
                gaps = exchanged_gaps(table, exchanges_of(len(hidden.ids), 0, 0)[0])
            yield from _of_part(table, hidden, suffix, chance_of(gaps))
        for name, estimate in _of_all(hidings, tables).items():
            yield f"{name}{suffix}", vars(estimate)
        p = chance_of(mean_gaps(chances))
        yield f"p{suffix}", {"value": p, "n": len(exchanges.columns)}


def _of_part(
    table: Distances, hidden: Hidden, suffix: str, p: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    value, without = _compared(table)
    for name in COMPARED:
        estimate = jackknifed(value[name], without[name])
        yield f"{name}{suffix}_of_{hidden.name}", vars(estimate)
    count = len(hidden.ids)
    pairs = count * (count - 1) // 2
    for name, distances in (("spread", table.own), ("random_spread", table.random)):
        number = {"value": pair_spread(distances), "n": pairs, "unit": "over pairs"}
        yield f"{name}{suffix}_of_{hidden.name}", number
    yield f"p{suffix}_of_{hidden.name}", {"value": p, "n": count}


def _compared(table: Distances) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """(change, random and gap of a part, the same without each image)."""
    value = {"change": pair_mean(table.own), "random": pair_mean(table.random)}
    without = {"change": pair_means_without(table.own), "random": pair_means_without(table.random)}
    value["gap"] = value["change"] - value["random"]
    without["gap"] = without["change"] - without["random"]
    return value, without


def _of_all(hidings: Hidings, tables: Mapping[str, Distances]) -> dict[str, Estimate]:
    """Means over parts; an image is left out of all parts that it has."""
    each = {hidden.name: _compared(tables[hidden.name]) for hidden in hidings.parts}
    estimates = {}
    for name in COMPARED:
        whole = np.array([each[hidden.name][0][name] for hidden in hidings.parts])
        groups = []
        for group in hidings.groups:
            without = []
            for image_id in group:
                numbers = whole.copy()
                for index, hidden in enumerate(hidings.parts):
                    if image_id in hidden.ids:
                        left = each[hidden.name][1][name]
                        numbers[index] = left[hidden.ids.index(image_id)]
                without.append(_mean(numbers))
            groups.append(np.array(without))
        estimates[name] = jackknifed_in_groups(_mean(whole), groups)
    return estimates


def _mean(numbers: np.ndarray) -> float:
    known = numbers[np.isfinite(numbers)]
    return float(known.mean()) if len(known) else float("nan")
