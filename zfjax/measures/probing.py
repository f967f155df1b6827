"""The fixed probe as it is gathered: every map's answers to each of its images, on disk from the
first batch on, so that memory is flat and a stopped pass keeps what it has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import explain_os_error
from zfjax.features.riding import Arrays, Computed, Look, Marks, Sent
from zfjax.files import expanded_path
from zfjax.measures.probe_images import PROBE_IMAGES as PROBE_IMAGES
from zfjax.measures.probe_images import PROBE_SEED as PROBE_SEED
from zfjax.measures.probe_images import probe_ids as probe_ids
from zfjax.run.probe import MAXIMA, MEANS, Probe, array_name, quantised, write_probe

KINDS = (MAXIMA, MEANS)


def probe_bytes(steps: int, images: int, maps: int, kinds: int) -> tuple[int, int]:
    """Bytes of a probe on disk: (as it is kept, as it is gathered)."""
    return 2 * steps * images * maps * kinds, 4 * steps * images * maps * kinds


@dataclass(frozen=True)
class Gathered:
    """What a probe is gathered of, and where."""

    folder: Path
    ids: np.ndarray
    """int64, ascending."""
    kinds: tuple[str, ...]
    steps: tuple[int, ...]
    layers: Mapping[str, int]
    """Maps by layer, in forward order."""
    process: int = 0

    @property
    def scratch(self) -> Path:
        """float32 [kinds, steps, images, maps]: a file of its own for each process."""
        return expanded_path(self.folder) / f"probe-{self.process}.scratch.npy"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the scratch file."""
        return len(self.kinds), len(self.steps), len(self.ids), sum(self.layers.values())


class Probing:
    """The probe as a rider of the pass."""

    def __init__(self, gathered: Gathered) -> None:
        self.gathered = gathered
        self.name = f"probe of {len(gathered.ids)} images ({', '.join(gathered.kinds)})"
        self.computed: Computed = _Values(gathered.kinds)
        self._seen = np.zeros(len(gathered.ids), bool)
        self._labels = np.full(len(gathered.ids), -1, np.int32)
        self._open: np.memmap | None = None

    def add(self, step_index: int, of_step: Mapping[str, np.ndarray], batch: Sent) -> None:
        """As in ``Rider``, like the others."""
        rows = np.flatnonzero(batch.marks.probed)
        if not len(rows):
            return
        places = np.searchsorted(self.gathered.ids, batch.ids[rows])
        for index, kind in enumerate(self.gathered.kinds):
            self._values[index, step_index, places] = of_step[kind][rows]
        self._seen[places] = True
        self._labels[places] = batch.marks.labels[rows]

    def state(self) -> dict[str, np.ndarray]:
        """Which images are there; their values are in the scratch file."""
        if self._open is not None:
            self._open.flush()
        return {"seen": self._seen, "labels": self._labels}

    def assume(self, state: Mapping[str, np.ndarray]) -> bool:
        """Goes on from the scratch file; False where it is gone or of another shape."""
        if len(state["seen"]) != len(self._seen):
            return False
        try:
            stored = np.lib.format.open_memmap(self.gathered.scratch, mode="r+")
        except (OSError, ValueError, EOFError):
            return not state["seen"].any()
        if stored.shape != self.gathered.shape or stored.dtype != np.float32:
            return False
        self._open = stored
        self._seen[...], self._labels[...] = state["seen"], state["labels"]
        return True

    def share(self) -> dict[str, np.ndarray]:
        """The images that were seen, with their values."""
        places = np.flatnonzero(self._seen)
        values = self._values[:, :, places]
        return {"places": places, "labels": self._labels[places], "values": values}

    def merge(self, share: Mapping[str, np.ndarray]) -> None:
        """Adds other images."""
        places = share["places"]
        if len(places):
            self._values[:, :, places] = share["values"]
            self._seen[places], self._labels[places] = True, share["labels"]

    def clear(self) -> None:
        """No image has been seen."""
        self._seen[...] = False

    def finish(self, path: Path, asked: dict[str, Any]) -> Probe:
        """Writes the probe."""
        gathered, seen = self.gathered, np.flatnonzero(self._seen)
        meta = {
            "asked": asked,
            "steps": list(gathered.steps),
            "layers": dict(gathered.layers),
            "kinds": list(gathered.kinds),
        }

        def values() -> Iterator[tuple[str, np.ndarray]]:
            for index, kind in enumerate(gathered.kinds):
                for step_index, step in enumerate(gathered.steps):
                    start, values = 0, self._values[index, step_index]
                    if len(seen) < len(values):
                        values = values[seen]
                    small, scale = quantised(values)
                    for layer, maps in gathered.layers.items():
                        of_layer = slice(start, start + maps)
                        start += maps
                        array = np.ascontiguousarray(small[:, of_layer])
                        yield array_name(kind, step, layer), array
                        yield array_name(kind, step, layer, "scale"), scale[of_layer]

        return write_probe(path, meta, (gathered.ids[seen], self._labels[seen]), values())

    def drop(self) -> None:
        """Removes the scratch file."""
        self._open = None
        self.gathered.scratch.unlink(missing_ok=True)

    @property
    def _values(self) -> np.memmap:
        """The scratch file, made when it is first written to."""
        if self._open is None:
            path, shape = self.gathered.scratch, self.gathered.shape
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                opened = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
                # A full disk is an error here; met later, by way of memory, it is a crash.
                if hasattr(os, "posix_fallocate"):
                    with open(path, "r+b") as handle:
                        os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise explain_os_error(error, f"keep the probe in {path.parent}:") from error
            self._open = opened
        return self._open


def drop_scratch(folder: Path) -> None:
    """Removes what a killed pass has left, once nobody needs it."""
    for path in folder.glob("probe-*.scratch.npy"):
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Values:
    """What is compiled of the probe."""

    kinds: tuple[str, ...]

    def of_piece(self, look: Look) -> Arrays:
        return {kind: look.strongest[0] if kind == MAXIMA else look.means for kind in self.kinds}

    def of_batch(self, pieces: Arrays, marks: Marks) -> Arrays:
        return pieces
