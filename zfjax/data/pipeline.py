"""Batches out of a prepared data set: the one wrapper of grain.

Nothing about the iteration is ever saved. The order of the images is a pure function of (seed,
step), so a run resumes by asking for ``start_step``, and N processes together see exactly the
batches that one process would see: process p holds rows [p * batch_size, (p + 1) * batch_size) of
every global batch.

Pixels are decoded in threads (Pillow releases Python's lock), which start at once; the little that
is left to Python bounds all threads of a process together, so that a data set can have processes to
read with (workers.py). grain takes half a second to import, so it is imported where it is used.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.data.dataset import NO_LABEL, Dataset, Example, UnreadableImage
from zfjax.data.labels import without_label
from zfjax.data.reading import Batch, Reading, empty_batch, name_once, next_readable
from zfjax.data.workers import PIECE, pool_of
from zfjax.errors import ZfjaxError
from zfjax.progress import Progress

_Read = Callable[[Sequence[int], Batch], None]
"""Fills the first rows of a batch with the images of these ids."""


def training_order(count: int, seed: int, positions: range) -> np.ndarray:
    """The image ids at these positions of the endless training stream of a split of ``count``
    images: int64.

    Positions [e * count, (e + 1) * count) are epoch e: every image once, in an order of its own.
    """
    order = _stream(count, seed)
    return np.array([order[position] for position in positions], np.int64)


def training_batches(
    dataset: Dataset,
    split: str,
    reading: Reading,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
) -> Generator[Batch]:
    """Endless batches from step ``start_step``: image uint8 (b, h, w, 3), label int32 (b,),
    image_id int64 (b,).

    ``batch_size`` is this process's share b; the global batch of step s is positions [s * b *
    processes, (s + 1) * b * processes) of ``training_order``, whatever the number of threads and
    processes. A batch may straddle two epochs. The result is a generator: ``close()`` it (or drop
    it) and its threads end. Arguments are checked at once; a record or an image that cannot be read
    raises ZfjaxError, naming split, id and file, when its batch is asked for; with "skip" it is
    named once on standard error, and the next readable image of the split takes its place. An image
    without a label (-1) counts as one that cannot be read.
    """
    count, share = _checked(dataset, split, batch_size), reading.share
    if start_step < 0:
        raise ZfjaxError(f"Training starts at step 0 or later, not at {start_step}.")
    order = _stream(count, seed)

    def ids_of(step: int, rows: range) -> list[int]:
        first = (step * share.count + share.index) * batch_size
        return [order[first + row] for row in rows]

    steps = range(start_step, sys.maxsize // batch_size)
    read = _reader_for_training(dataset, split, reading)
    return _prefetched(ids_of, read, steps, batch_size, reading, dataset.processes)


def evaluation_batches(
    dataset: Dataset,
    split: str,
    reading: Reading,
    *,
    batch_size: int,
    start: int = 0,
    limit: int | None = None,
) -> Iterator[Batch]:
    """Images ``start`` to ``start + limit`` (to the end without a limit) in the order of their ids,
    each exactly once.

    Yields image uint8 (b, h, w, 3), label int32 (b,), image_id int64 (b,), weight float32 (b,).
    ``batch_size`` is this process's share b. All processes get equally many batches; rows beyond
    the last image have weight 0, image_id -1, label 0 and black pixels; so have those that cannot
    be read where they are skipped. An image whose label is not known has label -1 and weight 1.
    Closing, threads and errors as in ``training_batches``.
    """
    count = _checked(dataset, split, batch_size)
    if start < 0 or (limit is not None and limit < 0):
        raise ZfjaxError("The first image and the number of images cannot be negative.")
    end = count if limit is None else min(count, start + limit)
    return batches_of(dataset, split, reading, batch_size=batch_size, ids=range(start, end))


def batches_of(
    dataset: Dataset, split: str, reading: Reading, *, batch_size: int, ids: Sequence[int]
) -> Iterator[Batch]:
    """The images of these ids, in this order; all else as in ``evaluation_batches``."""
    _checked(dataset, split, batch_size)
    share = reading.share
    steps = -(-len(ids) // (batch_size * share.count))

    def ids_of(step: int, rows: range) -> Sequence[int]:
        first = (step * share.count + share.index) * batch_size
        return ids[first + rows.start : first + rows.stop]

    read = _reader_for_evaluation(dataset, split, reading)
    batches = _prefetched(ids_of, read, range(steps), batch_size, reading, dataset.processes)
    return ({**batch, "weight": _weights(batch["image_id"])} for batch in batches)


def _weights(image_ids: np.ndarray) -> np.ndarray:
    return (image_ids >= 0).astype(np.float32)


def pixel_sums(
    dataset: Dataset, split: str, reading: Reading, *, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """This process's share of the split's evaluation views added up, pixel by pixel: int64 (h, w,
    3), and how many they are, int64. All shares together give the mean image; integers, so that the
    order does not matter.

    ``progress(stage, done, total)`` counts images. Raises ZfjaxError for an empty split, and as
    ``evaluation_batches``.
    """
    total = np.zeros((*reading.view_size, 3), np.int64)
    done, count = 0, dataset.count(split)
    if not count:
        raise ZfjaxError(f"Split '{split}' of {dataset.name} is empty: it has no mean image.")
    for batch in evaluation_batches(dataset, split, reading, batch_size=min(64, count)):
        total += batch["image"].sum(axis=0, dtype=np.int64)  # padding is black and adds nothing
        done += int(batch["weight"].sum())
        if progress is not None:
            progress("mean image", min(count, done * reading.share.count), count)
    return total, np.asarray(done, np.int64)


def _reader_for_training(dataset: Dataset, split: str, reading: Reading) -> _Read:
    """With "skip" the next readable image of the split stands for one that cannot be read, or that
    has no label.
    """
    instead = functools.partial(next_readable, dataset, split, reading.view_size)
    read = _Reader(dataset, split, reading, instead, labelled=True)
    return read.fill


def _reader_for_evaluation(dataset: Dataset, split: str, reading: Reading) -> _Read:
    """With "skip" the row of an image that cannot be read stays as it is in ``empty_batch``."""
    nothing = Example(
        np.zeros((*reading.view_size, 3), np.uint8), label=0, file_name="", image_id=-1
    )
    return _Reader(dataset, split, reading, lambda image_id: nothing, labelled=False).fill


@dataclass(frozen=True)
class _Reader:
    """``instead`` gives what stands for an image that cannot be read; ``labelled``: one without a
    label counts as such.
    """

    dataset: Dataset
    split: str
    reading: Reading
    instead: Callable[[int], Example]
    labelled: bool

    def fill(self, image_ids: Sequence[int], batch: Batch) -> None:
        """Reads in this thread or, where the data set has some, in one of its processes."""
        count = len(image_ids)
        images, labels, ids = (batch[name][:count] for name in ("image", "label", "image_id"))
        ids[:] = image_ids
        unreadable = self._read(image_ids, images, labels)
        if self.labelled:
            without = [row for row, label in enumerate(labels) if label == NO_LABEL]
            for row in without:
                if row not in unreadable:
                    unreadable[row] = without_label(self.dataset, self.split, image_ids[row])
        for row, why in unreadable.items():
            if self.reading.on_error == "fail":
                raise UnreadableImage(why)
            name_once(self.dataset, why)
            example = self.instead(image_ids[row])
            images[row], labels[row], ids[row] = example.image, example.label, example.image_id

    def _read(
        self, image_ids: Sequence[int], images: np.ndarray, labels: np.ndarray
    ) -> dict[int, str]:
        """Why a row cannot be read, by row."""
        views = {} if self.labelled else self._known(image_ids)
        if self.dataset.processes and not views:
            pool = pool_of(self.dataset, self.reading.view_size)
            return pool.read(self.split, image_ids, images, labels)
        unreadable = {}
        for row, image_id in enumerate(image_ids):
            try:
                if image_id in views:
                    images[row] = views[image_id]
                    [(labels[row], _)] = self.dataset.describe(self.split, [image_id])
                    continue
                [example] = self.dataset.read(
                    self.split, [image_id], self.reading.view_size, with_parts=False
                )
                images[row], labels[row] = example.image, example.label
            except UnreadableImage as error:
                unreadable[row] = str(error)
        return unreadable

    def _known(self, image_ids: Sequence[int]) -> dict[int, np.ndarray]:
        """The views of these images that are in memory, by id. They may make way meanwhile."""
        views = ((image_id, self.reading.known.get(image_id)) for image_id in image_ids)
        return {image_id: view for image_id, view in views if view is not None}


def _stream(count: int, seed: int) -> Any:
    """Position -> image id for the endless, reshuffled stream; O(1) at any position."""
    import grain

    if not 0 <= seed < 2**32:
        raise ZfjaxError(f"The seed must lie between 0 and {2**32 - 1}, not be {seed}.")
    if count < 1:
        raise ZfjaxError("There is no image to train on: the split is empty.")
    order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    order[0]  # grain builds its statistics at the first access, and not safely from many threads
    return order


def _prefetched(
    ids_of: Callable[[int, range], Sequence[int]],
    read: _Read,
    steps: range,
    batch_size: int,
    reading: Reading,
    processes: int,
) -> Generator[Batch]:
    """The images that ``ids_of`` names for these rows of every step, in order, two batches ahead;
    the threads end when the generator is closed.

    What is handed to a thread is a piece of PIECE rows, numbered through all batches, not a batch:
    so all threads work on the batch that is needed next, and each writes its pixels where they
    belong, with nothing copied afterwards. grain gives the pieces back in order, so that a batch is
    whole when its last piece has come. Rows without an image have image_id -1, label 0 and black
    pixels.
    """
    import grain

    pieces = -(-batch_size // PIECE)
    begun: dict[int, Batch] = {}
    lock = threading.Lock()

    def load(index: int) -> int:
        step, piece = divmod(index, pieces)
        with lock:  # whichever piece of a batch comes first makes room for all of it
            if step not in begun:
                begun[step] = empty_batch(batch_size, reading.view_size)
            batch = begun[step]
        # No id beyond the batch: to look one up takes grain 8 us.
        rows = range(piece * PIECE, min((piece + 1) * PIECE, batch_size))
        rows_of_piece = {name: array[rows.start : rows.stop] for name, array in batch.items()}
        read(ids_of(step, rows), rows_of_piece)
        return step

    # Where processes read, a thread is one that waits for them. Grain's own buffer is of 500
    # elements: gigabytes. This one holds the batch under way and the next.
    threads = processes or reading.threads
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2 * pieces)
    every = grain.MapDataset.range(steps.start * pieces, steps.stop * pieces).map(load)

    def batches() -> Generator[Batch]:
        if not steps:
            return
        iterator = iter(every.to_iter_dataset(options))
        try:
            for index, step in enumerate(iterator):
                if index % pieces == pieces - 1:
                    yield begun.pop(step)
        finally:
            iterator.close()

    return batches()


def _checked(dataset: Dataset, split: str, batch_size: int) -> int:
    """The size of the split, once the batch makes sense."""
    count = dataset.count(split)
    if batch_size < 1:
        raise ZfjaxError("The batch size must be at least 1.")
    return count
