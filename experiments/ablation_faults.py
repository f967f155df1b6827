"""Does a grid survive its workers? Four workers on 24 tiny runs, SIGKILL of one of them at random
moments, a new one in its place; against the same grid trained by one worker without a break.

Every run must end finished, once, with the same parameters at every epoch, the same metrics (but
for speeds) and the same table, to the byte. Exits 1 when any does not.

Command:   python experiments/ablation_faults.py [--kills 200] [--workers 4] [--seed 0]
Hardware:  CPU; two cores do. A worker takes some seconds to start, which bounds the kills a minute.
Result:    40 SIGKILLs in 406 s, 60 in 563 s on two busy cores (undisturbed: 259, 203 s): equal.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.faults import make_scenes, same  # noqa: E402
from experiments.syscall_faults import Failure  # noqa: E402

SEEDS = 4
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
"""Six with the base: 24 runs."""
COLUMNS = ("top1", "top5", "train_top1", "parameters", "flops", "status", "cell", "seed")
"""Of cells.parquet, that must be equal; seconds are not."""
AFTER_SECONDS = (0.0, 4.0)
"""Between a worker's having a run, and its death: it loads, compiles, trains, saves, or counts."""
ANYWHEN = 0.2
"""Share of the kills that come at any time, also while a worker starts."""
PATIENCE_SECONDS = 3600


def command(grid: Path, data: Path) -> list[str]:
    """A worker on the grid in ``grid``."""
    fields = {
        "preset": "demo",
        "workdir": grid,
        "seeds": SEEDS,
        "epochs": 2,
        "data.name": data.name,
        "data.dir": data.parent.resolve(),
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
    return [sys.executable, "-m", "zfjax", "ablate", "--work", "--no-measures", *flags, *CELLS]


def start(grid: Path, data: Path) -> subprocess.Popen:
    """A worker, in a process group of its own; what it says is kept beside the grid."""
    with open(grid.with_suffix(".log"), "a") as log:
        return subprocess.Popen(
            command(grid, data), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def end(worker: subprocess.Popen, grid: Path) -> None:
    """Waits for a worker's end. Raises Failure where it did not end well."""
    if worker.wait(timeout=PATIENCE_SECONDS) != 0:
        said = grid.with_suffix(".log").read_text()[-3000:]
        raise Failure(f"a worker ended with {worker.returncode}: {said}")


def disturbed(grid: Path, data: Path, count: int, kills: int) -> int:
    """``count`` workers at a time, one killed now and then and another started, until so many kills
    or until the grid is whole; how often one was killed.
    """
    workers, done = [start(grid, data) for _ in range(count)], 0
    try:
        while done < kills and not whole(grid):
            victim = random.randrange(count)
            wait_for_a_run(workers[victim], grid)
            time.sleep(random.uniform(*AFTER_SECONDS))
            if workers[victim].poll() is None:
                os.killpg(workers[victim].pid, signal.SIGKILL)
                workers[victim].wait()
                workers[victim], done = start(grid, data), done + 1
            for index, worker in enumerate(workers):
                if worker.poll() is not None:
                    end(worker, grid)
                    workers[index] = start(grid, data)
        for worker in workers:
            end(worker, grid)
        end(start(grid, data), grid)
    finally:
        for worker in workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
    return done


def wait_for_a_run(worker: subprocess.Popen, grid: Path) -> None:
    """Until the worker trains something, or has ended; mostly."""
    if random.random() < ANYWHEN:
        return
    while worker.poll() is None and worker.pid not in set(claims(grid)):
        time.sleep(0.05)


def claims(grid: Path) -> Iterator[int]:
    """The processes that train a run now, by their own word."""
    for path in grid.glob("cells/*/seed-*/worker.json"):
        try:
            yield json.loads(path.read_text())["process"]
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
    """Whether every run has finished."""
    found = statuses(grid)
    return bool(found) and set(found.values()) == {"finished"}


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
        if folders[0].joinpath("correct.npz").read_bytes() != (
            folders[1].joinpath("correct.npz").read_bytes()
        ):
            raise Failure(f"{name}: correct.npz differs.")
    for file in ("table.csv", "table.tex", "correct.npz"):
        if (reference / file).read_bytes() != (grid / file).read_bytes():
            raise Failure(f"{file} differs.")
    rows = [
        [[row[name] for name in COLUMNS] for row in pq.read_table(folder).to_pylist()]
        for folder in (reference / "cells.parquet", grid / "cells.parquet")
    ]
    if rows[0] != rows[1]:
        raise Failure("cells.parquet differs.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_scenes(root / "data")
        [data] = (path for path in (root / "data").iterdir() if path.is_dir())
        clock, done, grids = time.monotonic(), 0, 0
        try:
            end(start(root / "reference", data), root / "reference")
            print(f"the undisturbed grid: {time.monotonic() - clock:.0f} s", flush=True)
            while done < options.kills:
                grid, clock = root / f"grid{grids}", time.monotonic()
                killed = disturbed(grid, data, options.workers, options.kills - done)
                compare(root / "reference", grid)
                done, grids = done + killed, grids + 1
                print(
                    f"kept: {killed} SIGKILLs, each run trained once, parameters and tables equal"
                    f" ({time.monotonic() - clock:.0f} s)",
                    flush=True,
                )
        except Failure as failure:
            print(f"BROKEN: {failure}")
            return 1
    print(json.dumps({"kills": done, "grids": grids, "failed": 0}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
