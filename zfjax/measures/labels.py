"""What the maps are about: the classes of the images that excite each one most, and whether chance
would give as much.

Concept: the paper shows that a map's strongest images are of one kind; how many maps are so, and
from when on? At every epoch, of each map's 9 strongest images of a fixed probe: its commonest
class, the share of it (purity), how many classes there are. Null: the labels of the probe are
permuted 1,000 times and dealt in nines; p is the share of these nines that are as pure. A map is
*about* a class where Benjamini-Hochberg holds the false discoveries among all maps of that epoch at
5%; all others are about nothing that 9 images can show, which is an answer. Beside it class
selectivity: (mean of the class that excites it most - mean of the others) / (sum of the two).
Source: Zeiler and Fergus 2014, Fig. 2; selectivity: Morcos et al. 2018; Benjamini and Hochberg
1995.
Cost: the probe's maxima; one null for all maps, since under it any nine images are as good.
What can mislead: maps that have learnt nothing may be about classes that differ in colour or
brightness, so their number at the first epoch stands in the table. Classes are what the data set
calls so; a map about a texture or a colour that several classes share is about no class. Selective
maps need not matter to the network. On the training split, a map may be about images that it has
learnt by heart: the split is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfjax.errors import ZfjaxError
from zfjax.measures.protocol import Looked, Measure, Quantity, Told, plain_table, shown
from zfjax.measures.ranking import strongest_images
from zfjax.measures.verdicts import adjusted_p
from zfjax.report.kit.charts import Chart, Panel, figure_of, ordered_lines
from zfjax.report.kit.wording import epoch_name
from zfjax.run.measured import Measured
from zfjax.run.probe import MAXIMA, ZERO_KEY


@dataclass(frozen=True)
class LabelOptions:
    """How many images, and how sure."""

    top: int = 9
    """Strongest images of each map."""
    permutations: int = 1000
    """Of the labels, for the null."""
    rate: float = 0.05
    """False discoveries among the maps that are called about a class."""
    seed: int = 0
    """Of the permutations."""

    def __post_init__(self) -> None:
        for name, least in (("top", 2), ("permutations", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ZfjaxError(f"--labels.{name} {getattr(self, name)} must be {least} or more.")
        if not 0 < self.rate < 1:
            raise ZfjaxError(f"--labels.rate {self.rate} must lie between 0 and 1.")


def rows(looked: Looked, options: LabelOptions) -> Iterator[Quantity]:
    """Classes, purity and its p of every map; shares of every layer."""
    probe = looked.probe
    assert probe is not None
    labels = probe.labels
    known = np.flatnonzero(labels >= 0)
    if len(known) < options.top:
        raise ZfjaxError(
            f"The measure labels needs {options.top} images whose class is known, and the probe has"
            f" {len(known)}; give more with --images, or another --split."
        )
    null = Null(labels[known], options)
    rows_known: Any = slice(None) if len(known) == len(labels) else known  # spares copies
    for step in looked.steps:
        top_classes = {}
        for layer in looked.layers:
            keys = probe.keys(step, layer)[rows_known]
            tops = strongest_classes(keys, keys > ZERO_KEY, labels[known], options.top)
            top_classes[layer] = tops
        chances = {layer: null.p_values(tops) for layer, tops in top_classes.items()}
        together = adjusted_p(np.concatenate(list(chances.values())))
        ends = np.cumsum([len(chance) for chance in chances.values()])
        sure = dict(zip(chances, np.split(together, ends[:-1]), strict=True))
        for layer, tops in top_classes.items():
            about = sure[layer] <= options.rate
            alive = tops.images > 0
            selective, best = selectivity(probe.values(step, layer)[rows_known], labels[known])
            numbers = {
                "top_class": (np.where(alive, tops.first, np.nan), "class"),
                "top_class_images": (np.where(alive, tops.count, np.nan), "images"),
                "second_class": (np.where(tops.second >= 0, tops.second, np.nan), "class"),
                "classes": (np.where(alive, tops.classes, np.nan), "classes"),
                "purity": (tops.purity, "share"),
                "p": (chances[layer], ""),
                "adjusted_p": (sure[layer], ""),
                "about": (np.where(alive, about, np.nan), ""),
                "selectivity": (selective, ""),
                "selective_class": (best, "class"),
            }
            for name, (values, unit) in numbers.items():
                yield Quantity(step, layer, name, values, n=options.top, unit=unit)
            yield Quantity(
                step,
                layer,
                "about_share",
                float(about[alive].mean()) if alive.any() else None,
                n=int(alive.sum()),
                unit="share",
            )
            for name in ("purity", "selectivity"):
                values = numbers[name][0]
                mean = float(np.nanmean(values)) if np.isfinite(values).any() else None
                yield Quantity(step, layer, f"mean_{name}", mean, n=int(alive.sum()))
        yield Quantity(
            step, None, "chance_purity", null.mean_purity, n=options.permutations, unit="share"
        )


@dataclass(frozen=True)
class TopClasses:
    """The classes of each map's strongest images; arrays [maps]."""

    first: np.ndarray
    """The commonest; of equally common ones the stronger image's."""
    count: np.ndarray
    """Its images."""
    second: np.ndarray
    """The next one; -1 where there is none."""
    classes: np.ndarray
    """How many different ones."""
    images: np.ndarray
    """Images that excite the map at all, at most as many as were asked for."""

    @property
    def purity(self) -> np.ndarray:
        """The commonest class's share; NaN for a dead map."""
        undefined = np.full(len(self.images), np.nan)
        return np.divide(self.count, self.images, out=undefined, where=self.images > 0)


