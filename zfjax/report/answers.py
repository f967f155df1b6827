"""What was measured, as sections that a person reads: settling, census, controls, what maps are
about. A measure that the run has not is one line with the command that makes it. No JAX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from zfjax.report.class_lists import MOST_MAPS, labels_contents
from zfjax.report.controlled import controls_contents
from zfjax.report.kit.shell import Piece, part_text, section
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import epoch_name, plain
from zfjax.report.layers import View
from zfjax.report.lives import layer_events
from zfjax.report.settling import settling_contents
from zfjax.report.weighed import weights_contents
from zfjax.report.words import searched
from zfjax.run.adopted import AdoptedRun
from zfjax.run.measured import Measured

TITLES = {
    "settling": "Settling: which layer is ready first",
    "census": "Census: dead, born and duplicate maps",
    "controls": "Controls: how much of a projection is the unit's",
    "labels": "What maps are about",
    "weights": "Weights: the filters themselves, without an image",
}
FILLS = {
    "settling": "when each layer and map settles, and how sure that is",
    "census": "which maps are dead or duplicate, and which were born, died or came back",
    "controls": "how much of a projection is the unit's and how much the image's",
    "labels": "which maps are about a class, beside what chance gives",
    "weights": "every layer's filters as pixels, without an image, beside the projections",
}
KINDS = ("dead", "almost_dead", "dominant", "duplicate", "aliased", "clipped")
ABOUT = {
    "aliased": (
        " Aliased, in the first layer: {aliased} or more of what its filter passes is too fine for"
        " the layer's stride."
    ),
    "clipped": " Clipped: its filter is as strong as the recipe lets it be.",
}
NEAR = 0.8
"""A cosine above it with the last weights is said beside their pictures."""
CHANGES = ("born", "died", "revived")


def answer_sections(view: View) -> list[Piece]:
    """A section for each measure that the run has, and one that says what it has not."""
    sections = []
    for name, title in TITLES.items():
        measured = view.measures.get(name)
        if measured is None:
            continue
        if name == "settling":
            inner = settling_contents(view.run, measured, view.other)
        elif name == "controls":
            inner = controls_contents(measured, view.store, partial(link_to, view))
        elif name == "weights":
            link = partial(link_to, view)
            inner = weights_contents(measured, view.evolution, view.store, link)
            inner[1:1] = _started_near(view)
        elif name == "labels":
            inner = labels_contents(measured, view.evolution, partial(link_to, view))
        else:
            inner = _census(view, measured)
        style = part_text("css", "answers", folder="parts")
        sections.append(section(title, *inner, Piece(Markup(), style=style)))
    missing = [name for name in TITLES if name not in view.measures]
    return [*sections, _missing(view, missing)] if missing else sections


def _missing(view: View, names: Sequence[str]) -> Piece:
    """One line for each measure: what it would say, and the command."""
    alone = isinstance(view.run, AdoptedRun) and not view.run.reopens
    lines = []
    for name in names:
        command = (
            f'zfjax.measure(subject, "{name}", out="RUN")'
            if alone
            else f"zfjax measure --workdir RUN {name}"
        )
        lines.append(
            Markup('<dt>{}</dt><dd>{}: <span class="code">{}</span></dd>').format(
                TITLES[name].split(":")[0], FILLS[name], command
            )
        )
    listed = Markup('<dl class="facts">{}</dl>').format(Markup("\n").join(lines))
    return section("Not measured yet", listed)


def link_to(view: View, layer: str, map_: int) -> Markup:
    """The map's number, and a way to its film where it is drawn."""
    if layer in view.evolution.layers and map_ in view.evolution.maps(layer):
        address = f"#map={quote(layer, safe='')}:{map_}"
        return Markup('<a href="{}">{}</a>').format(address, map_)
    return Markup("{}").format(map_)


def _maps_list(view: View, layer: str, maps: Sequence[int]) -> Markup:
    listed = Markup(", ").join(link_to(view, layer, map_) for map_ in maps[:MOST_MAPS])
    more = len(maps) - MOST_MAPS
    return listed + (Markup(" and {} more").format(more) if more > 0 else Markup(""))


