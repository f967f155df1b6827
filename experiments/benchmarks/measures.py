"""What the measures settling, census and labels cost beside the search that they ride along with.

One run of seeded checkpoints on JPEGs, every image of which is in the probe; the search alone and
the search with the three measures, their tables, sentences and charts included, are run in turn in
one process. What is compared is the processor time of all threads (user and system), which a shared
machine changes less than the time by the clock; both are printed. The random weights of the
checkpoints do to a sort and a product of matrices what trained ones do.

Command:   python experiments/benchmarks/measures.py [--width 0.25] [--images 4000] [--tiny]
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evolution import make_run
from harness import machine

from zfjax.features.asking import Asked
from zfjax.features.evolving import asked_of
from zfjax.features.riding import Company
from zfjax.features.searching import search_on
from zfjax.measures.along import plan_along
from zfjax.measures.boarding import Target, finish, take_aboard
from zfjax.measures.choosing import find_measure
from zfjax.measures.planning import Chosen
from zfjax.network.named import small_zfnet
from zfjax.run.folder import Run, load_run

NAMES = ("settling", "census", "labels")


@dataclasses.dataclass
class Timed:
    """Seconds of each round."""

    processor: list[float] = dataclasses.field(default_factory=list)
    clock: list[float] = dataclasses.field(default_factory=list)

    def add(self, work: Callable[[], Any]) -> Any:
        """One more round."""
        began, used = time.perf_counter(), _processor_seconds()
        result = work()
        self.clock.append(time.perf_counter() - began)
        self.processor.append(_processor_seconds() - used)
        return result


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def searched(run: Run, names: Sequence[str], folder: Path) -> dict[str, float]:
    """The search, and measures of these names on its forward pass: seconds of each measure."""
    subject, request = asked_of(run, Asked())
    subject = subject.holding(request.steps)
    folder.mkdir()
    if not names:
        search_on(subject, request, folder, _silent)
        return {}
    measures = [find_measure(name) for name in names]
    plan = plan_along(subject, request, [Chosen(each, each.options) for each in measures])
    boarded = take_aboard(plan, folder, folder)
    search_on(subject, request, folder, _silent, Company(boarded.company.riders, plan.ids))
    results = finish(boarded, Target(folder, run), _silent)
    for error in results.failed.values():
        raise error
    return {name: each.meta["seconds"]["measure"] for name, each in results.measured.items()}


def _silent(*ignored: Any) -> None:
    pass


def ratios(alone: Sequence[float], together: Sequence[float]) -> str:
    """Median and range over the rounds."""
    each = [with_measures / own for own, with_measures in zip(alone, together, strict=True)]
    return f"{statistics.median(each):.2f}x (rounds {min(each):.2f} to {max(each):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=0.25, help="of ZFNet's maps, at 64 pixels")
    parser.add_argument("--checkpoints", type=int, default=9)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="3 checkpoints, 256 images, 1 round")
    options = parser.parse_args()
    if options.tiny:
        options.checkpoints, options.images, options.rounds = 3, 256, 1
    print(machine())
    whole = small_zfnet("zfnet-64", input_size=(64, 64), width=options.width, head=16, classes=10)
    stack = dataclasses.replace(whole, layers=whole.convolutional)
    with tempfile.TemporaryDirectory() as root:
        make_run(Path(root), stack, options.checkpoints, options.images)
        run, folder = load_run(Path(root) / "run"), Path(root) / "measures"
        alone, together = Timed(), Timed()
        for index in range(options.rounds + 1):
            for timed, names in ((alone, ()), (together, NAMES)):
                seconds = timed.add(lambda names=names: searched(run, names, folder))
                shutil.rmtree(folder)
                if index == 0:  # it compiles
                    timed.processor.clear()
                    timed.clock.clear()
        each = ", ".join(f"{name} {taken:.2f}" for name, taken in seconds.items())
    print(
        f"{options.checkpoints} checkpoints x {options.images:,} images, a network of"
        f" {sum(layer.maps for layer in stack.layers if hasattr(layer, 'maps'))} maps: the search"
        f" {statistics.median(alone.processor):.1f} s of processors,"
        f" {statistics.median(alone.clock):.1f} s by the clock"
    )
    print(f"of the last round, seconds by the clock: {each}")
    print(f"by the clock: {ratios(alone.clock, together.clock)}")
    print(
        f"ratio: {ratios(alone.processor, together.processor)}  processor time of the search with"
        f" {', '.join(NAMES)} over the search alone"
    )


if __name__ == "__main__":
    main()
