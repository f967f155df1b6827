"""Hidden layers, fully connected ones too, against the scores that they lead to."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.small import ARCHITECTURE
from zfjax.network.architecture import Dense
from zfjax.network.hidden import hidden_dense, hidden_values
from zfjax.network.model import class_scores, feature_maps, initial_parameters


def test_the_last_hidden_layer_gives_the_scores():
    parameters = initial_parameters(ARCHITECTURE, "modern", 0)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(5, 16, 16, 3)), jnp.float32)
    values = hidden_values(ARCHITECTURE, parameters, images)
    assert list(values) == ["conv1", "conv2", "fc3"] and hidden_dense(ARCHITECTURE) == ("fc3",)
    maps = feature_maps(ARCHITECTURE, parameters, images)
    for name in ("conv1", "conv2"):
        assert np.array_equal(values[name], maps[name])
    hidden = np.asarray(values["fc3"], np.float64)
    assert hidden.shape == (5, 12) and hidden.min() == 0 < hidden.max()
    flat = np.asarray(maps["pool2"], np.float64).reshape(5, -1)
    tree = {
        name: {key: np.asarray(value, np.float64) for key, value in leaf.items()}
        for name, leaf in parameters.items()
    }
    below = flat @ tree["fc3"]["kernel"] + tree["fc3"]["bias"]
    np.testing.assert_allclose(hidden, np.maximum(below, 0), rtol=1e-4, atol=1e-6)
    scores = hidden @ tree["fc4"]["kernel"] + tree["fc4"]["bias"]
    expected = class_scores(ARCHITECTURE, parameters, images, precision=lax.Precision.HIGHEST)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_without_a_hidden_fully_connected_layer():
    shallow = dataclasses.replace(
        ARCHITECTURE, layers=(*ARCHITECTURE.convolutional, Dense("fc", 3))
    )
    parameters = initial_parameters(shallow, "modern", 0)
    values = hidden_values(shallow, parameters, jnp.zeros((1, 16, 16, 3)))
    assert list(values) == ["conv1", "conv2"] and hidden_dense(shallow) == ()
