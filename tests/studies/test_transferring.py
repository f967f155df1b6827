"""A transfer: its arms against plain loops, what is kept, what is shared, what is refused."""

import dataclasses
import json
import re
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

from tests.data_helpers import jpeg, make_tree
from zfjax.commands.cli import main
from zfjax.config import Optimizer
from zfjax.data.importing import import_images
from zfjax.errors import ZfjaxError
from zfjax.measures.layer_features import features_of
from zfjax.network.model import class_scores, initial_parameters
from zfjax.run.folder import load_run
from zfjax.studies import new_heads, transferring
from zfjax.studies.folds import batches_of_rows, folds_of, mixed
from zfjax.studies.new_heads import FrozenFeatures, Training, _train_heads, settled
from zfjax.studies.overlaps import left_out_words, overlap_words, seen_in, usable_images
from zfjax.studies.scratch import FromScratch, config_for, trainings_of
from zfjax.studies.transfer_plans import Asked, cost_of_transfer, plan_of_transfer
from zfjax.studies.transfer_rows import Cell, edge_words, sentence_of, table_lines, transfer_figure
from zfjax.studies.transferred import open_transferred, transferred_names
from zfjax.studies.transferring import transfer
from zfjax.training.optimiser import learning_rate
from zfjax.training.step import initial_state, train_step

pytestmark = pytest.mark.slow
WORDS = {"images_per_class": (2, 3), "folds": 2, "steps": 2, "batch_size": 4}


@pytest.fixture(scope="module")
def other(data_dir):
    """A data set called "other", of four classes of six, one image of which is the run's own, and
    one a copy; returns the folder.
    """
    files = {
        f"{name}/{index}.jpg": jpeg(7000 + 100 * place + index, 24, 20)
        for place, name in enumerate("pqrs")
        for index in range(6)
    }
    files["p/own.jpg"] = jpeg(1001, 20, 24)
    files["q/copy.jpg"] = files["q/0.jpg"]
    import_images(make_tree(data_dir / "other-source", files), "other", data_dir)
    lone = {f"only/{index}.jpg": jpeg(9000 + index, 20, 20) for index in range(5)}
    import_images(make_tree(data_dir / "lone-source", lone), "lone", data_dir)
    yield data_dir
    for name in ("other", "other-source", "lone", "lone-source"):  # others list that folder
        shutil.rmtree(data_dir / name)


@pytest.fixture
def run(tmp_path, unbroken, other):
    shutil.copytree(unbroken, tmp_path / "run")
    return load_run(tmp_path / "run")


@pytest.fixture(scope="module")
def plan(unbroken, other):
    return plan_of_transfer(load_run(unbroken), Asked("other", **WORDS))


