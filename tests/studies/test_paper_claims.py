"""The paper's claims beside made-up grids: verdicts against the intervals beside them, and cells
that are known by what they are.
"""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from tests.reported import Page
from tests.studies.test_grid_page import finish, measure, page_of
from zfjax.network.altered import with_stem, without
from zfjax.presets import preset
from zfjax.studies import paper_beyond
from zfjax.studies.cells import Wanted
from zfjax.studies.grid_view import view_of
from zfjax.studies.intervals import CANNOT_TELL, Interval, over_values
from zfjax.studies.paper_beyond import grid_rows
from zfjax.studies.paper_claim_rows import paper_table, trained_words
from zfjax.studies.paper_claims import CLAIMS, LITTLE, Answer, answers_of
from zfjax.studies.planning import Request, plan_of
from zfjax.studies.plans import save_plan
from zfjax.studies.results import read_results
from zfjax.studies.verdict_marks import BEFORE, DOES_NOT_HOLD, HOLDS, NARROWED, NOTHING

AS_NOTHING = {"dead_share": 0.0, "aliased_share": 0.0, "aliasing": 0.05, "coverage": 0.5}
UNTRAINED = {
    "base": {"coverage": 0.99, "aliasing": 0.17},
    "stem-11-stride-4": {"coverage": 0.99, "aliasing": 0.34},
    "stem-7-stride-4": {"aliasing": 0.34},
}
"""As filters drawn at random have it: of aliasing the stride's share, whatever is learnt."""


@pytest.fixture
def made_up(tmp_path):
    """A function that makes a grid whose cells are right and measured as it is told, and returns
    its answers by (cell, against, quantity).
    """

    def make(rights, measures=(), base=None, wanted=None, seeds=(0, 1, 2)):
        wanted = wanted or Wanted(grids=("stems",))
        base = base or preset("demo")
        plan = save_plan(plan_of(tmp_path / "grid", Request(base, wanted, seeds, None), 10))
        for cell, seed in plan.runs():
            if cell.name in rights:
                folder = plan.run_folder(cell, seed)
                finish(folder, cell.config, rights[cell.name], seed)
                own = {**AS_NOTHING, **dict(measures).get(cell.name, {})}
                start = UNTRAINED.get(cell.name, {})
                measure(folder, start, **own)
        answers = answers_of(view_of(read_results(plan)))
        named = {
            (item.claim.cell, item.claim.against, item.claim.quantity): item for item in answers
        }
        assert len(named) == len(answers)
        return plan, named

    return make


def test_a_verdict_never_contradicts_the_interval_beside_it():
    random = np.random.default_rng(0)
    for _ in range(500):
        claim = CLAIMS[random.integers(len(CLAIMS))]
        center, width = random.normal(0, 0.05), random.exponential(0.03)
        answer = Answer(claim, "conv1", center, Interval(center, width, 2.0), 3)
        low, high = center - width, center + width
        if claim.sense == 0:
            inside, outside = -LITTLE < low and high < LITTLE, low > LITTLE or high < -LITTLE
        else:
            inside, outside = claim.sense * center > width, claim.sense * center < -width
        assert (answer.verdict == HOLDS) == inside and (answer.verdict == DOES_NOT_HOLD) == outside
    assert Answer(CLAIMS[0], "conv1", 0.9, None, 1).verdict == CANNOT_TELL


def test_a_published_difference_outside_an_interval_that_cannot_tell_is_said():
    claim = next(item for item in CLAIMS if item.cell == "without-conv3-conv4-fc6-fc7")
    near = Answer(claim, "conv1", -0.01, Interval(-0.01, 0.05, 2.0), 3)
    assert near.verdict == CANNOT_TELL
    assert near.beyond.startswith("a loss of the paper's size, 30.8 points, lies outside")
    wide = Answer(claim, "conv1", -0.01, Interval(-0.01, 0.4, 2.0), 3)
    assert wide.verdict == CANNOT_TELL and wide.beyond == ""
    assert Answer(claim, "conv1", 0.1, Interval(0.1, 0.05, 2.0), 3).beyond == ""
    assert Answer(claim, "conv1", 0.1, None, 1).beyond == ""


def test_the_papers_numbers_are_the_ones_printed():
    for claim in CLAIMS:
        printed = re.findall(r"[+−]\d+\.\d", claim.published)
        values = [float(text.replace("−", "-")) / 100 for text in printed]
        assert values == pytest.approx(claim.sizes)


