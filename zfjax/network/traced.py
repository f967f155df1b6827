"""A traced network to look at: its layers, run with a backward rule on whole images or on the
windows of units.

The mechanism: equations.py (the function as a list), spans.py (what a cell sees), meanings.py and
reading.py (what each equation is), windows.py (cells that a unit needs), descent.py (evaluation);
``Model`` (tracing.py) is the static value that all of it follows from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.network.architecture import Window
from zfjax.network.descent import Descent, run
from zfjax.network.equations import Trace, Value, leaf_path
from zfjax.network.layers import Layer, Work
from zfjax.network.naming import module_of
from zfjax.network.ops import GRADIENT, Rule
from zfjax.network.precision import HIGHEST, Precision
from zfjax.network.reading import Reading, Site
from zfjax.network.spans import COLUMNS, ROWS, Span
from zfjax.network.tracing import Model, hidden_values, own_leaves, reading_of, refusal, sites_of
from zfjax.network.windows import Windowed, largest, multiply_adds, needs_of


def layers_of_model(model: Model, also: tuple[str, ...] = ()) -> tuple[Layer, ...]:
    """The layers of ``sites_of``, in forward order."""
    reading = reading_of(model)
    return tuple(_layer(model, reading, site) for site in sites_of(model, also).values())


def _layer(model: Model, reading: Reading, site: Site) -> Layer:
    value, sight = site.value, reading.meanings[site.value].sight
    row, column = sight.array_axis(ROWS), sight.array_axis(COLUMNS)
    assert row is not None and column is not None
    maps = math.prod(value.shape[index] for index in sight.features)
    window, equations = _window(reading, value), reading.trace.needed_for([value])
    needs = needs_of(reading, value) if window is not None else None

    def work(needs: Any) -> Work:
        adds = sum(multiply_adds(reading, equation, needs) for equation in equations)
        return Work(adds, largest(reading, equations, needs))

    height, width = model.input_size
    tile = (height, width)
    if window is not None:
        tile = min(window.size, height), min(window.size, width)
    return Layer(
        name=site.name,
        shape=(value.shape[row], value.shape[column], maps),
        window=window,
        tile_size=tile,
        image_work=work(None),
        window_work=None if window is None else work(needs),
    )


def _window(reading: Reading, value: Value) -> Window | None:
    """The square that holds what a unit sees along both axes; None where it may be all."""
    sight = reading.meanings[value].sight
    spans = [axis for axis in sight.axes if isinstance(axis, Span)]
    if sight.whole or len(spans) != 2 or spans[0].jump != spans[1].jump:
        return None
    start = min(span.start for span in spans)
    end = max(span.start + span.size for span in spans)
    return Window(int(end - start), int(spans[0].jump), int(start))


@dataclass(frozen=True)
class TracedForward:
    """``Forward`` of a model (subject.py)."""

    model: Model
    also: tuple[str, ...] = ()
    """Convolutions without an activation that are looked at too."""
    precision: Precision = HIGHEST

    def __call__(
        self,
        parameters: Any,
        inputs: jax.Array,
        *,
        until: str,
        rule: Rule = GRADIENT,
        origins: tuple[Any, Any] | None = None,
    ) -> dict[str, jax.Array]:
        """As in ``Forward``; ``parameters``: the model's tree, or {path: array} of those that
        ``needed_leaves`` names. Raises ZfjaxError where the rule cannot come down from ``until``.
        """
        model, images = self.model, len(inputs)
        reading = reading_of(model, images)
        sites = sites_of(model, self.also, images)
        if rule.relu != "gradient" and sites[until].reason:
            raise ZfjaxError(refusal(sites[until]))
        names = [until] if origins is not None else list(sites)[: list(sites).index(until) + 1]
        values = [sites[name].value for name in names]
        descent = Descent(rule, model.statistics, self.precision)
        window = None
        if origins is not None:
            window, inputs = _windowed(reading, values[0], inputs, origins)
        arrays = {**_by_value(reading.trace, parameters, values), reading.trace.images: inputs}
        outputs = run(reading, arrays, values, descent, window)
        return {
            name: _as_maps(reading, value, array)
            for name, value, array in zip(names, values, outputs, strict=True)
        }

    def hidden(self) -> dict[str, int]:
        """Features of the fully connected layers before the scores, by name."""
        return {
            name: value.shape[1] for name, value in hidden_values(self.model, self.also).items()
        }

    def features(self, parameters: Any, inputs: jax.Array) -> dict[str, jax.Array]:
        """As in ``Network``."""
        reading = reading_of(self.model, len(inputs))
        sites = sites_of(self.model, self.also, len(inputs))
        hidden = hidden_values(self.model, self.also, len(inputs))
        values = [site.value for site in sites.values()] + list(hidden.values())
        arrays = {**_by_value(reading.trace, parameters, values), reading.trace.images: inputs}
        outputs = dict(zip((*sites, *hidden), run(reading, arrays, values, Descent()), strict=True))
        maps = {name: _as_maps(reading, sites[name].value, outputs[name]) for name in sites}
        return {**maps, **{name: outputs[name] for name in hidden}}

    def own_leaves(self, layer: str) -> tuple[str, ...]:
        """Paths of the parameters that a layer is made of and no layer before it."""
        return own_leaves(self.model, self.also)[layer]

    def first_kernel(self, parameters: Any) -> Any:
        """The kernel of the first convolution, [height, width, channels, maps]; of no extent where
        it is not a parameter as it stands.
        """
        leaf, order = next(_kernels(self.model), ("", ()))
        if not leaf:
            return np.zeros((0, 0, 3, 0), np.float32)
        return np.transpose(_by_path(parameters)[leaf], order)

    def kernel(self, parameters: Any, layer: str) -> np.ndarray | None:
        """[height, width, channels, maps] of the convolution that a layer is named after, or comes
        from where it has a name of its own, in whatever order it is kept; None where it is not a
        parameter as it stands.
        """
        site = sites_of(self.model, self.also).get(layer)
        for leaf, order in _kernels(self.model):
            if leaf and module_of(leaf) == (layer if site is None else site.module):
                return np.transpose(_by_path(parameters)[leaf], order)
        return None


@dataclass(frozen=True)
class TracedScores:
    """``Scores`` of a model (subject.py)."""

    model: Model
    output: str

    def __call__(self, parameters: Any, inputs: jax.Array) -> jax.Array:
        """As in ``Scores``; ``parameters``: the model's whole tree."""
        reading = reading_of(self.model, len(inputs))
        value = reading.trace.outputs[self.output]
        arrays = _by_value(reading.trace, parameters, [value])
        [scores] = run(reading, {**arrays, reading.trace.images: inputs}, [value], Descent())
        return scores.astype(jnp.float32)


