"""Grids: planned, worked through by equal workers, resumed, grown, and told. Most with a stand-in
for training that is done at once; one whole grid is trained."""

import csv
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.small import make_config, stop_at
from zfjax.commands import cli
from zfjax.config import to_json
from zfjax.errors import ZfjaxError
from zfjax.files import exclusive_lock, read_json, write_json
from zfjax.inputs import open_data
from zfjax.run import checkpoint, sizes
from zfjax.run.folder import load_run
from zfjax.run.measured import open_measured
from zfjax.studies import ablating, claiming, costs
from zfjax.studies.ablating import Work, ablate
from zfjax.studies.belonging import run_standing
from zfjax.studies.cells import Cell, Wanted
from zfjax.studies.grid_page import write_grid_page
from zfjax.studies.measured import FILTERS, lacking, read_filters
from zfjax.studies.measuring_cells import measure_run
from zfjax.studies.planning import Request, plan_of
from zfjax.studies.plans import Plan, load_plan
from zfjax.studies.results import read_results, table_rows
from zfjax.studies.standings import FINISHED, Outcome, read_outcome, save_outcome, standing
from zfjax.studies.tuning import trials
from zfjax.training.interrupts import Interrupted
from zfjax.training.loop import train
from zfjax.training.opening import open_run

pytestmark = pytest.mark.slow  # grids of runs, though small ones

IMAGES = 40
KERNELS = {"vary": {"model.conv1.kernel": [3, 4]}}


