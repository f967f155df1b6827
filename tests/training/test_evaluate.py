"""Error rates from one crop and from ten; parameters spread over devices; records that cannot be
read.
"""

import dataclasses
import resource

import jax
import numpy as np
import pytest

from tests.small import make_config
from zfjax.commands import information
from zfjax.commands.cli import main
from zfjax.data.dataset import open_dataset
from zfjax.data.pipeline import evaluation_batches, pixel_sums, training_batches
from zfjax.data.reading import Reading
from zfjax.devices import data_mesh, sharding_of
from zfjax.errors import ZfjaxError
from zfjax.files import allow_open_files
from zfjax.inputs import preparation_of
from zfjax.network.model import class_scores
from zfjax.run import checkpoint
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of
from zfjax.training.evaluation import Batching, evaluate
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


def test_ten_views_average_probabilities(unbroken, data_dir, capsys):
    run = load_run(unbroken)
    parameters = checkpoint.load(run.checkpoints / "12")
    dataset = open_dataset("small", data_dir)
    subject = subject_of(run, images_of(run.config, dataset, "validation"))
    examples = dataset.read(
        "validation", range(dataset.count("validation")), (18, 18), with_parts=False
    )
    views, labels = (
        np.array([getattr(one, name) for one in examples]) for name in ("image", "label")
    )
    crops = [
        preparation_of(run.config).one_of_ten(jax.numpy.asarray(views), None, index)
        for index in range(10)
    ]
    scores = [class_scores(run.config.model, parameters, crop) for crop in crops]
    shares = np.mean([jax.nn.softmax(crop_scores) for crop_scores in scores], axis=0)
    expected = {
        "loss": -np.log(shares[np.arange(len(labels)), labels]).mean(),
        "top1": (shares.argmax(1) == labels).mean(),
    }
    found = evaluate(subject, parameters, Batching(data_mesh(8, 1), 8), views=10)
    assert (
        found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        and found["top1"] == expected["top1"]
    )
    mesh = data_mesh(8, min(8, len(jax.devices())))  # more devices than images a part
    again = evaluate(subject, parameters, Batching(mesh, 8, parts=2), views=10)
    assert (
        again["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        and again["top1"] == expected["top1"]
    )
    assert (
        main(
            [
                "evaluate",
                "--workdir",
                str(unbroken),
                "--at",
                "last",
                "--views",
                "10",
                "--devices",
                "1",
            ]
        )
        == 0
    )
    assert "mean probability of ten crops" in capsys.readouterr().out
    assert main(["evaluate", "--workdir", str(unbroken), "--views", "7"]) == 1
    assert "--views 7" in capsys.readouterr().err


def test_a_device_whose_memory_is_full_is_said(monkeypatch, capsys):
    monkeypatch.setattr(information, "show_info", lambda options: jax.numpy.zeros(2**44).sum())
    assert main(["info"]) == 1
    told = capsys.readouterr().err
    assert (
        told.startswith("zfjax: A device's memory is full (RESOURCE_EXHAUSTED")
        and "--batch-size" in told
    )
    assert told.count("\n") == 1
    monkeypatch.setattr(information, "show_info", lambda options: 1 / 0)
    assert main(["info"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err, "a fault of ours shows where it lies"


def test_parameters_spread_over_devices_train_alike(tmp_path, data_dir, unbroken, monkeypatch):
    if len(jax.devices()) < 8:
        pytest.skip("needs the 8 fake devices of conftest.py")
    monkeypatch.setattr("zfjax.devices.SHARDED_FROM", 100)
    mesh = data_mesh(8)
    leaf = np.zeros((3, 3, 8, 24))
    assert sharding_of(mesh, leaf, True).spec == jax.sharding.PartitionSpec(
        None, None, None, "batch"
    )
    for whole in (sharding_of(mesh, leaf, False), sharding_of(mesh, leaf[0, 0, 0], True)):
        assert whole.is_fully_replicated
    train(make_config(data_dir), tmp_path, devices=8, shard_parameters=True)
    runs = load_run(unbroken), load_run(tmp_path)
    np.testing.assert_allclose(*[[line["loss"] for line in run.metrics] for run in runs], rtol=1e-4)
    trees = [checkpoint.leaf_paths(checkpoint.load(run.checkpoints / "12")) for run in runs]
    for name, one in trees[0].items():
        np.testing.assert_allclose(one, trees[1][name], rtol=1e-3, atol=1e-5)


def test_a_bad_record_is_named_and_fails_or_is_skipped(tmp_path, with_a_bad_record, capfd):
    dataset = open_dataset("bad", with_a_bad_record)
    config = dataclasses.replace(make_config(with_a_bad_record), epochs=1)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, name="bad"))
    with pytest.raises(ZfjaxError, match="Image 2 of split 'validation' of bad"):
        train(config, tmp_path / "fails", devices=1)
    skips = dataclasses.replace(config, data=dataclasses.replace(config.data, on_error="skip"))
    run = train(skips, tmp_path / "skips", devices=1)
    assert run.steps == (0, 3)
    told = capfd.readouterr().err
    assert (
        told.count("Image 5 of split 'train' of bad") == 1
        and told.count("Image 2 of split 'validation'") == 1
    )
    reading = Reading((18, 18), threads=0, on_error="skip")
    [batch] = evaluation_batches(dataset, "validation", reading, batch_size=6)
    assert batch["weight"].tolist() == [1, 1, 0, 1, 1, 1] and batch["image_id"][2] == -1
    seen = []
    batches = training_batches(dataset, "train", reading, batch_size=6, seed=0)
    for _, batch in zip(range(4), batches, strict=False):
        seen += batch["image_id"].tolist()
    assert sorted(seen) == sorted([*(n for n in range(24) if n != 5), 6]), (
        "its neighbour takes its place"
    )
    sums, images = pixel_sums(dataset, "train", reading)
    views = [dataset.read("train", [n], (18, 18))[0].image for n in range(24) if n != 5]
    assert images == 23 and np.array_equal(sums, np.sum(views, axis=0, dtype=np.int64))


def test_a_fault_of_the_disk_is_no_bad_record(data_dir, monkeypatch):
    dataset = open_dataset("small", data_dir)

    class Failing:
        def __getitem__(self, image_id):
            raise RuntimeError("open() failed: Too many open files; reading /data/small-00003")

    monkeypatch.setattr(dataset._source("train"), "data_source", Failing(), raising=False)
    with pytest.raises(
        ZfjaxError, match="Too many open files.*is the disk or the network drive sound"
    ):
        reading = Reading((18, 18), threads=0, on_error="skip")
        next(evaluation_batches(dataset, "train", reading, batch_size=4))


def test_many_files_may_be_open():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
        allow_open_files(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 600
        allow_open_files(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 812
        with pytest.raises(ZfjaxError, match="ulimit -n"):
            allow_open_files(2**62)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
