"""What the readers' questions are answered with: edges by hand, the adjoint, and the drawing."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.synthetic_run import SMALL, make_run
from zfjax.features.stepping import Step
from zfjax.studies.demonstrations import Demonstration, Edges, RuleNumbers, edges_of, shown_units
from zfjax.studies.drawn_steps import step_figure
from zfjax.studies.kept_demonstrations import FILE, Told, keep_demonstrations, read_demonstrations


def test_a_vertical_edge_stays_vertical_and_by_the_mistaken_transpose_does_not():
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 7)).astype(np.float32)
    edges = edges_of(kernel)
    # By hand: three rows of (-1, 0, 1) on a step from 0 to 1 sum to 3; along an edge to 0.
    assert edges.answers == (3.0, 0.0)
    # The unit's 3 times the kernel: columns -3, 0, 3 in every row.
    assert edges.down == (3.0, 0.0)
    assert edges.swapped == (0.0, 3.0)
    assert 0 <= edges.adjoint < 1e-5


@pytest.mark.parametrize("maps", [1, 5])
def test_every_step_is_drawn_whatever_its_shape(maps):
    generator = np.random.default_rng(1)

    def signal(side, channels):
        return generator.normal(size=(side, side, channels)).astype(np.float32)

    steps = [
        Step("conv2", "seeded", np.zeros((3, 3, maps), np.float32), 0.0),
        Step("conv2", "rectified", signal(3, maps), 0.0),
        Step("conv2", "filtered", signal(7, 2), 0.0),
        Step("conv1", "rectified", signal(7, 2), 0.4),
        Step("conv1", "filtered", signal(12, 3), 0.0),
    ]
    patch = generator.integers(0, 256, (12, 12, 3), np.uint8)
    unit = {"layer": "conv2", "map": 0, "y": 1, "x": 1, "activation": 1.0, "image_id": 3}
    data = step_figure(Demonstration(unit, patch, steps))
    with Image.open(io.BytesIO(data)) as image:
        assert image.width == 1400


def test_what_is_kept_is_told_again_of_the_same_evolution_alone(tmp_path):
    evolution = make_run(tmp_path, SMALL).evolution()
    units = shown_units(evolution)
    numbers = RuleNumbers(np.array([0.25, 0.1]), np.array([1.0, math.nan]), np.array([0.5, 0.5]))
    edges = Edges((3.0, 0.0), (3.0, 0.0), (0.0, 3.0), 1e-7)
    told = Told(units[0], b"a picture", {"deconvnet": numbers}, edges)
    assert read_demonstrations(tmp_path, evolution) is None
    keep_demonstrations(tmp_path, told)
    again = read_demonstrations(tmp_path, evolution)
    assert (again.figure, again.edges) == (told.figure, edges)
    assert again.unit["activation"] == pytest.approx(units[0]["activation"])
    for name, values in vars(numbers).items():
        np.testing.assert_array_equal(getattr(again.rules["deconvnet"], name), values)
    keep_demonstrations(tmp_path, replace(told, unit=units[1]))
    assert read_demonstrations(tmp_path, evolution) is None
    for broken in (b"PK not an archive", (tmp_path / FILE).read_bytes()[:-40]):
        (tmp_path / FILE).write_bytes(broken)
        assert read_demonstrations(tmp_path, evolution) is None
