"""A measure of one's own, in three functions: how often each map fires, and how strongly.

Command:   zfjax measure --workdir RUN experiments.own_measure:measure --brightness.above 0.5
           (from the checkout), or ``zfjax.measure(RUN, measure, above=0.5)``
Hardware:  any; here 2 CPU cores shared with others, 2026-11-27.
Time:      22 s of a core for 11 epochs of 4,000 images: one pass, as the search.
Result:    on a run of preset demo (4,000 scenes, epoch 10): maps of conv1 rise above 0.5 on 96% of
           the images, maps of conv5 on 37%.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from zfjax.features.riding import Look
from zfjax.measures.protocol import Looked, Measure, Quantity, Told, plain_table, shown
from zfjax.run.measured import Measured


@dataclass(frozen=True)
class BrightnessOptions:
    """Each field is a flag."""

    above: float = 0.0
    """A map fires on an image where its largest value is above this."""


def keeps(look: Look, options: BrightnessOptions) -> dict:
    """Of a piece of a batch: how many images each map fires on (integers), its largest value."""
    fires, largest = {}, {}
    for name, maps in look.maps.items():  # [n, h, w, maps]
        strongest = maps.max(axis=(1, 2))
        fires[name] = ((strongest > options.above) & look.real[:, None]).sum(axis=0)
        largest[f"{name} largest"] = jnp.where(look.real[:, None], strongest, 0).max(axis=0)
    return {"sum": fires, "max": largest}


def rows(looked: Looked, options: BrightnessOptions) -> Iterator[Quantity]:
    """Of each map: the share of the images that it fires on, and its largest value."""
    images = len(looked.probe.ids) if looked.probe is not None else 0
    for step, layer in ((step, layer) for step in looked.steps for layer in looked.layers):
        kept = looked.kept[step]
        yield Quantity(step, layer, "fires", kept[layer] / images, n=images, unit="share")
        yield Quantity(step, layer, "largest", kept[f"{layer} largest"])


def tell(measured: Measured, others: Sequence[Measured], options: BrightnessOptions) -> Told:
    """A sentence and a table of the last epoch; a matplotlib figure would be ``chart=``."""
    last = measured.steps[-1]
    shares = [measured.of_maps("fires", layer)[last].mean() for layer in measured.layers]
    table = [[layer, shown(share)] for layer, share in zip(measured.layers, shares, strict=True)]
    sentence = f"Maps fire on {np.mean(shares):.0%} of {measured.meta['images']:,} images."
    return Told(sentence, plain_table(["layer", "fires"], table))


measure = Measure(
    "brightness", rows, tell, keeps=keeps, options=BrightnessOptions(), probe=("maxima",)
)
