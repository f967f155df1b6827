"""What a run starts from: each layer's own draws, whatever stands beside it; and runs that began
before it was so."""

import tarfile
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small import make_config
from tests.training.test_train import parameters
from zfjax import config as configs
from zfjax import presets
from zfjax.commands.flags import resolve_config
from zfjax.errors import ZfjaxError
from zfjax.network.architecture import Architecture, Conv, Dense
from zfjax.network.model import class_scores, initial_parameters, name_number
from zfjax.run.folder import load_run
from zfjax.training.loop import train

BEGUN = Path(__file__).parents[1] / "golden" / "begun.tar.gz"
DEMO = presets.preset("demo").model


def without(model, *names):
    """``model`` with these layers gone."""
    return replace(model, layers=tuple(layer for layer in model.layers if layer.name not in names))


def assert_equal_where_shapes_are(one, other):
    """Layers of both that are of equal shape are equal; their names."""
    shared = {name for name in one if name in other and same_shape(one[name], other[name])}
    for name in shared:
        np.testing.assert_array_equal(one[name]["kernel"], other[name]["kernel"])
    return shared


def same_shape(one, other):
    return one["kernel"].shape == other["kernel"].shape


@pytest.mark.parametrize("recipe", ["modern", "faithful"])
def test_layers_of_one_shape_start_equal_whatever_stands_beside_them(recipe):
    base = initial_parameters(DEMO, recipe, 3)
    cut = without(DEMO, "conv4", "norm1", "norm2")
    assert assert_equal_where_shapes_are(base, initial_parameters(cut, recipe, 3)) == {
        "conv1",
        "conv2",
        "conv3",
        "conv5",
        "fc6",
        "fc7",
        "fc8",
    }
    wider = DEMO.replace("conv3", maps=40)
    shared = assert_equal_where_shapes_are(base, initial_parameters(wider, recipe, 3))
    assert shared == set(base) - {"conv3", "conv4"}
    turned = replace(DEMO, layers=(*DEMO.layers[:-3], DEMO.layers[-2], *DEMO.layers[-3::2]))
    assert [layer.name for layer in turned.layers[-3:]] == ["fc7", "fc6", "fc8"]
    assert "fc8" in assert_equal_where_shapes_are(base, initial_parameters(turned, recipe, 3))


def test_no_two_layers_and_no_two_seeds_share_their_draws():
    drawn = initial_parameters(DEMO, "faithful", 0), initial_parameters(DEMO, "faithful", 1)
    kernels = [
        np.asarray(layer["kernel"]).ravel()[:200] for tree in drawn for layer in tree.values()
    ]
    correlations = np.corrcoef(kernels) - np.eye(len(kernels))
    assert np.abs(correlations).max() < 0.4


def test_a_name_s_number_is_fixed():
    assert [name_number(name) for name in ("conv1", "fc7")] == [1256487723, 3753143830]


def test_the_mean_and_spread_of_what_is_drawn_are_the_recipe_s():
    tree = initial_parameters(DEMO, "modern", 0)
    kernel = np.asarray(tree["conv3"]["kernel"])
    inputs = np.prod(kernel.shape[:-1])
    assert kernel.std() == pytest.approx(np.sqrt(2 / inputs), rel=0.02)
    assert abs(kernel.mean()) < 4 * kernel.std() / np.sqrt(kernel.size)
    assert float(np.asarray(initial_parameters(DEMO, "faithful", 0)["fc6"]["kernel"]).std()) == (
        pytest.approx(0.01, rel=0.02)
    )


def kept_by(model, key, layer_keys="by_name"):
    """Which features of the last but one layer dropout keeps [images, features], read from scores:
    with all weights 1 in it and the identity after it, a score is 0 where it was dropped."""
    width = model.layers[-1].features
    tree = {
        name: {"kernel": jnp.zeros_like(layer["kernel"]), "bias": jnp.ones_like(layer["bias"])}
        for name, layer in initial_parameters(model, "modern", 0).items()
    }
    last = model.layers[-1].name
    tree[last] = {"kernel": jnp.eye(width), "bias": jnp.zeros(width)}
    scores = class_scores(
        model, tree, jnp.zeros((64, 8, 8, 3)), dropout_key=key, layer_keys=layer_keys
    )
    return np.asarray(scores) > 0


