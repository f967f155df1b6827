"""Images that cannot be read and labels that are not known: what is left out, what is asked, what
is refused."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.data_helpers import altered
from tests.reported import Page
from tests.small import make_config
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.data.pipeline import training_batches
from zfjax.data.reading import Reading
from zfjax.devices import data_mesh
from zfjax.errors import ZfjaxError
from zfjax.features import strongest
from zfjax.features.evolving import evolve
from zfjax.features.projecting import project
from zfjax.inputs import central_crop, preparation_of
from zfjax.network.model import class_scores
from zfjax.report.page import write_report
from zfjax.run import checkpoint
from zfjax.run.folder import load_run, save_run
from zfjax.subject import images_of, subject_of
from zfjax.training.evaluation import Batching, evaluate
from zfjax.training.loop import train

pytestmark = pytest.mark.slow

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
    """``run_on(name, change)``: the small run as if it had been trained on ``small`` as ``change``
    alters it; the checkpoints are its own. Images that cannot be read are skipped."""

    def make(name, change, on_error="skip"):
        altered(sound, "small", name, change)
        folder = tmp_path / name
        shutil.copytree(unbroken, folder)
        run = load_run(folder)
        data = dataclasses.replace(run.config.data, name=name, dir=str(sound), on_error=on_error)
        fingerprint = open_dataset(name, sound).fingerprint("train")
        save_run(
            dataclasses.replace(
                run, config=dataclasses.replace(run.config, data=data), fingerprint=fingerprint
            )
        )
        return load_run(folder)

    return make


def readable_maxima(run, ids, layer="conv2"):
    """Each map's maximum over each image of ``ids`` after the last epoch: float32 [images,
    maps]."""
    dataset = open_dataset(run.config.data.name, run.config.data.dir)
    views = np.stack([one.image for one in dataset.read("train", ids, (18, 18))])
    subject = subject_of(run)
    parameters = checkpoint.load(run.checkpoints / "12", run.config.model.conv_names)
    found = strongest.image_maxima(
        parameters, subject.prepare(views), network=subject.network, layers=(layer,)
    )
    return np.asarray(found[0])


@pytest.mark.parametrize(
    ("name", "unreadable"),
    [
        ("first", {0}),
        ("last", {COUNT - 1}),
        ("one_left", {*range(COUNT)} - {7}),
        ("whole_batch", {*range(8), 9}),
    ],
)
def test_evolve_leaves_out_what_cannot_be_read(run_on, monkeypatch, name, unreadable):
    monkeypatch.setattr(strongest, "search_batch", lambda network: 1)  # times 8 devices
    run = run_on(
        name, lambda split, number: BROKEN if split == "train" and number in unreadable else {}
    )
    evolution = evolve(run.folder, at=["last"], maps=2, top=2)
    sound_ids = [number for number in range(COUNT) if number not in unreadable]
    maxima = readable_maxima(run, sound_ids)
    for map_, values in enumerate(maxima.T):
        order = np.lexsort((sound_ids, -values))[:2]
        rows = evolution.rows(layer="conv2", map=map_, selection="top")
        assert [row["image_id"] for row in rows] == [
            sound_ids[place] for place in order if values[place] > 0
        ]
    assert evolution.meta["images"] == COUNT and evolution.meta["unreadable"] == len(unreadable)
    [first] = open_dataset(name, run.config.data.dir).read("train", sound_ids[:1], (18, 18))
    with Image.open(evolution.folder / "example.jpg") as example:
        wanted = central_crop(first.image, (16, 16)).astype(int)
        assert abs(np.asarray(example, int) - wanted).mean() < 6, "the first image that can be read"


def test_no_readable_image_is_said_before_anything_is_written(run_on):
    run = run_on("start", lambda split, number: BROKEN if split == "train" and number < 2 else {})
    with pytest.raises(
        ZfjaxError,
        match="None of the first 2 images of split 'train' of start can be read.*--images",
    ):
        evolve(run.folder, images=2, maps=1)
    assert not run.evolution_folder().exists()
    assert evolve(run.folder, images=3, maps=1, at=["last"]).meta["unreadable"] == 2


def test_splits_without_a_readable_image_are_refused(run_on, tmp_path):
    run = run_on("nothing", lambda split, number: BROKEN)
    dataset = open_dataset("nothing", run.config.data.dir)
    with pytest.raises(
        ZfjaxError, match="split 'validation' of nothing: none of its 12 images can be read"
    ):
        evaluate(
            subject_of(run, images_of(run.config, dataset, "validation")),
            checkpoint.load(run.checkpoints / "0"),
            Batching(data_mesh(8, 1), 8),
        )
    config = dataclasses.replace(
        make_config(run.config.data.dir), data=run.config.data, recipe="faithful"
    )
    with pytest.raises(
        ZfjaxError, match="None of the 36 images of split 'train' of nothing can be read"
    ):
        train(config, tmp_path / "faithful", devices=1)
    assert not (tmp_path / "faithful" / "mean_image.npy").exists()


# ---- labels that are not known


def unknown(*splits, first=0):
    """A change that takes the labels of these splits away, but for those of the ``first``
    images."""
    return lambda split, number: {"label": -1} if split in splits and number >= first else {}


def test_evolve_project_and_report_need_no_labels(run_on, capsys):
    run = run_on("unknown", unknown("validation"))
    labelled = run_on("known", unknown())
    options = {"split": "validation", "maps": 2, "top": 3, "at": ["0", "last"]}
    evolution, other = evolve(run.folder, **options), evolve(labelled.folder, **options)

    def drop(table):
        return table.drop_columns(["label", "label_name"])

    assert drop(evolution.units) == drop(other.units), "labels change nothing else"
    assert (
        evolution.units["label"].null_count
        == evolution.units["label_name"].null_count
        == len(evolution.units)
    )
    assert evolution.meta["purity"] == {"conv1": [None, None], "conv2": [None, None]}
    assert other.units["label"].null_count == 0 and other.meta["purity"]["conv2"][-1] > 0
    assert len(project(run.folder, 3, "conv2", 1, split="validation", at=["last"])) == 1
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    maps = [map_ for layer in page.data["layers"] for map_ in layer["maps"]]
    assert {label for map_ in maps for labels in map_["labels"] for label in labels} == {None}
    assert page.data["labels"] == [] and all(
        frame["label"] is None for map_ in maps for frame in map_["best"]
    )
    assert "n/a → n/a" in text
    assert (
        main(
            [
                "evolve",
                "--workdir",
                str(run.folder),
                "--split",
                "validation",
                "--maps",
                "2",
                "--top",
                "3",
                "--at",
                "0",
                "last",
            ]
        )
        == 0
    )
    assert "conv1 -, conv2 -" in capsys.readouterr().out


def test_evaluate_and_train_say_that_a_split_has_no_labels(run_on, tmp_path, capsys):
    run = run_on("unlabelled", unknown("train", "validation"))
    assert main(["evaluate", "--workdir", str(run.folder)]) == 1
    told = capsys.readouterr()
    assert told.err.startswith(
        "zfjax: Split 'validation' of unlabelled has no labels (all its images are marked -1"
    )
    assert "evaluation needs them" in told.err and not told.out and told.err.count("\n") == 1
    base = make_config(run.config.data.dir)
    run_on("half", unknown("validation"))
    for name, split in (("unlabelled", "train"), ("half", "validation")):
        config = dataclasses.replace(base, data=dataclasses.replace(run.config.data, name=name))
        with pytest.raises(ZfjaxError, match=f"Split '{split}' of {name} has no labels"):
            train(config, tmp_path / name / "new", devices=1)
        assert not (tmp_path / name / "new" / "config.json").exists()


def test_images_without_a_label_are_not_counted(run_on, unbroken, capsys):
    run = run_on("some", unknown("train", "validation", first=7))
    dataset = open_dataset("some", run.config.data.dir)
    parameters = checkpoint.load(run.checkpoints / "12")
    subject = subject_of(run, images_of(run.config, dataset, "validation"))
    found = evaluate(subject, parameters, Batching(data_mesh(8, 1), 8))
    examples = dataset.read("validation", range(7), (18, 18))
    inputs = preparation_of(run.config).inputs(np.stack([one.image for one in examples]), None)
    scores = np.asarray(class_scores(run.config.model, parameters, inputs))
    assert found["top1"] == np.mean(scores.argmax(1) == [one.label for one in examples])
    assert (found["images"], found["unlabelled"]) == (7, 5)
    assert main(["evaluate", "--workdir", str(run.folder), "--at", "last"]) == 0
    assert "of 7 of the 12 images: 5 have no label" in capsys.readouterr().out
    evolution = evolve(run.folder, maps=2, top=3, at=["last"])
    rows = evolution.rows(selection="top", layer="conv1")
    assert {row["label"] is None for row in rows} == {True, False}
    assert all(
        (row["label"] is None) == (row["label_name"] is None) == (row["image_id"] >= 7)
        for row in rows
    )
    shares = []
    for map_ in range(6):
        known = [row["label"] for row in rows if row["map"] == map_ and row["label"] is not None]
        shares += [max(map(known.count, known)) / len(known)] if known else []
    assert evolution.meta["purity"]["conv1"] == [pytest.approx(np.mean(shares))]
    options, reading = {"batch_size": 36, "seed": 0}, Reading((18, 18), threads=0)
    with pytest.raises(
        ZfjaxError, match=r"of split 'train' of some \(.*\) has no label .*--data.on-error skip"
    ):
        next(training_batches(dataset, "train", reading, **options))
    skipping = dataclasses.replace(reading, on_error="skip")
    batch = next(training_batches(dataset, "train", skipping, **options))
    assert set(batch["image_id"].tolist()) == set(range(7)) and batch["label"].min() >= 0
    assert "Image 30 of split 'train' of some" in capsys.readouterr().err


def test_a_label_beyond_the_classes_stays_a_fault_of_its_image(run_on):
    run = run_on("wrong", lambda split, number: {}, on_error="fail")
    dataset = open_dataset("wrong", run.config.data.dir)
    record = dataset._record("train", 4)
    for label in (3, -2):
        dataset.__dict__["_record"] = lambda split, number, label=label: record._replace(
            label=label
        )
        with pytest.raises(ZfjaxError, match=f"has label {label}; there are 3 classes"):
            dataset.read("train", [4], (18, 18))