def _census(view: View, census: Measured) -> list[Piece | Markup | str]:
    last = census.steps[-1]
    kinds = [name for name in KINDS if census.of_layer(f"{name}_share", census.layers[0])]
    heads = ("layer", "maps", *(name.replace("_", " ") for name in kinds), *CHANGES)
    rows, lists = [], []
    for layer in census.layers:
        flags = {name: census.of_maps(name, layer).get(last, np.zeros(0)) for name in kinds}
        events = layer_events(census, layer)
        counts = [_count(flags[name]) for name in kinds]
        counts += [str(sum(name == what for name, _, _ in events)) for what in CHANGES]
        maps = len(census.of_maps("firing", layer).get(last, ()))
        rows.append(Row(layer, (str(maps), *counts)))
        relatives = census.of_maps("relative", layer).get(last, np.zeros(0))
        lists += _fates(view, layer, _kinds(view, layer, flags, relatives), events)
    columns = [Column(head, right=index > 0) for index, head in enumerate(heads)]
    told = (
        Markup('<dl class="facts fates">{}</dl>').format(Markup("\n").join(lists))
        if lists
        else _note("No map is any of these at the end, and none was born or died.")
    )
    aliased = _limit(census, "aliased", "{:.0%}")
    about = (
        "What a map is, counted at the last epoch; what happened to it, over all epochs. Dead is"
        f" dead on these {_images(census)} alone; {_asked_above(view, census)} Almost dead:"
        f" fewer than {_limit(census, 'almost', '{:.2%}')} of them excite it. Dominant: its filter"
        f" is longer than {_limit(census, 'dominant', '{:g}')} times its layer's median. Duplicate:"
        " its answers to them correlate with those of another map of its layer by"
        f" {_limit(census, 'duplicate', '{:g}')} or more."
        f"{''.join(ABOUT[name] for name in kinds if name in ABOUT).format(aliased=aliased)}"
        " Born: alive for the first time; revived: alive again."
    )
    return [_sentence(census), data_table(columns, rows), told, _note(about)]


def _limit(census: Measured, name: str, form: str) -> str:
    """An option of the census that says from when on a map is so; "a limit" of a table that does
    not keep it.
    """
    asked: Mapping[str, object] = census.meta.get("asked") or {}
    options = asked.get("options")
    value = options.get(name) if isinstance(options, Mapping) else None
    return form.format(value) if isinstance(value, (int, float)) else "a limit"


def _started_near(view: View) -> list[Markup]:
    """Layers whose weights begin near where they end, for who sees their pictures change."""
    settling = view.measures.get("settling")
    if settling is None:
        return []
    cosines = {
        layer: settling.of_layer("cosine", layer).get(settling.steps[0], 0.0)
        for layer in settling.layers
    }
    near = [f"{plain(layer)} ({cosine:.2f})" for layer, cosine in cosines.items() if cosine > NEAR]
    if not near:
        return []
    words = (
        f"The weights at epoch {epoch_name(settling.epochs[0])} are already near the last ones, by"
        f" their cosine, in {', '.join(near)}, although the pictures may go from noise to"
        " structure: most of a filter is what it was drawn as, and what it has learnt, a small part"
        " of its length, is what they show."
    )
    return [_note(words)]


def _count(flags: np.ndarray) -> str | None:
    """How many maps are so; None where that is not defined, as of a layer that has no stride."""
    return str(int(np.nansum(flags))) if np.isfinite(flags).any() else None


def _kinds(
    view: View, layer: str, flags: Mapping[str, np.ndarray], relatives: np.ndarray
) -> list[Markup]:
    """Which maps of a layer are what at the end; a duplicate with the one that it is like."""
    said = []
    for name, values in flags.items():
        maps = np.flatnonzero(values == 1).tolist()
        if not maps:
            continue
        listed = _maps_list(view, layer, maps)
        known = len(relatives) == len(values) and np.isfinite(relatives[maps]).all()
        if name == "duplicate" and known and len(maps) <= MOST_MAPS:
            listed = Markup(", ").join(
                Markup("{} (like {})").format(
                    link_to(view, layer, map_), link_to(view, layer, int(relatives[map_]))
                )
                for map_ in maps
            )
        said.append(Markup("{} at the end: {}").format(name.replace("_", " "), listed))
    return said


def _fates(
    view: View, layer: str, said: Sequence[Markup], events: Sequence[tuple[str, float, int]]
) -> list[Markup]:
    """What maps of a layer are, as ``said``, and which changed when."""
    said = list(said)
    for what in CHANGES:
        happened = [(epoch, map_) for name, epoch, map_ in events if name == what]
        parts = [
            Markup("{} {} at epoch {}").format(
                "map" if sum(when == epoch for when, _ in happened) == 1 else "maps",
                _maps_list(view, layer, [map_ for when, map_ in happened if when == epoch]),
                epoch_name(epoch),
            )
            for epoch in dict.fromkeys(epoch for epoch, _ in happened)
        ]
        if parts:
            said.append(Markup("{}: {}").format(what, Markup("; ").join(parts)))
    if not said:
        return []
    return [Markup("<dt>{}</dt><dd>{}</dd>").format(layer, Markup("<br>").join(said))]


def _sentence(measured: Measured) -> Markup:
    words = plain(str(measured.meta.get("sentence", "")), 2000)
    return Markup('<p class="said">{}</p>').format(words)


def _note(words: str) -> Markup:
    return Markup('<p class="note">{}</p>').format(words)


def _images(measured: Measured) -> str:
    asked: Mapping[str, object] = measured.meta.get("asked") or {}
    split = asked.get("split")
    images = measured.meta.get("images")
    count = f"{images:,} images" if isinstance(images, int) else "images"
    return f"{count} of {plain(str(split))}" if split else count


def _asked_above(view: View, census: Measured) -> str:
    """How many images the page's search asked, beside the census."""
    asked = searched(view.evolution)
    record = view.evolution.record
    same = census.meta.get("images") == record.images - record.unreadable
    return f"the search above asked {'as many' if same else 'others'}: {asked}."
