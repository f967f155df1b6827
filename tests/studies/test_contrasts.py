"""Sums of hits of a grid's runs, those that no one declared among them; what cells are called; and
whether a difference is one of fitting. Against numbers made by hand.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.studies.test_grid_page import finish
from zfjax.presets import preset
from zfjax.studies import intervals
from zfjax.studies.cell_labels import labels_of, title_of
from zfjax.studies.cells import Axis, Wanted
from zfjax.studies.claims import points
from zfjax.studies.contrasts import Hits, Term, contrast
from zfjax.studies.grid_view import view_of
from zfjax.studies.intervals import comparison, mean_squares
from zfjax.studies.other_pairs import (
    EFFECTS,
    MOST_CELLS,
    STEMS,
    effect_words,
    other_pairs_section,
    stem_effects,
)
from zfjax.studies.planning import Request, plan_of
from zfjax.studies.plans import save_plan
from zfjax.studies.results import read_results
from zfjax.studies.standings import read_correct, read_outcome, save_outcome
from zfjax.studies.training_gap import gap_words, last_rise

SEEDS = (0, 1, 2)
RIGHTS = {"base": 0.9, "stem-11-stride-4": 0.5, "stem-7-stride-4": 0.8, "stem-11-stride-2": 0.7}


def plan_in(folder, wanted, seeds=SEEDS):
    return save_plan(plan_of(folder, Request(preset("demo"), wanted, seeds, None), 10))


@pytest.fixture
def stems(tmp_path):
    """A grid of the four stems, finished."""
    plan = plan_in(tmp_path / "grid", Wanted(grids=("stems",)))
    for cell, seed in plan.runs():
        finish(plan.run_folder(cell, seed), cell.config, RIGHTS[cell.name], seed)
    return plan


def hits_of(plan, name):
    """float64 [seeds, images] of a cell."""
    cell = next(cell for cell in plan.cells if cell.name == name)
    folders = [plan.run_folder(cell, seed) for seed in plan.seeds]
    return np.stack([read_correct(folder)[0] for folder in folders]).astype(float)


def test_effects_of_size_and_stride_are_those_reckoned_by_hand(stems):
    view = view_of(read_results(stems))
    names = {(7, 2): "base", (7, 4): "stem-7-stride-4", (11, 2): "stem-11-stride-2",
             (11, 4): "stem-11-stride-4"}  # fmt: skip
    hits = {stem: hits_of(stems, names[stem]) for stem in STEMS}
    size = (hits[7, 2] + hits[7, 4] - hits[11, 2] - hits[11, 4]) / 2
    stride = (hits[7, 2] + hits[11, 2] - hits[7, 4] - hits[11, 4]) / 2
    interaction = (hits[7, 2] - hits[7, 4]) - (hits[11, 2] - hits[11, 4])
    effects = stem_effects(view, Hits(stems))
    for words, expected in zip(EFFECTS, (size, stride, interaction), strict=True):
        assert effects[words] == comparison(expected)
        assert effects[words].by_seed == pytest.approx(expected.mean(axis=1))


def test_an_effect_that_leaves_zero_out_is_told_first_and_as_what_it_is(stems):
    view = view_of(read_results(stems))
    words = effect_words(view)
    told = stem_effects(view, Hits(stems))
    assert "next layer's stride and paddings too" in list(EFFECTS)[1]
    for name, effect in told.items():
        resolved = float(effect.both.low) * float(effect.both.high) > 0
        assert (f"{name}: {points(effect.difference)} points" in words) == resolved
    assert "interaction: " in words and "no verdict" in words
    assert words.endswith("depends on the other: a mean of both is that of neither.")


def test_effects_that_add_up_are_told_without_an_interaction(tmp_path):
    plan = plan_in(tmp_path / "grid", Wanted(grids=("stems",)))
    rights = {**RIGHTS, "stem-11-stride-4": 0.6}
    for cell, seed in plan.runs():
        finish(plan.run_folder(cell, seed), cell.config, rights[cell.name], seed)
    words = effect_words(view_of(read_results(plan)))
    assert "7x7 minus 11x11" in words and "interaction" not in words and "depends" not in words


def test_other_pairs_are_of_the_same_images_and_have_no_verdict(stems):
    view = view_of(read_results(stems))
    [section] = other_pairs_section(view)
    text = str(section.html)
    assert text.count("<tr") == 1 + 3 + 3 and "no verdict" in text
    assert text.count("degrees of freedom)") >= 3 + 3
    assert not any(word in text for word in ("better", "worse", "cannot tell", "holds"))
    former, latter = view.cells[1:3]
    assert f"{former.label} minus {latter.label}" in text
    terms = (Term(former.runs, 1.0), Term(latter.runs, -1.0))
    own = hits_of(stems, former.name) - hits_of(stems, latter.name)
    assert contrast(stems, Hits(stems), terms) == comparison(own)
    # As the declared ones are made, to the bit.
    declared = contrast(stems, Hits(stems), (Term(view.cells[0].runs, -1.0), terms[0]), 3)
    assert declared == view.results.compared[former.name]
    many = replace(view, cells=view.cells * 2)
    assert len(many.cells) > MOST_CELLS and other_pairs_section(many) == []


def test_an_interaction_of_four_networks_is_covered():
    """Of 4 cells, with spread over seeds, images and cells on images: its target by very many."""
    random = np.random.default_rng(6)
    repeats, seeds, images = 1500, 3, 120
    right = (
        0.25 * random.standard_normal((repeats, 4, seeds, 1))
        + random.standard_normal((repeats, 1, 1, images))
        + 0.4 * random.standard_normal((repeats, 4, 1, images))
        + random.standard_normal((repeats, 4, seeds, images))
    ) > 0
    summed = np.einsum("c,rcsi->rsi", np.array([1.0, -1.0, -1.0, 1.0]), right)
    interval = intervals.over_both(mean_squares(summed))
    share = np.mean((interval.low <= 0) & (interval.high >= 0))
    assert 0.93 <= share <= 0.975, f"{share:.1%}"


def test_stems_are_called_by_size_and_stride_and_other_cells_by_their_names(stems, tmp_path):
    assert labels_of(stems) == {
        "base": "7x7, stride 2 (base)", "stem-11-stride-4": "11x11, stride 4",
        "stem-7-stride-4": "7x7, stride 4", "stem-11-stride-2": "11x11, stride 2",
    }  # fmt: skip
    assert title_of(stems) == "First layer: 7x7 or 11x11, stride 2 or 4"
    kernels = Axis(("model.conv1.kernel", "model.conv1.padding"), (("9", "4"), ("5", "2")))
    sizes = plan_in(tmp_path / "sizes", Wanted(axes=(kernels,)))
    assert title_of(sizes) == "First layer: 5x5, 7x7 or 9x9, stride 2"
    # Another layer, another padding alone, or a layer gone: sizes no longer tell cells apart.
    for number, wanted in enumerate(
        (
            Wanted(axes=(kernels,), drops=(("conv3",),)),
            Wanted(axes=(Axis(("model.conv1.padding",), (("2",),)),)),
            Wanted(grids=("clip",)),
        )
    ):
        plan = plan_in(tmp_path / str(number), wanted)
        assert title_of(plan).startswith("Ablation of ") and labels_of(plan)["base"] == "base"


@pytest.mark.parametrize(
    ("trained", "words"),
    [
        (-0.30, "too: in these 3 seeds it fits less within 10 epochs"),
        (-0.05, "less than half of that: in these 3 seeds it mostly generalises less"),
        (0.10, "not the way of validation"),
    ],
)
def test_a_lower_accuracy_is_said_to_be_fitted_less_or_generalised_less(stems, trained, words):
    cell = stems.cells[1]
    for seed in stems.seeds:
        folder = stems.run_folder(cell, seed)
        save_outcome(folder, replace(read_outcome(folder), train_top1=0.5 + trained))
    base, other, *_ = view_of(read_results(stems)).cells
    said = gap_words(other, base)
    assert words in said and f"{100 * abs(trained):.2f} points" in said
    end = points(trained)  # the seeds agree: no spread
    assert f"over other seeds from {end} to {end}, 95%" in said
    for seed in stems.seeds:  # equal accuracies leave nothing to be explained
        folder, twin = (stems.run_folder(each.cell, seed) for each in (other, base))
        save_outcome(folder, replace(read_outcome(folder), top1=read_outcome(twin).top1))
    base, other, *_ = view_of(read_results(stems)).cells
    assert f"from {end} to {end}, 95%)." in gap_words(other, base)


@pytest.mark.parametrize(
    ("own", "base", "words"),
    [
        ((0.20, 0.30), (0.50, 0.55), "the gap shrank by 5.00; a longer run may show less"),
        ((0.20, 0.22), (0.50, 0.55), "the gap grew by 3.00; a longer run may show more"),
        ((0.40, 0.60), (0.50, 0.55), "the difference changed sides"),
        ((0.40, 0.45), (0.50, 0.55), "the gap stayed"),
    ],
)
def test_how_the_gap_changed_at_the_end_is_said(stems, own, base, words):
    first, other, *_ = view_of(read_results(stems)).cells
    curves = [
        dict.fromkeys(stems.seeds, ((0.0, 0.1), (1.0, start), (3.0, end)))
        for start, end in (own, base)
    ]
    said = gap_words(
        *(replace(item, curves=curve, measured=curve)
          for item, curve in zip((other, first), curves, strict=True))
    )  # fmt: skip
    assert words in said


def test_how_much_a_curve_rose_at_its_end():
    curve = ((0.0, 0.1), (1.0, 0.5), (2.0, 0.7), (3.0, 0.75))
    assert last_rise(curve) == pytest.approx(0.25)
    assert last_rise(curve[:2]) is None and last_rise(()) is None
    # A run that keeps few epochs: since the last one that is two epochs back or more.
    assert last_rise(((0.0, 0.1), (5.0, 0.6), (5.5, 0.7))) == pytest.approx(0.6)
