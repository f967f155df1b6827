"""A training line of metrics.jsonl, from the sums in the state; sums that are not finite end the
run.
"""

from __future__ import annotations

import math

from zfjax.errors import ZfjaxError
from zfjax.run.folder import Run
from zfjax.training import optimiser
from zfjax.training.pace import Pace
from zfjax.training.step import TrainState


def batch_figures(run: Run, step: int, state: TrainState, pace: Pace) -> dict[str, float]:
    """The means since the last line. Raises ZfjaxError for a loss that is not finite."""
    totals = check_sound(run, step, state)  # waits for the devices: only then is the time known
    seconds, waited = pace.seconds()
    figures = {
        "loss": totals["loss"] / totals["steps"],
        "top1": totals["top1"] / totals["images"],
        "top5": totals["top5"] / totals["images"],
        "learning_rate": _rate(run, state),
        "images_per_second": totals["images"] / seconds,
        "data_wait": waited / seconds,
    }
    if run.config.clip_radius:
        figures["clipped"] = totals["clipped"] / totals["steps"]
    return figures


def _rate(run: Run, state: TrainState) -> float:
    """The learning rate of the step just taken."""
    scheduled = optimiser.learning_rate(
        run.config.optimizer, state.step - 1, run.steps_per_epoch, run.config.epochs
    )
    return float(scheduled * state.plateau["scale"])


def check_sound(run: Run, step: int, state: TrainState) -> dict[str, float]:
    """The state's totals. Raises ZfjaxError when a loss or gradient among them was not finite."""
    totals = {name: float(total) for name, total in state.totals.items()}
    if totals["broken"] or not math.isfinite(totals["loss"]):
        raise divergence(run, step)
    return totals


class Diverged(ZfjaxError):
    """Training has left the finite numbers."""


def divergence(run: Run, step: int) -> Diverged:
    """That training has left the finite numbers near ``step``."""
    return Diverged(
        f"The loss or its gradient is not finite near step {step} (epoch {run.epoch(step):.2f});"
        " nothing was saved from there on. Lower --optimizer.learning-rate, in another --workdir."
    )