def strongest_classes(
    keys: np.ndarray, excites: np.ndarray, labels: np.ndarray, top: int
) -> TopClasses:
    """Of the images of a probe, all of known label, by ``Probe.keys`` uint16 [images, maps] and
    whether they excite a map at all. Ties go to the lower image.
    """
    strongest = strongest_images(keys, excites, top)
    excited = strongest >= 0
    classes = np.where(excited, labels[strongest], -1)
    same = (classes[:, None] == classes[None]) & excited[:, None] & excited[None]
    counts = same.sum(axis=1)
    leader = counts.argmax(axis=0)
    first = np.take_along_axis(classes, leader[None], axis=0)[0]
    others = np.where(classes == first, 0, counts)
    follower = others.argmax(axis=0)
    second = np.take_along_axis(classes, follower[None], axis=0)[0]
    earlier = np.tril(np.ones((len(classes), len(classes)), bool), -1)[..., None]
    return TopClasses(
        first,
        counts.max(axis=0),
        np.where(others.max(axis=0) > 0, second, -1),
        (excited & ~(same & earlier).any(axis=1)).sum(axis=0),
        excited.sum(axis=0),
    )


class Null:
    """How pure strongest images are when labels mean nothing: the labels permuted, and dealt in
    groups as large as the strongest images are many. One for all maps and epochs.
    """

    def __init__(self, labels: np.ndarray, options: LabelOptions) -> None:
        """``labels``: of the probe's images, all known."""
        generator = np.random.default_rng(options.seed)
        # Small numbers in place of labels are compared faster; that they are equal is all.
        codes = np.unique(labels, return_inverse=True)[1]
        labels = codes.astype(np.min_scalar_type(len(codes)))
        groups = len(labels) // options.top
        self._groups, self._top = groups, options.top
        permuted = [
            generator.permutation(labels)[: groups * options.top].reshape(-1, options.top).T
            for _ in range(options.permutations)
        ]
        self._dealt = np.concatenate(permuted, axis=1)  # [top, groups], to count along rows
        self._tails: dict[int, np.ndarray] = {}

    @property
    def mean_purity(self) -> float:
        """What chance gives, of as many images as are asked for."""
        tail = self._tail(self._top)
        # The tail at c is the share of groups with c or more: they add up to the mean.
        return float(tail[1:].sum()) / self._top

    def p_values(self, tops: TopClasses) -> np.ndarray:
        """The chance that labels without meaning are as pure: float64 [maps]; NaN for a map that
        fewer than two images excite.
        """
        chances = np.full(len(tops.images), np.nan)
        for images in np.unique(tops.images[tops.images >= 2]):
            maps = tops.images == images
            chances[maps] = self._tail(int(images))[tops.count[maps]]
        return chances

    def _tail(self, images: int) -> np.ndarray:
        """[c]: the share of groups of ``images`` in which a class has c images or more, the seen
        map itself counted as one.
        """
        if not self._tails:
            self._tails = dict(self._all_tails())
        return self._tails[images]

    def _all_tails(self) -> Iterator[tuple[int, np.ndarray]]:
        """The tails of all numbers of images, one image after the other: only the class of the
        image that comes to a group can have more of it than any had before.
        """
        most = np.zeros(self._dealt.shape[1], np.min_scalar_type(self._top))
        for images, labels in enumerate(self._dealt, start=1):
            same = np.ones_like(most)
            for earlier in self._dealt[: images - 1]:
                same += earlier == labels
            np.maximum(most, same, out=most)
            at_least = np.bincount(most, minlength=images + 1)[::-1].cumsum()[::-1]
            tail = (at_least + 1) / (len(most) + 1)
            tail[0] = 1.0
            yield images, tail


