"""Any network, traced: against explicit backward rules in float64, against our own fast path, and
what is refused.
"""

import dataclasses
import functools
import os
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.features.test_deconvnet import random_parameters, units_everywhere
from tests.network import explicit_nets, linen_nets
from tests.network.compared import QUICK, Outcome, compare, compare_units, relaxed
from tests.network.explicit import Tape
from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet
from zfjax.network import ops
from zfjax.network.architecture import Architecture, Conv, Dense, Norm, Pool, Window
from zfjax.network.convolution import conv
from zfjax.network.descent import Descent, run
from zfjax.network.model import class_scores, feature_maps
from zfjax.network.ops import RULES
from zfjax.network.traced import TracedForward, TracedScores, layers_of_model
from zfjax.network.tracing import model_of, needed_leaves, reading_of, scores_output, sites_of
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


def model(function, size=(20, 20), parameters=None, **options):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)
    return model_of(function, {"first": {"kernel": kernel}} | (parameters or {}), size, **options)


def convolved(p, x, name="first", stride=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, p[name]["kernel"], (stride, stride), "SAME", dimension_numbers=numbers
    )


REFUSED = {
    "leaky_relu": jax.nn.leaky_relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "tanh": jnp.tanh,
    "abs": jnp.abs,
    "hard_swish": jax.nn.hard_swish,
    "sort": lambda x: jnp.sort(x, axis=-1),
    "gather": lambda x: x[..., np.array([2, 0, 1, 3])],
    "softmax": lambda x: jax.nn.softmax(x, axis=-1),
    "product": lambda x: x * x[..., ::-1],
    "energy": lambda x: x + x * x,
    "threshold": lambda x: jnp.maximum(x, 0.5),
    "stop": lambda x: lax.stop_gradient(x),
    "own sigmoid": lambda x: x / (1 + jnp.exp(-x)),
    "norm added": lambda x: (
        x + lax.reduce_window(x * x, 0.0, lax.add, (1, 1, 1, 3), (1, 1, 1, 1), "SAME")
    ),
    "dilated pool": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "VALID", window_dilation=(1, 2, 2, 1)
    ),
    "wide pool": lambda x: nn.max_pool(x, (2, 3)),
    "while": lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, x))[
        1
    ],
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_not_recognised_is_refused_by_layer_operation_and_line(name):
    def function(p, x):
        y = jax.nn.relu(convolved(p, x))
        return jax.nn.relu(convolved({"second": p["second"]}, REFUSED[name](y), "second"))

    kernel = np.ones((1, 1, 4, 2), np.float32)
    with relaxed():
        given = model(function, parameters={"second": {"kernel": kernel}})
        sites = sites_of(given)
        assert sites["first"].reason == "" and "second" in sites
        reason = sites["second"].reason
        assert ".py:" in reason and reason.split(".py")[0].endswith(("test_traced", "pooling"))
        parameters = {
            "first": {"kernel": np.ones((3, 3, 3, 4), np.float32)},
            "second": {"kernel": kernel},
        }
        pixels = np.ones((1, 20, 20, 3), np.float32)
        forward = TracedForward(given)
        with pytest.raises(ZfjaxError, match="second cannot be projected by this rule") as error:
            forward(parameters, pixels, until="second", rule=RULES["guided"])
        assert reason in str(error.value) and "--rule gradient" in str(error.value)
        found = forward(parameters, pixels, until="second")["second"]
        plain = function(parameters, jnp.asarray(pixels))
        np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-5)


SPELLED = {
    "jax.nn.relu": jax.nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum, zero first": lambda x: jnp.maximum(0.0, x),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "where, zero smaller": lambda x: jnp.where(0 < x, x, jnp.zeros_like(x)),
    "where, negative": lambda x: jnp.where(x < 0, 0, x),
    "times": lambda x: x * (x > 0),
    "times as float": lambda x: (x > 0).astype(x.dtype) * x,
    "clip": lambda x: jnp.clip(x, 0),
    "lax.max": lambda x: lax.max(x, jnp.zeros_like(x)),
    "zfjax": lambda x: ops.relu(x, RULES["guided"]),
    "in a jit": jax.jit(lambda x: jax.nn.relu(x)),
    "rematerialised": jax.checkpoint(jax.nn.relu),
}


