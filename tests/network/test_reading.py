"""What a traced network is read as: ReLUs in every spelling, statistics, names, windows, and what
is refused.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.network import linen_nets
from tests.network.compared import relaxed
from zfjax.errors import ZfjaxError
from zfjax.network import ops
from zfjax.network.architecture import Window
from zfjax.network.convolution import conv
from zfjax.network.describing import describe_model
from zfjax.network.ops import RULES
from zfjax.network.traced import TracedForward, TracedScores, layers_of_model
from zfjax.network.tracing import model_of, needed_leaves, reading_of, scores_output, sites_of


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
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "tanh": jnp.tanh,
    "abs": jnp.abs,
    "hard_swish": jax.nn.hard_swish,
    "sort": lambda x: jnp.sort(x, axis=-1),
    "gather": lambda x: x[..., np.array([2, 0, 1, 3])],
    "gather by itself": lambda x: jnp.take_along_axis(x, jnp.int32(x > 0), axis=1),
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
        assert ".py:" in reason and reason.split(".py")[0].endswith(("test_reading", "pooling"))
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
        smooth = {"gelu": jax.nn.gelu, "silu": jax.nn.silu, "tanh": jnp.tanh, "mish": jax.nn.mish}
        for name, function in smooth.items():
            whole = model(lambda p, x, function=function: function(convolved(p, x)))
            chosen = model(lambda p, x, f=function: f(convolved(p, x)), smooth=(name,))
            assert name in sites_of(whole)["first"].reason
            assert sites_of(chosen)["first"].reason == ""
            parameters = {"first": {"kernel": np.ones((3, 3, 3, 4), np.float32)}}
            pixels = np.ones((1, 20, 20, 3), np.float32) / 30
            with pytest.raises(ZfjaxError, match=f"--smooth {name}"):
                TracedForward(whole)(parameters, pixels, until="first", rule=RULES["deconvnet"])
            TracedForward(chosen)(parameters, pixels, until="first", rule=RULES["deconvnet"])
    with relaxed():
        for function, name in (
            (lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x))), "mish"),
            (lambda x: x * jnp.tanh(jax.nn.softplus(x)), "mish"),
            (lambda x: x * jnp.tanh(jnp.exp(x)), "a gate"),
            (lambda x: 0.5 * x * (1 + jnp.tanh(0.8 * (x + 0.045 * x**3))), "gelu"),
        ):
            whole = model(lambda p, x, f=function: f(convolved(p, x)), smooth=("silu",))
            reason = sites_of(whole)["first"].reason
            assert reason.startswith(f"{name}, ") and ("gelu" in reason) == (name == "gelu")
    with relaxed():  # a gate out of other maps is no SiLU
        halves = model(lambda p, x: jax.nn.relu(jax.nn.glu(convolved(p, x))), smooth=("silu",))
        assert list(sites_of(halves)) == ["first"]
        assert "glu (logistic) at test_reading.py" in sites_of(halves)["first"].reason
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


@pytest.mark.slow
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


def test_scores_are_known_by_name_or_as_the_only_table_of_a_tuple():
    def returning(build):
        def function(p, x):
            y = jax.nn.relu(convolved(p, x))
            return build(y, y.mean((1, 2)), y.max((1, 2))[:, :2])

        return model(function)

    with relaxed():
        for build, name in (
            (lambda maps, table, other: (maps, table), "1"),
            (lambda maps, table, other: [table, (maps,)], "0"),
            (lambda maps, table, other: (maps, (maps, table)), "1/1"),
            (lambda maps, table, other: {"maps": maps, "scores": table, "logits": other}, "scores"),
            (lambda maps, table, other: {"logits": table, "pooled": other}, "logits"),
            (lambda maps, table, other: {"maps": maps, "pooled": table}, None),
            (lambda maps, table, other: (maps, table, other), None),
            (lambda maps, table, other: {"scores": maps}, None),
        ):
            given = returning(build)
            assert scores_output(given) == name
            said = describe_model(given)[-1]
            if name is not None:
                assert said == "class scores: 4 classes"
        assert said == "class scores: none are given"
        said = describe_model(returning(lambda maps, table, other: (maps, table, other)))[-1]
    assert "of what is returned, 1 [n, 4], 2 [n, 2] may be: return them by the name" in said


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


def two_convolutions(between):
    def function(p, x):
        y = between(jax.nn.relu(convolved(p, x)))
        return jax.nn.relu(convolved(p, y, "second"))

    shape = jax.eval_shape(between, jax.ShapeDtypeStruct((2, 20, 20, 4), jnp.float32)).shape
    kernel = np.random.default_rng(3).normal(size=(1, 1, shape[3], 2)).astype(np.float32)
    return function, {"second": {"kernel": kernel}}


MOVED = {
    "stack of slices": (lambda x: jnp.stack([x[..., i] for i in (2, 0, 1)], -1), 3),
    "split and joined": (lambda x: jnp.concatenate(jnp.split(x, 2, -1)[::-1], -1), 3),
    "shuffled": (lambda x: x.reshape(2, 20, 20, 2, 2).swapaxes(3, 4).reshape(x.shape), 3),
    "dynamic slice": (lambda x: lax.dynamic_slice(x, (0, 0, 0, 1), (*x.shape[:3], 2)), 3),
    "upsampled": (lambda x: jnp.repeat(jnp.repeat(x, 2, 1), 2, 2), None),
    "resized": (lambda x: jax.image.resize(x, (*x.shape[:1], 30, 30, 4), "bilinear"), None),
    "blocks": (
        lambda x: x.reshape(2, 10, 2, 10, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(2, 10, 10, 16),
        None,
    ),
    "resized to the nearest": (
        lambda x: jax.image.resize(x, (*x.shape[:1], 30, 50, 4), "nearest"),
        None,
    ),
    "resized one by one": (
        lambda x: jax.vmap(lambda own: jax.image.resize(own, (40, 30, 4), "nearest"))(x),
        None,
    ),
    "columns by number": (lambda x: jnp.take(x, np.array([3, 3, 0, 7]), axis=2), None),
    "mirrored": (lambda x: x[:, :, ::-1], None),
    "rolled": (lambda x: jnp.roll(x, 1, 2), None),
    "by place": (
        lambda x: x + jnp.linspace(-1, 1, 20, dtype=jnp.float32)[None, :, None, None],
        None,
    ),
}


@pytest.mark.parametrize("name", list(MOVED))
def test_rearranged_maps_stay_maps(name):
    between, window = MOVED[name]
    function, parameters = two_convolutions(between)
    with relaxed():
        first, second = layers_of_model(model(function, parameters=parameters))
        sites = sites_of(model(function, parameters=parameters))
    assert second.name == "second" and not sites["second"].reason
    assert (second.window and second.window.size) == window and first.window.size == 3


def test_places_in_a_tuple_are_no_names():
    def function(p, x):
        y = jax.nn.relu(convolved(p, x))
        return y, y.mean((1, 2))

    with relaxed():
        assert list(sites_of(model(function))) == ["first"]


def test_images_of_a_batch_that_are_mixed_are_noticed():
    function, parameters = two_convolutions(lambda x: x + x[::-1])
    with relaxed():
        reason = sites_of(model(function, parameters=parameters))["second"].reason
    assert "images of a batch are mixed by rev" in reason
    rows = np.arange(20, dtype=np.int32)[::-1]
    function, parameters = two_convolutions(lambda x: x[:, rows[:, None], rows])
    with relaxed():
        reason = sites_of(model(function, parameters=parameters))["second"].reason
    assert reason.startswith("gather at test_reading.py")  # not that images are mixed
    function, parameters = two_convolutions(lambda x: x[np.array([1, 0], np.int32)])
    with relaxed():
        assert sites_of(model(function, parameters=parameters))["second"].reason


def test_a_resize_to_the_nearest_comes_down_as_its_transpose():
    """Against rows and columns added up one by one, on a flat and on a wide map, and shrunk."""
    generator = np.random.default_rng(0)
    pixels = generator.normal(size=(1, 12, 10, 3))
    for size in ((12, 25), (24, 10), (5, 7)):
        function, _ = two_convolutions(
            lambda x, size=size: jax.image.resize(x, (len(x), *size, 4), "nearest")
        )
        parameters = {
            "first": {"kernel": generator.normal(size=(3, 3, 3, 4))},
            "second": {"kernel": generator.normal(size=(1, 1, 4, 2))},
        }
        with relaxed():
            given = model_of(function, parameters, (12, 10), dtype=jnp.float64)

            def maps(x, given=given, parameters=parameters):
                rule = RULES["deconvnet"]
                return TracedForward(given)(parameters, x, until="second", rule=rule)["second"]

            values, down = jax.vjp(maps, jnp.asarray(pixels))
            signal = generator.normal(size=values.shape)
            below = jnp.maximum(signal, 0) @ parameters["second"]["kernel"][0, 0].T
            rows, columns = (
                np.asarray(jax.image.resize(jnp.arange(m, dtype=jnp.float64), (n,), "nearest"))
                for n, m in zip(size, (12, 10), strict=True)
            )
            added = np.zeros((1, 12, 10, 4))
            for i, row in enumerate(rows):
                for j, column in enumerate(columns):
                    added[0, int(row), int(column)] += below[0, i, j]
            whole = jax.linear_transpose(lambda x, p=parameters: convolved(p, x), pixels)
            expected = whole(jnp.maximum(added, 0))[0]
            np.testing.assert_allclose(down(jnp.asarray(signal))[0], expected, atol=1e-9)
            np.testing.assert_allclose(values, function(parameters, jnp.asarray(pixels)), atol=1e-9)
