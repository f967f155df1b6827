"""The page of a grid: its claims against their intervals, its pictures against gratings, and whole
pages of grids made by hand, without training."""

import re
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.browser import Browser, find_browser
from tests.reported import Page
from tests.small import make_config
from zfjax.report.pictures import filter_grid, read_layer
from zfjax.studies import evolutions
from zfjax.studies.cells import Axis, Wanted, axis_of
from zfjax.studies.claims import (
    NO_RESULT,
    claims_of,
    fate_words,
    interval_words,
    once_words,
    points,
    summary_of,
)
from zfjax.studies.evolutions import (
    EDGE,
    GAP,
    Evolved,
    board_of,
    cell_choices,
    evolutions_side_by_side,
)
from zfjax.studies.findings import beaten_words, best_words, handicap_words
from zfjax.studies.grid_page import STOPS, write_grid_page
from zfjax.studies.grid_view import spread_of, view_of
from zfjax.studies.intervals import BETTER, CANNOT_TELL, WORSE, Comparison, Interval, comparison
from zfjax.studies.measured import FILTERS, Filters
from zfjax.studies.planning import Request, plan_of
from zfjax.studies.plans import save_plan
from zfjax.studies.portraits import (
    FILTERS_WIDTH,
    FRAME,
    grid_aspect,
    on_own_scales,
    pixel_edge,
    portrait_of,
    spectrum_picture,
    strongest_first,
)
from zfjax.studies.results import CellRuns, Results, read_results
from zfjax.studies.standings import DIVERGED, FAILED, FINISHED, Outcome, Standing, save_outcome
from zfjax.studies.verdict_marks import marked_verdict

IMAGES = 400
HOSTILE = "</script><script>alert(1)</script> {{ 7 * 7 }}"
EPOCHS = (0.0, 1.0, 2.0)


def finish(folder, config, right, seed):
    """A finished run's files, of which a share ``right`` of the images is right."""
    folder.mkdir(parents=True)
    shared = np.random.default_rng(0).random(IMAGES)
    own = np.random.default_rng([seed, int(1000 * right)]).random(IMAGES)
    hits = 0.9 * shared + 0.1 * own < right
    packed = {"top1": np.packbits(hits), "counted": np.packbits(np.ones(IMAGES, bool))}
    np.savez(folder / "correct.npz", images=IMAGES, **packed)
    save_outcome(
        folder,
        Outcome(
            FINISHED, time.time(), top1=float(hits.mean()), top5=1.0, train_top1=0.5,
            images=IMAGES, digest="same", seconds=12.0,
        ),
    )  # fmt: skip
    first = config.model.conv(config.model.conv_names[0])
    kernels = np.random.default_rng(seed).normal(
        size=(len(EPOCHS), first.kernel, first.kernel, 3, first.maps)
    )
    np.savez(folder / FILTERS, kernels=kernels.astype(np.float32), epochs=EPOCHS, steps=(0, 4, 8))


def measure(folder, untrained=(), **values):
    """Measures of conv1 at the last epoch, and those of ``untrained`` before training."""
    (folder / "measures").mkdir()
    for name, quantities in (
        ("census", ("dead_share", "aliased_share", "dominance")),
        ("spectrum", ("aliasing", "coverage", "low", "mid", "high")),
        ("settling", ("settled",)),
    ):
        rows = [
            {"step": step, "layer": "conv1", "map": None, "quantity": quantity, "value": value}
            for step, known in ((0, dict(untrained)), (8, values))
            for quantity, value in known.items()
            if quantity in quantities
        ]
        schema = pa.schema(
            [("step", pa.int32()), ("layer", pa.string()), ("map", pa.int32()),
             ("quantity", pa.string()), ("value", pa.float64())]
        )  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / "measures" / f"{name}.parquet")


@pytest.fixture
def plan(tmp_path, data_dir):
    wanted = Wanted(
        axes=(Axis(("model.conv1.kernel",), (("3",), ("4",))),), drops=(("norm1",), ("fc3",))
    )
    base = make_config(data_dir, epochs=2)
    return save_plan(plan_of(tmp_path / "grid", Request(base, wanted, (0, 1, 2), None), 3))


