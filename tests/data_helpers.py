"""Small pictures, trees, tars and data sets for the tests of zfjax/data."""

import io
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from zfjax.data import writing
from zfjax.data.dataset import open_dataset


def picture(number: int, height: int = 40, width: int = 40) -> Image.Image:
    """A smooth random picture, so that JPEG and resampling change it little."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(number: int, height: int = 40, width: int = 40) -> bytes:
    return encoded(picture(number, height, width), quality=95)


def make_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def make_tar(
    path: Path, files: dict[str, bytes], mode: str = "w", folders: tuple[str, ...] = ()
) -> Path:
    with tarfile.open(path, mode) as archive:
        for name in folders:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def stop_when_there(
    code: str, *arguments: Path, folder: Path, pattern: str, how: Callable[[subprocess.Popen], None]
) -> tuple[int, str]:
    """Runs Python ``code`` in a session of its own until ``folder`` holds files of ``pattern``, and
    does ``how`` to it then. Returns its exit status and standard error, once no process of the
    session is left (ten seconds at most)."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for _ in range(1000):
        if process.poll() is not None or list(folder.glob(pattern)):
            break
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be stopped"
    how(process)
    said = process.communicate(timeout=10)[1]
    for _ in range(100):
        if not members(process.pid):
            return process.returncode, said
        time.sleep(0.1)
    raise AssertionError("a process outlived the one that started it")


def members(session: int) -> list[int]:
    """The processes of a session."""
    found = subprocess.run(
        ["pgrep", "-s", str(session)], capture_output=True, text=True, check=False
    ).stdout
    return [int(one) for one in found.split()]


def kill_when_there(code: str, *arguments: Path, folder: Path, pattern: str) -> None:
    """As ``stop_when_there``, with SIGKILL."""
    stop = {"folder": folder, "pattern": pattern, "how": subprocess.Popen.kill}
    assert stop_when_there(code, *arguments, **stop)[0] == -signal.SIGKILL


def make_dataset(
    root: Path, name: str = "tiny", train: int = 23, validation: int = 7, shard_bytes: int = 4000
) -> Path:
    """A data set of random pictures in many small shards; label = number % 3."""

    def examples(split: str, count: int):
        for number in range(count):
            yield {"image": jpeg(number), "label": number % 3, "file_name": f"{split}/{number}.jpg"}

    with writing.new_folder(root, name) as folder:
        writing.write_dataset(
            folder,
            name,
            {"train": examples("train", train), "validation": examples("validation", validation)},
            writing.About(["ant", "bee", "<b>cat</b>"]),
            shard_bytes=shard_bytes,
        )
    return root


def altered(data_dir: Path, source: str, name: str, change: Callable[[str, int], dict]) -> Path:
    """Data set ``name``: ``source`` with the fields of each example that ``change(split, number)``
    gives (image, label) in the place of its own."""
    sound = open_dataset(source, data_dir)

    def examples(split: str):
        for number in range(sound.count(split)):
            record = sound._record(split, number)
            own = {"image": record.image, "label": record.label, "file_name": record.file_name}
            yield {**own, **change(split, number)}

    with writing.new_folder(data_dir, name) as target:
        splits = {split: examples(split) for split in sound.splits}
        writing.write_dataset(target, name, splits, writing.About(sound.class_names))
    return data_dir
