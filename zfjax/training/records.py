"""What a training run writes while it runs: metrics, parameters, states, TensorBoard. In process 0
alone.
"""

from __future__ import annotations

import time
from typing import Any

from zfjax.devices import whole
from zfjax.processes import is_first
from zfjax.run import checkpoint
from zfjax.run.folder import EVALUATION, TRAINING, Run, append_metrics, cut_metrics
from zfjax.run.steps import keep_newest
from zfjax.run.summary import note_train_seconds
from zfjax.training.step import TrainState
from zfjax.training.tensorboard import Board


class Records:
    """What a run writes: metrics, parameters, states; in process 0 alone."""

    def __init__(self, run: Run, began: float | None = None):
        """``began``: when training would have, had it gone on all the time, by ``time.monotonic``;
        None: now.
        """
        self._run, self._writes = run, is_first()
        self._began = time.monotonic() if began is None else began
        self._parameters = checkpoint.Saver(run.checkpoints)
        # A state saved on a signal, before validation, is replaced by the one after it.
        self._states = checkpoint.Saver(run.resume, keep_replaced=False)
        self._board: Board | None = None

    def begin(self, step: int, validated: bool) -> None:
        """Drops lines after ``step``, and its validation's where that is still to come."""
        if self._writes:

            def stays(line: dict[str, Any]) -> bool:
                comes_again = line["step"] == step and not validated
                comes_again = comes_again and not self._run.is_training_line(line)
                return line["step"] <= step and not comes_again

            cut_metrics(self._run.folder / "metrics.jsonl", stays)
            if self._run.config.tensorboard:
                self._board = Board(self._run.folder / "tensorboard", step)

    def log(self, step: int, kind: str, **figures: float) -> None:
        """One line of metrics: TRAINING of batches, or EVALUATION of the validation split."""
        if self._writes:
            split = "train" if kind == TRAINING else self._run.config.data.validation_split
            line = {
                "step": step,
                "epoch": self._run.epoch(step),
                "split": split,
                "kind": kind,
                **figures,
            }
            append_metrics(self._run.folder / "metrics.jsonl", line)
            if self._board is not None:
                mixed = kind == EVALUATION and split == "train"
                self._board.scalars(step, f"{split}-{kind}" if mixed else split, figures)

    def save_parameters(self, step: int, state: TrainState) -> None:
        """Starts saving RUN/checkpoints/<step>."""
        # A copy: what is saved in the background must not be donated meanwhile.
        parameters = whole(state.parameters)
        if self._writes:
            # Parameters without any state before them would be those of a run that has lost it.
            self._states.wait()
            self._parameters.save(step, parameters)
            if self._board is not None:
                first = self._run.config.model.conv_names[0]
                self._board.filters(step, first, parameters[first]["kernel"])

    def save_state(self, step: int, state: TrainState) -> None:
        """Starts saving RUN/resume/<step>, once the parameters before it are on disk: no state may
        know of an epoch whose parameters a crash has taken.
        """
        leaves = checkpoint.flattened(whole(state))
        if self._writes:
            self._parameters.wait()
            self._states.save(step, leaves)
            keep_newest(self._run.resume, 2)
            self._note_time()

    def _note_time(self) -> None:
        note_train_seconds(self._run, time.monotonic() - self._began)

    def wait(self) -> None:
        """Returns when all is on disk. Raises ZfjaxError when a save failed."""
        self._parameters.wait()
        self._states.wait()

    def close(self) -> None:
        """Waits, and ends what is open."""
        if self._board is not None:
            self._board.close()
        self.wait()
        if self._writes:
            keep_newest(self._run.resume, 2)
            self._note_time()
