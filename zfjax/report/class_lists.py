"""The section on what maps are about: the classes of their strongest images, how many of these are
of it, and where the strongest itself is of another. No JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from zfjax.report.kit.charts import Chart, ordered_lines, page_charts
from zfjax.report.kit.shell import Piece
from zfjax.report.kit.tables import Column, Row, data_table
from zfjax.report.kit.wording import epoch_name, percent, plain
from zfjax.report.lives import MAJORITY, Counted, class_name, counted, strongest_labels
from zfjax.run.evolution import Evolution
from zfjax.run.measured import Measured

MOST_MAPS = 60
"""Named in one list; beyond, it says how many more."""
NOTE = (
    "A map's strongest images share a class where more of them are of it than permuted labels would"
    " let. That may be fewer than half of them: then the map leans to the class, which is weak."
    " Purity: the share of a map's strongest images that are of their commonest class, its mean and"
    " quartiles over the layer's live maps. All others are about nothing that so few images can"
    " show. In low layers a class is shared by patches as small as what one unit sees, of one"
    " colour or texture, and so before training too: no object is meant."
)
NUMBERS = (
    "The numbers are the maps; those drawn on this page are links. In brackets, how many of the"
    " map's strongest images are of the class; one that leans has no majority of them."
)


def labels_contents(
    labels: Measured, evolution: Evolution, link: Callable[[str, int], Markup]
) -> list[Piece | Markup | str]:
    """The sentence, a table, every map that is about a class, and their share over the epochs."""
    last = labels.steps[-1]
    lists, strange = [], False
    for layer in labels.layers:
        about = _About(
            labels, counted(labels, layer, last), strongest_labels(labels, evolution, layer)
        )
        said = _classes(about, layer, link)
        strange = strange or any(words.count('class="strange"') for words in said)
        if said:
            listed = Markup("; ").join(said)
            lists.append(Markup("<dt>{}</dt><dd>{}</dd>").format(layer, listed))
    facts = Markup('<dl class="facts fates">{}</dl>').format(Markup("\n").join(lists))
    shares = ordered_lines(labels.curves("about_share", 100))
    chart = page_charts(
        (Chart("Maps whose strongest images share a class, %", shares, 100.0),), "labels"
    )
    legend = Markup('<p class="note">{}{}</p>').format(NUMBERS, _legend(labels, strange))
    sentence = plain(str(labels.meta.get("sentence", "")), 2000)
    return [
        Markup('<p class="said">{}</p>').format(sentence),
        _table(labels),
        Markup('<p class="note">{}</p>').format(NOTE),
        *([legend, facts] if lists else []),
        chart,
    ]


def _legend(labels: Measured, strange: bool) -> Markup:
    if not strange:
        return Markup("")
    return Markup(
        ' <span class="strange">≠</span> Of all images searched for this page, the one that excites'
        " the map most at epoch {} is of another class; where it is drawn, its picture shows so."
    ).format(epoch_name(labels.epochs[-1]))


def _table(labels: Measured) -> Piece:
    """How many maps of each layer are about a class."""
    first, last = labels.steps[0], labels.steps[-1]
    chance = labels.of_layer("chance_purity", None).get(last)
    began = f"at epoch {epoch_name(labels.epochs[0])}"
    heads = ("layer", "live maps", "strongest images share a class", "of these by a majority")
    rest = (f"share a class {began}", "about nothing shown", "purity (quartiles)", "by chance")
    rows = []
    for layer in labels.layers:
        about = labels.of_maps("about", layer)
        sure = about.get(last, np.zeros(0))
        alive, count = int(np.isfinite(sure).sum()), int(np.nansum(sure))
        before = int(np.nansum(about.get(first, np.zeros(0))))
        purity = labels.of_layer("mean_purity", layer).get(last)
        purities = labels.of_maps("purity", layer).get(last, np.full(len(sure), np.nan))
        most = int((purities[sure == 1] > MAJORITY).sum()) if len(purities) == len(sure) else 0
        spread = percent(_known(purity)) + _quartiles(purities)
        cells = (*map(str, (alive, count, most, before, alive - count)), spread)
        rows.append(Row(layer, (*cells, percent(_known(chance)))))
    columns = [Column(head, right=index > 0) for index, head in enumerate((*heads, *rest))]
    return data_table(columns, rows)


def _quartiles(values: np.ndarray) -> str:
    """ " (56 % to 89 %)" of shares, over those that are known; "" where none is."""
    known = values[np.isfinite(values)]
    if not len(known):
        return ""
    low, high = np.quantile(known, (0.25, 0.75))
    return f" ({percent(float(low))} to {percent(float(high))})"


@dataclass(frozen=True)
class _About:
    """What is known of a layer's maps at the last epoch."""

    labels: Measured
    counts: Counted
    strongest: Mapping[int, int]
    """Labels, of ``strongest_labels``."""

    def of_map(self, map_: int, class_: float, link: Markup) -> Markup:
        """The map's number, its count, and a mark where its strongest image is of another class."""
        count = self.counts.words(map_)
        if count and not self.counts.majority(map_):
            count += ", leans"
        words = link + (Markup(" <small>({})</small>").format(count) if count else Markup(""))
        if self.strongest.get(map_, class_) != class_:
            other = class_name(self.labels, self.strongest[map_])
            told = f"its strongest image is of another class: {other}"
            words += Markup(
                ' <span class="strange" role="img" title="{}" aria-label="{}">≠</span>'
            ).format(told, told)
        return Markup('<span class="about-one">{}</span>').format(words)


def _classes(about: _About, layer: str, link: Callable[[str, int], Markup]) -> list[Markup]:
    """Class by class, the maps about it."""
    labels, last = about.labels, about.labels.steps[-1]
    sure = labels.of_maps("about", layer).get(last, np.zeros(0))
    classes = labels.of_maps("top_class", layer).get(last, np.full(len(sure), np.nan))
    of_class: dict[str, list[int]] = {}
    for map_ in np.flatnonzero(sure == 1).tolist():
        of_class.setdefault(class_name(labels, float(classes[map_])) or "no class", []).append(map_)
    listed = []
    for named in sorted(of_class, key=str.casefold):
        maps = of_class[named]
        said = [about.of_map(map_, classes[map_], link(layer, map_)) for map_ in maps[:MOST_MAPS]]
        more = len(maps) - MOST_MAPS
        words = Markup(", ").join(said) + (f" and {more} more" if more > 0 else "")
        listed.append(Markup("<b>{}</b> {}").format(named, words))
    return listed


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
