"""What a grid will cost, before anything of it is trained. No JAX."""

from __future__ import annotations

import os

import numpy as np
from rich.table import Table

from zfjax.config import Config
from zfjax.data.slices import sliced_count
from zfjax.errors import ZfjaxError
from zfjax.progress import time_words
from zfjax.run.sizes import bytes_words, check_space, run_bytes
from zfjax.studies.plans import Plan
from zfjax.studies.results import flops
from zfjax.studies.standings import DIVERGED, FINISHED, Standing, standing
from zfjax.studies.tables import count_words, plain_table
from zfjax.studies.tuning import SHARE, trials

MARKED = 0.2
"""Share of the base's FLOPs by which a cell may differ: beyond, an ablation measures size too."""
MARK = "*"
CORE_RATE = 60e9
"""Floating-point operations a second of training on one CPU core: 78e9 by train_step.py of 64
pixels, less validation and saving; yours will differ, and a GPU's is hundreds of times that."""


def training_operations(config: Config, images: float) -> float:
    """Of a whole run on ``images`` training images: forward, and twice that back."""
    macs = sum(fact.multiply_adds for fact in config.model.facts())
    return 6.0 * macs * images * config.epochs


def training_images(plan: Plan, config: Config, images: int) -> int:
    """Of a cell, where the base has ``images``: a slice of the same split has fewer."""
    own, base = config.data.train_split, plan.base.data.train_split
    many = 10**6
    whole = images * many // max(1, sliced_count(base, many))
    return images if own == base else sliced_count(own, whole)


def _operations(plan: Plan, config: Config, images: int) -> float:
    return training_operations(config, training_images(plan, config, images))


def measured_rate(plan: Plan, images: int) -> float | None:
    """Operations a second, the median of what has finished here; None before the first."""
    rates = []
    for cell, seed in plan.runs():
        ended = standing(plan.run_folder(cell, seed)).outcome
        if ended is not None and ended.status == FINISHED and ended.seconds:
            rates.append(_operations(plan, cell.config, images) / ended.seconds)
    return float(np.median(rates)) if rates else None


def rate_and_words(plan: Plan, images: int, asked: float | None) -> tuple[float, str]:
    """(operations a second, where that is known from). ``asked``: the base's images a second."""
    if asked is not None:
        macs = sum(fact.multiply_adds for fact in plan.base.model.facts())
        return 6.0 * macs * asked, f"at {asked:g} images a second of the base"
    if (rate := measured_rate(plan, images)) is not None:
        return rate, "by the runs that have finished"
    cores = len(os.sched_getaffinity(0))
    return cores * CORE_RATE, (
        f"assumed of {cores} CPU cores; --images-per-second N, of the base, is better"
    )


def cost_table(plan: Plan, images: int, rate: float) -> Table:
    """A row a cell: sizes, windows, parameters, FLOPs, bytes and time of all its seeds."""
    names = ("cell", "maps", "windows", "parameters", "MFLOP", "of base", "disk", "time")
    table = plain_table("", names)
    seeds, base_flops = len(plan.seeds), flops(plan.cells[0])
    for cell in plan.cells:
        model, share = cell.config.model, flops(cell) / base_flops
        convs = [model.fact(name) for name in model.conv_names]
        seconds = _operations(plan, cell.config, images) / rate * seeds
        table.add_row(
            cell.name,
            "/".join(str(fact.shape[0]) for fact in convs),
            "/".join(str(fact.window.size) for fact in convs),
            count_words(model.parameter_count),
            f"{flops(cell) / 1e6:,.1f}",
            f"{share:.2f}{MARK if abs(share - 1) > MARKED else ' '}",
            bytes_words(seeds * run_bytes(cell.config)),
            time_words(seconds),
        )
    return table


def notes_of(plan: Plan) -> list[str]:
    """What a reader of the table must know of its cells, a line each."""
    notes, base_flops = [], flops(plan.cells[0])
    marked = [cell.name for cell in plan.cells if abs(flops(cell) / base_flops - 1) > MARKED]
    if marked:
        notes.append(
            f"{MARK} more than {100 * MARKED:.0f}% off the base's FLOPs: such a cell differs in"
            " size too."
        )
    if plan.cells[0].also:
        notes.append(f"The base is also {', '.join(plan.cells[0].also)}.")
    return notes


def plan_words(plan: Plan, images: int, rate: float, source: str) -> str:
    """The grid in a sentence or two."""
    runs = len(plan.cells) * len(plan.seeds)
    seconds = sum(_operations(plan, cell.config, images) / rate for cell, _ in plan.runs())
    size = sum(run_bytes(cell.config) for cell, _ in plan.runs())
    return (
        f"{_counted(len(plan.cells), 'cell')} x {_counted(len(plan.seeds), 'seed')}"
        f" ({', '.join(map(str, plan.seeds))}) = {_counted(runs, 'run')}, {bytes_words(size)},"
        f" about {time_words(seconds)} one after the other ({source})."
        f"{_tuning_words(plan, images, rate)}\n"
        f"Compared: top-1 of the last epoch, each cell with the base:"
        f" {_counted(plan.comparisons, 'comparison')}."
    )


def _tuning_words(plan: Plan, images: int, rate: float) -> str:
    if plan.tuning is None:
        return ""
    tried = [(cell, config) for cell in plan.cells for _, config, _ in trials(plan, cell)]
    configs = [config for _, config in tried]
    seconds = sum(
        training_operations(config, training_images(plan, cell.config, images) * SHARE / 100) / rate
        for cell, config in tried
    )
    size = bytes_words(sum(map(run_bytes, configs)))
    return (
        f" Before them {_counted(len(configs), 'trial')} of {plan.tuning.path} on a tenth of the"
        " training images held out, on a seed that is not counted:"
        f" {size}, about {time_words(seconds)} more."
    )


def check_batches(plan: Plan, images: int) -> None:
    """Raises ZfjaxError for a cell whose batch is more than all training images."""
    for cell in plan.cells:
        own = training_images(plan, cell.config, images)
        if cell.config.batch_size > own:
            raise ZfjaxError(
                f"Cell {cell.name}: a batch of {cell.config.batch_size} is more than the {own:,}"
                " training images."
            )


def check_disk(plan: Plan) -> None:
    """Raises ZfjaxError where the runs and trials still to be trained will not fit on the disk."""
    runs = [(cell.config, plan.run_folder(cell, seed)) for cell, seed in plan.runs()]
    if plan.tuning is not None:
        for cell, seed in plan.runs():
            # A cell all of whose runs have ended is not tuned again.
            if not _has_ended(standing(plan.run_folder(cell, seed))):
                runs += [(config, folder) for _, config, folder in trials(plan, cell)]
    needed = {
        folder: run_bytes(config) for config, folder in runs if not _has_ended(standing(folder))
    }
    check_space(plan.folder, sum(needed.values()))


def _has_ended(item: Standing) -> bool:
    return item.status in (FINISHED, DIVERGED)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