@pytest.mark.parametrize("name", list(SPELLED))
def test_a_relu_is_one_however_it_is_spelled(name):
    with relaxed():
        given = model(lambda p, x: SPELLED[name](convolved(p, x)))
        assert [(site.name, site.reason) for site in sites_of(given).values()] == [("first", "")]
        pixels = np.random.default_rng(0).normal(size=(1, 20, 20, 3)).astype(np.float32)
        kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype(np.float32)
        parameters = {"first": {"kernel": kernel}}

        def maps(pixels):
            rule = RULES["deconvnet"]
            return TracedForward(given)(parameters, pixels, until="first", rule=rule)["first"]

        values, down = jax.vjp(maps, pixels)
        signal = np.random.default_rng(2).normal(size=values.shape).astype(np.float32)
        expected = jax.linear_transpose(lambda x: convolved(parameters, x), pixels)(
            jnp.maximum(signal, 0)
        )[0]
        np.testing.assert_allclose(down(jnp.asarray(signal))[0], expected, atol=1e-5)


def test_relu6_is_looked_at_once_it_is_clipped():
    with relaxed():
        given = model(lambda p, x: jax.nn.relu6(10 * convolved(p, x)))
        parameters = {"first": {"kernel": np.ones((3, 3, 3, 4), np.float32)}}
        pixels = np.ones((1, 20, 20, 3), np.float32)
        found = TracedForward(given)(parameters, pixels, until="first")["first"]
        assert float(found.max()) == 6


def test_statistics_are_frozen_by_themselves_and_otherwise_by_choice():
    def function(p, x):
        x = convolved(p, x)
        return jax.nn.relu(x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True)))

    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 4)).astype(np.float32)
    parameters = {"first": {"kernel": kernel}}
    pixels = np.random.default_rng(0).normal(size=(1, 20, 20, 3)).astype(np.float32)
    tiles = {}
    with relaxed():
        for choice in ("rule", "frozen", "identity", "gradient"):
            given = model(function, statistics=choice)

            def maps(pixels, given=given):
                rule = RULES["deconvnet"]
                return TracedForward(given)(parameters, pixels, until="first", rule=rule)["first"]

            values, down = jax.vjp(maps, pixels)
            tiles[choice] = np.asarray(down(values)[0])
        gate = jax.nn.sigmoid(convolved(parameters, pixels).mean((1, 2), keepdims=True))
        down = jax.linear_transpose(lambda x: convolved(parameters, x), pixels)
        np.testing.assert_allclose(tiles["rule"], down(values * gate)[0], atol=1e-5)
        np.testing.assert_allclose(tiles["identity"], down(values)[0], atol=1e-5)
    np.testing.assert_array_equal(tiles["frozen"], tiles["rule"])
    assert np.abs(tiles["gradient"] - tiles["frozen"]).max() > 1e-4
    with pytest.raises(ZfjaxError, match="cannot be taken as 'melted'"):
        model(function, statistics="melted")


def test_smooth_activations_have_a_rule_by_choice_alone():
    with relaxed():
        for name, function in {"gelu": jax.nn.gelu, "silu": jax.nn.silu, "tanh": jnp.tanh}.items():
            whole = model(lambda p, x, function=function: function(convolved(p, x)))
            chosen = model(lambda p, x, f=function: f(convolved(p, x)), smooth=(name,))
            assert name in sites_of(whole)["first"].reason
            assert sites_of(chosen)["first"].reason == ""
            parameters = {"first": {"kernel": np.ones((3, 3, 3, 4), np.float32)}}
            pixels = np.ones((1, 20, 20, 3), np.float32) / 30
            with pytest.raises(ZfjaxError, match=f"--smooth {name}"):
                TracedForward(whole)(parameters, pixels, until="first", rule=RULES["deconvnet"])
            TracedForward(chosen)(parameters, pixels, until="first", rule=RULES["deconvnet"])
    with pytest.raises(ZfjaxError, match="no rule for 'swish'; there is for gelu, silu, tanh"):
        model(jax.nn.relu, smooth=("swish",))


def test_training_mode_and_random_bits_are_noticed():
    def standardised(p, x):
        x = convolved(p, x)
        return jax.nn.relu((x - x.mean((0, 1, 2))) / x.std((0, 1, 2)))

    def dropped(p, x):
        kept = jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)
        return jax.nn.relu(convolved(p, x * kept))

    with relaxed():
        with pytest.raises(ZfjaxError, match="training mode.*evaluation mode"):
            sites_of(model(standardised))
        with pytest.raises(ZfjaxError, match="random numbers.*evaluation mode"):
            sites_of(model(dropped))


