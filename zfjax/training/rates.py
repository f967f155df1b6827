"""Error rates of saved epochs, one after the other, in the words of ``zfjax evaluate``; epochs
without are named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.network.model import Parameters
from zfjax.run import checkpoint
from zfjax.subject import Subject

TITLES = f"{'epoch':>8}{'top-1 error':>14}{'top-5 error':>14}{'loss':>9}"


@dataclass(frozen=True)
class Rates:
    """What one saved epoch gives: ``figures`` as ``evaluate`` returns them, or ``fault``, why there
    are none.
    """

    epoch: float
    step: int
    figures: dict[str, float] | None
    fault: str | None = None

    def line(self) -> str:
        """A line under TITLES. For figures only."""
        figures = self.figures or {}
        top1, top5 = (1 - figures[name] for name in ("top1", "top5"))
        return f"{self.epoch:>8g}{top1:>14.2%}{top5:>14.2%}{figures['loss']:>9.3f}"


def saved_rates(
    subject: Subject, steps: Sequence[int], measure: Callable[[Parameters], dict[str, float]]
) -> Iterator[Rates]:
    """The rates of each of ``steps`` as it is done. ``measure``: parameters to ``evaluate``'s
    figures.

    A damaged checkpoint, and parameters or scores that are not finite, are a fault of their epoch,
    and the next follows. Raises ZfjaxError as ``measure`` does.
    """
    for step in steps:
        try:
            parameters = subject.parameters(step, whole=True)
        except checkpoint.DamagedCheckpoint as error:
            why = str(error).split("; restore")[0].rstrip(".")
            yield Rates(subject.epoch(step), step, None, f"a damaged checkpoint ({why})")
            continue
        if name := _broken(parameters):
            yield Rates(subject.epoch(step), step, None, f"parameters that are not finite ({name})")
            continue
        figures = measure(parameters)
        sound = math.isfinite(figures["loss"])
        yield Rates(
            subject.epoch(step),
            step,
            figures if sound else None,
            None if sound else "scores that are not finite",
        )


def _broken(parameters: Parameters) -> str | None:
    """The first array that holds a value that is not finite."""
    leaves = checkpoint.leaf_paths(parameters).items()
    return next(
        (name for name, values in leaves if not np.isfinite(np.asarray(values)).all()), None
    )


def left_out(figures: dict[str, float], count: int) -> str | None:
    """How many of a split's ``count`` images took no part, and why; None when all did."""
    if figures["images"] == count:
        return None
    unlabelled = figures.get("unlabelled", 0)
    unreadable = count - figures["images"] - unlabelled
    reasons = ((unreadable, "cannot be read"), (unlabelled, "have no label"))
    why = " and ".join(f"{images:,} {what}" for images, what in reasons if images)
    return f"of {figures['images']:,} of the {count:,} images: {why}"


def diverged(asked: Sequence[Rates]) -> ZfjaxError | None:
    """Which of the epochs asked for have no rates, why, and how to ask for the others; None when
    all have.
    """
    broken = [rates for rates in asked if rates.fault]
    if not broken:
        return None
    which = "; ".join(
        f"epoch {rates.epoch:g} (step {rates.step}) has {rates.fault}" for rates in broken
    )
    wanted = " ".join(
        f"{rates.epoch:g}" if rates.epoch.is_integer() else f"step:{rates.step}"
        for rates in asked
        if not rates.fault
    )
    several = len(broken) > 1
    advice = (
        f"leave {'them' if several else 'it'} out with --at {wanted}"
        if wanted
        else "ask for epochs before it with --at"
    )
    have = "they have" if several else "it has"
    return ZfjaxError(f"{which[0].upper()}{which[1:]}, so {have} no error rate; {advice}.")
