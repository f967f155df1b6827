"""How runs, evolutions and rules are said in short plain words. No JAX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zfjax.report.kit.wording import epoch_name, percent, plain
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.run.naming import network_name
from zfjax.run.summary import TRAINING_IMAGES

RULES = {
    "deconvnet": (
        "Going down, a rectifier passes what is positive in the signal coming down (Zeiler &"
        " Fergus, 2013)."
    ),
    "gradient": (
        "Going down, a rectifier passes the signal wherever it was active on the way up: the true"
        " gradient."
    ),
    "guided": (
        "Going down, a rectifier passes what is positive and where it was active on the way up "
        "(guided backpropagation)."
    ),
}
PASSED_NORM = "Contrast normalisation is passed through as it is."
DIFFERENTIATED_NORM = "Contrast normalisation is differentiated like any other layer."


def rule_words(rule: str) -> str:
    """What a rule does at rectifiers and at contrast normalisation, in a sentence or two."""
    base = rule.removesuffix("+norm")
    if base not in RULES:
        return "The rule is not one that this version of zfjax knows."
    return (
        f"{RULES[base]}"
        f" {DIFFERENTIATED_NORM if rule != base or base == 'gradient' else PASSED_NORM}"
    )


def every_rule() -> tuple[str, ...]:
    """The names of all rules that this version knows."""
    return (*RULES, *(f"{base}+norm" for base in RULES if base != "gradient"))


def choose(values: tuple[float, ...], count: int) -> tuple[int, ...]:
    """Indices of at most ``count`` of the ascending ``values``: first and last, between them about
    evenly in log.

    On epochs 0..64 and 8 columns this is close to the paper's 1, 2, 5, 10, 20, 30, 40, 64.
    """
    if len(values) <= count:
        return tuple(range(len(values)))
    span = math.log1p(values[-1] - values[0])
    chosen = [0]
    for column in range(1, count):
        wanted = values[0] + math.expm1(span * column / (count - 1))
        allowed = range(chosen[-1] + 1, len(values) - (count - 1 - column))
        chosen.append(min(allowed, key=lambda index: abs(values[index] - wanted)))
    return tuple(chosen)


def spread(items: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """At most ``count`` of ``items``, evenly spaced in their order."""
    if len(items) <= count:
        return items
    return tuple(items[index * len(items) // count] for index in range(count))


def validation_split(run: Run) -> str:
    """The validation split, as the name of a curve: never to be taken for the curve of the training
    batches.
    """
    split = plain(run.config.data.validation_split, 24)
    return split if run.held_out and split != "train" else f"{split}, evaluation view"


def validation_images(run: Run | AdoptedRun) -> str:
    """The images that accuracy is measured on, in a sentence: "validation images"; "" where none
    was measured.
    """
    if isinstance(run, AdoptedRun):
        return ""
    return (
        f"{plain(run.config.data.validation_split, 24)} images" if run.held_out else TRAINING_IMAGES
    )


def final_accuracy(run: Run, step: int | None = None) -> float | None:
    """Top-1 accuracy 0..1 on the validation split at the last line, or the last up to ``step``, for
    a page of a run that went on; None where there is none.
    """
    lines = [line for line in run.validation_lines if line.get("top1") is not None]
    lines = [line for line in lines if step is None or line["step"] <= step]
    return lines[-1]["top1"] if lines else None


def epochs_after(run: Run, evolution: Evolution) -> str:
    """That training went on after the last epoch searched; "" where it did not."""
    trained = max((line["epoch"] for line in run.validation_lines), default=0.0)
    if trained <= evolution.epochs[-1]:
        return ""
    return (
        f"; training went on from epoch {epoch_name(evolution.epochs[-1])} to"
        f" {epoch_name(trained)}, which the same zfjax evolve with --at all adds"
    )


def selection_words(selection: str) -> str:
    """What the images of "low" or "quantile:q" are to a map."""
    if selection == "low":
        return "the weakest that excite it at all"
    quantile = float(selection.removeprefix("quantile:"))
    typical = "typical: " if quantile == 0.5 else ""
    return f"{typical}stronger than about {100 * quantile:g}\u2009% of the images"


def selection_name(selection: str) -> str:
    """What "low" or "quantile:q" is called in a word or two."""
    if selection == "low":
        return "weakest"
    quantile = float(selection.removeprefix("quantile:"))
    return "typical" if quantile == 0.5 else f"quantile {quantile:g}"


def silent_words(selection: str) -> str:
    """Why a map has no picture of a selection ("top", "fixed", "low", "quantile:q")."""
    if selection.startswith("quantile:"):
        share = float(selection.removeprefix("quantile:"))
        return f"silent: {percent(share)} of the images or more do not excite it"
    if selection == "fixed":
        return "silent on that image"
    return "dead: no image excites it"


def by_step(evolution: Evolution, measure: str, layer: str) -> dict[int, float | None]:
    """A layer's "dead_share" or "purity" (0..1) by step; None where it was not measured."""
    values = getattr(evolution.record, measure).get(layer) or [None] * len(evolution.steps)
    return dict(zip(evolution.steps, values, strict=True))


def of_training(evolution: Evolution) -> bool:
    """Whether the images searched are those that the network was trained on."""
    return evolution.record.split == evolution.record.train_split


def searched(evolution: Evolution) -> str:
    """ "4,000 training images": those that were seen; images that cannot be read were left out."""
    split = plain(evolution.record.split, 24)
    seen = evolution.record.images - evolution.record.unreadable
    if evolution.record.split == "all":
        return f"{seen:,} images"
    return f"{seen:,} {'training' if of_training(evolution) else split} images"


def file_stem(layer: str, layers: Sequence[str]) -> str:
    """What files of a layer are called: "Block_0/Conv_0" as "Block_0.Conv_0", and with a number
    where that is the name of an earlier one of the ``layers`` too.
    """
    stems = [other.replace("/", ".") for other in layers[: layers.index(layer) + 1]]
    earlier = stems.count(stems[-1]) - 1
    return f"{stems[-1]}-{earlier + 1}" if earlier else stems[-1]


def network_words(run: Run | AdoptedRun) -> str:
    """What the network is called, with what differs from the one known by that name."""
    if isinstance(run, AdoptedRun):
        return plain(str(run.identity.get("model", "")), 240)
    return plain(network_name(run.config), 240)


def dataset_words(run: Run) -> str:
    """The data set's name as it was asked for; the fingerprint names the exact one."""
    return plain(run.config.data.name)
