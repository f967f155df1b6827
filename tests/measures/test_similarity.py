"""Similarities against their definitions, scipy, and what they must give by construction."""

import numpy as np
import pytest
from scipy import stats

from zfjax.measures import image_sums, ranking, similarity


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


def ranked(x):
    """Of responses [images, maps]."""
    return ranking.ranked(np.ascontiguousarray(x.T))


def strongest_of(x):
    """The strongest images of each map, as sets."""
    return [set(row[row >= 0].tolist()) for row in ranked(x).strongest]


def test_overlap_of_the_strongest(rng):
    x = rng.normal(size=(1000, 5)).astype(np.float32)
    own = ranked(x)
    for map_, images in enumerate(strongest_of(x)):
        assert images == set(np.argsort(x[:, map_])[-10:].tolist())
    assert (similarity.overlap(own, own) == 1).all()
    assert (similarity.overlap(own, ranked(-x)) == 0).all()
    between = similarity.overlap_between(own, ranked(x[:, ::-1]))
    assert (between == similarity.overlap_between(own, own)[:, ::-1]).all()
    assert (np.diag(similarity.overlap_between(own, own)) == 1).all()
    lost = np.zeros(x.shape, bool)
    for map_, images in enumerate(strongest_of(x)):
        lost[sorted(images)[5:], map_] = True
    half = ranked(np.where(lost, x - 100, x))
    assert similarity.overlap(own, half) == pytest.approx(np.full(5, 5 / 15))
    assert np.diag(similarity.overlap_between(own, half)) == pytest.approx(np.full(5, 5 / 15))


def test_overlap_between_is_of_sets(rng):
    x, y = (rng.integers(0, 5, (300, 6)).astype(np.uint16) for _ in range(2))
    x[:, 2] = 7  # tells no images apart, so it has no strongest
    of_x, of_y = strongest_of(x), strongest_of(y)
    between = similarity.overlap_between(ranked(x), ranked(y))
    own = similarity.overlap(ranked(x), ranked(y))
    for i, a in enumerate(of_x):
        for j, b in enumerate(of_y):
            assert between[i, j] == len(a & b) / len(a | b)
        assert own[i] == between[i, i]
    assert np.isnan(similarity.overlap_between(ranked(x), ranked(x))[2, 2])


def test_overlap_by_chance_is_half_the_share(rng):
    x, y = (ranked(rng.normal(size=(2000, 400))) for _ in range(2))
    # 20 of 2,000: shared 0.2 on average, of 40.
    assert similarity.overlap(x, y).mean() == pytest.approx(0.005, abs=0.0015)


def test_dead_and_tied_maps_have_no_arbitrary_strongest_images():
    x = np.zeros((200, 3), np.float32)
    x[150, 1] = 1
    x[[20, 30, 40], 2] = 4
    assert strongest_of(x) == [set(), {150}, {20, 30}]
    own = ranked(x)
    assert np.isnan(similarity.overlap(own, own)[0])
    swapped = similarity.overlap(ranked(x[:, :2]), ranked(x[:, 1::-1]))
    assert swapped.tolist() == [0, 0]
    assert own.norms[0] == 0 and own.norms[1] > 0


@pytest.mark.parametrize("highest", [2, 30, 60_000])
@pytest.mark.parametrize("images, maps", [(1, 1), (7, 3), (250, 5)])
def test_mean_ranks_are_scipys(rng, images, maps, highest):
    x = rng.integers(0, highest, (images, maps)).astype(np.uint16)
    np.testing.assert_array_equal(similarity.mean_ranks(x), stats.rankdata(x, axis=0))


