"""Weaker images and further rules on the page: the table's numbers, the tiles' pictures."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from tests.report.test_budget import data_beside
from tests.reported import Reported, decode, spare_figures
from tests.synthetic_run import SMALL
from zfjax.errors import ZfjaxError
from zfjax.report import budget
from zfjax.report.kit.wording import plain
from zfjax.report.page import write_report
from zfjax.report.pictures import colour_scale, named_rows, to_bytes
from zfjax.report.words import selection_words, silent_words

pytestmark = pytest.mark.slow

LAYERS, SELECTIONS, RULES = ("conv1", "conv3"), ("low", "quantile:0.5"), ("guided", "guided+norm")
SHAPE = replace(SMALL, epochs=2, layers=LAYERS, maps=3, top=3)


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """A page with two further selections and two further rules."""
    with pytest.MonkeyPatch.context() as patch:
        spare_figures(patch)
        shape = replace(SHAPE, selections=SELECTIONS, rules=RULES)
        return Reported(tmp_path_factory.mktemp("varied"), shape)


def sheet_of(page, number):
    """A sheet's pixels."""
    [style] = [text for text in page.held["style"] if f".s{number}{{" in text]
    uri = style.split(f".s{number}{{background-image:url(")[1].split(")")[0]
    return np.asarray(decode(uri).convert("RGB")).astype(int)


def tile_at(sheet, values, index, size):
    """The picture of that number in a sheet."""
    height, width = (round(values["ratio"][axis] * size[axis]) for axis in (0, 1))
    row, column = divmod(index, values["columns"])
    top, left = row * height, column * width
    return sheet[top : top + size[0], left : left + size[1]]


def test_every_shot_has_its_picture_by_every_rule(varied):
    evolution, data = varied.evolution, varied.page.data
    assert data["rules"] == ["deconvnet", *RULES]
    checked = 0
    for layer, values in zip(LAYERS, data["layers"], strict=True):
        size = evolution.record.tile_size[layer]
        for map_ in values["maps"]:
            sheet = map_["sheet"] and sheet_of(varied.page, map_["sheet"]["number"])
            for index, step in enumerate(evolution.steps):
                low, middle = (of_steps[index] for of_steps in map_["others"])
                shots = {"top": map_["top"][index], "fixed": map_["fixed"][index]}
                shots |= {"low": low[0] if low else None}
                shots |= {"quantile:0.5": middle[0] if middle else None}
                for name, shot in shots.items():
                    rows = evolution.rows(
                        layer=layer, step=step, map=map_["map"], selection=name, rank=0
                    )
                    assert [shot is not None] == [len(rows) == 1]
                    if shot is None:
                        continue
                    assert shot["image"] == rows[0]["image_id"]
                    assert shot["place"] == [rows[0]["y"], rows[0]["x"]]
                    drawn = [[shot["projection"], shot["scale"]], *shot["rules"]]
                    for rule, (number, scale) in zip(evolution.rules, drawn, strict=True):
                        pixels = evolution.tiles(layer, step, rule)[name, map_["map"], 0].projection
                        assert scale == pytest.approx(colour_scale(pixels), rel=1e-5)
                        wanted = to_bytes(pixels, colour_scale(pixels)).astype(int)
                        shown = tile_at(sheet, map_["sheet"], number, size)
                        error = abs(shown - wanted).mean()
                        # The other rules' pictures are this one's, the other way round.
                        assert error < 0.7 * abs(shown - (255 - wanted)).mean(), (step, name, rule)
                        assert layer != "conv1" or error == 0
                        checked += 1
            for number, shared in enumerate(map_["shared_by"]):
                scales = [shot["rules"][number][1] for shot in map_["top"] if shot]
                assert shared >= max(scales)
    assert checked > 100


def test_silent_ones_are_said_in_words(varied):
    data = varied.page.data
    assert [each["name"] for each in data["selections"]] == list(SELECTIONS)
    for each in data["selections"]:
        assert each["silent"] == silent_words(each["name"])
        assert each["words"] == selection_words(each["name"])
    dead = data["layers"][1]["maps"][1]
    assert dead["others"] == [[[], [], []]] * 2 and dead["shared_by"] == []
    silent = data["layers"][1]["maps"][0]["others"]
    assert silent[0][0] and not silent[1][0] and silent[1][1], "a typical image is silent at first"


