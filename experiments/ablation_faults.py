"""Does a grid survive its workers? Four workers on 24 tiny runs, SIGKILL of one of them at random
moments of training and of measuring, a new one in its place; against the same grid trained and
measured by one worker without a break.

Every run must end finished, once, with the same parameters at every epoch, the same metrics (but
for speeds), the same measures (but for when and how long) and the same tables, to the byte. Exits 1
when any does not.

Command:   python experiments/ablation_faults.py [--kills 200] [--workers 4] [--seeds 4] [--seed 0]
Hardware:  CPU; two cores do. A worker takes some seconds to start, which bounds the kills a minute.
Result:    20 SIGKILLs, 7 while measuring, of 6 runs (--seeds 1 --workers 2) on two cores that 15
           others shared, in 594 s (undisturbed: 361 s): equal. 20 SIGKILLs, 6 while measuring, of
           all 24 runs with 4 workers on two cores that others shared, in 779 s (undisturbed, one
           worker: 391 s): equal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.faults import make_scenes, same  # noqa: E402
from experiments.syscall_faults import Failure  # noqa: E402

CELLS = (
    "--vary",
    "model.conv1.kernel=5,7",
    "--vary",
    "optimizer.momentum=0.8,0.9",
    "--drop",
    "norm1",
    "--drop",
    "conv4",
)
"""Six with the base."""
TIMES = {"created", "seconds"}
"""Of cells.parquet and of a measure's JSON, that may differ."""
AFTER_SECONDS = (0.0, 4.0)
"""Between a worker's having a run, and its death: it loads, compiles, trains, saves, counts, or
measures."""
ANYWHEN = 0.2
"""Share of the kills that come at any time, also while a worker starts."""
MEASURING = 0.4
"""Share of the kills that wait for a worker to measure a run, where one is to be measured."""
MEASURING_SECONDS = 60.0
"""For which they wait."""
PATIENCE_SECONDS = 3600


@dataclass(frozen=True)
class Task:
    """What every worker is told: the data set's folder, and how many seeds each cell has."""

    data: Path
    seeds: int


def command(grid: Path, task: Task) -> list[str]:
    """A worker on the grid in ``grid``."""
    fields = {
        "preset": "demo",
        "workdir": grid,
        "seeds": task.seeds,
        "epochs": 2,
        "data.name": task.data.name,
        "data.dir": task.data.parent.resolve(),
        "save-minutes": 0.01,
        "model.conv1.maps": 6,
        "model.conv2.maps": 8,
        "model.conv3.maps": 8,
        "model.conv4.maps": 8,
        "model.conv5.maps": 8,
        "model.fc6.features": 16,
        "model.fc7.features": 16,
    }
    flags = [str(word) for name, value in fields.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "zfjax", "ablate", "--work", *flags, *CELLS]


