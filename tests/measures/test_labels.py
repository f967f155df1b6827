"""Labels: planted classes are found, labels without meaning are not, p against exact counting."""

from collections import Counter
from math import comb

import numpy as np
import pytest

from tests.measures.probed import make_probe, measure_probe
from zfjax.errors import ZfjaxError
from zfjax.measures.labels import MEASURE, LabelOptions, Null, selectivity, strongest_classes

IMAGES, CLASSES = 900, 10


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).permutation(np.arange(IMAGES) % CLASSES)


def test_a_map_about_a_class_is_found_and_noise_is_about_nothing(labels, tmp_path):
    generator = np.random.default_rng(1)
    maxima = generator.exponential(size=(IMAGES, 60))
    for map_ in range(12):
        maxima[labels == map_ % CLASSES, map_] += 10
    maxima[:, 12] = 0
    values = {0: {"conv1": maxima}}
    probe = make_probe(tmp_path / "probe.npz", values, labels)
    table, told = measure_probe(MEASURE, probe, values, permutations=200)
    about = table.of_maps("about", "conv1")[0]
    assert (about[:12] == 1).all() and np.isnan(about[12]) and np.nansum(about[13:]) <= 2
    top = table.of_maps("top_class", "conv1")[0]
    np.testing.assert_array_equal(top[:12], np.arange(12) % CLASSES)
    np.testing.assert_array_equal(table.of_maps("selective_class", "conv1")[0][:12], top[:12])
    assert np.isnan(table.of_maps("purity", "conv1")[0][12])
    assert "conv1 12 of 59" in told.sentence or "conv1 13 of 59" in told.sentence
    assert "nothing that 9 images can show" in told.sentence and "train" in told.sentence
    assert "at epoch 0" in told.lines[0] and told.lines[1].split()[2] == told.lines[1].split()[3]


@pytest.mark.slow
def test_labels_without_meaning_are_seldom_called_anything(labels, tmp_path):
    discoveries = 0
    for seed in range(10):
        maxima = np.random.default_rng(100 + seed).exponential(size=(IMAGES, 200))
        values = {0: {"conv1": maxima}}
        probe = make_probe(tmp_path / f"{seed}.npz", values, labels)
        table, _ = measure_probe(MEASURE, probe, values, permutations=100)
        discoveries += np.nansum(table.of_maps("about", "conv1")[0]) > 0
    assert discoveries <= 3  # each with a chance of 1 in 20


def test_p_is_the_share_of_deals_as_pure():
    labels = np.repeat(np.arange(3), 30)
    null = Null(labels, LabelOptions(top=3, permutations=4000))
    keys = np.arange(90, dtype=np.uint16)[:, None]
    everyone = np.ones((90, 1), bool)
    order = [[0, 1, 2], [0, 1, 30], [0, 30, 60]]  # three, two and one of a class
    for rows in order:
        dealt = np.concatenate([labels[np.setdiff1d(np.arange(90), rows)], labels[rows]])
        [p] = null.p_values(strongest_classes(keys, everyone, dealt, 3))
        most = max(Counter(labels[rows]).values())
        pairs = comb(90, 3)
        exact = {
            3: 3 * comb(30, 3) / pairs,
            2: (3 * comb(30, 3) + 6 * comb(30, 2) * 30) / pairs,
            1: 1.0,
        }[most]
        assert p == pytest.approx(exact, abs=0.01)


def test_strongest_classes_are_those_of_counting_by_hand():
    generator = np.random.default_rng(5)
    maxima = generator.integers(0, 4, (40, 30)).astype(np.float32)
    labels = generator.integers(0, 3, 40)
    tops = strongest_classes(maxima.astype(np.uint16), maxima > 0, labels, 9)
    for map_ in range(30):
        order = sorted(range(40), key=lambda row: (-maxima[row, map_], row))[:9]
        counts = Counter(labels[row] for row in order if maxima[row, map_] > 0)
        assert tops.count[map_] == max(counts.values()) == counts[tops.first[map_]]
        assert tops.classes[map_] == len(counts) and tops.images[map_] == counts.total()
        others = {name: count for name, count in counts.items() if name != tops.first[map_]}
        assert (tops.second[map_] == -1) == (not others)
        assert not others or others[tops.second[map_]] == max(others.values())


def test_selectivity_is_its_formula():
    generator = np.random.default_rng(2)
    maxima, labels = generator.exponential(size=(60, 5)), np.arange(60) % 4
    maxima[:, 3] = 0
    value, best = selectivity(maxima, labels)
    for map_, (number, name) in enumerate(zip(value, best, strict=True)):
        if map_ == 3:
            assert np.isnan(number) and np.isnan(name)
            continue
        means = [maxima[labels == each, map_].mean() for each in range(4)]
        others = maxima[labels != np.argmax(means), map_].mean()
        assert name == np.argmax(means)
        assert number == pytest.approx((max(means) - others) / (max(means) + others))
    assert np.isnan(selectivity(maxima, np.zeros(60))[0]).all()


def test_images_without_a_label_are_left_out_and_too_few_are_an_error(labels, tmp_path):
    maxima = np.random.default_rng(4).exponential(size=(IMAGES, 3))
    unknown = labels.copy()
    strongest = np.argsort(-maxima[:, 0])[:9]
    unknown[strongest] = -1
    values = {0: {"conv1": maxima}}
    probe = make_probe(tmp_path / "some.npz", values, unknown)
    table, _ = measure_probe(MEASURE, probe, values, permutations=20)
    assert (table.of_maps("top_class", "conv1")[0] >= 0).all()
    nobody = make_probe(tmp_path / "none.npz", values)
    with pytest.raises(
        ZfjaxError, match="needs 9 images whose class is known, and the probe has 0"
    ):
        measure_probe(MEASURE, nobody, values)
    for wrong in ({"top": 1}, {"permutations": 0}):
        with pytest.raises(ZfjaxError, match="must be"):
            measure_probe(MEASURE, probe, values, **wrong)


def test_orders_of_maps_do_not_matter(labels, tmp_path):
    maxima = np.random.default_rng(9).exponential(size=(IMAGES, 4))
    tables = []
    for name, order in (("a", [0, 1, 2, 3]), ("b", [3, 1, 0, 2])):
        values = {0: {"conv1": maxima[:, order]}}
        probe = make_probe(tmp_path / f"{name}.npz", values, labels)
        table, _ = measure_probe(MEASURE, probe, values, permutations=50)
        tables.append(table.of_maps("adjusted_p", "conv1")[0][np.argsort(order)])
    np.testing.assert_array_equal(*tables)
