"""System calls of a training run that fail or kill it, one by one: what `experiments/faults.py
--syscalls` does.

A small run (three epochs of 16-pixel pictures) is trained once under strace, which lists its calls
of five kinds that concern the run's folder: rename, fsync, mkdir, unlink, and open for writing.
Then it is trained again and again, and at each of the first N of each kind strace kills it, or
answers ENOSPC or EIO. Each time: the command ends within seconds, with one sentence where it was
not killed; the same command goes on to the same parameters and metrics, bit for bit; and nothing
half-written is left over.

A process with all modules loaded is forked for every run, stopped until strace is attached, so that
a run takes two seconds and its calls are the run's own. Threads race, so a call that was to fail
may turn out not to be the run's: such a run is counted as missed, and nothing is asked of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLS = {
    "rename": "rename,renameat,renameat2",
    "fsync": "fsync,fdatasync",
    "mkdir": "mkdir,mkdirat",
    "unlink": "unlink,unlinkat,rmdir",
    "open": "open,openat,creat",
}
KINDS = ("signal=KILL", "error=ENOSPC", "error=EIO")
SECONDS = 30.0
"""Within which a run, which takes some seconds, must have ended."""
_LINE = re.compile(r"^(?P<pid>\d+) +(?:(?P<call>\w+)\((?P<rest>.*)|.*)$")


class Failure(Exception):
    """A promise that was not kept."""


@dataclass(frozen=True)
class Fault:
    """The ``when``th call of a kind in a thread fails or kills."""

    call: str
    kind: str
    when: int

    def __str__(self) -> str:
        return f"{self.kind} at {self.call} {self.when}"


def missing() -> str:
    """Why this cannot be done here; "" when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True)
    return (
        "" if tried.returncode == 0 else f"strace may not trace here ({tried.stderr.strip()[:100]})"
    )


SAMPLE = (
    Fault("mkdir", "error=ENOSPC", 5),
    Fault("rename", "signal=KILL", 5),
    Fault("unlink", "error=ENOSPC", 3),
)
"""What `make test` tries."""


def syscalls(root: Path, count: int, calls: Sequence[str] = tuple(CALLS)) -> str:
    """All faults at the first ``count`` calls of each kind, or SAMPLE where it is 0; what was kept,
    in words. Raises Failure."""
    runs = Runs(root)
    reference = root / "reference"
    recorded = runs.traced(reference, None)
    if recorded.status != 0:
        raise Failure(f"the run without a fault: status {recorded.status}: {recorded.told[-2000:]}")
    every = [
        Fault(call, kind, when)
        for call in calls
        for kind in KINDS
        for when in recorded.ordinals(call)[:count]
    ]
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    broken: list[str] = []
    for fault in every if count else SAMPLE:
        try:
            outcome, seconds = attempt(runs, root / "faulty", reference, fault)
            for _ in range(0 if count else 3):  # of a sample of three none shall be missed
                if outcome == "missed":
                    outcome, seconds = attempt(runs, root / "faulty", reference, fault)
        except Failure as failure:
            broken.append(str(failure))
            outcome, seconds = "BROKEN", 0.0
        outcomes[outcome] += 1
        slowest = max(slowest, seconds)
        print(f"  {fault}: {outcome}, {seconds:.1f} s", flush=True)
    if broken:
        raise Failure(f"{len(broken)} faults were not survived: " + "; ".join(broken)[:3000])
    if 5 * outcomes["missed"] > sum(outcomes.values()):
        raise Failure(f"{outcomes['missed']} of {sum(outcomes.values())} faults were missed.")
    told = ", ".join(f"{number} {what}" for what, number in sorted(outcomes.items()))
    return (
        f"{sum(outcomes.values())} faults ({told}); the slowest run took {slowest:.1f} s; all exact"
    )


