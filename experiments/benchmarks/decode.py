"""Decoding rate behind `zfjax info --images-per-second`: JPEG bytes to a 224-pixel evaluation view,
per core-second.

With a number of pixels it stores them first as `zfjax data import` of ILSVRC2012 does: that shorter
side, quality 90.

Command:   .venv/bin/python experiments/benchmarks/decode.py FOLDER_OR_TAR_OF_JPEGS [256]
"""

import sys
import tarfile
import time
from pathlib import Path

from zfjax.data.converting import stored_form
from zfjax.data.images import view


def main(source: Path, stored: int | None = None) -> None:
    if source.is_dir():
        images = [
            path.read_bytes()
            for path in sorted(source.rglob("*"))
            if path.suffix.lower() in (".jpg", ".jpeg")
        ]
    else:
        with tarfile.open(source) as archive:
            images = [archive.extractfile(member).read() for member in archive if member.isfile()]
    images = [data for data in images if data[:2] == b"\xff\xd8"]
    if stored is not None:
        images = [stored_form(data, stored, 90)[0] for data in images]
    best = float("inf")
    for _ in range(3):
        clock = time.process_time()
        for data in images:
            view(data, (224, 224))
        best = min(best, time.process_time() - clock)
    print(f"{len(images)} images, {len(images) / best:.0f} a core-second (best of 3)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
