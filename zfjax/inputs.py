"""What a network is shown: the data set, its mean image, and views made into inputs.

Two recipes, never mixed. "faithful" is the paper's (section 3): pixels of about -128..128 minus the
mean image. "modern": pixels of about unit scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zfjax.config import Config
from zfjax.data.dataset import Dataset, open_dataset
from zfjax.data.finding import data_home
from zfjax.data.pipeline import pixel_sums
from zfjax.data.reading import Reading, Share
from zfjax.data.scenes import ensure_scenes
from zfjax.data.set_names import SCENES, check_no_set_called_scenes
from zfjax.errors import ZfjaxError
from zfjax.files import data_folder, write_atomic
from zfjax.processes import added, first_alone, from_first, together
from zfjax.progress import Progress
from zfjax.run.folder import Run
from zfjax.values import Place, path_text

CHANNEL_MEAN = (123.7, 116.3, 103.5)  # of ImageNet, red, green, blue, in 0..255
PIXEL_STD = 58.0


@dataclass(frozen=True)
class Preparation:
    """How views become a network's input. Hashable, so that it can be a static argument of what is
    compiled: one program for all that is prepared alike.
    """

    recipe: str
    view: int
    """Pixels along each side of a view."""
    input_size: tuple[int, int]
    """(height, width) of the network's input."""
    mean: tuple[float, ...] | None = None
    """Of each channel, 0..255, of a network that is not ours: (pixels - mean) / std."""
    std: tuple[float, ...] | None = None

    def normalise(self, pixels: jax.Array, mean_image: jax.Array | None) -> jax.Array:
        """uint8 [n, h, w, 3] to the network's input, float32.

        faithful: minus ``mean_image`` (float32 [h, w, 3] or [n, h, w, 3], 0..255), not divided.
        modern: unit scale.
        """
        pixels = pixels.astype(jnp.float32)
        if self.mean is not None and self.std is not None:
            mean, std = (
                jnp.broadcast_to(jnp.array(values, jnp.float32), pixels.shape)
                for values in (self.mean, self.std)
            )
            return (pixels - mean) / std
        if self.recipe == "faithful":
            assert mean_image is not None, "the faithful recipe has a mean image"
            return pixels - jnp.broadcast_to(mean_image, pixels.shape)
        mean = jnp.broadcast_to(jnp.array(CHANNEL_MEAN, jnp.float32), pixels.shape)
        return (pixels - mean) / PIXEL_STD

    def crop(self, views: Any) -> Any:
        """The network's input before it is normalised, cut from the middle of views [..., view,
        view, c].
        """
        return central_crop(views, self.input_size)

    def inputs(self, views: jax.Array, mean_image: jax.Array | None) -> jax.Array:
        """Views uint8 [n, view, view, 3] to the network's input: the central crop, normalised,
        never augmented.

        ``mean_image``: float32 [view, view, 3], cropped alike; None in the modern recipe.
        """
        cropped_mean = None if mean_image is None else self.crop(mean_image)
        return self.normalise(self.crop(views), cropped_mean)

    def one_of_ten(
        self, views: jax.Array, mean_image: jax.Array | None, index: jax.Array
    ) -> jax.Array:
        """Views uint8 [n, view, view, 3] to one of the paper's ten inputs each (section 4): float32
        [n, height, width, 3].

        ``index`` 0 to 4: four corners and the centre; 5 to 9: their mirror images. The mean image
        is cropped alike.
        """
        height, width = self.input_size
        choices = (self.view - height + 1, self.view - width + 1)
        row, column = jnp.array(crop_corners(choices))[index % 5]

        def cut(x: jax.Array) -> jax.Array:
            begins = (*(0,) * (x.ndim - 3), row, column, 0)
            return jax.lax.dynamic_slice(x, begins, (*x.shape[:-3], height, width, 3))

        crop = self.normalise(cut(views), None if mean_image is None else cut(mean_image))
        return jnp.where(index < 5, crop, crop[..., ::-1, :])


def preparation_of(config: Config) -> Preparation:
    """How a run prepares its images."""
    return Preparation(config.recipe, config.data.view, config.model.input_size)


def central_crop(images: Any, size: tuple[int, int]) -> Any:
    """The middle ``size`` = (height, width) of [..., h, w, c], of NumPy or JAX."""
    height, width = size
    top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
    return images[..., top : top + height, left : left + width, :]


