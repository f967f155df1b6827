"""Linear probes: features against numpy, halves that share nothing, fits against scikit-learn's own
words, and a whole measure.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from tests.measures.held import measured_of
from zfjax.errors import ZfjaxError
from zfjax.inputs import open_data
from zfjax.measures import linear_probes
from zfjax.measures.layer_features import (
    averaged,
    averaging,
    check_layers,
    features_of,
    readable_layers,
)
from zfjax.measures.linear_probes import depth_of, halves_of, probe_layer, rotated, standardised
from zfjax.measures.probes import MEASURE, Options, images_to_probe, layers_to_probe, steps_to_probe
from zfjax.measures.protocol import Looked
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of


@pytest.fixture(scope="module")
def run(unbroken):
    return load_run(unbroken)


@pytest.fixture(scope="module")
def subject(run):
    return subject_of(run, images_of(run.config, open_data(run.config), "train"))


def test_maps_are_averaged_as_torch_does_it():
    maps = np.random.default_rng(0).normal(size=(2, 7, 3, 5)).astype(np.float32)
    rows = [(0, 2), (1, 4), (3, 6), (5, 7)]  # floor(7 i / 4), ceil(7 (i + 1) / 4)
    expected = [
        [maps[:, a:b, column].mean(axis=1) for column in range(3)] for a, b in rows
    ]  # [4][3][2, 5]
    expected = np.array(expected).transpose(2, 0, 1, 3).reshape(2, -1)
    np.testing.assert_allclose(averaged(jnp.asarray(maps)), expected, rtol=1e-5, atol=1e-6)
    assert averaging(3).tolist() == np.eye(3).tolist() and averaging(1).tolist() == [[1.0]]
    for extent in range(1, 30):
        np.testing.assert_allclose(averaging(extent).sum(axis=1), 1, rtol=1e-6)
    flat = jnp.ones((2, 9))
    assert averaged(flat) is flat


def test_halves_share_nothing_and_follow_from_the_ids():
    ids, labels = np.arange(50, 91), np.arange(41) % 4
    labels[40] = 9  # a class of one image
    halves = halves_of(ids, labels)
    assert not set(halves.train) & set(halves.test) and set(halves.judge) < set(halves.train)
    assert sorted([*halves.train, *halves.test]) == list(range(40))
    assert np.bincount(labels[halves.train]).tolist() == [5] * 4
    assert np.bincount(labels[halves.judge]).tolist() == [1] * 4
    assert sorted([*halves.fit, *halves.judge]) == halves.train.tolist()
    order = np.random.default_rng(0).permutation(41)
    shuffled = halves_of(ids[order], labels[order])
    assert set(ids[order][shuffled.test]) == set(ids[halves.test])
    with pytest.raises(ZfjaxError, match="two classes"):
        halves_of(ids[:8], np.zeros(8, int))


def test_standardising_and_turning_change_nothing_that_counts():
    generator = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 16)
    raw = generator.normal(size=(48, 60)) * 5 + 2 * np.eye(3)[labels] @ np.ones((3, 60))
    raw[:, :30] += np.tile(20 * np.eye(3)[labels], 10)
    raw[:, 7] = 4.0
    halves = halves_of(np.arange(48), labels)
    values = standardised(raw, halves.train)
    train = values[halves.train]
    assert train.mean(axis=0) == pytest.approx(0, abs=1e-12) and not values[:, 7].any()
    assert np.delete(train.std(axis=0), 7) == pytest.approx(1)
    turned = rotated(values, halves.train)
    assert turned.shape[1] <= 24 and rotated(values[:, :9], halves.train).shape == (48, 9)
    products = values[halves.test] @ train.T
    np.testing.assert_allclose(turned[halves.test] @ turned[halves.train].T, products, atol=1e-8)
    plain = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(train, labels[halves.train])
    probed = probe_layer("softmax", turned, labels, halves, (0.1,))
    hits = plain.predict(values[halves.test]) == labels[halves.test]
    assert (probed.correct == hits).all() and probed.c == 0.1 and not probed.unconverged
    # What stands in the test half has no part in the choice of C.
    other = turned.copy()
    other[halves.test] = generator.normal(size=(24, turned.shape[1]))
    for kind in ("svm", "softmax"):
        cs = (0.001, 0.01, 1.0)
        own, changed = (probe_layer(kind, each, labels, halves, cs) for each in (turned, other))
        assert own.c == changed.c and own.correct.mean() > 0.6


def test_fits_that_do_not_converge_are_counted(monkeypatch):
    monkeypatch.setattr(linear_probes, "MOST_STEPS", 1)
    labels = np.arange(40) % 2
    values = np.random.default_rng(0).normal(size=(40, 6))
    halves = halves_of(np.arange(40), labels)
    assert probe_layer("softmax", values, labels, halves, (1.0, 10.0)).unconverged == 3
    assert probe_layer("softmax", values, labels, halves, (1.0,)).unconverged == 1


def test_gains_are_paired():
    correct = np.array([[0, 0, 1, 1] * 50, [0, 1, 1, 1] * 50, [0, 1, 1, 0] * 50], bool)
    depth = depth_of(correct)
    assert [gain[0] for gain in depth.gains] == [0.25, -0.25] and depth.rises == 0.5
    assert depth.slope[0] == pytest.approx(np.polyfit(range(3), correct.mean(axis=1), 1)[0])
    differences = correct[1].astype(float) - correct[0]
    half = 1.96 * differences.std() / np.sqrt(200)
    _, low, high = depth.gains[0]
    assert (low, high) == pytest.approx((0.25 - half, 0.25 + half), abs=0.012)
    assert depth.least == (-0.25, depth.gains[1][1], depth.gains[1][2])
    same = depth_of(np.stack([correct[0]] * 3))
    assert same.slope == (0, 0, 0) and same.least == (0, 0, 0) and same.rises == 0


@pytest.mark.slow
def test_a_whole_measure(run, subject):
    measured, told = measured_of(MEASURE, subject, run, images=36, split="train", cs=(0.01, 1.0))
    assert layers_to_probe(Looked(subject, subject.steps, ("conv1", "conv2")), Options()) == (
        "conv1",
        "conv2",
        "fc3",
    )
    last = run.steps[-1]
    features = features_of(subject, last, images_to_probe(
        Looked(subject, subject.steps, ("conv1",), run=run), Options(images=36, split="train")
    ), ("fc3",)).labelled  # fmt: skip
    halves = halves_of(features.ids, features.labels)
    values = standardised(features.layers["fc3"], halves.train)
    probed = probe_layer("svm", values, features.labels, halves, (0.01, 1.0))
    assert measured.of_layer("svm_top1", "fc3")[last] == probed.correct.mean()
    hits, count = int(probed.correct.sum()), len(probed.correct)
    ends = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert measured.bounds("svm_top1", "fc3")[last] == pytest.approx((ends.low, ends.high))
    assert measured.counts("svm_top1") == count == 18
    assert measured.of_layer("features", "conv1")[last] == 4 * 4 * 6
    assert told.figures["test_images"] == 18 and told.figures["layers"] == ["conv1", "conv2", "fc3"]
    assert "of 2 steps up" in told.sentence and told.chart is not None
    assert len(told.lines) == 4
    again = MEASURE.tell(measured, (measured,), Options()).sentence
    assert "Over 2 seeds a layer more is worth" in again


def test_steps_and_images_that_are_probed(run, subject):
    looked = Looked(subject, subject.steps, ("conv1", "conv2"), run=run)
    many = dataclasses.replace(
        subject, steps=tuple(range(0, 110, 10)), epochs=tuple(map(float, range(11)))
    )
    assert steps_to_probe(Looked(many, many.steps, ()), Options()) == (0, 10, 50, 100)
    assert steps_to_probe(Looked(many, (20, 30), ()), Options()) == (20, 30)
    assert steps_to_probe(Looked(many, many.steps, ()), Options(every=True)) == many.steps
    assert images_to_probe(looked, Options()).split == "validation"
    assert images_to_probe(looked, Options(images=5, split="train")).count == 5
    assert layers_to_probe(dataclasses.replace(looked, layers=("conv2",)), Options()) == ("conv2",)
    assert layers_to_probe(looked, Options(dense=False)) == ("conv1", "conv2")


def test_a_layer_that_is_not_there(subject):
    assert readable_layers(subject.network) == ("conv1", "conv2", "fc3")
    assert check_layers(subject.network, ("fc3", "conv1")) == ("conv1", "fc3")
    with pytest.raises(ZfjaxError, match="no hidden layer 'fc4'; it has conv1, conv2, fc3"):
        check_layers(subject.network, ("fc4",))


@pytest.mark.parametrize("wrong", [{"images": 3}, {"cs": ()}, {"cs": (0.0, 1.0)}])
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ZfjaxError, match=f"--probes.{next(iter(wrong))}"):
        Options(**wrong)
