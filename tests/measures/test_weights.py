"""What is said of weights alone, on weights whose answers are known."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.measures.held import measured_of, subject_holding
from tests.measures.test_filters import drawn
from tests.small import ARCHITECTURE
from tests.synthetic_run import SMALL, make_run
from zfjax.errors import ZfjaxError
from zfjax.features.units import draw_maps
from zfjax.files import read_json, write_arrays, write_json
from zfjax.measures import filter_figure, weights
from zfjax.measures.filters import radius_of, to_pixels
from zfjax.measures.inverse import inverse_residual, patches_of, unseen_share
from zfjax.measures.planning import Chosen
from zfjax.measures.protocol import Looked
from zfjax.measures.weights import MEASURE, Options, cosine, drawn_maps, evolved_maps
from zfjax.measures.writing import write_measure
from zfjax.network.architecture import Architecture, Conv
from zfjax.report.kit.style import TEXT_SIZE, text_width
from zfjax.run.measured import Measured, picture_arrays


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def orthonormal(rng, inputs, maps, kernel=3):
    """[k, k, inputs, maps] with orthonormal filters, or where they are more, W'W = 1."""
    wide = kernel * kernel * inputs
    rows = np.linalg.qr(rng.normal(size=(max(wide, maps), min(wide, maps))))[0]
    return (rows if wide >= maps else rows.T).reshape(kernel, kernel, inputs, maps)


@pytest.mark.parametrize("maps", [3, 18, 25])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_the_transpose_of_orthogonal_filters_is_an_inverse(rng, maps, scale):
    kernel = scale * orthonormal(rng, 2, maps)
    patches = rng.gamma(1, size=(50, 18))
    assert inverse_residual(kernel) == pytest.approx(0, abs=1e-6)
    assert inverse_residual(kernel, patches) == pytest.approx(0, abs=1e-6)
    rows = kernel.reshape(18, maps).T / scale
    lost = patches - patches @ rows.T @ rows
    expected = np.linalg.norm(lost) / np.linalg.norm(patches)
    assert unseen_share(kernel, patches) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("maps", [5, 40])
def test_the_residual_is_its_definition(rng, maps):
    kernel, patches = rng.normal(size=(3, 3, 2, maps)), rng.normal(size=(30, 18)) + 2
    rows = kernel.reshape(18, maps).T
    seen = patches @ (np.linalg.pinv(rows) @ rows).T
    down = patches @ (rows.T @ rows).T
    scale = (down * seen).sum() / (down**2).sum()
    expected = np.linalg.norm(scale * down - seen) / np.linalg.norm(seen)
    assert inverse_residual(kernel, patches) == pytest.approx(expected)
    assert inverse_residual(kernel, patches) <= inverse_residual(kernel, seen) + 1e-9
    noise = inverse_residual(kernel, rng.normal(size=(20_000, 18)))
    assert inverse_residual(kernel) == pytest.approx(noise, abs=0.01)


def test_filters_that_are_zero_or_alike(rng):
    assert np.isnan(inverse_residual(np.zeros((3, 3, 2, 4))))
    assert np.isnan(inverse_residual(np.ones((1, 1, 1, 1)), np.zeros((2, 1))))
    alike = np.repeat(rng.normal(size=(3, 3, 2, 1)), 4, axis=3)
    assert inverse_residual(alike) == pytest.approx(0, abs=1e-6)
    two = np.zeros((1, 1, 2, 2))
    two[0, 0] = [[1, 0], [0, 2]]  # squares 1 and 4, best scale 5/17
    assert inverse_residual(two) == pytest.approx(np.sqrt(((1 - 5 / 17) ** 2 + (3 / 17) ** 2) / 2))


def test_patches_are_what_units_see(rng):
    maps = rng.normal(size=(2, 7, 6, 3)).astype(np.float32)
    layer = Conv("c", 4, 3, 2, (1, 0))
    patches = patches_of(maps, layer, 10**6)
    padded = np.pad(maps, ((0, 0), (1, 0), (1, 0), (0, 0)))
    expected = {
        padded[n, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3].tobytes()
        for n in range(2)
        for y in range(3)
        for x in range(3)
    }
    assert {patch.tobytes() for patch in patches} == expected and len(patches) == 18
    assert len(patches_of(maps, layer, 5)) == 5