def test_an_interval_over_seeds_is_students():
    values = np.random.default_rng(0).normal(0.1, 0.2, 5)
    interval = over_values(values, 0.98)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.98)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert over_values(values[:1], 0.98) is None
    # Three seeds that agree in steps of 1/24 are not known to agree beyond that: a difference of
    # two rounded shares spreads by 1 / 24 / sqrt(6).
    agreed = over_values(np.full(3, 0.25), 0.95, 1 / 24)
    assert agreed.half_width == pytest.approx(4.303 / 24 / (6 * 3) ** 0.5, rel=1e-3)
    twice = over_values(np.full(3, 0.25), 0.95, 1 / 24, terms=2)
    assert twice.half_width == pytest.approx(2**0.5 * agreed.half_width)
    assert over_values(values, 0.98, 1e-9).half_width == interval.half_width


def test_the_papers_stems_beside_a_grid_in_which_they_hold(made_up):
    rights = {"base": 0.9, "stem-11-stride-4": 0.3, "stem-7-stride-4": 0.89}
    large = {"aliased_share": 0.5, "aliasing": 0.5, "coverage": 0.5, "mid": 0.27}
    plan, answers = made_up(
        rights,
        {
            "base": {"coverage": 0.9, "mid": 0.2},
            "stem-11-stride-4": large,
            "stem-7-stride-4": large,
        },
    )
    both = ("stem-7-stride-2", "stem-11-stride-4")
    # The base is the paper's own stem: the declared comparison is turned round.
    accuracy = answers[*both, "top1"]
    compared = view_of(read_results(plan)).cells[1].comparison
    assert accuracy.difference == -compared.difference > 0.5 and accuracy.verdict == HOLDS
    assert float(accuracy.interval.low) == pytest.approx(-float(compared.both.high))
    assert answers[*both, "aliasing"].verdict == answers[*both, "coverage"].verdict == HOLDS
    assert answers[*both, "aliasing"].untrained == pytest.approx(-0.17)
    assert answers[*both, "aliasing"].beside == pytest.approx(-0.5)
    dead = answers[*both, "dead_share"]
    assert dead.verdict == NOTHING and dead.why == "no map is dead in either"
    assert answers["stem-7-stride-2", "stem-7-stride-4", "aliasing"].verdict == HOLDS
    absent = answers["stem-7-stride-2", "stem-11-stride-2", "coverage"]
    assert absent.verdict == CANNOT_TELL and absent.why == "not measured in both"
    assert float(dead.interval.confidence) == pytest.approx(1 - 0.05 / 5)
    words = " ".join(" ".join(Page(page_of(plan)).words).split())
    assert "The paper's claims" in words and "what holds here is not shown for ImageNet" in words
    assert "−45.00 points of aliased energy of conv1, 99% interval from" in words
    assert "before training −17.00; training widened the gap by 28.00 (28.00 to" in words
    assert (
        "aliased maps of conv1: −50.00 points (not tested)" in words and "(not declared)" in words
    )
    assert "90.0 against 50.0 by our measure, in which untrained noise is near 100" in words
    middle = "energy of conv1's filters at middle frequencies (0.08 to 0.2 cycles a pixel): −7.00"
    assert f"{middle} points (the other way; not tested)" in words
    assert (
        "(by our measure, not declared)" in words
        and "3.5 times the paper's" in words
        and "no new evidence" in words
    )
    assert "The paper's claims read 5 of them, each at 99%" in words
    assert "Little difference" not in words
    # What rounding two shares to 1 / 24 spreads their difference: no interval of maps is narrower.
    least = 9.925 * 100 / 24 / 18**0.5
    assert f"narrower than ±{least:.2f} points" in words
    assert "* 7x7, stride 4 has 0.71 times the base's" in words
    assert "● holds" in words and "○ cannot tell" in words and "∅ nothing to compare" in words


def test_with_the_older_stem_as_base_the_claims_are_the_same(made_up):
    demo = preset("demo")
    base = replace(demo, model=with_stem(demo.model, 11, 4))
    _, answers = made_up({"base": 0.9, "stem-7-stride-2": 0.3}, base=base)
    accuracy = answers["stem-7-stride-2", "stem-11-stride-4", "top1"]
    assert accuracy.difference < -0.5 and accuracy.verdict == DOES_NOT_HOLD
    neither = answers["stem-7-stride-2", "stem-7-stride-4", "aliasing"]
    assert neither.verdict == CANNOT_TELL


