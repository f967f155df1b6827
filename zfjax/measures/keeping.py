"""What a measure of its own kind keeps of each batch: sums of integers, largest and smallest
values, so that merging is exact in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.features.passing import images_at_once, search_batch
from zfjax.features.riding import Arrays, Computed, Look, Marks, Sent
from zfjax.measures.protocol import Kept, Measure
from zfjax.measures.sources import sources_of
from zfjax.subject import Subject

KINDS = ("sum", "max", "min")


def _on_device(kind: str, values: jax.Array) -> jax.Array:
    if kind == "sum":
        return values.sum(axis=0)
    return values.max(axis=0) if kind == "max" else values.min(axis=0)


def _nothing(kind: str, dtype: np.dtype) -> Any:
    """What changes nothing when it is merged."""
    if kind == "sum":
        return 0
    if dtype == np.bool_:
        return kind == "min"
    limits = np.finfo(dtype) if np.issubdtype(dtype, np.floating) else np.iinfo(dtype)
    if np.issubdtype(dtype, np.floating):
        return -np.inf if kind == "max" else np.inf
    return limits.min if kind == "max" else limits.max


def _merged(kind: str, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    return {"sum": np.add, "max": np.maximum, "min": np.minimum}[kind](own, other)


def name_of(measure: Measure, options: Any) -> str:
    """What tells its share of a stopped pass from others: name, options; of anybody's, the code."""
    digests = "".join(sources_of(measure).values())
    code = f" {hashlib.sha256(digests.encode()).hexdigest()[:8]}" if digests else ""
    return f"{measure.name} {options}{code}"


class Keeping:
    """A measure's ``keeps`` as a rider of the pass."""

    def __init__(self, measure: Measure, options: Any, subject: Subject, route: Any) -> None:
        """Raises what ``keeps`` raises, and ZfjaxError for what cannot be merged exactly."""
        assert measure.keeps is not None
        self.name = name_of(measure, options)
        self.computed: Computed = _Folded(measure.keeps, options)
        _check_compiled(measure, options)
        shapes = _shapes(self.computed, measure.name, subject, route)
        self._kept = {
            name: np.full(
                (len(route.steps), *shape.shape),
                _nothing(_kind(name), np.dtype(shape.dtype)),
                np.int64 if _kind(name) == "sum" else shape.dtype,
            )
            for name, shape in shapes.items()
        }

    def add(self, step_index: int, of_step: Mapping[str, np.ndarray], batch: Sent) -> None:
        """As in ``Rider``, like the others."""
        for name, values in of_step.items():
            self._kept[name][step_index] = _merged(
                _kind(name), self._kept[name][step_index], values
            )

    def state(self) -> dict[str, np.ndarray]:
        """All that it has kept."""
        return dict(self._kept)

    def assume(self, state: Mapping[str, np.ndarray]) -> bool:
        """Goes on from that."""
        same = {name: array.shape for name, array in state.items()} == {
            name: array.shape for name, array in self._kept.items()
        }
        if same:
            self._kept = {name: np.array(state[name]) for name in self._kept}
        return same

    def share(self) -> dict[str, np.ndarray]:
        """The same arrays."""
        return self.state()

    def merge(self, share: Mapping[str, np.ndarray]) -> None:
        """Adds those of other images."""
        for name, array in self._kept.items():
            self._kept[name] = _merged(_kind(name), array, share[name])

    def clear(self) -> None:
        """Back to no image."""
        for name, array in self._kept.items():
            dtype = array.dtype
            array[...] = _nothing(_kind(name), dtype)

    def of_step(self, step_index: int) -> Kept:
        """What was kept of one step, by the measure's own names."""
        return {name.partition("/")[2]: array[step_index] for name, array in self._kept.items()}


def _check_compiled(measure: Measure, options: Any) -> None:
    """Raises ZfjaxError for what JAX cannot tell from another: the pass would fail for all."""
    for what, value in (("options", options), ("keeps", measure.keeps)):
        try:
            hash(value)
        except TypeError as error:
            raise ZfjaxError(
                f"The measure {measure.name}: its {what} cannot be compiled for ({error}): options"
                " are a frozen dataclass of plain values (tuples, not lists), and keeps is a"
                " function or a method of a frozen class."
            ) from error


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _shapes(computed: Computed, name: str, subject: Subject, route: Any) -> dict[str, Any]:
    """The arrays that ``keeps`` gives, traced on no image at all: so it raises here what it would
    raise in the middle of a pass.
    """
    network = subject.network
    count = min(search_batch(network), images_at_once(network))
    height, width = network.input_size

    def of(parameters: Any, inputs: jax.Array, marks: Marks) -> Arrays:
        look = Look(network, route.layers, parameters, inputs, marks)
        return computed.of_batch(computed.of_piece(look), marks)

    def array(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *shape), dtype)

    truth = array(jnp.bool_)
    marks = Marks(truth, array(jnp.int32), array(jnp.uint32), truth)
    inputs = array(jnp.float32, height, width, 3)
    shapes = jax.eval_shape(of, subject.parameters(route.steps[0]), inputs, marks)
    for key, shape in shapes.items():
        if _kind(key) == "sum" and not jnp.issubdtype(shape.dtype, jnp.integer):
            raise ZfjaxError(
                f"The measure {name!r} sums {key.partition('/')[2]!r} in {shape.dtype}: sums are of"
                " integers (count, or round to steps of your own), since those of floats depend on"
                " the order of the images."
            )
    return dict(shapes)


@dataclass(frozen=True)
class _Folded:
    """What is compiled of a measure's ``keeps``."""

    keeps: Callable[[Look, Any], Mapping[str, Mapping[str, jax.Array]]]
    options: Any

    def of_piece(self, look: Look) -> Arrays:
        kept = self.keeps(look, self.options)
        if not isinstance(kept, Mapping) or not all(
            isinstance(arrays, Mapping) for arrays in kept.values()
        ):
            raise ZfjaxError(
                'What a measure keeps is {"sum": {name: integers}, "max": {...}, "min": {...}}, and'
                f" it gives {kept!r:.60}."
            )
        unknown = [kind for kind in kept if kind not in KINDS]
        if unknown:
            raise ZfjaxError(f"A measure keeps 'sum', 'max' or 'min', not {unknown[0]!r}.")
        return {
            f"{kind}/{name}": jnp.asarray(value)[None]
            for kind, arrays in kept.items()
            for name, value in arrays.items()
        }

    def of_batch(self, pieces: Arrays, marks: Marks) -> Arrays:
        return {name: _on_device(_kind(name), values) for name, values in pieces.items()}
