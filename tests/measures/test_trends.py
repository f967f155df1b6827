"""Settling times, slopes and emergence on curves whose answers are known."""

import numpy as np
import pytest
from scipy import stats

from zfjax.measures import similarity, trends
from zfjax.measures.ranking import ranked
from zfjax.measures.verdicts import interval_of_seeds

EPOCHS = np.array([0, 0.5, 1, 2, 4, 8, 16])


def test_a_jump_settles_when_it_jumps():
    epochs = np.arange(101) / 10
    for jump in (0.05, 2.05, 9.95):
        curve = np.where(epochs > jump, 0.9, 0.3)
        share = trends.settled_share(curve, 0.3, 0.9)
        assert trends.settling_time(share, epochs) == pytest.approx(jump, abs=1e-9)
        first = epochs[epochs > jump][0]
        assert (trends.threshold_epochs(share, epochs) == first).all()


def test_an_exponential_settles_at_its_time_constant():
    epochs = np.linspace(0, 60, 3001)
    share = trends.settled_share(1 - 0.7 * np.exp(-epochs / 4), 0.3, 1.0)
    assert trends.settling_time(share, epochs) == pytest.approx(4, abs=1e-3)
    expected = [-4 * np.log(1 - tau) for tau in trends.THRESHOLDS]
    assert trends.threshold_epochs(share, epochs) == pytest.approx(expected, abs=0.02)


def test_what_dips_again_has_not_settled():
    share = np.array([[0, 1, 1, 0.5, 1, 1, 1.0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1]])
    assert trends.threshold_epochs(share, EPOCHS, (0.9,))[:, 0].tolist() == [4, 0, 16]
    assert trends.settling_time(share, EPOCHS).tolist() == [0.25 + 0.25 + 0.5, 0, 12]


def test_the_floor_may_differ_from_step_to_step():
    floor = np.linspace(0.1, 0.4, 7)
    share = trends.settled_share((floor + 0.8) / 2, floor, 0.8)
    assert share == pytest.approx(np.full(7, 0.5))
    assert trends.settled_share(np.array([0.2, 0.9]), 0.3, 0.8).tolist() == [0, 1]


def test_what_has_no_room_has_no_settling_time():
    share = trends.settled_share(np.ones((2, 7)), np.array([[0.96], [0.5]]), 1.0)
    assert np.isnan(share[0]).all() and (share[1] == 1).all()
    times = trends.settling_time(share, EPOCHS)
    assert np.isnan(times[0]) and times[1] == 0
    assert np.isnan(trends.threshold_epochs(share, EPOCHS)[0]).all()


def test_missing_steps_are_bridged_but_not_the_ends():
    share = np.array([0, 0.25, 0.5, np.nan, 1, 1, 1])
    whole = np.array([0, 0.25, 0.5, 0.5 + 0.5 / 3, 1, 1, 1])
    assert trends.settling_time(share, EPOCHS) == pytest.approx(trends.settling_time(whole, EPOCHS))
    assert np.isnan(trends.settling_time(np.array([np.nan, 1, 1]), EPOCHS[:3]))
    assert np.isnan(trends.settling_time(np.array([1, 1, np.nan]), EPOCHS[:3]))
    assert trends.threshold_epochs(share, EPOCHS, (0.2,)).tolist() == [4]


def test_one_step_has_no_time_to_settle():
    assert trends.settling_time(np.array([1.0]), np.array([3.0])) == 0
    for epochs in (np.array([1.0, 1.0]), np.array([2.0, 1.0]), np.array([1.0])):
        with pytest.raises(ValueError, match="ascend"):
            trends.settling_time(np.ones(2), epochs)


def test_slope_on_depth_is_least_squares():
    rng = np.random.default_rng(2)
    times = rng.normal(size=(4, 5)) + np.arange(5)
    expected = [stats.linregress(np.arange(5), row).slope for row in times]
    assert trends.slope_on_depth(times) == pytest.approx(expected)
    times[0, 2] = np.nan
    kept = [0, 1, 3, 4]
    expected = stats.linregress(kept, times[0, kept]).slope
    assert trends.slope_on_depth(times[0]) == pytest.approx(expected)
    assert np.isnan(trends.slope_on_depth(np.array([np.nan, 2, np.nan])))
    assert np.isnan(trends.slope_on_depth(np.array([1.0])))


