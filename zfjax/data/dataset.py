"""Prepared TFDS data sets: opened, checked, fingerprinted, and read at random. The only file that
touches tfds readers.

A data set is a folder DATA_DIR/NAME/[CONFIG/]VERSION of ArrayRecord shards with TFDS metadata, made
by zfjax or by ``tfds build --file_format=array_record``. TensorFlow is never needed. tfds takes
half a second to import, so it is imported where it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from zfjax.data.finding import dataset_names, newest_version
from zfjax.data.imagenet_labels import check_labels
from zfjax.data.images import (
    MAX_PIXELS,
    Box,
    ImageError,
    TooManyPixels,
    open_image,
    parts_in_view,
    view,
)
from zfjax.data.metadata import builder_from, check_shard, pixel_limit, readable_names
from zfjax.data.slices import slice_count
from zfjax.errors import ZfjaxError, first_line
from zfjax.files import allow_open_files, data_folder

T = TypeVar("T")

_WHOLE_DIGEST_BYTES = 256 << 20  # up to here every byte enters a split's digest (0.2 s)
_DIGEST_BLOCK = 64 << 10
NO_LABEL = -1
"""TFDS's label of an image whose class is not known, as in many test splits."""
LABELS_CHECKED = 64
"""Images of each split of ILSVRC2012 whose label is compared with what their name says."""


@dataclass(frozen=True)
class Example:
    """One image in its evaluation view, with its label: NO_LABEL where the data set does not know
    it.

    ``image`` is uint8 (h, w, 3). ``parts`` are (name, (y0, x0, y1, x1)) in pixels of the view,
    clipped to it, for data sets that know the parts of their objects, else (). ``file_name`` is ""
    where the data set keeps none.
    """

    image: np.ndarray
    label: int
    file_name: str
    image_id: int
    parts: tuple[tuple[str, Box], ...] = ()


class UnreadableImage(ZfjaxError):
    """One record or image is damaged; the rest of the data set may be sound."""


