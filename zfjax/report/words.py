"""How things are said: numbers, epochs and texts from data as short plain words. No JAX."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

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


def plain(text: str, length: int = 40) -> str:
    """``text`` on one line, printable, at most ``length`` characters; an empty one is said to be
    so.
    """
    kept = "".join(letter if letter.isprintable() else " " for letter in str(text))
    kept = " ".join(kept.split())
    return (kept if len(kept) <= length else kept[: length - 1] + "…") or "(no name)"


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, never in exponents where it can be helped; "n/a" for None."""
    if value is None:
        return "n/a"
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{float(f'{value:.{digits}g}'):,.10g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def percent(share: float | None) -> str:
    """A share 0..1 in per cent, one decimal below 10; "n/a" for None."""
    if share is None:
        return "n/a"
    return f"{100 * share:.1f}\u2009%" if 0 < share < 0.1 else f"{100 * share:.0f}\u2009%"


def epoch_name(epoch: float) -> str:
    """ "5", or "0.32" for a step within an epoch."""
    return f"{epoch:.2g}" if 0 < epoch < 1 else f"{round(epoch, 1):g}"


def date(iso: str) -> str:
    """ "21 November 2025" of an ISO date; the text itself where it is none."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return plain(iso)
    return f"{moment.day} {moment:%B %Y}"


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


def validation_images(run: Run) -> str:
    """The images that accuracy is measured on, in a sentence: "validation images"."""
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


def by_step(evolution: Evolution, measure: str, layer: str) -> dict[int, float | None]:
    """A layer's "dead_share" or "purity" (0..1) by step; None where it was not measured."""
    values = evolution.meta[measure].get(layer) or [None] * len(evolution.steps)
    return dict(zip(evolution.steps, values, strict=True))


def of_training(evolution: Evolution) -> bool:
    """Whether the images searched are those that the network was trained on."""
    return evolution.meta["split"] == evolution.meta.get("train_split", "train")


def searched(evolution: Evolution) -> str:
    """ "4,000 training images": those that were seen; images that cannot be read were left out."""
    split = plain(evolution.meta["split"], 24)
    seen = evolution.meta["images"] - evolution.meta.get("unreadable", 0)
    return f"{seen:,} {'training' if of_training(evolution) else split} images"


def network_words(run: Run) -> str:
    """What the network is called, with what differs from the one known by that name."""
    return plain(network_name(run.config), 240)


def dataset_words(run: Run) -> str:
    """The data set's name as it was asked for; the fingerprint names the exact one."""
    return plain(run.config.data.name)
