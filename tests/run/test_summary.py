"""summary.json tells of the run as it is: never one epoch's purity beside another's accuracy,
seconds of all starts."""

import dataclasses
import json
import shutil

import pytest

from tests.small import make_config, stop_at
from zfjax.commands.cli import main
from zfjax.features import searching, strongest
from zfjax.features.evolving import evolve
from zfjax.features.statistics import load_pass, save_pass
from zfjax.files import read_json, write_json
from zfjax.run.folder import load_run
from zfjax.run.summary import summary_lines, update_summary
from zfjax.training.interrupts import Interrupted
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evolved(tmp_path_factory, unbroken):
    """The small run with its evolution, of all epochs and layers."""
    folder = tmp_path_factory.mktemp("summary") / "run"
    shutil.copytree(unbroken, folder)
    evolve(folder, maps=2, top=3)
    return folder


@pytest.fixture
def copied(tmp_path, evolved):
    """A copy without the evolution and the summary."""
    shutil.copytree(
        evolved, tmp_path / "run", ignore=shutil.ignore_patterns("evolution", "summary.json")
    )
    return tmp_path / "run"


def test_a_whole_evolution_is_summed_up(evolved):
    run = load_run(evolved)
    evolution = run.evolution()
    summary = update_summary(run, evolution)
    told = {"step": 12, "epoch": 3.0, "layers": ["conv1", "conv2"], "split": "train", "images": 36}
    assert summary["evolution"] == told
    assert summary["purity"] == {
        layer: evolution.meta["purity"][layer][-1] for layer in ("conv1", "conv2")
    }
    dead = sum(
        sum(
            not evolution.rows(step=12, layer=layer, map=map_, selection="top")
            for map_ in range(maps)
        )
        for layer, maps in (("conv1", 6), ("conv2", 8))
    )
    assert summary["dead_share"] == pytest.approx(dead / 14)
    assert summary["top1"] == run.validation_lines[-1]["top1"] and summary["epoch"] == 3
    assert read_json(evolved / "summary.json") == summary


