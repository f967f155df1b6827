"""``zfjax info``: the layer table, what a run will cost, and what a run has cost. Nothing is run.
No JAX.
"""

from __future__ import annotations

import math

from zfjax.config import Config
from zfjax.errors import ZfjaxError
from zfjax.run.folder import Run
from zfjax.run.naming import network_name
from zfjax.run.summary import TRAINING_IMAGES as SEEN_IN_TRAINING

DECODES_PER_CORE = 500
"""Full-size ImageNet JPEGs decoded to 224-pixel views in a core-second: 511 by
experiments/benchmarks/decode.py on one core of a cloud machine; yours will differ."""
RESIZED_PER_CORE = 1150
"""The same of JPEGs stored with a shorter side of 256 pixels: 1,176 by decode.py with 256."""


THREADS_TOGETHER = 8000
"""Images a second that all decoding threads of one process can prepare where decoding itself costs
next to nothing, whatever the number of cores: what is left holds Python's lock. 7,800 to 8,200 by
experiments/benchmarks/input.py
--ceiling on the same machine."""

TRAINING_IMAGES = {"imagenet2012": 1_281_167, "tiny_imagenet": 100_000, "scenes": 4_000}
"""Of sets that presets name, before they are there to be counted."""


def describe_config(
    config: Config, images_per_second: float | None = None, images: int | None = None
) -> list[str]:
    """The layer table, totals, and with a rate the cores needed for decoding and the time of
    training.

    ``images``: of the training split, where it is known.
    """
    model = config.model
    lines = [
        (
            f"{network_name(config)}, input {model.input_size[0]}x{model.input_size[1]}, recipe"
            f" {config.recipe}, {config.epochs} epochs, batch {config.batch_size}"
        ),
        "",
        f"{'layer':<8}{'size':>14}{'sees':>7}{'every':>7}{'parameters':>14}{'MMAC':>9}",
    ]
    for fact in model.facts():
        size, window = "x".join(map(str, fact.shape)), fact.window
        lines.append(
            f"{fact.layer.name:<8}{size:>14}{window.size:>7}{window.jump:>7}"
            f"{fact.parameters:>14,}{fact.multiply_adds / 1e6:>9.1f}"
        )
    macs = sum(fact.multiply_adds for fact in model.facts())
    image = 6 * macs / 1e9
    activations = sum(math.prod(fact.shape) for fact in model.facts()) * 4
    state = model.parameter_count * 4 * 3
    lines += [
        f"{'total':<29}{'':>7}{model.parameter_count:>14,}{macs / 1e6:>9.1f}",
        "",
        (
            f"one training image: about {float(f'{image:.3g}'):g} GFLOP; activations of a batch: "
            f"{activations * config.batch_size / 2**20:,.0f} MiB; "
            f"parameters, momentum and gradient: {state / 2**20:,.0f} MiB"
        ),
        "sees: receptive field in pixels of the input; every: pixels between neighbouring units",
    ]
    images = images or TRAINING_IMAGES.get(config.data.name)
    if images:
        work = 6 * macs * images * config.epochs
        lines.append(f"{config.epochs} epochs of {images:,} images: {work / 1e15:,.2f} PFLOP")
    if images_per_second is None:
        lines.append(
            "with --images-per-second N (a running `zfjax train` shows it): the cores and the time"
            " it takes"
        )
    else:
        if not images_per_second > 0:
            raise ZfjaxError(f"--images-per-second {images_per_second:g} must be above 0.")
        cores = [
            math.ceil(images_per_second / rate) for rate in (DECODES_PER_CORE, RESIZED_PER_CORE)
        ]
        lines.append(
            f"{images_per_second:g} images a second: about {cores[0]} cores to decode full-size"
            f" JPEGs, {cores[1]} for those imported with --size 256"
        )
        if images_per_second > THREADS_TOGETHER / 2:
            lines.append(
                f"threads of one process end at about {THREADS_TOGETHER:,} images a second: give"
                " one that is to be fed faster --data.processes, as many as it has cores"
            )
        speed = 6 * macs * images_per_second / 1e12
        lines.append(f"its steps then run at {speed:,.2f} TFLOP/s, all devices together")
        if images:
            hours = config.epochs * images / images_per_second / 3600
            lines.append(f"and the training takes {hours:,.1f} hours, validation and saving apart")
    return lines


def describe_run(run: Run) -> list[str]:
    """Epochs saved, accuracy by epoch and the time of training, from the run's own files."""
    validation = run.validation_lines
    rates = [
        line["images_per_second"] for line in run.training_lines if "images_per_second" in line
    ]
    count = run.fingerprint["count"]
    lines = [
        "",
        f"{run.fingerprint['name']}: {count:,} training images, {len(run.class_names)} classes",
    ]
    lines.append(
        f"saved epochs: {', '.join(f'{run.epoch(step):g}' for step in run.steps) or 'none'}"
    )
    if validation:
        where = "held-out images" if run.held_out else SEEN_IN_TRAINING
        lines.append(f"evaluated on split {run.config.data.validation_split}: {where}")
        lines += [f"{'epoch':>8}{'loss':>9}{'top-1':>9}{'top-5':>9}"]
        for line in validation:
            lines.append(
                f"{line['epoch']:>8g}{line['loss']:>9.3f}{line['top1']:>9.1%}{line['top5']:>9.1%}"
            )
    if rates:
        rate = sorted(rates[1:] or rates)[
            len(rates[1:] or rates) // 2
        ]  # the first holds the compilation
        left = (run.last_step - max(run.steps, default=0)) * run.config.batch_size / rate
        words = (
            "finished"
            if not left
            else f"{left / 60:.0f} minutes to go"
            if left > 90
            else f"{left:.0f} s to go"
        )
        lines.append(f"{rate:,.0f} images a second (median); {words}")
    return lines
