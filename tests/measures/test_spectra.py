"""Spectra of filters that were drawn to have known ones."""

from itertools import pairwise

import numpy as np
import pytest

from zfjax.measures import spectra
from zfjax.measures.spectra import colour_share, evenness, spectra_of


def gabor(frequency, degrees, size=41, width=6.0, phase=0.0):
    """float64 [size, size]: a grating that varies towards ``degrees`` (90: down), in a Gaussian."""
    y, x = np.mgrid[:size, :size] - size // 2
    along = x * np.cos(np.radians(degrees)) + y * np.sin(np.radians(degrees))
    window = np.exp(-(x**2 + y**2) / (2 * width**2))
    return window * np.cos(2 * np.pi * frequency * along + phase)


def filters(*channels_of_maps):
    """[height, width, channels, maps] of lists of channels."""
    return np.stack([np.stack(channels, axis=-1) for channels in channels_of_maps], axis=-1)


@pytest.mark.parametrize("frequency", [0.12, 0.2, 0.31, 0.4])
@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 170, 180])
def test_a_gabor_has_its_frequency_and_direction(frequency, degrees):
    drawn = gabor(frequency, degrees, phase=0.7)
    of = spectra_of(filters([drawn], [-3 * drawn]))
    centre, bandwidth = of.frequency()
    assert centre == pytest.approx([frequency] * 2, abs=0.006)
    # Power is a Gaussian of standard deviation 1 / (2 sqrt 2 pi width) along an axis.
    assert bandwidth == pytest.approx([1 / (2 * np.sqrt(2) * np.pi * 6)] * 2, rel=0.1)
    turned, strength = of.orientation()
    assert (turned >= 0).all() and (turned < 180).all()
    assert (turned - degrees + 90) % 180 - 90 == pytest.approx([0, 0], abs=1.5)
    assert (strength > 0.8).all()
    band = int(np.searchsorted(spectra.BANDS, frequency))
    if frequency != 0.2:
        edges = (-1, *spectra.BANDS, 1)
        chosen = (of.radius >= edges[band]) & (of.radius <= edges[band + 1])
        assert (of.share(chosen) > 0.9).all()


def test_colours_count_together_and_opposed_ones_are_seen():
    grey, none = gabor(0.2, 0), np.zeros((41, 41))
    drawn = filters([grey] * 3, [grey, -grey, none], [grey, none, none], [none] * 3)
    centre, _ = spectra_of(drawn).frequency()
    assert centre[:3] == pytest.approx([centre[0]] * 3) and np.isnan(centre[3])
    assert colour_share(drawn)[:3] == pytest.approx([0, 1, 2 / 3])
    assert np.isnan(colour_share(drawn)[3]) and np.isnan(colour_share(drawn[:, :, :1])).all()


def test_what_is_above_its_strides_nyquist_aliases():
    of = spectra_of(
        filters([gabor(0.05, 0)], [gabor(0.18, 90)], [gabor(0.4, 0)], [gabor(0.17, 45)])
    )
    for stride, expected in ((1, (0, 0, 0, 0)), (2, (0, 0, 1, 0)), (4, (0, 1, 1, 0.4))):
        folded, all_ = of.aliased(stride)
        assert folded / all_ == pytest.approx(expected, abs=0.12), stride
    assert (of.aliased(1)[0] == 0).all()


def test_the_prior_of_natural_images_weighs_low_frequencies():
    both = 0.2 * gabor(0.06, 0, 121, 20) + gabor(0.4, 0, 121, 20)
    of = spectra_of(filters([both]))
    share = of.share(of.radius > 0.25)
    folded, all_ = of.aliased(2)
    assert share > 0.9
    # amplitudes 1 : 5, powers over f^2: 0.04 / 0.0036 to 1 / 0.16
    assert folded / all_ == pytest.approx([6.25 / (6.25 + 0.04 / 0.0036)], abs=0.04)


def test_white_noise_is_even_and_a_gabor_is_not():
    rng = np.random.default_rng(3)
    noise = spectra_of(rng.normal(size=(32, 32, 3, 400))).gains().mean(axis=2)
    assert noise.sum() == pytest.approx(1) and evenness(noise) > 0.99
    single = spectra_of(filters([gabor(0.18, 0)])).gains()[..., 0]
    assert evenness(single) < 0.1 and single.argmax() == 2 * spectra.SECTORS
    middle = [np.sqrt(low * high) for low, high in pairwise(spectra.OCTAVES)]
    bank = [
        [gabor(frequency, degrees, 63, 1 / frequency / 2)]
        for frequency in middle
        for degrees in np.arange(8) * 22.5
    ]
    assert evenness(spectra_of(filters(*bank)).gains().mean(axis=2)) > 0.85
    assert evenness(np.eye(4) / 4) == pytest.approx(0.25)
    assert evenness(np.array([1.0, 0])) == 0.5
    assert np.isnan(spectra_of(np.zeros((5, 5, 3, 1))).gains()).all()


@pytest.mark.parametrize("period", [2, 3, 4, 8])
def test_what_repeats_shows_at_the_multiples_of_its_period(period):
    rng = np.random.default_rng(4)
    extent = 8 * period
    comb = np.zeros((extent, extent, 3, 20))
    comb[::period, ::period] = rng.uniform(0.5, 1.5, size=(8, 8, 3, 20))
    repeated = spectra_of(comb, period).grid(period)
    assert (repeated > 3).all()
    noise = spectra_of(rng.normal(size=(extent, extent, 3, 600)), period).grid(period)
    assert noise.mean() == pytest.approx(1, abs=0.12)
    assert np.isnan(spectra_of(comb).grid(1)).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (70, 70), (200, 9)])
def test_any_filter_has_a_spectrum_of_its_energy(shape):
    drawn = np.random.default_rng(5).normal(size=(*shape, 4, 3))
    of = spectra_of(drawn, 3)
    assert of.energy / of.power[..., 0].size == pytest.approx((drawn**2).sum(axis=(0, 1, 2)))
    assert of.extent == max(shape) and len(of.power) % 6 == 0
    assert np.isfinite(of.gains()).all() and np.isfinite(of.orientation()[1]).all()
