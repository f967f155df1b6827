"""RUN/summary.json: what a run found, in numbers. No JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zfjax.errors import ZfjaxError
from zfjax.files import read_json, write_json
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run

TRAINING_IMAGES = "the training images, in the evaluation view"
OF_EVOLUTION = ("dead_share", "purity", "evolution")


def update_summary(
    run: Run, evolution: Evolution | None = None, **seconds: float
) -> dict[str, Any]:
    """Writes what is known now into RUN/summary.json and returns it; earlier entries stay while
    they are true.

    top1, top5: 0..1 on the validation split (``split``; ``held_out``: whether it is not the
    training split) after the last epoch, ``epoch``. chance: 1 / classes. dead_share: of all maps
    searched. purity: by layer, the mean share of the commonest label among a map's strongest
    images. These two are of the last saved step and of all layers, as "evolution" says (step,
    epoch, layers, split, images): an evolution that has a name, ends earlier or leaves layers out
    changes nothing here (``covers``), and once training has gone on they are taken out.
    ``seconds``: "train" as ``note_train_seconds`` keeps it; "search" (of all starts of its pass, a
    killed one up to its last saved state) and "projection" of that evolution; "report" of the last
    one.
    """
    summary = read_summary(run)
    validation = run.validation_lines
    summary["chance"] = 1 / len(run.class_names)
    before = summary.get("epoch")
    if validation:
        summary.update(
            {name: validation[-1][name] for name in ("top1", "top5")}, epoch=validation[-1]["epoch"]
        )
        summary.update(split=run.config.data.validation_split, held_out=run.held_out)
        counts = {name: validation[-1].get(name) for name in ("images", "unlabelled")}
        summary.update({name: int(count) for name, count in counts.items() if count})
    if not _still_true(run, summary, before):
        for name in OF_EVOLUTION:
            summary.pop(name, None)
        summary["seconds"] = {
            name: value
            for name, value in summary.get("seconds", {}).items()
            if name not in ("search", "projection", "report")
        }
    if evolution is not None and covers(run, evolution):
        record = evolution.record
        summary["dead_share"], summary["purity"] = dead_share(evolution), purity(evolution)
        summary["evolution"] = {
            "step": evolution.steps[-1],
            "epoch": evolution.epochs[-1],
            "layers": list(evolution.layers),
            "split": record.split,
            "images": record.images - record.unreadable,
        }
        seconds |= record.seconds
    summary["seconds"] = {
        **summary.get("seconds", {}),
        **{name: round(value, 1) for name, value in seconds.items()},
    }
    write_json(run.folder / "summary.json", summary)
    return summary


def read_summary(run: Run) -> dict[str, Any]:
    """What RUN/summary.json says; {} before there is one. Raises ZfjaxError when it is damaged."""
    path = run.folder / "summary.json"
    return read_json(path) if path.exists() else {}


def covers(run: Run, evolution: Evolution) -> bool:
    """Whether an evolution speaks for the run as it is: the one without a name, up to the last
    saved step, and for all layers.
    """
    unnamed = evolution.record.name is None
    whole = set(evolution.layers) == set(run.config.model.conv_names)
    return unnamed and whole and evolution.steps[-1] == run.steps[-1]


def _still_true(run: Run, summary: dict[str, Any], before: float | None) -> bool:
    """Whether what the summary says of an evolution is of the run's last step; ``before``: the
    epoch it was written at, all that zfjax 0.1.0 kept.
    """
    if "evolution" in summary:
        return bool(run.steps) and summary["evolution"]["step"] == run.steps[-1]
    if "purity" not in summary:
        return before == summary.get("epoch")
    try:  # what zfjax 0.1.0 wrote may be of any evolution: its own record says of which
        last = read_json(run.evolution_folder() / "meta.json")["steps"][-1]
    except (ZfjaxError, LookupError, TypeError):
        return False
    whole = set(summary["purity"]) == set(run.config.model.conv_names)
    return whole and before == summary.get("epoch") and run.steps[-1:] == (last,)


def dead_share(evolution: Evolution) -> float:
    """Of all maps searched, the share (0..1) that no image excites at the last step."""
    counts = evolution.record.map_count
    dead = {layer: shares[-1] for layer, shares in evolution.record.dead_share.items()}
    return sum(dead[layer] * counts[layer] for layer in counts) / sum(counts.values())


def purity(evolution: Evolution) -> dict[str, float | None]:
    """By layer, at the last step; None where nothing can be said."""
    return {layer: shares[-1] for layer, shares in evolution.record.purity.items()}


def train_seconds(run: Run) -> float:
    """The seconds that all starts so far have trained, as far as they are on record."""
    return float(read_summary(run).get("seconds", {}).get("train", 0.0))


def note_train_seconds(run: Run, total: float) -> None:
    """Writes ``total`` as the seconds that all starts have trained: from ``train`` being called, so
    with opening the data, compiling, validating, saving, drawing between epochs, and steps that
    were lost and done again.

    Noted with every state that is saved: a killed start counts up to its last one.
    """
    summary = read_summary(run)
    summary["seconds"] = {**summary.get("seconds", {}), "train": round(total, 1)}
    write_json(run.folder / "summary.json", summary)


def note_accuracy(folder: Path, figures: dict[str, Any]) -> None:
    """Writes what ``evolve`` has found of somebody else's last checkpoint into OUT/summary.json:
    top1, top5 (0..1), the step and epoch they are of, split and images.
    """
    path = folder / "summary.json"
    write_json(path, {**(read_json(path) if path.exists() else {}), **figures})


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The summary in a few plain lines."""
    lines = []
    if "top1" in summary:
        where = "held-out images" if summary.get("held_out", True) else TRAINING_IMAGES
        if unlabelled := summary.get("unlabelled"):
            labelled = summary["images"]
            where = f"the {labelled:,} of {labelled + unlabelled:,} {where} that have a label"
        lines.append(
            f"top-1 {summary['top1']:.1%}, top-5 {summary['top5']:.1%} on {where} "
            f"(chance {summary['chance']:.1%})"
        )
    if "purity" in summary:
        lines += _evolution_lines(summary["purity"], summary["dead_share"])
    if summary.get("seconds"):
        lines.append(
            "seconds: "
            + ", ".join(f"{name} {value:g}" for name, value in summary["seconds"].items())
        )
    return lines


def evolution_lines(evolution: Evolution) -> list[str]:
    """An evolution's own numbers at its last epoch, for one that the summary does not take."""
    first, *rest = _evolution_lines(purity(evolution), dead_share(evolution))
    return [f"at epoch {evolution.epochs[-1]:g}, {first}", *rest]


def _evolution_lines(purities: dict[str, float | None], dead: float) -> list[str]:
    words = ", ".join(
        f"{layer} {'-' if value is None else f'{value:.2f}'}" for layer, value in purities.items()
    )
    return [f"class purity of the strongest images: {words}", f"dead maps: {dead:.1%}"]
