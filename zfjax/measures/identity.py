"""Each map's life as a line: when it was born, when it settled, whether it died and came back, what
it is about, and who its nearest relative is.

Concept: a map is *born* at its emergence, the first epoch from which on to the end it is more like
its last self than 99% of its layer's other maps are; it has *settled* from the epoch from which on
it stays at 0.9 of its way; it *died* and was *revived* so many times; it is *about* a class where
its strongest images share one more than permuted labels do (null: about nothing that they can
show); its *relative* is the map of its layer whose answers to the images are most like its own.
Source: the measures settling, census and labels, which say how each is found; this joins their
tables, and measures nothing itself.
Cost: none.
What can mislead: all that can mislead there. A map that never moved was born at epoch 0: look at
its weights' cosine. What is missing is a column that is null: run the measure that gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from zfjax.errors import ZfjaxError
from zfjax.measures.protocol import Looked, Measure, NoOptions, Quantity, Told, plain_table, shown
from zfjax.report.kit.charts import Chart, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import plain
from zfjax.run.measured import Measured

SHOWN = 12
"""Lives printed; all are in the table."""
LIVES = ("born", "settled", "died", "revived", "about", "adjusted_p", "relative", "likeness")


def rows(looked: Looked, options: NoOptions) -> Iterator[Quantity]:
    """The lives of all maps, at the last step."""
    if not looked.earlier:
        raise ZfjaxError(
            "The measure identity joins settling, census and labels, and this run has none of them:"
            " run `zfjax measure settling census labels identity`."
        )
    last = looked.steps[-1]
    for layer in looked.layers:
        maps = looked.layer(layer).maps
        settling, census, labels = (
            looked.earlier.get(name) for name in ("settling", "census", "labels")
        )
        about = _at(labels, "about", layer, last, maps)
        lives = {
            "born": (_at(settling, "emergence", layer, last, maps), "epochs"),
            "settled": (_at(settling, "settled_epoch", layer, last, maps), "epochs"),
            "died": (_times(census, "died", layer, maps), "times"),
            "revived": (_times(census, "revived", layer, maps), "times"),
            "about": (
                np.where(about == 1, _at(labels, "top_class", layer, last, maps), np.nan),
                "class",
            ),
            "adjusted_p": (_at(labels, "adjusted_p", layer, last, maps), ""),
            "relative": (_at(census, "relative", layer, last, maps), "map"),
            "likeness": (_at(census, "likeness", layer, last, maps), "correlation"),
        }
        for name in LIVES:
            values, unit = lives[name]
            yield Quantity(last, layer, name, values, unit=unit)


def _at(measured: Measured | None, quantity: str, layer: str, step: int, maps: int) -> np.ndarray:
    """The maps' numbers at a step: float64 [maps], NaN where there are none."""
    nothing = np.full(maps, np.nan)
    return nothing if measured is None else measured.of_maps(quantity, layer).get(step, nothing)


def _times(measured: Measured | None, quantity: str, layer: str, maps: int) -> np.ndarray:
    """How often a flag was up, over all steps."""
    if measured is None:
        return np.full(maps, np.nan)
    return np.nansum([np.zeros(maps), *measured.of_maps(quantity, layer).values()], axis=0)


def tell(measured: Measured, others: Sequence[Measured], options: NoOptions) -> Told:
    """The first lives as a table, and how many maps of each layer were born by when."""
    last, names = measured.steps[-1], measured.meta.get("class_names") or ()
    table, clauses = [], []
    total = 0
    for layer in measured.layers:
        columns = {name: measured.of_maps(name, layer)[last] for name in LIVES}
        born = columns["born"]
        total += len(born)
        known = born[np.isfinite(born)]
        middle = f", half of them by epoch {np.median(known):g}" if len(known) else ""
        clauses.append(f"{layer} {len(known)} of {len(born)} maps are born{middle}")
        for map_ in range(min(SHOWN // len(measured.layers) + 1, len(born))):
            table.append([f"{layer} {map_}", *_life(columns, map_, names)])
    head = ["map", "born", "settled", "died", "revived", "about", "nearest relative"]
    sentence = f"The lives of {total:,} maps: {'; '.join(clauses)}."
    return Told(sentence, plain_table(head, table), _chart(measured))


def _life(columns: dict[str, np.ndarray], map_: int, names: Sequence[str]) -> list[str]:
    about = columns["about"][map_]
    subject = "nothing shown" if np.isnan(about) else f"class {about:.0f}"
    if np.isnan(columns["adjusted_p"][map_]):  # not asked of it, so nothing can be said
        subject = "-"
    elif not np.isnan(about) and int(about) < len(names):
        subject = plain(str(names[int(about)]), 24)
    relative, likeness = columns["relative"][map_], columns["likeness"][map_]
    kin = "-" if np.isnan(relative) else f"{relative:.0f} ({shown(likeness)})"
    counts = [shown(columns[name][map_], "{:.0f}") for name in ("died", "revived")]
    epochs = [shown(columns[name][map_], "{:g}") for name in ("born", "settled")]
    return [*epochs, *counts, subject, kin]


def _chart(measured: Measured) -> Figure:
    """The share of each layer's maps that are born by each epoch."""
    born = {layer: measured.of_maps("born", layer)[measured.steps[-1]] for layer in measured.layers}
    shares = {
        layer: [(epoch, 100 * float((first <= epoch).mean())) for epoch in measured.epochs]
        for layer, first in born.items()
    }
    chart = Chart("maps born, %", ordered_lines(shares), highest=100.0)
    words = "Maps that from this epoch on are more like their last selves than others of the layer."
    return figure_of([Panel("maps born, %", (chart,), 4.0, legend=True)], words)


MEASURE = Measure("identity", rows, tell, reads=("settling", "census", "labels"))