@pytest.fixture
def base(data_dir):
    return make_config(data_dir, epochs=1)


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training and measuring: done at once, hits drawn from config and seed;
    ``trained.fails`` says of (cell, seed) what it raises, ``trained.unmeasured`` is what measuring
    does; ``trained.runs`` and ``trained.measured`` are those that were trained and measured."""
    told = SimpleNamespace(runs=[], fails={}, measured=[], unmeasured=None)

    def train_run(config, folder, *, check, progress, devices):
        run = folder.parent.name, config.seed
        if run in told.fails:
            raise told.fails[run]
        check()
        told.runs.append(run)
        kernel = config.model.conv("conv1").kernel
        random = np.random.default_rng([kernel, config.seed])
        hits = random.random(IMAGES) < 0.1 * kernel
        packed = {"top1": np.packbits(hits), "counted": np.packbits(np.ones(IMAGES, bool))}
        np.savez(folder / "correct.npz", images=IMAGES, **packed)
        return Outcome(
            FINISHED, time.time(), top1=float(hits.mean()), top5=1.0, train_top1=0.5,
            images=IMAGES, digest="same", seconds=2.0,
        )  # fmt: skip

    def measure_run(folder, data_dir, *, check, progress):
        check()
        told.measured.append((folder.parent.name, int(folder.name.removeprefix("seed-"))))
        if told.unmeasured:
            raise told.unmeasured
        (folder / "measures").mkdir(exist_ok=True)
        for name in set(lacking(folder)) - {FILTERS}:
            (folder / "measures" / f"{name}.json").touch()
        np.savez(folder / FILTERS, kernels=np.ones((1, 3, 3, 3, 2)), epochs=[0.0])
        return {}

    monkeypatch.setattr(ablating, "train_run", train_run)
    monkeypatch.setattr(ablating, "measure_run", measure_run)
    monkeypatch.setattr(ablating, "write_grid_page", lambda results: None)  # test_grid_page.py
    return told


def statuses(folder):
    plan = load_plan(folder)
    return {
        (cell.name, seed): standing(plan.run_folder(cell, seed)).status
        for cell, seed in plan.runs()
    }


def command(*words, capsys=None):
    status = cli.main(["ablate", *map(str, words)])
    return status, capsys.readouterr() if capsys else None


def test_seeds_are_outermost_and_what_is_finished_is_skipped(tmp_path, base, trained):
    said = []
    ablate(tmp_path, base, KERNELS, seeds=2, work=Work(say=said.append))
    cells = ["base", "conv1.kernel=3", "conv1.kernel=4"]
    assert trained.runs == [(cell, seed) for seed in (0, 1) for cell in cells]
    assert re.fullmatch(r"base/seed-0: top-1 \d+\.\d% \(1 of 6\)", said[0]) and len(said) == 6
    again = ablate(tmp_path)
    assert len(trained.runs) == 6 and again.seeds == (0, 1)
    assert set(statuses(tmp_path).values()) == {FINISHED}


def test_finished_runs_are_measured_once_and_those_of_before_too(tmp_path, base, trained):
    ablate(tmp_path, base, KERNELS, seeds=1, work=Work(measures=False))
    assert len(trained.runs) == 3 and not trained.measured
    said = []
    trained.unmeasured = ZfjaxError("No data set\nis here.")
    ablate(tmp_path, seeds=2, work=Work(say=said.append))
    assert len(trained.runs) == 6 and sorted(trained.measured) == sorted(trained.runs)
    assert "base/seed-0: measures not measured: No data set is here." in said
    assert set(statuses(tmp_path).values()) == {FINISHED}
    trained.unmeasured = None
    ablate(tmp_path)
    assert len(trained.measured) == 12 and len(trained.runs) == 6
    ablate(tmp_path)
    assert len(trained.measured) == 12


def test_damaged_filters_are_named(tmp_path):
    assert read_filters(tmp_path) is None
    for arrays in ({"kernels": np.zeros((1, 3, 3, 3, 4))}, {"kernels": np.zeros(3), "epochs": [0]}):
        np.savez(tmp_path / FILTERS, **arrays)
        with pytest.raises(ZfjaxError, match=r"filters.npz is damaged"):
            read_filters(tmp_path)
    (tmp_path / FILTERS).write_bytes(b"PK")
    with pytest.raises(ZfjaxError, match=r"filters.npz is damaged"):
        read_filters(tmp_path)


def test_the_plan_is_written_before_anything_is_trained(tmp_path, base, trained):
    trained.fails = {("base", 0): KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        ablate(tmp_path, base, KERNELS, seeds=[5, 0])
    record = read_json(tmp_path / "ablation.json")
    assert record["measure"] == {"name": "top1", "epoch": "last"} and record["base"] == "base"
    assert record["comparisons"] == [["conv1.kernel=3", "base"], ["conv1.kernel=4", "base"]]
    assert record["seeds"] == [0, 5] and record["declared"][0]["comparisons"] == 2
    plan = load_plan(tmp_path)
    assert plan.base == replace(base, model=base.model.with_classes(3))
    assert plan.cell("conv1.kernel=3").config.model.conv("conv1").kernel == 3


def test_a_grid_grows_by_values_seeds_and_drops_and_loses_nothing(tmp_path, base, trained):
    ablate(tmp_path, base, KERNELS, seeds=1)
    ablate(tmp_path, base, {"vary": {"model.conv1.kernel": [3, 5, 6]}, "drop": ["norm1"]})
    assert trained.runs[3:] == [("conv1.kernel=6", 0), ("without-norm1", 0)]
    ablate(tmp_path, seeds=2)
    assert len(trained.runs) == 10 and {seed for _, seed in trained.runs[5:]} == {1}
    ablate(tmp_path, base, seeds=1)  # fewer take nothing away
    plan = load_plan(tmp_path)
    assert plan.seeds == (0, 1) and len(plan.cells) == 5 and len(trained.runs) == 10
    assert [item["comparisons"] for item in plan.declared] == [2, 4, 4]
    assert plan.cells[0].also == ("conv1.kernel=5",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 2}, "epochs 1 -> 2"),
        ({"batch_size": 4, "epochs": 2}, "epochs 1 -> 2; batch_size 8 -> 4"),
        ({"rms_clip": 0.3}, "rms_clip 0.0 -> 0.3"),
    ],
)
def test_another_base_is_refused_by_field(tmp_path, base, trained, change, said):
    ablate(tmp_path, base, KERNELS, seeds=1)
    before = (tmp_path / "ablation.json").read_bytes()
    with pytest.raises(ZfjaxError, match="another base") as error:
        ablate(tmp_path, replace(base, **change), KERNELS, seeds=1)
    assert said in str(error.value) and len(trained.runs) == 3
    assert (tmp_path / "ablation.json").read_bytes() == before


def test_what_touches_nothing_learnt_may_move(tmp_path, base, trained):
    ablate(tmp_path, base, KERNELS, seeds=1)
    ablate(tmp_path, replace(base, save_minutes=3.0, preset="mine"), KERNELS, seeds=2)
    assert len(trained.runs) == 6


def test_a_name_of_another_config_and_a_config_of_another_name_are_refused(tmp_path, base, trained):
    wide = replace(base, batch_size=16)
    ablate(tmp_path, base, {"cells": {"mine": wide}}, seeds=1)
    with pytest.raises(ZfjaxError, match=r"another cell mine \(batch_size 16 -> 24\)"):
        ablate(tmp_path, base, {"cells": {"mine": replace(base, batch_size=24)}})
    with pytest.raises(ZfjaxError, match="Cell yours is the same as mine"):
        ablate(tmp_path, base, {"cells": {"yours": wide}})


def test_a_failed_run_is_tried_once_more_by_the_same_command(tmp_path, base, trained):
    trained.fails = {
        ("base", 0): ZfjaxError("The disk\n is full."),
        ("conv1.kernel=4", 1): ValueError("odd"),
    }
    said = []
    for tries in (1, 2):
        with pytest.raises(ZfjaxError) as error:
            ablate(tmp_path, base, KERNELS, seeds=2, work=Work(say=said.append))
        lines = str(error.value).splitlines()
        assert lines[0].startswith("2 of 6 runs failed")
        assert lines[1:] == [
            "base/seed-0: The disk is full.", "conv1.kernel=4/seed-1: ValueError: odd"
        ]  # fmt: skip
        assert read_json(tmp_path / "cells/base/seed-0/cell.json")["tries"] == tries
        assert len(trained.runs) == 4 and sum("failed" in line for line in said) == 2 * tries
    assert statuses(tmp_path)["base", 0] == "failed"
    rows = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    assert [row["message"] for row in rows if row["status"] == "failed"] == [
        "The disk is full.",
        "ValueError: odd",
    ]
    trained.fails = {}
    ablate(tmp_path, seeds=2)
    assert len(trained.runs) == 6 and set(statuses(tmp_path).values()) == {FINISHED}


def test_the_same_command_goes_on_where_the_preset_has_other_classes(
    tmp_path, base, trained, capsys
):
    """As with a subset of a data set: the preset's own number gives way, each time."""
    write_json(tmp_path / "base.json", to_json(replace(base, model=base.model.with_classes(200))))
    words = [*flags(base, tmp_path / "grid"), "--seeds", 1, "--drop", "norm1"]
    for count in (2, 2):
        status, said = command(*words, capsys=capsys)
        assert (status, len(trained.runs)) == (0, count), said.err
    status, said = command(*words, "--seeds", 2, "--dry-run", capsys=capsys)
    assert status == 0 and "4 runs" in said.out
    assert load_plan(tmp_path / "grid").base.model.classes == 3


