"""What the readers' questions are answered with, computed on a run: one unit's way down, what the
rules take away, and an edge through one filter and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfjax.errors import ZfjaxError
from zfjax.features.stepping import RECTIFIED, Step, step_through
from zfjax.inputs import open_data, with_data_dir
from zfjax.network.convolution import conv
from zfjax.network.model import Parameters
from zfjax.network.ops import RULES
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.subject import Subject, images_of, subject_of
from zfjax.values import Place

RULE_NAMES = ("deconvnet", "guided", "gradient")
UNITS = 8
"""Over which the rules are compared."""


@dataclass(frozen=True)
class RuleNumbers:
    """What a rule does to the signal, a number a unit."""

    cut: np.ndarray
    """Share of the signal's energy taken away at each rectification, their mean; float64
    [units]."""
    cosine: np.ndarray
    """Of its projection with the deconvnet's; float64 [units]."""
    negative: np.ndarray
    """Share of the projection's pixels below zero; float64 [units]."""


@dataclass(frozen=True)
class Edges:
    """One filter for vertical edges, and an edge sent through it."""

    answers: tuple[float, float]
    """Its largest answer to a vertical and to a horizontal edge."""
    down: tuple[float, float]
    """Change across and change down of what the unit sends back by the transposed map."""
    swapped: tuple[float, float]
    """The same where the small matrix is transposed by mistake."""
    adjoint: float
    """|<Wx, y> - <x, W'y>| over the larger, for the run's first layer and random x, y."""


@dataclass(frozen=True)
class Demonstration:
    """All of it."""

    unit: dict[str, Any]
    """The row of units.parquet whose way is shown."""
    patch: np.ndarray
    """Its image in the evaluation view, uint8 [h, w, 3]."""
    steps: Sequence[Step]
    rules: dict[str, RuleNumbers] = field(default_factory=dict)
    edges: Edges | None = None


def shown_units(evolution: Evolution) -> list[dict[str, Any]]:
    """The rows of units.parquet whose ways are compared, the first of them drawn: of the deepest
    layer at the last epoch, drawn maps that are not dead.
    """
    layer = evolution.layers[-1]
    rows = evolution.rows(layer=layer, step=evolution.steps[-1], selection="top", rank=0)
    drawn = set(evolution.maps(layer))
    return [row for row in rows if row["map"] in drawn and row["activation"] > 0][:UNITS]


def demonstrate(run: Run, evolution: Evolution, data_dir: Place | None = None) -> Demonstration:
    """Of the deepest layer of an evolution at its last epoch. Raises ZfjaxError where the images
    are not to be had, and where every drawn map is dead.
    """
    alive = shown_units(evolution)
    if not alive:
        raise ZfjaxError(f"Every drawn map of {evolution.layers[-1]} is dead at the last epoch.")
    config = with_data_dir(run.config, data_dir)
    images = images_of(config, open_data(config), evolution.record.split)
    subject = subject_of(run, images)
    parameters = subject.parameters(evolution.steps[-1])
    ways = {
        name: [_way_of(run, subject, parameters, row, name) for row in alive] for name in RULE_NAMES
    }
    own = [steps[-1].signal for steps in ways["deconvnet"]]
    rules = {name: _numbers(steps, own) for name, steps in ways.items()}
    view = np.asarray(subject.images.view(int(alive[0]["image_id"])))  # type: ignore[union-attr]
    kernel = np.asarray(parameters[run.config.model.conv_names[0]]["kernel"])
    return Demonstration(alive[0], view, ways["deconvnet"][0], rules, edges_of(kernel))


def _way_of(
    run: Run, subject: Subject, parameters: Parameters, row: dict[str, Any], rule: str
) -> list[Step]:
    images = subject.need("images", "A unit's way")
    view = images.view(int(row["image_id"]))
    unit = (row["layer"], row["map"], row["y"], row["x"])
    inputs = subject.prepare(np.asarray(view)[None])
    return step_through(run.config.model, parameters, inputs, unit, RULES[rule])


def _numbers(ways: Sequence[Sequence[Step]], own: Sequence[np.ndarray]) -> RuleNumbers:
    cut = [
        # The seed is positive: its own rectification takes nothing.
        float(np.mean([step.cut for step in steps[2:] if step.operation == RECTIFIED] or [0.0]))
        for steps in ways
    ]
    pixels = [steps[-1].signal for steps in ways]
    cosine = [_cosine(*each) for each in zip(pixels, own, strict=True)]
    negative = [float((each < 0).sum() / max((each != 0).sum(), 1)) for each in pixels]
    return RuleNumbers(np.array(cut), np.array(cosine), np.array(negative))


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    x, y = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / size if size else float("nan")


def edges_of(kernel: np.ndarray) -> Edges:
    """A 3x3 filter for vertical edges on images of one edge; ``kernel``: float [h, w, in, maps] of
    the first layer, for the adjoint.
    """
    vertical = np.tile(np.array([-1.0, 0.0, 1.0], np.float32), (3, 1))
    image = np.zeros((1, 12, 12, 1), np.float32)
    image[:, :, 6:] = 1
    answers = tuple(float(_answers(vertical, each).max()) for each in (image, image.swapaxes(1, 2)))
    down = _changes(_sent_down(vertical, image))
    swapped = _changes(_sent_down(vertical, image, vertical.T))
    return Edges((answers[0], answers[1]), down, swapped, _adjoint_error(kernel))


def _answers(kernel: np.ndarray, image: np.ndarray) -> jax.Array:
    return _conv(jnp.asarray(image), kernel[:, :, None, None])


def _conv(x: jax.Array, kernel: np.ndarray) -> jax.Array:
    bias = jnp.zeros(kernel.shape[-1], jnp.float32)
    highest = lax.Precision.HIGHEST
    return conv(x, jnp.asarray(kernel), bias, stride=1, padding=(0, 0), precision=highest)


def _sent_down(
    kernel: np.ndarray, image: np.ndarray, mistaken: np.ndarray | None = None
) -> np.ndarray:
    """What the strongest unit sends back: by the adjoint, or by another kernel's."""
    answers = _answers(kernel, image)
    strongest = np.unravel_index(int(jnp.argmax(answers)), answers.shape)
    seed = jnp.zeros_like(answers).at[strongest].set(answers[strongest])
    back = kernel if mistaken is None else mistaken
    _, pull = jax.vjp(lambda x: _answers(back, x), jnp.asarray(image))
    return np.asarray(pull(seed)[0])[0, :, :, 0]


def _changes(pixels: np.ndarray) -> tuple[float, float]:
    """Mean size of the change across (of a vertical edge) and down, within what is not zero."""
    rows, columns = np.nonzero(pixels.any(axis=1))[0], np.nonzero(pixels.any(axis=0))[0]
    inner = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return (
        float(np.abs(np.diff(inner, axis=1)).mean()),
        float(np.abs(np.diff(inner, axis=0)).mean()),
    )


def _adjoint_error(kernel: np.ndarray) -> float:
    generator = np.random.default_rng(0)
    side = kernel.shape[0] + 9
    x = jnp.asarray(generator.normal(size=(1, side, side, kernel.shape[2])), jnp.float32)
    answers, pull = jax.vjp(lambda image: _conv(image, kernel), x)
    y = jnp.asarray(generator.normal(size=answers.shape), jnp.float32)
    up, back = float((answers * y).sum()), float((x * pull(y)[0]).sum())
    return abs(up - back) / max(abs(up), abs(back))
