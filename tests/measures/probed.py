"""A probe made by hand, and what a measure makes of it."""

import json

import numpy as np

from tests.measures.held import subject_holding
from zfjax.measures.choosing import with_options
from zfjax.measures.protocol import Looked
from zfjax.measures.writing import columns_of
from zfjax.network.architecture import Architecture, Conv
from zfjax.run.measured import Measured, measures_table
from zfjax.run.probe import MAXIMA, MEANS, array_name, quantised, write_probe


def make_probe(path, values, labels=None, means=None):
    """``values``: {step: {layer: [n, maps]}}."""
    steps, first = sorted(values), values[min(values)]
    images = len(next(iter(first.values())))
    labels = np.full(images, -1) if labels is None else labels
    kinds = (MAXIMA, MEANS) if means else (MAXIMA,)
    meta = {
        "asked": {},
        "steps": steps,
        "layers": {layer: array.shape[1] for layer, array in first.items()},
        "kinds": kinds,
    }

    def arrays():
        for kind, table in zip(kinds, (values, means), strict=False):
            for step in steps:
                for layer, array in table[step].items():
                    small, scale = quantised(np.asarray(array, np.float32))
                    yield array_name(kind, step, layer), small
                    yield array_name(kind, step, layer, "scale"), scale

    return write_probe(path, meta, (np.arange(images), labels), arrays())


def subject_like(values, parameters=None, epochs=None):
    """A subject with these layers and maps; parameters drawn anew at each step where none are."""
    first = values[min(values)]
    convolutions = tuple(Conv(name, array.shape[1], 3) for name, array in first.items())
    architecture = Architecture("made", (32, 32), convolutions)
    generator = np.random.default_rng(0)

    def drawn():
        tree, inputs = {}, 3
        for layer in convolutions:
            kernel = generator.normal(size=(3, 3, inputs, layer.maps)).astype(np.float32)
            tree[layer.name], inputs = {"kernel": kernel, "bias": np.zeros(layer.maps)}, layer.maps
        return tree

    return subject_holding(
        architecture, parameters or {step: drawn() for step in values}, epochs=epochs
    )


def measure_probe(measure, probe, values, earlier=None, subject=None, **options):
    """(table as it is read back, what is told of it)."""
    subject = subject or subject_like(values)
    chosen = with_options(measure, options)
    looked = Looked(
        subject, subject.steps, tuple(subject.layers), probe=probe, earlier=earlier or {}
    )
    table = measures_table(columns_of(measure.rows(looked, chosen), looked))
    meta = {
        "steps": subject.steps,
        "epochs": subject.epochs,
        "layers": tuple(subject.layers),
        "images": len(probe.ids) if probe is not None else 0,
        "asked": {"split": "train", "options": {}},
        "read": sorted(earlier or {}),
    }
    measured = Measured(probe.path.parent, measure.name, json.loads(json.dumps(meta)), table)
    return measured, measure.tell(measured, (), chosen)
