"""Processes that read and decode images for this one: threads share Python's lock, which bounds
them all together.

A worker has an anonymous piece of memory, into which it writes pixels, and two pipes: requests come
in, answers go out. Nothing has a name, so nothing can be left behind: the memory goes with its last
user, and a worker whose pipe closes ends, also when this process was killed.
"""

from __future__ import annotations

import mmap
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zfjax.data.dataset import Dataset, UnreadableImage, open_dataset
from zfjax.errors import ZfjaxError

PIECE = 16
"""Images that are read at a time."""


_SERVE = "from zfjax.data.workers import serve; serve()"
_ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
"""NumPy starts as many threads as there are cores, in each process; nothing here needs them."""


@dataclass(frozen=True)
class Answer:
    """A piece of images: uint8 (n, h, w, 3), to be copied before the worker is asked again; label
    int32 (n,); and for each that cannot be read its row and why.
    """

    images: np.ndarray
    labels: np.ndarray
    unreadable: dict[int, str]


class Worker:
    """One process that reads from DIRECTORY's NAME. Raises ZfjaxError when it ends before its
    time.
    """

    def __init__(self, name: str, data_dir: Path, view_size: tuple[int, int]):
        self._shape = (PIECE, *view_size, 3)
        descriptor, size = _anonymous_file(), int(np.prod(self._shape))
        os.truncate(descriptor, size)
        self._memory = np.frombuffer(mmap.mmap(descriptor, size), np.uint8).reshape(self._shape)
        # Signals that a whole group gets are its parent's; the mask is inherited, from the first
        # moment on.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {_SERVE}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[descriptor],
                env={**os.environ, **_ONE_THREAD},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(descriptor)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._send((name, data_dir, view_size, descriptor))

    def read(self, split: str, image_ids: Sequence[int]) -> Answer:
        """At most PIECE images. Raises ZfjaxError for what is no fault of one image alone, and when
        it has died.
        """
        self._send((split, list(image_ids)))
        try:
            fault, labels, unreadable = pickle.load(self._answers)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise self._died() from None
        if fault is not None:
            raise ZfjaxError(fault)
        return Answer(self._memory[: len(labels)], np.array(labels, np.int32), unreadable)

    def close(self) -> None:
        """Ends it."""
        for pipe in (self._requests, self._answers):
            try:
                pipe.close()
            except OSError:  # what it was to be told: it is gone
                pass
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Any) -> None:
        try:
            pickle.dump(message, self._requests)
            self._requests.flush()
        except OSError:
            raise self._died() from None

    def _died(self) -> ZfjaxError:
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            status = None
        how = (
            f"by signal {signal.Signals(-status).name}"
            if status is not None and status < 0
            else f"status {status}"
        )
        return ZfjaxError(
            f"A process that decodes images has died ({how}; was memory short?): the same command"
            " goes on from the last saved state, --data.processes says how many there are."
        )


class Pool:
    """Workers that any thread may ask; each answers one at a time."""

    def __init__(self, count: int, name: str, data_dir: Path, view_size: tuple[int, int]):
        self.count = count
        self._workers = [Worker(name, data_dir, view_size) for _ in range(count)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def read(
        self, split: str, image_ids: Sequence[int], images: np.ndarray, labels: np.ndarray
    ) -> dict[int, str]:
        """Fills ``images`` uint8 (n, h, w, 3) and ``labels`` int32 (n,); gives why a row cannot be
        read.
        """
        worker = self._free.get()
        try:
            answer = worker.read(split, image_ids)
            np.copyto(images, answer.images)
            labels[:] = answer.labels
            return answer.unreadable
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """Ends all."""
        for worker in self._workers:
            worker.close()


def pool_of(dataset: Dataset, view_size: tuple[int, int]) -> Pool:
    """The data set's processes for views of this size, begun when first asked for; they end with
    it.
    """

    def begun() -> Pool:
        directory = dataset.directory
        pool = Pool(dataset.processes, directory.name, directory.parent, view_size)
        weakref.finalize(dataset, pool.close)
        return pool

    return dataset.kept(("processes", view_size), begun)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("zfjax", 0)
    with tempfile.TemporaryFile() as handle:
        return os.dup(handle.fileno())


def serve() -> None:
    """The worker's own program: answers until its pipe is closed."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between
    try:
        _serve(requests, answers)
    except (EOFError, BrokenPipeError):
        os._exit(0)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    name, data_dir, view_size, descriptor = pickle.load(requests)
    memory = np.frombuffer(mmap.mmap(descriptor, 0), np.uint8).reshape(PIECE, *view_size, 3)
    dataset = None
    while True:
        split, image_ids = pickle.load(requests)
        fault, labels, unreadable = None, [], {}
        try:
            dataset = open_dataset(name, data_dir) if dataset is None else dataset
            for row, image_id in enumerate(image_ids):
                try:
                    [example] = dataset.read(split, [image_id], view_size, with_parts=False)
                    memory[row], label = example.image, example.label
                except UnreadableImage as error:
                    memory[row], label, unreadable[row] = 0, 0, str(error)
                labels.append(label)
        except ZfjaxError as error:
            fault = str(error)
        pickle.dump((fault, labels, unreadable), answers)
        answers.flush()