class Record(NamedTuple):
    """An example as it is stored: the image still encoded, ``file_name`` "" where there is none."""

    image: bytes
    label: int
    file_name: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared TFDS data set for image classification; made by ``open_dataset``, which has
    checked its shards.

    ``splits`` maps a split's name to its number of images. ``class_names`` are for people (label i
    is ``class_names[i]``): the readable names given at import, else the TFDS label names.
    ``image_id`` everywhere is the index in the split. Reading is safe from many threads.
    ``processes``: how many shall read beside this one, 0: none. ``max_pixels``: the most that an
    image may have, as at the import.
    """

    name: str
    version: str
    directory: Path
    splits: dict[str, int]
    class_names: tuple[str, ...]
    _builder: Any = field(repr=False)
    processes: int = 0
    max_pixels: int = MAX_PIXELS
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for this data set, by whichever thread asks first, and
        kept as long as it is: open readers, processes, what was said already.
        """
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            return self._kept[key]

    def count(self, split: str) -> int:
        """The number of images in ``split``; raises ZfjaxError for a split that is not there."""
        if split not in self.splits:
            if (sliced := slice_count(self._builder.info.splits, split)) is not None:
                return sliced
            raise ZfjaxError(
                f"Data set {self.name} has no split '{split}'; it has: {', '.join(self.splits)}."
            )
        return self.splits[split]

    def shards(self, split: str) -> list[Path]:
        """The files of ``split``, in the order of their records."""
        self.count(split)
        return [Path(path) for path in self._builder.info.splits[split].filepaths]

    def bytes(self, split: str) -> int:
        """Bytes on disk of ``split``."""
        return sum(shard.stat().st_size for shard in self.shards(split))

    def fingerprint(self, split: str) -> dict[str, Any]:
        """Name, version, split, count and digest: what tells whether a table was made from these
        very images.

        The digest is a sha256 over the shards in order: each one's size and content; in splits
        above 256 MiB, instead of the whole content, its first and last 64 KiB (the last hold the
        index, which has the length of every record). The data set's name is no part of the digest.
        """
        digest = hashlib.sha256()
        whole = self.bytes(split) <= _WHOLE_DIGEST_BYTES
        for shard in self.shards(split):
            size = shard.stat().st_size
            digest.update(f"{size}\n".encode())
            with open(shard, "rb") as handle:
                if whole or size <= 2 * _DIGEST_BLOCK:
                    while block := handle.read(1 << 20):
                        digest.update(block)
                else:
                    digest.update(handle.read(_DIGEST_BLOCK))
                    handle.seek(size - _DIGEST_BLOCK)
                    digest.update(handle.read(_DIGEST_BLOCK))
        return {
            "name": self.name,
            "version": self.version,
            "split": split,
            "count": self.count(split),
            "digest": digest.hexdigest(),
        }

    def read(
        self,
        split: str,
        image_ids: Sequence[int],
        view_size: tuple[int, int],
        *,
        with_parts: bool = True,
    ) -> list[Example]:
        """The examples with these ids, in this order, in the evaluation view of ``view_size`` =
        (height, width).

        ``with_parts=False`` saves the time to place the part boxes in the view. Raises ZfjaxError
        for an id outside the split, and for a record or an image that cannot be read.
        """
        return [
            self._example(split, int(image_id), view_size, with_parts) for image_id in image_ids
        ]

    def describe(self, split: str, image_ids: Sequence[int]) -> list[tuple[int, str]]:
        """(label, file name) of each image, without decoding its pixels. Raises as ``read``."""
        records = (self._record(split, int(image_id)) for image_id in image_ids)
        return [(record.label, record.file_name) for record in records]

    def _source(self, split: str) -> Any:
        """One shared reader a split: a reader keeps a file open for every shard it has met."""
        return self.kept(("source", split), lambda: self._open_source(split))

    def _open_source(self, split: str) -> Any:
        import tensorflow_datasets as tfds

        # Image bytes stay encoded: only zfjax.data.images may hand them to Pillow.
        decoders = {
            name: tfds.decode.SkipDecoding()
            for name, feature in self._builder.info.features.items()
            if isinstance(feature, tfds.features.Image)
        }
        count = self.count(split)
        allow_open_files(sum(len(self.shards(name)) for name in self.splits))
        source = self._builder.as_data_source(split, decoders=decoders)
        if len(source) != count:
            raise ZfjaxError(
                f"Split '{split}' of {self.name} holds {len(source)} images, its metadata says"
                f" {count}; prepare the data set again."
            )
        return source

    def _record(self, split: str, image_id: int) -> Record:
        """The undecoded example. Read by its three fields alone: TFDS's own decoding takes four
        times as long, holding Python's lock, which is what bounds the threads of one process.
        """

        def fields(source: Any) -> Record:
            from tensorflow_datasets.proto import tf_example_pb2

            features = tf_example_pb2.Example.FromString(
                source.data_source[image_id]
            ).features.feature
            name = features["file_name"].bytes_list.value if "file_name" in features else ()
            return Record(
                image=features["image"].bytes_list.value[0],
                label=int(features["label"].int64_list.value[0]),
                file_name=name[0].decode("utf-8", "replace") if name else "",
            )

        return self._sound(split, image_id, fields)

    def _sound(self, split: str, image_id: int, read: Callable[[Any], Any]) -> Any:
        """``read(source)``. Raises ZfjaxError naming the image for an id outside the split and for
        a fault of the disk, UnreadableImage for a damaged record.
        """
        if not 0 <= image_id < self.count(split):
            raise ZfjaxError(
                f"Split '{split}' of {self.name} has no image {image_id}: ids go from 0 to "
                f"{self.count(split) - 1}."
            )
        try:
            return read(self._source(split))
        except ZfjaxError:
            raise
        except Exception as error:
            # array_record raises RuntimeError, a damaged message DecodeError, IndexError, ...
            what = (
                f"Image {image_id} of split '{split}' of {self.name} cannot be read from"
                f" {self.directory}"
            )
            of_array_record = re.search(r"\w+\(\) failed", str(error))
            if isinstance(error, OSError) or of_array_record:
                raise ZfjaxError(
                    f"{what}: {first_line(error)}; is the disk or the network drive sound?"
                ) from error
            raise UnreadableImage(
                f"{what}: the file is damaged ({first_line(error)}); prepare the data set again."
            ) from error

    def _example(
        self, split: str, image_id: int, view_size: tuple[int, int], with_parts: bool
    ) -> Example:
        record = self._record(split, image_id)
        try:
            image = view(record.image, view_size, self.max_pixels)
            parts: tuple[tuple[str, Box], ...] = ()
            if with_parts and "parts" in self._builder.info.features:
                boxes = self._sound(split, image_id, lambda source: source[image_id]["parts"])
                size = open_image(record.image, self.max_pixels).size
                parts = parts_in_view(boxes, size, view_size)
        except ImageError as error:
            limit = f"; the limit is 'max_pixels' in {self.directory / 'metadata.json'}"
            raise UnreadableImage(
                f"Image {image_id} of split '{split}' of {self.name} ({record.file_name}) cannot be"
                f" decoded: {error}{limit if isinstance(error, TooManyPixels) else ''}."
            ) from error
        if record.label != NO_LABEL and not 0 <= record.label < len(self.class_names):
            raise UnreadableImage(
                f"Image {image_id} of split '{split}' of {self.name} ({record.file_name}) has label"
                f" {record.label}; there are {len(self.class_names)} classes."
            )
        return Example(image, record.label, record.file_name, image_id, parts)


