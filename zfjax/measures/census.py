"""A census of the maps: which are dead, almost dead, dominant, duplicate, aliased or clipped, and
which were born, died or came back to life.

Concept: the paper speaks of dead features, of a first layer with a few dominant filters that its
clipping of the filters' RMS holds down, and of aliasing; it defines none of them. Here, at every
epoch, on a fixed probe of images: a map is *dead* where no image excites it, *almost dead* where
fewer than one in a thousand does; *dominant* where the RMS of its weights is 3 times the median of
its layer; a *duplicate* where its answers to the images (their maxima) correlate by 0.95 or more
with those of another live map, its nearest relative; *aliased* where half or more of what its
filter passes of natural images lies above its stride's Nyquist frequency (first layer, from the
measure spectrum where that is there); *clipped* where its RMS stands at the recipe's limit. *Born*:
alive for the first time; *died*: alive the epoch before; *revived*: alive again.
Source: Zeiler and Fergus 2014, sections 3 and 4.1; the thresholds are ours, and options.
Cost: the probe's maxima, one product of [maps, images] with itself a layer and epoch.
What can mislead: dead is dead on these images alone: a probe of 1,000 images calls dead what one in
10,000 excites. Duplicates are so in their answers, not necessarily in their weights. Dominance
by weights says nothing of how strongly a map is excited; ``energy_share`` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.measures.kernels import map_weights, rms
from zfjax.measures.protocol import Looked, Measure, Quantity, Told, plain_table, shown
from zfjax.report.kit.charts import Chart, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import epoch_name
from zfjax.run.measured import Measured
from zfjax.run.probe import MAXIMA

CLIP_LIMIT = 0.1
"""The faithful recipe's (paper, section 3)."""
FLAGS = (
    "dead",
    "almost_dead",
    "dominant",
    "duplicate",
    "aliased",
    "clipped",
    "born",
    "died",
    "revived",
)


@dataclass(frozen=True)
class CensusOptions:
    """What counts as what."""

    almost: float = 1e-3
    """A map that a smaller share of the images excites is almost dead."""
    dominant: float = 3.0
    """A filter this many times the median of its layer's RMS is dominant."""
    duplicate: float = 0.95
    """Maps whose answers correlate by this or more are duplicates."""
    aliased: float = 0.5
    """A filter with this share above its stride's Nyquist frequency or more is aliased."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            highest = math.inf if name == "dominant" else 1
            if not (math.isfinite(value) and 0 <= value <= highest):
                range_words = "0 or more" if highest > 1 else "from 0 to 1"
                raise ZfjaxError(f"--census.{name} {value} must be {range_words}.")


@dataclass(frozen=True)
class _Before:
    """What the epochs before say of a layer's maps."""

    alive: np.ndarray
    ever: np.ndarray


def rows(looked: Looked, options: CensusOptions) -> Iterator[Quantity]:
    """Flags and numbers of every map, shares of every layer."""
    probe = looked.probe
    assert probe is not None
    clips = looked.run is not None and looked.run.config.recipe == "faithful"
    before: dict[str, _Before] = {}
    for step in looked.steps:
        parameters = looked.subject.parameters(step)
        for layer in looked.layers:
            maxima = probe.values(step, layer)
            weights = map_weights(parameters, layer, looked.subject.network)
            sizes = None if weights is None else rms(weights)
            counts = alive_counts(maxima)
            yield Quantity(step, layer, "firing", counts / len(maxima), n=len(maxima), unit="share")
            if sizes is not None:
                yield Quantity(step, layer, "weight_rms", sizes)
            relative, likeness = nearest_relatives(maxima)
            yield Quantity(step, layer, "relative", relative, unit="map")
            yield Quantity(step, layer, "likeness", likeness, n=len(maxima), unit="correlation")
            flags = map_flags(counts, len(maxima), likeness, sizes, options)
            if sizes is not None and clips:
                flags["clipped"] = sizes >= CLIP_LIMIT * (1 - 1e-4)
            aliasing = _aliasing(looked, step, layer)
            if aliasing is not None:
                flags["aliased"] = aliasing >= options.aliased
            flags.update(changes(counts > 0, before.get(layer)))
            ever = before[layer].ever if layer in before else np.zeros(len(counts), bool)
            before[layer] = _Before(counts > 0, ever | (counts > 0))
            for name in FLAGS:
                if name in flags:
                    share = float(flags[name].mean())
                    yield Quantity(step, layer, name, flags[name].astype(float))
                    yield Quantity(
                        step, layer, f"{name}_share", share, n=len(flags[name]), unit="share"
                    )
            if sizes is not None:
                yield Quantity(step, layer, "dominance", dominance(sizes), unit="x median")
            yield Quantity(step, layer, "energy_share", energy_share(maxima), unit="share")


def alive_counts(maxima: np.ndarray) -> np.ndarray:
    """How many images excite each map: int64 [maps], of maxima [images, maps]."""
    return np.asarray((maxima > 0).sum(axis=0))


def map_flags(
    counts: np.ndarray,
    images: int,
    likeness: np.ndarray,
    sizes: np.ndarray | None,
    options: CensusOptions,
) -> dict[str, np.ndarray]:
    """Which maps are what: bool [maps] by name."""
    dead = counts == 0
    flags = {
        "dead": dead,
        "almost_dead": ~dead & (counts < options.almost * images),
        "duplicate": np.nan_to_num(likeness, nan=-1.0) >= options.duplicate,
    }
    if sizes is not None:
        flags["dominant"] = sizes >= options.dominant * max(float(np.median(sizes)), 1e-30)
    return flags


