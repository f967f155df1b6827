"""Two and four real processes over loopback: the same loss curve and table as one, resumed by any
other number.
"""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.small import make_config
from zfjax import config as configs
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError
from zfjax.features.evolving import evolve
from zfjax.joining import check_equal_devices
from zfjax.measures.running import measure
from zfjax.run import checkpoint
from zfjax.run.evolution import open_evolution
from zfjax.run.folder import load_run
from zfjax.run.measured import open_measured
from zfjax.run.steps import saved_steps
from zfjax.training.loop import train

pytestmark = pytest.mark.slow


def start(count, *arguments, program=("-m", "zfjax")):
    """``count`` processes of one zfjax command, one CPU device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    return [
        subprocess.Popen(
            [
                sys.executable,
                *program,
                *map(str, arguments),
                "--coordinator",
                f"127.0.0.1:{port}",
                "--process-count",
                str(count),
                "--process-index",
                str(index),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]


def finish(processes, status=0):
    told = []
    try:
        for process in processes:
            told.append(process.communicate(timeout=180))
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [status] * len(processes), told
    return told


def train_arguments(tmp_path, data_dir, folder):
    record = tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(make_config(data_dir))))
    return "train", "--config", record, "--workdir", folder


def assert_close_runs(one, other):
    runs = load_run(one), load_run(other)
    assert runs[0].steps == runs[1].steps
    lines = [[(line["step"], line["split"]) for line in run.metrics] for run in runs]
    assert lines[0] == lines[1]
    losses = [[line["loss"] for line in run.metrics] for run in runs]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    trees = [
        checkpoint.leaf_paths(checkpoint.load(folder / "checkpoints" / "12"))
        for folder in (one, other)
    ]
    for name, leaf in trees[0].items():
        np.testing.assert_allclose(leaf, trees[1][name], rtol=1e-3, atol=1e-5)


def test_four_processes_train_alike(tmp_path, data_dir, unbroken):
    """Two are below, and in commands/test_more_epochs.py."""
    told = finish(start(4, *train_arguments(tmp_path, data_dir, tmp_path / "run")))
    own = [[line for line in out.splitlines() if not line.startswith("[Gloo]")] for out, _ in told]
    assert own[0][-1].startswith("Next: zfjax evolve") and not any(own[1:]), "process 0 speaks"
    assert_close_runs(unbroken, tmp_path / "run")


ADDED = """
import sys
import numpy as np
from zfjax.errors import ZfjaxError
from zfjax.joining import join
from zfjax.processes import added, together
_, address, _, count, _, index = sys.argv[1:]
index = int(index)
join(address, int(count), index)
own = np.array([2**53 - 1 - index, index, 255 * 1_281_167])
assert added(own).tolist() == [2**54 - 3, 1, 510 * 1_281_167]
assert together(lambda: index) == index
def fail():
    if index:
        raise ZfjaxError("Image 7 cannot be read.")
try:
    together(fail)
except ZfjaxError as error:
    print(error)
