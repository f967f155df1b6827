"""A whole search of ZFNet in plain Linen, its contrast normalisation by reduce_window, against our
own fast path: the same winners but for near-ties, which are counted.
"""

import jax
import numpy as np
import pytest

from tests.network import linen_nets
from zfjax.features import deconvnet, strongest
from zfjax.network.model import initial_parameters
from zfjax.network.named import small_zfnet
from zfjax.network.traced import TracedForward, layers_of_model
from zfjax.network.tracing import model_of
from zfjax.subject import Network, network_of

pytestmark = pytest.mark.slow

IMAGES, TOP, CLOSE = 200, 9, 1e-5
NET = small_zfnet("near-ties", input_size=(40, 40), width=0.1, head=8, classes=3)


@pytest.fixture(scope="module")
def both():
    """(network, parameters) of ours and of theirs."""
    parameters = jax.tree.map(np.asarray, initial_parameters(NET, "modern", 3))
    generator = np.random.default_rng(0)
    for tree in parameters.values():
        tree["bias"] = generator.normal(0, 0.1, tree["bias"].shape).astype(np.float32)
    plain = {"params": {name: own for name, own in parameters.items() if name.startswith("conv")}}
    module = linen_nets.Plain(linen_nets.plain_layers(NET))
    with jax.numpy_rank_promotion("allow"):
        model = model_of(module, plain, NET.input_size)
        theirs = Network("plain", layers_of_model(model), TracedForward(model), NET.input_size)
    return (network_of(NET), parameters), (theirs, plain)


@pytest.fixture(scope="module")
def pictures():
    """Smooth, as photographs are, and each twice with a little noise, so that there are ties."""
    generator = np.random.default_rng(1)
    coarse = generator.normal(size=(IMAGES // 2, 10, 10, 3)).repeat(4, 1).repeat(4, 2)
    twice = np.concatenate([coarse, coarse + 1e-6 * generator.normal(size=coarse.shape)])
    return twice.astype(np.float32)


def searched(network, parameters, images):
    """(values [images, maps], places) of every map of every layer."""
    layers = tuple(network.layers)
    batches = [
        strongest.image_maxima(
            parameters, images[start : start + 50], network=network, layers=layers
        )
        for start in range(0, IMAGES, 50)
    ]
    return [np.concatenate([np.asarray(batch[i]) for batch in batches]) for i in (0, 1)]


def test_a_whole_search_gives_the_same_winners_but_for_near_ties(both, pictures):
    (ours, own_places), (theirs, their_places) = (searched(*each, pictures) for each in both)
    scale, first = np.zeros(ours.shape[1]), 0
    for layer in both[0][0].layers.values():  # of a layer's largest value
        scale[first : first + layer.maps] = ours[:, first : first + layer.maps].max()
        first += layer.maps
    assert (ours.max(0) > 0).mean() > 0.9 and first == len(scale)
    assert (np.abs(theirs - ours).max(0) <= CLOSE * scale).all()
    winners, others = (
        np.argsort(-values, axis=0, kind="stable")[:TOP] for values in (ours, theirs)
    )
    differ = winners != others
    columns = np.broadcast_to(np.arange(ours.shape[1]), winners.shape)
    gap = np.abs(ours[winners, columns] - ours[others, columns])
    ties = int(differ.sum())
    print(f"{ties} of {differ.size} winners differ, all of them near-ties")
    assert (gap <= CLOSE * scale).all() and ties < differ.size / 4
    moved = (own_places[winners, columns] != their_places[winners, columns]) & ~differ
    print(f"{int(moved.sum())} places differ")
    assert moved.mean() < 0.01
    apart = ours[winners[:-1], columns[:-1]] - ours[winners[1:], columns[1:]] > 4 * CLOSE * scale
    clear = np.concatenate([apart, apart[-1:]]) & np.concatenate([apart[:1], apart])
    assert not differ[:-1][clear[:-1]].any() and clear.any()


def test_tiles_of_the_winners_are_equal_to_1e_5(both, pictures):
    (ours, places), _ = (searched(*each, pictures) for each in both)
    first = 0
    for name, layer in both[0][0].layers.items():
        maps = np.flatnonzero(ours[:, first : first + layer.maps].max(0) > 0)[:8]
        rows = ours[:, first + maps].argmax(0)
        ys, xs = np.divmod(places[rows, first + maps], layer.shape[1])
        units = deconvnet.Places(*(each.astype(np.int32) for each in (maps, ys, xs)))
        tiles = []
        for network, parameters in both:
            way = deconvnet.way_of(network, name)
            inputs = deconvnet.cut_inputs(way, pictures, units, rows)
            tiles.append(np.asarray(deconvnet.project_cut(way, parameters, inputs, units)[0]))
        scale = np.abs(tiles[0]).max((1, 2, 3))
        assert (scale > 0).all()
        assert (np.abs(tiles[1] - tiles[0]).max((1, 2, 3)) <= CLOSE * scale).all()
        first += layer.maps
