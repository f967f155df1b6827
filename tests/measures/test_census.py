"""The census against maps made by hand: dead, double, dominant, born, dying, back to life."""

import numpy as np
import pytest

from tests.measures.probed import make_probe, measure_probe, subject_like
from zfjax.measures import census
from zfjax.measures.census import MEASURE

IMAGES, MAPS = 2000, 8
DEAD, ALMOST, DOUBLE, TWIN, DOMINANT, UNSTEADY, LATE, PLAIN = range(MAPS)


@pytest.fixture(scope="module")
def values():
    """Three steps of one layer, each map of a known fate."""
    made = {}
    for step in (0, 4, 8, 12):
        maxima = np.random.default_rng(step).exponential(size=(IMAGES, MAPS))
        maxima[:, DEAD] = 0
        maxima[1:, ALMOST] = 0
        maxima[:, TWIN] = 3 * maxima[:, DOUBLE]
        maxima[:, UNSTEADY] *= step != 4
        maxima[:, LATE] *= step >= 8
        made[step] = {"conv1": maxima}
    return made


@pytest.fixture(scope="module")
def measured(values, tmp_path_factory):
    probe = make_probe(tmp_path_factory.mktemp("census") / "probe.npz", values)
    subject = subject_like(values)
    for step in values:
        subject.parameters(step)["conv1"]["kernel"][..., DOMINANT] *= 5
    return measure_probe(MEASURE, probe, values, subject=subject)


def flagged(measured, name, step):
    return np.flatnonzero(measured.of_maps(name, "conv1")[step]).tolist()


def test_each_map_is_found_for_what_it_is(measured):
    table, told = measured
    for step in (0, 4, 8, 12):
        silent = [DEAD] + [UNSTEADY] * (step == 4) + [LATE] * (step < 8)
        assert flagged(table, "dead", step) == sorted(silent)
        assert flagged(table, "almost_dead", step) == [ALMOST]
        assert flagged(table, "duplicate", step) == [DOUBLE, TWIN]
        assert flagged(table, "dominant", step) == [DOMINANT]
        assert table.of_layer("dead_share", "conv1")[step] == len(silent) / MAPS
    relatives = table.of_maps("relative", "conv1")[12]
    assert relatives[DOUBLE] == TWIN and relatives[TWIN] == DOUBLE and np.isnan(relatives[DEAD])
    assert 4 < table.of_layer("dominance", "conv1")[12] < 6
    assert "conv1 1 of 8" in told.sentence and told.chart is not None


def test_lives_are_told_from_the_epoch_before(measured):
    table, told = measured
    assert flagged(table, "died", 4) == [UNSTEADY] and flagged(table, "revived", 8) == [UNSTEADY]
    assert flagged(table, "born", 8) == [LATE]
    for step, name in ((0, "born"), (12, "born"), (12, "died"), (4, "revived")):
        assert not flagged(table, name, step)
    assert "1 map was born, 1 died and 1 came back to life" in told.sentence


def test_relatives_are_the_largest_correlations():
    maxima = np.random.default_rng(3).normal(size=(300, 6)).astype(np.float32)
    maxima[:, 4] = 7
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(maxima.T)
    np.fill_diagonal(expected, -2)
    expected = np.nan_to_num(expected, nan=-2)
    relative, likeness = census.nearest_relatives(maxima)
    others = [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(relative[others], expected.argmax(axis=1)[others])
    np.testing.assert_allclose(likeness[others], expected.max(axis=1)[others], atol=1e-5)
    assert np.isnan(relative[4]) and np.isnan(likeness[4])


def test_energy_and_dominance_of_nothing_are_undefined():
    assert np.isnan(census.energy_share(np.zeros((5, 3))))
    assert np.isnan(census.dominance(np.zeros(3)))
    assert census.energy_share(np.eye(4)) == 0.25
