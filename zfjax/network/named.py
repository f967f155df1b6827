"""Networks that have a name: the paper's, the one it is compared with, and small ones like it. No
JAX.

Sources: Zeiler & Fergus 2013, Fig. 3 (ZFNET); Krizhevsky 2012 (ALEXNET, with dense
connections as in the paper's comparison).
"""

from __future__ import annotations

import dataclasses

from zfjax.network.architecture import Architecture, Conv, Dense, Layer, Norm, Pool


def _head(width: int, classes: int, dropout: float = 0.5) -> tuple[Layer, ...]:
    return Dense("fc6", width, dropout), Dense("fc7", width, dropout), Dense("fc8", classes)


# Sizes 110, 55, 26, 13, 13, 13, 6 and 62,357,608 parameters. The paper states no padding: this one
# gives its sizes.
ZFNET = Architecture(
    "zfnet",
    (224, 224),
    (
        Conv("conv1", 96, 7, 2, (1, 1)),
        Pool("pool1", 3, 2, (0, 1)),
        Norm("norm1"),
        Conv("conv2", 256, 5, 2),
        Pool("pool2", 3, 2, (0, 1)),
        Norm("norm2"),
        Conv("conv3", 384, 3, 1, (1, 1)),
        Conv("conv4", 384, 3, 1, (1, 1)),
        Conv("conv5", 256, 3, 1, (1, 1)),
        Pool("pool5", 3, 2),
        *_head(4096, 1000),
    ),
)

# The paper's model (b): wider layers 3 to 5; 107,627,624 parameters.
ZFNET_WIDE = dataclasses.replace(
    ZFNET.replace("conv3", maps=512).replace("conv4", maps=1024).replace("conv5", maps=512),
    name="zfnet-wide",
)

# Norm before pool, dense connections in every layer (the paper's comparison); 62,378,344
# parameters.
ALEXNET = Architecture(
    "alexnet",
    (224, 224),
    (
        Conv("conv1", 96, 11, 4, (1, 2)),
        Norm("norm1"),
        Pool("pool1", 3, 2),
        Conv("conv2", 256, 5, 1, (2, 2)),
        Norm("norm2"),
        Pool("pool2", 3, 2),
        Conv("conv3", 384, 3, 1, (1, 1)),
        Conv("conv4", 384, 3, 1, (1, 1)),
        Conv("conv5", 256, 3, 1, (1, 1)),
        Pool("pool5", 3, 2),
        *_head(4096, 1000),
    ),
)


UNIT_ALPHA = 0.34
"""``Norm.alpha`` for inputs of unit scale: the paper's 1e-4, which is for pixels of -128..128,
times their variance, 58^2."""


def small_zfnet(
    name: str,
    *,
    input_size: tuple[int, int],
    width: float,
    head: int,
    classes: int,
    dropout: float = 0.5,
) -> Architecture:
    """ZFNet's layers for small images of unit scale: maps scaled by ``width``, conv2 padded by 2 so
    that its map does not vanish, fully connected layers of ``head`` features.
    """
    maps = [round(count * width) for count in (96, 256, 384, 384, 256)]
    return Architecture(
        name,
        input_size,
        (
            Conv("conv1", maps[0], 7, 2, (3, 3)),
            Pool("pool1", 3, 2, (0, 1)),
            Norm("norm1", alpha=UNIT_ALPHA),
            Conv("conv2", maps[1], 5, 2, (2, 2)),
            Pool("pool2", 3, 2, (0, 1)),
            Norm("norm2", alpha=UNIT_ALPHA),
            Conv("conv3", maps[2], 3, 1, (1, 1)),
            Conv("conv4", maps[3], 3, 1, (1, 1)),
            Conv("conv5", maps[4], 3, 1, (1, 1)),
            Pool("pool5", 3, 2, (0, 1)),
            *_head(head, classes, dropout),
        ),
    )
