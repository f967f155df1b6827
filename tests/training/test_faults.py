"""What may happen to a training run: lost states, signals at odd moments, folders that are not
shared, slow data.
"""

import dataclasses
import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import jax
import numpy as np
import pytest

from tests.small import make_config, stop_at
from tests.training.test_processes import finish, start, train_arguments
from tests.training.test_train import assert_same_run
from zfjax import devices
from zfjax.errors import ZfjaxError
from zfjax.progress import Reporter, time_words
from zfjax.run import checkpoint
from zfjax.run.folder import load_run
from zfjax.signals import Terminated, stopping_gently
from zfjax.training import loop as training
from zfjax.training import resuming
from zfjax.training.interrupts import Interrupted
from zfjax.training.loop import train
from zfjax.training.pace import idle_seconds
from zfjax.training.tensorboard import Board

pytestmark = pytest.mark.slow


def cut_short(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def test_a_run_without_a_sound_state_does_not_begin_anew(tmp_path, data_dir, unbroken):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    before = (folder / "metrics.jsonl").read_bytes()
    shutil.rmtree(folder / "checkpoints" / "12")
    for state in (folder / "resume").iterdir():
        cut_short(state)
    for _ in range(2):  # nor when it is asked again
        with pytest.raises(
            ZfjaxError,
            match="no sound state to go on from, though parameters up to epoch 2 are saved",
        ):
            train(make_config(data_dir), folder, devices=1)
    assert (folder / "metrics.jsonl").read_bytes() == before and load_run(folder).steps == (0, 4, 8)


def test_a_state_of_another_zfjax_or_an_unreadable_disk_is_no_damage(
    tmp_path, data_dir, unbroken, monkeypatch
):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    shutil.rmtree(folder / "checkpoints" / "12")
    states = sorted(path.name for path in (folder / "resume").iterdir())
    with (
        monkeypatch.context() as patched,
        pytest.raises(ZfjaxError, match="use the version that saved it"),
    ):
        patched.setattr(resuming, "initial_state", lambda config: {"other": np.zeros(3)})
        train(make_config(data_dir), folder, devices=1)
    with (
        monkeypatch.context() as patched,
        pytest.raises(ZfjaxError, match="read the checkpoint .*Input/output error"),
    ):
        fault = OSError(5, "Input/output error")
        patched.setattr(checkpoint._orbax(), "metadata", lambda path: (_ for _ in ()).throw(fault))
        train(make_config(data_dir), folder, devices=1)
    assert sorted(path.name for path in (folder / "resume").iterdir()) == states


def test_what_killed_saves_left_is_removed_and_a_state_saved_before_validation_replaced(
    tmp_path, data_dir, unbroken
):
    folder = tmp_path / "run"

    def signal_in_validation(stage, done, total, **figures):
        if stage == "validating" and (folder / "resume" / "4").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="at step 8"):
        train(make_config(data_dir), folder, progress=signal_in_validation, devices=1)
    for root in ("resume", "checkpoints"):
        (folder / root / "7.orbax-checkpoint-tmp-9").mkdir()
    (folder / "resume" / "8").rename(
        folder / "resume" / "8.replaced"
    )  # killed before another could take its place
    (folder / "resume" / "4.replaced").mkdir()  # killed after that
    train(make_config(data_dir), folder, devices=1)
    assert sorted(path.name for path in (folder / "resume").iterdir()) == ["12", "8"]
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["0", "12", "4", "8"]
    assert_same_run(unbroken, folder)


def test_a_validation_loss_that_is_not_finite_ends_in_a_sentence(tmp_path, data_dir):
    config = make_config(
        data_dir, batch_size=36
    )  # one step an epoch: its own loss is finite, its update is not
    optimizer = dataclasses.replace(config.optimizer, learning_rate=1e30, warmup_epochs=0.0)
    with pytest.raises(ZfjaxError, match="not finite near step 1"):
        train(dataclasses.replace(config, optimizer=optimizer), tmp_path, devices=1)
    assert load_run(tmp_path).steps == (0,)


