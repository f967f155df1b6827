"""Networks that torch's libraries have trained weights of, in plain Linen: ``import-weights`` fills
them, and ``--model zfjax.network.torch:resnet18`` looks at them like at anyone's.

Not AlexNet and ZFNet of the presets: torchvision's AlexNet is the narrower one of Krizhevsky 2014
and has no normalisation; pytorchcv's ZFNet normalises before it pools. Maps are channels last here
as everywhere, so the first dense layer takes a map's numbers in another order than torch's.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from zfjax.network.arrays import Array

VGG_STAGES = (2, 2, 3, 3, 3)
"""Convolutions of each stage of VGG's configuration D."""
RESNET18, RESNET50 = (2, 2, 2, 2), (3, 4, 6, 3)
"""Blocks of each stage."""


def alexnet() -> nn.Module:
    """torchvision's ``alexnet``."""
    return AlexNet()


def vgg16() -> nn.Module:
    """torchvision's ``vgg16``."""
    return VGG16()


def vgg16_bn() -> nn.Module:
    """torchvision's ``vgg16_bn``."""
    return VGG16(normalised=True)


def resnet18() -> nn.Module:
    """torchvision's ``resnet18``."""
    return ResNet(RESNET18)


def resnet50() -> nn.Module:
    """torchvision's ``resnet50``, which strides in the 3x3 convolutions."""
    return ResNet(RESNET50, bottleneck=True)


def zfnet() -> nn.Module:
    """pytorchcv's ``zfnet``."""
    return ZFNet()


class AlexNet(nn.Module):
    """[n, 224, 224, 3] -> scores [n, classes]."""

    width: int = 64
    hidden: int = 4096
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """``images``: as torchvision prepares them."""
        x = max_pool(nn.relu(conv("conv1", self.width, 11, 4, 2)(images)), 3, 2)
        x = max_pool(nn.relu(conv("conv2", 3 * self.width, 5, 1, 2)(x)), 3, 2)
        x = nn.relu(conv("conv3", 6 * self.width, 3, 1, 1)(x))
        x = nn.relu(conv("conv4", 4 * self.width, 3, 1, 1)(x))
        x = nn.relu(conv("conv5", 4 * self.width, 3, 1, 1)(x))
        return dense_head(average_pool_to(max_pool(x, 3, 2), 6), self.hidden, self.classes)


class VGG16(nn.Module):
    """[n, 224, 224, 3] -> scores [n, classes]; layers conv1_1 .. conv5_3."""

    width: int = 64
    hidden: int = 4096
    classes: int = 1000
    normalised: bool = False

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """``images``: as torchvision prepares them."""
        x = images
        for stage, convolutions in enumerate(VGG_STAGES, start=1):
            maps = self.width * min(2 ** (stage - 1), 8)
            for number in range(1, convolutions + 1):
                x = conv(f"conv{stage}_{number}", maps, 3, 1, 1)(x)
                if self.normalised:
                    x = norm(f"norm{stage}_{number}")(x)
                x = nn.relu(x)
            x = max_pool(x, 2, 2)
        return dense_head(average_pool_to(x, 7), self.hidden, self.classes)


class ResNet(nn.Module):
    """[n, h, w, 3] -> scores [n, classes]; blocks layer1_0 .. layer4_1."""

    blocks: Sequence[int]
    bottleneck: bool = False
    width: int = 64
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """``images``: as torchvision prepares them."""
        x = nn.relu(norm("bn1")(conv("conv1", self.width, 7, 2, 3, bias=False)(images)))
        x = max_pool(x, 3, 2, ((1, 1), (1, 1)))
        for stage, count in enumerate(self.blocks, start=1):
            maps = self.width * 2 ** (stage - 1)
            for number in range(count):
                stride = 2 if stage > 1 and number == 0 else 1
                x = Block(maps, stride, self.bottleneck, name=f"layer{stage}_{number}")(x)
        return nn.Dense(self.classes, name="fc")(x.mean((1, 2)))