@pytest.mark.parametrize("images", [400, 70_000])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_strongest_are_as_many_as_there_is_room_for_the_earlier_first(rng, images, dtype):
    x = rng.integers(1, 7, (images, 3)).astype(dtype)
    for map_, row in enumerate(ranked(x).strongest):
        first = np.lexsort((np.arange(images), -x[:, map_].astype(int)))[: images // 100]
        assert row[::-1].tolist() == first.tolist()


@pytest.mark.parametrize("images, top", [(9, 9), (30, 9), (2000, 9), (2000, 2000), (5, 9)])
def test_the_strongest_images_are_those_of_sorting(rng, images, top):
    x = rng.integers(0, 5 * images, (images, 7)) // 3 * (rng.random((images, 7)) > 0.3)
    x[:, 2] = 0
    x[1:, 3] = 0
    keys = x.astype(np.uint16)
    strongest = ranking.strongest_images(keys, x > 0, top)
    for map_ in range(7):
        order = sorted(range(images), key=lambda row: (-x[row, map_], row))[:top]
        expected = [row if x[row, map_] > 0 else -1 for row in order]
        assert strongest[:, map_].tolist() == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_spearman_of_many_maps_is_scipys(rng, dtype):
    x = np.maximum(rng.normal(size=(70, 6)), 0).astype(dtype)  # many ties at 0
    y = (x[:, ::-1] + rng.normal(size=(70, 6)) / 2).astype(dtype)
    expected = np.array([[stats.spearmanr(a, b).statistic for b in y.T] for a in x.T])
    assert similarity.spearman(ranked(x), ranked(y)) == pytest.approx(np.diag(expected), abs=1e-12)
    between = similarity.spearman_between(ranked(x), ranked(y))
    np.testing.assert_allclose(between, expected, atol=1e-12)
    standard = [similarity.standard_ranks(each) for each in (x, y)]
    np.testing.assert_allclose(standard[0].T @ standard[1], expected, atol=1e-12)
    x[:, 1] = 0
    dead = similarity.spearman(ranked(x), ranked(y))
    assert np.isnan(dead[1]) and np.isfinite(np.delete(dead, 1)).all()
    assert np.isnan(similarity.standard_ranks(x)[:, 1]).all()


def test_only_the_same_images_are_compared(rng):
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(1, 2))
    for compare in (similarity.cka, similarity.procrustes):
        with pytest.raises(ValueError, match="same images"):
            compare(x, y)
    for compare in (similarity.spearman, similarity.spearman_between, similarity.overlap):
        with pytest.raises(ValueError, match="same images"):
            compare(ranked(x), ranked(y))


def test_mean_ranks_of_other_numbers_are_scipys(rng):
    for x in (rng.normal(size=(60, 3)).round(1), rng.integers(-4, 4, (60, 3))):
        np.testing.assert_array_equal(similarity.mean_ranks(x), stats.rankdata(x, axis=0))
    more = rng.integers(0, 50_000, (70_000, 1)).astype(np.uint16)  # than 16 bits can count
    np.testing.assert_array_equal(similarity.mean_ranks(more), stats.rankdata(more, axis=0))


@pytest.mark.parametrize("images", [50, image_sums.BLOCK + 7])
def test_moments_with_oneself_and_another_come_together(rng, images):
    x, y = rng.gamma(1, size=(images, 5)), rng.gamma(1, size=(images, 3))
    centres = image_sums.column_means(x), image_sums.column_means(y)
    centred_x, centred_y = (image_sums.centred(each.copy()) for each in (x, y))
    np.testing.assert_allclose(centred_x, x - centres[0], atol=1e-12)
    own, cross = image_sums.own_and_cross(centred_x, centred_y)
    for sums, other, centre in ((own, x.copy(), centres[0]), (cross, y, centres[1])):
        alone = image_sums.moments(x, other, (centres[0], centre))
        for name, value in vars(alone).items():
            np.testing.assert_allclose(getattr(sums, name), value, rtol=1e-9, atol=1e-9)
    assert similarity.cka_of(*3 * (image_sums.own_and_cross(centred_x, centred_x)[1],)) == 1
    single = [image_sums.centred(each.astype(np.float32)) for each in (x, y)]
    for rounded, sums in zip(image_sums.own_and_cross(*single), (own, cross), strict=True):
        assert rounded.cross.dtype == np.float64
        np.testing.assert_allclose(rounded.cross, sums.cross, atol=1e-6 * images)


@pytest.mark.parametrize("constant", [0.1, -3e5])
def test_of_constant_maps_nothing_is_left(rng, constant):
    x = np.full((700, 3), constant, np.float32)
    x[:, 1] += rng.normal(size=700).astype(np.float32)
    left = image_sums.centred(x)
    assert not left[:, [0, 2]].any() and abs(left[:, 1].mean()) < 1e-6


@pytest.mark.parametrize("rank", [2, 40])
@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_singular_values_are_lapacks(rng, shape, rank):
    matrix = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    expected = np.linalg.svd(matrix, compute_uv=False)
    own = similarity.singular_values(matrix)[::-1]
    np.testing.assert_allclose(own, expected, atol=1e-7 * expected[0])
