"""Where a report's numbers came from, in words: a list of facts and a table of layers. No JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zfjax.files import read_json
from zfjax.network.architecture import Architecture
from zfjax.report.adopted import adopted_command, looked_at
from zfjax.report.kit.wording import date, number, percent, plain
from zfjax.report.words import by_step, epochs_after, network_words
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution
from zfjax.run.evolution_record import EvolutionRecord
from zfjax.run.folder import Run
from zfjax.run.naming import layer_words
from zfjax.run.starts import changes_between


def report_facts(
    run: Run | AdoptedRun,
    evolution: Evolution,
    name: str | None,
    steps: tuple[int, ...],
    qualities: dict[str, int | None],
    photos: bool,
) -> list[tuple[str, str]]:
    """(what, value) pairs; paths are RUN and DATA. ``qualities`` are those of the page's WebP tiles
    by layer.
    """
    report = (
        "zfjax report --workdir RUN"
        + (f" --name {name}" if name else "")
        + ("" if photos else " --no-photos")
    )
    if isinstance(run, AdoptedRun):
        command = adopted_command(run, evolution)
        facts = [*looked_at(run, evolution), *_asked(evolution)]
    else:
        command = _placeholders(run, evolution.record.command)
        facts = [_trained(run), *_asked(evolution, epochs_after(run, evolution)), *_made(run)]
    facts += [
        *_spent(evolution),
        (
            "On this page",
            f"{len(steps)} of {len(evolution.steps)} searched epochs; tiles "
            + _grouped(
                {
                    layer: "without loss" if quality is None else f"as WebP of quality {quality}"
                    for layer, quality in qualities.items()
                }
            ),
        ),
        ("Command", command),
        ("This page", report),
    ]
    summary = run.folder / "summary.json"
    if summary.exists():
        chance = read_json(summary).get("chance")
        if isinstance(chance, float):
            facts.insert(1, ("Chance", f"a guess is right for {percent(chance)} of the images"))
    return [(what, value) for what, value in facts if value]


def _trained(run: Run) -> tuple[str, str]:
    """By which recipe, and for how long."""
    config, optimizer = run.config, run.config.optimizer
    return (
        "Trained",
        (
            f"{date(run.created)}; {config.recipe} recipe, batch {config.batch_size},"
            f" {config.epochs} epochs of {run.steps_per_epoch:,} steps, {optimizer.schedule}"
            f" schedule from {number(optimizer.learning_rate)}, seed {config.seed}, computed in"
            f" {config.compute}"
        ),
    )


def _asked(evolution: Evolution, after: str = "") -> list[tuple[str, str]]:
    """What was searched and drawn, and how. ``after``: what is said of epochs not searched."""
    record = evolution.record
    data = record.fingerprint
    drawn = ", ".join(
        f"{layer} {len(record.maps[layer])} of {record.map_count[layer]}"
        for layer in evolution.layers
    )
    return [
        (
            "Searched",
            f"{date(record.created)}; {record.images:,} images of the {plain(record.split)}"
            " split, each seen once for all epochs, never augmented"
            + (
                f"; {record.unreadable:,} of them cannot be read and were left out"
                if record.unreadable
                else ""
            )
            + after,
        ),
        (
            "Data",
            (
                f"{_versioned(data)}, split {plain(data['split'])},"
                f" {data['count']:,} images, digest {plain(str(data['digest']), 16)}"
            ),
        ),
        ("Maps drawn", f"{drawn}: a seeded uniform draw (seed {record.seed}), dead ones included"),
        ("Rule", ", ".join(map(plain, evolution.rules))),
        ("Precision", _precision(record)),
        (
            "Projected by",
            _grouped({layer: plain(record.method[layer]) for layer in evolution.layers}),
        ),
    ]


def _precision(record: EvolutionRecord) -> str:
    if words := record.search_words():
        return f"{plain(words, 400)}; {plain(record.precision)} in projection"
    return f"{plain(record.precision)} in search and projection"


def _made(run: Run) -> list[tuple[str, str]]:
    """The network, and what computed it."""
    return [
        (
            "Network",
            (
                f"{network_words(run)}: {run.config.model.parameter_count:,} parameters; its layers"
                " are listed below"
            ),
        ),
        ("Computed on", _computed_on(run)),
        (
            "Versions",
            ", ".join(
                f"{plain(package)} {plain(version)}" for package, version in run.versions.items()
            ),
        ),
        ("Git commit", plain(run.git_commit or "not a checkout of zfjax")),
        ("Starts", _starts(run)),
    ]


def _spent(evolution: Evolution) -> list[tuple[str, str]]:
    """How long that took, and what this version does not know of."""
    record = evolution.record
    return [
        (
            "Time",
            ", ".join(
                f"{plain(stage)} {number(seconds)} s" for stage, seconds in record.seconds.items()
            ),
        ),
        ("Not shown here", _of_later(record.later)),
    ]


def _versioned(data: Mapping[str, Any]) -> str:
    """Name and version of a data set; images in memory have none."""
    return " ".join(plain(data[key]) for key in ("name", "version") if data[key])


def _of_later(later: Mapping[str, Any]) -> str:
    """Facts that this version does not know are named: a page must not pass over a setting."""
    names = ", ".join(plain(name) for name in later)
    return names and f"{names}: written by a later version of zfjax, not known to this one"


def _computed_on(run: Run) -> str:
    """Devices of the first start that is on record."""
    start = next((start for start in run.starts if start.device_kind is not None), None)
    if start is None:
        return ""
    processes = "one process" if start.processes == 1 else f"{start.processes} processes"
    exact = ", bit-exact sums asked for" if start.deterministic else ""
    return plain(
        f"{start.device_words()} ({start.platform}), {processes}, {start.system}{exact}", 200
    )


def _starts(run: Run) -> str:
    """How often the training was gone on with, and what had changed by then; "" for a run of one
    start.
    """
    if len(run.starts) < 2:
        return ""
    changed = ", ".join(changes_between(run.starts))
    told = (
        f"between them changed: {changed}"
        if changed
        else "all of the same versions, on the same devices"
    )
    return plain(f"{len(run.starts)}, the last on {date(run.starts[-1].when)}; {told}", 600)


def architecture_table(model: Architecture) -> list[dict[str, Any]]:
    """Every layer of the network, in order: what it does, what comes out, what a unit sees, its
    parameters.
    """
    return [
        {
            "layer": fact.layer.name,
            "what": layer_words(fact.layer),
            "shape": fact.shape,
            "field": fact.window.size,
            "parameters": fact.parameters,
        }
        for fact in model.facts()
    ]


def layer_table(evolution: Evolution) -> list[dict[str, Any]]:
    """One line a layer: settled half-way, dead and pure at the last epoch, as texts."""
    lines = []
    for layer in evolution.layers:
        settled = evolution.settled(layer)
        epochs = zip(evolution.epochs, evolution.steps, strict=True)
        half = next((epoch for epoch, step in epochs if (settled[step] or 0) >= 0.5), None)
        dead = list(by_step(evolution, "dead_share", layer).values())
        purity = list(by_step(evolution, "purity", layer).values())
        window = evolution.record.windows[layer]
        lines.append(
            {
                "layer": layer,
                "field": "all" if window is None else f"{window.size} × {window.size}",
                "maps": str(evolution.record.map_count[layer]),
                "half": "never" if half is None else number(half),
                "dead": percent(dead[-1]),
                "purity": percent(purity[-1]),
                "first_purity": percent(
                    next((share for share in purity if share is not None), None)
                ),
            }
        )
    return lines


def _grouped(values: dict[str, str]) -> str:
    """ "Layers after their common value: window (conv1, conv2), image (conv3)."""
    groups: dict[str, list[str]] = {}
    for layer, value in values.items():
        groups.setdefault(value, []).append(layer)
    return ", ".join(f"{value} ({', '.join(layers)})" for value, layers in groups.items())


def _placeholders(run: Run, command: str) -> str:
    """The command with RUN and DATA for any path that slipped in."""
    for path, word in ((str(run.folder), "RUN"), (run.config.data.dir, "DATA")):
        if len(path) > 1:
            command = command.replace(path, word)
    return plain(command, 2000)
