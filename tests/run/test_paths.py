"""Where a run may lie, what a killed process has left there, and how a command that has failed
leaves.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.small import make_config
from tests.training.test_train import assert_same_run
from zfjax import config as configs
from zfjax.commands.cli import main
from zfjax.errors import ZfjaxError, explain_os_error
from zfjax.features.evolving import evolve
from zfjax.files import atomic_path, check_path, clear_unfinished, write_arrays, write_text
from zfjax.run import checkpoint, steps
from zfjax.training.loop import train

pytestmark = pytest.mark.slow

ODD_NAMES = (
    "sweep [lr=0.02]",
    "[!a]*?",
    "50% #1?x=1&y",
    "file:",
    "a:b@2 $HOME 'q' \"d\" {z}\n;|<>",
    "~x",
    "-x",
    "ä",
    "7.orbax-checkpoint-tmp-1",
    "x.tmp",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_checkpoint_is_read_back_from_any_folder(tmp_path, name):
    tree = {"conv1": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    beside = tmp_path / name.replace("*", "z").replace(
        "?", "z"
    )  # what a pattern would find as well
    for folder in {beside, tmp_path / name}:
        saver = checkpoint.Saver(folder / "checkpoints")
        saver.save(4, tree)
        saver.wait()
        loaded = checkpoint.load(folder / "checkpoints" / "4")
        np.testing.assert_array_equal(loaded["conv1"]["kernel"], tree["conv1"]["kernel"])


def test_a_whole_run_in_a_folder_that_looks_like_a_pattern(tmp_path, data_dir, unbroken):
    folder = tmp_path / "sweep [lr=0.02]*"
    train(make_config(data_dir), folder, devices=1)
    assert_same_run(unbroken, folder)
    evolution = evolve(folder, at=["last"], maps=2, top=2)
    assert evolution.rows(layer="conv1", rank=0)


@pytest.mark.parametrize(
    "name, words",
    [
        ("a\\b", "backslash"),
        ("a\0b", "backslash or NUL"),
        ("gs:", "taken for a bucket"),
        ("\udcff", "not UTF-8"),
        ("gs://bucket/run", "not a folder"),
        ("s3://bucket/run", "not a folder"),
    ],
)
def test_a_path_that_cannot_work_is_refused_before_anything_is_written(
    tmp_path, data_dir, name, words
):
    where = name if "://" in name else f"{tmp_path}/{name}/run"
    with pytest.raises(ZfjaxError, match=words):
        train(make_config(data_dir), where, devices=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workdir", ["s3://bucket/run", "GS://bucket/run", "file:///tmp/run"])
def test_a_url_is_refused_on_the_command_line(tmp_path, data_dir, monkeypatch, capsys, workdir):
    """Where a path has made one slash of two."""
    record = tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(make_config(data_dir))))
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--config", str(record), "--workdir", workdir]) == 1
    assert "is not a folder: a run needs a path" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_commands_that_are_printed_can_be_pasted(unbroken, tmp_path, capsys):
    folder = tmp_path / "run [lr=0.02]*"
    shutil.copytree(unbroken, folder)
    assert main(["report", "--workdir", str(folder)]) == 1
    assert f"zfjax evolve --workdir '{folder}'`" in capsys.readouterr().err


def test_a_home_that_is_not_there_is_a_sentence():
    with pytest.raises(ZfjaxError, match="Write the path out"):
        check_path("~nobody-of-that-name/run", "a run")


@pytest.mark.parametrize("harm", ["unmerged", "bytes"])
def test_what_cannot_be_read_back_does_not_pass_for_saved(tmp_path, monkeypatch, harm):
    """The first save is read whole; every later one's list is."""
    saver = checkpoint.Saver(tmp_path)
    tree = {"a": np.ones(3000, np.float32)}
    saver.save(1, tree)
    if harm == "unmerged":
        saver.wait()
        saver.save(2, tree)
    response, step = saver._saving
    saver._saving = Harmful(response, tmp_path / str(step), harm), step
    with pytest.raises(ZfjaxError, match="just saved cannot be read back"):
        saver.wait()


class Harmful:
    """Orbax's answer, with a disk that loses what it was given."""

    def __init__(self, response, path, harm):
        self._response, self._path, self._harm = response, path, harm

    def result(self):
        self._response.result()
        for path in sorted(self._path.rglob("*")):
            if self._harm == "unmerged" and path.name == "manifest.ocdbt":
                path.unlink()
            elif self._harm == "bytes" and path.is_file() and path.parent.name == "d":
                path.write_bytes(path.read_bytes()[::-1])


def test_a_sentence_names_the_file_that_a_person_knows(tmp_path, monkeypatch):
    def full(path, *arguments, **options):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ZfjaxError) as caught:
        write_text(tmp_path / "config.json", "x")
    assert (
        str(caught.value)
        == f"Could not write config.json in {tmp_path}: the disk is full: free some space and run"
        " the command again."
    )
    inner = OSError(28, "", "/runs/a/resume/4.orbax-checkpoint-tmp/state/d/0f3")
    assert "orbax" not in str(explain_os_error(inner, "save step 4 in /runs/a/resume:"))
    assert "/runs/a/metrics.jsonl" in str(
        explain_os_error(OSError(28, "", "/runs/a/metrics.jsonl"), "write")
    )