def test_weights_that_come_home(rng):
    start, end = drawn(ARCHITECTURE, 1), drawn(ARCHITECTURE, 2)
    half = {name: {"kernel": (start[name]["kernel"] + end[name]["kernel"]) / 2} for name in start}
    half["conv2"] = {"kernel": 3 * end["conv2"]["kernel"]}  # the same direction
    half["conv1"]["kernel"][..., 4] = 0
    subject = subject_holding(ARCHITECTURE, {0: start, 8: half, 9: end}, epochs=(0, 2, 2.5))
    measured, told = measured_of(MEASURE, subject)
    first, last = start["conv1"]["kernel"], end["conv1"]["kernel"]
    expected = [
        (first[..., m] * last[..., m]).sum()
        / np.linalg.norm(first[..., m])
        / np.linalg.norm(last[..., m])
        for m in range(6)
    ]
    assert measured.of_maps("cosine", "conv1")[0] == pytest.approx(expected, abs=1e-6)
    assert measured.of_layer("cosine", "conv1")[0] == pytest.approx(np.mean(expected), abs=1e-6)
    assert np.isnan(measured.of_maps("cosine", "conv1")[8][4])
    assert measured.of_maps("cosine", "conv2")[8] == pytest.approx([1] * 8)
    length = np.linalg.norm
    distance, travelled = (measured.of_layer(name, "conv1") for name in ("distance", "travelled"))
    assert distance[0] == pytest.approx(length(last - first) / length(last))
    assert distance[0] == travelled[9] and travelled[0] == 0 and distance[9] == 0
    assert measured.of_layer("distance", "conv2")[8] == pytest.approx(2, rel=1e-6)
    speed = measured.of_layer("speed", "conv1")
    assert np.isnan(speed[0])
    middle = half["conv1"]["kernel"]
    assert speed[8] == pytest.approx(length(middle - first) / length(middle) / 2)
    assert speed[9] == pytest.approx(length(last - middle) / length(last) / 0.5)
    assert measured.of_maps("speed", "conv1")[9][2] > 0
    pixels = to_pixels(ARCHITECTURE, end, "conv2")
    assert measured.of_maps("radius", "conv2")[9] == pytest.approx(radius_of(pixels))
    assert "conv1 0." in told.sentence and "nan" not in told.sentence
    assert told.chart is not None and len(told.lines) == 3


def test_filters_in_pixels_are_kept_to_be_drawn_again(tmp_path):
    subject = subject_holding(ARCHITECTURE, {step: drawn(ARCHITECTURE, step) for step in range(8)})
    looked = Looked(subject, subject.steps, tuple(subject.layers))
    measured = write_measure(tmp_path, Chosen(MEASURE, Options(maps=7)), looked, {})
    pictures = measured.pictures("conv2")
    assert len(pictures) == 5 and {0, 7} <= set(pictures)
    maps, pixels = pictures[7]
    expected = to_pixels(ARCHITECTURE, drawn(ARCHITECTURE, 7), "conv2", maps.tolist())
    assert pixels.transpose(1, 2, 3, 0) == pytest.approx(
        expected, abs=1e-3 * np.abs(expected).max()
    )
    assert maps.tolist() == draw_maps(subject.layers, ["conv2"], 16, 0)["conv2"][:4], "as evolve"
    assert measured.pictures("conv9") == {}
    with Image.open(tmp_path / "weights-pixels.png") as picture:
        assert picture.width == 1400
    (tmp_path / "weights.npz").write_bytes(b"no zip")
    with pytest.raises(ZfjaxError, match=r"weights.npz is damaged; delete it"):
        measured.pictures("conv2")


def test_the_maps_shown_are_those_that_the_evolution_draws(tmp_path):
    shape = dataclasses.replace(SMALL, epochs=1, layers=("conv1", "conv2"), maps=3, top=1)
    evolution = make_run(tmp_path / "run", shape).evolution()
    subject = subject_holding(ARCHITECTURE, {0: drawn(ARCHITECTURE, 0)})
    # The made-up run's network is wider: only its numbers of maps that this one has.
    maps = {name: [0, 2, 3] for name in evolution.layers}
    meta = read_json(evolution.folder / "meta.json")
    write_json(evolution.folder / "meta.json", meta | {"maps": maps})
    looked = Looked(subject, (0,), tuple(subject.layers), home=tmp_path / "run")
    measured = write_measure(tmp_path, Chosen(MEASURE, Options(maps=3)), looked, {})
    for name in maps:
        assert measured.pictures(name)[0][0].tolist() == maps[name]


def test_one_checkpoint_and_no_pixels():
    subject = subject_holding(ARCHITECTURE, {5: drawn(ARCHITECTURE)})
    measured, told = measured_of(MEASURE, subject, maps=0)
    assert measured.of_layer("cosine", "conv2") == {5: pytest.approx(1)}
    assert np.isnan(measured.of_layer("speed", "conv1")[5])
    assert "radius" not in measured.quantities() and "nan" not in told.sentence
    with pytest.raises(ZfjaxError, match="--weights.maps -1"):
        measured_of(MEASURE, subject, maps=-1)


