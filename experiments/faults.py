"""Does a run survive? Kills, signals, damage and full disks, each against an unbroken run, compared
bit for bit.

Trains a small network on drawn scenes once without a fault. Then: SIGKILL at random moments, half
of them while a save is under way; SIGTERM and SIGINT at random moments, also of a run that draws
every epoch and writes for TensorBoard, with the seconds until exit; SIGKILL of one of two
processes, with the seconds until the other has ended; a newest state that is truncated and one with
a flipped bit; a file-size limit; and, where this user may mount one, a small full file system.
Every broken run must end with the same parameters at every epoch and the same metrics (but for
speeds), without a traceback, without an orphan process and with nothing left in /dev/shm. Exits 1
when any does not.

--syscalls N does something else instead: system calls that fail, one by one (syscall_faults.py).

Command:   python experiments/faults.py [--kills 20] [--signals 8] [--lost 4] [--only kills]
           python experiments/faults.py --syscalls 20 [--calls rename fsync mkdir unlink open]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.syscall_faults import CALLS, Failure, missing, syscalls  # noqa: E402

SPEEDS = ("images_per_second", "data_wait")
EPOCHS = 6
CHECKS = ("kills", "signals", "drawing", "lost", "damage", "limited", "full")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from zfjax.commands.cli import console
del sys.argv[1]
console()
"""


DRAWING = ("--evolve-every", "1", "--evolve-images", "60", "--tensorboard", "true")


def command(run: Path, file_size: int | None = None, more: Sequence[str] = ()) -> list[str]:
    """Trains the small run in ``run``, where wanted with a limit on the size of its files."""
    [data] = (path for path in (run.parent / "data").iterdir() if path.is_dir())
    fields = {
        "preset": "demo",
        "workdir": run,
        "epochs": EPOCHS,
        "data.name": data.name,
        "data.dir": data.parent.resolve(),
        "save-minutes": 0.01,
        "model.conv1.maps": 8,
        "model.conv2.maps": 12,
        "model.conv3.maps": 12,
        "model.conv4.maps": 12,
        "model.conv5.maps": 12,
        "model.fc6.features": 32,
        "model.fc7.features": 32,
    }
    flags = [str(part) for name, value in fields.items() for part in (f"--{name}", value)]
    program = ["-m", "zfjax"] if file_size is None else ["-c", LIMITED, str(file_size)]
    return [sys.executable, *program, "train", *flags, *more]