def attempt(runs: Runs, run: Path, reference: Path, fault: Fault) -> tuple[str, float]:
    """(what became of the run, its seconds) under one fault. Raises Failure."""
    shutil.rmtree(run, ignore_errors=True)
    traced = runs.traced(run, fault)
    if traced.status is None:
        raise Failure(
            f"{fault}: the command was still there after {SECONDS:.0f} s, having said:"
            f" {traced.told[-1500:]}"
        )
    if not traced.injected(run):
        return "missed", 0.0
    outcome = _outcome(traced, fault)
    again = runs.plain(run)
    if again.status != 0:
        raise Failure(
            f"{fault}, then the same command: status {again.status}: {again.told[-2000:]}"
        )
    same(reference, run, str(fault))
    if left := left_over(run):
        raise Failure(f"{fault}: left over: {left}")
    return outcome, traced.seconds


def _outcome(traced: Traced, fault: Fault) -> str:
    """How a run under a fault ended. Raises Failure where it said less or more than one sentence,
    or named a file that no person knows."""
    if traced.status == 0:
        return "without effect"
    if traced.status == -signal.SIGKILL and "KILL" in fault.kind:
        return "killed"
    sentences = [line for line in traced.told.splitlines() if line.startswith("zfjax: ")]
    if traced.status != 1 or len(sentences) != 1 or "Traceback" in traced.told:
        raise Failure(f"{fault}: status {traced.status}, not one sentence: {traced.told[-2000:]}")
    if re.search(r"\.tmp|orbax", sentences[0]):
        raise Failure(f"{fault}: the sentence names an inner file: {sentences[0]}")
    return "said in a sentence"


KNOWN = re.compile(
    r"(config\.json|metrics\.jsonl|summary\.json|mean_image\.npy|\.lock|(checkpoints|resume)(/\d+(/.*)?)?)"
)
"""What a finished run of `train` has in its folder."""


def left_over(run: Path) -> list[str]:
    """What lies in a finished run's folder and does not belong there, states set aside among it."""
    names = [path.relative_to(run).as_posix() for path in run.rglob("*")]
    return [name for name in names if not KNOWN.fullmatch(name) or re.search(r"tmp", name)]


@dataclass(frozen=True)
class Traced:
    """What became of one run: its exit status (None: it had to be killed), words, trace and
    time."""

    status: int | None
    told: str
    trace: str
    seconds: float
    folder: str

    def injected(self, run: Path) -> bool:
        """Whether the fault met a call of the run's own."""
        return any("(INJECTED)" in line and str(run) in line for line in _joined(self.trace)) or (
            self.status == -signal.SIGKILL and self.status is not None
        )

    def ordinals(self, call: str) -> list[int]:
        """Which calls of a kind, counted in each thread as strace does, concern the run's folder:
        ascending."""
        seen: Counter[str] = Counter()
        wanted = set()
        names = CALLS[call].split(",")
        for line in _joined(self.trace):
            match = _LINE.match(line)
            if match is None or match["call"] not in names:
                continue
            seen[match["pid"]] += 1
            writes = call != "open" or re.search(r"O_WRONLY|O_RDWR|O_CREAT", match["rest"])
            if writes and self.folder in match["rest"]:
                wanted.add(seen[match["pid"]])
        return sorted(wanted)


