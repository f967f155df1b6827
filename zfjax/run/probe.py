"""The fixed probe: how strongly every map of every saved step answers to each of some images, kept
in RUN/measures. No JAX.

The images are a pure function of the data set's size and a seed, so that two runs on one data set
have answered to the same ones, and fewer images are some of more. Values are float16 over a float32
scale for each (step, map): a relative error of at most 2**-11 down to a hundred-thousandth of the
map's largest.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int32, Int64, UInt16

from zfjax.errors import ZfjaxError
from zfjax.files import write_atomic

PROBE_FILE = "probe.npz"
"""In RUN/measures."""
ZERO_KEY = 1 << 15
"""Of 0 in ``Probe.keys``: an image whose key is above it excites the map."""
MAXIMA, MEANS = "maxima", "means"
"""The kinds of values: a map's largest over an image, and its mean over the image."""


@dataclass(frozen=True)
class Probe:
    """A saved probe; its arrays are read step by step, as they are asked for."""

    path: Path

    @cached_property
    def meta(self) -> dict[str, Any]:
        """ "asked" (what tells it from another), "steps", "layers" ({name: maps}), "kinds"."""
        return dict(json.loads(str(self._array("meta"))))

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps there are, ascending."""
        return tuple(self.meta["steps"])

    @property
    def kinds(self) -> tuple[str, ...]:
        """ "maxima", and "means" where they were asked for."""
        return tuple(self.meta["kinds"])

    @cached_property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """The images that were looked at, ascending; unreadable ones are not among them."""
        return self._array("ids")

    @cached_property
    def labels(self) -> Int32[np.ndarray, " n"]:
        """Their labels, -1 where unknown."""
        return self._array("labels")

    @property
    def columns(self) -> dict[str, slice]:
        """Where each layer's maps stand side by side."""
        spans, start = {}, 0
        for name, maps in self.meta["layers"].items():
            spans[name] = slice(start, start + maps)
            start += maps
        return spans

    def values(
        self, step: int, layer: str | None = None, kind: str = MAXIMA
    ) -> Float32[np.ndarray, "n maps"]:
        """Every image's value in every map of a layer (None: all, side by side) at a step. Raises
        ZfjaxError for what it does not have.
        """
        if step not in self.steps or kind not in self.kinds:
            raise ZfjaxError(
                f"{self.path} has no {kind} of step {step}; it has {', '.join(self.kinds)} of"
                f" {', '.join(map(str, self.steps))}."
            )
        if layer is None:
            every = [self.values(step, name, kind) for name in self.meta["layers"]]
            return np.concatenate(every, axis=1)
        stored, scale = self.stored(step, layer, kind)
        return stored.astype(np.float32) * scale

    def stored(
        self, step: int, layer: str, kind: str = MAXIMA
    ) -> tuple[Float16[np.ndarray, "n maps"], Float32[np.ndarray, " maps"]]:
        """(every image's value in every map over the map's scale, the scales) of a layer."""
        scale = self._array(array_name(kind, step, layer, "scale"))
        return self._stored(step, layer, kind), scale

    def keys(self, step: int, layer: str, kind: str = MAXIMA) -> UInt16[np.ndarray, "n maps"]:
        """Whole numbers that order the images of each map as their values do, equal where these
        are: to sort them takes a tenth of the time.
        """
        bits = self._stored(step, layer, kind).view(np.uint16)
        return np.where(bits >> 15, ~bits, bits | np.uint16(ZERO_KEY))

    def excites(self, step: int, layer: str) -> Bool[np.ndarray, "n maps"]:
        """Whether each image excites each map at all."""
        return self._stored(step, layer, MAXIMA).view(np.int16) > 0

    def _stored(self, step: int, layer: str, kind: str) -> Float16[np.ndarray, "n maps"]:
        return self._array(array_name(kind, step, layer))

    @cached_property
    def _starts(self) -> dict[str, int]:
        """Where each array's entry begins in the file: thousands, looked up once."""
        with zipfile.ZipFile(self.path) as archive:
            return {entry.filename: entry.header_offset for entry in archive.infolist()}

    def _array(self, name: str) -> np.ndarray:
        try:
            start = self._starts[f"{name}.npy"]
            with open(self.path, "rb") as handle:
                handle.seek(start)
                # An entry's header: 30 bytes, of which the last four say how long name and extra
                # field are that follow it; the array is not compressed.
                header = handle.read(30)
                lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
                handle.seek(sum(lengths), 1)
                return np.asarray(np.lib.format.read_array(handle, allow_pickle=False))
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            what = "missing" if isinstance(error, FileNotFoundError) else "damaged"
            raise ZfjaxError(
                f"{self.path} is {what}; delete it, and the next `zfjax measure` looks anew."
            ) from None


def array_name(kind: str, step: int, layer: str, *more: str) -> str:
    """Of an array in the file; a layer's name may be any text, so it comes last."""
    return "-".join([kind, *more, str(step), layer.replace("/", ":")])


def quantised(
    values: Float32[np.ndarray, "n maps"],
) -> tuple[np.ndarray, Float32[np.ndarray, " maps"]]:
    """(float16 [n, maps], float32 scales [maps]): each map over its largest magnitude."""
    scale = np.abs(values).max(axis=0, initial=0).astype(np.float32)
    scale[scale == 0] = 1
    small = (values / scale).astype(np.float16)
    bits = small.view(np.uint16)
    bits[bits == 0x8000] = 0  # no -0: bits are compared
    return small, scale


def write_probe(
    path: Path,
    meta: Mapping[str, Any],
    images: tuple[np.ndarray, np.ndarray],
    values: Iterator[tuple[str, np.ndarray]],
) -> Probe:
    """Writes a probe, whole or not at all, one array in memory at a time. ``images``: ids and
    labels; ``values``: (``array_name``, array) one after the other.
    """

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

            def add(name: str, array: np.ndarray) -> None:
                entry: IO[bytes]
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)

            add("meta", np.array(json.dumps(dict(meta))))
            add("ids", images[0].astype(np.int64))
            add("labels", images[1].astype(np.int32))
            for name, array in values:
                add(name, array)

    write_atomic(path, write)
    return Probe(path)
