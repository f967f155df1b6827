"""Writes begun.tar.gz: a data set, a run that was stopped at step 6 of 12, and the parameters that
it would have ended with, as zfjax wrote and computed them on 2026-11-26 (commit 100d474), when a
layer's first weights and dropout followed from its place among the layers. Such a run must go on as
it began, so it is not made again.

    python tests/golden/make_begun.py
"""

import json
import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from tests.small import make_config, make_data, stop_at


def write_begun(target: Path) -> None:
    """Trains in two folders, one of them up to step 6, and packs what is needed to compare."""
    from zfjax.run import checkpoint
    from zfjax.training.interrupts import Interrupted
    from zfjax.training.loop import train

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.move(make_data(root / "made"), root / "data")
        config = make_config(root / "data")
        whole = train(config, root / "whole", devices=1)
        after = checkpoint.leaf_paths(checkpoint.load(whole.checkpoints / "12"))
        np.savez(root / "after.npz", **after)
        try:
            train(config, root / "run", progress=stop_at(6), devices=1)
        except Interrupted:
            pass
        record = json.loads((root / "run" / "config.json").read_text())
        record["config"]["data"]["dir"] = ""
        (root / "run" / "config.json").write_text(json.dumps(record, indent=2) + "\n")
        for note in root.glob("run/*/*/commit_success.txt"):  # names the folder it was in
            note.write_text("Checkpoint commit was successful.")

        def bare(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            return None if member.name.startswith(("run/.lock", "data/.small.lock")) else member

        with tarfile.open(target, "w:gz", compresslevel=9) as archive:
            for name in ("data", "run", "after.npz"):
                archive.add(root / name, name, filter=bare)


if __name__ == "__main__":
    write_begun(Path(__file__).parent / "begun.tar.gz")
