"""The page's main part: a block a layer with its grid of maps, the panel that a map opens in, and
the first layer's filters. No JAX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from zfjax.errors import ZfjaxError
from zfjax.report.adopted import adopted_rule_words, epochs_are_steps
from zfjax.report.curves import accuracies
from zfjax.report.inputs import Inputs
from zfjax.report.kit.films import Film, Sheet, film_data, film_now, film_strip, sheet_rule
from zfjax.report.kit.shell import Piece, join_pieces, part_text, templates
from zfjax.report.kit.slider import Choice, curve_slider, epoch_axis, interpolate, path
from zfjax.report.kit.wording import epoch_names, number, plain
from zfjax.report.lives import layer_facts, layer_likeness
from zfjax.report.payload import Names, map_values, size_rules, sparkline, step_values
from zfjax.report.pictures import LayerPictures, Store, data_uri, filter_grid, make_sheet, webp
from zfjax.report.settling import Beyond
from zfjax.report.variety import selection_values
from zfjax.report.words import by_step, choose, rule_words, searched, validation_images
from zfjax.run.adopted import AdoptedRun
from zfjax.run.evolution import Evolution
from zfjax.run.folder import Run
from zfjax.run.measured import Measured

PRINTED_COLUMNS = 17
"""As many epochs as fit beside each other on paper: 16, and what stands before them."""
NAMED_EPOCHS = 8
"""Left out on paper: more are counted."""
PARTS = ("cells", "finding", "panel", "known", "variety", "printed")


@dataclass(frozen=True)
class View:
    """What one page shows of a run."""

    run: Run | AdoptedRun
    evolution: Evolution
    name: str | None
    """Of the evolution."""
    layers: tuple[LayerPictures, ...]
    sheets: tuple[tuple[Sheet | None, ...], ...]
    """By layer and map; None where nothing is drawn."""
    qualities: tuple[int | None, ...]
    """Of each layer's tiles as WebP; None: without loss."""
    photos: bool
    measures: Mapping[str, Measured] = field(default_factory=dict)
    """By name, those that the run has and the page shows."""
    other: Beyond | None = None
    """Another run's settling, to stand beside this one's."""
    inputs: Mapping[str, Inputs] = field(default_factory=dict)
    """By layer, where the last epoch's weights are there to be read."""
    store: Store = data_uri
    """Where pictures go: into the page, or beside it."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Those shown: all that were searched."""
        return self.evolution.steps

    @property
    def epochs(self) -> tuple[float, ...]:
        """Of ``steps``."""
        return self.evolution.epochs


def evolution_slider(view: View) -> Piece:
    """The slider, accuracy on the validation split as its track, and the choices under it."""
    image = Choice("image", "Image", (("top", "searched anew"), ("fixed", "held fixed")))
    show = Choice(
        "show", "Show", (("both", "both"), ("projection", "projection"), ("patch", "patch"))
    )
    scale = Choice(
        "scale", "Colour scale", (("tile", "per tile"), ("shared", "shared over epochs"))
    )
    choices = (image, show, scale) if view.photos else (image, scale)
    if len(view.evolution.rules) > 1:
        rules = tuple((rule, plain(rule)) for rule in view.evolution.rules)
        choices = (*choices, Choice("rule", "Rule", rules))
    run = view.run
    curves = accuracies(run.validation_lines), accuracies(run.training_lines)
    return curve_slider(view.epochs, curves, choices=choices)


def layer_blocks(view: View, fallback: bytes) -> Piece:
    """Every layer with its maps, and the filters. ``fallback``: a WebP picture that says the same
    where JavaScript is off.
    """
    evolution, record = view.evolution, view.evolution.record
    labels, file_names = Names(), Names()
    rules = [size_rules(view.layers), example_rule(view)]
    count = 0
    values = []
    for layer, sheets in zip(view.layers, view.sheets, strict=True):
        maps = []
        numbers = [map_.map for map_ in layer.maps]
        facts = layer_facts(view.measures, view.inputs, evolution, layer.layer, numbers)
        for map_, sheet, of_map in zip(layer.maps, sheets, facts, strict=True):
            maps.append({**map_values(map_, sheet, count, labels, file_names), **of_map})
            if sheet is not None:
                rules.append(sheet_rule(count, sheet))
                count += 1
        below = view.inputs[layer.layer].below if layer.layer in view.inputs else None
        shares = _shares(view, layer.layer)
        alike = layer_likeness(view.measures, layer.layer)
        values.append({"name": layer.layer, "below": below, "maps": maps, "alike": alike, **shares})
    shape, film = filter_film(view, count)
    accuracy = accuracies(view.run.validation_lines)
    printed = choose(view.epochs, PRINTED_COLUMNS)
    data = {
        **step_values(evolution, view.steps),
        "accuracy": [interpolate(accuracy, epoch) for epoch in view.epochs],
        "printed": printed,
        "photos": view.photos,
        "split": None if record.split == usual_split(view.run) else record.split,
        "subject": isinstance(view.run, AdoptedRun) and not view.run.reopens,
        "rule": record.rule,
        "rules": list(evolution.rules),
        "selections": selection_values(evolution),
        "measured": list(view.measures),
        "labels": list(labels.numbers),
        "files": list(file_names.numbers),
        "layers": values,
    }
    html = (
        templates("templates")
        .get_template("layers.html.j2")
        .render(
            evaluated=validation_images(view.run),
            trained=bool(accuracies(view.run.training_lines)),
            searched=searched(evolution),
            left_out=epochs_left_out(view.epochs, printed),
            rule=plain(record.rule),
            photos=view.photos,
            has_example=view.photos and (evolution.folder / "example.jpg").exists(),
            input_size=record.input_size,
            layers=[_layer_view(view, *pair) for pair in zip(view.layers, values, strict=True)],
            figure4=view.store(fallback, "webp"),
            first_layer=first_layer(view.run),
            stepwise=isinstance(view.run, AdoptedRun) and epochs_are_steps(view.run, evolution),
            filter_shape=shape,
            film=film,
            film_now=film and film_now(film, "Filters at this epoch"),
            film_strip=film and film_strip(film, "Filters at every epoch"),
        )
    )
    own = Piece(
        Markup(html),
        data,
        "".join(rules),
        part_text("css", *PARTS, folder="parts"),
        part_text("js", *PARTS, folder="parts"),
    )
    return own if film is None else join_pieces([own, film_data(film)], own.html)


