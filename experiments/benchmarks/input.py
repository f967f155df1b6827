"""Images a second from JPEG to batches of pixels, against the bare decoder, tf.data and a PyTorch
DataLoader.

All make the same evaluation view: the shorter side antialiased to ``--view`` pixels, the middle
kept. zfjax reads its ArrayRecord data set through grain with as many threads as there are cores,
and with as many processes; the bare decoder is the same Pillow calls on bytes in memory, in as many
threads; tf.data and the DataLoader read files, with as many workers. The views are compared first.
``--stored 256`` measures the set as ``zfjax data import --size 256`` leaves it. ``--ceiling``
instead measures training batches of 8 x 8 pixels, whose decoding costs next to nothing: what one
process can do at most, whatever the number of cores.

Command:   python experiments/benchmarks/input.py [--tar PHOTOS.tar] [--stored 256] [--tiny]
[--ceiling]"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import networks
import numpy as np
import peers
from harness import Contender, installed, interleave, machine, print_ratio
from PIL import Image

BATCH = 128
EVERY = 8
"""Rows and columns of which one enters the sums that are compared: of all pixels they take a
quarter of the time."""


def summed(pixels: np.ndarray) -> np.ndarray:
    """A sum for each colour over some pixels of a batch, in integers, so that the order does not
    matter."""
    return pixels[:, ::EVERY, ::EVERY].sum(axis=(0, 1, 2), dtype=np.int64)


def jpegs(tar: str | None, count: int) -> list[bytes]:
    """Photographs of a tar, or drawn pictures of ImageNet's usual size, again and again up to
    ``count``."""
    if tar is not None:
        with tarfile.open(tar) as archive:
            some = [
                archive.extractfile(one).read()
                for one in archive
                if one.isfile() and one.name.endswith(".JPEG")
            ]
    else:
        some = []
        for seed in range(32):
            buffer = io.BytesIO()
            Image.fromarray(networks.pictures(1, 480, seed)[0][:384]).save(
                buffer, "JPEG", quality=95
            )
            some.append(buffer.getvalue())
    return [some[index % len(some)] for index in range(count)]


def make(folder: str, tar: str | None, count: int, stored: int | None) -> Callable[[], int]:
    """Files in FOLDER/tree, the same as a data set in FOLDER/data; returns the bytes of all
    files."""

    def work() -> int:
        from zfjax.data.converting import stored_form
        from zfjax.data.importing import import_images

        total = 0
        for index, data in enumerate(jpegs(tar, count)):
            if stored is not None:
                data, _, _ = stored_form(data, stored, 90)
            path = Path(folder) / "tree" / "train" / f"class{index % 10}" / f"{index:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            total += len(data)
        if not (Path(folder) / "data").exists():
            import_images(Path(folder) / "tree", "pictures", Path(folder) / "data")
        return total

    return work


def _files(folder: str) -> list[Path]:
    return sorted((Path(folder) / "tree").rglob("*.jpg"))


def zfjax_input(
    folder: str, view: int, threads: int, processes: int = 0
) -> Callable[[], np.ndarray]:
    """evaluation_batches over the whole set: as in training, which would read beyond it, but for
    the order."""
    from zfjax.data.dataset import open_dataset
    from zfjax.data.pipeline import evaluation_batches
    from zfjax.data.reading import Reading

    dataset = open_dataset("pictures", Path(folder) / "data", processes)

    def work() -> np.ndarray:
        total = np.zeros(3)
        for batch in evaluation_batches(
            dataset, "train", Reading((view, view), threads), batch_size=BATCH
        ):
            total += summed(batch["image"])
        return total

    return work


def ceiling(cores: int) -> None:
    """Prints what threads and processes do with images that cost nothing to decode."""
    from zfjax.data.dataset import open_dataset
    from zfjax.data.importing import import_images
    from zfjax.data.pipeline import training_batches
    from zfjax.data.reading import Reading

    with tempfile.TemporaryDirectory() as folder:
        for index in range(1000):
            path = Path(folder) / "tree" / "train" / f"class{index % 10}" / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(
                np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
            ).save(path)
        import_images(Path(folder) / "tree", "pictures", Path(folder) / "data")
        for threads, processes in (
            (1, 0),
            (2, 0),
            (4, 0),
            *((0, count) for count in range(1, cores + 1)),
        ):
            dataset = open_dataset("pictures", Path(folder) / "data", processes)
            best = 0.0
            for _ in range(3):
                batches = training_batches(
                    dataset, "train", Reading((8, 8), threads), batch_size=512, seed=0
                )
                next(batches)
                clock = time.perf_counter()
                for _ in range(12):
                    next(batches)
                best = max(best, 12 * 512 / (time.perf_counter() - clock))
                batches.close()
            print(
                f"  {threads} threads, {processes} processes: {best:.0f} images a second (best"
                " of 3)"
            )


def bare_decoder(folder: str, view: int, threads: int) -> Callable[[], np.ndarray]:
    """The decoder alone, bytes in memory."""
    from zfjax.data.images import view as decoded

    data = [path.read_bytes() for path in _files(folder)]
    pool = ThreadPoolExecutor(threads)

    def work() -> np.ndarray:
        return sum(pool.map(lambda one: summed(decoded(one, (view, view))[None]), data))

    return work


class _Photographs:
    """A map-style data set as PyTorch wants it."""

    def __init__(self, files: list[Path], view: int):
        self.files, self.view = files, view

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        import torch

        with Image.open(self.files[index]) as image:
            image = image.convert("RGB")
            scale = self.view / min(image.size)
            size = [max(self.view, round(side * scale)) for side in image.size]
            image = image.resize(size, Image.Resampling.BILINEAR)
            left, top = ((side - self.view) // 2 for side in image.size)
            return torch.from_numpy(
                np.array(image.crop((left, top, left + self.view, top + self.view)))
            )


def torch_input(folder: str, view: int, threads: int) -> Callable[[], np.ndarray]:
    """A DataLoader over files, with worker processes that live on between rounds."""
    from torch.utils.data import DataLoader

    multiprocessing.current_process()._config["daemon"] = (
        False  # a contender is one, and may have no workers
    )
    loader = DataLoader(
        _Photographs(_files(folder), view), BATCH, num_workers=threads, persistent_workers=True
    )

    def work() -> np.ndarray:
        return sum(summed(batch.numpy()) for batch in loader)

    return work


def tf_input(folder: str, view: int, threads: int) -> Callable[[], np.ndarray]:
    """tf.data over files, antialiased as the others are."""
    import tensorflow as tf

    def load(path: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE")
        shape = tf.cast(tf.shape(image)[:2], tf.float32)
        size = tf.maximum(view, tf.cast(tf.round(shape * view / tf.reduce_min(shape)), tf.int32))
        image = tf.image.resize(image, size, antialias=True)
        top, left = (size[0] - view) // 2, (size[1] - view) // 2
        return tf.cast(
            tf.clip_by_value(tf.round(image[top : top + view, left : left + view]), 0, 255),
            tf.uint8,
        )

    files = [str(path) for path in _files(folder)]
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    dataset = tf.data.Dataset.from_tensor_slices(files).map(load, threads).batch(BATCH).prefetch(2)
    dataset = dataset.with_options(options)

    def work() -> np.ndarray:
        return sum(summed(batch) for batch in dataset.as_numpy_iterator())

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tar", default=None, help="a tar of JPEGs (default: drawn pictures of 480 x 384)"
    )
    parser.add_argument(
        "--stored", type=int, default=None, help="pixels of the shorter side as stored"
    )
    parser.add_argument("--view", type=int, default=224)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="few images and rounds: under a minute")
    parser.add_argument("--ceiling", action="store_true", help="images that cost nothing to decode")
    options = parser.parse_args()
    if options.ceiling:
        print(machine())
        return ceiling(len(os.sched_getaffinity(0)))
    if options.tiny:
        options.images, options.rounds = 128, 2
    threads = len(os.sched_getaffinity(0))
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        source = {"tar": options.tar, "count": options.images, "stored": options.stored}
        maker = Contender("maker", make, folder=folder, **source)
        size = maker.output / options.images / 1000
        print(f"{options.images} JPEGs of {size:.0f} kB, views of {options.view} pixels")
        maker.close()
        common = {"folder": folder, "view": options.view, "threads": threads}
        rows = [
            Contender("zfjax", zfjax_input, **common),
            Contender("the bare decoder", bare_decoder, **common),
            Contender("zfjax, processes", zfjax_input, **common, processes=threads),
        ]
        for name, builder, needs in (
            ("PyTorch DataLoader", torch_input, peers.HAVE_TORCH),
            ("tf.data", tf_input, ("tensorflow",)),
        ):
            if installed(*needs):
                rows.append(Contender(name, builder, **common))
            else:
                print(f"skipped: {name}, {needs[0]} is not installed")
        interleave(rows, options.rounds)
        pixels = options.images * len(range(0, options.view, EVERY)) ** 2
        for one in rows:
            off = np.abs(one.output - rows[0].output).max() / pixels
            print(
                f"  {one.name:<20}{options.images / one.median:>8.0f} images a second, "
                f"{options.images / one.median / threads:.0f} a core; mean pixel off by {off:.2f}"
            )
        print_ratio(rows[0], rows[1], "zfjax's share of the bare decoder's speed")
        for one in rows[2:]:
            print_ratio(rows[0], one, f"zfjax against {one.name}")
        for one in rows:
            one.close()


if __name__ == "__main__":
    main()