@pytest.fixture
def grid(plan):
    """The base, one cell far worse, one alike, one that diverged, one that failed."""
    for cell, seed in plan.runs():
        folder = plan.run_folder(cell, seed)
        right = {"base": 0.7, "conv1.kernel=3": 0.4, "conv1.kernel=4": 0.7001}.get(cell.name)
        if right is not None:
            finish(folder, cell.config, right, seed)
            dead = {"base": 0.0, "conv1.kernel=3": 0.5, "conv1.kernel=4": 0.25}[cell.name]
            measure(folder, {"coverage": 0.97, "low": 0.1, "mid": 0.2, "high": 0.7},
                    dead_share=dead, aliased_share=0.0, aliasing=0.1, coverage=0.7,
                    dominance=1.5, settled=1.25, low=0.3, mid=0.4, high=0.3)  # fmt: skip
        else:
            folder.mkdir(parents=True)
            status = DIVERGED if cell.name == "without-norm1" else FAILED
            save_outcome(folder, Outcome(status, time.time(), f"{HOSTILE} at step {seed}."))
    return plan


def page_of(plan):
    path = write_grid_page(read_results(plan))
    assert path == plan.folder / "report" / "index.html"
    return path.read_text(encoding="utf-8")


def test_a_verdict_never_contradicts_the_interval_beside_it(plan):
    random = np.random.default_rng(1)
    runs = [CellRuns(cell, dict.fromkeys(plan.seeds, Standing(FINISHED))) for cell in plan.cells]
    seen = set()
    for _ in range(300):
        shift, seeds = random.choice([-0.2, -0.05, 0, 0.05, 0.2]), random.integers(2, 6)
        images = random.normal(shift, 0.5, (1, 200)) + random.normal(0, 0.1, (seeds, 1))
        signs = np.sign(np.round(images + random.normal(0, 0.3, (seeds, 200))))
        said = comparison(signs, plan.comparisons)
        results = Results(plan, tuple(runs[:2]), {plan.cells[1].name: said})
        [claim] = claims_of(results)
        low, high = (
            float(number.replace("−", "-"))
            for number in re.search(r"interval from (\S+) to (\S+) \(", claim.words).groups()
        )
        if abs(low) > 0.01 and abs(high) > 0.01:
            assert (claim.verdict == BETTER) == (low > 0)
            assert (claim.verdict == WORSE) == (high < 0)
        assert f"n = {seeds} seeds × 200 validation images" in once_words(results)
        assert "98.75% interval" in claim.words  # 0.05 over four comparisons
        least = 100 * float(said.both.detectable)
        if least < 100:
            words = re.search(r"detectable: about (\S+) point", claim.words)[1]
            assert float(words) == pytest.approx(least, abs=0.51)
        else:  # two seeds that differ by chance
            assert "detectable: no difference at all." in claim.words
        seen.add(claim.verdict)
    assert {BETTER, WORSE, CANNOT_TELL} <= seen


def test_points_have_their_sign_once_and_zero_has_none():
    assert [points(value) for value in (0.0123, -0.0123, 0.0, -0.00001)] == [
        "+1.23", "−1.23", "0.00", "0.00",
    ]  # fmt: skip
    assert points(0.02, signed=False) == "2.00"
    near = interval_words(Interval(0.07, 0.06999, 2.0)), interval_words(Interval(0.07, 0.07, 2.0))
    assert near == ("from +0.001 to +14.00", "from 0.00 to +14.00")


def test_what_became_of_runs_is_counted_with_its_reason(plan):
    standings = {
        0: Standing(FAILED, Outcome(FAILED, 0.0, "No space is left.")),
        1: Standing(DIVERGED, Outcome(DIVERGED, 0.0, "The loss is not finite.")),
        2: Standing("waiting"),
    }
    runs = CellRuns(plan.cells[1], standings)
    assert fate_words(runs) == (
        "1 of 3 runs diverged (The loss is not finite), 1 of 3 runs failed (No space is left), 1 of"
        " 3 runs not finished (waiting)"
    )
    assert "space" not in fate_words(runs, reasoned=False)
    [claim] = claims_of(Results(plan, (CellRuns(plan.cells[0], {}), runs), {}))
    assert claim.verdict == NO_RESULT and claim.words == f"{fate_words(runs)}."
    assert summary_of([claim]) == "Of 1 configuration compared with the base: 1 no result."


