"""What an evolution is asked to show: the words a person gives, checked once at the door, and what
answering will cost.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from zfjax.errors import ZfjaxError
from zfjax.features.selections import ADDABLE, in_order, is_quantile, plain_selections
from zfjax.network.ops import RULES, rule_named
from zfjax.network.precision import HIGHEST, Precision, precision_named
from zfjax.subject import Subject
from zfjax.values import (
    Epochs,
    Names,
    Text,
    Truth,
    Whole,
    optional,
    text,
    texts,
    truth,
    whole_number,
)

MAPS = 16
"""Drawn of each layer where nobody says how many ("few"): all of one with fewer."""


@dataclass(frozen=True)
class Asked:
    """The words of ``zfjax evolve`` and of ``zfjax.evolve``, with their defaults."""

    at: Epochs | None = None
    """Epochs as ``Run.steps_at`` takes them; None: all saved."""
    layers: Names | None = None
    """One or several; None: all."""
    maps: Whole | Literal["all", "few"] | None = "few"
    """Maps drawn of each layer; "all" or None: all; "few": 16, or all of a layer with fewer."""
    top: Whole = 9
    """Images kept for each map and step."""
    split: Text | None = None
    """None: the training split (paper, Fig. 4)."""
    images: Whole | None = None
    """The first so many; None: all."""
    rule: Names = "deconvnet"
    """One or several: every picture by every rule, the first is the main one."""
    every_rank: Truth = False
    """Draw the ``top`` images of every epoch; else rank 0 of every epoch, and all at the last."""
    selections: Names = ("top",)
    """What is drawn: "top" and "fixed" always, "low" and "quantile:q" beside them where named."""
    search_precision: Text = HIGHEST
    """At which the search multiplies; below "highest" its candidates are ranked again."""

    def plain(self) -> Asked:
        """The same in Python's own types. Raises ZfjaxError for a word of another kind."""
        maps = None if isinstance(self.maps, str) and self.maps == "all" else self.maps
        if not (isinstance(maps, str) and maps == "few"):
            maps = optional(whole_number, maps, "--maps")
        return Asked(
            at=self.at,
            layers=optional(texts, self.layers, "--layers"),
            maps=maps,
            top=whole_number(self.top, "--top"),
            split=optional(text, self.split, "--split"),
            images=optional(whole_number, self.images, "--images"),
            rule=texts(self.rule, "--rule"),
            every_rank=truth(self.every_rank, "--every-rank"),
            selections=texts(self.selections, "--selections"),
            search_precision=text(self.search_precision, "--search-precision"),
        )


class AskedWords(TypedDict, total=False):
    """``Asked`` as keywords, for whoever calls and for what completes their lines."""

    at: Epochs | None
    layers: Names | None
    maps: Whole | Literal["all", "few"] | None
    top: Whole
    split: Text | None
    images: Whole | None
    rule: Names
    every_rank: Truth
    selections: Names
    search_precision: Text


@dataclass(frozen=True)
class Request:
    """What an evolution shows; another request never overwrites a finished one. A field that is
    added has a default, with which evolutions made before it stay what they are.
    """

    steps: tuple[int, ...]
    layers: tuple[str, ...]
    """In forward order."""
    maps: int | None
    top: int
    split: str
    images: int
    rule: str
    every_rank: bool = False
    seed: int = 0
    selections: tuple[str, ...] = ()
    """Drawn beside "top" and "fixed", as ``selections.plain_selections`` has them."""
    rules: tuple[str, ...] = ()
    """By which every picture is drawn besides, in the order of ``ops.RULES``."""
    search_precision: Precision = HIGHEST

    def ranks(self, step_index: int, selection: str = "top") -> int:
        """How many of a map's images of that selection are drawn at the step of that index."""
        every = self.every_rank or step_index == len(self.steps) - 1
        return self.top if every and not is_quantile(selection) else 1


def _maps_of(
    subject: Subject, layers: Iterable[str], maps: Whole | Literal["all", "few"] | None
) -> int | None:
    """How many maps of each layer are drawn; None: all. Raises ZfjaxError for a number that a layer
    does not have.
    """
    if maps is None or isinstance(maps, str):
        return None if maps is None else MAPS
    for name in layers:
        available = subject.layer(name).maps
        if not 1 <= int(maps) <= available:
            raise ZfjaxError(
                f"--maps {maps}: {name} has {available} maps; ask for 1 to {available}, or 'all'."
            )
    return int(maps)


def request_of(subject: Subject, asked: Asked) -> Request:
    """``asked`` of a subject. Raises ZfjaxError for what the subject or its images do not have, and
    for words of another kind.
    """
    asked = asked.plain()
    rules = tuple(dict.fromkeys(asked.rule))
    for name in rules:
        rule_named(name)
    if not rules:
        raise ZfjaxError(f"--rule needs a name; there are {', '.join(RULES)}.")
    for name in asked.layers or ():
        subject.layer(name)
    layers = tuple(name for name in subject.layers if name in (asked.layers or subject.layers))
    maps = _maps_of(subject, layers, asked.maps)
    if asked.top < 1:
        raise ZfjaxError(f"--top {asked.top} must be 1 or more.")
    source = subject.need("images", "A search")
    if asked.images is not None and asked.images < 1:
        raise ZfjaxError(f"--images {asked.images} must be 1 or more.")
    if asked.split not in (None, source.split):
        raise ZfjaxError(
            f"--split {asked.split}: the images of this subject are of split {source.split!r};"
            " choose another where the subject is made."
        )
    images = source.count if asked.images is None else min(asked.images, source.count)
    if not images:
        raise ZfjaxError(f"Split {source.split!r} of {source.name} is empty.")
    return Request(
        steps=subject.find_steps(asked.at),
        layers=layers,
        maps=maps,
        top=int(asked.top),
        split=source.split,
        images=int(images),
        rule=rules[0],
        every_rank=bool(asked.every_rank),
        selections=plain_selections(asked.selections),
        rules=_by_name(rules[1:]),
        search_precision=precision_named(str(asked.search_precision)),
    )