"""


def test_processes_add_exactly_and_fail_together():
    told = [out.splitlines()[-1] for out, _ in finish(start(2, program=("-c", ADDED)))]
    assert told == ["Process 1 stopped; its message says why.", "Image 7 cannot be read."]


def test_sigterm_to_one_process_stops_all_at_one_step_and_any_number_goes_on(
    tmp_path, data_dir, unbroken
):
    folder = tmp_path / "run"
    arguments = train_arguments(tmp_path, data_dir, folder)
    processes = start(2, *arguments)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and processes[1].poll() is None:
        if (folder / "metrics.jsonl").exists():
            break
        time.sleep(0.005)
    processes[1].send_signal(signal.SIGTERM)
    told = finish(processes, 128 + signal.SIGTERM)
    assert all("Stopped on SIGTERM at step" in errors for _, errors in told)
    assert len({errors.split(" at step ")[1].split()[0] for _, errors in told}) == 1
    before = load_run(folder)
    assert saved_steps(before.resume) and before.last_step not in before.steps
    train(make_config(data_dir), folder, devices=1)
    assert_close_runs(unbroken, folder)


SHARDED = """
import sys
from zfjax import devices
from zfjax.commands.cli import main
devices.SHARDED_FROM = 100
sys.exit(main([*sys.argv[1:], "--shard-parameters", "--save-minutes", "0.00001"]))
"""


def test_two_processes_that_share_parameters_go_on_from_one(tmp_path, data_dir, unbroken):
    """They save after every step: a save gathers the parts, so that all must come to it at the same
    step.
    """
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    shutil.rmtree(folder / "checkpoints" / "12")
    shutil.rmtree(folder / "resume" / "12")
    finish(start(2, *train_arguments(tmp_path, data_dir, folder), program=("-c", SHARDED)))
    assert_close_runs(unbroken, folder)


def test_a_refusal_ends_all_processes_in_one_sentence(tmp_path, data_dir, unbroken):
    config = dataclasses.replace(make_config(data_dir), seed=9)
    record = tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(config)))
    told = finish(start(2, "train", "--config", record, "--workdir", unbroken), 1)
    assert "seed 0 -> 9" in told[0][1] and "Process 0 stopped" in told[1][1]
    assert not any("Traceback" in errors for _, errors in told)


def test_one_that_fails_alone_leaves_and_the_others_say_so(tmp_path, with_a_bad_record):
    config = make_config(with_a_bad_record)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, name="bad", validation_split="train")
    )
    record = tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(config)))
    told = [
        errors
        for _, errors in finish(
            start(2, "train", "--config", record, "--workdir", tmp_path / "run"), 1
        )
    ]
    assert sum("Image 5 of split 'train' of bad" in errors for errors in told) == 1
    assert (
        sum(
            "Another process of this run has ended, and its own messages say why" in errors
            for errors in told
        )
        == 1
    )
    assert not any("Traceback" in errors or "Check failure" in errors for errors in told)


def table_of(folder):
    return pq.read_table(folder / "evolution" / "units.parquet").to_pylist()


def test_the_search_of_many_processes_or_devices_gives_the_same_table(tmp_path, unbroken):
    expected = tmp_path / "expected"
    shutil.copytree(unbroken, expected)
    # On eight fake devices, where conftest.py has set them.
    evolve(expected, maps=3, top=4, selections=["low", "quantile:0.5"])
    folder = tmp_path / "three"
    shutil.copytree(unbroken, folder)
    asked = ("--maps", "3", "--top", "4", "--selections", "low", "quantile:0.5")
    finish(start(3, "evolve", "--workdir", folder, *asked))
    assert table_of(folder) == table_of(expected)
    assert not list((folder / "evolution").glob("search*"))
    assert len(jax.devices()) == 8 or pytest.skip("needs the 8 fake devices of conftest.py")


def test_a_search_that_was_stopped_goes_on_in_two_processes(tmp_path, unbroken, monkeypatch):
    folder, expected = tmp_path / "stopped", tmp_path / "expected"
    for copy in (folder, expected):
        shutil.copytree(unbroken, copy)
    evolve(expected, maps=3, top=4, selections="low")

    def stop(stage, done, total, **figures):
        if stage == "searching" and done < total and (folder / "evolution" / "search.npz").exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("zfjax.features.searching.SAVE_SECONDS", 0.0)
        patched.setattr("zfjax.features.strongest.search_batch", lambda network: 1)
        evolve(folder, maps=3, top=4, progress=stop)
    # What else is drawn makes no difference to the search, which goes on.
    asked = ("--maps", "3", "--top", "4", "--selections", "low")
    finish(start(2, "evolve", "--workdir", folder, *asked))
    assert table_of(folder) == table_of(expected)


def test_measures_of_many_processes_are_those_of_one(tmp_path, unbroken):
    folder, expected = tmp_path / "two", tmp_path / "expected"
    for copy in (folder, expected):
        shutil.copytree(unbroken, copy)
    names = ("census", "experiments.own_measure:measure")
    expected_tables = [measure(expected, name).table for name in names]
    finish(start(2, "measure", "--workdir", folder, *names))
    for name, table in zip(("census", "brightness"), expected_tables, strict=True):
        assert open_measured(folder / "measures", name).table.equals(table)
    left = {path.name for path in (folder / "measures").iterdir() if path.suffix == ".npy"}
    assert not left and not list((folder / "measures").glob("*.part.npz"))


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--process-count", "2"], "need --coordinator"),
        (
            ["--coordinator", "127.0.0.1:1", "--process-count", "2"],
            "needs --process-count N and --process-index I",
        ),
        (
            ["--coordinator", "127.0.0.1:1", "--process-count", "2", "--process-index", "2"],
            "from 0 to N - 1",
        ),
    ],
)
def test_half_said_processes_are_refused(tmp_path, data_dir, arguments, says):
    command = [
        sys.executable,
        "-m",
        "zfjax",
        *map(str, train_arguments(tmp_path, data_dir, tmp_path / "run")),
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr


ALONE = """
import os, sys, time
from zfjax import processes
from zfjax.commands import cli
from zfjax.joining import join
from zfjax.errors import ZfjaxError
mode, _, address, _, count, _, index = sys.argv[1:]
processes.NOTICE_SECONDS = 0.2
if mode == "storeless":
    processes._store = lambda: None