@pytest.mark.parametrize(("across", "down"), [(8, 0), (0, 16), (12, 12)])
def test_a_grating_is_brightest_at_its_frequency(across, down):
    y, x = np.mgrid[:64, :64]
    grating = np.cos(2 * np.pi * (across * x + down * y) / 64)
    kernel = np.repeat(grating[:, :, None, None], 3, axis=2)
    picture = spectrum_picture(kernel, 1).astype(int).sum(axis=2)
    bright = np.argwhere(picture == picture.max())
    assert sorted(map(tuple, bright)) == sorted(
        [(32 + down, 32 + across), (32 - down, 32 - across)]
    )


def test_the_frame_stands_at_what_the_stride_carries_and_dead_filters_are_dark():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 4))
    for stride, reach in ((2, 16), (4, 8)):
        framed = (spectrum_picture(kernel, stride) == FRAME).all(axis=2)
        rows, columns = np.nonzero(framed)
        assert (
            (rows.min(), rows.max()) == (columns.min(), columns.max()) == (32 - reach, 32 + reach)
        )
    assert not (spectrum_picture(kernel, 1) == FRAME).all(axis=2).any()
    dark = spectrum_picture(np.zeros((5, 5, 3, 4)), 2)
    assert (dark == dark[0, 0]).all() and dark.max() < 40
    kernel[..., 1] = 0  # a dead filter among others changes nothing
    assert np.array_equal(spectrum_picture(kernel, 2), spectrum_picture(kernel[..., [0, 2, 3]], 2))


def test_a_picture_shows_what_was_saved_last_until_the_stop():
    kernels = np.random.default_rng(0).normal(size=(3, 5, 5, 3, 6)).astype(np.float32)
    portrait = portrait_of(
        Filters(kernels, (1.0, 2.0, 4.0)), 2, (0.0, 1.0, 3.0, 4.0), (7, "cell"), 4.0
    )
    film = portrait.filters.data["films"]["filters-7"]
    assert film["frames"] == [None, 0, 1, 2]
    assert film["captions"][0] == "" and film["captions"][2].endswith("saved at 2")
    assert "saved" not in film["captions"][1] + film["captions"][3]


def test_filters_stand_by_strength_and_may_each_have_a_scale_of_its_own():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 4)).astype(np.float32)
    kernel *= np.array([0.5, 4.0, 0.0, 1.0], np.float32)
    assert strongest_first(kernel).tolist() == [1, 3, 0, 2]
    own = on_own_scales(kernel)
    assert (own[..., 2] == 0).all(), "a filter that is zero stays so"
    for index in (0, 1, 3):
        grid, scale = filter_grid(kernel[..., index : index + 1])
        assert np.array_equal(filter_grid(own[..., index : index + 1], scale=1.0)[0], grid)
        assert np.allclose(own[..., index] * scale, kernel[..., index])
    # The last epoch's order, at every epoch: a place on the page is one filter's.
    kernels = np.stack([kernel[..., ::-1], kernel])
    filters = Filters(kernels, (0.0, 1.0))
    films = portrait_of(filters, 2, (0.0, 1.0), (1, "cell"), 4.0).filters.data["films"]
    assert set(films) == {"filters-1", "apart-1"} and films["apart-1"]["frames"] == [0, 1]


def test_filters_of_all_cells_are_drawn_at_one_scale():
    random = np.random.default_rng(0)
    for maps, kernels in ((24, (7, 11)), (48, (7, 11)), (6, (3, 5, 9)), (400, (11, 11))):
        cells = [
            Filters(random.normal(size=(1, kernel, kernel, 3, maps)).astype(np.float32), (1.0,))
            for kernel in kernels
        ]
        edge, widths = pixel_edge(cells), []
        for number, cell in enumerate(cells):
            shown = portrait_of(cell, 2, (1.0,), (number, "cell"), edge).filters
            large = float(re.search(rf"film-filters-{number}{{--w:(\d+)px", shown.sheets)[1])
            pixels = filter_grid(cell.kernels[0], grid_aspect(maps))[0].shape[1]
            assert large == pytest.approx(edge * pixels, abs=0.5)
            widths.append(large)
        if maps in (24, 48):
            assert edge * min(kernels) >= 35, "large enough to be seen"
        assert FILTERS_WIDTH / 2 < max(widths) <= FILTERS_WIDTH


