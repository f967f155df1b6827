"""What TFDS keeps beside a data set's images: its metadata and its shards' indices, checked before
they are trusted. tfds is imported where it is used: it takes half a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zfjax.data.images import MAX_PIXELS
from zfjax.errors import ZfjaxError, first_line
from zfjax.files import read_json


def builder_from(directory: Path, name: str) -> Any:
    """The TFDS builder, once its metadata is known to be whole and its format to be ArrayRecord."""
    metadata = directory / "dataset_info.json"
    if not metadata.is_file():
        raise ZfjaxError(f"{directory} holds no prepared data set: dataset_info.json is missing.")
    info = read_json(metadata)
    file_format = info.get("fileFormat", "tfrecord") if isinstance(info, dict) else None
    if isinstance(info, dict) and file_format != "array_record":
        raise ZfjaxError(
            f"Data set {name} in {directory} is stored as {file_format}; zfjax reads ArrayRecord:"
            " prepare it again with 'tfds build --file_format=array_record'."
        )
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(directory)
        builder.info.metadata.load_metadata_if_needed()
    except (
        Exception
    ) as error:  # json, protobuf, key and value errors, according to the file that is damaged
        raise ZfjaxError(
            f"The metadata of data set {name} in {directory} is damaged ({first_line(error)});"
            " prepare the data set again."
        ) from error
    return builder


def readable_names(builder: Any, label_feature: Any) -> tuple[str, ...]:
    """Readable names from metadata.json where the importer left them; TFDS's label names
    otherwise.
    """
    labels = tuple(
        str(label_feature.int2str(index)) for index in range(label_feature.num_classes or 0)
    )
    readable = dict(builder.info.metadata or {}).get("class_names")
    if isinstance(readable, list) and len(readable) == len(labels):
        labels = tuple(str(name) for name in readable)
    # JSON can say half a letter, which no file and no page can hold.
    return tuple(name.encode("utf-8", "backslashreplace").decode() for name in labels)


def pixel_limit(builder: Any) -> int:
    """The pixel limit under which the set was imported; the default for one that records none."""
    recorded = dict(builder.info.metadata or {}).get("max_pixels")
    return recorded if type(recorded) is int and recorded > 0 else MAX_PIXELS


def check_shard(shard: Path, expected: int) -> None:
    """Reads the index of one shard, which sits at its end: a cut file fails here, not an hour into
    a run.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    mend = "prepare the data set again"
    if not shard.is_file():
        raise ZfjaxError(f"The data file {shard} is missing; {mend}.")
    try:
        reader = ArrayRecordReader(str(shard), options="readahead_buffer_size:0")
        healthy, records = reader.ok(), reader.num_records()
        reader.close()
    except RuntimeError as error:
        raise ZfjaxError(
            f"The data file {shard} is damaged ({first_line(error)}); {mend}."
        ) from error
    if not healthy or records != expected:
        raise ZfjaxError(
            f"The data file {shard} is damaged or cut short ({records} of {expected} records);"
            f" {mend}."
        )
