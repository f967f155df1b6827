"""Which images are right, one by one: as evaluation counts them, whole and of a probe."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.small import make_config
from zfjax.data.dataset import open_dataset
from zfjax.devices import data_mesh
from zfjax.errors import ZfjaxError
from zfjax.inputs import open_data
from zfjax.run.folder import load_run
from zfjax.subject import images_of, subject_of
from zfjax.training import hits as hits_room
from zfjax.training.evaluation import batching_of, evaluate
from zfjax.training.hits import hits_of, probe_ids
from zfjax.training.loop import train


def asked(run, split, config=None, devices=1):
    config = config or run.config
    images = images_of(config, open_data(config), split)
    subject = subject_of(run, images)
    parameters = subject.parameters(run.last_step, whole=True)
    return subject, parameters, batching_of(config, data_mesh(config.batch_size, devices))


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "validation"])
def test_hits_are_those_that_evaluation_counts(unbroken, split):
    subject, parameters, batching = asked(load_run(unbroken), split)
    hits = hits_of(subject, parameters, batching)
    figures = evaluate(subject, parameters, batching)
    assert len(hits.top1) == subject.images.count == hits.counted.sum()
    assert hits.share(hits.top1) == figures["top1"] and hits.share(hits.top5) == figures["top5"]
    ids = [3, 0, 7, 11, 4, 5, 6, 8, 10]  # more than a batch
    some = hits_of(subject, parameters, batching, ids)
    np.testing.assert_array_equal(some.top1, hits.top1[ids])
    spread = asked(load_run(unbroken), split, devices=8)
    np.testing.assert_array_equal(hits_of(*spread).top1, hits.top1)


@pytest.mark.slow
def test_what_cannot_be_read_counts_nowhere(tmp_path, unbroken, with_a_bad_record):
    run = load_run(unbroken)
    data = replace(run.config.data, name="bad", dir=str(with_a_bad_record), on_error="skip")
    config = replace(run.config, data=data)
    for ids in (None, range(6)):
        hits = hits_of(*asked(run, "validation", config), ids)
        assert hits.counted.tolist() == [True, True, False, True, True, True]
        assert not hits.top1[2] and not hits.top5[2]
    failing = replace(config, data=replace(data, on_error="fail"))
    with pytest.raises(ZfjaxError, match="Image 2 of split 'validation'"):
        hits_of(*asked(run, "validation", failing), range(6))


def test_the_probe_is_the_same_for_everyone_and_spread(monkeypatch):
    assert probe_ids(10_000) is None
    ids = probe_ids(100_000)
    assert ids == probe_ids(100_000) and len(set(ids)) == 10_000 and list(ids) == sorted(ids)
    assert 45_000 < np.mean(ids) < 55_000
    monkeypatch.setattr(hits_room, "PROBE", 3)
    assert len(probe_ids(4)) == 3


def test_a_part_of_a_split_is_a_split(data_dir):
    dataset = open_dataset("small", data_dir)
    parts = [dataset.count(f"train[{part}]") for part in (":90%", "90%:", ":10", "30:")]
    assert parts == [32, 4, 10, 6]
    whole = dataset.describe("train", range(36))
    assert dataset.describe("train[:90%]", range(32)) == whole[:32]
    assert dataset.describe("train[90%:]", range(4)) == whole[32:]
    assert dataset.fingerprint("train[:90%]")["count"] == 32
    for wrong in ("train[", "train[:200%]", "nothing[:90%]", "train[a:b]", "train[1:2:3]", "[:9]"):
        with pytest.raises(ZfjaxError, match="has no split"):
            dataset.count(wrong)


@pytest.mark.slow
def test_runs_that_differ_in_their_seeds_share_their_programs(tmp_path, data_dir, caplog):
    # Another rate than any other test's: nothing of this is in the cache.
    base = make_config(data_dir, epochs=1)
    base = replace(base, optimizer=replace(base.optimizer, learning_rate=0.0421))

    def compiled(seed):
        caplog.clear()
        with caplog.at_level("DEBUG"), jax.log_compiles():
            train(replace(base, seed=seed), tmp_path / str(seed), devices=1)
        return [line.getMessage() for line in caplog.records if "XLA compilation" in line.message]

    assert any("train_step" in line for line in compiled(0))
    assert compiled(1) == []
    steps = [load_run(tmp_path / str(seed)).metrics[1]["loss"] for seed in (0, 1)]
    assert steps[0] != steps[1]
