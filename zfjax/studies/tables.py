"""A grid's table as CSV, as LaTeX and on a terminal. No JAX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table

from zfjax.studies.plans import Plan

TEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
WIDE = 1000
"""Columns where nobody's terminal sets them: nothing is folded in a file."""


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Comma-separated, with a header; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if value is None else value for name, value in row.items()})
    return text.getvalue()


def tex_text(plan: Plan, rows: Sequence[dict[str, Any]]) -> str:
    """A tabular for a paper: no package is needed."""
    lines = [
        f"% top-1 of the last epoch, in points; difference to the base with its interval over seeds"
        f" and images at {_level(plan)}; means of {_seed_words(plan, rows)}.",
        r"\begin{tabular}{lrrrrl}",
        r"\hline",
        r"cell & parameters & GFLOP & top-1 & difference & verdict \\",
        r"\hline",
    ]
    for row in rows:
        cells = [
            _tex(row["cell"]),
            count_words(row["parameters"]),
            f"{row['flops'] / 1e9:.3g}",
            _points(row["top1"]),
            _tex_difference(row),
            _tex("; ".join(filter(None, (_verdict(row), _unfinished(row))))),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def _level(plan: Plan) -> str:
    count = plan.comparisons
    return f"{100 - 5 / count:.4g}% (95% over {count} comparisons)" if count > 1 else "95%"


def _tex(text: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in text)


def _tex_difference(row: dict[str, Any]) -> str:
    return re.sub(r"[+-]\d+\.\d+", lambda number: f"${number[0]}$", difference_words(row))


def _seed_words(plan: Plan, rows: Sequence[dict[str, Any]]) -> str:
    count = len(plan.seeds)
    seeds = f"{count} seed{'s' * (count != 1)}"
    whole = all(row["finished"] == row["runs"] for row in rows)
    return seeds if whole else f"those of {seeds} that finished"


def _unfinished(row: dict[str, Any]) -> str:
    """Of a table without a column for it."""
    count = row["runs"] - row["finished"] - row["diverged"]
    return f"{count} of {row['runs']} not finished" if count else ""


def count_words(count: int) -> str:
    """Parameters for people."""
    return f"{count:,}" if count < 1e5 else f"{count / 1e6:.2f} M"


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _verdict(row: dict[str, Any]) -> str:
    diverged = f"{row['diverged']} of {row['runs']} diverged" if row["diverged"] else ""
    return "; ".join(filter(None, (row["verdict"], diverged))) or "-"


def difference_words(row: dict[str, Any]) -> str:
    """ "+1.20 [-0.30, +2.70]", in points; with one seed the images' interval, marked so."""
    if row["difference"] is None:
        return "-"
    words = f"{100 * row['difference']:+.2f}"
    low, high, mark = row["low"], row["high"], ""
    if low is None:
        low, high, mark = row["these_networks_low"], row["these_networks_high"], " (images only)"
    return f"{words} [{100 * low:+.2f}, {100 * high:+.2f}]{mark}"


def result_table(plan: Plan, rows: Sequence[dict[str, Any]]) -> Table:
    """The table that a command prints at its end."""
    table = plain_table(
        f"top-1 of the last epoch in points; difference to the base, {_level(plan)}",
        ("cell", "runs", "parameters", "FLOPs", "top-1", "difference", "verdict", "could show"),
    )
    for row in rows:
        table.add_row(
            row["cell"],
            f"{row['finished']}/{row['runs']}",
            count_words(row["parameters"]),
            f"{row['flops_of_base']:.2f} x",
            _points(row["top1"]),
            difference_words(row),
            _verdict(row),
            _points(row["detectable"]),
        )
    return table


def plain_table(title: str, columns: Sequence[str]) -> Table:
    """A table of text, markup left as it is; the first column to the left, and folded where a
    terminal is narrow.
    """
    table = Table(title=title or None, title_justify="left", title_style="", box=None)
    for index, name in enumerate(columns):
        justify: JustifyMethod = "right" if index else "left"
        table.add_column(name, justify=justify, no_wrap=index > 0, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """On standard output, as wide as it needs to be where that is no terminal."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=WIDE)
    console.print(table)