def selectivity(maxima: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(class selectivity 0..1, its class) of each map, of maxima [images, maps]; NaN for a dead
    map, and where there is one class only.
    """
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        undefined = np.full(maxima.shape[1], np.nan)
        return undefined, undefined
    belongs = np.zeros((len(classes), len(labels)))
    belongs[index, np.arange(len(labels))] = 1
    sums, sizes = belongs @ maxima, np.bincount(index)[:, None]
    best = (sums / sizes).argmax(axis=0)
    columns = np.arange(maxima.shape[1])
    largest = sums[best, columns] / sizes[best, 0]
    others = (sums.sum(axis=0) - sums[best, columns]) / (len(labels) - sizes[best, 0])
    total = largest + others
    undefined = np.full(len(total), np.nan)
    value = np.divide(largest - others, total, out=undefined, where=total > 0)
    return value, np.where(total > 0, classes[best], np.nan)


def tell(measured: Measured, others: Sequence[Measured], options: LabelOptions) -> Told:
    """How many maps are about a class at the last epoch, and a chart over all."""
    last, epochs = measured.steps[-1], dict(zip(measured.steps, measured.epochs, strict=True))
    chance = measured.of_layer("chance_purity", None).get(last, float("nan"))
    table, clauses = [], []
    for layer in measured.layers:
        about = measured.of_maps("about", layer)[last]
        alive, sure = int(np.isfinite(about).sum()), int(np.nansum(about))
        untrained = int(np.nansum(measured.of_maps("about", layer)[measured.steps[0]]))
        purity = measured.of_layer("mean_purity", layer).get(last)
        selective = measured.of_layer("mean_selectivity", layer).get(last)
        table.append(
            [layer, *map(str, (alive, sure, untrained, alive - sure))]
            + [shown(purity), shown(selective)]
        )
        clauses.append(f"{layer} {sure} of {alive}")
    images, split = measured.meta.get("images", 0), measured.meta["asked"].get("split")
    sentence = (
        f"On {images:,} images of {split}, epoch {epoch_name(epochs[last])}, maps whose strongest"
        f" images share a class (labels permuted {options.permutations:,} times, false"
        f" discoveries at {options.rate:.0%} over all maps): {'; '.join(clauses)}; the others are"
        f" about nothing that {options.top} images can show. Purity by chance: {shown(chance)}."
    )
    lines = ordered_lines(measured.curves("about_share", 100))
    words = (
        f"Live maps whose {options.top} strongest of {images:,} images share a class more than"
        " permuted labels do."
    )
    chart = Chart("maps about a class, %", lines, highest=100.0)
    began = f"at epoch {epoch_name(measured.epochs[0])}"
    head = ["layer", "live maps", "about a class", began, "about nothing shown"]
    head += ["purity", "selectivity"]
    figure = figure_of([Panel("about a class, %", (chart,), 4.0, legend=True)], words)
    return Told(sentence, plain_table(head, table), figure, {"chance_purity": round(chance, 4)})


MEASURE = Measure(
    "labels", rows, tell, options=LabelOptions(), probe=(MAXIMA,), needs=("images", "labels")
)
