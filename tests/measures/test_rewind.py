"""Layers put back, against evaluations of parameters that were put together by hand."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from tests.measures.held import measured_of
from zfjax.devices import data_mesh
from zfjax.errors import ZfjaxError
from zfjax.inputs import open_data
from zfjax.measures import judging
from zfjax.measures.judging import judge_of, some_images
from zfjax.measures.kernels import path_in
from zfjax.measures.protocol import Looked
from zfjax.measures.rewind import MEASURE, Options, _exchanged, images_for, rows
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of
from zfjax.training.evaluation import Batching, batching_of, evaluate


@pytest.fixture(scope="module")
def run(unbroken):
    return load_run(unbroken)


@pytest.fixture(scope="module")
def subject(run):
    dataset = open_data(run.config)
    return subject_of(run, images_of(run.config, dataset, run.config.data.train_split))


@pytest.fixture(scope="module")
def rewound(run, subject):
    return measured_of(MEASURE, subject, run)


@pytest.fixture(scope="module")
def rate(run, subject):
    images = images_of(run.config, subject.images.dataset, run.config.data.validation_split)
    batching = batching_of(run.config, data_mesh(run.config.batch_size))
    on_validation = dataclasses.replace(subject, images=images)
    return lambda parameters: evaluate(on_validation, parameters, batching)


def test_at_the_last_epoch_nothing_is_put_back(run, rewound):
    measured, told = rewound
    last = run.steps[-1]
    logged = [line for line in run.validation_lines if line["step"] == last][-1]
    assert measured.of_layer("top1", None) == {last: logged["top1"]}
    for name in ("conv1", "conv2"):
        assert measured.of_layer("top1", name)[last] == logged["top1"]
        assert measured.of_layer("loss", name)[last] == pytest.approx(logged["loss"], rel=1e-6)
    assert told.figures["top1"] == logged["top1"]


def test_a_layer_put_back_is_that_epochs_in_the_last_network(run, subject, rewound, rate):
    measured, _ = rewound
    last = subject.parameters(run.steps[-1], whole=True)
    for step in (run.steps[0], run.steps[2]):
        for name in ("conv1", "conv2"):
            expected = rate({**last, name: subject.parameters(step)[name]})
            assert measured.of_layer("top1", name)[step] == expected["top1"]
            assert measured.of_layer("loss", name)[step] == pytest.approx(
                expected["loss"], rel=1e-6
            )
    low, high = measured.bounds("top1", "conv1")[run.steps[0]]
    count = round(measured.of_layer("top1", "conv1")[run.steps[0]] * 12)
    ends = stats.binomtest(count, 12).proportion_ci(method="wilson")
    assert (low, high) == (ends.low, ends.high)


def test_a_layer_drawn_anew_is_another_seeds(run, subject, rewound, rate):
    measured, told = rewound
    last = subject.parameters(run.steps[-1], whole=True)
    seeds = [seed for seed in range(4) if seed != run.config.seed][:3]
    drawn = [rate({**last, "conv2": subject.initial(seed)["conv2"]}) for seed in seeds]
    losses = [figures["loss"] for figures in drawn]
    assert measured.of_layer("loss_anew", "conv2") == {
        run.steps[-1]: pytest.approx(np.mean(losses))
    }
    ends = measured.bounds("loss_anew", "conv2")[run.steps[-1]]
    assert ends == pytest.approx((min(losses), max(losses)), rel=1e-6) and ends[0] < ends[1]
    own = rate(subject.parameters(run.steps[0], whole=True))["loss"]
    assert own not in losses  # the run's own seed is not among them
    assert "drawn anew" in told.sentence and "right on" in told.sentence
    assert told.figures["evaluations"] == 2 * (len(run.steps) - 1 + 3) + 1
    assert told.chart is not None and len(told.lines) == 3


def test_other_seeds_are_named_with_their_range(rewound):
    measured, _ = rewound
    sentence = MEASURE.tell(measured, (measured, measured), Options()).sentence
    own = measured.of_layer("top1", None)[measured.steps[-1]]
    assert sentence.endswith(f"Over seeds the accuracy is {own:.1%} to {own:.1%} (3 runs).")


def test_fewer_images_another_split_no_draws(run, subject):
    two = dataclasses.replace(subject, steps=run.steps[-2:], epochs=subject.epochs[-2:])
    measured, told = measured_of(MEASURE, two, run, images=5, split="train", draws=0)
    assert set(measured.table["n"].to_pylist()) == {5}
    assert "loss_anew" not in measured.quantities() and "anew" not in told.sentence
    looked = Looked(two, two.steps, ("conv1",), run=run)
    assert images_for(looked, Options(images=5, split="train")).ids == (0, 9, 18, 26, 35)
    assert images_for(looked, Options()).count == 12
    named = dataclasses.replace(
        two, images=dataclasses.replace(two.images, split="validation", _kept={})
    )
    assert images_for(dataclasses.replace(looked, subject=named), Options()).split == "validation"
    with pytest.raises(ZfjaxError, match="nothing"):
        images_for(looked, Options(split="nothing"))


def test_groups_of_images_make_up_the_whole(run, subject, rewound):
    measured, _ = rewound
    step = run.steps[0]
    judge = judge_of(
        subject,
        images_for(Looked(subject, (), (), run=run), Options()),
        Batching(data_mesh(2, 2), 2),
    )
    ids = [group.images.ids for group in judge.groups]
    assert sorted(sum(ids, ())) == [*range(12)] and [len(each) for each in ids] == [2] * 6
    parameters = subject.parameters(step, whole=True)
    judged = judge.judged(parameters)
    alone = [evaluate(group, parameters, judge.batching)["top1"] for group in judge.groups]
    assert judged.top1 == pytest.approx(np.mean(alone))
    expected = [(sum(alone) - each) / 5 for each in alone]
    assert judged.without == pytest.approx(expected)
    # The run's batches of 8 make two groups of 8 and 4 images.
    whole = measured.of_layer("top1", "conv1")[step] * 12
    without = [measured.of_layer(f"top1_without_{group}", "conv1")[step] for group in (0, 1)]
    assert without[0] * 4 + without[1] * 8 == pytest.approx(whole)
    assert "top1_without_2" not in measured.quantities()


def test_images_without_a_label_are_left_out(subject, monkeypatch):
    known = subject.images.dataset.describe("train", range(36))
    shown = [(-1 if index % 2 else label, name) for index, (label, name) in enumerate(known)]
    monkeypatch.setattr(
        type(subject.images.dataset), "describe", lambda self, split, ids: [shown[i] for i in ids]
    )
    assert some_images(subject.images, "train", 36).ids == tuple(range(0, 36, 2))


def test_images_are_the_same_whether_they_are_held_or_not(run, subject, monkeypatch):
    looked = Looked(subject, run.steps, ("conv1",), run=run)

    def batches():
        images = images_for(looked, Options(images=7, split="train"))
        return [list(images.batches(4)) for _ in range(2)], list(
            images.batches(4, start=2, limit=3)
        )

    held, some = batches()
    assert [id(batch) for batch in held[0]] == [id(batch) for batch in held[1]]
    assert [batch["image_id"].tolist() for batch in some] == [[12, 18, 23, -1]]
    monkeypatch.setattr(judging, "HELD_BYTES", 0)
    read, _ = batches()
    assert read[0][0] is not read[1][0]
    for batch, other in zip([*held[0], *held[0]], [*read[0], *read[1]], strict=True):
        assert all((batch[name] == other[name]).all() for name in batch)


def test_one_checkpoint_is_its_own_accuracy(run, subject):
    last = dataclasses.replace(
        subject, steps=run.steps[-1:], epochs=subject.epochs[-1:], initial=None
    )
    measured, told = measured_of(MEASURE, last, run)
    for name in ("top1", "loss"):
        assert measured.of_layer(name, "conv1") == measured.of_layer(name, None)
    assert "put back" not in told.sentence and "anew" not in told.sentence


def test_scores_that_are_not_finite(run, subject):
    def load(step, names):
        tree = subject.load(step, names)
        if step == run.steps[broken]:
            kernel = np.full_like(tree["conv2"]["kernel"], np.nan)
            tree = {**tree, "conv2": {**tree["conv2"], "kernel": kernel}}
        return tree

    broken = 0
    diverged = dataclasses.replace(subject, load=load)
    measured, told = measured_of(MEASURE, diverged, run, draws=0)
    assert math.isnan(measured.of_layer("top1", "conv2")[run.steps[0]])
    assert not math.isnan(measured.of_layer("top1", "conv1")[run.steps[0]])
    assert "nan" not in told.sentence
    broken = -1
    with pytest.raises(ZfjaxError, match="not finite.*--at"):
        measured_of(MEASURE, diverged, run, draws=0)


@pytest.mark.parametrize("wrong", [{"images": 0}, {"draws": -1}])
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ZfjaxError, match=f"--rewind.{next(iter(wrong))}"):
        Options(**wrong)


def test_a_network_without_such_layers_is_refused(run, subject):
    looked = Looked(subject, subject.steps, ("conv9",), run=run)
    with pytest.raises(ZfjaxError, match="rewind puts back a layer by its name.*conv9"):
        list(rows(looked, Options()))


def test_a_nested_layer_is_put_back_alone():
    tree = {"params": {"a": {"b": {"kernel": 1}, "c": 2}, "b": 3}, "stats": 4}
    source = {"params": {"a": {"b": {"kernel": 10}, "c": 20}, "b": 30}, "stats": 40}
    assert path_in(tree, "a/b") == ("params", "a", "b") and path_in(tree, "a/d") is None
    changed = _exchanged(tree, source, ("params", "a", "b"))
    assert changed == {"params": {"a": {"b": {"kernel": 10}, "c": 2}, "b": 3}, "stats": 4}
    assert tree["params"]["a"]["b"] == {"kernel": 1}