def open_dataset(name: str, data_dir: Path | str, processes: int = 0) -> Dataset:
    """Opens DATA_DIR/NAME/[CONFIG/]VERSION, newest version; NAME may be "name", "name/config" or
    "name/1.0.0".

    The set must have been prepared as ArrayRecord (``zfjax data import``, or ``tfds build
    --file_format=array_record``) and hold the features image and label. ``processes``: how many
    shall read it beside this one, when it comes to batches. Every shard's index is read and its
    count compared. Raises ZfjaxError for what is missing, damaged, or of another kind.
    """
    directory = newest_version(name, data_folder(data_dir))
    import tensorflow_datasets as tfds

    builder = builder_from(directory, name)
    features = builder.info.features
    if not (
        isinstance(features, tfds.features.FeaturesDict)
        and isinstance(dict(features.items()).get("image"), tfds.features.Image)
        and isinstance(dict(features.items()).get("label"), tfds.features.ClassLabel)
    ):
        raise ZfjaxError(
            f"Data set {name} in {directory} is not one for image classification: zfjax needs the "
            "features 'image' and 'label'."
        )
    splits = {split: int(info.num_examples) for split, info in builder.info.splits.items()}
    dataset = Dataset(
        name=builder.name + (f"/{builder.info.config_name}" if builder.info.config_name else ""),
        version=str(builder.info.version),
        directory=directory,
        splits=splits,
        class_names=readable_names(builder, features["label"]),
        _builder=builder,
        processes=processes,
        max_pixels=pixel_limit(builder),
    )
    if not sum(splits.values()):
        raise ZfjaxError(f"Data set {name} in {directory} is empty: it holds no image.")
    for split, info in builder.info.splits.items():
        for shard, expected in zip(dataset.shards(split), info.shard_lengths, strict=True):
            check_shard(shard, int(expected))
        check_labels(
            features["label"].names, _some_labels(dataset, split), f"split '{split}' of {directory}"
        )
    return dataset


def _some_labels(dataset: Dataset, split: str) -> Iterator[tuple[int, str]]:
    """(label, file name) of images all over the split; damaged ones and those without a label left
    out.
    """
    count = dataset.count(split)
    for image_id in np.linspace(0, count - 1, min(count, LABELS_CHECKED)).astype(int):
        with contextlib.suppress(UnreadableImage):
            label, file_name = dataset.describe(split, [image_id])[0]
            if label != NO_LABEL:
                yield label, file_name


def list_datasets(
    data_dir: Path | str, on_error: Callable[[ZfjaxError], None] | None = None
) -> list[Dataset]:
    """Opens every data set under ``data_dir``, sorted by name; [] where there is none.

    One that cannot be opened is handed to ``on_error`` as the ZfjaxError that says why, and left
    out; without ``on_error`` the error is raised.
    """
    datasets = []
    for name in dataset_names(data_dir):
        try:
            datasets.append(open_dataset(name, data_dir))
        except ZfjaxError as error:
            if on_error is None:
                raise
            on_error(error)
    return datasets