def test_a_head_is_plain_gradient_descent():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(9, 4)).astype(np.float32)
    labels, rows = np.arange(9) % 3, batches_of_rows(9, 6, 5, 1)
    optimizer = settled(Optimizer(weight_decay=0.01, label_smoothing=0.1, momentum=0.8))
    heads = _train_heads(
        jnp.asarray(features),
        jnp.asarray(labels, jnp.int32),
        jnp.asarray(rows),
        jnp.asarray([0.1, 0.5], jnp.float32),
        classes=3,
        optimizer=optimizer,
    )
    for index, peak in enumerate((0.1, 0.5)):
        kernel, bias = np.zeros((4, 3)), np.zeros(3)
        speed = np.zeros((4, 3)), np.zeros(3)
        for step, batch in enumerate(rows):
            inputs = features[batch].astype(np.float64)
            scores = inputs @ kernel + bias
            shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            wrong = (shares - (0.9 * np.eye(3)[labels[batch]] + 0.1 / 3)) / len(batch)
            gradients = inputs.T @ wrong + 0.01 * kernel, wrong.sum(axis=0)
            speed = tuple(0.8 * v + g for v, g in zip(speed, gradients, strict=True))
            warmup, progress = 0.6, max(0.0, step - 0.6) / (6 - 0.6)
            rate = peak * 0.5 * (1 + np.cos(np.pi * progress)) * min(1, (step + 1) / warmup)
            assert peak * learning_rate(optimizer, step, 6, 1) == pytest.approx(rate, rel=1e-5)
            kernel, bias = kernel - rate * speed[0], bias - rate * speed[1]
        np.testing.assert_allclose(heads["kernel"][index], kernel, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(heads["bias"][index], bias, rtol=1e-4, atol=1e-6)


def test_a_head_is_chosen_inside_and_tested_outside(monkeypatch):
    ids, labels = np.arange(40), np.arange(40) % 2
    values = np.eye(2, dtype=np.float32)[labels]
    values[::3] = values[::3, ::-1]
    frozen = FrozenFeatures(ids, labels, values, 2)
    [fold, _] = folds_of(ids, labels, dataclasses.replace(Asked("x", **WORDS).protocol, seed=5))
    training = Training(settled(Optimizer()), (0.01, 0.1, 1.0), steps=20, batch_size=8)
    looked_at = []
    real = FrozenFeatures._accuracy

    def accuracy(self, head, wanted):
        looked_at.append((set(wanted.tolist()), len(looked_at)))
        return real(self, head, wanted)

    monkeypatch.setattr(FrozenFeatures, "_accuracy", accuracy)
    scored = frozen.head_on(fold, 3, training, 0.1)
    assert scored.rate in training.rates and 0 <= scored.accuracy <= 1
    *judged, (tested, _) = looked_at
    assert len(judged) == 3 and tested == set(fold.test.tolist())
    for images, _ in judged:
        assert images < set(fold.training(3).tolist())
    assert frozen.head_on(fold, 1, training, 0.03).rate == 0.01, "nothing to judge on: the nearest"
    assert new_heads.chosen_rate((0.1, 1.0, 9.0), (0.5, 0.5, 0.4), 2.0) == 1.0


def test_a_network_from_scratch_is_trained_as_a_run_is(plan, other):
    ids = np.arange(8)
    labels = np.array([label for label, _ in plan.images.describe(ids)])
    training = Training(plan.training.optimizer, (0.02,), steps=3, batch_size=4)
    config = config_for(plan.run.config, 4, training)
    told = []
    scratch = FromScratch(config, plan.subject, plan.images, ids, labels, lambda: told.append(1))
    tree = scratch._trained(ids[:5], training, 0.02, seed=11)
    assert len(told) == 3
    # The same by the config alone: its own rate and its own seed.
    optimizer = dataclasses.replace(config.optimizer, learning_rate=0.02)
    plain = dataclasses.replace(config, seed=11, optimizer=optimizer)
    state = initial_state(plain)
    start = initial_parameters(plain.model, plain.recipe, 11, plain.layer_keys)
    assert np.array_equal(state.parameters["conv1"]["kernel"], start["conv1"]["kernel"])
    for rows in batches_of_rows(5, 3, 4, 11):
        views = jnp.asarray(plan.images.views(rows.tolist()))
        targets = jnp.asarray(labels[rows], jnp.int32)
        state = train_step(state, views, targets, None, config=plain, steps_per_epoch=3)
    for leaf, expected in zip(
        jax.tree.leaves(tree), jax.tree.leaves(state.parameters), strict=True
    ):
        np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-6)
    views = plan.images.views(ids.tolist())
    scores = class_scores(config.model, tree, plan.subject.prepare(jnp.asarray(views)))
    hits = np.asarray(scores).argmax(axis=1) == labels
    expected = np.mean([hits[labels == label].mean() for label in set(labels.tolist())])
    assert scratch._accuracy(tree, ids) == pytest.approx(expected)


