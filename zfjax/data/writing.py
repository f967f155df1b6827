"""Writes a TFDS data set in ArrayRecord without TensorFlow: what the drawn scenes and the importer
have in common.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zfjax.errors import escaped
from zfjax.files import atomic_path

VERSION = "1.0.0"
SHARD_BYTES = 64 << 20

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclass(frozen=True)
class About:
    """What a data set says of itself, and how its images are encoded.

    ``class_names`` are for people and kept unchanged in metadata.json, beside them ``metadata``,
    JSON values. The TFDS label names are ``labels`` (None: ``class_names``) made fit for TFDS's
    file of one name a line. ``with_parts``: examples name the parts of their objects.
    """

    class_names: Sequence[str]
    labels: Sequence[str] | None = None
    encoding: str = "jpeg"
    with_parts: bool = False
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def new_folder(data_dir: Path, name: str) -> Iterator[Path]:
    """Yields an empty hidden folder that becomes DATA_DIR/NAME when the block ends well, and
    vanishes when it fails.

    The caller holds the lock of ``name``, so what a killed process left under such a name is
    nobody's: it is removed.
    """
    for stale in data_dir.glob(f".{name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    with atomic_path(data_dir / name) as temporary:
        temporary.mkdir()
        yield temporary


def write_dataset(
    folder: Path,
    name: str,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    about: About,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, int]:
    """Streams examples into FOLDER/1.0.0 and returns the number written to each split; splits left
    empty are dropped.

    An example is a mapping of ``image`` (encoded bytes), ``label`` (int), ``file_name`` (str) and,
    with ``about.with_parts``, ``parts``: (name, (y0, x0, y1, x1)) with edges as fractions of the
    image. Record order is the order given.
    """
    features = image_features(about)
    directory = folder / VERSION
    directory.mkdir()
    shards = {}
    for split, examples in splits.items():
        records = (record(features, example) for example in examples)
        lengths, size = _write_shards(
            directory, f"{name}-{split}.array_record", records, shard_bytes
        )
        if lengths:
            shards[split] = lengths, size
    if shards:
        write_metadata(directory, name, features, shards, about)
    return {split: sum(lengths) for split, (lengths, _) in shards.items()}


def image_features(about: About) -> Any:
    """The TFDS features of a set for image classification, as TFDS's own have them."""
    import tensorflow_datasets as tfds

    labels = about.class_names if about.labels is None else about.labels
    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format=about.encoding),
        "label": tfds.features.ClassLabel(names=_line_names(labels)),
        "file_name": tfds.features.Text(),
    }
    if about.with_parts:
        features["parts"] = tfds.features.Sequence(
            {"name": tfds.features.Text(), "box": tfds.features.BBoxFeature()}
        )
    return tfds.features.FeaturesDict(features)


def record(features: Any, example: Mapping[str, Any]) -> bytes:
    """An example, as ``write_dataset`` takes it, in the bytes that are stored: the same in every
    process.

    TFDS serialises the features in the order of a map that differs from process to process, hence
    the second time.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    encoded = {
        "image": io.BytesIO(example["image"]),
        "label": example["label"],
        "file_name": example["file_name"],
    }
    if "parts" in example:
        encoded["parts"] = [
            {"name": part_name, "box": tfds.features.BBox(*box)}
            for part_name, box in example["parts"]
        ]
    message = tf_example_pb2.Example.FromString(
        features.serialize_example(features.encode_example(encoded))
    )
    return message.SerializeToString(deterministic=True)


def write_metadata(
    directory: Path,
    name: str,
    features: Any,
    shards: Mapping[str, tuple[Sequence[int], int]],
    about: About,
) -> None:
    """Makes DIRECTORY's shards a TFDS data set. ``shards``: {split: (records of each shard, bytes
    of all records)}.
    """
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, template=_TEMPLATE, dataset_name=name, filetype_suffix="array_record"
    )
    infos = [
        tfds.core.SplitInfo(
            name=split, shard_lengths=list(lengths), num_bytes=size, filename_template=template
        )
        for split, (lengths, size) in shards.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=features,
        split_infos=infos,
        version=VERSION,
        check_data=False,
        description=about.description,
        metadata=tfds.core.MetadataDict(class_names=list(about.class_names), **about.metadata),
    )


def shard_name(name: str, split: str, index: int, count: int) -> str:
    """The file name of one shard, as TFDS's template has it."""
    return f"{name}-{split}.array_record-{index:05d}-of-{count:05d}"


def write_shard(path: Path, records: Iterable[bytes]) -> None:
    """Writes one shard. Raises OSError for a full disk and its like, which ArrayRecord calls
    RuntimeError.
    """
    with _as_os_errors(path):
        writer = _open_writer(path)
        try:
            for stored in records:
                writer.write(stored)
        finally:
            writer.close()


def _open_writer(path: Path) -> Any:
    """A writer of records; ``group_size:1`` makes random access read one record, not a group of
    them.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    return ArrayRecordWriter(str(path), "group_size:1")


@contextlib.contextmanager
def _as_os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
        code = next((code for code in codes if os.strerror(code) in str(error)), None)
        if code is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from None


def _write_shards(
    directory: Path, stem: str, records: Iterable[bytes], shard_bytes: int
) -> tuple[list[int], int]:
    """Writes records to shards of about ``shard_bytes``; returns their lengths and the bytes of all
    records.
    """
    lengths: list[int] = []
    total = in_shard = 0
    writer = None
    with _as_os_errors(directory / stem):
        try:
            for stored in records:
                if writer is None or in_shard >= shard_bytes:
                    if writer is not None:
                        writer.close()
                    writer = _open_writer(directory / f"{stem}.{len(lengths)}")
                    lengths.append(0)
                    in_shard = 0
                writer.write(stored)
                lengths[-1] += 1
                in_shard += len(stored)
                total += len(stored)
        finally:
            if writer is not None:
                writer.close()
    name, split = stem.removesuffix(".array_record").rsplit("-", 1)
    for index in range(len(lengths)):  # only now is the number of shards known
        (directory / f"{stem}.{index}").rename(
            directory / shard_name(name, split, index, len(lengths))
        )
    return lengths, total


def _line_names(names: Sequence[str]) -> list[str]:
    """Distinct, printable, stripped names: TFDS keeps one a line and drops blank lines and outer
    spaces.
    """
    lines: list[str] = []
    for name in names:
        line = escaped(name).strip() or "unnamed"
        same = 1
        while (distinct := line if same == 1 else f"{line} ({same})") in lines:
            same += 1
        lines.append(distinct)
    return lines