def test_power_speaks_of_other_studies_and_never_against_a_verdict(plan):
    runs = [CellRuns(cell, dict.fromkeys(plan.seeds, Standing(FINISHED))) for cell in plan.cells]
    name = plan.cells[1].name

    def words_of(center, half_width, singles):
        compared = Comparison(
            *(3, 100, center),
            these_images=Interval(center, singles, 2.0),
            these_networks=Interval(center, singles, 99.0),
            both=Interval(center, half_width, 2.0, 0.9875),
        )
        results = Results(plan, tuple(runs[:2]), {name: compared})
        assert "80% chance" in once_words(results)
        return claims_of(results)[0].words

    shown = words_of(-0.15, 0.14, 0.05)  # smaller than what 8 of 10 would show, yet shown
    assert "detectable: about 16 points." in shown
    assert "Both single" not in shown and "could have" not in shown
    assert "(2.0 degrees of freedom); detectable" in shown and "n = 3" not in shown
    assert "detectable: no difference at all." in words_of(-0.15, 0.9, 0.05)
    unsure = words_of(-0.05, 0.06, 0.04)
    assert "detectable: about 7 points." in unsure and "unseen" not in unsure
    assert "Both single intervals exclude zero" in unsure and "at once, at 98.75%." in unsure
    assert "Both single" not in words_of(-0.05, 0.06, 0.055)


def test_which_cell_is_best_is_said_as_far_as_it_is_shown(plan):
    rights = {"base": 0.6, "conv1.kernel=3": 0.61, "conv1.kernel=4": 0.3}
    for cell, seed in plan.runs():
        if cell.name in rights:
            finish(plan.run_folder(cell, seed), cell.config, rights[cell.name], seed)
    base, near, far, *others = view_of(read_results(plan)).cells
    assert best_words([base]) == best_words([base, *others]) == ""
    sure = best_words([base, far, *others])
    assert sure.startswith("The base has the highest mean top-1, ")
    assert sure.endswith(", and is shown to be better than each of the others.")
    assert near.claim.verdict == CANNOT_TELL
    unsure = best_words([base, near, far])
    assert unsure.startswith("conv1.kernel=3 has") and "not shown to be better than" in unsure


def test_verdicts_are_told_apart_without_colour():
    alike = Interval(0.0, 0.001, 2.0)
    alike = Comparison(3, 100, 0.0, these_images=alike, these_networks=alike, both=alike).words
    verdicts = (BETTER, WORSE, CANNOT_TELL, "holds", "does not hold", NO_RESULT, alike)
    marked = [str(marked_verdict(verdict)) for verdict in verdicts]
    signs = {re.search(r"<span[^>]*>(.)</span>", text)[1] for text in marked}
    assert len(signs) == len(verdicts)
    assert all(verdict in text for verdict, text in zip(verdicts, marked, strict=True))


def test_spreads_leave_out_what_is_not_known():
    assert spread_of([None, float("nan")]) is None
    spread = spread_of([0.25, None, 0.75])
    assert (spread.mean, spread.low, spread.high, spread.count) == (0.5, 0.25, 0.75, 2)


