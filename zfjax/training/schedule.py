"""What is due at a step: a line of metrics, parameters kept within the first epoch, a state, an
epoch's end. No JAX.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfjax.keeping import kept_epochs
from zfjax.run.folder import Run

LOGS_PER_EPOCH = 10


@dataclass(frozen=True)
class Schedule:
    """Answers for a step, counted from 1 when it is done; 0 is the initial network."""

    steps_per_epoch: int
    log_every: int
    """Steps, counted anew in each epoch."""
    snapshots: tuple[int, ...]
    """Steps within the first epoch whose parameters are kept."""
    save_seconds: float
    """Between states that are saved within an epoch."""
    alone: bool
    """Whether one process trains."""
    last_step: int = 0
    kept: frozenset[int] | None = None
    """Epochs whose parameters are kept, beside the last; None: all."""

    def ends_epoch(self, step: int) -> bool:
        """Whether it is validated and saved; the initial network is, too."""
        return step % self.steps_per_epoch == 0

    def logs(self, step: int) -> bool:
        """Whether a line of metrics is written: ten an epoch, the last at its end."""
        return self.ends_epoch(step) or step % self.steps_per_epoch % self.log_every == 0

    def keeps(self, step: int) -> bool:
        """Whether its parameters are kept though no epoch ends."""
        return step in self.snapshots

    def keeps_epoch(self, step: int) -> bool:
        """Whether the parameters are kept of the epoch that ends at ``step``."""
        epoch = step // self.steps_per_epoch
        return self.kept is None or epoch in self.kept or step == self.last_step

    def may_save(self, step: int) -> bool:
        """Whether a state may be saved, if it is time to. A state may be gathered from all
        processes: they must save at the same step, and agree on it where they wait anyway.
        """
        return self.alone or self.logs(step)


def schedule_of(run: Run, alone: bool) -> Schedule:
    """The run's; ``alone``: one process trains."""
    return Schedule(
        steps_per_epoch=run.steps_per_epoch,
        log_every=max(1, run.steps_per_epoch // LOGS_PER_EPOCH),
        snapshots=snapshot_steps(run.config.snapshots, run.steps_per_epoch),
        save_seconds=60 * run.config.save_minutes,
        alone=alone,
        last_step=run.last_step,
        kept=kept_epochs(run.config.keep),
    )


def snapshot_steps(count: int, steps_per_epoch: int) -> tuple[int, ...]:
    """At most ``count`` steps within the first epoch, evenly spaced in logarithm: features change
    fastest then.
    """
    if not count or steps_per_epoch < 2:
        return ()
    return tuple(sorted({round(step) for step in np.geomspace(1, steps_per_epoch - 1, count)}))
