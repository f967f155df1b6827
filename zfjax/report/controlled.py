"""The section on controls: how much of a projection is the unit's, in numbers and as pictures. No
JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from zfjax.report.control_words import conclusions
from zfjax.report.kit.shell import Piece
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import epoch_name, number, plain
from zfjax.report.pictures import Store
from zfjax.report.rowed import rows_figure, signed_bytes
from zfjax.run.measured import Measured

COLUMNS = (
    *("the unit", "other\nunit", "other\nimage"),
    *("before\ntraining", "top layer\nanew", "all layers\nanew"),
)
"""What stands side by side in the pictures that the measure ``controls`` keeps."""
CHANGES = (
    "another unit is asked",
    "the same unit goes down the switches of another image",
    "the network is that before training",
    "its layer is drawn anew",
    "all layers up to it are",
)
"""What is changed in the columns beside the unit's own."""
ANEW = (4, 5)
"""The columns of layers drawn anew."""
WORDS = {
    "others": "other units at the same place, a map's mean over them",
    "swapped": "another unit at the same place",
    "two_images": "another unit on another image: what chance gives",
    "switches": "the same unit down another image's switches",
    "initial": "the network before training",
}
RANDOMISED = "randomised_"
LIKENESSES = {"cosine": "Cosine with the unit's own", "spearman": "Rank correlation of magnitudes"}
"""By how a quantity's name begins."""
SAID_ELSEWHERE = ("image_share", "exempt", "partners")
"""The cosine with the swapped unit again, and what the sentence says."""

Link = Callable[[str, int], Markup]
"""(layer, map) -> its number, as a link where it is drawn."""


def controls_contents(controls: Measured, store: Store, link: Link) -> list[Piece | Markup | str]:
    """Every number that the measure gives of a layer at its last epoch, with its interval, and the
    pictures that it keeps. Raises ZfjaxError where those are damaged.
    """
    words = plain(str(controls.meta.get("sentence", "")), 2000)
    return [
        Markup('<p class="said">{}</p>').format(words),
        *_concluded(controls),
        *_tables(controls),
        Markup(
            '<p class="note">1: the same picture; by chance it is not 0 but what two units on two'
            " images have in common. A cosine is a likeness and no share. In brackets the quartiles"
            " over the layer's maps. Another unit: one for each map, drawn by seed among the live"
            " maps of its layer, which may share features with it; other units: that one and more"
            " of them, so that little hangs on which was drawn.</p>"
        ),
        control_pictures(controls, store, link),
    ]


def _concluded(controls: Measured) -> list[Markup]:
    lines = [Markup("<li>{}</li>").format(words) for words in conclusions(controls)]
    if not lines:
        return []
    return [Markup('<ul class="orders">{}</ul>').format(Markup("\n").join(lines))]


def _tables(controls: Measured) -> list[Piece]:
    """A table for each kind of likeness, its rows in words; one of what has no words, by name."""
    last = controls.steps[-1]
    known: list[str] = [
        name
        for name in controls.quantities()
        if any(last in controls.of_layer(name, layer) for layer in controls.layers)
    ]
    tables = []
    for likeness, head in LIKENESSES.items():
        own = [name for name in known if name.startswith(f"{likeness}_")]
        own.sort(key=_order)
        known = [name for name in known if name not in own]
        tables += [_table(controls, head, own)] if own else []
    others = [name for name in known if name not in SAID_ELSEWHERE or not tables]
    return [*tables, *([_table(controls, "at the last epoch", others)] if others else [])]


def _table(controls: Measured, head: str, names: Sequence[str]) -> Piece:
    """The layers that have any of these numbers, the deepest first, at the last epoch."""
    last = controls.steps[-1]
    layers = [
        layer
        for layer in reversed(controls.layers)  # the deepest is what a narrow window shows
        if any(last in controls.of_layer(name, layer) for name in names)
    ]
    rows = [
        Row(_in_words(name), [_cell(controls, name, layer) for layer in layers]) for name in names
    ]
    table = data_table([Column(head), *(Column(plain(layer)) for layer in layers)], rows)
    return replace(table, html=Markup('<div class="stacked">{}</div>').format(table.html))


