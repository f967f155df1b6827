"""Networks as people write them in plain Linen, at a fraction of their width; nothing of zfjax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Plain(nn.Module):
    """ZFNet's convolutions, or others: (maps, kernel, stride, padding), pools and norms between."""

    layers: tuple
    classes: int = 0

    @nn.compact
    def __call__(self, x):
        count = 0
        for kind, *settings in self.layers:
            if kind == "conv":
                count += 1
                maps, kernel, stride, padding = settings
                x = nn.Conv(
                    maps, (kernel, kernel), stride, (padding, padding), name=f"conv{count}"
                )(x)
                x = nn.relu(x)
            elif kind == "pool":
                window, stride, padding = settings
                x = nn.max_pool(x, (window, window), (stride, stride), (padding, padding))
            else:
                size, k, alpha, beta = settings
                around = ((0, 0), (0, 0), (0, 0), (size // 2, size // 2))
                sums = lax.reduce_window(x * x, 0.0, lax.add, (1, 1, 1, size), (1, 1, 1, 1), around)
                x = x / (k + alpha * sums) ** beta
        if self.classes:
            x = nn.Dense(self.classes)(x.reshape(len(x), -1))
        return x


def plain_layers(architecture):
    """The convolutional layers of one of our architectures, for ``Plain``."""
    from zfjax.network.architecture import Conv, Pool

    return tuple(
        ("conv", layer.maps, layer.kernel, layer.stride, layer.padding)
        if isinstance(layer, Conv)
        else ("pool", layer.window, layer.stride, layer.padding)
        if isinstance(layer, Pool)
        else ("norm", layer.size, layer.k, layer.alpha, layer.beta)
        for layer in architecture.convolutional
    )


class Block(nn.Module):
    """ResNet's basic block."""

    maps: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        def norm():
            return nn.BatchNorm(use_running_average=True)

        y = nn.Conv(self.maps, (3, 3), self.stride, ((1, 1), (1, 1)), use_bias=False)(x)
        y = nn.relu(norm()(y))
        y = norm()(nn.Conv(self.maps, (3, 3), 1, ((1, 1), (1, 1)), use_bias=False)(y))
        if y.shape != x.shape:
            x = norm()(nn.Conv(self.maps, (1, 1), self.stride, "VALID", use_bias=False)(x))
        return nn.relu(x + y)


class ResNet18(nn.Module):
    width: int = 8
    classes: int = 5

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (7, 7), 2, ((3, 3), (3, 3)), use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage in range(4):
            for block in range(2):
                x = Block(self.width * 2**stage, 2 if stage and not block else 1)(x)
        return nn.Dense(self.classes)(x.mean((1, 2)))


VGG16 = (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M")


class VGG16BN(nn.Module):
    width: int = 8
    classes: int = 5

    @nn.compact
    def __call__(self, x):
        for maps in VGG16:
            if maps == "M":
                x = nn.max_pool(x, (2, 2), (2, 2))
            else:
                x = nn.Conv(self.width * maps, (3, 3))(x)
                x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        return nn.Dense(self.classes)(x.reshape(len(x), -1))


class Squeezed(nn.Module):
    """Convolutions gated by squeeze-and-excite; GroupNorm in the middle."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (5, 5), 2)(x))
        for _ in range(2):
            y = nn.relu(nn.GroupNorm(2)(nn.Conv(8, (3, 3))(x)))
            gate = nn.relu(nn.Dense(3)(y.mean((1, 2))))
            gate = nn.sigmoid(nn.Dense(8)(gate))
            x = nn.relu(x + nn.Conv(8, (3, 3))(y * gate[:, None, None, :]))
        return x


class Branched(nn.Module):
    """ReLUs in parallel branches; with ``skips`` a residual before them, taken before its ReLU."""

    width: int = 8
    skips: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.width, (5, 5), 2, ((2, 2), (2, 2)))(x)
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        y = nn.Conv(self.width, (3, 3))(nn.relu(x))
        x = x + y if self.skips else y
        left, right = nn.Conv(self.width, (1, 1))(x), nn.Conv(self.width, (3, 3))(x)
        x = jnp.concatenate([nn.relu(left), nn.relu(right)], -1)
        return nn.relu(nn.Conv(self.width, (3, 3))(x))


class ConvNeXt(nn.Module):
    """Two of its blocks: depthwise, LayerNorm, GELU, a scaled residual."""

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.Conv(8, (4, 4), 4, "VALID")(x))
        for _ in range(2):
            y = nn.Conv(8, (7, 7), feature_group_count=8)(x)
            y = nn.gelu(nn.Dense(32)(nn.LayerNorm()(y)))
            scale = self.param(f"scale_{_}", nn.initializers.normal(1.0), (8,))
            x = x + scale * nn.Dense(8)(y)
        return x


def drawn(module, size, seed=0):
    """Variables of a module, statistics and scales drawn too, so that nothing is 0 or 1."""
    shaped = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *size, 3)))

    generator = np.random.default_rng(seed)

    def draw(keys, leaf):
        name, noise = keys[-1].key, generator.normal(size=leaf.shape).astype(np.float32)
        if name == "kernel":
            return noise * np.float32((2 * leaf.shape[-1] / leaf.size) ** 0.5)
        if name in ("var", "scale"):
            signs = np.where(noise > 1.2, -1, 1) if name == "scale" else 1
            return np.float32(signs * (0.5 + np.abs(noise)))
        return np.float32(0.2) * noise

    return jax.tree_util.tree_map_with_path(draw, shaped)
