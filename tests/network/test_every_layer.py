"""Fully connected layers beside the convolutions, of our networks and of anyone's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.network import linen_nets
from tests.small import ARCHITECTURE
from zfjax.network.architecture import Architecture, Conv, Dense
from zfjax.network.model import class_scores, initial_parameters
from zfjax.network.torch import dense_head
from zfjax.network.traced import TracedForward, TracedScores, layers_of_model
from zfjax.network.tracing import model_of, scores_output
from zfjax.subject import Network, network_of


@pytest.fixture(scope="module")
def inputs():
    return jax.random.normal(jax.random.key(0), (3, 16, 16, 3))


def test_hidden_layers_are_what_the_scores_are_made_of(inputs):
    network = network_of(ARCHITECTURE)
    parameters = initial_parameters(ARCHITECTURE, "modern", 1)
    parameters["fc3"]["bias"] = jnp.linspace(-1, 1, 12)
    features = network.features(parameters, inputs)
    assert list(features) == ["conv1", "conv2", "fc3"] and network.hidden == {"fc3": 12}
    maps = network.forward(parameters, inputs, until="conv2")
    for name in network.layers:
        np.testing.assert_array_equal(features[name], maps[name])
    fc3 = np.asarray(features["fc3"], np.float64)
    assert (fc3 >= 0).all() and (fc3 == 0).any()
    fc4 = {name: np.asarray(value, np.float64) for name, value in parameters["fc4"].items()}
    scores = class_scores(ARCHITECTURE, parameters, inputs, precision=lax.Precision.HIGHEST)
    np.testing.assert_allclose(scores, fc3 @ fc4["kernel"] + fc4["bias"], atol=1e-5)


def test_what_gives_the_scores_is_not_hidden():
    scores = Architecture("head", (16, 16), (Conv("conv1", 4, 3), Dense("fc2", 3)))
    assert network_of(scores).hidden == {}
    assert network_of(Architecture("maps", (16, 16), (Conv("conv1", 4, 3),))).hidden == {}


class Headed(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), 2, name="conv1")(x))
        gate = nn.relu(nn.Dense(2, name="squeeze")(x.mean((1, 2))))
        x = x * nn.sigmoid(nn.Dense(4, name="excite")(gate))[:, None, None, :]
        x = nn.relu(nn.Conv(4, (3, 3), name="conv2")(x))
        return dense_head(x, 5, 3)


def network_of_module(module):
    model = model_of(module, linen_nets.drawn(module, (16, 16)), (16, 16))
    layers = layers_of_model(model)
    assert TracedScores(model, scores_output(model)) is not None
    return Network(model.name, layers, TracedForward(model), (16, 16))


def test_anyones_head_is_found_and_a_gate_of_maps_is_not(inputs):
    variables = linen_nets.drawn(Headed(), (16, 16))
    with jax.numpy_rank_promotion("allow"):
        network = network_of_module(Headed())
        assert network.hidden == {"fc1": 5, "fc2": 5}
        features = network.features(variables, inputs)
        _, state = Headed().apply(
            variables, inputs, capture_intermediates=lambda module, _: isinstance(module, nn.Dense)
        )
        kept = state["intermediates"]
        maps = network.forward(variables, inputs, until="conv2")
    assert list(features) == ["conv1", "conv2", "fc1", "fc2"]
    np.testing.assert_allclose(features["conv2"], maps["conv2"], rtol=1e-6)
    for name in network.hidden:
        expected = np.maximum(kept[name]["__call__"][0], 0)
        np.testing.assert_allclose(features[name], expected, atol=1e-5)


def test_a_network_without_a_head_has_none(inputs):
    with jax.numpy_rank_promotion("allow"):
        network = network_of_module(linen_nets.Block(4))
    assert network.hidden == {}
