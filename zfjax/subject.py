"""The subject: what is looked at. Which layers, how to run them, with which parameters at which
step, on which images, prepared how.

Search, projection, drawing and evaluation take one frozen value and ask nothing else of a run; a
network that is not ours is one more constructor beside ``subject_of``. What is compiled takes the
static part of it, a ``Network``, which is equal and hashes alike for equal networks: another
subject of the same network compiles nothing anew.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfjax.config import Config
from zfjax.data.dataset import Dataset
from zfjax.data.views import Evaluated, Images
from zfjax.errors import ZfjaxError
from zfjax.inputs import Preparation, load_mean_image, preparation_of, reading_of
from zfjax.network.architecture import Architecture
from zfjax.network.hidden import hidden_dense, hidden_values
from zfjax.network.layers import Layer, layers_of
from zfjax.network.model import Parameters, class_scores, feature_maps, initial_parameters
from zfjax.network.ops import GRADIENT, Rule
from zfjax.network.precision import HIGHEST, Precision, multiplied_at, rounded
from zfjax.processes import as_first, first_alone
from zfjax.run import checkpoint
from zfjax.run.folder import Run
from zfjax.values import Epochs

Origins = tuple[jax.Array, jax.Array]
"""Rows and columns (int32 [n] each) of the input where receptive-field crops begin."""


class Forward(Protocol):
    """A forward pass; a frozen dataclass, hashable, equal where it computes the same."""

    @property
    def precision(self) -> Precision:
        """At which it multiplies: "highest" but in a coarse search (``Network.multiplied``)."""

    def __call__(
        self,
        parameters: Parameters,
        inputs: jax.Array,
        *,
        until: str,
        rule: Rule = GRADIENT,
        origins: Origins | None = None,
    ) -> dict[str, jax.Array]:
        """{layer: maps [n, height, width, maps]} of normalised inputs [n, h, w, 3], up to layer
        ``until`` at least.

        ``rule``: how a signal comes down when this is differentiated. ``origins``: the inputs are
        the windows of units of ``until`` that begin there, and the one unit that is left has the
        value that the whole image gives it.
        """


class Scores(Protocol):
    """Class scores at precision HIGHEST; hashable like a ``Forward``."""

    def __call__(self, parameters: Parameters, inputs: jax.Array) -> jax.Array:
        """float32 [n, classes] of normalised inputs [n, h, w, 3]."""


@dataclass(frozen=True)
class Network:
    """The static part of a subject: its layers and how they are run."""

    name: str
    sequence: tuple[Layer, ...]
    """In forward order."""
    forward: Forward
    input_size: tuple[int, int]
    """(height, width) of the input, in pixels."""

    @property
    def layers(self) -> Mapping[str, Layer]:
        """By name, in forward order."""
        return {layer.name: layer for layer in self.sequence}

    def layer(self, name: str) -> Layer:
        """The layer of that name. Raises ZfjaxError naming the layers there are."""
        if name not in self.layers:
            raise ZfjaxError(
                f"{self.name} has no convolution {name!r}; it has {', '.join(self.layers)}."
            )
        return self.layers[name]

    def first_kernel(self, parameters: Parameters) -> Any:
        """The filters of the first convolution: [height, width, channels, maps]."""
        find = getattr(self.forward, "first_kernel", None)
        return parameters[self.sequence[0].name]["kernel"] if find is None else find(parameters)

    def kernel(self, parameters: Parameters, layer: str) -> np.ndarray | None:
        """The kernel of the convolution that a layer is named after, [height, width, channels,
        maps], of a network that is traced; None where that is not known.
        """
        find = getattr(self.forward, "kernel", None)
        return None if find is None else find(parameters, layer)

    def own_parameters(self, layer: str) -> tuple[tuple[str, ...], ...]:
        """Where a layer's own parameters stand in the whole tree, as paths; none where it shares
        all of them with layers before it.
        """
        find = getattr(self.forward, "own_leaves", None)
        return ((layer,),) if find is None else tuple(tuple(p.split("/")) for p in find(layer))

    @property
    def hidden(self) -> Mapping[str, int]:
        """Fully connected layers after the convolutions, before the scores, in forward order:
        {name: features}; none where the forward pass does not tell.
        """
        find = getattr(self.forward, "hidden", None)
        return {} if find is None else find()

    def features(self, parameters: Parameters, inputs: jax.Array) -> dict[str, jax.Array]:
        """What every layer gives, rectified: {layer: maps [n, height, width, maps]}, then {hidden
        layer: [n, features]}, of the whole tree of parameters. Traced by JAX.
        """
        find = getattr(self.forward, "features", None)
        if find is None:
            return self.forward(parameters, inputs, until=self.sequence[-1].name)
        return find(parameters, inputs)

    def highest(self, names: Iterable[str]) -> Layer:
        """The last of these layers in forward order: the forward pass may stop there."""
        wanted = set(names)
        return [layer for layer in self.sequence if layer.name in wanted][-1]

    def multiplied(self, precision: Precision) -> Network:
        """The same network, run at another precision."""
        forward: Any = self.forward
        return dataclasses.replace(self, forward=dataclasses.replace(forward, precision=precision))


@dataclass(frozen=True, eq=False)
class Subject:
    """What is looked at; see the top of this file. What may be None is asked for by ``need``."""

    network: Network
    steps: tuple[int, ...]
    """Steps whose parameters are saved, ascending."""
    epochs: tuple[float, ...]
    """Of ``steps``."""
    load: Callable[[int, tuple[str, ...] | None], Parameters]
    """The parameters of a step, digests checked; of these layers, or None: all."""
    find_steps: Callable[[Epochs | None], tuple[int, ...]]
    """Saved steps in the words of ``--at``; None: all."""
    preparation: Preparation
    mean_image: np.ndarray | jax.Array | None = None
    """float32 [view, view, 3], where the preparation takes one."""
    images: Evaluated | None = None
    """``views.LookedAt``, for all but an evaluation."""
    train_split: str | None = None
    """The split it was trained on."""
    scores: Scores | None = None
    labels: tuple[str, ...] | None = None
    """The names of the classes."""
    initial: Callable[[int], Parameters] | None = None
    """The parameters at step 0, a pure function of a seed."""
    digest: Callable[[int], str] | None = None
    """What tells the saved parameters of a step from others; None: not known."""
    foreign: Mapping[str, Any] | None = None
    """What a network and checkpoints that are not a run's are told by, as JSON; None for a run."""
    opened_from: Mapping[str, Any] | None = None
    """The words that open such a one again, as JSON: what came as an object is None there."""

    @property
    def layers(self) -> Mapping[str, Layer]:
        """What can be searched and projected, by name, in forward order."""
        return self.network.layers

    @property
    def forward(self) -> Forward:
        """(parameters, inputs, until=, rule=, origins=) -> {layer: maps}."""
        return self.network.forward

    def layer(self, name: str) -> Layer:
        """The layer of that name. Raises ZfjaxError naming the layers there are."""
        return self.network.layer(name)

    def epoch(self, step: int) -> float:
        """Epochs trained at a saved step."""
        return self.epochs[self.steps.index(step)]

    def parameters(self, step: int, *, whole: bool = False) -> Parameters:
        """The parameters of a saved step, in host memory, digests checked: those that ``layers``
        need, or the ``whole`` tree. Raises ZfjaxError for a step that is absent or damaged.
        """
        return self.load(step, None if whole else tuple(self.layers))

    def holding(self, steps: Sequence[int]) -> Subject:
        """A copy that has read what its layers need at these steps, and keeps it in host memory."""
        kept = {step: self.parameters(step) for step in steps}

        def load(step: int, names: tuple[str, ...] | None) -> Parameters:
            return kept[step] if step in kept and names is not None else self.load(step, names)

        return dataclasses.replace(self, load=load)

    def prepare(self, views: Any) -> jax.Array:
        """Views uint8 [n, view, view, 3] to the network's inputs, on the device."""
        return _prepare(views, self.mean_image, preparation=self.preparation)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Of the images: name, version, split, count, digest; ``checkpoints`` says the rest."""
        return self.need("images", "A fingerprint").fingerprint

    def checkpoints(self, steps: Sequence[int]) -> dict[str, str]:
        """The digest of each of these saved steps, by step; {} where none are known. Raises
        ZfjaxError for a step that is absent or damaged.
        """
        return {} if self.digest is None else {str(step): self.digest(step) for step in steps}

    def need(self, what: str, purpose: str) -> Any:
        """Its "images", "scores", "labels" or "initial". Raises ZfjaxError where it has none."""
        value = getattr(self, what)
        if value is None:
            words = {"scores": "class scores", "initial": "an initialiser"}.get(what, what)
            raise ZfjaxError(f"{purpose} needs {words}, and what is looked at has none.")
        return value


@functools.partial(jax.jit, static_argnames="preparation")
def _prepare(
    views: jax.Array, mean_image: jax.Array | None, *, preparation: Preparation
) -> jax.Array:
    return preparation.inputs(views, mean_image)


@dataclass(frozen=True)
class ArchitectureForward:
    """``Forward`` of our own networks."""

    architecture: Architecture
    precision: Precision = HIGHEST

    def __call__(
        self,
        parameters: Parameters,
        inputs: jax.Array,
        *,
        until: str,
        rule: Rule = GRADIENT,
        origins: Origins | None = None,
    ) -> dict[str, jax.Array]:
        """As in ``Forward``."""
        maps = feature_maps(
            self.architecture,
            parameters,
            rounded(inputs, self.precision),
            until=until,
            rule=rule,
            precision=multiplied_at(self.precision),
            window_origins=origins,
        )
        return {name: values.astype(jnp.float32) for name, values in maps.items()}

    def hidden(self) -> dict[str, int]:
        """Features of the fully connected layers before the scores, by name."""
        names = hidden_dense(self.architecture)
        return {name: self.architecture.fact(name).shape[2] for name in names}

    def features(self, parameters: Parameters, inputs: jax.Array) -> dict[str, jax.Array]:
        """As in ``Network``."""
        return hidden_values(self.architecture, parameters, inputs)


@dataclass(frozen=True)
class ArchitectureScores:
    """``Scores`` of our own networks."""

    architecture: Architecture

    def __call__(self, parameters: Parameters, inputs: jax.Array) -> jax.Array:
        """As in ``Scores``."""
        return class_scores(self.architecture, parameters, inputs, precision=lax.Precision.HIGHEST)


def network_of(architecture: Architecture) -> Network:
    """The convolutions of an architecture, to look at."""
    layers = tuple(layers_of(architecture).values())
    forward = ArchitectureForward(architecture)
    return Network(architecture.name, layers, forward, architecture.input_size)


def images_of(config: Config, dataset: Dataset, split: str) -> Images:
    """A split of a run's data set as the run looks at it; of many processes each reads its
    share.
    """
    return Images(dataset, split, reading_of(config))


def subject_of(
    run: Run, images: Images | None = None, mean_image: np.ndarray | jax.Array | None = None
) -> Subject:
    """A run as what is looked at, on these images (None: what needs some will say so).
    ``mean_image``: for who has it already; None: read from the run, where its recipe takes one.
    Raises ZfjaxError for one that is damaged.
    """
    architecture = run.config.model

    def load(step: int, names: tuple[str, ...] | None) -> Parameters:
        return checkpoint.load(run.checkpoints / str(step), names)

    def find_steps(words: Epochs | None) -> tuple[int, ...]:
        # As process 0 sees the folder: others may see late what is new in it.
        return as_first(first_alone(lambda: run.steps_at(words)))

    def digest(step: int) -> str:
        return checkpoint.step_digest(run.checkpoints / str(step))

    return Subject(
        network=network_of(architecture),
        steps=run.steps,
        epochs=tuple(run.epoch(step) for step in run.steps),
        load=load,
        find_steps=find_steps,
        preparation=preparation_of(run.config),
        mean_image=load_mean_image(run) if mean_image is None else mean_image,
        images=images,
        train_split=run.config.data.train_split,
        scores=ArchitectureScores(architecture),
        labels=run.class_names,
        initial=lambda seed: initial_parameters(
            architecture, run.config.recipe, seed, run.config.layer_keys
        ),
        digest=digest,
    )
