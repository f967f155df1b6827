"""The first layer of a grid's cells as pictures that follow one slider: its filters, and which
spatial frequencies they pass. No JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from zfjax.measures.spectra import spectra_of
from zfjax.report.kit.films import Film, film_data, film_now
from zfjax.report.kit.shell import Piece, join_pieces
from zfjax.report.kit.slider import Choice
from zfjax.report.kit.wording import epoch_name
from zfjax.report.pictures import filter_grid, make_sheet
from zfjax.run.colours import colour_scale
from zfjax.studies.measured import Filters

LEAST_ASPECT, MOST_ASPECT, MAPS_OF_SQUARE = 0.6, 1.35, 36
"""Rows of filters for each column: few are wider than tall, to stand in a table's row; of many more
rows keep each large enough to be seen.
"""
FILTERS_WIDTH, SPECTRUM_WIDTH = 358, 128
"""CSS pixels, at most: 24 filters of 11x11 are drawn at 5 to a pixel of theirs."""
DECIBELS = 20.0
"""Below the strongest frequency, at which a spectrum is black."""
HEAT = (
    *((0.0, (18, 16, 22)), (0.35, (88, 28, 60)), (0.65, (196, 69, 28))),
    *((0.85, (244, 160, 70)), (1.0, (255, 244, 214))),
)
"""(share of the range, colour): dark to light in one direction, so that it reads without hue."""
FRAME = (120, 200, 255)
SPECTRUM_AXIS = Markup(
    '<p class="hertz" aria-hidden="true"><span>−0.5</span><span>0</span><span>0.5</span></p>'
    '<p class="hertz" aria-hidden="true">cycles a pixel</p><div class="decibels"></div>'
    '<p class="hertz" aria-hidden="true"><span>−20 dB</span><span>0</span></p>'
)
"""Below a spectrum: its frequencies across (and down), and what its colours are."""


SCALES = Choice("filters", "Filters", (("together", "one scale"), ("apart", "each on its own")))
"""Of the slider: which film of the filters is shown."""


@dataclass(frozen=True)
class Portrait:
    """The films of one cell, as pieces of a page with a slider that has the choice SCALES."""

    filters: Piece
    spectrum: Piece


def grid_aspect(maps: int) -> float:
    """Rows for each column of a picture of so many filters: 24 and 48 of them are 6 across."""
    return min(MOST_ASPECT, max(LEAST_ASPECT, maps / MAPS_OF_SQUARE))


def pixel_edge(cells: Sequence[Filters]) -> float:
    """CSS pixels of a filter's pixel, so that those of all ``cells`` are drawn at one scale and the
    widest in FILTERS_WIDTH: a whole number where that is 1 or more.
    """
    last = [filters.kernels[-1] for filters in cells]
    widths = [filter_grid(kernel, grid_aspect(kernel.shape[3]))[0].shape[1] for kernel in last]
    edge = FILTERS_WIDTH / max(widths, default=FILTERS_WIDTH)
    return float(int(edge)) if edge >= 1 else edge


def portrait_of(
    filters: Filters, stride: int, stops: Sequence[float], cell: tuple[int, str], edge: float
) -> Portrait:
    """Of ``cell``, its number (unique on the page) and name, at each epoch of ``stops``: what was
    saved last until then. ``stride``: of the first layer; what lies outside the frame of its
    Nyquist frequency aliases. ``edge``: CSS pixels of a filter's pixel.
    """
    index, name = cell
    shown = [_latest(filters.epochs, stop) for stop in stops]
    used = sorted({at for at in shown if at is not None})
    frames = [None if at is None else used.index(at) for at in shown]
    late = [
        ""
        if at is None or abs(filters.epochs[at] - stop) < 1e-9
        else f"saved at {epoch_name(filters.epochs[at])}"
        for at, stop in zip(shown, stops, strict=True)
    ]
    order = strongest_first(filters.kernels[-1])
    aspect = grid_aspect(len(order))
    grids = [filter_grid(filters.kernels[at][..., order], aspect) for at in used]
    apart = [
        filter_grid(on_own_scales(filters.kernels[at][..., order]), aspect, 1.0) for at in used
    ]
    scales = [
        "" if frame is None else ", ".join(filter(None, (f"±{_two_digits(grids[frame][1])}", when)))
        for frame, when in zip(frames, late, strict=True)
    ]
    spectra = np.stack([spectrum_picture(filters.kernels[at], stride) for at in used])
    wide = round(edge * grids[0][0].shape[1])
    films = [
        Film(f"{kind}-{index}", make_sheet(pictures, None), 3 * index + at, frames, words, width)
        for at, (kind, pictures, words, width) in enumerate(
            (
                ("filters", np.stack([grid for grid, _ in grids]), scales, wide),
                ("apart", np.stack([grid for grid, _ in apart]), late, wide),
                ("spectrum", spectra, late, SPECTRUM_WIDTH),
            )
        )
    ]
    words = (
        f"First layer's filters of {name}",
        f"First layer's filters of {name}, each on its own scale",
        f"Spectrum of the first layer's filters of {name}",
    )
    together, own, spectrum = (
        join_pieces([now, film_data(film)], _wrapped(film, now))
        for film, now in zip(films, map(film_now, films, words), strict=True)
    )
    both = Markup('<div class="together">{}</div><div class="apart">{}</div>').format(
        together.html, own.html
    )
    framed = Markup('<div class="spectral">{}{}</div>').format(spectrum.html, SPECTRUM_AXIS)
    return Portrait(
        join_pieces([together, own], both),
        join_pieces([spectrum, Piece(Markup(), style=_bar_rule())], framed),
    )


def strongest_first(kernel: np.ndarray) -> np.ndarray:
    """The maps of filters [height, width, channels, maps] by falling norm: int [maps]."""
    norms = np.sqrt((np.asarray(kernel, np.float64) ** 2).sum(axis=(0, 1, 2)))
    return np.argsort(-norms, kind="stable")


def on_own_scales(kernel: np.ndarray) -> np.ndarray:
    """Each filter of [height, width, channels, maps] divided by its own ``colour_scale``, so that a
    scale of 1 shows it as strong as any; one that is zero stays so.
    """
    scales = [colour_scale(kernel[..., index]) for index in range(kernel.shape[3])]
    return kernel / np.array([scale or 1.0 for scale in scales], kernel.dtype)


def spectrum_picture(kernel: np.ndarray, stride: int) -> np.ndarray:
    """The mean power of filters [height, width, channels, maps], each of the same energy, over
    spatial frequency: uint8 [size, size, 3], frequency 0 in the middle, 0.5 cycles a pixel at the
    edges, in decibels below the strongest. The frame is at 1 / (2 ``stride``).
    """
    spectra = spectra_of(kernel)
    energy = spectra.energy
    alive = energy > 0
    size = len(spectra.power)
    if not alive.any():
        return np.full((size, size, 3), HEAT[0][1], np.uint8)
    mean = (spectra.power[..., alive] / energy[alive]).mean(axis=2)
    level = np.fft.fftshift(10 * np.log10(np.maximum(mean / mean.max(), 1e-12)))
    picture = heat(np.clip(1 + level / DECIBELS, 0, 1))
    if stride > 1:
        reach = round(size / (2 * stride))
        low, high = size // 2 - reach, size // 2 + reach
        for edge in (low, high):
            picture[edge, low : high + 1] = picture[low : high + 1, edge] = FRAME
    return picture


def heat(values: np.ndarray) -> np.ndarray:
    """Values 0..1 as colours, uint8 [..., 3]."""
    at = [share for share, _ in HEAT]
    channels = [np.interp(values, at, [colour[band] for _, colour in HEAT]) for band in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _bar_rule() -> str:
    """CSS of the bar from DECIBELS below the strongest frequency up to it."""
    stops = ", ".join(
        f"#{red:02x}{green:02x}{blue:02x} {100 * share:g}%" for share, (red, green, blue) in HEAT
    )
    return f".decibels{{background:linear-gradient(to right, {stops})}}\n"


def _two_digits(value: float) -> str:
    """ "0.20", "0.25", "12"."""
    return f"{value:#.2g}".rstrip(".")


def _latest(epochs: Sequence[float], stop: float) -> int | None:
    """The index of the last of ``epochs`` (ascending) that is not after ``stop``."""
    before = [index for index, epoch in enumerate(epochs) if epoch <= stop + 1e-9]
    return before[-1] if before else None


def _wrapped(film: Film, now: Piece) -> Markup:
    return Markup('<div class="{}">{}</div>').format(film.css_class, now.html)