def test_what_a_dead_process_left_is_cleared_at_the_next_start(tmp_path, data_dir, unbroken):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = (f".config.json.{dead.pid}.tmp", f".mean_image.npy.otherhost-{dead.pid}.tmp")
    for name in names:
        (folder / name).write_text("half")
    (folder / "notes.tmp").write_text("the user's own")
    (folder / "evolution-live").mkdir()
    (folder / "evolution-live" / f".units.parquet.{dead.pid}.tmp").write_text("half")
    (folder / "resume" / "4.deleted").mkdir()
    (folder / "checkpoints" / "16.orbax-checkpoint-tmp").mkdir()
    train(make_config(data_dir), folder, devices=1)
    left = {path.name for path in folder.rglob("*")}
    assert not left & {f".units.parquet.{dead.pid}.tmp"}
    assert not left & {*names, "4.deleted", "16.orbax-checkpoint-tmp"} and "notes.tmp" in left


def test_what_a_living_process_writes_stays(tmp_path):
    living = subprocess.Popen(["sleep", "60"])
    try:
        with atomic_path(tmp_path / "own") as own:
            own.touch()
            host = own.name.split(".")[2].rsplit("-", 1)[0]
        theirs = tmp_path / f".page.{host}-{living.pid}.tmp"
        foreign = tmp_path / f".page.otherhost-{living.pid}.tmp"
        for path in (theirs, foreign):
            path.write_text("under way")
        clear_unfinished(tmp_path, locked=False)
        assert theirs.exists() and foreign.exists()
        os.utime(foreign, (0, 0))
        clear_unfinished(tmp_path, locked=False)
        assert theirs.exists() and not foreign.exists()
    finally:
        living.kill()
        living.wait()


def test_a_state_that_is_being_deleted_is_off_the_list_first(tmp_path, monkeypatch):
    saver = checkpoint.Saver(tmp_path)
    for step in (1, 2, 3):
        saver.save(step, {"a": np.full(3, step, np.float32)})
    saver.wait()
    monkeypatch.setattr(steps.shutil, "rmtree", lambda *arguments, **options: None)  # killed there
    steps.keep_newest(tmp_path, 2)
    assert steps.saved_steps(tmp_path) == (2, 3) and (tmp_path / "1.deleted").exists()
    monkeypatch.undo()
    steps.mend_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


STUCK = """
import sys, threading
from zfjax.commands import cli, information
def run(options):
    threading.Thread(target=threading.Event().wait).start()  # as Orbax's, after a failed save
    raise cli.ZfjaxError("The disk is full.")
information.show_info = run
sys.argv = ["zfjax", "info"]
cli.console()
"""


def test_a_command_that_has_failed_waits_for_no_thread():
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and done.stderr == "zfjax: The disk is full.\n"


WAITING = """
import sys
from zfjax import waiting
from zfjax.commands.cli import console
waiting.SAY_AFTER = 0.2
console()
"""


@pytest.mark.parametrize(
    "host, index, number",
    [("127.0.0.1", 0, signal.SIGTERM), ("no-such-host.invalid", 1, signal.SIGINT)],
)
def test_waiting_for_others_is_said_and_ends_at_once_on_a_signal(tmp_path, host, index, number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{host}:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WAITING,
            "evolve",
            "--workdir",
            tmp_path,
            "--coordinator",
            address,
            "--process-count",
            "2",
            "--process-index",
            str(index),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        assert line.startswith(
            f"zfjax: waiting for the 2 processes to meet at {address}, this is process {index} ("
        )
        assert ("does not resolve" in line) == (host != "127.0.0.1")
        begun = time.monotonic()
        process.send_signal(number)
        _, rest = process.communicate(timeout=30)
        assert time.monotonic() - begun < 3 and process.returncode == 128 + number
        assert rest == "zfjax: stopped.\n"
    finally:
        process.kill()


def test_those_who_do_not_come_and_addresses_that_are_none_end_in_a_sentence(tmp_path, monkeypatch):
    environment = {**os.environ, "ZFJAX_JOIN_SECONDS": "2"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WAITING,
            "evolve",
            "--workdir",
            tmp_path,
            "--coordinator",
            "no-such-host.invalid:9999",
            "--process-count",
            "2",
            "--process-index",
            "1",
        ],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 1
    assert (
        "did not find each other at no-such-host.invalid:9999: the name no-such-host.invalid"
        in done.stderr
    )
    from zfjax.joining import join

    for address in ("host", "host:port", ":80", "host:99999", "http://host:80"):
        with pytest.raises(ZfjaxError, match="must be HOST:PORT"):
            join(address, 2, 1)


def test_system_calls_that_fail_or_kill_lose_nothing(tmp_path):
    """A fixed sample of what `make proof` does to every call."""
    program = Path(__file__).parents[2] / "experiments" / "faults.py"
    done = subprocess.run(
        [sys.executable, program, "--syscalls", "0"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    if done.stdout.startswith("not done: "):
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "kept: 3 faults (" in done.stdout
        and "all exact" in done.stdout
        and "missed" not in done.stdout
    )


def test_arrays_are_written_whole_under_their_own_name(tmp_path):
    path = tmp_path / "new" / "arrays.of.numbers"
    write_arrays(path, {"step": np.arange(3, dtype=np.int32), "seconds": 1.5})
    with np.load(path, allow_pickle=False) as stored:
        assert stored["step"].dtype == np.int32 and stored["seconds"] == 1.5
    assert [item.name for item in path.parent.iterdir()] == [path.name]
