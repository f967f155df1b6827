"""Projections by a traced network, in float64, against the same network with explicit rules."""

import contextlib
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests import oracle
from tests.golden import make_peer_nets
from tests.network import random_nets
from zfjax.errors import ZfjaxError
from zfjax.network.ops import RULES
from zfjax.network.traced import TracedForward, layers_of_model
from zfjax.network.tracing import model_of, sites_of

QUICK = {"xla_backend_optimization_level": 0}
"""Nothing is timed here, and compiling takes longest."""


class Outcome(NamedTuple):
    equal: int = 0
    """Tiles and activations that equal the explicit network's."""
    refused: int = 0
    """Layers whose rule was refused by name."""
    worst: float = 0.0
    """Largest difference of a tile, relative to its largest value."""
    windows: int = 0
    """Units that were run on their windows alone too."""

    def __add__(self, other):
        return Outcome(
            self.equal + other.equal,
            self.refused + other.refused,
            max(self.worst, other.worst),
            self.windows + other.windows,
        )


@contextlib.contextmanager
def relaxed():
    """float64, and the promotions that people's networks lean on."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        with jax.numpy_rank_promotion("allow"):
            yield


def strongest(values):
    """(y, x, map) of the strongest cells of maps [h, w, maps]: in two corners, and of all."""
    height, width, _ = values.shape
    places = [(0, 0), (height - 1, width - 1), np.unravel_index(values.argmax(), values.shape)[:2]]
    units = [(int(y), int(x), int(values[y, x].argmax())) for y, x in places]
    return [unit for unit in units if values[unit] > 0]


def tiles(forward, layer, parameters, image, units, rule, window):
    """Signals at the image [units, h, w, c], or at the units' windows, and the activations."""
    ys, xs, maps = (np.array(values, np.int32) for values in zip(*units, strict=True))
    inputs, origins = np.repeat(image, len(units), 0), None
    if window:
        origins = tuple(layer.window.start + places * layer.window.jump for places in (ys, xs))
        boxes = [layer.window.box(y, x) for y, x in zip(ys, xs, strict=True)]
        inputs = np.stack([cut(image[0], box) for box in boxes])
        ys, xs = ys * 0, xs * 0

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(parameters, inputs):
        def features(inputs):
            return forward(parameters, inputs, until=layer.name, rule=rule, origins=origins)[
                layer.name
            ]

        values, down = jax.vjp(features, inputs)
        found = values[jnp.arange(len(ys)), ys, xs, maps]
        seed = jnp.zeros_like(values).at[jnp.arange(len(ys)), ys, xs, maps].set(found)
        return down(seed)[0], found

    signals, activations = (np.asarray(each) for each in run(parameters, jnp.asarray(inputs)))
    if window:
        inside = np.stack([cut(np.ones_like(image[0]), box) for box in boxes])
        signals = np.where(inside > 0, signals, 0)
    return signals, activations


def cut(image, box):
    """A window out of an image, zero outside it, however large."""
    return oracle.cut(image, box, (10**6, 10**6))


def compare_units(forward, layer, parameters, explicit, rule, tolerance=1e-9):
    """The strongest units of one layer, on the whole image and on their windows. Raises
    AssertionError where an activation differs, or pixels outside the window are reached.
    """
    tape, start, named = explicit
    node, image = named[layer.name], start.value
    units = strongest(node.value[0])
    if not units:
        return Outcome()
    outcome = Outcome(windows=len(units) if layer.window is not None else 0)
    for window in (False, True)[: 1 + (layer.window is not None)]:
        signals, activations = tiles(forward, layer, parameters, image, units, rule, window)
        for (y, x, map_), signal, activation in zip(units, signals, activations, strict=True):
            seed = np.zeros_like(node.value)
            seed[0, y, x, map_] = node.value[0, y, x, map_]
            np.testing.assert_allclose(activation, seed.sum(), rtol=tolerance)
            expected = tape.down(node, seed, start)[0]
            if layer.window is not None:
                inside = cut(expected, layer.window.box(y, x))
                np.testing.assert_allclose(np.abs(inside).sum(), np.abs(expected).sum(), rtol=1e-9)
                expected = inside if window else expected
            worst = np.abs(signal - expected).max() / max(np.abs(expected).max(), 1e-12)
            outcome += Outcome(equal=1, worst=float(worst))
    return outcome


def compare(seed, rule="deconvnet", layers=2):
    """The last layers of one random network, each equal to the explicit one or refused by name.
    Raises AssertionError where it is wrong in silence.
    """
    net = random_nets.draw(seed)
    image = np.random.default_rng(seed).normal(size=(*net.size, 3)) * 2
    tape, start, named = random_nets.explicitly(net, image, rule)
    outcome = Outcome()
    with relaxed():
        model = model_of(random_nets.in_jax(net), net.parameters, net.size, dtype=jnp.float64)
        sites, forward = sites_of(model), TracedForward(model)
        by_name = {layer.name: layer for layer in layers_of_model(model)}
        for name in [name for name in sites if name.startswith("relu")][-layers:]:
            if sites[name].reason:
                assert net.unknown, f"net {seed}: {name} is refused for {sites[name].reason}"
                try:
                    forward(net.parameters, image[None], until=name, rule=RULES[rule])
                except ZfjaxError:
                    outcome += Outcome(refused=1)
                    continue
                raise AssertionError(f"net {seed}: {name} is not refused")
            assert name in named, f"net {seed}: {name} lies behind one of {net.unknown}"
            explicit, own = (tape, start, named), RULES[rule]
            outcome += compare_units(forward, by_name[name], net.parameters, explicit, own)
            assert outcome.worst < 1e-7, f"net {seed}: {name} differs by {outcome.worst:.1e}"
    assert outcome.equal or outcome.refused or net.unknown, f"net {seed}: nothing was compared"
    return outcome


def of_ours(name, units, rule):
    """Of a network of make_peer_nets.py: signals at the image [units, h, w, 3], and activations."""
    module, layer, _ = make_peer_nets.NETS[name]
    variables, image = make_peer_nets.weights_and_image(name)
    with relaxed():
        model = model_of(module, variables, make_peer_nets.SIZE, dtype=jnp.float64)
        layers = {own.name: own for own in layers_of_model(model)}
        way = TracedForward(model), layers[layer], variables
        return tiles(*way, image[None], units, RULES[rule], window=False)


def off(case, units, signals):
    """The largest difference of a tool's signals from ours, of the largest value, and
    our activations.
    """
    ours, activations = of_ours(case[0], units, case[3])
    assert np.abs(ours).max() > 0
    theirs = signals * activations[:, None, None, None]
    return np.abs(theirs - ours).max() / np.abs(ours).max(), activations
