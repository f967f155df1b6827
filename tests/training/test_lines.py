"""Lines of metrics say what they are, and everybody asks the run for them: also where validation is
called "train"."""

import dataclasses
import json
import os
import signal

import pytest

from tests.reported import Page
from tests.small import make_config
from zfjax.features.evolving import evolve
from zfjax.report import words
from zfjax.report.kit.wording import percent
from zfjax.report.page import write_report
from zfjax.run import folder as runs
from zfjax.run.folder import load_run
from zfjax.run.info import describe_run
from zfjax.run.summary import summary_lines, update_summary
from zfjax.training.interrupts import Interrupted
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


def config_of(data_dir, **data):
    config = make_config(data_dir)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **data))


@pytest.fixture(scope="module")
def on_train(tmp_path_factory, data_dir):
    """Validated on what it was trained on."""
    folder = tmp_path_factory.mktemp("lines") / "run"
    return train(config_of(data_dir, validation_split="train"), folder, devices=1)


@pytest.fixture(scope="module")
def turned(tmp_path_factory, data_dir):
    """Trained on the split "validation", validated on "train": held out, though it is called so."""
    folder = tmp_path_factory.mktemp("turned") / "run"
    swapped = config_of(data_dir, train_split="validation", validation_split="train")
    return train(dataclasses.replace(swapped, epochs=1), folder, devices=1)


def test_each_line_says_what_it_is(on_train, turned, unbroken):
    for run in (on_train, turned, load_run(unbroken)):
        kinds = [
            (line["kind"], line["split"], "learning_rate" in line, "images" in line)
            for line in run.metrics
        ]
        split = run.config.data.validation_split
        assert set(kinds) == {
            ("training", "train", True, False),
            ("evaluation", split, False, True),
        }
        assert [line["step"] for line in run.training_lines] == list(range(1, run.last_step + 1))
        assert [line["step"] for line in run.validation_lines] == list(run.steps)


def test_lines_of_before_are_told_apart(on_train, unbroken):
    for run in (on_train, load_run(unbroken)):
        bare = [
            {name: value for name, value in line.items() if name != "kind"} for line in run.metrics
        ]
        older = dataclasses.replace(run)
        older.__dict__["metrics"] = tuple(bare)
        assert [line["step"] for line in older.training_lines] == [
            line["step"] for line in run.training_lines
        ]
        assert [line["step"] for line in older.validation_lines] == [
            line["step"] for line in run.validation_lines
        ]


def test_accuracy_is_said_to_be_on_what_it_is_on(on_train, turned, unbroken):
    final = on_train.validation_lines[-1]
    summary = update_summary(on_train)
    assert (summary["top1"], summary["held_out"], summary["split"]) == (
        final["top1"],
        False,
        "train",
    )
    said = (
        f"top-1 {final['top1']:.1%}, top-5 100.0% on the training images, in the evaluation view"
        " (chance 33.3%)"
    )
    assert summary_lines(summary)[0] == said
    for run, split in ((turned, "train"), (load_run(unbroken), "validation")):
        said = summary_lines({**update_summary(run), "seconds": {}})
        assert "on held-out images" in said[0]
        assert f"evaluated on split {split}: held-out images" in describe_run(run)
    told = describe_run(on_train)
    assert "evaluated on split train: the training images, in the evaluation view" in told
    assert [line.split()[0] for line in told if line.endswith("100.0%")] == ["0", "1", "2", "3"]
    assert words.final_accuracy(on_train) == final["top1"]


@pytest.mark.usefixtures("spare_of_figures")
def test_the_page_keeps_training_and_evaluation_apart(on_train, turned):
    evolve(on_train.folder, maps=2, top=2, at=["last"])
    text = write_report(on_train).read_text(encoding="utf-8")
    page, said = Page(text), " ".join(text.split())
    final = on_train.validation_lines[-1]["top1"]
    assert page.data["accuracy"] == [final]
    assert "The curve above is accuracy on the training images, in the evaluation view" in said
    assert f"<span>{percent(final)} top-1 (train, evaluation view)</span>" in text
    assert said.count('<span class="main">train, evaluation view</span>') == 3
    assert words.validation_images(turned) == "train images"
    assert words.validation_split(turned) == "train, evaluation view", (
        "no curve like that of the training batches"
    )
    evolution = evolve(turned.folder, maps=2, top=2, at=["last"])
    assert words.searched(evolution) == "12 training images", (
        "those it was trained on, whatever the split is called"
    )


def test_a_resumed_run_writes_the_validation_that_is_still_to_come(tmp_path, data_dir, on_train):
    signalled = []

    def at_the_second_epoch(stage, done, total, **figures):
        if stage == "training" and done == 8 and "loss" in figures and not signalled:
            signalled.append(
                os.kill(os.getpid(), signal.SIGTERM)
            )  # obeyed by the validation that follows

    config, folder = config_of(data_dir, validation_split="train"), tmp_path / "run"
    with pytest.raises(Interrupted, match="at step 8 of 12"):
        train(config, folder, progress=at_the_second_epoch, devices=1)
    path = folder / "metrics.jsonl"
    late = {
        "step": 8,
        "epoch": 2.0,
        "split": "train",
        "kind": "evaluation",
        "loss": 9.0,
        "top1": 0.0,
        "top5": 0.0,
    }
    path.write_text(path.read_text() + json.dumps(late) + "\n")
    train(config, folder, devices=1)
    speeds = ("images_per_second", "data_wait")

    def bare(run):
        return [{k: v for k, v in line.items() if k not in speeds} for line in run.metrics]

    assert bare(load_run(folder)) == bare(on_train)


def test_tensorboard_has_a_curve_for_each_kind(monkeypatch, on_train):
    from zfjax.training import records

    drawn = []
    monkeypatch.setattr(records, "append_metrics", lambda path, line: None)
    for split in ("train", "validation"):
        data = dataclasses.replace(on_train.config.data, validation_split=split)
        kept = records.Records(
            dataclasses.replace(on_train, config=dataclasses.replace(on_train.config, data=data))
        )
        kept._board = type(
            "Board", (), {"scalars": lambda board, step, source, figures: drawn.append(source)}
        )()
        for kind in (runs.TRAINING, runs.EVALUATION):
            kept.log(1, kind, loss=1.0)
    assert drawn == ["train", "train-evaluation", "train", "validation"]