def test_a_whole_page_answers_the_five_questions(grid):
    text = page_of(grid)
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    assert (
        "Of 4 configurations compared with the base: 1 worse, 1 " in words
        and "2 no result" in words
    )
    [claim] = [claim for claim in claims_of(read_results(grid)) if claim.cell == "conv1.kernel=3"]
    assert claim.verdict == WORSE and claim.words in words
    assert "The base has filters of 5x5 pixels and stride 2 in conv1." in words
    assert "The base beats conv1.kernel=3 by 3" in words and "judged with a handicap" in words
    assert words.count("80% chance") == 1 and "n = 3 seeds × 400 validation images" in words
    assert "▼ worse" in words and "* It has 0.57 times the base's FLOPs" in words
    # Rows that say so, once a cell, with what a hostile message says as text.
    assert words.count("3 of 3 runs diverged") == 2 and words.count("3 of 3 runs failed") == 2
    assert "alert(1)" in words and "7 * 7" in words
    assert len(page.held["script"]) == 2 and "alert" not in "".join(page.held["script"])
    assert not any(name == "style" or name.startswith("on") for _, name, _ in page.attributes)
    assert not re.search(r"(src|href)=.?(https?:|/)", text)
    assert "MFLOPs" in words and "0.57 × base *" in words and "to train" not in words
    for said in ("Dead feature maps of conv1, %", "Aliased energy of conv1, %", "conv1 settles"):
        assert said in words
    assert (
        "conv1 dead maps 50.0" in words
        and re.search(r"top-1 \d", words)
        and "conv1 settles: 1.2 epochs" in words
    )
    assert "Not measured" not in words
    summary = "conv1: aliased energy of 10.0\u2009% in all, coverage of 70.0\u2009% in all"
    assert summary.split() == re.search(r"conv1: aliased.*?70\.0\s% in all", words)[0].split()
    assert "no map of conv1 is dead" not in words
    # Where no run has any there is a sentence and no chart of zeros.
    assert "Aliased feature maps of conv1: none, in any configuration, at any seed." in words
    assert "threshold on the number beside" not in words
    # Ticks of what was measured before training, in one chart of three cells; rings of all seeds.
    assert text.count('class="before"') == 3 and "before training 97.0" in words
    assert "30.0 (before: 10.0)" in words and "mid, 0.08 to 0.2 cycles a pixel" in words
    # Films of the three that have filters, at the base's epochs, one slider.
    assert page.data["names"] == ["0", "1", "2"]
    assert {name for name in page.data["films"]} == {
        f"{kind}-{number}" for kind in ("filters", "apart", "spectrum") for number in (1, 2, 3)
    }
    assert "`" not in words and "zfjax evolve --workdir DIR/cells/NAME/seed-N" in words
    assert "<p>What it did to the features: at the last epoch" in text, "as wide as what is above"
    assert str(grid.folder) not in text
    assert page_of(grid) == text


def test_pictures_of_a_cell_without_the_first_layer_are_called_those_of_its_own(tmp_path, data_dir):
    base = make_config(data_dir, epochs=2)
    plan = plan_of(tmp_path / "first", Request(base, Wanted(drops=(("conv1",),)), (0, 1), None), 3)
    save_plan(plan)
    for cell, seed in plan.runs():
        finish(plan.run_folder(cell, seed), cell.config, 0.5, seed)
    words = " ".join(Page(page_of(plan)).words)
    assert "filters of the first layer" in words and "filters of conv1" not in words
    assert words.count("first layer: conv2") == 1


def test_numbers_of_a_cell_are_means_over_its_seeds(grid):
    view = view_of(read_results(grid))
    cell = view.cells[1]
    assert (
        cell.spread("conv1", "dead_share").mean == 0.5 and cell.spread("conv2", "settled") is None
    )
    tops = [outcome.top1 for outcome in cell.runs.finished.values()]
    assert np.mean(cell.accuracies) == pytest.approx(100 * np.mean(tops))
    assert [item.number for item in view.cells] == [1, 2, 3, 4, 5]


def test_a_page_without_measures_says_how_to_get_them(grid):
    for folder in grid.folder.glob("cells/*/*/"):
        for path in (*folder.glob("measures/*"), *folder.glob(FILTERS)):
            path.unlink()
    text = page_of(grid)
    words = " ".join(Page(text).words)
    assert "Not measured in all runs: base, conv1.kernel=3, conv1.kernel=4." in words
    assert "The paper's claims" not in words
    assert "zfjax ablate --workdir DIR" in words and "What it did to the features" not in words
    assert 'id="track"' not in text and 'data-film="' not in text


def test_a_grid_that_has_just_begun_has_a_page(plan):
    words = " ".join(Page(page_of(plan)).words)
    assert "Of 4 configurations compared with the base: 4 no result." in words
    assert "3 of 3 runs not finished (waiting)" in words and "No run has finished yet." in words


