import base64
import getpass
import hashlib
import io
import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.synthetic_run import HOSTILE, SMALL, make_run
from zfjax.files import ZfjaxError, write_json
from zfjax.report import figures, page
from zfjax.report.board import DPI, TEXT_SIZE, Board, text_width, wrap
from zfjax.report.charts import epoch_axis, interpolate, track
from zfjax.report.page import write_report
from zfjax.report.pictures import read_layer
from zfjax.report.tiles import colour_scale, enlarge, filter_grid, make_sheet, to_bytes
from zfjax.report.words import choose, number, plain

VOID = {"meta", "rect", "path", "img", "input", "circle", "br", "hr", "link"}
STEMS = ("figure2-conv1", "figure2-conv2", "figure2-conv3", "figure4", "filters", "training", "settled")


class Page(HTMLParser):
    """Checks that tags are balanced; keeps attributes, texts, and what scripts and styles hold."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.held, self.words = [], [], {"script": [], "style": []}, []
        self.feed(text)
        self.close()
        assert self.open == [], f"unclosed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.held:
            self.held[tag].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, text):
        if self.open and self.open[-1] in self.held:
            self.held[self.open[-1]][-1] += text
        else:
            self.words.append(text)

    @property
    def data(self):
        return json.loads(self.held["script"][0])

    @property
    def policy(self):
        contents = [value for tag, name, value in self.attributes if (tag, name) == ("meta", "content")]
        return next(value for value in contents if "default-src" in value)


class Reported:
    """A made-up run and its report; ``boards`` are the static figures before they became files, ``laid`` what tiles
    were laid on each board: (picture, y, x, edge)."""

    def __init__(self, folder, shape, **options):
        self.run = make_run(folder, shape)
        self.boards, laid = {}, {}
        with pytest.MonkeyPatch.context() as patch:
            files, tile = Board.files, Board.tile
            keep_board = lambda board, stem: self.boards.setdefault(stem, board) and files(board, stem)
            keep_tile = lambda board, *what: laid.setdefault(id(board), []).append(what) or tile(board, *what)
            patch.setattr(Board, "files", keep_board)
            patch.setattr(Board, "tile", keep_tile)
            self.path = write_report(self.run, **options)
        self.laid = {stem: laid.get(id(board), []) for stem, board in self.boards.items()}
        self.text = self.path.read_text(encoding="utf-8")
        self.page = Page(self.text)
        self.evolution = self.run.evolution()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Reported(tmp_path_factory.mktemp("run") / "deep" / "run", SMALL)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    shape = replace(SMALL, epochs=2, layers=("conv1", "conv3"), hostile=True, early_steps=(1, 8), maps=3)
    return Reported(tmp_path_factory.mktemp("hostile"), shape)


@pytest.fixture(scope="module")
def without_photos(tmp_path_factory):
    return Reported(tmp_path_factory.mktemp("bare"), replace(SMALL, epochs=2, layers=("conv1", "conv3")), photos=False)


# ---- colour


def test_scale_is_the_percentile_of_magnitudes():
    projection = np.random.default_rng(0).normal(size=(27, 27, 3)).astype(np.float32)
    ordered = np.sort(np.abs(projection).ravel())
    place = 0.995 * (ordered.size - 1)
    below = int(place)
    oracle = ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
    assert colour_scale(projection) == pytest.approx(oracle, rel=1e-6)


def test_scale_of_nearly_and_wholly_empty_tiles():
    empty = np.zeros((64, 64, 3), np.float32)
    assert colour_scale(empty) == 0
    assert (to_bytes(empty, 0) == 128).all()
    empty[3, 4, 1] = -2
    assert colour_scale(empty) == 2
    assert to_bytes(empty, 2)[3, 4].tolist() == [128, 0, 128]


def test_zero_is_exactly_mid_grey_and_signs_are_symmetric():
    shown = to_bytes(np.array([-9, -1, -0.5, 0, 0.5, 1, 9], np.float32), 1.0)
    assert shown.tolist() == [0, 0, 64, 128, 191, 255, 255]


def test_small_tiles_are_repeated_whole_times():
    tile = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    shown = enlarge(tile, 65)
    assert shown.shape == (63, 45, 3)
    assert (shown[::9, ::9] == tile).all() and (shown[8::9, 8::9] == tile).all()
    assert enlarge(np.zeros((139, 107, 3), np.uint8), 60).shape == (60, 46, 3)


def test_sheet_keeps_small_tiles_exactly_and_grey_grey():
    small = np.random.default_rng(0).integers(0, 256, (7, 27, 27, 3), np.uint8)
    sheet = make_sheet(small, 30)
    pixels = np.asarray(decode(sheet.uri).convert("RGB"))
    for index, tile in enumerate(small):
        y, x = index // sheet.columns * sheet.cell[0], index % sheet.columns * sheet.cell[1]
        assert (pixels[y : y + 27, x : x + 27] == tile).all()
    large = np.full((3, 75, 64, 3), 128, np.uint8)
    large[1] = small[0].repeat(3, axis=0)[:75].repeat(3, axis=1)[:, :64]
    sheet = make_sheet(large, 70)
    pixels = np.asarray(decode(sheet.uri).convert("RGB"))
    error = abs(pixels[:75, :64].astype(int) - 128)
    assert error[:64, :48].max() == 0 and error.max() <= 10, "mid-grey survives beside a busy neighbour"


def test_filters_share_one_scale_and_gaps_are_clear():
    kernel = np.random.default_rng(0).normal(size=(7, 7, 3, 24)).astype(np.float32)
    kernel[..., 5] = 0
    grid, scale = filter_grid(kernel)
    assert grid.shape == (47, 31, 4) and scale == colour_scale(kernel)
    assert (grid[8:15, 8:15, :3] == 128).all() and (grid[7] == 0).all()
    assert (grid[:7, :7, :3] == to_bytes(kernel[..., 0], scale)).all()


# ---- figures


def test_every_figure_is_there(made):
    for stem in STEMS:
        with Image.open(made.path.parent / f"{stem}.png") as image:
            assert image.width == 1400 and image.info.get("Software") is None
            pixels = np.asarray(image.convert("RGB")).astype(int)
        assert (pixels[:8] == 255).all() or stem in ("training", "settled"), "a white margin"
        colourful = abs(pixels.max(2) - pixels.min(2)) > 60
        assert colourful.mean() > 0.002, f"{stem} is grey"
        pdf = (made.path.parent / f"{stem}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf and b"Matplotlib" not in pdf


def test_figures_are_the_same_again(made):
    layer = read_layer(made.evolution, "conv1", made.evolution.steps, made.evolution.maps("conv1"))
    again = figures.figure2(made.evolution, layer, made.run.config.model.name, True)
    assert all((made.path.parent / name).read_bytes() == data for name, data in again.items())


def test_figure4_lays_the_tiles_of_the_table(made):
    steps, tiles = made.evolution.steps, made.evolution.tiles
    wanted = [
        picture
        for layer in made.evolution.layers for map_ in made.evolution.maps(layer) for step in steps
        if (tile := tiles(layer, step).get(("top", map_, 0))) is not None
        for picture in (to_bytes(tile.projection, colour_scale(tile.projection)), tile.patch)
    ]  # fmt: skip
    laid = made.laid["figure4"]
    assert len(laid) == len(wanted) and all((one[0] == other).all() for one, other in zip(laid, wanted, strict=True))
    picture, y, x, edge = laid[0]
    times = edge // 7
    rim = (edge - 7 * times) // 2
    with Image.open(made.path.parent / "figure4.png") as image:
        shown = np.asarray(image.convert("RGB"))[y + rim : y + rim + 7 * times, x + rim : x + rim + 7 * times]
    assert (shown == picture.repeat(times, axis=0).repeat(times, axis=1)).all(), "pixel for pixel"


def test_jump_marks_are_the_tables(made):
    steps, maps = made.evolution.steps, made.evolution.maps
    rows = made.evolution.rows(selection="top", rank=0)
    jumped = {(row["layer"], row["map"], row["step"]) for row in rows if row["jumped"]}
    jumped = {(layer, map_, step) for layer, map_, step in jumped if map_ in maps(layer)}
    assert jumped
    assert len(made.boards["figure4"].dots) == len(jumped), "at most 8 epochs and 6 maps: all are shown"
    shown = {
        (layer["name"], map_["map"], steps[at])
        for layer in made.page.data["layers"] for map_ in layer["maps"]
        for at, frame in enumerate(map_["top"]) if frame and frame["jumped"]
    }  # fmt: skip
    assert shown == jumped


def test_dead_maps_have_a_frame_that_says_so(made):
    for stem, count in (("figure2-conv1", 0), ("figure2-conv2", 1), ("figure4", 2 * len(made.evolution.steps))):
        board = made.boards[stem]
        assert len(board.frames) == count
        assert sum(text["s"] == "dead" for text in board.texts) == count
    dead = made.evolution.maps("conv3")[1]
    cell = made.text.split(f'id="conv3-{dead}"')[1].split("</button>")[0]
    assert "dead" in cell and "tile" not in cell
    values = next(map_ for map_ in made.page.data["layers"][2]["maps"] if map_["map"] == dead)
    assert values["top"] == [None] * len(made.evolution.steps) and values["sheet"] is None


def test_large_tiles_get_a_finer_raster(made):
    layer = read_layer(made.evolution, "conv3", made.evolution.steps, made.evolution.maps("conv3")[:1])
    stack = layer.maps[0].stack.repeat(2, axis=1).repeat(2, axis=2)
    large = replace(layer, tile_size=(128, 128), maps=(replace(layer.maps[0], stack=stack),))
    with Image.open(io.BytesIO(figures.figure2(made.evolution, large, "net", True)["figure2-conv3.png"])) as image:
        assert image.width == 2800


def test_no_words_are_cut_off(made, hostile):
    for board in (*made.boards.values(), *hostile.boards.values()):
        assert len(board.texts) > 3
        for text in board.texts:
            lines, size = text["s"].split("\n"), text.get("size", TEXT_SIZE)
            width = max(text_width(line, size, text.get("weight", "normal")) for line in lines)
            left = text["x"] - {"left": 0, "center": width / 2, "right": width}[text.get("ha", "left")]
            assert 0 <= left and left + width <= board.width, text
            assert 0 <= text["y"] and text["y"] + len(lines) * size * 1.35 * DPI / 72 <= board.height + 20, text
    assert all(text_width(line) <= 300 for line in wrap("y " + "x" * 4000 + " some words more", 300))


# ---- the page


def test_page_is_self_contained(made):
    names = {path.name for path in made.path.parent.iterdir()}
    for tag, name, value in made.page.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            assert value.startswith("data:image/") or (tag == "a" and value in names), (tag, name, value[:80])
        assert not name.startswith("on") and name != "style", "the policy would refuse it"
    for style in made.page.held["style"]:
        assert "@import" not in style
        assert all(link.startswith("data:image/webp") for link in re.findall(r"url\(([^)]{0,40})", style))
    bare = re.sub(r"(base64,|sha256-)[A-Za-z0-9+/=]+", "", made.text)
    assert "http://" not in bare and "https://" not in bare and "//cdn" not in bare
    for private in (str(made.run.folder), str(made.run.folder.parent), f"/{getpass.getuser()}/"):
        assert private not in bare
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", bare)
    assert not re.search(r"[\"'\s](/tmp|/home|/root|/work|/usr)/", bare)


def test_policy_allows_just_what_is_there(made):
    digest = lambda text: f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    policy = dict(part.strip().split(" ", 1) for part in made.page.policy.split(";") if part.strip())
    assert policy["default-src"] == "'none'" and policy["img-src"] == "data:"
    assert policy["script-src"] == digest(made.page.held["script"][1]) and len(made.page.held["script"]) == 2
    assert policy["style-src"].split() == [digest(style) for style in made.page.held["style"]]


def test_page_says_what_it_is(made):
    words = re.sub(r"\s+", " ", " ".join(made.page.words))
    for said in (
        "zfnet-64-quarter", "scenes", "300 training images", "4 epochs", "21 November 2025", "deconvnet",
        "1,234 of 1,234 drawn units", "zfjax evolve --workdir RUN --data.dir DATA", "0123456789ab", "9f2c9f2c9f2c",
        "conv3", "purity", "It is not", "99.5th percentile", "train split",
    ):  # fmt: skip
        assert said in words, said


def test_payload_is_the_table(made):
    data = made.page.data
    assert data["steps"] == list(made.evolution.steps)
    compared = 0
    for layer in data["layers"]:
        for map_ in layer["maps"]:
            for selection in ("top", "fixed"):
                rows = made.evolution.rows(layer=layer["name"], map=map_["map"], selection=selection, rank=0)
                by_step = {row["step"]: row for row in rows}
                for step, frame in zip(data["steps"], map_[selection], strict=True):
                    assert (frame is None) == (step not in by_step)
                    if frame:
                        same_as_row(data, frame, by_step[step])
                        compared += 1
            best = made.evolution.rows(layer=layer["name"], map=map_["map"], selection="top", step=data["steps"][-1])
            assert len(best) == len(map_["best"])
            for frame, row in zip(map_["best"], sorted(best, key=lambda row: row["rank"]), strict=True):
                same_as_row(data, frame, row)
            assert [data["labels"][label] for label in map_["labels"][-1]] == [row["label_name"] for row in best]
        assert layer["settled"] == list(made.evolution.settled(layer["name"]).values())
    assert compared > 50


def test_sheets_hold_the_tiles(made):
    """A tile found through payload, CSS rule and WebP is the tile of the npz."""
    data, style = made.page.data, made.page.held["style"][1]
    map_ = data["layers"][1]["maps"][0]
    sheet, frame = map_["sheet"], map_["top"][-1]
    uri = re.search(rf"\.s{sheet['number']}\{{background-image:url\(([^)]+)\)", style)[1]
    pixels = np.asarray(decode(uri).convert("RGB"))
    tile = made.evolution.tiles("conv2", data["steps"][-1])["top", map_["map"], 0]
    wanted = {"projection": to_bytes(tile.projection, colour_scale(tile.projection)), "patch": tile.patch}
    assert frame["scale"] == pytest.approx(colour_scale(tile.projection), rel=1e-6)
    for kind, picture in wanted.items():
        y, x = (27 * place for place in divmod(frame[kind], sheet["columns"]))
        assert (pixels[y : y + 27, x : x + 27] == picture).all()
    assert map_["shared"] == max(frame["scale"] for frame in (*map_["top"], *map_["fixed"]) if frame)


def test_hostile_names_stay_texts(hostile):
    tags = {tag for tag, _, _ in hostile.page.attributes}
    assert len(hostile.page.held["script"]) == 2 and "iframe" not in tags
    assert not any("evil.example" in value for _, name, value in hostile.page.attributes if name in ("src", "href"))
    labels = hostile.page.data["labels"]
    assert HOSTILE[0] in labels and HOSTILE[2] in labels and "{{ 7*7 }}" in labels and "new line" in labels
    assert "<script>alert" not in hostile.text and "</style><img" not in hostile.text
    assert "\u202e" not in hostile.text and "&lt;script&gt;" in hostile.text, "the data set's name is in the headline"
    for stem in ("figure2-conv3", "figure4", "training"):
        assert (hostile.path.parent / f"{stem}.png").stat().st_size > 10_000
    assert hostile.page.data["names"][:4] == ["0", "0.01", "0.08", "1"]
    assert hostile.page.data["at"][:4] == ["0", "step:1", "step:8", "1"]


def test_without_photos_no_pixel_of_one(without_photos):
    evolution, patches = without_photos.evolution, set()
    for layer in without_photos.page.data["layers"]:
        for map_ in layer["maps"]:
            assert all(frame["patch"] is None for frame in (*map_["top"], *map_["fixed"], *map_["best"]) if frame)
    for layer in evolution.layers:
        patches |= {tile.patch.tobytes() for step in evolution.steps for tile in evolution.tiles(layer, step).values()}
        read = read_layer(evolution, layer, evolution.steps, evolution.maps(layer), photos=False)
        assert not any(picture.tobytes() in patches for map_ in read.maps for picture in map_.stack)
    assert ".photo{" not in without_photos.text and 'class="tile patch' not in without_photos.text
    assert "made without photos" in " ".join(without_photos.text.split())
    laid = {what[0].tobytes() for stem in without_photos.laid for what in without_photos.laid[stem]}
    assert laid and not patches & laid


def test_named_report_and_stale_figures(without_photos, tmp_path):
    run = without_photos.run
    run.evolution_folder().rename(run.evolution_folder("other"))
    try:
        stale = run.folder / "report-other" / "figure2-conv9.png"
        stale.parent.mkdir()
        stale.write_bytes(b"old photos")
        said = []
        path = write_report(run, name="other", photos=False, progress=said.append)
    finally:
        run.evolution_folder("other").rename(run.evolution_folder())
    assert path == run.folder / "report-other" / "index.html" and "--name other" in path.read_text()
    assert not stale.exists() and len(said) >= 4
    assert not [left for left in path.parent.iterdir() if left.name.endswith(".tmp")]


def test_a_run_with_hardly_anything(tmp_path):
    """One epoch, one upper layer, no metrics, no example, nothing measured."""
    run = make_run(tmp_path, replace(SMALL, epochs=1, keep=(0,), layers=("conv3",), maps=2, top=1))
    (run.folder / "metrics.jsonl").unlink()
    (run.evolution_folder() / "example.jpg").unlink()
    meta = run.evolution().meta | {"dead_share": {}, "purity": {}, "checked": {"units": 0, "drawn": 0, "worst": None}}
    write_json(run.evolution_folder() / "meta.json", meta)
    path = write_report(run)
    text = path.read_text(encoding="utf-8")
    assert "no accuracy on record" in text and "conv1 filters" in text and Page(text).data["names"] == ["0"]
    assert not (path.parent / "training.png").exists() and (path.parent / "settled.png").exists()


def test_quality_follows_the_budget(made, monkeypatch):
    evolution = made.evolution
    layers = [read_layer(evolution, name, evolution.steps, evolution.maps(name)) for name in ("conv1", "conv3")]
    assert page._sheets(layers)[1] == [None, page.QUALITIES[0]]
    monkeypatch.setattr(page, "BUDGET", 1000)
    sheets, qualities = page._sheets(layers)
    assert qualities == [None, page.QUALITIES[-1]] and sheets[1][1] is None, "a dead map has no sheet"
    monkeypatch.setattr(page, "BUDGET", 1_000_000)
    monkeypatch.setattr(page, "LEAST_BYTES_A_PIXEL", 100)
    epochs = tuple(float(epoch) for epoch in range(30))
    many = replace(evolution, meta=evolution.meta | {"epochs": epochs, "steps": tuple(range(30))})
    assert page._shown(many)[0] == tuple(choose(epochs, 8))


def test_nothing_is_written_on_failure(tmp_path):
    run = make_run(tmp_path, replace(SMALL, epochs=1, maps=2, layers=("conv1", "conv2")))
    path = run.evolution_folder() / "tiles" / "conv2" / "100.npz"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(ZfjaxError, match="is missing"):
        write_report(run)
    path.write_bytes((path.parent.parent / "conv1" / "100.npz").read_bytes())
    with pytest.raises(ZfjaxError, match="lacks map"):
        write_report(run)
    path.write_bytes(whole)
    (run.evolution_folder() / "example.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(ZfjaxError, match="example.jpg is damaged"):
        write_report(run)
    assert not run.report.exists()


def test_imports_no_jax():
    code = "import sys, zfjax.report.page; print([name for name in ('jax', 'flax', 'orbax') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- words and geometry


def test_columns_are_like_the_papers():
    epochs = tuple(float(epoch) for epoch in range(71))
    assert [epochs[index] for index in choose(epochs, 8)] == [0, 1, 2, 5, 10, 20, 38, 70]
    assert choose((0.0, 1.0, 2.0), 8) == (0, 1, 2)
    for count in range(2, 12):
        chosen = choose(epochs[:12], count)
        assert len(chosen) == count and chosen[0] == 0 and chosen[-1] == 11 and sorted(set(chosen)) == list(chosen)


def test_words():
    assert plain("a\n\tb\x1b[31m\u202ec") == "a b [31m c"
    assert plain("x" * 50, 10) == "x" * 9 + "…" and plain(" ") == "(no name)"
    assert [number(value) for value in (None, 0, 0.012345, 1234.5, 2.13e-7, -3)] == [
        "n/a", "0", "0.0123", "1,230", "2.13e-7", "-3",
    ]  # fmt: skip


def test_track():
    assert epoch_axis([0, 1, 2, 70]).unit is None
    crowded = epoch_axis([0, 0.01, 0.08, 1, 10])
    assert crowded.unit is not None and crowded.place(0) == 0 and crowded.place(10) == pytest.approx(1)
    assert epoch_axis([3.0]).place(3.0) == 0.5
    assert [interpolate([(0, 0.0), (2, 1.0)], at) for at in (-1, 0, 1, 5)] == [0, 0, 0.5, 1]
    assert track([0, 1], [], []).stops == ((0.0, 0.5), (1.0, 0.5)), "level without metrics"
    rising = track([0, 1, 2], [(0, 0.1), (2, 0.9)], []).stops
    assert rising[0][1] > rising[1][1] > rising[2][1]


def same_as_row(data, frame, row):
    for ours, theirs in (("activation", "activation"), ("margin", "margin")):
        value = None if frame[ours] is None else np.float32(frame[ours])
        assert value == (None if row[theirs] is None else np.float32(row[theirs]))
    assert frame["image"] == row["image_id"] and data["files"][frame["file"]] == row["file_name"]
    assert data["labels"][frame["label"]] == row["label_name"] and frame["place"] == [row["y"], row["x"]]
    assert frame["box"] == [row["box_y0"], row["box_x0"], row["box_y1"], row["box_x1"]]
    assert frame["jumped"] == row["jumped"]


def decode(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split("base64,")[1])))