collectives = []
def work():
    time.sleep(1.5)
    if mode == "refused":
        raise ZfjaxError("No disk.")
    if mode == "interrupted":
        raise KeyboardInterrupt
    return 7
def run(_):
    join(address, int(count), int(index))
    from jax.experimental import multihost_utils
    honest = multihost_utils.broadcast_one_to_all
    def broadcast(*arguments, **options):
        began = time.monotonic()
        told = honest(*arguments, **options)
        collectives.append(time.monotonic() - began)
        return told
    processes.from_first(0)  # the first collective waits for all to have met
    multihost_utils.broadcast_one_to_all = broadcast
    for _ in range(2):
        began = time.monotonic()
        assert processes.first_alone(work) == (None if int(index) else 7)
        assert time.monotonic() - began > 1.4
    if mode == "storeless":
        assert len(collectives) == 4
    else:
        assert len(collectives) == 2 and max(collectives) < 1.2, collectives
    print("all is well")
    return 0
cli._run = run
cli.console()
"""


@pytest.mark.parametrize("mode", ["done", "storeless"])
def test_while_process_0_works_alone_no_collective_is_open(mode):
    """Each wait for its word ends after a while and begins anew; where JAX has no store for such
    words, one collective must do.
    """
    told = finish(start(2, mode, program=("-c", ALONE)))
    assert all("all is well" in out for out, _ in told)


@pytest.mark.parametrize(
    ("mode", "status", "says"), [("refused", 1, "No disk."), ("interrupted", 130, "stopped.")]
)
def test_what_ends_process_0_alone_ends_the_others_in_a_sentence(mode, status, says):
    processes = start(2, mode, program=("-c", ALONE))
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [status, 1]
    assert says in told[0][1] and "Process 0 stopped; its message says why." in told[1][1]
    assert not any("Traceback" in errors for _, errors in told)


def test_a_signal_is_heard_while_process_0_works_alone():
    working = 'print("alone", flush=True); time.sleep(60)'
    processes = start(2, "done", program=("-c", ALONE.replace("time.sleep(1.5)", working)))
    try:
        assert "alone\n" in iter(processes[0].stdout.readline, "")
        time.sleep(2)
        begun = time.monotonic()
        processes[1].send_signal(signal.SIGTERM)
        assert processes[1].wait(timeout=30) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 20
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_unequal_numbers_of_devices_are_a_sentence_in_every_process():
    processes = start(2, "done", program=("-c", "import os, sys\n" + UNEQUAL))
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    for _, errors in told:
        assert (
            "zfjax: The processes need equally many devices each, and process 1 has 2 where others"
            " have 3" in errors
        )
        assert "Traceback" not in errors and "Check failure" not in errors


UNEQUAL = """
os.environ["JAX_NUM_CPU_DEVICES"] = "2" if sys.argv[-1] == "1" else "3"
from zfjax.commands.cli import console
sys.argv[1:2] = ["train", "--preset", "demo", "--workdir", "nowhere"]
console()
"""


RAISING = """
from zfjax.measures.protocol import Measure
def rows(looked, options):
    raise RuntimeError("my own fault")
measure = Measure("broken", rows, rows)
"""
MEASURING = """
import sys, zfjax
from zfjax.commands.cli import main
from zfjax.joining import join
folder, _, address, _, count, _, index = sys.argv[1:]
join(address, int(count), int(index))
for _ in range(2):
    print(zfjax.measure(folder, "census").name, zfjax.measure(folder, "census").steps)
try:
    zfjax.measure(folder, "broken:measure")
