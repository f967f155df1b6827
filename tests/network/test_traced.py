"""Any network, traced: against explicit backward rules in float64, against our own fast path, and
what is refused.
"""

import dataclasses
import functools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.features.test_deconvnet import random_parameters, units_everywhere
from tests.network import explicit_nets, linen_nets
from tests.network.compared import QUICK, Outcome, compare, compare_units, relaxed
from tests.network.explicit import Tape
from zfjax.features import deconvnet
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool
from zfjax.network.descent import Descent, run
from zfjax.network.model import class_scores, feature_maps
from zfjax.network.ops import RULES
from zfjax.network.traced import TracedForward, layers_of_model
from zfjax.network.tracing import model_of, reading_of, sites_of
from zfjax.subject import Network, network_of

SMALL = Architecture(
    "small",
    (40, 48),
    (
        Conv("conv1", 6, 5, 2, (1, 2)),
        Pool("pool1", 3, 2, (0, 1)),
        Norm("norm1", 3, alpha=0.4),
        Conv("conv2", 8, 3, 1, (1, 1)),
        Pool("pool2", 2, 1, (1, 0)),
        Conv("conv3", 5, 3, 2, (2, 0)),
        Dense("fc4", 3),
    ),
)


def no_norm(architecture):
    layers = tuple(layer for layer in architecture.layers if not isinstance(layer, Norm))
    return dataclasses.replace(architecture, layers=layers)


def own_function(architecture):
    def features(parameters, inputs):
        maps = feature_maps(architecture, parameters, inputs)
        return {**maps, "scores": class_scores(architecture, parameters, inputs)}

    return features


def traced(model):
    return Network(model.name, layers_of_model(model), TracedForward(model), model.input_size)


def in_linen(architecture, parameters):
    """The same network in plain Linen, and its variables."""
    module = linen_nets.Plain(linen_nets.plain_layers(architecture))
    return module, {"params": {n: p for n, p in parameters.items() if n.startswith("conv")}}


def values_of(network, parameters, image):
    return jax.jit(lambda p, x: network.forward(p, x, until="conv3"))(parameters, image)


def both_ways(network, parameters, image, layer, units, rule):
    """[(tiles, activations)] by both methods."""
    maps, ys, xs = (np.asarray(each, np.int32) for each in units)
    found = []
    for method in ("window", "image"):
        way = deconvnet.way_of(network, layer, RULES[rule], method)
        places = deconvnet.Places(maps, ys, xs)
        inputs = deconvnet.cut_inputs(way, image, places, np.zeros(len(maps), int))
        found.append(
            [np.asarray(v) for v in deconvnet.project_cut(way, parameters, inputs, places)]
        )
    return found


