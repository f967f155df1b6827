"""What was measured, on the page: each section says the table's numbers, and what is missing."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from markupsafe import Markup, escape
from PIL import Image

from tests.measured_run import (
    LABELS,
    write_census,
    write_controls,
    write_labels,
    write_settling,
    write_weights,
)
from tests.reported import Page, decode, spare_figures
from tests.synthetic_run import SMALL, make_run
from zfjax.errors import ZfjaxError
from zfjax.report import times_figure
from zfjax.report.board import enlarge
from zfjax.report.control_words import conclusions
from zfjax.report.controlled import COLUMNS, control_pictures
from zfjax.report.inputs import feeds_of
from zfjax.report.lives import Counted, layer_facts, layer_likeness
from zfjax.report.page import write_report
from zfjax.report.rowed import EDGE, GAP
from zfjax.run.colours import colour_scale, to_bytes
from zfjax.run.measured import Measured, measures_folder, measures_table, open_measured

pytestmark = pytest.mark.slow

NO_COUNT = {"n": None, "unit": None}
TIMES = {"conv1": (0.5, 0.25, 0.75), "conv2": (1.5, 1.25, 1.75), "conv3": (1.0, 0.5, 1.5)}


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
        rows = evolution.rows(step=steps[-1], layer="conv3", selection="top", rank=0)
        self.strongest = {row["map"]: row["label"] for row in rows}
        self.sure = {maps[0]: 1, maps[3]: self.strongest[maps[3]]}
        write_settling(self.run, steps, TIMES)
        write_settling(other, steps, {"conv1": (0.5, -0.25, 0.75), "conv2": (0.7, 0.3, 2.1)})
        self.dead = {layer: evolution.maps(layer)[1] for layer in evolution.layers}
        write_census(self.run, steps, self.dead, self.born)
        write_labels(self.run, steps, "conv3", self.sure)
        write_controls(self.run, steps, ("conv2", "conv3"))
        drawn = evolution.maps("conv2")
        self.evolution = evolution
        self.weighed = (drawn[0], next(map_ for map_ in range(99) if map_ not in drawn))
        write_weights(self.run, steps, "conv2", self.weighed)
        self.path = write_report(self.run, beside=other.folder)
        self.text = self.path.read_text(encoding="utf-8")
        self.page = Page(self.text)
        self.words = " ".join(" ".join(self.page.words).split())


def controls_of_numbers(numbers):
    """Medians with quartiles by layer and quantity."""
    rows = [(*names, *ends) for names, ends in numbers.items()]
    layers, names, values, lows, highs = map(list, zip(*rows, strict=True))
    columns = {"quantity": names, "layer": layers, "value": values, "low": lows, "high": highs}
    same = {"step": 8, "epoch": 8.0, "map": None, "n": 16, "unit": None}
    columns |= {name: [value] * len(rows) for name, value in same.items()}
    meta = {"steps": [8], "epochs": [8.0], "layers": sorted(set(layers))}
    return Measured(Path("x"), "controls", meta, measures_table(columns))


def test_controls_conclude_what_the_quartiles_say():
    numbers = {
        ("conv2", "cosine_swapped"): (0.6, 0.5, 0.7),
        ("conv2", "cosine_two_images"): (0.1, 0.0, 0.2),
        ("conv2", "cosine_randomised_1"): (0.55, 0.5, 0.6),
        ("conv2", "cosine_randomised_2"): (0.3, 0.2, 0.4),
        ("conv3", "cosine_swapped"): (0.8, 0.7, 0.9),
        ("conv3", "cosine_two_images"): (0.6, 0.5, 0.75),
        ("conv3", "cosine_randomised_1"): (0.2, 0.1, 0.3),
        ("conv3", "cosine_randomised_2"): (0.5, 0.4, 0.6),
    }
    above, no_more, turns = conclusions(controls_of_numbers(numbers))
    assert "quartiles apart, in conv2 (0.60, chance 0.10): so much" in above
    assert "random filters in the layer's place in conv2 (0.60 and 0.55):" in no_more
    assert turns.endswith("less: conv3 0.50 with 2, 0.20 with 1.")
    assert conclusions(controls_of_numbers({("conv2", "exempt"): (1.0, None, None)})) == []
    measured = {"controls": controls_of_numbers(numbers)}
    said = "; the layer's median 0.60, quartiles 0.50 to 0.70; chance 0.10"
    assert layer_likeness(measured, "conv2") == said and layer_likeness({}, "conv2") == ""
    numbers[("conv2", "cosine_others")] = (0.7, 0.65, 0.75)
    several = controls_of_numbers(numbers)
    assert "quartiles apart, in conv2 (0.70, chance 0.10): so much" in conclusions(several)[0]
    assert layer_likeness({"controls": several}, "conv2").startswith("; the layer's median 0.70")


def test_a_likeness_to_several_units_takes_the_place_of_that_to_one():
    one = {"image_share": (0.9, 0.8), "swapped_map": (1.0, 0.0)}

    def facts_of(of_maps, partners):
        rows = [(name, map_, of_maps[name][map_]) for name in of_maps for map_ in (0, 1)]
        rows += [("partners", None, float(count)) for count in partners]
        names, maps, values = map(list, zip(*rows, strict=True))
        columns = {"quantity": names, "map": maps, "value": values}
        same = {"step": 8, "epoch": 8.0, "layer": "conv2", "low": None, "high": None}
        columns |= {name: [value] * len(rows) for name, value in (same | NO_COUNT).items()}
        meta = {"steps": [8], "epochs": [8.0], "layers": ["conv2"]}
        controls = Measured(Path("x"), "controls", meta, measures_table(columns))
        return layer_facts({"controls": controls}, {}, None, "conv2", [0, 1])

    for fact in facts_of(one, ()):
        assert fact["image_share"] > 0.7 and "partners" not in fact, "of a table made before"
    means = one | {"cosine_others": (0.5, float("nan"))}
    first, silent = facts_of(means, (10,))
    assert (first["image_share"], first["partners"], first["swapped_map"]) == (0.5, 10, 1.0)
    assert silent["image_share"] is None


def test_settling_says_who_is_first_and_how_sure_that_is(answered):
    words = answered.words
    assert "Do lower layers settle first? <b>Cannot tell</b>." in words, "as text, not as HTML"
    first = (
        "conv1 is first: it is away from its end state for 0.5 epochs on average (area above its"
        " curve); it passes 90% for good at epoch 1; then conv3, 1; conv2 last, 1.5."
    )
    assert f"{first} conv1 and conv3 are not told apart when the images are drawn anew." in words
    maps = answered.run.config.model.fact("conv1").shape[2]
    assert f"conv1 1 1 {maps} {maps - 1} 0.25 n/a" in words, "90% from, and the median emergence"
    assert "1.5 (1.25 to 1.75)" in words and "1 (0.5 to 1.5)" in words
    assert "The schedule under it: learning rate cosine" in words
    beside = words.split("Beside it: zfnet-64-quarter on scenes")[1]
    assert "conv1 is first: it is away from its end state for 0.5 epochs on average" in beside
    assert "0.5 (0 to 0.75)" in beside and "0.7 (0.3 to 2)" in beside, "as far as a time can be"
    assert words.count("would reach below 0, or beyond") == 1 == beside.count("would reach below 0")


def test_a_figure_has_the_times_and_intervals_of_the_page(answered, monkeypatch):
    figures = []
    monkeypatch.setattr(times_figure, "save", lambda figure, stem: figures.append(figure) or {})
    measured = open_measured(measures_folder(answered.run.folder), "settling")
    assert times_figure.figure_of_times(measured, "a network") == {}
    [axes] = figures[0].axes
    lines = [line.get_xdata() for line in axes.lines]
    for dots in (TIMES[layer] for layer in measured.layers):
        assert [low_high for low_high in lines if list(low_high) == list(dots[1:])], "a bar"
    assert list(lines[-1]) == [TIMES[layer][0] for layer in measured.layers]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(measured.layers)
    assert axes.yaxis_inverted(), "the image's side above"
    assert times_figure.figure_of_times(None, "a network") == {}
    for kind in ("png", "pdf"):
        assert (answered.path.parent / f"settling-times.{kind}").stat().st_size > 1000
        assert f'href="settling-times.{kind}"' in answered.text


def test_intervals_apart_are_sure(tmp_path):
    run = make_run(tmp_path, replace(SMALL, epochs=2, layers=("conv1", "conv2"), maps=2, top=1))
    write_settling(run, run.evolution().steps, {"conv2": TIMES["conv1"], "conv1": TIMES["conv2"]})
    words = " ".join(write_report(run).read_text().split())
    assert "conv2 is first: it is away from its end state for 0.5 epochs on average" in words
    assert (
        "then conv1, 1.5. The intervals of the first two lie apart: their order holds when" in words
    )
    assert "the images are drawn anew; another seed was not tried." in words


def test_census_says_which_and_when(answered):
    words, (layer, map_, step) = answered.words, answered.born
    census = (
        words.split("Census: dead, born and duplicate maps")[1]
        .split("What maps are about")[0]
        .replace(" )", ")")
    )
    epoch = answered.run.epoch(step)
    assert f"born: map {map_} at epoch {epoch:g}" in census
    for of_layer, dead in answered.dead.items():
        listed = f"{of_layer} dead at the end: {dead} duplicate at the end: 0 (like 1)"
        assert listed in census
        maps = answered.run.config.model.fact(of_layer).shape[2]
        aliased = maps // 2 if of_layer == "conv1" else "n/a"
        assert f"{of_layer} {maps} 1 1 {aliased} " in census, "n/a where a layer has none"
    assert "fewer than 0.10% of them excite it" in census and "3 times its layer's" in census
    assert "by 0.95 or more" in census and "50% or more of what" in census
    assert "aliased at the end: 1, 3, 5" in census and "Aliased, in the first layer" in census
    assert f'<a href="#map={layer}:{map_}">{map_}</a>' in answered.text


def test_controls_that_a_network_cannot_have_take_no_room():
    """The columns of layers drawn anew are left out where none was, and so are their words."""
    pixels = np.random.default_rng(0).normal(size=(2, 5, 5 * len(COLUMNS), 3))
    controls = SimpleNamespace(steps=(0, 4), epochs=(0.0, 1.0), layers=("a", "b"))
    controls.of_maps = lambda *_: {}
    controls.quantities = lambda: ("cosine_initial", "cosine_randomised_1")
    controls.of_layer = lambda name, layer: {4: 0.5} if name == "cosine_initial" else {}
    controls.pictures = lambda layer: {4: (np.array([3, 8]), pixels)} if layer == "a" else {}
    stored = []

    def store(picture, _):
        stored.append(picture)
        return "x"

    html = control_pictures(controls, store, lambda layer, map_: Markup(f"map {map_}")).html
    assert "before training" in html and "layer anew" not in html and "layers anew" not in html
    assert "the network is that before training. Each on its own scale" in html
    controls.of_layer = lambda name, layer: {4: 0.5}
    whole = control_pictures(controls, store, lambda layer, map_: Markup(f"map {map_}")).html
    assert "all layers anew" in whole and "its layer is drawn anew; all layers up to it" in whole
    for picture, columns in zip(stored, (4, 6), strict=True):
        with Image.open(io.BytesIO(picture)) as opened:
            assert opened.size == (columns * (EDGE + GAP), 2 * EDGE + GAP)


def test_labels_and_controls_say_their_numbers(answered):
    labels = answered.words.split("What maps are about")[1].split("Training")[0]
    (strange, number), (alike, same) = answered.sure.items()
    assert f"{LABELS[number]} {strange} (3 of 4) ≠" in labels
    assert f"{name_of(same)} {alike} (3 of 4)" in labels and labels.count("≠") == 2, "and a legend"
    told = f"its strongest image is of another class: {name_of(answered.strongest[strange])}"
    assert f'title="{escape(told)}" aria-label="{escape(told)}"' in answered.text
    assert f"{LABELS[1]}" in labels and str(escape(LABELS[1])) in answered.text
    assert "75 % (75 % to 75 %) 30 %" in labels, "purity with quartiles, and by chance"
    assert "leans" not in labels.split("has no majority")[1], "3 of 4 is one"
    controls = answered.words.split("how much of a projection is the unit's")[1]
    assert "0.62 (0.25 to 0.88) 0.5 (0.25 to 0.88)" in controls, "the deepest first"
    assert "initial cosine 0.062 n/a" in controls, "what has no words here goes by its name"
    assert "Not measured yet" not in answered.words
    assert "another unit at the same place 0.90 (0.00 to 1.00) 0.90 (0.00 to 1.00)" in controls
    assert (
        "random filters: 2 layers from the top drawn anew 0.30 (0.00 to 1.00) 0.30 (0.00 to 1.00)"
        in controls
    )
    ranks = controls.split("Rank correlation of magnitudes conv3")[1]
    assert ranks.strip().startswith("the network before training 0.44")
    assert "exempt" not in controls.split("1: the same picture")[0], "the sentence says it"
    heads = controls.split(
        "conv3 at epoch 2, from above: maps 3 (other unit: map 4), 5 (other unit: map 6) "
    )[1]
    assert heads.startswith(" ".join(" ".join(COLUMNS).split()))
    pixels = figures_of(answered)[0]
    cell, edge = EDGE + GAP, EDGE // 9 * 9
    assert pixels.shape == (2 * EDGE + GAP, len(COLUMNS) * cell, 4)
    within = np.arange(edge) + (EDGE - edge) // 2
    own = pixels[within][:, within]
    assert (own[..., 3] == 255).all() and (pixels[:, EDGE:cell, 3] == 0).all()
    column = own[..., :3].mean(axis=(1, 2))
    assert abs(column[0]) < 12 and abs(column[-1] - 255) < 12, "from the most negative up"
    other = pixels[within][:, cell + within]
    assert (abs(other[..., :3] - 128) < 8).all(), "zero is mid-grey"


def test_weights_stand_beside_projections(answered):
    words = answered.words.split("Weights: the filters themselves, without an image")[1]
    assert words.strip().startswith("At epoch 2 the filters are where they stay.")
    drawn, bare = answered.weighed
    assert f'maps <a href="#map=conv2:{drawn}">{drawn}</a>, {bare}</figcaption>' in answered.text
    epochs = [f"epoch {answered.run.epoch(step):g}" for step in answered.evolution.steps]
    assert f"projection {epochs[0]} {epochs[-1]}" in words
    pixels, cell = figures_of(answered)[1], EDGE + GAP
    assert pixels.shape == (2 * EDGE + GAP, 3 * cell, 4)
    tile = answered.evolution.tiles("conv2", answered.evolution.steps[-1])["top", drawn, 0]
    shown = enlarge(to_bytes(tile.projection, colour_scale(tile.projection)), EDGE).astype(int)
    top, left = ((EDGE - extent) // 2 for extent in shown.shape[:2])
    ours = pixels[top : top + shown.shape[0], left : left + shown.shape[1], :3]
    assert abs(ours - shown).mean() < 12
    assert (pixels[cell:, :EDGE, 3] == 0).all(), "a map that the page does not draw has none"
    middle = EDGE // 2
    for row in (middle, cell + middle):
        assert (
            pixels[row, cell + EDGE - 9, 0] > 240 and abs(pixels[row, 3 * cell - 22, 0] - 128) < 12
        )


def name_of(label):
    """What the measure labels calls a class."""
    return LABELS[label] if label < len(LABELS) else f"class {label}"


def figures_of(answered):
    """The pictures of rows on the page: of the controls, and of the weights."""
    images = [
        value
        for tag, name, value in answered.page.attributes
        if (tag, name) == ("img", "src") and value.startswith("data:image/webp")
    ]
    return [np.asarray(decode(image).convert("RGBA")).astype(int) for image in images[1:]]


def test_scripts_know_what_each_map_is(answered):
    data = answered.page.data
    assert set(data["measured"]) == {"settling", "census", "controls", "labels", "weights"}
    layers = {layer["name"]: layer["maps"] for layer in data["layers"]}
    count = {name: answered.run.config.model.fact(name).shape[2] for name in layers}
    for name, maps in layers.items():
        for map_ in maps:
            assert map_["settled"] == (count[name] - 1 - map_["map"]) % 4
            assert map_["emerged"] == (None if map_["map"] == 0 else 1.0)
            assert map_["relative"] == [(map_["map"] + 1) % count[name], 0.5]
            wanted = None if name == "conv1" or map_["map"] > 8 else map_["map"] / 8
            assert map_["image_share"] == wanted
            other = (map_["map"] + 1) % 9 if name == "conv3" and map_["map"] <= 8 else None
            assert map_["swapped_map"] == other
            assert map_["firing"] == (0 if map_["map"] == answered.dead[name] else 1)
    about = {map_["map"]: map_["about"] for map_ in layers["conv3"]}
    for map_, fact in about.items():
        number = answered.sure.get(map_)
        assert fact["sure"] == (number is not None)
        named = 2 if number is None else number
        assert fact["class"] == name_of(named) and fact["p"] == 0.01
        assert fact["count"] == "3 of 4"
        label = answered.strongest.get(map_, named)
        assert fact["strongest"] == (None if label == named else name_of(label))
    _, born, step = answered.born
    events = {map_["map"]: map_["events"] for map_ in layers["conv3"]}
    assert events.pop(born) == [["born", answered.run.epoch(step)]] and not any(events.values())


def test_what_is_missing_is_a_line_with_its_command(made, answered):
    words = " ".join(" ".join(made.page.words).split())
    for name in ("settling", "census", "controls", "labels", "weights"):
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


def test_below_a_majority_a_map_leans_to_a_class():
    counts = Counted(np.array([3.0, 5.0, 4.0, np.nan]), np.array([9.0, 9.0, 8.0, np.nan]))
    assert [counts.majority(map_) for map_ in range(4)] == [False, True, False, False]