def _joined(trace: str) -> Iterator[str]:
    """The trace's lines, calls that another thread's interrupts in print put together again."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
        elif match := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            yield f"{pid} {begun.pop(pid, '')}{match[1]}"
        else:
            yield f"{pid} {rest}"
    yield from (f"{pid} {rest}" for pid, rest in begun.items())


class Runs:
    """Small runs, each in a process forked from this one, which has loaded everything and started
    nothing."""

    def __init__(self, root: Path):
        folder = root / "small"
        folder.mkdir()
        # Compiling takes most of so small a run's time, and is the same each time.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(root / "compiled"))
        os.environ |= {
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        _load_modules()
        self._record = folder / "config.json"
        in_a_fork(lambda: _make_small(folder, self._record))

    def plain(self, run: Path) -> Traced:
        """Trains, or goes on training, in ``run``, without a fault."""
        return self._follow(run, None, 4 * SECONDS)

    def traced(self, run: Path, fault: Fault | None) -> Traced:
        """The same under strace: with a fault, or listing all calls."""
        wanted = CALLS[fault.call] if fault else ",".join(CALLS.values())
        options = ["-e", f"trace={wanted}"]
        if fault:
            options += ["-e", f"inject={wanted}:{fault.kind}:when={fault.when}"]
        return self._follow(run, options, SECONDS if fault else 8 * SECONDS)

    def _follow(self, run: Path, options: list[str] | None, seconds: float) -> Traced:
        folder = Path(
            tempfile.mkdtemp()
        )  # not TemporaryDirectory, which a forked process would remove at its end
        words, trace = folder / "words", folder / "trace"
        try:
            pid = self._fork(run, words, stopped=options is not None)
            tracer = _trace(pid, trace, options) if options is not None else None
            clock = time.monotonic()
            status = _status_within(pid, seconds)
            took = time.monotonic() - clock
            if tracer is not None:
                tracer.communicate()
            text = trace.read_text(errors="replace") if trace.exists() else ""
            return Traced(status, words.read_text(errors="replace"), text, took, str(run))
        finally:
            shutil.rmtree(folder)

    def _fork(self, run: Path, words: Path, stopped: bool) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            descriptor = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.argv = ["zfjax", "train", "--config", str(self._record), "--workdir", str(run)]
            if stopped:
                os.kill(os.getpid(), signal.SIGSTOP)
            from zfjax.commands.cli import console

            console()
        except BaseException:
            traceback.print_exc()
        finally:
            # As a program ends: Python waits for its threads, which is where one may hang.
            sys.stdout.flush()
            sys.stderr.flush()
            _end_as_python_does()
        raise AssertionError


def _make_small(folder: Path, record: Path) -> None:
    from tests.small import make_config, make_data
    from zfjax import config as configs

    record.write_text(json.dumps(configs.to_json(make_config(make_data(folder)))))


def in_a_fork(work: Callable[[], Any]) -> Any:
    """``work()``'s JSON value, from a process of its own: threads that it starts here would be lost
    to later forks."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reader)
            with open(writer, "w") as pipe:
                json.dump(work(), pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    with open(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise Failure(f"a helping process failed with status {os.waitstatus_to_exitcode(status)}.")
    return json.loads(text)


def _end_as_python_does() -> None:
    """Waits for all threads, where one that hangs would be met; what the parent has to do at its
    end is not done."""
    threading._shutdown()
    os._exit(0)


def _load_modules() -> None:
    """What a training needs, none of which starts a thread that a fork would lose."""
    import flax.linen  # noqa: F401
    import grain  # noqa: F401
    import optax  # noqa: F401
    import tensorflow_datasets  # noqa: F401
    from orbax.checkpoint import v1  # noqa: F401


def _trace(pid: int, trace: Path, options: list[str]) -> subprocess.Popen:
    """strace, following a process that has stopped itself, which then goes on."""
    os.waitpid(pid, os.WUNTRACED)
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "500", "-o", trace, "-p", str(pid), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            raise Failure("strace did not attach.")
        time.sleep(0.005)
    time.sleep(0.05)  # it sets the options of following just after
    os.kill(pid, signal.SIGCONT)
    return tracer


def _status_within(pid: int, seconds: float) -> int | None:
    """The exit status, negative for a signal; None where it had to be killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def same(reference: Path, run: Path, what: str) -> None:
    """Raises Failure unless both runs hold the same parameters and metrics."""
    digests = in_a_fork(lambda: [_digests(folder) for folder in (reference, run)])
    if digests[0] != digests[1]:
        raise Failure(
            f"{what}: the parameters or metrics of {run} are not those of an unbroken run."
        )


def _digests(folder: Path) -> dict[str, object]:
    """Saved digests of every step (they are checked on load), and the metrics without their
    speeds."""
    from zfjax.run import checkpoint
    from zfjax.run.folder import load_run
    from zfjax.run.steps import saved_steps

    run = load_run(folder)
    trees = {
        step: {
            name: checkpoint.digest(leaf)
            for name, leaf in checkpoint.leaf_paths(
                checkpoint.load(run.checkpoints / str(step))
            ).items()
        }
        for step in run.steps
    }
    speeds = ("images_per_second", "data_wait")
    lines = [
        {name: value for name, value in line.items() if name not in speeds} for line in run.metrics
    ]
    return {"trees": trees, "lines": lines, "states": saved_steps(run.resume)}
