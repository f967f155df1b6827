"""Images that cannot be read and labels that are not known: what is left out, what is asked, what is refused."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import altered
from tests.small import make_config
from zfjax import checkpoint, drawing, recipe, strongest
from zfjax.data.pipeline import open_dataset
from zfjax.devices import data_mesh
from zfjax.engine import evolve
from zfjax.evaluate import evaluate
from zfjax.files import ZfjaxError
from zfjax.run import load_run, save_run
from zfjax.train import train

BROKEN = {"image": b"no picture at all"}
COUNT = 36
"""Training images of tests/small.py's data set."""


@pytest.fixture(scope="session")
def sound(tmp_path_factory, data_dir):
    """A copy of the small data set, to make others beside it."""
    folder = tmp_path_factory.mktemp("gaps")
    shutil.copytree(data_dir / "small", folder / "small")
    return folder


@pytest.fixture
def run_on(tmp_path, unbroken, sound):
    """``run_on(name, change)``: the small run as if it had been trained on ``small`` as ``change`` alters it; the
    checkpoints are its own. Images that cannot be read are skipped."""

    def make(name, change, on_error="skip"):
        altered(sound, "small", name, change)
        folder = tmp_path / name
        shutil.copytree(unbroken, folder)
        run = load_run(folder)
        data = dataclasses.replace(run.config.data, name=name, dir=str(sound), on_error=on_error)
        fingerprint = open_dataset(name, sound).fingerprint("train")
        save_run(dataclasses.replace(run, config=dataclasses.replace(run.config, data=data), fingerprint=fingerprint))
        return load_run(folder)

    return make


def readable_maxima(run, ids, layer="conv2"):
    """Each map's maximum over each image of ``ids`` after the last epoch: float32 [images, maps]."""
    dataset = open_dataset(run.config.data.name, run.config.data.dir)
    views = np.stack([one.image for one in dataset.read("train", ids, (18, 18))])
    inputs = drawing.preparer(run.config, None)(views)
    parameters = checkpoint.load(run.checkpoints / "12", run.config.model.conv_names)
    found = strongest.image_maxima(parameters, inputs, architecture=run.config.model, layers=(layer,))
    return np.asarray(found[0])


@pytest.mark.parametrize(
    ("name", "unreadable"),
    [
        ("first", {0}), ("last", {COUNT - 1}), ("one_left", {*range(COUNT)} - {7}),
        ("whole_batch", {*range(8), 9}),
    ],
)  # fmt: skip
def test_evolve_leaves_out_what_cannot_be_read(run_on, monkeypatch, name, unreadable):
    monkeypatch.setattr(strongest, "search_batch", lambda architecture: 1)  # times 8 devices
    run = run_on(name, lambda split, number: BROKEN if split == "train" and number in unreadable else {})
    evolution = evolve(run.folder, at=["last"], maps=2, top=2)
    sound_ids = [number for number in range(COUNT) if number not in unreadable]
    maxima = readable_maxima(run, sound_ids)
    for map_, values in enumerate(maxima.T):
        order = np.lexsort((sound_ids, -values))[:2]
        rows = evolution.rows(layer="conv2", map=map_, selection="top")
        assert [row["image_id"] for row in rows] == [sound_ids[place] for place in order if values[place] > 0]
    assert evolution.meta["images"] == COUNT and evolution.meta["unreadable"] == len(unreadable)
    [first] = open_dataset(name, run.config.data.dir).read("train", sound_ids[:1], (18, 18))
    with Image.open(evolution.folder / "example.jpg") as example:
        wanted = recipe.central_crop(first.image, (16, 16)).astype(int)
        assert abs(np.asarray(example, int) - wanted).mean() < 6, "the first image that can be read"


def test_no_readable_image_is_said_before_anything_is_written(run_on):
    run = run_on("start", lambda split, number: BROKEN if split == "train" and number < 2 else {})
    with pytest.raises(ZfjaxError, match="None of the first 2 images of split 'train' of start can be read.*--images"):
        evolve(run.folder, images=2, maps=1)
    assert not run.evolution_folder().exists()
    assert evolve(run.folder, images=3, maps=1, at=["last"]).meta["unreadable"] == 2


def test_splits_without_a_readable_image_are_refused(run_on, tmp_path):
    run = run_on("nothing", lambda split, number: BROKEN)
    dataset = open_dataset("nothing", run.config.data.dir)
    with pytest.raises(ZfjaxError, match="split 'validation' of nothing: none of its 12 images can be read"):
        evaluate(run.config, checkpoint.load(run.checkpoints / "0"), dataset, "validation", data_mesh(8, 1))
    config = dataclasses.replace(make_config(run.config.data.dir), data=run.config.data, recipe="faithful")
    with pytest.raises(ZfjaxError, match="None of the 36 images of split 'train' of nothing can be read"):
        train(config, tmp_path / "faithful", devices=1)
    assert not (tmp_path / "faithful" / "mean_image.npy").exists()
