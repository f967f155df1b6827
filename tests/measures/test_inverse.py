"""W'W on the patches of real images, cut out by hand."""

import functools

import jax
import numpy as np
import pytest

from tests.measures.held import measured_of, subject_holding
from tests.measures.test_filters import drawn
from tests.small import ARCHITECTURE
from zfjax.errors import ZfjaxError
from zfjax.inputs import open_data
from zfjax.measures.inverse import MEASURE, Options, inverse_residual, unseen_share
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of


@pytest.fixture(scope="module")
def subject(unbroken):
    run = load_run(unbroken)
    return subject_of(run, images_of(run.config, open_data(run.config), "train"))


def units_patches(maps, kernel, stride, before, after):
    padded = np.pad(maps, ((0, 0), (before, after), (before, after), (0, 0)))
    cells = (padded.shape[1] - kernel) // stride + 1
    return np.array(
        [
            image[y : y + kernel, x : x + kernel].ravel()
            for image in padded
            for y in range(0, cells * stride, stride)
            for x in range(0, cells * stride, stride)
        ]
    )


def test_every_layer_is_asked_on_what_stands_below_it(subject):
    measured, told = measured_of(MEASURE, subject, images=3, patches=10**6)
    step = subject.steps[1]
    parameters = subject.parameters(step)
    inputs = subject.prepare(subject.images.views([0, 18, 35]))
    maps = jax.jit(functools.partial(subject.forward, until="conv2"))(parameters, inputs)
    for name, below, how in (
        ("conv1", inputs, (5, 2, 2, 2)),
        ("conv2", maps["norm1"], (3, 1, 1, 1)),
    ):
        patches = units_patches(np.asarray(below), *how)
        kernel = np.asarray(parameters[name]["kernel"])
        expected = inverse_residual(kernel, patches), unseen_share(kernel, patches)
        assert measured.of_layer("inverse_residual", name)[step] == pytest.approx(expected[0])
        assert measured.of_layer("unseen", name)[step] == pytest.approx(expected[1])
        assert 0 < expected[0] < 1 and 0 < expected[1] < 1
    assert len(patches) in measured.table["n"].to_pylist()
    assert told.sentence.count("conv") == 2 and "nan" not in told.sentence
    assert told.chart is not None and len(told.lines) == 3
    assert "Over seeds: conv1 0." in MEASURE.tell(measured, (measured,), Options()).sentence


def test_fewer_patches_are_some_of_them(subject):
    measured, _ = measured_of(MEASURE, subject, images=2, patches=7)
    again, _ = measured_of(MEASURE, subject, images=2, patches=7)
    assert measured.table.equals(again.table) and set(measured.table["n"].to_pylist()) == {7}


def test_images_are_needed_and_numbers_must_make_sense():
    with pytest.raises(ZfjaxError, match="inverse needs images"):
        measured_of(MEASURE, subject_holding(ARCHITECTURE, {0: drawn(ARCHITECTURE)}))
    for wrong in ("images", "patches"):
        with pytest.raises(ZfjaxError, match=f"--inverse.{wrong} 0"):
            Options(**{wrong: 0})
