"""Whole runs: train, kill, resume; damage, bad input, both recipes."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.small import make_config, stop_at
from zfjax import config as configs
from zfjax.commands.cli import main
from zfjax.devices import keep_compiled
from zfjax.errors import ZfjaxError
from zfjax.network.model import kernel_shapes
from zfjax.run import checkpoint
from zfjax.run.folder import load_run, locked_run
from zfjax.training import loop
from zfjax.training.loop import Interrupted, train
from zfjax.training.schedule import snapshot_steps
from zfjax.training.step import initial_state, train_step

pytestmark = pytest.mark.slow


def parameters(folder, step):
    return checkpoint.leaf_paths(checkpoint.load(folder / "checkpoints" / str(step)))


def assert_same_run(one, other):
    """Equal parameters at every epoch, bit for bit, and equal metrics but for speeds."""
    runs = load_run(one), load_run(other)
    assert runs[0].steps == runs[1].steps
    for step in runs[0].steps:
        first, second = parameters(one, step), parameters(other, step)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)
    speeds = ("images_per_second", "data_wait")
    lines = [
        [{k: v for k, v in line.items() if k not in speeds} for line in run.metrics] for run in runs
    ]
    assert lines[0] == lines[1]


def test_every_epoch_is_saved_and_logged(unbroken):
    run = load_run(unbroken)
    assert run.steps_per_epoch == 4
    assert run.steps == (0, 4, 8, 12)
    validation = [line for line in run.metrics if line["split"] == "validation"]
    assert [line["epoch"] for line in validation] == [0, 1, 2, 3]
    assert all(0 <= line["top1"] <= line["top5"] <= 1 for line in run.metrics)
    assert {line["step"] for line in run.metrics if line["split"] == "train"} == set(range(1, 13))


def test_initial_checkpoint_is_the_initial_network_and_training_moves_it(unbroken):
    first, last = parameters(unbroken, 0), parameters(unbroken, 12)
    for name, shape in kernel_shapes(load_run(unbroken).config.model).items():
        kernel = first[f"{name}/kernel"]
        assert kernel.shape == shape
        expected = np.sqrt((1 if name == "fc4" else 2) / np.prod(shape[:-1])) * (
            0.2 if name == "conv1" else 1
        )
        assert kernel.std() == pytest.approx(expected, rel=0.25)
        assert not np.array_equal(kernel, last[f"{name}/kernel"])


def test_interrupted_at_any_step_resumes_to_the_same_run(tmp_path, data_dir, unbroken):
    folder = tmp_path / "run"
    stops = iter((2, 7))

    for step in stops:
        with pytest.raises(Interrupted, match="goes on"):
            train(make_config(data_dir), folder, progress=stop_at(step), devices=1)
    train(make_config(data_dir), folder, devices=1)
    assert_same_run(unbroken, folder)


def test_a_signal_during_a_validation_stops_it_and_the_run_stays_the_same(
    tmp_path, data_dir, unbroken
):
    folder, signalled = tmp_path / "run", []

    def progress(stage, done, total, **figures):
        if stage == "validating" and len(signalled) < 3:
            signalled.append(done)
            os.kill(os.getpid(), signal.SIGTERM)

    for step in (0, 0, 0):
        with pytest.raises(Interrupted, match=f"at step {step} of 12"):
            train(make_config(data_dir), folder, progress=progress, devices=1)
    assert load_run(folder).steps == () and not load_run(folder).metrics

    def at_the_second_epoch(stage, done, total, **figures):
        if stage == "training" and done == 8 and "loss" in figures:
            os.kill(os.getpid(), signal.SIGINT)  # obeyed by the validation that follows

    with pytest.raises(Interrupted, match="at step 8 of 12") as stopped:
        train(make_config(data_dir), folder, progress=at_the_second_epoch, devices=1)
    assert stopped.value.exit_status == 128 + signal.SIGINT and load_run(folder).steps == (0, 4)
    train(make_config(data_dir), folder, devices=1)
    assert_same_run(unbroken, folder)


SIGNALLED_TWICE = """
import os, signal, sys, time
from zfjax import signals
with signals.noted() if sys.argv[1] == "train" else signals.stopping_gently():
    try:
        os.kill(os.getpid(), int(sys.argv[2]))
        time.sleep(0.01)
    finally:
        print("saving", flush=True)
        os.kill(os.getpid(), int(sys.argv[3]))
        time.sleep(30)
