"""Maps matched between networks: a permuted copy, networks that have learnt nothing, common
strength, and what has no answers.
"""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from zfjax.measures import matching
from zfjax.measures.matching import RATE, Answers, match_maps

IMAGES, MAPS = 300, 24


def pictures(rng, count=IMAGES, size=14):
    """Grey pictures of very different contrast whose neighbouring pixels are alike."""
    white = rng.normal(size=(count, size + 4, size + 4))
    smooth = sliding_window_view(white, (5, 5), axis=(1, 2)).mean(axis=(3, 4))
    return smooth * rng.lognormal(0, 1, (count, 1, 1)) + rng.normal(size=(count, 1, 1))


def maxima(images, kernels):
    """Strongest response of random filters after ReLU, twice over: [images, maps]."""
    first, second = kernels
    patches = sliding_window_view(images, (5, 5), axis=(1, 2)).reshape(*images.shape[:1], -1, 25)
    below = np.maximum(patches @ first, 0)[:, ::3]
    return np.maximum(below @ second, 0).max(axis=1)


def network(rng, maps=MAPS):
    return rng.normal(size=(25, 16)), rng.normal(size=(16, maps))


@pytest.fixture(scope="module")
def seen():
    return pictures(np.random.default_rng(0))


def answers(*responses):
    return tuple(map(Answers.of, responses))


def test_a_permuted_copy_is_found_whatever_its_scale(seen):
    """Of a network that has moved from its start, with the start of both at hand or not."""
    rng = np.random.default_rng(1)
    start, end = (maxima(seen, network(rng)) for _ in range(2))
    order = rng.permutation(MAPS)
    copy = np.exp(end / end.max())[:, order] * rng.uniform(0.1, 9, MAPS)
    for before in (None, answers(start, start[:, order])):
        matches = match_maps(*answers(end, copy), before)
        assert matches.partner.tolist() == np.argsort(order).tolist()
        assert matches.are_partners.all() and matches.mutual.all() and matches.null_share == 0
        np.testing.assert_allclose(matches.own, 1)
        assert matches.possible == MAPS and matches.bar < 1


def test_a_network_at_its_start_is_its_own_partner(seen):
    """The start is not taken for chance where both began as one."""
    start = answers(maxima(seen, network(np.random.default_rng(2))))[0]
    matches = match_maps(start, start, (start, start))
    assert matches.are_partners.all() and len(matches.null) == 2 * MAPS
    assert matches.null.max() < 0.999


@pytest.mark.parametrize(("own", "others"), [(MAPS, MAPS), (MAPS, 40), (40, MAPS)])
def test_networks_that_learnt_nothing_are_partners_as_rarely_as_is_said(seen, own, others):
    """p below 5% about that often (the assignment takes the best away from most, so less), no
    partners but by chance; though one strong image excites all maps."""
    rng, below, called, pairs = np.random.default_rng(3), 0, 0, 0
    raw = []
    for _ in range(12):
        x, y = maxima(seen, network(rng, own)), maxima(seen, network(rng, others))
        raw.append(np.corrcoef(x.T, y.T)[:own, own:].mean())
        start = answers(x, y)
        matches = match_maps(*start, start)
        law = matching._Gumbel.of(matches.null)
        below += (law.above(matches.own[matches.partner >= 0]) < RATE).sum()
        called, pairs = called + matches.are_partners.sum(), pairs + matches.possible
    assert np.mean(raw) > 0.5, "the images' strength alone is to make them alike"
    assert below / pairs < 1.5 * RATE
    assert called / pairs < 0.02


def test_some_shared_maps_among_strangers(seen):
    """Half of the maps are the other network's with noise: these, and hardly any other, are
    partners."""
    rng = np.random.default_rng(4)
    start = answers(*(maxima(seen, network(rng)) for _ in range(2)))
    x, y = (maxima(seen, network(rng)) for _ in range(2))
    shared = MAPS // 2
    y[:, :shared] = x[:, :shared] * rng.lognormal(0, 0.02, (IMAGES, shared))
    y = y[:, order := rng.permutation(MAPS)]
    matches = match_maps(*answers(x, y), start)
    assert (order[matches.partner[:shared]] == np.arange(shared)).all()
    assert matches.are_partners[:shared].all() and matches.are_partners[shared:].sum() <= 1


def test_dead_maps_have_no_partner_and_take_none(seen):
    rng = np.random.default_rng(5)
    x = maxima(seen, network(rng))
    x[:, [2, 7]] = 0
    y = x[:, ::-1].copy()
    y[:, 0] = 3.0  # constant, if not 0: the partner of the last
    matches = match_maps(*answers(x, y))
    assert matches.partner[[2, 7, MAPS - 1]].tolist().count(-1) == 3
    assert matches.possible == matches.are_partners.sum() == MAPS - 3
    assert np.isnan(matches.own[2]) and np.isnan(matches.correlations[:, 0]).all()
    nothing = match_maps(*answers(np.zeros((IMAGES, 3)), x))
    assert nothing.possible == 0 and not nothing.are_partners.any() and not nothing.mutual.any()
    assert not match_maps(*answers(np.zeros((IMAGES, 3)), np.ones((IMAGES, 2)))).possible


def test_it_is_a_partial_rank_correlation_best_assigned(seen):
    """Against ranks, least squares and the assignment done one by one."""
    rng = np.random.default_rng(6)
    x, y = maxima(seen, network(rng, 5)), maxima(seen, network(rng, 7))
    ranks = [rankdata(each, axis=0) - (IMAGES + 1) / 2 for each in (x, y)]
    ranks = [each / np.linalg.norm(each, axis=0) for each in ranks]
    strength = np.concatenate(ranks, axis=1).mean(axis=1)
    left = [
        each - np.outer(strength, np.linalg.lstsq(strength[:, None], each, rcond=None)[0])
        for each in ranks
    ]
    wanted = np.array([[np.corrcoef(a, b)[0, 1] for b in left[1].T] for a in left[0].T])
    matches = match_maps(*answers(x, y))
    np.testing.assert_allclose(matches.correlations, wanted, atol=1e-9)
    assert matches.partner.tolist() == linear_sum_assignment(-wanted)[1].tolist()
    back = match_maps(*answers(y, x))
    assert [back.partner.tolist().index(index) for index in range(5)] == matches.partner.tolist()


def test_a_layer_of_few_maps_makes_no_claim_without_a_null(seen):
    one = maxima(seen, network(np.random.default_rng(7), 1))
    matches = match_maps(*answers(one, one))
    assert matches.partner.tolist() == [0] and not matches.are_partners.any()
    assert np.isnan(matches.null_share) and np.isnan(matches.bar)


def test_other_images_are_refused(seen):
    x = maxima(seen, network(np.random.default_rng(8)))
    with pytest.raises(ValueError, match="same images"):
        match_maps(*answers(x, x[:-1]))


def test_the_null_s_tail_is_that_of_the_largest_of_many():
    """Of the largest of 40 normal numbers, 5% lie above the bar."""
    rng = np.random.default_rng(9)
    largest = rng.normal(0, 0.2, (4000, 40)).max(axis=1)
    law = matching._Gumbel.of(np.tanh(largest))
    assert (np.tanh(largest) > law.quantile(0.95)).mean() == pytest.approx(0.05, abs=0.012)
    assert law.above(np.array([law.quantile(0.9)])) == pytest.approx(0.1)
    assert law.above(np.array([1.0])) == 0
