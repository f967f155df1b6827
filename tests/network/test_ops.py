"""Each operation, up and down, against loops, finite differences and XLA's own gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests import oracle
from zfjax.errors import ZfjaxError
from zfjax.network import convolution, ops
from zfjax.network.architecture import Architecture, Conv, Norm, Pool
from zfjax.network.named import ALEXNET, ZFNET

HIGHEST = lax.Precision.HIGHEST


def drawn(shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def conv_shapes():
    """Kernel, stride and padding of every convolution of the two networks, on a small odd and a
    small even map."""
    specs = {
        architecture.conv(name)
        for architecture in (ZFNET, ALEXNET)
        for name in architecture.conv_names
    }
    kinds = sorted({(spec.kernel, spec.stride, spec.padding) for spec in specs})
    windows = [((3, 1, (0, 0)), extent) for extent in (3, 4, 7)] + [
        ((5, 1, (0, 0)), 5)
    ]  # few cells: another way down
    return [(kind, extent) for kind in kinds for extent in (kind[0] + 4, kind[0] + 5)] + windows


@pytest.mark.parametrize(("kind", "extent"), conv_shapes())
def test_conv_up_and_down_equal_loops(kind, extent):
    size, stride, padding = kind
    x, kernel, bias = drawn((1, extent, extent + 3, 2)), drawn((size, size, 2, 3), 1), drawn(3, 2)

    def up(value):
        return convolution.conv(
            value, kernel, bias, stride=stride, padding=padding, precision=HIGHEST
        )

    y, down = jax.vjp(up, x)
    expected = oracle.convolve(x[0], kernel, bias, stride, padding)
    np.testing.assert_allclose(y[0], expected, atol=1e-5 * np.abs(expected).max())
    g = drawn(y.shape, 3)
    back = down(g)[0]
    expected = oracle.convolve_down(g[0], kernel, stride, padding, x.shape[1:])
    np.testing.assert_allclose(back[0], expected, atol=1e-5 * np.abs(expected).max())
    left, right = (
        np.vdot(np.float64(y) - bias, g),
        np.vdot(np.float64(x), back),
    )  # the bias plays no part going down
    assert abs(left - right) <= 1e-6 * np.linalg.norm(y) * np.linalg.norm(g)


KINDS = [(1, (0, 0)), (2, (2, 1)), (4, (0, 3)), (3, (1, 1))]


@pytest.mark.parametrize(("stride", "padding"), KINDS)
@pytest.mark.parametrize(("channels", "maps"), [(2, 4), (5, 4), (2, 17), (5, 47), (5, 48)])
def test_all_gradients_of_a_convolution_are_those_of_the_plain_one(
    monkeypatch, channels, maps, stride, padding
):
    monkeypatch.setattr(
        jax, "device_count", lambda: 1
    )  # as on one CPU: some images after the other
    monkeypatch.setattr(convolution, "working_set", lambda: 20_000)
    monkeypatch.setattr(convolution, "WIDE_MAP", 3)
    x, kernel, bias = drawn((6, 14, 11, channels)), drawn((5, 5, channels, maps), 1), drawn(maps, 2)
    dimensions = ("NHWC", "HWIO", "NHWC")

    def plain(x, kernel, bias):
        return bias[None, None, None, :] + lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            (padding, padding),
            dimension_numbers=dimensions,
            precision=HIGHEST,
        )

    def ours(*values):
        return convolution.conv(*values, stride=stride, padding=padding, precision=HIGHEST)

    expected, pull_expected = jax.vjp(plain, x, kernel, bias)
    found, pull = jax.vjp(ours, x, kernel, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    g = drawn(found.shape, 3)
    for one, other in zip(pull(g), pull_expected(g), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6 * np.abs(other).max())


@pytest.mark.parametrize(("images", "stride", "padding"), [(6, 2, (2, 1)), (5, 3, (0, 0))])
def test_many_channels_go_up_by_a_matmul_but_in_training(monkeypatch, images, stride, padding):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(convolution, "working_set", lambda: 2 * 4 * 4 * 28 * 5 * 25 * 4)
    monkeypatch.setattr(convolution, "MANY_CHANNELS", 5)
    x, kernel, g = drawn((images, 14, 11, 5)), drawn((5, 5, 5, 17), 1), drawn(17, 2)
    settings = {"stride": stride, "padding": padding}

    def ours(kernel, precision=HIGHEST):
        return convolution.conv(x, kernel, g, precision=precision, **settings)

    looked_at, learnt = ours(kernel), jax.vjp(ours, kernel)[0]
    by_matmul = str(jax.make_jaxpr(ours)(kernel))
    assert "dot_general" in by_matmul
    assert "dot_general" not in str(jax.make_jaxpr(lambda kernel: ours(kernel, None))(kernel))
    np.testing.assert_array_equal(learnt, ours(kernel, None))  # as it ever was
    np.testing.assert_allclose(looked_at, learnt, atol=2e-6 * np.abs(learnt).max(), rtol=1e-5)


def test_kernel_gradients_in_bfloat16_add_up_in_float32(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(convolution, "working_set", lambda: 1)  # one image after the other
    narrow = jnp.bfloat16
    x, g = (
        jnp.asarray(np.abs(drawn(shape)), narrow) for shape in ((256, 12, 12, 2), (256, 10, 10, 4))
    )

    def up(x, kernel):
        return convolution.conv(x, kernel, jnp.zeros(4, x.dtype), stride=1, padding=(0, 0))

    def gradient(x, g):
        return jax.vjp(lambda kernel: up(x, kernel), jnp.ones((3, 3, 2, 4), x.dtype))[1](g)[0]

    found, exact = gradient(x, g), gradient(x.astype(jnp.float32), g.astype(jnp.float32))
    assert found.dtype == narrow
    np.testing.assert_allclose(
        np.float32(found), exact, rtol=2**-8
    )  # one rounding; added up in bfloat16: 0.05


@pytest.mark.parametrize("seed", range(4))
def test_conv_adjoint_in_float64_for_random_shapes(seed):
    generator = np.random.default_rng(seed)
    size, stride = int(generator.integers(1, 6)), int(generator.integers(1, 4))
    padding = tuple(int(p) for p in generator.integers(0, size, 2))
    with jax.enable_x64(True):
        x = generator.normal(size=(2, size + 5, size + 8, 3))
        kernel = generator.normal(size=(size, size, 3, 4))

        def up(value):
            return convolution.conv(
                value, jnp.asarray(kernel), jnp.zeros(4), stride=stride, padding=padding
            )

        y, down = jax.vjp(up, jnp.asarray(x))
        g = generator.normal(size=y.shape)
        back = np.asarray(down(jnp.asarray(g))[0])
        assert back.dtype == np.float64
        assert np.vdot(y, g) == pytest.approx(np.vdot(x, back), rel=1e-12, abs=1e-10)


POOLS = [
    (3, 2, (0, 1)),
    (3, 2, (0, 0)),
    (3, 2, (1, 1)),
    (3, 1, (1, 1)),
    (2, 3, (0, 0)),
    (5, 2, (4, 3)),
    (1, 1, (0, 0)),
    (4, 3, (2, 0)),
]


@pytest.mark.parametrize(("window", "stride", "padding"), POOLS)
def test_pool_equals_xla_and_loops_up_and_down(window, stride, padding):
    x = np.random.default_rng(0).integers(-2, 2, (2, 11, 8, 3)).astype(np.float32)
    x[0, :6, :6] = 0  # whole windows tie at zero
    x[1, 5:] = -7  # negative everywhere: padding must not win
    pads = ((0, 0), padding, padding, (0, 0))

    def theirs(v):
        return lax.reduce_window(
            v, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), pads
        )

    y, down = jax.vjp(lambda value: ops.max_pool(value, window, stride, padding), x)
    their_y, their_down = jax.vjp(theirs, x)
    np.testing.assert_array_equal(y, their_y)
    g = np.random.default_rng(1).integers(-5, 6, y.shape).astype(np.float32)
    back = np.asarray(down(g)[0])
    np.testing.assert_array_equal(back, their_down(g)[0])
    for image, signal, value, result in zip(x, g, y, back, strict=True):
        best, places = oracle.pool(image, window, stride, padding)
        np.testing.assert_array_equal(value, best)
        np.testing.assert_array_equal(result, oracle.unpool(signal, places, image.shape))
    assert back.sum() == g.sum()


def test_a_signal_that_only_rises_in_one_place_collects_all_windows_that_see_it():
    x = np.zeros((1, 7, 7, 2), np.float32)
    x[0, 3, 3, 0] = 5
    y, down = jax.vjp(lambda value: ops.max_pool(value, 3, 1, (1, 1)), x)
    g = np.ones(y.shape, np.float32)
    back = np.asarray(down(g)[0])[0]
    assert back[3, 3, 0] == 9
    first = np.zeros(
        (7, 7)
    )  # an all-zero window gives its signal to its first cell that is not padding
    for i in range(7):
        for j in range(7):
            first[max(i - 1, 0), max(j - 1, 0)] += 1
    np.testing.assert_array_equal(back[:, :, 1], first)


def test_no_pool_lowers_to_select_and_scatter():
    x = jnp.zeros((1, 9, 9, 2))
    gradient = jax.jit(jax.grad(lambda value: ops.max_pool(value, 3, 2, (0, 1)).sum()))
    assert "select_and_scatter" not in gradient.lower(x).as_text()


def test_types_are_kept():
    for dtype in (jnp.bfloat16, jnp.float32):
        x = jnp.asarray(drawn((1, 6, 6, 5)), dtype)
        for operation in (
            lambda v: ops.relu(v, ops.RULES["guided"]),
            lambda v: ops.max_pool(v, 3, 2, (0, 1)),
            lambda v: ops.local_response_norm(v, 5, 2.0, 1e-4, 0.75, ops.GRADIENT),
        ):
            y, down = jax.vjp(operation, x)
            assert y.dtype == down(y)[0].dtype == dtype


NORMS = [
    Norm("n"),
    Norm("n", alpha=0.34),
    Norm("n", alpha=0.01, beta=0.6),
    Norm("n", 3, 1.0, 0.5, 0.5),
    Norm("n", 1, alpha=0.1),
    Norm("n", 15, alpha=0.01),
]


@pytest.mark.parametrize("spec", NORMS)
def test_norm_up_and_down_equal_the_whole_jacobian(spec):
    """Activations of the faithful recipe reach hundreds: only there is the norm more than a
    constant."""
    x = drawn((2, 3, 2, 8), scale=200)
    x[0] = np.abs(x[0])
    x[0, 0, 0] = 0

    def up(rule):
        return lambda v: ops.local_response_norm(
            v, spec.size, spec.k, spec.alpha, spec.beta, ops.RULES[rule]
        )

    y, down = jax.vjp(up("deconvnet+norm"), x)
    np.testing.assert_allclose(y, oracle.normalise(x, spec), rtol=1e-5)
    assert np.abs(np.asarray(y) - x / spec.k**spec.beta).max() > 0.05 * np.abs(y).max()
    g = drawn(x.shape, 1)
    expected = oracle.normalise_down(np.float64(x), np.float64(g), spec)
    np.testing.assert_allclose(down(g)[0], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(jax.vjp(up("deconvnet"), x)[1](g)[0], g)
    np.testing.assert_array_equal(up("deconvnet")(x), y)  # the way up is the same whatever the rule


def test_norm_gradient_equals_finite_differences():
    spec, x, g = (
        Norm("n", alpha=0.05),
        np.float64(drawn((1, 1, 1, 7), scale=10)),
        np.float64(drawn((1, 1, 1, 7), 1)),
    )
    numeric = np.zeros(7)
    for place in range(7):
        step = np.zeros_like(x)
        step[..., place] = 1e-4
        numeric[place] = (
            g * (oracle.normalise(x + step, spec) - oracle.normalise(x - step, spec))
        ).sum() / 2e-4

    def norm(v):
        return ops.local_response_norm(v, 5, 2.0, 0.05, 0.75, ops.GRADIENT)

    found = jax.vjp(norm, x.astype(np.float32))[1](g.astype(np.float32))[0]
    np.testing.assert_allclose(found[0, 0, 0], numeric, rtol=1e-3, atol=1e-5)


def test_alpha_multiplies_the_sum_and_end_maps_have_fewer_neighbours():
    x = np.ones((1, 6), np.float32)
    found = np.asarray(ops.local_response_norm(x, 5, 2.0, 1.0, 1.0, ops.GRADIENT))[0]
    np.testing.assert_allclose(found, 1 / (2 + np.array([3, 4, 5, 5, 4, 3])), rtol=1e-6)


def test_the_three_relu_rules():
    x, g = (
        np.array([-1.0, 2.0, -3.0, 4.0], np.float32),
        np.array([5.0, -6.0, -7.0, 8.0], np.float32),
    )
    down = {
        name: np.asarray(jax.vjp(lambda v, r=rule: ops.relu(v, r), x)[1](g)[0])
        for name, rule in ops.RULES.items()
    }
    np.testing.assert_array_equal(down["deconvnet"], [5, 0, 0, 8])
    np.testing.assert_array_equal(down["gradient"], [0, -6, 0, 8])
    np.testing.assert_array_equal(down["guided"], [0, 0, 0, 8])


def test_relu_rules_at_zero_and_in_a_chain():
    x, g = np.array([0.0, -0.0, 1e-30, -1.0], np.float32), np.ones(4, np.float32)

    def down(rule):
        return np.asarray(jax.vjp(lambda v: ops.relu(v, ops.RULES[rule]), x)[1](g)[0])

    np.testing.assert_array_equal(down("deconvnet"), [1, 1, 1, 1])
    np.testing.assert_array_equal(down("gradient"), [0, 0, 1, 0])
    np.testing.assert_array_equal(down("guided"), [0, 0, 1, 0])

    def twice(v):
        return ops.relu(-2 * ops.relu(v, ops.RULES["deconvnet"]), ops.RULES["deconvnet"])

    np.testing.assert_array_equal(
        jax.vjp(twice, x)[1](g)[0], np.zeros(4)
    )  # each ReLU rectifies what reaches it
    plain = jax.grad(lambda v: (jax.nn.relu(v) * jnp.arange(4.0)).sum())(x)
    np.testing.assert_array_equal(
        jax.grad(lambda v: (ops.relu(v, ops.GRADIENT) * jnp.arange(4.0)).sum())(x), plain
    )


def test_rules_by_name():
    assert ops.rule_named("guided+norm") == ops.Rule("guided", "gradient")
    assert {name for name, rule in ops.RULES.items() if rule.norm == "gradient"} == {
        "gradient",
        "deconvnet+norm",
        "guided+norm",
    }
    with pytest.raises(ZfjaxError, match="'deconv'.*deconvnet, guided"):
        ops.rule_named("deconv")


def test_a_nan_wins_its_pool_window_wherever_it_lies():
    for place in range(9):
        x = np.ones((1, 3, 3, 1), np.float32)
        x[0, place // 3, place % 3, 0] = np.nan
        assert np.isnan(ops.max_pool(x, 3, 2, (0, 0))).all()


def test_a_pool_window_too_large_for_int8_switches_is_refused():
    with pytest.raises(ZfjaxError, match="at most 11"):
        Architecture("large", (64, 64), (Conv("conv1", 2, 3), Pool("pool1", 12, 2)))
