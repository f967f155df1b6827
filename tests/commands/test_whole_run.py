"""The path that users take: one process, one CPU device, no fakes; and commands that no other test
runs.
"""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from tests.small import make_config
from zfjax import config as configs
from zfjax import presets
from zfjax.commands.cli import main
from zfjax.run.folder import load_run

pytestmark = pytest.mark.slow

COMMANDS = """
import json, runpy, sys
import zfjax
for words in json.loads(sys.argv[1]):
    print("$", *words, flush=True)
    sys.argv = ["zfjax", *words]
    runpy.run_module("zfjax", run_name="__main__")
import jax
print("devices", jax.devices())
"""


def test_every_command_of_a_run_on_the_one_device_that_users_have(tmp_path, data_dir, unbroken):
    """As ``python -m zfjax`` runs them, one after the other in one process."""
    folder, record = tmp_path / "run", tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(make_config(data_dir))))
    image = next((data_dir.parent / "source" / "val").rglob("*.jpg"))
    run = ["--workdir", str(folder)]
    commands = (
        ["train", "--config", str(record), *run, "--deterministic"],
        ["evaluate", *run],
        ["evolve", *run, "--maps", "2", "--top", "2"],
        ["report", *run],
        ["project", *run, "--image", str(image), "--layer", "conv2", "--map", "1"],
        ["info", *run],
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMANDS, json.dumps(commands)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "devices [CpuDevice(id=0)]"
    trained = load_run(folder)
    assert trained.steps == (0, 4, 8, 12)
    assert [(start.devices, start.deterministic) for start in trained.starts] == [(1, True)]
    losses = [
        [line["loss"] for line in one.metrics if "loss" in line]
        for one in (load_run(unbroken), trained)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4), "as on one of eight fake devices"
    told = done.stdout.split("\n$ ")
    rates = [line for line in told[1].splitlines() if line.strip()[:1].isdigit()]
    assert len(rates) == 4, "one an epoch, and the initial network's"
    evolution = trained.evolution()
    assert evolution.steps == trained.steps and evolution.meta["top"] == 2
    assert (folder / "report" / "index.html").exists()
    assert len(list((folder / "projections").glob("conv2-1-*.png"))) == 1


def test_deterministic_asks_xla_for_it_beside_what_is_asked_already(
    tmp_path, data_dir, monkeypatch
):
    from zfjax.commands import training

    record, asked = tmp_path / "config.json", []
    record.write_text(json.dumps(configs.to_json(make_config(data_dir))))
    monkeypatch.setattr(
        training, "run_training", lambda *_, **__: asked.append(os.environ["XLA_FLAGS"])
    )
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag=1")
    for flags in ([], ["--deterministic"]):
        assert main(["train", "--config", str(record), "--workdir", str(tmp_path), *flags]) == 0
    assert asked == ["--xla_some_flag=1", "--xla_some_flag=1 --xla_gpu_deterministic_ops=true"]


def test_the_demo_trains_evolves_and_reports(tmp_path, data_dir, monkeypatch, capsys):
    """With a preset of a few images in place of the drawn scenes."""
    small = make_config(data_dir, preset="demo", epochs=1)
    model = small.model.replace("conv1", maps=16).replace("conv2", maps=16)  # as many as are drawn
    small = dataclasses.replace(small, model=model)
    monkeypatch.setitem(presets.PRESETS, "demo", small)
    folder = tmp_path / "demo"
    assert main(["demo", "--workdir", str(folder)]) == 0
    told = capsys.readouterr().out.splitlines()
    page = folder / "report" / "index.html"
    assert told[-1] == f"Open the report: {page}" and page.exists()
    run = load_run(folder)
    assert run.steps == (0, 4) and run.evolution().steps == (0, 4)
    assert set(json.loads((folder / "summary.json").read_text())["seconds"]) >= {"train", "report"}


def test_data_sets_are_listed_with_what_tells_them_apart(tmp_path, data_dir, capsys):
    assert main(["data", "list", "--data-dir", str(data_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small 1.0.0, 3 classes"
    splits = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert {split: words[:2] for split, words in splits.items()} == {
        "train": ["36", "images"],
        "validation": ["12", "images"],
    }
    assert len({words[-1] for words in splits.values()}) == 2, "digests"
    assert main(["data", "list", "--data-dir", str(tmp_path / "none")]) == 1
    assert "There is no data set in" in capsys.readouterr().err
