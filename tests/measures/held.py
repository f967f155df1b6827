"""Parameters held in memory as what is looked at, and a measure of them as it is read back."""

import json
from pathlib import Path

from zfjax.inputs import Preparation
from zfjax.measures.choosing import with_options
from zfjax.measures.protocol import Looked, Quantity
from zfjax.measures.writing import columns_of
from zfjax.run.measured import Measured, measures_table
from zfjax.subject import Subject, network_of


def subject_holding(architecture, parameters, epochs=None, **more):
    """A subject of {step: parameters}."""
    steps = tuple(sorted(parameters))
    epochs = tuple(map(float, epochs or steps))

    def load(step, names):
        tree = parameters[step]
        return tree if names is None else {name: tree[name] for name in names}

    size = architecture.input_size
    preparation = Preparation("modern", size[0], size)
    return Subject(
        network_of(architecture), steps, epochs, load, lambda words: steps, preparation, **more
    )


def measured_of(measure, subject, run=None, **options):
    """(table as it is read back, what is told of it)."""
    chosen = with_options(measure, options)
    looked = Looked(subject, subject.steps, tuple(subject.layers), run=run)
    numbers = [item for item in measure.rows(looked, chosen) if isinstance(item, Quantity)]
    table = measures_table(columns_of(numbers, looked))
    meta = {"steps": subject.steps, "epochs": subject.epochs, "layers": tuple(subject.layers)}
    measured = Measured(Path("measures"), measure.name, json.loads(json.dumps(meta)), table)
    return measured, measure.tell(measured, (), chosen)
