"""A traced network as a table: every layer, what it sees, what it costs, how a signal comes down,
and what is refused. Nothing is run.
"""

from __future__ import annotations

import math
from collections import Counter

from zfjax.errors import shortened
from zfjax.network.descent import Descent
from zfjax.network.equations import Equation
from zfjax.network.ops import RULES
from zfjax.network.reading import Reading, Site
from zfjax.network.traced import layers_of_model
from zfjax.network.tracing import Model, reading_of, scores_output, sites_of, tables_of
from zfjax.network.windows import multiply_adds

LISTED = 12
"""Refused operations and convolutions that are spelled out."""


def describe_model(model: Model) -> list[str]:
    """The layer table of a model. Raises ZfjaxError where there is nothing to look at."""
    reading = reading_of(model)
    also = () if reading.activations else tuple(site.name for site in reading.convolutions)
    sites = list(sites_of(model, also).values())
    height, width = model.input_size
    total = sum(math.prod(leaf.shape) for leaf in model.leaves)
    wide = max(8, *(len(site.name) + 2 for site in sites))
    lines = [
        f"{model.name}, input {height}x{width}x{model.channels}, {total:,} parameters",
        "",
        f"{'layer':<{wide}}{'size':>14}{'sees':>7}{'every':>7}{'parameters':>14}{'MMAC':>9}"
        "  coming down",
    ]
    told: set[Equation] = set()
    counted: set[str] = set()
    for site, layer in zip(sites, layers_of_model(model, also), strict=True):
        fresh = [each for each in reading.trace.needed_for([site.value]) if each not in told]
        leaves = {v for each in fresh for v in each.inputs if v.leaf and v.leaf not in counted}
        told.update(fresh)
        counted.update(value.leaf for value in leaves)
        adds = sum(multiply_adds(reading, each, None) for each in fresh)
        size = "x".join(map(str, layer.shape))
        sees, every = (
            ("all", "") if layer.window is None else (layer.window.size, layer.window.jump)
        )
        weights = sum(math.prod(value.shape) for value in leaves)
        lines.append(
            f"{site.name:<{wide}}{size:>14}{sees:>7}{every:>7}{weights:>14,}{adds / 1e6:>9.1f}"
            f"  {_ways(model, reading, fresh, site)}"
        )
    lines += [
        "",
        "sees: receptive field in pixels of the input, 'all' where a unit may see the whole image;"
        " every: pixels between neighbouring units; coming down: by the rule deconvnet",
    ]
    refused = [site for site in sites if site.reason]
    if refused:
        lines.append(
            f"refused by every rule but gradient: {len(refused)} of {len(sites)} layers, first"
            f" {refused[0].name}, for {refused[0].reason}"
        )
    hidden = [
        equation
        for equation, role in reading.roles.items()
        if role == "relu"
        and len(equation.output.shape) > 2
        and not reading.meanings[equation.output].sight.spatial
    ]
    if hidden:
        lines.append(
            f"not looked at: {len(hidden)} ReLUs of what is no longer maps of rows and columns,"
            f" first {hidden[0]}"
        )
    bare = [site.name for site in reading.convolutions if site.name not in also]
    if bare:
        lines.append(
            f"convolutions without an activation of their own, taken by name with --layers:"
            f" {shortened(bare, LISTED)}"
        )
    scores = scores_output(model)
    if scores is None:
        tables = [f"{name or 'it'} [n, {own}]" for name, own in tables_of(model).items()]
        lines.append(
            "class scores: none are given"
            + (
                f"; of what is returned, {shortened(tables, 4)} may be: return them by the name"
                " 'scores', {'scores': ..., 'maps': ...}"
                if tables
                else ""
            )
        )
    else:
        lines.append(f"class scores: {reading.trace.outputs[scores].shape[1]} classes")
    return lines


def _ways(model: Model, reading: Reading, fresh: list[Equation], site: Site) -> str:
    """How a signal comes down through what a layer adds to those before it."""
    descent = Descent(RULES["deconvnet"], model.statistics)
    words: Counter[str] = Counter()
    for equation in fresh:
        role = reading.roles.get(equation)
        if role in ("contrast norm", "frozen statistic"):
            words[f"{_NAMES[role]}: {descent.through(role)}"] += 1
        elif role in _NAMES:
            words[_NAMES[role]] += 1
    listed = [name + (f" x{count}" if count > 1 else "") for name, count in words.items()]
    if site.reason:
        listed.append(f"REFUSED: {site.reason}")
    return ", ".join(listed) or "linear"


_NAMES = {
    "relu": "ReLU",
    "max pool": "max-pool by switches",
    "clip": "clip masked",
    "contrast norm": "contrast norm",
    "frozen statistic": "statistic",
    "frozen gate": "gate frozen, then max(g, 0)",
    "tanh": "tanh's gradient, then max(g, 0)",
    "own rule": "the model's own rule (custom_vjp)",
}
