"""Intervals, orders and verdicts against scipy, enumeration and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from zfjax.measures import verdicts
from zfjax.measures.verdicts import FAILS, HOLDS, UNKNOWN, Verdict


def test_seeds_have_students_interval():
    values = [1.0, 2.5, 2.0]
    ours = verdicts.interval_of_seeds(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (ours.low, ours.high) == (pytest.approx(low), pytest.approx(high))
    assert (ours.n, ours.over, ours.degrees) == (3, "seeds", 2)
    assert verdicts.interval_of_seeds([1.0]) is None
    assert verdicts.interval_of_seeds([1.0, math.nan]) is None


def test_images_left_out_by_groups_give_the_error_of_a_mean():
    values = np.random.default_rng(1).normal(size=200)
    groups = values.reshape(20, 10)
    without = [np.delete(groups, index, axis=0).mean() for index in range(20)]
    ours = verdicts.interval_of_images(values.mean(), without, 200)
    low, high = stats.t.interval(0.95, 19, values.mean(), stats.sem(groups.mean(axis=1)))
    assert (ours.low, ours.high) == (pytest.approx(low), pytest.approx(high))
    assert (ours.n, ours.over) == (200, "images")
    assert verdicts.interval_of_images(1.0, [1.0], 10) is None
    assert verdicts.interval_of_images(math.nan, [1.0, 2.0], 10) is None


def test_what_is_needed_is_just_enough():
    values = np.array([0.5, 2.0, -0.4])
    interval = verdicts.interval_of_seeds(values)
    error, mean = values.std(ddof=1), values.mean()
    needed = interval.needed()
    half = [stats.t.ppf(0.975, n - 1) * error / math.sqrt(n) for n in (needed - 1, needed)]
    assert half[1] < mean <= half[0]
    images = verdicts.Interval(0.1, -0.3, 0.5, 1000, "images", 19)
    assert images.needed() == 16_000
    assert verdicts.interval_of_seeds([1.0, -1.0]).needed() is None
    assert verdicts.interval_of_seeds([1.0, -0.9999]).needed() > 1e6
    assert verdicts.interval_of_seeds([1.0, -1.0, 1e-18]).needed() is None  # a sum's rounding
    assert verdicts.Interval(1e-12, -0.1, 0.1, 500, "images", 9).needed() is None


@pytest.mark.parametrize(
    "times, tau, p", [((1, 2, 3, 4, 5), 1.0, 1 / 120), ((2, 1, 3, 4, 5), 0.8, 5 / 120)]
)
def test_five_layers_in_order(times, tau, p):
    assert verdicts.order_of_layers(times) == (pytest.approx(tau), pytest.approx(p))


@pytest.mark.parametrize(
    "times", [(3, 1, 2, 5, 4, 6), (1, 1, 2, 2, 3), (2, 2, 1), (5, 4, 4, 4, 1, 9), (1, 2), (2, 1)]
)
def test_order_is_scipys_with_every_order_counted(times):
    tau, p = verdicts.order_of_layers([float(time) for time in times])
    depths = range(len(times))
    assert tau == pytest.approx(stats.kendalltau(depths, times).statistic)
    every = [stats.kendalltau(depths, order).statistic for order in itertools.permutations(times)]
    assert p == pytest.approx(np.mean(np.array(every) >= tau - 1e-12))


def test_order_of_many_layers_and_of_none():
    times = np.random.default_rng(3).permutation(30) + np.arange(30) / np.pi
    exact = stats.kendalltau(np.arange(30), times, method="exact", alternative="greater")
    assert verdicts.order_of_layers(times) == pytest.approx((exact.statistic, exact.pvalue))
    with_gap = [0.0, math.nan, 1.0, 2.0]
    assert verdicts.order_of_layers(with_gap) == (1.0, pytest.approx(1 / 6))
    for none in ([], [1.0], [2.0, 2.0, 2.0], [math.nan, 1.0]):
        assert verdicts.order_of_layers(none) is None


def test_adjusted_p_is_the_step_up_rule():
    p = np.random.default_rng(4).uniform(size=(5, 8)) ** 6
    p[2, 3] = np.nan
    known = np.sort(p[~np.isnan(p)])
    rejected = known <= 0.05 * np.arange(1, len(known) + 1) / len(known)
    largest = known[rejected].max() if rejected.any() else -1
    adjusted = verdicts.adjusted_p(p)
    assert np.isnan(adjusted[2, 3])
    assert ((adjusted <= 0.05) == (p <= largest)).all() and rejected.any()
    assert np.isnan(verdicts.adjusted_p(np.full(3, np.nan))).all()


def test_ends_are_cut_where_the_number_ends():
    limits = (-1.0, 1.0)
    for ends, cut in (((-3.0, 0.5), (-1.0, 0.5)), ((0.2, 4.0), (0.2, 1.0)), ((-9, 9), limits)):
        assert verdicts.within(ends, limits) == cut and verdicts.reaches_beyond(ends, limits)
    assert verdicts.within((-0.3, 0.4), limits) == (-0.3, 0.4)
    assert not verdicts.reaches_beyond((-0.3, 0.4), limits)
    assert np.isnan(verdicts.within((math.nan, math.nan), limits)).all()
    assert not verdicts.reaches_beyond((math.nan, math.nan), limits)


def interval(low, high):
    return verdicts.Interval((low + high) / 2, low, high, 3, "seeds", 2)


def test_verdicts_follow_from_the_interval_alone():
    assert verdicts.verdict(interval(0.1, 2)).word == HOLDS
    assert verdicts.verdict(interval(0.1, 2), side=-1).word == FAILS
    assert verdicts.verdict(interval(-2, -0.1)).word == FAILS
    assert verdicts.verdict(interval(-2, -0.1), side=-1).word == HOLDS
    for low, high in ((0, 1), (-1, 0), (-1, 3), (0, 0)):
        assert verdicts.verdict(interval(low, high)).word == UNKNOWN
    told = verdicts.verdict(interval(-1, 3))
    assert str(told) == f"cannot tell (about {told.needed} seeds would be needed)"
    assert str(verdicts.verdict(None)) == UNKNOWN


def test_a_claim_of_several_families_needs_all():
    holds, fails = Verdict(HOLDS), Verdict(FAILS)
    lacking, more = Verdict(UNKNOWN, 9), Verdict(UNKNOWN, 40, "images")
    assert verdicts.joint_verdict({"a": holds, "b": holds}) == holds
    assert verdicts.joint_verdict({"a": fails, "b": fails}) == fails
    assert verdicts.joint_verdict({"a": holds, "b": fails}) == Verdict(UNKNOWN)
    assert verdicts.joint_verdict({"a": lacking, "b": holds, "c": more}) == more
    assert verdicts.joint_verdict({"a": lacking, "b": holds, "c": fails}) == Verdict(UNKNOWN)
    assert verdicts.joint_verdict({"a": Verdict(UNKNOWN), "b": lacking}) == Verdict(UNKNOWN)
    assert verdicts.joint_verdict({}) == Verdict(UNKNOWN)
