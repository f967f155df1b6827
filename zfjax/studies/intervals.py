"""Differences between two networks' accuracies, as far as seeds and images can tell. No JAX.

``differences`` are float or int [..., seeds, images] in {-1, 0, 1}: whether a network was right on
an image, minus whether the network compared with it was, both trained with the same seed; or
another weighted sum of networks' hits (``contrasts``). Three intervals stand around their mean, and
each has a target of its own:

- *these images*, other seeds: Student's t over the seeds' means.
- *these networks*, other images: the variance of the images' means.
- *both*, other seeds and other images; the headline. Two-way analysis of variance with both factors
  random (Obuchowski and Rockette 1995; Hillis 2007, of readers and cases), with fewer degrees of
  freedom than Hillis gives.

Simulated in tests/studies/test_intervals.py: each covers its own target in 93 to 97% at 3, 5 and 10
seeds. Hillis's n^2 (S - 1) / MS_S^2 degrees cover 92.1 to 95% at three seeds, and 96.5% where 99%
are asked for: n and its own noise stand in it squared. n (S - 1) / MS_S covers 94.2 to 96.3%, and
98 to 99.3%. A bootstrap over three seeds covers 75%.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8
NEGLIGIBLE = 0.01
"""Of accuracy: an interval around no difference that ends within it says that there is none larger;
a wider one cannot tell."""
OUTLYING = 3.0
"""Times the median spread over seeds from which on a cell is not pooled."""
ROUNDING = 1e-6
"""Variance of the seeds' sums over images up to which they are equal: else it is far more."""

BETTER, WORSE, NONE_LARGER, CANNOT_TELL = "better", "worse", "no larger difference", "cannot tell"


@dataclass(frozen=True)
class MeanSquares:
    """Of differences [..., seeds, images]: every field float64 [...] but the two counts."""

    mean: np.ndarray
    seeds: np.ndarray
    """``image_count`` times the variance of the seeds' means; NaN for one seed."""
    images: np.ndarray
    """``seed_count`` times the variance of the images' means."""
    residual: np.ndarray
    """Of what neither explains; NaN for one seed."""
    seed_count: int
    image_count: int


@dataclass(frozen=True)
class Interval:
    """Around ``center``; arrays of one shape, or numbers. ``df``: degrees of freedom."""

    center: Any
    half_width: Any
    df: Any
    confidence: float = CONFIDENCE

    @property
    def low(self) -> Any:
        """Its lower end."""
        return self.center - self.half_width

    @property
    def high(self) -> Any:
        """Its upper end."""
        return self.center + self.half_width

    @property
    def detectable(self) -> Any:
        """The smallest true difference that such an interval would have kept from 0 in 8 of 10
        studies like this one.
        """
        certain = stats.t.ppf((1 + self.confidence) / 2, self.df)
        return self.half_width * (certain + stats.t.ppf(POWER, self.df)) / certain


@dataclass(frozen=True)
class Pooled:
    """The seeds' mean square of a difference, from all cells of a grid together."""

    mean_square: float
    df: int
    left_out: tuple[str, ...] = ()
    """Cells whose spread is too large to be one of theirs."""


@dataclass(frozen=True)
class Comparison:
    """Two networks compared: the intervals, and what may be said of them."""

    seed_count: int
    image_count: int
    difference: float
    these_images: Interval | None
    """None for one seed, as ``both``."""
    these_networks: Interval
    both: Interval | None
    """At 1 - 0.05 / comparisons: the verdict is read from it, and from nothing else."""
    comparisons: int = 1
    """How many were declared."""
    by_seed: tuple[float, ...] = ()
    """The difference of each seed's pair, in the seeds' order."""

    @property
    def verdict(self) -> str:
        """BETTER, WORSE, NONE_LARGER (than ``largest``) or CANNOT_TELL."""
        if self.both is None:
            return CANNOT_TELL
        if self.both.low > 0:
            return BETTER
        if self.both.high < 0:
            return WORSE
        return NONE_LARGER if self.largest <= NEGLIGIBLE else CANNOT_TELL

    @property
    def largest(self) -> float:
        """The largest difference, either way, within the headline interval; infinite without."""
        return np.inf if self.both is None else float(max(abs(self.both.low), abs(self.both.high)))

    @property
    def words(self) -> str:
        """The verdict as it is printed."""
        if self.verdict == NONE_LARGER:
            return f"no difference larger than {100 * self.largest:.2f} points shown"
        return self.verdict


def mean_squares(differences: np.ndarray) -> MeanSquares:
    """The two-way analysis of variance of [..., seeds, images]. Raises ValueError for less than one
    seed or two images.
    """
    values = np.asarray(differences, np.float64)
    seeds, images = values.shape[-2:]
    if seeds < 1 or images < 2:
        raise ValueError(f"{seeds} seeds and {images} images; 1 and 2 are the least.")
    by_seed, by_image = values.mean(axis=-1), values.mean(axis=-2)
    mean = by_seed.mean(axis=-1)
    of_images = seeds * by_image.var(axis=-1, ddof=1)
    if seeds == 1:
        unknown = np.full(mean.shape, np.nan)
        return MeanSquares(mean, unknown, of_images, unknown, seeds, images)
    fitted = by_seed[..., :, None] + by_image[..., None, :] - mean[..., None, None]
    residual = ((values - fitted) ** 2).sum(axis=(-2, -1)) / ((seeds - 1) * (images - 1))
    of_seeds = images * by_seed.var(axis=-1, ddof=1)
    return MeanSquares(mean, of_seeds, of_images, residual, seeds, images)


