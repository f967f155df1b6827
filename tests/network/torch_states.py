"""State dicts of any names and shapes, the same everywhere: nothing is stored of them."""

import zlib

import numpy as np


def drawn_array(name, shape):
    """float32 numbers that depend on a name and a shape alone, of a fitting size."""
    count = int(np.prod(shape))
    seed = np.uint64(zlib.crc32(name.encode()))
    mixed = (np.arange(count, dtype=np.uint64) + seed) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    uniform = (mixed >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5
    if name.endswith("running_var"):
        values = uniform + 1
    elif name.endswith("weight") and len(shape) == 1:
        values = 1 + uniform / 2
    elif len(shape) == 1:
        values = uniform / 4
    else:
        values = uniform * np.sqrt(24 / np.prod(shape[1:]))
    return values.reshape(shape).astype(np.float32)


def drawn_state(shapes):
    """{name: array} of {name: shape}, without torch's counters."""
    return {name: drawn_array(name, tuple(shape)) for name, shape in shapes.items()}


def drawn_images(name):
    """[2, 224, 224, 3], float32, of the scale of prepared images; for a network with LRN so large
    that it acts.
    """
    shape = (2, 224, 224, 3)
    scale = 400 if name == "pytorchcv/zfnet" else 4
    return (
        drawn_array("images", shape) * np.float32(scale * np.sqrt(np.prod(shape[1:]) / 24))
    ).astype(np.float32)
