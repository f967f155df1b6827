"""A unit's way down, step by step: against explicit loops at every step, and against the projection
at its end.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.small import ARCHITECTURE
from zfjax.errors import ZfjaxError
from zfjax.features.stepping import FILTERED, RECTIFIED, SEEDED, UNPOOLED, step_through
from zfjax.network.model import initial_parameters
from zfjax.network.ops import RULES


@pytest.fixture(scope="module")
def scene():
    generator = np.random.default_rng(4)
    parameters = initial_parameters(ARCHITECTURE, "modern", 3)
    image = generator.normal(size=(*ARCHITECTURE.input_size, 3)).astype(np.float32)
    return parameters, image


OPERATIONS = {
    "rectified": RECTIFIED,
    "filtered": FILTERED,
    "unpooled": UNPOOLED,
    "normalised": "contrast norm",
}


def by_hand(parameters, image, unit, relu, norm):
    """(layer, operation, signal) of each step, in float64 loops."""
    layer, map_, y, x = unit
    values, memory = oracle.climb(ARCHITECTURE, parameters, image, layer)
    signal = oracle.one_hot(values, y, x, map_)
    yield layer, SEEDED, signal
    for name, operation, below in oracle.steps_down(parameters, memory, signal, relu, norm):
        yield name, OPERATIONS[operation], below


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_every_step_is_that_of_explicit_loops(scene, rule, layer):
    parameters, image = scene
    values, _ = oracle.climb(ARCHITECTURE, parameters, image, layer)
    y, x, map_ = (int(each) for each in np.unravel_index(values.argmax(), values.shape))
    unit = (layer, map_, y, x)
    steps = step_through(ARCHITECTURE, parameters, jnp.asarray(image[None]), unit, RULES[rule])
    relu = RULES[rule].relu
    expected = list(by_hand(parameters, image, unit, relu, RULES[rule].norm))
    assert [(step.layer, step.operation) for step in steps] == [each[:2] for each in expected]
    for step, (_, _, signal) in zip(steps, expected, strict=True):
        np.testing.assert_allclose(step.signal, signal, rtol=1e-4, atol=1e-5)
    before = [np.square(each[2]).sum() for each in expected]
    for index, step in enumerate(steps):
        if step.operation == RECTIFIED:
            taken = 1 - before[index] / before[index - 1]
            assert step.cut == pytest.approx(taken, abs=1e-4)
        else:
            assert step.cut == 0


def test_a_layer_that_is_none_is_refused(scene):
    parameters, image = scene
    with pytest.raises(ZfjaxError, match="pool1 is no convolution; there are conv1, conv2"):
        step_through(ARCHITECTURE, parameters, jnp.asarray(image[None]), ("pool1", 0, 0, 0))
