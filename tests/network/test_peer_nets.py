"""Projections by a traced network against captum's and zennit's, with the same weights: equal where
those are right, and how far off they are where they are wrong.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.golden.make_peer_nets import CASES, torch_numbers
from tests.network.compared import off

pytestmark = pytest.mark.slow

WRONG = {
    ("branched", "shared", "captum", "deconvnet"): "one ReLU module in parallel branches",
    ("branched", "functional", "captum", "deconvnet"): "functional ReLUs are differentiated",
    ("branched", "functional", "zennit", "deconvnet"): "functional ReLUs are differentiated",
    ("skipped", "own", "captum", "deconvnet"): "a residual from before its ReLU is thrown away",
}


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).parents[1] / "golden" / "peer_nets.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_projections_equal_captum_s_and_zennit_s_where_those_are_right(case, recorded):
    units = recorded[f"{case[0]} units"]
    worst, activations = off(case, units, recorded[" ".join(case)])
    np.testing.assert_allclose(activations, recorded[f"{case[0]} activations"], rtol=1e-9)
    assert (activations > 0).all()
    assert worst > 0.2 if case in WRONG else worst < 1e-6


def test_projections_equal_captum_s_and_zennit_s_live(recorded):
    if not all(importlib.util.find_spec(tool) for tool in ("torch", "captum", "zennit")):
        pytest.skip("not installed; the recorded numbers are compared above")
    for case in CASES:
        signals, _ = torch_numbers(case, recorded[f"{case[0]} units"])
        worst, _ = off(case, recorded[f"{case[0]} units"], signals)
        assert worst > 0.2 if case in WRONG else worst < 1e-6