@pytest.mark.parametrize(
    "part",
    [
        ["--at", "0"],
        ["--layers", "conv1"],
        ["--at", "1", "2", "--layers", "conv2"],
        ["--name", "mine"],
        ["--name", "mine", "--at", "0"],
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_an_evolution_of_a_part_leaves_the_summary_alone(copied, evolved, capsys, part, known):
    run = load_run(copied)
    update_summary(run, load_run(evolved).evolution() if known else None)
    before = (copied / "summary.json").read_bytes()
    assert main(["evolve", "--workdir", str(copied), "--maps", "2", "--top", "3", *part]) == 0
    assert (copied / "summary.json").read_bytes() == before
    evolution = load_run(copied).evolution("mine" if "--name" in part else None)
    told = capsys.readouterr().out.splitlines()
    purity = ", ".join(
        f"{layer} {evolution.meta['purity'][layer][-1]:.2f}" for layer in evolution.layers
    )
    assert (
        told[0]
        == f"at epoch {evolution.epochs[-1]:g}, class purity of the strongest images: {purity}"
    )
    assert ("purity" in update_summary(run, evolution)) == known


def test_a_later_epoch_takes_an_older_evolutions_numbers_out(copied, evolved):
    run = load_run(copied)
    update_summary(run, load_run(evolved).evolution(), report=3.0)
    path = copied / "metrics.jsonl"
    shutil.copytree(copied / "checkpoints" / "12", copied / "checkpoints" / "16")
    line = {**run.validation_lines[-1], "step": 16, "epoch": 4.0, "top1": 0.875}
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    summary = update_summary(load_run(copied))
    assert (summary["top1"], summary["epoch"]) == (0.875, 4.0)
    assert not {"purity", "dead_share", "evolution"} & set(summary) and summary["seconds"] == {}
    older = {
        "top1": 0.5,
        "epoch": 3.0,
        "purity": {"conv1": 1.0},
        "dead_share": 0.0,
        "seconds": {"train": 2.0},
    }
    write_json(copied / "summary.json", older)
    assert "purity" not in update_summary(load_run(copied)), (
        "as zfjax 0.1.0 wrote it: of epoch 3, beside epoch 4"
    )


def test_a_summary_of_before_that_is_of_another_epoch_or_of_some_layers_is_taken_out(
    copied, evolved
):
    """zfjax 0.1.0 wrote any evolution's numbers there, and not whose they were."""
    run = load_run(copied)
    figures = {"top1": 0.5, "epoch": 3.0, "dead_share": 0.0, "seconds": {"train": 2.0}}
    whole = {"conv1": 1.0, "conv2": 0.5}
    for steps, purity, stays in (
        ([0], whole, False),
        ([0, 12], {"conv1": 1.0}, False),
        ([0, 12], whole, True),
    ):
        write_json(copied / "evolution" / "meta.json", {"complete": True, "steps": steps})
        write_json(copied / "summary.json", {**figures, "purity": purity})
        assert ("purity" in update_summary(run)) == stays


def test_a_validation_labelled_in_part_says_of_how_many_it_speaks(copied):
    run, path = load_run(copied), copied / "metrics.jsonl"
    line = {**run.validation_lines[-1], "images": 1, "unlabelled": 11, "top1": 0.0}
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    summary = update_summary(load_run(copied))
    assert (summary["images"], summary["unlabelled"]) == (1, 11)
    assert "top-1 0.0%" in summary_lines(summary)[0]
    assert "on the 1 of 12 held-out images that have a label (chance" in summary_lines(summary)[0]


def test_train_seconds_are_those_of_all_starts(tmp_path, data_dir, monkeypatch):
    folder, config = tmp_path / "run", make_config(data_dir)

    def seconds():
        return read_json(folder / "summary.json")["seconds"]["train"]

    with pytest.raises(Interrupted):
        train(config, folder, progress=stop_at(6), devices=1)
    first = seconds()
    assert first > 0

    class Killed(BaseException):
        """As SIGKILL: nothing is written after it."""

    def killed_in_the_last_epoch(stage, done, total, **figures):
        if stage == "training" and done == 10:
            raise Killed

    write_json(folder / "summary.json", {"seconds": {"train": first + 1000, "report": 7.0}})
    with pytest.raises(Killed):
        train(config, folder, progress=killed_in_the_last_epoch, devices=1)
    second = seconds()
    assert first + 1000 < second < first + 1300, "up to the state of epoch 2, though it was killed"
    run = train(config, folder, devices=1)
    third = seconds()
    assert second < third < second + 300
    train(config, folder, devices=1)
    assert seconds() == third, "a finished run takes no time"
    assert update_summary(run)["seconds"]["train"] == third
    assert f"seconds: train {third:g}" in summary_lines(update_summary(run))


def test_search_seconds_are_those_of_all_starts_of_the_pass(copied, monkeypatch):
    monkeypatch.setattr(strongest, "search_batch", lambda network: 1)
    monkeypatch.setattr(searching, "SAVE_SECONDS", -1.0)

    class Killed(Exception):
        pass

    def killed(stage, done, total, **figures):
        if stage == "searching" and done > 8:
            raise Killed

    with pytest.raises(Killed):
        evolve(copied, maps=2, top=3, progress=killed)
    path = copied / "evolution" / "search.npz"
    saved = load_pass(path)
    assert saved.asked == read_json(copied / "evolution" / "meta.json")["asked"]
    assert saved.seen == 8 and 0 < saved.seconds < 300
    save_pass(path, dataclasses.replace(saved, seconds=5000.0))
    seconds = evolve(copied, maps=2, top=3).meta["seconds"]
    assert 5000 < seconds["search"] < 5300 and 0 < seconds["projection"] < 300
