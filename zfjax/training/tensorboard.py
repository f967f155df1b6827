"""RUN/tensorboard: the metrics, and the first layer's filters. The one door to tensorboardX. No
JAX.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError, explain_os_error


class Board:
    """An event file in ``folder``; what an earlier start wrote after ``step`` is hidden, so that a
    resumed run shows no point twice. Written at once by the caller: tensorboardX's own thread dies
    of a full disk, and its callers then wait for it for ever. Raises ZfjaxError where tensorboardX
    is not installed, and when the disk is full.
    """

    def __init__(self, folder: Path, step: int):
        try:
            from tensorboardX import event_file_writer, summary
            from tensorboardX.proto import event_pb2
        except ImportError:
            raise ZfjaxError(
                "--tensorboard needs tensorboardX: pip install -e '.[tensorboard]'"
            ) from None
        self._event, self._summary, self._folder = event_pb2, summary, folder
        with self._failures():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = event_file_writer.EventsWriter(str(folder / "events"), f".{os.getpid()}")
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        self._write(step + 1, [self._event.Event(session_log=start)])

    def scalars(self, step: int, source: str, figures: dict[str, float]) -> None:
        """One line of metrics, as <name>/<source>."""
        summaries = [
            self._summary.scalar(f"{name}/{source}", value) for name, value in figures.items()
        ]
        self._write(step, [self._event.Event(summary=summary) for summary in summaries])

    def filters(self, step: int, layer: str, kernel: np.ndarray) -> None:
        """A first layer's kernels (float32 [height, width, 3, maps]); zero is mid-grey, one scale
        for all.
        """
        scale = max(float(np.abs(kernel).max()), 1e-30)
        pictures = np.clip(0.5 + kernel / (2 * scale), 0, 1).transpose(3, 0, 1, 2)
        drawn = self._summary.image(f"{layer}/filters", pictures, dataformats="NHWC")
        self._write(step, [self._event.Event(summary=drawn)])

    def close(self) -> None:
        """Ends the file."""
        with self._failures():
            self._file.close()

    def _write(self, step: int, events: list[Any]) -> None:
        with self._failures():
            for event in events:
                event.step, event.wall_time = step, time.time()
                self._file.write_event(event)
            self._file.flush()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain_os_error(error, f"write events in {self._folder}:") from error
