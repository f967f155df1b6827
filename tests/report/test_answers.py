"""What was measured, on the page: each section says the table's numbers, and what is missing."""

from dataclasses import replace

import numpy as np
import pytest
from markupsafe import escape

from tests.measured_run import LABELS, write_census, write_controls, write_labels, write_settling
from tests.reported import Page, decode, spare_figures
from tests.synthetic_run import SMALL, make_run
from zfjax.errors import ZfjaxError
from zfjax.report.inputs import feeds_of
from zfjax.report.page import write_report
from zfjax.run.measured import measures_folder

pytestmark = pytest.mark.slow

TIMES = {"conv1": (1.5, 1.25, 1.75), "conv2": (2.5, 2.25, 2.75), "conv3": (2.0, 1.5, 2.5)}


@pytest.fixture(autouse=True)
def few_figures(monkeypatch):
    spare_figures(monkeypatch)


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        spare_figures(patch)
        return Answered(tmp_path_factory.mktemp("answered"))


class Answered:
    """A run with all measures, another one beside it, and the page."""

    def __init__(self, folder):
        self.run = make_run(folder / "run", replace(SMALL, epochs=2))
        other = make_run(folder / "other", replace(SMALL, epochs=2, layers=("conv1",), maps=1))
        evolution = self.run.evolution()
        steps, maps = evolution.steps, evolution.maps("conv3")
        self.born = ("conv3", maps[2], steps[1])
        self.sure = {maps[0]: 1, maps[3]: 0}
        write_settling(self.run, steps, TIMES)
        write_settling(other, steps, {"conv1": (0.5, 0.25, 0.75), "conv2": (0.7, 0.3, 1.1)})
        self.dead = {layer: evolution.maps(layer)[1] for layer in evolution.layers}
        write_census(self.run, steps, self.dead, self.born)
        write_labels(self.run, steps, "conv3", self.sure)
        write_controls(self.run, steps, ("conv2", "conv3"))
        self.path = write_report(self.run, beside=other.folder)
        self.text = self.path.read_text(encoding="utf-8")
        self.page = Page(self.text)
        self.words = " ".join(" ".join(self.page.words).split())


def test_settling_says_who_is_first_and_how_sure_that_is(answered):
    words = answered.words
    assert "Do lower layers settle first? <b>Cannot tell</b>." in words, "as text, not as HTML"
    first = "conv1 settles first, after 1.5 epochs, then conv3, 2; conv2 last, 2.5."
    assert f"{first} The intervals of the first two overlap: their order is not sure." in words
    assert "1.5 (1.25 to 1.75)" in words and "2 (1.5 to 2.5)" in words
    assert "Learning rate, the schedule under it: cosine" in words
    beside = words.split("Beside it: zfnet-64-quarter on scenes")[1]
    assert "conv1 settles first, after 0.5 epochs, then conv2, 0.7." in beside


def test_intervals_apart_are_sure(tmp_path):
    run = make_run(tmp_path, replace(SMALL, epochs=2, layers=("conv1", "conv2"), maps=2, top=1))
    write_settling(run, run.evolution().steps, {"conv2": TIMES["conv1"], "conv1": TIMES["conv2"]})
    words = " ".join(write_report(run).read_text().split())
    assert "conv2 settles first, after 1.5 epochs, then conv1, 2.5. The intervals of" in words
    assert "the first two lie apart" in words


def test_census_says_which_and_when(answered):
    words, (layer, map_, step) = answered.words, answered.born
    census = words.split("Census: dead, born and doubled maps")[1].split("What maps are about")[0]
    epoch = answered.run.epoch(step)
    assert f"born: {map_} at epoch {epoch:g}" in census
    for of_layer, dead in answered.dead.items():
        assert f"{of_layer} dead at the end: {dead}" in census
    assert f'<a href="#map={layer}:{map_}">{map_}</a>' in answered.text