def test_other_seeds_are_named_with_their_range():
    runs = [
        measured_of(
            MEASURE,
            subject_holding(ARCHITECTURE, {n: drawn(ARCHITECTURE, seed + n) for n in (0, 3)}),
            maps=0,
        )[0]
        for seed in (1, 20)
    ]
    cosines = [run.of_layer("cosine", "conv1")[0] for run in runs]
    sentence = MEASURE.tell(runs[0], runs[1:], Options()).sentence
    assert f"Over 2 seeds: conv1 {min(cosines):.2f} to {max(cosines):.2f}, conv2" in sentence


def test_a_network_of_other_layers_has_weights_but_no_pixels():
    subject = subject_holding(
        ARCHITECTURE, {n: {"conv1": drawn(ARCHITECTURE, n)["conv1"], "conv2": {}} for n in (0, 1)}
    )
    network = dataclasses.replace(subject.network, forward=len)
    measured, told = measured_of(MEASURE, dataclasses.replace(subject, network=network))
    assert measured.of_layer("cosine", "conv1")[1] == pytest.approx(1)
    assert not measured.of_layer("cosine", "conv2") and "radius" not in measured.quantities()
    assert "conv2 -" in told.sentence and not told.files
    missed = f"{measured.of_layer('inverse_residual', 'conv1')[1]:.0%}"
    assert f"misses {missed} to {missed} of what" in told.sentence and missed != "0%"


def test_filters_are_of_the_maps_that_the_evolution_draws(monkeypatch, tmp_path):
    many = Architecture("made", (32, 32), (Conv("conv1", 40, 3), Conv("conv2", 20, 3)))
    subject = subject_holding(many, {step: drawn(many, step) for step in range(2)})
    looked = Looked(subject, subject.steps, tuple(subject.layers), home=tmp_path)
    default = draw_maps(subject.layers, ("conv1", "conv2"), 16, 0)
    assert {name: list(maps) for name, maps in evolved_maps(looked).items()} == default
    record = SimpleNamespace(maps={"conv2": (3, 11, 12, 17, 19)})
    evolution = SimpleNamespace(record=record)
    monkeypatch.setattr(weights, "open_evolution", lambda folder: evolution)
    measured = write_measure(tmp_path, Chosen(MEASURE, Options(maps=5)), looked, {})
    assert measured.pictures("conv1")[0][0].tolist() == default["conv1"][:4]
    assert measured.pictures("conv2")[1][0].tolist() == [3, 11, 12, 17]
    radius = np.isfinite(measured.of_maps("radius", "conv2")[1])
    assert np.flatnonzero(radius).tolist() == drawn_maps(20, 5).tolist()


def test_maps_are_drawn_alike_and_at_most_all():
    assert drawn_maps(100, 7).tolist() == drawn_maps(100, 7).tolist()
    assert len(set(drawn_maps(100, 7).tolist())) == 7 and drawn_maps(5, 9).tolist() == [*range(5)]


def test_cosine_of_a_filter_and_itself(rng):
    kernel = rng.normal(size=(3, 3, 4, 5))
    assert cosine(kernel, 7 * kernel) == pytest.approx([1] * 5)
    assert cosine(kernel, -kernel) == pytest.approx([-1] * 5)


@pytest.mark.parametrize("layers", [{"conv4": 107, "conv5": 139}, {"a layer of long name": 1139}])
def test_labels_leave_the_filters_beside_them_be(layers, tmp_path, monkeypatch):
    right_ends, tiles = [], []

    def write(board, text, y, x, **style):
        if style.get("ha") != "center" and "\n" not in text:  # no epoch, not the caption
            size, weight = style.get("size", TEXT_SIZE), style.get("weight", "normal")
            start = x if style.get("ha") != "right" else x - text_width(text, size, weight)
            right_ends.append(start + text_width(text, size, weight))

    monkeypatch.setattr(filter_figure.Board, "write", write)
    monkeypatch.setattr(
        filter_figure.Board, "tile", lambda board, pixels, y, x, edge: tiles.append(x)
    )
    arrays = {}
    for layer, size in layers.items():
        pixels = np.ones((4, size, size, 3), np.float32)
        arrays |= picture_arrays(layer, 0, np.arange(4), pixels)
    write_arrays(tmp_path / "weights.npz", arrays)
    meta = {"steps": [0], "epochs": [0.0], "layers": list(layers)}
    assert filter_figure.figure_of_filters(Measured(tmp_path, "weights", meta, None))
    assert len(right_ends) >= 3 and max(right_ends) + 10 < min(tiles)
