"""The two recipes: clipping, scaling, moving pixels, and the learning rate."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zfjax import config as configs
from zfjax import presets
from zfjax.inputs import preparation_of, training_input
from zfjax.network.architecture import Architecture, Conv, Dense, Norm
from zfjax.network.model import class_scores
from zfjax.training import optimiser
from zfjax.training import step as training_step

MODEL = Architecture("small", (6, 8), (Conv("conv1", 2, 3), Dense("fc2", 2)))
FAITHFUL = configs.Config(model=MODEL, recipe="faithful", data=configs.Data(view=11, shift=2))
MODERN = dataclasses.replace(FAITHFUL, recipe="modern")


def numbered(count=5, view=11):
    """Views in which every pixel names its image, row and column."""
    views = np.zeros((count, view, view, 3), np.uint8)
    views[..., 0] = np.arange(count)[:, None, None]
    views[..., 1] = np.arange(view)[None, :, None]
    views[..., 2] = np.arange(view)[None, None, :]
    return views


def with_rms(shape, radii, seed=0):
    kernel = np.random.default_rng(seed).normal(size=shape)
    return (kernel * np.array(radii) / np.sqrt((kernel**2).mean(axis=(0, 1, 2)))).astype(np.float32)


def test_clip_by_loops():
    first, second = (
        with_rms((3, 3, 2, 4), [0.2, 0.05, 0.0999, 7]),
        with_rms((1, 1, 5, 2), [0.02, 0.11], 1),
    )
    first[..., 1] = 0  # a filter of zeros stays one
    parameters = {
        "conv1": {"kernel": first, "bias": np.full(4, 9, np.float32)},
        "conv2": {"kernel": second, "bias": np.full(2, -9, np.float32)},
        "fc3": {"kernel": np.full((4, 2), 3, np.float32), "bias": np.ones(2, np.float32)},
    }
    clipped, share = jax.jit(optimiser.clip_filters, static_argnums=1)(
        parameters, ("conv1", "conv2")
    )
    assert share == pytest.approx(3 / 6)
    for name, kernel in (("conv1", first), ("conv2", second)):
        for map_ in range(kernel.shape[3]):
            before, after = (
                np.float64(kernel[..., map_]),
                np.asarray(clipped[name]["kernel"])[..., map_],
            )
            rms = np.sqrt(sum(weight**2 for weight in before.ravel()) / before.size)
            np.testing.assert_allclose(after, before * (0.1 / rms if rms > 0.1 else 1), rtol=1e-5)
            if rms < 0.1:
                np.testing.assert_array_equal(after, kernel[..., map_])
        np.testing.assert_array_equal(clipped[name]["bias"], parameters[name]["bias"])
    np.testing.assert_array_equal(clipped["fc3"]["kernel"], parameters["fc3"]["kernel"])
    again, _ = optimiser.clip_filters(clipped, ("conv1", "conv2"))
    np.testing.assert_allclose(again["conv1"]["kernel"], clipped["conv1"]["kernel"], rtol=1e-6)


def test_both_scalings():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), np.uint8)
    mean = np.random.default_rng(1).uniform(0, 255, (6, 8, 3)).astype(np.float32)
    found = preparation_of(FAITHFUL).normalise(jnp.asarray(pixels), mean)
    np.testing.assert_array_equal(found, pixels.astype(np.float32) - mean)
    found = preparation_of(MODERN).normalise(jnp.asarray(pixels), None)
    expected = (np.float64(pixels) - [123.7, 116.3, 103.5]) / 58
    np.testing.assert_allclose(found, expected, atol=1e-5)  # red first
    assert found.dtype == jnp.float32 and 0.5 < expected.std() < 2


def test_evaluation_is_the_centre_and_takes_its_mean_from_there():
    views, mean = numbered(), np.random.default_rng(0).uniform(0, 9, (11, 11, 3)).astype(np.float32)
    found = np.asarray(preparation_of(FAITHFUL).inputs(jnp.asarray(views), jnp.asarray(mean)))
    assert found.shape == (5, 6, 8, 3)
    np.testing.assert_array_equal(found, views[:, 2:8, 1:9].astype(np.float32) - mean[2:8, 1:9])


def test_ten_crops_lie_in_the_corners_and_the_centre():
    config = dataclasses.replace(FAITHFUL, data=configs.Data(view=11, shift=0, crops="ten"))
    views, mean = (
        numbered(60),
        np.random.default_rng(0).integers(0, 50, (11, 11, 3)).astype(np.float32),
    )
    inputs = np.asarray(
        training_input(config, jnp.asarray(views), jnp.asarray(mean), jax.random.key(0))
    )
    places = [located(*pair)[0] for pair in zip(inputs, np.float64(views) - mean, strict=True)]
    # views of 11 x 11 leave 6 places down and 4 across for a crop of 6 x 8
    assert {place[:2] for place in places} == {(0, 0), (0, 3), (5, 0), (5, 3), (2, 1)}
    assert {flipped for *_, flipped in places} == {False, True}


def test_ten_views_are_five_crops_and_their_mirror_images():
    views, mean = (
        numbered(3),
        np.random.default_rng(0).integers(0, 50, (11, 11, 3)).astype(np.float32),
    )
    one = jax.jit(
        lambda index: preparation_of(FAITHFUL).one_of_ten(
            jnp.asarray(views), jnp.asarray(mean), index
        )
    )
    found = np.stack([one(index) for index in range(10)])
    assert found.shape == (10, 3, 6, 8, 3)
    for index, (row, column) in enumerate([(0, 0), (0, 3), (5, 0), (5, 3), (2, 1)]):
        crop = (
            np.float32(views)[:, row : row + 6, column : column + 8]
            - mean[row : row + 6, column : column + 8]
        )
        np.testing.assert_array_equal(found[index], crop)
        np.testing.assert_array_equal(found[5 + index], crop[:, :, ::-1])


def located(found, whole):
    """(row, column, flipped) of every crop of the scaled view with its mirrored border that is this
    input."""
    places = []
    for row in range(whole.shape[0] - 6 + 1):
        for column in range(whole.shape[1] - 8 + 1):
            crop = whole[row : row + 6, column : column + 8]
            for flipped in (False, True):
                if np.abs((crop[:, ::-1] if flipped else crop) - found).max() < 1e-3:
                    places.append((row, column, flipped))
    return places


@pytest.mark.parametrize("config", [FAITHFUL, MODERN], ids=["faithful", "modern"])
def test_training_inputs_are_crops_and_mirrors_of_their_own_view_and_every_kind_occurs(config):
    views, mean = (
        numbered(40),
        np.random.default_rng(0).integers(0, 50, (11, 11, 3)).astype(np.float32),
    )
    if config is MODERN:
        mean = None
    draw = jax.jit(lambda key: training_input(config, jnp.asarray(views), mean, key))
    one, same, other = (np.asarray(draw(jax.random.key(seed))) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    border = ((2, 2), (2, 2), (0, 0))
    wholes = np.pad(np.float64(views), ((0, 0), *border), mode="reflect")
    if config is MODERN:
        wholes = (wholes - [123.7, 116.3, 103.5]) / 58
    else:
        wholes -= np.pad(mean, border, mode="reflect")
    found = [located(*pair) for pair in zip([*one, *other], [*wholes, *wholes], strict=True)]
    assert all(found)
    rows, columns, flips = (
        set(part) for part in zip(*[places[0] for places in found], strict=True)
    )
    assert flips == {False, True}
    assert rows == set(range(15 - 6 + 1)) and columns == set(range(15 - 8 + 1))


def test_switched_off_augmentation_leaves_the_view_alone():
    still = dataclasses.replace(
        MODERN,
        model=dataclasses.replace(MODEL, input_size=(11, 11)),
        data=configs.Data(view=11, shift=0, flip=False),
    )
    views = jnp.asarray(numbered())
    for seed in range(3):
        found = training_input(still, views, None, jax.random.key(seed))
        np.testing.assert_array_equal(found, preparation_of(still).inputs(views, None))


def test_an_image_is_moved_alike_whatever_else_is_in_the_batch():
    views = numbered()
    others = views.copy()
    others[1:] = 200

    def draw(batch):
        return np.asarray(training_input(MODERN, jnp.asarray(batch), None, jax.random.key(0)))

    np.testing.assert_array_equal(draw(views)[0], draw(others)[0])


def test_cosine_schedule_begins_peaks_and_ends():
    optimizer = configs.Optimizer(learning_rate=0.4, schedule="cosine", warmup_epochs=2.0)

    def rate(step):
        return float(optimiser.learning_rate(optimizer, jnp.int32(step), 10, 8))

    warm = [rate(step) for step in range(20)]
    np.testing.assert_allclose(warm, 0.4 * np.arange(1, 21) / 20, rtol=1e-5)
    assert (
        rate(20) == pytest.approx(0.4)
        and rate(50) == pytest.approx(0.2)
        and rate(80) == pytest.approx(0, abs=1e-8)
    )
    later = [rate(step) for step in range(20, 81)]
    assert (np.diff(later) < 0).all()
    cold = dataclasses.replace(optimizer, warmup_epochs=0.0)
    assert float(optimiser.learning_rate(cold, jnp.int32(0), 10, 8)) == pytest.approx(0.4)


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_other_schedules_only_warm_up(schedule):
    optimizer = configs.Optimizer(learning_rate=0.1, schedule=schedule, warmup_epochs=0.5)
    rates = [float(optimiser.learning_rate(optimizer, jnp.int32(step), 4, 3)) for step in range(12)]
    np.testing.assert_allclose(rates, [0.05] + [0.1] * 11, rtol=1e-6)


def test_plateau_divides_after_patience_and_counts_anew():
    state, scales = (1.0, np.inf, 0), []
    for error in (0.9, 0.8, 0.8, 0.85, 0.81, 0.7, 0.71, 0.72, 0.73, 0.74, 0.75, 0.76):
        state = optimiser.plateau_update(*state, error, patience=3)
        scales.append(state[0])
    np.testing.assert_allclose(scales, [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001])
    assert state[1] == 0.7


def test_momentum_and_weight_decay_by_hand():
    optimizer = configs.Optimizer(momentum=0.9, weight_decay=0.01)
    transform = optimiser.gradient_transform(optimizer)
    parameters = {"conv1": {"kernel": jnp.full((1, 1, 1, 2), 3.0), "bias": jnp.full(2, 3.0)}}
    gradients = {"conv1": {"kernel": jnp.full((1, 1, 1, 2), 0.5), "bias": jnp.full(2, 0.5)}}
    state, kernel, bias = transform.init(parameters), 0.0, 0.0
    for _ in range(3):
        updates, state = transform.update(gradients, state, parameters)
        kernel, bias = 0.9 * kernel + 0.5 + 0.01 * 3, 0.9 * bias + 0.5  # biases do not decay
        np.testing.assert_allclose(updates["conv1"]["kernel"], kernel, rtol=1e-6)
        np.testing.assert_allclose(updates["conv1"]["bias"], bias, rtol=1e-6)


def test_the_presets_are_the_recipes():
    paper, modern = presets.preset("imagenet"), presets.preset("imagenet-modern")
    o = paper.optimizer
    assert (paper.recipe, paper.batch_size, paper.epochs, paper.data.crops) == (
        "faithful",
        128,
        70,
        "ten",
    )
    assert (o.learning_rate, o.momentum, o.schedule, o.warmup_epochs) == (0.01, 0.9, "plateau", 0)
    assert (o.weight_decay, o.label_smoothing, paper.compute) == (0, 0, "float32")
    assert paper.model.input_size == (224, 224) and paper.data.view == 256
    assert [paper.model.layer(name).dropout for name in ("fc6", "fc7")] == [0.5, 0.5]
    o = modern.optimizer
    assert (modern.recipe, modern.batch_size, modern.epochs, modern.compute) == (
        "modern",
        512,
        90,
        "bfloat16",
    )
    assert (o.learning_rate, o.schedule, o.warmup_epochs) == (0.04, "cosine", 5)
    assert (o.weight_decay, o.label_smoothing, modern.data.crops) == (5e-4, 0.1, "random")


def one_step(config, labels):
    views = np.random.default_rng(0).integers(0, 256, (len(labels), 11, 11, 3)).astype(np.uint8)
    mean = np.zeros((11, 11, 3), np.float32) if config.recipe == "faithful" else None
    return training_step.train_step(
        training_step.initial_state(config), views, labels, mean, config=config, steps_per_epoch=4
    )


@pytest.mark.slow
def test_labels_are_smoothed():
    labels = np.array([0, 1, 1, 0], np.int32)
    losses = []
    for share in (0.0, 0.2):
        optimizer = configs.Optimizer(label_smoothing=share, warmup_epochs=0)
        config = dataclasses.replace(MODERN, optimizer=optimizer, batch_size=4)
        losses.append(float(one_step(config, labels).totals["loss"]))
    views = np.random.default_rng(0).integers(0, 256, (4, 11, 11, 3)).astype(np.uint8)
    state = training_step.initial_state(config)
    key = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 0))[0]
    inputs = training_input(config, jnp.asarray(views), None, key)
    logs = np.asarray(jax.nn.log_softmax(class_scores(MODEL, state.parameters, inputs)))
    own = -logs[np.arange(4), labels]
    other = -logs[np.arange(4), 1 - labels]
    np.testing.assert_allclose(losses, [own.mean(), (0.9 * own + 0.1 * other).mean()], rtol=1e-4)


def test_bfloat16_is_for_convolutions_and_products_alone():
    config = dataclasses.replace(MODERN, compute="bfloat16", batch_size=4)
    labels, views = np.zeros(4, np.int32), np.zeros((4, 11, 11, 3), np.uint8)

    def dtypes(config):
        """{operation: dtypes of its operands} in one step."""

        def step(state, views):
            return training_step.train_step(
                state, views, labels, None, config=config, steps_per_epoch=4
            )

        kinds = {}
        for one in equations(
            jax.make_jaxpr(step)(training_step.initial_state(config), views).jaxpr
        ):
            kinds.setdefault(one.primitive.name, set()).update(
                str(var.aval.dtype) for var in one.invars
            )
        return kinds

    assert {leaf.dtype for leaf in jax.tree.leaves(one_step(config, labels).parameters)} == {
        jnp.dtype("float32")
    }
    found = dtypes(config)
    assert found["conv_general_dilated"] == found["dot_general"] == {"bfloat16"}
    assert found["log"] == {"float32"}, "of the loss"
    normed = dataclasses.replace(
        MODEL, layers=(MODEL.layers[0], Norm("norm1", alpha=0.3), MODEL.layers[1])
    )
    found = dtypes(dataclasses.replace(config, model=normed))
    powers = {
        name: found[name]
        for name in ("pow", "rsqrt", "exp", "log", "square", "integer_pow")
        if name in found
    }
    assert len(powers) > 2 and all(kinds == {"float32"} for kinds in powers.values()), powers


def equations(jaxpr):
    """All equations, of inner programs too."""
    for one in jaxpr.eqns:
        yield one
        for inner in jax.tree.leaves(
            one.params, is_leaf=lambda leaf: hasattr(leaf, "jaxpr") or hasattr(leaf, "eqns")
        ):
            if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                yield from equations(getattr(inner, "jaxpr", inner))
