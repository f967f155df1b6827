"""How large a page may be: the file itself, whatever the run is like; what it leaves out."""

import re
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.reported import Page, Reported
from tests.synthetic_run import SMALL, make_run
from zfjax.progress import Reporter
from zfjax.report import budget
from zfjax.report.budget import drawn_again
from zfjax.report.page import write_report
from zfjax.report.pictures import LayerPictures

pytestmark = pytest.mark.slow

DEEP = replace(SMALL, epochs=2, layers=("conv1", "conv3"), maps=12, top=4, every_rank=True)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Twelve maps of two layers, every rank drawn, within the budget."""
    return Reported(tmp_path_factory.mktemp("deep"), DEEP)


def shown(page):
    return {layer["name"]: [map_["map"] for map_ in layer["maps"]] for layer in page.data["layers"]}


def words_of(page):
    return " ".join(" ".join(page.words).split())


def test_the_file_is_within_the_budget_and_says_what_it_leaves_out(deep, monkeypatch):
    whole = deep.path.read_bytes()
    assert "To keep this page" not in deep.text and len(whole) < budget.BUDGET
    allowed = round(0.7 * len(whole))
    # What is not maps stays: the budget of a small page must leave room for it.
    monkeypatch.setattr(budget, "TILES_SHARE", budget.TILES_SHARE * budget.BUDGET / allowed)
    monkeypatch.setattr(budget, "BUDGET", allowed)
    path = write_report(deep.run)
    page, size = Page(path.read_text()), path.stat().st_size
    assert size <= allowed
    before, now = shown(deep.page), shown(page)
    counts = {layer: len(maps) for layer, maps in now.items()}
    for layer, maps in now.items():
        assert 1 <= len(maps) < 12 and set(maps) < set(before[layer]) and maps == sorted(maps)
    assert size > allowed - 2.5 * (len(whole) - size) / (24 - sum(counts.values())) - 20_000, (
        "about as many as there is room for"
    )
    told = words_of(page)
    limit = f"{allowed / 1e6:g} MB"
    for layer, count in counts.items():
        assert f"{layer} {count} of 12" in told
        assert (
            f"Here are {count} of the 12 maps drawn, chosen at random to keep this page within"
            f" {limit}." in told
        )
    assert f"To keep this page within {limit} it shows fewer maps than were drawn" in told
    assert "dead maps as likely as others" in told
    assert write_report(deep.run).read_bytes() == path.read_bytes(), "the same draw each time"
    sheets = [map_["sheet"] for layer in page.data["layers"] for map_ in layer["maps"]]
    numbers = [sheet["number"] for sheet in sheets if sheet]
    assert numbers == list(range(len(numbers))), "each map has its own pictures"


@dataclass(frozen=True)
class FakeView:
    """Maps of several layers by name and number, and what each takes."""

    layers: tuple
    sheets: tuple
    evolution: object
    cut: dict = field(default_factory=dict)


def fake_view(counts, seed=0):
    layers = tuple(
        LayerPictures(f"conv{index}", (), (8, 8), tuple(Numbered(map_) for map_ in range(count)))
        for index, count in enumerate(counts)
    )
    evolution = SimpleNamespace(record=SimpleNamespace(seed=seed), maps=lambda layer: range(10**6))
    return FakeView(layers, tuple(tuple(range(count)) for count in counts), evolution)


@dataclass(frozen=True)
class Numbered:
    map: int


@pytest.mark.parametrize("counts", [(48,) * 5, (1, 48), (3, 2, 48, 7), (40,), (1, 1), (2,) * 20])
@pytest.mark.parametrize("fixed", [0, 3_000_000])
@pytest.mark.parametrize("each", [900_000, 2_100_000, 7_000_000])
def test_any_page_fits_or_cannot(counts, fixed, each):
    """Maps of sizes as unequal as those of real ones, at some place of the page."""
    sizes = np.random.default_rng(len(counts)).lognormal(np.log(each), 0.7, (20, 48)).astype(int)

    def make(view):
        for layer, sheets in zip(view.layers, view.sheets, strict=True):
            assert [map_.map for map_ in layer.maps] == list(sheets), "each with its own pictures"
        made.append(sum(map(len, view.sheets)))
        maps = ((place, number) for place, row in enumerate(view.sheets) for number in row)
        return "x" * (fixed + sum(int(sizes[place]) for place in maps))

    made = []
    page = budget.fitted(fake_view(counts), make)
    assert len(made) < 25 and made == sorted(set(made), reverse=True), "each is of fewer maps"
    least = [min(1, count) for count in counts]
    if page is None:
        assert made[-1] == sum(least)
        return
    assert len(page) <= budget.BUDGET
    if len(made) > 1:
        assert budget.BUDGET < fixed + int(sizes.max()) * made[-2], "it was too large before"


def test_epochs_go_when_maps_are_not_enough(deep, monkeypatch):
    """Of this run, one map of each layer at three epochs takes 318 kB, at two 294 kB."""
    monkeypatch.setattr(budget, "TILES_SHARE", budget.TILES_SHARE * budget.BUDGET / 300_000)
    monkeypatch.setattr(budget, "BUDGET", 300_000)
    page = Page(write_report(deep.run).read_text())
    assert len(page.data["steps"]) == 2 and [*map(len, shown(page).values())] == [1, 1]
    assert page.data["steps"][-1] == deep.evolution.steps[-1]
    assert "To keep this page small it shows 2 of 3 epochs" in words_of(page)
    refused = str(budget.too_large(deep.evolution))
    assert "0.3 MB even with one map of each layer" in refused
    assert "--top 4 and --every-rank" in refused


def test_the_draw_is_uniform_seeded_and_nested():
    maps = tuple(range(100, 140))
    counts = dict.fromkeys(maps, 0)
    for seed in range(400):
        drawn = drawn_again(maps, 10, seed, 1)
        assert len(drawn) == 10 and list(drawn) == sorted(set(drawn)) and set(drawn) <= set(maps)
        assert set(drawn_again(maps, 4, seed, 1)) < set(drawn)
        for map_ in drawn:
            counts[map_] += 1
    assert 60 < min(counts.values()) and max(counts.values()) < 140, "100 each is to be expected"
    assert drawn_again(maps, 10, 3, 1) == drawn_again(maps, 10, 3, 1)
    assert len({drawn_again(maps, 10, 3, index) for index in range(5)}) == 5
    assert drawn_again(maps, 40, 0, 0) == maps == drawn_again(maps, 41, 0, 0)


def test_more_maps_than_a_screen_takes_are_drawn_alike(deep, monkeypatch):
    monkeypatch.setattr(budget, "MOST_MAPS", 5)
    evolution = deep.evolution
    _, drawn = budget.shown_steps(evolution)
    for index, (layer, maps) in enumerate(drawn.items()):
        assert maps == drawn_again(evolution.maps(layer), 5, 0, index) and len(maps) == 5
    layers = [LayerPictures(layer, (), (8, 8), maps) for layer, maps in drawn.items()]
    assert budget.cut_layers(evolution, layers) == {}, "not for the budget's sake"
    fewer = [replace(layer, maps=layer.maps[:4]) for layer in layers]
    assert budget.cut_layers(evolution, fewer) == {"conv1": "40 MB", "conv3": "40 MB"}


def test_maps_that_no_page_could_hold_are_not_even_read(deep, monkeypatch):
    evolution = deep.evolution
    assert [len(maps) for maps in budget.shown_steps(evolution)[1].values()] == [12, 12]
    monkeypatch.setattr(budget, "LEAST_BYTES_A_PIXEL", 100.0)
    steps, drawn = budget.shown_steps(evolution)
    tiles = sum(
        len(maps) * np.prod(evolution.record.tile_size[layer]) for layer, maps in drawn.items()
    )
    assert steps == evolution.steps and 1 <= len(drawn["conv3"]) < 12
    assert 100 * 2 * 4 * len(steps) * tiles * 4 / 3 <= 3 * budget.BUDGET
    for index, (layer, maps) in enumerate(drawn.items()):
        assert maps == drawn_again(evolution.maps(layer), len(maps), 0, index)


# ---- how far it is


def test_off_a_terminal_a_report_speaks_at_once_and_by_stage(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path, replace(SMALL, epochs=1, layers=("conv1", "conv3"), maps=2, top=1))
    spoken = []

    def first_work(*arguments, **options):
        spoken.append(capsys.readouterr().err)
        return honest(*arguments, **options)

    honest = budget.shown_steps
    monkeypatch.setattr("zfjax.report.page.shown_steps", first_work)
    with Reporter() as progress:
        write_report(run, progress=progress)
    assert spoken == ["reporting 0/5\n"], "before anything is read"
    told = capsys.readouterr().err
    for stage in ("reading pictures", "drawing figures", "packing pictures", "reporting"):
        [line] = [line for line in told.splitlines() if re.fullmatch(rf"{stage} (\d+)/\1 *", line)]
        assert stage == "reporting" or f"{stage} 0/" in told


def test_a_stage_that_is_told_of_before_it_begins_is_said_at_once(capsys):
    with Reporter() as progress:
        for done in range(3):
            progress("training", done, 9)
            progress("validating", done, 9)
            progress("reading", done, 9)
            progress("searching", done + 1, 9)
    assert capsys.readouterr().err == "reading 0/9\n"