def test_the_papers_table_3_and_a_cell_of_another_name(made_up):
    demo = preset("demo")
    mine = replace(demo, model=without(demo.model, ["fc6", "fc7"]))
    rights = {"base": 0.7, "mine": 0.3, "without-conv3-conv4": 0.9, "fc6-fc7-half": 0.2}
    wanted = Wanted(drops=(("conv3", "conv4"),), grids=(), configs=(("mine", mine),))
    plan, answers = made_up(rights, wanted=wanted)
    assert set(answers) == {
        ("without-fc6-fc7", "base", "top1"), ("without-conv3-conv4", "base", "top1"),
    }  # fmt: skip
    assert answers["without-fc6-fc7", "base", "top1"].verdict == HOLDS
    assert answers["without-conv3-conv4", "base", "top1"].verdict == DOES_NOT_HOLD
    words = " ".join(" ".join(Page(page_of(plan)).words).split())
    assert "Little difference is less than 2 points" in words and "−4.3 points" in words


def test_one_seed_says_nothing_of_the_paper(made_up):
    rights = {"base": 0.9, "stem-11-stride-4": 0.3}
    _, answers = made_up(rights, seeds=(0,))
    measured = [item for item in answers.values() if item.seeds]
    assert measured and {item.verdict for item in answers.values()} == {CANNOT_TELL}
    assert all(item.why.startswith("one seed") for item in measured)


def clip_view(**dominance):
    """A stand-in for a grid's results: by limit ("none" is that of the recipe), a number a seed."""
    return SimpleNamespace(
        cells=[
            SimpleNamespace(
                cell=SimpleNamespace(config=replace(preset("demo"), **limit)),
                layers=("conv1",),
                measured={seed: {"conv1.dominance": value} for seed, value in enumerate(values)},
            )
            for name, values in dominance.items()
            for limit in [{} if name == "none" else {"rms_clip": float(name.replace("_", "."))}]
        ]
    )


@pytest.mark.parametrize(
    ("dominance", "value", "verdict", "words"),
    [
        ({"none": (5.0, 5.1, 5.2), "0_1": (2.0, 2.1, 2.2)}, -3.0, "holds", "2.10 limited to 0.1"),
        ({"none": (2.0, 2.1, 2.2), "0_1": (5.0, 5.1, 5.2)}, 3.0, "does not hold", "to 0.1"),
        ({"none": (2.0, 2.1), "0_1": (2.0, 2.1)}, 0.0, "cannot tell", "the same networks"),
        (
            {"none": (2.0, 2.1), "0_05": (1.0, 1.1), "0_1": (2.0, 2.1), "0_2": (2.0, 2.1)},
            *(-1.0, "holds", "No filter reaches a limit of 0.1"),
        ),
    ],
)
def test_a_limit_on_filters_is_read_from_the_recipes_without_one(
    monkeypatch, dominance, value, verdict, words
):
    monkeypatch.setattr(paper_beyond, "answers_of", lambda view: ())
    [row] = [each for each in grid_rows([clip_view(**dominance)]) if each.id == "fig6-clipping"]
    assert row.reading.value == pytest.approx(value) and row.verdict.startswith(verdict)
    assert words in row.reading.note


def test_a_grid_without_a_network_of_no_limit_says_nothing_of_it(monkeypatch):
    monkeypatch.setattr(paper_beyond, "answers_of", lambda view: ())
    alone = clip_view(**{"0_1": (1.0,)}), clip_view(none=(1.0,))
    for view in (*alone, clip_view(none=(), **{"0_1": ()})):
        [row] = [each for each in grid_rows([view]) if each.id == "fig6-clipping"]
        assert row.verdict == "not measured"


def side_of(interval):
    """1, -1 or, where it has zero within, 0."""
    low, high = float(interval.low), float(interval.high)
    return 1 if low > 0 else -1 if high < 0 else 0