def crop_corners(choices: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(row, column) where the paper's five crops begin, in a view where a crop has so many
    ``choices`` along each axis: four corners and the centre.
    """
    bottom, right = choices[0] - 1, choices[1] - 1
    return (0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)


def training_input(
    config: Config, views: jax.Array, mean_image: jax.Array | None, key: jax.Array
) -> jax.Array:
    """Views uint8 [n, view, view, 3] to the network's input: random crop (the mean image with it)
    and mirroring.

    A pure function of (key, index in the batch), for any sharding of the batch.
    """
    height, width = config.model.input_size
    border = config.data.shift

    def padded(x: jax.Array) -> jax.Array:
        edges = ((border, border), (border, border), (0, 0))
        return jnp.pad(x, edges, mode="reflect") if border else x

    rows_free, columns_free = (
        config.data.view + 2 * border - extent + 1 for extent in (height, width)
    )
    row_key, column_key, flip_key = jax.random.split(key, 3)
    count = len(views)
    rows = jax.random.randint(row_key, (count,), 0, rows_free)
    columns = jax.random.randint(column_key, (count,), 0, columns_free)
    if config.data.crops == "ten":
        corners = jnp.array(crop_corners((rows_free, columns_free)))
        rows, columns = corners[jax.random.randint(row_key, (count,), 0, len(corners))].T
    flips = jax.random.bernoulli(flip_key, 0.5, (count,)) & config.data.flip

    def crop(image: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(padded(image), (row, column, 0), (height, width, 3))

    cropped = jax.vmap(crop)(views, rows, columns)
    mean = None if mean_image is None else jax.vmap(crop, (None, 0, 0))(mean_image, rows, columns)
    images = preparation_of(config).normalise(cropped, mean)
    return jnp.where(flips[:, None, None, None], images[:, :, ::-1], images)


def with_data_dir(config: Config, data_dir: Place | None) -> Config:
    """``config`` with its data in another folder; None: where it says."""
    if data_dir is None:
        return config
    folder = path_text(data_dir, "--data.dir")
    return replace(config, data=replace(config.data, dir=folder))


def open_data(config: Config, progress: Progress | None = None) -> Dataset:
    """The run's data set; the embedded scenes are drawn when they are not there yet. Raises
    ZfjaxError, also where a set of somebody's own is called scenes.
    """
    folder = config.data.dir or data_home()
    if config.data.name == SCENES:
        check_no_set_called_scenes(data_folder(folder))
        return open_dataset(*ensure_scenes(folder, progress=progress), config.data.processes)
    return open_dataset(config.data.name, folder, config.data.processes)


def reading_of(config: Config) -> Reading:
    """How this process reads its share of the run's images."""
    data, share = config.data, Share(jax.process_index(), jax.process_count())
    return Reading((data.view, data.view), data.threads, data.on_error, share)


def make_mean_image(run: Run, dataset: Dataset, progress: Progress) -> None:
    """RUN/mean_image.npy, the per-pixel mean of the training views (paper, section 3), computed
    once, by all processes together; nothing in the modern recipe.
    """
    path, data = run.folder / "mean_image.npy", run.config.data
    if run.config.recipe != "faithful" or from_first(np.int32(path.exists())):
        return
    sums, images = together(
        lambda: pixel_sums(dataset, data.train_split, reading_of(run.config), progress=progress)
    )
    count = int(added(images))
    if not count:
        raise ZfjaxError(
            f"None of the {dataset.count(data.train_split):,} images of split {data.train_split!r}"
            f" of {dataset.name} can be read: prepare the data set again."
        )
    mean = (added(sums) / count).astype(np.float32)
    first_alone(lambda: write_atomic(path, lambda temporary: _save_array(temporary, mean)))


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.save(handle, array)


def load_mean_image(run: Run) -> np.ndarray | None:
    """RUN/mean_image.npy, float32 [view, view, 3]; None in the modern recipe. Raises ZfjaxError
    when it is damaged.
    """
    if run.config.recipe != "faithful":
        return None
    path = run.folder / "mean_image.npy"
    try:
        mean = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ZfjaxError(
            f"{path} is missing or damaged ({error}); restore it from a copy, or train again."
        ) from None
    if mean.shape != (run.config.data.view, run.config.data.view, 3):
        raise ZfjaxError(
            f"{path} is of shape {mean.shape}, not the run's view; restore it from a copy."
        )
    return mean
