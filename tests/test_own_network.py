"""experiments/resnet_scenes.py, the README's "bring your own", at a tiny size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zfjax.run.evolution import open_evolution

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_resnet_of_somebody_s_own_is_trained_evolved_measured_and_reported(tmp_path):
    program = ROOT / "experiments" / "resnet_scenes.py"
    sizes = ["--epochs", "2", "--scenes", "32", "--images", "32", "--rewind-images", "8"]
    chosen = ["--maps", "1", "--layers", "Conv_0", "Block_0"]
    subprocess.run(
        [sys.executable, str(program), "--workdir", str(tmp_path), *sizes, *chosen],
        env={**os.environ, "ZFJAX_DATA": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=500,
    )
    evolution = open_evolution(tmp_path / "out" / "evolution")
    assert evolution.layers == ("Conv_0", "Block_0") and evolution.epochs == (0, 1, 2)
    told = json.loads((tmp_path / "out" / "measures" / "settling.json").read_text())
    assert told["sentence"].startswith("Do lower layers settle first? ")
    assert "rewind" in told["sentence"] and "not measured" not in told["sentence"]
    assert (tmp_path / "out" / "report" / "index.html").is_file()
