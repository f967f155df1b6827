"""RUN/summary.json: what a run found, in numbers. No JAX."""

from __future__ import annotations

from typing import Any

from zfjax.evolution import Evolution
from zfjax.files import read_json, write_json
from zfjax.run import Run

TRAINING_IMAGES = "the training images, in the evaluation view"


def update_summary(run: Run, evolution: Evolution | None = None, **seconds: float) -> dict[str, Any]:
    """Writes what is known now into RUN/summary.json and returns it; earlier entries stay.

    top1, top5: 0..1 on the validation split (``split``; ``held_out``: whether it is not the training split) after the
    last epoch, ``epoch``; chance: 1 / classes; dead_share: of all maps searched
    at the last epoch; purity: by layer, the mean share of the commonest label among a map's strongest images there.
    """
    path = run.folder / "summary.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    validation = run.validation_lines
    found["chance"] = 1 / len(run.class_names)
    if validation:
        found.update({name: validation[-1][name] for name in ("top1", "top5")}, epoch=validation[-1]["epoch"])
        found.update(split=run.config.data.validation_split, held_out=run.held_out)
    if evolution is not None:
        counts = evolution.meta["map_count"]
        dead = {layer: shares[-1] for layer, shares in evolution.meta["dead_share"].items()}
        found["dead_share"] = sum(dead[layer] * counts[layer] for layer in counts) / sum(counts.values())
        found["purity"] = {layer: shares[-1] for layer, shares in evolution.meta["purity"].items()}
        seconds |= evolution.meta["seconds"]
    found["seconds"] = {**found.get("seconds", {}), **{name: round(value, 1) for name, value in seconds.items()}}
    write_json(path, found)
    return found


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The summary in a few plain lines."""
    lines = []
    if "top1" in summary:
        where = "held-out images" if summary.get("held_out", True) else TRAINING_IMAGES
        lines.append(f"top-1 {summary['top1']:.1%}, top-5 {summary['top5']:.1%} on {where} "
                     f"(chance {summary['chance']:.1%})")  # fmt: skip
    if "purity" in summary:
        purities = ", ".join(f"{layer} {'-' if value is None else f'{value:.2f}'}"
                             for layer, value in summary["purity"].items())  # fmt: skip
        lines.append(f"class purity of the strongest images: {purities}")
        lines.append(f"dead maps: {summary['dead_share']:.1%}")
    if summary.get("seconds"):
        lines.append("seconds: " + ", ".join(f"{name} {value:g}" for name, value in summary["seconds"].items()))
    return lines
