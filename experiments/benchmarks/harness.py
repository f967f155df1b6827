"""What the benchmarks share: contenders in processes of their own, run in turn, and ratios of the
same round.

A contender is a builder: a module-level function that sets everything up and returns a callable;
one call of it is one round's work, and what it returns is the contender's output. Each lives in a
process of its own, so that thread pools and memory do not mix; while one runs the others wait.
Rounds are interleaved (A B C A B C ...) and the figure quoted is the median over rounds of the
ratio within a round, because a shared machine changes its speed from minute to minute."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # children find the builders' modules by name


def installed(*names: str) -> bool:
    """Whether all these packages are there; a benchmark skips a peer that is not."""
    return all(importlib.util.find_spec(name) is not None for name in names)


def machine() -> str:
    """One line: processor, cores, load, versions."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("jax", "torch", "captum", "zennit-crp"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.machine()}, {cores} cores, as many threads for each contender, "
        f"load {os.getloadavg()[0]:.2f}; {', '.join(found)}"
    )


ROUND_SECONDS = 0.1


class Contender:
    """A builder in a process of its own. Its round calls short work again and again, for about
    ROUND_SECONDS. ``processor``: processor time is counted, which other people's work on a shared
    machine changes little; fair where each contender has one thread."""

    def __init__(
        self,
        name: str,
        builder: Callable[..., Callable[[], Any]],
        processor: bool = False,
        **options: Any,
    ):
        self.name = name
        self.seconds: list[float] = []
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(child, builder, options, processor), daemon=True
        )
        clock = time.perf_counter()
        self._process.start()
        child.close()
        self._ask("build")
        self.build_seconds = time.perf_counter() - clock
        clock = time.perf_counter()
        self.output = self._ask("output")  # the first round compiles, and is not counted
        self.first_seconds = time.perf_counter() - clock
        if self.first_seconds < 10:
            self._ask("repeats")

    def round(self) -> float:
        """Seconds of one round."""
        self.seconds.append(self._ask("round"))
        return self.seconds[-1]

    def again(self) -> Any:
        """One more call, untimed: what it returns."""
        self.output = self._ask("output")
        return self.output

    def peak_mib(self) -> float:
        """The process's peak resident memory so far."""
        return self._ask("peak")

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send("end")
        self._process.join()

    @property
    def median(self) -> float:
        """Median seconds of a round."""
        return statistics.median(self.seconds)

    def _ask(self, question: str) -> Any:
        self._pipe.send(question)
        try:
            kind, answer = self._pipe.recv()
        except EOFError:
            raise SystemExit(
                f"{self.name}: its process died (exit {self._process.exitcode})."
            ) from None
        if kind == "error":
            raise SystemExit(f"{self.name} failed:\n{answer}")
        return answer


def _serve(
    pipe: Any,
    builder: Callable[..., Callable[[], Any]],
    options: dict[str, Any],
    processor: bool = False,
) -> None:
    now = time.process_time if processor else time.perf_counter

    def work() -> Any:
        return None

    repeats = 1
    while True:
        try:
            question = pipe.recv()
        except EOFError:  # the parent is gone
            return
        if question == "end":
            return
        try:
            answer: Any = None
            if question == "build":
                work = builder(**options)
            elif (
                question == "repeats"
            ):  # a round of less than ROUND_SECONDS would measure the waking up of threads
                clock = now()
                work()
                repeats = max(1, min(500, round(ROUND_SECONDS / (now() - clock))))
            elif question == "peak":
                answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            else:
                clock = now()
                for _ in range(repeats if question == "round" else 1):
                    answer = work()
                if question == "round":
                    answer = (now() - clock) / repeats
            pipe.send(("ok", answer))
        except BaseException:  # noqa: BLE001 (the parent prints it and ends)
            import traceback

            pipe.send(("error", traceback.format_exc()))


def interleave(contenders: Sequence[Contender], rounds: int) -> None:
    """Runs every contender once a round."""
    for _ in range(rounds):
        for contender in contenders:
            contender.round()


def ratio(ours: Contender, theirs: Contender, times: float = 1.0) -> tuple[float, float, float]:
    """(median, least, greatest) over rounds of theirs / ours; ``times``: work of theirs for one
    round of ours."""
    found = [times * other / own for own, other in zip(ours.seconds, theirs.seconds, strict=True)]
    return statistics.median(found), min(found), max(found)


def print_ratio(ours: Contender, theirs: Contender, what: str, times: float = 1.0) -> None:
    """The line that a reader or a script looks for."""
    middle, least, greatest = ratio(ours, theirs, times)
    print(f"ratio: {middle:.2f}x  {what} (rounds {least:.2f} to {greatest:.2f})")


def matmul_and_copy() -> Callable[[], tuple[float, float]]:
    """Builder of the machine's floor: (GFLOP/s of a float32 matmul, GB/s read and written by a
    copy), best of 5."""
    import jax
    import jax.numpy as jnp

    side, cells = 2048, 2**25
    square = jnp.ones((side, side), jnp.float32)
    line = jnp.ones(cells, jnp.float32)
    multiply = jax.jit(lambda a: jnp.dot(a, a, precision="highest"))
    copy = jax.jit(lambda a: a + 1)

    def best(function: Callable[..., Any], argument: Any) -> float:
        seconds = []
        for _ in range(6):
            clock = time.perf_counter()
            jax.block_until_ready(function(argument))
            seconds.append(time.perf_counter() - clock)
        return min(seconds[1:])

    return lambda: (2 * side**3 / best(multiply, square) / 1e9, 8 * cells / best(copy, line) / 1e9)
