"""Networks with explicit backward rules, in NumPy float64: loops over kernel places, a memory of
switches and signs, branches added on the way down. Nothing of JAX or zfjax runs here.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np


@dataclass(eq=False)
class Node:
    value: np.ndarray
    below: list = field(default_factory=list)
    """(node, function that takes a signal down to it)."""


def same(extent, kernel, stride):
    """Padding "SAME" of TensorFlow and Flax: the odd cell behind."""
    total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
    return total // 2, total - total // 2


class Tape:
    """Values going up; ``relu``: "deconvnet", "guided" or "gradient" going down."""

    def __init__(self, relu="deconvnet"):
        self.rule, self.nodes = relu, []

    def node(self, value, *below):
        self.nodes.append(Node(np.asarray(value, np.float64), list(below)))
        return self.nodes[-1]

    def down(self, node, seed, to):
        signals = {node: seed}
        for each in reversed(self.nodes[: self.nodes.index(node) + 1]):
            if each in signals and each is not to:
                for below, pull in each.below:
                    signals[below] = signals.get(below, 0) + pull(signals[each])
                del signals[each]
        return signals.get(to, np.zeros_like(to.value))

    def conv(self, x, kernel, stride=1, padding=((0, 0), (0, 0)), groups=1, dilation=1):
        kernel = np.float64(kernel)
        padded = np.pad(x.value, ((0, 0), *padding, (0, 0)))
        size, (own, maps) = kernel.shape[:2], kernel.shape[2:]
        rows, columns = (
            (extent - (k - 1) * dilation - 1) // stride + 1
            for extent, k in zip(padded.shape[1:3], size, strict=True)
        )

        def seen(i, j):
            top, left = i * dilation, j * dilation
            return np.s_[
                :,
                top : top + stride * (rows - 1) + 1 : stride,
                left : left + stride * (columns - 1) + 1 : stride,
            ]

        places = list(itertools.product(range(size[0]), range(size[1]), range(groups)))
        step = maps // groups
        out = np.zeros((len(padded), rows, columns, maps))
        for i, j, g in places:
            inputs = padded[seen(i, j)][..., g * own : (g + 1) * own]
            out[..., g * step : (g + 1) * step] += (
                inputs @ kernel[i, j][:, g * step : (g + 1) * step]
            )

        def pull(signal):
            total = np.zeros_like(padded)
            for i, j, g in places:
                part = slice(g * step, (g + 1) * step)
                total[seen(i, j)][..., g * own : (g + 1) * own] += (
                    signal[..., part] @ kernel[i, j][:, part].T
                )
            return total[
                :,
                padding[0][0] : padding[0][0] + x.value.shape[1],
                padding[1][0] : padding[1][0] + x.value.shape[2],
            ]

        return self.node(out, (x, pull))

    def affine(self, x, scale, shift):
        return self.node(x.value * scale + shift, (x, lambda g: g * scale))

    def relu(self, x, most=np.inf):
        live = (x.value > 0) & (x.value < most)

        def pull(signal):
            signal = np.where(x.value < most, signal, 0)
            if self.rule != "gradient":
                signal = np.maximum(signal, 0)
            return signal if self.rule == "deconvnet" else np.where(live, signal, 0)

        return self.node(np.clip(x.value, 0, most), (x, pull))

    def max_pool(self, x, window, stride, padding):
        padded = np.pad(x.value, ((0, 0), *padding, (0, 0)), constant_values=-np.inf)
        rows, columns = ((extent - window) // stride + 1 for extent in padded.shape[1:3])
        best = np.full((len(padded), rows, columns, padded.shape[3]), -np.inf)
        switch = np.zeros(best.shape, int)

        def seen(i, j):
            return np.s_[
                :,
                i : i + stride * (rows - 1) + 1 : stride,
                j : j + stride * (columns - 1) + 1 : stride,
            ]

        for index in range(window**2):
            cells = padded[seen(*divmod(index, window))]
            switch = np.where(cells > best, index, switch)
            best = np.maximum(cells, best)

        def pull(signal):
            total = np.zeros_like(padded)
            for index in range(window**2):
                total[seen(*divmod(index, window))] += np.where(switch == index, signal, 0)
            return total[
                :,
                padding[0][0] : padding[0][0] + x.value.shape[1],
                padding[1][0] : padding[1][0] + x.value.shape[2],
            ]

        return self.node(best, (x, pull))

    def avg_pool(self, x, window, stride, padding=((0, 0), (0, 0))):
        kernel = np.zeros((window, window, 1, x.value.shape[3])) + 1 / window**2
        return self.conv(x, kernel, stride, padding, groups=x.value.shape[3])

    def add(self, *nodes):
        return self.node(sum(n.value for n in nodes), *((n, lambda g: g) for n in nodes))

    def concat(self, *nodes):
        ends = np.cumsum([n.value.shape[3] for n in nodes])
        return self.node(
            np.concatenate([n.value for n in nodes], axis=3),
            *(
                (n, lambda g, end=end, n=n: g[..., end - n.value.shape[3] : end])
                for n, end in zip(nodes, ends, strict=True)
            ),
        )

    def moved(self, x, function, inverse):
        """A rearrangement of cells and its transpose."""
        return self.node(function(x.value), (x, inverse))

    def contrast_norm(self, x, size, k, alpha, beta):
        """Going down it is the identity, by the rule "gradient" its gradient."""
        near = np.abs(np.subtract.outer(*[np.arange(x.value.shape[3])] * 2)) <= size // 2
        d = k + alpha * (x.value**2 @ near)

        def pull(g):
            if self.rule != "gradient":
                return g
            among = (g * x.value * d ** (-beta - 1)) @ near
            return g * d**-beta - 2 * alpha * beta * x.value * among

        return self.node(x.value * d**-beta, (x, pull))

    def scaled(self, x, by, less=0):
        """(x - less) * by, with both taken for constants on the way down."""
        return self.node((x.value - less) * by, (x, lambda g: g * by))

    def layer_norm(self, x, scale, shift, groups=None, epsilon=1e-6):
        """Over maps; with ``groups``, GroupNorm's: over space and the maps of a group. Frozen."""
        value = x.value
        if groups is None:
            mean, var = value.mean(3, keepdims=True), value.var(3, keepdims=True)
        else:
            split = value.reshape(*value.shape[:3], groups, -1)
            axes = (1, 2, 4)
            shape = (*split.shape[:1], 1, 1, groups, split.shape[4])
            mean, var = (
                np.broadcast_to(each, shape).reshape(len(value), 1, 1, -1)
                for each in (split.mean(axes, keepdims=True), split.var(axes, keepdims=True))
            )
        y = self.scaled(x, np.float64(scale) / np.sqrt(var + epsilon), mean)
        return self.affine(y, 1.0, np.float64(shift))

    def gated(self, x, gate):
        """x times a frozen gate of its own; what is negative ends there."""

        def pull(g):
            return np.maximum(g, 0) * gate

        return self.node(x.value * gate, (x, pull))
