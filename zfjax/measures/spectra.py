"""Which spatial frequencies filters pass, and which of those their stride folds over. No JAX.

Filters are arrays [height, width, channels, maps] on one grid of pixels; frequencies are cycles a
pixel along an axis, at most 0.5 either way. Power is summed over the channels: a filter of opposed
colours has the frequencies of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zfjax.measures.averages import quotient

SIZE = 64
"""Samples of a spectrum along an axis, at least; zeros around the filter."""
BANDS = (0.08, 0.2)
"""Cycles a pixel: low ends and high begins here."""
OCTAVES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
SECTORS = 8
"""Of 180 degrees. Coverage is over OCTAVES by SECTORS."""


@dataclass(frozen=True)
class Spectra:
    """The power of every map's filter. Frequencies of ``power``'s axes: ``axis``."""

    power: np.ndarray
    """float64 [size, size, maps], frequency 0 first, as numpy.fft orders them."""
    extent: int
    """Pixels of the filters along their longer side: 1 / extent is what they tell apart."""

    @cached_property
    def axis(self) -> np.ndarray:
        """Frequencies, cycles a pixel, float64 [size]."""
        return np.fft.fftfreq(len(self.power))

    @cached_property
    def radius(self) -> np.ndarray:
        """Radial frequency, cycles a pixel, [size, size]."""
        return np.hypot(self.axis[:, None], self.axis[None, :])

    @cached_property
    def energy(self) -> np.ndarray:
        """[maps]; 0 for a filter that is zero."""
        return self.power.sum(axis=(0, 1))

    def share(self, chosen: np.ndarray, weight: np.ndarray | float = 1.0) -> np.ndarray:
        """The share of each map's energy in ``chosen`` (bool [size, size]) or, with weights of the
        frequencies, of its weighted energy: 0..1, float64 [maps]. NaN where there is none.
        """
        weights = np.broadcast_to(weight, self.radius.shape)
        inside = np.einsum("yx,yxm->m", weights * chosen, self.power)
        return quotient(inside, np.einsum("yx,yxm->m", weights, self.power))

    def frequency(self) -> tuple[np.ndarray, np.ndarray]:
        """(centroid, bandwidth) of each map's radial frequency, cycles a pixel, [maps]: mean and
        standard deviation under its power. NaN for a filter that is zero.
        """
        mean = quotient(np.einsum("yx,yxm->m", self.radius, self.power), self.energy)
        square = quotient(np.einsum("yx,yxm->m", self.radius**2, self.power), self.energy)
        return mean, np.sqrt(np.maximum(square - mean**2, 0))

    def orientation(self) -> tuple[np.ndarray, np.ndarray]:
        """(degrees, strength) of each map, [maps]: the direction in which it varies, 0 along a row
        (its bars are upright), 90 along a column, 45 from upper left to lower right; below 180.

        ``strength``: 0 for none, 1 for a grating; small ones have no direction to speak of. NaN for
        a filter that has nothing but its mean.
        """
        angle = 2 * np.arctan2(self.axis[:, None], self.axis[None, :])
        varying = self.radius > 0
        # At -0.5 stands +0.5 as well, so that there a direction and its mirror image are one.
        edge = (self.axis == -0.5)[:, None] | (self.axis == -0.5)[None, :]
        turn = np.where(edge, np.cos(angle), np.exp(1j * angle)) * varying
        total = np.einsum("yx,yxm->m", varying * 1.0, self.power)
        resultant = np.einsum("yx,yxm->m", turn, self.power)
        strength = quotient(np.abs(resultant), total)
        degrees = np.degrees(np.angle(resultant)) / 2 % 180
        degrees = np.where(degrees == 180, 0, degrees)  # what a remainder of -1e-17 rounds to
        return np.where(np.isnan(strength), np.nan, degrees), strength

    def aliased(self, stride: int) -> np.ndarray:
        """(energy that aliases, energy) of each map's response to natural images, [2, maps].

        Sampled every ``stride`` pixels, a response above 1 / (2 stride) along either axis comes out
        as a lower frequency. Natural images have a power of about 1 / f^2 (Field 1987), without
        their mean; how low frequencies reach depends on the image, here SIZE pixels or what the
        filter takes.
        """
        prior = np.divide(1, self.radius**2, out=np.zeros_like(self.radius), where=self.radius > 0)
        beyond = np.abs(self.axis) > 1 / (2 * stride)
        folded = prior * (beyond[:, None] | beyond[None, :])
        return np.stack([np.einsum("yx,yxm->m", each, self.power) for each in (folded, prior)])

    def gains(self) -> np.ndarray:
        """Mean power in each octave and sector of each map, as shares of their sum: [octaves,
        sectors, maps]. NaN for a filter without power there. Means, not sums: a filter that passes
        all frequencies alike gives the same to each.
        """
        angle = np.arctan2(self.axis[:, None], self.axis[None, :]) % np.pi
        sector = np.floor(angle / np.pi * SECTORS + 0.5).astype(int) % SECTORS
        octave = np.searchsorted(OCTAVES, self.radius, side="right") - 1
        octave[self.radius == OCTAVES[-1]] = len(OCTAVES) - 2
        means = np.zeros((len(OCTAVES) - 1, SECTORS, self.power.shape[2]))
        for row, column in np.ndindex(means.shape[:2]):
            means[row, column] = self.power[(octave == row) & (sector == column)].mean(axis=0)
        return quotient(means, np.broadcast_to(means.sum(axis=(0, 1)), means.shape))

    def grid(self, period: int) -> np.ndarray:
        """How much each map's power at the multiples of 1 / period stands above that of their
        neighbours: 1 where it does not, more where a pattern repeats every ``period`` pixels:
        float64 [maps]. NaN for a period of 1.

        Neighbours are the eight nearest frequencies that filters of this extent tell apart.
        """
        size = len(self.power)
        if period < 2:
            return np.full(self.power.shape[2], np.nan)
        away = max(1, min(round(size / self.extent), size // (2 * period)))
        places = [round(multiple * size / period) for multiple in range(period)]
        points = [(row, column) for row in places for column in places if row or column]
        around = [
            ((row + away * down) % size, (column + away * right) % size)
            for row, column in points
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if down or right
        ]
        rows, columns = np.transpose(points)
        near_rows, near_columns = np.transpose(around)
        peaks = self.power[rows, columns].mean(axis=0)
        return quotient(peaks, self.power[near_rows, near_columns].mean(axis=0))


def spectra_of(filters: np.ndarray, period: int = 1) -> Spectra:
    """The spectra of filters [height, width, channels, maps], at frequencies among which are the
    multiples of 1 / period.
    """
    extent = max(filters.shape[:2])
    size = -(-max(SIZE, extent) // (2 * period)) * 2 * period
    amplitudes = np.fft.fft2(np.asarray(filters, np.float64), (size, size), axes=(0, 1))
    return Spectra((np.abs(amplitudes) ** 2).sum(axis=2), extent)


def colour_share(filters: np.ndarray) -> np.ndarray:
    """How much of each map's energy a grey image does not see, 0..1: float64 [maps]. NaN unless
    there are three channels, and for a filter that is zero.
    """
    if filters.shape[2] != 3:
        return np.full(filters.shape[3], np.nan)
    filters = np.asarray(filters, np.float64)
    grey = (filters.sum(axis=2) ** 2).sum(axis=(0, 1)) / 3
    return 1 - quotient(grey, (filters**2).sum(axis=(0, 1, 2)))


def evenness(shares: np.ndarray) -> float:
    """How much of their places shares that sum to 1 fill: exp(entropy), the number of equal shares
    as even as these, over the number of places. 1 where all are equal, 1 / places where one has
    all.
    """
    positive = shares[shares > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()) / shares.size)
