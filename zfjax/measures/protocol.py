"""What a measure is: three functions, and what they are given and give back.

``running`` says how to write one; ``census`` is a short one to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from zfjax.errors import ZfjaxError
from zfjax.features.riding import Look
from zfjax.features.units import layer_columns
from zfjax.network.layers import Layer
from zfjax.progress import Progress
from zfjax.run.folder import Run
from zfjax.run.measured import Measured
from zfjax.run.probe import MAXIMA, MEANS, Probe
from zfjax.subject import Subject

Kept = Mapping[str, np.ndarray]
"""What ``Measure.keeps`` has kept of all batches, of one step."""


ARCHITECTURE, EVOLUTION = "architecture", "evolution"
"""Of ``Measure.needs``."""
NEEDS = ("images", "labels", "scores", "initial", ARCHITECTURE, EVOLUTION)
_WORDS = {"probe": "reads of the probe", "needs": "needs", "reads": "reads of other measures"}


@dataclass(frozen=True)
class NoOptions:
    """The options of a measure that has none."""


@dataclass(frozen=True)
class Quantity:
    """One kind of number at one step: of a layer, or of each of its maps.

    ``value``: a number, or an array [maps] (map 0 first); ``low``, ``high``: likewise, the ends of
    an interval; ``n``: over how many. NaN and None are undefined: null in the table.
    """

    step: int
    layer: str | None
    """None: of the whole network."""
    name: str
    """snake_case, the same in every layer."""
    value: float | np.ndarray | None
    low: float | np.ndarray | None = None
    high: float | np.ndarray | None = None
    n: int | None = None
    unit: str = ""
    """"share", "epochs", "classes", "cycles/pixel"; "" for a bare number."""


@dataclass(frozen=True)
class Pictures:
    """Some maps of a layer at one step as pictures, for ``tell`` to draw: ``Measured.pictures``."""

    step: int
    layer: str
    maps: np.ndarray
    """int [n], which."""
    pixels: np.ndarray
    """Float [n, height, width, channels], signed; kept as float16 over a scale for each."""


@dataclass(frozen=True)
class Noted:
    """What ``tell`` needs beside numbers and pictures: it comes into ``Measured.meta["noted"]``."""

    words: Mapping[str, Any]
    """Words, plain numbers, lists and such mappings, as JSON has them."""


@dataclass(frozen=True)
class Looked:
    """What the pass has seen, for ``Measure.rows``."""

    subject: Subject
    """Parameters by ``subject.parameters(step)``; images, scores, labels where it has some."""
    steps: tuple[int, ...]
    """Asked for, ascending."""
    layers: tuple[str, ...]
    """Asked for, in forward order."""
    kept: Mapping[int, Kept] = field(default_factory=dict)
    """By step; empty where the measure keeps nothing."""
    probe: Probe | None = None
    """The fixed probe, where the measure reads it."""
    run: Run | None = None
    """None where what is looked at is no run of ours."""
    earlier: Mapping[str, Measured] = field(default_factory=dict)
    """The measures named in ``Measure.reads`` that this run has, of the same steps."""
    home: Path | None = None
    """The folder of the run, or of what was adopted; None where nothing is known to stand on
    disk.
    """
    progress: Progress | None = None

    @property
    def epochs(self) -> tuple[float, ...]:
        """Epochs of ``steps``."""
        return tuple(self.subject.epoch(step) for step in self.steps)

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where each layer's maps stand among those of all ``layers``, side by side."""
        return layer_columns(self.subject.layers, self.layers)

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        return self.subject.layer(name)


@dataclass(frozen=True)
class Told:
    """What a measure says of its numbers."""

    sentence: str
    """One or two sentences with the numbers and what they are over."""
    lines: tuple[str, ...] = ()
    """A plain table below it, ``plain_table``'s lines."""
    chart: Figure | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Plain numbers and words for <name>.json, by name."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What stands beside these, by file name."""


@dataclass(frozen=True)
class Measure:
    """One analysis. ``name``: letters, digits and "_"; of its file and of its flags."""

    name: str
    rows: Callable[[Looked, Any], Iterable[Quantity | Pictures | Noted]]
    """(what was seen, options) -> its numbers, and what there is to see."""
    tell: Callable[[Measured, Sequence[Measured], Any], Told]
    """(its table, that of other seeds' runs, options) -> sentence, lines, chart; of saved numbers
    alone, so that it can be said again."""
    keeps: Callable[[Look, Any], Mapping[str, Mapping[str, jax.Array]]] | None = None
    """(a piece of a batch, options) -> {"sum": {name: integers}, "max": {...}, "min": {...}}, each
    array of one shape for all pieces. Traced by JAX. Sums are of integers alone: those of floats
    would depend on their order. Mind ``look.real``: rows of padding are to count nowhere."""
    options: Any = NoOptions()
    """A frozen dataclass with defaults: each field is a flag ``--<name>.<field>``."""
    probe: tuple[str, ...] = ()
    """"maxima", "means": what it reads of the fixed probe."""
    needs: tuple[str, ...] = ()
    """"images", "labels", "scores", "initial", as in ``Subject.need``; "labels" are the images';
    "architecture": layers of zfjax's own, which somebody else's network is not made of;
    "evolution": a finished one, of the name in the option ``evolution``, if it has that."""
    reads: tuple[str, ...] = ()
    """Other measures whose tables it reads where they are there."""
    least_steps: int = 1
    """Checkpoints without which it has nothing to say."""
    checks: Callable[[Looked, Any], None] | None = None
    """(what is looked at, options): raises ZfjaxError for what it cannot do with these, before
    anything is run."""
    files: Callable[[Any], Sequence[Path]] | None = None
    """(options) -> the user's files among them that are no field of type Path: with other contents
    it is another measure."""
    evaluates: Callable[[Looked, Any], tuple[int, int]] | None = None
    """(what is looked at, options) -> how often ``rows`` runs the whole network by itself, and over
    how many images each time: for who asks what it will cost."""
    version: int = 1
    """Of what ``rows`` give for the same options: a table of another version is made anew."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ZfjaxError(f"A measure's name is letters, digits and '_', not {self.name!r}.")
        if not is_dataclass(self.options) or isinstance(self.options, type):
            raise ZfjaxError(
                f"The options of the measure {self.name} are an instance of a frozen dataclass with"
                f" defaults, not {self.options!r:.40}."
            )
        for word, known in (("probe", (MAXIMA, MEANS)), ("needs", NEEDS), ("reads", None)):
            names = getattr(self, word)
            if not isinstance(names, tuple) or (known and set(names) - set(known)):
                of = f" of {', '.join(map(repr, known))}" if known else " of measures' names"
                raise ZfjaxError(
                    f"What the measure {self.name} {_WORDS[word]} is a tuple{of}; {word}={names!r}"
                    " is not."
                )

    @property
    def takes_images(self) -> bool:
        """Whether it needs a pass over images."""
        return self.keeps is not None or bool(self.probe)


def plain_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Lines of a table for a terminal: the first column to the left, the others to the right."""
    cells = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return tuple(
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def shown(value: float | None, form: str = "{:.2f}") -> str:
    """A number as it stands in ``plain_table``; "-" where it is undefined."""
    return "-" if value is None or np.isnan(value) else form.format(value)