def test_the_first_failure_may_stop_all(tmp_path, base, trained):
    trained.fails = {("conv1.kernel=3", 0): ZfjaxError("No.")}
    with pytest.raises(ZfjaxError, match="conv1.kernel=3/seed-0: No."):
        ablate(tmp_path, base, KERNELS, seeds=1, work=Work(stop_on_failure=True))
    assert trained.runs == [("base", 0)]


def test_two_workers_never_train_one_run(tmp_path, base, trained):
    ablate(tmp_path, base, seeds=1)
    ablate_first = load_plan(tmp_path)
    folder = ablate_first.run_folder(ablate_first.cells[0], 1)
    with exclusive_lock(folder / ".worker.lock", "busy"):
        ablate(tmp_path, base, KERNELS, seeds=2)
        assert statuses(tmp_path)["base", 1] == "training"
    assert ("base", 1) not in trained.runs and len(trained.runs) == 5
    ablate(tmp_path)
    assert trained.runs[-1] == ("base", 1)


def test_a_lock_that_another_host_holds_too_stops_the_worker(tmp_path, base, trained):
    ablate(tmp_path, base, seeds=1)
    for age, refused in ((-20, True), (30, True), (170, True), (200, False)):
        folder = tmp_path / f"cells/base/seed-{200 + age}"
        folder.mkdir()
        record = {"host": "elsewhere", "process": 1, "when": time.time() - age}
        write_json(folder / "worker.json", record)
        if refused:
            with pytest.raises(ZfjaxError, match="locks do not hold between machines") as error:
                ablate(tmp_path, seeds=[200 + age])
            assert "elsewhere" in str(error.value) and "--work 1/8" in str(error.value)
            write_json(folder / "worker.json", {**record, "when": time.time() - 500})
        ablate(tmp_path, seeds=[200 + age])
        assert trained.runs[-1] == ("base", 200 + age)
        assert not (folder / "worker.json").exists()


def test_a_worker_notices_another_host_while_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(claiming, "BEAT_SECONDS", 0.02)
    with claiming.claimed(tmp_path / "run") as claim:
        claim.check()
        mine = read_json(tmp_path / "run" / "worker.json")
        deadline = time.monotonic() + 10
        with pytest.raises(claiming.LocksDoNotHold):
            while time.monotonic() < deadline:  # as the other host does
                write_json(tmp_path / "run" / "worker.json", {**mine, "host": "elsewhere"})
                time.sleep(0.01)
                claim.check()
    assert read_json(tmp_path / "run" / "worker.json")["host"] == "elsewhere"


def test_parts_need_no_locks_and_come_together(tmp_path, base, trained):
    for turn in (1, 2, 3):
        own = tmp_path / f"machine-{turn}"
        ablate(own, base, KERNELS, seeds=2, work=Work(turn=(turn, 3)))
        assert sum(status == FINISHED for status in statuses(own).values()) == 2
    assert sorted(trained.runs) == sorted({*trained.runs}) and len(trained.runs) == 6
    whole = tmp_path / "machine-1"
    for turn in (2, 3):
        subprocess.run(["cp", "-a", f"{tmp_path}/machine-{turn}/cells", f"{whole}/"], check=True)
    ablate(whole)
    assert len(trained.runs) == 6
    rows = list(csv.DictReader((whole / "table.csv").read_text().splitlines()))
    assert [row["finished"] for row in rows] == ["2", "2", "2"]


@pytest.mark.parametrize("turn", [None, (1, 1)])
def test_a_run_is_training_while_a_worker_has_it_by_a_lock_or_by_its_word(
    tmp_path, base, trained, monkeypatch, turn
):
    ablate(tmp_path, base, seeds=1)
    seen = []
    monkeypatch.setattr(
        ablating,
        "train_run",
        lambda config, folder, **_: seen.append(standing(folder).status) or 1 / 0,
    )
    with pytest.raises(ZfjaxError, match="base/seed-1: ZeroDivisionError"):
        ablate(tmp_path, seeds=2, work=Work(turn=turn))
    assert seen == ["training"] and statuses(tmp_path)["base", 1] == "failed"
    assert not (tmp_path / "cells/base/seed-1/worker.json").exists()


