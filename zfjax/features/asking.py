"""What an evolution is asked to show: the words a person gives, checked once at the door, and what
answering will cost.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from zfjax.errors import ZfjaxError
from zfjax.network.ops import rule_named
from zfjax.subject import Subject


@dataclass(frozen=True)
class Asked:
    """The words of ``zfjax evolve`` and of ``zfjax.evolve``, with their defaults."""

    at: Sequence[str] | None = None
    """Epochs as ``Run.steps_at`` takes them; None: all saved."""
    layers: Sequence[str] | None = None
    """None: all."""
    maps: int | None = 16
    """Maps drawn of each layer; None: all."""
    top: int = 9
    """Images kept for each map and step."""
    split: str | None = None
    """None: the training split (paper, Fig. 4)."""
    images: int | None = None
    """The first so many; None: all."""
    rule: str = "deconvnet"
    every_rank: bool = False
    """Draw the ``top`` images of every epoch; else rank 0 of every epoch, and all at the last."""


class AskedWords(TypedDict, total=False):
    """``Asked`` as keywords, for whoever calls and for what completes their lines."""

    at: Sequence[str] | None
    layers: Sequence[str] | None
    maps: int | None
    top: int
    split: str | None
    images: int | None
    rule: str
    every_rank: bool


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

    def ranks(self, step_index: int) -> int:
        """How many of a map's strongest images are drawn at the step of that index."""
        return self.top if self.every_rank or step_index == len(self.steps) - 1 else 1


def request_of(subject: Subject, asked: Asked) -> Request:
    """``asked`` of a subject. Raises ZfjaxError for what the subject or its images do not have."""
    rule_named(asked.rule)
    for name in asked.layers or ():
        subject.layer(name)
    layers = tuple(name for name in subject.layers if name in (asked.layers or subject.layers))
    for name in layers:
        available = subject.layer(name).maps
        if asked.maps is not None and not 1 <= asked.maps <= available:
            raise ZfjaxError(
                f"--maps {asked.maps}: {name} has {available} maps; ask for 1 to {available}, or"
                " 'all'."
            )
    if asked.top < 1:
        raise ZfjaxError(f"--top {asked.top} must be 1 or more.")
    source = subject.need("images", "A search")
    if asked.images is not None and asked.images < 1:
        raise ZfjaxError(f"--images {asked.images} must be 1 or more.")
    images = source.count if asked.images is None else min(asked.images, source.count)
    if not images:
        raise ZfjaxError(f"Split {source.split!r} of {source.dataset.name} is empty.")
    steps = subject.find_steps(asked.at)
    return Request(
        steps, layers, asked.maps, asked.top, source.split, images, asked.rule, asked.every_rank
    )


def record_of(subject: Subject, request: Request) -> dict[str, Any]:
    """What meta.json keeps as "asked": the request and whose images it was about."""
    record = {**request.__dict__, "fingerprint": subject.fingerprint}
    return record if subject.foreign is None else {**record, "foreign": dict(subject.foreign)}


def differing(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """The fields in which a record of what was asked differs from another, ``now``.

    A field that the first one's writer did not know yet counts as its default there; one that only
    the first one has was added later than this, and says nothing here.
    """
    recorded, wanted = (json.loads(json.dumps(record)) for record in (before or {}, now))
    defaults = {
        field.name: json.loads(json.dumps(field.default))
        for field in dataclasses.fields(Request)
        if field.default is not dataclasses.MISSING
    }
    before_that = {**defaults, **recorded}
    return [
        name
        for name, value in wanted.items()
        if name not in before_that or before_that[name] != value
    ]


def check_asked(folder: Path, before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    """Raises ZfjaxError where ``folder`` holds what another request has asked for."""
    if fields := ", ".join(differing(before, now)):
        raise ZfjaxError(
            f"{folder} holds an evolution with other settings ({fields}); give this one a name with"
            " --name, or delete that folder."
        )


def command_line(request: Request, name: str | None) -> str:
    """The command that asks for this again, with RUN for the folder."""
    at = " ".join(f"step:{step}" for step in request.steps)
    maps = "all" if request.maps is None else request.maps
    named = (" --every-rank" if request.every_rank else "") + (f" --name {name}" if name else "")
    return (
        f"zfjax evolve --workdir RUN --at {at} --layers {' '.join(request.layers)} --maps {maps}"
        f" --top {request.top} --split {request.split} --images {request.images} --rule"
        f" {request.rule}{named}"
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
    shown = sum(request.ranks(index) for index in range(steps)) + fixed
    tiles = tile_bytes = 0
    for name in request.layers:
        layer = subject.layer(name)
        drawn = (layer.maps if request.maps is None else request.maps) * shown
        tiles += drawn
        tile_bytes += drawn * layer.tile_size[0] * layer.tile_size[1] * 3 * (2 + 1)
    flops = 2 * top_layer.image_work.multiply_adds * images * steps
    return Cost(steps, images, flops, tiles, tile_bytes)
