"""Decoding rate behind `zfjax info --images-per-second`: JPEG bytes to a 224-pixel evaluation view, per core-second.

Command:   .venv/bin/python experiments/benchmarks/decode.py FOLDER_OR_TAR_OF_JPEGS
"""

import sys
import tarfile
import time
from pathlib import Path

from zfjax.data.images import view


def main(source: Path) -> None:
    if source.is_dir():
        images = [path.read_bytes() for path in sorted(source.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]
    else:
        with tarfile.open(source) as archive:
            images = [archive.extractfile(member).read() for member in archive if member.isfile()]
    images = [data for data in images if data[:2] == b"\xff\xd8"]
    best = float("inf")
    for _ in range(3):
        clock = time.process_time()
        for data in images:
            view(data, (224, 224))
        best = min(best, time.process_time() - clock)
    print(f"{len(images)} images, {len(images) / best:.0f} a core-second (best of 3)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