def test_images_that_are_shared_or_twice_are_found(run):
    plan = plan_of_transfer(run, Asked("other", **WORDS))
    seen = seen_in(plan.images, "images", lambda *told: None)
    own = plan.run.config.data
    assert len(seen.ids) == 26 and seen.copies.sum() == 1 and own.name == "small"
    digests = transferring._own_digests(plan, lambda *told: None)
    assert len(digests) == 36
    once, counts = usable_images(seen, digests, False, "other")
    assert counts == {"unlabelled": 0, "copies": 1, "shared": 1, "removed": 0}
    assert len(once.ids) == 25 and "1 of 25 images of other" in overlap_words(counts, 25, "other")
    rest, counts = usable_images(seen, digests, True, "other")
    assert counts["removed"] == 1 and len(rest.ids) == 24
    names = [name for _, name in plan.images.describe(np.setdiff1d(once.ids, rest.ids))]
    assert len(names) == 1 and names[0].endswith("own.jpg")
    assert "left out" in overlap_words(counts, 24, "other")
    with pytest.raises(ZfjaxError, match="--remove-overlaps"):
        usable_images(seen, None, True, "other")
    everything = seen.digests
    with pytest.raises(ZfjaxError, match="all are the run's own"):
        usable_images(seen, everything, True, "other")
    nothing = {"unlabelled": 0, "copies": 0, "shared": 0, "removed": 0}
    assert overlap_words(nothing, 25, "other") is None
    assert "not checked" in overlap_words({**nothing, "shared": None}, 25, "other")
    assert left_out_words(nothing) == ""
    assert left_out_words({**nothing, "copies": 3, "removed": 2}) == (
        "3 copies of others and 2 of the run's own"
    )


def test_a_rate_that_nobody_judged_was_not_chosen():
    cells = {(4, size, fold): Cell(0.5, 0.1, 2, 2 * size, 4) for size in (1, 3) for fold in (0, 1)}
    assert edge_words(cells, (0.1, 0.3)).startswith("2 of 2 new heads chose the lowest rate")
    alone = {key: cell for key, cell in cells.items() if key[1] == 1}
    assert edge_words(alone, (0.1, 0.3)) is None and edge_words(cells, (0.1,)) is None


def test_an_accuracys_interval_ends_at_none_and_at_all():
    """Two folds leave one degree of freedom: t is 12.7, and an accuracy ends at 0 and 1."""
    wide = types.SimpleNamespace(mean=0.2, sd=0.08, low=-2.3, high=2.7, folds=2)
    told = types.SimpleNamespace(
        meta={"asked": {"to": "five", "layer": "fc7"}, "epochs": [3]},
        sizes=(2,),
        steps=(12,),
        table=pa.table({"classes": [5]}),
        summaries=lambda arm, step=None: {2: wide} if arm == "pretrained" else {},
    )
    assert "is right on 20.0% (mean over classes; sd over folds 8.0, 95% 0.0% to 100.0%)" in (
        sentence_of(told)
    )
    asked = {"to": "five", "layer": "fc7", "training_steps": 10}
    both = types.SimpleNamespace(**vars(told) | {"meta": {"asked": asked, "epochs": [3]}})
    both.summaries = lambda arm, step=None: {2: wide}
    assert "+20.0 [-100.0, +100.0] points (the interval cut where" in sentence_of(both)
    assert table_lines(both)[-1].endswith("+20.0 [-100.0, +100.0]")
    low, high = transfer_figure(both).axes[0].get_ylim()
    assert low >= 0 and high < 110


def test_a_transfer_is_whole_and_goes_on(run, monkeypatch):
    told = transfer(run, "other", **WORDS)
    assert transferred_names(run.folder) == ("other",) and told.steps == (12,)
    rows = told.table.to_pylist()
    assert len(rows) == 3 * 2 * (2 + 1)
    for arm, step in (("pretrained", 12), ("scratch", None), ("difference", 12)):
        for size, mean in told.summaries(arm, step).items():
            values = told.values(arm, step)[size]
            assert len(values) == mean.folds == 2 and mean.mean == pytest.approx(np.mean(values))
            assert mean.low <= mean.mean <= mean.high
    pairs = zip(told.values("pretrained", 12)[3], told.values("scratch")[3], strict=True)
    assert told.values("difference", 12)[3] == pytest.approx([a - b for a, b in pairs])
    for row in rows:
        assert row["classes"] == 4 and row["train_images"] == 4 * row["images_per_class"]
    assert "from scratch" in told.meta["sentence"] and "1 of 25 images" in told.meta["notes"][0]
    folder = run.folder / "transfer"
    assert {"other.png", "other.txt", "other.json"} <= {path.name for path in folder.iterdir()}

    # A fold that is lost is done anew, alone, and comes out the same.
    (folder / "other.folds" / "12-3-1.json").unlink()
    done = []
    head_on = FrozenFeatures.head_on

    def counted(self, fold, *rest):
        done.append(fold.index)
        return head_on(self, fold, *rest)

    monkeypatch.setattr(FrozenFeatures, "head_on", counted)
    assert transfer(run, "other", **WORDS).table == told.table and done == [1]
    # Finished: no image is read again; other epochs are added, other settings are not.
    monkeypatch.setattr(transferring, "seen_in", None)
    assert transfer(run, "other", **WORDS).table == told.table
    monkeypatch.undo()
    with pytest.raises(ZfjaxError, match=r"batch_size 4 -> 5.*--name"):
        transfer(run, "other", **{**WORDS, "batch_size": 5})
    more = transfer(run, "other", at=("0", "last"), **WORDS)
    assert more.steps == (0, 12)
    assert more.values("pretrained", 12) == told.values("pretrained", 12)
    assert open_transferred(run.folder, "other").table == more.table


