"""Decoding processes: the same batches as threads, no process and no memory left behind, however
they or we end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data_helpers import members
from zfjax.data.dataset import open_dataset
from zfjax.data.pipeline import evaluation_batches, pixel_sums, training_batches
from zfjax.data.reading import Reading
from zfjax.data.workers import pool_of
from zfjax.errors import ZfjaxError

pytestmark = pytest.mark.slow

VIEW = (18, 18)


def first(batches, count):
    return [batch for _, batch in zip(range(count), batches, strict=False)]


def test_processes_give_the_batches_that_threads_give(with_a_bad_record, capfd):
    threads, processes = (open_dataset("bad", with_a_bad_record, count) for count in (0, 2))
    skipping, size = Reading(VIEW, on_error="skip"), 20  # two pieces, the second not full

    def trained_on(dataset):
        return training_batches(dataset, "train", skipping, batch_size=size, seed=3, start_step=1)

    def evaluated_on(dataset):
        return evaluation_batches(dataset, "train", skipping, batch_size=size, start=1)

    def partly_known(dataset):
        known = {3: np.full((*VIEW, 3), 7, np.uint8)}
        reading = Reading(VIEW, on_error="skip", known=known)
        return evaluation_batches(dataset, "train", reading, batch_size=size)

    for made in (trained_on, evaluated_on, partly_known):
        one, other = (first(made(dataset), 4) for dataset in (threads, processes))
        assert len(one) == len(other) >= 2
        assert made is not partly_known or (one[0]["image"][3] == 7).all()
        for left, right in zip(one, other, strict=True):
            for name, array in left.items():
                np.testing.assert_array_equal(array, right[name], err_msg=name)
    assert capfd.readouterr().err.count("Image 5 of split 'train' of bad") == 2, "once by each"
    sums = [pixel_sums(dataset, "train", skipping) for dataset in (threads, processes)]
    assert np.array_equal(*[total for total, _ in sums]) and [int(count) for _, count in sums] == [
        23,
        23,
    ]
    with pytest.raises(
        ZfjaxError, match=r"Image 5 of split 'train' of bad \(.*\) cannot be decoded: not an image"
    ):
        first(training_batches(processes, "train", Reading(VIEW), batch_size=12, seed=3), 3)


def test_a_process_that_dies_is_said_in_a_sentence(data_dir):
    dataset = open_dataset("small", data_dir, 2)
    # As Ctrl-C does to a whole group, at once and later.
    for worker in pool_of(dataset, VIEW)._workers:
        worker._process.send_signal(signal.SIGINT)
        worker._process.send_signal(signal.SIGTERM)
    batches = training_batches(dataset, "train", Reading(VIEW), batch_size=8, seed=0)
    next(batches)
    for worker in pool_of(dataset, VIEW)._workers:
        worker._process.send_signal(signal.SIGINT)
    next(batches)
    pool_of(dataset, VIEW)._workers[0]._process.kill()
    with pytest.raises(ZfjaxError, match="process that decodes images has died .by signal SIGKILL"):
        first(batches, 50)


ENDLESS = """
import sys
from zfjax.data.dataset import open_dataset
from zfjax.data.pipeline import training_batches
from zfjax.data.reading import Reading
dataset = open_dataset("small", sys.argv[1], 2)
for batch in training_batches(dataset, "train", Reading((18, 18)), batch_size=8, seed=0):
    print("batch", flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_their_parent(data_dir, number):
    before = set(os.listdir("/dev/shm"))
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, data_dir], stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()
    assert len(members(process.pid)) == 3
    process.send_signal(number)
    process.communicate()
    until = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not members(process.pid) and set(os.listdir("/dev/shm")) <= before
