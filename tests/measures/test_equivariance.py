"""Place code and rate code against loops, of networks whose codes are known, and of a run."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from tests.measures.held import measured_of, subject_holding
from zfjax.data.held import HeldImages
from zfjax.errors import ZfjaxError
from zfjax.inputs import open_data
from zfjax.measures.codes import codes_of, gap_of
from zfjax.measures.equivariance import MEASURE, Options, _peaks, content_window
from zfjax.network.architecture import Architecture, Conv, Dense, Pool
from zfjax.network.model import initial_parameters
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of

SHIFTS = np.array([-4, -2, 0, 2, 4])


def by_loops(values, places, half):
    """{quantity: [images]} of the maps that count."""
    numbers = {name: [] for name in ("place_slope", "within_half_cell", "rate_change", "counted")}
    for value, place in zip(values, places, strict=True):
        slopes, near, rates, counted = [], [], [], 0
        for unit in range(value.shape[1]):
            own, empty = value[2, unit], value[5, unit]
            if not (own > 0 and own > empty):
                continue
            counted += 1
            moved = [place[t, unit] - place[2, unit] for t in range(5)]
            top = sum(m * s for m, s in zip(moved, SHIFTS, strict=True))
            slopes.append(top / sum(s * s for s in SHIFTS))
            near.append(np.mean([abs(moved[t] - SHIFTS[t]) <= half for t in (0, 1, 3, 4)]))
            mean = sum(value[:5, unit]) / 5
            rates.append(np.mean([abs(value[t, unit] - own) / mean for t in (0, 1, 3, 4)]))
        for name, each in zip(numbers, (slopes, near, rates), strict=False):
            numbers[name].append(np.mean(each) if each else np.nan)
        numbers["counted"].append(counted / value.shape[1])
    return {name: np.array(each) for name, each in numbers.items()}


def test_codes_are_those_of_loops():
    generator = np.random.default_rng(0)
    values = generator.uniform(0, 1, (4, 6, 7))
    values[:, 5] *= 0.1
    values[:, 2, 0] = 0  # a map that is silent unmoved
    values[3, 5] = 2  # an empty frame that excites all maps of the last image more
    places = generator.integers(0, 8, (4, 6, 7)) * 2.0
    codes = codes_of(values, places, SHIFTS, 1.0)
    expected = by_loops(values, places, 1.0)
    for name, numbers in expected.items():
        known = numbers[np.isfinite(numbers)]
        estimate = codes.estimates[name]
        assert estimate.value == pytest.approx(known.mean()) and estimate.n == len(known)
        if name != "counted":
            np.testing.assert_allclose(codes.of_images[name], numbers)
    assert codes.estimates["within_half_cell_unmoved"].value == 0
    assert np.isnan(codes.of_maps["place_slope"][0]) and codes.of_maps["rate_change"].shape == (7,)
    assert codes.estimates["moved_0"].value == 0 == codes.estimates["changed_0"].value
    for map_ in range(1, 7):
        alone = by_loops(values[:, :, [map_]], places[:, :, [map_]], 1.0)["place_slope"]
        assert codes.of_maps["place_slope"][map_] == pytest.approx(np.nanmean(alone))
    straight = np.array([1, 2, 3, 4, 5, 0.0])[None, :, None]
    line = codes_of(straight, None, SHIFTS, 0)
    assert line.estimates["rate_linear"].value == pytest.approx(1)
    assert "place_slope" not in line.estimates
    gap = gap_of("rate_change", codes, codes)
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)


def test_the_picture_fades_within_its_frame():
    window = content_window((16, 12), 3)
    assert window.shape == (16, 12) and window.max() <= 1 and window[8, 6] > 0.9
    for outside in (window[:3], window[-3:], window[:, :3], window[:, -3:]):
        assert not outside.any()
    np.testing.assert_allclose(window, window[::-1, ::-1])
    rows = window[:, 6]
    assert (np.diff(rows[:8]) >= 0).all() and rows[3] < 0.3  # no edge


@pytest.fixture(scope="module")
def drawn():
    """Images in memory, of 24 pixels."""
    pixels = np.random.default_rng(1).integers(0, 256, (6, 24, 24, 3), np.uint8)
    return HeldImages([(image, index % 3) for index, image in enumerate(pixels)], (24, 24))


def test_convolutions_without_strides_are_a_place_code(drawn):
    layers = (Conv("conv1", 5, 3, 1, (1, 1)), Conv("conv2", 4, 3, 2, (1, 1)), Dense("fc3", 3))
    architecture = Architecture("plain", (24, 24), layers)
    parameters = {1: initial_parameters(architecture, "modern", 0)}
    subject = subject_holding(architecture, parameters, images=drawn)
    table, told = measured_of(MEASURE, subject, images=6, points=5, shift=0.2)
    assert Options(points=5, shift=0.2).shifts((24, 24)).tolist() == [-4, -2, 0, 2, 4]
    for name in ("conv1", "conv2"):  # all shifts are multiples of both strides
        assert table.of_layer("place_slope", name)[1] == 1
        assert table.of_layer("within_half_cell", name)[1] == 1
        assert table.of_layer("rate_change", name)[1] == pytest.approx(0, abs=1e-6)
        assert math.isnan(table.of_layer("rate_linear", name)[1])
    assert table.of_layer("within_half_cell_unmoved", "conv2")[1] == 0
    assert table.of_layer("place_gap", None)[1] == 0
    assert "nan" not in told.sentence and told.chart is not None


def test_peaks_are_those_of_each_shifted_image_alone(drawn):
    layers = (Conv("conv1", 4, 3, 2, (1, 1)), Pool("pool1"), Conv("conv2", 3, 3), Dense("fc3", 4))
    architecture = Architecture("strided", (24, 24), (*layers, Dense("fc4", 3)))
    parameters = initial_parameters(architecture, "modern", 0)
    subject = subject_holding(architecture, {1: parameters}, images=drawn)
    shifts, window = Options(axis="horizontal", points=3).shifts((24, 24)), None
    window = content_window((24, 24), 6)
    image = np.asarray(subject.prepare(drawn.views([2])))[0]
    network = subject.network
    peaks = _peaks(parameters, image, window, shifts, axis=1, network=network)
    content = image * window[:, :, None]
    for row, shift in enumerate((-6, 0, 6, None)):
        frame = np.zeros((1, 24, 24, 3), np.float32)
        if shift is not None:
            frame[0, :, 6 + shift : 18 + shift] = content[:, 6:18]
        for name, maps in network.features(parameters, frame).items():
            maps = np.asarray(maps[0])
            if maps.ndim == 1:
                np.testing.assert_allclose(peaks["values"][name][row], maps, atol=1e-5)
                continue
            for map_ in range(maps.shape[2]):
                own = np.float64(peaks["values"][name][row, map_])
                assert own == pytest.approx(maps[:, :, map_].max(), abs=1e-5)
                y, x = divmod(int(peaks["places"][name][row, map_]), maps.shape[1])
                assert maps[y, x, map_] == pytest.approx(maps[:, :, map_].max(), abs=1e-5)
    assert set(peaks["places"]) == {"conv1", "conv2"} and set(network.hidden) == {"fc3"}


@pytest.mark.slow
def test_of_a_run(unbroken):
    run = load_run(unbroken)
    dataset = open_data(run.config)
    subject = subject_of(run, images_of(run.config, dataset, run.config.data.train_split))
    two = dataclasses.replace(subject, steps=run.steps[-2:], epochs=subject.epochs[-2:])
    table, told = measured_of(MEASURE, two, run, images=4, points=3, axis="horizontal")
    assert table.of_maps("place_slope", "conv1")[run.steps[-1]].shape == (6,)
    assert table.of_layer("rate_change", "fc3") and not table.of_layer("place_slope", "fc3")
    shares = table.of_layer("counted", "conv2").values()
    assert all(0 <= share <= 1 for share in shares)
    assert len(told.lines) == 4 and "place code" in told.sentence


@pytest.mark.parametrize(
    "wrong", [{"images": 1}, {"shift": 0.5}, {"shift": 0.0}, {"points": 4}, {"points": 1}], ids=str
)
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ZfjaxError, match=f"--equivariance.{next(iter(wrong))} .* must be"):
        Options(**wrong)


def test_an_input_too_small_to_be_moved():
    with pytest.raises(ZfjaxError, match="less than a pixel"):
        Options(shift=0.05).shifts((16, 16))
    assert jax.numpy.asarray(Options(points=99).shifts((8, 8))).tolist() == [-2, -1, 0, 1, 2]
