"""What runs, evolutions and measures show of themselves, and the notebook that uses it."""

import ast
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import zfjax
from tests.measured_run import write_settling
from tests.reported import decode, spare_figures
from tests.small import CLASSES, make_config
from zfjax.run.adopted import AdoptedRun
from zfjax.run.colours import colour_scale, to_bytes
from zfjax.run.map_figure import figure_of_rows
from zfjax.run.measured import measures_folder, open_measured
from zfjax.run.showing import EDGE
from zfjax.run.tabled import Tabled

pytestmark = pytest.mark.slow

TOUR = Path(__file__).parent.parent / "experiments" / "tour.ipynb"


class Tags(HTMLParser):
    """Tags that are balanced, their pictures and their words."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.words, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.pictures.append(dict(attributes)["src"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.words.append(text)


def test_a_film_is_the_table_and_the_tiles(made):
    evolution = made.evolution
    map_ = evolution.maps("conv2")[0]
    film = evolution.film("conv2", map_)
    shown = Tags(film._repr_html_())
    assert "conv2, map" in repr(film) and "searched anew" in shown.words
    tops = {
        row["step"]: row for row in evolution.rows(layer="conv2", map=map_, selection="top", rank=0)
    }
    captions = [words for words in shown.words if words.startswith("epoch ")]
    wanted = [
        f"epoch {epoch:g}: " + (f"{tops[step]['activation']:.3g}" if step in tops else "dead")
        for step, epoch in zip(evolution.steps, evolution.epochs, strict=True)
    ]
    assert captions[: len(wanted)] == wanted and len(captions) == 2 * len(wanted)
    step = evolution.steps[0]
    tile = evolution.tiles("conv2", step)["top", map_, 0]
    pixels = np.asarray(decode(shown.pictures[0]))
    small = to_bytes(tile.projection, colour_scale(tile.projection))
    times = EDGE // max(small.shape[:2])
    assert (pixels[::times, ::times] == small).all() and max(pixels.shape) == times * 27
    with Image.open(io.BytesIO(film._repr_png_())) as picture:
        assert picture.format == "PNG" and picture.size == film.picture.size


def test_dead_maps_are_said_to_be_dead(made):
    dead = made.evolution.maps("conv3")[1]
    film = made.evolution.film("conv3", dead)
    assert "dead" in film._repr_html_() and film.picture.size[0] > 100
    whole = Tags(made.evolution.show(epoch=0)._repr_html_())
    drawn = sum(len(made.evolution.maps(layer)) for layer in made.evolution.layers)
    assert sum(words.startswith("map ") for words in whole.words) == drawn
    few = Tags(made.evolution.show("conv1", maps=2)._repr_html_())
    assert sum(words.startswith("map ") for words in few.words) == 2


def test_a_map_is_a_figure_for_a_paper(made):
    """``show`` of one map: its film as matplotlib's, a dead map too, and at one epoch alone."""
    evolution = made.evolution
    alive, dead = evolution.maps("conv2")[0], evolution.maps("conv3")[1]
    film, figure = evolution.film("conv2", alive), evolution.show("conv2", alive)
    assert isinstance(figure, Figure)
    wanted = [picture for _, frames in film.rows for each in frames for picture in each.pictures]
    drawn = [axes.images[0].get_array() for axes in figure.axes]
    for one, other in zip(drawn, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    said = [text.get_text() for text in figure.texts]
    captions = [each.caption.replace(": ", "\n") for _, frames in film.rows for each in frames]
    assert said[0] == f"conv2, map {alive}" and set(captions) < set(said)
    with Image.open(io.BytesIO(figure._repr_png_())) as picture:
        assert picture.width > 400 and (np.asarray(picture.convert("RGB"))[0, 0] == 255).all()
    [shown] = Tags(figure._repr_html_()).pictures
    assert shown.startswith("data:image/png;base64,")
    assert "<script" not in figure._repr_html_()
    assert len(evolution.show("conv2", alive, epoch=2).axes) == 4
    assert evolution.show("conv3", dead).axes == []
    many = figure_of_rows(film.title, film.rows, 3)
    assert f"conv2, map {alive}, 3 of 5 epochs" == many.texts[0].get_text()
    assert "epoch 2\n" in many.texts[3].get_text(), "evenly spaced"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda evolution: evolution.film("conv2", 999), "Map 999 of conv2 is not drawn"),
        (lambda evolution: evolution.film("conv2", "x"), "must be a whole number"),
        (lambda evolution: evolution.film("fc6", 0), "no layer 'fc6'"),
        (lambda evolution: evolution.show("fc6"), "no layer 'fc6'"),
        (lambda evolution: evolution.show(epoch=2.5), "not searched at epoch 2.5"),
        (lambda evolution: evolution.show(epoch=float("nan")), "epoch"),
        (lambda evolution: evolution.show(epoch=10**400), "epoch is too large"),
        (lambda evolution: evolution.show(maps=-1), "at least one map"),
        (lambda evolution: evolution.show("conv2", 999), "Map 999 of conv2 is not drawn"),
        (lambda evolution: evolution.show(None, 0), "Map 0 of which layer"),
        (lambda evolution: evolution.show("conv2", 1, epoch=77), "at epoch 77"),
    ],
)
def test_what_is_not_there_is_said(made, ask, words):
    with pytest.raises(zfjax.ZfjaxError, match=words):
        ask(made.evolution)


