"""Writes a TFDS data set in ArrayRecord without TensorFlow: what the drawn scenes and the importer have in common."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zfjax.files import atomic_path

VERSION = "1.0.0"
SHARD_BYTES = 64 << 20

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@contextlib.contextmanager
def new_folder(data_dir: Path, name: str) -> Iterator[Path]:
    """Yields an empty hidden folder that becomes DATA_DIR/NAME when the block ends well, and vanishes when it fails.

    The caller holds the lock of ``name``, so what a killed process left under such a name is nobody's: it is removed.
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
    class_names: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    encoding: str = "jpeg",
    with_parts: bool = False,
    description: str = "",
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, int]:
    """Streams examples into FOLDER/1.0.0 and returns the number written to each split; splits left empty are dropped.

    An example is a mapping of ``image`` (encoded bytes), ``label`` (int), ``file_name`` (str) and, with ``with_parts``,
    ``parts``: (name, (y0, x0, y1, x1)) with edges as fractions of the image. Record order is the order given. The TFDS
    label names are ``labels`` (default: ``class_names``) made fit for TFDS's file of one name a line; ``class_names``
    themselves are kept unchanged in metadata.json.
    """
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format=encoding),
        "label": tfds.features.ClassLabel(names=_line_names(class_names if labels is None else labels)),
        "file_name": tfds.features.Text(),
    }
    if with_parts:
        features["parts"] = tfds.features.Sequence(
            {"name": tfds.features.Text(), "box": tfds.features.BBoxFeature()}
        )
    features = tfds.features.FeaturesDict(features)
    directory = folder / VERSION
    directory.mkdir()
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, template=_TEMPLATE, dataset_name=name, filetype_suffix="array_record"
    )
    infos = []
    for split, examples in splits.items():
        records = (features.serialize_example(features.encode_example(_tfds_example(example))) for example in examples)
        lengths, size = _write_shards(directory, f"{name}-{split}.array_record", records, shard_bytes)
        if lengths:
            infos.append(tfds.core.SplitInfo(
                name=split, shard_lengths=lengths, num_bytes=size, filename_template=template
            ))
    if infos:
        tfds.folder_dataset.write_metadata(
            data_dir=directory, features=features, split_infos=infos, version=VERSION, check_data=False,
            description=description, metadata=tfds.core.MetadataDict(class_names=list(class_names)),
        )
    return {info.name: sum(info.shard_lengths) for info in infos}


def _tfds_example(example: Mapping[str, Any]) -> dict[str, Any]:
    import tensorflow_datasets as tfds

    encoded = {"image": io.BytesIO(example["image"]), "label": example["label"], "file_name": example["file_name"]}
    if "parts" in example:
        encoded["parts"] = [{"name": part, "box": tfds.features.BBox(*box)} for part, box in example["parts"]]
    return encoded


def _write_shards(directory: Path, stem: str, records: Iterable[bytes], shard_bytes: int) -> tuple[list[int], int]:
    """Writes records to shards of about ``shard_bytes``; returns their lengths and the bytes of all records."""
    from array_record.python.array_record_module import ArrayRecordWriter

    lengths: list[int] = []
    total = in_shard = 0
    writer = None
    try:
        for record in records:
            if writer is None or in_shard >= shard_bytes:
                if writer is not None:
                    writer.close()
                # group_size:1 makes random access read one record, not a group of them
                writer = ArrayRecordWriter(str(directory / f"{stem}.{len(lengths)}"), "group_size:1")
                lengths.append(0)
                in_shard = 0
            writer.write(record)
            lengths[-1] += 1
            in_shard += len(record)
            total += len(record)
    finally:
        if writer is not None:
            writer.close()
    for index in range(len(lengths)):  # only now is the number of shards known
        (directory / f"{stem}.{index}").rename(directory / f"{stem}-{index:05d}-of-{len(lengths):05d}")
    return lengths, total


def _line_names(names: Sequence[str]) -> list[str]:
    """Distinct, printable, stripped names: TFDS keeps one a line and drops blank lines and outer spaces."""
    lines: list[str] = []
    for name in names:
        line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name).strip() or "unnamed"
        same = 1
        while (distinct := line if same == 1 else f"{line} ({same})") in lines:
            same += 1
        lines.append(distinct)
    return lines