def _by_name(rules: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in RULES if name in set(rules))


def widened(request: Request, before: Mapping[str, Any] | None) -> Request:
    """``request`` with the selections and rules of a record ``before``, of what is there: they are
    added to, and stay.
    """
    there = before or {}
    return dataclasses.replace(
        request,
        selections=in_order({*request.selections, *there.get("selections", ())}),
        rules=_by_name({*request.rules, *there.get("rules", ())} - {request.rule}),
    )


CHECKPOINTS = "checkpoints"
_DEFAULTS = {
    field.name: json.loads(json.dumps(field.default))
    for field in dataclasses.fields(Request)
    if field.default is not dataclasses.MISSING
}
"""Of a request's fields, as JSON gives them back."""


def record_of(subject: Subject, request: Request) -> dict[str, Any]:
    """What meta.json keeps as "asked": the request, and whose images and checkpoints it was
    about. Selections and rules stand there where some are asked for: what asks for none is recorded
    as it was before there were any.
    """
    words = {
        name: value
        for name, value in request.__dict__.items()
        if not (name in ADDABLE and not value) and (name, value) != ("search_precision", HIGHEST)
    }
    record = {
        **words,
        "fingerprint": subject.fingerprint,
        CHECKPOINTS: subject.checkpoints(request.steps),
    }
    return record if subject.foreign is None else {**record, "foreign": dict(subject.foreign)}


def differing(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """The fields in which a record of what was asked differs from another, ``now``.

    A field that the first one's writer did not know yet counts as its default there. One that only
    the first one has was added by a later version: what it asks for is not known here, so that it
    differs. Checkpoints differ where a step of both has another digest.
    """
    recorded, wanted = (json.loads(json.dumps(record)) for record in (before or {}, now))
    before_that, wanted = {**_DEFAULTS, **recorded}, {**_DEFAULTS, **wanted}
    known = [
        name
        for name, value in wanted.items()
        if name != CHECKPOINTS and (name not in before_that or before_that[name] != value)
    ]
    later = [name for name in recorded if name not in wanted and name != CHECKPOINTS]
    return [*known, *later, *([CHECKPOINTS] if changed_steps(before, now) else [])]


def changed_steps(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """The steps of both records whose checkpoints are not the same; where either does not know a
    digest (records of before have none), nothing says so.
    """
    recorded, wanted = ((record or {}).get(CHECKPOINTS, {}) for record in (before, now))
    return [step for step, digest in wanted.items() if recorded.get(step, digest) != digest]


def check_asked(
    folder: Path, before: Mapping[str, Any] | None, now: Mapping[str, Any], finished: bool
) -> None:
    """Raises ZfjaxError where ``folder`` holds what another request has asked for, and where a
    checkpoint has changed since it was ``finished``: an unfinished one begins anew then.
    """
    ways_out = "give this one a name with --name, or delete that folder."
    names = [name for name in differing(before, now) if name != CHECKPOINTS]
    if fields := ", ".join(
        name if name in {**now, **_DEFAULTS} else f"{name}, of a later version of zfjax"
        for name in names
    ):
        raise ZfjaxError(f"{folder} holds an evolution with other settings ({fields}); {ways_out}")
    if finished and (steps := ", ".join(changed_steps(before, now))):
        raise ZfjaxError(
            f"{folder} shows checkpoints that have changed since (steps {steps}); {ways_out}"
        )


def command_line(request: Request, name: str | None) -> str:
    """The command that asks for this again, with RUN for the folder."""
    at = " ".join(f"step:{step}" for step in request.steps)
    maps = "all" if request.maps is None else request.maps
    selections = f" --selections top {' '.join(request.selections)}" if request.selections else ""
    ranks = " --every-rank" if request.every_rank else ""
    if request.search_precision != HIGHEST:
        ranks += f" --search-precision {request.search_precision}"
    named = ranks + selections + (f" --name {name}" if name else "")
    return (
        f"zfjax evolve --workdir RUN --at {at} --layers {' '.join(request.layers)} --maps {maps}"
        f" --top {request.top} --split {request.split} --images {request.images} --rule"
        f" {' '.join((request.rule, *request.rules))}{named}"
    )


@dataclass(frozen=True)
class Cost:
    """What answering a request takes."""

    checkpoints: int
    images: int
    """Of each checkpoint."""
    flops: int
    """Of the search: two for a multiply-add."""
    tiles: int
    """At most: dead maps have none."""
    tile_bytes: int
    """Of all tiles on disk: two for a pixel's projected value, one for its photograph's."""


def cost(subject: Subject, request: Request) -> Cost:
    """The cost of a request; nothing is run."""
    top_layer = subject.network.highest(request.layers)
    images, steps = request.images, len(request.steps)
    fixed = steps
    shown = fixed + sum(
        request.ranks(index, name)
        for index in range(steps)
        for name in ("top", *request.selections)
    )
    shown *= 1 + len(request.rules)
    tiles = tile_bytes = 0
    for name in request.layers:
        layer = subject.layer(name)
        drawn = min(layer.maps, layer.maps if request.maps is None else request.maps) * shown
        tiles += drawn
        tile_bytes += drawn * layer.tile_size[0] * layer.tile_size[1] * 3 * (2 + 1)
    flops = 2 * top_layer.image_work.multiply_adds * images * steps
    return Cost(steps, images, flops, tiles, tile_bytes)