@pytest.mark.parametrize(
    ("record", "status"),
    [
        ({"when": 20, "locked": False}, "training"),
        ({"when": -20, "locked": False}, "training"),  # another machine's clock
        ({"when": 200, "locked": False}, "stopped"),
        ({"when": 20, "locked": True}, "stopped"),  # killed: its lock is free
        ({"when": 20}, "stopped"),  # likewise, of before
        ({"locked": False}, "stopped"),
        (None, "stopped"),
    ],
)
def test_what_a_worker_without_locks_wrote_counts_for_three_minutes(tmp_path, record, status):
    (tmp_path / "config.json").write_text("{}")
    if record is None:
        (tmp_path / "worker.json").write_text("{")
    else:
        if "when" in record:
            record = {**record, "when": time.time() - record["when"]}
        write_json(tmp_path / "worker.json", {"host": "elsewhere", "process": 1, **record})
    assert standing(tmp_path).status == status


@pytest.mark.parametrize("turn", [None, (1, 1)])
def test_a_run_whose_folder_cannot_be_written_to_harms_no_other(tmp_path, base, trained, turn):
    ablate(tmp_path, base, seeds=1)
    folder = tmp_path / "cells" / "conv1.kernel=3"
    folder.write_text("a file in its way")
    said = []
    for work in (Work(turn=turn, say=said.append), Work(turn=turn, stop_on_failure=True)):
        with pytest.raises(ZfjaxError, match="conv1.kernel=3/seed-0: Could not") as error:
            ablate(tmp_path, base, KERNELS, work=work)
        assert "not a folder" in str(error.value) or "in the way" in str(error.value)
        assert trained.runs == [("base", 0), ("conv1.kernel=4", 0)]
    assert said[0].startswith("conv1.kernel=3/seed-0: failed: Could not")
    folder.unlink()
    ablate(tmp_path)
    assert set(statuses(tmp_path).values()) == {FINISHED}


def test_epochs_that_a_finished_run_has_lost_are_named(tmp_path, unbroken):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    (run / "measures").mkdir(exist_ok=True)
    for name in set(lacking(run)) - {FILTERS}:
        (run / "measures" / f"{name}.json").touch()
    told = {"check": lambda: None, "progress": lambda *_, **__: None}
    assert measure_run(run, None, **told) == {}
    steps = load_run(run).steps
    shutil.rmtree(run / "checkpoints" / str(steps[1]))
    lost = measure_run(run, None, **told)
    assert list(lost) == ["epoch 1"] and "the checkpoint is gone from" in str(lost["epoch 1"])
    shutil.rmtree(run / "checkpoints" / str(steps[-1]))
    with pytest.raises(ZfjaxError, match=r"checkpoint of its last epoch, \d, is gone"):
        measure_run(run, None, **told)


def test_tables_tell_all_that_is_known(tmp_path, base, trained):
    trained.fails = {("conv1.kernel=4", 2): ZfjaxError("No.")}
    with pytest.raises(ZfjaxError):
        ablate(tmp_path, base, {"drop": ["norm1"], **KERNELS}, seeds=3)
    cells = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    assert len(cells) == 12
    bad = next(row for row in cells if row["status"] == "failed")
    assert (bad["cell"], bad["seed"]) == ("conv1.kernel=4", 2)
    assert (bad["message"], bad["top1"]) == ("No.", None)
    good = cells[0]
    assert {good["model.conv1.kernel"], good["cell"]} == {5, "base"}
    assert good["parameters"] == base.model.parameter_count and good["flops"] > 0
    assert (good["top5"], good["train_top1"], good["seconds"]) == (1.0, 0.5, 2.0)
    assert good["conv2.dead_share"] is None and "conv1.aliasing" in good and "conv2.settled" in good
    with np.load(tmp_path / "correct.npz", allow_pickle=False) as stored:
        assert stored["hit"].shape == (11, IMAGES) and stored["hit"].dtype == bool
        for row, cell, seed in zip(stored["hit"], stored["cell"], stored["seed"], strict=True):
            [same] = [item for item in cells if (item["cell"], item["seed"]) == (cell, seed)]
            assert row.mean() == pytest.approx(same["top1"])
    rows = table_rows(read_results(load_plan(tmp_path)))
    assert [row["verdict"] for row in rows][0] == "base"
    kernel4 = next(row for row in rows if row["cell"] == "conv1.kernel=4")
    assert (kernel4["seeds"], kernel4["images"], kernel4["finished"]) == (2, IMAGES, 2)
    assert kernel4["low"] < kernel4["difference"] < kernel4["high"]
    twin = next(row for row in rows if row["cell"] == "without-norm1")
    assert twin["difference"] == 0 and twin["verdict"] == "cannot tell"
    text = (tmp_path / "table.tex").read_text()
    assert text.count(r"\\") == 5 and "98.33%" in text and "conv1.kernel=4 &" in text
    assert "means of those of 3 seeds that finished." in text
    assert text.count("not finished") == 1 and r"cannot tell; 1 of 3 not finished \\" in text


def test_one_seed_gives_the_images_interval_alone(tmp_path, base, trained, capsys):
    ablate(tmp_path, base, KERNELS, seeds=1)
    rows = table_rows(read_results(load_plan(tmp_path)))
    assert rows[1]["low"] is None and rows[1]["verdict"] == "cannot tell"
    assert rows[1]["these_networks_low"] < rows[1]["these_networks_high"]
    assert command("--workdir", tmp_path, capsys=capsys)[1].out.count("(images only)") == 2
    text = (tmp_path / "table.tex").read_text()
    assert "means of 1 seed." in text and "finished" not in text
    numbers = r"\$[+-]\d+\.\d\d\$"
    assert len(re.findall(rf"{numbers} \[{numbers}, {numbers}\] \(images only\) &", text)) == 2