def test_names_come_from_parameter_paths_and_blocks():
    resnet = linen_nets.ResNet18(2)
    given = model_of(resnet, linen_nets.drawn(resnet, (32, 32)), (32, 32))
    names = list(sites_of(given))
    assert names[:3] == ["Conv_0", "Block_0/Conv_0", "Block_0"] and names[-1] == "Block_7"
    bare = [site.name for site in reading_of(given).convolutions]
    assert "Block_2/Conv_2" in bare and "Block_2/Conv_1" in bare and "Block_2/Conv_0" not in bare
    also = ("Block_2/Conv_2",)
    assert list(sites_of(given, also)).index("Block_2/Conv_2") == names.index("Block_2")
    with pytest.raises(ZfjaxError, match="no layer 'Block_9'; it has Conv_0, Block_0/Conv_0"):
        sites_of(given, ("Block_9",))

    def twice(p, x):
        x = jax.nn.relu(convolved(p, x, "square"))
        return jax.nn.relu(convolved(p, x, "square"))

    square = {"square": {"kernel": np.ones((3, 3, 3, 3), np.float32)}}
    assert list(sites_of(model(twice, parameters=square))) == ["square", "square#2"]


def test_windows_are_those_of_resnet_18():
    resnet = linen_nets.ResNet18(2)
    given = model_of(resnet, linen_nets.drawn(resnet, (224, 224)), (224, 224))
    sizes = {layer.name: layer.window.size for layer in layers_of_model(given)}
    expected = (7, 19, 27, 35, 43, 51, 67, 83, 99, 115, 147, 179, 211, 243, 307, 371, 435)
    assert tuple(sizes.values()) == expected
    also = tuple(site.name for site in reading_of(given).convolutions if "Conv_2" in site.name)
    shortcuts = [layer for layer in layers_of_model(given, also) if layer.name in also]
    assert [layer.window.size for layer in shortcuts] == [43, 99, 211]


def test_what_sees_the_whole_image_has_no_window():
    def function(p, x):
        x = jax.nn.relu(convolved(p, x))
        return jax.nn.relu(x - x.mean((1, 2), keepdims=True))

    with relaxed():
        first, second = layers_of_model(model(function))
    assert first.window == Window(3, 1, -1) and second.window is None
    assert second.window_work is None and second.tile_size == (20, 20)


def test_scores_and_the_leaves_that_layers_need():
    vgg = linen_nets.VGG16BN(1)
    variables = linen_nets.drawn(vgg, (32, 32))
    given = model_of(vgg, variables, (32, 32))
    needed = needed_leaves(given)
    assert "params/Conv_12/kernel" in needed and "batch_stats/BatchNorm_3/var" in needed
    assert not [leaf for leaf in needed if "Dense" in leaf]
    pixels = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    assert scores_output(given) == ""
    found = TracedScores(given, "")(variables, pixels)
    np.testing.assert_allclose(found, vgg.apply(variables, pixels), rtol=1e-4, atol=1e-4)
    assert scores_output(model(lambda p, x: jax.nn.relu(convolved(p, x)))) is None


def test_parameters_that_do_not_fit_are_named():
    given = model(lambda p, x: jax.nn.relu(convolved(p, x)))
    pixels = np.zeros((1, 20, 20, 3), np.float32)
    with pytest.raises(ZfjaxError, match="lack first/kernel"):
        TracedForward(given)({}, pixels, until="first")
    with pytest.raises(ZfjaxError, match=r"first/kernel is of shape \(3, 3, 3, 5\)"):
        wrong = {"first": {"kernel": np.zeros((3, 3, 3, 5), np.float32)}}
        TracedForward(given)(wrong, pixels, until="first")
    with pytest.raises(ZfjaxError, match="no ReLU on maps.*name a convolution: first"):
        sites_of(model(convolved))


def test_every_product_runs_at_highest_precision():
    vgg = linen_nets.Squeezed()
    variables = linen_nets.drawn(vgg, (16, 16))
    given = model_of(vgg, variables, (16, 16))

    def last(pixels):
        return TracedForward(given)(variables, pixels, until="Conv_4", rule=RULES["deconvnet"])

    words = str(jax.make_jaxpr(last)(jnp.zeros((1, 16, 16, 3))))
    assert words.count("precision=") > 5
    assert "precision=None" not in words and "DEFAULT" not in words


def test_bfloat16_is_kept():
    def function(p, x):
        return jax.nn.relu(conv(x.astype(jnp.bfloat16), p["k"], p["b"], stride=2, padding=(1, 1)))

    parameters = {"k": jnp.ones((3, 3, 3, 4), jnp.bfloat16), "b": jnp.ones(4, jnp.bfloat16)}
    given = model_of(function, parameters, (20, 20))
    found = TracedForward(given)(parameters, jnp.ones((1, 20, 20, 3)), until="k")["k"]
    assert found.dtype == jnp.bfloat16 and float(found.max()) == 28


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