def _control(name: str) -> str:
    return name.partition("_")[2] if name.partition("_")[0] in LIKENESSES else name


def _order(name: str) -> tuple[int, int]:
    control = _control(name)
    count = control.removeprefix(RANDOMISED)
    if control in WORDS:
        return 0, list(WORDS).index(control)
    return (1, int(count)) if control != count and count.isdigit() else (2, 0)


def _in_words(name: str) -> str:
    control = _control(name)
    count = control.removeprefix(RANDOMISED)
    if control in WORDS:
        return WORDS[control]
    if control != count and count.isdigit():
        which = "the layer" if count == "1" else f"{count} layers from the top"
        return f"random filters: {which} drawn anew"
    return plain(name.replace("_", " "), 60)


def _cell(controls: Measured, name: str, layer: str) -> Piece | None:
    """With the layer's name, which a narrow window shows in place of the head."""
    last = controls.steps[-1]
    value = controls.of_layer(name, layer).get(last, math.nan)
    low, high = controls.bounds(name, layer).get(last, (math.nan, math.nan))
    if not math.isfinite(value):
        return None
    numbers = _text(name, value)
    if math.isfinite(low + high):
        numbers += f" ({_text(name, low)} to {_text(name, high)})"
    return Piece(Markup('<span data-of="{}">{}</span>').format(plain(layer), numbers))


def _text(name: str, value: float) -> str:
    """Likenesses have equal decimals, so that they are compared at a glance."""
    return f"{value:.2f}" if name.partition("_")[0] in LIKENESSES else number(value, 2)


def _with_other(link: Link, layer: str, map_: int, other: float) -> Markup:
    """The map's number, and that of the unit that was asked in its place where it is known."""
    if not math.isfinite(other):
        return link(layer, map_)
    return Markup("{} (other unit: map {})").format(link(layer, map_), link(layer, int(other)))


def control_pictures(controls: Measured, store: Store, link: Link) -> Piece:
    """A picture a layer: a row for each map, its projection at the left, its controls beside it."""
    figures = []
    epochs = dict(zip(controls.steps, controls.epochs, strict=True))
    shown = [True, *(False for _ in COLUMNS[1:])]
    for layer in controls.layers:
        by_step = controls.pictures(layer)
        if not by_step:
            continue
        step = max(by_step)
        maps, pixels = by_step[step]
        rows = [np.split(signed_bytes(each), len(COLUMNS), axis=1) for each in pixels]
        # Of a network that cannot be drawn anew in part, nobody needs two columns of grey.
        anew = any(
            RANDOMISED in name and step in controls.of_layer(name, layer)
            for name in controls.quantities()
        )
        there = [index for index in range(len(COLUMNS)) if anew or index not in ANEW]
        rows = [[row[index] for index in there] for row in rows]
        heads = [COLUMNS[index].replace("\n", " ") for index in there]
        shown = [known or index in there for index, known in enumerate(shown)]
        others = controls.of_maps("swapped_map", layer).get(step, np.zeros(0))
        listed = Markup(", ").join(
            _with_other(link, layer, map_, others[map_] if map_ < len(others) else math.nan)
            for map_ in maps.tolist()
        )
        caption = Markup("{} at epoch {}, from above: maps {}").format(
            plain(layer), epoch_name(epochs[step]), listed
        )
        spoken = f"Projections of {plain(layer)} beside their controls"
        figures.append(rows_figure(rows, heads, (caption, spoken), store))
    if not figures:
        return Piece(Markup())
    changes = "; ".join(words for words, known in zip(CHANGES, shown[1:], strict=True) if known)
    words = Markup(
        '<p class="note">At the left the unit\'s own projection, beside it what its place gives'
        f" with one thing changed: {changes}. Each on its own scale, zero is mid-grey; what is not"
        " there is grey. What stays under “other unit” is not this unit's alone.</p>"
    )
    return Piece(words + Markup('<div class="rowed">{}</div>').format(Markup("").join(figures)))