def test_measures_of_each_run_are_read_at_the_last_epoch(tmp_path, base, trained):
    ablate(tmp_path, base, seeds=1)
    folder = tmp_path / "cells/base/seed-0/measures"
    rows = [
        {
            "step": step,
            "layer": layer,
            "map": None if share else 3,
            "quantity": name,
            "value": value,
        }
        for step, layer, share, name, value in (
            (0, "conv1", True, "dead_share", 0.1),
            (8, "conv1", True, "dead_share", 0.25),
            (8, "conv1", False, "dead_share", 1.0),
            (8, "conv2", True, "dominance", 2.5),
            (8, "conv1", True, "aliasing", 9.0),
            (8, "conv1", True, "odd", 9.0),
        )
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "census.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:0] or rows[4:5]), folder / "spectrum.parquet")
    ablate(tmp_path)
    [row] = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    assert row["conv1.dead_share"] == 0.25 and row["conv2.dominance"] == 2.5
    assert row["conv1.aliasing"] == 9.0 and row["conv2.dead_share"] is None
    (folder / "census.parquet").write_bytes(b"no parquet")
    with pytest.raises(ZfjaxError, match="census.parquet is damaged"):
        ablate(tmp_path)


def test_damaged_files_are_named_and_keep_no_other_run_from_going_on(tmp_path, base, trained):
    ablate(tmp_path, base, KERNELS, seeds=1)
    folder, count = tmp_path / "cells/base/seed-0", len(trained.runs)
    for seed, (name, content) in enumerate(
        (
            ("correct.npz", b"x"),
            ("correct.npz", b"PK"),  # the beginning of a file that was cut off
            ("correct.npz", b""),
            ("cell.json", b"{"),
            ("cell.json", b"{}"),
            ("cell.json", b'{"status": "finished", "when": 0, "top1": "high"}'),
            ("cell.json", b'{"status": "odd", "when": 0}'),
        ),
        start=1,
    ):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(ZfjaxError) as error:
            ablate(tmp_path, seeds=[seed])
        assert f"seed-0/{name}" in str(error.value) and "pickle" not in str(error.value)
        assert "delete cell.json" in str(error.value) or "delete it to have" in str(error.value)
        assert len(trained.runs) == count + 3 * seed
        if name == "cell.json":  # a row that says so, beside the others
            rows = pq.read_table(tmp_path / "cells.parquet").to_pylist()
            assert [row["status"] for row in rows].count("failed") == 1
            assert statuses(tmp_path)["base", 0] == "failed"
        (folder / name).write_bytes(before)
    ablate(tmp_path)
    assert len(trained.runs) == count + 3 * seed


@pytest.fixture
def belonging(tmp_path, unbroken):
    """A grid of one cell whose only run is ``unbroken``, with the hits that its metrics tell of;
    (plan, cell, run folder)."""
    config = load_run(unbroken).config
    plan = Plan(tmp_path, (Cell("base", config),), (config.seed,))
    folder = plan.run_folder(plan.cells[0], config.seed)
    shutil.copytree(unbroken, folder)
    line = load_run(folder).validation_lines[-1]
    count = line["images"]
    save_hits(folder, np.arange(count) < round(line["top1"] * count))
    outcome = Outcome(FINISHED, 1.0, top1=line["top1"], images=count, tries=2)
    save_outcome(folder, outcome)
    return plan, plan.cells[0], folder


def save_hits(folder, hits):
    packed = {"top1": np.packbits(hits), "counted": np.packbits(np.ones(len(hits), bool))}
    np.savez(folder / "correct.npz", images=len(hits), **packed)


def damage_config(folder):
    (folder / "config.json").write_text("{")


def change_config(folder):
    record = read_json(folder / "config.json")
    record["config"]["optimizer"]["momentum"] = 0.25
    write_json(folder / "config.json", record)


def change_seed(folder):
    record = read_json(folder / "config.json")
    write_json(folder / "config.json", {**record, "config": {**record["config"], "seed": 8}})


def change_metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines[-1]["top1"] = 1 - lines[-1]["top1"]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def change_hits(folder):
    save_hits(folder, np.ones(12, bool))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (damage_config, "config.json is damaged"),
        (change_config, r"another config \(optimizer.momentum 0.9 -> 0.25\)"),
        (change_seed, r"another config \(seed 0 -> 8\)"),
        (change_metrics, "metrics.jsonl is another run's: it ends at"),
        (change_hits, "correct.npz is another run's: of its images 100.0%"),
    ],
)
def test_a_finished_run_of_which_something_is_anothers_has_failed(belonging, change, said):
    plan, cell, folder = belonging
    assert run_standing(plan, cell, 0).status == FINISHED
    change(folder)
    item = run_standing(plan, cell, 0)
    assert (item.status, item.outcome.top1, item.outcome.tries) == ("failed", None, 2)
    assert re.search(said, item.outcome.message) and folder.name in item.outcome.message
    before = {path: path.read_bytes() for path in folder.glob("*.json")}
    with pytest.raises(ZfjaxError, match="base/seed-0: .*" + said):
        ablating.work_through(plan)
    assert {path: path.read_bytes() for path in folder.glob("*.json")} == before
    [row] = csv.DictReader((plan.folder / "table.csv").read_text().splitlines())
    assert row["finished"] == "0"
    assert "1 of 1 run failed" in (plan.folder / "report" / "index.html").read_text("utf-8")


