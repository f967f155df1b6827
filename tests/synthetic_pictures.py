"""Pictures of a made-up run: procedural scenes, and projections and filters that look plausible."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=512)
def scene(image_id: int, size: int) -> np.ndarray:
    """One drawn scene: uint8 [size, size, 3]; its class is ``image_id % 10``."""
    rng = np.random.default_rng(image_id)
    y, x = np.mgrid[0:size, 0:size] / size
    sky, ground = rng.uniform(0.3, 1.0, 3), rng.uniform(0.0, 0.7, 3)
    horizon = rng.uniform(0.35, 0.7) + 0.05 * np.sin(8 * x + rng.uniform(0, 6))
    picture = np.where(
        (y < horizon)[..., None],
        sky * (1 - 0.5 * y[..., None]),
        ground * (0.6 + 0.5 * y[..., None]),
    )
    for _ in range(3):
        cy, cx, radius = *rng.uniform(0.2, 0.8, 2), rng.uniform(0.08, 0.28)
        colour = rng.uniform(0, 1, 3)
        kind = (image_id % 10 + rng.integers(2)) % 4
        angle = rng.uniform(0, np.pi)
        along = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
        distance = np.hypot(x - cx, y - cy)
        inside = {
            0: distance < radius,
            1: (distance < radius) & (np.sin(along * 60) > 0),
            2: np.maximum(abs(x - cx), abs(y - cy)) < radius,
            3: (abs(x - cx) < (y - cy + radius) * 0.6) & (y < cy + radius),
        }[int(kind)]
        picture = np.where(
            inside[..., None], colour * (0.8 + 0.4 * (1 - distance[..., None] / radius)), picture
        )
    picture = picture + rng.normal(0, 0.02, picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def crop(picture: np.ndarray, y0: int, x0: int, size: tuple[int, int]) -> np.ndarray:
    """The window of ``picture`` that begins at (y0, x0); mid-grey outside."""
    out = np.full((*size, 3), 128, np.uint8)
    ys, xs = np.arange(y0, y0 + size[0]), np.arange(x0, x0 + size[1])
    inside_y, inside_x = (ys >= 0) & (ys < picture.shape[0]), (xs >= 0) & (xs < picture.shape[1])
    out[np.ix_(inside_y, inside_x)] = picture[np.ix_(ys[inside_y], xs[inside_x])]
    return out


def projection(
    patch: np.ndarray, layer: str, map_: int, clarity: float, activation: float, seed: int
) -> np.ndarray:
    """A plausible projection: float32 like ``patch``, signed, exactly zero where the unit sees
    nothing.
    """
    rng = np.random.default_rng(1000 * map_ + len(layer) + int(layer[-1]))
    height, width = patch.shape[:2]
    y, x = (
        np.mgrid[0:height, 0:width] - np.array([height / 2 - 0.5, width / 2 - 0.5])[:, None, None]
    )
    angle, cycles, phase = rng.uniform(0, np.pi), rng.uniform(0.6, 2.2), rng.uniform(0, 2 * np.pi)
    wave = np.cos(
        2 * np.pi * cycles * (np.cos(angle) * x / width + np.sin(angle) * y / height) + phase
    )
    colour = rng.normal(0, 1, 3) * (rng.random() < 0.5) + rng.normal(0, 1)
    if layer == "conv1":
        signal = wave[..., None] * colour
    else:
        values = patch.astype(np.float32) / 255
        edges = sum(
            np.diff(values, axis=axis, append=np.take(values, [-1], axis)) for axis in (0, 1)
        )
        smooth = values - values.mean((0, 1))
        spot = np.exp(-((x / width - rng.uniform(-0.15, 0.15)) ** 2 + (y / height) ** 2) / 0.06)
        signal = (3 * edges + 0.5 * smooth * (0.3 + 0.7 * wave[..., None])) * spot[..., None]
    signal = signal / max(float(np.abs(signal).max()), 1e-6)
    noise = np.random.default_rng(seed).normal(0, 0.3, patch.shape)
    noise *= np.exp(-((x / width) ** 2 + (y / height) ** 2) / 0.08)[..., None]
    mixed = activation * 0.02 * (clarity * signal + (1 - clarity) * noise)
    mixed[(np.abs(x) > width * 0.49) | (np.abs(y) > height * 0.49)] = 0
    return mixed.astype(np.float32)


def filters(conv, share: float) -> np.ndarray:
    """First-layer kernels (float [height, width, 3, maps]): noise at a share of 0, waves at 1."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0 : conv.kernel, 0 : conv.kernel] / (conv.kernel - 1) - 0.5
    out = np.empty((conv.kernel, conv.kernel, 3, conv.maps))
    for index in range(conv.maps):
        angle, cycles = rng.uniform(0, np.pi), rng.uniform(0.3, 2)
        wave = np.cos(
            2 * np.pi * cycles * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(0, 6)
        )
        colour = rng.normal(0, 1, 3) if rng.random() < 0.4 else np.full(3, rng.normal(0, 1))
        clear = wave[..., None] * colour * np.exp(-(x**2 + y**2) / 0.2)[..., None]
        out[..., index] = 0.15 * (share * clear + (1 - share) * rng.normal(0, 0.6, clear.shape))
    return out
