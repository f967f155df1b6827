"""RUN/tensorboard: the metrics, and the first layer's filters. The one door to tensorboardX. No JAX."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zfjax.files import ZfjaxError


class Board:
    """Event files in ``folder``; what an earlier start wrote after ``step`` is hidden, so that a resumed run shows no
    point twice. Raises ZfjaxError where tensorboardX is not installed."""

    def __init__(self, folder: Path, step: int):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ZfjaxError("--tensorboard needs tensorboardX: pip install -e '.[tensorboard]'") from None
        self._writer = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=10)

    def scalars(self, step: int, split: str, figures: dict[str, float]) -> None:
        """One line of metrics, as <name>/<split>."""
        for name, value in figures.items():
            self._writer.add_scalar(f"{name}/{split}", value, step)

    def filters(self, step: int, layer: str, kernel: np.ndarray) -> None:
        """A first layer's kernels (float32 [height, width, 3, maps]); zero is mid-grey, one scale for all."""
        scale = max(float(np.abs(kernel).max()), 1e-30)
        pictures = np.clip(0.5 + kernel / (2 * scale), 0, 1).transpose(3, 0, 1, 2)
        self._writer.add_images(f"{layer}/filters", pictures, step, dataformats="NHWC")
        self._writer.flush()

    def close(self) -> None:
        """Writes what is pending."""
        self._writer.close()