def start(run: Path, file_size: int | None = None, more: Sequence[str] = ()) -> subprocess.Popen:
    """The training, in a process group of its own."""
    return subprocess.Popen(
        command(run, file_size, more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen, statuses: tuple[int, ...], what: str) -> str:
    """Waits for the end; its words. Raises Failure for another exit status, a traceback or a
    process left behind."""
    try:
        out, errors = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise Failure(f"{what}: it was still there after ten minutes.") from None
    if process.returncode not in statuses:
        raise Failure(f"{what}: exit status {process.returncode}, not {statuses}: {errors[-2000:]}")
    if "Traceback" in errors:
        raise Failure(f"{what}: a traceback:\n{errors[-3000:]}")
    left = subprocess.run(
        ["pgrep", "-g", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    if left:
        raise Failure(f"{what}: processes {left} were left behind.")
    return out + errors


def finished(run: Path, what: str) -> None:
    """Lets the run go on to its end."""
    end(start(run), (0,), what)


def same(reference: Path, run: Path, what: str) -> None:
    """Raises Failure unless both runs hold the same parameters and metrics."""
    from zfjax.run import checkpoint
    from zfjax.run.folder import load_run

    runs = [load_run(reference), load_run(run)]
    if runs[0].steps != runs[1].steps:
        raise Failure(f"{what}: saved steps {runs[1].steps}, not {runs[0].steps}.")
    for step in runs[0].steps:
        trees = [
            checkpoint.leaf_paths(checkpoint.load(one.checkpoints / str(step))) for one in runs
        ]
        for name, leaf in trees[0].items():
            if leaf.tobytes() != trees[1][name].tobytes():
                raise Failure(f"{what}: {name} at step {step} differs.")
    lines = [
        [{key: value for key, value in line.items() if key not in SPEEDS} for line in one.metrics]
        for one in runs
    ]
    if lines[0] != lines[1]:
        raise Failure(f"{what}: metrics.jsonl differs.")


def saving(run: Path) -> bool:
    """Whether Orbax is writing now."""
    return any(run.glob("*/*.orbax-checkpoint-tmp*"))


def when(process: subprocess.Popen, run: Path, seconds: float, in_a_save: bool) -> bool:
    """Waits ``seconds``, and then for a save where one is wanted; whether the process still
    runs."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    deadline = time.monotonic() + 20
    while in_a_save and process.poll() is None and not saving(run) and time.monotonic() < deadline:
        time.sleep(0.0002)
    return process.poll() is None


def kills(root: Path, reference: Path, seconds: float, count: int) -> str:
    """SIGKILL ``count`` times over runs, each broken several times."""
    done, in_saves, runs = 0, 0, 0
    while done < count:
        run = root / f"killed{runs}"
        for _ in range(min(5, count - done)):
            process = start(run)
            in_a_save = done % 2 == 0
            if when(process, run, random.uniform(0.1, seconds), in_a_save):
                in_saves += saving(run)
                os.killpg(process.pid, signal.SIGKILL)
                done += 1
            process.communicate()
            if process.returncode == 0:
                shutil.rmtree(run)
        finished(run, "after kills")
        same(reference, run, "after kills")
        runs += 1
    return f"{done} SIGKILLs in {runs} runs, {in_saves} of them while a save was under way"


def signals(
    root: Path, reference: Path, seconds: float, count: int, more: Sequence[str] = ()
) -> str:
    """SIGTERM and SIGINT at random moments, from the first half second on."""
    slowest, done = 0.0, 0
    run = root / ("drawing" if more else "signalled")
    while done < count:
        process = start(run, more=more)
        number = (signal.SIGTERM, signal.SIGINT)[done % 2]
        if when(process, run, random.uniform(0.5, seconds), False):
            clock = time.monotonic()
            os.killpg(process.pid, number)
            end(process, (0, 128 + number, -number), f"signal {number}")
            took = time.monotonic() - clock
            if (
                process.returncode == 0 and took > 5
            ):  # it may come when all is done but the last save
                raise Failure(
                    f"signal {number} was not obeyed: the run went on for {took:.1f} s, to its end."
                )
            slowest = max(slowest, took)
            done += 1
        else:
            end(process, (0,), "before a signal")
            shutil.rmtree(run)
    finished(run, "after signals")
    same(reference, run, "after signals")
    if slowest > 10:
        raise Failure(f"a signal took {slowest:.1f} s.")
    what = " of runs that draw every epoch" if more else ""
    return f"{done} SIGTERMs and SIGINTs{what}, {slowest:.1f} s to exit at most"


def start_two(run: Path) -> list[subprocess.Popen]:
    """The training as two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def meet(index):
        return ("--coordinator", address, "--process-count", "2", "--process-index", str(index))

    return [start(run, more=meet(index)) for index in range(2)]


def lost(root: Path, count: int) -> str:
    """SIGKILL of one of two processes at random moments: the other ends by itself."""
    reference, run = root / "two", root / "lost"
    clock = time.monotonic()
    for process in start_two(reference):
        end(process, (0,), "the unbroken run of two processes")
    seconds, slowest, done = time.monotonic() - clock, 0.0, 0
    while done < count:
        pair = start_two(run)
        victim, other = pair if done % 2 else reversed(pair)
        if not when(victim, run, random.uniform(0.3 * seconds, seconds), False):
            [process.communicate() for process in pair]
            shutil.rmtree(run)
            continue
        clock = time.monotonic()
        victim.kill()
        try:
            _, told = other.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            other.kill()
            raise Failure(
                "one of two processes was lost, and the other hung for five minutes."
            ) from None
        slowest = max(slowest, time.monotonic() - clock)
        victim.communicate()
        if other.returncode == 0:
            raise Failure("one of two processes was lost, and the other went on to its end.")
        if done % 2 == 0 and "Traceback" in told:  # process 0 was left, and can say so
            raise Failure(f"one of two processes was lost: {told[-2000:]}")
        done += 1
    for process in start_two(run):
        end(process, (0,), "after lost processes")
    same(reference, run, "after lost processes")
    return (
        f"{done} times one of two processes killed, the other ended within {slowest:.1f} s, then"
        " exact"
    )


def newest_state(run: Path) -> Path:
    """The largest file of the newest full state."""
    newest = (
        run
        / "resume"
        / str(max(int(path.name) for path in (run / "resume").iterdir() if path.name.isdecimal()))
    )
    return max(
        (path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def damage(root: Path, reference: Path, seconds: float) -> str:
    """The newest state truncated, and with a flipped bit: set aside, named, and the run still
    exact."""
    from zfjax.run.folder import load_run

    def halve(path: Path) -> None:
        os.truncate(path, path.stat().st_size // 2)

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)

    for name, harm in (("truncated", halve), ("flipped", flip)):
        run = root / name
        while True:
            process = start(run)
            if when(process, run, random.uniform(0.6 * seconds, seconds), False):
                os.killpg(process.pid, signal.SIGTERM)
            process.communicate()
            states = [p for p in (run / "resume").glob("*") if p.name.isdecimal()]
            # One with its last epoch saved reads no state any more.
            if process.returncode and len(states) > 1 and len(load_run(run).steps) <= EPOCHS:
                break
            shutil.rmtree(run, ignore_errors=True)
        harm(newest_state(run))
        told = end(start(run), (0,), f"{name} state")
        if "set aside" not in told or not list((run / "resume").glob("*.set-aside-*")):
            raise Failure(f"{name} state: it was not set aside: {told[-500:]}")
        same(reference, run, f"{name} state")
    return "a truncated and a bit-flipped newest state: set aside, named, the run exact"


def limited(root: Path, reference: Path) -> str:
    """A limit on the size of files, at several sizes: one sentence, then on without it."""
    sizes = (2_000, 20_000, 60_000)
    for size in sizes:
        run = root / f"limited{size}"
        told = end(start(run, size), (1,), f"limit {size}")
        if "zfjax: " not in told:
            raise Failure(f"limit {size}: nothing was said: {told[-500:]}")
        finished(run, f"after limit {size}")
        same(reference, run, f"after limit {size}")
    return f"file-size limits of {', '.join(map(str, sizes))} bytes: one sentence, then exact"


def full(root: Path, reference: Path) -> str:
    """A file system of 1 MiB, then of 64 MiB."""
    place = root / "full"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True
    ).returncode:
        return "a full file system: not done, this user may not mount one"
    try:
        (place / "data").symlink_to(root / "data")
        told = end(start(place / "run"), (1,), "full file system")
        if "disk is full" not in told:
            raise Failure(f"full file system: {told[-500:]}")
        subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
        finished(place / "run", "after the full file system")
        same(reference, place / "run", "after the full file system")
    finally:
        subprocess.run(["umount", place], check=True)
    return "a full file system of 1 MiB: one sentence; with room again, exact"


def failing_calls(count: int, calls: Sequence[str]) -> int:
    """The faults of syscall_faults.py; the exit status."""
    if why := missing():
        print(f"not done: {why}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            print(f"kept: {syscalls(Path(folder), count, calls)}")
        except Failure as failure:
            print(f"BROKEN: {failure}")
            return 1
    return 0


def main() -> int:
    # A shell's background jobs ignore SIGINT, and so would every process that is sent one here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--signals", type=int, default=8)
    parser.add_argument("--lost", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--syscalls",
        type=int,
        default=None,
        metavar="N",
        help="the first N calls of each kind; 0: a sample of three",
    )
    parser.add_argument(
        "--calls", nargs="+", choices=CALLS, default=list(CALLS), help="with --syscalls"
    )
    parser.add_argument("--only", nargs="+", choices=CHECKS, help="some of these (default: all)")
    options = parser.parse_args()
    random.seed(options.seed)
    if options.syscalls is not None:
        return failing_calls(options.syscalls, options.calls)
    shared_memory = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_scenes(root / "data")
        reference = root / "reference"
        clock = time.monotonic()
        finished(reference, "the unbroken run")
        seconds = time.monotonic() - clock
        print(f"the unbroken run: {seconds:.1f} s, {EPOCHS} epochs", flush=True)
        checks: dict[str, Callable[[], str]] = {
            "kills": lambda: kills(root, reference, seconds, options.kills),
            "signals": lambda: signals(root, reference, seconds, options.signals),
            "drawing": lambda: signals(root, reference, 2 * seconds, options.signals, DRAWING),
            "lost": lambda: lost(root, options.lost),
            "damage": lambda: damage(root, reference, seconds),
            "limited": lambda: limited(root, reference),
            "full": lambda: full(root, reference),
        }
        for check in (checks[name] for name in options.only or checks):
            clock = time.monotonic()
            try:
                print(f"kept: {check()} ({time.monotonic() - clock:.0f} s)", flush=True)
            except Failure as failure:
                failed += 1
                print(f"BROKEN: {failure}", flush=True)
    if (
        left := (set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set())
        - shared_memory
    ):
        failed += 1
        print(f"BROKEN: left in /dev/shm: {sorted(left)}")
    print(json.dumps({"failed": failed}))
    return 1 if failed else 0


def make_scenes(folder: Path) -> None:
    """A small drawn data set, the only one in ``folder``."""
    from zfjax.data.scenes import ensure_scenes

    ensure_scenes(folder, train=480, validation=120)


if __name__ == "__main__":
    sys.exit(main())
