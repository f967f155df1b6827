"""Similarities against their definitions, scipy, and what they must give by construction."""

import numpy as np
import pytest
from scipy import stats

from zfjax.measures import image_sums, similarity


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def gram_cka(x, y):
    """Nguyen et al. 2021, written out with n x n matrices."""

    def hsic(k, l):
        n, ones = len(k), np.ones(len(k))
        k, l = (m - np.diag(np.diag(m)) for m in (k, l))
        middle = ones @ k @ ones * (ones @ l @ ones) / ((n - 1) * (n - 2))
        return (np.trace(k @ l) + middle - 2 / (n - 2) * ones @ k @ l @ ones) / (n * (n - 3))

    k, l = x @ x.T, y @ y.T
    return hsic(k, l) / np.sqrt(hsic(k, k) * hsic(l, l))


@pytest.mark.parametrize("images, maps, others", [(50, 7, 11), (20, 40, 5), (9, 9, 9), (4, 3, 30)])
def test_cka_is_its_definition(rng, images, maps, others):
    x = rng.normal(size=(images, maps)) + 3
    y = rng.normal(size=(images, others)) + x[:, :1]
    assert similarity.cka(x, y) == pytest.approx(gram_cka(x, y), abs=1e-9)
    assert similarity.cka(x, x) == pytest.approx(1, abs=1e-12)


def test_cka_of_independent_responses_is_zero_on_average_and_negative_at_times(rng):
    values = [similarity.cka(*rng.normal(size=(2, 24, 6))) for _ in range(600)]
    assert np.isfinite(values).all() and min(values) < 0
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


def test_cka_heeds_neither_rotation_nor_scale_nor_shift_nor_block(rng, monkeypatch):
    x, y = rng.normal(size=(60, 8)), rng.normal(size=(60, 5))
    y[:, :3] += x[:, :3]
    plain = similarity.cka(x, y)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert similarity.cka(4 * x @ turn + 1000, y - 7) == pytest.approx(plain, abs=1e-9)
    monkeypatch.setattr(image_sums, "BLOCK", 7)
    assert similarity.cka(x, y) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_responses_that_tell_no_images_apart_have_no_similarity(rng, constant):
    x, y = np.full((30, 4), constant, np.float32), rng.normal(size=(30, 4))
    for first, second in ((x, y), (y, x), (x, x)):
        assert similarity.cka(first, second) is None
        assert similarity.procrustes(first, second) is None
    alone = np.zeros((30, 4))
    alone[3] = 2  # one image differs: no pair of others is told apart by it
    assert similarity.cka(alone, alone) is None
    assert similarity.cka(y[:3], y[:3]) is None


def test_moments_of_groups_add_to_the_whole(rng):
    x, y = rng.gamma(1, size=(90, 6)), rng.gamma(1, size=(90, 4))
    centres = image_sums.column_means(x), image_sums.column_means(y)
    groups = [slice(0, 20), slice(20, 23), slice(23, 90)]

    def sums(rows):
        pairs = (((x, y), centres), ((x, x), centres[:1] * 2), ((y, y), centres[1:] * 2))
        return [image_sums.moments(a[rows], b[rows], both) for (a, b), both in pairs]

    parts = [sums(rows) for rows in groups]
    whole = [a + b + c for a, b, c in zip(*parts, strict=True)]
    assert similarity.cka_of(*whole) == pytest.approx(similarity.cka(x, y), abs=1e-9)
    without = [all_ - first for all_, first in zip(whole, parts[0], strict=True)]
    assert similarity.cka_of(*without) == pytest.approx(similarity.cka(x[20:], y[20:]), abs=1e-9)
    left_out = [image_sums.Without(*pair) for pair in zip(whole, parts[0], strict=True)]
    assert similarity.cka_of(*left_out) == pytest.approx(similarity.cka_of(*without), abs=1e-12)


@pytest.mark.parametrize("weight", [1, 10, 30, 1e3])
def test_without_a_group_is_what_is_left_however_much_the_group_weighs(rng, weight):
    x, y = rng.gamma(1, size=(60, 6)), rng.gamma(1, size=(60, 4))
    x[:12] *= weight
    y[:12] *= weight
    centres = image_sums.column_means(x), image_sums.column_means(y)
    group, rest = (image_sums.moments(x[a], y[a], centres) for a in (slice(12), slice(12, None)))
    left = image_sums.Without(group + rest, group)
    assert left.images == 48
    exact = ((group + rest) - group).dependence()
    assert left.dependence() == pytest.approx(exact, rel=1e-8)
    assert image_sums.Without(group + rest, rest + group).dependence() is None


@pytest.mark.parametrize("images, maps, others", [(40, 6, 6), (40, 6, 9), (8, 30, 12)])
def test_procrustes_is_what_the_best_rotation_leaves(rng, images, maps, others):
    x, y = rng.normal(size=(images, maps)) - 2, rng.normal(size=(images, others))
    y[:, :4] += x[:, :4]
    a, b = (m - m.mean(axis=0) for m in (x, y))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    wide = max(maps, others)
    a, b = (np.pad(m, ((0, 0), (0, wide - m.shape[1]))) for m in (a, b))
    u, _, v = np.linalg.svd(a.T @ b)
    distance = np.linalg.norm(a @ u @ v - b)
    assert similarity.procrustes(x, y) == pytest.approx(1 - distance**2 / 2, abs=1e-9)
    turn = np.linalg.qr(rng.normal(size=(maps, maps)))[0]
    assert similarity.procrustes(x, 3 * x @ turn + 5) == pytest.approx(1, abs=1e-9)


