"""One small residual network in NNX, in Equinox, and with explicit backward rules; its weights.
Built in training mode, as modules are.
"""

import equinox as eqx
import jax
import numpy as np
from flax import nnx

from tests.network import explicit_nets

MAPS, CLASSES, SIZE = 4, 3, (32, 28)
LAYERS = ("stem", "blocks/0/first", "blocks/0", "last")


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(MAPS, MAPS, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(MAPS, rngs=rngs)
        self.second = nnx.Conv(MAPS, MAPS, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.relu(x + self.second(nnx.relu(self.norm(self.first(x)))))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, MAPS, (5, 5), 2, padding=2, rngs=rngs)
        self.norm = nnx.BatchNorm(MAPS, rngs=rngs)
        self.blocks = nnx.List([NnxBlock(rngs)])
        self.last = nnx.Conv(MAPS, MAPS, (3, 3), padding="VALID", rngs=rngs)
        self.group = nnx.GroupNorm(MAPS, 2, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(MAPS, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        x = self.blocks[0](nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))))
        x = nnx.relu(self.group(self.last(x)))
        return self.head(self.dropout(x).mean((1, 2)))


class EqxBlock(eqx.Module):
    first: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    second: eqx.nn.Conv2d

    def __init__(self, key):
        self.first = eqx.nn.Conv2d(MAPS, MAPS, 3, padding=1, use_bias=False, key=key)
        self.norm = eqx.nn.BatchNorm(MAPS, "batch", mode="batch")
        self.second = eqx.nn.Conv2d(MAPS, MAPS, 3, padding=1, key=key)

    def __call__(self, x, state):
        y, state = self.norm(self.first(x), state)
        return jax.nn.relu(x + self.second(jax.nn.relu(y))), state


class EqxNet(eqx.Module):
    stem: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    pool: eqx.nn.MaxPool2d
    blocks: list
    last: eqx.nn.Conv2d
    group: eqx.nn.GroupNorm
    dropout: eqx.nn.Dropout
    head: eqx.nn.Linear

    def __init__(self, key):
        self.stem = eqx.nn.Conv2d(3, MAPS, 5, 2, padding=2, key=key)
        self.norm = eqx.nn.BatchNorm(MAPS, "batch", mode="batch")
        self.pool = eqx.nn.MaxPool2d(3, 2, padding=1)
        self.blocks = [EqxBlock(key)]
        self.last = eqx.nn.Conv2d(MAPS, MAPS, 3, key=key)
        self.group = eqx.nn.GroupNorm(2, MAPS, eps=1e-6)
        self.dropout = eqx.nn.Dropout(0.5)
        self.head = eqx.nn.Linear(MAPS, CLASSES, key=key)

    def __call__(self, x, state, key):
        key, _ = jax.random.split(key)
        x, state = self.norm(self.stem(x), state)
        x, state = self.blocks[0](self.pool(jax.nn.relu(x)), state)
        x = self.dropout(jax.nn.relu(self.group(self.last(x))), key=key)
        return self.head(x.mean((1, 2))), state


def weights(seed=0):
    """{name: array} as Flax keeps them, running statistics among them."""
    generator = np.random.default_rng(seed)

    def drawn(*shape, spread=1.0):
        return np.float32(spread * generator.normal(size=shape))

    own = {}
    for name, shape in {
        "stem": (5, 5, 3, MAPS),
        "blocks/0/first": (3, 3, MAPS, MAPS),
        "blocks/0/second": (3, 3, MAPS, MAPS),
        "last": (3, 3, MAPS, MAPS),
        "head": (MAPS, CLASSES),
    }.items():
        own[f"{name}/kernel"] = drawn(*shape, spread=(2 / np.prod(shape[:-1])) ** 0.5)
        if name != "blocks/0/first":
            own[f"{name}/bias"] = drawn(shape[-1], spread=0.2)
    for name in ("norm", "blocks/0/norm", "group"):
        own[f"{name}/scale"], own[f"{name}/bias"] = 1 + drawn(MAPS, spread=0.3), drawn(MAPS)
        if name != "group":
            own[f"{name}/mean"], own[f"{name}/var"] = drawn(MAPS), 0.5 + np.abs(drawn(MAPS))
    return own


def nnx_net(own):
    """The NNX module with these weights."""
    module = NnxNet(nnx.Rngs(0))
    for path, leaf in own.items():
        *holders, name = path.split("/")
        node = module
        for holder in holders:
            node = node[int(holder)] if holder.isdecimal() else getattr(node, holder)
        getattr(node, name)[...] = leaf
    return module


def eqx_net(own):
    """The Equinox module with these weights, and its state."""
    module, state = eqx.nn.make_with_state(EqxNet)(jax.random.key(0))
    for name in ("stem", "blocks/0/first", "blocks/0/second", "last", "head"):
        kernel = own[f"{name}/kernel"]
        order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        module = _put(module, name, "weight", np.transpose(kernel, order))
        if f"{name}/bias" in own:
            shape = (-1, 1, 1) if kernel.ndim == 4 else (-1,)
            module = _put(module, name, "bias", own[f"{name}/bias"].reshape(shape))
    for name in ("norm", "blocks/0/norm", "group"):
        module = _put(module, name, "weight", own[f"{name}/scale"])
        module = _put(module, name, "bias", own[f"{name}/bias"])
        if name != "group":
            statistics = tuple(jax.numpy.asarray(own[f"{name}/{each}"]) for each in ("mean", "var"))
            index = _at(module, name).batch_state_index
            state = state.set(index, statistics)
    return module, state


def _at(module, name):
    for word in name.split("/"):
        module = module[int(word)] if word.isdecimal() else getattr(module, word)
    return module


def _put(module, name, field, array):
    return eqx.tree_at(
        lambda tree: getattr(_at(tree, name), field), module, jax.numpy.asarray(array)
    )


def explicit(tape, own, x):
    """{layer: node}."""

    def conv(name, x, *settings):
        own_leaves = {each: own[f"{name}/{each}"] for each in ("kernel", "bias")
                      if f"{name}/{each}" in own}  # fmt: skip
        return explicit_nets._conv(tape, own_leaves, x, *settings)

    def norm(name, x):
        scale = np.float64(own[f"{name}/scale"]) / np.sqrt(np.float64(own[f"{name}/var"]) + 1e-5)
        return tape.affine(x, scale, np.float64(own[f"{name}/bias"]) - own[f"{name}/mean"] * scale)

    one, none = ((1, 1), (1, 1)), ((0, 0), (0, 0))
    named = {}
    x = named["stem"] = tape.relu(norm("norm", conv("stem", x, 2, ((2, 2), (2, 2)))))
    x = tape.max_pool(x, 3, 2, one)
    y = conv("blocks/0/first", x, 1, one)
    y = named["blocks/0/first"] = tape.relu(norm("blocks/0/norm", y))
    x = named["blocks/0"] = tape.relu(tape.add(x, conv("blocks/0/second", y, 1, one)))
    x = tape.layer_norm(conv("last", x, 1, none), own["group/scale"], own["group/bias"], 2)
    named["last"] = tape.relu(x)
    return named