@pytest.fixture(scope="module")
def image():
    return 3 * np.random.default_rng(0).normal(size=(1, *SMALL.input_size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def parameters():
    return random_parameters(SMALL, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name, rule", [("conv3", "deconvnet"), ("conv2", "guided+norm")])
def test_our_own_network_traced_is_the_fast_path_bit_for_bit(parameters, image, name, rule):
    own = network_of(SMALL)
    other = traced(model_of(own_function(SMALL), parameters, SMALL.input_size))
    assert other.sequence == own.sequence
    assert other.layers.keys() == {"conv1", "conv2", "conv3"}
    ours, found = (values_of(each, parameters, image) for each in (own, other))
    for layer in own.layers:
        np.testing.assert_array_equal(ours[layer], found[layer])
    units = units_everywhere(np.asarray(ours[name])[0])
    for a, b in zip(
        both_ways(own, parameters, image, name, units, rule),
        both_ways(other, parameters, image, name, units, rule),
        strict=True,
    ):
        assert np.abs(a[0]).max() > 0
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.slow
def test_plain_linen_without_norms_is_the_fast_path_bit_for_bit(parameters, image):
    architecture = no_norm(SMALL)
    module, variables = in_linen(architecture, parameters)
    own, other = network_of(architecture), traced(model_of(module, variables, SMALL.input_size))
    assert other.sequence == own.sequence
    ours, found = values_of(own, parameters, image), values_of(other, variables, image)
    for name in own.layers:
        np.testing.assert_array_equal(ours[name], found[name])
    units = units_everywhere(np.asarray(ours["conv3"])[0])
    for a, b in zip(
        both_ways(own, parameters, image, "conv3", units, "deconvnet"),
        both_ways(other, variables, image, "conv3", units, "deconvnet"),
        strict=True,
    ):
        assert np.abs(a[0]).max() > 0
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["deconvnet", "deconvnet+norm"])
def test_plain_linen_with_norms_equals_the_fast_path_to_1e_5(parameters, image, rule):
    module, variables = in_linen(SMALL, parameters)
    own, other = network_of(SMALL), traced(model_of(module, variables, SMALL.input_size))
    assert [layer.window for layer in other.sequence] == [layer.window for layer in own.sequence]
    ours, found = values_of(own, parameters, image), values_of(other, variables, image)
    for name in own.layers:
        scale = np.abs(ours[name]).max()
        np.testing.assert_allclose(found[name], ours[name], atol=1e-5 * scale)
        assert (
            np.asarray(ours[name]).reshape(-1, 1).argmax()
            == np.asarray(found[name]).reshape(-1, 1).argmax()
        )
    units = units_everywhere(np.asarray(ours["conv3"])[0])
    for a, b in zip(
        both_ways(own, parameters, image, "conv3", units, rule),
        both_ways(other, variables, image, "conv3", units, rule),
        strict=True,
    ):
        scale = np.abs(a[0]).max()
        assert scale > 0
        np.testing.assert_allclose(b[0], a[0], atol=1e-5 * scale)
        np.testing.assert_allclose(b[1], a[1], rtol=1e-5)


NETS = {
    "zfnet": (linen_nets.Plain(linen_nets.plain_layers(SMALL)), SMALL.input_size, ()),
    "resnet18": (linen_nets.ResNet18(2), (64, 56), ()),
    "vgg16-bn": (linen_nets.VGG16BN(2), (32, 32), ()),
    "squeezed": (linen_nets.Squeezed(), (24, 28), ()),
    "convnext": (linen_nets.ConvNeXt(), (32, 24), ("gelu",)),
}
EXPLICIT = {
    "zfnet": lambda *given: explicit_nets.plain(*given, linen_nets.plain_layers(SMALL)),
    "resnet18": explicit_nets.resnet18,
    "vgg16-bn": explicit_nets.vgg16_bn,
    "squeezed": explicit_nets.squeezed,
    "convnext": explicit_nets.convnext,
}
LAYERS = {
    "zfnet": ("conv1", "conv3"),
    "resnet18": ("Conv_0", "Block_1/Conv_0", "Block_2"),
    "vgg16-bn": ("Conv_2", "Conv_7"),
    "squeezed": ("Conv_0", "Conv_4"),
    "convnext": ("Dense_0", "Dense_2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("name", list(NETS))
def test_networks_in_plain_linen_equal_their_explicit_rules(name, rule):
    if (name, rule) == ("convnext", "guided"):
        pytest.skip("a GELU's guided rule is its deconvnet rule: one run says it")
    module, size, smooth = NETS[name]
    with relaxed():
        variables = jax.tree.map(np.float64, linen_nets.drawn(module, size))
        pixels = np.random.default_rng(0).normal(size=(*size, 3))
        model = model_of(module, variables, size, smooth=smooth, dtype=jnp.float64)
        tape = Tape(rule)
        start = tape.node(pixels[None])
        named = EXPLICIT[name](tape, variables, start)
        assert set(named) == set(sites_of(model))
        layers = {layer.name: layer for layer in layers_of_model(model)}
        units = windows = 0
        for layer in LAYERS[name]:
            outcome = compare_units(
                TracedForward(model), layers[layer], variables, (tape, start, named), RULES[rule]
            )
            assert outcome.worst < 1e-9
            units, windows = units + outcome.equal, windows + outcome.windows
        assert units >= 3 and (windows or name == "squeezed")


ALEX = Architecture(
    "alex",
    (79, 71),
    (
        Conv("conv1", 6, 11, 4, (1, 2)),
        Norm("norm1", 5, alpha=0.34),
        Pool("pool1", 3, 2),
        Conv("conv2", 8, 5, 1, (2, 2)),
        Norm("norm2", 5, alpha=0.34),
        Pool("pool2", 3, 2),
        Conv("conv3", 6, 3, 1, (1, 1)),
        Conv("conv4", 6, 3, 1, (1, 1)),
        Conv("conv5", 5, 3, 1, (1, 1)),
        Pool("pool5", 3, 2),
        Dense("fc6", 3),
    ),
)
"""AlexNet's order, norms before pools, kernels and strides, at a fraction of its width."""


@pytest.mark.slow
@pytest.mark.parametrize("rule, written", [("deconvnet", "ours"), ("guided", "in Linen")])
def test_alexnet_equals_its_explicit_rules(rule, written):
    """Our own contrast normalisation is computed in float32, whatever comes in."""
    own, tolerance = random_parameters(ALEX, 2), 1e-5 if written == "ours" else 1e-9
    with relaxed():
        parameters = jax.tree.map(np.float64, own)
        network, given = own_function(ALEX), parameters
        if written != "ours":
            network, given = in_linen(ALEX, parameters)
        model = model_of(network, given, ALEX.input_size, dtype=jnp.float64)
        tape = Tape(rule)
        start = tape.node(np.random.default_rng(0).normal(size=(1, *ALEX.input_size, 3)))
        variables = {"params": parameters}
        named = explicit_nets.plain(tape, variables, start, linen_nets.plain_layers(ALEX))
        layers = {layer.name: layer for layer in layers_of_model(model)}
        assert set(layers) == set(named) == {f"conv{number}" for number in range(1, 6)}
        outcomes = [
            compare_units(
                *(TracedForward(model), layers[name], given, (tape, start, named), RULES[rule]),
                tolerance,
            )
            for name in ("conv1", "conv2", "conv5")
        ]
        assert all(outcome.worst < tolerance and outcome.windows for outcome in outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zfnet", "squeezed", "convnext"])
def test_the_gradient_rule_is_jax_s_gradient_and_asks_for_nothing(name):
    module, size, _ = NETS[name]
    with relaxed():
        variables = jax.tree.map(np.float64, linen_nets.drawn(module, size))
        model = model_of(module, variables, size, dtype=jnp.float64)
        pixels = np.random.default_rng(0).normal(size=(1, *size, 3))
        reading = reading_of(model, 1)
        arrays = dict(zip(reading.trace.parameters, jax.tree.leaves(variables), strict=True))

        def of_ours(pixels):
            inputs = {**arrays, reading.trace.images: pixels}
            return run(reading, inputs, [reading.trace.outputs[""]], Descent())[0]

        shape = reading.trace.outputs[""].shape
        signal = np.random.default_rng(1).normal(size=shape)

        @functools.partial(jax.jit, compiler_options=QUICK)
        def both(pixels):
            ours, down = jax.vjp(of_ours, pixels)
            theirs, expected = jax.vjp(lambda pixels: module.apply(variables, pixels), pixels)
            return ours, theirs, down(signal)[0], expected(signal)[0]

        ours, theirs, found, wanted = (np.asarray(each) for each in both(pixels))
        np.testing.assert_allclose(ours, theirs, atol=1e-12 * np.abs(theirs).max())
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(found, wanted, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(0, 9), range(9, 17), range(17, 25)])
def test_random_networks_are_equal_or_refused_by_name(seeds):
    outcome = Outcome()
    for seed in seeds:
        outcome += compare(seed, "guided" if seed % 5 == 0 else "deconvnet", layers=1)
    assert outcome.equal > 10 and outcome.windows > 2


GOLDEN = Path(__file__).parent / "jaxprs"


def words_of(module, size):
    """The flat equations of a network: operation, what it is, shapes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        given = model_of(module, linen_nets.drawn(module, size), size)
        reading = reading_of(given)
    lines = [
        f"{equation.operation:<22} {reading.roles.get(equation, '-'):<17}"
        f" {' '.join('x'.join(map(str, value.shape)) or 'scalar' for value in equation.inputs)}"
        f" -> {' '.join('x'.join(map(str, value.shape)) for value in equation.outputs)}"
        for equation in reading.trace.equations
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", list(NETS))
def test_what_jax_and_flax_make_of_five_networks_is_what_it_was(name):
    """A changed primitive is seen here first. Written anew by ``ZFJAX_GOLDEN=1 pytest -k was``,
    to be read before it is committed.
    """
    module, size, _ = NETS[name]
    path, words = GOLDEN / f"{name}.txt", words_of(module, size)
    if os.environ.get("ZFJAX_GOLDEN"):
        path.write_text(words)
    assert words == path.read_text()