def test_excess_over_the_first_step():
    given = np.array([0.2, 0.6, np.nan, 1.0])
    assert similarity.excess(given, 0.2)[[0, 1, 3]] == pytest.approx([0, 0.5, 1])
    assert np.isnan(similarity.excess(given, 0.2)[2])
    assert np.isfinite(similarity.excess(given, 0.95)[0])
    for first in (0.96, 1.0, None, np.nan):
        assert np.isnan(similarity.excess(given, first)).all()
    assert similarity.excess(np.array([0.5]), -0.5) == pytest.approx([2 / 3])


def test_overlap_of_the_strongest(rng):
    x = rng.normal(size=(1000, 5)).astype(np.float32)
    sets = similarity.top_set(x)
    assert (sets.sum(axis=0) == 10).all()
    assert (np.sort(x, axis=0)[-10] == np.where(sets, x, np.inf).min(axis=0)).all()
    assert (similarity.overlap(sets, sets) == 1).all()
    weaker = similarity.top_set(-x)
    assert (similarity.overlap(sets, weaker) == 0).all()
    between = similarity.overlap_between(sets, similarity.top_set(x[:, ::-1]))
    assert (between == similarity.overlap_between(sets, sets)[:, ::-1]).all()
    assert (np.diag(similarity.overlap_between(sets, sets)) == 1).all()
    half = similarity.top_set(np.where(np.cumsum(sets, axis=0) > 5, x - 100, x))
    assert similarity.overlap(sets, half) == pytest.approx(np.full(5, 5 / 15))


def test_overlap_by_chance_is_half_the_share(rng):
    x, y = (similarity.top_set(rng.normal(size=(2000, 400))) for _ in range(2))
    # 20 of 2,000: shared 0.2 on average, of 40.
    assert similarity.overlap(x, y).mean() == pytest.approx(0.005, abs=0.0015)


def test_dead_and_tied_maps_have_no_arbitrary_strongest_images():
    x = np.zeros((200, 3), np.float32)
    x[150, 1] = 1
    x[[20, 30, 40], 2] = 4
    sets = similarity.top_set(x)
    assert sets[:, 0].sum() == 0 and list(np.flatnonzero(sets[:, 1])) == [150]
    assert list(np.flatnonzero(sets[:, 2])) == [20, 30]
    assert np.isnan(similarity.overlap(sets, sets)[0])
    assert similarity.overlap(sets[:, :2], sets[:, 1::-1]).tolist() == [0, 0]


@pytest.mark.parametrize("highest", [2, 30, 60_000])
@pytest.mark.parametrize("images, maps", [(1, 1), (7, 3), (250, 5)])
def test_mean_ranks_are_scipys(rng, images, maps, highest):
    x = rng.integers(0, highest, (images, maps)).astype(np.uint16)
    np.testing.assert_array_equal(similarity.mean_ranks(x), stats.rankdata(x, axis=0))


def test_the_strongest_are_as_many_as_there_is_room_for_the_earlier_first(rng):
    x = rng.integers(0, 6, (400, 9)).astype(np.uint16)
    sets = similarity.top_set(x)
    for map_ in range(9):
        first = sorted(range(400), key=lambda image: (-int(x[image, map_]), image))[:4]
        assert np.flatnonzero(sets[:, map_]).tolist() == sorted(first)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_spearman_of_many_maps_is_scipys(rng, dtype):
    x = np.maximum(rng.normal(size=(70, 6)), 0).astype(dtype)  # many ties at 0
    y = (x[:, ::-1] + rng.normal(size=(70, 6)) / 2).astype(dtype)
    ranks = similarity.standard_ranks(x), similarity.standard_ranks(y)
    expected = [stats.spearmanr(x[:, m], y[:, m]).statistic for m in range(6)]
    assert similarity.spearman(*ranks) == pytest.approx(expected, abs=1e-12)
    between = similarity.spearman_between(*ranks)
    assert between[2, 4] == pytest.approx(stats.spearmanr(x[:, 2], y[:, 4]).statistic, abs=1e-12)
    x[:, 1] = 0
    dead = similarity.spearman(similarity.standard_ranks(x), ranks[1])
    assert np.isnan(dead[1]) and np.isfinite(np.delete(dead, 1)).all()


def test_only_the_same_images_are_compared(rng):
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(1, 2))
    for compare in (similarity.cka, similarity.procrustes, similarity.spearman):
        with pytest.raises(ValueError, match="same images"):
            compare(x, y)


def test_mean_ranks_of_other_numbers_are_scipys(rng):
    for x in (rng.normal(size=(60, 3)).round(1), rng.integers(-4, 4, (60, 3))):
        np.testing.assert_array_equal(similarity.mean_ranks(x), stats.rankdata(x, axis=0))
    more = rng.integers(0, 50_000, (70_000, 1)).astype(np.uint16)  # than 16 bits can count
    np.testing.assert_array_equal(similarity.mean_ranks(more), stats.rankdata(more, axis=0))


@pytest.mark.parametrize("images", [50, image_sums.BLOCK + 7])
def test_moments_with_oneself_and_another_come_together(rng, images):
    x, y = rng.gamma(1, size=(images, 5)), rng.gamma(1, size=(images, 3))
    centres = image_sums.column_means(x), image_sums.column_means(y)
    own, cross = image_sums.own_and_cross(x, y, centres)
    for sums, other, centre in ((own, x.copy(), centres[0]), (cross, y, centres[1])):
        alone = image_sums.moments(x, other, (centres[0], centre))
        for name, value in vars(alone).items():
            np.testing.assert_allclose(getattr(sums, name), value, rtol=1e-12)
        np.testing.assert_allclose(sums.cross, (x - centres[0]).T @ (other - centre), rtol=1e-9)
    assert similarity.cka_of(*3 * (image_sums.own_and_cross(x, x, (centres[0],) * 2)[1],)) == 1