def test_a_full_disk_fails_each_run_once_and_ends(tmp_path, base, trained, monkeypatch):
    full = ZfjaxError("Could not write: the disk is full.")

    def save(folder, outcome):
        raise full

    with monkeypatch.context() as patched:
        patched.setattr(ablating, "save_outcome", save)
        with pytest.raises(ZfjaxError) as error:
            ablate(tmp_path, base, {"vary": {"model.conv1.kernel": [3, 4]}}, seeds=4)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("12 of 12 runs failed") and len(lines) == 12
    assert lines[1] == f"base/seed-0: {full}" and lines[-1] == "and 2 more"
    ablate(tmp_path)
    assert set(statuses(tmp_path).values()) == {FINISHED}


def test_a_worker_of_before_writes_the_grown_table(tmp_path, base, trained):
    plan = ablate(tmp_path, base, seeds=1)
    ablate(tmp_path, base, KERNELS)
    ablating.work_through(plan)
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 4


def test_a_damaged_plan_is_named(tmp_path, base, trained):
    ablate(tmp_path, base, KERNELS, seeds=1)
    plan = (tmp_path / "ablation.json").read_text()
    for content in (
        *("{", "[]", "{}"),
        *(
            plan.replace(*words)
            for words in (('"cells"', '"rows"'), ("conv1", "."), ('"modern"', '"x"'))
        ),
        plan.replace('"kernel": 3', '"kernel": 300'),
    ):
        (tmp_path / "ablation.json").write_text(content)
        with pytest.raises(ZfjaxError, match=r"ablation.json is damaged"):
            ablate(tmp_path)
    (tmp_path / "ablation.json").write_text(
        plan.replace('"format_version": 1', '"format_version": 9')
    )
    with pytest.raises(ZfjaxError, match="newer zfjax"):
        ablate(tmp_path)


def test_images_of_another_kind_are_not_compared(tmp_path, base, trained):
    ablate(tmp_path, base, KERNELS, seeds=1)
    path = tmp_path / "cells/base/seed-0/cell.json"
    write_json(path, {**read_json(path), "digest": "other"})
    with pytest.raises(ZfjaxError, match="validated on different images"):
        ablate(tmp_path)


def flags(base, folder):
    return [
        "--workdir", folder, "--config", folder.parent / "base.json", "--epochs", 1
    ]  # fmt: skip


@pytest.fixture
def words(tmp_path, base):
    write_json(tmp_path / "base.json", to_json(base))
    return flags(base, tmp_path / "grid")


def test_a_dry_run_shows_the_cells_and_writes_nothing(tmp_path, words, capsys):
    status, said = command(
        *words, "--vary", "model.conv1.kernel=3,5", "--drop", "fc3", "--dry-run", capsys=capsys
    )
    assert status == 0 and not (tmp_path / "grid").exists()
    assert "also conv1.kernel=5" in said.out and "without-fc3" in said.out
    assert "0.57*" in said.out and "* more than 20% off the base's FLOPs" in said.out
    assert "3 cells x 3 seeds (0, 1, 2) = 9 runs" in said.out and "2 comparisons" in said.out
    assert "[/b]" not in said.out and "…" not in said.out
    again = command(*words, "--dry-run", "--work", "1/2", capsys=capsys)[1].out
    assert "1 cell x 3 seeds (0, 1, 2) = 3 runs" in again


@pytest.mark.parametrize("dry", [["--dry-run"], []])
def test_a_dry_run_refuses_the_data_that_training_would(tmp_path, words, capsys, dry):
    status, said = command(*words, "--data.validation-split", "odd", *dry, capsys=capsys)
    assert status == 1 and "Cell base: Data set small has no split 'odd'" in said.err
    assert not (tmp_path / "grid").exists()