def test_the_features_are_those_of_the_layer(run):
    plan = plan_of_transfer(run, Asked("other", **WORDS))
    assert plan.layer == "fc3"
    features = features_of(plan.subject, 12, plan.images, ("fc3",))
    values, labels = features.layers["fc3"], features.labels
    parameters = plan.subject.parameters(12, whole=True)
    scores = values @ parameters["fc4"]["kernel"] + parameters["fc4"]["bias"]
    inputs = plan.subject.prepare(jnp.asarray(plan.images.views(range(len(labels)))))
    expected = class_scores(run.config.model, parameters, inputs)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert mixed(1, 2) != mixed(2, 1)


def test_the_cost_is_said_and_nothing_written(run, capsys):
    words = ["transfer", "--workdir", str(run.folder), "--to", "other", "--steps", "2"]
    assert main([*words, "--images-per-class", "1", "3", "--folds", "2", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "26 images x 1 checkpoints: features of fc3" in out
    assert "10 trainings of 2 steps of 32 images: 640 images" in out
    assert not (run.folder / "transfer").exists()
    plan = plan_of_transfer(run, Asked("other", scratch=False, **WORDS))
    assert cost_of_transfer(plan).networks == 0 and trainings_of((1, 3), 2, 3) == 2 * (1 + 4)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--to", "nothing"], "There is no data set 'nothing' in .*it holds:.*other"),
        (["--to", "lone"], "1 class"),
        (["--to", "other", "--images-per-class", "6"], "needs 7 images.*has 6"),
        (["--to", "other", "--images-per-class", "0"], "--images-per-class 0"),
        (["--to", "other", "--folds", "1"], "--folds 1"),
        (["--to", "other", "--layer", "conv9"], "no hidden layer 'conv9'; it has conv1"),
        (["--to", "other", "--at", "77"], "77"),
        (["--to", "other", "--split", "test"], "no split 'test'"),
        (["--to", "other", "--steps", "0"], "--steps 0"),
        (["--to", "other", "--learning-rates", "0"], "--learning-rates 0"),
        (["--to", "other", "--name", "a/b"], "--name"),
    ],
)
def test_what_makes_no_transfer_is_one_sentence(run, capsys, flags, told):
    assert main(["transfer", "--workdir", str(run.folder), *flags]) == 1
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("zfjax:")]
    assert len(lines) == 1 and "Traceback" not in error
    assert re.search(told, lines[0]), lines[0]
    assert not list((run.folder / "transfer").glob("*.json"))
    assert not list((run.folder / "transfer").glob("*.folds"))


def test_a_damaged_table_says_how_to_mend_it(run):
    told = transfer(run, "other", scratch=False, layer="conv2", name="conv", **WORDS)
    assert told.summaries("scratch") == {} and told.name == "other-conv"
    assert json.loads((told.folder / "other-conv.json").read_text())["figures"]["last"]
    (told.folder / "other-conv.parquet").write_bytes(b"no table")
    with pytest.raises(ZfjaxError, match="other-conv.parquet is missing or damaged; delete"):
        open_transferred(run.folder, "other-conv")
    with pytest.raises(ZfjaxError, match=r"no transfer 'x'.*there: other-conv"):
        open_transferred(run.folder, "x")
