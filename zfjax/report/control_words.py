"""What controls come to, in sentences that the quartiles over a layer's maps bear out. No JAX.

A likeness is a cosine, and no share: its square would be one, and chance is not 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from zfjax.report.kit.wording import plain
from zfjax.run.measured import Measured

OTHERS, SWAPPED = "cosine_others", "cosine_swapped"
CHANCE, ANEW = "cosine_two_images", "cosine_randomised_"


@dataclass(frozen=True)
class Spread:
    """A layer's median over its maps, and the quartiles."""

    median: float
    low: float
    high: float


def spread_of(controls: Measured, name: str, layer: str) -> Spread | None:
    """At the last step; None where one of the three is unknown."""
    last = controls.steps[-1]
    median = controls.of_layer(name, layer).get(last, math.nan)
    low, high = controls.bounds(name, layer).get(last, (math.nan, math.nan))
    return Spread(median, low, high) if math.isfinite(median + low + high) else None


def another_of(controls: Measured) -> str:
    """The quantity that says how alike other units' pictures are: to several, or of a table made
    before these were asked, to one.
    """
    return OTHERS if OTHERS in controls.quantities() else SWAPPED


def conclusions(controls: Measured) -> list[str]:
    """A sentence each, as far as the numbers are there."""
    compared = another_of(controls)
    spreads = {
        layer: {name: spread_of(controls, name, layer) for name in (compared, CHANCE, f"{ANEW}1")}
        for layer in controls.layers
    }
    above: list[str] = []
    no_more: list[str] = []
    for layer, known in spreads.items():
        another, chance, anew = known[compared], known[CHANCE], known[f"{ANEW}1"]
        if another and chance and another.low > chance.high:
            pair = f"{another.median:.2f}, chance {chance.median:.2f}"
            above.append(f"{plain(layer)} ({pair})")
        if another and anew and another.low <= anew.median:
            pair = f"{another.median:.2f} and {anew.median:.2f}"
            no_more.append(f"{plain(layer)} ({pair})")
    said = []
    if above:
        said.append(
            "Another unit's picture is more like the unit's own than chance gives, quartiles apart,"
            f" in {_listed(above)}: so much of a picture is not this unit's alone."
        )
    if no_more:
        said.append(
            "It is no more like it than the picture by random filters in the layer's place in"
            f" {_listed(no_more)}: what another unit of the layer has learnt adds no likeness, and"
            " what is alike comes by the image and the layers below."
        )
    return said + _turns(controls)


def _turns(controls: Measured) -> list[str]:
    """Where more layers drawn anew leave a picture that is more alike."""
    turns = []
    for layer in controls.layers:
        names = [f"{ANEW}{count}" for count in range(1, len(controls.layers) + 1)]
        known = [(count, spread_of(controls, name, layer)) for count, name in enumerate(names, 1)]
        for (fewer, before), (more, after) in pairwise(known):
            if before and after and after.median > before.median:
                apart = "" if after.low > before.high else ", quartiles overlap"
                turns.append(
                    f"{plain(layer)} {after.median:.2f} with {more}, {before.median:.2f} with"
                    f" {fewer}{apart}"
                )
    if not turns:
        return []
    return [f"More layers drawn anew do not always leave less: {'; '.join(turns)}."]


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