def made_maxima(rng, emerge_at, steps=9, images=800):
    """Maxima [steps, images, maps] of maps that are noise up to the step at which they emerge."""
    final = rng.gamma(2, size=(images, len(emerge_at)))
    shown = rng.gamma(2, size=(steps, images, len(emerge_at)))
    for map_, first in enumerate(emerge_at):
        shown[first:, :, map_] = final[:, map_] + 0.3 * shown[first:, :, map_]
    return shown


def emergence_of(maxima, epochs):
    ranks = [ranked(np.ascontiguousarray(responses.T)) for responses in maxima]
    between = [similarity.spearman_between(each, ranks[-1]) for each in ranks]
    bars, chances = zip(*(trends.identity_bar(each) for each in between), strict=True)
    own = np.array([np.diag(each) for each in between])
    chance = chances[-2] if len(chances) > 1 else 0.0
    return trends.emergence(own, np.array(bars), epochs, chance)


def test_maps_emerge_at_the_epoch_at_which_they_were_made_to():
    rng = np.random.default_rng(8)
    at = np.repeat([0, 1, 3, 7], 10)
    epochs = np.array([0, 0.5, 1, 2, 3, 4, 5, 6, 7])
    shown = emergence_of(made_maxima(rng, at), epochs)
    assert shown.epoch.tolist() == epochs[at].tolist() and shown.count == 40
    maxima = made_maxima(rng, np.zeros(40, int))
    maxima[5, :, 4] = rng.gamma(2, size=800)  # lost once more
    assert emergence_of(maxima, epochs).epoch[4] == 5
    maxima[7, :, 4] = rng.gamma(2, size=800)
    assert np.isnan(emergence_of(maxima, epochs).epoch[4])


def test_maps_that_learn_nothing_emerge_as_often_as_chance_says():
    rng = np.random.default_rng(9)
    counts, expected = [], []
    for _ in range(60):
        noise = emergence_of(rng.gamma(2, size=(3, 200, 40)), np.arange(3.0))
        counts.append(noise.count)
        expected.append(noise.by_chance)
    assert np.mean(expected) == pytest.approx(0.4, abs=0.03)
    assert np.mean(counts) == pytest.approx(np.mean(expected), abs=4 * np.sqrt(0.4 / 60))


def test_few_and_dead_maps():
    bar, chance = trends.identity_bar(np.array([[1, 0.2, 0.1], [0.3, 1, 0.0], [0.5, 0.4, 1]]))
    assert (bar, chance) == (0.5, 1 / 7)
    dead = np.full((2, 2), np.nan)
    assert np.isnan(trends.identity_bar(dead)[0]) and np.isnan(
        trends.identity_bar(np.ones((1, 1)))[0]
    )
    own = np.array([[np.nan, 0.9], [np.nan, 0.9], [np.nan, 1.0]])
    shown = trends.emergence(own, np.full(3, 0.5), np.arange(3.0), 0.01)
    assert np.isnan(shown.epoch[0]) and shown.epoch[1] == 0 and shown.by_chance == 0.01
    alone = trends.emergence(np.ones((1, 4)), np.ones(1), np.zeros(1), 0.01)
    assert np.isnan(alone.epoch).all() and alone.by_chance == 0 and alone.count == 0


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_over_seeds_covers_the_slope(seeds):
    """Of settling times of five layers with noise between seeds, at 95% within what 2,000 trials
    tell.
    """
    rng = np.random.default_rng(12)
    trials, true = 2000, 0.7
    times = true * np.arange(5) + rng.normal(0, [1, 0.3, 2, 1, 0.5], (trials, seeds, 5))
    intervals = [interval_of_seeds(slopes) for slopes in trends.slope_on_depth(times).tolist()]
    covered = np.mean([each.low <= true <= each.high for each in intervals])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / trials))