def test_what_a_grid_varies_is_not_said_to_be_of_all(tmp_path, data_dir):
    base = make_config(data_dir, epochs=2)

    def planned(vary, tune=None):
        request = Request(base, Wanted(axes=(axis_of(vary),)), (0,), tune)
        return plan_of(tmp_path / "grid", request, 3)

    for vary, tune, said in (
        ("optimizer.momentum=0.1", None, "All were trained with the base's learning rate, 0.05"),
        ("optimizer.momentum=0.1", "rms_clip=0,1", "All were trained with the base's"),
        ("optimizer.learning_rate,epochs=0.1:2,0.05:3", None, "All but those that say another"),
        ("optimizer.momentum=0.1", "optimizer.learning_rate=1,2", ""),
        ("optimizer.learning_rate=0.1,0.2", None, ""),
    ):
        words = handicap_words(view_of(read_results(planned(vary, tune))))
        assert words.startswith(said) and bool(words) == bool(said)
    words = " ".join(Page(page_of(save_plan(planned("epochs=3,1")))).words)
    assert " 1 to 3 epochs " in words and " 2 epochs " not in words
    assert "Epochs differ: features and settling are those of each" in words


def test_names_with_commas_stand_in_quotes_where_several_are_listed(tmp_path, data_dir):
    base = make_config(data_dir, epochs=2)
    wanted = Wanted(axes=(axis_of("optimizer.momentum,epochs=0.1:3,0.2:3"),))
    plan = save_plan(plan_of(tmp_path / "grid", Request(base, wanted, (0, 1), None), 3))
    for cell, seed in plan.runs():
        finish(plan.run_folder(cell, seed), cell.config, 0.6, seed)
    listed = "“momentum=0.1, epochs=3” and “momentum=0.2, epochs=3”"
    said = beaten_words(view_of(read_results(plan)).cells)
    assert said == f"Against {listed} the grid cannot tell."


def test_one_seed_gets_no_verdict(tmp_path, data_dir):
    base = make_config(data_dir, epochs=2)
    wanted = Wanted(axes=(Axis(("model.conv1.kernel",), (("3",),)),))
    plan = save_plan(plan_of(tmp_path / "one", Request(base, wanted, (0,), None), 3))
    for cell, right in zip(plan.cells, (0.7, 0.2), strict=True):
        finish(plan.run_folder(cell, 0), cell.config, right, 0)
    words = " ".join(Page(page_of(plan)).words)
    assert "1 cannot tell" in words and "One seed says nothing of other seeds" in words
    assert "worse" not in words.split("How to read")[0]


def test_the_slider_has_a_few_stops_however_many_epochs(plan):
    for seed in plan.seeds[:1]:
        folder = plan.run_folder(plan.cells[0], seed)
        finish(folder, plan.base, 0.5, seed)
        kernels = np.random.default_rng(0).normal(size=(90, 5, 5, 3, 6))
        np.savez(folder / FILTERS, kernels=kernels, epochs=np.arange(90.0))
    names = Page(page_of(plan)).data["names"]
    assert len(names) == STOPS and (names[0], names[-1]) == ("0", "89")


def test_two_cells_maps_are_those_of_their_evolutions(made):
    evolution = made.run.evolution()
    cells = [Evolved(number, f"cell {number}", evolution) for number in (1, 4, 6)]
    left, right, layer = cell_choices(cells, 4)
    assert left.values[0] == ("1", "1") and right.values[0] == ("4", "4")
    assert {value for value, _ in right.values} == {"1", "4", "6"}
    assert [value for value, _ in layer.values] == list(evolution.layers)
    assert cell_choices(cells[:1], 4) == ()
    stops = (-1.0, *evolution.epochs)
    films = evolutions_side_by_side(cells, stops, 40).data["films"]
    assert len(films) == 3 * len(evolution.layers)
    film = films[f"maps-4-{evolution.layers[0]}"]
    assert film["frames"] == [None, *range(len(evolution.epochs))]
    assert sorted(film["sheet"]["number"] for film in films.values()) == list(
        range(40, 40 + len(films))
    )
    # Projections stand above patches, in the order of the maps.
    name, last = evolution.layers[-1], evolution.steps[-1:]
    pictures = read_layer(evolution, name, last, evolution.maps(name)[:6])
    board = board_of(pictures, 0)
    drawn = [at for at, map_ in enumerate(pictures.maps) if map_.top[0] is not None]
    for at in drawn:
        map_, left = pictures.maps[at], at * (EDGE + GAP)
        rows = (board[:EDGE], board[EDGE + GAP :])
        for row, tile in zip(rows, map_.pair(map_.top[0]), strict=True):
            shown = row[:, left : left + EDGE].astype(float).mean(axis=(0, 1))
            assert np.allclose(shown, tile.astype(float).mean(axis=(0, 1)), atol=4)
    assert drawn and (board[:, EDGE : EDGE + GAP] == 255).all()