class Block(nn.Module):
    """A residual block, [n, h, w, m] -> [n, h / stride, w / stride, maps or 4 maps]."""

    maps: int
    stride: int
    bottleneck: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Its branch and its shortcut, added."""
        steps: tuple[tuple[int, int, int], ...]
        if self.bottleneck:
            steps = ((self.maps, 1, 1), (self.maps, 3, self.stride), (4 * self.maps, 1, 1))
        else:
            steps = ((self.maps, 3, self.stride), (self.maps, 3, 1))
        y = x
        for number, (maps, kernel, stride) in enumerate(steps, start=1):
            y = conv(f"conv{number}", maps, kernel, stride, kernel // 2, bias=False)(y)
            y = norm(f"bn{number}")(y)
            if number < len(steps):
                y = nn.relu(y)
        if y.shape != x.shape:
            shortcut = conv("downsample_conv", y.shape[-1], 1, self.stride, 0, bias=False)
            x = norm("downsample_bn")(shortcut(x))
        return nn.relu(x + y)


class ZFNet(nn.Module):
    """[n, 224, 224, 3] -> scores [n, classes]."""

    width: int = 96
    hidden: int = 4096
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """``images``: as torchvision prepares them."""
        whole, third = self.width, self.width // 3
        x = local_response_norm(nn.relu(conv("conv1", whole, 7, 2, 1)(images)))
        x = max_pool(x, 3, 2, whole_windows(x, 3, 2))
        x = local_response_norm(nn.relu(conv("conv2", 8 * third, 5, 2, 0)(x)))
        x = max_pool(x, 3, 2, whole_windows(x, 3, 2))
        for number, maps in ((3, 12 * third), (4, 12 * third), (5, 8 * third)):
            x = nn.relu(conv(f"conv{number}", maps, 3, 1, 1)(x))
        x = max_pool(x, 3, 2, whole_windows(x, 3, 2))
        return dense_head(x, self.hidden, self.classes)


Padding = tuple[tuple[int, int], tuple[int, int]]
"""((above, below), (left, right))."""


def conv(
    name: str, maps: int, kernel: int, stride: int, padding: int, bias: bool = True
) -> nn.Conv:
    """torch's ``Conv2d``."""
    around = ((padding, padding), (padding, padding))
    return nn.Conv(maps, (kernel, kernel), stride, around, use_bias=bias, name=name)


def norm(name: str) -> nn.BatchNorm:
    """torch's ``BatchNorm2d`` in evaluation."""
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)


def max_pool(x: Array, window: int, stride: int, padding: Padding = ((0, 0), (0, 0))) -> Array:
    """torch's ``MaxPool2d``: what is padded never wins."""
    return nn.max_pool(x, (window, window), (stride, stride), padding)


def whole_windows(x: Array, window: int, stride: int) -> Padding:
    """The padding that torch's ``ceil_mode`` amounts to: the last window is begun, not dropped."""
    height, width = ((0, -(size - window) % stride) for size in x.shape[1:3])
    return height, width


def average_pool_to(x: Array, side: int) -> Array:
    """torch's ``AdaptiveAvgPool2d``, [n, h, w, maps] -> [n, side, side, maps]: cell i is the mean
    of rows floor(i h / side) to ceil((i + 1) h / side).
    """
    for axis in (1, 2):
        size = x.shape[axis]
        if size != side:
            cells = [
                lax.slice_in_dim(x, i * size // side, -(-(i + 1) * size // side), axis=axis).mean(
                    axis, keepdims=True
                )
                for i in range(side)
            ]
            x = jnp.concatenate(cells, axis)
    return x


def local_response_norm(
    x: Array, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> Array:
    """torch's ``local_response_norm`` over maps: x / (k + alpha / size * S)^beta, S the sum of
    squares of ``size`` neighbouring maps. zfjax's own alpha multiplies S undivided.
    """
    around = ((0, 0),) * (x.ndim - 1) + ((size // 2, (size - 1) // 2),)
    windows, steps = (1,) * (x.ndim - 1) + (size,), (1,) * x.ndim
    sums = lax.reduce_window(x * x, 0.0, lax.add, windows, steps, around)
    return x / (k + alpha / size * sums) ** beta


def dense_head(x: Array, hidden: int, classes: int) -> Array:
    """Two dense layers with ReLU and the scores, on all numbers of the maps; call it within a
    module's ``__call__``. Dropout does nothing in evaluation.
    """
    x = x.reshape(len(x), -1)
    x = nn.relu(nn.Dense(hidden, name="fc1")(x))
    x = nn.relu(nn.Dense(hidden, name="fc2")(x))
    return nn.Dense(classes, name="fc3")(x)
