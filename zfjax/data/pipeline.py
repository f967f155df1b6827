"""Batches out of a prepared data set: the one wrapper of grain.

Nothing about the iteration is ever saved. The order of the images is a pure function of (seed,
step), so a run resumes by asking for ``start_step``, and N processes together see exactly the
batches that one process would see: process p holds rows [p * batch_size, (p + 1) * batch_size) of
every global batch.

Pixels are decoded in threads (Pillow releases Python's lock), which start at once; the little that
is left to Python bounds all threads of a process together, so that a data set can have processes to
read with (workers.py). grain takes half a second to import, so it is imported where it is used."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from zfjax.data.dataset import (
    NO_LABEL,
    Dataset,
    Example,
    UnreadableImage,
    dataset_names,
    list_datasets,
    open_dataset,
)
from zfjax.data.images import view
from zfjax.data.labels import without_label
from zfjax.data.workers import PIECE, pool_of
from zfjax.errors import ZfjaxError

__all__ = [
    "Batch",
    "Dataset",
    "Example",
    "dataset_names",
    "evaluation_batches",
    "list_datasets",
    "open_dataset",
    "pixel_sums",
    "training_batches",
    "training_order",
    "view",
]

Batch = dict[str, np.ndarray]


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
    *,
    batch_size: int,
    view_size: tuple[int, int],
    seed: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    on_error: str = "fail",
) -> Iterator[Batch]:
    """Endless batches from step ``start_step``: image uint8 (b, h, w, 3), label int32 (b,),
    image_id int64 (b,).

    ``batch_size`` is this process's share b; the global batch of step s is positions [s * b *
    process_count, (s + 1) * b * process_count) of ``training_order``, whatever the number of
    threads and processes. A batch may straddle two epochs. The result is a generator: ``close()``
    it (or drop it) and its threads end. ``threads=0`` decodes in the caller's thread. Arguments are
    checked at once; a record or an image that cannot be read raises ZfjaxError, naming split, id
    and file, when its batch is asked for; with ``on_error`` "skip" it is named once on standard
    error, and the next readable image of the split takes its place. An image without a label (-1)
    counts as one that cannot be read."""
    count = _checked(dataset, split, batch_size, view_size, process_index, process_count, threads)
    if start_step < 0:
        raise ZfjaxError(f"Training starts at step 0 or later, not at {start_step}.")
    order = _stream(count, seed)

    def wanted(step: int, rows: range) -> list[int]:
        first = (step * process_count + process_index) * batch_size
        return [order[first + row] for row in rows]

    instead = (
        None if on_error == "fail" else functools.partial(_readable, dataset, split, view_size)
    )
    read = functools.partial(_read, dataset, split, view_size, instead, labelled=True)
    steps = range(start_step, sys.maxsize // batch_size)
    return _prefetched(wanted, read, steps, batch_size, view_size, dataset.processes or threads)


def evaluation_batches(
    dataset: Dataset,
    split: str,
    *,
    batch_size: int,
    view_size: tuple[int, int],
    start: int = 0,
    limit: int | None = None,
    threads: int = 2,
    process_index: int = 0,
    process_count: int = 1,
    on_error: str = "fail",
) -> Iterator[Batch]:
    """Images ``start`` to ``start + limit`` (to the end without a limit) in the order of their ids,
    each exactly once.

    Yields image uint8 (b, h, w, 3), label int32 (b,), image_id int64 (b,), weight float32 (b,).
    ``batch_size`` is this process's share b. All processes get equally many batches; rows beyond
    the last image have weight 0, image_id -1, label 0 and black pixels; so have those that cannot
    be read where ``on_error`` is "skip". An image whose label is not known has label -1 and weight
    1. Closing, threads and errors as in ``training_batches``."""
    count = _checked(dataset, split, batch_size, view_size, process_index, process_count, threads)
    if start < 0 or (limit is not None and limit < 0):
        raise ZfjaxError("The first image and the number of images cannot be negative.")
    end = count if limit is None else min(count, start + limit)
    steps = -(-max(end - start, 0) // (batch_size * process_count))

    def wanted(step: int, rows: range) -> Sequence[int]:
        first = start + (step * process_count + process_index) * batch_size
        return range(first + rows.start, min(first + rows.stop, end))

    nothing = Example(np.zeros((*view_size, 3), np.uint8), label=0, file_name="", image_id=-1)
    read = functools.partial(
        _read, dataset, split, view_size, None if on_error == "fail" else lambda image_id: nothing
    )
    batches = _prefetched(
        wanted, read, range(steps), batch_size, view_size, dataset.processes or threads
    )
    return ({**batch, "weight": np.float32(batch["image_id"] >= 0)} for batch in batches)


def pixel_sums(
    dataset: Dataset,
    split: str,
    view_size: tuple[int, int],
    *,
    progress: Callable[[int, int], None] | None = None,
    on_error: str = "fail",
    threads: int = 2,
    process_index: int = 0,
    process_count: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """This process's share of the split's evaluation views added up, pixel by pixel: int64 (h, w,
    3), and how many they are, int64. All shares together give the mean image; integers, so that the
    order does not matter.

    ``progress(done, total)`` counts images. Raises ZfjaxError for an empty split, and as
    ``evaluation_batches``."""
    total = np.zeros((*view_size, 3), np.int64)
    done, count = 0, dataset.count(split)
    if not count:
        raise ZfjaxError(f"Split '{split}' of {dataset.name} is empty: it has no mean image.")
    for batch in evaluation_batches(
        dataset,
        split,
        batch_size=min(64, count),
        view_size=view_size,
        on_error=on_error,
        threads=threads,
        process_index=process_index,
        process_count=process_count,
    ):
        total += batch["image"].sum(axis=0, dtype=np.int64)  # padding is black and adds nothing
        done += int(batch["weight"].sum())
        if progress is not None:
            progress(min(count, done * process_count), count)
    return total, np.asarray(done, np.int64)


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


def _read(
    dataset: Dataset,
    split: str,
    view_size: tuple[int, int],
    instead: Callable[[int], Example] | None,
    image_ids: Sequence[int],
    batch: Batch,
    labelled: bool = False,
) -> None:
    """Fills the first rows of ``batch`` in this thread or, where the data set has some, in one of
    its processes. ``instead`` gives what stands for an image that cannot be read; None: it fails.
    ``labelled``: one without a label counts as such."""
    image_ids = list(image_ids)
    images, labels = batch["image"][: len(image_ids)], batch["label"][: len(image_ids)]
    batch["image_id"][: len(image_ids)] = image_ids
    unreadable: dict[int, str] = {}
    if dataset.processes:
        unreadable = pool_of(dataset, view_size).read(split, image_ids, images, labels)
    else:
        for row, image_id in enumerate(image_ids):
            try:
                [example] = dataset.read(split, [image_id], view_size, with_parts=False)
                images[row], labels[row] = example.image, example.label
            except UnreadableImage as error:
                unreadable[row] = str(error)
    if labelled:
        without = (row for row in np.flatnonzero(labels == NO_LABEL) if row not in unreadable)
        unreadable |= {row: without_label(dataset, split, image_ids[row]) for row in without}
    for row, why in unreadable.items():
        if instead is None:
            raise UnreadableImage(why)
        _name(dataset, why)
        example = instead(image_ids[row])
        images[row], labels[row], batch["image_id"][row] = (
            example.image,
            example.label,
            example.image_id,
        )


def _name(dataset: Dataset, why: str) -> None:
    if why not in dataset.named:  # every epoch meets it again
        dataset.named.add(why)
        print(f"zfjax: skipped. {why}", file=sys.stderr)


def _readable(dataset: Dataset, split: str, view_size: tuple[int, int], image_id: int) -> Example:
    """The first image after this one that can be read and has a label: a function of the image and
    the data set alone."""
    count = dataset.count(split)
    for further in range(1, min(count, 100)):
        try:
            [example] = dataset.read(
                split, [(image_id + further) % count], view_size, with_parts=False
            )
            if example.label != NO_LABEL:
                return example
        except (
            UnreadableImage
        ) as error:  # not a fault of the disk, which would leave out image after image
            _name(dataset, str(error))
    many = (
        f"A hundred images of split '{split}' of {dataset.name} from number {image_id} on cannot be"
        " read or have no label"
    )
    none = (
        f"None of the {count} images of split '{split}' of {dataset.name} can be read and has a"
        " label"
    )
    raise ZfjaxError(f"{none if count <= 100 else many}; prepare the data set again.")


def _prefetched(
    wanted: Callable[[int, range], Sequence[int]],
    read: Callable[[Sequence[int], Batch], None],
    steps: range,
    batch_size: int,
    view_size: tuple[int, int],
    threads: int,
) -> Iterator[Batch]:
    """The images ``wanted`` in these rows of every step, in order, two batches ahead; the threads
    end when the generator is closed.

    A thread reads PIECE images at a time into their rows of the batch, so that all threads work on
    the next batch and nothing is copied afterwards. Rows without an image have image_id -1, label 0
    and black pixels."""
    import grain

    pieces = -(-batch_size // PIECE)
    begun: dict[int, Batch] = {}
    lock = threading.Lock()

    def load(index: int) -> int:
        step, piece = divmod(index, pieces)
        with lock:
            if step not in begun:
                begun[step] = _nothing(batch_size, view_size)
            batch = begun[step]
        rows = range(
            piece * PIECE, min((piece + 1) * PIECE, batch_size)
        )  # no more: a look-up takes its 8 us
        read(
            wanted(step, rows),
            {name: array[rows.start : rows.stop] for name, array in batch.items()},
        )
        return step

    # grain's default buffers 500 elements: gigabytes.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2 * pieces)
    every = grain.MapDataset.range(steps.start * pieces, steps.stop * pieces).map(load)

    def batches() -> Iterator[Batch]:
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


def _nothing(batch_size: int, view_size: tuple[int, int]) -> Batch:
    return {
        "image": np.zeros((batch_size, *view_size, 3), np.uint8),
        "label": np.zeros(batch_size, np.int32),
        "image_id": np.full(batch_size, -1, np.int64),
    }


def _checked(
    dataset: Dataset,
    split: str,
    batch_size: int,
    view_size: tuple[int, int],
    process_index: int,
    process_count: int,
    threads: int,
) -> int:
    """The size of the split, once the arguments make sense."""
    count = dataset.count(split)
    if batch_size < 1 or min(view_size) < 1 or threads < 0:
        raise ZfjaxError("The batch size and the view must be at least 1, and threads at least 0.")
    if not 0 <= process_index < process_count:
        raise ZfjaxError(f"There is no process {process_index} among {process_count}.")
    return count