except Exception as error:
    print(type(error).__name__)
sys.exit(main(["measure", "--workdir", folder, "broken:measure", "spectrum", "labels"]))
"""


def test_a_measure_that_raises_in_one_of_many_processes(tmp_path, unbroken, monkeypatch):
    folder = shutil.copytree(unbroken, tmp_path / "run")
    (tmp_path / "broken.py").write_text(RAISING)
    path = [str(tmp_path), os.environ.get("PYTHONPATH", os.getcwd())]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    told = finish(start(2, folder, program=("-c", MEASURING)), status=1)
    for (out, err), error in zip(told, ("RuntimeError", "ZfjaxError"), strict=True):
        assert out.count("census (0, 4, 8, 12)") == 2 and f"\n{error}\n" in out
        assert "Check failure" not in err
    assert "raised what stands below; the others (spectrum, labels) are finished" in told[0][1]
    assert "my own fault" in told[0][1] and "my own fault" not in told[1][1]
    assert {f"{name}.json" for name in ("spectrum", "labels")} <= set(
        os.listdir(folder / "measures")
    )


@pytest.mark.parametrize("owners", [[0], [0, 1], [0, 0, 1, 1, 2, 2], [3, 1, 3, 1]])
def test_equal_numbers_of_devices_are_fine(owners):
    check_equal_devices(owners)


@pytest.mark.parametrize(
    ("owners", "says"),
    [
        ([0, 0, 1], "process 1 has 1 where others have 2"),
        ([0, 1, 1, 2], "process 0 has 1, process 2 has 1 where others have 2"),
        ([0] * 8 + [1] * 4 + [2] * 8, "process 1 has 4 where others have 8"),
    ],
)
def test_unequal_ones_are_named(owners, says):
    with pytest.raises(ZfjaxError, match=says):
        check_equal_devices(owners)


THEIRS = """
import flax.linen as nn

class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), 2)(x))
        return nn.Dense(3)(nn.relu(nn.Conv(5, (3, 3), 2)(x)).mean((1, 2)))

def build():
    return Net()
"""


def test_two_processes_look_at_anyone_s_network_as_one_does(tmp_path, data_dir):
    import orbax.checkpoint as ocp

    (tmp_path / "theirs.py").write_text(THEIRS)
    draw = np.random.default_rng(0).normal
    with ocp.StandardCheckpointer() as saver:
        for step in (0, 5):
            shapes = {"Conv_0": (3, 3, 3, 4), "Conv_1": (3, 3, 4, 5), "Dense_0": (4 + 1, 3)}
            tree = {
                name: {
                    "kernel": draw(size=shape).astype(np.float32),
                    "bias": np.zeros(shape[-1], np.float32),
                }
                for name, shape in shapes.items()
            }
            saver.save(tmp_path / "root" / str(step), {"params": tree})
    [name] = [path.name for path in data_dir.iterdir() if path.is_dir()]
    words = ["evolve", "--model", f"{tmp_path / 'theirs.py'}:build", "--maps", "2", "--top", "3"]
    words += ["--checkpoints", tmp_path / "root", "--data.name", name, "--data.dir", data_dir]
    words += ["--input", "16", "--mean", "120", "--std", "60", "--measure", "census"]
    told = finish(start(2, *words, "--workdir", tmp_path / "two"))
    quiet = [line for line in told[1][0].splitlines() if not line.startswith("[Gloo]")]
    assert "top-1 of step 5" in told[0][0] and not quiet, "process 0 speaks"
    assert main([*map(str, words), "--workdir", str(tmp_path / "one")]) == 0
    one, two = (open_evolution(tmp_path / each / "evolution") for each in ("one", "two"))
    rows, others = (each.rows() for each in (one, two))
    assert len(rows) == len(others) > 0
    for row, other in zip(rows, others, strict=True):
        assert row["activation"] == pytest.approx(other["activation"], rel=1e-5)
        assert {**row, "activation": 0} == {**other, "activation": 0}
    own, theirs = (open_measured(tmp_path / each / "measures", "census") for each in ("one", "two"))
    values = (each.table["value"].to_numpy(zero_copy_only=False) for each in (own, theirs))
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)
    summaries = [
        json.loads((tmp_path / each / "summary.json").read_text()) for each in ("one", "two")
    ]
    assert summaries[0] == summaries[1]