def test_a_layer_s_dropout_stays_when_another_goes():
    head = Dense("fc6", 16, 0.5), Dense("fc7", 16, 0.5), Dense("fc8", 16)
    model = Architecture("masks", (8, 8), (Conv("conv1", 2, 3), *head))
    key = jax.random.key(5)
    masks = kept_by(model, key)
    assert 0.4 < masks.mean() < 0.6
    np.testing.assert_array_equal(masks, kept_by(without(model, "fc6"), key))
    assert (masks != kept_by(without(model, "fc7"), key)).any(), "fc6 has masks of its own"
    by_order = [kept_by(network, key, "by_order") for network in (model, without(model, "fc6"))]
    assert (by_order[0] != by_order[1]).any()


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with RUN stopped at step 6 as "run", DATA as "data", and what it ends with."""
    folder = tmp_path_factory.mktemp("begun")
    with tarfile.open(BEGUN) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_config_json_says_what_a_run_starts_from(unbroken, begun):
    assert load_run(unbroken).config.layer_keys == "by_name"
    assert load_run(begun / "run").config.layer_keys == "by_order"
    assert configs.to_json(load_run(unbroken).config)["layer_keys"] == "by_name"
    with pytest.raises(ZfjaxError, match="no flag --layer-keys"):
        resolve_config(presets.preset("demo"), ["--layer-keys", "by_order"])


@pytest.mark.slow
def test_a_run_begun_before_goes_on_bit_for_bit(begun, tmp_path):
    with np.load(begun / "after.npz") as stored:
        after = dict(stored)
    config = make_config(begun / "data")
    assert config.layer_keys == "by_name"
    run = train(config, begun / "run", devices=1)  # as the same command does
    ended = parameters(run.folder, 12)
    for name, leaf in after.items():
        np.testing.assert_allclose(ended[name], leaf, rtol=1e-3, atol=1e-5)
    # Bit for bit where this machine computes as the one did that wrote it: its own start says so.
    again = train(replace(config, layer_keys="by_order"), tmp_path / "again", devices=1)
    begins = [parameters(folder, 4) for folder in (run.folder, again.folder)]
    if all(leaf.tobytes() == begins[1][name].tobytes() for name, leaf in begins[0].items()):
        assert all(ended[name].tobytes() == leaf.tobytes() for name, leaf in after.items())
    new = train(config, tmp_path / "new", devices=1)
    first = [parameters(folder, 0)["conv2/kernel"] for folder in (run.folder, new.folder)]
    assert not np.allclose(*first)


def clipping(*flags, preset="demo"):
    return resolve_config(presets.preset(preset), flags).clip_radius


def test_clipping_follows_the_recipe_unless_it_is_said():
    assert (clipping(), clipping(preset="imagenet")) == (0.0, 0.1)
    assert clipping("--recipe", "faithful") == 0.1
    assert clipping("--recipe", "modern", preset="imagenet") == 0.0
    assert clipping("--rms-clip", "0.05") == 0.05
    assert clipping("--rms-clip", "0", preset="imagenet") == 0.0
    assert clipping("--recipe", "faithful", "--rms-clip", "0") == 0.0
    demo = presets.preset("demo")
    assert replace(demo, recipe="faithful").clip_radius == 0.1
    assert replace(demo, rms_clip=0.0) == demo
    for preset in (demo, replace(demo, rms_clip=0.2), presets.preset("alexnet")):
        record = configs.to_json(preset)
        assert record["rms_clip"] == configs.flatten(preset)["rms_clip"] == preset.clip_radius
        assert configs.from_json(record) == preset
        record["recipe"] = "faithful"
        del record["rms_clip"]  # a config of before
        assert configs.from_json(record).clip_radius == 0.1
    for wrong in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ZfjaxError, match="rms_clip"):
            replace(demo, rms_clip=wrong)