def test_the_command_trains_tells_and_goes_on(tmp_path, words, trained, monkeypatch, capsys):
    monkeypatch.setattr(ablating, "write_grid_page", write_grid_page)
    status, said = command(*words, "--vary", "model.conv1.kernel=3", "--seeds", 2, capsys=capsys)
    assert status == 0 and len(trained.runs) == 4
    assert "conv1.kernel=3/seed-1: top-1" in said.out and "table.csv" in said.out
    page = tmp_path / "grid" / "report" / "index.html"
    assert f"Page: {page}" in said.out and "difference to the base, 95%\n" in (
        re.sub(" +\n", "\n", said.out)
    )
    shown = page.read_text("utf-8")
    assert "Of 1 configuration compared" in shown and "at 95%. It is better or worse" in shown
    page.unlink()  # the same command on a finished grid writes it again
    status, said = command("--workdir", tmp_path / "grid", "--work", capsys=capsys)
    assert status == 0 and len(trained.runs) == 4 and "MFLOP" not in said.out
    assert page.exists()
    status, said = command("--workdir", tmp_path / "grid", "--status", capsys=capsys)
    assert status == 0 and said.out.count("finished") == 4
    status, said = command("--workdir", tmp_path / "grid", "--status", "--json", capsys=capsys)
    rows = json.loads(said.out)
    assert [(row["cell"], row["seed"]) for row in rows[:2]] == [("base", 0), ("conv1.kernel=3", 0)]
    assert rows[0]["folder"] == "cells/base/seed-0" and rows[0]["status"] == "finished"
    assert not any(row["measuring"] for row in rows)
    with claiming.claimed(tmp_path / "grid" / "cells/base/seed-0"):  # as while a worker measures it
        status, said = command("--workdir", tmp_path / "grid", "--status", capsys=capsys)
        assert said.out.count("finished") == 4 and said.out.count(", measuring") == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--json"], "--json goes with --status"),
        (["--work", "9/8"], "--work 9/8: write I/N"),
        (["--work", "0/8"], "--work 0/8: write I/N"),
        (["--work", "x"], "--work x: write I/N"),
        (["--seeds", "none"], "--seeds none"),
        (["--seed", "4"], "takes --seeds"),
        (["--preset", "demo"], "not both"),
        (["--images-per-second", "0"], "must be above 0"),
        (["--vary", "model.conv7.kernel=3"], "no field model.conv7.kernel"),
        (["--drop", "fc4"], "fc4 gives the scores"),
        (["--data.name", "gone"], "gone"),
        (["--batch-size", "1000"], "Cell base: a batch of 1000"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, words, more, said, capsys):
    status, told = command(*words, *more, capsys=capsys)
    lines = told.err.strip().splitlines()
    assert status == 1 and said in told.err and "Traceback" not in told.err
    assert len(lines) == 1 and not (tmp_path / "grid").exists()


def test_folders_that_are_no_grid(tmp_path, unbroken, words, capsys):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "ablation.json").write_text("{}")
    for asked, said in (
        (["--workdir", unbroken, "--preset", "demo", "--dry-run"], "is a run"),
        (["--workdir", tmp_path / "none"], "holds no ablation yet"),
        (["--workdir", tmp_path / "none", "--status"], "holds no ablation yet"),
        (["--workdir", tmp_path / "none", "--epochs", "2"], "Give --preset or --config"),
        (["--workdir", tmp_path / "grid/cells", *words[2:]], "lies among the runs of the ablation"),
        (["--workdir", tmp_path / "grid/cells/base", "--status"], f"use --workdir {tmp_path}/grid"),
    ):
        status, told = command(*asked, capsys=capsys)
        assert status == 1 and said in told.err


def test_no_run_begins_among_those_of_a_grid(tmp_path, data_dir):
    config = make_config(data_dir)
    (tmp_path / "ablation.json").write_text("{}")
    for place in (".", "cells", "cells/base"):
        with pytest.raises(ZfjaxError, match="another --workdir for a run|another for a run of"):
            open_run(tmp_path / place, config, open_data(config))
    assert not (tmp_path / "cells").exists()


def test_too_small_a_disk_is_refused_before_anything_is_trained(
    words, trained, monkeypatch, capsys
):
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    status, told = command(*words, "--drop", "norm1", capsys=capsys)
    assert status == 1 and "1000 B are free" in told.err and not trained.runs


