"""The deconvnet step by step in NumPy float64, as the paper tells it. Nothing of zfjax runs here
but the layer specs.

Up: plain loops; every pool stores the place of each maximum. Down: unpooling puts each signal back
in its place (what meets there adds up), the signal is rectified, and each map is convolved in full
with its flipped filter, zeros set between the signal's cells where the convolution had a stride,
the padding cut off at the end."""

import numpy as np

from zfjax.network.architecture import Conv, Norm, Pool


def convolve(x, kernel, bias, stride, padding):
    """x [h, w, c] with kernel [k, k, c, maps]: a loop over output cells."""
    x = np.pad(np.float64(x), (padding, padding, (0, 0)))
    size, maps = kernel.shape[0], kernel.shape[3]
    rows, columns = ((extent - size) // stride + 1 for extent in x.shape[:2])
    y = np.zeros((rows, columns, maps))
    flat = np.float64(kernel).reshape(-1, maps)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride, j * stride
            y[i, j] = x[top : top + size, left : left + size].reshape(-1) @ flat
    return y + bias


def convolve_down(signal, kernel, stride, padding, shape):
    """Zeros between the cells, full convolution with the filters flipped left-right and up-down,
    padding cut off."""
    size = kernel.shape[0]
    rows, columns, maps = signal.shape
    height, width = shape[0] + sum(padding), shape[1] + sum(padding)
    spread = np.zeros(
        (height + size - 1, width + size - 1, maps)
    )  # a border of size - 1 makes the convolution full
    for i in range(rows):
        for j in range(columns):
            spread[size - 1 + i * stride, size - 1 + j * stride] = signal[i, j]
    flipped = np.float64(kernel)[::-1, ::-1].transpose(0, 1, 3, 2)  # from maps to channels
    whole = convolve(spread, flipped, 0, 1, (0, 0))
    return whole[padding[0] : padding[0] + shape[0], padding[0] : padding[0] + shape[1]]


def pool(x, window, stride, padding):
    """Maxima and their places (row, column) in x; padded cells never win, the first place wins a
    tie."""
    height, width, maps = x.shape
    rows, columns = ((extent + sum(padding) - window) // stride + 1 for extent in (height, width))
    best = np.full((rows, columns, maps), -np.inf)
    places = np.full((rows, columns, maps, 2), -1)
    for i, j, m in np.ndindex(rows, columns, maps):
        for row in range(i * stride - padding[0], i * stride - padding[0] + window):
            for column in range(j * stride - padding[0], j * stride - padding[0] + window):
                if 0 <= row < height and 0 <= column < width and x[row, column, m] > best[i, j, m]:
                    best[i, j, m], places[i, j, m] = x[row, column, m], (row, column)
    return best, places


def unpool(signal, places, shape):
    """Each signal back in its place; what meets there adds up."""
    down = np.zeros(shape)
    for i, j, m in np.ndindex(*signal.shape):
        row, column = places[i, j, m]
        down[row, column, m] += signal[i, j, m]
    return down


def neighbours(maps, size):
    """Booleans [maps, maps]: which maps share a sum of squares."""
    return np.array([[abs(m - n) <= size // 2 for n in range(maps)] for m in range(maps)])


def normalise(x, spec):
    """Krizhevsky 2012, section 3.3; alpha multiplies the sum."""
    sums = np.float64(x) ** 2 @ neighbours(x.shape[-1], spec.size)
    return x / (spec.k + spec.alpha * sums) ** spec.beta


def normalise_down(x, signal, spec):
    """The transposed Jacobian, built whole for every place."""
    near, eye = neighbours(x.shape[-1], spec.size), np.eye(x.shape[-1])
    down = np.zeros_like(signal)
    for place in np.ndindex(*x.shape[:-1]):
        a = x[place]
        d = spec.k + spec.alpha * near @ a**2
        jacobian = eye * (d**-spec.beta)[:, None]
        jacobian -= (
            spec.beta * (a * d ** (-spec.beta - 1))[:, None] * near * (2 * spec.alpha * a)[None, :]
        )
        down[place] = jacobian.T @ signal[place]
    return down


def climb(architecture, parameters, image, layer):
    """The values of ``layer`` for one image [h, w, 3], and what each layer below must remember for
    the way down."""
    x, memory = np.float64(image), []
    for spec in architecture.layers:
        if isinstance(spec, Conv):
            weights = parameters[spec.name]
            before = convolve(
                x,
                np.asarray(weights["kernel"]),
                np.asarray(weights["bias"]),
                spec.stride,
                spec.padding,
            )
            memory.append((spec, x, before))
            x = np.maximum(before, 0)
        elif isinstance(spec, Pool):
            maxima, places = pool(x, spec.window, spec.stride, spec.padding)
            memory.append((spec, x, places))
            x = maxima
        elif isinstance(spec, Norm):
            memory.append((spec, x, None))
            x = normalise(x, spec)
        if spec.name == layer:
            break
    return x, memory


def descend(parameters, memory, signal, relu, norm):
    """Takes ``signal`` down to pixels. ``relu``: "deconvnet", "gradient" or "guided"; ``norm``: as
    in Rule."""
    for _, _, below in steps_down(parameters, memory, signal, relu, norm):
        signal = below
    return signal


def steps_down(parameters, memory, signal, relu, norm):
    """(layer, "rectified", "filtered", "unpooled" or "normalised", signal after it) of each."""
    for spec, below, kept in reversed(memory):
        if isinstance(spec, Conv):
            if relu != "gradient":
                signal = np.maximum(signal, 0)
            if relu != "deconvnet":
                signal = np.where(kept > 0, signal, 0)
            yield spec.name, "rectified", signal
            kernel = np.asarray(parameters[spec.name]["kernel"])
            signal = convolve_down(signal, kernel, spec.stride, spec.padding, below.shape)
            yield spec.name, "filtered", signal
        elif isinstance(spec, Pool):
            signal = unpool(signal, kept, below.shape)
            yield spec.name, "unpooled", signal
        else:
            if norm == "gradient":
                signal = normalise_down(below, signal, spec)
            yield spec.name, "normalised", signal


def one_hot(values, y, x, map_):
    """The unit's own activation, and zero elsewhere."""
    seed = np.zeros_like(values)
    seed[y, x, map_] = values[y, x, map_]
    return seed


def cut(whole, box, input_size):
    """The tile of a unit out of a whole projection: its window, zero outside; an axis it covers
    whole is kept whole."""
    y0, x0, y1, x1 = box
    top, height = (y0, y1 - y0) if y1 - y0 < input_size[0] else (0, input_size[0])
    left, width = (x0, x1 - x0) if x1 - x0 < input_size[1] else (0, input_size[1])
    tile = np.zeros((height, width, whole.shape[2]))
    for row in range(height):
        for column in range(width):
            if 0 <= top + row < whole.shape[0] and 0 <= left + column < whole.shape[1]:
                tile[row, column] = whole[top + row, left + column]
    return tile
