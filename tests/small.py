"""A run so small that a test can train it: 16-pixel pictures, two convolutions, three epochs."""

import dataclasses
import os
import signal
from pathlib import Path

from tests.data_helpers import jpeg, make_tree
from zfjax.config import Config, Data, Optimizer
from zfjax.data.importing import import_images
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool

ARCHITECTURE = Architecture(
    "tiny",
    (16, 16),
    (
        Conv("conv1", 6, 5, 2, (2, 2)),
        Pool("pool1", 3, 2, (0, 1)),
        Norm("norm1", alpha=0.3),
        Conv("conv2", 8, 3, 1, (1, 1)),
        Pool("pool2", 3, 2, (0, 1)),
        Dense("fc3", 12, 0.5),
        Dense("fc4", 3),
    ),
)

CLASSES = ("<script>alert(1)</script>", r"$\frac{1}$", "[/b] plain")


def make_data(folder: Path, per_class: int = 12) -> Path:
    """A data set called "small" with hostile class names, split 3 to 1; returns its data folder."""
    names = ("one", "two", "three")
    files = {
        f"{split}/{name}/{index}.jpg": jpeg(
            1000 * place + index + (500 if split == "val" else 0), 20, 24
        )
        for place, name in enumerate(names)
        for split, count in (("train", per_class), ("val", per_class // 3))
        for index in range(count)
    }
    source = make_tree(folder / "source", files)
    (source / "classes.tsv").write_text(
        "".join(f"{name}\t{text}\n" for name, text in zip(names, CLASSES, strict=True))
    )
    import_images(source, "small", folder / "data")
    return folder / "data"


def make_config(data_dir: Path, **changes) -> Config:
    """Three epochs of four steps."""
    config = Config(
        model=ARCHITECTURE,
        data=Data(name="small", dir=str(data_dir), view=18, shift=1, threads=1),
        optimizer=Optimizer(learning_rate=0.05, warmup_epochs=0.5, weight_decay=1e-4),
        epochs=3,
        batch_size=8,
    )
    return dataclasses.replace(config, **changes)


def stop_at(step: int):
    """A progress that sends this process SIGTERM when training has reached ``step``."""

    def progress(stage, done, total, **figures):
        if stage == "training" and done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress
