"""Several runs as one classifier, against the mean of their softmax outputs taken by hand."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small import make_config
from zfjax.commands.cli import main
from zfjax.devices import data_mesh
from zfjax.errors import ZfjaxError
from zfjax.network.model import class_scores
from zfjax.run.folder import load_run, save_run
from zfjax.training.ensembles import evaluate_together, members_of, steps_together
from zfjax.training.evaluation import Batching, evaluate
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def others(tmp_path_factory, data_dir):
    """A run of another seed, and one of a smaller input in a smaller view."""
    folder = tmp_path_factory.mktemp("others")
    config = dataclasses.replace(make_config(data_dir), epochs=3, seed=1)
    train(config, folder / "seed", devices=1)
    small = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, name="smaller", input_size=(14, 14)),
        data=dataclasses.replace(config.data, view=15),
        batch_size=12,
        epochs=1,
    )
    train(small, folder / "smaller", devices=1)
    return folder / "seed", folder / "smaller"


@pytest.fixture(scope="module")
def runs(unbroken, others):
    return [load_run(folder) for folder in (unbroken, *others)]


def shares_of(member, step, views):
    parameters = member.subject.parameters(step, whole=True)
    pictures = jnp.asarray(member.images.views(range(member.images.count)))
    model, preparation = member.run.config.model, member.subject.preparation
    if views == 1:
        inputs = [preparation.inputs(pictures, None)]
    else:
        inputs = [preparation.one_of_ten(pictures, None, index) for index in range(10)]
    scores = [np.asarray(class_scores(model, parameters, each), np.float64) for each in inputs]
    return np.mean([np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) for s in scores], axis=0)


@pytest.mark.parametrize("views", [1, 10])
def test_an_ensemble_is_the_mean_of_softmax_outputs(runs, views):
    members = members_of(runs)
    steps = steps_together(members, ["last"])
    assert steps == [(12, 12, 3)]
    batching = Batching(data_mesh(8, 2), 8)
    told = evaluate_together(members, steps[0], batching, views=views)
    labels = np.array([label for label, _ in members[0].images.describe(range(12))])
    shares = [shares_of(m, step, views) for m, step in zip(members, steps[0], strict=True)]
    hits = []
    for figures, own in zip(
        (*told.own, told.mean), (*shares, np.mean(shares, axis=0)), strict=True
    ):
        hits.append(own.argmax(axis=1) == labels)
        losses = -np.log(own[np.arange(12), labels])
        assert figures["top1"] == hits[-1].mean() and figures["images"] == 12
        assert figures["loss"] == pytest.approx(losses.mean(), rel=1e-4) and figures["top5"] == 1
    differences = hits[-1] - np.mean(hits[:-1], axis=0)
    half = 1.959964 * differences.std() / np.sqrt(11)
    expected = differences.mean(), differences.mean() - half, differences.mean() + half
    assert told.gain == pytest.approx(expected, abs=1e-6)
    for member, figures, step in zip(members, told.own, steps[0], strict=True):
        alone = evaluate(
            member.subject, member.subject.parameters(step, whole=True), batching, views=views
        )
        assert alone["top1"] == figures["top1"]
        assert alone["loss"] == pytest.approx(figures["loss"], rel=1e-5)


def test_a_run_with_itself_is_itself(runs, tmp_path):
    shutil.copytree(runs[0].folder, tmp_path / "twin")
    members = members_of([runs[0], load_run(tmp_path / "twin")])
    told = evaluate_together(members, (12, 12), Batching(data_mesh(8, 1), 8))
    assert told.own[0] == told.own[1] and told.gain == (0, 0, 0)
    assert told.mean == pytest.approx(told.own[0], rel=1e-6)


def test_the_command_says_each_run_and_all(runs, capsys):
    folders = [str(run.folder) for run in runs[:2]]
    words = ["evaluate", "--workdir", *folders, "--devices", "1"]
    assert main([*words, "--at", "0", "last", "--ensemble"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "validation, one central crop an image" and len(lines) == 2 + 2 * 3
    assert lines[2].endswith(folders[0]) and "mean of 2 runs:" in lines[4]
    assert main([*words, "--at", "last"]) == 0
    alone = capsys.readouterr().out.splitlines()
    assert [line for line in alone if line in folders] == folders
    assert alone[3] == lines[5].removesuffix(f"  {folders[0]}")


def test_what_makes_no_ensemble(runs, tmp_path, capsys):
    first, second = (str(run.folder) for run in runs[:2])
    renamed = dataclasses.replace(runs[1], folder=tmp_path / "renamed")
    shutil.copytree(runs[1].folder, renamed.folder)
    save_run(dataclasses.replace(renamed, class_names=renamed.class_names[::-1]))
    for folders, told in (
        ([first], "two runs or more"),
        ([first, second, first], "is named twice"),
        ([first, str(renamed.folder)], "has other classes than"),
    ):
        assert main(["evaluate", "--workdir", *folders, "--ensemble"]) == 1
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
    members = members_of([runs[0], runs[2]])
    with pytest.raises(ZfjaxError, match="has 2 of the epochs asked for and .* 4"):
        steps_together(members, None)
    monkeyed = members[1].subject

    def load(step, names):
        tree = monkeyed.load(step, names)
        return {**tree, "fc4": jax.tree.map(lambda leaf: leaf * np.nan, tree["fc4"])}

    broken = dataclasses.replace(members[1], subject=dataclasses.replace(monkeyed, load=load))
    with pytest.raises(ZfjaxError, match="not finite.*leave it out"):
        evaluate_together([members[0], broken], (12, 3), Batching(data_mesh(8, 1), 8))