def start(grid: Path, task: Task) -> subprocess.Popen:
    """A worker, in a process group of its own; what it says is kept beside the grid."""
    with open(grid.with_suffix(".log"), "a") as log:
        return subprocess.Popen(
            command(grid, task), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def end(worker: subprocess.Popen, grid: Path) -> None:
    """Waits for a worker's end. Raises Failure where it did not end well."""
    if worker.wait(timeout=PATIENCE_SECONDS) != 0:
        said = grid.with_suffix(".log").read_text()[-3000:]
        raise Failure(f"a worker ended with {worker.returncode}: {said}")


def disturbed(grid: Path, task: Task, count: int, kills: int) -> tuple[int, int]:
    """``count`` workers at a time, one killed now and then and another started, until so many kills
    or until the grid is whole; how often one was killed, and how often while it measured.
    """
    workers, done, measuring = [start(grid, task) for _ in range(count)], 0, 0
    try:
        while done < kills and not whole(grid):
            victim = random.randrange(count)
            wait_for_a_run(workers[victim], grid)
            time.sleep(random.uniform(*AFTER_SECONDS))
            if workers[victim].poll() is None:
                measuring += is_measuring(workers[victim], grid)
                os.killpg(workers[victim].pid, signal.SIGKILL)
                workers[victim].wait()
                workers[victim], done = start(grid, task), done + 1
            for index, worker in enumerate(workers):
                if worker.poll() is not None:
                    end(worker, grid)
                    workers[index] = start(grid, task)
        for worker in workers:
            end(worker, grid)
        end(start(grid, task), grid)
    finally:
        for worker in workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
    return done, measuring


def wait_for_a_run(worker: subprocess.Popen, grid: Path) -> None:
    """Until the worker trains or measures something, or has ended; mostly."""
    chance = random.random()
    if chance < ANYWHEN:
        return
    end = time.monotonic() + MEASURING_SECONDS
    if chance < ANYWHEN + MEASURING:
        while worker.poll() is None and time.monotonic() < end and not is_measuring(worker, grid):
            time.sleep(0.05)
        return
    while worker.poll() is None and worker.pid not in dict(claims(grid)):
        time.sleep(0.05)


def is_measuring(worker: subprocess.Popen, grid: Path) -> bool:
    """Whether the worker has a run that has been trained."""
    run = dict(claims(grid)).get(worker.pid)
    return run is not None and (run / "cell.json").exists()


def claims(grid: Path) -> Iterator[tuple[int, Path]]:
    """The processes that have a run now, by their own word, and its folder."""
    for path in grid.glob("cells/*/seed-*/worker.json"):
        try:
            yield json.loads(path.read_text())["process"], path.parent
        except (OSError, ValueError):  # it has just ended
            continue


def statuses(grid: Path) -> dict[tuple[str, int], str]:
    """{(cell, seed): status}."""
    from zfjax.studies.plans import load_plan
    from zfjax.studies.standings import standing

    plan = load_plan(grid)
    if plan is None:
        return {}
    return {
        (cell.name, seed): standing(plan.run_folder(cell, seed)).status
        for cell, seed in plan.runs()
    }


def whole(grid: Path) -> bool:
    """Whether every run has finished and is measured."""
    from zfjax.studies.measured import lacking

    standings = statuses(grid)
    return set(standings.values()) == {"finished"} and not any(
        lacking(folder) for folder in grid.glob("cells/*/seed-*")
    )


def compare(reference: Path, grid: Path) -> None:
    """Raises Failure unless both grids hold the same runs, each finished once, and tables."""
    import pyarrow.parquet as pq

    from zfjax.studies.plans import load_plan
    from zfjax.studies.standings import read_outcome

    plans = [load_plan(folder) for folder in (reference, grid)]
    assert plans[0] is not None and plans[1] is not None
    for cell, seed in plans[0].runs():
        folders = [plan.run_folder(cell, seed) for plan in plans if plan is not None]
        name = f"{cell.name}/seed-{seed}"
        outcome = read_outcome(folders[1])
        if outcome is None or outcome.status != "finished" or outcome.tries != 1:
            raise Failure(f"{name}: {outcome}")
        same(*folders, name)
        same_files(*folders, name)
    for file in ("table.csv", "table.tex", "correct.npz"):
        if (reference / file).read_bytes() != (grid / file).read_bytes():
            raise Failure(f"{file} differs.")
    rows = [
        [timeless(row) for row in pq.read_table(folder / "cells.parquet").to_pylist()]
        for folder in (reference, grid)
    ]
    if rows[0] != rows[1]:
        raise Failure("cells.parquet differs.")
    if not all(row["conv1.dead_share"] is not None for row in rows[0]):
        raise Failure("cells.parquet lacks measures.")


def same_files(reference: Path, run: Path, name: str) -> None:
    """Raises Failure unless the hits, the filters and all files of the measures are equal."""
    names = [sorted(path.name for path in folder.glob("measures/*")) for folder in (reference, run)]
    if names[0] != names[1] or "settling.json" not in names[0]:
        raise Failure(f"{name}: measures {names[1]}, not {names[0]}.")
    for file in ("correct.npz", "filters.npz", *(f"measures/{each}" for each in names[0])):
        contents = [(folder / file).read_bytes() for folder in (reference, run)]
        if file.endswith(".json"):
            equal = timeless(json.loads(contents[0])) == timeless(json.loads(contents[1]))
        else:
            equal = contents[0] == contents[1]
        if not equal:
            raise Failure(f"{name}: {file} differs.")


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """Without when it was made, and how long that took."""
    return {name: value for name, value in record.items() if name not in TIMES}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_scenes(root / "data")
        [data] = (path for path in (root / "data").iterdir() if path.is_dir())
        task = Task(data, options.seeds)
        clock, done, measuring, grids = time.monotonic(), 0, 0, 0
        try:
            end(start(root / "reference", task), root / "reference")
            print(f"the undisturbed grid: {time.monotonic() - clock:.0f} s", flush=True)
            while done < options.kills:
                grid, clock = root / f"grid{grids}", time.monotonic()
                killed, late = disturbed(grid, task, options.workers, options.kills - done)
                compare(root / "reference", grid)
                done, measuring, grids = done + killed, measuring + late, grids + 1
                print(
                    f"kept: {killed} SIGKILLs, {late} of them while measuring, each run trained"
                    " once, parameters, measures and tables equal"
                    f" ({time.monotonic() - clock:.0f} s)",
                    flush=True,
                )
        except Failure as failure:
            print(f"BROKEN: {failure}")
            return 1
    print(json.dumps({"kills": done, "while_measuring": measuring, "grids": grids, "failed": 0}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
