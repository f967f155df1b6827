"""What the intervals cover, each its own target; and no verdict says other than its interval."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from zfjax.studies import intervals
from zfjax.studies.intervals import Comparison, Interval, comparison, mean_squares

REPEATS, IMAGES = 4000, 160
"""Studies drawn for a share: its standard error is 0.34 points at 95%."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations of what decides whether a network is right on an image, beside 1 for
    what seed and image do together."""

    seed: float
    image: float
    pair: float
    """Of what one of the two networks makes of an image, whatever the seed."""


SPREADS = (
    Spread(0.05, 1.0, 0.2),
    Spread(0.2, 1.0, 0.5),
    Spread(0.3, 0.5, 1.0),
    Spread(0.6, 1.0, 0.3),
    # Images decide nearly all: three seeds' headline is often narrower than one over seeds alone.
    Spread(0.2, 1.0, 2.0),
)
MEANS = np.array([0.2, 0.45])


def drawn(seeds, spread, repeats, random):
    """Differences [repeats, seeds, images] of two networks; {interval: its target [repeats]}."""

    def normal(*shape):
        return random.standard_normal(shape, np.float32)

    of_seed = spread.seed * normal(2, repeats, seeds, 1)
    of_image = spread.image * normal(1, repeats, 1, IMAGES)
    of_pair = of_image + spread.pair * normal(2, repeats, 1, IMAGES)
    means = MEANS[:, None, None, None].astype(np.float32)
    right = means + of_seed + of_pair + normal(2, repeats, seeds, IMAGES) > 0
    over_images = np.sqrt(spread.image**2 + spread.pair**2 + 1)
    over_both = np.sqrt(over_images**2 + spread.seed**2)
    zero, one = stats.norm.cdf(MEANS / over_both)
    chance = stats.norm.cdf((means + of_pair) / np.sqrt(spread.seed**2 + 1))
    by_image = (chance[1] - chance[0]).mean(axis=(-2, -1))
    chance = stats.norm.cdf((means + of_seed) / over_images)
    by_seed = (chance[1] - chance[0]).mean(axis=(-2, -1))
    differences = right[1].astype(np.float32) - right[0]
    return differences, {
        intervals.over_seeds: by_image,
        intervals.over_images: by_seed,
        intervals.over_both: np.full(repeats, one - zero),
    }


def covered(interval, target):
    return float(np.mean((interval.low <= target) & (target <= interval.high)))


@pytest.mark.parametrize("spread", SPREADS, ids=str)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_each_interval_covers_its_own_target(seeds, spread):
    random = np.random.default_rng(1000 * seeds + SPREADS.index(spread))
    differences, targets = drawn(seeds, spread, REPEATS, random)
    squares = mean_squares(differences)
    for interval, target in targets.items():
        share = covered(interval(squares), target)
        assert 0.93 <= share <= 0.97, f"{interval.__name__} covers {share:.1%}"
    # That the targets differ is why there are three: with these networks alone, other seeds are
    # not covered.
    if spread.seed > 0.5:
        both = targets[intervals.over_both]
        assert covered(intervals.over_images(squares), both) < 0.8


def test_what_is_pooled_covers_where_all_cells_vary_alike_and_not_where_one_does_not():
    random = np.random.default_rng(3)
    cells, seeds, repeats = 5, 3, 500
    alike = np.ones(cells)
    for spreads, least, most in ((alike, 0.93, 0.97), (np.array([1, 1, 1, 1, 2.5]), 0.6, 0.92)):
        hits = []
        for _ in range(repeats):
            of_seed = 0.3 * spreads[:, None, None] * random.standard_normal((cells, seeds, 1))
            of_image = random.standard_normal((1, 1, IMAGES))
            right = of_seed + of_image + random.standard_normal((cells, seeds, IMAGES)) > 0
            accuracies = dict(zip("abcde", right.mean(axis=-1), strict=True))
            pooled = intervals.pooled_mean_square(accuracies, IMAGES)
            if pooled is None or pooled.left_out:
                continue
            squares = mean_squares(right[-1].astype(float) - right[0])
            hits.append(covered(intervals.over_both(squares, pooled=pooled), 0.0))
        assert least <= np.mean(hits) <= most, np.mean(hits)


def test_a_cell_of_another_spread_is_not_pooled():
    calm = {name: np.array([0.5, 0.51, 0.52]) + place / 50 for place, name in enumerate("abcd")}
    assert intervals.pooled_mean_square(calm, 100).left_out == ()
    assert intervals.pooled_mean_square(calm, 100).mean_square == pytest.approx(0, abs=1e-12)
    wild = {**calm, "e": np.array([0.2, 0.5, 0.8])}
    pooled = intervals.pooled_mean_square(wild, 100)
    assert pooled.left_out == ("e",) and pooled.df == 6
    assert pooled == replace(intervals.pooled_mean_square(calm, 100), left_out=("e",))
    assert intervals.pooled_mean_square({"a": calm["a"], "b": calm["b"]}, 100) is None
    assert (
        intervals.pooled_mean_square({name: values[:1] for name, values in calm.items()}, 9) is None
    )


def test_mean_squares_are_those_of_a_table_summed_by_hand():
    values = np.array([[1, 0, 0, -1, 1], [0, 0, 1, -1, 1], [1, 1, 0, 0, 1]])
    squares = mean_squares(values)
    rows, columns = range(3), range(5)
    grand = sum(values[s][i] for s in rows for i in columns) / 15
    row = [sum(values[s][i] for i in columns) / 5 for s in rows]
    column = [sum(values[s][i] for s in rows) / 3 for i in columns]
    assert squares.mean == pytest.approx(grand)
    assert squares.seeds == pytest.approx(5 * sum((mean - grand) ** 2 for mean in row) / 2)
    assert squares.images == pytest.approx(3 * sum((mean - grand) ** 2 for mean in column) / 4)
    rest = sum((values[s][i] - row[s] - column[i] + grand) ** 2 for s in rows for i in columns)
    assert squares.residual == pytest.approx(rest / 8)
    many = mean_squares(np.stack([values, values[::-1]]))
    assert many.residual == pytest.approx([rest / 8] * 2)


def test_the_intervals_are_those_of_the_textbook():
    random = np.random.default_rng(0)
    values = random.integers(-1, 2, (4, 50))
    squares = mean_squares(values)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values.mean(axis=1)))
    seeds = intervals.over_seeds(squares)
    assert (seeds.low, seeds.high) == (pytest.approx(low), pytest.approx(high))
    low, high = stats.t.interval(0.95, 49, loc=values.mean(), scale=stats.sem(values.mean(axis=0)))
    images = intervals.over_images(squares)
    assert (images.low, images.high) == (pytest.approx(low), pytest.approx(high))
    wider = intervals.over_both(squares, 0.99)
    assert wider.half_width > intervals.over_both(squares).half_width


def studies():
    """Many small studies, the odd ones among them."""
    random = np.random.default_rng(11)
    for seeds in (1, 2, 3, 6):
        for images in (2, 7, 60):
            for shift in (-0.8, -0.3, 0.0, 0.02, 0.3, 0.9):
                noise = random.uniform(-1, 1, (seeds, images)) + shift
                yield np.clip(np.round(noise), -1, 1).astype(int)
            yield np.zeros((seeds, 100 * images), int)
            yield np.ones((seeds, images), int)
            yield np.tile(random.integers(-1, 2, images), (seeds, 1))
            yield np.repeat(random.integers(-1, 2, (seeds, 1)), images, axis=1)


def test_a_verdict_never_contradicts_its_interval():
    verdicts = set()
    for differences in studies():
        for comparisons in (1, 4, 30):
            said = comparison(differences, comparisons)
            verdicts.add(said.verdict)
            if said.both is None:
                assert len(differences) == 1 and said.verdict == intervals.CANNOT_TELL
                assert said.these_images is None and said.these_networks is not None
                continue
            low, high = said.both.low, said.both.high
            assert np.isfinite([low, high]).all() and low <= said.difference <= high
            assert (said.verdict == intervals.BETTER) == (low > 0)
            assert (said.verdict == intervals.WORSE) == (high < 0)
            if said.verdict == intervals.NONE_LARGER:
                assert -intervals.NEGLIGIBLE <= low <= 0 <= high <= intervals.NEGLIGIBLE
                assert f"{100 * max(abs(low), abs(high)):.2f} points" in said.words
            opposite = comparison(-differences, comparisons)
            mirrored = {intervals.BETTER: intervals.WORSE, intervals.WORSE: intervals.BETTER}
            assert opposite.verdict == mirrored.get(said.verdict, said.verdict)
            assert comparison(differences, comparisons + 1).both.half_width >= said.both.half_width
    assert verdicts == {
        intervals.BETTER,
        intervals.WORSE,
        intervals.NONE_LARGER,
        intervals.CANNOT_TELL,
    }


def test_what_could_have_been_shown_is_shown_in_eight_of_ten():
    random = np.random.default_rng(5)
    seeds, repeats, sd = 5, 4000, 1.0
    noise = random.standard_normal((repeats, seeds, 1)) * sd + np.zeros((1, 1, 2))
    typical = Interval(0.0, stats.t.ppf(0.975, 4) * sd / np.sqrt(seeds), 4)
    shown = intervals.over_seeds(mean_squares(noise + typical.detectable))
    assert 0.76 <= float(np.mean(shown.low > 0)) <= 0.84


def test_what_cannot_be_compared_is_said():
    for shape in ((0, 5), (2, 1), (3, 0)):
        with pytest.raises(ValueError, match="the least"):
            mean_squares(np.zeros(shape))
    said = comparison(np.zeros((3, 40)))
    assert isinstance(said, Comparison) and said.verdict == intervals.CANNOT_TELL


def test_networks_that_never_differ_may_differ_on_one_image_in_so_many():
    said = comparison(np.zeros((3, 4000)))
    assert said.words == "no difference larger than 0.09 points shown"
    share = said.both.high  # as likely as 1 in 40 to be missed by 4,000 images
    assert (1 - share) ** 4000 == pytest.approx(0.025)
    assert comparison(np.ones((3, 40))).both.low == pytest.approx(1 - (1 - 0.025 ** (1 / 40)))
    assert comparison(np.ones((3, 40))).verdict == intervals.BETTER


@pytest.mark.parametrize("images", [12, 240, 2000])
def test_seeds_that_agree_by_luck_leave_all_doubt_of_the_images(images):
    """Each seed errs as often as the base, on other images: no interval of no width."""
    once = np.concatenate([np.ones(3), -np.ones(3), np.zeros(images - 6)])
    said = comparison(np.stack([once, np.roll(once, 6), np.roll(once, -3)]))
    assert said.difference == 0 and said.these_images.half_width == 0
    assert said.both.half_width == pytest.approx(said.these_networks.half_width, rel=0.15)
    none_larger = intervals.NONE_LARGER if images > 100 else intervals.CANNOT_TELL
    assert said.verdict == none_larger