def over_seeds(squares: MeanSquares, confidence: float = CONFIDENCE) -> Interval:
    """*These images*: what other seeds would give on them."""
    return _interval(squares, squares.seeds, squares.seed_count - 1, confidence)


def over_images(squares: MeanSquares, confidence: float = CONFIDENCE) -> Interval:
    """*These networks*: what they would give on other images."""
    interval = _interval(squares, squares.images, squares.image_count - 1, confidence)
    return _wide_enough(interval, squares)


def over_both(
    squares: MeanSquares, confidence: float = CONFIDENCE, pooled: Pooled | None = None
) -> Interval:
    """*Both*: other seeds on other images. ``pooled``: the seeds' mean square of all cells, in the
    place of the two networks' own: narrower at three seeds by a third, but it covers only where all
    cells vary alike over the seeds. Of five cells one with twice the others' spread is covered in
    86 to 92%, so no verdict is read from it.
    """
    of_seeds = squares.seeds if pooled is None else np.full(squares.mean.shape, pooled.mean_square)
    own_df = squares.seed_count - 1 if pooled is None else pooled.df
    # Means that agree to the last image are no sign that all seeds do: their spread is not known,
    # and what is left is all that the images vary, of which there are many.
    varied = of_seeds * squares.image_count > ROUNDING
    own = of_seeds + np.maximum(squares.images - squares.residual, 0)
    total = np.where(varied, own, squares.images)
    df = np.where(varied, total / np.where(varied, of_seeds, 1) * own_df, np.inf)
    return _wide_enough(_interval(squares, total, df, confidence), squares)


def over_values(
    differences: np.ndarray, confidence: float, step: float = 0.0, terms: int = 1
) -> Interval | None:
    """*These images*, of any number of a run: Student's t over the seeds' differences [seeds]; None
    for one seed. ``step``: in which the two numbers come. Where the seeds agree to less than it
    their spread is not known to be none: that of a difference of two rounded numbers, step /
    sqrt(6), stands for it. ``terms``: how many differences each is made of, each of two such
    numbers.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        return None
    rounding = step * (terms / 6) ** 0.5
    error = max(float(values.std(ddof=1)), rounding) / len(values) ** 0.5
    df = len(values) - 1
    width = float(stats.t.ppf((1 + confidence) / 2, df)) * error
    return Interval(float(values.mean()), width, df, confidence)


def _interval(squares: MeanSquares, mean_square: Any, df: Any, confidence: float) -> Interval:
    error = np.sqrt(mean_square / (squares.seed_count * squares.image_count))
    return Interval(squares.mean, stats.t.ppf((1 + confidence) / 2, df) * error, df, confidence)


def _wide_enough(interval: Interval, squares: MeanSquares) -> Interval:
    """Where all images say the same there is no variance to reckon with: then as wide as so many
    images allow (for one image in so many that says otherwise: the "rule of three").
    """
    least = 1 - ((1 - interval.confidence) / 2) ** (1 / squares.image_count)
    width = np.where(squares.images == 0, least, interval.half_width)
    return replace(interval, half_width=width)


def pooled_mean_square(accuracies: dict[str, np.ndarray], images: int) -> Pooled | None:
    """The seeds' mean square of the difference of any two cells, from what remains of each cell's
    accuracies [seeds] when cell and seed are taken out; None for fewer than three cells that may be
    pooled, or one seed.
    """
    spreads = {
        name: float(np.std(values, ddof=1))
        for name, values in accuracies.items()
        if len(values) > 1
    }
    if not spreads:
        return None
    usual = OUTLYING * float(np.median(list(spreads.values())))
    left_out = tuple(name for name, spread in spreads.items() if spread > usual)
    table = np.array([accuracies[name] for name in spreads if name not in left_out])
    cells, seeds = table.shape
    if cells < 3:
        return None
    rest = table - table.mean(axis=0)[None, :] - table.mean(axis=1)[:, None] + table.mean()
    df = (cells - 1) * (seeds - 1)
    return Pooled(2 * images * float((rest**2).sum()) / df, df, left_out)


def comparison(
    differences: np.ndarray, comparisons: int = 1, pooled: Pooled | None = None
) -> Comparison:
    """Of differences [seeds, images]. ``comparisons``: how many were declared before training; the
    headline interval, and it alone, is widened for them.
    """
    squares = mean_squares(differences)
    known = squares.seed_count > 1
    level = 1 - (1 - CONFIDENCE) / max(comparisons, 1)
    return Comparison(
        seed_count=squares.seed_count,
        image_count=squares.image_count,
        difference=float(squares.mean),
        these_images=over_seeds(squares) if known else None,
        these_networks=over_images(squares),
        both=over_both(squares, level, pooled) if known else None,
        comparisons=comparisons,
        by_seed=tuple(np.asarray(differences, np.float64).mean(axis=-1).tolist()),
    )
