"""Geometry, operations, projection and search against independent oracles: NumPy loops, XLA's own gradients."""

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.small import ARCHITECTURE
from zfjax import config as configs
from zfjax import deconvnet, ops, recipe, strongest
from zfjax.architecture import ALEXNET, ZFNET, ZFNET_WIDE, Architecture, Conv, Dense, Norm, Pool
from zfjax.files import ZfjaxError
from zfjax.network import feature_maps, initial_parameters

PACKAGE = Path(__file__).parent.parent / "zfjax"


def narrow(architecture, divisor, **fields):
    """The same layers with fewer maps."""
    layers = tuple(
        dataclasses.replace(layer, maps=layer.maps // divisor) if isinstance(layer, Conv)
        else dataclasses.replace(layer, features=8) if isinstance(layer, Dense) else layer
        for layer in architecture.layers
    )  # fmt: skip
    return dataclasses.replace(architecture, layers=layers, **fields)


def parameters_with_biases(architecture, seed=0):
    """He weights and biases of both signs, so that some windows are all zero."""
    generator = np.random.default_rng(seed)
    parameters = jax.tree.map(np.asarray, initial_parameters(architecture, "modern", seed))
    return {
        name: {"kernel": leaf["kernel"], "bias": generator.normal(-0.1, 0.1, leaf["bias"].shape).astype(np.float32)}
        for name, leaf in parameters.items()
    }


# --- geometry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "count"), [(ZFNET, 62_357_608), (ZFNET_WIDE, 107_627_624), (ALEXNET, 62_378_344)]
)
def test_parameter_counts_are_the_papers(architecture, count):
    assert architecture.parameter_count == count


def test_zfnet_sizes_and_windows_are_the_papers():
    facts = {fact.layer.name: fact for fact in ZFNET.facts()}
    sizes = {name: fact.shape[0] for name, fact in facts.items()}
    assert [sizes[name] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")] == [
        110, 55, 26, 13, 13, 13, 13, 6]  # fmt: skip
    windows = [(w.size, w.jump, w.start) for w in (ZFNET.window(f"conv{n}") for n in range(1, 6))]
    assert windows == [(7, 2, -1), (27, 8, -1), (75, 16, -17), (107, 16, -33), (139, 16, -49)]
    assert ZFNET.window("conv5").box(0, 1) == (-49, -33, 90, 106)


def test_one_field_is_an_ablation_and_a_misfit_is_said():
    wider = ZFNET.replace("conv1", kernel=11, stride=4)
    assert wider.fact("conv1").shape[0] == 54 and ZFNET.fact("conv1").shape[0] == 110
    with pytest.raises(ZfjaxError, match="does not fit"):
        ZFNET.replace("conv1", stride=200)
    with pytest.raises(ZfjaxError, match="no layer 'conv9'"):
        ZFNET.replace("conv9", maps=1)
    with pytest.raises(ZfjaxError, match="must be 1 or more"):
        ZFNET.replace("conv1", maps=0)


@pytest.mark.parametrize("name", list(configs.PRESETS))
def test_presets_survive_json(name):
    assert configs.from_json(configs.to_json(configs.preset(name))) == configs.preset(name)


def test_unknown_fields_and_wrong_types_in_a_config_are_named():
    record = configs.to_json(configs.preset("demo"))
    with pytest.raises(ZfjaxError, match="no field 'epoch'"):
        configs.from_json({**record, "epoch": 3})
    with pytest.raises(ZfjaxError, match="config.epochs"):
        configs.from_json({**record, "epochs": "many"})
    with pytest.raises(ZfjaxError, match="'sometimes'"):
        configs.from_json({**record, "recipe": "sometimes"})