def test_labels_and_controls_say_their_numbers(answered):
    labels = answered.words.split("What maps are about")[1].split("Training")[0]
    for map_, number in answered.sure.items():
        assert f"{LABELS[number]} {map_}" in labels
    assert f"{LABELS[1]}" in labels and str(escape(LABELS[1])) in answered.text
    assert "75 % 30 %" in labels, "purity, and by chance"
    controls = answered.words.split("how much of a projection is the unit's")[1]
    assert "0.5 (0.25 to 0.875)" in controls and "0.625 (0.25 to 0.875)" in controls
    assert "initial cosine n/a 0.0625" in controls
    assert "Not measured yet" not in answered.words
    [image] = [
        value
        for tag, name, value in answered.page.attributes
        if (tag, name) == ("img", "src") and value.startswith("data:image/webp")
    ][1:]
    pixels = np.asarray(decode(image).convert("RGB")).astype(int)
    times = pixels.shape[1] // 54
    assert (
        pixels.shape == (2 * 9 * times + 6, 54 * times, 3) and "maps 3, 5, from above" in controls
    )
    column = pixels[: 9 * times, times].mean(axis=-1)
    assert abs(column[0]) < 12 and abs(column[-1] - 255) < 12, "from the most negative up"
    assert (abs(pixels[:, 20 * times :] - 128) < 8).all(), "zero is mid-grey"


def test_scripts_know_what_each_map_is(answered):
    data = answered.page.data
    assert set(data["measured"]) == {"settling", "census", "controls", "labels"}
    layers = {layer["name"]: layer["maps"] for layer in data["layers"]}
    count = {name: answered.run.config.model.fact(name).shape[2] for name in layers}
    for name, maps in layers.items():
        for map_ in maps:
            assert map_["settled"] == (count[name] - 1 - map_["map"]) % 4
            assert map_["emerged"] == (None if map_["map"] == 0 else 1.0)
            assert map_["relative"] == [(map_["map"] + 1) % count[name], 0.5]
            wanted = None if name == "conv1" or map_["map"] > 8 else map_["map"] / 8
            assert map_["image_share"] == wanted
            assert map_["firing"] == (0 if map_["map"] == answered.dead[name] else 1)
    about = {map_["map"]: map_["about"] for map_ in layers["conv3"]}
    for map_, fact in about.items():
        number = answered.sure.get(map_)
        assert fact["sure"] == (number is not None)
        assert fact["class"] == LABELS[2 if number is None else number] and fact["p"] == 0.01
    _, born, step = answered.born
    events = {map_["map"]: map_["events"] for map_ in layers["conv3"]}
    assert events.pop(born) == [["born", answered.run.epoch(step)]] and not any(events.values())


def test_what_is_missing_is_a_line_with_its_command(made, answered):
    words = " ".join(" ".join(made.page.words).split())
    for name in ("settling", "census", "controls", "labels"):
        assert f"zfjax measure --workdir RUN {name}" in words
    assert "Settling: which" not in words and made.page.data["measured"] == []


def test_another_run_without_settling_is_refused(answered, made):
    page = answered.path.read_bytes()
    with pytest.raises(ZfjaxError, match="no measure 'settling'"):
        write_report(answered.run, beside=made.run)
    path = measures_folder(answered.run.folder) / "labels.parquet"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:100])
        with pytest.raises(ZfjaxError, match=r"labels\.parquet is damaged"):
            write_report(answered.run)
    finally:
        path.write_bytes(whole)
    assert answered.path.read_bytes() == page


# ---- strongest inputs


def test_inputs_are_those_that_weigh_most():
    rng = np.random.default_rng(0)
    filter_ = rng.normal(size=(3, 3, 9)).astype(np.float32)
    filter_[..., 4] = 2.0
    filter_[..., 7] = -1.5
    filter_[..., 1] = 0
    feeds = feeds_of(filter_)
    assert [feed.map for feed in feeds[:2]] == [4, 7] and len(feeds) == 6
    assert [feed.balance for feed in feeds[:2]] == [1.0, -1.0]
    energies = [float((filter_[..., channel].astype(float) ** 2).sum()) for channel in range(9)]
    assert [feed.share for feed in feeds] == pytest.approx(
        [energies[feed.map] / sum(energies) for feed in feeds]
    )
    assert [energies[feed.map] for feed in feeds] == sorted(energies, reverse=True)[:6]
    assert feeds_of(np.zeros((3, 3, 4), np.float32)) == ()
    equal = feeds_of(np.ones((1, 1, 3), np.float32))
    assert [feed.map for feed in equal] == [0, 1, 2]
