"""Which epochs' parameters stay on disk, and how much room a run needs."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.small import make_config, stop_at
from tests.training.test_train import parameters
from zfjax import presets
from zfjax.errors import ZfjaxError
from zfjax.keeping import kept_epochs
from zfjax.run import sizes
from zfjax.run.sizes import kept_count, run_bytes
from zfjax.training.interrupts import Interrupted
from zfjax.training.loop import train


def test_epochs_in_words():
    assert kept_epochs("all") is None
    assert kept_epochs("paper") == {0, 1, 2, 5, 10, 20, 30, 40, 64}
    assert kept_epochs("0,1,5") == kept_epochs("5 1 0 last") == {0, 1, 5}
    assert kept_epochs("last") == set()
    demo = presets.preset("demo")
    for wrong in ("", ",", "some", "-1", "1.5", "0,one", "All"):
        with pytest.raises(ZfjaxError, match="keep = .* is out of range: it must be all, paper"):
            replace(demo, keep=wrong)
    counts = {"all": 11, "paper": 5, "last": 1, "0,3,10,99": 3}
    for words, count in counts.items():
        kept = replace(demo, keep=words)
        assert kept_count(kept) == count
        assert run_bytes(kept) == 4 * demo.model.parameter_count * (count + 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "steps"), [("1", (4, 12)), ("last", (12,)), ("paper", (0, 4, 8, 12))]
)
def test_what_is_kept_is_what_an_unbroken_run_saves(tmp_path, data_dir, unbroken, words, steps):
    config = make_config(data_dir, keep=words)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", progress=stop_at(9), devices=1)
    run = train(config, tmp_path / "run", devices=1)
    assert run.steps == steps
    for step in steps:
        whole = parameters(unbroken, step)
        for name, leaf in parameters(run.folder, step).items():
            assert leaf.tobytes() == whole[name].tobytes()
    assert [line["epoch"] for line in run.validation_lines] == [0, 1, 2, 3]
    assert train(replace(config, keep="all"), tmp_path / "run", devices=1).steps == steps


def test_too_small_a_disk_is_refused_before_a_run_begins(tmp_path, data_dir, monkeypatch):
    config = make_config(data_dir)
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda path: SimpleNamespace(free=60_000))
    needed = run_bytes(config)
    with pytest.raises(ZfjaxError, match=r"52 KiB are needed .* disk is full before the end"):
        assert needed == 4 * 1331 * 10
        monkeypatch.setattr(sizes.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
        train(config, tmp_path / "run", devices=1)
    assert not (tmp_path / "run" / "config.json").exists()