def test_what_untrained_filters_have_too_is_no_finding_of_training():
    random, seen = np.random.default_rng(2), set()
    claims = [claim for claim in CLAIMS if claim.quantity == "coverage" or claim.sense < 0]
    for _ in range(500):
        claim = claims[random.integers(len(claims))]
        trained, added = (
            Interval(random.normal(0, 0.05), random.exponential(0.03), 2.0) for _ in range(2)
        )
        untrained = trained.center - added.center
        answer = Answer(
            *(claim, "conv1", trained.center, trained, 3), untrained=untrained, change=added
        )
        seen.add(answer.verdict)
        sides = side_of(trained), side_of(added)
        if answer.verdict in (HOLDS, DOES_NOT_HOLD):
            wanted = claim.sense if answer.verdict == HOLDS else -claim.sense
            assert sides == (wanted, wanted), "training has to have made it"
        elif answer.verdict in NARROWED.values():
            assert sides[0] and sides[0] == -sides[1] and abs(untrained) > abs(trained.center)
            assert answer.verdict == NARROWED[sides[0]]
        elif answer.verdict in BEFORE.values():
            assert sides[0] and sides[1] == 0 and sides[0] * untrained > 0
            assert answer.verdict == BEFORE[sides[0]]
        else:
            assert sides[0] == 0 or (sides[0] != sides[1] and sides[0] * untrained <= 0)
    kinds = {HOLDS, DOES_NOT_HOLD, CANNOT_TELL, *NARROWED.values(), *BEFORE.values()}
    assert seen == kinds


@pytest.mark.parametrize(
    ("before", "added", "width", "words"),
    [
        (-0.16, 0.15, 0.09, "training shrank the gap by 15.00 (6.00 to 24.00)"),
        (0.16, -0.15, 0.09, "training shrank the gap by 15.00 (6.00 to 24.00)"),
        (-0.16, -0.15, 0.09, "training widened the gap by 15.00 (6.00 to 24.00)"),
        (0.0, 0.15, 0.09, "training made the gap: +15.00 (from +6.00 to +24.00)"),
        (-0.05, 0.15, 0.09, "training reversed the gap, by 15.00 (6.00 to 24.00)"),
        (-0.16, 0.05, 0.09, "+5.00 (from −4.00 to +14.00), cannot be told from none"),
    ],
)
def test_what_training_did_to_a_gap_is_said_in_its_direction(before, added, width, words):
    change = Interval(added, width, 2.0)
    answer = Answer(CLAIMS[2], "conv1", before + added, change, 3, untrained=before, change=change)
    assert words in trained_words(answer)
    with pytest.raises(ValueError, match="before training"):
        trained_words(replace(answer, untrained=None))


def test_a_difference_that_was_there_before_training_is_told_apart(made_up):
    rights = {"base": 0.9, "stem-7-stride-4": 0.8}
    plan, answers = made_up(
        rights, {"base": {"aliasing": 0.05}, "stem-7-stride-4": {"aliasing": 0.22}}
    )
    answer = answers["stem-7-stride-2", "stem-7-stride-4", "aliasing"]
    assert answer.verdict == BEFORE[-1] and float(answer.change.center) == pytest.approx(0)
    words = str(paper_table(view_of(read_results(plan)), [answer])[1].html)
    assert "◐</span> less, already so before training; training&#39;s part cannot be told" in words
    unknown = replace(answer, untrained=None, change=None)
    assert unknown.verdict == HOLDS
    words = str(paper_table(view_of(read_results(plan)), [unknown])[1].html)
    assert "not measured before training, so untrained filters may differ as much" in words
    # The paper's page knows three verdicts: this one is none of the claim's.
    rows = {row.id: row for row in grid_rows([view_of(read_results(plan))])}
    row = rows["fig6-stem-7-stride-2-against-stem-7-stride-4-aliasing"]
    assert row.verdict == CANNOT_TELL and "so before training" in row.reading.note


def test_the_floor_covers_differences_of_rounded_shares():
    """Two networks that differ by nothing but rounding to one map in 24."""
    random, step, repeats = np.random.default_rng(4), 1 / 24, 3000
    shares = random.uniform(0.2, 0.8, (repeats, 1, 1)) + random.normal(0, 0.004, (repeats, 3, 2))
    rounded = step * np.round(shares / step)
    for terms in (1, 2):
        # Two terms: such a difference, minus another that is there before training.
        drawn = rounded[..., 0] - rounded[..., 1]
        if terms == 2:
            drawn = drawn - np.roll(drawn, 1, axis=0)
        said = [over_values(differences, 0.95, step, terms) for differences in drawn]
        share = np.mean([abs(interval.center) <= interval.half_width for interval in said])
        assert share >= 0.95
