"""What a page says of a network that zfjax has not trained: where its pictures came from, in words,
and nothing that is not on record. No JAX.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zfjax.report.kit.wording import number, plain
from zfjax.report.words import RULES, choose
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution

STEPS_NAMED = 12
STATISTICS = {
    "rule": (
        "Statistics of norms and gates are taken for constants; contrast normalisation across maps"
        " is passed through as it is."
    ),
    "frozen": "Statistics of norms and gates are taken for constants.",
    "identity": "Norms and gates are passed through as they are.",
    "gradient": "Norms and gates are differentiated like any other layer.",
}
"""By how a signal comes down where a statistic scales or shifts maps."""


def adopted_rule_words(run: AdoptedRun, rule: str) -> str:
    """What a rule does at rectifiers, at norms and gates, and at smooth activations."""
    base = rule.removesuffix("+norm")
    if base not in RULES:
        return "The rule is not one that this version of zfjax knows."
    through = "gradient" if rule != base or base == "gradient" else run.identity.get("statistics")
    smooth = ", ".join(plain(name) for name in run.identity.get("smooth") or ())
    sentences = [RULES[base], STATISTICS.get(str(through), "")]
    if smooth and base != "gradient":
        sentences.append(f"The same rule holds for {smooth}.")
    return " ".join(filter(None, sentences))


def epochs_are_steps(run: AdoptedRun, evolution: Evolution) -> bool:
    """Whether nobody has said how many steps an epoch took, nor the checkpoints' names an epoch."""
    if run.opened_from.get("named_epochs"):
        return False
    return evolution.epochs == tuple(float(step) for step in evolution.steps)


def looked_at(run: AdoptedRun, evolution: Evolution) -> list[tuple[str, str]]:
    """(what, value) pairs: the network, its checkpoints, and how images are prepared for it."""
    identity = run.identity
    words = run.opened_from.get("model")
    built = f", built by {plain(short_words(str(words)), 120)}" if words else ""
    numbered = choose(evolution.epochs, STEPS_NAMED)
    left_out = "" if len(numbered) == len(evolution.steps) else ", these among them"
    steps = ", ".join(str(evolution.steps[index]) for index in numbered)
    epochs = (
        "are the checkpoints' steps: how many steps an epoch took was not said"
        if epochs_are_steps(run, evolution)
        else ""
    )
    return [
        (
            "Network",
            f"{plain(identity.get('model', ''), 120)}{built}, not trained by zfjax; digest of its"
            f" equations {plain(str(identity.get('network', '')), 16)}",
        ),
        (
            "Checkpoints",
            f"{len(evolution.steps)}{left_out}: steps {steps}; digest"
            f" {plain(str(identity.get('checkpoints', '')), 16)}",
        ),
        ("Epochs", epochs),
        ("Input", input_words(identity, evolution)),
    ]


def input_words(identity: Mapping[str, Any], evolution: Evolution) -> str:
    """How an image becomes the network's input."""
    height, width = evolution.record.input_size
    view = identity.get("resize")
    resized = f" out of images whose shorter side is resized to {view}" if view else ""
    statistics = identity.get("mean"), identity.get("std")
    if any(values is None for values in statistics):
        return f"{height} × {width} pixels{resized}"
    mean, std = (_channels(values) for values in statistics if values is not None)
    return (
        f"the central {height} × {width} pixels{resized}; (pixels − mean) / std with mean {mean}"
        f" and std {std}, of pixel values 0 to 255"
    )


def adopted_table(evolution: Evolution) -> list[tuple[str, ...]]:
    """A line a layer: its name, what it gives, what a unit sees, pixels between units, and what is
    projected.
    """
    record = evolution.record
    lines: list[tuple[str, ...]] = []
    for layer in evolution.layers:
        window = record.windows[layer]
        sees = f"{window.size} × {window.size}" if window is not None else "all"
        lines.append(
            (
                layer,
                " × ".join(map(str, record.shapes[layer])),
                sees,
                "–" if window is None else str(window.jump),
                plain(record.method[layer]),
            )
        )
    return lines


def adopted_command(run: AdoptedRun, evolution: Evolution) -> str:
    """The command that asks for this evolution again, with OUT and CHECKPOINTS for the folders; ""
    where the network was given in Python.
    """
    words, identity = run.opened_from, run.identity
    if not run.reopens or not words.get("images"):
        return ""
    flags: dict[str, Any] = {
        "--model": [short_words(str(words["model"]))],
        "--checkpoints": ["CHECKPOINTS"],
        "--data.name": [evolution.record.fingerprint["name"]],
        "--input": [identity.get("input")],
        "--resize": [identity.get("resize")],
        "--mean": [f"{value:g}" for value in identity.get("mean") or ()],
        "--std": [f"{value:g}" for value in identity.get("std") or ()],
        "--steps": [words.get("steps")],
        "--variables": [words.get("variables")],
        "--smooth": identity.get("smooth") or [],
        "--statistics": [identity.get("statistics")],
        "--steps-per-epoch": [words.get("steps_per_epoch")],
    }
    said = [
        " ".join([flag, *(shlex.quote(str(value)) for value in values)])
        for flag, values in flags.items()
        if values and values[0] is not None
    ]
    rest = evolution.record.command.removeprefix("zfjax evolve")
    return plain(f"zfjax evolve {' '.join(said)}{rest}", 2000)


def short_words(model: str) -> str:
    """ "net.py:build" of "/somewhere/net.py:build": a page names no folder of a machine."""
    module, _, name = model.rpartition(":")
    return f"{Path(module).name if module.endswith('.py') else module}:{name}"


def _channels(values: Sequence[float]) -> str:
    same = len(set(values)) == 1
    return ", ".join(number(value, 6) for value in (values[:1] if same else values))
