"""The networks of linen_nets.py once more, with explicit backward rules on a ``Tape``: {layer:
node}, from the same variables.
"""

import numpy as np

from tests.network.explicit import same
from tests.network.linen_nets import VGG16


def _conv(tape, p, x, stride=1, padding=None, groups=1):
    kernel = np.float64(p["kernel"])
    if padding is None:
        extents = x.value.shape[1:3]
        padding = tuple(
            same(extent, size, stride)
            for extent, size in zip(extents, kernel.shape[:2], strict=True)
        )
    x = tape.conv(x, kernel, stride, padding, groups)
    return tape.affine(x, 1.0, np.float64(p["bias"])) if "bias" in p else x


def _batch_norm(tape, v, path, x):
    p, stored = v["params"], v["batch_stats"]
    for name in path:
        p, stored = p[name], stored[name]
    scale = np.float64(p["scale"]) / np.sqrt(np.float64(stored["var"]) + 1e-5)
    return tape.affine(x, scale, np.float64(p["bias"]) - np.float64(stored["mean"]) * scale)


def plain(tape, v, x, layers):
    count, named = 0, {}
    for kind, *settings in layers:
        if kind == "conv":
            count += 1
            _, _, stride, padding = settings
            x = tape.relu(_conv(tape, v["params"][f"conv{count}"], x, stride, (padding, padding)))
            named[f"conv{count}"] = x
        elif kind == "pool":
            window, stride, padding = settings
            x = tape.max_pool(x, window, stride, (padding, padding))
        else:
            x = tape.contrast_norm(x, *settings)
    return named


def resnet18(tape, v, x):
    p, one = v["params"], ((1, 1), (1, 1))
    named = {}
    x = _conv(tape, p["Conv_0"], x, 2, ((3, 3), (3, 3)))
    x = named["Conv_0"] = tape.relu(_batch_norm(tape, v, ["BatchNorm_0"], x))
    x = tape.max_pool(x, 3, 2, one)
    for block in range(8):
        name, stride = f"Block_{block}", 2 if block in (2, 4, 6) else 1
        own = p[name]
        y = _batch_norm(tape, v, [name, "BatchNorm_0"], _conv(tape, own["Conv_0"], x, stride, one))
        y = named[f"{name}/Conv_0"] = tape.relu(y)
        y = _batch_norm(tape, v, [name, "BatchNorm_1"], _conv(tape, own["Conv_1"], y, 1, one))
        if "Conv_2" in own:
            x = _conv(tape, own["Conv_2"], x, stride, ((0, 0), (0, 0)))
            x = _batch_norm(tape, v, [name, "BatchNorm_2"], x)
        x = named[name] = tape.relu(tape.add(x, y))
    return named


def vgg16_bn(tape, v, x):
    named, count = {}, 0
    for maps in VGG16:
        if maps == "M":
            x = tape.max_pool(x, 2, 2, ((0, 0), (0, 0)))
        else:
            x = _conv(tape, v["params"][f"Conv_{count}"], x)
            x = tape.relu(_batch_norm(tape, v, [f"BatchNorm_{count}"], x))
            named[f"Conv_{count}"] = x
            count += 1
    return named


def squeezed(tape, v, x):
    p = v["params"]
    named = {}
    x = named["Conv_0"] = tape.relu(_conv(tape, p["Conv_0"], x, 2))
    for index in range(2):
        norm, first = p[f"GroupNorm_{index}"], f"Conv_{2 * index + 1}"
        y = tape.layer_norm(_conv(tape, p[first], x), norm["scale"], norm["bias"], 2)
        y = named[first] = tape.relu(y)
        narrow, wide = p[f"Dense_{2 * index}"], p[f"Dense_{2 * index + 1}"]
        inner = np.maximum(y.value.mean((1, 2)) @ narrow["kernel"] + narrow["bias"], 0)
        gate = 1 / (1 + np.exp(-(inner @ wide["kernel"] + wide["bias"])))
        y = tape.scaled(y, gate[:, None, None, :])
        last = f"Conv_{2 * index + 2}"
        x = named[last] = tape.relu(tape.add(x, _conv(tape, p[last], y)))
    return named


def convnext(tape, v, x):
    """GELU as x times a frozen gate."""
    p, named = v["params"], {}
    norm = p["LayerNorm_0"]
    x = _conv(tape, p["Conv_0"], x, 4, ((0, 0), (0, 0)))
    x = tape.layer_norm(x, norm["scale"], norm["bias"])
    for index in range(2):
        norm = p[f"LayerNorm_{index + 1}"]
        y = _conv(tape, p[f"Conv_{index + 1}"], x, groups=8)
        y = tape.layer_norm(y, norm["scale"], norm["bias"])
        y = _dense(tape, p[f"Dense_{2 * index}"], y)
        u = y.value
        gate = 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
        y = named[f"Dense_{2 * index}"] = tape.gated(y, gate)
        y = _dense(tape, p[f"Dense_{2 * index + 1}"], y)
        x = tape.add(x, tape.affine(y, np.float64(p[f"scale_{index}"]), 0.0))
    return named


def _dense(tape, p, x):
    kernel = np.float64(p["kernel"])[None, None]
    return tape.affine(tape.conv(x, kernel), 1.0, np.float64(p["bias"]))
