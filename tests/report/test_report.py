"""A report: its colours and figures, whole reports of odd runs, words and geometry; the page is in
test_page.py.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.reported import Page, decode
from tests.synthetic_run import SMALL, make_run
from zfjax.errors import ZfjaxError
from zfjax.files import write_json
from zfjax.report import budget, figures
from zfjax.report.board import enlarge
from zfjax.report.kit.slider import epoch_axis, interpolate, track
from zfjax.report.kit.style import DPI, TEXT_SIZE, text_width, wrap
from zfjax.report.kit.wording import number, plain
from zfjax.report.page import write_report
from zfjax.report.pictures import colour_scale, filter_grid, make_sheet, read_layer, to_bytes
from zfjax.report.words import choose, silent_words

pytestmark = pytest.mark.slow

STEMS = (
    "figure2-conv1",
    "figure2-conv2",
    "figure2-conv3",
    "figure4",
    "filters",
    "training",
    "settled",
)


# ---- words


@pytest.mark.parametrize(
    ("selection", "says"),
    [("quantile:0.5", "50\u2009% of the images or more"), ("low", "dead"), ("fixed", "that image")],
)
def test_an_empty_frame_says_why(selection, says):
    assert says in silent_words(selection)


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
    assert error[:64, :48].max() == 0 and error.max() <= 10, (
        "mid-grey survives beside a busy neighbour"
    )


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
        for layer in made.evolution.layers
        for map_ in made.evolution.maps(layer)
        for step in steps
        if (tile := tiles(layer, step).get(("top", map_, 0))) is not None
        for picture in (to_bytes(tile.projection, colour_scale(tile.projection)), tile.patch)
    ]
    laid = made.laid["figure4"]
    assert len(laid) == len(wanted) and all(
        (one[0] == other).all() for one, other in zip(laid, wanted, strict=True)
    )
    picture, y, x, edge = laid[0]
    times = edge // 7
    rim = (edge - 7 * times) // 2
    with Image.open(made.path.parent / "figure4.png") as image:
        shown = np.asarray(image.convert("RGB"))[
            y + rim : y + rim + 7 * times, x + rim : x + rim + 7 * times
        ]
    assert (shown == picture.repeat(times, axis=0).repeat(times, axis=1)).all(), "pixel for pixel"


def test_jump_marks_are_the_tables(made):
    steps, maps = made.evolution.steps, made.evolution.maps
    rows = made.evolution.rows(selection="top", rank=0)
    jumped = {(row["layer"], row["map"], row["step"]) for row in rows if row["jumped"]}
    jumped = {(layer, map_, step) for layer, map_, step in jumped if map_ in maps(layer)}
    assert jumped
    assert len(made.boards["figure4"].dots) == len(jumped), (
        "at most 8 epochs and 6 maps: all are shown"
    )
    shown = {
        (layer["name"], map_["map"], steps[at])
        for layer in made.page.data["layers"]
        for map_ in layer["maps"]
        for at, frame in enumerate(map_["top"])
        if frame and frame["jumped"]
    }
    assert shown == jumped


def test_dead_maps_have_a_frame_that_says_so(made):
    for stem, count in (
        ("figure2-conv1", 0),
        ("figure2-conv2", 1),
        ("figure4", 2 * len(made.evolution.steps)),
    ):
        board = made.boards[stem]
        assert len(board.frames) == count
        assert sum(text["s"] == "dead" for text in board.texts) == count
    dead = made.evolution.maps("conv3")[1]
    cell = made.text.split(f'id="conv3-{dead}"')[1].split("</button>")[0]
    assert "dead" in cell and "tile" not in cell
    values = next(map_ for map_ in made.page.data["layers"][2]["maps"] if map_["map"] == dead)
    assert values["top"] == [None] * len(made.evolution.steps) and values["sheet"] is None


def test_large_tiles_get_a_finer_raster(made):
    layer = read_layer(
        made.evolution, "conv3", made.evolution.steps, made.evolution.maps("conv3")[:1]
    )
    stack = layer.maps[0].stack.repeat(2, axis=1).repeat(2, axis=2)
    large = replace(layer, tile_size=(128, 128), maps=(replace(layer.maps[0], stack=stack),))
    with Image.open(
        io.BytesIO(figures.figure2(made.evolution, large, "net", True)["figure2-conv3.png"])
    ) as image:
        assert image.width == 2800


def test_no_words_are_cut_off(made, hostile):
    for board in (*made.boards.values(), *hostile.boards.values()):
        assert len(board.texts) > 3
        for text in board.texts:
            lines, size = text["s"].split("\n"), text.get("size", TEXT_SIZE)
            width = max(text_width(line, size, text.get("weight", "normal")) for line in lines)
            left = (
                text["x"] - {"left": 0, "center": width / 2, "right": width}[text.get("ha", "left")]
            )
            assert 0 <= left and left + width <= board.width, text
            assert (
                0 <= text["y"]
                and text["y"] + len(lines) * size * 1.35 * DPI / 72 <= board.height + 20
            ), text
    assert all(
        text_width(line) <= 300 for line in wrap("y " + "x" * 4000 + " some words more", 300)
    )


# ---- whole reports


def test_named_report_and_stale_figures(without_photos, tmp_path):
    run = without_photos.run
    run.evolution_folder().rename(run.evolution_folder("other"))
    try:
        stale = run.folder / "report-other" / "figure2-conv9.png"
        stale.parent.mkdir()
        stale.write_bytes(b"old photos")
        said = []
        path = write_report(
            run, name="other", photos=False, progress=lambda *step: said.append(step)
        )
    finally:
        run.evolution_folder("other").rename(run.evolution_folder())
    assert path == run.folder / "report-other" / "index.html" and "--name other" in path.read_text()
    assert not stale.exists()
    whole = [step for step in said if step[0] == "reporting"]
    assert whole == [("reporting", done, 5) for done in range(6)], "two layers and three more"
    assert said[0] == whole[0] and said[-1] == whole[-1], "at once, and when all is there"
    for stage in ("reading pictures", "drawing figures", "packing pictures"):
        done = [step[1] for step in said if step[0] == stage]
        [total] = {step[2] for step in said if step[0] == stage}
        assert done[0] == 0 and done[-1] == total > 2 and done == sorted(done)
    assert not [left for left in path.parent.iterdir() if left.name.endswith(".tmp")]


def test_a_run_with_hardly_anything(tmp_path):
    """One epoch, one upper layer, no metrics, no example, nothing measured."""
    run = make_run(tmp_path, replace(SMALL, epochs=1, keep=(0,), layers=("conv3",), maps=2, top=1))
    (run.folder / "metrics.jsonl").unlink()
    (run.evolution_folder() / "example.jpg").unlink()
    meta = run.evolution().meta | {
        "dead_share": {},
        "purity": {},
        "checked": {"units": 0, "drawn": 0, "worst": None},
    }
    write_json(run.evolution_folder() / "meta.json", meta)
    path = write_report(run)
    text = path.read_text(encoding="utf-8")
    assert (
        "no accuracy on record" in text
        and "conv1 filters" in text
        and Page(text).data["names"] == ["0"]
    )
    assert not (path.parent / "training.png").exists() and (path.parent / "settled.png").exists()


def test_quality_follows_the_budget(made, monkeypatch):
    evolution = made.evolution
    layers = [
        read_layer(evolution, name, evolution.steps, evolution.maps(name))
        for name in ("conv1", "conv3")
    ]
    assert budget.make_sheets(layers)[1] == [None, budget.QUALITIES[0]]
    monkeypatch.setattr(budget, "BUDGET", 1000)
    sheets, qualities = budget.make_sheets(layers)
    assert qualities == [None, budget.QUALITIES[-1]] and sheets[1][1] is None, (
        "a dead map has no sheet"
    )


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


# ---- words and geometry


def test_columns_are_like_the_papers():
    epochs = tuple(float(epoch) for epoch in range(71))
    assert [epochs[index] for index in choose(epochs, 8)] == [0, 1, 2, 5, 10, 20, 38, 70]
    assert choose((0.0, 1.0, 2.0), 8) == (0, 1, 2)
    for count in range(2, 12):
        chosen = choose(epochs[:12], count)
        assert (
            len(chosen) == count
            and chosen[0] == 0
            and chosen[-1] == 11
            and sorted(set(chosen)) == list(chosen)
        )


def test_words():
    assert plain("a\n\tb\x1b[31m\u202ec") == "a b [31m c"
    assert plain("x" * 50, 10) == "x" * 9 + "…" and plain(" ") == "(no name)"
    assert [number(value) for value in (None, 0, 0.012345, 1234.5, 2.13e-7, -3)] == [
        "n/a",
        "0",
        "0.0123",
        "1,230",
        "2.13e-7",
        "-3",
    ]


def test_track():
    assert epoch_axis([0, 1, 2, 70]).unit is None
    crowded = epoch_axis([0, 0.01, 0.08, 1, 10])
    assert (
        crowded.unit is not None and crowded.place(0) == 0 and crowded.place(10) == pytest.approx(1)
    )
    assert epoch_axis([3.0]).place(3.0) == 0.5
    assert [interpolate([(0, 0.0), (2, 1.0)], at) for at in (-1, 0, 1, 5)] == [0, 0, 0.5, 1]
    assert track([0, 1], []).stops == ((0.0, 0.5), (1.0, 0.5)), "level without metrics"
    rising = track([0, 1, 2], [(0, 0.1), (2, 0.9)]).stops
    assert rising[0][1] > rising[1][1] > rising[2][1]
