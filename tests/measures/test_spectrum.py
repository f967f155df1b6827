"""The measure of spectra on first layers that were drawn by hand."""

import dataclasses

import numpy as np
import pytest

from tests.measures.held import measured_of, subject_holding
from tests.measures.test_filters import drawn
from tests.measures.test_spectra import filters, gabor
from tests.small import ARCHITECTURE
from zfjax.errors import ZfjaxError
from zfjax.measures.spectrum import MEASURE, counted_filters
from zfjax.network.architecture import Architecture, Conv

WIDE = Architecture("wide", (64, 64), (Conv("first", 4, 31, 4, (15, 15)), Conv("second", 3, 5)))


def gratings(*drawn_ones):
    return {"kernel": filters(*([one] * 3 for one in drawn_ones))}


def wide(*drawn_ones):
    return {"first": gratings(*drawn_ones), "second": drawn(WIDE)["second"]}


FINE = wide(*(gabor(0.35, degrees, 31) for degrees in (0, 45, 90, 135)))
COARSE = wide(*(gabor(0.1, degrees, 31) for degrees in (0, 45, 90, 135)))


def test_a_layer_that_goes_from_fine_to_coarse():
    measured, told = measured_of(MEASURE, subject_holding(WIDE, {0: FINE, 7: COARSE}))
    frequency = measured.of_maps("frequency", "first")
    assert frequency[0] == pytest.approx([0.35] * 4, abs=0.01)
    assert frequency[7] == pytest.approx([0.1] * 4, abs=0.01)
    turned = measured.of_maps("orientation", "first")[7]
    assert (turned + 1) % 180 - 1 == pytest.approx([0, 45, 90, 135], abs=1)
    aliasing = measured.of_layer("aliasing", "first")
    assert aliasing[0] > 0.99 and aliasing[7] < 0.2
    high, mid = (measured.of_layer(name, "first") for name in ("high", "mid"))
    assert high[0] > 0.99 and mid[7] > 0.7 and measured.of_layer("colour", "first")[7] < 1e-9
    assert set(measured.of_maps("grid", "second")) == {0, 7}
    assert "At epoch 7 the filters of first (4)" in told.sentence
    assert told.figures["aliasing"] == aliasing[7] and len(told.lines) == 3
    assert told.chart is not None


def test_layers_that_cover_more_are_said_to():
    one = wide(*[gabor(0.15, 20, 31)] * 4)
    noise = {name: {"kernel": kernels["kernel"]} for name, kernels in drawn(WIDE).items()}
    measured, _ = measured_of(MEASURE, subject_holding(WIDE, {0: one, 1: COARSE, 2: noise}))
    for name in ("coverage", "orientation_coverage"):
        covered = measured.of_layer(name, "first")
        assert covered[0] < covered[1] - 0.05 and covered[1] < covered[2], name
    assert measured.of_layer("frequency_coverage", "first")[1] < 0.6
    assert measured.of_layer("coverage", "first")[2] > 0.9


def test_filters_that_are_as_good_as_zero_count_nowhere():
    strong = [gabor(0.1, degrees, 31) for degrees in (0, 45, 90)]
    kernel = wide(*strong, 0.01 * gabor(0.4, 0, 31))
    assert counted_filters(kernel["first"]["kernel"]).tolist() == [True, True, True, False]
    measured, _ = measured_of(MEASURE, subject_holding(WIDE, {0: kernel}))
    assert measured.of_layer("frequency", "first")[0] == pytest.approx(0.1, abs=0.01)
    assert measured.of_layer("aliasing", "first")[0] < 0.2
    assert measured.of_maps("frequency", "first")[0][3] == pytest.approx(0.4, abs=0.01)


def test_a_layer_of_zeros_says_nothing_and_does_not_fail():
    nothing = wide(*[np.zeros((31, 31))] * 4)
    measured, told = measured_of(MEASURE, subject_holding(WIDE, {0: nothing, 1: COARSE}))
    for name in ("frequency", "coverage", "aliasing", "low", "colour"):
        assert np.isnan(measured.of_layer(name, "first")[0])
    assert np.isnan(measured.of_layer("grid", "second")[0])
    assert None not in measured.table["value"].to_pylist()[-3:] and "nan" not in told.sentence
    _, told = measured_of(MEASURE, subject_holding(WIDE, {0: nothing}))
    assert "nan" not in told.sentence and told.figures == {"aliasing": None, "coverage": None}


@pytest.mark.parametrize("layers", [(Conv("only", 3, 5),), (Conv("a", 2, 1), Conv("b", 2, 3, 2))])
def test_one_layer_and_no_stride(layers):
    net = Architecture("odd", (16, 16), layers)
    measured, told = measured_of(MEASURE, subject_holding(net, {3: drawn(net)}))
    assert measured.of_layer("aliasing", layers[0].name) == {3: 0}
    assert not measured.of_layer("grid", "b") or np.isnan(measured.of_layer("grid", "b")[3])
    assert "grid" not in told.sentence


def test_other_seeds_are_named_with_their_range():
    one, _ = measured_of(MEASURE, subject_holding(WIDE, {0: FINE, 7: COARSE}))
    two, _ = measured_of(MEASURE, subject_holding(WIDE, {0: FINE, 9: FINE}))
    low, high = (each.of_layer("aliasing", "first")[each.steps[-1]] for each in (one, two))
    sentence = MEASURE.tell(one, (two,), MEASURE.options).sentence
    assert f"Over 2 seeds the last epoch's aliasing is {low:.0%} to {high:.0%}." in sentence


def test_diverged_and_nameless_parameters_are_refused():
    broken = drawn(ARCHITECTURE)
    broken["conv1"]["kernel"][0, 0, 0, 0] = np.inf
    with pytest.raises(ZfjaxError, match="conv1 has weights that are not finite"):
        measured_of(MEASURE, subject_holding(ARCHITECTURE, {0: broken}))
    nameless = subject_holding(ARCHITECTURE, {0: {"conv1": {}, "conv2": {}}})
    with pytest.raises(ZfjaxError, match="spectrum reads the kernels of convolutions"):
        measured_of(MEASURE, nameless)


def test_a_network_of_other_layers_has_a_first_layer_too():
    subject = subject_holding(WIDE, {0: FINE})
    ours, _ = measured_of(MEASURE, subject)
    network = dataclasses.replace(subject.network, forward=len)
    foreign = dataclasses.replace(subject, network=network)
    theirs, told = measured_of(MEASURE, foreign)
    assert theirs.of_layer("aliasing", "first") == ours.of_layer("aliasing", "first")
    assert "grid" not in theirs.quantities() and "grid" not in told.sentence
    windowless = tuple(dataclasses.replace(layer, window=None) for layer in subject.layers.values())
    network = dataclasses.replace(network, sequence=windowless)
    theirs, told = measured_of(MEASURE, dataclasses.replace(foreign, network=network))
    assert np.isnan(theirs.of_layer("aliasing", "first")[0]) and "nan" not in told.sentence
    assert theirs.of_layer("coverage", "first") == ours.of_layer("coverage", "first")