def test_runs_evolutions_and_measures_show_themselves(hostile, made):
    for value in (hostile.run, hostile.evolution):
        text = value._repr_html_()
        Tags(text)
        assert "<script" not in text and str(hostile.run.folder) not in text
    said = " ".join(Tags(made.run._repr_html_()).words)
    assert "zfnet-64-quarter" in said and "300 images" in said
    layers = Tags(made.evolution._repr_html_()).words
    assert {"conv1", "conv2", "conv3"} <= set(layers) and "4 of 24" in layers


def test_a_terminal_shows_the_same(tmp_path, hostile, made):
    """Lines of words, not a dump of every field; nothing that a terminal would obey."""
    run = replace(made.run, folder=tmp_path)
    write_settling(run, made.evolution.steps, {"conv1": (1.5, 1.25, 1.75), "conv2": (2, 1, 3)})
    settling = open_measured(measures_folder(tmp_path), "settling")
    for value in (made.run, hostile.run, hostile.evolution, settling):
        text = repr(value)
        assert len(text) < 3000 and text.replace("\n", "").isprintable()
        assert str(hostile.run.folder) not in text
    assert "data          scenes, 300 images" in re.sub("scenes[^,]*", "scenes", repr(made.run))
    assert re.search(r"\nconv2 +4 of 64 ", repr(made.evolution))
    assert re.search(r"\nresponses_time +1.5 +2$", repr(settling), re.MULTILINE)
    lost = replace(made.evolution, folder=tmp_path / "lost")
    assert repr(lost).startswith("<") and "units.parquet" in repr(lost), "repr never raises"
    identity = {"model": "Net\x1b[2J <b>", "input": 64}
    other = AdoptedRun(tmp_path, identity)
    assert "network  Net [2J <b>\ninput    64 pixels" in repr(other)
    assert "Net\x1b[2J &lt;b&gt;" in other._repr_html_()
    alone = Tabled("A", "b.", ("layer", "n"), [("long name", 3)]).lines()
    assert alone == "A. b.\nlayer      n\nlong name  3"


def test_a_measure_shows_its_sentence_and_layers(tmp_path, made):
    run = replace(made.run, folder=tmp_path)
    write_settling(run, made.evolution.steps, {"conv1": (1.5, 1.25, 1.75), "conv2": (2, 1, 3)})
    text = open_measured(measures_folder(tmp_path), "settling")._repr_html_()
    words = " ".join(Tags(text).words)
    assert "<b>Cannot tell</b>" in words and "&lt;b&gt;Cannot" in text
    assert re.search(r"responses_time\s+1.5\s+2\b", words)


# ---- the tour


def test_the_tour_has_no_outputs_and_its_code_is_sound():
    cells = json.loads(TOUR.read_text(encoding="utf-8"))["cells"]
    assert [cell["cell_type"] for cell in cells].count("code") > 8
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            ast.parse("".join(cell["source"]))


def test_the_tour_runs_and_shows_what_it_says(unbroken, data_dir, tmp_path, monkeypatch):
    """Its cells in order, as a notebook runs them; of a run that is trained already."""
    spare_figures(monkeypatch)
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    names = {"CONFIG": make_config(data_dir), "WORKDIR": str(folder), "LAYER": "conv2", "MAPS": 3}
    space, shown, parameters = {}, [], 0
    for cell in json.loads(TOUR.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, TOUR.name, "exec"), space)
        if "parameters" in cell["metadata"].get("tags", ()):
            parameters += 1
            assert set(names) <= set(space)
            space |= names
        if last is not None:
            value = eval(compile(ast.Expression(last.value), TOUR.name, "eval"), space)
            if value is not None:
                shown.append(value._repr_html_())
    assert parameters == 1 and len(shown) >= 7
    for html in shown:
        Tags(html)
        assert "<script" not in html
    assert sum(len(Tags(html).pictures) for html in shown) > 20
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    for title in ("Settling: which layer", "Census: dead", "What maps are about"):
        assert title in page
    assert CLASSES[0] not in page
    assert '"inputs": [[' in page and '"below": "conv1"' in page, "of the saved weights"