def test_two_cells_maps_stay_within_their_share_of_the_page(made, monkeypatch):
    evolution = made.run.evolution()
    cells = [Evolved(number, f"cell {number}", evolution) for number in (1, 2)]
    sizes = {}

    def bytes_within(budget):
        """Of all sheets, and the layers that they are of, where a page may have ``budget``."""
        monkeypatch.setattr(evolutions, "BUDGET", budget)
        films = evolutions_side_by_side(cells, evolution.epochs, 0).data["films"]
        layers = {name.rsplit("-", 1)[-1] for name in films}
        shown = evolutions.layers_of(cells, len(evolution.epochs))
        assert layers == set(shown) == {name for name, _ in cell_choices(cells, len(
            evolution.epochs))[2].values}  # fmt: skip
        sheets = evolutions_side_by_side(cells, evolution.epochs, 0).sheets
        return len(sheets), layers

    sizes = {budget: bytes_within(budget) for budget in (40_000_000, 200_000, 60_000, 1)}
    whole, *less = (size for size, _ in sizes.values())
    assert whole > less[0] >= less[1] >= less[2]
    assert sizes[40_000_000][1] == set(evolution.layers) and len(sizes[1][1]) == 1
    for budget, (size, layers) in sizes.items():
        if len(layers) > 1:
            assert size <= budget


def test_evolutions_are_shown_once_two_cells_have_one(grid, made):
    words = " ".join(Page(page_of(grid)).words)
    assert "Feature maps of two" not in words and "Left side" not in words
    for cell in grid.cells[:2]:
        folder = grid.run_folder(cell, 0)
        (folder / "evolution").symlink_to(made.run.folder / "evolution")
    page = Page(page_of(grid))
    words = " ".join(page.words)
    assert "Feature maps of two" in words and "Left side" in words
    assert "zfjax evolve" not in words
    assert {"maps-1-conv1", "maps-2-conv1"} <= set(page.data["films"])
    numbers = [film["sheet"]["number"] for film in page.data["films"].values()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.slow
def test_it_fits_a_desk_and_a_telephone(grid, made):
    if find_browser() is None:
        pytest.skip("no Chromium on PATH")
    for cell in grid.cells[:3]:
        folder = grid.run_folder(cell, 0)
        (folder / "evolution").symlink_to(made.run.folder / "evolution")
    page_of(grid)
    with Browser() as browser:
        browser.prefer("print")
        for width in (718, 1400, 1250, 1020, 800, 390):
            browser.resize(width)
            browser.open(grid.folder / "report" / "index.html")
            for element in ("document.documentElement", "document.querySelector('.grid .scroll')"):
                wide = f"{element}.scrollWidth - {element}.clientWidth"
                assert browser.run(wide) <= 0, (width, element)
            axis, row = (
                browser.run(
                    f"(({{left, width}}) => [left, width])(document.querySelector('{where} .dots')"
                    ".getBoundingClientRect())"
                )
                for where in (
                    ".grid tbody tr:nth-child(2) .own" if width < 1400 else ".grid thead",
                    ".grid tbody tr:nth-child(2) .own + .dotline",
                )
            )
            assert axis == row and row[1] > 100, "the scale stands above what it measures"
            browser.prefer()  # the first is paper
        at = "document.querySelector('.now .tile').style.backgroundPosition"
        before = browser.run(at)
        browser.press("ArrowLeft")
        assert browser.run(at) != before
        for side, cell in (("left", "1"), ("right", "2")):
            shown = f"[...document.querySelectorAll('[data-side={side}] > :not([hidden])')]"
            told = f"{shown}.map((row) => row.dataset.cell + row.dataset.layer).join()"
            assert browser.run(told) == f"{cell}conv1"
        browser.run("document.querySelector('[name=left][value=\"3\"]').click()")
        browser.run("document.querySelector('[name=layer][value=conv2]').click()")
        assert browser.run(told) == "2conv2"
        assert browser.run(told.replace("right", "left")) == "3conv2"
        assert browser.errors == []