def test_trials_are_counted_in_what_a_grid_costs(tmp_path, base, monkeypatch):
    tune = "optimizer.learning_rate=0.01,0.02"
    plan = plan_of(tmp_path, Request(base, Wanted(drops=(("norm1",),)), (0, 1), tune), 3)
    size = sum(sizes.run_bytes(cell.config) for cell in plan.cells)
    needed = []
    monkeypatch.setattr(costs, "check_space", lambda folder, count: needed.append(count))
    costs.check_disk(plan)
    save_outcome(next(trials(plan, plan.cells[0]))[2], Outcome(FINISHED, 0.0))
    costs.check_disk(plan)
    for seed in plan.seeds:  # nothing is sought for a cell that has ended
        save_outcome(plan.run_folder(plan.cells[0], seed), Outcome(FINISHED, 0.0))
    costs.check_disk(plan)
    costs.check_disk(replace(plan, tuning=None))
    assert needed[0] == (2 + 2) * size and needed[0] - needed[1] == sizes.run_bytes(base)
    assert needed[2:] == [(2 + 2) * sizes.run_bytes(plan.cells[1].config), needed[2] // 2]
    words = costs.plan_words(plan, 100, 1e9, "as said")
    assert f"not counted: {sizes.bytes_words(2 * size)}, about" in words
    assert "not counted" not in costs.plan_words(replace(plan, tuning=None), 100, 1e9, "as said")


@pytest.mark.slow
def test_a_grid_is_trained_resumed_and_compared_as_its_runs_are(tmp_path, data_dir, base):
    config = base
    wanted = {"vary": {"optimizer.learning_rate": [1e30]}, "drop": ["norm1"]}
    with pytest.raises(Interrupted):
        ablate(
            tmp_path / "grid", config, wanted, seeds=1,
            work=Work(devices=1, progress=stop_at(2)),
        )  # fmt: skip
    assert statuses(tmp_path / "grid")["base", 0] == "stopped"
    plan = ablate(tmp_path / "grid", config, wanted, seeds=1, work=Work(devices=1))
    assert statuses(tmp_path / "grid") == {
        ("base", 0): "finished", ("learning_rate=1e+30", 0): "diverged",
        ("without-norm1", 0): "finished",
    }  # fmt: skip
    alone = train(config, tmp_path / "alone", devices=1)
    run = load_run(plan.run_folder(plan.cells[0], 0))
    for step in run.steps:
        one, other = (
            checkpoint.leaf_paths(checkpoint.load(item.checkpoints / str(step)))
            for item in (run, alone)
        )
        assert all(one[name].tobytes() == leaf.tobytes() for name, leaf in other.items())
    rows = pq.read_table(tmp_path / "grid" / "cells.parquet").to_pylist()
    assert rows[0]["top1"] == run.validation_lines[-1]["top1"]
    assert rows[0]["top5"] == run.validation_lines[-1]["top5"]
    assert 0 < rows[0]["train_top1"] < 1 and rows[0]["seconds"] > 0
    assert rows[1]["status"] == "diverged" and "not finite" in rows[1]["message"]
    assert rows[2]["without"] == "norm1"
    # Finished runs are measured; two checkpoints are too few for settling.
    census = open_measured(run.folder / "measures", "census")
    assert rows[0]["conv1.dead_share"] == census.of_layer("dead_share", "conv1")[run.last_step]
    assert rows[0]["conv1.coverage"] is not None and rows[0]["conv1.settled"] is None
    assert rows[1]["conv1.dead_share"] is None and lacking(run.folder) == ("settling",)
    filters, saved = read_filters(run.folder), checkpoint.load(run.checkpoints / str(run.last_step))
    assert filters.epochs == (0.0, 1.0)
    assert np.array_equal(filters.kernels[-1], saved["conv1"]["kernel"])
    # A run of another config in a cell's folder is a failure of that run alone.
    other = plan.run_folder(plan.cells[0], 1)
    train(replace(config, seed=9), other, devices=1)
    with pytest.raises(ZfjaxError, match=r"1 of 6 runs failed.*\n.*seed-1.*seed 9 -> 1"):
        ablate(tmp_path / "grid", seeds=2, work=Work(devices=1, measures=False))
    assert statuses(tmp_path / "grid")["without-norm1", 1] == "finished"


@pytest.mark.slow
def test_each_cell_is_tuned_on_training_images_held_out(tmp_path, data_dir, base):
    tune = "optimizer.learning_rate=1e30,0.05"
    plan = ablate(
        tmp_path,
        base,
        {"drop": ["norm1"]},
        seeds=1,
        tune=tune,
        work=Work(devices=1, measures=False),
    )
    for cell in plan.cells:
        run = load_run(plan.run_folder(cell, 0))
        assert run.config.optimizer.learning_rate == 0.05 and run.config.seed == 0
        trial = load_run(tmp_path / "tuning" / cell.name / "0.05")
        assert trial.config.data.train_split == "train[:90%]"
        assert trial.config.data.validation_split == "train[90%:]"
        assert (trial.fingerprint["count"], run.fingerprint["count"]) == (32, 36)
        assert trial.config.seed not in plan.seeds
        assert read_outcome(tmp_path / "tuning" / cell.name / "1e30").status == "diverged"
    rows = pq.read_table(tmp_path / "cells.parquet").to_pylist()
    assert [(row["tuned"], row["status"]) for row in rows] == [("0.05", "finished")] * 2
    assert [row["tuned"] for row in table_rows(read_results(plan))] == ["0.05"] * 2
    # Tuned once: another seed takes what was found.
    before = (tmp_path / "tuning/base/0.05/metrics.jsonl").stat().st_mtime_ns
    ablate(tmp_path, seeds=[0, 3], work=Work(devices=1, measures=False))
    assert (tmp_path / "tuning/base/0.05/metrics.jsonl").stat().st_mtime_ns == before
    with pytest.raises(ZfjaxError, match="holds an ablation with --tune"):
        ablate(tmp_path, base, tune="optimizer.learning_rate=0.1,0.2")


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ("optimizer.learning_rate", "--tune optimizer.learning_rate: write FIELD=VALUE,VALUE."),
        ("optimizer.learning_rate=0.1,", "--tune optimizer.learning_rate=0.1,: an empty value"),
        ("optimizer.learning_rate=0.1,0.1", "--tune optimizer.learning_rate=0.1,0.1: 0.1 is given"),
        ("optimizer.learning_rate=0.1", "one value is no choice"),
        ("optimizer.learning_rate=0.1,1e-1", "0.1 and 1e-1 are the same"),
        ("optimizer.learning_rate=0.1,x", "--tune optimizer.learning_rate=0.1,x: "),
        ("optimizer.rate=1,2", "no field optimizer.rate to vary; optimizer has learning_rate, "),
        ("rate=1,2", "no field rate to vary; "),
        ("model.conv1.kernel=3,4", "a field of the training is tuned"),
        ("optimizer.learning_rate,epochs=0.1:1", "one field is tuned"),
        ("optimizer.momentum=0.5,2", "out of range"),
        ("batch_size=8,9", "batch_size is varied"),
        ("seed=3", "give --seeds"),
    ],
)
def test_what_cannot_be_tuned_is_said(tmp_path, base, trained, tune, said):
    with pytest.raises(ZfjaxError, match=re.escape(said)):
        ablate(tmp_path / "grid", base, {"vary": {"batch_size": [16]}}, tune=tune)
    assert not (tmp_path / "grid").exists()