"""


@pytest.mark.parametrize("command", ["train", "another"])
@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)]
)
def test_a_second_signal_ends_at_once(command, first, second):
    arguments = [command, str(int(first)), str(int(second))]
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED_TWICE, *arguments], capture_output=True, timeout=20
    )
    assert (done.returncode, done.stdout) == (-second, b"saving\n")


def test_snapshots_are_kept_within_the_first_epoch_and_change_nothing(tmp_path, data_dir, unbroken):
    run = train(make_config(data_dir, snapshots=2), tmp_path, devices=1)
    assert run.steps == (0, 1, 3, 4, 8, 12) and run.epoch(1) == 0.25
    for step in load_run(unbroken).steps:
        one, other = parameters(unbroken, step), parameters(tmp_path, step)
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert snapshot_steps(6, 10_000) == (1, 6, 40, 251, 1585, 9999) and snapshot_steps(9, 4) == (
        1,
        2,
        3,
    )


def test_a_gradient_in_parts_is_the_same_gradient(data_dir):
    config = make_config(data_dir)
    config = dataclasses.replace(config, model=config.model.replace("fc3", dropout=0.0))
    in_parts = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, accumulate=4)
    )
    views = np.random.default_rng(0).integers(0, 256, (8, 18, 18, 3)).astype(np.uint8)
    labels = np.arange(8, dtype=np.int32) % 3
    whole, parts = (
        train_step(initial_state(one), views, labels, None, config=one, steps_per_epoch=4)
        for one in (config, in_parts)
    )
    assert whole.totals["top1"] == parts.totals["top1"]
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)
    with pytest.raises(ZfjaxError, match="accumulate = 3"):
        dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, accumulate=3))


def test_live_evolution_and_tensorboard_change_no_parameter(tmp_path, data_dir, unbroken):
    folder, record = tmp_path / "run", tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(make_config(data_dir, tensorboard=True))))
    flags = ["--evolve-every", "2", "--evolve-images", "20", "--devices", "1"]
    assert main(["train", "--config", str(record), "--workdir", str(folder), *flags]) == 0
    evolution = load_run(folder).evolution("live")
    assert (
        evolution.steps == (0, 4, 8) and evolution.meta["images"] == 20
    )  # drawn at epoch 2, the last even one
    assert (folder / "report-live" / "index.html").exists()
    for step in load_run(unbroken).steps:
        one, other = parameters(unbroken, step), parameters(folder, step)
        assert all(np.array_equal(one[name], other[name]) for name in one)
    found = events(folder / "tensorboard")
    assert {tag for tag, _ in found} >= {
        "loss/train",
        "loss/validation",
        "top1/train",
        "conv1/filters",
    }
    assert sorted(step for tag, step in found if tag == "loss/validation") == [0, 4, 8, 12]
    assert sorted(step for tag, step in found if tag == "conv1/filters") == [0, 4, 8, 12]


def events(folder):
    """(tag, step) of every value in the event files: length, its checksum, a message, its checksum,
    again and again.
    """
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in folder.iterdir():
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            found += [(value.tag, event.step) for value in event.summary.value]
            data = data[16 + size :]
    return found


def test_killed_in_mid_training_resumes_to_the_same_run(tmp_path, data_dir, unbroken):
    folder = tmp_path / "run"
    record = tmp_path / "config.json"
    record.write_text(json.dumps(configs.to_json(make_config(data_dir))))
    arguments = ["train", "--config", str(record), "--workdir", str(folder), "--devices", "1"]
    command = [sys.executable, "-m", "zfjax", *arguments]
    # As many fake devices as here: they set the size of XLA's thread pool, and with it the last bit
    # of a sum.
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(len(jax.devices()))}
    metrics = folder / "metrics.jsonl"
    for lines in (1, 7, 12):  # in the first epoch, with one on disk, and later
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if metrics.exists() and len(metrics.read_text().splitlines()) > lines:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert 0 < max(load_run(folder).steps) < 12, "killed in the middle, with an epoch on disk"
    train(make_config(data_dir), folder, devices=1)
    assert_same_run(unbroken, folder)


def test_a_finished_run_is_left_as_it_is(unbroken, data_dir):
    before = (unbroken / "metrics.jsonl").read_bytes()
    train(make_config(data_dir), unbroken, devices=1)
    assert (unbroken / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("devices", [2, 8])
def test_more_devices_follow_the_same_loss_curve(tmp_path, data_dir, unbroken, devices):
    if len(jax.devices()) < 8:
        pytest.skip("needs the 8 fake devices of conftest.py")
    train(make_config(data_dir), tmp_path, devices=devices)
    losses = [
        [line["loss"] for line in load_run(folder).metrics] for folder in (unbroken, tmp_path)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_any_number_of_devices_goes_on_from_any_other(tmp_path, data_dir, unbroken, monkeypatch):
    if len(jax.devices()) < 8:
        pytest.skip("needs the 8 fake devices of conftest.py")
    monkeypatch.setattr("zfjax.devices.SHARDED_FROM", 100)

    for devices, shard, step in ((8, True, 5), (1, False, 7), (2, True, 10)):
        with pytest.raises(Interrupted, match=f"at step {step} of 12"):
            train(
                make_config(data_dir),
                tmp_path,
                devices=devices,
                shard_parameters=shard,
                progress=stop_at(step),
            )
    train(make_config(data_dir), tmp_path, devices=8)
    losses = [
        [line["loss"] for line in load_run(folder).metrics] for folder in (unbroken, tmp_path)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_compiled_programs_are_kept_where_there_is_no_other_place(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        # Not on CPU: compiling is fast, and fits one kind of processor.
        keep_compiled(tmp_path / "cpu")
        assert jax.config.jax_compilation_cache_dir is None
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        keep_compiled(tmp_path / "gpu")
        keep_compiled(tmp_path / "again")
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "gpu")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_damaged_newest_state_is_set_aside_and_the_run_stays_exact(
    tmp_path, data_dir, unbroken, capfd
):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    shutil.rmtree(folder / "checkpoints" / "12")
    files = [path for path in (folder / "resume" / "12").rglob("*") if path.is_file()]
    victim = max(files, key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    train(make_config(data_dir), folder, devices=1)
    assert "set aside" in capfd.readouterr().err
    assert (folder / "resume" / "12.set-aside-0").exists()
    assert_same_run(unbroken, folder)


def test_no_flipped_bit_in_a_checkpoint_goes_unnoticed(tmp_path, unbroken):
    """A flip in bytes that no reader needs may load; one that changes a number never does."""
    source, sound = unbroken / "checkpoints" / "12", parameters(unbroken, 12)
    files = [path.relative_to(source) for path in source.rglob("d/*") if path.is_file()]
    assert files
    generator = np.random.default_rng(0)
    noticed = 0
    for number in range(12):
        copy = tmp_path / str(number)
        shutil.copytree(source, copy)
        path = copy / max(files, key=lambda name: (source / name).stat().st_size)
        data = bytearray(path.read_bytes())
        data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
        path.write_bytes(data)
        try:
            loaded = checkpoint.leaf_paths(checkpoint.load(copy))
        except ZfjaxError as error:
            assert str(copy) in str(error)
            noticed += 1
        else:
            assert all(np.array_equal(loaded[name], sound[name]) for name in sound)
    assert noticed >= 6


def test_partial_load_reads_only_what_is_named(unbroken):
    tree = checkpoint.load(unbroken / "checkpoints" / "4", ("conv1",))
    assert set(tree) == {"conv1"}
    np.testing.assert_array_equal(tree["conv1"]["kernel"], parameters(unbroken, 4)["conv1/kernel"])


def test_faithful_recipe_clips_filters_and_keeps_its_mean_image(tmp_path, data_dir):
    config = make_config(data_dir, recipe="faithful", epochs=1)
    optimizer = dataclasses.replace(config.optimizer, learning_rate=0.001, schedule="plateau")
    config = dataclasses.replace(config, optimizer=optimizer)
    run = train(config, tmp_path, devices=1)
    mean = np.load(tmp_path / "mean_image.npy")
    assert mean.shape == (18, 18, 3) and 0 < mean.mean() < 255
    first, last = parameters(tmp_path, 0), parameters(tmp_path, 4)
    assert first["conv1/kernel"].std() == pytest.approx(0.01, rel=0.2)
    for name in run.config.model.conv_names:
        rms = np.sqrt((last[f"{name}/kernel"] ** 2).mean(axis=(0, 1, 2)))
        assert rms.max() <= 0.1 * (1 + 1e-6)
    assert all("clipped" in line for line in run.metrics if line["split"] == "train")


def test_divergence_stops_before_anything_is_saved(tmp_path, data_dir):
    config = make_config(data_dir)
    optimizer = dataclasses.replace(config.optimizer, learning_rate=1e30, warmup_epochs=0.0)
    config = dataclasses.replace(config, optimizer=optimizer)
    with pytest.raises(ZfjaxError, match="not finite"):
        train(config, tmp_path, devices=1)
    assert load_run(tmp_path).steps == (0,)
    assert all(np.isfinite(leaf).all() for leaf in parameters(tmp_path, 0).values())


def test_other_settings_missing_data_and_a_busy_workdir_are_refused(tmp_path, data_dir, unbroken):
    config = make_config(data_dir)
    with pytest.raises(ZfjaxError, match=r"seed 0 -> 5"):
        train(dataclasses.replace(config, seed=5), unbroken, devices=1)
    with pytest.raises(ZfjaxError, match="nowhere"):
        train(
            dataclasses.replace(config, data=dataclasses.replace(config.data, name="nowhere")),
            tmp_path / "a",
        )
    with pytest.raises(ZfjaxError, match="more than the"):
        train(dataclasses.replace(config, batch_size=64), tmp_path / "b", devices=1)
    with locked_run(unbroken), pytest.raises(ZfjaxError, match="Another zfjax process"):
        train(config, unbroken, devices=1)


def test_a_run_may_move_its_data_folder(tmp_path, data_dir, unbroken):
    moved = tmp_path / "elsewhere"
    shutil.copytree(data_dir, moved)
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    shutil.rmtree(folder / "checkpoints" / "12")
    shutil.rmtree(folder / "resume" / "12")
    train(make_config(moved), folder, devices=1)
    assert_same_run(unbroken, folder)


def test_the_loop_refuses_arrays_that_pass_unasked(tmp_path, data_dir, monkeypatch):
    """Arrays of the host, handed to a step, are such: on CPU too."""
    monkeypatch.setattr(loop, "place", lambda mesh, arrays: arrays)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        train(make_config(data_dir), tmp_path, devices=1)


def test_the_loop_refuses_to_ask_the_devices_at_every_step(tmp_path, data_dir, monkeypatch):
    if jax.default_backend() == "cpu":
        pytest.skip("on CPU host and device share memory: nothing passes")
    monkeypatch.setattr(loop.Pace, "follow", lambda self, step: int(step))
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed device-to-host transfer"):
        train(make_config(data_dir), tmp_path, devices=1)


def test_a_second_epoch_compiles_nothing_anew(tmp_path, data_dir, caplog):
    config, ends = make_config(data_dir), []
    # Another rate than any other test's: this run finds no program of theirs in the cache.
    optimizer = dataclasses.replace(config.optimizer, learning_rate=0.0625)

    def compiled():
        return [
            record.getMessage().split(" in ")[0]
            for record in caplog.records
            if "XLA compilation" in record.getMessage()
        ]

    def progress(stage, done, total, **figures):
        if stage == "training" and "validation_top1" in figures:
            ends.append(len(compiled()))

    with caplog.at_level("DEBUG"), jax.log_compiles():
        train(
            dataclasses.replace(config, optimizer=optimizer), tmp_path, progress=progress, devices=1
        )
    assert any("train_step" in program for program in compiled()), "the log is read rightly"
    assert len(ends) == 4 and compiled()[ends[1] :] == []
