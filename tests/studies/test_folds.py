"""Folds that share nothing between training and test, and intervals over them."""

import numpy as np
import pytest
from scipy import stats

from zfjax.errors import ZfjaxError
from zfjax.studies.folds import (
    Protocol,
    batches_of_rows,
    check_enough,
    folds_of,
    mean_class_accuracy,
    summary_of,
)

IDS = np.arange(100, 190)
LABELS = np.arange(90) % 3
PROTOCOL = Protocol((2, 5), folds=4, test_per_class=7, seed=3)


@pytest.fixture(scope="module")
def folds():
    return folds_of(IDS, LABELS, PROTOCOL)


def test_no_image_is_trained_on_and_tested(folds):
    for fold in folds:
        few, many = (set(fold.training(size).tolist()) for size in (2, 5))
        test = fold.test.tolist()
        assert few < many and len(many) == 15 and len(few) == 6
        assert len(set(test)) == len(test) == 21 and not many & set(test)
        for size, images in ((2, few), (5, many)):
            counts = np.bincount(LABELS[np.array(sorted(images)) - 100])
            assert counts.tolist() == [size] * 3
        assert np.bincount(LABELS[fold.test - 100]).tolist() == [7] * 3


def test_folds_are_of_seed_and_ids_alone(folds):
    again = folds_of(IDS[::-1], LABELS[::-1], PROTOCOL)
    more = folds_of(np.append(IDS, 7), np.append(LABELS, 3), Protocol((1,), 2, 7, 3))
    other = folds_of(IDS, LABELS, Protocol((2, 5), 4, 7, 4))
    for index, fold in enumerate(folds):
        assert again[index].test.tolist() == fold.test.tolist()
        for label in range(3):
            assert again[index].order[label].tolist() == fold.order[label].tolist()
        assert other[index].test.tolist() != fold.test.tolist()
    # Another class, and another size, leave the order of a class's images alone.
    assert more[1].order[2][0] == folds[1].order[2][0]
    drawn = {tuple(fold.test.tolist()) for fold in folds}
    assert len(drawn) == 4 and len({fold.seed for fold in folds}) == 4


def test_a_rate_is_judged_inside_the_training_part(folds):
    for fold in folds:
        assert fold.inner(1) is None
        for size, judged in ((2, 1), (5, 1)):
            train, judge = fold.inner(size)
            assert len(judge) == 3 * judged and len(train) == 3 * (size - judged)
            assert {*train.tolist(), *judge.tolist()} == set(fold.training(size).tolist())
            assert set(LABELS[judge - 100].tolist()) == {0, 1, 2}


def test_batches_see_every_image_once_a_round():
    rows = batches_of_rows(5, steps=4, batch_size=5, seed=1)
    assert rows.shape == (4, 5) and (np.sort(rows, axis=1) == np.arange(5)).all()
    assert len({tuple(row) for row in rows.tolist()}) > 1
    assert batches_of_rows(3, 2, 8, 0).shape == (2, 8), "a batch may be larger than the part"
    assert (batches_of_rows(5, 4, 5, 1) == rows).all()


def test_the_interval_allows_for_shared_images():
    values = [0.2, 0.3, 0.25, 0.4, 0.35]
    own = summary_of(values, train_images=200, test_images=100)
    mean = sum(values) / 5
    variance = sum((value - mean) ** 2 for value in values) / 4
    half = stats.t(4).ppf(0.975) * np.sqrt((1 / 5 + 100 / 200) * variance)
    assert (own.mean, own.folds) == (pytest.approx(mean), 5)
    assert own.sd == pytest.approx(np.sqrt(variance))
    assert (own.low, own.high) == (pytest.approx(mean - half), pytest.approx(mean + half))
    plain = stats.ttest_1samp(values, 0).confidence_interval()
    apart = summary_of(values, train_images=10**9, test_images=1)
    assert (apart.low, apart.high) == pytest.approx((plain.low, plain.high), rel=1e-6)


def test_each_class_counts_alike():
    labels, predicted = np.array([0, 0, 0, 0, 2, 2]), np.array([0, 0, 0, 1, 2, 1])
    assert mean_class_accuracy(labels, predicted) == pytest.approx((3 / 4 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"images_per_class": (0, 3)}, "--images-per-class 0 3"),
        ({"images_per_class": ()}, "--images-per-class"),
        ({"folds": 1}, "--folds 1 must be 2"),
        ({"test_per_class": 0}, "--test-per-class 0"),
        ({"seed": -1}, "--seed -1"),
        ({"folds": 2.5}, "--folds"),
    ],
)
def test_numbers_that_make_no_folds(words, told):
    with pytest.raises(ZfjaxError, match=told):
        Protocol(**words)


def test_too_few_images_are_named():
    labels, names = np.repeat([0, 1, 2], (9, 4, 6)), ("ant", "bee", "cat")
    check_enough(labels, names, Protocol((3,)))
    with pytest.raises(ZfjaxError, match=r"needs 5 images.*'bee' has 4: ask for 3 or fewer"):
        check_enough(labels, names, Protocol((2, 4)))
    with pytest.raises(ZfjaxError, match=r"'dog' has 0, 'bee' has 4.*without such classes"):
        check_enough(labels, (*names, "dog"), Protocol((4,)))
    with pytest.raises(ZfjaxError, match=r"of 1 class \(2 copies of others left out\),"):
        check_enough(labels[:3], names[:1], Protocol((1,)), "2 copies of others")
