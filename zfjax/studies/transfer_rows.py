"""A transfer's table, of its folds, and its numbers in words and as a figure. No JAX."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from zfjax.measures.verdicts import reaches_beyond, within
from zfjax.report.kit.charts import COLOURS, ramp_role
from zfjax.report.kit.style import DPI, FAINT, INK, quiet_style, wrap
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.studies.folds import Protocol, Summary, summary_of
from zfjax.studies.transferred import DIFFERENCE, PRETRAINED, SCRATCH, Transferred

OF_ACCURACIES, OF_DIFFERENCES = (0.0, 1.0), (-1.0, 1.0)
"""Limits: what is said and drawn ends there, the table has the whole intervals."""
Key = tuple[int | None, int, int]
"""(step, None from scratch; images a class; fold) of one training."""


@dataclass(frozen=True)
class Cell:
    """One fold of one arm at one size, as it was done."""

    accuracy: float
    """Mean per-class, 0..1."""
    rate: float
    """Peak learning rate that was chosen."""
    classes: int
    train_images: int
    test_images: int


def rows_of_cells(
    cells: Mapping[Key, Cell], protocol: Protocol, epochs: Mapping[int, float], layer: str
) -> list[dict[str, Any]]:
    """The rows of the table. ``cells``: every fold and size of each step; of None where the control
    was asked for.
    """
    rows: list[dict[str, Any]] = []
    for step in sorted({key[0] for key in cells}, key=lambda step: (step is None, step)):
        about = {
            "arm": SCRATCH if step is None else PRETRAINED,
            "step": step,
            "epoch": None if step is None else epochs[step],
            "layer": None if step is None else layer,
        }
        rows += _of_arm(about, cells, protocol, paired=False)
        if step is not None and any(key[0] is None for key in cells):
            rows += _of_arm({**about, "arm": DIFFERENCE}, cells, protocol, paired=True)
    return rows


def _of_arm(
    about: Mapping[str, Any], cells: Mapping[Key, Cell], protocol: Protocol, paired: bool
) -> Iterator[dict[str, Any]]:
    """Each size's folds, then their mean. ``paired``: minus the same fold's control."""
    for size in protocol.images_per_class:
        values = []
        for fold in range(protocol.folds):
            cell = cells[about["step"], size, fold]
            value = cell.accuracy - (cells[None, size, fold].accuracy if paired else 0)
            values.append(value)
            counts = {
                "images_per_class": size,
                "classes": cell.classes,
                "train_images": cell.train_images,
                "test_images": cell.test_images,
            }
            rate = None if paired else cell.rate
            yield {**about, **counts, "fold": fold, "value": value, "learning_rate": rate}
        mean = summary_of(values, cell.train_images, cell.test_images)
        numbers = {"value": mean.mean, "sd": mean.sd, "low": mean.low, "high": mean.high}
        yield {**about, **counts, **numbers, "n": mean.folds}


def numbers_of(transferred: Transferred) -> dict[str, Any]:
    """What <name>.json keeps as "figures": of the last epoch, by size and arm, [mean, sd, low,
    high]; and the smallest training part pretrained minus the largest from scratch.
    """
    last = transferred.steps[-1]
    arms = ((PRETRAINED, last), (SCRATCH, None), (DIFFERENCE, last))
    of_last: dict[str, dict[str, list[float]]] = {}
    for arm, step in arms:
        for size, mean in transferred.summaries(arm, step).items():
            numbers = [mean.mean, mean.sd, mean.low, mean.high]
            of_last.setdefault(str(size), {})[arm] = numbers
    return {"last": of_last, "few_minus_scratch": _few_minus_scratch(transferred)}


def _few_minus_scratch(transferred: Transferred) -> dict[str, Any] | None:
    few, many = transferred.sizes[0], transferred.sizes[-1]
    scratch = transferred.values(SCRATCH)
    if not scratch:
        return None
    own = transferred.values(PRETRAINED, transferred.steps[-1])
    values = [a - b for a, b in zip(own[few], scratch[many], strict=True)]
    row = next(row for row in transferred.table.to_pylist() if row["images_per_class"] == few)
    mean = summary_of(values, row["train_images"], row["test_images"])
    return {
        "few": few,
        "many": many,
        "value": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "n": mean.folds,
    }


def sentence_of(transferred: Transferred) -> str:
    """What the largest training part says, with numbers and what they are over."""
    asked, size, last = transferred.meta["asked"], transferred.sizes[-1], transferred.steps[-1]
    own = transferred.summaries(PRETRAINED, last)[size]
    row = transferred.table.to_pylist()[0]
    low, high = within((own.low, own.high), OF_ACCURACIES)
    sentence = (
        f"With {size} image{'' if size == 1 else 's'} a class of {plain(asked['to'])}"
        f" ({row['classes']} classes, {own.folds} folds), a new softmax on {asked['layer']} of"
        f" epoch {epoch_name(transferred.meta['epochs'][-1])} is right on {own.mean:.1%} (mean over"
        f" classes; sd over folds {100 * own.sd:.1f}, 95% {low:.1%} to"
        f" {high:.1%})"
    )
    control = transferred.summaries(SCRATCH).get(size)
    if control is None:
        return f"{sentence}."
    difference = transferred.summaries(DIFFERENCE, last)[size]
    beyond = reaches_beyond((difference.low, difference.high), OF_DIFFERENCES)
    cut = " (the interval cut where accuracies end)" if beyond else ""
    return (
        f"{sentence}, the same network trained from scratch for as many steps"
        f" ({asked['training_steps']}) on {control.mean:.1%}: {_signed(difference)} points{cut},"
        " over folds that share images."
    )


def _signed(mean: Summary) -> str:
    low, high = within((mean.low, mean.high), OF_DIFFERENCES)
    return f"{100 * mean.mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def table_lines(transferred: Transferred) -> tuple[str, ...]:
    """The paper's Tables 4 and 5: mean and standard deviation over folds, in per cent; the
    difference with its interval.
    """
    rows = [("images a class", *map(str, transferred.sizes))]
    arms: list[tuple[str, int | None]] = [(SCRATCH, None)]
    arms += [(PRETRAINED, step) for step in transferred.steps]
    for arm, step in arms:
        means = transferred.summaries(arm, step)
        if means:
            cells = (f"{100 * mean.mean:.1f} ± {100 * mean.sd:.1f}" for mean in means.values())
            rows.append((_arm_name(transferred, step), *cells))
    differences = transferred.summaries(DIFFERENCE, transferred.steps[-1])
    if differences:
        rows.append(("difference, last", *(_signed(mean) for mean in differences.values())))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return tuple(
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _arm_name(transferred: Transferred, step: int | None) -> str:
    if step is None:
        return "from scratch"
    return f"epoch {epoch_name(transferred.meta['epochs'][transferred.steps.index(step)])}"


def edge_words(cells: Mapping[Key, Cell], rates: Sequence[float]) -> str | None:
    """Where half or more of an arm's trainings chose the least or the highest rate that was
    offered, what to do; None elsewhere. On one image a class no rate is chosen.
    """
    if len(rates) < 2:
        return None
    judged = {key: cell.rate for key, cell in cells.items() if key[1] > 1}
    for arm, of_arm in (
        ("new heads", [rate for key, rate in judged.items() if key[0] is not None]),
        ("networks from scratch", [rate for key, rate in judged.items() if key[0] is None]),
    ):
        for rate, way in ((rates[0], "lower"), (rates[-1], "higher")):
            chosen = sum(math.isclose(own, rate) for own in of_arm)
            if of_arm and 2 * chosen >= len(of_arm):
                return (
                    f"{chosen} of {len(of_arm)} {arm} chose the {way[:-2]}est rate offered"
                    f" ({rate:g}): a {way} one may be better, by --learning-rates."
                )
    return None


def transfer_figure(transferred: Transferred) -> Figure:
    """The paper's Fig. 9: accuracy over the training images a class, a line an epoch, the control
    dashed, with intervals.
    """
    with quiet_style():
        words = wrap(
            f"Mean per-class accuracy on {plain(transferred.meta['asked']['to'])} over training"
            f" images a class: a new softmax on {transferred.meta['asked']['layer']}, by epoch;"
            " dashed: the same network trained from scratch. Bars: 95% over folds that share"
            " images.",
            1352,
        )
        foot = 0.42 + 0.12 * len(words)
        total = 2.2 + foot
        figure = Figure(figsize=(3.5, total))
        axes = figure.add_axes((0.135, foot / total, 0.54, 2.1 / total))
        steps = transferred.steps
        for index, step in enumerate(steps):
            role = "main" if len(steps) == 1 else ramp_role(index, len(steps))
            look = _Look(COLOURS[role], _arm_name(transferred, step), aside=0.3 * (index + 1))
            _draw(axes, transferred.summaries(PRETRAINED, step), look)
        control = _Look(COLOURS["ink"], "from scratch", dashed=True)
        _draw(axes, transferred.summaries(SCRATCH), control)
        axes.set_xlim(0, 1.06 * transferred.sizes[-1])
        axes.set_ylim(bottom=0)
        axes.set_xticks([0, *transferred.sizes])
        axes.grid(axis="y", color=FAINT, lw=0.3, alpha=0.5)
        axes.set_axisbelow(True)
        axes.set_ylabel("mean per-class accuracy, %")
        axes.set_xlabel("training images a class")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, handlelength=1.4)
        figure.text(0.017, (foot - 0.38) / total, "\n".join(words), va="top", linespacing=1.35,
                    color=INK)  # fmt: skip
        return figure


@dataclass(frozen=True)
class _Look:
    """Of a line. ``aside``: per cent of the axis that its dots stand to the right, so that bars do
    not cover each other.
    """

    colour: str
    name: str
    dashed: bool = False
    aside: float = 0.0


def _draw(axes: Any, means: Mapping[int, Summary], look: _Look) -> None:
    if not means:
        return
    sizes = [size + look.aside / 100 * max(means) for size in means]
    values = [100 * mean.mean for mean in means.values()]
    bars = [within((mean.low, mean.high), OF_ACCURACIES) for mean in means.values()]
    ends = [
        [value - 100 * low for value, (low, _) in zip(values, bars, strict=True)],
        [100 * high - value for value, (_, high) in zip(values, bars, strict=True)],
    ]
    style = (0, (3, 2)) if look.dashed else "-"
    axes.errorbar(
        sizes, values, ends, color=look.colour, label=look.name, lw=1.2, ls=style, marker="o",
        ms=2.5, elinewidth=0.7, capsize=1.5, capthick=0.7,
    )  # fmt: skip


def png_of(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    with quiet_style():
        figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
