"""Numbers, intervals and verdicts of the paper's page: against scipy, by simulation, and by how a
verdict stands to the interval beside it.
"""

import math

import numpy as np
import pytest
from scipy import stats

from zfjax.report.kit.wording import rough_count
from zfjax.studies.paper_numbers import (
    NOT_MEASURED,
    Judged,
    Reading,
    judge,
    needed,
    of_two,
    of_values,
    over_seeds,
)


def test_intervals_over_maps_are_students_and_leave_out_what_is_undefined():
    values = np.array([0.1, 0.5, math.nan, 0.3, 0.45])
    ours = of_values(values)
    known = values[np.isfinite(values)]
    low, high = stats.t.interval(0.95, 3, known.mean(), stats.sem(known))
    assert (ours.low, ours.high) == (pytest.approx(low), pytest.approx(high))
    assert (ours.n, ours.over) == (4, "maps")
    alone = of_values([0.4])
    assert alone.value == 0.4 and not alone.known
    assert math.isnan(of_values([]).value) and of_values([]).n == 0


def test_two_groups_have_welchs_interval():
    generator = np.random.default_rng(0)
    first, second = generator.normal(1, 1, 9), generator.normal(0, 3, 14)
    ours = of_two(first, second)
    theirs = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert of_two(np.ones(4), np.zeros(3)).low == 1  # no spread at all
    assert not of_two(np.ones(1), np.zeros(3)).known


def test_a_verdict_never_contradicts_the_interval_beside_it():
    generator = np.random.default_rng(1)
    words = set()
    for _ in range(400):
        value, half = generator.normal(0, 1), generator.exponential(1)
        side = int(generator.choice([-1, 1]))
        word = judge(Reading(value, value - half, value + half, 20), side).word
        words.add(word)
        clear = abs(value) > half
        right = side * value > 0
        assert word == ("cannot tell" if not clear else "holds" if right else "does not hold")
    assert len(words) == 3
    assert judge(Reading(1.0), 1).word == "cannot tell"
    assert judge(Reading(math.nan, 1.0, 2.0, 5), 1).word == "cannot tell"


def test_one_run_says_nothing_of_others_and_seeds_do():
    images = Reading(1.0, 0.5, 1.5, 100, "images")
    assert str(judge(images, 1)) == "holds for this run"
    assert str(judge(images, -1)) == "does not hold for this run"
    assert str(judge(Reading(1.0, 0.5, 1.5, 3, "seeds"), 1)) == "holds"
    together = over_seeds([images, Reading(1.2, 0.9, 1.4, 100), Reading(0.8, 0, 2, 100)])
    low, high = stats.t.interval(0.95, 2, 1.0, stats.sem([1.0, 1.2, 0.8]))
    assert (together.low, together.high) == (pytest.approx(low), pytest.approx(high))
    assert together.over == "seeds" and together.n == 3
    assert over_seeds([images]) is images


@pytest.mark.parametrize("over", ["images", "seeds"])
def test_as_many_as_are_said_to_be_needed_would_clear_zero(over):
    reading = of_values([1.0, -0.6, 0.9, -0.2, 0.4], over=over)
    assert judge(reading, 1).word == "cannot tell"
    count = needed(reading)
    error = stats.sem([1.0, -0.6, 0.9, -0.2, 0.4]) * math.sqrt(5)

    def half(n):
        return stats.t.ppf(0.975, n - 1) * error / math.sqrt(n)

    assert half(count) <= reading.value < half(count - 1)
    assert f"about {rough_count(count)} {over} would be needed" in str(judge(reading, 1))
    few = of_values([0.9, -0.5], over=over)  # a quantile of one degree: 12.7
    error = stats.sem([0.9, -0.5]) * math.sqrt(2)
    assert half(needed(few)) <= few.value < half(needed(few) - 1)
    assert needed(few) < (few.half / few.value) ** 2 * 2 / 10
    two = of_two(np.array([1.0, 0.2, 0.5]), np.array([0.4, -0.3]), over=over)
    assert judge(two, 1).word == "cannot tell" and 5 < needed(two) < (two.half / two.value) ** 2 * 5
    assert needed(of_values([1.0, -1.0, 1e-18], over=over)) is None  # a sum's rounding
    assert needed(Reading(0.0, -1, 1, 10)) is None
    assert needed(Reading(0.2, -0.1, 0.5, 5, "folds")) is None
    assert needed(Reading(0.2, -0.1, 0.5, 5, "pairs")) == 12
    assert str(Judged("cannot tell")) == "cannot tell"


def test_an_interval_is_shown_no_further_than_the_number_goes():
    reading = of_values([0.9, -0.5], limits=(-2.0, 2.0), note="Two.")  # t of one degree: 12.7
    assert reading.high > 8 and reading.cut.high == 2 and reading.cut.low == -2
    assert reading.cut.note == "Two. The interval is cut where the number itself ends."
    assert reading.cut.cut == reading.cut
    generator = np.random.default_rng(2)
    for _ in range(200):
        whole = of_values(generator.uniform(-1, 1, 3), limits=(-1.0, 1.0))
        shown = whole.cut
        assert -1 <= shown.low <= shown.value <= shown.high <= 1 and shown.value == whole.value
        assert judge(shown, 1).word == judge(whole, 1).word
        inside = -1 <= whole.low and whole.high <= 1
        assert (shown == whole) == inside == ("cut" not in shown.note)
    unknown = Reading(math.nan, limits=(-1.0, 1.0))
    assert unknown.cut is unknown
    over = over_seeds([Reading(0.9, limits=(-1.0, 1.0)), Reading(-0.9)])
    assert over.high > 1 and over.cut.high == 1


def test_kinds_of_evidence_have_to_agree():
    yes, no, open_ = (Reading(v, v - 0.5, v + 0.5, 10) for v in (1.0, -1.0, 0.2))

    def joint(*readings):
        parts = {str(index): each for index, each in enumerate(readings)}
        return judge(Reading(1.0, 0.5, 1.5, 10, parts=parts), 1)

    assert joint(yes, yes).word == "holds"
    assert joint(no, no).word == "does not hold"
    assert joint(yes, no).word == "cannot tell" and joint(yes, no).needed is None
    assert joint(yes, open_).needed == needed(open_)
    assert joint(yes, open_, Reading(math.nan)).needed is None
    assert NOT_MEASURED == "not measured"


def test_nothing_is_found_where_there_is_nothing_as_often_as_it_should():
    generator = np.random.default_rng(3)
    words = [str(judge(of_values(generator.normal(size=8)), 1).word) for _ in range(1500)]
    wrong = np.mean([word != "cannot tell" for word in words])
    assert 0.03 < wrong < 0.07  # 5%, within 3.5 standard errors
