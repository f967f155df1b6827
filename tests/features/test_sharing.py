"""One forward pass for the units of an image: batches hold every unit once, and pictures are those
of a forward pass a unit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.features.test_deconvnet import LAYERS, NET, random_parameters
from tests.network import linen_nets
from zfjax.features import deconvnet, sharing
from zfjax.network import ops
from zfjax.network.traced import TracedForward, layers_of_model
from zfjax.network.tracing import model_of
from zfjax.subject import Network, network_of

SIZE = 8


def images_of(generator, count, images):
    return generator.choice(np.array([7, 3, 900, 2**40, 12, 5, 6, 4, 1])[:images], count)


@pytest.mark.parametrize("count", [8, 32, 57, 200])
@pytest.mark.parametrize("images", [1, 2, 5, 9])
def test_batches_hold_every_unit_once_with_its_own_image(count, images):
    keys = images_of(np.random.default_rng(count * images), count, images)
    batches = sharing.shared_batches(keys, SIZE)
    if count == SIZE and images == 9:
        assert batches is None
        return
    assert batches is not None
    assert sorted(np.concatenate([batch.units for batch in batches]).tolist()) == list(range(count))
    most = max(len(batch.firsts) for batch in batches)
    assert most <= SIZE * max(sharing.SHARES)
    for batch in batches:
        assert 1 <= len(batch.units) <= SIZE
        own = keys[batch.units]
        np.testing.assert_array_equal(own[batch.firsts][batch.images], own)
        assert len(set(own[batch.firsts].tolist())) == len(batch.firsts)


def test_units_on_images_of_their_own_share_nothing_and_few_share_little():
    assert sharing.shared_batches(np.arange(200), SIZE) is None
    assert sharing.shared_batches(np.zeros(0, int), SIZE) is None
    three_of_four = np.arange(80) * 3 // 4
    assert sharing.shared_batches(three_of_four[:SIZE], SIZE) is None
    assert sharing.shared_batches(three_of_four, SIZE) is not None
    almost = np.arange(200) * 50 // 51
    assert sharing.shared_batches(almost, SIZE) is None
    twice = sharing.shared_batches(np.arange(200) % 100, SIZE)
    assert twice is not None and len(twice) == 25
    assert all(len(batch.firsts) == SIZE // 2 for batch in twice)


def both(way, parameters, pixels, keys, monkeypatch, seed=None):
    """(tiles, activations) with shared forward passes and without, and how many images went up."""
    generator = np.random.default_rng(5)
    rows, columns, maps = way.layer.shape
    places = deconvnet.Places(
        *(generator.integers(0, extent, len(keys)) for extent in (maps, rows, columns))
    )

    def inputs_of(units, _):
        return pixels[keys[units]]

    went_up = []
    honest = deconvnet.up

    def counted(parameters, inputs, *words, **more):
        went_up.append(len(inputs))
        return honest(parameters, inputs, *words, **more)

    monkeypatch.setattr(sharing, "units_per_batch", lambda *_: SIZE)
    plain = list(deconvnet.project(way, parameters, places, inputs_of, batch_size=SIZE, seed=seed))
    with monkeypatch.context() as counting:
        counting.setattr(deconvnet, "up", counted)
        shared = list(sharing.project(way, parameters, places, keys, inputs_of, seed))
    order = np.argsort(np.concatenate([batch.rows for batch in shared]))
    return (
        [
            np.concatenate([getattr(batch, name) for batch in plain])
            for name in plain[0]._fields[1:]
        ],
        [
            np.concatenate([getattr(batch, name) for batch in shared])[order]
            for name in plain[0]._fields[1:]
        ],
        went_up,
    )


@pytest.mark.slow
@pytest.mark.parametrize("rule", list(ops.RULES))
def test_pictures_are_those_of_a_forward_pass_a_unit(rule, monkeypatch):
    generator = np.random.default_rng(2)
    pixels = generator.normal(0, 40, (5, *NET.input_size, 3)).astype(np.float32)
    keys = generator.choice(5, 43)
    for layer in LAYERS[1:] if rule == "deconvnet" else LAYERS[2:]:
        way = deconvnet.way_of(network_of(NET), layer, ops.RULES[rule], "image")
        seed = 1.0 if rule == "guided" else None
        plain, shared, went_up = both(
            way, random_parameters(NET, 5), pixels, keys, monkeypatch, seed
        )
        assert (plain[1] > 0).mean() > 0.2 and len(set(went_up)) <= 2 and min(went_up) < SIZE
        for expected, values in zip(plain, shared, strict=True):
            np.testing.assert_allclose(values, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("can_tell", [True, False])
def test_a_network_that_nobody_rewrote_shares_too(can_tell, monkeypatch):
    """Where what it has stored does not tell images from all else, every unit goes up alone."""
    module = linen_nets.Plain(linen_nets.plain_layers(NET))
    parameters = {"params": {name: random_parameters(NET, 5)[name] for name in LAYERS}}
    with jax.numpy_rank_promotion("allow"):
        model = model_of(module, parameters, NET.input_size)
        network = Network("plain", layers_of_model(model), TracedForward(model), NET.input_size)
        way = deconvnet.way_of(network, list(network.layers)[1], method="image")
        generator = np.random.default_rng(2)
        pixels = generator.normal(0, 40, (5, *NET.input_size, 3)).astype(np.float32)
        jax.clear_caches()
        laid, honest = [], sharing.laid_out

        def laid_out(*words):
            laid.append(honest(*words) if can_tell else None)
            return laid[-1]

        monkeypatch.setattr(sharing, "laid_out", laid_out)
        plain, shared, _ = both(way, parameters, pixels, generator.choice(5, 43), monkeypatch)
    jax.clear_caches()
    assert [each is not None for each in laid] == [can_tell]
    assert (plain[1] > 0).mean() > 0.2
    for expected, values in zip(plain, shared, strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-5 * np.abs(expected).max())


def test_what_is_stored_is_laid_out_along_the_axis_of_images():
    rows = jnp.array([1, 0, 1, 1])
    stored = {
        "switches": jnp.arange(6.0).reshape(2, 3),
        "kernel": jnp.ones((5, 2)),
        "last": jnp.eye(2),
    }
    form = jax.ShapeDtypeStruct
    like = {
        "switches": form((4, 3), np.float32),
        "kernel": form((5, 2), np.float32),
        "last": form((2, 4), np.float32),
    }
    laid = sharing.laid_out(stored, like, rows)
    np.testing.assert_array_equal(laid["switches"], stored["switches"][rows])
    np.testing.assert_array_equal(laid["last"], stored["last"][:, rows])
    assert laid["kernel"] is stored["kernel"]
    for other in (form((8, 3), np.float32), form((4, 4), np.float32), form((4,), np.float32)):
        assert sharing.laid_out(stored, {**like, "switches": other}, rows) is None
    assert sharing.laid_out(stored, {"switches": like["switches"]}, rows) is None
