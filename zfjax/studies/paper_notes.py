"""What stands beside a statement's number: the numbers that it is the difference of, layer by layer
where the paper prints layers. No JAX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zfjax.run.measured import Measured
from zfjax.studies.paper_numbers import OF_CORRELATIONS, Reading
from zfjax.studies.paper_readings import (
    Lacking,
    Reader,
    Saved,
    last_row,
    layer_at,
    layers_of,
    quantity,
)

EVERY = "every"
"""Of ``Beside.where``: all layers that have it."""


@dataclass(frozen=True)
class Beside:
    """One number, or one a layer."""

    quantity: str
    words: str
    """With ``{value}`` and ``{layer}`` in it; of EVERY layer for each."""
    where: str | None = None
    """ "first", "deepest", "top", EVERY; None: the whole network's."""
    form: str = "{:.2f}"


def noted(read: Reader, measure: str, *beside: Beside, lead: str = "") -> Reader:
    """The reader with what stands ``beside`` the number said after its note; what the measure has
    not is left out.
    """

    def read_noted(saved: Saved) -> Reading:
        reading = read(saved)
        measured = saved.measured(measure)
        said = [text for each in beside for text in _said(measured, each)]
        if not said:
            return reading
        words = f"{lead}{', '.join(said)}"
        return replace(reading, note=f"{reading.note} {words[:1].upper()}{words[1:]}.".strip())

    return read_noted


def _said(measured: Measured, beside: Beside) -> list[str]:
    try:
        layers: list[str | None] = (
            [*layers_of(measured, beside.quantity)]
            if beside.where == EVERY
            else [layer_at(measured, beside.quantity, beside.where)]
        )
        rows = [(layer, last_row(measured, beside.quantity, layer, "")) for layer in layers]
    except Lacking:
        return []
    return [
        beside.words.format(value=beside.form.format(row.value).replace("-", "−"), layer=layer)
        for layer, row in rows
        if math.isfinite(row.value)
    ]


PROJECTION_AGREES = noted(
    noted(
        quantity("occlusion", "spearman_excess", "deepest", limits=OF_CORRELATIONS),
        "occlusion",
        Beside("spearman_own", "rank correlation {value} with its own projection", "deepest"),
        Beside("spearman_swapped", "{value} with another map's", "deepest"),
    ),
    "occlusion",
    Beside("spearman_excess", "{layer} {value}", EVERY, "{:+.2f}"),
    lead="the same difference by layer: ",
)
"""Rank correlation with the map's own projection less that with another map's, deepest layer."""