# --- operations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extent"),
    [
        (7, 2, (1, 1), 24), (7, 2, (1, 1), 25), (5, 2, (0, 0), 15), (3, 1, (1, 1), 13), (11, 4, (1, 2), 31),
        (5, 1, (2, 2), 9),
    ],
)
def test_convolution_down_is_the_adjoint_of_up(kernel, stride, padding, extent):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, extent, extent + 2, 3)).astype(np.float32)
    weights = generator.normal(size=(kernel, kernel, 3, 4)).astype(np.float32)
    up = lambda value: ops.conv(
        value, weights, jnp.zeros(4), stride=stride, padding=padding, precision=lax.Precision.HIGHEST
    )
    y, down = jax.vjp(up, x)
    u = generator.normal(size=y.shape).astype(np.float32)
    assert down(u)[0].shape == x.shape
    left, right = np.vdot(np.float64(y), u), np.vdot(np.float64(x), down(u)[0])
    assert abs(left - right) <= 1e-6 * np.linalg.norm(y) * np.linalg.norm(u)


@pytest.mark.parametrize(("extent", "padding"), [(13, (0, 0)), (14, (0, 1)), (9, (1, 1))])
def test_pool_equals_xla_with_ties(extent, padding):
    x = np.random.default_rng(1).integers(0, 3, (2, extent, extent + 1, 5)).astype(np.float32)

    def built_in(value):
        pads = ((0, 0), padding, padding, (0, 0))
        return lax.reduce_window(value, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads)

    ours, down = jax.vjp(lambda value: ops.max_pool(value, 3, 2, padding), x)
    theirs, theirs_down = jax.vjp(built_in, x)
    np.testing.assert_array_equal(ours, theirs)
    g = np.random.default_rng(2).integers(-4, 5, ours.shape).astype(np.float32)
    np.testing.assert_array_equal(down(g)[0], theirs_down(g)[0])


def test_overlapping_windows_add_and_the_first_place_wins_a_tie():
    x = np.zeros((1, 5, 5, 1), np.float32)
    down = jax.vjp(lambda value: ops.max_pool(value, 3, 2, (0, 0)), x)[1]
    g = np.array([[1, 2], [3, 4]], np.float32).reshape(1, 2, 2, 1)
    first = np.zeros((5, 5))
    first[0, 0], first[0, 2], first[2, 0], first[2, 2] = 1, 2, 3, 4
    np.testing.assert_array_equal(down(g)[0][0, :, :, 0], first)
    x[0, 2, 2] = 1
    down = jax.vjp(lambda value: ops.max_pool(value, 3, 2, (0, 0)), x)[1]
    assert down(g)[0][0, 2, 2, 0] == 10


