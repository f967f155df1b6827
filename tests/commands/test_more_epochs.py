"""A run that is given more epochs, and its evolution after it: the same as if all had been asked
for at once.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.small import make_config, stop_at
from tests.training.test_processes import finish, start
from tests.training.test_train import assert_same_run
from zfjax import config as configs
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.features.evolving import evolve
from zfjax.features.growing import EARLIER
from zfjax.network.altered import without
from zfjax.report.kit.wording import percent
from zfjax.report.page import write_report
from zfjax.run import checkpoint
from zfjax.run.evolution import UNITS_SCHEMA
from zfjax.run.folder import load_run, save_run
from zfjax.run.steps import saved_steps
from zfjax.run.summary import read_summary, update_summary
from zfjax.training.loop import Interrupted, train

pytestmark = pytest.mark.slow

ASKED = {"maps": 3, "top": 4}


def config_of(data_dir, epochs, schedule="plateau", **changes):
    """One whose rate is divided before and after the third epoch, with early steps."""
    optimizer = dataclasses.replace(
        make_config(data_dir).optimizer, schedule=schedule, patience=1, warmup_epochs=1.5
    )
    return make_config(data_dir, epochs=epochs, snapshots=2, optimizer=optimizer, **changes)


@pytest.fixture(scope="module")
def at_once(tmp_path_factory, data_dir):
    """Five epochs and their evolution, asked for at once."""
    folder = tmp_path_factory.mktemp("once") / "run"
    train(config_of(data_dir, 5), folder, devices=1)
    evolve(folder, **ASKED)
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory, data_dir):
    """Three epochs of the same, and their evolution: to copy."""
    folder = tmp_path_factory.mktemp("short") / "run"
    train(config_of(data_dir, 3), folder, devices=1)
    update_summary(load_run(folder), evolve(folder, **ASKED))
    return folder


@pytest.fixture
def grown(tmp_path, short):
    return shutil.copytree(short, tmp_path / "run")


def states(folder):
    return {
        step: checkpoint.load(load_run(folder).resume / str(step))
        for step in saved_steps(load_run(folder).resume)
    }


def assert_same_states(one, other):
    first, second = states(one), states(other)
    assert first.keys() == second.keys() and first
    for step, stored in first.items():
        leaves = checkpoint.leaf_paths(stored), checkpoint.leaf_paths(second[step])
        assert leaves[0].keys() == leaves[1].keys()
        assert all(np.array_equal(leaves[0][name], leaves[1][name]) for name in leaves[0])


def assert_same_evolutions(one, other):
    """Equal tables, tiles, histograms, filters, and meta but for times."""
    first, second = (load_run(folder).evolution() for folder in (one, other))
    assert first.units.equals(second.units) and first.units.num_rows > 300
    assert set(first.units.column_names) == set(UNITS_SCHEMA.names)
    for layer in first.layers:
        np.testing.assert_array_equal(first.histogram(layer), second.histogram(layer))
        for step in first.steps:
            tiles = first.tiles(layer, step), second.tiles(layer, step)
            assert tiles[0].keys() == tiles[1].keys()
            for key, tile in tiles[0].items():
                np.testing.assert_array_equal(tile.projection, tiles[1][key].projection)
                np.testing.assert_array_equal(tile.patch, tiles[1][key].patch)
    metas = [
        {
            name: value
            for name, value in evolution.meta.items()
            if name not in ("seconds", "created")
        }
        for evolution in (first, second)
    ]
    assert metas[0] == metas[1]
    files = [
        {path.relative_to(folder) for path in (folder / "evolution").rglob("*")}
        for folder in (one, other)
    ]
    assert files[0] == files[1], "nothing is left over"


@pytest.mark.usefixtures("spare_of_figures")
def test_more_epochs_and_their_evolution_are_those_of_a_run_asked_at_once(
    grown, data_dir, at_once, capsys
):
    seconds = read_summary(load_run(grown))["seconds"]["train"]
    assert main(["train", "--workdir", str(grown), "--epochs", "5", "--devices", "1"]) == 0
    assert_same_run(at_once, grown)
    assert_same_states(at_once, grown)
    run = load_run(grown)
    assert run.config == load_run(at_once).config and len(run.starts) == 2
    summary = read_summary(run)
    assert summary["epoch"] == 5 and "purity" not in summary, "the evolution ends at epoch 3"
    assert summary["seconds"]["train"] > seconds
    rates = [line["learning_rate"] for line in run.training_lines]
    assert rates[-1] < 0.2 * max(rates), "the plateau's state counts"
    page = write_report(run).read_text()
    assert "training went on from epoch 3 to 5, which" in page, "of what is drawn, and of no more"
    [third] = [line["top1"] for line in run.validation_lines if line["epoch"] == 3]
    assert f"{percent(third)} top-1" in page and "3 epochs" in page
    searched = []

    def progress(stage, done, total, **figures):
        searched.append((stage, done))

    evolution = evolve(grown, **ASKED, progress=progress)
    told = capsys.readouterr()
    assert "takes 2 more saved epochs beside its 6" in told.err and "drawn again" in told.err
    assert ("searching", 36) in searched
    assert_same_evolutions(at_once, grown)
    update_summary(run, evolution)
    assert read_summary(run)["evolution"]["epoch"] == 5
    page = write_report(run).read_text()
    assert "5 epochs" in page and "training went on" not in page


def test_only_the_new_steps_are_searched(grown, data_dir, at_once, monkeypatch):
    train(config_of(data_dir, 5), grown, devices=1)
    from zfjax.features import searching

    honest, asked = searching.pass_over, []

    def pass_over(subject, route, *rest, **options):
        asked.append(route.steps)
        return honest(subject, route, *rest, **options)

    monkeypatch.setattr(searching, "pass_over", pass_over)
    evolve(grown, **ASKED)
    assert asked == [(16, 20)]
    assert_same_evolutions(at_once, grown)


def test_steps_in_between_are_taken_too(grown, at_once):
    """Jumps are from step to step: a step in between changes those after it."""
    evolve(grown, **ASKED, at=["0", "3"], name="few")
    evolve(grown, **ASKED, at=["0", "1", "2", "3", "step:1"], name="few")
    evolve(grown, **ASKED, at=["0", "1", "2", "3", "step:1"], name="once")
    first, second = (load_run(grown).evolution(name) for name in ("few", "once"))
    assert first.units.equals(second.units)


def test_a_growth_that_was_stopped_goes_on_and_keeps_what_was_known(
    grown, data_dir, at_once, monkeypatch
):
    train(config_of(data_dir, 5), grown, devices=1)

    def stop(stage, done, total, **figures):
        if stage == "projecting":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve(grown, **ASKED, progress=stop)
    assert (grown / "evolution" / EARLIER).exists()
    with pytest.raises(ZfjaxError, match="not finished"):
        load_run(grown).evolution()
    evolve(grown, **ASKED)
    assert_same_evolutions(at_once, grown)


@pytest.mark.parametrize("lost", ["histograms.npz", "units.parquet"])
def test_what_is_lost_of_the_finished_one_is_searched_again(grown, data_dir, at_once, lost):
    train(config_of(data_dir, 5), grown, devices=1)
    (grown / "evolution" / lost).unlink()
    evolve(grown, **ASKED)
    assert_same_evolutions(at_once, grown)


def test_other_settings_and_fewer_steps_stay_refused(grown, data_dir):
    with pytest.raises(ZfjaxError, match=r"other settings \(steps\)"):
        evolve(grown, **ASKED, at=["0", "1"])
    train(config_of(data_dir, 4), grown, devices=1)
    with pytest.raises(ZfjaxError, match=r"other settings \(steps, top\)"):
        evolve(grown, maps=3, top=5)
    assert load_run(grown).evolution().steps[-1] == 12, "left as it was"


def test_an_unfinished_run_may_be_given_more_and_stopped_again(tmp_path, data_dir, at_once):
    for epochs, step in ((2, 5), (3, 11), (5, 18)):
        with pytest.raises(Interrupted):
            train(config_of(data_dir, epochs), tmp_path, devices=1, progress=stop_at(step))
        assert load_run(tmp_path).config.epochs == epochs
    train(config_of(data_dir, 5), tmp_path, devices=1)
    assert_same_run(at_once, tmp_path)


@pytest.mark.parametrize("count", [2])
def test_several_processes_give_it_more(grown, tmp_path, data_dir, at_once, count):
    finish(start(count, "train", "--workdir", grown, "--epochs", "5"))
    one, other = load_run(grown), load_run(at_once)
    assert one.steps == other.steps and one.config == other.config
    losses = [[line["loss"] for line in run.metrics] for run in (one, other)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    finish(start(count, "evolve", "--workdir", grown, "--maps", "3", "--top", "4"))
    assert one.evolution().steps == one.steps
    shutil.rmtree(grown / "evolution")
    evolve(grown, **ASKED)
    again = load_run(grown).evolution()
    assert again.units.equals(one.evolution().units)


def test_it_is_drawn_between_epochs_as_well(grown, data_dir, at_once):
    flags = ["--evolve-every", "2", "--evolve-images", "20", "--devices", "1"]
    assert main(["train", "--workdir", str(grown), "--epochs", "5", *flags]) == 0
    assert_same_run(at_once, grown)
    assert load_run(grown).evolution("live").steps[-1] == 16


# ---- what is refused, and what is finished


def as_scheduled(folder, schedule):
    run = load_run(folder)
    optimizer = dataclasses.replace(run.config.optimizer, schedule=schedule)
    save_run(dataclasses.replace(run, config=dataclasses.replace(run.config, optimizer=optimizer)))


def test_a_schedule_that_ends_with_the_epochs_and_fewer_epochs_are_refused(grown, data_dir, capsys):
    before = (grown / "config.json").read_bytes()
    with pytest.raises(ZfjaxError, match=r"run of 3 epochs, and epochs 3 -> 2 would take some"):
        train(config_of(data_dir, 2), grown, devices=1)
    with pytest.raises(ZfjaxError, match=r"other settings \(epochs 3 -> 5; seed 0 -> 1\)"):
        train(config_of(data_dir, 5, seed=1), grown, devices=1)
    assert (grown / "config.json").read_bytes() == before
    as_scheduled(grown, "cosine")
    with pytest.raises(
        ZfjaxError, match=r"more epochs \(3 -> 5\): its optimizer.schedule 'cosine'"
    ):
        train(config_of(data_dir, 5, "cosine"), grown, devices=1)
    assert main(["train", "--workdir", str(grown), "--epochs", "5"]) == 1
    assert "'cosine' sets every rate by the number of epochs" in capsys.readouterr().err
    assert load_run(grown).config.epochs == 3


def test_a_constant_schedule_takes_more(grown, data_dir):
    as_scheduled(grown, "constant")
    assert train(config_of(data_dir, 4, "constant"), grown, devices=1).steps[-1] == 16


def test_a_finished_run_without_states_is_finished_and_takes_no_more(grown, data_dir, capsys):
    shutil.rmtree(grown / "resume")
    before = (grown / "config.json").read_bytes(), (grown / "metrics.jsonl").read_bytes()
    assert main(["train", "--workdir", str(grown), "--devices", "1"]) == 0
    assert "is finished: epoch 3 of 3 is saved" in capsys.readouterr().out
    assert main(["train", "--workdir", str(grown), "--epochs", "5", "--devices", "1"]) == 1
    told = capsys.readouterr().err
    assert "is finished at epoch 3 and cannot be given more (3 -> 5)" in told
    assert "holds no state to go on from" in told and "Traceback" not in told
    assert before == ((grown / "config.json").read_bytes(), (grown / "metrics.jsonl").read_bytes())


def test_a_run_whose_only_states_are_damaged_stays_finished(grown, data_dir, capsys):
    for path in (grown / "resume").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(b"nothing")
    with pytest.raises(ZfjaxError, match="no sound state to go on from"):
        train(config_of(data_dir, 5), grown, devices=1)
    assert json.loads((grown / "config.json").read_text())["config"]["epochs"] == 3
    train(config_of(data_dir, 3), grown, devices=1)
    assert configs.from_json(json.loads((grown / "config.json").read_text())).epochs == 3


def test_an_unfinished_run_without_states_is_not_finished(grown, data_dir):
    shutil.rmtree(grown / "resume")
    shutil.rmtree(grown / "checkpoints" / "12")
    with pytest.raises(ZfjaxError, match="parameters up to epoch 2 are saved"):
        train(config_of(data_dir, 3), grown, devices=1)


@pytest.mark.parametrize("lost", ["", "resume", "checkpoints"])
def test_states_of_another_network_are_not_taken_over(grown, data_dir, capsys, lost):
    """config.json is gone, and the folder is begun anew with another network."""
    (grown / "config.json").unlink()
    if lost:
        shutil.rmtree(grown / lost)
    before = {root: saved_steps(grown / root) for root in ("checkpoints", "resume")}
    config = config_of(data_dir, 3)
    for model, differing in (
        (config.model.replace("conv2", maps=9), "conv2/"),
        (config.model.replace("conv1", kernel=3, padding=(1, 1)), "conv1/kernel"),
        (without(config.model, ["fc3"]), "fc"),
    ):
        with pytest.raises(ZfjaxError, match=f"of another network: {differing}"):
            train(dataclasses.replace(config, model=model), grown, devices=1)
        assert not (grown / "config.json").exists()
    assert {root: saved_steps(grown / root) for root in before} == before


def test_a_run_that_has_lost_its_config_alone_goes_on_from_its_states(grown, data_dir, at_once):
    (grown / "config.json").unlink()
    train(config_of(data_dir, 5), grown, devices=1)
    assert_same_run(grown, at_once)


def test_a_config_of_another_network_is_told_from_its_states(grown, data_dir):
    """The record says another network than the states hold."""
    run = load_run(grown)
    model = run.config.model.replace("conv2", maps=9)
    save_run(dataclasses.replace(run, config=dataclasses.replace(run.config, model=model)))
    with pytest.raises(ZfjaxError, match=r"another network than config.json's: parameters/conv2/"):
        train(config_of(data_dir, 5, model=model), grown, devices=1)
