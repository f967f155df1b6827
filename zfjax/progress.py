"""Progress on a terminal as bars, elsewhere as plain lines."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

Progress = Callable[..., None]
"""``progress(stage, done, total, **figures)``."""


def tell_nobody(*arguments: Any, **figures: Any) -> None:
    """A ``Progress`` for those who do not want to know."""


_LINE_SECONDS = 10.0
_WIDE = 96
"""Columns of a terminal from which on there is room for a bar beside the figures."""
_MARKS = 25
"""Reports that the time left is reckoned from: more than an epoch of training with its validation
and saving."""
_SHOWN = {
    "loss": "loss {:.3f}",
    "top1": "top-1 {:.1%}",
    "validation_top1": "validation {:.1%}",
    "images_per_second": "{:.0f} img/s",
    "data_wait": "wait {:.0%}",
}


class Reporter:
    """Call it as ``reporter(stage, done, total, **figures)``; use it in a ``with`` block, so that
    bars end cleanly.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._terminal = self._console.is_terminal
        self._bars = Bars(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            *([BarColumn(bar_width=12)] if self._console.width >= _WIDE else []),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn(
                "{task.fields[figures]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            # What a command prints goes above the bars where both are on the terminal, else where
            # it is sent to.
            console=self._console,
            expand=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._figures: dict[str, dict[str, float]] = {}
        self._reached: dict[str, int] = {}
        self._spoken: dict[str, float] = {}
        self._marks: dict[str, deque[tuple[float, int]]] = {}

    def __enter__(self) -> Reporter:
        if self._terminal:
            self._bars.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._terminal:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        """Moves the bar of ``stage``; off a terminal prints a line now and then, at the end of the
        stage, and at its beginning where it is told of before anything is done.
        """
        latest = self._figures.setdefault(stage, {})
        latest.update({name: value for name, value in figures.items() if name in _SHOWN})
        words = "  ".join(_SHOWN[name].format(latest[name]) for name in _SHOWN if name in latest)
        if left := self._left(stage, done, total):
            # First, for a narrow terminal cuts what comes last.
            words = f"{left} left  {words}".rstrip()
        if self._terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, figures="")
            short = words.replace("  ", " ").replace("validation ", "val ")
            self._bars.update(self._tasks[stage], completed=done, total=total, figures=short)
            return
        now = time.monotonic()
        begins = done < self._reached.get(stage, total + 1)  # or begins anew
        if begins:
            self._spoken[stage] = now
        self._reached[stage] = done
        marked = done == total or (begins and not done)
        marked = marked and stage not in ("training", "validating")
        late = now - self._spoken[stage] > _LINE_SECONDS
        if marked or late or "validation_top1" in figures:
            self._spoken[stage] = now
            print(f"{stage} {done}/{total}  {words}".rstrip(), file=sys.stderr, flush=True)

    def _left(self, stage: str, done: int, total: int) -> str:
        """How long the stage will take, by its last _MARKS reports; "" before two that are a second
        apart.
        """
        marks = self._marks.setdefault(stage, deque(maxlen=_MARKS))
        if marks and done < marks[-1][1]:  # begun anew
            marks.clear()
        if not marks or done > marks[-1][1]:
            marks.append((time.monotonic(), done))
        (began, first), (now, last) = marks[0], marks[-1]
        return (
            time_words((total - done) * (now - began) / (last - first))
            if now - began > 1 and done < total
            else ""
        )


def time_words(seconds: float) -> str:
    """A duration for people, in its two largest units."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    amounts = [(days, "d"), (hours, "h"), (minutes, "min"), (whole, "s")]
    first = next((index for index, (count, _) in enumerate(amounts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in amounts[first : first + 2])