def _kernels(model: Model) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Of each convolution over rows and columns: the path of the parameter that is its kernel ("":
    of none as it stands), and its axes in the order height, width, channels, maps.
    """
    for equation in reading_of(model).trace.equations:
        order: tuple[int, ...] = (0, 1, 2, 3)
        if equation.operation == "conv_general_dilated":
            out, channels, *places = equation.params["dimension_numbers"].rhs_spec
            order = (*places, channels, out)
        elif equation.operation != "zfjax.conv":
            continue
        yield (equation.inputs[1].leaf or "") if len(order) == 4 else "", order


def _by_value(known: Trace, parameters: Any, values: list[Value]) -> dict[Value, Any]:
    """The parameters that ``values`` need. Raises ZfjaxError for one that is missing or of another
    shape.
    """
    by_path = _by_path(parameters)
    used = {value for equation in known.needed_for(values) for value in equation.inputs}
    arrays = {}
    for value in known.parameters:
        if value not in used:
            continue
        if value.leaf not in by_path:
            raise ZfjaxError(f"The parameters lack {value.leaf}, which the network takes.")
        array = by_path[value.leaf]
        if np.shape(array) != value.shape:
            raise ZfjaxError(
                f"{value.leaf} is of shape {np.shape(array)}; the network takes {value.shape}."
            )
        arrays[value] = jnp.asarray(array, value.dtype)
    return arrays


def _by_path(parameters: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(parameters)[0]
    return {leaf_path(keys): leaf for keys, leaf in leaves}


def _windowed(
    reading: Reading, value: Value, inputs: jax.Array, origins: tuple[Any, Any]
) -> tuple[Windowed, jax.Array]:
    """The windows of units of ``value``, and of ``inputs``, which begin at ``origins``, what they
    need.
    """
    window, needs = _window(reading, value), needs_of(reading, value)
    assert window is not None, "a layer without a window is run on whole images"
    sight = reading.meanings[value].sight
    row, column = sight.array_axis(ROWS), sight.array_axis(COLUMNS)
    assert row is not None and column is not None
    ys, xs = (
        (jnp.asarray(origin) - jnp.int32(window.start)) // jnp.int32(window.jump)
        for origin in origins
    )
    for axis, need in enumerate(needs[reading.trace.images]):
        begin = need.offset - window.start
        inputs = jax.lax.slice_in_dim(inputs, begin, begin + need.size, axis=1 + axis)
    return Windowed(reading, needs, (ys, xs), (value.shape[row], value.shape[column])), inputs


def _as_maps(reading: Reading, value: Value, array: jax.Array) -> jax.Array:
    """[n, height, width, maps] of a value in whatever layout."""
    sight = reading.meanings[value].sight
    order = [sight.array_axis(axis) for axis in ("images", ROWS, COLUMNS)]
    turned = jnp.transpose(array, (*order, *sight.features))  # type: ignore[arg-type]
    return turned.reshape(*turned.shape[:3], -1)