def changes(alive: np.ndarray, before: _Before | None) -> dict[str, np.ndarray]:
    """Which maps were born, died and revived since the step before; none at the first."""
    if before is None:
        nothing = np.zeros(len(alive), bool)
        return {"born": nothing, "died": nothing, "revived": nothing}
    back = alive & ~before.alive
    return {
        "born": back & ~before.ever,
        "died": ~alive & before.alive,
        "revived": back & before.ever,
    }


def nearest_relatives(maxima: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(map, correlation) of each map's nearest relative in its layer, by the correlation of their
    answers to the images: float64 [maps] each; NaN for a map that answers all images alike.
    """
    centred = maxima - maxima.mean(axis=0, dtype=np.float64).astype(maxima.dtype)
    norms = np.sqrt(np.einsum("im,im->m", centred, centred, dtype=np.float64))
    varies = norms > 1e-6 * np.sqrt(len(maxima)) * np.maximum(np.abs(maxima).max(axis=0), 1e-30)
    centred *= np.where(varies, 1 / np.where(varies, norms, 1), 0).astype(maxima.dtype)
    unit = centred.astype(np.float32, copy=False)
    likeness = (unit.T @ unit).astype(np.float64)
    likeness[:, ~varies] = likeness[~varies] = -np.inf
    np.fill_diagonal(likeness, -np.inf)
    relative, best = likeness.argmax(axis=1), likeness.max(axis=1)
    known = np.isfinite(best)
    return np.where(known, relative, np.nan), np.where(known, np.clip(best, -1, 1), np.nan)


def dominance(sizes: np.ndarray) -> float:
    """The largest filter RMS over the median of the layer's; NaN where the median is 0."""
    median = float(np.median(sizes))
    return float(sizes.max()) / median if median > 0 else float("nan")


def energy_share(maxima: np.ndarray) -> float:
    """The share of the layer's energy (mean square of image maxima) in its strongest map; NaN for a
    dead layer.
    """
    energy = (maxima.astype(np.float64) ** 2).mean(axis=0)
    total = float(energy.sum())
    return float(energy.max()) / total if total > 0 else float("nan")


def _aliasing(looked: Looked, step: int, layer: str) -> np.ndarray | None:
    """The aliasing index of each map of the first layer, from the measure spectrum."""
    spectrum = looked.earlier.get("spectrum")
    return None if spectrum is None else spectrum.of_maps("aliasing", layer).get(step)


def tell(measured: Measured, others: Sequence[Measured], options: CensusOptions) -> Told:
    """Shares of the last epoch, and a chart of the dead over the epochs."""
    last, epochs = measured.steps[-1], dict(zip(measured.steps, measured.epochs, strict=True))
    kinds = [name for name in FLAGS if measured.of_layer(f"{name}_share", measured.layers[0])]
    head = ["layer", "maps", *(name.replace("_", " ") for name in kinds), "dominance"]
    table, clauses = [], []
    for layer in measured.layers:
        counts = {
            name: int(sum(np.nan_to_num(flags).sum() for flags in _counted(measured, name, layer)))
            for name in kinds
        }
        maps = len(measured.of_maps("firing", layer)[last])
        dominant = shown(measured.of_layer("dominance", layer).get(last), "{:.1f}x")
        table.append([layer, str(maps), *(str(counts[name]) for name in kinds), dominant])
        clauses.append(f"{layer} {counts['dead']} of {maps}")
    changed = {
        name: sum(
            int(np.nan_to_num(flags).sum())
            for layer in measured.layers
            for flags in measured.of_maps(name, layer).values()
        )
        for name in ("born", "died", "revived")
    }
    sentence = (
        f"Dead maps at epoch {epoch_name(epochs[last])} (no image excites them, of"
        f" {measured.meta.get('images', 0):,} of {measured.meta['asked'].get('split')}):"
        f" {'; '.join(clauses)}. Over all epochs {_maps_words(changed['born'])} born,"
        f" {changed['died']} died and {changed['revived']} came back to life."
    )
    lines = ordered_lines(measured.curves("dead_share", 100))
    largest = max((value for line in lines for _, value in line.points), default=0.0)
    chart = Chart("dead maps, %", lines, highest=None if largest > 5 else 5.0)
    words = f"Maps that none of {measured.meta.get('images', 0):,} images excites."
    figure = figure_of([Panel("dead maps, %", (chart,), 4.0, legend=True)], words)
    return Told(sentence, plain_table(head, table), figure)


def _counted(measured: Measured, name: str, layer: str) -> list[np.ndarray]:
    """The flags that the table counts: what happened, over all steps; what is, at the last."""
    by_step = measured.of_maps(name, layer)
    if name in ("born", "died", "revived"):
        return list(by_step.values())
    return [by_step[measured.steps[-1]]] if measured.steps[-1] in by_step else []


MEASURE = Measure(
    "census", rows, tell, options=CensusOptions(), probe=(MAXIMA,), reads=("spectrum",)
)


def _maps_words(count: int) -> str:
    return "1 map was" if count == 1 else f"{count} maps were"