def formula(x, size, k, alpha, beta):
    squares = np.float64(x) ** 2
    maps = x.shape[-1]
    sums = np.stack(
        [squares[..., max(0, m - size // 2) : m + size // 2 + 1].sum(-1) for m in range(maps)], axis=-1
    )
    return x / (k + alpha * sums) ** beta


@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_norm_is_the_formula_with_large_activations(beta):
    x = (100 * np.abs(np.random.default_rng(0).normal(size=(2, 3, 3, 9)))).astype(np.float32)
    ours = ops.local_response_norm(x, 5, 2.0, 1e-2, beta, ops.GRADIENT)
    np.testing.assert_allclose(ours, formula(x, 5, 2.0, 1e-2, beta), rtol=2e-5)


def test_norm_goes_down_as_identity_or_true_gradient():
    x = (50 * np.random.default_rng(0).normal(size=(2, 2, 2, 7))).astype(np.float32)
    g = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)

    def plain(value):
        sums = lax.reduce_window(value**2, 0.0, lax.add, (1, 1, 1, 5), (1, 1, 1, 1), "SAME")
        return value / (2 + 1e-2 * sums) ** 0.75

    norm = lambda rule: jax.vjp(lambda v: ops.local_response_norm(v, 5, 2.0, 1e-2, 0.75, ops.RULES[rule]), x)[1](g)[0]
    np.testing.assert_array_equal(norm("deconvnet"), g)
    np.testing.assert_allclose(norm("deconvnet+norm"), jax.vjp(plain, x)[1](g)[0], rtol=1e-4, atol=1e-6)


def test_the_three_relu_rules():
    x, g = np.array([-1.0, 2.0, -3.0, 4.0], np.float32), np.array([5.0, -6.0, -7.0, 8.0], np.float32)
    down = {name: np.asarray(jax.vjp(lambda v, r=rule: ops.relu(v, r), x)[1](g)[0]) for name, rule in ops.RULES.items()}
    np.testing.assert_array_equal(down["deconvnet"], [5, 0, 0, 8])
    np.testing.assert_array_equal(down["gradient"], [0, -6, 0, 8])
    np.testing.assert_array_equal(down["guided"], [0, 0, 0, 8])


# --- projection -------------------------------------------------------------------------------------------------


def explicit_projection(architecture, parameters, image, layer, unit, rule):
    """The deconvnet step by step in NumPy float64: switches stored on the way up, loops on the way down."""
    x, trail = np.float64(image), []
    for spec in architecture.layers:
        if isinstance(spec, Norm):
            trail.append((spec, x, None))
            x = formula(x, spec.size, spec.k, spec.alpha, spec.beta)
            continue
        low, high = spec.padding
        size = spec.kernel if isinstance(spec, Conv) else spec.window
        fill = 0 if isinstance(spec, Conv) else -np.inf
        padded = np.pad(x, ((low, high), (low, high), (0, 0)), constant_values=fill)
        rows, columns = ((extent - size) // spec.stride + 1 for extent in padded.shape[:2])
        parts = np.stack([
            np.stack([padded[i * spec.stride : i * spec.stride + size, j * spec.stride : j * spec.stride + size]
                      for j in range(columns)]) for i in range(rows)
        ])  # fmt: skip
        if isinstance(spec, Conv):
            kernel, bias = (np.float64(parameters[spec.name][name]) for name in ("kernel", "bias"))
            before = np.einsum("ijabc,abcm->ijm", parts, kernel) + bias
            trail.append((spec, x, before))
            x = np.maximum(before, 0)
            if spec.name == layer:
                break
        else:
            flat = parts.reshape(rows, columns, size * size, -1)
            trail.append((spec, x, flat.argmax(axis=2)))
            x = flat.max(axis=2)
    signal = np.zeros_like(x)
    map_, y, x_ = unit
    signal[y, x_, map_] = x[y, x_, map_]
    for spec, below, kept in reversed(trail):
        if isinstance(spec, Norm):
            if rule.norm == "gradient":
                signal = norm_gradient(below, signal, spec)
            continue
        low, high = spec.padding
        size = spec.kernel if isinstance(spec, Conv) else spec.window
        canvas = np.zeros((below.shape[0] + low + high, below.shape[1] + low + high, below.shape[2]))
        if isinstance(spec, Conv):
            if rule.relu in ("deconvnet", "guided"):
                signal = np.maximum(signal, 0)
            if rule.relu in ("gradient", "guided"):
                signal = signal * (kept > 0)
        for i, j, m in zip(*np.nonzero(signal), strict=True):
            top, left = i * spec.stride, j * spec.stride
            if isinstance(spec, Conv):
                kernel = np.float64(parameters[spec.name]["kernel"])
                canvas[top : top + size, left : left + size] += signal[i, j, m] * kernel[..., m]
            else:
                canvas[top + kept[i, j, m] // size, left + kept[i, j, m] % size, m] += signal[i, j, m]
        signal = canvas[low : low + below.shape[0], low : low + below.shape[1]]
    return signal


def norm_gradient(x, g, spec):
    """Jacobian of contrast normalisation, transposed, map by map."""
    maps = x.shape[-1]
    near = np.abs(np.subtract.outer(np.arange(maps), np.arange(maps))) <= spec.size // 2
    d = spec.k + spec.alpha * np.einsum("yxm,mn->yxn", x**2, near)
    through = np.einsum("yxn,mn->yxm", g * x * d ** (-spec.beta - 1), near)
    return g * d**-spec.beta - 2 * spec.alpha * spec.beta * x * through


@pytest.mark.parametrize("rule", list(ops.RULES))
def test_engine_equals_the_explicit_deconvnet(rule):
    architecture = Architecture(
        "deep",
        (33, 29),
        (
            Conv("conv1", 6, 5, 2, (2, 2)), Pool("pool1", 3, 2, (0, 1)), Norm("norm1", alpha=0.5),
            Conv("conv2", 7, 3, 1, (1, 1)), Conv("conv3", 5, 3, 1, (1, 1)), Dense("fc4", 2),
        ),
    )  # fmt: skip
    parameters = parameters_with_biases(architecture)
    generator = np.random.default_rng(3)
    image = generator.normal(size=(33, 29, 3)).astype(np.float32) * 5
    image[8:20, 5:20] = 0  # flat areas: ties and all-zero windows
    values = np.asarray(feature_maps(architecture, parameters, image[None], until="conv3")["conv3"])[0]
    live = np.argwhere(values > 0)
    chosen = live[generator.choice(len(live), 4, replace=False)]
    found = deconvnet.project(
        architecture, parameters, image[None].repeat(4, 0), "conv3", chosen[:, 2], chosen[:, 0], chosen[:, 1],
        rule=ops.RULES[rule], method="image", batch_size=4,
    )  # fmt: skip
    for (y, x, map_), tile in zip(chosen, found.tiles, strict=True):
        whole = explicit_projection(architecture, parameters, image, "conv3", (map_, y, x), ops.RULES[rule])
        top, left = architecture.tile_origin("conv3", y, x)
        height, width = architecture.tile_size("conv3")
        padded = np.pad(whole, ((50, 50), (50, 50), (0, 0)))
        expected = padded[top + 50 : top + 50 + height, left + 50 : left + 50 + width]
        np.testing.assert_allclose(tile, expected, atol=2e-5 * np.abs(expected).max())
        assert np.abs(whole).sum() == pytest.approx(np.abs(expected).sum())  # nothing outside the receptive field


@pytest.mark.parametrize(
    "architecture",
    [narrow(ZFNET, 24), narrow(ALEXNET, 24, input_size=(160, 200)), configs.preset("demo").model],
    ids=["zfnet", "alexnet-non-square", "demo"],
)
def test_window_equals_whole_image_everywhere(architecture):
    parameters = parameters_with_biases(architecture)
    image = np.random.default_rng(0).normal(size=(1, *architecture.input_size, 3)).astype(np.float32) * 3
    for layer in architecture.conv_names:
        height, width, maps = architecture.fact(layer).shape
        ys = np.array([0, 0, height - 1, height - 1, height // 2, 0, height // 2, height - 1])
        xs = np.array([0, width - 1, 0, width - 1, width // 2, width // 2, 0, width // 2])
        values = np.asarray(feature_maps(architecture, parameters, image, until=layer)[layer])[0]
        chosen = values[ys, xs].argmax(axis=1)
        results = [
            deconvnet.project(
                architecture, parameters, image.repeat(8, 0), layer, chosen, ys, xs, method=method, batch_size=8
            )
            for method in ("window", "image")
        ]
        assert np.abs(results[1].tiles).max() > 0
        scale = np.abs(results[1].tiles).max()
        np.testing.assert_allclose(results[0].tiles, results[1].tiles, atol=1e-5 * scale)
        np.testing.assert_allclose(results[0].activations, values[ys, xs, chosen], rtol=1e-5, atol=1e-6)


def test_first_layer_projection_is_the_filter_times_the_activation_and_a_dead_unit_is_empty():
    parameters = parameters_with_biases(ARCHITECTURE)
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    values = np.asarray(feature_maps(ARCHITECTURE, parameters, image)["conv1"])[0]
    y, x, map_ = np.unravel_index(values[2:6, 2:6].argmax(), values[2:6, 2:6].shape)
    dead = np.argwhere(values == 0)[0]
    units = np.array([[map_, y + 2, x + 2], [dead[2], dead[0], dead[1]]])
    found = deconvnet.project(ARCHITECTURE, parameters, image.repeat(2, 0), "conv1", *units.T, batch_size=2)
    expected = values[y + 2, x + 2, map_] * parameters["conv1"]["kernel"][..., map_]
    np.testing.assert_allclose(found.tiles[0], expected, rtol=1e-5)
    assert not found.tiles[1].any() and found.activations[1] == 0


def test_patches_are_aligned_with_tiles_at_all_borders():
    image = np.arange(16 * 16 * 3, dtype=np.uint32).reshape(16, 16, 3).astype(np.uint8)
    window = ARCHITECTURE.window("conv1")
    for y, x in ((0, 0), (0, 7), (7, 0), (7, 7), (3, 4)):
        patch = deconvnet.patches(ARCHITECTURE, image[None], "conv1", np.array([y]), np.array([x]))[0]
        for row in range(window.size):
            for column in range(window.size):
                at = window.start + window.jump * y + row, window.start + window.jump * x + column
                inside = all(0 <= place < 16 for place in at)
                assert (patch[row, column] == (image[at] if inside else 128)).all()


def test_large_networks_use_windows_below_and_the_choice_follows_cost():
    assert deconvnet.cheaper_method(ZFNET, "conv1") == deconvnet.cheaper_method(ZFNET, "conv3") == "window"
    assert deconvnet.cheaper_method(configs.preset("demo").model, "conv5") == "image"


# --- search -----------------------------------------------------------------------------------------------------


def batches(images, ids, size):
    for start in range(0, len(ids), size):
        some = ids[start : start + size]
        padding = size - len(some)
        yield {
            "image": np.concatenate([images[some], np.zeros((padding, 16, 16, 3), np.uint8)]),
            "image_id": np.concatenate([some, np.full(padding, -1)]).astype(np.int64),
            "weight": np.concatenate([np.ones(len(some)), np.zeros(padding)]).astype(np.float32),
        }


@pytest.fixture(scope="module")
def searchable():
    images = np.random.default_rng(0).integers(0, 256, (17, 16, 16, 3), np.uint8)
    images[5] = images[11] = images[2]  # ties
    parameters = [parameters_with_biases(ARCHITECTURE, seed) for seed in range(3)]
    prepare = jax.jit(lambda views: views.astype(jnp.float32) / 64 - 2)

    def run(ids, size, **options):
        chosen = options.pop("checkpoints", parameters)
        return strongest.search(
            ARCHITECTURE, chosen, batches(images, np.asarray(ids), size), layers=("conv1", "conv2"), k=4,
            prepare=prepare, **options,
        )  # fmt: skip

    maxima = []
    for one in parameters:
        rows = [feature_maps(ARCHITECTURE, one, prepare(image[None])) for image in images]
        maxima.append([np.concatenate([np.asarray(row[n]).max((0, 1, 2)) for n in ("conv1", "conv2")]) for row in rows])
    return run, np.array(maxima), parameters


@pytest.mark.parametrize("size", [1, 7, 17, 20])
def test_search_equals_brute_force_in_any_order(searchable, size):
    run, maxima, _ = searchable
    order = np.random.default_rng(size).permutation(17)
    found = run(order, size)
    for step in range(3):
        for map_ in range(14):
            values = maxima[step, :, map_]
            best = np.lexsort((np.arange(17), -values))[:4]
            np.testing.assert_array_equal(found.top_id[step, :, map_], best)
            np.testing.assert_allclose(found.top_value[step, :, map_], values[best], rtol=1e-6)
            positive = np.flatnonzero(values > 0)
            weakest = positive[np.lexsort((positive, values[positive]))][:4]
            np.testing.assert_array_equal(found.low_id[step, : len(weakest), map_], weakest)
    assert found.images == 17
    np.testing.assert_array_equal(found.histogram.sum(axis=2), 17)
    edges = strongest.bin_of(np.float32(maxima))
    expected = np.stack([np.bincount(edges[s, :, m], minlength=strongest.BINS) for s in range(3) for m in range(14)])
    np.testing.assert_array_equal(found.histogram.reshape(-1, strongest.BINS), expected)


def test_merging_halves_side_by_side_and_resuming_change_nothing(searchable):
    run, _, _ = searchable
    whole = run(range(17), 5)
    halves = strongest.merge(run(range(9, 17), 5), run(range(9), 5))
    for other in (halves, run(range(17), 4, width=2), run(range(8, 17), 3, state=run(range(8), 3))):
        for name, value in strongest.statistics_arrays(whole).items():
            np.testing.assert_allclose(getattr(other, name), value, rtol=1e-6, err_msg=name)


def test_quantile_samples_lie_in_their_bin_and_name_their_image(searchable):
    run, maxima, _ = searchable
    found = run(range(17), 6, seed=9)
    for quantile in (0.1, 0.5, 0.99):
        values, ids = strongest.quantile_samples(found, 1, quantile, seed=9)
        for map_ in np.flatnonzero(ids >= 0):
            np.testing.assert_allclose(values[map_], maxima[1, ids[map_], map_], rtol=1e-6)
            rank = int(np.ceil(quantile * 17)) - 1
            wanted = np.sort(maxima[1, :, map_])[rank]
            assert strongest.bin_of(values[map_]) == strongest.bin_of(np.float32(wanted))


def test_not_finite_names_step_and_image(searchable):
    run, _, parameters = searchable
    broken = jax.tree.map(np.copy, parameters[0])
    broken["conv2"]["kernel"][0, 0, 0, 0] = np.nan
    with pytest.raises(ZfjaxError, match="Step late gives activations that are not finite on image 3"):
        run([7, 3, 5], 3, checkpoints=[parameters[1], broken], step_names=["early", "late"])


# --- recipe -----------------------------------------------------------------------------------------------------


def test_rms_clip_scales_back_and_keeps_direction():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 2)).astype(np.float32)
    kernel *= np.array([0.2, 0.05], np.float32) / np.sqrt((kernel**2).mean((0, 1, 2)))
    parameters = {"conv1": {"kernel": kernel, "bias": np.ones(2)}, "fc2": {"kernel": kernel, "bias": np.ones(2)}}
    clipped, share = recipe.clip_filters(parameters, ("conv1",))
    radii = np.sqrt((np.asarray(clipped["conv1"]["kernel"]) ** 2).mean((0, 1, 2)))
    np.testing.assert_allclose(radii, [0.1, 0.05], rtol=1e-5)
    np.testing.assert_allclose(clipped["conv1"]["kernel"][..., 0], kernel[..., 0] / 2, rtol=1e-5)
    np.testing.assert_array_equal(clipped["fc2"]["kernel"], kernel)
    assert share == 0.5


def test_augmentation_is_a_function_of_the_key_and_only_moves_pixels():
    config = configs.preset("demo")
    views = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    draw = lambda seed: np.asarray(recipe.training_input(config, jnp.asarray(views), None, jax.random.key(seed)))
    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    plain = np.asarray(recipe.evaluation_input(config, jnp.asarray(views), None))
    assert np.isin(draw(1).round(4), plain.round(4)).all()


def test_learning_rate_and_plateau():
    optimizer = configs.Optimizer(learning_rate=0.1, warmup_epochs=1.0)
    rates = [float(recipe.learning_rate(optimizer, jnp.int32(step), 10, 5)) for step in range(50)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.1, rel=0.01) and rates[-1] < 1e-3
    held = (1.0, np.inf, 0)
    for error in (0.5, 0.6, 0.55):
        held = recipe.plateau_update(*held, error, patience=2)
    assert held == (0.1, 0.5, 0)


# --- structure --------------------------------------------------------------------------------------------------

ORDER = [
    "files", "architecture", "config", "evolution", "run", "units", "summary", "info", "data", "ops", "network",
    "deconvnet", "strongest", "recipe", "devices", "checkpoint", "evaluate", "train", "engine", "report", "progress",
    "cli",
]  # fmt: skip
WITHOUT_JAX = ("architecture", "config", "files", "run", "evolution", "units", "summary", "info", "cli", "report.page")


def test_imports_point_one_way():
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__", "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module == "zfjax":
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zfjax."):
                names = [node.module.split(".")[1]]
            for name in names:
                assert ORDER.index(name) <= ORDER.index(room), f"{path.name} imports {name}, which lies above it"


def test_rooms_that_read_files_import_no_jax():
    code = (
        "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module('zfjax.' + name)\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, *WITHOUT_JAX], check=True, timeout=60)


def test_importing_zfjax_starts_nothing():
    code = "import sys, zfjax\nassert not {'jax', 'matplotlib', 'grain'} & set(sys.modules)\nzfjax.load_run"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
