"""Random small networks, each spelled in plain JAX and once more with explicit backward rules.

A network is a list of instructions, drawn with a seed; ``in_jax`` writes it as people would, in
one of several spellings an instruction, and ``explicitly`` runs it on a ``Tape``. Some hold an
operation that no rule is known for.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.network.explicit import Tape, same

UNKNOWN = ("leaky_relu", "gelu", "softplus", "product", "sorted", "abs", "elu", "maxout", "cube")
RELUS = ("nn", "maximum", "where", "where_not", "times", "clip", "relu6", "lax")
EPSILON = 1e-6


@dataclass
class Net:
    size: tuple
    program: list
    parameters: dict = field(default_factory=dict)
    unknown: tuple = ()


def draw(seed):
    """A network of three to eight instructions."""
    r = np.random.default_rng(seed)
    net = Net((int(r.integers(14, 24)), int(r.integers(14, 24))), [])
    shape = (*net.size, 3)
    unknown = []
    for _ in range(int(r.integers(3, 9))):
        shape = _append(net, net.program, r, shape, unknown)
        if min(shape[:2]) < 5:
            break
    shape = _conv(net, net.program, r, shape)
    net.program.append(("relu", str(r.choice(RELUS))))
    net.unknown = tuple(unknown)
    return net


def _weights(net, r, shape, name=None):
    name = name or f"conv{len(net.parameters)}"
    fan = np.prod(shape[:-1])
    net.parameters[name] = {
        "kernel": r.normal(0, np.sqrt(2 / fan), shape),
        "bias": r.normal(0, 0.2, shape[-1]),
    }
    return name


def _conv(net, program, r, shape, keep=False, maps=None):
    """A convolution that fits; with ``keep`` it changes no extent."""
    size = int(r.choice([1, 3, 3, 5]))
    stride = 1 if keep else int(r.choice([1, 1, 2]))
    dilation = int(r.choice([1, 1, 1, 2])) if stride == 1 and min(shape[:2]) > 9 else 1
    groups = int(r.choice([1, 1, 1, shape[2]])) if not keep else 1
    maps = maps or (shape[2] * int(r.integers(1, 3)) if groups > 1 else int(r.integers(3, 7)))
    reach = (size - 1) * dilation + 1
    kind = "same" if keep or reach > min(shape[:2]) else str(r.choice(["same", "valid", "odd"]))
    if kind == "same":
        padding = tuple(same(extent, reach, stride) for extent in shape[:2])
    elif kind == "valid" or size == 1:
        padding = ((0, 0), (0, 0))
    else:
        padding = tuple(tuple(int(p) for p in r.integers(0, size, 2)) for _ in range(2))
    name = _weights(net, r, (size, size, shape[2] // groups, maps))
    program.append(
        ("conv", name, stride, padding, groups, dilation, str(r.choice(["nhwc", "nchw"])))
    )
    extents = (
        (extent + sum(pad) - reach) // stride + 1
        for extent, pad in zip(shape[:2], padding, strict=True)
    )
    return (*extents, maps)


def _append(net, program, r, shape, unknown):
    kinds = ["block", "block", "block", "residual", "concat", "max", "max", "avg", "lrn", "layer"]
    kinds += ["group", "gate", "again", "scan", "crop", "pad", "affine", "shifted_lrn", "unknown"]
    kind = str(r.choice(kinds))
    if kind == "block":
        shape = _conv(net, program, r, shape)
        program.append(("relu", str(r.choice(RELUS))))
    elif kind in ("residual", "concat"):
        left, right = [], []
        one = _conv(net, left, r, shape, keep=True)
        left.append(("relu", str(r.choice(RELUS))))
        one = _conv(net, left, r, one, keep=True, maps=shape[2] if kind == "residual" else None)
        if r.random() < 0.5 or kind == "concat":
            two = _conv(net, right, r, shape, keep=True, maps=one[2])
        else:
            two = shape
        program.append((kind, left, right))
        if r.random() < 0.7:
            program.append(("relu", str(r.choice(RELUS))))
        shape = one if kind == "residual" else (*one[:2], one[2] + two[2])
    elif kind in ("max", "avg"):
        window = int(r.integers(2, 4))
        padding = tuple(
            tuple(int(p) for p in r.integers(0, 2 if kind == "max" else 1, 2)) for _ in range(2)
        )
        stride = int(r.integers(1, 3))
        program.append((kind, window, stride, padding))
        extents = (
            (e + sum(p) - window) // stride + 1 for e, p in zip(shape, padding, strict=False)
        )
        shape = (*extents, shape[2])
    elif kind in ("lrn", "shifted_lrn"):
        size, beta = int(r.choice([3, 5])), float(r.choice([0.5, 0.75]))
        program.append((kind, size, 1.0, float(r.uniform(0.1, 1)), beta))
    elif kind in ("layer", "affine"):
        name = _weights(net, r, (1, shape[2]), f"{kind}{len(net.parameters)}")
        program.append((kind, name))
    elif kind == "group":
        groups = 2 if shape[2] % 2 == 0 else 1
        name = _weights(net, r, (1, shape[2]), f"{kind}{len(net.parameters)}")
        program.append((kind, name, groups))
    elif kind == "gate":
        program.append((kind, _weights(net, r, (shape[2], shape[2]), f"gate{len(net.parameters)}")))
    elif kind in ("again", "scan"):
        turns = int(r.integers(2, 4))
        name = f"conv{len(net.parameters)}"
        _weights(net, r, (3, 3, shape[2], shape[2]), name)
        if kind == "scan":
            many = [_weights(net, r, (3, 3, shape[2], shape[2]), name) for _ in range(1)]
            stacked = [net.parameters[many[0]]["kernel"] * (1 + 0.1 * t) for t in range(turns)]
            net.parameters[name] = {"kernel": np.stack(stacked)}
        program.append((kind, name, turns))
    elif kind == "crop" and min(shape[:2]) > 8:
        first, step = (int(v) for v in r.integers(0, 3, 2))
        program.append((kind, first, step + 1))
        shape = (*(len(range(first, extent, step + 1)) for extent in shape[:2]), shape[2])
    elif kind == "pad":
        edges = tuple(tuple(int(p) for p in r.integers(0, 3, 2)) for _ in range(2))
        program.append((kind, edges))
        shape = (*(e + sum(p) for e, p in zip(shape[:2], edges, strict=True)), shape[2])
    elif kind == "unknown" and r.random() < 0.5:
        name = str(r.choice(UNKNOWN))
        unknown.append(name)
        program.append(("unknown", name))
    return shape


def in_jax(net):
    """``features(parameters, inputs)``: the value after each ReLU, by place in the program."""

    def features(parameters, x):
        named = {}
        _run_jax(net.program, parameters, x, named)
        return named

    return features


def _run_jax(program, p, x, named):
    for kind, *settings in program:
        if kind == "conv":
            x = _jax_conv(p, x, *settings)
        elif kind == "relu":
            x = _jax_relu(settings[0], x)
            named[f"relu{len(named)}"] = x
        elif kind in ("residual", "concat"):
            left, right = (_run_jax(part, p, x, named) for part in settings)
            x = left + right if kind == "residual" else jnp.concatenate([left, right], axis=-1)
        elif kind in ("max", "avg"):
            window, stride, padding = settings
            sizes, strides = (1, window, window, 1), (1, stride, stride, 1)
            edges = ((0, 0), *padding, (0, 0))
            if kind == "max":
                x = lax.reduce_window(x, -jnp.inf, lax.max, sizes, strides, edges)
            else:
                x = lax.reduce_window(x, 0.0, lax.add, sizes, strides, edges) / window**2
        elif kind == "lrn":
            size, k, alpha, beta = settings
            edges = ((0, 0), (0, 0), (0, 0), (size // 2, size // 2))
            sums = lax.reduce_window(x * x, 0.0, lax.add, (1, 1, 1, size), (1,) * 4, edges)
            x = x / (k + alpha * sums) ** beta
        elif kind == "shifted_lrn":
            size, k, alpha, beta = settings
            squares = jnp.pad(jnp.square(x), ((0, 0), (0, 0), (0, 0), (size // 2, size // 2)))
            sums = sum(squares[..., i : i + x.shape[-1]] for i in range(size))
            x = x * (k + alpha * sums) ** -beta
        elif kind == "affine":
            own = p[settings[0]]
            x = x * own["kernel"][0] + own["bias"]
        elif kind == "layer":
            own = p[settings[0]]
            mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            x = (x - mean) * (lax.rsqrt(var + EPSILON) * own["kernel"][0]) + own["bias"]
        elif kind == "group":
            own, groups = p[settings[0]], settings[1]
            split = x.reshape(*x.shape[:3], groups, -1)
            mean = split.mean((1, 2, 4), keepdims=True)
            var = jnp.square(split - mean).mean((1, 2, 4), keepdims=True)
            x = ((split - mean) / jnp.sqrt(var + EPSILON)).reshape(x.shape)
            x = x * own["kernel"][0] + own["bias"]
        elif kind == "gate":
            own = p[settings[0]]
            gate = jax.nn.sigmoid(x.mean((1, 2)) @ own["kernel"] + own["bias"])
            x = x * gate[:, None, None, :]
        elif kind == "again":
            name, turns = settings
            for _ in range(turns):
                x = jax.nn.relu(_plain_conv(x, p[name]["kernel"]) + p[name]["bias"])
                named[f"relu{len(named)}"] = x
        elif kind == "scan":

            def turn(x, kernel):
                return jax.nn.relu(_plain_conv(x, kernel)), None

            x, _ = lax.scan(turn, x, p[settings[0]]["kernel"])
            named[f"relu{len(named)}"] = x
        elif kind == "crop":
            first, step = settings
            x = x[:, first::step, first::step]
        elif kind == "pad":
            x = jnp.pad(x, ((0, 0), *settings[0], (0, 0)))
        else:
            x = _jax_unknown(settings[0], x)
    return x


def _plain_conv(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _jax_conv(p, x, name, stride, padding, groups, dilation, layout):
    kernel, bias = p[name]["kernel"], p[name]["bias"]
    options = {"rhs_dilation": (dilation, dilation), "feature_group_count": groups}
    if layout == "nhwc":
        numbers = ("NHWC", "HWIO", "NHWC")
        return (
            lax.conv_general_dilated(
                x, kernel, (stride, stride), padding, dimension_numbers=numbers, **options
            )
            + bias
        )
    turned = jnp.transpose(x, (0, 3, 1, 2))
    numbers = ("NCHW", "OIHW", "NCHW")
    kernel = jnp.transpose(kernel, (3, 2, 0, 1))
    y = lax.conv_general_dilated(
        turned, kernel, (stride, stride), padding, dimension_numbers=numbers, **options
    )
    return jnp.transpose(y + bias[:, None, None], (0, 2, 3, 1))


def _jax_relu(spelling, x):
    return {
        "nn": jax.nn.relu,
        "maximum": lambda x: jnp.maximum(0, x),
        "where": lambda x: jnp.where(x > 0, x, 0),
        "where_not": lambda x: jnp.where(x <= 0, 0.0, x),
        "times": lambda x: x * (x > 0),
        "clip": lambda x: jnp.clip(x, 0),
        "relu6": jax.nn.relu6,
        "lax": lambda x: lax.max(x, jnp.zeros_like(x)),
    }[spelling](x)


def _jax_unknown(name, x):
    return {
        "leaky_relu": jax.nn.leaky_relu,
        "gelu": jax.nn.gelu,
        "softplus": jax.nn.softplus,
        "product": lambda x: x * jnp.roll(x, 1, axis=-1),
        "sorted": lambda x: jnp.sort(x, axis=-1),
        "abs": jnp.abs,
        "elu": jax.nn.elu,
        "maxout": lambda x: jnp.maximum(x, x[..., ::-1]),
        "cube": lambda x: x**3,
    }[name](x)


def explicitly(net, image, rule):
    """The tape, the image's node, and {name: node} as ``in_jax`` names them; up to the first
    unknown operation."""
    tape, named = Tape(rule), {}
    start = tape.node(image[None])
    _run_tape(net.program, net.parameters, tape, start, named)
    return tape, start, named


def _run_tape(program, p, tape, x, named):
    for kind, *settings in program:
        if kind == "conv":
            name, stride, padding, groups, dilation, _ = settings
            x = tape.conv(x, p[name]["kernel"], stride, padding, groups, dilation)
            x = tape.affine(x, 1.0, p[name]["bias"])
        elif kind == "relu":
            x = tape.relu(x, 6 if settings[0] == "relu6" else np.inf)
            named[f"relu{len(named)}"] = x
        elif kind in ("residual", "concat"):
            left, right = (_run_tape(part, p, tape, x, named) for part in settings)
            if left is None or right is None:
                return None
            x = tape.add(left, right) if kind == "residual" else tape.concat(left, right)
        elif kind == "max":
            x = tape.max_pool(x, *settings)
        elif kind == "avg":
            x = tape.avg_pool(x, *settings)
        elif kind in ("lrn", "shifted_lrn"):
            x = tape.contrast_norm(x, *settings)
        elif kind == "affine":
            x = tape.affine(x, p[settings[0]]["kernel"][0], p[settings[0]]["bias"])
        elif kind == "layer":
            x = tape.layer_norm(x, p[settings[0]]["kernel"][0], p[settings[0]]["bias"])
        elif kind == "group":
            own, groups = p[settings[0]], settings[1]
            x = tape.layer_norm(x, own["kernel"][0], own["bias"], groups)
        elif kind == "gate":
            own = p[settings[0]]
            gate = 1 / (1 + np.exp(-(x.value.mean((1, 2)) @ own["kernel"] + own["bias"])))
            x = tape.scaled(x, gate[:, None, None, :])
        elif kind in ("again", "scan"):
            name, turns = settings
            for turn in range(turns):
                kernel = p[name]["kernel"] if kind == "again" else p[name]["kernel"][turn]
                x = tape.conv(x, kernel, 1, ((1, 1), (1, 1)))
                x = tape.relu(tape.affine(x, 1.0, p[name].get("bias", 0)))
                if kind == "again" or turn == turns - 1:
                    named[f"relu{len(named)}"] = x
        elif kind == "crop":
            x = _cropped(tape, x, *settings)
        elif kind == "pad":
            (a, b), (c, d) = settings[0]
            height, width = x.value.shape[1:3]
            x = tape.moved(
                x,
                lambda v, a=a, b=b, c=c, d=d: np.pad(v, ((0, 0), (a, b), (c, d), (0, 0))),
                lambda g, a=a, c=c, h=height, w=width: g[:, a : a + h, c : c + w],
            )
        else:
            return None
    return x


def _cropped(tape, x, first, step):
    def back(signal):
        total = np.zeros_like(x.value)
        total[:, first::step, first::step] = signal
        return total

    return tape.moved(x, lambda v: v[:, first::step, first::step], back)