def test_a_signal_while_an_epoch_is_drawn_is_obeyed_at_once_and_it_is_drawn_later(
    tmp_path, data_dir, unbroken
):
    drawn = []

    def after_epoch(step, progress):
        drawn.append(step)
        if len(drawn) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)

    begun = time.monotonic()
    with pytest.raises(Interrupted, match="at step 4 of 12"):
        train(make_config(data_dir), tmp_path, devices=1, after_epoch=after_epoch)
    assert time.monotonic() - begun < 25
    train(make_config(data_dir), tmp_path, devices=1, after_epoch=after_epoch)
    train(make_config(data_dir), tmp_path, devices=1, after_epoch=after_epoch)
    assert drawn == [4, 4, 8, 12, 12]
    assert_same_run(unbroken, tmp_path)


def test_a_signal_that_python_drops_comes_again():
    def once(phase, info):
        gc.callbacks.remove(once)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    with pytest.raises(Terminated), stopping_gently():
        gc.callbacks.append(once)
        gc.collect()  # what is raised in there is only printed
        time.sleep(5)
        raise AssertionError("the signal was lost")


@pytest.mark.parametrize("gone", ["stdout", "stderr"])
def test_one_of_many_leaves_though_nobody_reads_what_it_says(gone):
    code = (
        "import sys, jax; from zfjax.commands import cli, information\n"
        "jax.distributed.is_initialized = lambda: True; jax.distributed.shutdown = lambda: None\n"
        "def run(options): print('x' * 9); raise cli.ZfjaxError('no')\n"
        "information.show_info = run; cli.main(['info']); print('still here', file=sys.stderr)"
    )
    reader, writer = os.pipe()
    os.close(reader)
    other = {"stdout": "stderr", "stderr": "stdout"}[gone]
    with open(writer, "wb") as broken:
        done = subprocess.run(
            [sys.executable, "-c", code], **{gone: broken, other: subprocess.PIPE}, check=False
        )
    assert done.returncode == 1 and b"still here" not in (done.stdout or b"") + (done.stderr or b"")


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # tensorboardX cannot close its file
def test_a_full_disk_under_tensorboard_is_a_sentence(tmp_path):
    pytest.importorskip("tensorboardX")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
        with pytest.raises(ZfjaxError, match=r"write events in .*ulimit -f"):  # noqa: PT012 (at some line of many)
            board = Board(tmp_path, -1)
            for step in range(100):
                board.scalars(step, "train", {"loss": 1.0, "top1": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_waiting_for_data_counts_only_while_the_devices_are_idle():
    done, pending = Future(), Future()
    done.set_result(12.0)
    assert idle_seconds(10.0, 13.0, None) == 3 and idle_seconds(10.0, 13.0, pending) == 0
    assert idle_seconds(10.0, 13.0, done) == 1 and idle_seconds(12.5, 13.0, done) == 0.5


def test_slow_data_is_logged(tmp_path, data_dir, monkeypatch):
    batches = training.training_batches

    def slow(*arguments, **options):
        for batch in batches(*arguments, **options):
            time.sleep(0.2)
            yield batch

    monkeypatch.setattr(training, "training_batches", slow)
    train(make_config(data_dir, epochs=2), tmp_path, devices=1)
    waits = [line["data_wait"] for line in load_run(tmp_path).metrics if line["split"] == "train"]
    assert all(0.5 < wait <= 1 for wait in waits[5:]), waits


def test_time_left_is_told_off_a_terminal(capsys, monkeypatch):
    assert [time_words(seconds) for seconds in (0.2, 59, 61, 7380, 200_000)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "2 h 3 min",
        "2 d 7 h",
    ]
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("zfjax.progress.time.monotonic", lambda: float(next(clock)))
    with Reporter() as progress:
        for step in range(0, 50, 10):
            progress("training", step, 1000, loss=1.0)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("training 40/1000  ") and last.endswith("left  loss 1.000"), last


APART = """
import sys
from zfjax import processes
from zfjax.commands.cli import main
processes.VISIBLE_SECONDS = 1.0
index = sys.argv[-1]
sys.exit(main([word.replace("OWN", "run" + index) for word in sys.argv[1:]]))
"""


def test_processes_with_folders_of_their_own_are_refused(tmp_path, data_dir):
    arguments = train_arguments(tmp_path, data_dir, tmp_path / "OWN")
    told = [errors for _, errors in finish(start(2, *arguments, program=("-c", APART)), 1)]
    assert "all need the same --workdir" in told[1] and "Process 1 stopped" in told[0]
    assert not (tmp_path / "run1" / "config.json").exists()


WAITING = """
import sys, time
from pathlib import Path
from zfjax.training import loop as train
from zfjax.commands.cli import main
def wait(*arguments):
    Path(sys.argv[5], "waits" + sys.argv[-1]).touch()
    time.sleep(60)
train.make_mean_image = wait
sys.exit(main(sys.argv[1:]))
"""


def test_a_signal_before_the_first_step_of_many_processes_ends_them_at_once(tmp_path, data_dir):
    folder = tmp_path / "run"
    processes = start(2, *train_arguments(tmp_path, data_dir, folder), program=("-c", WAITING))
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(folder.glob("waits*"))) < 2:
        time.sleep(0.05)
    begun = time.monotonic()
    for process in processes:
        process.send_signal(signal.SIGTERM)
    told = finish(processes, 128 + signal.SIGTERM)
    assert all(errors.endswith("zfjax: stopped.\n") for _, errors in told), told
    assert time.monotonic() - begun < 20


BUSY = """
import sys, time
from zfjax import waiting
from zfjax.training import loop
from zfjax.commands.cli import console
waiting.SAY_AFTER = 0.5
if sys.argv[-1] == "0":
    loop.open_run = lambda *arguments: time.sleep(60)
console()
"""


def test_who_waits_for_a_busy_process_0_says_so_and_hears_a_signal(tmp_path, data_dir):
    arguments = train_arguments(tmp_path, data_dir, tmp_path / "run")
    busy, waits = start(2, *arguments, program=("-c", BUSY))
    try:
        said = waits.stderr.readline()
        while "processes to meet" in said:  # the meeting itself may take more than SAY_AFTER
            said = waits.stderr.readline()
        assert said.startswith("zfjax: process 1 waits for process 0 ("), said
        begun = time.monotonic()
        waits.send_signal(signal.SIGTERM)
        _, told = waits.communicate(timeout=60)
        assert waits.returncode == 128 + signal.SIGTERM and "zfjax: stopped." in told
        assert time.monotonic() - begun < 15
    finally:
        for process in (busy, waits):
            process.kill()
            process.communicate()


def test_a_signal_that_python_drops_while_an_epoch_is_drawn_comes_again(tmp_path, data_dir):
    def once(phase, info):
        gc.callbacks.remove(once)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    def after_epoch(step, progress):
        gc.callbacks.append(once)
        gc.collect()
        time.sleep(5)
        raise AssertionError("the signal was lost")

    with stopping_gently(), pytest.raises(Interrupted, match="at step 4 of 12"):
        train(make_config(data_dir), tmp_path, devices=1, after_epoch=after_epoch)


def test_the_plateau_goes_on_where_it_was(tmp_path, data_dir):
    """The rate that a plateau has divided, and how long it has waited, survive a stop at any
    step.
    """
    config = make_config(data_dir, epochs=5)
    optimizer = dataclasses.replace(
        config.optimizer, schedule="plateau", patience=2, warmup_epochs=0.0
    )
    optimizer = dataclasses.replace(optimizer, learning_rate=1e-7)  # nothing improves
    config = dataclasses.replace(config, optimizer=optimizer)
    train(config, tmp_path / "whole", devices=1)
    rates = [
        line["learning_rate"]
        for line in load_run(tmp_path / "whole").metrics
        if line["split"] == "train"
    ]
    np.testing.assert_allclose(rates, [1e-7] * 12 + [1e-8] * 8, rtol=1e-5)

    for step in (6, 9, 14):
        with pytest.raises(Interrupted):
            train(config, tmp_path / "stopped", progress=stop_at(step), devices=1)
    train(config, tmp_path / "stopped", devices=1)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("kind", [ValueError, jax.errors.JaxRuntimeError])
def test_a_lost_process_is_a_sentence_however_jax_raises_it(monkeypatch, kind):
    told = "UNKNOWN: Gloo all-reduce failed: [pair.cc:547] Connection closed by peer [127.0.0.1]:1"
    assert devices.explain_fault(kind(told)) is None, "a process alone has lost nobody"
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    sentence = str(devices.explain_fault(kind(told)))
    assert sentence.startswith("Another process of this run has ended") and "Gloo" in sentence
    assert devices.explain_fault(ValueError("operands could not be broadcast")) is None
