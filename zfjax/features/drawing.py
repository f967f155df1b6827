"""Units to tiles: decode the images they lie on, look again at fixed ones, project, reproduce each
activation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.config import Config
from zfjax.data.dataset import Dataset, UnreadableImage
from zfjax.errors import ZfjaxError
from zfjax.features import deconvnet, strongest, units
from zfjax.inputs import central_crop, normalise
from zfjax.network import ops
from zfjax.network.architecture import Architecture
from zfjax.network.model import Parameters
from zfjax.run.evolution import Tile

_KEPT_CROPS = 2**28
"""Bytes of decoded images kept: a winner often wins for several epochs and maps."""


def cached_crops(dataset: Dataset, split: str, config: Config) -> Callable[[int], np.ndarray]:
    """The network's input before normalisation (uint8 [h, w, 3]) by image id, the latest kept."""
    size = (config.data.view, config.data.view)

    def crop(image_id: int) -> np.ndarray:
        view_of = dataset.read(split, [image_id], size, with_parts=False)[0].image
        return np.ascontiguousarray(central_crop(view_of, config.model.input_size))

    return functools.lru_cache(max(64, _KEPT_CROPS // (config.data.view**2 * 3)))(crop)


def first_readable(dataset: Dataset, split: str, images: int, config: Config) -> int:
    """The id of the first of the split's first ``images`` images that can be read: the example that
    receptive fields are drawn on. Raises ZfjaxError when none can; with data.on_error "fail", when
    the first cannot."""
    size = (config.data.view, config.data.view)
    for image_id in range(images):
        try:
            dataset.read(split, [image_id], size, with_parts=False)
        except UnreadableImage:
            if config.data.on_error == "fail":
                raise
        else:
            return image_id
    probe = images < dataset.count(split)
    asked = (
        f"None of the {'first ' if probe else ''}{images:,} images of split {split!r} of"
        f" {dataset.name} can be read"
    )
    advice = (
        "ask for more with --images"
        if probe
        else "prepare the data set again, or choose another --split"
    )
    raise ZfjaxError(f"{asked}, so there is nothing to search: {advice}.")


def look_again(
    architecture: Architecture,
    parameters: Parameters,
    layers: tuple[str, ...],
    fixed: dict[str, dict[int, int]],
    prepare: Callable,
    dataset: Dataset,
    split: str,
    config: Config,
) -> dict[str, list[units.Unit]]:
    """The fixed units of one step: where each map is strongest on its image; none where it is
    silent there."""
    ids = sorted({image_id for images in fixed.values() for image_id in images.values()})
    size, batch_size = (config.data.view, config.data.view), strongest.search_batch(architecture)
    maxima, places = [], []
    for start in range(0, len(ids), batch_size):
        some = ids[start : start + batch_size]
        views = [one.image for one in dataset.read(split, some, size, with_parts=False)]
        inputs = prepare(jnp.asarray(np.stack(views + [views[-1]] * (batch_size - len(some)))))
        found = strongest.image_maxima(parameters, inputs, architecture=architecture, layers=layers)
        for target, part in zip((maxima, places), found, strict=True):
            target.append(np.asarray(part)[: len(some)])
    again = {layer: [] for layer in layers}
    columns = units.layer_columns(architecture, layers)
    for layer, images in fixed.items():
        width = architecture.fact(layer).shape[1]
        for map_, image_id in images.items():
            row, column = divmod(ids.index(image_id), batch_size), columns[layer].start + map_
            value = float(maxima[row[0]][row[1], column])
            if value > 0:
                y, x = divmod(int(places[row[0]][row[1], column]), width)
                again[layer].append(units.Unit("fixed", map_, 0, image_id, value, y, x))
    return again


@functools.partial(jax.jit, static_argnames="config")
def _normalise(images: jax.Array, mean: jax.Array | None, *, config: Config) -> jax.Array:
    return normalise(config, images, mean)


def project_units(
    architecture: Architecture,
    parameters: Parameters,
    layer: str,
    chosen: list[units.Unit],
    *,
    rule: ops.Rule,
    config: Config,
    mean_image: np.ndarray | None,
    crop_of: Callable[[int], np.ndarray],
) -> Iterator[tuple[units.Unit, Tile, float]]:
    """(unit, tile, activation as projection reproduces it) of each unit."""
    method = deconvnet.cheaper_method(architecture, layer)
    batch_size = deconvnet.units_per_batch(architecture, layer, method, len(chosen))
    mean = None if mean_image is None else central_crop(mean_image, architecture.input_size)
    pending = None
    for start in [*range(0, len(chosen), batch_size), None]:
        running = None
        if start is not None:
            some = chosen[start : start + batch_size]
            padded = some + [some[-1]] * (batch_size - len(some))
            maps, ys, xs = (
                np.array([getattr(unit, name) for unit in padded], np.int32)
                for name in ("map", "y", "x")
            )
            crops = np.stack([crop_of(unit.image_id) for unit in padded])
            cut = functools.partial(
                deconvnet.cut_inputs, architecture, layer=layer, ys=ys, xs=xs, method=method
            )
            cut_mean = None if mean is None else cut(mean[None], rows=np.zeros(batch_size, int))
            inputs = _normalise(cut(crops), cut_mean, config=config)
            found = deconvnet.project_cut(
                architecture, parameters, inputs, layer, maps, ys, xs, rule=rule, method=method
            )
            running = some, deconvnet.patches(architecture, crops, layer, ys, xs), found
        if pending is not None:  # fetched while the next batch runs
            some, patches, (tiles, activations) = pending
            tiles, activations = np.asarray(tiles), np.asarray(activations)
            for row, unit in enumerate(some):
                tile = Tile(unit.selection, unit.map, unit.rank, tiles[row], patches[row])
                yield unit, tile, float(activations[row])
        pending = running