def epochs_left_out(epochs: Sequence[float], printed: Sequence[int]) -> str:
    """The epochs that paper has no column for, in words: "15", "1 and 3" or "5 of 22"; "" where
    there is none.
    """
    names = epoch_names(epochs)
    missing = [name for index, name in enumerate(names) if index not in printed]
    if len(missing) > NAMED_EPOCHS:
        return f"{len(missing)} of {len(names)}"
    return " and ".join(filter(None, [", ".join(missing[:-1]), *missing[-1:]]))


def usual_split(run: Run | AdoptedRun) -> str:
    """The split that `zfjax project` looks at where none is asked for."""
    return run.split if isinstance(run, AdoptedRun) else run.config.data.train_split


def first_layer(run: Run | AdoptedRun) -> str:
    """What the layer of the filters is called."""
    return "First" if isinstance(run, AdoptedRun) else run.config.model.conv_names[0]


def projection_words(view: View) -> Markup:
    """What a projection is and what it is not, as paragraphs."""
    record = view.evolution.record
    template = templates("templates").get_template("projection.html.j2")
    main, *others = (
        adopted_rule_words(view.run, rule) if isinstance(view.run, AdoptedRun) else rule_words(rule)
        for rule in view.evolution.rules
    )
    named = zip(view.evolution.rules[1:], others, strict=True)
    words = " ".join((main, *(f"By the rule “{plain(rule)}”: {said}" for rule, said in named)))
    return Markup(
        template.render(rule_words=words, searched=searched(view.evolution), checked=record.checked)
    )


def filter_film(view: View, number_of_sheet: int) -> tuple[tuple[int, ...], Film | None]:
    """The first layer's filters at every step shown, and the shape of its kernel (HWIO); None of
    filters that are no parameter of the network as they stand.
    """
    kernels, steps = view.evolution.filters, view.steps
    known = [index for index, step in enumerate(steps) if step in kernels]
    shape = kernels[steps[known[-1]]].shape
    if not np.prod(shape):
        return shape, None
    grids = [filter_grid(kernels[steps[index]]) for index in known]
    captions = [""] * len(steps)
    for index, (_, scale) in zip(known, grids, strict=True):
        captions[index] = f"scale ±{number(scale)}"
    sheet = make_sheet(np.stack([grid for grid, _ in grids]), None, view.store)
    frames = [known.index(index) if index in known else None for index in range(len(steps))]
    film = Film("filters", sheet, number_of_sheet, frames, captions)
    return shape, film


def example_rule(view: View) -> str:
    """CSS: the example image that receptive fields are drawn on; only its proportions without
    photos.

    Raises ZfjaxError when the file is damaged.
    """
    height, width = view.evolution.record.input_size
    rule = f".example{{aspect-ratio:{width}/{height}}}"
    source = view.evolution.folder / "example.jpg"
    if not view.photos or not source.exists():
        return rule
    try:
        with Image.open(source, formats=("JPEG",)) as image:
            image.thumbnail((256, 256))
            data = webp(np.asarray(image.convert("RGB")), 85)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ZfjaxError(
            f"{source} is damaged ({error}); delete it and run `zfjax evolve` again."
        ) from None
    return rule + f".photo{{background-image:url({view.store(data, 'webp')})}}"


def _shares(view: View, layer: str) -> dict[str, Any]:
    """Shares of one layer by step shown, for the script."""
    settled = view.evolution.settled(layer)
    dead = by_step(view.evolution, "dead_share", layer)
    axis = epoch_axis(view.epochs)
    shares = [settled[step] for step in view.steps]
    return {
        "settled": shares,
        "dead": [dead[step] for step in view.steps],
        "spark": sparkline([axis.place(epoch) for epoch in view.epochs], shares),
    }


def _layer_view(view: View, layer: LayerPictures, values: dict[str, Any]) -> dict[str, Any]:
    """What the template writes at the left of a layer: its size, and what of the image its middle
    unit sees.
    """
    record = view.evolution.record
    height, width, maps = record.shapes[layer.layer]
    window = record.window(layer.layer)
    edges = record.input_size
    top, left, bottom, right = window.box(height // 2, width // 2)
    y0, x0 = max(1, top), max(1, left)
    y1, x1 = (min(edge - 1, end) for edge, end in zip(edges, (bottom, right), strict=True))
    points: Sequence[tuple[float, float] | None] = values["spark"]
    return {
        "name": layer.layer,
        "shape": (height, width, maps),
        "drawn": [map_.map for map_ in layer.maps],
        "drawn_at_all": [map_["sheet"] is not None for map_ in values["maps"]],
        "known": record.windows[layer.layer] is not None,
        "field": window.size,
        "whole": window.size >= max(edges),
        "box": (y0, x0, y1 - y0, x1 - x0),
        "spark": path([point for point in points if point is not None]),
    }
