"""Writes record.tar.gz: a data set, a run of two checkpoints and a finished evolution, as zfjax
wrote them on 2026-11-26 (commit 5b3513f). What later versions write may differ; this must stay
readable, so it is not made again.

    python tests/golden/make_record.py
No name of a machine, a user or a folder is in it: the data's folder is taken out of config.json.
"""

import json
import tarfile
import tempfile
from pathlib import Path

from tests.data_helpers import jpeg, make_tree
from tests.small import CLASSES, make_config

ASKED = {"maps": 3, "top": 2}
"""What the evolution was asked for, beside the defaults."""


def write_record(target: Path) -> None:
    """Trains for one epoch of four steps, evolves, and packs RUN and DATA."""
    from zfjax.data.importing import import_images
    from zfjax.features.evolving import evolve
    from zfjax.training.loop import train

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = ("one", "two", "three")
        files = {
            f"{split}/{name}/{number}.jpg": jpeg(100 * index + 10 * number + len(split), 20, 24)
            for split, count in (("train", 12), ("val", 3))
            for index, name in enumerate(names)
            for number in range(count)
        }
        source = make_tree(root / "source", files)
        (source / "classes.tsv").write_text(
            "".join(f"{name}\t{text}\n" for name, text in zip(names, CLASSES, strict=True))
        )
        import_images(source, "small", root / "data")
        train(make_config(root / "data", epochs=1), root / "run", devices=1)
        evolve(root / "run", **ASKED)
        record = json.loads((root / "run" / "config.json").read_text())
        record["config"]["data"]["dir"] = ""
        (root / "run" / "config.json").write_text(json.dumps(record, indent=2) + "\n")
        for note in root.glob("run/checkpoints/*/commit_success.txt"):  # names the folder it was in
            note.write_text("Checkpoint commit was successful.")

        def bare(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            left_out = ("run/resume", "run/.lock", "data/.small.lock")
            return None if member.name.startswith(left_out) else member

        with tarfile.open(target, "w:gz", compresslevel=9) as archive:
            for name in ("data", "run"):
                archive.add(root / name, name, filter=bare)


if __name__ == "__main__":
    write_record(Path(__file__).parent / "record.tar.gz")