def test_a_folder_says_the_same(varied, monkeypatch):
    spare_figures(monkeypatch)
    before = varied.page.data
    monkeypatch.setattr(budget, "BUDGET", 1000)
    assert not budget.one_file_may_hold(varied.evolution)
    after = data_beside(write_report(varied.run))
    for ours, theirs in zip(before["layers"], after["layers"], strict=True):
        for one, other in zip(ours["maps"], theirs["maps"], strict=True):
            assert one["others"] == other["others"] and one["top"] == other["top"]
    assert before["rules"] == after["rules"]


def test_the_estimate_knows_of_rules_and_weaker_images(varied, monkeypatch):
    size = len(varied.text.encode())
    monkeypatch.setattr(budget, "BUDGET", size)
    assert budget.one_file_may_hold(varied.evolution), "on the low side"

    def least(evolution):
        """The smallest budget that the estimate lets through, in steps of a tenth."""
        allowed = 1000.0
        while True:
            monkeypatch.setattr(budget, "BUDGET", allowed)
            if budget.one_file_may_hold(evolution):
                return allowed
            allowed *= 1.1

    evolution = varied.evolution
    with_all = least(evolution)
    alone = replace(evolution, record=replace(evolution.record, asked={}))
    assert least(alone) < 0.7 * with_all


def test_a_picture_missing_by_one_rule_is_said_with_its_file(tmp_path, monkeypatch):
    spare_figures(monkeypatch)
    varied = Reported(tmp_path / "run", replace(SHAPE, layers=("conv1",), rules=("guided",)))
    folder = varied.evolution.folder / "tiles-guided" / "conv1"
    other = next(path for path in sorted(folder.iterdir()) if path.name != "0.npz")
    (folder / "0.npz").unlink()
    with pytest.raises(ZfjaxError, match="0.npz is missing"):
        write_report(varied.run)
    arrays = dict(np.load(other))
    np.savez(other, **{name: array[1:] for name, array in arrays.items()})
    (folder / "0.npz").write_bytes(other.read_bytes())
    with pytest.raises(ZfjaxError, match=r"tiles-guided.*lacks map"):
        write_report(varied.run)


def test_what_the_rules_do_is_said(varied, without_photos):
    words = " ".join(" ".join(varied.page.words).split())
    assert "By the rule “guided”: Going down, a rectifier passes" in words
    assert "deconvnet, guided, guided+norm" in words
    plain = without_photos.page.data
    assert plain["rules"] == ["deconvnet"] and plain["selections"] == []
    assert not any(value == "rule" for _, name, value in without_photos.page.attributes)


def test_classes_of_one_name_are_told_apart():
    """Two that are called the same, or are the same as far as a reader sees, are not one class."""
    long = "word " * 20
    names = ["crane", "maillot", "crane", long + "a", long + "b", None, "\x07 crane"]
    rows = [{"label": label, "label_name": name} for label, name in enumerate(names)]
    rows += [{"label": None, "label_name": "crane"}, {"label": 0, "label_name": "crane"}]
    schema = pa.schema({"label": pa.int32(), "label_name": pa.string()})
    evolution = SimpleNamespace(units=pa.Table.from_pylist(rows, schema))
    said = [plain(row["label_name"], 60) for row in named_rows(evolution.units, evolution)[:5]]
    assert said[:3] == ["crane (class 0)", "maillot", "crane (class 2)"]
    assert said[3].endswith("… (class 3)") and said[4].endswith("… (class 4)")
    assert max(map(len, said)) == 60
    every = [row["label_name"] for row in named_rows(evolution.units, evolution)]
    assert every[5:] == [None, "crane (class 6)", "crane", "crane (class 0)"]
    plainly = pa.Table.from_pylist(rows[1:2], schema)
    assert named_rows(plainly, SimpleNamespace(units=plainly)) == rows[1:2]
