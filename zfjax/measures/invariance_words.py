"""What the measure ``invariance`` says of its numbers. No JAX."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zfjax.measures.protocol import plain_table, shown
from zfjax.measures.verdicts import Ends, within
from zfjax.measures.warping import KINDS, ROTATION, TRANSLATION, Change
from zfjax.report.kit.wording import epoch_name, number
from zfjax.run.measured import Measured


def layers_in(measured: Measured) -> list[str]:
    """All layers of a table, in forward order: fully connected ones are not among
    ``measured.layers``.
    """
    return [name for name in dict.fromkeys(measured.table["layer"].to_pylist()) if name is not None]


def sentence_of(
    measured: Measured, others: Sequence[Measured], layers: Sequence[str], changes: Sequence[Change]
) -> str:
    """Of the last epoch: the first layer against the last, straightness, the output."""
    last, first_layer, last_layer = measured.steps[-1], layers[0], layers[-1]
    epoch = epoch_name(measured.epochs[-1])
    images = measured.counts("pair_l2")
    least = min(c.extent for c in changes if c.kind == TRANSLATION and c.extent > 0)
    words = [
        f"At epoch {epoch}, an image moved by {number(least)} of 224 pixels is as far from itself"
        f" as {_with_ends(measured, 'small_translation', first_layer, last)} of the distance of two"
        f" random images at {first_layer}, and"
        f" {_with_ends(measured, 'small_translation', last_layer, last)} at {last_layer}"
        f" ({images} images; 95% over images): a difference of"
        f" {_with_ends(measured, 'small_gap_translation', None, last)}."
    ]
    straight = [
        shown(measured.of_layer("linearity_translation", name).get(last))
        for name in (first_layer, last_layer)
    ]
    words.append(
        f"A straight line explains R2 {straight[0]} of {first_layer}'s curve over translations, and"
        f" {straight[1]} of {last_layer}'s."
    )
    if "probability" in measured.quantities():
        drops = ", ".join(
            f"{kind} {_with_ends(measured, f'drop_{kind}', None, last)}" for kind in KINDS
        )
        own = measured.of_layer("probability", None).get(last)
        words.append(
            f"The probability of the true class, {shown(own)} of the images as they are, falls by:"
            f" {drops}; by {_with_ends(measured, 'rotation_gap', None, last)} more for rotations"
            " than for translations."
        )
    elif f"same_class_{changes[0].name}" in measured.quantities():
        words.append("The images have no labels, so there is no probability of a true class.")
    else:
        words.append("What is looked at has no class scores, so no probabilities.")
    if others:
        gaps = [
            run.of_layer("small_gap_translation", None).get(run.steps[-1], math.nan)
            for run in (measured, *others)
        ]
        words.append(
            f"Over {len(gaps)} seeds the difference is {shown(min(gaps))} to {shown(max(gaps))}."
        )
    return " ".join(words)


def _with_ends(measured: Measured, name: str, layer: str | None, step: int) -> str:
    value = measured.of_layer(name, layer).get(step)
    low, high = measured.bounds(name, layer).get(step, (math.nan, math.nan))
    if math.isnan(low):
        return shown(value)
    return f"{shown(value)} [{', '.join(map(shown, within((low, high), _limits(name))))}]"


def _limits(name: str) -> Ends:
    """Between which a quantity lies, whatever the images."""
    if name == "rotation_gap":
        return -2.0, 2.0
    return (-1.0, 1.0) if name.startswith("drop_") else (-math.inf, math.inf)


def lines_of(measured: Measured, layers: Sequence[str]) -> tuple[str, ...]:
    """A row a layer, of the last epoch."""
    last = measured.steps[-1]
    names = [f"{what}_{kind}" for kind in KINDS for what in ("small", "mean")]
    names += [f"linearity_{kind}" for kind in KINDS if kind != ROTATION]
    head = ["normalised", *(name.replace("_", " ") for name in names)]
    return plain_table(
        head,
        (
            (layer, *(shown(measured.of_layer(name, layer).get(last)) for name in names))
            for layer in layers
        ),
    )
