"""The answers of all sides of a comparison to the same images: from the probes that they have, or
by a pass where one is lacking. No JAX but where a pass has to be made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.measures.probe_images import probe_ids
from zfjax.progress import Progress
from zfjax.run.adopted import AdoptedRun
from zfjax.run.folder import Run
from zfjax.run.measured import measures_folder
from zfjax.run.probe import Probe
from zfjax.studies.sides import OWN, Side, folder_name
from zfjax.values import Place


@dataclass(frozen=True)
class Look:
    """Which answers a comparison needs, and where passes for them are made."""

    epochs: tuple[float, ...]
    layers: tuple[str, ...]
    images: int | None
    folder: Path
    """Of the comparison: where subjects' probes are kept."""
    data_dir: Place | None
    progress: Progress
    say: Callable[[str], None]


def with_probes(sides: Sequence[Side], look: Look) -> tuple[Side, ...]:
    """Every side with the probe that it is read from, and the rows of the images that all have
    answered to. A side that lacks one of the same images gets it by a pass. Raises ZfjaxError for
    different data sets, and for what a pass cannot be made of.
    """
    about = next(
        (probe for side in sides for probe in side.probes if _fits(probe, look, side)), None
    )
    chosen = [replace(side, probe=_kept(side, about, look)) for side in sides]
    if lacking := [side for side in chosen if side.probe is None]:
        gathered = iter(_gathered(chosen, lacking, about, look))
        chosen = [side if side.probe is not None else next(gathered) for side in chosen]
    _check_same(chosen, {side.name: _asked(side)["fingerprint"] for side in chosen})
    ids = chosen[0].probe.ids  # type: ignore[union-attr]
    for side in chosen[1:]:
        ids = np.intersect1d(ids, side.probe.ids)  # type: ignore[union-attr]
    if look.images is not None:
        ids = np.intersect1d(ids, probe_ids(int(_asked(chosen[0])["searched"]), look.images))
    if len(ids) < 4:
        raise ZfjaxError("The runs' probes share fewer than 4 images; give more with --images.")
    return tuple(
        replace(side, rows=np.searchsorted(side.probe.ids, ids))  # type: ignore[union-attr]
        for side in chosen
    )


def _asked(side: Side) -> dict[str, Any]:
    assert side.probe is not None
    return dict(side.probe.meta["asked"])


def _fits(probe: Probe, look: Look, side: Side) -> bool:
    """Whether a probe holds all that is compared."""
    asked = probe.meta["asked"]
    steps = {side.step_of[epoch] for epoch in look.epochs}
    enough = look.images is None or look.images <= asked["images"]
    known = probe.meta["layers"]
    whole = all(known.get(layer) == side.maps[layer] for layer in look.layers)
    return enough and whole and steps <= set(probe.steps)


def _kept(side: Side, about: Probe | None, look: Look) -> Probe | None:
    """The side's probe of the images that ``about`` is of; None where it has none."""
    if about is None:
        return None

    def images(probe: Probe) -> list[Any]:
        return [probe.meta["asked"][what] for what in ("split", "searched", "seed")]

    return next(
        (
            probe
            for probe in side.probes
            if _fits(probe, look, side) and images(probe) == images(about)
        ),
        None,
    )


def _gathered(
    chosen: Sequence[Side], lacking: Sequence[Side], about: Probe | None, look: Look
) -> list[Side]:
    """The sides without a probe, each with one gathered now, once all are checked."""
    from zfjax.measures.gathering import gather_probe, probe_plan
    from zfjax.measures.planning import Wanted

    split = about.meta["asked"]["split"] if about is not None else _split_of(lacking[0])
    images = look.images if about is None else look.images or int(about.meta["asked"]["images"])
    known = {side.name: _asked(side)["fingerprint"] for side in chosen if side.probe is not None}
    _check_before(chosen, lacking, known, split)
    plans = []
    for side in lacking:
        # The start is looked at too: it says what is no more than chance.
        first = [side.step_of[0.0]] if 0.0 in side.step_of else []
        steps = sorted({*first, *(side.step_of[epoch] for epoch in look.epochs)})
        at = [f"step:{step}" for step in steps]
        wanted = Wanted(at=at, images=images, split=split)
        plans.append(probe_plan(side.looked_at, wanted, look.data_dir, look.progress))
    own = {side.name: plan.subject.fingerprint for side, plan in zip(lacking, plans, strict=True)}
    _check_same(chosen, {**known, **own})
    done = []
    for side, plan in zip(lacking, plans, strict=True):
        look.say(
            f"{side.name} has no probe of these images: a pass over {plan.images:,} images of"
            f" {len(plan.steps)} checkpoints"
        )
        home = None if side.run is None else side.run.folder
        place_name = folder_name([side.name]).removeprefix("compare-")
        folder = measures_folder(home, OWN) if home else look.folder / "probes" / place_name
        done.append(replace(side, probe=gather_probe(plan, folder, home, look.progress)))
    return done


def _check_before(
    chosen: Sequence[Side],
    lacking: Sequence[Side],
    known: Mapping[str, Mapping[str, Any]],
    split: str | None,
) -> None:
    """As ``_check_same``, of the runs that say already what they would look at: before their data
    sets are opened, whose refusals would speak of something else.
    """
    own = {
        side.name: side.looked_at.fingerprint
        for side in lacking
        if isinstance(side.looked_at, Run) and side.looked_at.fingerprint.get("split") == split
    }
    told = {**known, **own}
    if len(told) > 1:
        _check_same([side for side in chosen if side.name in told], told)


def _split_of(side: Side) -> str | None:
    """The split that is looked at where no probe says it."""
    if isinstance(side.looked_at, Run):
        return str(side.looked_at.config.data.train_split)
    if isinstance(side.looked_at, AdoptedRun):
        return side.looked_at.split
    return None


def _check_same(sides: Sequence[Side], fingerprints: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ZfjaxError where the images are not those of one data set."""
    first = sides[0].name
    for side in sides[1:]:
        own, other = fingerprints[first], fingerprints[side.name]
        differing = [
            what for what in ("digest", "split", "count") if own.get(what) != other.get(what)
        ]
        if differing:
            raise ZfjaxError(
                f"{side.name} is of other images than {first}: {_words(other)} and {_words(own)};"
                " maps are matched by their answers to the same images, so compare runs of one"
                " data set."
            )


def _words(fingerprint: Mapping[str, Any]) -> str:
    count = fingerprint.get("count")
    images = f"{count:,} images" if isinstance(count, int) else "images"
    digest = str(fingerprint.get("digest") or "")[:8]
    return f"{fingerprint.get('name')} ({fingerprint.get('split')}, {images}, digest {digest})"
